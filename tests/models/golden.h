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
/* value(key, i) = center + scale * (2u - 1), in float32 arithmetic */
float golden_value(uint64_t key_hash, size_t i, float center, float scale);
/* One forward pass recorded on the tape; the loss. */
cf_tensor *golden_forward(golden *g, cf_xclip_outputs *out, cf_tensor **text, cf_xclip_watch *watch,
                          void *user);

/* Largest |a - b| over n elements divided by the largest |b| must be within tolerance; the message
 * names what, the worst element and both values. */
void golden_compare(const char *what, const cf_real *a, const float *b, size_t n, double tolerance);
void golden_compare_file(golden *g, const char *path, const cf_real *a, size_t n, double tolerance);

#endif
