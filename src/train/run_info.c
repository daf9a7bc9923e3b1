/* OUTPUT/run.json: what ran where, and what it costs (docs/runs.md). */
#include "train/run.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

/* Remembers that something could not be added, so that each number need not be asked. */
typedef struct {
    cJSON *object;
    bool failed;
} group;

static group add_group(cJSON *to, const char *name)
{
    cJSON *object = cJSON_AddObjectToObject(to, name);
    return (group){ object, !object };
}

static void add_number(group *g, const char *name, double value)
{
    if (!cJSON_AddNumberToObject(g->object, name, value)) g->failed = true;
}

static void add_text(group *g, const char *name, const char *value)
{
    if (!cJSON_AddStringToObject(g->object, name, value)) g->failed = true;
}

static bool add_command(cJSON *to, const char *const *words)
{
    cJSON *list = cJSON_AddArrayToObject(to, "command");
    for (size_t i = 0; list && words && words[i]; i++) {
        char *word; /* bytes that are no UTF-8 would make a file that is no JSON */
        cJSON *item = NULL;
        if (cf_utf8_repair(&word, words[i]) == CF_OK) {
            item = cJSON_CreateString(word);
            cf_free(word);
        }
        if (!item || !cJSON_AddItemToArray(list, item)) return false;
    }
    return list != NULL;
}

static bool add_machine(cJSON *to)
{
    struct utsname system;
    char os[256] = "unknown";
    group g = add_group(to, "machine");
    if (uname(&system) >= 0)
        snprintf(os, sizeof os, "%s %s %s", system.sysname, system.release, system.machine);
    add_text(&g, "cpu", cf_cpu_name());
    add_number(&g, "threads", cf_threads());
    add_number(&g, "memory_bytes", (double)cf_physical_memory());
    add_text(&g, "blas", cf_blas_config());
    add_text(&g, "os", os);
    return !g.failed;
}

static bool add_cost(cJSON *to, const cf_run_plan *p)
{
    group model = add_group(to, "model"), data = add_group(to, "data");
    add_text(&model, "arch", p->config->model.arch);
    add_number(&model, "parameters", (double)p->parameters);
    add_number(&model, "trained", (double)p->trained);
    add_number(&model, "gflop_forward", p->gflop_forward);
    add_number(&model, "gflop_train", p->gflop_train);
    add_number(&data, "train_videos", (double)p->train_videos);
    add_number(&data, "test_videos", (double)p->test_videos);
    add_number(&data, "classes", (double)p->classes);
    add_number(&data, "steps", (double)p->steps);
    return !model.failed && !data.failed;
}

static bool add_all(cJSON *to, const cf_run *r, const cf_run_plan *p)
{
    char started[32];
    time_t now = time(NULL);
    struct tm utc;
    group g = { to, false };
    gmtime_r(&now, &utc);
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &utc);
    add_text(&g, "crossframe", CF_VERSION);
    if (!add_command(to, r->options.command)) return false;
    add_text(&g, "started", started);
    return !g.failed && add_machine(to) && add_cost(to, p);
}

cf_status cf_run_info_write(const cf_run *r, const cf_run_plan *p)
{
    cf_status status = CF_OK;
    char *path = NULL;
    cJSON *o = cJSON_CreateObject();
    char *text = o && add_all(o, r, p) ? cJSON_Print(o) : NULL;
    if (!text) CF_GO(CF_FAIL(CF_ENOMEM, "no memory for run.json"));
    CF_GO(cf_path_join(&path, r->config->output, "run.json"));
    CF_GO(cf_file_write(path, text, strlen(text)));
done:
    cJSON_Delete(o);
    cJSON_free(text);
    cf_free(path);
    return status;
}
