/* The page of a report, from top to bottom. */
#include "report_parts.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

/* One fact of a run's line; what is NULL or empty is left out. */
static void put_fact(markup *m, size_t *n, const char *before, const char *text)
{
    if (!text || !*text) return;
    if ((*n)++ > 0) markup_raw(m, " &#183; ");
    markup_raw(m, before);
    markup_text(m, text);
}

/* When the run started: as run.json says, else the log's first time. */
static const char *start_of(char out[64], const report_run *r)
{
    const char *started = report_machine_text(r, "", "started");
    double first = r->log.n_steps > 0 ? r->log.steps[0].v[LOG_TIME] : NAN;
    struct tm utc;
    time_t t = first > 0 && first < 1e11 ? (time_t)first : 0;
    if (started) return started;
    if (t == 0 || !gmtime_r(&t, &utc)) return NULL;
    return strftime(out, 64, "%Y-%m-%dT%H:%M:%SZ", &utc) > 0 ? out : NULL;
}

static cf_status put_run_line(markup *m, const report_run *r, size_t number)
{
    report_summary s;
    char text[64];
    size_t n = 0;
    CF_TRY(report_summarise(&s, r));
    markup_put(m, "<li><span class=\"key k%zu\"></span><b>", number % CHART_COLOURS);
    markup_text(m, r->name);
    markup_raw(m, "</b> <small>");
    markup_text(m, r->folder);
    markup_raw(m, "</small><br/><span class=\"facts\">");
    put_fact(m, &n, "", start_of(text, r));
    if (s.steps_planned > 0)
        snprintf(text, sizeof text,
                 s.steps >= s.steps_planned ? "all %.0f steps done" : "%.0f of %.0f steps done",
                 s.steps, s.steps_planned);
    else
        snprintf(text, sizeof text, "%.0f steps", s.steps);
    put_fact(m, &n, "", text);
    if (r->log.cut) put_fact(m, &n, "", "the log's last line is not whole");
    put_fact(m, &n, "crossframe ", report_machine_text(r, "", "crossframe"));
    put_fact(m, &n, "", report_machine_text(r, "machine", "cpu"));
    put_fact(m, &n, "", report_machine_text(r, "machine", "os"));
    put_fact(m, &n, "model ", report_machine_text(r, "model", "arch"));
    markup_raw(m, "</span></li>\n");
    return CF_OK;
}

static cf_status put_head(markup *m, const cf_report *r)
{
    markup_raw(
        m,
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
        "<meta charset=\"utf-8\"/>\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\"/>\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
        "<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>");
    markup_text(m, r->runs[0].name);
    if (r->n > 1) markup_put(m, " and %zu more", r->n - 1);
    markup_raw(m, " - crossframe report</title>\n<style>\n");
    markup_raw(m, report_style);
    markup_raw(m, "</style>\n</head>\n<body>\n<header>\n<h1>");
    if (r->n == 1)
        markup_text(m, r->runs[0].name);
    else
        markup_put(m, "%zu runs", r->n);
    markup_put(m,
               "</h1>\n<p class=\"facts\">crossframe report, version %s</p>\n<ul class=\"runs\">\n",
               CF_VERSION);
    for (size_t i = 0; i < r->n; i++) CF_TRY(put_run_line(m, &r->runs[i], i));
    markup_raw(m, "</ul>\n</header>\n<main>\n");
    return CF_OK;
}

static void put_notes(markup *m, const cf_report *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) n += r->runs[i].n_notes;
    if (n == 0) return;
    markup_raw(m, "<section id=\"warnings\"><h2>Warnings</h2>\n<ul class=\"notes\">\n");
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->runs[i].n_notes; k++) {
            markup_raw(m, "<li>");
            if (r->n > 1) {
                markup_raw(m, "<b>");
                markup_text(m, r->runs[i].name);
                markup_raw(m, "</b>: ");
            }
            markup_text(m, r->runs[i].notes[k]);
            markup_raw(m, "</li>\n");
        }
    markup_raw(m, "</ul></section>\n");
}

static void put_chart(markup *m, const chart *c, const char *suffix)
{
    markup_raw(m, "<figure><figcaption>");
    markup_text(m, c->title);
    markup_raw(m, " <small>");
    if (*c->unit) {
        markup_text(m, c->unit);
        markup_raw(m, "; ");
    }
    markup_text(m, c->note);
    markup_raw(m, c->log ? "; logarithmic</small></figcaption>\n" : "</small></figcaption>\n");
    chart_draw(m, c, suffix);
    markup_raw(m, "</figure>\n");
}

