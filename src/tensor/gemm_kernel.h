/* What runs innermost in our own matrix product (gemm_blocked.c), for CPUs with AVX-512. Private to
 * the module. A panel holds `width` lines of a matrix for k steps: [k, width]. */
#ifndef CROSSFRAME_TENSOR_GEMM_KERNEL_H
#define CROSSFRAME_TENSOR_GEMM_KERNEL_H

#include "crossframe/tensor.h"

#if defined(__x86_64__) && defined(__GNUC__) && !CF_REAL_IS_DOUBLE
#define CF_GEMM_KERNEL 1
#else
#define CF_GEMM_KERNEL 0
#endif

/* Rows and columns whose sums are in registers. */
enum { CF_GEMM_MR = 14, CF_GEMM_NR = 32 };

/* Whether this CPU can run what is declared here. */
bool cf_gemm_kernel_here(void);

/* Where sums go: c = alpha sums + beta c + bias + add. */
typedef struct {
    float *c;
    size_t ldc, rows, columns; /* what of MR x NR is really there */
    float alpha, beta;
    const float *bias, *add;          /* NULL: nothing */
    size_t ld_add, add_row, add_rows; /* row i takes row (add_row + i) mod add_rows of add */
    const float *slope; /* QuickGELU's slope here, rows ld_add apart, times the sums */
    const float *ahead; /* what the second cache is to fetch: a place for each step, */
    size_t ahead_step;  /* this far apart */
} cf_gemm_target;

/* Sums over k steps; step p takes MR floats at a + p * a_step and NR at b + p * b_step. */
void cf_gemm_panels(size_t k, const float *a, size_t a_step, const float *b, size_t b_step,
                    const cf_gemm_target *t);
/* The same of MR rows of A, lda apart, as they lie in memory. */
void cf_gemm_rows(size_t k, const float *a, size_t lda, const float *b, size_t b_step,
                  const cf_gemm_target *t);
/* The same, with column j of the sums as row j of C (rows, columns are still those of the sums). */
void cf_gemm_panels_turned(size_t k, const float *a, size_t a_step, const float *b, size_t b_step,
                           const cf_gemm_target *t);
void cf_gemm_rows_turned(size_t k, const float *a, size_t lda, const float *b, size_t b_step,
                         const cf_gemm_target *t);

/* A panel of `lines` rows of a matrix, turned; zero where there are none. Writes up to 16 floats
 * beyond the panel's end when width is MR. */
void cf_gemm_turn_panel(float *to, size_t width, const float *from, size_t ld, size_t lines,
                        size_t k);
/* `lines` columns of k rows of a matrix to panels, `stride` floats apart. */
void cf_gemm_copy_panels(float *to, size_t stride, size_t width, const float *from, size_t ld,
                         size_t lines, size_t k);

/* QuickGELU of x[0 .. n), n rounded up to a multiple of 16. */
void cf_gemm_gelu(float *x, size_t n);

#endif
