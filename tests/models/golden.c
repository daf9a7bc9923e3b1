#include "golden.h"

#include "test.h"

int64_t golden_number(cf_h5 *f, const char *object, const char *name)
{
    int64_t v;
    assert_ok(cf_h5_attr_i64(&v, f, object, name));
    return v;
}

double *golden_doubles(cf_h5 *f, const char *path, size_t n)
{
    double *out;
    size_t got;
    assert_ok(cf_h5_read_f64(&out, &got, f, path));
    if (got != n) fail_msg("%s: %zu elements, expected %zu", path, got, n);
    return out;
}

static size_t attr(golden *g, const char *name)
{
    return (size_t)golden_number(g->file, "/", name);
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static float value(uint64_t key_hash, size_t i, float center, float scale)
{
    uint64_t bits = mix(key_hash + ((uint64_t)i + 1) * 0x9E3779B97F4A7C15u) >> 40;
    float u = (float)bits * 0x1p-24f;
    float centred = 2 * u - 1;
    float product = scale * centred;
    return center + product;
}

void golden_fill(cf_tensor *x, const char *key, double center, double scale)
{
    uint64_t hash = cf_hash64(key, strlen(key));
    cf_real *data = x->data;
    size_t n = x->n;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) data[i] = value(hash, i, (float)center, (float)scale);
}

float *golden_input(const char *key, size_t n, double center, double scale)
{
    uint64_t hash = cf_hash64(key, strlen(key));
    float *out;
    assert_ok(cf_alloc(&out, n, sizeof *out));
    for (size_t i = 0; i < n; i++) out[i] = value(hash, i, (float)center, (float)scale);
    return out;
}

size_t golden_index(char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) return i;
    fail_msg("the golden file has no %s", name);
    return 0;
}

void golden_fill_all(cf_params *params, char *const *names, const double *rule, size_t n)
{
    for (size_t i = 0; i < cf_params_count(params); i++) {
        cf_param *p = cf_params_get(params, i);
        const double *own = rule + 2 * golden_index(names, n, p->tensor.name);
        char key[200];
        snprintf(key, sizeof key, "w:%s", p->tensor.name);
        golden_fill(&p->tensor, key, own[0], own[1]);
    }
}

static void fill_param(golden *g, cf_param *p)
{
    char path[300], *key;
    double center, scale;
    int64_t *shape;
    size_t rank;
    snprintf(path, sizeof path, "/weights/%s", p->tensor.name);
    assert_ok(cf_h5_attr_f64(&center, g->file, path, "center"));
    assert_ok(cf_h5_attr_f64(&scale, g->file, path, "scale"));
    assert_ok(cf_h5_attr_string(&key, g->file, path, "key"));
    assert_ok(cf_h5_attr_i64s(&shape, &rank, g->file, path, "shape"));
    assert_int_equal(rank, p->tensor.shape.rank);
    for (size_t i = 0; i < rank; i++) assert_int_equal(shape[i], p->tensor.shape.dim[i]);
    golden_fill(&p->tensor, key, center, scale);
    cf_free(key);
    cf_free(shape);
}

static void fill_video(golden *g)
{
    char *key;
    double center, scale;
    int64_t *shape;
    size_t rank, n = 1;
    assert_ok(cf_h5_attr_string(&key, g->file, "/inputs", "video_key"));
    assert_ok(cf_h5_attr_f64(&center, g->file, "/inputs", "video_center"));
    assert_ok(cf_h5_attr_f64(&scale, g->file, "/inputs", "video_scale"));
    assert_ok(cf_h5_attr_i64s(&shape, &rank, g->file, "/inputs", "video_shape"));
    assert_int_equal(rank, 5);
    for (size_t i = 0; i < rank; i++) n *= (size_t)shape[i];
    assert_int_equal(n, g->b * g->config.frames * 3 * g->config.image * g->config.image);
    g->video = golden_input(key, n, center, scale);
    cf_free(key);
    cf_free(shape);
}

