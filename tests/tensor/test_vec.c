/* Flat vectors, column sums, softmax, QuickGELU and shapes against plain loops in double. */
#include "reference.h"

/* Around the sizes where blocks and threads begin. */
static const size_t sizes[] = { 0, 1, 7, 64, 8191, 8192, 8193, 16383, 16384, 50001 };
#define N_SIZES (sizeof sizes / sizeof *sizes)

static void flat_memory(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SIZES; s++) {
        size_t n = sizes[s];
        cf_real *x = values(n + 1, 0, 1), *y = values(n + 1, 0, 1), *was = copy_of(y, n + 1);
        cf_vec_add(y, x, n);
        for (size_t i = 0; i < n; i++) assert_true(y[i] == was[i] + x[i]);
        cf_vec_copy(y, x, n);
        assert_memory_equal(y, x, n * sizeof *y);
        cf_vec_scale(y, 3, n);
        for (size_t i = 0; i < n; i++) assert_true(y[i] == 3 * x[i]);
        double squares = 0;
        for (size_t i = 0; i < n; i++) squares += (double)x[i] * (double)x[i];
        assert_near(cf_vec_sum_squares(x, n), squares, 1e-12 * (double)(n + 1));
        cf_vec_zero(y, n);
        for (size_t i = 0; i < n; i++) assert_true(y[i] == 0);
        assert_true(y[n] == was[n]); /* one past the end is untouched by all of them */
        cf_free(x);
        cf_free(y);
        cf_free(was);
    }
}

static void sum_of_squares_has_the_same_bits_on_any_threads(void **state)
{
    (void)state;
    size_t n = 100003;
    cf_real *x = values(n, 0, 1);
    int before = omp_get_max_threads();
    double sum = cf_vec_sum_squares(x, n);
    for (int threads = 1; threads < 5; threads++) {
        omp_set_num_threads(threads);
        assert_true(cf_vec_sum_squares(x, n) == sum);
    }
    omp_set_num_threads(before);
    cf_free(x);
}

/* ---- column sums -------------------------------------------------------------------------- */

static void check_columns(size_t rows, size_t n, size_t ld)
{
    cf_real *x = values(rows * ld, 0.5, 1), *sum = values(n + 1, 0, 1),
            *start = copy_of(sum, n + 1);
    cf_real *expected = copy_of(sum, n + 1), *scratch = zeros(cf_col_sum_scratch(n));
    for (size_t j = 0; j < n; j++) {
        double total = (double)sum[j];
        for (size_t i = 0; i < rows; i++) total += (double)x[i * ld + j];
        expected[j] = (cf_real)total;
    }
    cf_col_sum(sum, x, rows, n, ld, scratch);
    /* The result is rounded once; blocks of 32 rows are summed in cf_real. */
    assert_all_near(sum, expected, n + 1, TOLERANCE(2e-7, 1e-14) * (double)(rows + 10));
    int before = omp_get_max_threads();
    cf_real *again = copy_of(start, n + 1);
    omp_set_num_threads(3);
    cf_col_sum(again, x, rows, n, ld, scratch);
    omp_set_num_threads(before);
    assert_memory_equal(again, sum, (n + 1) * sizeof *sum);
    cf_free(x);
    cf_free(sum);
    cf_free(start);
    cf_free(expected);
    cf_free(scratch);
    cf_free(again);
}

static void column_sums(void **state)
{
    (void)state;
    static const size_t rows[] = { 0, 1, 3, 4, 31, 32, 33, 64, 65, 1001 };
    static const size_t columns[] = { 1, 3, 255, 256, 257, 700 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t j = 0; j < sizeof columns / sizeof *columns; j++)
            check_columns(rows[i], columns[j], columns[j] + (i + j) % 3);
    check_columns(5, 20001, 20001); /* wider than all stripes: no row parts */
    check_columns(300, 16384, 16384);
    check_columns(20000, 2, 7);
}

/* In float alone a running sum of a million values of 0.1 is off by a percent. */
static void column_sums_keep_their_digits(void **state)
{
    (void)state;
    size_t rows = 1000000;
    cf_real *x = zeros(rows), *scratch = zeros(cf_col_sum_scratch(1)), sum = 0;
    for (size_t i = 0; i < rows; i++) x[i] = (cf_real)0.1;
    cf_col_sum(&sum, x, rows, 1, 1, scratch);
    assert_near(sum, (double)rows * (double)(cf_real)0.1, TOLERANCE(0.05, 1e-6));
    cf_free(x);
    cf_free(scratch);
}

/* ---- softmax ------------------------------------------------------------------------------ */

static void check_softmax(size_t rows, size_t n, double offset, double scale)
{
    cf_real *x = values(rows * n, offset, scale), *y = zeros(rows * n), *expected = zeros(rows * n);
    for (size_t i = 0; i < rows; i++) {
        const cf_real *from = x + i * n;
        double top = (double)from[0], sum = 0;
        for (size_t j = 0; j < n; j++) top = fmax(top, (double)from[j]);
        for (size_t j = 0; j < n; j++) sum += exp((double)from[j] - top);
        for (size_t j = 0; j < n; j++)
            expected[i * n + j] = (cf_real)(exp((double)from[j] - top) / sum);
    }
    cf_softmax_forward(y, x, rows, n);
    assert_all_near(y, expected, rows * n, TOLERANCE(4e-7, 1e-15));
    for (size_t i = 0; i < rows; i++) {
        double sum = 0;
        for (size_t j = 0; j < n; j++) sum += (double)y[i * n + j];
        assert_near(sum, 1, TOLERANCE(2e-6, 1e-14));
    }
    cf_softmax_forward(x, x, rows, n); /* in place */
    assert_memory_equal(x, y, rows * n * sizeof *x);
    cf_free(x);
    cf_free(y);
    cf_free(expected);
}

