/* The tables of a sweep: a row for each setting and test, as Markdown and as CSV, and a line for
 * each run. Only runs.csv holds times, so that the tables of the same runs are the same bytes. */
#include "train/sweep_parts.h"

#include "train/markup.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *sweep_metric_name(const sweep_metric *m)
{
    static const char *const names[][2] = { { "top1", "top-1" },
                                            { "top5", "top-5" },
                                            { "mean_class", "mean class" } };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(m->name, names[i][0]) == 0) return names[i][1];
    return m->name;
}

static const sweep_figure *find_figure(const sweep_row *row, const char *test, const char *metric)
{
    for (size_t i = 0; i < row->n_paper; i++) {
        const sweep_figure *f = &row->paper[i];
        if (strcmp(f->metric, metric) == 0 && (!f->test || !test || strcmp(f->test, test) == 0))
            return f;
    }
    return NULL;
}

const char *sweep_paper(const cf_sweep *s, size_t setting, size_t slot, size_t metric)
{
    const char *name = s->metrics[metric].name;
    const sweep_row *test = s->n_tests > 0 ? &s->tests[slot] : NULL;
    const sweep_figure *f = find_figure(&s->settings[setting], test ? test->name : NULL, name);
    if (!f && test) f = find_figure(test, NULL, name);
    return f ? f->text : "";
}

cf_spread sweep_spread(const cf_sweep *s, size_t setting, size_t slot, size_t metric)
{
    enum { MOST = 1000 };
    double value[MOST];
    size_t n = 0;
    for (size_t i = 0; i < s->n_runs && n < MOST; i++) {
        const sweep_run *r = &s->runs[i];
        if (r->setting == setting && r->result[slot].done)
            value[n++] = r->result[slot].value[metric];
    }
    return cf_spread_of(value, n);
}

static bool has_paper(const cf_sweep *s, size_t metric)
{
    for (size_t i = 0; i < s->n_settings; i++)
        for (size_t t = 0; t < sweep_slots(s); t++)
            if (*sweep_paper(s, i, t, metric)) return true;
    return false;
}

/* ---- Markdown -------------------------------------------------------------------------------- */

/* Anybody's text in a cell. */
static void put_cell(markup *m, const char *text)
{
    markup_raw(m, " ");
    for (const char *bar; (bar = strchr(text, '|')); text = bar + 1) {
        markup_put(m, "%.*s", (int)(bar - text < 1000 ? bar - text : 1000), text);
        markup_raw(m, "\\|");
    }
    markup_raw(m, text);
    markup_raw(m, " |");
}

static void put_head(markup *m, const cf_sweep *s)
{
    markup_raw(m, s->n_tests > 0 ? "| setting | test |" : "| setting |");
    for (size_t k = 0; k < s->n_metrics; k++) put_cell(m, sweep_metric_name(&s->metrics[k]));
    markup_raw(m, " n |");
    for (size_t k = 0; k < s->n_metrics; k++) {
        if (!has_paper(s, k)) continue;
        markup_raw(m, " paper:");
        put_cell(m, sweep_metric_name(&s->metrics[k]));
    }
    markup_raw(m, s->n_tests > 0 ? "\n|--|--|" : "\n|--|");
    for (size_t k = 0; k < s->n_metrics; k++) markup_raw(m, "--|");
    markup_raw(m, "--:|");
    for (size_t k = 0; k < s->n_metrics; k++)
        if (has_paper(s, k)) markup_raw(m, "--:|");
    markup_raw(m, "\n");
}

static void put_row(markup *m, const cf_sweep *s, size_t setting, size_t slot)
{
    char text[48];
    markup_raw(m, "|");
    put_cell(m, sweep_label(&s->settings[setting]));
    if (s->n_tests > 0) put_cell(m, sweep_label(&s->tests[slot]));
    for (size_t k = 0; k < s->n_metrics; k++)
        put_cell(m, protocol_spread_text(text, sweep_spread(s, setting, slot, k)));
    markup_put(m, " %zu |", sweep_spread(s, setting, slot, 0).n);
    for (size_t k = 0; k < s->n_metrics; k++)
        if (has_paper(s, k)) put_cell(m, sweep_paper(s, setting, slot, k));
    markup_raw(m, "\n");
}

