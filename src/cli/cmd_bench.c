/* crossframe bench: how fast this machine trains, uses and feeds a model. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crossframe/bench.h"

typedef struct {
    const char *arch, *profile, *dump;
    int frames, batch, classes, steps;
    bool train, inference, loader, checkpoint, json;
} call;

typedef struct {
    double gemm[2], rate; /* before and after the steps; their mean */
    cf_bench_result train, inference;
    double videos_per_second;
} results;

/* The demonstration's model, beside the published ones. */
static cf_status model_of(cf_xclip_config *out, const call *o)
{
    if (strcmp(o->arch, "demo") == 0)
        *out = (cf_xclip_config){ .image = 40,
                                  .patch = 10,
                                  .vision_width = 128,
                                  .vision_layers = 3,
                                  .embed = 128,
                                  .text_width = 128,
                                  .text_layers = 2,
                                  .context = 16,
                                  .vocabulary = 700,
                                  .mit_layers = 1,
                                  .prompt_layers = 2,
                                  .prompt_alpha = 0.1 };
    else
        CF_TRY(cf_xclip_config_named(out, o->arch));
    out->frames = (size_t)o->frames;
    out->recompute = o->checkpoint;
    return CF_OK;
}

static cf_status measure(results *r, const call *o)
{
    cf_bench_options b = {
        .batch = (size_t)o->batch, .classes = (size_t)o->classes, .steps = o->steps, .dump = o->dump
    };
    const char *folder = getenv("TMPDIR");
    CF_TRY(model_of(&b.model, o));
    CF_TRY(cf_bench_gemm(&r->gemm[0]));
    if (o->inference) {
        b.trace = o->train ? NULL : o->profile;
        CF_TRY(cf_bench_step(&r->inference, &b));
        b.dump = NULL;
    }
    if (o->train) {
        b.train = true;
        b.trace = o->profile;
        CF_TRY(cf_bench_step(&r->train, &b));
    }
    CF_TRY(cf_bench_gemm(&r->gemm[1]));
    r->rate = (r->gemm[0] + r->gemm[1]) / 2;
    if (!o->loader) return CF_OK;
    return cf_bench_loader(&r->videos_per_second, folder && *folder ? folder : "/tmp",
                           b.model.frames, b.model.image, 0);
}

/* ---- as text --------------------------------------------------------------------------------- */

static double share(const results *r, const cf_bench_result *s)
{
    return s->gflop / s->seconds.median / r->rate;
}

static void print_step(const char *what, const results *r, const cf_bench_result *s, const call *o)
{
    printf("%-10s %.4f s (%.4f to %.4f, median of %d), %.2f videos/s, %.1f GFLOP: %.1f GFLOP/s, "
           "%.1f %% of the GEMM rate\n",
           what, s->seconds.median, s->seconds.min, s->seconds.max, s->seconds.n,
           o->batch / s->seconds.median, s->gflop, s->gflop / s->seconds.median, 100 * share(r, s));
    for (size_t i = 0; i < s->n_split; i++) {
        printf("  %-12s %8.2f ms", s->split[i].family, 1e3 * s->split[i].seconds);
        if (s->split[i].gflop > 0)
            printf("  %9.2f GFLOP  %6.1f GFLOP/s", s->split[i].gflop,
                   s->split[i].gflop / s->split[i].seconds);
        printf("\n");
    }
    printf("  memory       weights %.1f MB, gradients %.1f, moments %.1f, activations %.1f (%.1f "
           "of them under the gradients), gradients on the way %.1f; process at most %.1f MB\n",
           (double)s->bytes.weights * 1e-6, (double)s->bytes.gradients * 1e-6,
           (double)s->bytes.moments * 1e-6, (double)s->bytes.activations * 1e-6,
           (double)s->bytes.shared * 1e-6, (double)s->bytes.backward * 1e-6,
           (double)s->bytes.resident * 1e-6);
}

static void print_text(const results *r, const call *o)
{
    const char *warning = cf_blas_warning();
    printf("%s, T = %d, batch %d, %d classes%s; %d threads, %s\n", o->arch, o->frames, o->batch,
           o->classes, o->checkpoint ? ", recomputing" : "", cf_threads(), cf_cpu_name());
    if (warning) fprintf(stderr, "warning: %s\n", warning);
    printf("%-10s %.1f GFLOP/s, best of large shapes (medians of 9; %.1f before, %.1f after the "
           "steps)\n",
           "GEMM", r->rate, r->gemm[0], r->gemm[1]);
    if (o->inference) print_step("inference", r, &r->inference, o);
    if (o->train) print_step("train", r, &r->train, o);
    if (o->loader)
        printf("%-10s %.1f videos/s from JPEG frames, all augmentation, %d threads\n", "loader",
               r->videos_per_second, cf_threads());
}

