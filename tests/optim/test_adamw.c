/* AdamW and groups: the specification's example, an independent writing in double, threads,
 * memory. */
#include <omp.h>

#include "test.h"

#include "crossframe/optim.h"

#define PUBLISHED ((cf_adamw_options){ 0.9, 0.98, 1e-8, 0.001 })

static bool is_new(const char *name)
{
    return strstr(name, "message_") || strstr(name, "mit") || strstr(name, "prompts") ||
           strstr(name, "temporal_embedding");
}

static const cf_group_rule rule = { .new_factor = 10, .decay_scalars = true, .is_new = is_new };

static cf_tensor *add(cf_params *p, cf_shape shape, const char *name)
{
    cf_tensor *t;
    assert_ok(cf_params_add(&t, p, (cf_init){ CF_INIT_NORMAL, 0.5 }, shape, "%s", name));
    return t;
}

static bool not_frozen(const char *name, const void *user)
{
    (void)user;
    return !strstr(name, "frozen");
}

/* Tensors of many sizes, one of them longer than a chunk, a frozen one between them. */
static cf_params *params_of_many_sizes(uint64_t seed)
{
    static const char *const names[] = { "visual.conv1.weight",
                                         "visual.ln_pre.weight",
                                         "mit.positional_embedding",
                                         "mit.resblocks.0.attn.in_proj_weight",
                                         "frozen.weight",
                                         "prompts_generator.alpha",
                                         "visual.message_fc.bias",
                                         "prompts_visual_proj",
                                         "visual.proj" };
    cf_params *p;
    assert_ok(cf_params_new(&p));
    add(p, cf_shape_make(0, (const size_t[]){ 1 }), "logit_scale");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cf_rng r = cf_rng_make(seed, CF_RNG_TEST, 0, i);
        size_t a = 1 + cf_rng_below(&r, 90), b = 1 + cf_rng_below(&r, 90);
        bool one = i == 1 || i == 5 || i == 6;
        add(p, one ? cf_shape_of(a) : cf_shape_of(i == 3 ? 400 + a : a, b + (i == 3 ? 90 : 0)),
            names[i]);
    }
    assert_ok(cf_params_alloc(p, not_frozen, NULL));
    cf_params_init(p, seed);
    return p;
}

static double gradient(cf_param *q, uint64_t seed, uint32_t step)
{
    cf_rng r = cf_rng_make(seed, CF_RNG_TEST, step, 1000 + q->start);
    double size = pow(10, -4 * cf_rng_uniform(&r)), squares = 0;
    for (size_t i = 0; i < q->tensor.n; i++) {
        q->tensor.grad[i] = (cf_real)(size * cf_rng_normal(&r));
        squares += (double)q->tensor.grad[i] * (double)q->tensor.grad[i];
    }
    return squares;
}

static double gradients(cf_params *p, uint64_t seed, uint32_t step)
{
    double squares = 0;
    for (size_t i = 0; i < cf_params_count(p); i++)
        if (cf_params_get(p, i)->trainable) squares += gradient(cf_params_get(p, i), seed, step);
    return sqrt(squares);
}

