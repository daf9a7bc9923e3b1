/* gradcheck: an operation's backward against central differences of sum(w * y), w random.
 *
 * Design
 *  - A case is an operation with the shapes of its inputs and its options; the build function calls
 *    it. build is a cf_segment_fn, so that the same case also runs recomputed.
 *  - Error |a - n| / max(1, |a|, |n|). Steps and limits: f64 1e-5 and 1e-7; float 1e-2 and 1e-3,
 *    with the loss summed in double and divided by the step really taken.
 *  - Inputs of up to 64 elements are checked element by element, larger ones at `samples` places
 *    and along two random directions of +-1, which meet every element.
 *  - The analytic gradient is then taken again: over pre-filled gradients, through views, with one
 *    input wanted at a time, recomputed in a segment, and once more the same. All must agree. */
#ifndef CROSSFRAME_TEST_GRADCHECK_H
#define CROSSFRAME_TEST_GRADCHECK_H

#include "crossframe/ops.h"

typedef struct {
    cf_shape shape;
    enum { GRAD_WANTED, GRAD_NONE, GRAD_ABSENT } kind;
    double offset, scale; /* values are offset + scale * uniform(-1, 1); scale 0 means 1 */
} grad_input;

typedef struct {
    const cf_op *op;
    const char *what;
    cf_segment_fn *build; /* ctx is the case */
    int option[4];
    double real;
    grad_input in[CF_MAX_IN];
    int n_in;
    int samples; /* 0: 48 */
    bool quick;  /* the analytic gradient twice, not in the other ways */
} grad_case;

typedef struct {
    bool ok;
    double worst;
    char where[256]; /* of the worst error, or what went wrong */
} grad_report;

/* For static tables: IN(2, 3) is an input [2, 3] that wants a gradient. */
#define GRAD_SHAPE(...)                                                                            \
    {                                                                                              \
        sizeof((size_t[]){ __VA_ARGS__ }) / sizeof(size_t), { __VA_ARGS__ }                        \
    }
#define IN(...)                                                                                    \
    {                                                                                              \
        .shape = GRAD_SHAPE(__VA_ARGS__)                                                           \
    }
#define IN_SCALAR                                                                                  \
    {                                                                                              \
        .shape = { 0 }                                                                             \
    }
#define IN_FIXED(...)                                                                              \
    {                                                                                              \
        .shape = GRAD_SHAPE(__VA_ARGS__), .kind = GRAD_NONE                                        \
    }
#define IN_AROUND(centre, spread, ...)                                                             \
    {                                                                                              \
        .shape = GRAD_SHAPE(__VA_ARGS__), .offset = (centre), .scale = (spread)                    \
    }
#define NO_INPUT                                                                                   \
    {                                                                                              \
        .kind = GRAD_ABSENT                                                                        \
    }

grad_report gradcheck(cf_tape *t, const grad_case *c);

/* All cases, from the gradcheck_*.c files; each list ends with .op = NULL. */
extern const grad_case *const grad_case_lists[];
extern const grad_case grad_cases_fused[], grad_cases_primitive[];

/* The case's inputs on the tape, with random values from `data`; NULL where absent. */
void grad_inputs(cf_tensor *in[CF_MAX_IN], cf_tape *t, const grad_case *c, cf_real *const data[]);
/* Values for all inputs, keyed by the case's name; free each with cf_free. */
void grad_data_new(cf_real *data[CF_MAX_IN], const grad_case *c);
void grad_data_free(cf_real *data[CF_MAX_IN]);
/* sum(w * y) as one number; w is made from the case's name. NULL if y is. */
cf_tensor *grad_loss(cf_tape *t, cf_tensor *y, const cf_real *w);

#endif
