/* Matrix products: our own kernels where the CPU has AVX-512, else OpenBLAS. One product uses all
 * threads; a batch of small ones gives each thread whole products (OpenBLAS's OpenMP build, too,
 * runs single-threaded inside a parallel region). */
#include "crossframe/tensor.h"

#include <cblas.h>

#include "tensor/gemm_blocked.h"

#if CF_REAL_IS_DOUBLE
#define GEMM cblas_dgemm
#else
#define GEMM cblas_sgemm
#endif

/* Multiply-adds from which one product alone is worth all threads. */
#define WHOLE_MACHINE ((size_t)1 << 22)

void cf_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, cf_real alpha, const cf_real *a,
             size_t lda, const cf_real *b, size_t ldb, cf_real beta, cf_real *c, size_t ldc)
{
    if (m == 0 || n == 0) return;
    if (cf_gemm_blocked(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)) return;
    GEMM(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (blasint)m,
         (blasint)n, (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

void cf_gemm_batch(size_t batch, bool ta, bool tb, size_t m, size_t n, size_t k, cf_real alpha,
                   const cf_real *a, size_t lda, size_t stride_a, const cf_real *b, size_t ldb,
                   size_t stride_b, cf_real beta, cf_real *c, size_t ldc, size_t stride_c)
{
    if (batch <= 1 || m * n * k >= WHOLE_MACHINE) {
        for (size_t i = 0; i < batch; i++)
            cf_gemm(ta, tb, m, n, k, alpha, a + i * stride_a, lda, b + i * stride_b, ldb, beta,
                    c + i * stride_c, ldc);
        return;
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < batch; i++)
        cf_gemm(ta, tb, m, n, k, alpha, a + i * stride_a, lda, b + i * stride_b, ldb, beta,
                c + i * stride_c, ldc);
}
