/* crossframe sweep: settings x seeds, each a training of its own process; the table goes to
 * stdout. */
#include "run_print.h"

#include "crossframe/sweep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const char *output, *only;
    int jobs;
    bool dry_run;
} call;

/* ---- lines ----------------------------------------------------------------------------------- */

/* Of the library's lines only warnings, each once: a plan is made for each setting. */
static void print_warning(void *user, cf_log_level level, const char *line)
{
    enum { MOST = 64 };
    static uint64_t seen[MOST];
    static size_t n;
    uint64_t hash = cf_hash64(line, strlen(line));
    (void)user;
    if (level != CF_LOG_WARNING) return;
    for (size_t i = 0; i < n; i++)
        if (seen[i] == hash) return;
    if (n < MOST) seen[n++] = hash;
    fprintf(stderr, "warning: %s\n", line);
}

/* "3 days 4 h", "1 h 10 min". */
static const char *long_time(char out[32], double seconds)
{
    if (!(seconds >= 48 * 3600.0)) return print_time(out, seconds);
    long hours = lround(fmin(seconds / 3600, 1e9));
    snprintf(out, 32, "%ld days %ld h", hours / 24, hours % 24);
    return out;
}

static void begins(void *user, const cf_sweep_event *e)
{
    (void)user;
    fprintf(stderr, "[%zu/%zu] %s seed %zu begins\n", e->number, e->of, e->setting, e->seed);
}

static void ends(void *user, const cf_sweep_event *e)
{
    char took[32], left[32];
    (void)user;
    fprintf(stderr, "[%zu/%zu] %s seed %zu: %s (%s)", e->number, e->of, e->setting, e->seed,
            e->result, print_time(took, e->seconds));
    if (e->seconds_left > 0) fprintf(stderr, ", about %s left", long_time(left, e->seconds_left));
    fprintf(stderr, "\n");
}

static void fails(void *user, const cf_sweep_event *e)
{
    (void)user;
    fprintf(stderr, "[%zu/%zu] %s seed %zu FAILED: %s\n", e->number, e->of, e->setting, e->seed,
            e->result);
}

/* ---- the plan -------------------------------------------------------------------------------- */

#define GB(bytes) ((double)(bytes) / 1e9)

static void print_costs(const cf_sweep_plan *p)
{
    int width = 0;
    for (size_t i = 0; i < p->n; i++)
        if ((int)strlen(p->cost[i].name) > width) width = (int)strlen(p->cost[i].name);
    for (size_t i = 0; i < p->n; i++) {
        const cf_sweep_cost *c = &p->cost[i];
        fprintf(stderr, "  %-*s  %zu run%s", width, c->name, c->runs, c->runs == 1 ? "" : "s");
        if (c->gflop > 0)
            fprintf(stderr, " of %.4g GFLOP", c->gflop);
        else
            fprintf(stderr, ", cost not known yet");
        if (c->memory_bytes > 0) fprintf(stderr, ", %.2f GB of memory", GB(c->memory_bytes));
        fprintf(stderr, "\n");
    }
}

static void print_plan(const cf_sweep_plan *p)
{
    char time[32];
    fprintf(stderr, "%s%s%zu runs, %zu of them done; runs in %s, tables in %s\n", p->title,
            *p->title ? ": " : "", p->runs, p->done, p->runs_folder, p->output);
    if (p->n == 0) return;
    print_costs(p);
    if (p->gflop > 0) {
        fprintf(stderr, "  to do: %.4g GFLOP", p->gflop);
        if (p->gflops_machine > 0)
            fprintf(stderr,
                    ", about %s on this machine (%.0f GFLOP/s measured, %.0f %% of it used)",
                    long_time(time, p->seconds), p->gflops_machine, 100 * CF_SWEEP_SHARE);
        fprintf(stderr, "\n");
    }
    fprintf(stderr, "  %d process%s at a time, %d thread%s each\n", p->jobs,
            p->jobs == 1 ? "" : "es", p->threads, p->threads == 1 ? "" : "s");
    if (p->memory_bytes > p->machine_memory)
        fprintf(stderr, "warning: %d at a time need %.2f GB of memory, this machine has %.2f GB\n",
                p->jobs, GB(p->memory_bytes), GB(p->machine_memory));
    for (size_t i = 0; i < p->n_missing; i++) fprintf(stderr, "missing  %s\n", p->missing[i]);
}

