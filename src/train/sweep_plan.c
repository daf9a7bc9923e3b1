/* What is still to be done: cost and memory of a run of each setting by a dry run of it and of its
 * tests, and what they would not find. */
#include "train/sweep_parts.h"

#include "crossframe/bench.h"

#include <math.h>
#include <string.h>

/* Less is done within seconds, and nobody waits a second for a measurement of that. */
#define MEASURE_FROM_GFLOP 3000.0

/* What a dry run told. */
typedef struct {
    cf_sweep_plan *plan;
    const cf_sweep *s;
    size_t drawn; /* videos, instead of the plan's; 0: the plan's */
    bool test;    /* of TESTS */
    double gflop; /* NaN: not known */
    size_t memory_bytes, classes;
    cf_status status;
} told;

static cf_status add_missing(cf_sweep_plan *p, const char *line)
{
    for (size_t i = 0; i < p->n_missing; i++)
        if (strcmp(p->missing[i], line) == 0) return CF_OK;
    size_t room = p->n_missing;
    CF_TRY(cf_grow(&p->missing, &room, p->n_missing + 1, sizeof *p->missing));
    CF_TRY(cf_strdup(&p->missing[p->n_missing], line));
    p->n_missing++;
    return CF_OK;
}

static double test_gflop(const cf_run_plan *p)
{
    if (p->test_videos == 0) return NAN;
    return (double)p->test_videos * (double)p->views * p->gflop_forward + p->gflop_text;
}

static double train_gflop(const cf_run_plan *p, size_t drawn)
{
    const cf_config *c = p->config;
    size_t batch = (size_t)c->train.batch_size;
    size_t batches = drawn > 0 ? drawn / batch : p->micro_batches;
    double views = (double)p->tests + (p->views > 1 ? (double)p->views : 0);
    if (batches == 0 || (*c->data.val_file && p->test_videos == 0)) return NAN;
    return (double)c->train.epochs * (double)batches * (double)batch * p->gflop_train +
           (double)p->test_videos * views * p->gflop_forward + p->gflop_text;
}

static void planned(void *user, const cf_run_plan *p)
{
    told *t = user;
    t->memory_bytes = p->model ? p->memory.total : 0;
    t->classes = p->classes;
    t->gflop = !p->model ? NAN : t->test ? test_gflop(p) : train_gflop(p, t->drawn);
    for (size_t i = 0; i < p->n_missing && t->status == CF_OK; i++)
        t->status = add_missing(t->plan, p->missing[i]);
}

static cf_status dry(told *t, cf_config *c)
{
    const cf_sweep_options *o = t->s->options;
    const cf_run_options options = {
        .user = t, .planned = planned, .cache = o->cache, .share = o->share, .only_test = t->test
    };
    t->gflop = NAN;
    t->status = CF_OK;
    if (!t->test) CF_TRY(cf_config_settle(c));
    CF_TRY(cf_run_dry(c, &options));
    return t->status;
}

static cf_status check_groups(const cf_sweep *s, size_t classes)
{
    for (size_t i = 0; i < s->n_metrics; i++) {
        const sweep_group *g = s->metrics[i].group;
        if (g && g->of.n != classes)
            return sweep_failed(s, g->line, "GROUPS %s: %s has %zu classes, the test has %zu",
                                g->name, g->path, g->of.n, classes);
    }
    return CF_OK;
}

/* The tests of TESTS, with the weights the training starts from in the place of those it makes. */
static cf_status plan_tests(cf_sweep_cost *cost, told *t, const sweep_run *r, const cf_config *run)
{
    t->test = true;
    for (size_t i = 0; i < t->s->n_tests; i++) {
        cf_config *c;
        CF_TRY(sweep_test_config(&c, t->s, r, run, i, NULL));
        cf_status status = dry(t, c);
        cf_config_free(c);
        CF_TRY_CTX(status, "%s", t->s->tests[i].name);
        CF_TRY(check_groups(t->s, t->classes));
        cost->gflop += t->gflop;
        if (t->memory_bytes > cost->memory_bytes) cost->memory_bytes = t->memory_bytes;
    }
    return CF_OK;
}

