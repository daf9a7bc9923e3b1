/* crossframe inspect FILE: what is in a checkpoint, a packed dataset or a configuration.
 *
 * The kind of file is decided by its content, never by its name. A checkpoint is summed up by part
 * of the model (inspect_checkpoint.c), a dataset by its tables, a configuration is shown as it
 * resolves, each value with the place it came from, and then checked. */
#include "config_print.h"
#include "inspect.h"

#include "crossframe/data.h"
#include "crossframe/weights.h"
#include "crossframe/train.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- packed dataset -------------------------------------------------------------------------- */

typedef struct {
    int64_t least, most;
} extent;

static void widen(extent *e, int64_t value)
{
    if (value < e->least) e->least = value;
    if (value > e->most) e->most = value;
}

static void print_extent(const char *title, extent e, const char *unit)
{
    if (e.least > e.most) return;
    if (e.least == e.most)
        printf("%-18s %" PRId64 "%s\n", title, e.least, unit);
    else
        printf("%-18s %" PRId64 " to %" PRId64 "%s\n", title, e.least, e.most, unit);
}

static cf_status print_classes(const cf_pack *p)
{
    size_t n = cf_pack_n_classes(p);
    int64_t *count;
    CF_TRY(cf_alloc_zero(&count, n, sizeof *count));
    size_t unknown = 0, least = 0, most = 0;
    int32_t families = 1;
    for (size_t i = 0; i < cf_pack_n_videos(p); i++) {
        int32_t label = cf_pack_video_get(p, i).label;
        if (label >= 0)
            count[label]++;
        else
            unknown++;
    }
    for (size_t k = 0; k < n; k++) {
        if (count[k] < count[least]) least = k;
        if (count[k] > count[most]) most = k;
        if (cf_pack_class_family(p, k) >= families) families = cf_pack_class_family(p, k) + 1;
    }
    if (n > 0)
        printf("%-18s %" PRId64 " (%s) to %" PRId64 " (%s)\n", "videos of a class", count[least],
               cf_pack_class_name(p, least), count[most], cf_pack_class_name(p, most));
    if (families > 1) printf("%-18s %d\n", "class families", (int)families);
    if (unknown > 0) printf("%-18s %zu\n", "without label", unknown);
    cf_free(count);
    return CF_OK;
}

static cf_status print_splits(const cf_pack *p)
{
    for (size_t i = 0; i < cf_pack_n_splits(p); i++) {
        const int64_t *rows;
        size_t n;
        CF_TRY(cf_pack_split(&rows, &n, p, cf_pack_split_name(p, i)));
        printf("%-18s %zu videos\n", i == 0 ? "splits" : "", n);
        printf("%-18s   %s#%s\n", "", cf_pack_path(p), cf_pack_split_name(p, i));
    }
    return CF_OK;
}

static cf_status inspect_pack(const inspect_request *q)
{
    static const char *const encodings[] = { "raw", "png", "jpeg" };
    cf_pack *p;
    CF_TRY(cf_pack_open(&p, q->path));
    extent frames = { INT64_MAX, INT64_MIN }, height = frames, width = frames, source = frames;
    double seconds = 0;
    for (size_t i = 0; i < cf_pack_n_videos(p); i++) {
        cf_pack_video v = cf_pack_video_get(p, i);
        widen(&frames, v.n_frames);
        widen(&height, v.height);
        widen(&width, v.width);
        widen(&source, v.source_frames);
        if (v.fps > 0) seconds += (double)v.source_frames / (double)v.fps;
    }
    printf("%s: packed dataset, %zu videos, %zu frames, %zu classes\n\n", q->path,
           cf_pack_n_videos(p), cf_pack_n_frames(p), cf_pack_n_classes(p));
    printf("%-18s %s\n", "frames stored as", encodings[cf_pack_encoding(p)]);
    print_extent("frames a video", frames, "");
    print_extent("  in the original", source, "");
    print_extent("height", height, " pixels");
    print_extent("width", width, " pixels");
    bool long_one = seconds >= 3600;
    if (seconds > 0)
        printf("%-18s %.1f %s\n", "original length", long_one ? seconds / 3600 : seconds,
               long_one ? "hours" : "seconds");
    cf_status status = CF_OK;
    CF_GO(print_classes(p));
    CF_GO(print_splits(p));
done:
    cf_pack_free(p);
    return status;
}

/* ---- configuration --------------------------------------------------------------------------- */

/* Sizes from the weights, where they are there, else from the keys; 0: the keys do not tell. */
static cf_status model_of(cf_xclip_config *out, cf_config *c)
{
    cf_weights *weights = NULL;
    cf_tokenizer *tokenizer = NULL;
    size_t vocabulary = strcmp(c->model.arch, "custom") == 0 ? 0 : 49408;
    cf_status status = CF_OK;
    if (cf_file_exists(c->model.pretrained))
        CF_GO(cf_model_open_weights(&weights, c, c->model.pretrained));
    if (cf_file_exists(c->model.bpe)) {
        CF_GO(cf_tokenizer_open(&tokenizer, c->model.bpe));
        vocabulary = cf_tokenizer_vocabulary(tokenizer);
    }
    *out = (cf_xclip_config){ 0 };
    if (weights || vocabulary) CF_GO(cf_model_config(out, c, weights, vocabulary));
done:
    cf_tokenizer_free(tokenizer);
    cf_weights_close(weights);
    return status;
}

