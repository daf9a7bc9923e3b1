/* The whole model against the golden files: stages, outputs, loss, gradients, short training runs;
 * and recomputation against plain backward, bit by bit. */
#include "crossframe/optim.h"
#include "golden.h"
#include "test.h"

#define OUTPUT_TOLERANCE 1e-5

static bool has(golden *g, const char *path) { return cf_h5_exists(g->file, path); }

/* Stages [F, N+1, d] that the file holds as [N+1, F, d]. */
static void watch_stage(void *user, const char *stage, size_t index, const cf_tensor *x)
{
    golden *g = user;
    char path[120];
    bool block = strcmp(stage, "visual.block") == 0;
    snprintf(path, sizeof path, block ? "/outputs/stages/%s%zu_LND" : "/outputs/stages/%s%zu",
             stage, index);
    if (!has(g, path)) return;
    if (!block) {
        golden_compare_file(g, path, x->data, x->n, OUTPUT_TOLERANCE);
        return;
    }
    size_t F = x->shape.dim[0], L = x->shape.dim[1], d = x->shape.dim[2];
    cf_real *turned;
    assert_ok(cf_alloc(&turned, x->n, sizeof *turned));
    for (size_t f = 0; f < F; f++)
        for (size_t l = 0; l < L; l++)
            memcpy(turned + (l * F + f) * d, x->data + (f * L + l) * d, d * sizeof *turned);
    golden_compare_file(g, path, turned, x->n, OUTPUT_TOLERANCE);
    cf_free(turned);
}

static void compare_stage(golden *g, const char *name, const cf_tensor *x)
{
    char path[120];
    snprintf(path, sizeof path, "/outputs/%s", name);
    if (has(g, path)) golden_compare_file(g, path, x->data, x->n, OUTPUT_TOLERANCE);
}

static void compare_outputs(golden *g, const cf_xclip_outputs *o, const cf_tensor *text,
                            const cf_tensor *loss)
{
    compare_stage(g, "stages/visual.ln_pre", o->ln_pre);
    compare_stage(g, "stages/frame_features", o->frame_features);
    compare_stage(g, "stages/prompt", o->prompt);
    compare_stage(g, "stages/video_features", o->video_features);
    compare_stage(g, "video_features", o->video_features);
    compare_stage(g, "text_features", text);
    compare_stage(g, "video_tokens_mean", o->prompt_tokens);
    compare_stage(g, "logits", o->logits);
    golden_compare_file(g, "/outputs/loss", loss->data, 1, 2e-6);
    if (!has(g, "/outputs/stages/patch_features")) return;
    size_t F = o->tokens->shape.dim[0], L = o->tokens->shape.dim[1], d = o->tokens->shape.dim[2];
    cf_real *patches;
    assert_ok(cf_alloc(&patches, F * (L - 1) * d, sizeof *patches));
    for (size_t f = 0; f < F; f++)
        memcpy(patches + f * (L - 1) * d, o->tokens->data + (f * L + 1) * d,
               (L - 1) * d * sizeof *patches);
    golden_compare_file(g, "/outputs/stages/patch_features", patches, F * (L - 1) * d,
                        OUTPUT_TOLERANCE);
    cf_free(patches);
}

static void compare_gradient(golden *g, const cf_param *p, double *worst_norm, double *worst_sample)
{
    char path[300];
    double norm;
    int64_t *index;
    float *sample;
    size_t n;
    snprintf(path, sizeof path, "/gradients/%s", p->tensor.name);
    assert_true(has(g, path) == p->trainable);
    if (!p->trainable) return;
    assert_ok(cf_h5_attr_f64(&norm, g->file, path, "norm"));
    double mine = sqrt(cf_vec_sum_squares(p->tensor.grad, p->tensor.n));
    double off = fabs(mine - norm) / norm;
    if (!(off <= 1e-4)) fail_msg("%s: gradient norm %.8g, expected %.8g", path, mine, norm);
    if (off > *worst_norm) *worst_norm = off;
    snprintf(path, sizeof path, "/gradients/%s/index", p->tensor.name);
    assert_ok(cf_h5_read_i64(&index, &n, g->file, path));
    snprintf(path, sizeof path, "/gradients/%s/sample", p->tensor.name);
    assert_ok(cf_h5_read_f32(&sample, &n, g->file, path));
    double allowed = 1e-3 * norm / sqrt((double)p->tensor.n);
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)p->tensor.grad[index[i]] - (double)sample[i]);
        if (!(error <= allowed))
            fail_msg("%s: element %lld is %.8g, expected %.8g; %.2f of what is allowed", path,
                     (long long)index[i], (double)p->tensor.grad[index[i]], (double)sample[i],
                     error / allowed);
        if (error / allowed > *worst_sample) *worst_sample = error / allowed;
    }
    cf_free(index);
    cf_free(sample);
}

