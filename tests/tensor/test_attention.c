/* Attention against a plain writing in double, with the kernels of each level this machine has:
 * lengths around the block sizes, head widths, the extra key, causal, shared queries, gradients
 * added and stored; and its symmetries. */
#include "reference.h"

#include "tensor/attention_job.h"

typedef struct {
    size_t groups, heads, hw, sq, sk;
    bool extra, causal, shared_q;
} setting;

/* Packed as [group, row, heads * hw] each; out and gradients in double. */
typedef struct {
    setting s;
    cf_real *q, *k, *v, *ek, *ev, *dout;
    double *out, *dq, *dk, *dv, *dek, *dev;
} problem;

static double *doubles(size_t n)
{
    double *x;
    assert_ok(cf_alloc_zero(&x, n, sizeof *x));
    return x;
}

static size_t q_count(const setting *s)
{
    return (s->shared_q ? 1 : s->groups) * s->sq * s->heads * s->hw;
}
static size_t out_count(const setting *s) { return s->groups * s->sq * s->heads * s->hw; }
static size_t k_count(const setting *s) { return s->groups * s->sk * s->heads * s->hw; }
static size_t extra_count(const setting *s) { return s->groups * s->heads * s->hw; }

static problem problem_of(setting s, double scale)
{
    return (problem){ .s = s,
                      .q = values(q_count(&s), 0, scale),
                      .k = values(k_count(&s), 0, scale),
                      .v = values(k_count(&s), 0, 1),
                      .ek = values(extra_count(&s), 0, scale),
                      .ev = values(extra_count(&s), 0, 1),
                      .dout = values(out_count(&s), 0, 1),
                      .out = doubles(out_count(&s)),
                      .dq = doubles(q_count(&s)),
                      .dk = doubles(k_count(&s)),
                      .dv = doubles(k_count(&s)),
                      .dek = doubles(extra_count(&s)),
                      .dev = doubles(extra_count(&s)) };
}

static void problem_free(problem *p)
{
    void *all[] = { p->q,   p->k,  p->v,  p->ek, p->ev,  p->dout,
                    p->out, p->dq, p->dk, p->dv, p->dek, p->dev };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) cf_free(all[i]);
}

#define MAX_KEYS 300

/* One row of one head, forward and backward. */
static void plain_row(problem *p, size_t g, size_t h, size_t i)
{
    const setting *s = &p->s;
    size_t d = s->heads * s->hw, keys = s->sk + (s->extra ? 1 : 0), seen = s->causal ? i + 1 : keys;
    size_t q_at = ((s->shared_q ? 0 : g) * s->sq + i) * d + h * s->hw;
    size_t out_at = (g * s->sq + i) * d + h * s->hw, extra_at = g * d + h * s->hw;
    double prob[MAX_KEYS], dprob[MAX_KEYS], top = -INFINITY, sum = 0, mean = 0;
    for (size_t j = 0; j < seen; j++) {
        size_t at = (g * s->sk + j) * d + h * s->hw;
        const cf_real *key = j < s->sk ? p->k + at : p->ek + extra_at;
        prob[j] = 0;
        for (size_t c = 0; c < s->hw; c++) prob[j] += (double)p->q[q_at + c] * (double)key[c];
        prob[j] /= sqrt((double)s->hw);
        top = fmax(top, prob[j]);
    }
    for (size_t j = 0; j < seen; j++) sum += prob[j] = exp(prob[j] - top);
    for (size_t j = 0; j < seen; j++) {
        size_t at = (g * s->sk + j) * d + h * s->hw;
        const cf_real *value = j < s->sk ? p->v + at : p->ev + extra_at;
        double *dvalue = j < s->sk ? p->dv + at : p->dev + extra_at;
        prob[j] /= sum;
        dprob[j] = 0;
        for (size_t c = 0; c < s->hw; c++) {
            p->out[out_at + c] += prob[j] * (double)value[c];
            dvalue[c] += prob[j] * (double)p->dout[out_at + c];
            dprob[j] += (double)p->dout[out_at + c] * (double)value[c];
        }
        mean += prob[j] * dprob[j];
    }
    for (size_t j = 0; j < seen; j++) {
        size_t at = (g * s->sk + j) * d + h * s->hw;
        const cf_real *key = j < s->sk ? p->k + at : p->ek + extra_at;
        double *dkey = j < s->sk ? p->dk + at : p->dek + extra_at;
        double ds = prob[j] * (dprob[j] - mean) / sqrt((double)s->hw);
        for (size_t c = 0; c < s->hw; c++) {
            p->dq[q_at + c] += ds * (double)key[c];
            dkey[c] += ds * (double)p->q[q_at + c];
        }
    }
}

