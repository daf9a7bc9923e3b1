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

enum { DRAWS = 20000, SIDE = 16 };

static cf_mix draw(int64_t *partner, uint64_t k, double mixup, double cutmix, double cut)
{
    cf_mix_options o = { .1, mixup, cutmix, cut };
    cf_rng rng = cf_rng_make(1, CF_RNG_MIX, 0, k);
    cf_mix m;
    cf_mix_draw(&m, partner, 3, SIDE, &o, &rng);
    assert_true(m.lambda >= 0 && m.lambda <= 1);
    return m;
}

static void choice_and_permutation(void **state)
{
    (void)state;
    size_t cut = 0, rare = 0, order[27] = { 0 }, seen[6], n_seen = 0, joint[4] = { 0 };
    for (uint64_t k = 0; k < DRAWS; k++) {
        int64_t partner[3];
        cf_mix m = draw(partner, k, .8, 1, .5);
        cut += m.cutmix;
        order[partner[0] * 9 + partner[1] * 3 + partner[2]]++;
        if (partner[0] != 0) joint[2 * m.cutmix + (partner[0] == 1)]++;
        rare += draw(partner, k, .8, 1, .1).cutmix;
        assert_false(draw(partner, k, .8, 0, 1).cutmix);
        assert_true(draw(partner, k, .8, 1, 1).cutmix);
        assert_false(draw(partner, k, .8, 1, 0).cutmix);
    }
    for (int i = 0; i < 27; i++)
        if (order[i]) {
            assert_true(n_seen < 6);
            seen[n_seen++] = order[i];
        }
    assert_int_equal(n_seen, 6);
    assert_even(seen, 6);
    assert_rate(cut, DRAWS, .5);
    assert_rate(rare, DRAWS, .1);
    assert_even(joint, 4); /* the permutation knows nothing of the choice */
}

/* Share of Beta(a, a) below x <= 1/2, by Simpson's rule after t = u^(1/a), where the density has no
 * pole left. */
static double beta_below(double x, double a)
{
    enum { STEPS = 2000 };
    double end = pow(x, a), h = end / STEPS, sum = 0;
    for (int i = 0; i <= STEPS; i++) {
        double weight = i == 0 || i == STEPS ? 1 : i % 2 ? 4 : 2;
        sum += weight * pow(1 - pow(h * i, 1 / a), a - 1);
    }
    return sum * h / 3 / a * tgamma(2 * a) / (tgamma(a) * tgamma(a));
}

static void lambda_of_mixup_is_beta(void **state)
{
    (void)state;
    static const double alphas[] = { .2, .8, 1, 2.5 };
    enum { BINS = 20 };
    for (int k = 0; k < 4; k++) {
        double share[BINS], a = alphas[k];
        size_t count[BINS] = { 0 };
        for (int i = 0; i < BINS / 2; i++) {
            share[i] = beta_below((i + 1.) / BINS, a) - (i ? beta_below((double)i / BINS, a) : 0);
            share[BINS - 1 - i] = share[i];
        }
        assert_near(beta_below(.5, a), .5, 1e-5);
        for (uint64_t i = 0; i < DRAWS; i++) {
            int64_t partner[3];
            double at = (double)draw(partner, i, a, 0, 0).lambda * BINS;
            count[at < BINS ? (int)at : BINS - 1]++;
        }
        assert_shares(count, share, BINS);
    }
}

/* Lambda uniform: the uncut side is k or more with probability 1 - (k / S)^2; the centre is
 * uniform. Enumerates the boxes that follow, one axis at a time. */
static void boxes_of_cutmix(void **state)
{
    (void)state;
    enum { CELLS = (SIDE + 1) * (SIDE + 1) };
    double share[CELLS] = { 0 }, kept_share[CELLS + 1] = { 0 };
    size_t count[2][CELLS] = { { 0 } }, kept[2][CELLS + 1] = { { 0 } }, n = 0;
    for (int cut = 0; cut < SIDE; cut++)
        for (int centre = 0; centre < SIDE; centre++) {
            int low = centre - cut / 2, high = centre + cut / 2;
            low = low < 0 ? 0 : low;
            high = high > SIDE ? SIDE : high;
            share[low * (SIDE + 1) + high] += (2. * cut + 1) / (SIDE * SIDE) / SIDE;
        }
    for (uint64_t k = 0; k < DRAWS; k++) {
        int64_t partner[3];
        cf_mix m = draw(partner, k, .8, 1, 1);
        count[0][m.x1 * (SIDE + 1) + m.x2]++;
        count[1][m.y1 * (SIDE + 1) + m.y2]++;
        assert_near(m.lambda, 1 - (double)((m.x2 - m.x1) * (m.y2 - m.y1)) / (SIDE * SIDE), 1e-6);
    }
    for (int i = 0; i < CELLS; i++) { /* what is rarer than 10 times goes into cell 0 */
        size_t to = share[i] * DRAWS >= 10 ? ++n : 0;
        kept_share[to] += share[i];
        for (int axis = 0; axis < 2; axis++) kept[axis][to] += count[axis][i];
    }
    for (int axis = 0; axis < 2; axis++) {
        size_t first = kept_share[0] > 0 ? 0 : 1;
        assert_true(first == 0 || kept[axis][0] == 0); /* no box that cannot be */
        assert_shares(kept[axis] + first, kept_share + first, n + 1 - first);
    }
}

TESTS(TEST(targets_of_the_specification), TEST(boxes_of_the_specification),
      TEST(videos_by_definition), TEST(choice_and_permutation), TEST(lambda_of_mixup_is_beta),
      TEST(boxes_of_cutmix))
