/* crossframe browse: a contact sheet, as PNG, of the clips that training sees or of the views that
 * a test takes of one video. */
#include "run_print.h"

#include "crossframe/browse.h"
#include "crossframe/predict.h"

#include <stdio.h>

typedef struct {
    const char *config, *out, *views;
    int64_t clips;
    int epoch;
} call;

/* Names of DATA.LABEL_LIST, or the pack's; borrowed from *labels or the dataset. */
static cf_status find_names(const char ***names, size_t *n, cf_labels *labels, cf_config *c,
                            const cf_dataset *d)
{
    bool listed = *c->data.label_list != 0;
    if (listed) {
        char *path;
        CF_TRY(cf_label_list_find(&path, c, cli_share()));
        cf_status status = cf_labels_read_csv(labels, path);
        cf_free(path);
        CF_TRY_CTX(status, "DATA.LABEL_LIST");
    }
    *n = listed ? labels->n : cf_dataset_n_classes(d);
    if (*n < cf_dataset_n_classes(d))
        return CF_FAIL(CF_EINVAL, "%s has %zu classes, but there are %zu class names in %s",
                       cf_dataset_path(d), cf_dataset_n_classes(d), *n, c->data.label_list);
    CF_TRY(cf_alloc(names, *n, sizeof **names));
    for (size_t k = 0; k < *n; k++)
        (*names)[k] = listed ? labels->name[k] : cf_dataset_class_name(d, k);
    return CF_OK;
}

static cf_status run(run_printer *printer, cf_config *c, const void *of)
{
    const call *o = of;
    cf_status status = CF_OK;
    cf_dataset *d = NULL;
    cf_labels labels = { 0 };
    const char **names = NULL;
    size_t n, video;
    bool training = !o->views;
    const char *file = training ? c->data.train_file : c->data.val_file;
    const char *key = training ? "DATA.TRAIN_FILE" : "DATA.VAL_FILE";
    (void)printer;
    if (!o->out) return CF_FAIL(CF_EINVAL, "--out FILE.png is missing: where does the sheet go?");
    if (!*file) return CF_FAIL(CF_EINVAL, "configuration: %s is not set", key);
    CF_GO(cf_config_settle_model(c));
    CF_GO(cf_config_check(c));
    CF_GO(cf_dataset_open(&d, file, c->data.root));
    CF_GO(find_names(&names, &n, &labels, c, d));
    cf_loader_options options = cf_config_loader(c, training, n);
    options.workers = 1;
    if (training) {
        CF_GO(cf_browse_clips(o->out, d, &options, names, (uint32_t)o->epoch, (size_t)o->clips));
    } else {
        CF_GO(cf_browse_find(&video, d, o->views));
        CF_GO(cf_browse_views(o->out, d, &options, names, video));
    }
    printf("%s\n", o->out);
done:
    cf_free(names);
    cf_labels_fini(&labels);
    cf_dataset_free(d);
    return status;
}

int cmd_browse(int argc, char **argv)
{
    call o = { .clips = 8 };
    const cli_option options[] = {
        { "config", 'c', CLI_TEXT, &o.config, "FILE", "configuration, YAML", 0, 0 },
        { "out", 0, CLI_TEXT, &o.out, "FILE.png", "the sheet", 0, 0 },
        { "opts", 0, CLI_OPTS, NULL, "KEY VALUE ...", "sets keys of the configuration", 0, 0 },
        { "clips", 0, CLI_SIZE, &o.clips, "N", "training clips to show (8)", 1, 200 },
        { "epoch", 0, CLI_INT, &o.epoch, "E", "of the training clips (0)", 0, 1e9 },
        { "views", 0, CLI_TEXT, &o.views, "VIDEO",
          "the test views of one video, by its name or its number from 0", 0, 0 },
    };
    const cli_command command = {
        .name = "browse",
        .usage = "-c CONFIG --out FILE.png [--clips N] [--epoch E] [--views VIDEO]",
        .summary = "draws what the model sees: training clips after augmentation, or test views",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .notes =
            "Clips are the first of the epoch, from DATA.TRAIN_FILE, mixed as they are trained "
            "on.\nViews are TEST.NUM_CLIP x TEST.NUM_CROP, of a video of DATA.VAL_FILE.",
    };
    return run_command(&command, &o.config, run, &o, argc, argv);
}
