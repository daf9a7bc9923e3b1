/* What of a sweep's file contradicts itself. */
#include "train/sweep_parts.h"

#include <string.h>

static const char *const measures[] = { "top1", "top5", "mean_class" };
enum { N_MEASURES = sizeof measures / sizeof *measures };

static const sweep_group *find_group(const cf_sweep *s, const char *name)
{
    for (size_t i = 0; i < s->n_groups; i++)
        if (strcmp(s->groups[i].name, name) == 0) return &s->groups[i];
    return NULL;
}

static bool is_measure(const char *name)
{
    for (size_t i = 0; i < N_MEASURES; i++)
        if (strcmp(measures[i], name) == 0) return true;
    return false;
}

static cf_status check_metric(const cf_sweep *s, const char *name, size_t line)
{
    enum { MOST = 64 };
    const char *names[MOST];
    char hint[256];
    size_t n = 0;
    if (is_measure(name) || find_group(s, name)) return CF_OK;
    for (size_t i = 0; i < N_MEASURES; i++) names[n++] = measures[i];
    for (size_t i = 0; i < s->n_groups && n < MOST; i++) names[n++] = s->groups[i].name;
    return sweep_failed(s, line, "no metric %.60s%s", name, sweep_nearest(hint, name, names, n));
}

static cf_status check_metrics(cf_sweep *s)
{
    if (s->n_metrics == 0) {
        CF_TRY(cf_grow(&s->metrics, &s->metrics_capacity, 1, sizeof *s->metrics));
        s->metrics[s->n_metrics++] = (sweep_metric){ 0 };
        CF_TRY(cf_strdup(&s->metrics[0].name, measures[0]));
    }
    for (size_t i = 0; i < s->n_metrics; i++) {
        sweep_metric *m = &s->metrics[i];
        CF_TRY(check_metric(s, m->name, m->line));
        m->group = find_group(s, m->name);
        for (size_t k = 0; k < i; k++)
            if (strcmp(s->metrics[k].name, m->name) == 0)
                return sweep_failed(s, m->line, "metric %s stands twice", m->name);
    }
    return CF_OK;
}

static cf_status read_groups(cf_sweep *s)
{
    for (size_t i = 0; i < s->n_groups; i++) {
        sweep_group *g = &s->groups[i];
        if (is_measure(g->name))
            return sweep_failed(s, g->line, "GROUPS %s: that is a metric already", g->name);
        CF_TRY_CTX(cf_labels_read_csv(&g->of, g->path), "sweep: GROUPS %s (%s:%zu)", g->name,
                   s->path, g->line);
    }
    return CF_OK;
}

static cf_status check_names(const cf_sweep *s, const sweep_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(rows[i].name, rows[k].name) == 0)
                return sweep_failed(s, rows[i].line, "NAME %s stands twice, first in line %zu",
                                    rows[i].name, rows[k].line);
    return CF_OK;
}

static cf_status check_test_name(const cf_sweep *s, const sweep_figure *f)
{
    enum { MOST = 64 };
    const char *names[MOST];
    char hint[256];
    size_t n = 0;
    for (size_t i = 0; i < s->n_tests; i++) {
        if (strcmp(s->tests[i].name, f->test) == 0) return CF_OK;
        if (n < MOST) names[n++] = s->tests[i].name;
    }
    return sweep_failed(s, f->line, "PAPER: no test %.60s%s", f->test,
                        sweep_nearest(hint, f->test, names, n));
}

static cf_status check_paper(const cf_sweep *s, const sweep_row *row, bool setting)
{
    for (size_t i = 0; i < row->n_paper; i++) {
        const sweep_figure *f = &row->paper[i];
        CF_TRY(check_metric(s, f->metric, f->line));
        if (!setting && f->test)
            return sweep_failed(s, f->line, "PAPER of a test has figures by metric");
        if (!setting && s->n_settings > 1)
            return sweep_failed(s, f->line,
                                "PAPER of a test: there are %zu settings; give each "
                                "its PAPER: {%s: {%s: ...}}",
                                s->n_settings, row->name, f->metric);
        if (setting && f->test) CF_TRY(check_test_name(s, f));
        if (setting && !f->test && s->n_tests > 1)
            return sweep_failed(s, f->line, "PAPER: of which test? {%s: {%s: ...}}",
                                s->tests[0].name, f->metric);
    }
    return CF_OK;
}

static cf_status check_whole(const cf_sweep *s)
{
    const struct {
        const char *name;
        bool there;
    } needed[] = { { "CONFIG", s->config != NULL },
                   { "SEEDS", s->n_seeds > 0 },
                   { "SETTINGS", s->n_settings > 0 },
                   { "OUTPUT", s->output || s->options->output } };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!needed[i].there)
            return CF_FAIL(CF_EINVAL, "sweep: %s is missing (%s)", needed[i].name, s->path);
    return CF_OK;
}

cf_status sweep_check(cf_sweep *s)
{
    CF_TRY(check_whole(s));
    CF_TRY(read_groups(s));
    CF_TRY(check_metrics(s));
    CF_TRY(check_names(s, s->settings, s->n_settings));
    CF_TRY(check_names(s, s->tests, s->n_tests));
    for (size_t i = 0; i < s->n_settings; i++) CF_TRY(check_paper(s, &s->settings[i], true));
    for (size_t i = 0; i < s->n_tests; i++) CF_TRY(check_paper(s, &s->tests[i], false));
    return CF_OK;
}