/* ---- as JSON --------------------------------------------------------------------------------- */

static void print_json_step(const char *what, const results *r, const cf_bench_result *s)
{
    printf(",\"%s\":{\"seconds\":{\"median\":%.9g,\"min\":%.9g,\"max\":%.9g,\"n\":%d},"
           "\"gflop\":%.9g,\"gemm_share\":%.6g,\"loss\":%.9g,\"split\":{",
           what, s->seconds.median, s->seconds.min, s->seconds.max, s->seconds.n, s->gflop,
           share(r, s), s->loss);
    for (size_t i = 0; i < s->n_split; i++)
        printf("%s\"%s\":{\"seconds\":%.9g,\"gflop\":%.9g}", i ? "," : "", s->split[i].family,
               s->split[i].seconds, s->split[i].gflop);
    printf("},\"memory_bytes\":{\"weights\":%zu,\"gradients\":%zu,\"moments\":%zu,"
           "\"activations\":%zu,\"shared\":%zu,\"backward\":%zu,\"resident\":%zu}}",
           s->bytes.weights, s->bytes.gradients, s->bytes.moments, s->bytes.activations,
           s->bytes.shared, s->bytes.backward, s->bytes.resident);
}

static void print_json(const results *r, const call *o)
{
    printf("{\"arch\":\"%s\",\"frames\":%d,\"batch\":%d,\"classes\":%d,\"gemm_gflops\":%.6g",
           o->arch, o->frames, o->batch, o->classes, r->rate);
    if (o->train) print_json_step("train", r, &r->train);
    if (o->inference) print_json_step("inference", r, &r->inference);
    if (o->loader) printf(",\"loader\":{\"videos_per_second\":%.6g}", r->videos_per_second);
    printf(",\"threads\":%d,\"cpu\":\"%s\"}\n", cf_threads(), cf_cpu_name());
}

int cmd_bench(int argc, char **argv)
{
    call o = { .arch = "ViT-B/32", .frames = 8, .batch = 4, .classes = 400 };
    cli_args args;
    int exit_status;
    const cli_option options[] = {
        { "arch", 0, CLI_TEXT, &o.arch, "NAME",
          "ViT-B/32, ViT-B/16, ViT-L/14, ViT-L/14@336px, or demo", 0, 0 },
        { "frames", 0, CLI_INT, &o.frames, "T", "frames of a video (8)", 1, 1024 },
        { "batch", 0, CLI_INT, &o.batch, "B", "videos of a step (4)", 1, 100000 },
        { "classes", 0, CLI_INT, &o.classes, "K", "classes (400)", 1, 1000000 },
        { "steps", 0, CLI_INT, &o.steps, "N", "steps to time; 0: about five seconds of them", 0,
          1000 },
        { "train", 0, CLI_FLAG, &o.train, NULL, "times training steps", 0, 0 },
        { "inference", 0, CLI_FLAG, &o.inference, NULL, "times forward passes", 0, 0 },
        { "loader", 0, CLI_FLAG, &o.loader, NULL, "times the loader", 0, 0 },
        { "checkpoint", 0, CLI_FLAG, &o.checkpoint, NULL,
          "activations are computed again in backward", 0, 0 },
        { "profile", 0, CLI_TEXT, &o.profile, "FILE.json",
          "writes one step as a Chrome trace: each operation with its rate", 0, 0 },
        { "dump", 0, CLI_TEXT, &o.dump, "DIR",
          "writes the random weights and inputs, for another program to be timed on", 0, 0 },
        { "json", 0, CLI_FLAG, &o.json, NULL, "prints one JSON object", 0, 0 },
    };
    const cli_command command = {
        .name = "bench",
        .usage = "[options]",
        .summary = "times training, inference and loader against the machine's own GEMM rate",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .notes =
            "Weights and pictures are random, the text is frozen. Without --train, --inference "
            "and\n--loader all three are timed. The machine should be idle.",
    };
    if (!cli_parse(&args, &exit_status, &command, argc, argv)) return exit_status;
    cli_args_free(&args);
    if (!o.train && !o.inference && !o.loader) o.train = o.inference = o.loader = true;
    if (o.profile && !o.train && !o.inference)
        return cli_misused("bench", "--profile needs --train or --inference");
    results r = { 0 };
    if (measure(&r, &o) != CF_OK) return cli_failed();
    (o.json ? print_json : print_text)(&r, &o);
    return 0;
}
