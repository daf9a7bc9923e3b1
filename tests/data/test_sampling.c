/* Frame sampling: the table of the specification, the formulas for many N and T, distributions. */
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

TESTS(TEST(table_of_the_specification), TEST(sparse_training_takes_one_frame_of_each_segment),
      TEST(sparse_training_draws_evenly), TEST(sparse_test_takes_the_middles),
      TEST(sparse_views_are_shifted_evenly), TEST(dense_reads_at_even_steps_round_the_end),
      TEST(dense_views_are_spread_evenly))
