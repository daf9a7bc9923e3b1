/* Random numbers: published Philox vectors, independence of streams, distributions. */
#include "test.h"

/* Random123 1.14, tests/kat_vectors, "philox4x32 10". */
static void philox_gives_the_published_vectors(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } vectors[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
          { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint32_t out[4];
        cf_philox4x32(out, vectors[i].counter, vectors[i].key);
        assert_memory_equal(out, vectors[i].out, sizeof out);
    }
}

/* Pinned: another value here means that runs of an older build cannot be repeated. */
static void streams_stay_what_they_were(void **state)
{
    (void)state;
    cf_rng r = cf_rng_make(1024, CF_RNG_TEST, 3, 0x123456789u);
    static const uint32_t words[] = { 0x7647edd1, 0xd19603f6, 0xc274b587,
                                      0x97a41eec, 0x71f4d1e4, 0xfc082189 };
    for (int i = 0; i < 6; i++) assert_int_equal(cf_rng_u32(&r), words[i]);
}

static void each_part_of_the_key_counts(void **state)
{
    (void)state;
    cf_rng same[2] = { cf_rng_make(7, CF_RNG_TEST, 1, 2), cf_rng_make(7, CF_RNG_TEST, 1, 2) };
    cf_rng other[] = {
        cf_rng_make(8, CF_RNG_TEST, 1, 2),
        cf_rng_make(7 + (1ull << 32), CF_RNG_TEST, 1, 2),
        cf_rng_make(7, CF_RNG_CROP, 1, 2),
        cf_rng_make(7, CF_RNG_TEST, 2, 2),
        cf_rng_make(7, CF_RNG_TEST, 2, 1),
        cf_rng_make(7, CF_RNG_TEST, 1, 3),
        cf_rng_make(7, CF_RNG_TEST, 1, 2 + (1ull << 32)),
    };
    uint32_t first = cf_rng_u32(&same[0]);
    assert_int_equal(first, cf_rng_u32(&same[1]));
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        assert_int_not_equal(first, cf_rng_u32(&other[i]));
}

typedef double draw_fn(cf_rng *r);

static void assert_moments(draw_fn *draw, double mean, double variance)
{
    enum { N = 200000 };
    cf_rng r = cf_rng_make(42, CF_RNG_TEST, 0, 0);
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        double x = draw(&r);
        sum += x - mean;
        squares += (x - mean) * (x - mean);
    }
    /* Five standard errors of the mean; the variance's own spread is a few percent at most. */
    assert_near(sum / N, 0, 5 * sqrt(variance / N));
    assert_near(squares / N / variance, 1, 0.03);
}

static double uniform_f32(cf_rng *r) { return cf_rng_uniform_f32(r); }
static double below_10(cf_rng *r) { return cf_rng_below(r, 10); }
static double gamma_3(cf_rng *r) { return cf_rng_gamma(r, 3); }
static double gamma_half(cf_rng *r) { return cf_rng_gamma(r, 0.5); }
static double beta_2_5(cf_rng *r) { return cf_rng_beta(r, 2, 5); }
static double beta_mixup(cf_rng *r) { return cf_rng_beta(r, 0.8, 0.8); }

static void moments_are_right(void **state)
{
    (void)state;
    assert_moments(cf_rng_uniform, 0.5, 1.0 / 12);
    assert_moments(uniform_f32, 0.5, 1.0 / 12);
    assert_moments(below_10, 4.5, 99.0 / 12);
    assert_moments(cf_rng_normal, 0, 1);
    assert_moments(gamma_3, 3, 3);
    assert_moments(gamma_half, 0.5, 0.5);
    assert_moments(beta_2_5, 2.0 / 7, 10.0 / (49 * 8));
    assert_moments(beta_mixup, 0.5, 0.25 / 2.6);
}

static void ranges_hold(void **state)
{
    (void)state;
    cf_rng r = cf_rng_make(1, CF_RNG_TEST, 0, 0);
    int counts[7] = { 0 };
    for (int i = 0; i < 70000; i++) {
        double u = cf_rng_uniform(&r), b = cf_rng_beta(&r, 0.01, 0.01), g = cf_rng_gamma(&r, 0.01);
        float f = cf_rng_uniform_f32(&r);
        assert_true(u >= 0 && u < 1 && f >= 0 && f < 1 && b >= 0 && b <= 1 && g >= 0);
        assert_true(isfinite(cf_rng_normal(&r)));
        counts[cf_rng_below(&r, 7)]++;
    }
    for (int i = 0; i < 7; i++) assert_near(counts[i], 10000, 500);
    for (int i = 0; i < 100; i++) assert_int_equal(cf_rng_below(&r, 1), 0);
    /* Two thirds of all words are below 2/3 * 2^32; taking a remainder would make it 3/4. */
    int low = 0;
    for (int i = 0; i < 100000; i++) low += cf_rng_below(&r, 3u << 30) < 3u << 29;
    assert_near(low / 1e5, 0.5, 0.01);
}

static void shuffles_are_even(void **state)
{
    (void)state;
    int at_first[5] = { 0 };
    for (uint64_t i = 0; i < 10000; i++) {
        cf_rng r = cf_rng_make(3, CF_RNG_TEST, 0, i);
        int64_t v[5] = { 0, 1, 2, 3, 4 }, seen = 0;
        cf_rng_shuffle(&r, v, 5);
        for (int k = 0; k < 5; k++) seen |= (int64_t)1 << v[k];
        assert_int_equal(seen, 31);
        at_first[v[0]]++;
    }
    for (int k = 0; k < 5; k++) assert_near(at_first[k], 2000, 200);
    cf_rng r = cf_rng_make(3, CF_RNG_TEST, 0, 0);
    cf_rng_shuffle(&r, NULL, 0);
}

static void hash_is_fnv_1a(void **state)
{
    (void)state;
    assert_true(cf_hash64("", 0) == 0xcbf29ce484222325u);
    assert_true(cf_hash64("a", 1) == 0xaf63dc4c8601ec8cu);
    assert_true(cf_hash64("foobar", 6) == 0x85944171f73967e8u);
}

TESTS(TEST(philox_gives_the_published_vectors), TEST(streams_stay_what_they_were),
      TEST(each_part_of_the_key_counts), TEST(moments_are_right), TEST(ranges_hold),
      TEST(shuffles_are_even), TEST(hash_is_fnv_1a))
