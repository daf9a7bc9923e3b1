/* Frame sampling: the table of the specification, every mode against another writing of its formula
 * for 1 to 2,000 frames and T 1 to 64, distributions. */
#include "synthetic.h"

#include "crossframe/data.h"

static cf_rng stream(uint64_t index) { return cf_rng_make(5, CF_RNG_FRAMES, 1, index); }

static void table_of_the_specification(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        int train[8], test[8];
    } rows[] = {
        { 1, { 0, 0, 0, 0, 0, 0, 0, 0 }, { 0, 0, 0, 0, 0, 0, 0, 0 } },
        { 3, { 0, 0, 1, 1, 2, 2, 2, 0 }, { 0, 0, 0, 1, 1, 2, 2, 2 } },
        { 5, { 0, 1, 1, 2, 2, 3, 4, 4 }, { 0, 0, 1, 2, 2, 3, 4, 4 } },
        { 7, { 0, 1, 2, 3, 4, 4, 5, 6 }, { 0, 1, 2, 3, 3, 4, 5, 6 } },
        { 300, { -1 }, { 18, 56, 93, 131, 168, 206, 243, 281 } },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        int64_t train[8], test[8];
        cf_rng rng = stream(k);
        cf_sample_train(train, 8, rows[k].n, CF_SAMPLING_SPARSE, &rng);
        cf_sample_test(test, 8, rows[k].n, CF_SAMPLING_SPARSE, 0, 1);
        for (int i = 0; i < 8; i++) {
            assert_int_equal(test[i], rows[k].test[i]);
            if (rows[k].n < 8) assert_int_equal(train[i], rows[k].train[i]);
        }
    }
}

static void sparse_training_takes_one_frame_of_each_segment(void **state)
{
    (void)state;
    for (size_t T = 1; T <= 64; T++)
        for (size_t n = 1; n < 600; n += n < 140 ? 1 : 23) {
            int64_t index[64];
            size_t segment = n / T;
            cf_rng rng = stream(T * 1000 + n);
            cf_sample_train(index, T, n, CF_SAMPLING_SPARSE, &rng);
            for (size_t i = 0; i < T; i++) {
                assert_in_range(index[i], 0, n - 1);
                if (segment)
                    assert_int_equal((size_t)index[i] / segment, i);
                else { /* rounding may give n, which wraps */
                    int64_t near = (int64_t)nearbyint((double)i * ((double)n / (double)T));
                    assert_int_equal(index[i], near == (int64_t)n ? 0 : near);
                }
            }
            if (T == 8 || T == 16 || T == 32) /* Q5: the last frame wraps exactly here */
                assert_int_equal(T > 1 && index[T - 1] == 0 && n > 1, n > 1 && n <= T / 2);
        }
}

static void sparse_training_draws_evenly(void **state)
{
    (void)state;
    size_t count[4][12] = { { 0 } };
    for (uint64_t k = 0; k < 12000; k++) {
        int64_t index[4];
        cf_rng rng = stream(k);
        cf_sample_train(index, 4, 50, CF_SAMPLING_SPARSE, &rng); /* segments of 12 */
        for (size_t i = 0; i < 4; i++) count[i][index[i] - (int64_t)(12 * i)]++;
    }
    for (int i = 0; i < 4; i++) assert_even(count[i], 12);
}

static void sparse_test_takes_the_middles(void **state)
{
    (void)state;
    for (size_t T = 1; T <= 64; T++)
        for (size_t n = 1; n < 3000; n += n < 300 ? 1 : 37) {
            int64_t index[64];
            cf_sample_test(index, T, n, CF_SAMPLING_SPARSE, 0, 1);
            for (size_t i = 0; i < T; i++) {
                int64_t exact = (int64_t)((2 * i + 1) * n / (2 * T));
                if ((T & (T - 1)) == 0)
                    assert_int_equal(index[i], exact);
                else
                    assert_true(index[i] == exact || index[i] == exact - 1);
                assert_int_equal(index[i], (int64_t)((double)i * ((double)n / (double)T) +
                                                     ((double)n / (double)T) / 2));
            }
        }
}

/* Read view by view inside each segment, the indices of V views of T are those of one view of V
 * T. */
