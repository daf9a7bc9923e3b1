/* crossframe inspect FILE: what is in a checkpoint, a packed dataset or a configuration.
 *
 * The kind of file is decided by its content, never by its name. A checkpoint is summed up by part
 * of the model (inspect_checkpoint.c), a dataset by its tables, a configuration is shown as it
 * resolves, each value with the place it came from, and then checked. */
#include "config_print.h"
#include "inspect.h"

#include "crossframe/data.h"
#include "crossframe/weights.h"
#include "plan_print.h"

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

static void planned(void *user, const cf_run_plan *p)
{
    (void)user;
    printf("\n");
    plan_print(stdout, "# ", p);
}

static cf_status inspect_config(const inspect_request *q)
{
    cf_config *c;
    CF_TRY(cf_config_load(&c, q->path, NULL, 0));
    printf("# %s: configuration\n", q->path);
    cf_status status = config_print(c, false);
    fflush(stdout);
    if (status == CF_OK)
        status = cf_run_dry(c, &(cf_run_options){ .planned = planned, .cache = cli_cache() });
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
    const char *config = NULL;
    const cli_option options[] = {
        { .name = "config",
          .letter = 'c',
          .kind = CLI_TEXT,
          .variable = &config,
          .value = "FILE",
          .help = "the FILE is a configuration: what it resolves to, and the plan of its run" },
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
    if (args.n_positional + keys + (config != NULL) != 1) {
        status = cli_misused("inspect", "give one FILE, or --keys");
    } else {
        q.path = config ? config : keys ? NULL : args.positional[0];
        cf_status done = keys     ? config_print_keys("", false)
                         : config ? inspect_config(&q)
                                  : inspect(&q);
        status = done == CF_OK ? 0 : cli_failed();
    }
    cli_args_free(&args);
    return status;
}
