/* Layer norm over rows (Ba, Kiros, Hinton 2016). Two passes for the variance: at mean 1e4 and
 * variance 1, E[x^2] - E[x]^2 in float gave -64 over 768 values. Gradients of scale and shift are
 * summed in blocks of rows, blocks in double, threads in order: same thread count, same bits. */
#include <omp.h>

#include "kernel.h"

#define ROW_BLOCK ((size_t)64)

typedef struct {
    const cf_real *dy, *x, *mean, *rstd, *scale;
    cf_real *dx, *dscale, *dshift; /* dscale, dshift: this thread's block sums; NULL: not wanted */
    size_t w;
    bool accumulate;
} backward_args;

CF_KERNEL static void forward_rows(cf_real *restrict y, cf_real *mean, cf_real *rstd,
                                   const cf_real *restrict x, const cf_real *restrict scale,
                                   const cf_real *restrict shift, size_t rows, size_t w,
                                   cf_real eps)
{
    for (size_t r = 0; r < rows; r++, x += w, y += w) {
        double sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t j = 0; j < w; j++) sum += (double)x[j];
        double m = sum / (double)w;
#pragma omp simd reduction(+ : squares)
        for (size_t j = 0; j < w; j++) {
            double d = (double)x[j] - m;
            squares += d * d;
        }
        cf_real mu = (cf_real)m, inv = (cf_real)(1 / sqrt(squares / (double)w + (double)eps));
        mean[r] = mu;
        rstd[r] = inv;
#pragma omp simd
        for (size_t j = 0; j < w; j++) y[j] = (x[j] - mu) * inv * scale[j] + shift[j];
    }
}

void cf_layer_norm_forward(cf_real *y, cf_real *mean, cf_real *rstd, const cf_real *x,
                           const cf_real *scale, const cf_real *shift, size_t rows, size_t w,
                           cf_real eps)
{
    size_t blocks = (rows + ROW_BLOCK - 1) / ROW_BLOCK;
#pragma omp parallel for schedule(static) if (rows * w >= CF_PARALLEL_MIN)
    for (size_t b = 0; b < blocks; b++) {
        size_t at = b * ROW_BLOCK, count = rows - at < ROW_BLOCK ? rows - at : ROW_BLOCK;
        forward_rows(y + at * w, mean + at, rstd + at, x + at * w, scale, shift, count, w, eps);
    }
}

CF_KERNEL static void again_rows(cf_real *restrict y, const cf_real *mean, const cf_real *rstd,
                                 const cf_real *restrict x, const cf_real *restrict scale,
                                 const cf_real *restrict shift, size_t rows, size_t w)
{
    for (size_t r = 0; r < rows; r++, x += w, y += w) {
        cf_real mu = mean[r], inv = rstd[r];
#pragma omp simd
        for (size_t j = 0; j < w; j++) y[j] = (x[j] - mu) * inv * scale[j] + shift[j];
    }
}

void cf_layer_norm_again(cf_real *y, const cf_real *mean, const cf_real *rstd, const cf_real *x,
                         const cf_real *scale, const cf_real *shift, size_t rows, size_t w)
{
    size_t blocks = (rows + ROW_BLOCK - 1) / ROW_BLOCK;
#pragma omp parallel for schedule(static) if (rows * w >= CF_PARALLEL_MIN)
    for (size_t b = 0; b < blocks; b++) {
        size_t at = b * ROW_BLOCK, count = rows - at < ROW_BLOCK ? rows - at : ROW_BLOCK;
        again_rows(y + at * w, mean + at, rstd + at, x + at * w, scale, shift, count, w);
    }
}

/* dx = rstd (g - mean(g) - xhat mean(g xhat)), g = dy scale, xhat = (x - mean) rstd; dx may be
 * dy */
