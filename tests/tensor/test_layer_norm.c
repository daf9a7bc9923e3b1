/* Layer norm against the formulas in double. */
#include "reference.h"

typedef struct {
    size_t rows, w;
    cf_real *x, *scale, *shift, *dy, *y, *mean, *rstd, *dx, *dscale, *dshift, *scratch;
} norm;

#define EPS 1e-5

static norm norm_of(size_t rows, size_t w, double offset, double spread)
{
    return (norm){ .rows = rows,
                   .w = w,
                   .x = values(rows * w, offset, spread),
                   .scale = values(w, 1, 0.5),
                   .shift = values(w, 0, 1),
                   .dy = values(rows * w, 0, 1),
                   .y = zeros(rows * w),
                   .mean = zeros(rows),
                   .rstd = zeros(rows),
                   .dx = values(rows * w, 0, 1),
                   .dscale = values(w, 0, 1),
                   .dshift = values(w, 0, 1),
                   .scratch = zeros(cf_layer_norm_scratch(w)) };
}

static void norm_free(norm *n)
{
    cf_real *all[] = { n->x,    n->scale, n->shift,  n->dy,     n->y,      n->mean,
                       n->rstd, n->dx,    n->dscale, n->dshift, n->scratch };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) cf_free(all[i]);
}

typedef struct {
    double *y, *dx, *dscale, *dshift;
} expected;

/* The formulas, row by row; gradients are added to what is there. */
static void reference(expected *e, const norm *n)
{
    size_t w = n->w;
    for (size_t r = 0; r < n->rows; r++) {
        const cf_real *x = n->x + r * w, *dy = n->dy + r * w;
        double mean = 0, var = 0, g_mean = 0, gx_mean = 0;
        for (size_t j = 0; j < w; j++) mean += (double)x[j] / (double)w;
        for (size_t j = 0; j < w; j++)
            var += ((double)x[j] - mean) * ((double)x[j] - mean) / (double)w;
        double inv = 1 / sqrt(var + EPS);
        for (size_t j = 0; j < w; j++) {
            double hat = ((double)x[j] - mean) * inv, g = (double)dy[j] * (double)n->scale[j];
            e->y[r * w + j] = hat * (double)n->scale[j] + (double)n->shift[j];
            g_mean += g / (double)w;
            gx_mean += g * hat / (double)w;
            e->dscale[j] += (double)dy[j] * hat;
            e->dshift[j] += (double)dy[j];
        }
        for (size_t j = 0; j < w; j++) {
            double hat = ((double)x[j] - mean) * inv;
            e->dx[r * w + j] +=
                inv * ((double)dy[j] * (double)n->scale[j] - g_mean - hat * gx_mean);
        }
    }
}

static double *as_double(const cf_real *x, size_t n)
{
    double *y;
    assert_ok(cf_alloc_zero(&y, n, sizeof *y));
    for (size_t i = 0; i < n; i++) y[i] = (double)x[i];
    return y;
}

