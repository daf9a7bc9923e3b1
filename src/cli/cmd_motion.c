/* crossframe motion: builds the motion dataset of the demonstration, or reports what models make of it.
 *
 *   motion --out DIR [--source DIR] [options]
 *   motion --report OUT --data DIR --scores NAME=FILE.h5 ... [--log NAME=log.jsonl ...] [--seconds S]
 *
 * The report prints one table against chance and against the ceiling of any model without order, which
 * gives a video and its reverse the same scores. */
#include "crossframe/motion.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cmd_motion(int argc, char **argv);

enum { RUNS_MAX = 16 };

static const char help[] =
    "usage: crossframe motion --out DIR [options]\n"
    "       crossframe motion --report OUT --data DIR --scores NAME=FILE.h5 [...] [--log NAME=FILE ...]\n"
    "\n"
    "Builds a dataset of short videos, 8 motions of 10 kinds of picture, and stills with captions:\n"
    "train.h5, test.h5, stills.h5, stills_test.h5, labels.csv, merges.txt.\n"
    "  --out DIR               where to; made if missing, its files are replaced\n"
    "  --source DIR            Fashion-MNIST's four IDX files (default " CF_MOTION_SOURCE ";\n"
    "                          without that folder ten shapes are drawn instead)\n"
    "  --own-shapes            draw the shapes in any case\n"
    "  --train-videos N        videos to train on (30000)\n"
    "  --test-trajectories N   of the test, each forward and reversed (1000)\n"
    "  --stills N              stills to train on (32000)\n"
    "  --test-stills N         (2000)\n"
    "  --frames T              frames of a video (4)\n"
    "  --size S                edge of a frame in pixels (40)\n"
    "  --seed S                same options and seed, same bytes (0)\n"
    "  --family-weights K,P,L,M  shares of the stills: kind, place, look, motion (3,2,2,5)\n"
    "  --picture LO:HI         edge of the picture, pixels (0.4 to 0.5 of the frame's)\n"
    "  --travel LO:HI          pixels from first to last frame (0.3 to 0.42 of the frame's edge)\n"
    "  --growth LO:HI          factor from first to last frame (1.9:2.4)\n"
    "  --turn LO:HI            radians from first to last frame (1.55:2.35)\n"
    "  --brightness LO:HI      of the picture (0.7:1)\n"
    "  --tilt R                largest tilt, radians (0.2)\n"
    "  --texture A, --noise D  background's pattern (0.1); noise of each pixel (0.03)\n"
    "\n"
    "Report of tests on it: summary.json, videos.png, curves.svg.\n"
    "  --report OUT            folder to write to\n"
    "  --data DIR              folder of the dataset (its test.h5 gives the pictures)\n"
    "  --scores NAME=FILE.h5   what `crossframe test --scores` wrote; may be repeated\n"
    "  --log NAME=log.jsonl    of the training of NAME, for the curves; may be repeated\n"
    "  --rows N                videos on the contact sheet (24)\n"
    "  --seconds S             to note in summary.json\n";