static void sparse_views_are_shifted_evenly(void **state)
{
    (void)state;
    for (size_t n = 1; n < 500; n++) {
        int64_t fine[32], index[8];
        cf_sample_test(fine, 32, n, CF_SAMPLING_SPARSE, 0, 1);
        for (size_t view = 0; view < 4; view++) {
            cf_sample_test(index, 8, n, CF_SAMPLING_SPARSE, view, 4);
            for (size_t i = 0; i < 8; i++) assert_int_equal(index[i], fine[4 * i + view]);
        }
    }
}

static void dense_reads_at_even_steps_round_the_end(void **state)
{
    (void)state;
    size_t start[37] = { 0 };
    for (size_t n = 1; n < 300; n++)
        for (size_t T = 1; T <= 100; T += 3) {
            int64_t index[100];
            size_t step = T < 64 ? 64 / T : 1;
            cf_rng rng = stream(n * 1000 + T);
            cf_sample_train(index, T, n, CF_SAMPLING_DENSE, &rng);
            assert_in_range(index[0], 0, n >= T * step ? n - T * step : 0);
            for (size_t i = 1; i < T; i++)
                assert_int_equal(index[i], ((size_t)index[0] + i * step) % n);
        }
    for (uint64_t k = 0; k < 20000; k++) {
        int64_t index[8];
        cf_rng rng = stream(k);
        cf_sample_train(index, 8, 100, CF_SAMPLING_DENSE, &rng); /* 37 places */
        start[index[0]]++;
    }
    assert_even(start, 37);
}

static void dense_views_are_spread_evenly(void **state)
{
    (void)state;
    int64_t index[8];
    static const int64_t centre[] = { 18, 26, 34, 42, 50, 58, 66, 74 },
                         starts[] = { 4, 13, 23, 32 };
    cf_sample_test(index, 8, 100, CF_SAMPLING_DENSE, 0, 1);
    for (int i = 0; i < 8; i++) assert_int_equal(index[i], centre[i]);
    for (size_t view = 0; view < 4; view++) {
        cf_sample_test(index, 8, 100, CF_SAMPLING_DENSE, view, 4);
        assert_int_equal(index[0], starts[view]); /* 37 places at 1/8, 3/8, 5/8, 7/8 */
        cf_sample_test(index, 8, 10, CF_SAMPLING_DENSE, view, 4);
        for (size_t i = 0; i < 8; i++) assert_int_equal(index[i], 8 * i % 10);
    }
}

/* Spec 3.1 by itself: index i of a view that starts at, or draws, `u`. wrap: the loop rule. */
static int64_t inside(int64_t index, size_t n, bool wrap)
{
    if (wrap) return index - (int64_t)n * (index / (int64_t)n);
    return index >= (int64_t)n ? (int64_t)n - 1 : index;
}

static void expect_random(const int64_t *index, size_t T, size_t n, cf_sampling mode, cf_rng *rng,
                          bool wrap)
{
    size_t average = n / T, step = T >= 64 ? 1 : 64 / T, start = 0;
    if (mode == CF_SAMPLING_DENSE && n > T * step)
        start = cf_rng_below(rng, (uint32_t)(n - T * step + 1));
    for (size_t i = 0; i < T; i++) {
        int64_t expected;
        if (mode == CF_SAMPLING_DENSE)
            expected = (int64_t)(start + i * step);
        else if (n >= T)
            expected = (int64_t)(i * average + cf_rng_below(rng, (uint32_t)average));
        else
            expected = llrint((double)i * ((double)n / (double)T));
        if (index[i] != inside(expected, n, wrap)) fail_msg("T %zu, %zu frames, %zu", T, n, i);
    }
}

static void expect_fixed(const int64_t *index, size_t T, size_t n, cf_sampling mode, size_t view,
                         size_t views, bool wrap)
{
    double average = (double)n / (double)T, at = ((double)view + 0.5) / (double)views;
    size_t step = T >= 64 ? 1 : 64 / T, places = n < T * step ? 1 : n - T * step + 1;
    for (size_t i = 0; i < T; i++) {
        double sparse = (double)i * average + (views == 1 ? average / 2 : average * at);
        int64_t expected = mode == CF_SAMPLING_SPARSE
                               ? (int64_t)sparse
                               : (int64_t)(floor(at * (double)places) + (double)(i * step));
        if (index[i] != inside(expected, n, wrap)) fail_msg("T %zu, %zu frames, %zu", T, n, i);
    }
}