static void softmax(void **state)
{
    (void)state;
    static const size_t width[] = { 1, 2, 5, 17, 400, 1025 };
    for (size_t i = 0; i < sizeof width / sizeof *width; i++) {
        check_softmax(1, width[i], 0, 3);
        check_softmax(7, width[i], 100, 50);
        check_softmax(50, width[i], -1e4, 10);
    }
    cf_softmax_forward(NULL, NULL, 0, 5);
    cf_softmax_forward(NULL, NULL, 5, 0);
}

static void softmax_of_extremes(void **state)
{
    (void)state;
    cf_real hidden[] = { (cf_real)-INFINITY, 2, (cf_real)-INFINITY, 2 },
            bad[] = { 1, (cf_real)NAN };
    cf_softmax_forward(hidden, hidden, 1, 4);
    const double half[] = { 0, 0.5, 0, 0.5 };
    assert_all_near(hidden, half, 4, 1e-6);
    cf_softmax_forward(bad, bad, 1, 2);
    assert_true(isnan(bad[0]) && isnan(bad[1]));
}

/* ---- QuickGELU ---------------------------------------------------------------------------- */

static double gelu(double x) { return x / (1 + exp(-1.702 * x)); }

static double gelu_slope(double x)
{
    double s = 1 / (1 + exp(-1.702 * x));
    return s + 1.702 * x * s * (1 - s);
}

static void quick_gelu(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SIZES; s++) {
        size_t n = sizes[s];
        cf_real *x = values(n, 0, 20), *dy = values(n, 0, 1), *y = zeros(n), *dx = zeros(n);
        cf_real *expected = zeros(n), *slope = zeros(n);
        for (size_t i = 0; i < n; i++) {
            expected[i] = (cf_real)gelu((double)x[i]);
            slope[i] = (cf_real)((double)dy[i] * gelu_slope((double)x[i]));
        }
        cf_quick_gelu_forward(y, x, n);
        assert_all_near(y, expected, n, TOLERANCE(4e-6, 1e-14));
        cf_quick_gelu_backward(dx, dy, x, n, false);
        assert_all_near(dx, slope, n, TOLERANCE(2e-6, 1e-14));
        cf_quick_gelu_backward(dx, dy, x, n, true);
        for (size_t i = 0; i < n; i++) slope[i] *= 2;
        assert_all_near(dx, slope, n, TOLERANCE(4e-6, 1e-14));
        cf_quick_gelu_backward(dy, dy, x, n, false); /* in place */
        for (size_t i = 0; i < n; i++) slope[i] /= 2;
        assert_all_near(dy, slope, n, TOLERANCE(2e-6, 1e-14));
        cf_quick_gelu_forward(x, x, n);
        assert_memory_equal(x, y, n * sizeof *x);
        cf_free(x);
        cf_free(dy);
        cf_free(y);
        cf_free(dx);
        cf_free(expected);
        cf_free(slope);
    }
}

static void quick_gelu_far_out(void **state)
{
    (void)state;
    cf_real x[] = { 0, 1e4, -1e4, 60, -60, (cf_real)NAN }, y[6];
    cf_quick_gelu_forward(y, x, 6);
    assert_true(y[0] == 0 && y[1] == x[1] && y[3] == 60);
    assert_true(y[2] <= 0 && fabs((double)y[2]) < 1e-20);
    assert_true(y[4] <= 0 && fabs((double)y[4]) < 1e-20);
    assert_true(isnan(y[5]));
}

/* ---- shapes ------------------------------------------------------------------------------- */

static void shapes(void **state)
{
    (void)state;
    cf_shape number = { .rank = 0 }, a = cf_shape_of(2, 3, 4), b = cf_shape_of(2, 3, 5);
    cf_shape_text text;
    assert_int_equal(cf_shape_count(&number), 1);
    assert_int_equal(cf_shape_last(&number), 1);
    assert_int_equal(cf_shape_count(&a), 24);
    assert_int_equal(cf_shape_last(&b), 5);
    assert_true(cf_shape_equal(&a, &a));
    assert_false(cf_shape_equal(&a, &b));
    assert_false(cf_shape_equal(&a, &number));
    assert_string_equal(cf_shape_print(&text, &a), "[2, 3, 4]");
    assert_string_equal(cf_shape_print(&text, &number), "[]");
    cf_shape huge = cf_shape_of(SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX);
    assert_true(strlen(cf_shape_print(&text, &huge)) < sizeof text.text);
}

TESTS(TEST(flat_memory), TEST(sum_of_squares_has_the_same_bits_on_any_threads), TEST(column_sums),
      TEST(column_sums_keep_their_digits), TEST(softmax), TEST(softmax_of_extremes),
      TEST(quick_gelu), TEST(quick_gelu_far_out), TEST(shapes))