enum {
    OPT_OUT = 256, OPT_SOURCE, OPT_SHAPES, OPT_TRAIN, OPT_TEST, OPT_STILLS, OPT_TEST_STILLS,
    OPT_FRAMES, OPT_SIZE, OPT_SEED, OPT_WEIGHTS, OPT_PICTURE, OPT_TRAVEL, OPT_GROWTH, OPT_TURN,
    OPT_BRIGHTNESS, OPT_TILT, OPT_TEXTURE, OPT_NOISE, OPT_REPORT, OPT_DATA, OPT_SCORES, OPT_LOG,
    OPT_ROWS, OPT_SECONDS, OPT_HELP
};
static const struct option options[] = {
    { "out", 1, NULL, OPT_OUT },
    { "source", 1, NULL, OPT_SOURCE },
    { "own-shapes", 0, NULL, OPT_SHAPES },
    { "train-videos", 1, NULL, OPT_TRAIN },
    { "test-trajectories", 1, NULL, OPT_TEST },
    { "stills", 1, NULL, OPT_STILLS },
    { "test-stills", 1, NULL, OPT_TEST_STILLS },
    { "frames", 1, NULL, OPT_FRAMES },
    { "size", 1, NULL, OPT_SIZE },
    { "seed", 1, NULL, OPT_SEED },
    { "family-weights", 1, NULL, OPT_WEIGHTS },
    { "picture", 1, NULL, OPT_PICTURE },
    { "travel", 1, NULL, OPT_TRAVEL },
    { "growth", 1, NULL, OPT_GROWTH },
    { "turn", 1, NULL, OPT_TURN },
    { "brightness", 1, NULL, OPT_BRIGHTNESS },
    { "tilt", 1, NULL, OPT_TILT },
    { "texture", 1, NULL, OPT_TEXTURE },
    { "noise", 1, NULL, OPT_NOISE },
    { "report", 1, NULL, OPT_REPORT },
    { "data", 1, NULL, OPT_DATA },
    { "scores", 1, NULL, OPT_SCORES },
    { "log", 1, NULL, OPT_LOG },
    { "rows", 1, NULL, OPT_ROWS },
    { "seconds", 1, NULL, OPT_SECONDS },
    { "help", 0, NULL, OPT_HELP },
    { NULL, 0, NULL, 0 },
};