/* micro.h5 has every gradient whole. */
static void compare_whole_gradient(golden *g, const cf_param *p)
{
    char path[300];
    snprintf(path, sizeof path, "/gradients/%s/value", p->tensor.name);
    if (p->trainable && has(g, path))
        golden_compare_file(g, path, p->tensor.grad, p->tensor.n, 1e-4);
}

static void check_pass(const char *name)
{
    golden g;
    golden_open(&g, name, false);
    cf_xclip_outputs out;
    cf_tensor *text, *loss = golden_forward(&g, &out, &text, watch_stage, &g);
    compare_outputs(&g, &out, text, loss);
    cf_params *params = cf_xclip_params(g.model);
    cf_params_zero_grads(params);
    assert_ok(cf_tape_backward(g.tape, loss, 1));
    cf_params_grads(params); /* zero what nothing has written */
    double norm = 0, sample = 0;
    for (size_t i = 0; i < cf_params_count(params); i++) {
        compare_gradient(&g, cf_params_get(params, i), &norm, &sample);
        compare_whole_gradient(&g, cf_params_get(params, i));
    }
    printf("%s: gradient norms within %.1e, samples within %.2f of what is allowed\n", name, norm,
           sample);
    golden_close(&g);
}

/* Entries whose true gradient is zero: rounding noise that AdamW turns into whole steps. */
static bool is_noise(const cf_param *p, size_t index)
{
    const char *name = p->tensor.name;
    size_t rows = p->tensor.shape.dim[0], third = rows / 3, row = index / (p->tensor.n / rows);
    if (strstr(name, "visual.transformer.resblocks.0.message_attn.in_proj_") && row < 2 * third)
        return true;
    return strstr(name, "in_proj_bias") && row >= third && row < 2 * third;
}

static void compare_weight(golden *g, const cf_param *p)
{
    char path[300];
    int64_t *index;
    float *sample;
    size_t n;
    snprintf(path, sizeof path, "/training/weights_after/%s/index", p->tensor.name);
    assert_ok(cf_h5_read_i64(&index, &n, g->file, path));
    snprintf(path, sizeof path, "/training/weights_after/%s/sample", p->tensor.name);
    assert_ok(cf_h5_read_f32(&sample, &n, g->file, path));
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        if (fabs((double)sample[i]) > largest) largest = fabs((double)sample[i]);
    for (size_t i = 0; i < n; i++) {
        double mine = (double)p->tensor.data[index[i]];
        if (p->tensor.shape.rank > 0 && is_noise(p, (size_t)index[i])) continue;
        if (!(fabs(mine - (double)sample[i]) <= 1e-4 * largest))
            fail_msg("%s: element %lld is %.9g, expected %.9g", path, (long long)index[i], mine,
                     (double)sample[i]);
    }
    cf_free(index);
    cf_free(sample);
}

static void check_training(const char *name)
{
    golden g;
    golden_open(&g, name, false);
    cf_params *params = cf_xclip_params(g.model);
    int64_t steps;
    double lr, decay;
    assert_ok(cf_h5_attr_i64(&steps, g.file, "/training", "steps"));
    assert_ok(cf_h5_attr_f64(&lr, g.file, "/", "lr"));
    assert_ok(cf_h5_attr_f64(&decay, g.file, "/", "weight_decay"));
    const cf_adamw_options options = {
        .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .weight_decay = decay
    };
    const cf_group_rule rule = { .new_factor = 10,
                                 .decay_scalars = true,
                                 .is_new = cf_xclip_is_new_module };
    cf_adamw *adamw;
    assert_ok(cf_adamw_new(&adamw, params, &options, &rule));
    float *losses;
    size_t n;
    assert_ok(cf_h5_read_f32(&losses, &n, g.file, "/training/loss"));
    assert_int_equal(n, steps + 1);
    cf_xclip_outputs out;
    for (int64_t s = 0; s <= steps; s++) {
        cf_tensor *loss = golden_forward(&g, &out, NULL, NULL, NULL);
        assert_near((double)loss->data[0], (double)losses[s], 2e-5 * (double)losses[s]);
        if (s == steps) break;
        cf_params_zero_grads(params);
        assert_ok(cf_tape_backward(g.tape, loss, 1));
        cf_adamw_update(adamw, (const double[]){ lr, 10 * lr }, 1);
    }
    golden_compare_file(&g, "/training/final_logits", out.logits->data, out.logits->n, 2e-5);
    for (size_t i = 0; i < cf_params_count(params); i++)
        compare_weight(&g, cf_params_get(params, i));
    cf_free(losses);
    cf_adamw_free(adamw);
    golden_close(&g);
}

