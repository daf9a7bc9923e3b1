/* Times a training step of the demo's model (or ViT-B/32, ViT-B/16 as argument) on random weights,
 * against the GEMM rate this machine reaches at large sizes and at the step's own shapes. CSV on
 * stdout: what, size, threads, median s, min s, GFLOP/s, percent of the GEMM rate at 2048. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crossframe/models.h"
#include "crossframe/optim.h"

#define CHECK(call)                                                                                \
    do {                                                                                           \
        if ((call) != CF_OK) {                                                                     \
            fprintf(stderr, "bench_step: %s\n", cf_error());                                       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum { MAX_RUNS = 1000 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double report(const char *what, const char *size, double *seconds, int n, double flop,
                     double peak)
{
    qsort(seconds, (size_t)n, sizeof *seconds, compare);
    double median = seconds[n / 2], rate = flop / median * 1e-9;
    printf("%s,%s,%d,%.6f,%.6f,%.1f,%.1f\n", what, size, cf_threads(), median, seconds[0], rate,
           peak > 0 ? 100 * rate / peak : 100.0);
    return rate;
}

static double bench_gemm(size_t m, size_t n, size_t k, double peak)
{
    cf_real *a, *b, *c;
    double seconds[MAX_RUNS], flop = 2.0 * (double)m * (double)n * (double)k;
    CHECK(cf_alloc_zero(&a, m * k, sizeof *a));
    CHECK(cf_alloc_zero(&b, n * k, sizeof *b));
    CHECK(cf_alloc_zero(&c, m * n, sizeof *c));
    int runs = (int)(2e10 / flop) + 5;
    if (runs > MAX_RUNS) runs = MAX_RUNS;
    for (int i = 0; i < runs; i++) {
        double start = cf_seconds();
        cf_gemm(false, true, m, n, k, 1, a, k, b, k, 0, c, n);
        seconds[i] = cf_seconds() - start;
    }
    char size[64];
    snprintf(size, sizeof size, "%zux%zux%zu", m, n, k);
    double rate = report("gemm", size, seconds, runs, flop, peak);
    cf_free(a);
    cf_free(b);
    cf_free(c);
    return rate;
}

typedef struct {
    cf_xclip *model;
    cf_tape *tape;
    cf_adamw *adamw;
    float *video, *target;
    cf_real *text;
    size_t b, K;
} setting;

static void setting_open(setting *s, const cf_xclip_config *c, size_t b, size_t K)
{
    *s = (setting){ .b = b, .K = K };
    CHECK(cf_xclip_new(&s->model, c));
    cf_params *params = cf_xclip_params(s->model);
    cf_params_init(params, 1);
    CHECK(cf_tape_new(&s->tape, NULL));
    const cf_adamw_options options = { 0.9, 0.98, 1e-8, 0.001 };
    const cf_group_rule rule = { .new_factor = 10, .is_new = cf_xclip_is_new_module };
    CHECK(cf_adamw_new(&s->adamw, params, &options, &rule));
    size_t n = b * c->frames * 3 * c->image * c->image;
    cf_rng rng = cf_rng_make(1, CF_RNG_TEST, 0, 0);
    CHECK(cf_alloc(&s->video, n, sizeof *s->video));
    for (size_t i = 0; i < n; i++) s->video[i] = cf_rng_uniform_f32(&rng) * 2 - 1;
    CHECK(cf_alloc(&s->target, b * K, sizeof *s->target));
    for (size_t i = 0; i < b * K; i++) s->target[i] = i % K == 0;
    CHECK(cf_alloc(&s->text, K * c->embed, sizeof *s->text));
    for (size_t i = 0; i < K * c->embed; i++) s->text[i] = (cf_real)cf_rng_normal(&rng);
}

static double step(setting *s)
{
    const cf_xclip_config *c = cf_xclip_config_get(s->model);
    cf_tape *t = s->tape;
    cf_xclip_outputs out;
    const cf_xclip_run run = { .training = true };
    cf_params_zero_grads(cf_xclip_params(s->model));
    cf_tape_reset(t);
    cf_tensor *x =
        cf_tensor_input_f32(t, cf_shape_of(s->b, c->frames, 3, c->image, c->image), s->video);
    cf_tensor *text = cf_tensor_input(t, cf_shape_of(s->K, c->embed), s->text, false);
    CHECK(cf_xclip_video(&out, s->model, t, x, &run, NULL, NULL));
    CHECK(cf_xclip_scores(&out, s->model, t, text, NULL, NULL));
    cf_tensor *target = cf_tensor_input_f32(t, cf_shape_of(s->b, s->K), s->target);
    CHECK(cf_tape_backward(t, cf_soft_cross_entropy(t, out.logits, target), 1));
    double norm = cf_grad_norm(cf_xclip_params(s->model));
    cf_adamw_update(s->adamw, (const double[]){ 1e-6, 1e-5 }, cf_clip_factor(norm, 1));
    return cf_tape_stats_get(t).flop;
}

static void bench_step(const char *name, const cf_xclip_config *c, size_t b, size_t K, double peak)
{
    setting s;
    double seconds[MAX_RUNS], flop = 0;
    setting_open(&s, c, b, K);
    step(&s);
    double start = cf_seconds();
    flop = step(&s);
    int runs = (int)(4 / (cf_seconds() - start)) + 3;
    if (runs > MAX_RUNS) runs = MAX_RUNS;
    for (int i = 0; i < runs; i++) {
        start = cf_seconds();
        step(&s);
        seconds[i] = cf_seconds() - start;
    }
    char size[96];
    snprintf(size, sizeof size, "%s T=%zu batch %zu K=%zu", name, c->frames, b, K);
    report("train step", size, seconds, runs, flop, peak);
    printf("videos/s,%s,%d,%.1f,,,\n", size, cf_threads(), (double)b / seconds[runs / 2]);
    cf_tape_profile_row rows[16];
    cf_tape_profile(s.tape, true);
    for (int i = 0; i < 3; i++) step(&s);
    size_t n = cf_tape_profile_get(s.tape, rows, 16);
    for (size_t i = 0; i < n; i++)
        printf("%s,%s,%d,%.6f,,%.1f,\n", rows[i].family, size, cf_threads(),
               (rows[i].forward_s + rows[i].backward_s) / 3,
               rows[i].flop / (rows[i].forward_s + rows[i].backward_s) * 1e-9);
    cf_tape_stats stats = cf_tape_stats_get(s.tape);
    printf("memory MB,%s,activations %.1f,gradients %.1f,,,\n", size,
           (double)stats.activation_peak * 1e-6, (double)stats.gradient_peak * 1e-6);
    cf_xclip_free(s.model);
    cf_tape_free(s.tape);
    cf_adamw_free(s.adamw);
    cf_free(s.video);
    cf_free(s.target);
    cf_free(s.text);
}

/* As the program itself does (src/cli/main.c): newer kernels, and threads that sleep instead of
 * spinning. */