typedef struct {
    cf_motion_options make;
    cf_motion_report_options report;
    const char *data;
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

static bool read_real(double *out, const char *s)
{
    return read_number(out, &s, 0);
}

static bool read_range(cf_motion_range *out, const char *s)
{
    return read_number(&out->lo, &s, ':') && read_number(&out->hi, &s, 0);
}

static bool read_weights(double *out, const char *s)
{
    for (size_t i = 0; i < CF_MOTION_FAMILIES; i++)
        if (!read_number(&out[i], &s, i + 1 < CF_MOTION_FAMILIES ? ',' : 0)) return false;
    return true;
}

static bool read_count(size_t *out, const char *s)
{
    char *stop;
    errno = 0;
    unsigned long long v = strtoull(s, &stop, 10);
    if (*s < '0' || *s > '9' || *stop != 0 || errno != 0 || v > 100000000) return false;
    *out = (size_t)v;
    return true;
}

static bool read_seed(uint64_t *out, const char *s)
{
    char *stop;
    errno = 0;
    *out = strtoull(s, &stop, 10);
    return *s >= '0' && *s <= '9' && *stop == 0 && errno == 0;
}

/* NAME=FILE into the run of that name; cuts the argument at '='. */
static bool read_run(call *c, char *s, bool is_log)
{
    char *equals = strchr(s, '=');
    size_t i = 0;
    if (equals == NULL || equals == s || equals[1] == 0) return false;
    *equals = 0;
    while (i < c->n_runs && strcmp(c->runs[i].name, s) != 0)
        i++;
    if (i == RUNS_MAX) return false;
    if (i == c->n_runs) c->runs[c->n_runs++] = (cf_motion_run){ .name = s };
    const char **slot = is_log ? &c->runs[i].log_path : &c->runs[i].scores_path;
    if (*slot != NULL) return false;
    *slot = equals + 1;
    return true;
}

static bool take_make_option(cf_motion_options *m, int id, const char *value)
{
    switch (id) {
    case OPT_OUT: m->out = value; return true;
    case OPT_SOURCE: m->source = value; return true;
    case OPT_SHAPES: m->own_shapes = true; return true;
    case OPT_TRAIN: return read_count(&m->train_videos, value);
    case OPT_TEST: return read_count(&m->test_trajectories, value);
    case OPT_STILLS: return read_count(&m->stills, value);
    case OPT_TEST_STILLS: return read_count(&m->test_stills, value);
    case OPT_FRAMES: return read_count(&m->frames, value);
    case OPT_SIZE: return read_count(&m->size, value);
    case OPT_SEED: return read_seed(&m->seed, value);
    case OPT_WEIGHTS: return read_weights(m->family_weight, value);
    case OPT_PICTURE: return read_range(&m->picture, value);
    case OPT_TRAVEL: return read_range(&m->travel, value);
    case OPT_GROWTH: return read_range(&m->growth, value);
    case OPT_TURN: return read_range(&m->turn, value);
    case OPT_BRIGHTNESS: return read_range(&m->brightness, value);
    case OPT_TILT: return read_real(&m->tilt, value);
    case OPT_TEXTURE: return read_real(&m->texture, value);
    default: return read_real(&m->noise, value);
    }
}

static bool take_option(call *c, int id, char *value)
{
    switch (id) {
    case OPT_REPORT: c->report.out = value; return true;
    case OPT_DATA: c->data = value; return true;
    case OPT_SCORES: return read_run(c, value, false);
    case OPT_LOG: return read_run(c, value, true);
    case OPT_ROWS: return read_count(&c->report.sheet_rows, value);
    case OPT_SECONDS: return read_real(&c->report.seconds, value);
    default: return take_make_option(&c->make, id, value);
    }
}

static int wrong_call(const char *what)
{
    fprintf(stderr, "crossframe: motion: %s (see crossframe motion --help)\n", what);
    return 2;
}

static int failed(void)
{
    fprintf(stderr, "crossframe: %s\n", cf_error());
    return 1;
}

static void print_table(const call *c)
{
    printf("%-20s %7s %7s %7s %7s   %s\n", "percent right", "top-1", "kind", "motion", "axis",
           "video against its reverse");
    printf("%-20s %7.1f %7.1f %7.1f %7.1f\n", "chance", 100.0 / CF_MOTION_CLASSES,
           100.0 / CF_MOTION_KINDS, 100.0 / CF_MOTION_MOTIONS, 200.0 / CF_MOTION_MOTIONS);
    printf("%-20s %7.1f %7.1f %7.1f %7.1f   %.1e\n", "ceiling without order", 50.0, 100.0, 50.0, 100.0,
           0.0);
    for (size_t i = 0; i < c->n_runs; i++) {
        const cf_motion_result *r = &c->runs[i].result;
        if (c->runs[i].scores_path == NULL) continue;
        printf("%-20s %7.1f %7.1f %7.1f %7.1f   %.1e\n", c->runs[i].name, r->top1, r->kind, r->motion,
               r->axis, r->pair_difference);
    }
}

static int report(call *c)
{
    char *pack = NULL;
    size_t with_scores = 0;
    for (size_t i = 0; i < c->n_runs; i++)
        with_scores += c->runs[i].scores_path != NULL;
    if (with_scores == 0) return wrong_call("--report needs --scores NAME=FILE.h5");
    if (c->data != NULL && cf_path_join(&pack, c->data, "test.h5") != CF_OK) return failed();
    c->report.test_pack = pack;
    cf_status status = cf_motion_report(c->runs, c->n_runs, &c->report);
    cf_free(pack);
    if (status != CF_OK) return failed();
    print_table(c);
    return 0;
}

int cmd_motion(int argc, char **argv)
{
    call c = { .make = cf_motion_defaults(), .report = { .seconds = -1, .sheet_rows = 24 } };
    int id;
    optind = 1;
    while ((id = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (id == OPT_HELP) {
            fputs(help, stdout);
            return 0;
        }
        if (id == '?') return 2;
        if (!take_option(&c, id, optarg)) {
            fprintf(stderr, "crossframe: motion: '%s' is no value for %s\n", optarg, argv[optind - 2]);
            return 2;
        }
    }
    if (optind < argc) return wrong_call("takes no arguments beside options");
    if (c.report.out != NULL) return report(&c);
    if (c.make.out == NULL) return wrong_call("--out DIR or --report OUT is missing");
    return cf_motion_make(&c.make) == CF_OK ? 0 : failed();
}
