/* Inside of a sweep. Who does what:
 *   sweep_read.c    the file -> settings, tests, metrics
 *   sweep_check.c   what of it contradicts itself
 *   sweep_config.c  setting and seed -> configuration;  which videos that means
 *   sweep_result.c  what is there of a run; numbers of a test's file
 *   sweep_plan.c    what is still to be done, and its cost
 *   sweep_open.c    all of these in order: from a file to a list of runs; freeing
 *   sweep.c         processes, one after the other or several at a time
 *   sweep_table.c   table.md, table.csv, runs.csv;  sweep_plot.c  plot.svg, plot.png
 */
#ifndef CROSSFRAME_TRAIN_SWEEP_PARTS_H
#define CROSSFRAME_TRAIN_SWEEP_PARTS_H

#include "crossframe/predict.h"
#include "crossframe/sweep.h"
#include "train/protocol.h"
#include "train/shots.h"

/* ---- the file -------------------------------------------------------------------------------- */

/* A key of OPTS. */
typedef struct {
    size_t key; /* its number */
    char *text;
    bool quoted;
    size_t line;
} sweep_opt;

/* A published figure. */
typedef struct {
    char *metric, *test; /* test NULL: not told */
    char *text;          /* "80.0", "44.6 ± 5.2" */
    size_t line;
} sweep_figure;

/* A setting or a test. */
typedef struct {
    char *name, *label; /* label NULL: the name */
    size_t shots, line; /* shots 0: all videos */
    sweep_opt *opts;
    size_t n_opts, opts_capacity;
    sweep_figure *paper;
    size_t n_paper, paper_capacity;
} sweep_row;

/* A file of GROUPS: the group of each class. */
typedef struct {
    char *name, *path;
    size_t line;
    cf_labels of;
} sweep_group;

typedef struct {
    char *name;
    size_t line;
    const sweep_group *group; /* NULL: top1, top5, mean_class */
} sweep_metric;

/* ---- runs ------------------------------------------------------------------------------------ */

/* One test of a run. */
typedef struct {
    bool done;
    double *value; /* [n_metrics], percent */
    int64_t videos;
    double seconds; /* of the test */
} sweep_result;

typedef enum { SWEEP_TODO, SWEEP_TRAINING, SWEEP_TESTING, SWEEP_DONE, SWEEP_FAILED } sweep_state;

typedef struct {
    size_t setting, seed;
    char *folder;
    bool selected; /* to be run */
    sweep_state state;
    bool trained;
    double train_seconds;
    sweep_result *result; /* [sweep_slots] */
    size_t slot;          /* being tested */
    /* Of the process: */
    int process;
    double began_s, spent_s;
    size_t log_start; /* bytes of the log before it */
    double gflop;     /* of the run; 0: not known */
} sweep_run;

/* The labelled videos of a DATA.TRAIN_FILE or VAL_FILE. */
typedef struct {
    char *file, *root;
    bool partial, opened; /* opened false: cannot be */
    size_t n;
    uint64_t hash;
} sweep_videos;

/* A training set that shots are drawn from. */
typedef struct {
    char *file, *root, *test;
    shots_source source;
} sweep_draws;

struct cf_sweep {
    const cf_sweep_options *options;
    char *path, *folder; /* of the file */
    char *title, *config, *output, *runs_folder, *paper;
    size_t *seeds, n_seeds, seeds_capacity;
    sweep_metric *metrics;
    size_t n_metrics, metrics_capacity;
    sweep_group *groups;
    size_t n_groups, groups_capacity;
    sweep_row *settings, *tests;
    size_t n_settings, settings_capacity, n_tests, tests_capacity;
    sweep_run *runs; /* [n_seeds * n_settings], seed by seed */
    size_t n_runs;
    sweep_videos *videos; /* seen so far */
    size_t n_videos, videos_capacity;
    sweep_draws *draws;
    size_t n_draws, draws_capacity;
};