static void check_norm(size_t rows, size_t w, double offset, double spread, double tolerance)
{
    norm n = norm_of(rows, w, offset, spread);
    expected e = { .y = as_double(n.y, rows * w),
                   .dx = as_double(n.dx, rows * w),
                   .dscale = as_double(n.dscale, w),
                   .dshift = as_double(n.dshift, w) };
    reference(&e, &n);
    cf_real *dx_start = copy_of(n.dx, rows * w);
    cf_layer_norm_forward(n.y, n.mean, n.rstd, n.x, n.scale, n.shift, rows, w, (cf_real)EPS);
    assert_all_near(n.y, e.y, rows * w, tolerance);
    cf_layer_norm_backward(n.dx, true, n.dscale, n.dshift, n.dy, n.x, n.mean, n.rstd, n.scale, rows,
                           w, n.scratch);
    assert_all_near(n.dx, e.dx, rows * w, tolerance);
    assert_all_near(n.dscale, e.dscale, w, tolerance * sqrt((double)rows));
    assert_all_near(n.dshift, e.dshift, w, tolerance * sqrt((double)rows));
    /* Without accumulation; and dx alone, the others alone. */
    for (size_t i = 0; i < rows * w; i++) e.dx[i] -= (double)dx_start[i];
    cf_layer_norm_backward(n.dx, false, NULL, NULL, n.dy, n.x, n.mean, n.rstd, n.scale, rows, w,
                           n.scratch);
    assert_all_near(n.dx, e.dx, rows * w, tolerance);
    cf_real *dscale = copy_of(n.dscale, w), *dshift = copy_of(n.dshift, w);
    cf_layer_norm_backward(NULL, false, NULL, n.dshift, n.dy, n.x, n.mean, n.rstd, n.scale, rows, w,
                           n.scratch);
    assert_memory_equal(dscale, n.dscale, w * sizeof *dscale);
    cf_layer_norm_backward(NULL, false, n.dscale, NULL, n.dy, n.x, n.mean, n.rstd, n.scale, rows, w,
                           n.scratch);
    for (size_t j = 0; j < w; j++) assert_true(rows == 0 || n.dshift[j] != dshift[j]);
    cf_free(dscale);
    cf_free(dshift);
    cf_free(dx_start);
    cf_free(e.y);
    cf_free(e.dx);
    cf_free(e.dscale);
    cf_free(e.dshift);
    norm_free(&n);
}

static void sizes_of_rows(void **state)
{
    (void)state;
    static const size_t width[] = { 3, 5, 17, 64, 65, 768 }, rows[] = { 1, 2, 63, 64, 65, 131 };
    for (size_t i = 0; i < sizeof width / sizeof *width; i++)
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++)
            check_norm(rows[j], width[i], 0, 2, TOLERANCE(1e-5, 1e-13));
}

/* At mean 1e4 and variance 1/3 a variance of E[x^2] - E[x]^2 in float would be noise. */
static void far_from_zero(void **state)
{
    (void)state;
    check_norm(9, 768, 1e4, 1, TOLERANCE(5e-3, 1e-10));
}

static void width_one_gives_the_shift(void **state)
{
    (void)state;
    norm n = norm_of(4, 1, 0, 3);
    cf_layer_norm_forward(n.y, n.mean, n.rstd, n.x, n.scale, n.shift, 4, 1, (cf_real)EPS);
    for (size_t r = 0; r < 4; r++) assert_true(n.y[r] == n.shift[0] && n.mean[r] == n.x[r]);
    cf_layer_norm_backward(n.dx, false, n.dscale, n.dshift, n.dy, n.x, n.mean, n.rstd, n.scale, 4,
                           1, n.scratch);
    for (size_t r = 0; r < 4; r++) assert_near(n.dx[r], 0, TOLERANCE(1e-4, 1e-12));
    norm_free(&n);
}

/* Rows do not see each other: permuted rows give permuted results, bit for bit. */
static void rows_are_independent(void **state)
{
    (void)state;
    enum { ROWS = 70, W = 33 };
    norm n = norm_of(ROWS, W, 0, 1);
    cf_real *turned = zeros(ROWS * W), *y = zeros(ROWS * W);
    for (size_t r = 0; r < ROWS; r++)
        memcpy(turned + (r + 11) % ROWS * W, n.x + r * W, W * sizeof *turned);
    cf_layer_norm_forward(n.y, n.mean, n.rstd, n.x, n.scale, n.shift, ROWS, W, (cf_real)EPS);
    cf_layer_norm_forward(y, n.mean, n.rstd, turned, n.scale, n.shift, ROWS, W, (cf_real)EPS);
    for (size_t r = 0; r < ROWS; r++)
        assert_memory_equal(y + (r + 11) % ROWS * W, n.y + r * W, W * sizeof *y);
    cf_free(turned);
    cf_free(y);
    norm_free(&n);
}

TESTS(TEST(sizes_of_rows), TEST(far_from_zero), TEST(width_one_gives_the_shift),
      TEST(rows_are_independent))