void golden_open(golden *g, const char *name, bool recompute)
{
    char path[200], **names;
    size_t n;
    *g = (golden){ 0 };
    snprintf(path, sizeof path, "tests/golden/%s.h5", name);
    assert_ok(cf_h5_open(&g->file, path));
    g->train_text = attr(g, "train_text") != 0;
    g->config = (cf_xclip_config){ .image = attr(g, "image_resolution"),
                                   .patch = attr(g, "vision_patch_size"),
                                   .vision_width = attr(g, "vision_width"),
                                   .vision_layers = attr(g, "vision_layers"),
                                   .embed = attr(g, "embed_dim"),
                                   .text_width = attr(g, "transformer_width"),
                                   .text_layers = attr(g, "transformer_layers"),
                                   .context = attr(g, "context_length"),
                                   .vocabulary = attr(g, "vocab_size"),
                                   .frames = attr(g, "T"),
                                   .mit_layers = attr(g, "mit_layers"),
                                   .prompt_layers = attr(g, "prompts_layers"),
                                   .prompt_alpha = 0.1,
                                   .recompute = recompute,
                                   .train_text = g->train_text };
    g->b = attr(g, "batch");
    g->K = attr(g, "classes");
    assert_ok(cf_xclip_new(&g->model, &g->config));
    cf_params *params = cf_xclip_params(g->model);
    assert_ok(cf_h5_list(&names, &n, g->file, "/weights"));
    assert_int_equal(n, cf_params_count(params));
    cf_free(names);
    for (size_t i = 0; i < n; i++) fill_param(g, cf_params_get(params, i));
    fill_video(g);
    assert_ok(cf_h5_read_i32(&g->tokens, &n, g->file, "/inputs/tokens"));
    assert_int_equal(n, g->K * g->config.context);
    assert_ok(cf_h5_read_f32(&g->target, &n, g->file, "/inputs/target"));
    assert_int_equal(n, g->b * g->K);
    assert_ok(cf_tape_new(&g->tape, NULL));
}

void golden_close(golden *g)
{
    cf_h5_close(g->file);
    cf_xclip_free(g->model);
    cf_tape_free(g->tape);
    cf_free(g->video);
    cf_free(g->tokens);
    cf_free(g->target);
}

cf_tensor *golden_loss(cf_xclip_outputs *out, cf_xclip *m, cf_tape *t, const float *video, size_t b,
                       cf_tensor *text, const float *target, cf_xclip_watch *watch, void *user)
{
    const cf_xclip_config *c = cf_xclip_config_get(m);
    const cf_xclip_run run = { 0 };
    cf_shape shape = cf_shape_of(b, c->frames, 3, c->image, c->image);
    cf_tensor *x = cf_tensor_input_f32(t, shape, video);
    assert_ok(cf_xclip_video(out, m, t, x, &run, watch, user));
    assert_ok(cf_xclip_scores(out, m, t, text, watch, user));
    cf_tensor *wanted = cf_tensor_input_f32(t, out->logits->shape, target);
    cf_tensor *loss = cf_soft_cross_entropy(t, out->logits, wanted);
    assert_ok(cf_tape_status(t));
    return loss;
}

cf_tensor *golden_forward(golden *g, cf_xclip_outputs *out, cf_tensor **text, cf_xclip_watch *watch,
                          void *user)
{
    cf_tape_reset(g->tape);
    cf_tensor *c = cf_xclip_text(g->model, g->tape, g->tokens, g->K);
    if (text) *text = c;
    return golden_loss(out, g->model, g->tape, g->video, g->b, c, g->target, watch, user);
}

void golden_compare(const char *what, const cf_real *a, const float *b, size_t n, double tolerance)
{
    double largest = 0, worst = -1;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)a[i] - (double)b[i]);
        if (fabs((double)b[i]) > largest) largest = fabs((double)b[i]);
        if (!(error <= worst)) {
            worst = error;
            at = i;
        }
    }
    if (getenv("CF_GOLDEN_VERBOSE")) printf("%-32s %.2e\n", what, worst / largest);
    if (!(worst <= tolerance * largest))
        fail_msg("%s: element %zu of %zu is %.9g, expected %.9g; off by %.3g of the largest value "
                 "%.4g, allowed %.1g",
                 what, at, n, (double)a[at], (double)b[at], worst / largest, largest, tolerance);
}

void golden_compare_file(golden *g, const char *path, const cf_real *a, size_t n, double tolerance)
{
    float *b;
    size_t count;
    assert_ok(cf_h5_read_f32(&b, &count, g->file, path));
    if (count != n) fail_msg("%s: %zu elements, expected %zu", path, n, count);
    golden_compare(path, a, b, n, tolerance);
    cf_free(b);
}
