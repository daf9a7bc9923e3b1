/* The variants of the ablation tables against the PyTorch writing (tests/golden/make_variants.py):
 * logits, loss, all gradients; and their gradients against central differences. */
#include "golden.h"
#include "test.h"

#define SAMPLES 16
#define OUTPUTS (CF_REAL_IS_DOUBLE ? 1e-11 : 1e-5)
#define NORMS (CF_REAL_IS_DOUBLE ? 1e-10 : 1e-4)
#define ELEMENTS (CF_REAL_IS_DOUBLE ? 1e-9 : 1e-3)

typedef struct {
    cf_h5 *file;
    const char *name;
    cf_xclip_config config;
    size_t b, K;
    cf_xclip *model;
    cf_tape *tape;
    float *video, *target;
    cf_real *text;
} variant;

static char *path_of(const variant *v, const char *what)
{
    char *path;
    assert_ok(cf_format(&path, "/%s/%s", v->name, what));
    return path;
}

static size_t number(const variant *v, const char *object, const char *name)
{
    return (size_t)golden_number(v->file, object, name);
}

static double *read_all(const variant *v, const char *what, size_t n)
{
    char *path = path_of(v, what);
    double *out = golden_doubles(v->file, path, n);
    cf_free(path);
    return out;
}

static void fill_weights(const variant *v)
{
    cf_params *params = cf_xclip_params(v->model);
    char **names, *path = path_of(v, "all");
    size_t n;
    assert_ok(cf_h5_read_strings(&names, &n, v->file, path));
    assert_int_equal(n, cf_params_count(params));
    double *rule = read_all(v, "rule", 2 * n);
    golden_fill_all(params, names, rule, n);
    cf_free(names);
    cf_free(path);
    cf_free(rule);
}

static void variant_open(variant *v, const char *name, bool recompute)
{
    char *group, *video;
    *v = (variant){ .name = name };
    assert_ok(cf_h5_open(&v->file, "tests/golden/variants.h5"));
    group = path_of(v, "");
    group[strlen(group) - 1] = 0;
    assert_ok(cf_h5_attr_string(&video, v->file, group, "video"));
    v->b = number(v, "/", "batch");
    v->K = number(v, "/", "classes");
    v->config = (cf_xclip_config){
        .image = number(v, "/", "image"),
        .patch = number(v, "/", "patch"),
        .vision_width = number(v, "/", "vision_width"),
        .vision_layers = number(v, "/", "vision_layers"),
        .embed = number(v, "/", "embed"),
        .text_width = number(v, "/", "text_width"),
        .text_layers = number(v, "/", "text_layers"),
        .context = number(v, "/", "context"),
        .vocabulary = number(v, "/", "vocabulary"),
        .frames = number(v, group, "frames"),
        .video = strcmp(video, "joint") == 0 ? CF_ENCODER_JOINT
                 : strcmp(video, "cct") == 0 ? CF_ENCODER_CCT
                                             : CF_ENCODER_MEAN,
        .mit_layers = number(v, group, "mit_layers"),
        .prompt_layers = number(v, group, "prompt_layers"),
        .head_classes = number(v, group, "head") ? v->K : 0,
        .recompute = recompute,
    };
    cf_free(video);
    cf_free(group);
    assert_ok(cf_xclip_new(&v->model, &v->config));
    assert_ok(cf_tape_new(&v->tape, NULL));
    fill_weights(v);
    size_t S = v->config.image, e = v->config.embed;
    v->video = golden_input("variants:video", v->b * v->config.frames * 3 * S * S, 0, 1.5);
    float *text = golden_input("variants:text", v->K * e, 0, 1);
    assert_ok(cf_alloc(&v->text, v->K * e, sizeof *v->text));
    for (size_t i = 0; i < v->K * e; i++) v->text[i] = (cf_real)text[i];
    cf_free(text);
    double *target = read_all(v, "target", v->b * v->K);
    assert_ok(cf_alloc(&v->target, v->b * v->K, sizeof *v->target));
    for (size_t i = 0; i < v->b * v->K; i++) v->target[i] = (float)target[i];
    cf_free(target);
}

