/* crossframe test: scores of a checkpoint on the test set. The result goes to stdout. */
#include "run_print.h"

#include "crossframe/json.h"

#include <math.h>
#include <stdio.h>

typedef struct {
    const char *config, *resume, *scores, *result, *per_class, *confusion;
    bool json, quiet;
} call;

/* What is not finite is null. */
static bool add_numbers(cJSON *to, const cf_eval_record *e, int classes)
{
    const struct {
        const char *key;
        double value;
    } numbers[] = { { "epoch", e->epoch < 0 ? NAN : e->epoch },
                    { "step", e->step < 0 ? NAN : (double)e->step },
                    { "top1", e->top1 },
                    { "top5", e->top5 },
                    { "mean_class", e->mean_class },
                    { "videos", (double)e->videos },
                    { "unlabelled", (double)e->unlabelled },
                    { "missing", (double)e->missing },
                    { "classes", classes },
                    { "views", e->views },
                    { "clips", e->clips },
                    { "crops", e->crops },
                    { "frames", e->frames },
                    { "seconds", e->seconds },
                    { "time", e->time } };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char text[32];
        snprintf(text, sizeof text, "%.13g", numbers[i].value);
        if (!cJSON_AddRawToObject(to, numbers[i].key, isfinite(numbers[i].value) ? text : "null"))
            return false;
    }
    return true;
}

static cf_status print_json(const cf_eval_record *e, const cf_config *c)
{
    cJSON *o = cJSON_CreateObject();
    bool done = cf_json_add_text(o, "checkpoint", e->weights) &&
                cf_json_add_text(o, "data", c->data.val_file) &&
                add_numbers(o, e, c->data.num_classes);
    char *text = done ? cJSON_PrintUnformatted(o) : NULL;
    cJSON_Delete(o);
    if (!text) return CF_FAIL(CF_ENOMEM, "out of memory for the result");
    puts(text);
    cJSON_free(text);
    return CF_OK;
}

static cf_status run(run_printer *printer, cf_config *c, const void *of)
{
    const call *o = of;
    cf_run *r = NULL;
    cf_eval_record e;
    char result[256];
    cf_status status = CF_OK;
    printer->quiet = o->quiet;
    if (o->resume) CF_TRY(cf_config_set_plain(c, "MODEL.RESUME", o->resume, "--resume"));
    c->train.auto_resume = false;
    if (!*c->model.resume && !*c->model.pretrained)
        return CF_FAIL(CF_EINVAL, "there are no weights to test; name them with --resume FILE");
    cf_run_options options = run_printer_options(printer, c);
    options.only_test = true;
    options.scores = o->scores;
    options.result = o->result;
    options.per_class = o->per_class;
    options.confusion = o->confusion;
    CF_TRY(cf_run_new(&r, c, &options));
    CF_GO(cf_run_test(&e, r));
    run_printer_end(printer);
    if (o->json)
        CF_GO(print_json(&e, c));
    else
        printf("%s)\n", print_accuracy(result, &e));
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
        { "quiet", 'q', CLI_FLAG, &o.quiet, NULL, "says warnings, errors and the result only", 0,
          0 },
        { "json", 0, CLI_FLAG, &o.json, NULL, "the result as one JSON object", 0, 0 },
        { "result", 0, CLI_TEXT, &o.result, "FILE.h5",
          "writes label, predictions and their scores video by video, and the confusion matrix", 0,
          0 },
        { "scores", 0, CLI_TEXT, &o.scores, "FILE.h5",
          "writes logits of all views, scores of all classes, labels and names", 0, 0 },
        { "per-class", 0, CLI_TEXT, &o.per_class, "FILE.csv",
          "writes a line a class: videos, right ones, top-1, most frequent wrong class", 0, 0 },
        { "confusion", 0, CLI_TEXT, &o.confusion, "FILE.csv",
          "writes how often each class (line) was taken for each (column)", 0, 0 },
    };
    const cli_command command = {
        .name = "test",
        .usage = "-c CONFIG --resume FILE [options]",
        .summary = "tests a checkpoint on DATA.VAL_FILE with TEST.NUM_CLIP x NUM_CROP views",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .notes = "Every video is scored once: the sum over its views of the probabilities of the "
                 "classes.\n"
                 "Top-5 is top-min(5, K). Mean class is the mean of the classes' own top-1, over "
                 "classes with\n"
                 "videos. Where the data have families of classes, a video's candidates are those "
                 "of its family.\n"
                 "Videos without a label are scored and not counted; with DATA.ON_ERROR skip those "
                 "that cannot\n"
                 "be read are missing.",
    };
    return run_command(&command, &o.config, run, &o, argc, argv);
}
