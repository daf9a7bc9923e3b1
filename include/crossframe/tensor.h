/* tensor: shapes and the numeric kernels on plain memory; no gradients here.
 *
 * Design
 *  - Tensors are dense and row-major, up to 5 dimensions; kernels take pointers and sizes.
 *  - Large matrix products go to OpenBLAS, which uses all threads; small ones inside attention run
 *    in our own kernel, one OpenMP thread per (sequence, head). Never BLAS inside a parallel
 *    region.
 *  - Kernels marked CF_KERNEL are compiled for several x86-64 levels and chosen at load time;
 *    OpenMP loops live in functions of their own around them (an outlined loop body would not be
 *    cloned).
 *  - Sums over rows run in a fixed order for a given thread count: same input, same bits. */
#ifndef CROSSFRAME_TENSOR_H
#define CROSSFRAME_TENSOR_H

#include "crossframe/support.h"

#define CF_MAX_RANK 5

typedef struct {
    int rank; /* 0 = one number */
    size_t dim[CF_MAX_RANK];
} cf_shape;

/* cf_shape_of(2, 3) is [2, 3]; at most five sizes. */
#define cf_shape_of(...)                                                                           \
    cf_shape_make((int)(sizeof((size_t[]){ __VA_ARGS__ }) / sizeof(size_t)),                       \
                  (const size_t[]){ __VA_ARGS__ })
cf_shape cf_shape_make(int rank, const size_t *dim);
size_t cf_shape_count(const cf_shape *s); /* product of the sizes; 1 for rank 0 */
bool cf_shape_equal(const cf_shape *a, const cf_shape *b);
size_t cf_shape_last(const cf_shape *s); /* size of the last axis; 1 for rank 0 */
/* "[2, 3]" for messages; into a caller's buffer, which it returns. */
typedef struct {
    char text[96];
} cf_shape_text;
const char *cf_shape_print(cf_shape_text *buffer, const cf_shape *s);

/* C [m, n] = alpha op(A) op(B) + beta C, op(X) = X^T where the flag is set; ld* = row strides of
 * the matrices as stored. All threads. */
void cf_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, cf_real alpha, const cf_real *a,
             size_t lda, const cf_real *b, size_t ldb, cf_real beta, cf_real *c, size_t ldc);
/* What a product can do on the way, where our own kernels run: no pass over memory of its own. Zero
 * is none of it. */
typedef struct {
    bool gelu_a, gelu_b; /* QuickGELU of A's, of B's elements as they are read */
    const cf_real *bias; /* [n], added to each row */
    const cf_real *add;  /* [add_rows, n]: row r mod add_rows is added to row r */
    size_t add_rows;
    const cf_real
        *slope; /* [m, n]: in the end C is multiplied by QuickGELU's derivative at these */
} cf_gemm_extra;
/* Whether cf_gemm_fused does anything here: this CPU and precision have our own kernels. CF_ENOMEM:
 * no memory for packing, kept from then on. */
cf_status cf_gemm_fuses(bool *here);
/* C [m, n] = op(A) op(B) + beta C and `extra`; only after cf_gemm_fuses said so. c and what is
 * added have rows without gaps; slope needs beta 0, and may be c where k is at most
 * CF_GEMM_ONE_PASS. */
enum { CF_GEMM_ONE_PASS = 1024 };
void cf_gemm_fused(bool ta, bool tb, size_t m, size_t n, size_t k, const cf_real *a, size_t lda,
                   const cf_real *b, size_t ldb, cf_real beta, cf_real *c,
                   const cf_gemm_extra *extra);
/* `batch` products of one size, matrices `stride_*` elements apart; one thread each when small. */
void cf_gemm_batch(size_t batch, bool ta, bool tb, size_t m, size_t n, size_t k, cf_real alpha,
                   const cf_real *a, size_t lda, size_t stride_a, const cf_real *b, size_t ldb,
                   size_t stride_b, cf_real beta, cf_real *c, size_t ldc, size_t stride_c);

/* y = 0, y = x, y += x, y = a x, y *= a; n elements, all threads when large. */
void cf_vec_zero(cf_real *y, size_t n);
void cf_vec_copy(cf_real *y, const cf_real *x, size_t n);
void cf_vec_add(cf_real *y, const cf_real *x, size_t n);
void cf_vec_scale(cf_real *y, cf_real a, size_t n);
double cf_vec_sum_squares(const cf_real *x, size_t n); /* in double, fixed order */

