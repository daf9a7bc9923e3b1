/* crossframe fewshot: draws, trainings and tests of the few-shot protocol. The table goes to
 * stdout. */
#include "run_print.h"

#include "crossframe/protocol.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_SHOTS = 32 };

typedef struct {
    const char *config, *output, *pretrained, *shots;
    int seeds;
    bool dry_run;
    size_t shot[MOST_SHOTS], n_shots;
} call;

/* "2,4,8,16", each once; false: it is no such list. */
static bool read_shots(call *c)
{
    const char *at = c->shots;
    while (at) {
        char *end;
        long k = strtol(at, &end, 10);
        if (end == at || (*end && *end != ',') || k < 1 || k > 100000 || c->n_shots == MOST_SHOTS)
            return false;
        for (size_t i = 0; i < c->n_shots; i++)
            if (c->shot[i] == (size_t)k) return false;
        c->shot[c->n_shots++] = (size_t)k;
        at = *end ? end + 1 : NULL;
    }
    return true;
}

static void begins(void *user, const cf_protocol_run *r, size_t number, size_t of)
{
    run_printer_end(user);
    fprintf(stderr, "run %zu of %zu: %s, %zu videos%s\n", number, of, r->name, r->train_videos,
            r->done ? ": done" : "");
}

static cf_status run(run_printer *printer, cf_config *c, const void *of)
{
    const call *o = of;
    cf_protocol p = { 0 };
    if (o->output) CF_TRY(cf_config_set_plain(c, "OUTPUT", o->output, "--output"));
    if (o->pretrained)
        CF_TRY(cf_config_set_plain(c, "MODEL.PRETRAINED", o->pretrained, "--pretrained"));
    cf_protocol_options options = { .run = run_printer_options(printer, c),
                                    .begins = begins,
                                    .dry_run = o->dry_run };
    cf_status status = cf_fewshot(&p, c, o->shot, o->n_shots, (size_t)o->seeds, &options);
    run_printer_end(printer);
    if (p.markdown && (status == CF_OK || status == CF_EINTERRUPTED)) printf("%s", p.markdown);
    cf_protocol_fini(&p);
    return status;
}

int cmd_fewshot(int argc, char **argv)
{
    call o = { .shots = "2,4,8,16", .seeds = 3 };
    const cli_option options[] = {
        { "config", 'c', CLI_TEXT, &o.config, "FILE", "configuration, YAML", 0, 0 },
        { "shots", 0, CLI_TEXT, &o.shots, "K,...", "videos of each class (2,4,8,16)", 0, 0 },
        { "seeds", 0, CLI_INT, &o.seeds, "N", "runs of each K, seeds 1 to N (3)", 1, 1000 },
        { "output", 0, CLI_TEXT, &o.output, "DIR", "OUTPUT: a folder for each run, and the tables",
          0, 0 },
        { "pretrained", 0, CLI_TEXT, &o.pretrained, "FILE",
          "MODEL.PRETRAINED: weights that every run starts from, or a published name", 0, 0 },
        { "opts", 0, CLI_OPTS, NULL, "KEY VALUE ...", "sets keys of the configuration", 0, 0 },
        { "dry-run", 0, CLI_FLAG, &o.dry_run, NULL, "draws, tells the runs, and writes nothing", 0,
          0 },
    };
    const cli_command command = {
        .name = "fewshot",
        .usage = "-c CONFIG [--shots K,...] [--seeds N] --output DIR [options]",
        .summary = "trains on K videos of each class for each K and seed; mean and std",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .notes =
            "Each run trains in DIR/kKK_seedS on its train.txt, drawn from DATA.TRAIN_FILE (a "
            "list, a "
            "pack\nor PACK#SPLIT), and tests DATA.VAL_FILE once, at its end (TEST.FREQ tests in "
            "between too).\nThe published protocol is one run: seed 1. Ctrl-C saves, the same "
            "command "
            "goes on; what is\ndone is not made again. DIR/table.md, table.csv and runs.csv have "
            "the "
            "results so far.",
    };
    cli_args args;
    int status;
    if (!cli_parse(&args, &status, &command, argc, argv)) return status;
    if (o.config && read_shots(&o)) return run_parsed(&args, o.config, run, &o, argv);
    cli_args_free(&args);
    return cli_misused("fewshot", o.config ? "--shots takes different numbers as 2,4,8,16"
                                           : "-c CONFIG is missing");
}