/* *cost of a run such as r; NaN gflop: not known. */
static cf_status plan_run(cf_sweep_cost *cost, cf_sweep_plan *plan, cf_sweep *s, const sweep_run *r)
{
    sweep_job job = { 0 };
    cf_config *run = NULL, *c = NULL;
    cf_status status = CF_OK;
    told t = { .plan = plan, .s = s };
    CF_GO(sweep_job_make(&job, s, r));
    run = job.whole ? job.whole : job.config;
    t.drawn = job.n_drawn;
    if (job.drawn && job.n_drawn < (size_t)run->train.batch_size)
        CF_GO(CF_FAIL(CF_EINVAL, "%zu videos do not fill one batch of %d", job.n_drawn,
                      run->train.batch_size));
    if (s->n_tests == 0 && !*run->data.val_file)
        CF_GO(CF_FAIL(CF_EINVAL, "configuration: DATA.VAL_FILE is not set: there is no result"));
    CF_GO(cf_config_copy(&c, run)); /* the dry run sets what weights decide */
    CF_GO(dry(&t, c));
    cost->gflop = t.gflop;
    cost->memory_bytes = t.memory_bytes;
    if (s->n_tests == 0) CF_GO(check_groups(s, t.classes));
    CF_GO(plan_tests(cost, &t, r, run));
done:
    cf_config_free(c);
    sweep_job_fini(&job);
    if (status != CF_OK) cf_fail_context(status, "%s", s->settings[r->setting].name);
    return status;
}

static bool is_to_do(const sweep_run *r) { return r->selected && r->state == SWEEP_TODO; }

static cf_status plan_setting(cf_sweep_plan *p, cf_sweep *s, size_t setting)
{
    cf_sweep_cost cost = { .name = s->settings[setting].name,
                           .label = sweep_label(&s->settings[setting]) };
    const sweep_run *first = NULL;
    for (size_t i = 0; i < s->n_runs; i++) {
        if (s->runs[i].setting != setting || !is_to_do(&s->runs[i])) continue;
        if (!first) first = &s->runs[i];
        cost.runs++;
    }
    if (!first) return CF_OK;
    CF_TRY(plan_run(&cost, p, s, first));
    if (!isfinite(cost.gflop)) cost.gflop = 0;
    for (size_t i = 0; i < s->n_runs; i++)
        if (s->runs[i].setting == setting) s->runs[i].gflop = cost.gflop;
    p->cost[p->n++] = cost;
    return CF_OK;
}

static cf_status add_up(cf_sweep_plan *p, const cf_sweep *s)
{
    size_t largest = 0;
    bool known = true;
    p->seconds = NAN;
    for (size_t i = 0; i < p->n; i++) {
        known = known && p->cost[i].gflop > 0;
        p->gflop += (double)p->cost[i].runs * p->cost[i].gflop;
        if (p->cost[i].memory_bytes > largest) largest = p->cost[i].memory_bytes;
    }
    p->memory_bytes = largest * (size_t)p->jobs;
    for (size_t i = 0; i < s->n_runs; i++) {
        p->runs += s->runs[i].selected;
        p->done += s->runs[i].selected && s->runs[i].state == SWEEP_DONE;
    }
    if (!known) p->gflop = 0;
    if (p->gflop < MEASURE_FROM_GFLOP) return CF_OK;
    CF_TRY(cf_bench_gemm(&p->gflops_machine));
    p->seconds = p->gflop / (CF_SWEEP_SHARE * p->gflops_machine);
    return CF_OK;
}

cf_status cf_sweep_plan_get(cf_sweep_plan *out, cf_sweep *s)
{
    const cf_sweep_options *o = s->options;
    cf_sweep_plan p = { .title = s->title ? s->title : "",
                        .output = s->output,
                        .runs_folder = s->runs_folder,
                        .machine_memory = cf_physical_memory(),
                        .jobs = o->jobs,
                        .threads = o->threads / o->jobs > 0 ? o->threads / o->jobs : 1 };
    cf_status status = CF_OK;
    CF_GO(cf_alloc_zero(&p.cost, s->n_settings, sizeof *p.cost));
    for (size_t i = 0; i < s->n_settings; i++) CF_GO(plan_setting(&p, s, i));
    CF_GO(add_up(&p, s));
    *out = p;
    p = (cf_sweep_plan){ 0 };
done:
    cf_sweep_plan_fini(&p);
    return status;
}

void cf_sweep_plan_fini(cf_sweep_plan *p)
{
    for (size_t i = 0; i < p->n_missing; i++) cf_free(p->missing[i]);
    cf_free(p->missing);
    cf_free(p->cost);
    *p = (cf_sweep_plan){ 0 };
}
