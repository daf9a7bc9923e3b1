/* All steps and tests as CSV, RFC 4180: a text with a comma, quote or newline is quoted. */
#include "report_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static cf_status put(cf_writer *w, const char *s) { return cf_writer_put(w, s, strlen(s)); }

static cf_status put_text(cf_writer *w, const char *s)
{
    if (!s[strcspn(s, ",\"\r\n")]) return put(w, s);
    CF_TRY(put(w, "\""));
    for (; *s; s++) {
        if (*s == '"') CF_TRY(put(w, "\""));
        CF_TRY(cf_writer_put(w, s, 1));
    }
    return put(w, "\"");
}

static cf_status put_row(cf_writer *w, const char *run, const char *kind, const double *v, size_t n)
{
    char line[LOG_FIELDS * 32];
    size_t at = 0;
    CF_TRY(put_text(w, run));
    at += (size_t)snprintf(line, sizeof line, ",%s", kind);
    for (size_t i = 0; i < LOG_FIELDS; i++) {
        line[at++] = ',';
        if (i < n && isfinite(v[i]))
            at += (size_t)snprintf(line + at, sizeof line - at, i == LOG_TIME ? "%.3f" : "%.10g",
                                   v[i]);
    }
    line[at++] = '\n';
    return cf_writer_put(w, line, at);
}

/* Tests stand behind the steps they test. */
static cf_status put_run(cf_writer *w, const report_run *r)
{
    const run_record *l = &r->log;
    size_t t = 0;
    for (size_t i = 0; i < l->n_steps; i++) {
        for (; t < l->n_tests && l->tests[t].v[LOG_STEP] <= l->steps[i].v[LOG_STEP]; t++)
            CF_TRY(put_row(w, r->name, "eval", l->tests[t].v, LOG_FIELDS));
        CF_TRY(put_row(w, r->name, "step", l->steps[i].v, LOG_STEP_FIELDS));
    }
    for (; t < l->n_tests; t++) CF_TRY(put_row(w, r->name, "eval", l->tests[t].v, LOG_FIELDS));
    return CF_OK;
}

static cf_status put_all(cf_writer *w, const cf_report *r)
{
    CF_TRY(put(w, "run,kind"));
    for (size_t i = 0; i < LOG_FIELDS; i++) {
        CF_TRY(put(w, ","));
        CF_TRY(put(w, log_field_names[i]));
    }
    CF_TRY(put(w, "\n"));
    for (size_t i = 0; i < r->n; i++) CF_TRY(put_run(w, &r->runs[i]));
    return CF_OK;
}

cf_status cf_report_write_csv(const cf_report *r, const char *path)
{
    cf_writer *w;
    CF_TRY(cf_writer_new(&w, path));
    cf_status status = put_all(w, r);
    if (status == CF_OK) return cf_writer_commit(w);
    cf_writer_abort(w);
    return status;
}
