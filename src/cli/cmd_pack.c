/* crossframe pack: makes packed datasets of videos.
 *
 *   pack --root DIR|FILE.tar|OLD.h5 --list [NAME=]FILE ... --labels labels.csv --out train.h5
 *
 * Progress goes to stderr, what came of it to stdout. */
#include "cli.h"
#include "run_print.h"

#include "crossframe/packing.h"
#include "crossframe/predict.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_LISTS = 64 };

static const char notes[] =
    "A list has a line a video: `path label`, `path,label` or `path count label`; paths from "
    "--root.\n"
    "--list train=train.txt --list val=val.txt packs both lists, each a split of the pack. "
    "Without\n"
    "--list the folders in --root are the classes and what is in them the videos.\n"
    "Whatever cannot be read is left out and told in OUT.problems.csv. An interrupted pack goes "
    "on\n"
    "where it stopped when the same command is given again.";

typedef struct {
    cf_packing_options o;
    cf_packing_list lists[MOST_LISTS];
    const char *labels, *encoding;
    bool terminal, live;
    double told;
} call;

/* ---- options --------------------------------------------------------------------------------- */

/* NAME=FILE, or a FILE, which may have a '=' of its own; cuts the argument. */
static int add_list(call *c, char *text)
{
    if (c->o.n_lists == MOST_LISTS) return cli_misused("pack", "more than %d lists", MOST_LISTS);
    cf_packing_list *l = &c->lists[c->o.n_lists++];
    char *equals = cf_file_exists(text) ? NULL : strchr(text, '=');
    *l = (cf_packing_list){ .path = text };
    if (!equals) return 0;
    *equals = 0;
    *l = (cf_packing_list){ .split = text, .path = equals + 1 };
    if (*text && equals[1]) return 0;
    return cli_misused("pack", "--list takes FILE or NAME=FILE, not '%s=%s'", text, equals + 1);
}

/* Takes --list, which may be repeated, out of argv; the rest is the option table's. */
static int take_lists(call *c, int *argc, char **argv)
{
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        bool mine = strncmp(argv[i], "--list", 6) == 0;
        char *text = mine && argv[i][6] == '=' ? argv[i] + 7 : NULL;
        if (mine && argv[i][6] == 0 && i + 1 < *argc) text = argv[++i];
        if (!text) {
            argv[kept++] = argv[i];
            continue;
        }
        int status = add_list(c, text);
        if (status != 0) return status;
    }
    *argc = kept;
    c->o.lists = c->lists;
    return 0;
}

static int parse(call *c, bool *stop, int argc, char **argv)
{
    cf_packing_options *o = &c->o;
    const char *repeated = NULL;
    const double many = 1e6;
    const cli_option options[] = {
        { "root", 0, CLI_TEXT, &o->root, "PATH",
          "folder of videos or of folders of frames, a tar of videos, an older HDF5 file", 0, 0 },
        { "list", 0, CLI_TEXT, &repeated, "FILE", "videos and labels; NAME=FILE makes a split", 0,
          0 },
        { "labels", 0, CLI_TEXT, &c->labels, "FILE", "names of the classes, a CSV id,name", 0, 0 },
        { "out", 0, CLI_TEXT, &o->out, "FILE", "the pack", 0, 0 },
        { "short-side", 0, CLI_INT, &o->short_side, "N",
          "brings frames to this short side; 0 keeps them (256)", 0, 8192 },
        { "encoding", 0, CLI_TEXT, &c->encoding, "NAME", "jpeg, png or raw (jpeg)", 0, 0 },
        { "quality", 0, CLI_INT, &o->quality, "N",
          "of jpeg; from 90 on colours at full resolution (85)", 1, 100 },
        { "stride", 0, CLI_INT, &o->stride, "N", "keeps every N-th frame (1)", 1, many },
        { "max-frames", 0, CLI_INT, &o->max_frames, "N",
          "keeps at most N frames of a video, spread evenly (0: all)", 0, many },
        { "shards", 0, CLI_INT, &o->shards, "N", "as many files OUT-00000-of-0000N (1)", 1, 99999 },
        { "workers", 0, CLI_INT, &o->workers, "N", "threads (one a core)", 0, 1024 },
        { "strict", 0, CLI_FLAG, &o->strict, NULL, "stops at what cannot be read", 0, 0 },
        { "restart", 0, CLI_FLAG, &o->restart, NULL, "forgets an interrupted pack", 0, 0 },
    };
    const cli_command command = {
        .name = "pack",
        .usage = "--root PATH --list FILE --labels FILE --out FILE [options]",
        .summary = "makes a packed dataset of videos",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .notes = notes,
    };
    cli_args args;
    int status = 0;
    *stop = !cli_parse(&args, &status, &command, argc, argv);
    if (!*stop) cli_args_free(&args);
    return status;
}

