/* Our own matrix product, for CPUs with AVX-512: see gemm_blocked.c. Private to the module. */
#ifndef CROSSFRAME_TENSOR_GEMM_BLOCKED_H
#define CROSSFRAME_TENSOR_GEMM_BLOCKED_H

#include "crossframe/tensor.h"

/* C [m, n] = alpha op(A) op(B) + beta C, row-major, as cf_gemm. False: nothing was done, because
 * this CPU or precision has no kernel or there is no memory for packing. Inside a parallel region
 * it uses the calling thread alone. An element's sum has the same order whatever the number of
 * threads. */
bool cf_gemm_blocked(bool ta, bool tb, size_t m, size_t n, size_t k, cf_real alpha,
                     const cf_real *a, size_t lda, const cf_real *b, size_t ldb, cf_real beta,
                     cf_real *c, size_t ldc);
/* cf_gemm_fuses is in gemm_blocked.c too, and cf_gemm_fused. */

#endif