/* The rule itself, where a file also holds the values. */
static void fill_rule(void **state)
{
    (void)state;
    golden g;
    golden_open(&g, "micro", false);
    const char *names[] = { "visual.conv1.weight", "mit.positional_embedding",
                            "token_embedding.weight", "logit_scale" };
    for (size_t i = 0; i < 4; i++) {
        char path[200];
        float *value;
        size_t n;
        snprintf(path, sizeof path, "/weights/%s/value", names[i]);
        assert_ok(cf_h5_read_f32(&value, &n, g.file, path));
        const cf_param *p = cf_params_find(cf_xclip_params(g.model), names[i]);
        assert_int_equal(n, p->tensor.n);
        for (size_t j = 0; j < n; j++) assert_true(p->tensor.data[j] == (cf_real)value[j]);
        cf_free(value);
    }
    golden_close(&g);
}

static void recompute_same_bits(void **state)
{
    (void)state;
    golden g[2];
    cf_tensor *loss[2];
    for (int i = 0; i < 2; i++) {
        golden_open(&g[i], "tiny-train-text", i == 1);
        cf_xclip_outputs out;
        loss[i] = golden_forward(&g[i], &out, NULL, NULL, NULL);
        assert_ok(cf_tape_backward(g[i].tape, loss[i], 1));
    }
    assert_memory_equal(loss[0]->data, loss[1]->data, sizeof(cf_real));
    size_t n;
    cf_params_weights(cf_xclip_params(g[0].model), &n);
    assert_memory_equal(cf_params_grads(cf_xclip_params(g[0].model)),
                        cf_params_grads(cf_xclip_params(g[1].model)), n * sizeof(cf_real));
    size_t plain = cf_tape_stats_get(g[0].tape).activation_peak;
    size_t recomputed = cf_tape_stats_get(g[1].tape).activation_peak;
    assert_true(recomputed < plain);
    for (int i = 0; i < 2; i++) golden_close(&g[i]);
}

static void pass_micro(void **state)
{
    (void)state;
    check_pass("micro");
}
static void pass_tiny(void **state)
{
    (void)state;
    check_pass("tiny");
}
static void pass_tiny_text(void **state)
{
    (void)state;
    check_pass("tiny-train-text");
}
static void pass_odd(void **state)
{
    (void)state;
    check_pass("odd");
}
static void training_micro(void **state)
{
    (void)state;
    check_training("micro");
}
static void training_tiny(void **state)
{
    (void)state;
    check_training("tiny");
}
static void training_tiny_text(void **state)
{
    (void)state;
    check_training("tiny-train-text");
}
static void training_odd(void **state)
{
    (void)state;
    check_training("odd");
}

/* The published sizes: about a minute and 6 GB, so only under `make test-full`. */
static void pass_b32(void **state)
{
    (void)state;
    if (test_full())
        check_pass("b32-t8");
    else
        skip();
}
static void pass_b16(void **state)
{
    (void)state;
    if (test_full())
        check_pass("b16-t8");
    else
        skip();
}
static void pass_l14(void **state)
{
    (void)state;
    if (test_full())
        check_pass("l14-t8");
    else
        skip();
}

TESTS(TEST(fill_rule), TEST(pass_micro), TEST(pass_tiny), TEST(pass_tiny_text), TEST(pass_odd),
      TEST(recompute_same_bits), TEST(training_micro), TEST(training_tiny),
      TEST(training_tiny_text), TEST(training_odd), TEST(pass_b32), TEST(pass_b16), TEST(pass_l14))
