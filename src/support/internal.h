/* What the files of support share with each other and with nobody else. */
#ifndef CROSSFRAME_SUPPORT_INTERNAL_H
#define CROSSFRAME_SUPPORT_INTERNAL_H

#include <stdbool.h>

/* True for the one allocation that cf_memory_fail_at() chose. Every allocation asks once. */
bool cf_memory_should_fail(void);

#endif
