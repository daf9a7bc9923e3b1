/* What the files of the report share: the runs as they were read, and the parts of the page. */
#ifndef CROSSFRAME_TRAIN_REPORT_PARTS_H
#define CROSSFRAME_TRAIN_REPORT_PARTS_H

#include "chart.h"
#include "crossframe/report.h"
#include "crossframe/train.h"
#include "markup.h"

#include <cjson/cJSON.h>

/* Numbers of a log line, by their names in docs/runs.md; those of a step come first. */
typedef enum {
    LOG_EPOCH,
    LOG_STEP,
    LOG_LOSS,
    LOG_LR,
    LOG_LR_NEW,
    LOG_GRAD_NORM,
    LOG_SECONDS,
    LOG_DATA_SECONDS,
    LOG_FORWARD_SECONDS,
    LOG_BACKWARD_SECONDS,
    LOG_UPDATE_SECONDS,
    LOG_VIDEOS_PER_SECOND,
    LOG_GFLOPS,
    LOG_MEMORY_BYTES,
    LOG_TIME,
    LOG_SKIPPED,
    LOG_STEP_FIELDS,
    LOG_TOP1 = LOG_STEP_FIELDS,
    LOG_TOP5,
    LOG_MEAN_CLASS,
    LOG_VIDEOS,
    LOG_VIEWS,
    LOG_FRAMES,
    LOG_MISSING,
    LOG_FIELDS
} log_field;
extern const char *const log_field_names[LOG_FIELDS];

/* NaN: not in the line, or null. */
typedef struct {
    double v[LOG_STEP_FIELDS];
} log_step;
typedef struct {
    double v[LOG_FIELDS];
    char weights[16]; /* "last", "best", "ema"; "" unknown */
} log_test;

typedef struct {
    log_step *steps; /* LOG_STEP rises */
    size_t n_steps, steps_capacity;
    log_test *tests; /* LOG_STEP is never NaN */
    size_t n_tests, tests_capacity;
    size_t lines, bad, first_bad; /* bad: neither of ours nor another kind; line from 1 */
    bool cut;                     /* the last line is half-written */
} run_record;

/* A log of any length, in pieces. Steps that come again (a log that was appended to) replace what
 * they follow. CF_EFORMAT: not one line of it is a log's. */
cf_status run_record_read(run_record *out, const char *path);
void run_record_fini(run_record *r);

/* test.h5 and what is counted from it. */
typedef struct {
    char **name, **class_name;
    int32_t *label, *prediction, *confusion; /* [n], [n, k], [K, K] */
    float *score;                            /* [n, k] */
    size_t n, k, K;
    int32_t epoch, step, views, frames; /* -1: not told */
    char **weights;                     /* [1] or NULL */
    int64_t *videos, *right;            /* [K] of the class; of them predicted so */
} test_record;
/* CF_EFORMAT names what does not fit. */
cf_status test_record_read(test_record *out, const char *path);
void test_record_fini(test_record *t);

typedef struct {
    size_t label, prediction;
    int64_t count;
} confused_pair;
/* The `most` pairs confused most often; *n = how many there are of them. */
cf_status test_confused(confused_pair *out, size_t *n, const test_record *t, size_t most);
/* Rows of the mistakes of highest score, in falling order; *n = how many of the `most`. */
cf_status test_mistakes(size_t *out, size_t *n, const test_record *t, size_t most);
/* Ids of the classes with videos [K], best first: by share right, then by number; *n of them. */
cf_status test_ranking(size_t *out, size_t *n, const test_record *t);

typedef struct {
    char *folder, *name;
    run_record log;
    cf_config *config; /* NULL: not there or not readable */
    cJSON *machine;    /* run.json; NULL likewise */
    test_record test;  /* K == 0: none */
    bool has_test;
    char **notes; /* what the reader should know; plain text */
    size_t n_notes, notes_capacity;
} report_run;

struct cf_report {
    report_run *runs;
    size_t n;
};

cf_status report_note(report_run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What the log tells of trouble, as notes: skipped and missing videos, losses that are not finite,
 * lines that could not be read. */
cf_status report_note_log(report_run *r);
/* "a.b" of run.json; NaN, NULL: not there. */
double report_machine_number(const report_run *r, const char *group, const char *name);
const char *report_machine_text(const report_run *r, const char *group, const char *name);

/* One row of the final table; NaN = unknown. */
typedef struct {
    double top1, top5, mean_class; /* of the last test, percent */
    double views;                  /* of the last test */
    double best_top1, best_epoch;  /* epoch counted from 1 */
    double last_loss;              /* mean of the last hundredth of the steps */
    double epochs, epochs_planned; /* done, of */
    double steps, steps_planned;
    double seconds;                    /* of steps and tests */
    double videos_per_second, waiting; /* median of the steps; percent of the steps' time */
    double parameters, trained;
    double gflops; /* median */
    double memory_bytes;
} report_summary;
cf_status report_summarise(report_summary *out, const report_run *r);
/* Optimiser steps of an epoch, as the run's files tell; NaN if they do not. */
double report_epoch_steps(const report_run *r);

/* ---- parts of the page ----------------------------------------------------------------------- */

typedef struct {
    chart *charts;
    size_t n;
} chart_set;
/* The curves of all runs over steps or epochs; charts without any value are left out. */
cf_status report_charts(chart_set *out, const cf_report *r, bool by_epoch);
void chart_set_fini(chart_set *s);

/* The confusion matrix as SVG: of more than CONFUSION_WHOLE classes the CONFUSION_PART with most
 * mistakes and the others together. alone: with style, size and title, a file of its own. */
enum { CONFUSION_WHOLE = 60, CONFUSION_PART = 40 };
typedef struct {
    double width, height;
} drawing_size;
/* An SVG of this size as PNG. CF_EUNSUPPORTED: the build has no librsvg, or there are no fonts. */
cf_status report_write_picture(const char *path, const char *svg, size_t n, drawing_size size);
cf_status report_confusion(markup *m, const test_record *t, const char *title, bool alone,
                           drawing_size *size);

cf_status report_put_table(markup *m, const cf_report *r);
cf_status report_put_classes(markup *m, const report_run *r);
cf_status report_put_mistakes(markup *m, const report_run *r, size_t most);
cf_status report_put_config(markup *m, const cf_report *r);
void report_put_machine(markup *m, const cf_report *r);

extern const char report_style[], report_script[];

/* ---- numbers as people write them ------------------------------------------------------------ */

enum { REPORT_NUMBER = 32 };
const char *report_number(char out[REPORT_NUMBER], double v, int digits); /* "" for NaN */
const char *report_time(char out[REPORT_NUMBER], double seconds);         /* "1 h 02 min" */
const char *report_amount(char out[REPORT_NUMBER], double v);             /* "149.6 M" */

#endif