static void plain(problem *p)
{
    for (size_t g = 0; g < p->s.groups; g++)
        for (size_t h = 0; h < p->s.heads; h++)
            for (size_t i = 0; i < p->s.sq; i++) plain_row(p, g, h, i);
}

static cf_attention_args args_of(const problem *p, cf_real *out, cf_real *lse)
{
    const setting *s = &p->s;
    size_t d = s->heads * s->hw;
    return (cf_attention_args){ .groups = s->groups,
                                .heads = s->heads,
                                .hw = s->hw,
                                .sq = s->sq,
                                .sk = s->sk,
                                .q = p->q,
                                .k = p->k,
                                .v = p->v,
                                .ek = s->extra ? p->ek : NULL,
                                .ev = s->extra ? p->ev : NULL,
                                .q_group = s->shared_q ? 0 : s->sq * d,
                                .q_row = d,
                                .kv_group = s->sk * d,
                                .kv_row = d,
                                .ekv_group = d,
                                .out = out,
                                .out_row = d,
                                .lse = lse,
                                .causal = s->causal };
}

static cf_real *attend(const problem *p)
{
    cf_real *out = zeros(out_count(&p->s)), *lse = zeros(p->s.groups * p->s.heads * p->s.sq);
    cf_attention_args a = args_of(p, out, lse);
    cf_real *scratch = zeros(cf_attention_scratch(&a, false));
    cf_attention_forward(&a, scratch);
    cf_free(scratch);
    cf_free(lse);
    return out;
}

static void off_by_one(cf_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] -= 1;
}

/* Gradients of p in the order dq, dk, dv, dek, dev. */
typedef struct {
    cf_real *at[5];
} gradients;

/* Backward into gradients that hold `before`; stored over it, or added to it. */
static gradients differentiate(const problem *p, const cf_attention_job *job,
                               const cf_attention_args *a, double before, bool fresh)
{
    const setting *s = &p->s;
    size_t ne = extra_count(s), nk = k_count(s);
    gradients g = { { values(q_count(s), before, 0), values(nk, before, 0), values(nk, before, 0),
                      values(ne, before, 0), values(ne, before, 0) } };
    cf_attention_grads to = { .dout = p->dout,
                              .dq = g.at[0],
                              .dk = g.at[1],
                              .dv = g.at[2],
                              .dek = s->extra ? g.at[3] : NULL,
                              .dev = s->extra ? g.at[4] : NULL,
                              .dq_fresh = fresh,
                              .dk_fresh = fresh,
                              .dv_fresh = fresh,
                              .dekv_fresh = fresh };
    cf_real *scratch = values(cf_attention_scratch(a, true), (double)NAN, 0);
    cf_attention_backward_by(job, a, &to, scratch);
    cf_free(scratch);
    return g;
}

static void check_gradients(const problem *p, const gradients *g, double tolerance)
{
    const double *right[] = { p->dq, p->dk, p->dv, p->dek, p->dev };
    size_t nk = k_count(&p->s), ne = extra_count(&p->s);
    const size_t count[] = { q_count(&p->s), nk, nk, ne, ne };
    for (int i = 0; i < (p->s.extra ? 5 : 3); i++)
        assert_all_near(g->at[i], right[i], count[i], tolerance);
}

