/* The final table of a report: what a run came to, as numbers, as JSON, as rows of the page; and
 * what its log tells of trouble. */
#include "report_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static cf_status median(double *out, const run_record *l, log_field field)
{
    double *v;
    size_t n = 0;
    CF_TRY(cf_alloc(&v, l->n_steps, sizeof *v));
    for (size_t i = 0; i < l->n_steps; i++)
        if (isfinite(l->steps[i].v[field])) v[n++] = l->steps[i].v[field];
    qsort(v, n, sizeof *v, rising);
    *out = n == 0 ? NAN : n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
    cf_free(v);
    return CF_OK;
}

/* NaN if no step has the field. */
static double total(const run_record *l, log_field field)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < l->n_steps; i++)
        if (isfinite(l->steps[i].v[field])) sum += l->steps[i].v[field], n++;
    return n > 0 ? sum : NAN;
}

static double mean_last_loss(const run_record *l)
{
    size_t n = (l->n_steps + 99) / 100, used = 0;
    double sum = 0;
    for (size_t i = l->n_steps - n; i < l->n_steps; i++)
        if (isfinite(l->steps[i].v[LOG_LOSS])) sum += l->steps[i].v[LOG_LOSS], used++;
    return used > 0 ? sum / (double)used : NAN;
}

double report_epoch_steps(const report_run *r)
{
    const run_record *l = &r->log;
    double planned = report_machine_number(r, "data", "steps");
    if (r->config && planned > 0 && r->config->train.epochs > 0)
        return planned / r->config->train.epochs;
    for (size_t i = 1; i < l->n_steps; i++) {
        double change = l->steps[i].v[LOG_EPOCH] - l->steps[i - 1].v[LOG_EPOCH];
        if (change == 1 && l->steps[i].v[LOG_EPOCH] >= 1)
            return l->steps[i].v[LOG_STEP] / l->steps[i].v[LOG_EPOCH];
    }
    /* A test after the only epoch tells that it was whole. */
    bool tested = l->n_tests > 0 && l->tests[0].v[LOG_EPOCH] == 0;
    return tested && l->tests[0].v[LOG_STEP] > 0 ? l->tests[0].v[LOG_STEP] : NAN;
}

static void summarise_tests(report_summary *s, const run_record *l)
{
    for (size_t i = 0; i < l->n_tests; i++) {
        const double *v = l->tests[i].v;
        if (isfinite(v[LOG_TOP1]) && !(v[LOG_TOP1] <= s->best_top1)) {
            s->best_top1 = v[LOG_TOP1];
            s->best_epoch = v[LOG_EPOCH] + 1;
        }
        if (isfinite(v[LOG_SECONDS])) s->seconds += v[LOG_SECONDS];
    }
    if (l->n_tests == 0) return;
    const double *v = l->tests[l->n_tests - 1].v;
    s->top1 = v[LOG_TOP1];
    s->top5 = v[LOG_TOP5];
    s->mean_class = v[LOG_MEAN_CLASS];
    s->views = v[LOG_VIEWS];
}

cf_status report_summarise(report_summary *out, const report_run *r)
{
    const run_record *l = &r->log;
    double *unknown = (double *)out;
    for (size_t i = 0; i < sizeof *out / sizeof *unknown; i++) unknown[i] = NAN;
    out->steps = l->n_steps > 0 ? l->steps[l->n_steps - 1].v[LOG_STEP] + 1 : 0;
    out->steps_planned = report_machine_number(r, "data", "steps");
    out->epochs = out->steps > 0 ? out->steps / report_epoch_steps(r) : 0;
    if (r->config) out->epochs_planned = r->config->train.epochs;
    out->last_loss = mean_last_loss(l);
    out->seconds = total(l, LOG_SECONDS);
    summarise_tests(out, l);
    out->waiting = 100 * total(l, LOG_DATA_SECONDS) / total(l, LOG_SECONDS);
    out->parameters = report_machine_number(r, "model", "parameters");
    out->trained = report_machine_number(r, "model", "trained");
    for (size_t i = 0; i < l->n_steps; i++)
        out->memory_bytes = fmax(out->memory_bytes, l->steps[i].v[LOG_MEMORY_BYTES]);
    CF_TRY(median(&out->videos_per_second, l, LOG_VIDEOS_PER_SECOND));
    return median(&out->gflops, l, LOG_GFLOPS);
}

/* ---- trouble --------------------------------------------------------------------------------- */