/* Tests of a run: those of TESTS, or the one that ends its training. */
static inline size_t sweep_slots(const cf_sweep *s) { return s->n_tests > 0 ? s->n_tests : 1; }
static inline const char *sweep_label(const sweep_row *r) { return r->label ? r->label : r->name; }

/* ---- sweep_read.c, sweep_check.c ------------------------------------------------------------- */

/* The failure with this reason at this line of the file. */
cf_status sweep_failed(const cf_sweep *s, size_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* *s is new: its path alone is set. */
cf_status sweep_read(cf_sweep *s);
/* Names, metrics, figures, groups; reads the files of groups. */
cf_status sweep_check(cf_sweep *s);
/* "; did you mean X?" of the nearest of `names`, or "; there are A, B" where none is near. */
const char *sweep_nearest(char out[256], const char *word, const char *const *names, size_t n);

/* ---- sweep_config.c -------------------------------------------------------------------------- */

/* What a run is started with. */
typedef struct {
    cf_config *config;
    cf_config *whole; /* with SHOTS: the same before the draw; else NULL */
    /* With SHOTS: the drawn list, its text and path; NULL: DATA.TRAIN_FILE is not there. */
    char *drawn, *list;
    size_t n_drawn;
    char *videos; /* which videos it means, as a line; NULL: some are not there */
} sweep_job;
cf_status sweep_job_make(sweep_job *out, cf_sweep *s, const sweep_run *r);
void sweep_job_fini(sweep_job *job);
/* Of its test number i of TESTS, with `weights` as MODEL.RESUME (NULL: as in `run`). */
cf_status sweep_test_config(cf_config **out, const cf_sweep *s, const sweep_run *r,
                            const cf_config *run, size_t i, const char *weights);
/* Whose weights the tests of a run take: FOLDER/last or best.safetensors (cf_free). */
cf_status sweep_weights(char **out, const sweep_run *r, const cf_config *run);
/* Which videos a test means, as sweep_job.videos (cf_free). */
cf_status sweep_test_videos(char **out, cf_sweep *s, const cf_config *c);
/* FOLDER/NAME (cf_free). */
cf_status sweep_path(char **out, const sweep_run *r, const char *name);
/* FOLDER/tests/NAME of TESTS[i], with this ending. */
cf_status sweep_test_path(char **out, const cf_sweep *s, const sweep_run *r, size_t i,
                          const char *ending);
/* Writes, or holds what is there against, FOLDER/given.yaml or tests/NAME.yaml. own_path: the key
 * that names a file in FOLDER, which may be called by another path by now; NULL: none. */
cf_status sweep_claim(const cf_config *c, const char *path, const char *videos_line,
                      const char *own_path, bool write);

/* ---- sweep_result.c -------------------------------------------------------------------------- */

/* What is there of the run, held against the sweep: r->trained, state, results. */
cf_status sweep_look(cf_sweep *s, sweep_run *r);
/* After a process that ended well: writes the mark that it did, and reads the numbers. */
cf_status sweep_trained(cf_sweep *s, sweep_run *r);
cf_status sweep_tested(cf_sweep *s, sweep_run *r);
/* The numbers of a test.h5; on failure *out stays. CF_EINVAL: no video has a label, or groups of
 * other classes. CF_EFORMAT: what of it does not fit together. */
cf_status sweep_read_metrics(sweep_result *out, const cf_sweep *s, const char *path);

/* ---- sweep_table.c, sweep_plot.c ------------------------------------------------------------- */

const char *sweep_metric_name(const sweep_metric *m); /* "top-1" */
/* The figure of this row, "" if there is none. */
const char *sweep_paper(const cf_sweep *s, size_t setting, size_t slot, size_t metric);
cf_spread sweep_spread(const cf_sweep *s, size_t setting, size_t slot, size_t metric);
/* All files of OUTPUT. */
cf_status sweep_write(const cf_sweep *s);
cf_status sweep_plot(const cf_sweep *s);

#endif