static void gradients_free(gradients *g)
{
    for (int i = 0; i < 5; i++) cf_free(g->at[i]);
}

static void check_level(const problem *p, const cf_attention_job *job, double scale)
{
    const setting *s = &p->s;
    size_t no = out_count(s);
    cf_real *out = values(no, (double)NAN, 0), *lse = zeros(s->groups * s->heads * s->sq);
    cf_attention_args a = args_of(p, out, lse);
    cf_real *scratch = values(cf_attention_scratch(&a, false), (double)NAN, 0);
    double sums = TOLERANCE(2e-6, 1e-14) * sqrt((double)(s->sq + s->sk)) *
                  (s->shared_q ? (double)s->groups : 1) * (1 + scale);
    cf_attention_forward_by(job, &a, scratch);
    assert_all_near(out, p->out, no, TOLERANCE(2e-6, 1e-14) * (1 + scale));
    gradients added = differentiate(p, job, &a, 1, false);
    gradients stored = differentiate(p, job, &a, (double)NAN, true);
    const size_t count[] = { q_count(s), k_count(s), k_count(s), extra_count(s), extra_count(s) };
    for (int i = 0; i < 5; i++) off_by_one(added.at[i], count[i]);
    check_gradients(p, &added, sums);
    check_gradients(p, &stored, sums);
    gradients_free(&added);
    gradients_free(&stored);
    cf_free(out);
    cf_free(lse);
    cf_free(scratch);
}

static void check_setting(setting s, double scale)
{
    problem p = problem_of(s, scale);
    plain(&p);
    assert_non_null(cf_attention_job_of(0));
    for (int level = 0; level <= 4; level++)
        if (cf_attention_job_of(level)) check_level(&p, cf_attention_job_of(level), scale);
    problem_free(&p);
}

static void lengths_and_widths(void **state)
{
    (void)state;
    static const size_t length[] = { 1, 2, 5, 15, 16, 17, 18, 19, 33, 50, 63, 64, 65, 130 };
    static const size_t width[] = { 1, 5, 8, 64, 80 };
    for (size_t i = 0; i < sizeof length / sizeof *length; i++)
        for (size_t j = 0; j < sizeof width / sizeof *width; j++) {
            setting s = {
                .groups = 2, .heads = 2, .hw = width[j], .sq = length[i], .sk = length[i]
            };
            check_setting(s, 1);
            s.extra = true;
            check_setting(s, 1);
            s.extra = false;
            s.causal = true;
            check_setting(s, 1);
        }
}

static void cross_and_shared(void **state)
{
    (void)state;
    static const size_t pair[][2] = { { 1, 17 }, { 17, 1 }, { 5, 49 }, { 70, 33 }, { 130, 196 } };
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
        for (int shared = 0; shared < 2; shared++) {
            setting s = { .groups = 3, .heads = 2, .hw = 24, .sq = pair[i][0], .sk = pair[i][1] };
            s.shared_q = shared != 0;
            check_setting(s, 1);
        }
}

static void large_scores(void **state)
{
    (void)state;
    check_setting((setting){ .groups = 2, .heads = 2, .hw = 64, .sq = 17, .sk = 17 }, 8);
}

/* Keys and values in another order give the same answer up to rounding. */
static void order_of_keys_does_not_matter(void **state)
{
    (void)state;
    setting s = { .groups = 1, .heads = 1, .hw = 8, .sq = 9, .sk = 37 };
    problem p = problem_of(s, 1);
    cf_real *out = attend(&p), *k = copy_of(p.k, k_count(&s)), *v = copy_of(p.v, k_count(&s));
    for (size_t j = 0; j < s.sk; j++) {
        memcpy(p.k + (j + 5) % s.sk * s.hw, k + j * s.hw, s.hw * sizeof *k);
        memcpy(p.v + (j + 5) % s.sk * s.hw, v + j * s.hw, s.hw * sizeof *v);
    }
    cf_real *turned = attend(&p);
    assert_all_near(turned, out, out_count(&s), TOLERANCE(1e-6, 1e-15));
    cf_free(out);
    cf_free(k);
    cf_free(v);
    cf_free(turned);
    problem_free(&p);
}

