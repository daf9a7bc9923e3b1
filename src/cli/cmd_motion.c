/* crossframe motion: builds the motion dataset of the demonstration, or reports what models make of
 * it.
 *
 *   motion --out DIR [--source DIR] [options]
 *   motion --report OUT --data DIR --scores NAME=FILE.h5 ... [--seconds S]
 *
 * The report prints one table against chance and against the ceiling of any model without order,
 * which gives a video and its reverse the same scores. */
#include "cli.h"

#include "crossframe/motion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS_MAX = 16 };

static const char notes[] =
    "Builds train.h5, test.h5, stills.h5, stills_test.h5, labels.csv and merges.txt: short videos, "
    "8\n"
    "motions of 10 kinds of picture, each trajectory of the test forward and reversed; stills "
    "with\n"
    "captions for a small CLIP. Same options and seed, same bytes.\n"
    "The report writes summary.json and videos.png and prints the table.";

/* What the options are read into: numbers as the option table takes them, ranges as text. */
typedef struct {
    cf_motion_options make;
    cf_motion_report_options report;
    const char *data;
    int64_t train_videos, test_trajectories, stills, test_stills, frames, size, seed, rows;
    const char *weights, *picture, *travel, *growth, *turn, *brightness;
    cf_motion_run runs[RUNS_MAX];
    size_t n_runs;
} call;

static bool read_number(double *out, const char **at, char end)
{
    char *stop;
    *out = strtod(*at, &stop);
    if (stop == *at || *stop != end) return false;
    *at = *stop != 0 ? stop + 1 : stop;
    return true;
}

/* "LO:HI"; a text that is NULL leaves the default. 0 or the exit status after a complaint. */
static int read_range(cf_motion_range *out, const char *name, const char *text)
{
    const char *at = text;
    if (text == NULL || (read_number(&out->lo, &at, ':') && read_number(&out->hi, &at, 0)))
        return 0;
    return cli_misused("motion", "--%s takes LO:HI, not '%s'", name, text);
}

static int read_weights(double *out, const char *text)
{
    const char *at = text;
    for (size_t i = 0; text != NULL && i < CF_MOTION_FAMILIES; i++)
        if (!read_number(&out[i], &at, i + 1 < CF_MOTION_FAMILIES ? ',' : 0))
            return cli_misused("motion", "--family-weights takes %d numbers with commas, not '%s'",
                               CF_MOTION_FAMILIES, text);
    return 0;
}

/* NAME=FILE into the run of that name; cuts the argument at '='. */
static int read_run(call *c, char *text)
{
    char *equals = strchr(text, '=');
    size_t i = 0;
    if (equals == NULL || equals == text || equals[1] == 0)
        return cli_misused("motion", "--scores takes NAME=FILE, not '%s'", text);
    *equals = 0;
    while (i < c->n_runs && strcmp(c->runs[i].name, text) != 0) i++;
    if (i == RUNS_MAX) return cli_misused("motion", "more than %d names", RUNS_MAX);
    if (i < c->n_runs) return cli_misused("motion", "--scores %s is given twice", text);
    c->runs[c->n_runs++] = (cf_motion_run){ .name = text, .scores_path = equals + 1 };
    return 0;
}

/* Takes --scores, which may be repeated, out of argv; the rest is the option table's. */
static int take_runs(call *c, int *argc, char **argv)
{
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        const size_t n = strlen("--scores");
        bool mine = strncmp(argv[i], "--scores", n) == 0;
        char *text = mine && argv[i][n] == '=' ? argv[i] + n + 1 : NULL;
        if (mine && argv[i][n] == 0 && i + 1 < *argc) text = argv[++i];
        if (text == NULL) {
            argv[kept++] = argv[i];
            continue;
        }
        int status = read_run(c, text);
        if (status != 0) return status;
    }
    *argc = kept;
    return 0;
}

