/* Matrix products against three loops in double: odd sizes, transposes, strides, alpha and beta. */
#include "reference.h"

#include <omp.h>

#include "tensor/gemm_kernel.h"

typedef struct {
    bool ta, tb;
    size_t m, n, k, lda, ldb, ldc;
    cf_real alpha, beta;
} product;

static void naive(cf_real *c, const cf_real *a, const cf_real *b, const product *p)
{
    for (size_t i = 0; i < p->m; i++)
        for (size_t j = 0; j < p->n; j++) {
            double sum = 0;
            for (size_t l = 0; l < p->k; l++)
                sum += (double)(p->ta ? a[l * p->lda + i] : a[i * p->lda + l]) *
                       (double)(p->tb ? b[j * p->ldb + l] : b[l * p->ldb + j]);
            cf_real *to = c + i * p->ldc + j;
            *to = (cf_real)((double)p->alpha * sum +
                            (p->beta != 0 ? (double)p->beta * (double)*to : 0));
        }
}

static product product_of(size_t m, size_t n, size_t k, bool ta, bool tb, size_t pad)
{
    return (product){ .ta = ta,
                      .tb = tb,
                      .m = m,
                      .n = n,
                      .k = k,
                      .lda = (ta ? m : k) + pad,
                      .ldb = (tb ? k : n) + 2 * pad,
                      .ldc = n + pad,
                      .alpha = 1 };
}

static void check_product(product p)
{
    size_t n_a = (p.ta ? p.k : p.m) * p.lda, n_b = (p.tb ? p.n : p.k) * p.ldb, n_c = p.m * p.ldc;
    cf_real *a = values(n_a, 0, 1), *b = values(n_b, 0, 1), *got = values(n_c, 0, 1);
    /* beta 0 means that C is not read, whatever is in it. */
    if (p.beta == 0) got[0] = (cf_real)NAN;
    cf_real *expected = copy_of(got, n_c);
    naive(expected, a, b, &p);
    cf_gemm(p.ta, p.tb, p.m, p.n, p.k, p.alpha, a, p.lda, b, p.ldb, p.beta, got, p.ldc);
    assert_all_near(got, expected, n_c, TOLERANCE(2e-7, 4e-16) * (double)(p.k + 4));
    cf_free(a);
    cf_free(b);
    cf_free(got);
    cf_free(expected);
}

static void odd_sizes(void **state)
{
    (void)state;
    static const size_t size[] = { 1, 2, 3, 5, 17, 33, 65 };
    enum { N = sizeof size / sizeof *size };
    for (size_t i = 0; i < N * N * N; i++)
        for (int flags = 0; flags < 4; flags++)
            check_product(product_of(size[i % N], size[i / N % N], size[i / N / N],
                                     (flags & 1) != 0, (flags & 2) != 0, 0));
}

static void strides_alpha_beta(void **state)
{
    (void)state;
    for (int flags = 0; flags < 4; flags++)
        for (size_t pad = 0; pad < 3; pad++) {
            product p = product_of(13, 7, 19, (flags & 1) != 0, (flags & 2) != 0, pad);
            p.alpha = (cf_real)0.75;
            p.beta = 1;
            check_product(p);
            p.beta = (cf_real)-0.5;
            check_product(p);
        }
}

static void large_enough_for_all_threads(void **state)
{
    (void)state;
    check_product(product_of(301, 257, 129, false, true, 0));
    check_product(product_of(67, 131, 1001, true, false, 5));
}

/* Sizes on both sides of what gemm_blocked.c decides by: steps and columns of a block, rows of a
 * tile, what is packed and what is read where it lies, few rows. */
