/* The configurations of the runs, how they differ, and the machines. */
#include "report_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static cf_status put_value(markup *m, const cf_config *c, size_t key)
{
    char *value;
    if (!c) {
        markup_raw(m, "<span class=\"none\">&#8211;</span>");
        return CF_OK;
    }
    CF_TRY(cf_config_get(&value, c, key));
    markup_text(m, value);
    cf_free(value);
    return CF_OK;
}

static cf_status differ(bool *out, const cf_report *r, size_t key)
{
    const cf_config *first = NULL;
    *out = false;
    for (size_t i = 0; i < r->n; i++) {
        char *a, *b;
        if (!r->runs[i].config) continue;
        if (!first) {
            first = r->runs[i].config;
            continue;
        }
        CF_TRY(cf_config_get(&a, first, key));
        cf_status status = cf_config_get(&b, r->runs[i].config, key);
        if (status == CF_OK) {
            *out = *out || strcmp(a, b) != 0;
            cf_free(b);
        }
        cf_free(a);
        CF_TRY(status);
    }
    return CF_OK;
}

static void put_heads(markup *m, const cf_report *r, const char *caption)
{
    markup_put(m,
               "<div class=\"wide\"><table class=\"config\"><caption>%s</caption><thead><tr>"
               "<th scope=\"col\">key</th>",
               caption);
    for (size_t i = 0; i < r->n; i++) {
        markup_raw(m, "<th scope=\"col\">");
        if (r->n > 1) markup_put(m, "<span class=\"key k%zu\"></span>", i % CHART_COLOURS);
        markup_text(m, r->runs[i].name);
        markup_raw(m, "</th>");
    }
    markup_raw(m, "</tr></thead><tbody>\n");
}

/* The rows of the keys that differ, or of all. */
static cf_status put_rows(markup *m, const cf_report *r, bool all, size_t *n)
{
    *n = 0;
    for (size_t key = 0; key < cf_config_n_keys(); key++) {
        const cf_config_key *k = cf_config_key_at(key);
        bool different;
        CF_TRY(differ(&different, r, key));
        if (!all && !different) continue;
        ++*n;
        markup_put(m, "<tr%s><th scope=\"row\" title=\"",
                   all && different ? " class=\"differs\"" : "");
        markup_text(m, k->help);
        markup_raw(m, "\">");
        markup_text(m, k->name);
        markup_raw(m, "</th>");
        for (size_t i = 0; i < r->n; i++) {
            markup_raw(m, "<td>");
            CF_TRY(put_value(m, r->runs[i].config, key));
            markup_raw(m, "</td>");
        }
        markup_raw(m, "</tr>\n");
    }
    return CF_OK;
}

cf_status report_put_config(markup *m, const cf_report *r)
{
    size_t n = 0, known = 0;
    for (size_t i = 0; i < r->n; i++) known += r->runs[i].config != NULL;
    if (known == 0) {
        markup_raw(m, "<p>There is no config.yaml that could be read.</p>\n");
        return CF_OK;
    }
    if (known > 1) {
        put_heads(m, r, "What differs between the runs");
        CF_TRY(put_rows(m, r, false, &n));
        markup_raw(m, "</tbody></table></div>\n");
        if (n == 0) markup_raw(m, "<p>The configurations are the same.</p>\n");
    }
    markup_raw(m, "<details><summary>All keys</summary>\n");
    put_heads(m, r, "Configuration");
    CF_TRY(put_rows(m, r, true, &n));
    markup_raw(m, "</tbody></table></div></details>\n");
    return CF_OK;
}

/* ---- machine --------------------------------------------------------------------------------- */

static void put_item(markup *m, const cJSON *item)
{
    char number[REPORT_NUMBER];
    const cJSON *part;
    if (cJSON_IsString(item)) {
        markup_text(m, item->valuestring);
    } else if (cJSON_IsNumber(item)) {
        snprintf(number, sizeof number, "%.12g", item->valuedouble);
        markup_text(m, number);
    } else if (cJSON_IsBool(item)) {
        markup_raw(m, cJSON_IsTrue(item) ? "yes" : "no");
    } else if (cJSON_IsArray(item)) {
        cJSON_ArrayForEach(part, item)
        {
            put_item(m, part);
            if (part->next) markup_raw(m, " ");
        }
    }
}

static void put_fields(markup *m, const cJSON *o, const char *group)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, o)
    {
        if (cJSON_IsObject(item)) {
            if (!*group) put_fields(m, item, item->string);
            continue;
        }
        markup_raw(m, "<tr><th scope=\"row\">");
        markup_text(m, group);
        if (*group) markup_raw(m, " ");
        markup_text(m, item->string);
        markup_raw(m, "</th><td>");
        put_item(m, item);
        markup_raw(m, "</td></tr>\n");
    }
}

void report_put_machine(markup *m, const cf_report *r)
{
    for (size_t i = 0; i < r->n; i++) {
        const report_run *run = &r->runs[i];
        markup_raw(m, "<h3>");
        if (r->n > 1) markup_put(m, "<span class=\"key k%zu\"></span>", i % CHART_COLOURS);
        markup_text(m, run->name);
        markup_raw(m, "</h3>\n");
        if (!run->machine) {
            markup_raw(m, "<p>There is no run.json: the run is older than this file, or it could "
                          "not be read.</p>\n");
            continue;
        }
        markup_raw(m, "<div class=\"wide\"><table class=\"config\"><tbody>\n");
        put_fields(m, run->machine, "");
        markup_raw(m, "</tbody></table></div>\n");
    }
}