static cf_status note_steps(report_run *r)
{
    static const log_field finite[] = { LOG_LOSS, LOG_GRAD_NORM };
    static const char *const names[] = { "loss", "gradient norm" };
    const run_record *l = &r->log;
    double skipped = total(l, LOG_SKIPPED);
    for (size_t f = 0; f < sizeof finite / sizeof *finite; f++) {
        size_t n = 0, first = 0;
        for (size_t i = l->n_steps; i-- > 0;)
            if (!isfinite(l->steps[i].v[finite[f]])) n++, first = i;
        if (n > 0)
            CF_TRY(report_note(
                r, "the %s is not a finite number in %zu of %zu steps, first in step %.0f",
                names[f], n, l->n_steps, l->steps[first].v[LOG_STEP]));
    }
    if (skipped > 0)
        CF_TRY(report_note(r,
                           "%.0f training videos could not be read; others of their classes "
                           "were shown instead",
                           skipped));
    return CF_OK;
}

cf_status report_note_log(report_run *r)
{
    const run_record *l = &r->log;
    CF_TRY(note_steps(r));
    if (l->n_tests > 0) {
        const double *v = l->tests[l->n_tests - 1].v;
        if (v[LOG_MISSING] > 0)
            CF_TRY(report_note(r,
                               "%.0f videos of the last test could not be read and are in no score",
                               v[LOG_MISSING]));
    }
    if (l->bad > 0)
        CF_TRY(report_note(r,
                           "%zu of %zu lines of log.jsonl are no JSON objects with a kind and are "
                           "left out, the first is line %zu",
                           l->bad, l->lines, l->first_bad));
    if (l->n_steps + l->n_tests == 0)
        CF_TRY(report_note(r, "the log is empty: nothing was trained or tested"));
    return CF_OK;
}

/* ---- numbers as people write them ------------------------------------------------------------ */

const char *report_number(char out[REPORT_NUMBER], double v, int digits)
{
    if (!isfinite(v)) return "";
    snprintf(out, REPORT_NUMBER, fabs(v) < 1e15 ? "%.*f" : "%.*e", digits, v);
    return out;
}

const char *report_time(char out[REPORT_NUMBER], double seconds)
{
    if (!isfinite(seconds)) return "";
    if (seconds < 60)
        snprintf(out, REPORT_NUMBER, "%.1f s", seconds);
    else if (seconds < 3600)
        snprintf(out, REPORT_NUMBER, "%d min %02d s", (int)seconds / 60, (int)seconds % 60);
    else
        snprintf(out, REPORT_NUMBER, "%.0f h %02d min", floor(seconds / 3600),
                 (int)(fmod(seconds, 3600) / 60));
    return out;
}

const char *report_amount(char out[REPORT_NUMBER], double v)
{
    static const char *const units[] = { "", " k", " M", " G", " T" };
    size_t u = 0;
    if (!isfinite(v)) return "";
    for (; fabs(v) >= 1000 && u + 1 < sizeof units / sizeof *units; u++) v /= 1000;
    snprintf(out, REPORT_NUMBER, u == 0 ? "%.0f%s" : "%.1f%s", v, units[u]);
    return out;
}