static void beyond_one_block(void **state)
{
    (void)state;
    for (int flags = 0; flags < 4; flags++) {
        bool ta = (flags & 1) != 0, tb = (flags & 2) != 0;
        product p = product_of(703, 33, 1101, ta, tb, 1);
        p.beta = 1;
        check_product(p);
        p = product_of(29, 3105, 1041, ta, tb, 3);
        p.alpha = (cf_real)-0.5;
        check_product(p);
        p.beta = (cf_real)0.25;
        check_product(p);
        check_product(product_of(40, 2500, 1050, ta, tb, 0));
        check_product(product_of(661, 530, 70, ta, tb, 2));
        check_product(product_of(20, 45, 1024, ta, tb, 0)); /* rows 4096 bytes apart */
        check_product(product_of(168, 256, 320, ta, tb, 0));
    }
}

/* Our own kernels: the same bits with 1, 2, 3 threads. Any: the same inside a parallel region. */
static void threads_do_not_show(void **state)
{
    (void)state;
    enum { M = 341, N = 700, K = 1250 };
    cf_real *a = values(M * K, 0, 1), *b = values(N * K, 0, 1), *c[4];
    int before = omp_get_max_threads();
    for (int i = 0; i < 4; i++) {
        assert_ok(cf_alloc(&c[i], (size_t)M * N, sizeof **c));
        if (i == 3) break;
        omp_set_num_threads(i + 1);
        cf_gemm(false, true, M, N, K, 1, a, K, b, K, 0, c[i], N);
    }
    omp_set_num_threads(2);
#pragma omp parallel for
    for (int i = 0; i < 2; i++)
        cf_gemm(false, true, i ? M - 200 : 200, N, K, 1, a + (i ? 200 * K : 0), K, b, K, 0,
                c[3] + (i ? 200 * N : 0), N);
    omp_set_num_threads(before);
    for (int i = 1; i < 4; i++) {
        if (i < 3 && cf_gemm_kernel_here())
            assert_memory_equal(c[0], c[i], (size_t)M * N * sizeof **c);
        assert_all_near(c[0], c[i], M * N, TOLERANCE(1e-4, 1e-12));
        cf_free(c[i]);
    }
    cf_free(c[0]);
    cf_free(a);
    cf_free(b);
}

static double gelu(double x) { return x / (1 + exp(-1.702 * x)); }
static double gelu_slope(double x)
{
    double s = 1 / (1 + exp(-1.702 * x));
    return s + 1.702 * x * s * (1 - s);
}

/* What is done on the way equals doing it before and after. */
static void check_fused(size_t m, size_t n, size_t k, bool ta, bool tb, int what)
{
    enum { GELU_A = 1, GELU_B = 2, BIAS = 4, ADD = 8, SLOPE = 16 };
    size_t lda = ta ? m : k, ldb = tb ? k : n, add_rows = what & ADD ? (m % 3 ? m : m / 3) : 0;
    cf_real *a = values(m * k, 0, 1), *b = values(n * k, 0, 1), *bias = values(n, 0, 1);
    cf_real *add = values(m * n, 0, 1), *x = values(m * n, 0, 1), *got = values(m * n, 0, 1);
    cf_real beta = what & SLOPE ? 0 : 1, *c = copy_of(got, m * n);
    const cf_gemm_extra extra = { .gelu_a = (what & GELU_A) != 0,
                                  .gelu_b = (what & GELU_B) != 0,
                                  .bias = what & BIAS ? bias : NULL,
                                  .add = what & ADD ? add : NULL,
                                  .add_rows = add_rows,
                                  .slope = what & SLOPE ? x : NULL };
    cf_gemm_fused(ta, tb, m, n, k, a, lda, b, ldb, beta, got, &extra);
    if (what & SLOPE && k <= CF_GEMM_ONE_PASS) { /* over what the slope is taken at */
        cf_real *over = copy_of(x, m * n);
        cf_gemm_extra in_place = extra;
        in_place.slope = over;
        cf_gemm_fused(ta, tb, m, n, k, a, lda, b, ldb, beta, over, &in_place);
        assert_memory_equal(over, got, m * n * sizeof *got);
        cf_free(over);
    }
    if (what & GELU_A)
        for (size_t i = 0; i < m * k; i++) a[i] = (cf_real)gelu((double)a[i]);
    if (what & GELU_B)
        for (size_t i = 0; i < n * k; i++) b[i] = (cf_real)gelu((double)b[i]);
    product p = product_of(m, n, k, ta, tb, 0);
    p.beta = beta;
    naive(c, a, b, &p);
    for (size_t i = 0; i < m * n; i++) {
        if (what & BIAS) c[i] += bias[i % n];
        if (what & ADD) c[i] += add[i / n % add_rows * n + i % n];
        if (what & SLOPE) c[i] = (cf_real)((double)c[i] * gelu_slope((double)x[i]));
    }
    assert_all_near(got, c, m * n, 4e-7 * (double)(k + 4));
    cf_free(a), cf_free(b), cf_free(bias), cf_free(add), cf_free(x), cf_free(got), cf_free(c);
}

