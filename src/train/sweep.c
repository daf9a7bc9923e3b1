/* The processes of a sweep.
 *
 * A run goes from TODO through TRAINING and, with TESTS, TESTING to DONE, or to FAILED; one process
 * of each run at a time, options->jobs of all. The loop looks at them a few times a second, which
 * costs nothing beside what they do. */
#include "train/sweep_parts.h"

#include "crossframe/process.h"
#include "train/markup.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LOOK_S 0.02
/* How long a folder may be locked by a process that is just being killed. */
#define LOCKED_S 3.0

/* ---- telling --------------------------------------------------------------------------------- */

static size_t number_of(const cf_sweep *s, const sweep_run *r)
{
    size_t n = 0;
    for (const sweep_run *q = s->runs; q <= r; q++) n += q->selected;
    return n;
}

cf_sweep_counts cf_sweep_counts_get(const cf_sweep *s)
{
    cf_sweep_counts c = { 0 };
    for (size_t i = 0; i < s->n_runs; i++) {
        const sweep_run *r = &s->runs[i];
        c.runs += r->selected;
        c.done += r->selected && r->state == SWEEP_DONE;
        c.failed += r->state == SWEEP_FAILED;
        if (r->trained) c.train_seconds += r->train_seconds;
    }
    return c;
}

typedef struct {
    cf_sweep *s;
    char **environment; /* of the processes; its last entry but NULL is ours */
    char *threads;
    double began_s, spent; /* spent: work of the runs ended since */
    int active;
    bool stopping;
} work;

/* Work of a run in common units. */
static double work_of(const sweep_run *r) { return r->gflop > 0 ? r->gflop : 1; }

static double seconds_left(const work *w)
{
    double left = 0;
    for (size_t i = 0; i < w->s->n_runs; i++) {
        const sweep_run *r = &w->s->runs[i];
        if (r->selected && r->state != SWEEP_DONE && r->state != SWEEP_FAILED) left += work_of(r);
    }
    return w->spent > 0 ? left * (cf_seconds() - w->began_s) / w->spent : NAN;
}

static void tell(const work *w, const sweep_run *r,
                 void (*callback)(void *user, const cf_sweep_event *e), const char *result)
{
    const cf_sweep_event e = { .setting = w->s->settings[r->setting].name,
                               .folder = r->folder,
                               .seed = r->seed,
                               .number = number_of(w->s, r),
                               .of = cf_sweep_counts_get(w->s).runs,
                               .result = result,
                               .seconds = r->spent_s,
                               .seconds_left = seconds_left(w) };
    if (callback) callback(w->s->options->user, &e);
}

/* "top-1 41.20, motion 29.90", with TESTS "views_4x3 top-1 41.20; views_1 top-1 40.00". */
static cf_status result_text(char **out, const cf_sweep *s, const sweep_run *r)
{
    markup m = { 0 };
    size_t n;
    for (size_t i = 0; i < sweep_slots(s); i++)
        for (size_t k = 0; k < s->n_metrics; k++) {
            if (i + k > 0) markup_raw(&m, k == 0 ? "; " : ", ");
            if (s->n_tests > 0 && k == 0) {
                markup_raw(&m, s->tests[i].name);
                markup_raw(&m, " ");
            }
            markup_raw(&m, sweep_metric_name(&s->metrics[k]));
            markup_put(&m, " %.2f", r->result[i].value[k]);
        }
    return markup_done(out, &n, &m);
}

/* ---- processes ------------------------------------------------------------------------------- */

static size_t file_size(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (size_t)info.st_size : 0;
}

static cf_status start_process(work *w, sweep_run *r, const char *const *arguments,
                               const char *output, const char *errors)
{
    const cf_process_options o = { .program = w->s->options->program,
                                   .arguments = arguments,
                                   .environment = (const char *const *)w->environment,
                                   .output = output,
                                   .errors = errors,
                                   .cut_output = strcmp(output, errors) != 0 };
    r->log_start = file_size(errors);
    CF_TRY(cf_process_start(&r->process, &o));
    r->began_s = cf_seconds();
    w->active++;
    return CF_OK;
}

/* The list of drawn videos, which may be there already. */
static cf_status write_list(const sweep_job *job)
{
    char *old;
    size_t n;
    if (!job->drawn) return CF_OK;
    if (!cf_file_exists(job->list)) return cf_file_write(job->list, job->drawn, strlen(job->drawn));
    CF_TRY(cf_file_read(&old, &n, job->list));
    bool same = strcmp(old, job->drawn) == 0;
    cf_free(old);
    if (same) return CF_OK;
    return CF_FAIL(CF_EINVAL, "%s is not what is drawn now; give other RUNS, or remove its folder",
                   job->list);
}

/* A sweep that was killed takes its processes with it, which may last a moment. */
static cf_status wait_for_folder(const sweep_run *r)
{
    for (double end = cf_seconds() + LOCKED_S; cf_folder_is_locked(r->folder); cf_sleep(LOOK_S))
        if (cf_seconds() > end)
            return CF_FAIL(CF_EINVAL, "%s is in use: another run is writing there", r->folder);
    return CF_OK;
}

