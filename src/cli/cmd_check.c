/* crossframe check: looks for what is wrong in lists, packs and label files; one line a problem.
 *
 *   check FILE... [--root PATH] [--labels CSV] [--frames N] [--full]
 *
 * A FILE is told by its content: a pack, a label CSV (its first line is `id,name`), or a list.
 * Exit status 1 if anything is wrong. */
#include "cli.h"

#include "crossframe/check.h"
#include "crossframe/predict.h"

#include <stdio.h>
#include <string.h>

static void tell(void *user, const char *line)
{
    (void)user;
    printf("%s\n", line);
}

typedef enum { A_LIST, A_PACK, LABELS } kind;

static kind kind_of(const char *path)
{
    char head[16] = { 0 };
    FILE *f = fopen(path, "rb");
    if (!f) return A_LIST; /* reading it says why not */
    size_t n = fread(head, 1, sizeof head - 1, f);
    fclose(f);
    if (n >= 8 && memcmp(head, "\211HDF\r\n\032\n", 8) == 0) return A_PACK;
    const char *text = strncmp(head, "\xef\xbb\xbf", 3) == 0 ? head + 3 : head;
    return strncmp(text, "id,name", 7) == 0 ? LABELS : A_LIST;
}

static cf_status check_labels(cf_check *c, const char *path)
{
    cf_labels l = { 0 };
    cf_status status = cf_labels_read_csv(&l, path);
    if (status == CF_OK) status = cf_check_labels(c, path, (const char *const *)l.name, l.n);
    cf_labels_fini(&l);
    return status;
}

static cf_status check_all(cf_check *c, const cli_args *args, const char *root)
{
    bool lists = false;
    for (size_t i = 0; i < args->n_positional; i++) {
        const char *path = args->positional[i];
        kind k = kind_of(path);
        if (k == LABELS) CF_TRY(check_labels(c, path));
        if (k == A_PACK) CF_TRY(cf_check_pack(c, path));
        if (k == A_LIST) CF_TRY(cf_check_list(c, path, root));
        lists |= k == A_LIST;
    }
    if (lists && root) CF_TRY(cf_check_unlisted(c, root));
    return cf_check_duplicates(c);
}

int cmd_check(int argc, char **argv)
{
    const char *root = NULL, *labels = NULL;
    int64_t frames = 1;
    bool full = false;
    const cli_option options[] = {
        { "root", 0, CLI_TEXT, &root, "PATH", "the lists' folder, tar or pack", 0, 0 },
        { "labels", 0, CLI_TEXT, &labels, "CSV", "what the labels mean; its number is held too", 0,
          0 },
        { "frames", 0, CLI_SIZE, &frames, "N", "videos with fewer are told as short (1)", 1, 1e9 },
        { "full", 0, CLI_FLAG, &full, NULL, "decodes every video, every frame", 0, 0 },
    };
    const cli_command command = {
        .name = "check",
        .usage = "FILE... [--root PATH] [--labels CSV] [--frames N] [--full]",
        .summary = "looks for what is wrong in lists, packs and label files",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .least = 1,
        .most = SIZE_MAX,
        .notes = "Give the lists of training and test together: a video that is in both is told, "
                 "by its content\n(of packs with --full), and so are videos of the root that are "
                 "in none of them.\nEnds with status 1 if anything is wrong.",
    };
    cli_args args;
    int status = 0;
    cf_labels names = { 0 };
    cf_check *c = NULL;
    if (!cli_parse(&args, &status, &command, argc, argv)) return status;
    cf_check_options o = { .min_frames = frames, .full = full, .tell = tell };
    if (labels && cf_labels_read_csv(&names, labels) != CF_OK) status = cli_failed();
    o.class_name = (const char *const *)names.name;
    o.n_classes = names.n;
    if (status == 0 && (cf_check_new(&c, &o) != CF_OK || check_all(c, &args, root) != CF_OK))
        status = cli_failed();
    if (c) {
        printf("%zu videos, %zu problems\n", cf_check_videos(c), cf_check_problems(c));
        if (cf_check_problems(c) > 0) status = 1;
    }
    cf_check_free(c);
    cf_labels_fini(&names);
    cli_args_free(&args);
    return status;
}