static void on_the_way(void **state)
{
    (void)state;
    bool here;
    assert_ok(cf_gemm_fuses(&here));
    if (!here) skip(); /* nothing may call it then */
    for (int what = 0; what < 32; what++)
        for (int flags = 0; flags < 4; flags++) {
            bool ta = (flags & 1) != 0, tb = (flags & 2) != 0;
            check_fused(33, 50, 29, ta, tb, what);
            check_fused(31, 70, 45, ta, tb, what);
            if (flags == what % 4) {
                check_fused(180, 70, 1100, ta, tb, what);
                check_fused(60, 70, CF_GEMM_ONE_PASS, ta, tb, what);
                check_fused(650, 520, 21, ta, tb, what);
            }
        }
}

static void nothing_to_multiply(void **state)
{
    (void)state;
    cf_real c = 3;
    cf_gemm(false, false, 0, 4, 4, 1, NULL, 4, NULL, 4, 0, &c, 4);
    cf_gemm(false, false, 4, 0, 4, 1, NULL, 4, NULL, 4, 0, &c, 4);
    cf_gemm_batch(0, false, false, 1, 1, 1, 1, NULL, 1, 1, NULL, 1, 1, 0, &c, 1, 1);
    assert_true(c == 3);
}

static void check_batch(size_t batch, product p, size_t shared_b)
{
    size_t n_a = p.m * p.k, n_b = shared_b ? 0 : p.k * p.n, n_c = p.m * p.n;
    cf_real *a = values(batch * n_a, 0, 1), *b = values(batch * p.k * p.n, 0, 1);
    cf_real *got = values(batch * n_c, 0, 1), *expected = copy_of(got, batch * n_c);
    for (size_t i = 0; i < batch; i++) naive(expected + i * n_c, a + i * n_a, b + i * n_b, &p);
    cf_gemm_batch(batch, p.ta, p.tb, p.m, p.n, p.k, p.alpha, a, p.lda, n_a, b, p.ldb, n_b, p.beta,
                  got, p.ldc, n_c);
    assert_all_near(got, expected, batch * n_c, TOLERANCE(2e-7, 4e-16) * (double)(p.k + 4));
    cf_free(a);
    cf_free(b);
    cf_free(got);
    cf_free(expected);
}

static void batches(void **state)
{
    (void)state;
    for (int flags = 0; flags < 4; flags++)
        for (size_t shared = 0; shared < 2; shared++) {
            product p = product_of(9, 5, 21, (flags & 1) != 0, (flags & 2) != 0, 0);
            check_batch(7, p, shared);
            p.beta = 1;
            check_batch(7, p, shared);
            check_batch(1, p, shared);
        }
    check_batch(2, product_of(170, 180, 150, false, true, 0), 0);
}

TESTS(TEST(odd_sizes), TEST(strides_alpha_beta), TEST(large_enough_for_all_threads),
      TEST(beyond_one_block), TEST(threads_do_not_show), TEST(on_the_way),
      TEST(nothing_to_multiply), TEST(batches))