/* QuickGELU (Hendrycks & Gimpel 2016, the sigmoid form): y = x sigmoid(1.702 x). */
void cf_quick_gelu_forward(cf_real *y, const cf_real *x, size_t n);
/* dx = or += dy * d/dx quick_gelu(x); dy may be dx. */
void cf_quick_gelu_backward(cf_real *dx, const cf_real *dy, const cf_real *x, size_t n,
                            bool accumulate);

/* sum[j] += column sums of x [rows, n] (ld apart); partial sums of row blocks are added in double.
 * scratch: cf_col_sum_scratch(n) elements. */
size_t cf_col_sum_scratch(size_t n);
void cf_col_sum(cf_real *sum, const cf_real *x, size_t rows, size_t n, size_t ld, cf_real *scratch);

/* Layer norm over rows of width w; mean and rstd [rows] are outputs of forward, inputs of
 * backward. */
void cf_layer_norm_forward(cf_real *y, cf_real *mean, cf_real *rstd, const cf_real *x,
                           const cf_real *scale, const cf_real *shift, size_t rows, size_t w,
                           cf_real eps);
/* y once more, the same bits, from what forward found. */
void cf_layer_norm_again(cf_real *y, const cf_real *mean, const cf_real *rstd, const cf_real *x,
                         const cf_real *scale, const cf_real *shift, size_t rows, size_t w);
/* dx NULL: not wanted; dx_accumulate: add, else it may be dy. dscale, dshift (NULL: not wanted) are
 * added to. scratch: cf_layer_norm_scratch(w) elements. */
size_t cf_layer_norm_scratch(size_t w);
void cf_layer_norm_backward(cf_real *dx, bool dx_accumulate, cf_real *dscale, cf_real *dshift,
                            const cf_real *dy, const cf_real *x, const cf_real *mean,
                            const cf_real *rstd, const cf_real *scale, size_t rows, size_t w,
                            cf_real *scratch);

/* Softmax of each row of x [rows, n] into y (may be x). */
void cf_softmax_forward(cf_real *y, const cf_real *x, size_t rows, size_t n);

/* Scaled dot-product attention of `groups` sequences, `heads` heads of width hw each.
 *   q: group g, row i, head h at q + g * q_group + i * q_row + h * hw  (q_group 0: shared by all)
 *   k, v likewise with kv_row; ek, ev (NULL: none): one further key and value per group, after the
 *   sk others, at ek + g * ekv_group + h * hw
 *   out: group g, row i at out + (g * sq + i) * out_row + h * hw
 *   causal: row i sees keys 0 .. i (sq = sk, no ek)
 *   lse [groups, heads, sq]: log of the softmax denominators, kept for backward
 * Scores are scaled by hw^-1/2 and never stored: backward recomputes them. */
typedef struct {
    size_t groups, heads, hw, sq, sk;
    const cf_real *q, *k, *v, *ek, *ev;
    size_t q_group, q_row, kv_group, kv_row, ekv_group;
    cf_real *out;
    size_t out_row;
    cf_real *lse;
    bool causal;
} cf_attention_args;
typedef struct {
    const cf_real *dout; /* like out */
    cf_real *dq, *dk, *dv, *dek,
        *dev; /* strided like q, k, v, ek, ev; ADDED to; NULL: not wanted */
    bool dq_fresh, dk_fresh, dv_fresh, dekv_fresh; /* stored, whatever is there */
} cf_attention_grads;
size_t cf_attention_scratch(const cf_attention_args *a, bool backward); /* elements */
void cf_attention_forward(const cf_attention_args *a, cf_real *scratch);
void cf_attention_backward(const cf_attention_args *a, const cf_attention_grads *g,
                           cf_real *scratch);

/* Patches of `frames` pictures [frames, 3, size, size] as rows [frames, N, 3 p p] (columns channel,
 * y, x), a frame's first row `pitch` elements after that of the frame before; and the reverse (adds
 * into the pictures). */
void cf_im2col(cf_real *rows, size_t pitch, const cf_real *pictures, size_t frames, size_t size,
               size_t patch);
void cf_col2im_add(cf_real *pictures, const cf_real *rows, size_t pitch, size_t frames, size_t size,
                   size_t patch);

#endif