/* ---- JSON, and the page's table -------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t offset;
} fields[] = {
    { "top1", offsetof(report_summary, top1) },
    { "top5", offsetof(report_summary, top5) },
    { "mean_class", offsetof(report_summary, mean_class) },
    { "views", offsetof(report_summary, views) },
    { "best_top1", offsetof(report_summary, best_top1) },
    { "best_epoch", offsetof(report_summary, best_epoch) },
    { "last_loss", offsetof(report_summary, last_loss) },
    { "epochs", offsetof(report_summary, epochs) },
    { "epochs_planned", offsetof(report_summary, epochs_planned) },
    { "steps", offsetof(report_summary, steps) },
    { "steps_planned", offsetof(report_summary, steps_planned) },
    { "seconds", offsetof(report_summary, seconds) },
    { "videos_per_second", offsetof(report_summary, videos_per_second) },
    { "waiting_percent", offsetof(report_summary, waiting) },
    { "parameters", offsetof(report_summary, parameters) },
    { "trained", offsetof(report_summary, trained) },
    { "gflops", offsetof(report_summary, gflops) },
    { "memory_bytes", offsetof(report_summary, memory_bytes) },
};

static bool add_run(cJSON *all, const report_run *r, const report_summary *s)
{
    char *folder = NULL, *name = NULL;
    cJSON *o = cJSON_CreateObject();
    if (!o || !cJSON_AddItemToArray(all, o)) {
        cJSON_Delete(o);
        return false;
    }
    bool made =
        cf_utf8_repair(&folder, r->folder) == CF_OK && cf_utf8_repair(&name, r->name) == CF_OK &&
        cJSON_AddStringToObject(o, "run", name) && cJSON_AddStringToObject(o, "folder", folder);
    for (size_t i = 0; made && i < sizeof fields / sizeof *fields; i++) {
        double v = *(const double *)((const char *)s + fields[i].offset);
        made = isfinite(v) ? cJSON_AddNumberToObject(o, fields[i].name, v) != NULL
                           : cJSON_AddNullToObject(o, fields[i].name) != NULL;
    }
    cJSON *notes = made ? cJSON_AddArrayToObject(o, "notes") : NULL;
    made = notes != NULL;
    for (size_t i = 0; made && i < r->n_notes; i++) {
        char *note = NULL;
        made = cf_utf8_repair(&note, r->notes[i]) == CF_OK;
        cJSON *item = made ? cJSON_CreateString(note) : NULL;
        made = item && cJSON_AddItemToArray(notes, item);
        if (!made) cJSON_Delete(item);
        cf_free(note);
    }
    cf_free(folder);
    cf_free(name);
    return made;
}

cf_status cf_report_json(char **out, const cf_report *r)
{
    cJSON *all = cJSON_CreateArray();
    cf_status status = CF_OK;
    char *text = NULL;
    bool made = all != NULL;
    for (size_t i = 0; made && i < r->n; i++) {
        report_summary s;
        CF_GO(report_summarise(&s, &r->runs[i]));
        made = add_run(all, &r->runs[i], &s);
    }
    if (made) text = cJSON_Print(all);
    status = text ? cf_strdup(out, text) : CF_FAIL(CF_ENOMEM, "report: no memory for the table");
done:
    cJSON_Delete(all);
    if (text) cJSON_free(text);
    return status;
}

static void cell(markup *m, const char *value, const char *more)
{
    markup_put(m, "<td>%s", *value ? value : "<span class=\"none\">&#8211;</span>");
    if (*value && *more) markup_put(m, "<small>%s</small>", more);
    markup_raw(m, "</td>");
}

static void put_row(markup *m, const report_run *r, const report_summary *s, size_t number)
{
    char a[REPORT_NUMBER], b[REPORT_NUMBER], more[3 * REPORT_NUMBER];
    markup_put(m, "<tr><th scope=\"row\"><span class=\"key k%zu\"></span>", number % CHART_COLOURS);
    markup_text(m, r->name);
    markup_raw(m, "</th>");
    snprintf(more, sizeof more, " %s%s", report_number(a, s->views, 0),
             s->views == 1 ? " view" : " views");
    cell(m, report_number(b, s->top1, 2), isfinite(s->views) ? more : "");
    cell(m, report_number(a, s->top5, 2), "");
    cell(m, report_number(a, s->mean_class, 2), "");
    snprintf(more, sizeof more, " epoch %s", report_number(a, s->best_epoch, 0));
    cell(m, report_number(b, s->best_top1, 2), isfinite(s->best_epoch) ? more : "");
    cell(m, report_number(a, s->last_loss, 4), "");
    snprintf(more, sizeof more, " of %s", report_number(a, s->epochs_planned, 0));
    cell(m, report_number(b, floor(100 * s->epochs) / 100, fmod(s->epochs, 1) == 0 ? 0 : 2),
         isfinite(s->epochs_planned) ? more : "");
    snprintf(more, sizeof more, " of %s", report_number(a, s->steps_planned, 0));
    cell(m, report_number(b, s->steps, 0), isfinite(s->steps_planned) ? more : "");
    cell(m, report_time(a, s->seconds), "");
    cell(m, report_number(a, s->videos_per_second, s->videos_per_second < 10 ? 2 : 0), "");
    cell(m, report_number(a, s->waiting, 1), "");
    snprintf(more, sizeof more, " %s trained", report_amount(a, s->trained));
    cell(m, report_amount(b, s->parameters), isfinite(s->trained) ? more : "");
    cell(m, report_number(a, s->gflops, 0), "");
    cell(m, report_number(a, s->memory_bytes / 1e9, 2), "");
    markup_raw(m, "</tr>\n");
}

cf_status report_put_table(markup *m, const cf_report *r)
{
    markup_raw(
        m,
        "<div class=\"wide\"><table class=\"numbers\"><caption>Last test, best test, and what it "
        "took; &#8211; means unknown</caption>\n<thead><tr><th scope=\"col\">run</th>"
        "<th scope=\"col\">top-1 %</th><th scope=\"col\">top-5 %</th>"
        "<th scope=\"col\">mean class %</th><th scope=\"col\">best top-1 %</th>"
        "<th scope=\"col\">last loss</th><th scope=\"col\">epochs</th>"
        "<th scope=\"col\">steps</th><th scope=\"col\">time</th>"
        "<th scope=\"col\">videos/s</th><th scope=\"col\">waiting %</th>"
        "<th scope=\"col\">parameters</th><th scope=\"col\">GFLOP/s</th>"
        "<th scope=\"col\">memory GB</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < r->n; i++) {
        report_summary s;
        CF_TRY(report_summarise(&s, &r->runs[i]));
        put_row(m, &r->runs[i], &s, i);
    }
    markup_raw(m, "</tbody></table></div>\n");
    return CF_OK;
}
