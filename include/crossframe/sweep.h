/* sweep: a table of settings x seeds, each run a `crossframe train` of its own process.
 *
 * Design
 *  - docs/sweep.md has the file's format. A run is setting x seed and lives in RUNS/NAME/seedS; all
 *    runs of a seed come before those of the next, so a table half done compares like with like.
 *  - The sweep writes given.yaml there, the keys of the run and which lists of videos they mean,
 *    and starts this very program with `train -c given.yaml`, which resumes what is half done; with
 *    TESTS, one `test` after the other follows. result.json comes last and says that the training
 *    is done, tests/NAME.json that a test is. Nothing else is remembered: a sweep that was killed
 *    starts by looking at what is there.
 *  - A run is taken as it is when given.yaml says the same in all keys that can change a result,
 *    and the same videos; else it is an error that names the difference. So sweeps can share RUNS.
 *  - All numbers come from the files a test leaves (label and prediction of each video), so a
 *    metric can be asked for later. The tables hold no times: killed and restarted, they are the
 *    same bytes.
 *  - Children are killed by the system when the sweep ends; asked to stop, it asks them, and they
 *    save. */
#ifndef CROSSFRAME_SWEEP_H
#define CROSSFRAME_SWEEP_H

#include "crossframe/train.h"

/* A run that begins, ends or fails. Texts are borrowed for the call. */
typedef struct {
    const char *setting, *folder;
    size_t seed, number, of;
    const char *result;  /* "top-1 41.20"; of a failed run its error line */
    double seconds;      /* of the processes of this run, in this sweep */
    double seconds_left; /* of the whole sweep; NaN: not known yet */
} cf_sweep_event;

typedef struct {
    const char *output; /* replaces OUTPUT, and RUNS where that is its default; NULL: as given */
    const char *const *opts; /* keys of every run, as cf_config_set_opts */
    size_t n_opts;
    const char *only;          /* names of settings between commas: no others are run; NULL: all */
    int jobs;                  /* processes at a time, from 1 */
    int threads;               /* that they share */
    const char *cache, *share; /* as cf_run_options */
    const char *program;       /* that is started */
    const char *const *environment; /* of its processes: "NAME=VALUE", ends with NULL */
    bool (*stop)(void);             /* whether to stop; may be NULL, as the next */
    void (*begins)(void *user, const cf_sweep_event *e);
    void (*ends)(void *user, const cf_sweep_event *e);
    void (*fails)(void *user, const cf_sweep_event *e);
    void *user;
} cf_sweep_options;

typedef struct cf_sweep cf_sweep;
/* Reads the file and what is there of its runs. *o is borrowed until cf_sweep_free. CF_EINVAL: the
 * file, with its line; a run of another configuration or other videos, with the difference. */
cf_status cf_sweep_open(cf_sweep **out, const char *path, const cf_sweep_options *o);
void cf_sweep_free(cf_sweep *s); /* NULL is fine */

/* A setting with runs still to do. */
typedef struct {
    const char *name, *label;
    size_t runs;         /* of it to do */
    double gflop;        /* of one run, its tests included; 0: not known */
    size_t memory_bytes; /* of one process, the largest; 0: not known */
} cf_sweep_cost;

/* What is still to be done. */
typedef struct {
    const char *title, *output, *runs_folder;
    size_t runs, done; /* all, and of them */
    cf_sweep_cost *cost;
    size_t n;
    double gflop;          /* of all runs still to do; 0: not known */
    double gflops_machine; /* measured GEMM rate; 0: too little to do for measuring it */
    double seconds;        /* about, at CF_SWEEP_SHARE of that rate; NaN: not known */
    size_t memory_bytes, machine_memory; /* of all processes at a time */
    int jobs, threads;                   /* of a process */
    char **missing;                      /* what runs would not find, each once */
    size_t n_missing;
} cf_sweep_plan;
/* Of the machine's GEMM rate, what a training is taken to reach. */
#define CF_SWEEP_SHARE 0.8
/* Plans a run of each setting that has some to do; writes nothing. CF_EINVAL and the like: a
 * configuration that no run can have, a file of groups with another number of classes. */
cf_status cf_sweep_plan_get(cf_sweep_plan *out, cf_sweep *s);
void cf_sweep_plan_fini(cf_sweep_plan *p);

/* What became of it. */
typedef struct {
    size_t runs, done, failed;
    double train_seconds; /* of all runs in the table */
} cf_sweep_counts;
cf_sweep_counts cf_sweep_counts_get(const cf_sweep *s);

/* Does what is to be done; the tables are written after each run, and at the end. A failed run does
 * not stop the others. CF_EINTERRUPTED: it was asked to stop, and the processes have saved. */
cf_status cf_sweep_run(cf_sweep *s);
/* The table as Markdown (cf_free). */
cf_status cf_sweep_markdown(char **out, const cf_sweep *s);

#endif
