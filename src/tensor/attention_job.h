/* Between attention.c, which hands out the jobs (one head of one sequence each), and their kernels,
 * attention_kernel.h, which are compiled for each x86-64 level by a file of its own: not only the
 * instructions differ but how much of a product fits in the registers. */
#ifndef CROSSFRAME_TENSOR_ATTENTION_JOB_H
#define CROSSFRAME_TENSOR_ATTENTION_JOB_H

#include "tensor/kernel.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CF_ATTENTION_LEVELS 1
#endif

/* Queries of one block: what of scores and their gradients is in memory at a time. */
#define CF_ATTENTION_BLOCK ((size_t)64)

/* One thread's memory. w: queries of a block; hp: head width in whole vectors of 64
 * bytes, the rest zero. */
typedef struct {
    cf_real *k, *v;    /* [keys, hp] */
    cf_real *q, *qt;   /* [w, hp] scaled by hw^-1/2, [hp, w] */
    cf_real *s;        /* [keys, w] scores, then probabilities */
    cf_real *y;        /* [w, hp] a product on its way out */
    cf_real *row;      /* [2, w] numbers of each query */
    cf_real *dy, *dyt; /* [w, hp], [hp, w] from here on backward only */
    cf_real *dp;       /* [keys, w] gradient of probabilities, then of scores */
    cf_real *dk, *dv;  /* [keys, hp] */
} cf_attention_memory;

typedef struct {
    void (*forward)(const cf_attention_args *a, size_t g, size_t h, const cf_attention_memory *m);
    /* dq: where this job stores or adds its query gradients, rows a->q_row apart; NULL: unwanted */
    void (*backward)(const cf_attention_args *a, const cf_attention_grads *d, size_t g, size_t h,
                     const cf_attention_memory *m, cf_real *dq);
} cf_attention_job;

extern const cf_attention_job cf_attention_job_v4, cf_attention_job_v3, cf_attention_job_any;

/* The kernels of x86-64 level 4 or 3, or of any CPU (0); NULL: this machine has not got it. */
const cf_attention_job *cf_attention_job_of(int level);
/* cf_attention_forward and _backward with these. */
void cf_attention_forward_by(const cf_attention_job *job, const cf_attention_args *a,
                             cf_real *scratch);
void cf_attention_backward_by(const cf_attention_job *job, const cf_attention_args *a,
                              const cf_attention_grads *g, cf_real *scratch);

static inline size_t cf_attention_keys(const cf_attention_args *a)
{
    return a->sk + (a->ek ? 1 : 0);
}
static inline size_t cf_attention_width(const cf_attention_args *a)
{
    return (a->hw + CF_VEC_LEN - 1) / CF_VEC_LEN * CF_VEC_LEN;
}

#endif