static cf_status put_charts(markup *m, const cf_report *r, bool by_epoch)
{
    chart_set set;
    CF_TRY(report_charts(&set, r, by_epoch));
    markup_put(m, "<div class=\"charts by-%s\">\n", by_epoch ? "epoch" : "step");
    for (size_t i = 0; i < set.n; i++) put_chart(m, &set.charts[i], by_epoch ? "-epoch" : "-step");
    if (set.n == 0) markup_raw(m, "<p>There is nothing to draw yet.</p>\n");
    markup_raw(m, "</div>\n");
    chart_set_fini(&set);
    return CF_OK;
}

/* Whether a second set over epochs would tell more. */
static bool has_epochs(const cf_report *r)
{
    for (size_t i = 0; i < r->n; i++) {
        const run_record *l = &r->runs[i].log;
        if (l->n_steps > 0 &&
            l->steps[l->n_steps - 1].v[LOG_STEP] > report_epoch_steps(&r->runs[i]))
            return true;
    }
    return false;
}

static cf_status put_curves(markup *m, const cf_report *r)
{
    bool epochs = has_epochs(r);
    markup_raw(m, "<section id=\"curves\"><h2>Curves</h2>\n");
    if (epochs)
        markup_raw(m, "<input type=\"radio\" name=\"x\" id=\"by-step\" checked=\"checked\"/>"
                      "<label for=\"by-step\">by step</label>\n"
                      "<input type=\"radio\" name=\"x\" id=\"by-epoch\"/><label "
                      "for=\"by-epoch\">by epoch</label>\n");
    if (r->n > 1) {
        markup_raw(m, "<ul class=\"legend\">\n");
        for (size_t i = 0; i < r->n; i++) {
            markup_put(m, "<li><span class=\"key k%zu\"></span>", i % CHART_COLOURS);
            markup_text(m, r->runs[i].name);
            markup_raw(m, "</li>\n");
        }
        markup_raw(m, "</ul>\n");
    }
    CF_TRY(put_charts(m, r, false));
    if (epochs) CF_TRY(put_charts(m, r, true));
    markup_raw(m, "</section>\n");
    return CF_OK;
}

/* The test of one run; several are folded, the first is open. */
static cf_status put_test(markup *m, const cf_report *r, size_t i, bool open)
{
    enum { MISTAKES = 24, MISTAKES_LEAST = 4 };
    const report_run *run = &r->runs[i];
    size_t most = MISTAKES / r->n > MISTAKES_LEAST ? MISTAKES / r->n : MISTAKES_LEAST;
    if (r->n > 1) {
        markup_put(m, "<details%s><summary><span class=\"key k%zu\"></span>",
                   open ? " open=\"open\"" : "", i % CHART_COLOURS);
        markup_text(m, run->name);
        markup_raw(m, "</summary>\n");
    }
    if (run->has_test) {
        CF_TRY(report_put_classes(m, run));
        markup_raw(m, "<h3>Most confident mistakes</h3>\n");
        CF_TRY(report_put_mistakes(m, run, most));
    } else {
        markup_raw(m,
                   "<p>There is no test.h5 of single videos: nothing was tested yet, or the run is "
                   "older than this file, or it could not be read.</p>\n");
    }
    if (r->n > 1) markup_raw(m, "</details>\n");
    return CF_OK;
}

static cf_status put_page(markup *m, const cf_report *r)
{
    CF_TRY(put_head(m, r));
    markup_raw(m, "<section id=\"result\"><h2>Result</h2>\n");
    CF_TRY(report_put_table(m, r));
    markup_raw(m, "</section>\n");
    put_notes(m, r);
    CF_TRY(put_curves(m, r));
    markup_raw(m, "<section id=\"test\"><h2>Newest test</h2>\n");
    for (size_t i = 0; i < r->n; i++) CF_TRY(put_test(m, r, i, i == 0));
    markup_raw(m, "</section>\n<section id=\"configuration\"><h2>Configuration</h2>\n");
    CF_TRY(report_put_config(m, r));
    markup_raw(m, "</section>\n<section id=\"machine\"><h2>Machine and model</h2>\n");
    report_put_machine(m, r);
    markup_raw(m, "</section>\n</main>\n<script>\n//<![CDATA[\n");
    markup_raw(m, report_script);
    markup_raw(m, "//]]>\n</script>\n</body>\n</html>\n");
    return CF_OK;
}

cf_status cf_report_page(char **out, size_t *n, const cf_report *r)
{
    markup m = { 0 };
    cf_status status = put_page(&m, r);
    if (status == CF_OK) return markup_done(out, n, &m);
    markup_fini(&m);
    return status;
}

cf_status cf_report_write_page(const cf_report *r, const char *path)
{
    char *text;
    size_t n;
    CF_TRY(cf_report_page(&text, &n, r));
    cf_status status = cf_file_write(path, text, n);
    cf_free(text);
    return status;
}
