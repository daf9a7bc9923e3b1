/* Drop path (stochastic depth): per video and branch, in training only, the same in
 * recomputation. */
#include "crossframe/models.h"
#include "test.h"

enum { B = 6, T = 2, SIZE = 20, K = 4, D = 64 };

typedef struct {
    cf_xclip *model;
    cf_tape *tape;
    cf_xclip_outputs out;
    float video[B * T * 3 * SIZE * SIZE];
    cf_real text[K * D];
} setting;

static cf_xclip_config config(size_t layers, double rate, bool recompute)
{
    return (cf_xclip_config){ .image = SIZE,
                              .patch = 10,
                              .vision_width = D,
                              .vision_layers = layers,
                              .embed = D,
                              .text_width = 64,
                              .text_layers = 1,
                              .context = 8,
                              .vocabulary = 20,
                              .frames = T,
                              .mit_layers = 1,
                              .prompt_layers = 1,
                              .prompt_alpha = 0.1,
                              .drop_path = rate,
                              .recompute = recompute };
}

static setting *open_setting(size_t layers, double rate, bool recompute)
{
    setting *s;
    cf_xclip_config c = config(layers, rate, recompute);
    assert_ok(cf_alloc_zero(&s, 1, sizeof *s));
    assert_ok(cf_xclip_new(&s->model, &c));
    cf_params_init(cf_xclip_params(s->model), 7);
    assert_ok(cf_tape_new(&s->tape, NULL));
    cf_rng r = cf_rng_make(3, CF_RNG_TEST, 0, 0);
    for (size_t i = 0; i < sizeof s->video / sizeof *s->video; i++)
        s->video[i] = (float)cf_rng_normal(&r);
    for (size_t i = 0; i < K * D; i++) s->text[i] = (cf_real)cf_rng_normal(&r);
    return s;
}

static void close_setting(setting *s)
{
    cf_xclip_free(s->model);
    cf_tape_free(s->tape);
    cf_free(s);
}

/* Forward and backward of the scores' loss against class 0; out->tokens holds until the next
 * call. */
static void run(setting *s, bool training, uint64_t seed, uint64_t step)
{
    const cf_xclip_run mode = { .training = training, .seed = seed, .step = step };
    float target[B * K] = { 0 };
    for (size_t b = 0; b < B; b++) target[b * K] = 1;
    cf_tape_reset(s->tape);
    cf_params_zero_grads(cf_xclip_params(s->model));
    cf_tensor *x = cf_tensor_input_f32(s->tape, cf_shape_of(B, T, 3, SIZE, SIZE), s->video);
    cf_tensor *c = cf_tensor_input(s->tape, cf_shape_of(K, D), s->text, false);
    assert_ok(cf_xclip_video(&s->out, s->model, s->tape, x, &mode, NULL, NULL));
    assert_ok(cf_xclip_scores(&s->out, s->model, s->tape, c, NULL, NULL));
    cf_tensor *y = cf_tensor_input_f32(s->tape, cf_shape_of(B, K), target);
    assert_ok(cf_tape_backward(s->tape, cf_soft_cross_entropy(s->tape, s->out.logits, y), 1));
}

static bool same_logits(const setting *a, const setting *b)
{
    return memcmp(a->out.logits->data, b->out.logits->data, B * K * sizeof(cf_real)) == 0;
}

static void off_in_evaluation(void **state)
{
    (void)state;
    setting *with = open_setting(3, 0.7, false), *without = open_setting(3, 0, false);
    run(with, false, 1, 1);
    run(without, false, 1, 1);
    assert_true(same_logits(with, without));
    run(with, true, 1, 1);
    assert_false(same_logits(with, without));
    close_setting(with);
    close_setting(without);
}

static void depends_on_seed_and_step(void **state)
{
    (void)state;
    setting *a = open_setting(3, 0.5, false), *b = open_setting(3, 0.5, false);
    run(a, true, 1, 5);
    run(b, true, 1, 5);
    assert_true(same_logits(a, b));
    run(b, true, 1, 6);
    assert_false(same_logits(a, b));
    run(b, true, 2, 5);
    assert_false(same_logits(a, b));
    close_setting(a);
    close_setting(b);
}

static void recomputation_has_the_same_bits(void **state)
{
    (void)state;
    setting *a = open_setting(3, 0.5, false), *b = open_setting(3, 0.5, true);
    run(a, true, 9, 2);
    run(b, true, 9, 2);
    assert_true(same_logits(a, b));
    size_t n;
    cf_params_weights(cf_xclip_params(a->model), &n);
    assert_memory_equal(cf_params_grads(cf_xclip_params(a->model)),
                        cf_params_grads(cf_xclip_params(b->model)), n * sizeof(cf_real));
    close_setting(a);
    close_setting(b);
}

/* Block 0 is never dropped; at rate 0.99 block 1 of a video is nearly always gone whole, and the
 * video's tokens then are those of the same model with one block. Kept branches count 100 times. */
static void dropped_videos_skip_the_block(void **state)
{
    (void)state;
    setting *two = open_setting(2, 0.99, false), *one = open_setting(1, 0, false);
    size_t skipped = 0, changed = 0;
    for (uint64_t step = 0; step < 20; step++) {
        run(two, true, 1, step);
        run(one, true, 1, step);
        size_t per_video = two->out.tokens->n / B;
        for (size_t b = 0; b < B; b++) {
            bool same =
                memcmp(two->out.tokens->data + b * per_video, one->out.tokens->data + b * per_video,
                       per_video * sizeof(cf_real)) == 0;
            skipped += same;
            changed += !same;
        }
    }
    /* CFA alone changes nothing when IFA is dropped: a video changes with probability 0.02. */
    assert_int_equal(skipped + changed, 20 * B);
    assert_in_range(changed, 1, 10);
    close_setting(two);
    close_setting(one);
}

/* The mean over many draws is the undropped branch: factor 1 / (1 - p) on what is kept. */
static void kept_branches_are_scaled(void **state)
{
    (void)state;
    cf_tape *t;
    assert_ok(cf_tape_new(&t, NULL));
    const cf_real x[] = { 1, 2 }, w[] = { 3 }, scale[] = { 0, 4 }, r[] = { 10, 20 };
    cf_tensor *y = cf_linear(t, cf_tensor_input(t, cf_shape_of(2, 1), x, false),
                             cf_tensor_input(t, cf_shape_of(1, 1), w, false), NULL,
                             cf_tensor_input(t, cf_shape_of(2, 1), r, false),
                             &(cf_linear_options){ .row_scale = scale, .rows_per_scale = 1 });
    assert_ok(cf_tape_status(t));
    assert_true(y->data[0] == 10 && y->data[1] == 20 + 4 * 2 * 3);
    cf_tape_free(t);
}

TESTS(TEST(off_in_evaluation), TEST(depends_on_seed_and_step),
      TEST(recomputation_has_the_same_bits), TEST(dropped_videos_skip_the_block),
      TEST(kept_branches_are_scaled))