static cf_status start_training(work *w, sweep_run *r)
{
    sweep_job job = { 0 };
    char *given = NULL, *log = NULL;
    cf_status status = CF_OK;
    CF_GO(sweep_job_make(&job, w->s, r));
    CF_GO(cf_make_folders(r->folder));
    CF_GO(wait_for_folder(r));
    CF_GO(sweep_path(&given, r, "given.yaml"));
    CF_GO(sweep_path(&log, r, "train.txt"));
    if (!job.videos)
        CF_GO(CF_FAIL(CF_ENOTFOUND, "%s: its videos are not there any more", r->folder));
    CF_GO(write_list(&job));
    CF_GO(sweep_claim(job.config, given, job.videos, job.drawn ? "DATA.TRAIN_FILE" : NULL, true));
    const char *const arguments[] = { "crossframe", "train", "-c", given, NULL };
    CF_GO(start_process(w, r, arguments, log, log));
    r->state = SWEEP_TRAINING;
done:
    cf_free(given);
    cf_free(log);
    sweep_job_fini(&job);
    return status;
}

static cf_status start_test(work *w, sweep_run *r)
{
    cf_sweep *s = w->s;
    sweep_job job = { 0 };
    cf_config *c = NULL;
    char *given = NULL, *weights = NULL, *h5 = NULL, *printed = NULL, *log = NULL, *folder = NULL;
    char *videos = NULL;
    cf_status status = CF_OK;
    CF_GO(sweep_job_make(&job, s, r));
    CF_GO(sweep_weights(&weights, r, job.config));
    CF_GO(sweep_test_config(&c, s, r, job.config, r->slot, weights));
    CF_GO(sweep_path(&folder, r, "tests"));
    CF_GO(cf_make_folders(folder));
    CF_GO(sweep_test_path(&given, s, r, r->slot, ".yaml"));
    CF_GO(sweep_test_path(&h5, s, r, r->slot, ".h5"));
    CF_GO(sweep_test_path(&printed, s, r, r->slot, ".json.new"));
    CF_GO(sweep_test_path(&log, s, r, r->slot, ".txt"));
    CF_GO(sweep_test_videos(&videos, s, c));
    if (!videos) CF_GO(CF_FAIL(CF_ENOTFOUND, "DATA.VAL_FILE %s is not there", c->data.val_file));
    CF_GO(sweep_claim(c, given, videos, "MODEL.RESUME", true));
    const char *const arguments[] = { "crossframe", "test",     "-c", given, "--quiet",
                                      "--json",     "--result", h5,   NULL };
    CF_GO(start_process(w, r, arguments, printed, log));
    r->state = SWEEP_TESTING;
done:
    cf_free(given);
    cf_free(weights);
    cf_free(h5);
    cf_free(printed);
    cf_free(log);
    cf_free(folder);
    cf_free(videos);
    cf_config_free(c);
    sweep_job_fini(&job);
    return status;
}

/* The next process of a run whose last one, if any, has ended well. */
static cf_status go_on(work *w, sweep_run *r)
{
    cf_sweep *s = w->s;
    char *text;
    if (!r->trained) return start_training(w, r);
    for (r->slot = 0; r->slot < sweep_slots(s); r->slot++)
        if (!r->result[r->slot].done) return start_test(w, r);
    r->state = SWEEP_DONE;
    w->spent += work_of(r);
    CF_TRY(result_text(&text, s, r));
    tell(w, r, s->options->ends, text);
    cf_free(text);
    return CF_OK;
}

/* ---- ends ------------------------------------------------------------------------------------ */

static cf_status log_path(char **out, const work *w, const sweep_run *r)
{
    if (r->state == SWEEP_TESTING) return sweep_test_path(out, w->s, r, r->slot, ".txt");
    return sweep_path(out, r, "train.txt");
}

/* The error line of a process that failed: its last one that the program wrote as such. */
static cf_status error_line(char **out, const char *path, size_t from, int exit_status)
{
    static const char mark[] = "crossframe: ";
    char *text, *found = NULL;
    size_t n;
    if (exit_status < 0)
        return cf_format(out, "killed by signal %d (%s)", -exit_status, strsignal(-exit_status));
    CF_TRY(cf_file_read(&text, &n, path));
    for (char *line = n > from ? text + from : NULL, *next; line; line = next) {
        if ((next = strchr(line, '\n'))) *next++ = 0;
        if (strncmp(line, mark, sizeof mark - 1) == 0) found = line + sizeof mark - 1;
    }
    cf_status status =
        found ? cf_strdup(out, found) : cf_format(out, "ended with status %d", exit_status);
    cf_free(text);
    return status;
}

/* Marks the run as failed, for this reason and by the process's log, if there is one. */
static cf_status give_up(work *w, sweep_run *r, const char *why, const char *log)
{
    char *text;
    CF_TRY(cf_format(&text, "%s%s%s%s", why, log ? " (" : "", log ? log : "", log ? ")" : ""));
    r->state = SWEEP_FAILED;
    tell(w, r, w->s->options->fails, text);
    cf_free(text);
    return CF_OK;
}

