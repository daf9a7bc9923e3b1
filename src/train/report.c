/* Reads run folders: the log, the configuration, run.json and the newest test of each. */
#include "report_parts.h"

#include "crossframe/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

cf_status report_note(report_run *r, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    CF_TRY(cf_grow(&r->notes, &r->notes_capacity, r->n_notes + 1, sizeof *r->notes));
    CF_TRY(cf_strdup(&r->notes[r->n_notes], line));
    r->n_notes++;
    return CF_OK;
}

/* A file beside the log that cannot be read costs its part of the page, not the page. */
static cf_status tell(report_run *r, cf_status status)
{
    if (status == CF_OK || status == CF_ENOMEM) return status;
    cf_log(CF_LOG_WARNING, "%s", cf_error());
    return report_note(r, "%s", cf_error());
}

static cf_status read_machine(report_run *r, const char *path)
{
    char *text;
    size_t n;
    CF_TRY(cf_file_read(&text, &n, path));
    cf_status status = cf_json_parse(&r->machine, path, "the file", text, n, 8);
    cf_free(text);
    return status;
}

typedef cf_status read_part(report_run *r, const char *path);
static cf_status read_config(report_run *r, const char *path)
{
    return cf_config_load(&r->config, path, NULL, 0);
}
static cf_status read_test(report_run *r, const char *path)
{
    CF_TRY(test_record_read(&r->test, path));
    r->has_test = true;
    return CF_OK;
}

static cf_status read_beside(report_run *r, const char *name, read_part *read)
{
    char *path;
    CF_TRY(cf_path_join(&path, r->folder, name));
    cf_status status = CF_OK;
    if (cf_file_exists(path)) status = tell(r, read(r, path));
    cf_free(path);
    return status;
}

static cf_status read_log(report_run *r)
{
    char *path;
    cf_status status = CF_OK;
    CF_TRY(cf_path_join(&path, r->folder, "log.jsonl"));
    if (!cf_file_exists(path))
        status =
            CF_FAIL(CF_ENOTFOUND, "%s is no run: it has no log.jsonl (crossframe train writes one)",
                    r->folder);
    else
        status = run_record_read(&r->log, path);
    cf_free(path);
    return status;
}

/* The last part of the folder's real path. */
static cf_status name_run(report_run *r)
{
    char *real = realpath(r->folder, NULL);
    const char *slash = real ? strrchr(real, '/') : NULL;
    cf_status status = cf_strdup(&r->name, slash && slash[1] ? slash + 1 : r->folder);
    free(real);
    return status;
}

static cf_status read_run(report_run *r, const char *folder)
{
    CF_TRY(cf_strdup(&r->folder, folder));
    CF_TRY(name_run(r));
    CF_TRY(read_log(r));
    CF_TRY(read_beside(r, "config.yaml", read_config));
    CF_TRY(read_beside(r, "run.json", read_machine));
    CF_TRY(read_beside(r, "test.h5", read_test));
    return report_note_log(r);
}

/* Runs of one name go by their folders as given. */
static cf_status part_names(cf_report *r)
{
    bool twice;
    for (size_t i = 0; i < r->n; i++) {
        twice = false;
        for (size_t k = 0; k < r->n; k++)
            twice = twice || (k != i && strcmp(r->runs[i].name, r->runs[k].name) == 0);
        if (!twice || strcmp(r->runs[i].name, r->runs[i].folder) == 0) continue;
        for (size_t k = i + 1; k < r->n; k++) {
            if (strcmp(r->runs[i].name, r->runs[k].name) != 0) continue;
            char *name;
            CF_TRY(cf_strdup(&name, r->runs[k].folder));
            cf_free(r->runs[k].name);
            r->runs[k].name = name;
        }
        char *name;
        CF_TRY(cf_strdup(&name, r->runs[i].folder));
        cf_free(r->runs[i].name);
        r->runs[i].name = name;
    }
    return CF_OK;
}

cf_status cf_report_read(cf_report **out, const char *const *folders, size_t n)
{
    cf_report *r = NULL;
    cf_status status = CF_OK;
    if (n < 1) return CF_FAIL(CF_EINVAL, "report: of which runs?");
    CF_GO(cf_alloc_zero(&r, 1, sizeof *r));
    CF_GO(cf_alloc_zero(&r->runs, n, sizeof *r->runs));
    r->n = n;
    for (size_t i = 0; i < n; i++) CF_GO(read_run(&r->runs[i], folders[i]));
    CF_GO(part_names(r));
    *out = r;
    r = NULL;
done:
    cf_report_free(r);
    return status;
}

void cf_report_free(cf_report *r)
{
    if (!r) return;
    for (size_t i = 0; r->runs && i < r->n; i++) {
        report_run *run = &r->runs[i];
        cf_free(run->folder);
        cf_free(run->name);
        run_record_fini(&run->log);
        cf_config_free(run->config);
        cJSON_Delete(run->machine);
        test_record_fini(&run->test);
        for (size_t k = 0; k < run->n_notes; k++) cf_free(run->notes[k]);
        cf_free(run->notes);
    }
    cf_free(r->runs);
    cf_free(r);
}

static const cJSON *machine_item(const report_run *r, const char *group, const char *name)
{
    const cJSON *o = r->machine;
    if (*group) o = cJSON_GetObjectItemCaseSensitive(o, group);
    return cJSON_GetObjectItemCaseSensitive(o, name);
}

double report_machine_number(const report_run *r, const char *group, const char *name)
{
    const cJSON *item = machine_item(r, group, name);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

const char *report_machine_text(const report_run *r, const char *group, const char *name)
{
    return cJSON_GetStringValue(machine_item(r, group, name));
}
