/* Any text as a configuration: refused with one line, or it resolves to a text that reads back to
 * itself. */
#include "crossframe/train.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    cf_config *c, *again;
    char *text, *second;
    if (cf_config_parse(&c, (const char *)bytes, n, "fuzz") != CF_OK) {
        CF_ASSERT(*cf_error() != 0);
        return 0;
    }
    (void)cf_config_check(c);
    CF_ASSERT(cf_config_text(&text, c) == CF_OK);
    CF_ASSERT(cf_config_parse(&again, text, strlen(text), "again") == CF_OK);
    CF_ASSERT(cf_config_text(&second, again) == CF_OK);
    CF_ASSERT(strcmp(text, second) == 0);
    cf_free(second);
    cf_free(text);
    cf_config_free(again);
    cf_config_free(c);
    return 0;
}
