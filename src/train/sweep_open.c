/* Opens a sweep: its file read and checked, its runs listed and those of --only selected, and what
 * is there of each of them looked at. And frees all of it. Nothing is written or started. */
#include "train/sweep_parts.h"

#include <string.h>

static const char *const *setting_names(char ***names, const cf_sweep *s)
{
    if (cf_alloc(names, s->n_settings, sizeof **names) != CF_OK) return NULL;
    for (size_t i = 0; i < s->n_settings; i++) (*names)[i] = s->settings[i].name;
    return (const char *const *)*names;
}

static cf_status select_one(cf_sweep *s, const char *name)
{
    char hint[256], **names;
    bool found = false;
    for (size_t i = 0; i < s->n_runs; i++) {
        if (strcmp(s->settings[s->runs[i].setting].name, name) != 0) continue;
        s->runs[i].selected = found = true;
    }
    if (found) return CF_OK;
    const char *const *all = setting_names(&names, s);
    if (!all) return CF_FAIL(CF_ENOMEM, "out of memory");
    cf_status status = CF_FAIL(CF_EINVAL, "--only: %s has no setting %.60s%s", s->path, name,
                               sweep_nearest(hint, name, all, s->n_settings));
    cf_free(names);
    return status;
}

static cf_status select_runs(cf_sweep *s)
{
    char *list, *rest = NULL;
    if (!s->options->only) {
        for (size_t i = 0; i < s->n_runs; i++) s->runs[i].selected = true;
        return CF_OK;
    }
    CF_TRY(cf_strdup(&list, s->options->only));
    cf_status status = CF_OK;
    for (char *name = strtok_r(list, ",", &rest); name && status == CF_OK;
         name = strtok_r(NULL, ",", &rest))
        status = select_one(s, name);
    cf_free(list);
    return status;
}

static cf_status choose_folders(cf_sweep *s)
{
    const char *output = s->options->output;
    if (output) {
        cf_free(s->output);
        s->output = NULL;
        CF_TRY(cf_strdup(&s->output, output));
    }
    return s->runs_folder ? CF_OK : cf_format(&s->runs_folder, "%s/runs", s->output);
}

static cf_status list_runs(cf_sweep *s)
{
    CF_TRY(cf_alloc_zero(&s->runs, s->n_seeds * s->n_settings, sizeof *s->runs));
    for (size_t i = 0; i < s->n_seeds * s->n_settings; i++) {
        sweep_run *r = &s->runs[i];
        *r = (sweep_run){ .setting = i % s->n_settings, .seed = s->seeds[i / s->n_settings] };
        s->n_runs++;
        CF_TRY(cf_alloc_zero(&r->result, sweep_slots(s), sizeof *r->result));
        CF_TRY(cf_format(&r->folder, "%s/%s/seed%zu", s->runs_folder, s->settings[r->setting].name,
                         r->seed));
    }
    return select_runs(s);
}

/* What --only leaves out is in the table if it is there, and need not fit. */
static cf_status look(cf_sweep *s, sweep_run *r)
{
    cf_status status = sweep_look(s, r);
    if (status == CF_OK || r->selected || status == CF_ENOMEM) return status;
    for (size_t i = 0; i < sweep_slots(s); i++) r->result[i].done = false;
    return CF_OK;
}

cf_status cf_sweep_open(cf_sweep **out, const char *path, const cf_sweep_options *o)
{
    cf_sweep *s;
    CF_TRY(cf_alloc_zero(&s, 1, sizeof *s));
    s->options = o;
    cf_status status = CF_OK;
    CF_GO(cf_strdup(&s->path, path));
    CF_GO(sweep_read(s));
    CF_GO(sweep_check(s));
    CF_GO(choose_folders(s));
    CF_GO(list_runs(s));
    for (size_t i = 0; i < s->n_runs; i++) CF_GO(look(s, &s->runs[i]));
    *out = s;
    s = NULL;
done:
    cf_sweep_free(s);
    return status;
}

static void free_rows(sweep_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < rows[i].n_opts; k++) cf_free(rows[i].opts[k].text);
        for (size_t k = 0; k < rows[i].n_paper; k++) {
            cf_free(rows[i].paper[k].metric);
            cf_free(rows[i].paper[k].test);
            cf_free(rows[i].paper[k].text);
        }
        cf_free(rows[i].opts);
        cf_free(rows[i].paper);
        cf_free(rows[i].name);
        cf_free(rows[i].label);
    }
    cf_free(rows);
}

static void free_runs(cf_sweep *s)
{
    for (size_t i = 0; i < s->n_runs; i++) {
        sweep_run *r = &s->runs[i];
        for (size_t k = 0; r->result && k < sweep_slots(s); k++) cf_free(r->result[k].value);
        cf_free(r->result);
        cf_free(r->folder);
    }
    cf_free(s->runs);
}

void cf_sweep_free(cf_sweep *s)
{
    if (!s) return;
    char *const texts[] = { s->path,   s->folder,      s->title, s->config,
                            s->output, s->runs_folder, s->paper };
    free_runs(s);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) cf_free(texts[i]);
    for (size_t i = 0; i < s->n_metrics; i++) cf_free(s->metrics[i].name);
    for (size_t i = 0; i < s->n_groups; i++) {
        cf_free(s->groups[i].name);
        cf_free(s->groups[i].path);
        cf_labels_fini(&s->groups[i].of);
    }
    for (size_t i = 0; i < s->n_videos; i++) {
        cf_free(s->videos[i].file);
        cf_free(s->videos[i].root);
    }
    for (size_t i = 0; i < s->n_draws; i++) {
        cf_free(s->draws[i].file);
        cf_free(s->draws[i].root);
        cf_free(s->draws[i].test);
        shots_close(&s->draws[i].source);
    }
    free_rows(s->settings, s->n_settings);
    free_rows(s->tests, s->n_tests);
    cf_free(s->seeds);
    cf_free(s->metrics);
    cf_free(s->groups);
    cf_free(s->videos);
    cf_free(s->draws);
    cf_free(s);
}