static void groups_follow_name_and_dimensions(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int rank;
        bool new, decay;
    } rows[] = {
        { "visual.conv1.weight", 4, false, true },
        { "visual.class_embedding", 1, false, false },
        { "visual.proj", 2, false, true },
        { "visual.positional_embedding", 2, false, false },
        { "visual.transformer.resblocks.0.attn.in_proj_bias", 1, false, false },
        { "visual.transformer.resblocks.0.message_fc.weight", 2, true, true },
        { "visual.transformer.resblocks.0.message_ln.weight", 1, true, false },
        { "visual.temporal_embedding", 2, true, false },
        { "mit.positional_embedding", 3, true, false },
        { "mit.resblocks.0.mlp.c_fc.weight", 2, true, true },
        { "prompts_visual_proj", 2, true, true },
        { "prompts_context", 2, true, true },
        { "prompts_generator.alpha", 1, true, false },
        { "token_embedding.weight", 2, false, true },
        { "text_projection", 2, false, true },
        { "odd.bias", 2, false, false },
        { "odd.bias.weight", 2, false, true },
        { "bias", 2, false, true },
        { "logit_scale", 0, false, true },
    };
    cf_group_rule plain = rule;
    plain.decay_scalars = false;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cf_param p = { .tensor.name = rows[i].name, .tensor.shape.rank = rows[i].rank };
        cf_param_group g = cf_param_group_of(&rule, &p);
        if (g.is_new != rows[i].new || g.decay != rows[i].decay) fail_msg("%s", rows[i].name);
        assert_near(g.lr_factor, rows[i].new ? 10 : 1, 0);
        assert_int_equal(cf_param_group_of(&plain, &p).decay, rows[i].decay && rows[i].rank != 0);
    }
    cf_group_rule none = { .new_factor = 10 };
    cf_param p = { .tensor.name = "mit.x", .tensor.shape.rank = 2 };
    assert_near(cf_param_group_of(&none, &p).lr_factor, 1, 0);
}

static void example_of_the_specification(void **state)
{
    (void)state;
    static const double lr[] = { 0, 1e-3, 1e-3 };
    static const double grads[][2] = { { .5, -1 }, { .25, 2 }, { -.125, 0 } };
    /* The specification prints what float arithmetic gives; the exact numbers are from 40
     * digits. */
    static const double printed[][2] = { { 1, -2 },
                                         { .99896508, -2.00016499 },
                                         { .99829763, -2.00024843 } };
    static const double exact[][2] = { { 1, -2 },
                                       { .998965123026285189, -2.000165053910670703 },
                                       { .998297665212662276, -2.000248595074677688 } };
    cf_params *p;
    assert_ok(cf_params_new(&p));
    cf_tensor *t = add(p, cf_shape_of(2, 1), "w");
    assert_ok(cf_params_alloc(p, NULL, NULL));
    t->data[0] = 1, t->data[1] = -2;
    cf_adamw_options options = PUBLISHED;
    options.weight_decay = 0.1;
    cf_adamw *o;
    assert_ok(cf_adamw_new(&o, p, &options, &rule));
    for (int k = 0; k < 3; k++) {
        t->grad[0] = (cf_real)grads[k][0], t->grad[1] = (cf_real)grads[k][1];
        cf_adamw_update(o, (const double[]){ lr[k], 7 }, 1);
        assert_all_near(t->data, exact[k], 2, CF_REAL_IS_DOUBLE ? 1e-14 : 2e-7);
        if (!CF_REAL_IS_DOUBLE) assert_all_near(t->data, printed[k], 2, 5.1e-9); /* same bits */
    }
    assert_int_equal(cf_adamw_steps(o), 3);
    cf_adamw_set_steps(o, 41);
    assert_int_equal(cf_adamw_steps(o), 41);
    cf_adamw_free(o);
    cf_params_free(p);
}

/* One tensor's state in double, by the textbook: corrected moments, decoupled decay. */
typedef struct {
    double *p, *m, *v, lr_factor, wd;
} shadow;

static void shadow_update(shadow *s, const cf_tensor *t, double lr, double scale, int step)
{
    for (size_t i = 0; i < t->n; i++) {
        double g = (double)t->grad[i] * scale;
        s->p[i] -= lr * s->wd * s->p[i];
        s->m[i] += (g - s->m[i]) * (1 - 0.9);
        s->v[i] += (g * g - s->v[i]) * (1 - 0.98);
        double m_hat = s->m[i] / (1 - pow(0.9, step)), v_hat = s->v[i] / (1 - pow(0.98, step));
        s->p[i] -= lr * m_hat / (sqrt(v_hat) + 1e-8);
    }
}