/* "Percent right of 240 test videos." where all tests have as many. */
static void put_notes(markup *m, const cf_sweep *s)
{
    int64_t videos = 0;
    bool paper = false, same = true;
    for (size_t i = 0; i < s->n_runs; i++)
        for (size_t t = 0; t < sweep_slots(s); t++) {
            const sweep_result *r = &s->runs[i].result[t];
            if (!r->done) continue;
            same = same && (videos == 0 || videos == r->videos);
            videos = r->videos;
        }
    markup_raw(m, "\nPercent right");
    if (videos > 0 && same) markup_put(m, " of %" PRId64 " test videos", videos);
    markup_raw(m, "; ± is the sample standard deviation over n seeds.");
    for (size_t k = 0; k < s->n_metrics; k++) paper = paper || has_paper(s, k);
    if (paper && s->paper) {
        markup_raw(m, " Paper: ");
        markup_raw(m, s->paper);
        markup_raw(m, ".");
    }
    markup_raw(m, "\n");
}

cf_status cf_sweep_markdown(char **out, const cf_sweep *s)
{
    markup m = { 0 };
    size_t n;
    if (s->title) {
        markup_raw(&m, "**");
        markup_raw(&m, s->title);
        markup_raw(&m, "**\n\n");
    }
    put_head(&m, s);
    for (size_t i = 0; i < s->n_settings; i++)
        for (size_t t = 0; t < sweep_slots(s); t++) put_row(&m, s, i, t);
    put_notes(&m, s);
    return markup_done(out, &n, &m);
}

/* ---- CSV ------------------------------------------------------------------------------------- */

static void put_field(markup *m, const char *text)
{
    char *field;
    if (m->status != CF_OK) return;
    m->status = cf_alloc(&field, 2 * strlen(text) + 3, 1);
    if (m->status != CF_OK) return;
    field[cf_csv_field(field, text)] = 0;
    markup_raw(m, field);
    cf_free(field);
}

static void put_percent(markup *m, double value)
{
    if (isfinite(value)) markup_put(m, "%.4f", value);
}

static cf_status make_csv(char **out, const cf_sweep *s)
{
    markup m = { 0 };
    size_t n;
    markup_raw(&m, "setting,test,metric,mean,std,n,paper\n");
    for (size_t i = 0; i < s->n_settings; i++)
        for (size_t t = 0; t < sweep_slots(s); t++)
            for (size_t k = 0; k < s->n_metrics; k++) {
                cf_spread x = sweep_spread(s, i, t, k);
                put_field(&m, s->settings[i].name);
                markup_raw(&m, ",");
                if (s->n_tests > 0) put_field(&m, s->tests[t].name);
                markup_raw(&m, ",");
                put_field(&m, s->metrics[k].name);
                markup_raw(&m, ",");
                put_percent(&m, x.mean);
                markup_raw(&m, ",");
                put_percent(&m, x.std);
                markup_put(&m, ",%zu,", x.n);
                put_field(&m, sweep_paper(s, i, t, k));
                markup_raw(&m, "\n");
            }
    return markup_done(out, &n, &m);
}

static void put_run(markup *m, const cf_sweep *s, const sweep_run *r, size_t slot)
{
    const sweep_result *x = &r->result[slot];
    put_field(m, s->settings[r->setting].name);
    markup_raw(m, ",");
    if (s->n_tests > 0) put_field(m, s->tests[slot].name);
    markup_put(m, ",%zu,", r->seed);
    for (size_t k = 0; k < s->n_metrics; k++) {
        put_percent(m, x->value[k]);
        markup_raw(m, ",");
    }
    markup_put(m, "%" PRId64 ",%.1f,%.1f\n", x->videos, r->train_seconds, x->seconds);
}

static cf_status make_runs(char **out, const cf_sweep *s)
{
    markup m = { 0 };
    size_t n;
    markup_raw(&m, "setting,test,seed,");
    for (size_t k = 0; k < s->n_metrics; k++) {
        put_field(&m, s->metrics[k].name);
        markup_raw(&m, ",");
    }
    markup_raw(&m, "videos,train_seconds,test_seconds\n");
    for (size_t i = 0; i < s->n_runs; i++)
        for (size_t t = 0; t < sweep_slots(s); t++)
            if (s->runs[i].result[t].done) put_run(&m, s, &s->runs[i], t);
    return markup_done(out, &n, &m);
}

/* ---- files ----------------------------------------------------------------------------------- */

static cf_status write_file(const cf_sweep *s, const char *name,
                            cf_status (*make)(char **, const cf_sweep *))
{
    char *text = NULL, *path = NULL;
    cf_status status = CF_OK;
    CF_GO(make(&text, s));
    CF_GO(cf_path_join(&path, s->output, name));
    CF_GO(cf_file_write(path, text, strlen(text)));
done:
    cf_free(text);
    cf_free(path);
    return status;
}

cf_status sweep_write(const cf_sweep *s)
{
    CF_TRY(cf_make_folders(s->output));
    CF_TRY(write_file(s, "table.md", cf_sweep_markdown));
    CF_TRY(write_file(s, "table.csv", make_csv));
    CF_TRY(write_file(s, "runs.csv", make_runs));
    return sweep_plot(s);
}