static void prepare_libraries(char **argv)
{
    const char *core = getenv("OPENBLAS_CORETYPE") ? NULL : cf_blas_better_core();
    bool spins = !getenv("GOMP_SPINCOUNT") && !getenv("OMP_WAIT_POLICY");
    if (core) setenv("OPENBLAS_CORETYPE", core, 1);
    if (spins) setenv("GOMP_SPINCOUNT", "1000", 1);
    if (core || spins) execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
    prepare_libraries(argv);
    printf("what,size,threads,median_s,min_s,gflop_s,percent_of_gemm\n");
    double peak = bench_gemm(2048, 2048, 2048, 0);
    if (argc > 1) {
        cf_xclip_config c;
        CHECK(cf_xclip_config_named(&c, argv[1]));
        bench_step(argv[1], &c, argc > 2 ? (size_t)atoi(argv[2]) : 4, 400, peak);
        return 0;
    }
    bench_gemm(16 * 4 * 17, 384, 128, peak);
    bench_gemm(16 * 4 * 17, 512, 128, peak);
    bench_gemm(16 * 4 * 17, 128, 512, peak);
    const cf_xclip_config demo = { .image = 40,
                                   .patch = 10,
                                   .vision_width = 128,
                                   .vision_layers = 3,
                                   .embed = 128,
                                   .text_width = 128,
                                   .text_layers = 2,
                                   .context = 16,
                                   .vocabulary = 700,
                                   .frames = 4,
                                   .mit_layers = 1,
                                   .prompt_layers = 2,
                                   .prompt_alpha = 0.1 };
    bench_step("demo", &demo, 16, 80, peak);
    return 0;
}
