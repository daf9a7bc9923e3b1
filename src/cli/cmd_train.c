/* crossframe train: a run as the configuration says. Dedicated options come last and win. */
#include "run_print.h"

#include <stdio.h>

typedef struct {
    const char *config, *output, *pretrained, *resume;
    int batch_size, accumulation, local_rank;
    bool only_test, quiet, dry_run;
} call;

static cf_status set_number(cf_config *c, const char *key, int value, const char *origin)
{
    char text[16];
    if (value == 0) return CF_OK;
    snprintf(text, sizeof text, "%d", value);
    return cf_config_set_plain(c, key, text, origin);
}

static cf_status set_text(cf_config *c, const char *key, const char *value, const char *origin)
{
    return value ? cf_config_set_plain(c, key, value, origin) : CF_OK;
}

/* What a launcher of several processes adds to the command line. */
static cf_status check_rank(int local_rank)
{
    if (local_rank > 0)
        return CF_FAIL(CF_EINVAL,
                       "--local-rank %d: a run is one process, which uses all cores; "
                       "TRAIN.GLOBAL_BATCH and TRAIN.RANKS make it take the steps of several",
                       local_rank);
    if (local_rank == 0) cf_log(CF_LOG_INFO, "--local-rank 0 has no effect: a run is one process");
    return CF_OK;
}

static cf_status apply(cf_config *c, const call *o)
{
    CF_TRY(check_rank(o->local_rank));
    CF_TRY(set_text(c, "OUTPUT", o->output, "--output"));
    CF_TRY(set_text(c, "MODEL.PRETRAINED", o->pretrained, "--pretrained"));
    CF_TRY(set_text(c, "MODEL.RESUME", o->resume, "--resume"));
    CF_TRY(set_number(c, "TRAIN.BATCH_SIZE", o->batch_size, "--batch-size"));
    CF_TRY(set_number(c, "TRAIN.ACCUMULATION_STEPS", o->accumulation, "--accumulation-steps"));
    if (o->only_test) c->test.only_test = true;
    return CF_OK;
}

static void print_end(const cf_run *r, const cf_config *c)
{
    cf_tape_stats s = cf_tape_stats_get(cf_run_tape(r));
    fprintf(stderr, "done: %s; largest memory of a step %.1f MB activations, %.1f MB gradients\n",
            c->output, (double)s.activation_peak / 1e6, (double)s.gradient_peak / 1e6);
}

static cf_status run(run_printer *printer, cf_config *c, const void *of)
{
    cf_run *r = NULL;
    cf_eval_record e;
    cf_status status = CF_OK;
    const call *a = of;
    printer->quiet = a->quiet;
    CF_TRY(apply(c, a));
    if (a->dry_run) {
        const cf_run_options dry = run_dry_options();
        return cf_run_dry(c, &dry);
    }
    cf_run_options o = run_printer_options(printer, c);
    CF_TRY(cf_run_new(&r, c, &o));
    if (!c->test.only_test) {
        CF_GO(cf_run_train(r));
        run_printer_end(printer);
        if (!printer->quiet) print_end(r, c);
    } else {
        char result[256];
        CF_GO(cf_run_test(&e, r));
        run_printer_end(printer);
        fprintf(stderr, "%s)\n", print_accuracy(result, &e));
    }
done:
    cf_run_free(r);
    return status;
}

int cmd_train(int argc, char **argv)
{
    call o = { .local_rank = -1 };
    const cli_option options[] = {
        { "config", 'c', CLI_TEXT, &o.config, "FILE", "configuration, YAML", 0, 0 },
        { "opts", 0, CLI_OPTS, NULL, "KEY VALUE ...", "sets keys of the configuration", 0, 0 },
        { "output", 0, CLI_TEXT, &o.output, "DIR", "OUTPUT: log, configuration, checkpoints", 0,
          0 },
        { "pretrained", 0, CLI_TEXT, &o.pretrained, "FILE",
          "MODEL.PRETRAINED: weights to start from, a published name, or scratch", 0, 0 },
        { "resume", 0, CLI_TEXT, &o.resume, "FILE", "MODEL.RESUME: checkpoint to go on from", 0,
          0 },
        { "batch-size", 0, CLI_INT, &o.batch_size, "N", "TRAIN.BATCH_SIZE: videos of a micro-batch",
          1, 1000000 },
        { "accumulation-steps", 0, CLI_INT, &o.accumulation, "N",
          "TRAIN.ACCUMULATION_STEPS: micro-batches of a step", 1, 1000000 },
        { "only-test", 0, CLI_FLAG, &o.only_test, NULL, "tests the weights and does not train", 0,
          0 },
        { "quiet", 'q', CLI_FLAG, &o.quiet, NULL, "says warnings, errors and results only", 0, 0 },
        { "local-rank", 0, CLI_INT, &o.local_rank, "N",
          "what a launcher of several processes adds: 0 has no effect, others are refused", -1,
          1000000 },
        { "dry-run", 0, CLI_FLAG, &o.dry_run, NULL,
          "tells cost, memory, steps and what is missing; computes and writes nothing", 0, 0 },
    };
    const cli_command command = {
        .name = "train",
        .usage = "-c CONFIG [options]",
        .summary = "trains, tests after each epoch, keeps OUTPUT/last and best.safetensors",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .notes = "The tests between the epochs take one view of each video; with TEST.NUM_CLIP x "
                 "NUM_CROP\n"
                 "above 1 one test with all views follows at the end, of the last weights or with\n"
                 "TEST.FINAL best of the best; OUTPUT/test.h5 is the newest test. Ctrl-C finishes "
                 "the step and "
                 "saves;\n"
                 "--resume OUTPUT/last.safetensors goes on with the same bits.",
    };
    return run_command(&command, &o.config, run, &o, argc, argv);
}
