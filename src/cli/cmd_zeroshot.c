/* crossframe zeroshot: one checkpoint on several test sets. The table goes to stdout. */
#include "run_print.h"

#include "crossframe/protocol.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct {
    const char *config, *output, *resume, *pretrained, *labels;
    bool dry_run;
    const char **set;
    size_t n_sets;
} call;

static void begins(void *user, const cf_protocol_run *r, size_t number, size_t of)
{
    run_printer_end(user);
    fprintf(stderr, "set %zu of %zu: %s%s\n", number, of, r->name, r->done ? ": done" : "");
}

static void ends(void *user, const cf_protocol_run *r, size_t number, size_t of)
{
    (void)number;
    (void)of;
    run_printer_end(user);
    fprintf(stderr, "%s: top-1 %.2f %%, top-5 %.2f %% of %" PRId64 " videos", r->name, r->top1,
            r->top5, r->videos);
    if (r->seen >= 0)
        fprintf(stderr, "; %" PRId64 " of its %" PRId64 " classes were trained on", r->seen,
                r->classes);
    fprintf(stderr, "\n");
}

static cf_status set_text(cf_config *c, const char *key, const char *value, const char *origin)
{
    return value ? cf_config_set_plain(c, key, value, origin) : CF_OK;
}

static cf_status run(run_printer *printer, cf_config *c, const void *of)
{
    const call *o = of;
    cf_protocol p = { 0 };
    CF_TRY(set_text(c, "OUTPUT", o->output, "--output"));
    CF_TRY(set_text(c, "MODEL.RESUME", o->resume, "--resume"));
    CF_TRY(set_text(c, "MODEL.PRETRAINED", o->pretrained, "--pretrained"));
    CF_TRY(set_text(c, "DATA.LABEL_LIST", o->labels, "--labels"));
    cf_protocol_options options = { .run = run_printer_options(printer, c),
                                    .begins = begins,
                                    .ends = ends,
                                    .dry_run = o->dry_run };
    cf_status status = cf_zeroshot(&p, c, o->set, o->n_sets, &options);
    run_printer_end(printer);
    if (p.markdown && (status == CF_OK || status == CF_EINTERRUPTED)) printf("%s", p.markdown);
    cf_protocol_fini(&p);
    return status;
}

int cmd_zeroshot(int argc, char **argv)
{
    call o = { 0 };
    const cli_option options[] = {
        { "config", 'c', CLI_TEXT, &o.config, "FILE", "configuration, YAML", 0, 0 },
        { "resume", 0, CLI_TEXT, &o.resume, "FILE",
          "MODEL.RESUME: checkpoint to test; {set} in it is the set's name", 0, 0 },
        { "pretrained", 0, CLI_TEXT, &o.pretrained, "FILE",
          "MODEL.PRETRAINED: weights to test where there is no checkpoint", 0, 0 },
        { "labels", 0, CLI_TEXT, &o.labels, "CSV",
          "DATA.LABEL_LIST: classes of the sets that have none of their own", 0, 0 },
        { "output", 0, CLI_TEXT, &o.output, "DIR", "OUTPUT: a folder for each set, and the tables",
          0, 0 },
        { "opts", 0, CLI_OPTS, NULL, "KEY VALUE ...", "sets keys of the configuration", 0, 0 },
        { "dry-run", 0, CLI_FLAG, &o.dry_run, NULL, "tells the sets, and writes nothing", 0, 0 },
    };
    const cli_command command = {
        .name = "zeroshot",
        .usage = "-c CONFIG --resume FILE --output DIR SET... [options]",
        .summary = "tests a checkpoint on several sets of classes; mean and std",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .least = 1,
        .most = (size_t)-1,
        .notes =
            "A SET is [NAME=]VIDEOS[,LABELS.csv]: a list (in DATA.ROOT), a pack or PACK#SPLIT. "
            "Its classes are\nLABELS.csv, else X.csv beside a list X.txt (so `splits` writes "
            "them), else DATA.LABEL_LIST.\n"
            "  crossframe zeroshot -c c.yaml --resume k400.pth --output o --labels hmdb51.csv "
            "test_split*.txt\n"
            "Ctrl-C stops, the same command goes on with the sets that are left. DIR/table.md, "
            "table.csv\nand runs.csv have the results so far.",
    };
    cli_args args;
    int status;
    if (!cli_parse(&args, &status, &command, argc, argv)) return status;
    if (!o.config) {
        cli_args_free(&args);
        return cli_misused("zeroshot", "-c CONFIG is missing");
    }
    o.set = args.positional;
    o.n_sets = args.n_positional;
    return run_parsed(&args, o.config, run, &o, argv);
}
