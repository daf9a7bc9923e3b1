/* The variants on the text side (prompts of the video, vectors, templates; text, trunk and logit
 * scale trained or not) against an independent writing in PyTorch (text_variants.h5), and their
 * gradients against differences of the loss itself. */
#include "golden.h"
#include "test.h"

#define TIGHT (sizeof(cf_real) == sizeof(double))

typedef struct {
    cf_h5 *file;
    char path[64];
    size_t b, K, templates, context;
    int32_t *tokens; /* [templates, K, context] */
    float *target, *video;
    int64_t which; /* template; -1: the mean of all, as a test has it */
    cf_xclip_config config;
    cf_xclip *model;
    cf_tape *tape;
    cf_tensor *text, *loss;
    cf_xclip_outputs out;
    double *fill; /* [n_names, 2]: center and scale of the fill rule */
    char **name;
    size_t n_names;
} variant;

static double *doubles(variant *v, const char *name, size_t n)
{
    char path[100];
    snprintf(path, sizeof path, "%s/%s", v->path, name);
    return golden_doubles(v->file, path, n);
}

static void read_config(variant *v)
{
#define ROOT(name) (size_t) golden_number(v->file, "/", name)
#define OWN(name) (size_t) golden_number(v->file, v->path, name)
    v->b = ROOT("batch"), v->K = ROOT("classes"), v->templates = ROOT("templates");
    v->context = ROOT("context");
    v->which = golden_number(v->file, v->path, "template");
    v->config = (cf_xclip_config){ .image = ROOT("image"),
                                   .patch = ROOT("patch"),
                                   .vision_width = ROOT("width"),
                                   .vision_layers = ROOT("layers"),
                                   .embed = ROOT("width"),
                                   .text_width = ROOT("width"),
                                   .text_layers = ROOT("layers"),
                                   .context = ROOT("context"),
                                   .vocabulary = ROOT("vocabulary"),
                                   .frames = ROOT("frames"),
                                   .mit_layers = 1,
                                   .prompt_layers = OWN("prompt_layers"),
                                   .prompt_vectors = OWN("prompt_vectors"),
                                   .prompt_alpha = 0.1,
                                   .train_text = OWN("train_text"),
                                   .fix_visual = OWN("fix_visual"),
                                   .train_logit_scale = (cf_logit_scale_rule)OWN("logit_scale") };
}

static void variant_open(variant *v, const char *name)
{
    size_t n;
    *v = (variant){ .file = NULL };
    snprintf(v->path, sizeof v->path, "/variants/%s", name);
    assert_ok(cf_h5_open(&v->file, "tests/golden/text_variants.h5"));
    read_config(v);
    assert_ok(cf_h5_read_i32(&v->tokens, &n, v->file, "/tokens"));
    assert_int_equal(n, v->templates * v->K * v->context);
    assert_ok(cf_h5_read_f32(&v->target, &n, v->file, "/target"));
    assert_ok(cf_h5_read_strings(&v->name, &v->n_names, v->file, "/name"));
    assert_ok(cf_h5_read_f64(&v->fill, &n, v->file, "/fill"));
    assert_int_equal(n, 2 * v->n_names);
    size_t pixels = v->b * v->config.frames * 3 * v->config.image * v->config.image;
    v->video = golden_input("variants:video", pixels, 0, 1.5);
    assert_ok(cf_xclip_new(&v->model, &v->config));
    assert_ok(cf_tape_new(&v->tape, NULL));
    golden_fill_all(cf_xclip_params(v->model), v->name, v->fill, v->n_names);
}

static void variant_close(variant *v)
{
    cf_h5_close(v->file);
    cf_xclip_free(v->model);
    cf_tape_free(v->tape);
    cf_free(v->tokens);
    cf_free(v->target);
    cf_free(v->video);
    cf_free(v->name);
    cf_free(v->fill);
}

static double forward(variant *v)
{
    const size_t e = v->config.embed, K = v->K;
    static cf_text_cache cache;
    cf_tape *t = v->tape;
    cf_text_cache_fini(&cache);
    if (v->which < 0) assert_ok(cf_text_cache_get(&cache, v->model, t, v->tokens, v->templates, K));
    cf_tape_reset(t);
    v->text = v->which < 0
                  ? cf_tensor_input(t, cf_shape_of(K, e), cache.features, false)
                  : cf_xclip_text(v->model, t, v->tokens + (size_t)v->which * K * v->context, K);
    v->loss = golden_loss(&v->out, v->model, t, v->video, v->b, v->text, v->target, NULL, NULL);
    return (double)v->loss->data[0];
}

/* ---- against PyTorch ------------------------------------------------------------------------- */

static double compare(variant *v, const char *what, const cf_real *a, size_t n, double tolerance)
{
    double *b = doubles(v, what, n), largest = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(b[i]));
        double off = fabs((double)a[i] - b[i]);
        if (!(off <= worst)) worst = off;
    }
    if (!(worst <= tolerance * largest))
        fail_msg("%s: %s is off by %.3g of its largest value", v->path, what, worst / largest);
    cf_free(b);
    return worst / largest;
}

