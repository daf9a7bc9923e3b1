/* Golden files: reference outputs, gradients and short training runs on weights made by a rule
 * (tests/golden/README.md). This builds the model and the inputs of one file. */
#ifndef CROSSFRAME_TESTS_GOLDEN_H
#define CROSSFRAME_TESTS_GOLDEN_H

#include "crossframe/h5.h"
#include "crossframe/models.h"

typedef struct {
    cf_h5 *file;
    cf_xclip_config config;
    cf_xclip *model;
    cf_tape *tape;
    size_t b, K;
    float *video; /* [b, T, 3, S, S] */
    int32_t *tokens;
    float *target; /* [b, K] */
    bool train_text;
} golden;

void golden_open(golden *g, const char *name, bool recompute);
void golden_close(golden *g);
/* The loss of b videos (host arrays) scored against K classes; the tape goes on. */
cf_tensor *golden_loss(cf_xclip_outputs *out, cf_xclip *m, cf_tape *t, const float *video, size_t b,
                       cf_tensor *text, const float *target, cf_xclip_watch *watch, void *user);
/* The fill rule: value(key, i) = center + scale * (2u - 1), in float32 arithmetic. */
void golden_fill(cf_tensor *x, const char *key, double center, double scale);
float *golden_input(const char *key, size_t n, double center, double scale); /* cf_free */
/* Every parameter by its key "w:NAME"; rule [n, 2]: center and scale of each of `names`. */
void golden_fill_all(cf_params *params, char *const *names, const double *rule, size_t n);
size_t golden_index(char *const *names, size_t n, const char *name); /* it must be there */
int64_t golden_number(cf_h5 *f, const char *object, const char *name);
double *golden_doubles(cf_h5 *f, const char *path, size_t n); /* cf_free */
/* One forward pass recorded on the tape; the loss. */
cf_tensor *golden_forward(golden *g, cf_xclip_outputs *out, cf_tensor **text, cf_xclip_watch *watch,
                          void *user);

/* Largest |a - b| over n elements divided by the largest |b| must be within tolerance; the message
 * names what, the worst element and both values. */
void golden_compare(const char *what, const cf_real *a, const float *b, size_t n, double tolerance);
void golden_compare_file(golden *g, const char *path, const cf_real *a, size_t n, double tolerance);

#endif
