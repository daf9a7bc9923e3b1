/* Label smoothing, mixup and cutmix: the examples of spec/data-and-recipe.md 6, another writing of
 * the mixes, distributions of the draws. */
#include "synthetic.h"

#include "data/batch.h"

static double soft_loss(const float *logits, const float *target, size_t n, size_t K)
{
    double loss = 0;
    for (size_t b = 0; b < n; b++) {
        double sum = 0;
        for (size_t k = 0; k < K; k++) sum += exp((double)logits[b * K + k]);
        for (size_t k = 0; k < K; k++)
            loss -= (double)target[b * K + k] * ((double)logits[b * K + k] - log(sum));
    }
    return loss / (double)n;
}

static void targets_of_the_specification(void **state)
{
    (void)state;
    static const float logits[8] = { 1, 2, -1, .5f, 0, 0, 3, 1 };
    static const int64_t swap[2] = { 1, 0 };
    float target[8], scratch[2 * 1024];
    int32_t column[2] = { 1, 2 };
    cf_mix_targets(target, column, 2, 4, 0);
    assert_near(soft_loss(logits, target, 2, 4), 0.3530898, 1e-6);
    cf_mix_targets(target, column, 2, 4, 0.1);
    for (int i = 0; i < 8; i++) assert_near(target[i], i == 1 || i == 6 ? .925 : .025, 1e-7);
    assert_near(soft_loss(logits, target, 2, 4), 0.5218397, 1e-6);
    cf_mix m = { .lambda = .3f, .partner = swap };
    cf_mix_rows(target, 2, 4, &m, scratch);
    assert_near(soft_loss(logits, target, 2, 4), 2.4118397, 1e-6);
}

static void boxes_of_the_specification(void **state)
{
    (void)state;
    cf_mix m;
    cf_mix_box(&m, .36f, 224, 10, 220);
    assert_true(m.x1 == 0 && m.x2 == 99 && m.y1 == 131 && m.y2 == 224);
    assert_near(m.lambda, 0.816506, 1e-6);
    static const struct {
        float lambda;
        size_t cut;
    } v[] = { { 0, 224 }, { .5f, 158 }, { .9f, 70 }, { .999f, 7 }, { 1, 0 } };
    for (size_t i = 0; i < 5; i++) {
        cf_mix_box(&m, v[i].lambda, 224, 112, 112);
        assert_int_equal(m.x2 - m.x1, v[i].cut / 2 * 2); /* an odd cut loses a pixel */
        assert_int_equal(m.y2 - m.y1, v[i].cut / 2 * 2);
        assert_near(m.lambda, 1 - (double)((m.x2 - m.x1) * (m.x2 - m.x1)) / (224. * 224), 1e-7);
    }
}

static void videos_by_definition(void **state)
{
    (void)state;
    enum { N = 5, PLANES = 6, S = 23, CLIP = PLANES * S * S };
    static float video[N * CLIP], before[N * CLIP], scratch[N * 1024];
    size_t need;
    assert_ok(cf_mix_scratch(&need, N, S));
    assert_int_equal(need, N * 1024);
    for (uint64_t k = 0; k < 60; k++) {
        cf_rng rng = cf_rng_make(1, CF_RNG_TEST, 0, k);
        for (size_t i = 0; i < N * CLIP; i++) before[i] = video[i] = cf_rng_uniform_f32(&rng) - .5f;
        int64_t partner[N];
        cf_mix_options o = { .1, .8, 1, .5 };
        cf_mix m;
        cf_mix_draw(&m, partner, N, S, &o, &rng);
        cf_mix_video(video, N, PLANES, S, &m, scratch);
        for (size_t b = 0; b < N; b++)
            for (size_t i = 0; i < CLIP; i++) {
                size_t x = i % S, y = i / S % S;
                bool inside = x >= m.x1 && x < m.x2 && y >= m.y1 && y < m.y2;
                float own = before[b * CLIP + i], other = before[(size_t)partner[b] * CLIP + i];
                float mixed = m.lambda * own + (1 - m.lambda) * other;
                float expected = !m.cutmix ? mixed : inside ? other : own;
                if (video[b * CLIP + i] != expected) fail_msg("clip %zu, element %zu", b, i);
            }
    }
}

static void draws(void **state)
{
    (void)state;
    enum { N = 24000, S = 16 };
    cf_mix_options o = { .1, .8, 1, .5 }, only_mixup = { .1, .8, 0, 1 },
                   only_cutmix = { .1, .8, 1, 1 };
    size_t cut = 0, order[27] = { 0 }, seen[6], n_seen = 0, x[S] = { 0 }, y[S] = { 0 };
    double sum = 0, square = 0, mixups = 0;
    for (uint64_t k = 0; k < N; k++) {
        int64_t partner[3];
        cf_rng rng = cf_rng_make(1, CF_RNG_MIX, 0, k);
        cf_mix m;
        cf_mix_draw(&m, partner, 3, S, &o, &rng);
        cut += m.cutmix;
        order[partner[0] * 9 + partner[1] * 3 + partner[2]]++;
        assert_true(m.lambda >= 0 && m.lambda <= 1);
        if (!m.cutmix) {
            sum += (double)m.lambda;
            square += (double)m.lambda * (double)m.lambda;
            mixups++;
        } else if (m.x2 - m.x1 == 2 && m.x1 > 0 && m.x2 < S) {
            x[m.x1]++; /* whole boxes of one size: their places are the centre's */
            y[m.y1]++;
        }
        cf_mix_draw(&m, partner, 3, S, &only_mixup, &rng);
        assert_false(m.cutmix);
        cf_mix_draw(&m, partner, 3, S, &only_cutmix, &rng);
        assert_true(m.cutmix);
    }
    for (int i = 0; i < 27; i++)
        if (order[i]) {
            assert_true(n_seen < 6);
            seen[n_seen++] = order[i];
        }
    assert_int_equal(n_seen, 6);
    assert_even(seen, 6);
    assert_rate(cut, N, .5);
    double mean = sum / mixups, variance = square / mixups - mean * mean;
    assert_near(mean, .5, .012);
    assert_near(variance, 1 / (4 * (2 * .8 + 1)), .005); /* of Beta(a, a) */
    assert_even(x + 1, S - 3);
}

TESTS(TEST(targets_of_the_specification), TEST(boxes_of_the_specification),
      TEST(videos_by_definition), TEST(draws))