static int parse(call *c, bool *stop, int argc, char **argv)
{
    cf_motion_options *m = &c->make;
    const char *repeated = NULL;
    const double many = 1e8;
    const cli_option options[] = {
        { "out", 0, CLI_TEXT, &m->out, "DIR", "where to; made if missing, its files are replaced",
          0, 0 },
        { "source", 0, CLI_TEXT, &m->source, "DIR",
          "Fashion-MNIST's IDX files (" CF_MOTION_SOURCE "; without it ten shapes are drawn)", 0,
          0 },
        { "own-shapes", 0, CLI_FLAG, &m->own_shapes, NULL, "draws the shapes anyway", 0, 0 },
        { "train-videos", 0, CLI_SIZE, &c->train_videos, "N", "videos to train on (24000)", 1,
          many },
        { "test-trajectories", 0, CLI_SIZE, &c->test_trajectories, "N",
          "of the test, each in both directions (1000)", 1, many },
        { "stills", 0, CLI_SIZE, &c->stills, "N", "stills to train on (32000)", 1, many },
        { "test-stills", 0, CLI_SIZE, &c->test_stills, "N", "stills to test on (2000)", 1, many },
        { "frames", 0, CLI_SIZE, &c->frames, "T", "frames of a video (4)", 2, 1024 },
        { "size", 0, CLI_SIZE, &c->size, "S", "edge of a frame in pixels (40)", 16, 256 },
        { "seed", 0, CLI_SIZE, &c->seed, "S", "seed of everything random (0)", 0, 9e15 },
        { "family-weights", 0, CLI_TEXT, &c->weights, "K,P,L,M",
          "shares of the stills: kind, place, look, motion (3,1.5,1.5,6)", 0, 0 },
        { "picture", 0, CLI_TEXT, &c->picture, "LO:HI",
          "edge of the picture (0.45 to 0.55 of the frame's)", 0, 0 },
        { "travel", 0, CLI_TEXT, &c->travel, "LO:HI",
          "pixels from first to last frame (0.3 to 0.42 of the edge)", 0, 0 },
        { "growth", 0, CLI_TEXT, &c->growth, "LO:HI", "factor from first to last frame (1.9:2.4)",
          0, 0 },
        { "turn", 0, CLI_TEXT, &c->turn, "LO:HI", "radians from first to last frame (1.55:2.35)", 0,
          0 },
        { "brightness", 0, CLI_TEXT, &c->brightness, "LO:HI", "of the picture (0.7:1)", 0, 0 },
        { "tilt", 0, CLI_REAL, &m->tilt, "R", "largest tilt in radians (0.2)", 0, 3.2 },
        { "texture", 0, CLI_REAL, &m->texture, "A", "strength of the background's pattern (0.08)",
          0, 1 },
        { "noise", 0, CLI_REAL, &m->noise, "D", "standard deviation of the noise (0.02)", 0, 1 },
        { "tags", 0, CLI_REAL, &m->tags, "P",
          "share of the training stills with a coloured tag, one colour a kind (0.25)", 0, 1 },
        { "report", 0, CLI_TEXT, &c->report.out, "OUT", "instead: report on tests into this folder",
          0, 0 },
        { "data", 0, CLI_TEXT, &c->data, "DIR", "report: folder of the dataset, for the pictures",
          0, 0 },
        { "scores", 0, CLI_TEXT, &repeated, "NAME=FILE.h5",
          "report: what `test --scores` wrote; may be repeated", 0, 0 },
        { "rows", 0, CLI_SIZE, &c->rows, "N", "report: videos on the contact sheet (24)", 2, 1000 },
        { "seconds", 0, CLI_REAL, &c->report.seconds, "S", "report: for summary.json", 0, 0 },
    };
    const cli_command command = {
        .name = "motion",
        .usage = "--out DIR [options], or --report OUT --scores NAME=FILE.h5 ...",
        .summary = "builds the motion dataset, or reports tests on it",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .notes = notes
    };
    cli_args args;
    int status = 0;
    *stop = !cli_parse(&args, &status, &command, argc, argv);
    if (!*stop) cli_args_free(&args);
    return status;
}

static int finish_options(call *c)
{
    cf_motion_options *m = &c->make;
    int status = read_weights(m->family_weight, c->weights);
    if (status == 0) status = read_range(&m->picture, "picture", c->picture);
    if (status == 0) status = read_range(&m->travel, "travel", c->travel);
    if (status == 0) status = read_range(&m->growth, "growth", c->growth);
    if (status == 0) status = read_range(&m->turn, "turn", c->turn);
    if (status == 0) status = read_range(&m->brightness, "brightness", c->brightness);
    m->train_videos = (size_t)c->train_videos;
    m->test_trajectories = (size_t)c->test_trajectories;
    m->stills = (size_t)c->stills;
    m->test_stills = (size_t)c->test_stills;
    m->frames = (size_t)c->frames;
    m->size = (size_t)c->size;
    m->seed = (uint64_t)c->seed;
    c->report.sheet_rows = (size_t)c->rows;
    return status;
}

static void print_table(const call *c)
{
    printf("%-22s %7s %7s %7s %7s   %s\n", "percent right", "top-1", "kind", "motion", "axis",
           "video against its reverse");
    printf("%-22s %7.1f %7.1f %7.1f %7.1f\n", "chance", 100.0 / CF_MOTION_CLASSES,
           100.0 / CF_MOTION_KINDS, 100.0 / CF_MOTION_MOTIONS, 200.0 / CF_MOTION_MOTIONS);
    printf("%-22s %7.1f %7.1f %7.1f %7.1f   0\n", "ceiling without order", 50.0, 100.0, 50.0,
           100.0);
    for (size_t i = 0; i < c->n_runs; i++) {
        const cf_motion_result *r = &c->runs[i].result;
        printf("%-22s %7.1f %7.1f %7.1f %7.1f   %.1e\n", c->runs[i].name, r->top1, r->kind,
               r->motion, r->axis, r->pair_difference);
    }
}

static int report(call *c)
{
    char *pack = NULL;
    if (c->n_runs == 0) return cli_misused("motion", "--report needs --scores NAME=FILE.h5");
    if (c->data != NULL && cf_path_join(&pack, c->data, "test.h5") != CF_OK) return cli_failed();
    c->report.test_pack = pack;
    cf_status status = cf_motion_report(c->runs, c->n_runs, &c->report);
    cf_free(pack);
    if (status != CF_OK) return cli_failed();
    print_table(c);
    return 0;
}

int cmd_motion(int argc, char **argv)
{
    cf_motion_options d = cf_motion_defaults();
    call c = { .make = d,
               .report = { .seconds = -1 },
               .train_videos = (int64_t)d.train_videos,
               .test_trajectories = (int64_t)d.test_trajectories,
               .stills = (int64_t)d.stills,
               .test_stills = (int64_t)d.test_stills,
               .frames = (int64_t)d.frames,
               .size = (int64_t)d.size,
               .rows = 24 };
    bool stop = false;
    int status = take_runs(&c, &argc, argv);
    if (status == 0) status = parse(&c, &stop, argc, argv);
    if (status == 0 && !stop) status = finish_options(&c);
    if (status != 0 || stop) return status;
    if (c.report.out != NULL) return report(&c);
    if (c.make.out == NULL) return cli_misused("motion", "--out DIR or --report OUT is missing");
    return cf_motion_make(&c.make) == CF_OK ? 0 : cli_failed();
}
