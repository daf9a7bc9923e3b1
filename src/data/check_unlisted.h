/* Videos in a folder that no list names. */
#ifndef CROSSFRAME_DATA_CHECK_UNLISTED_H
#define CROSSFRAME_DATA_CHECK_UNLISTED_H

#include "crossframe/support.h"

enum { CF_UNLISTED_SHOWN = 5 };

typedef struct {
    size_t n;
    char *first[CF_UNLISTED_SHOWN]; /* relative to the root; cf_free */
} cf_unlisted;

/* Walks `root`. listed: sorted names as the lists have them, files or folders of pictures. A file
 * counts as a video by its name's ending. */
cf_status cf_unlisted_find(cf_unlisted *out, const char *root, const char *const *listed,
                           size_t n_listed);
void cf_unlisted_fini(cf_unlisted *u);

#endif
