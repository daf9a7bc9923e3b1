/* What few-shot and zero-shot share: the folder and whose it is, results, spreads, tables. */
#include "train/protocol.h"

#include "crossframe/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* X-CLIP-B/16 in arXiv:2208.02816, the tables of zero-shot and few-shot results. The means of
 * HMDB51 and UCF101 and of K600's top-1 stand in the model cards of the released weights too. */
const protocol_paper *protocol_paper_of(const cf_config *c)
{
    static const protocol_paper papers[] = {
        { "hmdb", { 53.0, 57.3, 62.8, 64.0 }, 44.6, 5.2, 0, 0 },
        { "ucf", { 76.4, 83.4, 88.3, 91.4 }, 72.0, 2.3, 0, 0 },
        { "kinetics600", { 0 }, 65.2, 0.4, 86.1, 0.8 },
        { "k600", { 0 }, 65.2, 0.4, 86.1, 0.8 },
    };
    for (size_t i = 0; i < sizeof papers / sizeof *papers; i++) {
        const char *name = papers[i].dataset;
        if (strncasecmp(c->data.dataset, name, strlen(name)) == 0) return &papers[i];
    }
    return NULL;
}

cf_spread cf_spread_of(const double *x, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    double mean = n > 0 ? sum / (double)n : NAN;
    for (size_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    return (cf_spread){ n, mean, n > 1 ? sqrt(squares / (double)(n - 1)) : NAN };
}

const char *protocol_spread_text(char out[48], cf_spread s)
{
    if (s.n == 0)
        strcpy(out, "-");
    else if (s.n == 1)
        snprintf(out, 48, "%.2f", s.mean);
    else
        snprintf(out, 48, "%.2f ± %.2f", s.mean, s.std);
    return out;
}

/* ---- texts and paths ------------------------------------------------------------------------- */

cf_status protocol_append(char **text, const char *format, ...)
{
    char line[1024], *longer;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof line)
        return CF_FAIL(CF_EINVAL, "a line of a table is too long");
    CF_TRY(cf_format(&longer, "%s%s", *text ? *text : "", line));
    cf_free(*text);
    *text = longer;
    return CF_OK;
}

cf_status protocol_path(char **out, const cf_config *c, const char *name, const char *file)
{
    return cf_format(out, "%s/%s%s%s", c->output, name, *name ? "/" : "", file);
}

cf_status protocol_write(const cf_config *c, const char *file, const char *text)
{
    char *path;
    CF_TRY(protocol_path(&path, c, "", file));
    cf_status status = cf_file_write(path, text, strlen(text));
    cf_free(path);
    return status;
}

void cf_protocol_fini(cf_protocol *p)
{
    for (size_t i = 0; i < p->n; i++) cf_free((char *)p->run[i].name);
    cf_free(p->run);
    cf_free(p->markdown);
    *p = (cf_protocol){ 0 };
}

/* ---- whose folder it is ---------------------------------------------------------------------- */

static bool changes_nothing(const char *key)
{
    static const char *const keys[] = { "OUTPUT",     "PRINT_FREQ",   "SAVE_FREQ",
                                        "SAVE_KEEP",  "SAVE_MINUTES", "DATA.WORKERS",
                                        "SEED",       "TEST.FREQ",    "TRAIN.AUTO_RESUME",
                                        "TENSORBOARD" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return false;
}

static cf_status compare_key(const cf_config *now, const cf_config *before, size_t i,
                             const char *path, const char *remedy)
{
    const char *key = cf_config_key_at(i)->name;
    char *a = NULL, *b = NULL;
    cf_status status = CF_OK;
    if (changes_nothing(key)) return CF_OK;
    CF_GO(cf_config_get(&a, now, i));
    CF_GO(cf_config_get(&b, before, i));
    if (strcmp(a, b) != 0)
        CF_GO(CF_FAIL(CF_EINVAL, "%s is of another configuration: it says %s %s, not %s; %s", path,
                      key, b, a, remedy));
done:
    cf_free(a);
    cf_free(b);
    return status;
}

cf_status protocol_same_config(const cf_config *c, const char *path, const char *remedy,
                               const char *besides)
{
    cf_config *before;
    CF_TRY(cf_config_load(&before, path, NULL, 0));
    cf_status status = CF_OK;
    for (size_t i = 0; i < cf_config_n_keys() && status == CF_OK; i++)
        if (!besides || strcmp(cf_config_key_at(i)->name, besides) != 0)
            status = compare_key(c, before, i, path, remedy);
    cf_config_free(before);
    return status;
}

cf_status protocol_claim(const cf_config *c, bool dry_run)
{
    char *path = NULL, *text = NULL;
    cf_status status = CF_OK;
    if (!*c->output)
        return CF_FAIL(CF_EINVAL, "configuration: OUTPUT is not set: where do the runs go? "
                                  "(--output DIR)");
    CF_GO(protocol_path(&path, c, "", "config.yaml"));
    if (cf_file_exists(path)) {
        CF_GO(protocol_same_config(c, path, "give another --output", NULL));
    } else if (!dry_run) {
        CF_GO(cf_make_folders(c->output));
        CF_GO(cf_config_given_text(&text, c));
        CF_GO(cf_file_write(path, text, strlen(text)));
    }
done:
    cf_free(path);
    cf_free(text);
    return status;
}

/* ---- results --------------------------------------------------------------------------------- */

static cf_status get_number(double *out, const cJSON *o, const char *key, const char *path)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    if (!cJSON_IsNumber(item))
        return CF_FAIL(CF_EFORMAT, "%s has no number %s; remove it to make the run again", path,
                       key);
    *out = item->valuedouble;
    return CF_OK;
}