/* ---- the command ----------------------------------------------------------------------------- */

/* Whether there is something to be done and nothing missing for it. */
static cf_status plan(cf_sweep *s)
{
    cf_sweep_plan p;
    CF_TRY(cf_sweep_plan_get(&p, s));
    print_plan(&p);
    size_t missing = p.n_missing;
    cf_sweep_plan_fini(&p);
    if (missing == 0) return CF_OK;
    return CF_FAIL(CF_ENOTFOUND,
                   "nothing is started: %zu thing%s missing; docs/data.md tells how to get data, "
                   "`scripts/get-weights --list` names weights",
                   missing, missing == 1 ? " is" : "s are");
}

static cf_status print_result(const cf_sweep *s)
{
    char *text, time[32];
    cf_sweep_counts c = cf_sweep_counts_get(s);
    CF_TRY(cf_sweep_markdown(&text, s));
    printf("%s", text);
    cf_free(text);
    fflush(stdout);
    fprintf(stderr, "%zu of %zu runs done, %s of training\n", c.done, c.runs,
            long_time(time, c.train_seconds));
    if (c.failed == 0) return CF_OK;
    return CF_FAIL(CF_EIO, "%zu of %zu runs failed", c.failed, c.runs);
}

static cf_status run(const char *file, const cf_sweep_options *o, bool dry_run)
{
    cf_sweep *s = NULL;
    cf_status status = CF_OK;
    CF_TRY(cf_sweep_open(&s, file, o));
    CF_GO(plan(s));
    if (dry_run) goto done;
    status = cf_sweep_run(s);
    if (status == CF_OK) status = print_result(s);
done:
    cf_sweep_free(s);
    return status;
}

int cmd_sweep(int argc, char **argv)
{
    call o = { .jobs = 1 };
    const cli_option options[] = {
        { "jobs", 'j', CLI_INT, &o.jobs, "N", "processes at a time, which share the cores (1)", 1,
          1024 },
        { "output", 0, CLI_TEXT, &o.output, "DIR",
          "instead of the file's OUTPUT, and of RUNS where the file has none", 0, 0 },
        { "only", 0, CLI_TEXT, &o.only, "NAME,...", "runs of these settings and no others", 0, 0 },
        { "dry-run", 0, CLI_FLAG, &o.dry_run, NULL,
          "tells cost, memory and what is missing, and starts nothing", 0, 0 },
        { "opts", 0, CLI_OPTS, NULL, "KEY VALUE ...", "sets keys of every run's configuration", 0,
          0 },
    };
    const cli_command command = {
        .name = "sweep",
        .usage = "FILE.yaml [options]",
        .summary = "trains each setting of a table with each seed; mean and std, and a plot",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .least = 1,
        .most = 1,
        .notes =
            "docs/sweep.md has the file's format. Each run is a `crossframe train` in "
            "RUNS/NAME/seedS, which\nits given.yaml repeats by hand; all runs of a seed come "
            "before "
            "those of the next. What is done is\nnot made again, what is half done goes on: after "
            "Ctrl-C, or a kill, give the same command again.\nOUTPUT/table.md, table.csv, runs.csv "
            "and plot.svg (plot.png) have the results so far; a run that\nfails does not stop the "
            "others. N processes at a time have cores / N threads each.",
    };
    extern char **environ;
    cli_args args;
    int status;
    if (!cli_parse(&args, &status, &command, argc, argv)) return status;
    const cf_sweep_options sweep = { .output = o.output,
                                     .opts = args.opts,
                                     .n_opts = args.n_opts,
                                     .only = o.only,
                                     .jobs = o.jobs,
                                     .threads = cf_threads(),
                                     .cache = cli_cache(),
                                     .share = cli_share(),
                                     .program = "/proc/self/exe",
                                     .environment = (const char *const *)environ,
                                     .stop = run_stop_asked,
                                     .begins = begins,
                                     .ends = ends,
                                     .fails = fails };
    run_install_signals();
    cf_log_set(print_warning, NULL);
    cf_status done = run(args.positional[0], &sweep, o.dry_run);
    cli_args_free(&args);
    if (done == CF_OK) return 0;
    status = cli_failed();
    return done == CF_EINTERRUPTED ? 130 : status;
}