/* A failure of one run, which is the library's error line, ends only that run. */
static cf_status or_give_up(work *w, sweep_run *r, cf_status status)
{
    char *why;
    if (status == CF_OK || status == CF_ENOMEM) return status;
    CF_TRY(cf_strdup(&why, cf_error()));
    status = give_up(w, r, why, NULL);
    cf_free(why);
    return status;
}

static cf_status process_failed(work *w, sweep_run *r, int exit_status)
{
    char *log = NULL, *why = NULL;
    cf_status status = CF_OK;
    CF_GO(log_path(&log, w, r));
    CF_GO(error_line(&why, log, r->log_start, exit_status));
    CF_GO(give_up(w, r, why, log));
done:
    cf_free(log);
    cf_free(why);
    return status;
}

static bool is_complete(const cf_sweep *s, const sweep_run *r)
{
    bool complete = r->trained;
    for (size_t i = 0; i < sweep_slots(s); i++) complete = complete && r->result[i].done;
    return complete;
}

static cf_status process_ended(work *w, sweep_run *r, int exit_status)
{
    r->process = 0;
    r->spent_s += cf_seconds() - r->began_s;
    w->active--;
    if (w->stopping && exit_status != 0) {
        r->state = SWEEP_TODO;
        return CF_OK;
    }
    if (exit_status != 0) return process_failed(w, r, exit_status);
    cf_status status = r->state == SWEEP_TRAINING ? sweep_trained(w->s, r) : sweep_tested(w->s, r);
    if (status == CF_OK && w->stopping && !is_complete(w->s, r)) {
        r->state = SWEEP_TODO;
        return CF_OK;
    }
    if (status == CF_OK) status = go_on(w, r);
    CF_TRY(or_give_up(w, r, status));
    return r->state == SWEEP_DONE || r->state == SWEEP_FAILED ? sweep_write(w->s) : CF_OK;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static cf_status begin(work *w, sweep_run *r)
{
    tell(w, r, w->s->options->begins, "");
    CF_TRY(or_give_up(w, r, go_on(w, r)));
    return r->state == SWEEP_FAILED ? sweep_write(w->s) : CF_OK;
}

static sweep_run *next_run(cf_sweep *s)
{
    for (size_t i = 0; i < s->n_runs; i++)
        if (s->runs[i].selected && s->runs[i].state == SWEEP_TODO) return &s->runs[i];
    return NULL;
}

static void ask_all(work *w)
{
    for (size_t i = 0; i < w->s->n_runs; i++)
        if (w->s->runs[i].process > 0) cf_process_ask(w->s->runs[i].process);
}

static cf_status look_at_processes(work *w)
{
    int exit_status;
    for (size_t i = 0; i < w->s->n_runs; i++) {
        sweep_run *r = &w->s->runs[i];
        if (r->process > 0 && cf_process_ended(&exit_status, r->process))
            CF_TRY(process_ended(w, r, exit_status));
    }
    return CF_OK;
}

static cf_status work_all(work *w)
{
    const cf_sweep_options *o = w->s->options;
    for (;;) {
        sweep_run *next;
        while (!w->stopping && w->active < o->jobs && (next = next_run(w->s)))
            CF_TRY(begin(w, next));
        if (w->active == 0) return CF_OK;
        cf_sleep(LOOK_S);
        if (!w->stopping && o->stop && o->stop()) {
            w->stopping = true;
            ask_all(w);
        }
        CF_TRY(look_at_processes(w));
    }
}

/* The environment with OMP_NUM_THREADS as it is to be. */
static cf_status make_environment(work *w)
{
    static const char name[] = "OMP_NUM_THREADS=";
    const cf_sweep_options *o = w->s->options;
    size_t n = 0, kept = 0;
    int threads = o->threads / o->jobs > 0 ? o->threads / o->jobs : 1;
    while (o->environment[n]) n++;
    CF_TRY(cf_alloc(&w->environment, n + 2, sizeof *w->environment));
    CF_TRY(cf_format(&w->threads, "%s%d", name, threads));
    for (size_t i = 0; i < n; i++)
        if (strncmp(o->environment[i], name, sizeof name - 1) != 0)
            w->environment[kept++] = (char *)o->environment[i];
    w->environment[kept++] = w->threads;
    w->environment[kept] = NULL;
    return CF_OK;
}

cf_status cf_sweep_run(cf_sweep *s)
{
    work w = { .s = s, .began_s = cf_seconds() };
    cf_status status = CF_OK;
    CF_GO(make_environment(&w));
    CF_GO(sweep_write(s));
    CF_GO(work_all(&w));
    CF_GO(sweep_write(s));
    if (w.stopping && next_run(s))
        CF_GO(CF_FAIL(CF_EINTERRUPTED, "stopped; the same command goes on"));
done:
    for (size_t i = 0; i < s->n_runs; i++)
        if (s->runs[i].process > 0) cf_process_kill(s->runs[i].process);
    cf_free(w.environment);
    cf_free(w.threads);
    return status;
}
