/* bench: how fast this machine trains, uses and feeds a model, against its own GEMM rate.
 *
 * A step is timed on random weights and pictures, with the text frozen, its features given: the
 * recipe's training step (forward, backward, gradient norm, AdamW) or a forward without a tape. Its
 * floating-point operations are those the tape counted, so what was really run; the share of the
 * GEMM rate is the time those would take at that rate over the time taken. The split by operation
 * family is of steps of its own, since timing each operation costs a little. */
#ifndef CROSSFRAME_BENCH_H
#define CROSSFRAME_BENCH_H

#include "crossframe/models.h"

typedef struct {
    double median, min, max;
    int n;
} cf_bench_seconds;
/* Of n times, which it sorts; the median of an even number is the upper one. */
cf_bench_seconds cf_bench_summary(double *seconds, int n);

/* Rate, GFLOP/s, of C = A B^T with all threads: the median of some times, like a step's, of the
 * best of a few large shapes. Takes some seconds. */
cf_status cf_bench_gemm(double *gflops);

typedef struct {
    cf_xclip_config model;
    size_t batch, classes;
    int steps;         /* to time; 0: about five seconds of them, at least 3 */
    bool train;        /* or inference */
    const char *trace; /* file for one step in Chrome's trace format (chrome://tracing, Perfetto);
                          NULL: none */
    const char *dump;  /* folder that is given weights.safetensors, the start values, and inputs.h5:
                          video [b, T, 3, S, S], text [K, e], target [b, K]; NULL: none */
} cf_bench_options;

enum { CF_BENCH_ROWS = 12 };
/* Everything of one step. */
typedef struct {
    cf_bench_seconds seconds;
    double gflop;
    double loss; /* of the start values on the inputs */
    struct {
        const char *family; /* of operations: "gemm", "attention", ...; "optimiser", "rest" */
        double seconds, gflop;
    } split[CF_BENCH_ROWS];
    size_t n_split;
    struct {
        size_t weights, gradients, moments; /* blocks of the model's size */
        size_t activations, backward;       /* largest of a step: values and scratch; gradients of
                                               intermediates */
        size_t shared;                      /* counted in both activations and gradients, which
                                               lie over them (cf_tape_share) */
        size_t resident;                    /* the process's largest resident set so far */
    } bytes;
} cf_bench_result;
/* CF_ENOMEM and what the model's sizes can be refused for. */
cf_status cf_bench_step(cf_bench_result *out, const cf_bench_options *o);

/* Clips of T frames of size pixels from JPEG frames of 340 x 256, all augmentation, by a number of
 * loader threads (0: one a core), in videos a second. Writes a small pack into a folder of its own
 * under `folder` and removes it. */
cf_status cf_bench_loader(double *videos_per_second, const char *folder, size_t T, size_t size,
                          int workers);

#endif
