/* The schedule: every reference value of the specification, to 1e-9 relative; clipping factor. */
#include "test.h"

#include "crossframe/optim.h"

static void assert_relative(double got, double expected)
{
    assert_near(got, expected, 1e-9 * fabs(expected));
}

static cf_schedule schedule_of(double lr, uint64_t epochs, uint64_t warmup_epochs, uint64_t n)
{
    return (cf_schedule){ .lr = lr,
                          .new_factor = 10,
                          .min_lr = lr / 100,
                          .warmup = warmup_epochs * n,
                          .total = epochs * n };
}

/* The rates of update `u` (from 0) as the loop asks for them: n micro-batches an epoch, A an
 * update, left-over ones discarded. */
static void rates_of_update(double lr[2], const cf_schedule *s, uint64_t n, uint64_t A, uint64_t u)
{
    uint64_t each = n / A, before = u ? u - 1 : 0;
    cf_schedule_rates(lr, s, u == 0, before / each * n + before % each * A + A - 1);
}

static void without_accumulation(void **state)
{
    (void)state;
    static const struct {
        uint64_t t;
        double lr;
    } rows[] = {
        { 0, 0 },
        { 1, 0 },
        { 2, 1.6e-8 },
        { 499, 7.968e-6 },
        { 500, 7.984e-6 },
        { 501, 7.469460598986378e-6 },
        { 1500, 4.044146901544809e-6 },
        { 2999, 8.000868524869796e-8 },
    };
    cf_schedule s = schedule_of(8e-6, 30, 5, 100);
    double lr[2];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rates_of_update(lr, &s, 100, 1, rows[i].t);
        assert_relative(lr[0], rows[i].lr);
    }
    rates_of_update(lr, &s, 100, 1, 501);
    assert_relative(lr[1], 7.464637513522616e-5);
    rates_of_update(lr, &s, 100, 1, 2999);
    assert_relative(lr[1], 8.008764205504303e-8);
}

static void four_micro_batches_an_update_with_two_left_over(void **state)
{
    (void)state;
    static const double printed[] = { 0, 4.705882e-8, 1.098039e-7, 1.725490e-7 };
    cf_schedule s = schedule_of(8e-6, 30, 5, 102);
    double lr[2];
    for (uint64_t u = 0; u < 4; u++) {
        rates_of_update(lr, &s, 102, 4, u);
        assert_relative(lr[0], u ? (double)(4 * u - 1) * 8e-6 / 510 : 0);
        assert_relative(lr[1], 10 * lr[0]);
        assert_near(lr[0], printed[u], u < 2 ? 0.51e-14 : 0.51e-13); /* seven digits are given */
    }
}

static void two_micro_batches_an_update_without_warm_up(void **state)
{
    (void)state;
    static const double head[] = { 2e-6, 1.988942517962877e-6, 1.901959179223395e-6,
                                   1.735721353111528e-6 };
    cf_schedule s = schedule_of(2e-6, 3, 0, 7);
    double lr[2], last = 1;
    for (uint64_t u = 0; u < 9; u++) {
        rates_of_update(lr, &s, 7, 2, u);
        if (u < 4) assert_relative(lr[0], head[u]);
        assert_true(lr[0] < last);
        last = lr[0];
    }
    assert_relative(last, 1.9202361342716493e-7);
    cf_schedule_rates(lr, &s, true, 0);
    assert_relative(lr[1], 2e-5);
}

static void all_groups_end_at_the_same_rate(void **state)
{
    (void)state;
    cf_schedule s = schedule_of(8e-6, 30, 5, 100);
    assert_relative(cf_schedule_at(&s, 8e-6, 3000), 8e-8);
    assert_relative(cf_schedule_at(&s, 8e-5, 3000), 8e-8);
    assert_relative(cf_schedule_at(&s, 8e-5, UINT64_MAX), 8e-8);
    cf_schedule empty = { .lr = 1, .new_factor = 10, .min_lr = 0.01 };
    assert_relative(cf_schedule_at(&empty, 1, 0), 0.01);
}

static void factor_brings_the_norm_to_the_limit(void **state)
{
    (void)state;
    assert_near(cf_clip_factor(4, 1), 0.25, 0);
    assert_near(cf_clip_factor(4, 4), 1, 0);
    assert_near(cf_clip_factor(0.5, 1), 1, 0);
    assert_near(cf_clip_factor(0, 1), 1, 0);
    assert_near(cf_clip_factor(1e30, 0), 1, 0);
}

TESTS(TEST(without_accumulation), TEST(four_micro_batches_an_update_with_two_left_over),
      TEST(two_micro_batches_an_update_without_warm_up), TEST(all_groups_end_at_the_same_rate),
      TEST(factor_brings_the_norm_to_the_limit))
