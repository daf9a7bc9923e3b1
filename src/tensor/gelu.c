/* QuickGELU, x sigmoid(1.702 x), forward and backward over flat memory. */
#include "kernel.h"

#define SLOPE ((cf_real)1.702)

CF_KERNEL static void forward_range(cf_real *y, const cf_real *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] = x[i] / (1 + cf_fast_exp(-SLOPE * x[i]));
}

/* d/dx x s(ax) = s + a x s (1 - s) */
CF_KERNEL static void backward_range(cf_real *dx, const cf_real *dy, const cf_real *x, size_t n,
                                     cf_real keep)
{
    if (keep == 0) {
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            cf_real s = 1 / (1 + cf_fast_exp(-SLOPE * x[i]));
            dx[i] = dy[i] * (s + SLOPE * x[i] * s * (1 - s));
        }
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        cf_real s = 1 / (1 + cf_fast_exp(-SLOPE * x[i]));
        dx[i] += dy[i] * (s + SLOPE * x[i] * s * (1 - s));
    }
}

#define BLOCK ((size_t)4096)

void cf_quick_gelu_forward(cf_real *y, const cf_real *x, size_t n)
{
    size_t blocks = (n + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) if (n >= CF_PARALLEL_MIN)
    for (size_t b = 0; b < blocks; b++) {
        size_t at = b * BLOCK, count = n - at < BLOCK ? n - at : BLOCK;
        forward_range(y + at, x + at, count);
    }
}

void cf_quick_gelu_backward(cf_real *dx, const cf_real *dy, const cf_real *x, size_t n,
                            bool accumulate)
{
    size_t blocks = (n + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) if (n >= CF_PARALLEL_MIN)
    for (size_t b = 0; b < blocks; b++) {
        size_t at = b * BLOCK, count = n - at < BLOCK ? n - at : BLOCK;
        backward_range(dx + at, dy + at, x + at, count, accumulate ? 1 : 0);
    }
}
