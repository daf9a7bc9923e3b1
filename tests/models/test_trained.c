/* What is trained and what is frozen: every combination of text side, vision trunk and logit scale
 * has the gradients that a model with nothing frozen has, and no others; and backward does not
 * compute what nobody needs. */
#include "crossframe/models.h"
#include "test.h"

enum { B = 3, T = 2, SIZE = 20, K = 4, CONTEXT = 8 };

static const int32_t tokens[K * CONTEXT] = {
    18, 3, 5, 19, 0,  0, 0, 0, 18, 4, 19, 0,  0, 0, 0, 0,
    18, 3, 6, 7,  19, 0, 0, 0, 18, 2, 8,  19, 0, 0, 0, 0,
};

typedef struct {
    cf_xclip *model;
    cf_tape *tape;
    double forward; /* flop */
    cf_tape_stats stats;
} setting;

static cf_xclip_config tiny(void)
{
    return (cf_xclip_config){ .image = SIZE,
                              .patch = 10,
                              .vision_width = 64,
                              .vision_layers = 3,
                              .embed = 64,
                              .text_width = 64,
                              .text_layers = 2,
                              .context = CONTEXT,
                              .vocabulary = 20,
                              .frames = T,
                              .mit_layers = 1,
                              .prompt_layers = 1,
                              .prompt_alpha = 0.1 };
}

/* One training step's gradients. */
static void run(setting *s, const cf_xclip_config *c)
{
    const cf_xclip_run mode = { .training = true };
    float video[B * T * 3 * SIZE * SIZE], target[B * K] = { 0 };
    cf_xclip_outputs out;
    cf_rng r = cf_rng_make(3, CF_RNG_TEST, 0, 0);
    for (size_t i = 0; i < sizeof video / sizeof *video; i++) video[i] = (float)cf_rng_normal(&r);
    for (size_t b = 0; b < B; b++) target[b * K + b] = 1;
    assert_ok(cf_xclip_new(&s->model, c));
    cf_params_init(cf_xclip_params(s->model), 7);
    assert_ok(cf_tape_new(&s->tape, NULL));
    cf_tape *t = s->tape;
    cf_tensor *x = cf_tensor_input_f32(t, cf_shape_of(B, T, 3, SIZE, SIZE), video);
    assert_ok(cf_xclip_video(&out, s->model, t, x, &mode, NULL, NULL));
    assert_ok(
        cf_xclip_scores(&out, s->model, t, cf_xclip_text(s->model, t, tokens, K), NULL, NULL));
    cf_tensor *y = cf_tensor_input_f32(t, cf_shape_of(B, K), target);
    cf_tensor *loss = cf_soft_cross_entropy(t, out.logits, y);
    s->forward = cf_tape_stats_get(t).flop;
    assert_ok(cf_tape_backward(t, loss, 1));
    s->stats = cf_tape_stats_get(t);
}

static void end(setting *s)
{
    cf_xclip_free(s->model);
    cf_tape_free(s->tape);
}

/* By the rules as they are written down, not as they are programmed. */
static bool should_train(const cf_xclip_config *c, const char *name)
{
    bool message = strstr(name, ".message_") != NULL;
    if (message || strncmp(name, "mit.", 4) == 0 || strncmp(name, "prompts_", 8) == 0) return true;
    if (strncmp(name, "visual.", 7) == 0) return !c->fix_visual;
    if (strcmp(name, "logit_scale") != 0) return c->train_text;
    return c->train_logit_scale == CF_LOGIT_SCALE_TRAINED ||
           (c->train_logit_scale == CF_LOGIT_SCALE_AS_TEXT && c->train_text);
}

/* The gradients of `some` are those of `all`, to the bit, where it has any. */
static void compare(const setting *some, const setting *all, const cf_xclip_config *c)
{
    const cf_params *p = cf_xclip_params(some->model);
    for (size_t i = 0; i < cf_params_count(p); i++) {
        const cf_param *q = cf_params_get(p, i);
        const char *name = q->tensor.name;
        const cf_param *whole = cf_params_find(cf_xclip_params(all->model), name);
        if (q->trainable != should_train(c, name))
            fail_msg("%s is %s", name, q->trainable ? "trained" : "frozen");
        assert_true(cf_xclip_is_trained(c, name) == q->trainable);
        if (!q->trainable) {
            assert_null(q->tensor.grad);
            continue;
        }
        if (memcmp(q->tensor.grad, whole->tensor.grad, q->tensor.n * sizeof(cf_real)) != 0)
            fail_msg("%s has another gradient when others are frozen", name);
    }
}

static void every_combination(void **state)
{
    (void)state;
    for (int mean = 0; mean < 2; mean++) {
        cf_xclip_config c = tiny();
        setting all;
        c.video = mean ? CF_ENCODER_MEAN : CF_ENCODER_CCT;
        c.train_text = true;
        run(&all, &c);
        for (int i = 0; i < 24; i++) {
            setting some;
            c.train_text = i & 1;
            c.fix_visual = i & 2;
            c.recompute = i & 4;
            c.train_logit_scale = (cf_logit_scale_rule)(i / 8);
            run(&some, &c);
            compare(&some, &all, &c);
            if (!c.recompute && (c.fix_visual || !c.train_text))
                assert_true(some.stats.flop < all.stats.flop);
            end(&some);
        }
        end(&all);
    }
}

/* With messages the gradient goes through the trunk, which has as many flop less as its weights'
 * gradients take; without them it does not enter the trunk, whose inner values are let go. */
static void frozen_trunk_costs_no_backward(void **state)
{
    (void)state;
    cf_xclip_config c = tiny();
    setting s[2];
    c.video = CF_ENCODER_MEAN;
    c.prompt_layers = 0;
    c.train_text = true;
    for (int fixed = 0; fixed < 2; fixed++) {
        c.fix_visual = fixed;
        run(&s[fixed], &c);
    }
    double d = 64, rows = B * T * 5, N = 4, heads_free = 2 * rows * 5 * d; /* QK' or PV */
    double block = 2 * rows * 12 * d * d, patches = 2 * B * T * N * 300 * d;
    double saved = 3 * (2 * block + 5 * heads_free) + patches + 2 * (2 * B * T * d * d);
    assert_near(s[0].stats.flop - s[1].stats.flop, saved, 1e-6 * saved);
    assert_near(s[0].forward, s[1].forward, 0);
    assert_true(s[1].stats.activation_peak < s[0].stats.activation_peak);
    assert_true(s[1].stats.gradient_peak < s[0].stats.gradient_peak);
    for (int i = 0; i < 2; i++) end(&s[i]);
}

static void nothing_in_inference(void **state)
{
    (void)state;
    cf_xclip_config c = tiny();
    c.train_text = true;
    c.train_logit_scale = CF_LOGIT_SCALE_TRAINED;
    c.inference = true;
    cf_xclip *m;
    assert_ok(cf_xclip_new(&m, &c));
    assert_int_equal(cf_params_numbers(cf_xclip_params(m), true), 0);
    cf_xclip_free(m);
}

TESTS(TEST(every_combination), TEST(frozen_trunk_costs_no_backward), TEST(nothing_in_inference))