static int finish_options(call *c)
{
    static const char *const names[] = { "raw", "png", "jpeg" };
    size_t i = 0;
    while (i < 3 && strcmp(c->encoding, names[i]) != 0) i++;
    if (i == 3) return cli_misused("pack", "--encoding is jpeg, png or raw, not '%s'", c->encoding);
    c->o.encoding = (cf_encoding)i;
    if (!c->o.root) return cli_misused("pack", "--root PATH is missing");
    if (!c->o.out) return cli_misused("pack", "--out FILE is missing");
    return 0;
}

/* ---- progress and result --------------------------------------------------------------------- */

static void print_count(const cf_packing_count *n, bool live)
{
    char left[32];
    size_t here = n->done - n->found;
    double rate = n->seconds > 0 ? (double)here / n->seconds : 0;
    fprintf(stderr, "%spacked %zu/%zu  %zu frames  %.1f MB  %zu left out  %.1f videos/s",
            live ? "\r\033[K" : "", n->done, n->total, n->frames, (double)n->bytes / 1e6,
            n->skipped, rate);
    if (rate > 0 && n->done < n->total)
        fprintf(stderr, "  %s left", print_time(left, (double)(n->total - n->done) / rate));
    fprintf(stderr, live ? "" : "\n");
}

static void end_live(call *c)
{
    if (c->live) fprintf(stderr, "\r\033[K");
    c->live = false;
}

/* On a terminal a live line, otherwise a line every ten seconds. */
static bool progress(void *user, const cf_packing_count *n)
{
    call *c = user;
    double now = cf_seconds();
    if (c->terminal || now - c->told >= 10) {
        print_count(n, c->terminal);
        c->live = c->terminal;
        c->told = now;
    }
    return !run_stop_asked();
}

static void print_log(void *user, cf_log_level level, const char *line)
{
    end_live(user);
    fprintf(stderr, "%s%s\n", level == CF_LOG_WARNING ? "warning: " : "", line);
}

static void print_result(const call *c, const cf_packing_count *n)
{
    char shards[40] = "";
    if (c->o.shards > 1) snprintf(shards, sizeof shards, " in %d shards", c->o.shards);
    printf("%s: %zu videos%s, %zu frames, %lld bytes, %zu skipped, %.1f s\n", c->o.out, n->videos,
           shards, n->frames, (long long)n->bytes, n->skipped, n->seconds);
    if (n->found > 0)
        printf("%zu of the videos were done by an earlier, interrupted call\n", n->found);
    if (n->skipped > 0) printf("what was skipped, and why: %s.problems.csv\n", c->o.out);
}

int cmd_pack(int argc, char **argv)
{
    call c = { .o = cf_packing_defaults(), .encoding = "jpeg", .told = cf_seconds() };
    cf_labels labels = { 0 };
    cf_packing_count n;
    bool stop = false;
    int status = take_lists(&c, &argc, argv);
    if (status == 0) status = parse(&c, &stop, argc, argv);
    if (status == 0 && !stop) status = finish_options(&c);
    if (status != 0 || stop) return status;
    if (c.labels && cf_labels_read_csv(&labels, c.labels) != CF_OK) return cli_failed();
    c.o.class_name = (const char *const *)labels.name;
    c.o.n_classes = labels.n;
    c.o.progress = progress;
    c.o.user = &c;
    c.terminal = isatty(STDERR_FILENO);
    cf_log_set(print_log, &c);
    run_install_signals();
    cf_status result = cf_packing_run(&n, &c.o);
    end_live(&c);
    cf_labels_fini(&labels);
    if (result == CF_OK) print_result(&c, &n);
    if (result != CF_OK) status = cli_failed();
    return result == CF_EINTERRUPTED ? 130 : status;
}
