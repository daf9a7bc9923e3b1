/* Timed steps of a model on random input, and the GEMM rate to hold them against. */
#include "crossframe/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "crossframe/h5.h"
#include "crossframe/optim.h"
#include "crossframe/safetensors.h"

enum { MOST_STEPS = 1000, PROFILED = 3 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

cf_bench_seconds cf_bench_summary(double *seconds, int n)
{
    qsort(seconds, (size_t)n, sizeof *seconds, compare);
    return (cf_bench_seconds){ seconds[n / 2], seconds[0], seconds[n - 1], n };
}

/* ---- the machine ----------------------------------------------------------------------------- */

static cf_status one_gemm(double *gflops, size_t m, size_t n, size_t k)
{
    enum { TIMES = 9 };
    cf_real *a = NULL, *b = NULL, *c = NULL;
    cf_status status = CF_OK;
    double seconds[TIMES];
    CF_GO(cf_alloc_zero(&a, m * k, sizeof *a));
    CF_GO(cf_alloc_zero(&b, n * k, sizeof *b));
    CF_GO(cf_alloc_zero(&c, m * n, sizeof *c));
    for (int i = -1; i < TIMES; i++) { /* the first one touches the memory */
        double start = cf_seconds();
        cf_gemm(false, true, m, n, k, 1, a, k, b, k, 0, c, n);
        if (i >= 0) seconds[i] = cf_seconds() - start;
    }
    double rate =
        2.0 * (double)m * (double)n * (double)k * 1e-9 / cf_bench_summary(seconds, TIMES).median;
    if (rate > *gflops) *gflops = rate;
done:
    cf_free(a);
    cf_free(b);
    cf_free(c);
    return status;
}

cf_status cf_bench_gemm(double *gflops)
{
    static const size_t shape[][3] = { { 2048, 2048, 2048 },
                                       { 4096, 3072, 768 },
                                       { 3072, 3072, 3072 } };
    double best = 0;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        CF_TRY(one_gemm(&best, shape[i][0], shape[i][1], shape[i][2]));
    *gflops = best;
    return CF_OK;
}

/* ---- one step -------------------------------------------------------------------------------- */

typedef struct {
    const cf_bench_options *options;
    cf_xclip *model;
    cf_tape *tape;
    cf_adamw *adamw; /* NULL: inference */
    float *video, *target;
    cf_real *text;
    double optimiser_s, loss; /* of the last step */
} setting;

static void setting_fini(setting *s)
{
    cf_adamw_free(s->adamw);
    cf_tape_free(s->tape);
    cf_xclip_free(s->model);
    cf_free(s->video);
    cf_free(s->target);
    cf_free(s->text);
}

static cf_status fill_inputs(setting *s)
{
    const cf_xclip_config *c = &s->options->model;
    size_t b = s->options->batch, K = s->options->classes;
    size_t pictures = b * c->frames * 3 * c->image * c->image;
    cf_rng rng = cf_rng_make(1, CF_RNG_TEST, 0, 0);
    CF_TRY(cf_alloc(&s->video, pictures, sizeof *s->video));
    CF_TRY(cf_alloc(&s->target, b * K, sizeof *s->target));
    CF_TRY(cf_alloc(&s->text, K * c->embed, sizeof *s->text));
    for (size_t i = 0; i < pictures; i++) s->video[i] = cf_rng_uniform_f32(&rng) * 2 - 1;
    for (size_t i = 0; i < b * K; i++) s->target[i] = i % K == 0;
    for (size_t i = 0; i < K * c->embed; i++) s->text[i] = (cf_real)cf_rng_normal(&rng);
    return CF_OK;
}

/* On its own model and tape, which may be dry ones: then there are no numbers. */
static cf_status compute_loss(cf_tensor **loss, const setting *s)
{
    const cf_xclip_config *c = &s->options->model;
    size_t b = s->options->batch, K = s->options->classes;
    cf_tape *t = s->tape;
    cf_xclip_outputs out;
    const cf_xclip_run run = { .training = s->options->train };
    cf_tape_reset(t);
    cf_tensor *x =
        cf_tensor_input_f32(t, cf_shape_of(b, c->frames, 3, c->image, c->image), s->video);
    cf_tensor *text = cf_tensor_input(t, cf_shape_of(K, c->embed), s->text, false);
    CF_TRY(cf_xclip_video(&out, s->model, t, x, &run, NULL, NULL));
    CF_TRY(cf_xclip_scores(&out, s->model, t, text, NULL, NULL));
    cf_tensor *target = cf_tensor_input_f32(t, cf_shape_of(b, K), s->target);
    *loss = cf_soft_cross_entropy(t, out.logits, target);
    return cf_tape_status(t);
}

static cf_status share_memory(setting *s)
{
    setting dry = { .options = s->options };
    cf_status status = CF_OK;
    cf_tensor *loss;
    CF_GO(cf_xclip_plan(&dry.model, cf_xclip_config_get(s->model)));
    CF_GO(cf_tape_new(&dry.tape, &(cf_tape_options){ .dry = true }));
    CF_GO(cf_tape_share(dry.tape, cf_xclip_params(dry.model), 0));
    CF_GO(compute_loss(&loss, &dry));
    CF_GO(cf_tape_backward(dry.tape, loss, 1));
    CF_GO(cf_tape_share(s->tape, cf_xclip_params(s->model),
                        cf_tape_stats_get(dry.tape).gradients_at));
done:
    setting_fini(&dry);
    return status;
}

static cf_status setting_init(setting *s, const cf_bench_options *o)
{
    const cf_adamw_options adamw = { 0.9, 0.98, 1e-8, 0.001 };
    const cf_group_rule rule = { .new_factor = 10, .is_new = cf_xclip_is_new_module };
    cf_xclip_config c = o->model;
    c.inference = !o->train;
    *s = (setting){ .options = o };
    CF_TRY(cf_xclip_new(&s->model, &c));
    cf_params_init(cf_xclip_params(s->model), 1);
    if (!o->dump) CF_TRY(cf_xclip_set_text_aside(s->model, NULL));
    CF_TRY(cf_tape_new(&s->tape, NULL));
    cf_tape_record(s->tape, o->train);
    CF_TRY(fill_inputs(s));
    if (!o->train) return CF_OK;
    CF_TRY(cf_adamw_new(&s->adamw, cf_xclip_params(s->model), &adamw, &rule));
    return share_memory(s);
}

static cf_status run_step(setting *s)
{
    cf_params *params = cf_xclip_params(s->model);
    cf_tensor *loss;
    CF_TRY(compute_loss(&loss, s));
    s->loss = (double)loss->data[0];
    if (!s->options->train) return CF_OK;
    CF_TRY(cf_tape_backward(s->tape, loss, 1));
    double start = cf_seconds(), norm = cf_grad_norm(params);
    cf_adamw_update(s->adamw, (const double[]){ 1e-6, 1e-5 }, cf_clip_factor(norm, 1));
    cf_params_zero_grads(params);
    s->optimiser_s = cf_seconds() - start;
    return CF_OK;
}

static cf_status time_steps(cf_bench_result *out, setting *s)
{
    double seconds[MOST_STEPS], start;
    CF_TRY(run_step(s)); /* touches all memory */
    out->loss = s->loss;
    start = cf_seconds();
    CF_TRY(run_step(s));
    int n = s->options->steps ? s->options->steps : (int)(5 / (cf_seconds() - start)) + 3;
    if (n > MOST_STEPS) n = MOST_STEPS;
    for (int i = 0; i < n; i++) {
        start = cf_seconds();
        CF_TRY(run_step(s));
        seconds[i] = cf_seconds() - start;
    }
    out->seconds = cf_bench_summary(seconds, n);
    out->gflop = cf_tape_stats_get(s->tape).flop * 1e-9;
    return CF_OK;
}

/* ---- for a peer ------------------------------------------------------------------------------ */

static cf_status dump_weights(const cf_params *params, const char *folder)
{
    size_t n = cf_params_count(params);
    cf_st_tensor *tensors = NULL;
    char *path;
    CF_TRY(cf_path_join(&path, folder, "weights.safetensors"));
    cf_status status = cf_alloc(&tensors, n, sizeof *tensors);
    for (size_t i = 0; status == CF_OK && i < n; i++) {
        const cf_param *p = cf_params_get(params, i);
        tensors[i] = cf_param_as_st(p, p->tensor.name, p->tensor.data);
    }
    if (status == CF_OK) status = cf_st_write(path, tensors, n, NULL, 0);
    cf_free(tensors);
    cf_free(path);
    return status;
}

static cf_status dump_inputs(const setting *s, const char *folder)
{
    const cf_xclip_config *c = &s->options->model;
    const size_t b = s->options->batch, K = s->options->classes;
    const size_t video[] = { b, c->frames, 3, c->image, c->image }, text[] = { K, c->embed };
    const size_t target[] = { b, K };
    cf_status status = CF_OK;
    cf_h5 *f = NULL;
    char *path;
    float *features = NULL;
    CF_TRY(cf_path_join(&path, folder, "inputs.h5"));
    CF_GO(cf_alloc(&features, K * c->embed, sizeof *features));
    for (size_t i = 0; i < K * c->embed; i++) features[i] = (float)s->text[i];
    CF_GO(cf_h5_create(&f, path));
    CF_GO(cf_h5_write_f32(f, "/video", s->video, 5, video));
    CF_GO(cf_h5_write_f32(f, "/text", features, 2, text));
    CF_GO(cf_h5_write_f32(f, "/target", s->target, 2, target));
    cf_h5 *whole = f;
    f = NULL;
    CF_GO(cf_h5_commit(whole));
done:
    cf_h5_close(f);
    cf_free(features);
    cf_free(path);
    return status;
}

static cf_status dump(const setting *s, const char *folder)
{
    CF_TRY(cf_make_folders(folder));
    CF_TRY(dump_weights(cf_xclip_params(s->model), folder));
    return dump_inputs(s, folder);
}

/* ---- where the time and the memory go -------------------------------------------------------- */

static void add_row(cf_bench_result *r, const char *family, double seconds, double gflop)
{
    CF_ASSERT(r->n_split < CF_BENCH_ROWS);
    r->split[r->n_split].family = family;
    r->split[r->n_split].seconds = seconds;
    r->split[r->n_split++].gflop = gflop;
}

static cf_status split_steps(cf_bench_result *out, setting *s)
{
    cf_tape_profile_row rows[CF_BENCH_ROWS];
    double start = cf_seconds(), optimiser = 0, known = 0;
    cf_tape_profile(s->tape, true);
    for (int i = 0; i < PROFILED; i++) {
        CF_TRY(run_step(s));
        optimiser += s->optimiser_s;
    }
    double whole = (cf_seconds() - start) / PROFILED;
    cf_tape_profile(s->tape, false);
    size_t n = cf_tape_profile_get(s->tape, rows, CF_BENCH_ROWS - 2);
    for (size_t i = 0; i < n && i < CF_BENCH_ROWS - 2; i++) {
        double seconds = (rows[i].forward_s + rows[i].backward_s) / PROFILED;
        add_row(out, rows[i].family, seconds, rows[i].flop * 1e-9 / PROFILED);
        known += seconds;
    }
    optimiser /= PROFILED;
    if (s->adamw) add_row(out, "optimiser", optimiser, 0);
    add_row(out, "rest", whole - known - optimiser, 0);
    return CF_OK;
}

static void count_memory(cf_bench_result *out, const setting *s)
{
    struct rusage usage;
    size_t m = 0;
    const cf_params *params = cf_xclip_params(s->model);
    cf_tape_stats stats = cf_tape_stats_get(s->tape);
    if (s->adamw) cf_adamw_m(s->adamw, &m);
    getrusage(RUSAGE_SELF, &usage);
    for (size_t i = 0; i < cf_params_count(params); i++) {
        const cf_param *p = cf_params_get(params, i);
        if (p->aside == CF_ASIDE_NOT) out->bytes.weights += p->tensor.n * sizeof(cf_real);
    }
    out->bytes.gradients = cf_params_block(params, true) * sizeof(cf_real);
    out->bytes.moments = 2 * m * sizeof(cf_real);
    out->bytes.activations = stats.activation_peak;
    out->bytes.shared = out->bytes.gradients + stats.activation_peak - stats.shared_bytes;
    out->bytes.backward = stats.gradient_peak;
    out->bytes.resident = (size_t)usage.ru_maxrss * 1024;
}

/* ---- trace ----------------------------------------------------------------------------------- */

/* Chrome's trace event format: an array of complete events, microseconds. */
typedef struct {
    char *text;
    size_t n, capacity;
    double origin_s;
    cf_status status;
} trace;

static void trace_event(void *user, const cf_tape_event *e)
{
    trace *t = user;
    char line[400];
    cf_shape_text shape;
    if (t->status != CF_OK) return;
    int n = snprintf(
        line, sizeof line,
        ",\n{\"name\":\"%s%s\",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":%.3f,"
        "\"dur\":%.3f,\"args\":{\"out\":\"%s\",\"gflop\":%.6g,\"gflops\":%.4g}}",
        e->name, e->backward ? " backward" : "", e->family, (e->start_s - t->origin_s) * 1e6,
        e->seconds * 1e6, cf_shape_print(&shape, e->out), e->flop * 1e-9,
        e->seconds > 0 ? e->flop / e->seconds * 1e-9 : 0);
    CF_ASSERT(n > 0 && (size_t)n < sizeof line);
    t->status = cf_grow(&t->text, &t->capacity, t->n + (size_t)n + 1, 1);
    if (t->status != CF_OK) return;
    memcpy(t->text + t->n, line, (size_t)n + 1);
    t->n += (size_t)n;
}

static cf_status trace_step(setting *s, const char *path)
{
    trace t = { .origin_s = cf_seconds() };
    char *whole = NULL;
    cf_tape_watch(s->tape, trace_event, &t);
    cf_tape_profile(s->tape, true);
    cf_status status = run_step(s);
    cf_tape_profile(s->tape, false);
    cf_tape_watch(s->tape, NULL, NULL);
    if (status == CF_OK) status = t.status;
    if (status == CF_OK)
        status = cf_format(&whole, "[%s\n]\n", t.n > 0 ? t.text + 1 : ""); /* without a comma */
    if (status == CF_OK) status = cf_file_write(path, whole, strlen(whole));
    cf_free(whole);
    cf_free(t.text);
    return status;
}

cf_status cf_bench_step(cf_bench_result *out, const cf_bench_options *o)
{
    setting s;
    cf_bench_result result = { 0 };
    cf_status status = setting_init(&s, o);
    if (status == CF_OK && o->dump) status = dump(&s, o->dump);
    if (status == CF_OK) status = time_steps(&result, &s);
    if (status == CF_OK) {
        count_memory(&result, &s);
        status = split_steps(&result, &s);
    }
    if (status == CF_OK && o->trace) status = trace_step(&s, o->trace);
    setting_fini(&s);
    if (status == CF_OK) *out = result;
    return status;
}
