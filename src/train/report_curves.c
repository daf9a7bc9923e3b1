/* Which curves a report shows, and what of the logs is on them. */
#include "report_parts.h"

#include <math.h>
#include <string.h>

/* What one chart shows of each run's steps or tests. */
typedef struct {
    const char *id, *title, *unit, *note;
    log_field field[3]; /* drawn solid, dashed, and dashed; LOG_FIELDS = none */
    const char *sub[3]; /* "" for the only one */
    bool of_tests, smooth, zero;
    double
        log_above; /* greatest over least value from which on the axis is logarithmic; 0: never */
} curve_kind;

static const curve_kind kinds[] = {
    { "loss",
      "training loss",
      "",
      "thin: every step; thick: smoothed",
      { LOG_LOSS, LOG_FIELDS, LOG_FIELDS },
      { "" },
      .smooth = true,
      .log_above = 30 },
    { "accuracy",
      "test accuracy",
      "%",
      "solid: top-1; dashed: top-5",
      { LOG_TOP1, LOG_TOP5, LOG_FIELDS },
      { "top-1", "top-5" },
      .of_tests = true },
    { "rate",
      "learning rate",
      "",
      "solid: CLIP's tensors; dashed: new modules",
      { LOG_LR, LOG_LR_NEW, LOG_FIELDS },
      { "CLIP's", "new" },
      .log_above = 1e9 },
    { "gradient",
      "gradient norm before clipping",
      "",
      "thin: every step; thick: smoothed",
      { LOG_GRAD_NORM, LOG_FIELDS, LOG_FIELDS },
      { "" },
      .smooth = true,
      .log_above = 20 },
    { "speed",
      "videos per second",
      "1/s",
      "thin: every step; thick: smoothed",
      { LOG_VIDEOS_PER_SECOND, LOG_FIELDS, LOG_FIELDS },
      { "" },
      .smooth = true,
      .zero = true },
    { "waiting",
      "waiting for data",
      "% of the step",
      "thin: every step; thick: smoothed",
      { LOG_DATA_SECONDS, LOG_FIELDS, LOG_FIELDS },
      { "" },
      .smooth = true,
      .zero = true },
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* Seconds of waiting are shown as a share of the step's. */
static double value(const double *v, log_field field)
{
    return field == LOG_DATA_SECONDS ? 100 * v[field] / v[LOG_SECONDS] : v[field];
}

/* All points of a field, fresh in *out; *n = 0 if the run has none. */
static cf_status gather(chart_point **out, size_t *n, const report_run *r, const curve_kind *k,
                        log_field field, double unit)
{
    const run_record *l = &r->log;
    size_t all = k->of_tests ? l->n_tests : l->n_steps;
    chart_point *p;
    *n = 0;
    CF_TRY(cf_alloc(&p, all, sizeof *p));
    for (size_t i = 0; i < all; i++) {
        const double *v = k->of_tests ? l->tests[i].v : l->steps[i].v;
        double y = value(v, field);
        if (isfinite(y)) p[(*n)++] = (chart_point){ v[LOG_STEP] / unit, y };
    }
    *out = p;
    return CF_OK;
}

static cf_status add(chart *c, const char *name, chart_line line, const chart_point *points,
                     size_t n)
{
    if (n == 0) return CF_OK;
    CF_TRY(cf_alloc(&line.points, n, sizeof *points));
    memcpy(line.points, points, n * sizeof *points);
    line.n = n;
    cf_status status = chart_add(c, name, &line);
    if (status != CF_OK) cf_free(line.points);
    return status;
}

/* One field of one run: its thin and its thick line, or the only one. */
static cf_status add_field(chart *c, const report_run *r, const curve_kind *k, size_t which,
                           chart_line line, double unit, double x_end)
{
    chart_point *all = NULL, *some = NULL;
    size_t n, n_some;
    cf_status status = CF_OK;
    line.sub = k->sub[which] ? k->sub[which] : "";
    line.dashed = which > 0;
    line.dots = k->of_tests;
    CF_GO(gather(&all, &n, r, k, k->field[which], unit));
    CF_GO(cf_alloc(&some, n < CHART_COLUMNS ? CHART_COLUMNS : n, sizeof *some));
    n_some = chart_thin(some, all, n, 0, x_end, CHART_COLUMNS);
    line.faint = k->smooth;
    CF_GO(add(c, r->name, line, some, n_some));
    if (k->smooth) {
        line.faint = false;
        CF_GO(chart_smooth(some, &n_some, all, n, 0, x_end, CHART_COLUMNS));
        CF_GO(add(c, r->name, line, some, n_some));
    }
done:
    cf_free(all);
    cf_free(some);
    return status;
}

/* A few zeros (the rate of the first steps) do not hinder a logarithmic axis; the least value that
 * counts is that of a hundredth of the points from below. */
static bool wants_log(const chart *c, double above)
{
    double least = INFINITY, greatest = 0;
    size_t n = 0, low = 0;
    for (size_t i = 0; i < c->n; i++)
        for (size_t j = 0; j < c->lines[i].n; j++) {
            double y = c->lines[i].points[j].y;
            n++;
            if (y <= 0) low++;
            if (y > 0) least = fmin(least, y);
            greatest = fmax(greatest, y);
        }
    return above > 0 && low * 50 <= n && greatest > above * least;
}

/* The rates of two groups that are far apart are told apart on a logarithmic axis only. */
static bool rates_apart(const chart *c)
{
    double most[2] = { 0, 0 };
    for (size_t i = 0; i < c->n; i++)
        for (size_t j = 0; j < c->lines[i].n; j++)
            most[c->lines[i].dashed] = fmax(most[c->lines[i].dashed], c->lines[i].points[j].y);
    return most[0] > 0 && most[1] > 5 * most[0];
}

static cf_status fill(chart *c, const cf_report *r, const curve_kind *k, bool by_epoch,
                      double x_end)
{
    *c = (chart){ .id = k->id,
                  .title = k->title,
                  .unit = k->unit,
                  .note = k->note,
                  .zero = k->zero,
                  .x_title = by_epoch ? "epoch" : "optimiser step" };
    for (size_t i = 0; i < r->n; i++) {
        double unit = by_epoch ? report_epoch_steps(&r->runs[i]) : 1;
        if (!(unit > 0)) continue;
        for (size_t f = 0; f < 3 && k->field[f] != LOG_FIELDS; f++)
            CF_TRY(add_field(c, &r->runs[i], k, f, (chart_line){ .colour = i }, unit, x_end));
    }
    c->log = strcmp(k->id, "rate") == 0 ? rates_apart(c) : wants_log(c, k->log_above);
    return CF_OK;
}

static double find_end(const cf_report *r, bool by_epoch)
{
    double end = 0;
    for (size_t i = 0; i < r->n; i++) {
        const run_record *l = &r->runs[i].log;
        double unit = by_epoch ? report_epoch_steps(&r->runs[i]) : 1;
        double last = l->n_steps > 0 ? l->steps[l->n_steps - 1].v[LOG_STEP] : 0;
        if (unit > 0) end = fmax(end, last / unit);
    }
    return end;
}

cf_status report_charts(chart_set *out, const cf_report *r, bool by_epoch)
{
    chart_set s = { 0 };
    double end = find_end(r, by_epoch);
    cf_status status = CF_OK;
    CF_TRY(cf_alloc_zero(&s.charts, N_KINDS, sizeof *s.charts));
    for (size_t k = 0; k < N_KINDS; k++) {
        chart *c = &s.charts[s.n++];
        CF_GO(fill(c, r, &kinds[k], by_epoch, end));
        if (chart_has_points(c)) continue;
        chart_fini(c);
        s.n--;
    }
    *out = s;
    return CF_OK;
done:
    chart_set_fini(&s);
    return status;
}

void chart_set_fini(chart_set *s)
{
    for (size_t i = 0; i < s->n; i++) chart_fini(&s->charts[i]);
    cf_free(s->charts);
    *s = (chart_set){ 0 };
}