static cf_status print_cost(cf_config *c)
{
    cf_xclip_config m;
    CF_TRY(model_of(&m, c));
    if (m.image == 0) {
        printf(
            "\n# model: its sizes come with the weights or the vocabulary, which are not there\n");
        return CF_OK;
    }
    size_t K = (size_t)c->data.num_classes;
    cf_xclip_cost cost = cf_xclip_cost_of(&m, K);
    double video = cost.visual + cost.message + cost.mit + cost.prompts;
    double trained = m.train_text ? cost.text + video : video;
    const double numbers_of[] = { cost.text, cost.visual, cost.message, cost.mit, cost.prompts };
    printf("\n# parameters %20.0f", cost.text + video);
    for (size_t i = 0; i < sizeof numbers_of / sizeof *numbers_of; i++)
        printf("%s %s %.0f", i ? "," : " =", inspect_parts[i], numbers_of[i]);
    printf("\n#   trained  %20.0f\n", trained);
    printf("# GFLOPs of a view %14.1f (multiply-adds %.1f G; %zu frames against %zu classes)\n",
           2e-9 * cost.multiply_adds, 1e-9 * cost.multiply_adds, m.frames, K);
    printf("# memory to train %15.2f GB, weights, gradients and moments; activations come on top\n",
           1e-9 * sizeof(cf_real) * (cost.text + video + 3 * trained));
    return CF_OK;
}

static cf_status inspect_config(const inspect_request *q)
{
    cf_config *c;
    CF_TRY(cf_config_load(&c, q->path, NULL, 0));
    printf("# %s: configuration\n", q->path);
    cf_status status = config_print(c, false);
    fflush(stdout);
    if (status == CF_OK) status = cf_config_check(c);
    if (status == CF_OK) status = print_cost(c);
    cf_config_free(c);
    return status;
}

/* ---- which of them --------------------------------------------------------------------------- */

static cf_status read_start(char *out, size_t *n, size_t size, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, out, size);
    int error = errno;
    if (fd >= 0) close(fd);
    if (got < 0) return CF_FAIL(CF_EIO, "cannot open %s: %s", path, strerror(error));
    if (got == 0) return CF_FAIL(CF_EFORMAT, "%s is empty", path);
    *n = (size_t)got;
    return CF_OK;
}

static bool is_text(const char *bytes, size_t n)
{
    for (const char *p = bytes, *end = bytes + n; p < end;) {
        bool cut = end - p < 4 && n == 512;
        if (cf_utf8_next(&p, end) <= 0 && !cut) return false;
    }
    return true;
}

/* Shards are listed by a JSON file; PyTorch's archives are zip files, before 1.6 bare pickles. */
static bool may_be_weights(const char *start, size_t n)
{
    char text[513];
    memcpy(text, start, n);
    text[n] = 0;
    bool index = text[strspn(text, " \t\r\n")] == '{' &&
                 (strstr(text, "\"weight_map\"") || strstr(text, "\"metadata\""));
    return index || cf_st_looks_like(start, n) || (n >= 4 && memcmp(start, "PK\3\4", 4) == 0) ||
           (n > 2 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5);
}

static cf_status inspect(const inspect_request *q)
{
    char start[512];
    size_t n;
    if (cf_is_folder(q->path)) return inspect_checkpoint(q);
    CF_TRY(read_start(start, &n, sizeof start, q->path));
    if (n >= 8 && memcmp(start, "\x89HDF\r\n\x1a\n", 8) == 0) return inspect_pack(q);
    if (may_be_weights(start, n)) return inspect_checkpoint(q);
    if (is_text(start, n)) return inspect_config(q);
    return CF_FAIL(CF_EFORMAT, "%s is no checkpoint, packed dataset or configuration", q->path);
}

int cmd_inspect(int argc, char **argv)
{
    inspect_request q = { 0 };
    bool keys = false;
    const cli_option options[] = {
        { .name = "tensors",
          .kind = CLI_FLAG,
          .variable = &q.tensors,
          .help = "checkpoint: each tensor with shape, mean, std, least, most, non-finite count" },
        { .name = "metadata",
          .kind = CLI_TEXT,
          .variable = &q.metadata,
          .value = "KEY",
          .help = "checkpoint: this metadata value alone, whole" },
        { .name = "keys",
          .kind = CLI_FLAG,
          .variable = &keys,
          .help = "no FILE: all configuration keys, their defaults and meanings" },
    };
    const cli_command command = {
        .name = "inspect",
        .usage = "FILE [options]",
        .summary = "Tells what is in a checkpoint, a packed dataset or a configuration",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .most = 1,
    };
    cli_args args;
    int status;
    if (!cli_parse(&args, &status, &command, argc, argv)) return status;
    if (keys != (args.n_positional == 0)) {
        status = cli_misused("inspect", "give one FILE, or --keys");
    } else {
        q.path = keys ? NULL : args.positional[0];
        status = (keys ? config_print_keys("", false) : inspect(&q)) == CF_OK ? 0 : cli_failed();
    }
    cli_args_free(&args);
    return status;
}