static double compare_gradients(variant *v)
{
    enum { SAMPLES = 6 };
    const cf_params *params = cf_xclip_params(v->model);
    double *norm = doubles(v, "norm", v->n_names), worst = 0;
    double *sample = doubles(v, "sample", v->n_names * SAMPLES);
    size_t trained = 0;
    for (size_t i = 0; i < cf_params_count(params); i++) {
        const cf_param *p = cf_params_get(params, i);
        size_t at = golden_index(v->name, v->n_names, p->tensor.name), n = p->tensor.n;
        if (p->trainable != (norm[at] >= 0))
            fail_msg("%s: %s is %s", v->path, v->name[at], p->trainable ? "trained" : "frozen");
        if (!p->trainable) continue;
        trained++;
        const cf_real *g = p->tensor.grad;
        double mine = sqrt(cf_vec_sum_squares(g, n)), off = fabs(mine - norm[at]);
        for (size_t j = 0; j < SAMPLES; j++) {
            double one = fabs((double)g[j * n / SAMPLES] - sample[at * SAMPLES + j]);
            if (!(one * sqrt((double)n) <= off)) off = one * sqrt((double)n);
        }
        if (!(off <= (TIGHT ? 1e-9 : 1e-3) * norm[at]))
            fail_msg("%s: gradient of %s: norm %.9g, expected %.9g; off by %.3g of it", v->path,
                     v->name[at], mine, norm[at], off / norm[at]);
        worst = fmax(worst, off / norm[at]);
    }
    size_t expected = 0;
    for (size_t i = 0; i < v->n_names; i++) expected += norm[i] >= 0;
    assert_int_equal(trained, expected);
    cf_free(norm);
    cf_free(sample);
    return worst;
}

static void every_variant(void **state)
{
    (void)state;
    cf_h5 *f;
    char **name;
    size_t n;
    assert_ok(cf_h5_open(&f, "tests/golden/text_variants.h5"));
    assert_ok(cf_h5_list(&name, &n, f, "/variants"));
    cf_h5_close(f);
    assert_int_equal(n, 12);
    for (size_t i = 0; i < n; i++) {
        variant v;
        variant_open(&v, name[i]);
        double tolerance = TIGHT ? 1e-11 : 1e-5, loss = forward(&v);
        double logits = compare(&v, "logits", v.out.logits->data, v.b * v.K, tolerance);
        compare(&v, "text", v.text->data, v.K * v.config.embed, tolerance);
        compare(&v, "loss", v.loss->data, 1, tolerance);
        assert_true(isfinite(loss));
        assert_ok(cf_tape_backward(v.tape, v.loss, 1));
        printf("%-22s logits %.1e, gradients %.1e\n", name[i], logits, compare_gradients(&v));
        variant_close(&v);
    }
    cf_free(name);
}

/* ---- against differences --------------------------------------------------------------------- */

/* Along one random direction of each tensor: central differences at two steps, extrapolated. */
static double slope(variant *v, cf_param *p, const double *along, double step)
{
    double loss[2];
    cf_real *start;
    assert_ok(cf_alloc(&start, p->tensor.n, sizeof *start));
    memcpy(start, p->tensor.data, p->tensor.n * sizeof *start);
    for (int side = 0; side < 2; side++) {
        double h = side ? -step : step;
        for (size_t j = 0; j < p->tensor.n; j++)
            p->tensor.data[j] = (cf_real)((double)start[j] + h * along[j]);
        loss[side] = forward(v);
    }
    memcpy(p->tensor.data, start, p->tensor.n * sizeof *start);
    cf_free(start);
    return (loss[0] - loss[1]) / (2 * step);
}

/* In float the loss has too few digits for it: `make f64` runs it. */
static void differences(void **state)
{
    (void)state;
    static const char *const names[] = { "vectors", "vectors_train_text", "ensemble_train_text",
                                         "fix_visual", "train_text" };
    if (!TIGHT) skip();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        variant v;
        double worst = 0;
        variant_open(&v, names[i]);
        const cf_params *params = cf_xclip_params(v.model);
        for (size_t j = 0; j < cf_params_count(params); j++) {
            cf_param *p = cf_params_get(params, j);
            double *along, mine = 0;
            if (!p->trainable) continue;
            cf_rng rng = cf_rng_make(5, CF_RNG_TEST, 0, j);
            assert_ok(cf_alloc(&along, p->tensor.n, sizeof *along));
            forward(&v);
            cf_params_zero_grads(cf_xclip_params(v.model));
            assert_ok(cf_tape_backward(v.tape, v.loss, 1));
            cf_params_grads(cf_xclip_params(v.model)); /* zero what nothing has written */
            for (size_t k = 0; k < p->tensor.n; k++) {
                along[k] = cf_rng_normal(&rng);
                mine += along[k] * (double)p->tensor.grad[k];
            }
            double coarse = slope(&v, p, along, 2e-4), fine = slope(&v, p, along, 1e-4);
            double expected = fine + (fine - coarse) / 3;
            double off = fabs(mine - expected) / fmax(1, fmax(fabs(mine), fabs(expected)));
            if (!(off <= 1e-7))
                fail_msg("%s: %s: %.12g, differences say %.12g", names[i], p->tensor.name, mine,
                         expected);
            worst = fmax(worst, off);
            cf_free(along);
        }
        printf("%-22s differences %.1e\n", names[i], worst);
        variant_close(&v);
    }
}

TESTS(TEST(every_variant), TEST(differences))