/* All modes, lengths 1 to 2,000, T 1 to 64. */
static void every_mode_by_its_formula(void **state)
{
    (void)state;
    int64_t index[64];
    for (size_t n = 1; n <= 2000; n++)
        for (size_t T = 1; T <= 64; T++) {
            size_t clip = (n + T) % 4;
            cf_loader_options o = { .T = T, .clips = 4, .seed = 7 };
            for (int mode = 0; mode < 2; mode++) {
                o.sampling = mode;
                cf_rng a = stream(n * 64 + T), b = a;
                cf_sample_train(index, T, n, o.sampling, &a);
                expect_random(index, T, n, o.sampling, &b, true);
                cf_sample_test(index, T, n, o.sampling, 0, 1);
                expect_fixed(index, T, n, o.sampling, 0, 1, true);
                cf_sample_test(index, T, n, o.sampling, clip, 4);
                expect_fixed(index, T, n, o.sampling, clip, 4, true);
                o.short_videos = clip < 2 ? CF_SHORT_CLAMP : CF_SHORT_LOOP;
                bool wrap = clip >= 2;
                o.view_sampling = CF_VIEWS_DETERMINISTIC;
                o.training = false;
                cf_sample_view(index, n, &o, 0, clip, 33);
                expect_fixed(index, T, n, o.sampling, clip, 4, wrap);
                o.view_sampling = CF_VIEWS_RANDOM;
                cf_sample_view(index, n, &o, 9, clip, 33); /* the epoch does not count */
                b = cf_rng_make(7, CF_RNG_VIEWS, (uint32_t)clip, 33);
                expect_random(index, T, n, o.sampling, &b, wrap);
                o.training = true;
                cf_sample_view(index, n, &o, 2, 0, 33);
                b = cf_rng_make(7, CF_RNG_FRAMES, 2, 33);
                expect_random(index, T, n, o.sampling, &b, wrap);
            }
        }
}

/* The published distribution: each view's frames even in their segments, views and videos
 * independent; one view stays the centre. */
static void random_views_are_drawn_as_in_training(void **state)
{
    (void)state;
    enum { N = 10000, SEGMENT = 5 };
    size_t count[4][SEGMENT] = { { 0 } }, pair[SEGMENT * SEGMENT] = { 0 },
           across[SEGMENT * SEGMENT] = { 0 };
    cf_loader_options o = { .T = 2, .clips = 4, .view_sampling = CF_VIEWS_RANDOM, .seed = 3 };
    int64_t last = 0;
    for (uint64_t video = 0; video < N; video++) {
        int64_t index[4][2];
        for (size_t view = 0; view < 4; view++) {
            cf_sample_view(index[view], 2 * SEGMENT + 1, &o, 0, view, video);
            assert_in_range(index[view][1], SEGMENT, 2 * SEGMENT - 1);
            count[view][index[view][0]]++;
        }
        pair[index[0][0] * SEGMENT + index[1][0]]++;
        across[last * SEGMENT + index[3][1] - SEGMENT]++;
        last = index[3][0];
    }
    for (int view = 0; view < 4; view++) assert_even(count[view], SEGMENT);
    assert_even(pair, SEGMENT * SEGMENT);
    assert_even(across, SEGMENT * SEGMENT);
    int64_t one[2];
    o.clips = 1;
    cf_sample_view(one, 11, &o, 0, 0, 5);
    assert_true(one[0] == 2 && one[1] == 8);
}

TESTS(TEST(every_mode_by_its_formula), TEST(random_views_are_drawn_as_in_training),
      TEST(table_of_the_specification), TEST(sparse_training_takes_one_frame_of_each_segment),
      TEST(sparse_training_draws_evenly), TEST(sparse_test_takes_the_middles),
      TEST(sparse_views_are_shifted_evenly), TEST(dense_reads_at_even_steps_round_the_end),
      TEST(dense_views_are_spread_evenly))