static void fifty_steps(uint64_t seed)
{
    cf_params *p = params_of_many_sizes(seed);
    size_t count = cf_params_count(p);
    shadow *shadows;
    assert_ok(cf_alloc_zero(&shadows, count, sizeof *shadows));
    for (size_t i = 0; i < count; i++) {
        const cf_param *q = cf_params_get(p, i);
        cf_param_group g = cf_param_group_of(&rule, q);
        shadows[i].lr_factor = g.lr_factor;
        shadows[i].wd = g.decay ? 0.05 : 0;
        assert_ok(cf_alloc_zero(&shadows[i].p, 3 * q->tensor.n, sizeof(double)));
        shadows[i].m = shadows[i].p + q->tensor.n;
        shadows[i].v = shadows[i].m + q->tensor.n;
        for (size_t j = 0; j < q->tensor.n; j++) shadows[i].p[j] = (double)q->tensor.data[j];
    }
    cf_adamw_options options = PUBLISHED;
    options.weight_decay = 0.05;
    cf_adamw *o;
    assert_ok(cf_adamw_new(&o, p, &options, &rule));
    for (int step = 1; step <= 50; step++) {
        double lr = step <= 2 ? 0 : 1e-3 / step;
        double norm = gradients(p, seed, (uint32_t)step);
        assert_near(cf_grad_norm(p), norm, 1e-12 * norm);
        double scale = cf_clip_factor(norm, step % 2 ? 0.5 : 0);
        cf_adamw_update(o, (const double[]){ lr, 10 * lr }, scale);
        for (size_t i = 0; i < count; i++) {
            const cf_param *q = cf_params_get(p, i);
            if (q->trainable)
                shadow_update(&shadows[i], &q->tensor, lr * shadows[i].lr_factor, scale, step);
        }
    }
    size_t n;
    const cf_real *m = cf_adamw_m(o, &n), *v = cf_adamw_v(o, NULL);
    for (size_t i = 0; i < count; i++) {
        const cf_param *q = cf_params_get(p, i);
        assert_all_near(q->tensor.data, shadows[i].p, q->tensor.n,
                        CF_REAL_IS_DOUBLE ? 1e-12 : 2e-6);
        if (q->trainable) {
            assert_all_near(m + q->start, shadows[i].m, q->tensor.n,
                            CF_REAL_IS_DOUBLE ? 1e-13 : 1e-6);
            assert_all_near(v + q->start, shadows[i].v, q->tensor.n,
                            CF_REAL_IS_DOUBLE ? 1e-13 : 1e-6);
        }
        cf_free(shadows[i].p);
    }
    cf_free(shadows);
    cf_adamw_free(o);
    cf_params_free(p);
}

static void agrees_with_the_textbook_in_double(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) fifty_steps(seed);
}

static void same_bits_with_any_number_of_threads(void **state)
{
    (void)state;
    int before = omp_get_max_threads();
    cf_real *expected = NULL;
    for (int threads = 1; threads <= 5; threads++) {
        omp_set_num_threads(threads);
        cf_params *p = params_of_many_sizes(3);
        cf_adamw *o;
        assert_ok(cf_adamw_new(&o, p, &PUBLISHED, &rule));
        for (uint32_t step = 0; step < 3; step++) {
            gradients(p, 3, step);
            double scale = cf_clip_factor(cf_grad_norm(p), 0.1);
            cf_adamw_update(o, (const double[]){ 1e-2, 1e-1 }, scale);
        }
        size_t n;
        const cf_real *w = cf_params_weights(p, &n);
        assert_true(n > 2 * 16384);
        if (!expected) {
            assert_ok(cf_alloc(&expected, 3 * n, sizeof *expected));
            cf_vec_copy(expected, w, n);
            cf_vec_copy(expected + n, cf_adamw_m(o, NULL), n);
            cf_vec_copy(expected + 2 * n, cf_adamw_v(o, NULL), n);
        }
        assert_memory_equal(expected, w, n * sizeof *w);
        assert_memory_equal(expected + n, cf_adamw_m(o, NULL), n * sizeof *w);
        assert_memory_equal(expected + 2 * n, cf_adamw_v(o, NULL), n * sizeof *w);
        cf_adamw_free(o);
        cf_params_free(p);
    }
    cf_free(expected);
    omp_set_num_threads(before);
}

