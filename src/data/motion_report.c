/* The motion report: summary.json and videos.png from scores.
 *
 * summary.json has one object a run, in percent, and the seconds if they are known:
 *   {"xclip": {"top1": .., "kind": .., "motion": .., "axis": .., "pair_difference": ..}, "seconds":
 *   ..} */
#include "motion_parts.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

static double rounded(double v, double unit) { return round(v / unit) * unit; }

static cf_status write_summary(const char *path, const cf_motion_run *runs, size_t n_runs,
                               double seconds)
{
    cJSON *all = cJSON_CreateObject();
    char *text = NULL;
    cf_status status = CF_OK;
    bool made = all != NULL;
    for (size_t i = 0; made && i < n_runs; i++) {
        const cf_motion_result *r = &runs[i].result;
        cJSON *o = cJSON_AddObjectToObject(all, runs[i].name);
        made = o != NULL && cJSON_AddNumberToObject(o, "top1", rounded(r->top1, 0.01)) != NULL &&
               cJSON_AddNumberToObject(o, "kind", rounded(r->kind, 0.01)) != NULL &&
               cJSON_AddNumberToObject(o, "motion", rounded(r->motion, 0.01)) != NULL &&
               cJSON_AddNumberToObject(o, "axis", rounded(r->axis, 0.01)) != NULL &&
               cJSON_AddNumberToObject(o, "pair_difference", r->pair_difference) != NULL;
    }
    if (made && seconds >= 0)
        made = cJSON_AddNumberToObject(all, "seconds", rounded(seconds, 0.1)) != NULL;
    text = made ? cJSON_Print(all) : NULL;
    if (text == NULL)
        status = CF_FAIL(CF_ENOMEM, "%s: no memory to write it", path);
    else
        status = cf_file_write(path, text, strlen(text));
    cJSON_free(text);
    cJSON_Delete(all);
    return status;
}

static cf_status read_scores(motion_scores *scores, cf_motion_run *runs, size_t n_runs)
{
    for (size_t i = 0; i < n_runs; i++) {
        CF_TRY(motion_scores_read(&scores[i], runs[i].scores_path));
        CF_TRY_CTX(cf_motion_result_compute(&runs[i].result, scores[i].scores, scores[i].label,
                                            (const char *const *)scores[i].name, scores[i].n),
                   "%s", runs[i].scores_path);
    }
    return CF_OK;
}

cf_status cf_motion_report(cf_motion_run *runs, size_t n_runs, const cf_motion_report_options *o)
{
    char *summary = NULL, *sheet = NULL;
    motion_scores *scores = NULL;
    cf_status status = CF_OK;
    for (size_t i = 0; i < n_runs; i++) {
        for (size_t k = 0; k < i; k++)
            if (strcmp(runs[i].name, runs[k].name) == 0)
                return CF_FAIL(CF_EINVAL, "motion report: two runs are called \"%s\"",
                               runs[i].name);
    }
    CF_GO(cf_alloc_zero(&scores, n_runs + 1, sizeof *scores));
    CF_GO(read_scores(scores, runs, n_runs));
    CF_GO(cf_make_folders(o->out));
    CF_GO(cf_path_join(&summary, o->out, "summary.json"));
    CF_GO(cf_path_join(&sheet, o->out, "videos.png"));
    if (o->test_pack != NULL)
        CF_GO(motion_sheet_write(sheet, o->test_pack, runs, scores, n_runs,
                                 o->sheet_rows > 1 ? o->sheet_rows / 2 * 2 : 2));
    CF_GO(write_summary(summary, runs, n_runs, o->seconds)); /* last: there when all is */
done:
    for (size_t i = 0; scores != NULL && i < n_runs; i++) motion_scores_fini(&scores[i]);
    cf_free(scores);
    cf_free(summary);
    cf_free(sheet);
    return status;
}
