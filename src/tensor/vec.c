/* Flat vectors: zero, copy, add, scale, sum of squares; column sums; row softmax. */
#include "kernel.h"

/* ---- flat memory -------------------------------------------------------------------------- */

#define BLOCK ((size_t)8192)
#define N_BLOCKS(n) (((n) + BLOCK - 1) / BLOCK)
#define BLOCK_SIZE(n, at) ((n) - (at) < BLOCK ? (n) - (at) : BLOCK)

CF_KERNEL static void add_range(cf_real *y, const cf_real *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

CF_KERNEL static void scale_range(cf_real *y, cf_real a, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] *= a;
}

CF_KERNEL static double sum_squares_range(const cf_real *x, size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

void cf_vec_zero(cf_real *y, size_t n)
{
    size_t blocks = N_BLOCKS(n);
#pragma omp parallel for schedule(static) if (n >= CF_PARALLEL_MIN)
    for (size_t b = 0; b < blocks; b++)
        memset(y + b * BLOCK, 0, BLOCK_SIZE(n, b * BLOCK) * sizeof *y);
}

void cf_vec_copy(cf_real *y, const cf_real *x, size_t n)
{
    size_t blocks = N_BLOCKS(n);
#pragma omp parallel for schedule(static) if (n >= CF_PARALLEL_MIN)
    for (size_t b = 0; b < blocks; b++)
        memcpy(y + b * BLOCK, x + b * BLOCK, BLOCK_SIZE(n, b * BLOCK) * sizeof *y);
}

void cf_vec_add(cf_real *y, const cf_real *x, size_t n)
{
    size_t blocks = N_BLOCKS(n);
#pragma omp parallel for schedule(static) if (n >= CF_PARALLEL_MIN)
    for (size_t b = 0; b < blocks; b++)
        add_range(y + b * BLOCK, x + b * BLOCK, BLOCK_SIZE(n, b * BLOCK));
}

void cf_vec_scale(cf_real *y, cf_real a, size_t n)
{
    size_t blocks = N_BLOCKS(n);
#pragma omp parallel for schedule(static) if (n >= CF_PARALLEL_MIN)
    for (size_t b = 0; b < blocks; b++) scale_range(y + b * BLOCK, a, BLOCK_SIZE(n, b * BLOCK));
}

/* A fixed number of parts, so that the result does not depend on the number of threads. */
#define SUM_PARTS ((size_t)64)

double cf_vec_sum_squares(const cf_real *x, size_t n)
{
    double part[SUM_PARTS], sum = 0;
    size_t step = (n / SUM_PARTS + CF_VEC_LEN) / CF_VEC_LEN * CF_VEC_LEN;
#pragma omp parallel for schedule(static) if (n >= CF_PARALLEL_MIN)
    for (size_t p = 0; p < SUM_PARTS; p++) {
        size_t at = p * step < n ? p * step : n;
        part[p] = sum_squares_range(x + at, n - at < step ? n - at : step);
    }
    for (size_t p = 0; p < SUM_PARTS; p++) sum += part[p];
    return sum;
}

/* ---- column sums -------------------------------------------------------------------------- */

/* The matrix is cut into stripes of columns and these into row parts; one task is one part of one
 * stripe. How it is cut depends on the sizes alone, never on the number of threads. */
#define STRIPE ((size_t)256)
#define COL_TASKS ((size_t)64)
#define ROW_BLOCK ((size_t)32) /* rows summed in cf_real before they enter the double sum */

static size_t col_stripes(size_t n) { return (n + STRIPE - 1) / STRIPE; }

static size_t row_parts_max(size_t n)
{
    return col_stripes(n) >= COL_TASKS ? 1 : COL_TASKS / (n ? col_stripes(n) : 1);
}

size_t cf_col_sum_scratch(size_t n)
{
    size_t parts = row_parts_max(n); /* of doubles, whose alignment scratch need not have */
    return parts == 1 ? 0 : (parts * n + 1) * (sizeof(double) / sizeof(cf_real));
}

CF_KERNEL static void sum_stripe(double *sum, const cf_real *x, size_t rows, size_t n, size_t ld)
{
    cf_real acc[STRIPE];
    for (size_t j = 0; j < n; j++) sum[j] = 0;
    for (size_t at = 0; at < rows; at += ROW_BLOCK) {
        size_t end = rows - at < ROW_BLOCK ? rows : at + ROW_BLOCK, i = at;
        for (size_t j = 0; j < n; j++) acc[j] = 0;
        for (; i + 4 <= end; i += 4) {
            const cf_real *r = x + i * ld;
#pragma omp simd
            for (size_t j = 0; j < n; j++)
                acc[j] += (r[j] + r[j + ld]) + (r[j + 2 * ld] + r[j + 3 * ld]);
        }
        for (; i < end; i++) {
#pragma omp simd
            for (size_t j = 0; j < n; j++) acc[j] += x[i * ld + j];
        }
#pragma omp simd
        for (size_t j = 0; j < n; j++) sum[j] += (double)acc[j];
    }
}

void cf_col_sum(cf_real *sum, const cf_real *x, size_t rows, size_t n, size_t ld, cf_real *scratch)
{
    size_t stripes = col_stripes(n), parts = (rows + 2 * ROW_BLOCK - 1) / (2 * ROW_BLOCK);
    if (parts > row_parts_max(n)) parts = row_parts_max(n);
    if (rows == 0 || n == 0) return;
    size_t past = (uintptr_t)scratch % sizeof(double) / sizeof(cf_real);
    double *partial = (double *)(void *)(scratch + past); /* [parts, n]; unused with one part */
#pragma omp parallel for schedule(static) if (rows * n >= CF_PARALLEL_MIN)
    for (size_t task = 0; task < stripes * parts; task++) {
        size_t part = task / stripes, column = task % stripes * STRIPE;
        size_t row = rows * part / parts, end = rows * (part + 1) / parts;
        size_t width = n - column < STRIPE ? n - column : STRIPE;
        double one[STRIPE], *to = parts == 1 ? one : partial + part * n + column;
        sum_stripe(to, x + row * ld + column, end - row, width, ld);
        if (parts == 1)
            for (size_t j = 0; j < width; j++)
                sum[column + j] = (cf_real)((double)sum[column + j] + one[j]);
    }
    if (parts == 1) return;
    for (size_t j = 0; j < n; j++) {
        double total = 0;
        for (size_t part = 0; part < parts; part++) total += partial[part * n + j];
        sum[j] = (cf_real)((double)sum[j] + total);
    }
}

/* ---- softmax ------------------------------------------------------------------------------ */

CF_KERNEL static void softmax_rows(cf_real *y, const cf_real *x, size_t rows, size_t n)
{
    for (size_t i = 0; i < rows; i++, y += n, x += n) {
        cf_real top = x[0];
        double sum = 0;
#pragma omp simd reduction(max : top)
        for (size_t j = 0; j < n; j++) top = x[j] > top ? x[j] : top;
#pragma omp simd reduction(+ : sum)
        for (size_t j = 0; j < n; j++) {
            cf_real e = cf_fast_exp(x[j] - top);
            y[j] = e;
            sum += (double)e;
        }
        cf_real inverse = (cf_real)(1 / sum);
#pragma omp simd
        for (size_t j = 0; j < n; j++) y[j] *= inverse;
    }
}

void cf_softmax_forward(cf_real *y, const cf_real *x, size_t rows, size_t n)
{
    if (n == 0) return;
    size_t step = n < 1024 ? 1024 / n : 1, blocks = (rows + step - 1) / step;
#pragma omp parallel for schedule(static) if (rows * n >= CF_PARALLEL_MIN / 4)
    for (size_t b = 0; b < blocks; b++) {
        size_t at = b * step, count = rows - at < step ? rows - at : step;
        softmax_rows(y + at * n, x + at * n, count, n);
    }
}