CF_KERNEL static void backward_dx(const backward_args *a, size_t rows)
{
    size_t w = a->w;
    for (size_t r = 0; r < rows; r++) {
        const cf_real *restrict x = a->x + r * w, *dy = a->dy + r * w;
        const cf_real *restrict scale = a->scale;
        cf_real *dx = a->dx + r * w;
        cf_real mu = a->mean[r], inv = a->rstd[r];
        double g_sum = 0, gx_sum = 0;
#pragma omp simd reduction(+ : g_sum, gx_sum)
        for (size_t j = 0; j < w; j++) {
            cf_real g = dy[j] * scale[j];
            g_sum += (double)g;
            gx_sum += (double)(g * ((x[j] - mu) * inv));
        }
        cf_real g_mean = (cf_real)(g_sum / (double)w), gx_mean = (cf_real)(gx_sum / (double)w);
        if (a->accumulate) {
#pragma omp simd
            for (size_t j = 0; j < w; j++)
                dx[j] += inv * (dy[j] * scale[j] - g_mean - (x[j] - mu) * inv * gx_mean);
        } else {
#pragma omp simd
            for (size_t j = 0; j < w; j++)
                dx[j] = inv * (dy[j] * scale[j] - g_mean - (x[j] - mu) * inv * gx_mean);
        }
    }
}

CF_KERNEL static void backward_affine(const backward_args *a, size_t rows)
{
    size_t w = a->w;
    for (size_t r = 0; r < rows; r++) {
        const cf_real *restrict x = a->x + r * w, *restrict dy = a->dy + r * w;
        cf_real *restrict ds = a->dscale, *restrict db = a->dshift;
        cf_real mu = a->mean[r], inv = a->rstd[r];
#pragma omp simd
        for (size_t j = 0; j < w; j++) {
            ds[j] += dy[j] * ((x[j] - mu) * inv);
            db[j] += dy[j];
        }
    }
}

/* A thread's memory: sums of the current row block, then its totals in double. */
#define DOUBLES_PER_REAL (sizeof(double) / sizeof(cf_real))
static size_t thread_scratch(size_t w)
{
    size_t n = 2 * w + 2 * w * DOUBLES_PER_REAL;
    return (n + 15) / 16 * 16;
}

size_t cf_layer_norm_scratch(size_t w) { return (size_t)omp_get_max_threads() * thread_scratch(w); }

/* Rows [from, to) of one thread. */
static void backward_thread(backward_args a, size_t from, size_t to, cf_real *scratch, bool affine)
{
    size_t w = a.w;
    double *total = (double *)(void *)(scratch + 2 * w);
    if (affine)
        for (size_t j = 0; j < 2 * w; j++) total[j] = 0;
    const backward_args whole = a;
    for (size_t at = from; at < to; at += ROW_BLOCK) {
        size_t count = to - at < ROW_BLOCK ? to - at : ROW_BLOCK;
        a.dy = whole.dy + at * w;
        a.x = whole.x + at * w;
        a.mean = whole.mean + at;
        a.rstd = whole.rstd + at;
        if (affine) {
            for (size_t j = 0; j < 2 * w; j++) scratch[j] = 0;
            a.dscale = scratch;
            a.dshift = scratch + w;
            backward_affine(&a, count);
            for (size_t j = 0; j < 2 * w; j++) total[j] += (double)scratch[j];
        }
        if (whole.dx) {
            a.dx = whole.dx + at * w;
            backward_dx(&a, count);
        }
    }
}

void cf_layer_norm_backward(cf_real *dx, bool dx_accumulate, cf_real *dscale, cf_real *dshift,
                            const cf_real *dy, const cf_real *x, const cf_real *mean,
                            const cf_real *rstd, const cf_real *scale, size_t rows, size_t w,
                            cf_real *scratch)
{
    backward_args a = { .dy = dy,
                        .x = x,
                        .mean = mean,
                        .rstd = rstd,
                        .scale = scale,
                        .dx = dx,
                        .w = w,
                        .accumulate = dx_accumulate };
    bool affine = dscale || dshift;
    size_t per_thread = thread_scratch(w);
    int n_threads = rows * w >= CF_PARALLEL_MIN ? omp_get_max_threads() : 1;
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int t = 0; t < n_threads; t++) {
        size_t from = rows * (size_t)t / (size_t)n_threads;
        size_t to = rows * (size_t)(t + 1) / (size_t)n_threads;
        backward_thread(a, from, to, scratch + (size_t)t * per_thread, affine);
    }
    for (int t = 0; affine && t < n_threads; t++) {
        const double *total = (const double *)(void *)(scratch + (size_t)t * per_thread + 2 * w);
        for (size_t j = 0; j < w; j++) {
            if (dscale) dscale[j] += (cf_real)total[j];
            if (dshift) dshift[j] += (cf_real)total[w + j];
        }
    }
}
