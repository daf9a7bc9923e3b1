/* The average of the weights: the formula in double, the swap, threads. */
#include <omp.h>

#include "test.h"

#include "crossframe/optim.h"

enum { ROWS = 300, COLUMNS = 101, STEPS = 3000 };

static cf_params *make_params(cf_tensor **t)
{
    cf_params *p;
    cf_tensor *scalar;
    assert_ok(cf_params_new(&p));
    assert_ok(cf_params_add(&scalar, p, (cf_init){ CF_INIT_CONSTANT, 4 }, cf_shape_of(1), "s"));
    assert_ok(
        cf_params_add(t, p, (cf_init){ CF_INIT_NORMAL, 0.5 }, cf_shape_of(ROWS, COLUMNS), "w"));
    assert_ok(cf_params_alloc(p, NULL, NULL));
    cf_params_init(p, 3);
    return p;
}

/* Small moves with a drift, as an optimiser at a low rate makes them. */
static void move(cf_tensor *t, size_t i, uint32_t step)
{
    cf_rng r = cf_rng_make(1, CF_RNG_TEST, step, i);
    t->data[i] += (cf_real)(8e-6 * (cf_rng_uniform(&r) - 0.3));
}

/* The plain formula in double. With one float block instead of two the error is 100 times as
 * large: the average stands still. */
static void it_is_the_formula(void **state)
{
    (void)state;
    cf_tensor *t;
    cf_params *p = make_params(&t);
    cf_ema *e;
    double a[64], worst = 0, moved = 0, start[64];
    assert_ok(cf_ema_new(&e, p, 0.9999));
    for (size_t i = 0; i < 64; i++) a[i] = start[i] = (double)t->data[i];
    for (uint32_t s = 1; s <= STEPS; s++) {
        double early = (1.0 + s) / (10.0 + s), d = early < 0.9999 ? early : 0.9999;
        assert_near(cf_ema_decay(0.9999, s), d, 0);
        for (size_t i = 0; i < 64; i++) move(t, i, s);
        cf_ema_update(e, s);
        for (size_t i = 0; i < 64; i++) a[i] += (1 - d) * ((double)t->data[i] - a[i]);
    }
    const cf_real *mean = cf_ema_mean(e, NULL) + cf_params_find(p, "w")->start;
    const cf_real *rest = cf_ema_rest(e, NULL) + cf_params_find(p, "w")->start;
    for (size_t i = 0; i < 64; i++) {
        double off = fabs((double)mean[i] + (double)rest[i] - a[i]);
        if (!(off <= worst)) worst = off;
        if (fabs(a[i] - start[i]) > moved) moved = fabs(a[i] - start[i]);
    }
    assert_true(moved > 1e-3);
    if (!(worst < 1e-6 * moved)) fail_msg("off by %g, the average moved by %g", worst, moved);
    assert_near(cf_ema_mean(e, NULL)[0], 4, 0); /* what does not move stays */
    cf_ema_free(e);
    cf_params_free(p);
}

static void the_decay_rises(void **state)
{
    (void)state;
    assert_near(cf_ema_decay(0.9999, 1), 2.0 / 11, 1e-15);
    assert_near(cf_ema_decay(0.9999, 10), 11.0 / 20, 1e-15);
    assert_near(cf_ema_decay(0.9999, 1000000), 0.9999, 0);
    assert_near(cf_ema_decay(0, 5), 0, 0);
    cf_tensor *t;
    cf_params *p = make_params(&t);
    cf_ema *e;
    assert_fails(cf_ema_new(&e, p, 1), CF_EINVAL, "decay 1");
    assert_fails(cf_ema_new(&e, p, -0.1), CF_EINVAL, "[0, 1)");
    assert_fails(cf_ema_new(&e, p, (double)NAN), CF_EINVAL, "[0, 1)");
    cf_params_free(p);
}

static void swapping_twice_changes_no_bit(void **state)
{
    (void)state;
    cf_tensor *t;
    cf_params *p = make_params(&t);
    cf_ema *e;
    size_t n;
    cf_real *weights = cf_params_weights(p, &n), *kept[2];
    assert_ok(cf_ema_new(&e, p, 0.9));
    for (uint32_t s = 1; s < 5; s++) {
        for (size_t i = 0; i < t->n; i++) move(t, i, s);
        cf_ema_update(e, s);
    }
    for (size_t k = 0; k < 2; k++) {
        assert_ok(cf_alloc(&kept[k], n, sizeof *weights));
        memcpy(kept[k], k ? cf_ema_mean(e, NULL) : weights, n * sizeof *weights);
    }
    assert_memory_not_equal(kept[0], kept[1], n * sizeof *weights);
    cf_ema_swap(e);
    assert_memory_equal(weights, kept[1], n * sizeof *weights);
    cf_ema_swap(e);
    assert_memory_equal(weights, kept[0], n * sizeof *weights);
    assert_memory_equal(cf_ema_mean(e, NULL), kept[1], n * sizeof *weights);
    cf_free(kept[0]);
    cf_free(kept[1]);
    cf_ema_free(e);
    cf_params_free(p);
}

static void threads_do_not_show(void **state)
{
    (void)state;
    cf_params *p[2];
    cf_ema *e[2];
    int before = omp_get_max_threads();
    for (int k = 0; k < 2; k++) {
        cf_tensor *t;
        omp_set_num_threads(k ? 3 : 1);
        p[k] = make_params(&t);
        assert_ok(cf_ema_new(&e[k], p[k], 0.99));
        for (uint32_t s = 1; s < 6; s++) {
            for (size_t i = 0; i < t->n; i++) move(t, i, s);
            cf_ema_update(e[k], s);
        }
    }
    omp_set_num_threads(before);
    size_t n;
    const cf_real *mean = cf_ema_mean(e[0], &n);
    assert_memory_equal(mean, cf_ema_mean(e[1], NULL), n * sizeof *mean);
    assert_memory_equal(cf_ema_rest(e[0], NULL), cf_ema_rest(e[1], NULL), n * sizeof *mean);
    for (int k = 0; k < 2; k++) {
        cf_ema_free(e[k]);
        cf_params_free(p[k]);
    }
}

TESTS(TEST(it_is_the_formula), TEST(the_decay_rises), TEST(swapping_twice_changes_no_bit),
      TEST(threads_do_not_show))
