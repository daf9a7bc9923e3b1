/* Text of HTML and SVG that grows. The first failure is kept, what follows does nothing: whoever
 * started it asks markup_done once. */
#ifndef CROSSFRAME_TRAIN_MARKUP_H
#define CROSSFRAME_TRAIN_MARKUP_H

#include "crossframe/support.h"

typedef struct {
    char *s;
    size_t n, capacity;
    cf_status status;
} markup;

/* Our own text, as it is. */
void markup_put(markup *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
void markup_raw(markup *m, const char *s);
/* Anybody's text: what is markup is escaped, what is no character of XML becomes U+FFFD. */
void markup_text(markup *m, const char *s);
/* Its first `most` characters, with an ellipsis for the rest. */
void markup_text_cut(markup *m, const char *s, size_t most);
void markup_base64(markup *m, const uint8_t *bytes, size_t n);

/* Gives the text away (*out, cf_free) or the failure. The markup is empty afterwards. */
cf_status markup_done(char **out, size_t *n, markup *m);
void markup_fini(markup *m);

#endif