static void update_allocates_nothing_and_keeps_padding_zero(void **state)
{
    (void)state;
    cf_params *p = params_of_many_sizes(4);
    cf_adamw *o;
    assert_ok(cf_adamw_new(&o, p, &PUBLISHED, &rule));
    gradients(p, 4, 0);
    size_t allocations = cf_memory_stats_get().allocations;
    cf_adamw_update(o, (const double[]){ 1e-3, 1e-2 }, 1);
    cf_adamw_update(o, (const double[]){ 1e-3, 1e-2 }, (double)INFINITY); /* worst case */
    assert_int_equal(cf_memory_stats_get().allocations, allocations);

    size_t n, at = 0, checked = 0;
    const cf_real *w = cf_params_weights(p, &n), *m = cf_adamw_m(o, NULL), *v = cf_adamw_v(o, NULL);
    for (size_t i = 0; i <= cf_params_count(p); i++) {
        const cf_param *q = i < cf_params_count(p) ? cf_params_get(p, i) : NULL;
        if (q && !q->trainable) continue;
        for (; at < (q ? q->start : n); at++, checked++)
            if (!(w[at] == 0 && m[at] == 0 && v[at] == 0)) fail_msg("padding at %zu", at);
        if (q) at += q->tensor.n;
    }
    assert_true(checked > 0);
    cf_adamw_free(o);
    cf_params_free(p);
}

static void rate_zero_moves_moments_only(void **state)
{
    (void)state;
    cf_params *p = params_of_many_sizes(5);
    cf_adamw *o;
    assert_ok(cf_adamw_new(&o, p, &PUBLISHED, &rule));
    gradients(p, 5, 0);
    size_t n;
    const cf_real *w = cf_params_weights(p, &n);
    cf_real *before;
    assert_ok(cf_alloc(&before, n, sizeof *before));
    cf_vec_copy(before, w, n);
    cf_adamw_update(o, (const double[]){ 0, 0 }, 1);
    assert_memory_equal(before, w, n * sizeof *w);
    assert_true(cf_vec_sum_squares(cf_adamw_m(o, NULL), n) > 0);
    assert_int_equal(cf_adamw_steps(o), 1);
    cf_free(before);
    cf_adamw_free(o);
    cf_params_free(p);
}

static void bad_options_and_lack_of_memory(void **state)
{
    (void)state;
    cf_params *p = params_of_many_sizes(6);
    cf_adamw *o = NULL;
    static const cf_adamw_options bad[] = {
        { 1, 0.98, 1e-8, 0 },
        { 0.9, -0.1, 1e-8, 0 },
        { (double)NAN, 0.98, 1e-8, 0 },
        { 0.9, 0.98, 0, 0 },
        { 0.9, 0.98, 0x1p-1074 / 4, 0 },
        { 0.9, 0.98, 1e-8, -1 },
        { 0.9, 0.98, 1e-8, (double)NAN },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(cf_adamw_new(&o, p, &bad[i], &rule), CF_EINVAL, "AdamW");
    size_t bytes = cf_memory_stats_get().bytes_now, failures = 0;
    for (;; failures++) {
        cf_memory_fail_at(failures + 1);
        cf_status status = cf_adamw_new(&o, p, &PUBLISHED, &rule);
        cf_memory_fail_at(0);
        if (status == CF_OK) break;
        assert_int_equal(status, CF_ENOMEM);
        assert_null(o);
        assert_int_equal(cf_memory_stats_get().bytes_now, bytes);
    }
    assert_int_equal(failures, 5);
    cf_adamw_free(o);
    cf_adamw_free(NULL);
    cf_params_free(p);
}

TESTS(TEST(groups_follow_name_and_dimensions), TEST(example_of_the_specification),
      TEST(agrees_with_the_textbook_in_double), TEST(same_bits_with_any_number_of_threads),
      TEST(update_allocates_nothing_and_keeps_padding_zero), TEST(rate_zero_moves_moments_only),
      TEST(bad_options_and_lack_of_memory))