static cf_status take_result(cf_protocol_run *r, const cJSON *o, const char *path, const char *of)
{
    const cJSON *what = cJSON_GetObjectItemCaseSensitive(o, "of");
    double top1, top5, videos, missing, views, classes, seen;
    if (!cJSON_IsString(what))
        return CF_FAIL(CF_EFORMAT, "%s is no result; remove it to make the run again", path);
    if (strcmp(what->valuestring, of) != 0)
        return CF_FAIL(CF_EINVAL, "%s is of \"%.200s\", not \"%.200s\"; give another --output",
                       path, what->valuestring, of);
    CF_TRY(get_number(&top1, o, "top1", path));
    CF_TRY(get_number(&top5, o, "top5", path));
    CF_TRY(get_number(&videos, o, "videos", path));
    CF_TRY(get_number(&missing, o, "missing", path));
    CF_TRY(get_number(&views, o, "views", path));
    CF_TRY(get_number(&classes, o, "classes", path));
    CF_TRY(get_number(&seen, o, "classes_seen", path));
    r->top1 = top1;
    r->top5 = top5;
    r->videos = (int64_t)videos;
    r->missing = (int64_t)missing;
    r->views = (int)views;
    r->classes = (int64_t)classes;
    r->seen = (int64_t)seen;
    r->done = true;
    return CF_OK;
}

cf_status protocol_read_result(cf_protocol_run *r, const cf_config *c, const char *of)
{
    char *path = NULL, *text = NULL;
    cJSON *o = NULL;
    size_t n;
    cf_status status = CF_OK;
    CF_GO(protocol_path(&path, c, r->name, "result.json"));
    if (!cf_file_exists(path)) goto done;
    CF_GO(cf_file_read(&text, &n, path));
    CF_GO(cf_json_parse(&o, path, "the result", text, n, 4));
    CF_GO(take_result(r, o, path, of));
done:
    cJSON_Delete(o);
    cf_free(text);
    cf_free(path);
    return status;
}

static bool fill_result(cJSON *o, const cf_protocol_run *r, const char *of)
{
    return cJSON_AddStringToObject(o, "of", of) && cJSON_AddNumberToObject(o, "top1", r->top1) &&
           cJSON_AddNumberToObject(o, "top5", r->top5) &&
           cJSON_AddNumberToObject(o, "videos", (double)r->videos) &&
           cJSON_AddNumberToObject(o, "missing", (double)r->missing) &&
           cJSON_AddNumberToObject(o, "views", r->views) &&
           cJSON_AddNumberToObject(o, "classes", (double)r->classes) &&
           cJSON_AddNumberToObject(o, "classes_seen", (double)r->seen);
}

cf_status protocol_write_result(cf_protocol_run *r, const cf_config *c, const char *of)
{
    cf_status status = CF_OK;
    cJSON *o = cJSON_CreateObject();
    char *path = NULL, *text = NULL;
    if (!isfinite(r->top1))
        CF_GO(CF_FAIL(CF_EINVAL, "%s: no video of the test set has a label and can be read",
                      r->name));
    text = fill_result(o, r, of) ? cJSON_Print(o) : NULL;
    if (!text) CF_GO(CF_FAIL(CF_ENOMEM, "out of memory for the result of %s", r->name));
    CF_GO(protocol_path(&path, c, r->name, "result.json"));
    CF_GO(cf_file_write(path, text, strlen(text)));
    r->done = true;
done:
    cJSON_free(text);
    cJSON_Delete(o);
    cf_free(path);
    return status;
}

cf_status protocol_write_runs(const cf_protocol *p, const cf_config *c, bool shots)
{
    char *text = NULL;
    cf_status status = CF_OK;
    CF_GO(protocol_append(&text, "%s,top1,top5,videos,missing,views%s\n",
                          shots ? "run,shots,seed" : "set", shots ? "" : ",classes,classes_seen"));
    for (size_t i = 0; i < p->n; i++) {
        const cf_protocol_run *r = &p->run[i];
        if (!r->done) continue;
        CF_GO(protocol_append(&text, "%s", r->name));
        if (shots) CF_GO(protocol_append(&text, ",%zu,%zu", r->shots, r->seed));
        CF_GO(protocol_append(&text, ",%.4f,%.4f,%" PRId64 ",%" PRId64 ",%d", r->top1, r->top5,
                              r->videos, r->missing, r->views));
        if (!shots) CF_GO(protocol_append(&text, ",%" PRId64 ",%" PRId64, r->classes, r->seen));
        CF_GO(protocol_append(&text, "\n"));
    }
    CF_GO(protocol_write(c, "runs.csv", text));
done:
    cf_free(text);
    return status;
}