static void variant_close(variant *v)
{
    cf_h5_close(v->file);
    cf_xclip_free(v->model);
    cf_tape_free(v->tape);
    cf_free(v->video);
    cf_free(v->text);
    cf_free(v->target);
}

static cf_tensor *forward(const variant *v, cf_tensor **logits)
{
    cf_tape *t = v->tape;
    cf_xclip_outputs out;
    cf_tape_reset(t);
    cf_tensor *text = cf_tensor_input(t, cf_shape_of(v->K, v->config.embed), v->text, false);
    cf_tensor *loss = golden_loss(&out, v->model, t, v->video, v->b, text, v->target, NULL, NULL);
    if (logits) *logits = out.logits;
    return loss;
}

/* ---- against PyTorch ------------------------------------------------------------------------- */

static void compare_outputs(const variant *v, const cf_tensor *logits, const cf_tensor *loss)
{
    double *want = read_all(v, "logits", v->b * v->K), largest = 0;
    for (size_t i = 0; i < logits->n; i++)
        if (fabs(want[i]) > largest) largest = fabs(want[i]);
    assert_all_near(logits->data, want, logits->n, OUTPUTS * largest);
    cf_free(want);
    want = read_all(v, "loss", 1);
    assert_near(loss->data[0], want[0], OUTPUTS * want[0]);
    cf_free(want);
}

static void compare_gradients(const variant *v)
{
    const cf_params *params = cf_xclip_params(v->model);
    char **names, *path = path_of(v, "trained");
    size_t n, trained = 0;
    double worst_norm = 0, worst_element = 0;
    assert_ok(cf_h5_read_strings(&names, &n, v->file, path));
    double *norm = read_all(v, "norm", n), *sample = read_all(v, "sample", n * SAMPLES);
    for (size_t i = 0; i < cf_params_count(params); i++)
        trained += cf_params_get(params, i)->trainable;
    assert_int_equal(trained, n);
    for (size_t i = 0; i < n; i++) {
        const cf_param *p = cf_params_find(params, names[i]);
        assert_true(p && p->trainable);
        double mine = sqrt(cf_vec_sum_squares(p->tensor.grad, p->tensor.n));
        double typical = norm[i] / sqrt((double)p->tensor.n), off = fabs(mine - norm[i]) / norm[i];
        if (!(off <= NORMS))
            fail_msg("%s, %s: gradient norm %.9g, expected %.9g", v->name, names[i], mine, norm[i]);
        worst_norm = fmax(worst_norm, off);
        for (size_t j = 0; j < SAMPLES; j++) {
            size_t at = (104729 * j + 17) % p->tensor.n;
            double error = fabs((double)p->tensor.grad[at] - sample[i * SAMPLES + j]) / typical;
            if (!(error <= ELEMENTS))
                fail_msg("%s, %s: gradient of element %zu is %.9g, expected %.9g; typical %.3g",
                         v->name, names[i], at, (double)p->tensor.grad[at], sample[i * SAMPLES + j],
                         typical);
            worst_element = fmax(worst_element, error);
        }
    }
    printf("%s: gradient norms within %.1e, elements within %.1e of a typical one\n", v->name,
           worst_norm, worst_element);
    cf_free(names);
    cf_free(path);
    cf_free(norm);
    cf_free(sample);
}

/* ---- against differences --------------------------------------------------------------------- */

/* Along a random direction of +-1 in each tensor. In float the loss has 7 digits only: the step is
 * large and the limit loose; the f64 build holds the formulas. */
