/* crossframe test: scores of a checkpoint on the test set. The result goes to stdout. */
#include "run_print.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct {
    const char *config, *resume, *scores;
} call;

static cf_status run(run_printer *printer, cf_config *c, const void *of)
{
    const call *o = of;
    cf_run *r = NULL;
    cf_eval_record e;
    cf_status status = CF_OK;
    if (o->resume) CF_TRY(cf_config_set_plain(c, "MODEL.RESUME", o->resume, "--resume"));
    c->train.auto_resume = false;
    if (!*c->model.resume && !*c->model.pretrained)
        return CF_FAIL(CF_EINVAL, "there are no weights to test; name them with --resume FILE");
    cf_run_options options = run_printer_options(printer, c);
    options.only_test = true;
    options.scores = o->scores;
    CF_TRY(cf_run_new(&r, c, &options));
    CF_GO(cf_run_test(&e, r));
    if (printer->live) fprintf(stderr, "\r\033[K");
    printer->live = false;
    char missing[48];
    printf("top-1 %.2f %%  top-5 %.2f %%  (%" PRId64 " videos%s, %d view%s)\n", e.top1, e.top5,
           e.videos, print_missing(missing, e.missing), e.views, e.views == 1 ? "" : "s");
done:
    cf_run_free(r);
    return status;
}

int cmd_test(int argc, char **argv)
{
    call o = { 0 };
    const cli_option options[] = {
        { "config", 'c', CLI_TEXT, &o.config, "FILE", "configuration, YAML", 0, 0 },
        { "resume", 0, CLI_TEXT, &o.resume, "FILE", "MODEL.RESUME: checkpoint to test", 0, 0 },
        { "opts", 0, CLI_OPTS, NULL, "KEY VALUE ...", "sets keys of the configuration", 0, 0 },
        { "scores", 0, CLI_TEXT, &o.scores, "FILE.h5", "writes logits, scores, labels and names", 0,
          0 },
    };
    const cli_command command = {
        .name = "test",
        .usage = "-c CONFIG --resume FILE [options]",
        .summary = "tests a checkpoint on DATA.VAL_FILE with TEST.NUM_CLIP x NUM_CROP views",
        .options = options,
        .n_options = sizeof options / sizeof *options,
    };
    return run_command(&command, &o.config, run, &o, argc, argv);
}