/* Causal: what comes later in the sequence changes no bit of a row. */
static void causal_rows_do_not_see_ahead(void **state)
{
    (void)state;
    setting s = { .groups = 1, .heads = 2, .hw = 8, .sq = 21, .sk = 21, .causal = true };
    problem p = problem_of(s, 1);
    size_t d = s.heads * s.hw, row = 13;
    cf_real *out = attend(&p);
    for (size_t i = (row + 1) * d; i < s.sk * d; i++) p.k[i] = p.v[i] = 9;
    cf_real *again = attend(&p);
    assert_memory_equal(again, out, (row + 1) * d * sizeof *out);
    assert_memory_not_equal(again + (row + 1) * d, out + (row + 1) * d, d * sizeof *out);
    cf_free(out);
    cf_free(again);
    problem_free(&p);
}

/* A sequence's bits depend neither on its place in the batch nor on the number of threads. */
static void check_bits(const cf_attention_job *job)
{
    setting s = { .groups = 3, .heads = 2, .hw = 24, .sq = 70, .sk = 70, .extra = true };
    problem p = problem_of(s, 1);
    size_t each = out_count(&s) / s.groups, d = s.heads * s.hw;
    for (size_t g = 1; g < s.groups; g++) {
        cf_real *all[] = { p.q, p.k, p.v, p.dout };
        for (int i = 0; i < 4; i++) memcpy(all[i] + g * each, all[i], each * sizeof *p.q);
        memcpy(p.ek + g * d, p.ek, d * sizeof *p.ek);
        memcpy(p.ev + g * d, p.ev, d * sizeof *p.ev);
    }
    int n_threads = omp_get_max_threads();
    cf_real *first = NULL, *lse = zeros(s.groups * s.heads * s.sq);
    gradients right = { { NULL } };
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        cf_real *out = zeros(out_count(&s));
        cf_attention_args a = args_of(&p, out, lse);
        cf_real *scratch = zeros(cf_attention_scratch(&a, false));
        cf_attention_forward_by(job, &a, scratch);
        cf_free(scratch);
        gradients g = differentiate(&p, job, &a, 0, true);
        if (!first) first = copy_of(out, each);
        for (size_t i = 0; i < s.groups; i++)
            assert_memory_equal(out + i * each, first, each * sizeof *out);
        for (int i = 0; i < 3; i++) {
            if (!right.at[i]) right.at[i] = copy_of(g.at[i], each);
            for (size_t j = 0; j < s.groups; j++)
                assert_memory_equal(g.at[i] + j * each, right.at[i], each * sizeof *out);
        }
        gradients_free(&g);
        cf_free(out);
    }
    omp_set_num_threads(n_threads);
    gradients_free(&right);
    cf_free(first);
    cf_free(lse);
    problem_free(&p);
}

static void place_and_threads_do_not_matter(void **state)
{
    (void)state;
    for (int level = 0; level <= 4; level++)
        if (cf_attention_job_of(level)) check_bits(cf_attention_job_of(level));
}

/* The logarithm of log-sum-exp, to 1 ulp of the larger of it and 1. */
static void fast_log(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        cf_real x = (cf_real)exp((i - 100000) * 8e-4);
        double right = log((double)x), got = (double)cf_fast_log(x);
        if (!(fabs(got - right) <= TOLERANCE(1.2e-7, 2.3e-16) * fmax(1, fabs(right))))
            fail_msg("log(%.9g) is %.9g, not %.9g", (double)x, got, right);
    }
    assert_true(isnan(cf_fast_log((cf_real)NAN)));
}

TESTS(TEST(lengths_and_widths), TEST(cross_and_shared), TEST(large_scores),
      TEST(order_of_keys_does_not_matter), TEST(causal_rows_do_not_see_ahead),
      TEST(place_and_threads_do_not_matter), TEST(fast_log))