static void compare_differences(const variant *v)
{
    const double step = CF_REAL_IS_DOUBLE ? 1e-5 : 1e-3, limit = CF_REAL_IS_DOUBLE ? 1e-7 : 2e-2;
    cf_params *params = cf_xclip_params(v->model);
    cf_tape_record(v->tape, false);
    for (size_t i = 0; i < cf_params_count(params); i++) {
        cf_param *p = cf_params_get(params, i);
        cf_real *before;
        double slope = 0, loss[2];
        if (!p->trainable) continue;
        assert_ok(cf_alloc(&before, p->tensor.n, sizeof *before));
        memcpy(before, p->tensor.data, p->tensor.n * sizeof *before);
        for (int side = 0; side < 2; side++) {
            cf_rng rng = cf_rng_make(7, CF_RNG_TEST, 0, i);
            for (size_t j = 0; j < p->tensor.n; j++) {
                double to = (cf_rng_uniform(&rng) < 0.5 ? -1 : 1) / sqrt((double)p->tensor.n);
                p->tensor.data[j] = (cf_real)((double)before[j] + (side ? step : -step) * to);
                if (side) slope += to * (double)p->tensor.grad[j];
            }
            loss[side] = (double)forward(v, NULL)->data[0];
        }
        memcpy(p->tensor.data, before, p->tensor.n * sizeof *before);
        double difference = (loss[1] - loss[0]) / (2 * step);
        double error = fabs(slope - difference) / fmax(1, fmax(fabs(slope), fabs(difference)));
        if (!(error <= limit))
            fail_msg("%s, %s: slope %.9g, by differences %.9g", v->name, p->tensor.name, slope,
                     difference);
        cf_free(before);
    }
}

static void check(const char *name)
{
    for (int recompute = 0; recompute < 2; recompute++) {
        variant v;
        cf_tensor *logits;
        variant_open(&v, name, recompute);
        cf_tensor *loss = forward(&v, &logits);
        compare_outputs(&v, logits, loss);
        cf_params_zero_grads(cf_xclip_params(v.model));
        assert_ok(cf_tape_backward(v.tape, loss, 1));
        cf_params_grads(cf_xclip_params(v.model)); /* zero what nothing has written */
        compare_gradients(&v);
        if (!recompute) compare_differences(&v);
        variant_close(&v);
    }
}

#define CHECK(name)                                                                                \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        check(#name);                                                                              \
    }
CHECK(cct_fc)
CHECK(mean)
CHECK(mean_fc)
CHECK(one)
CHECK(one_prompts)
CHECK(joint)
CHECK(joint_prompts)
CHECK(joint_fc)

/* ---- what joint attention is ----------------------------------------------------------------- */

/* With equal places in time the frames' order cannot matter, with others it must. */
static void joint_knows_the_order_by_its_places(void **state)
{
    (void)state;
    for (int equal = 0; equal < 2; equal++) {
        variant v;
        cf_tensor *logits;
        cf_real there[10];
        variant_open(&v, "joint", false);
        const cf_param *p = cf_params_find(cf_xclip_params(v.model), "visual.temporal_embedding");
        size_t frame = 3 * v.config.image * v.config.image, T = v.config.frames;
        for (size_t i = 0; equal && i < p->tensor.n; i++) p->tensor.data[i] = (cf_real)0.25;
        forward(&v, &logits);
        assert_int_equal(logits->n, 10);
        memcpy(there, logits->data, sizeof there);
        for (size_t b = 0; b < v.b; b++)
            for (size_t i = 0; i < frame; i++) {
                float *first = v.video + b * T * frame + i, *last = first + (T - 1) * frame;
                float swap = *first;
                *first = *last;
                *last = swap;
            }
        forward(&v, &logits);
        double most = 0;
        for (size_t i = 0; i < 10; i++)
            most = fmax(most, fabs((double)logits->data[i] - (double)there[i]));
        assert_true(equal ? most < 1e-5 : most > 1e-2);
        variant_close(&v);
    }
}

static void joint_refuses(void **state)
{
    (void)state;
    variant v;
    cf_xclip_outputs out;
    const cf_xclip_run run = { 0 };
    variant_open(&v, "joint", false);
    cf_tensor *x = cf_tensor_new(v.tape, cf_shape_of(1, 2, 3, 32, 32));
    assert_fails(cf_xclip_video(&out, v.model, v.tape, x, &run, NULL, NULL), CF_ESHAPE,
                 "pictures are [1, 2, 3, 32, 32], the model takes [b, 3, 3, 32, 32]");
    cf_xclip_config c = v.config;
    c.mit_layers = 1;
    assert_fails(cf_xclip_config_check(&c), CF_EINVAL, "1 MIT layers have nothing to integrate");
    variant_close(&v);
}

TESTS(TEST(cct_fc), TEST(mean), TEST(mean_fc), TEST(joint_fc), TEST(one), TEST(one_prompts),
      TEST(joint), TEST(joint_prompts), TEST(joint_knows_the_order_by_its_places),
      TEST(joint_refuses))
