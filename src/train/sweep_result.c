/* What is there of a run, and the numbers of its tests.
 *
 * result.json and tests/NAME.json are the marks that a training and a test ended well; the numbers
 * are counted from the HDF5 files beside them, so that a metric can be asked for later. */
#include "train/sweep_parts.h"

#include "crossframe/json.h"
#include "train/report_parts.h"
#include "train/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- numbers --------------------------------------------------------------------------------- */

/* Whether video i counts: it has a label and could be read. */
static bool counts(const test_record *t, size_t i)
{
    return t->label[i] >= 0 && t->prediction[i * t->k] >= 0;
}

static double percent_in(const test_record *t, size_t most)
{
    int64_t videos = 0, hits = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (!counts(t, i)) continue;
        videos++;
        for (size_t j = 0; j < t->k && j < most; j++)
            hits += t->prediction[i * t->k + j] == t->label[i];
    }
    return cf_percent(hits, videos);
}

static double percent_of_classes(const test_record *t)
{
    double sum = 0;
    size_t classes = 0;
    for (size_t c = 0; c < t->K; c++) {
        if (t->videos[c] == 0) continue;
        sum += cf_percent(t->right[c], t->videos[c]);
        classes++;
    }
    return classes > 0 ? sum / (double)classes : NAN;
}

static cf_status percent_of_groups(double *out, const test_record *t, const cf_sweep *s,
                                   const sweep_group *g, const char *path)
{
    int64_t videos = 0, hits = 0;
    if (g->of.n != t->K)
        return sweep_failed(s, g->line, "GROUPS %s: %s has %zu classes, %s has %zu", g->name,
                            g->path, g->of.n, path, t->K);
    for (size_t i = 0; i < t->n; i++) {
        if (!counts(t, i)) continue;
        const char *label = g->of.name[t->label[i]], *said = g->of.name[t->prediction[i * t->k]];
        videos++;
        hits += strcmp(label, said) == 0;
    }
    *out = cf_percent(hits, videos);
    return CF_OK;
}

cf_status sweep_read_metrics(sweep_result *out, const cf_sweep *s, const char *path)
{
    test_record t = { 0 };
    double *value = NULL;
    int64_t videos = 0;
    cf_status status = CF_OK;
    CF_GO(test_record_read(&t, path));
    CF_GO(cf_alloc(&value, s->n_metrics, sizeof *value));
    for (size_t i = 0; i < t.n; i++) videos += counts(&t, i);
    if (videos == 0) CF_GO(CF_FAIL(CF_EINVAL, "%s: no video has a label and could be read", path));
    for (size_t i = 0; i < s->n_metrics; i++) {
        const sweep_metric *m = &s->metrics[i];
        if (m->group)
            CF_GO(percent_of_groups(&value[i], &t, s, m->group, path));
        else if (strcmp(m->name, "mean_class") == 0)
            value[i] = percent_of_classes(&t);
        else
            value[i] = percent_in(&t, strcmp(m->name, "top1") == 0 ? 1 : t.k);
    }
    cf_free(out->value);
    out->value = value;
    value = NULL;
    out->videos = videos;
    out->done = true;
done:
    cf_free(value);
    test_record_fini(&t);
    return status;
}

/* ---- marks ----------------------------------------------------------------------------------- */

/* A number of a JSON file; 0 where it has none. */
static cf_status read_number(double *out, const char *path, const char *key)
{
    char *text;
    size_t n;
    cJSON *o;
    CF_TRY(cf_file_read(&text, &n, path));
    cf_status status = cf_json_parse(&o, path, "the result", text, n, 4);
    cf_free(text);
    CF_TRY(status);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    *out = cJSON_IsNumber(item) ? item->valuedouble : 0;
    cJSON_Delete(o);
    return CF_OK;
}

/* Seconds of all steps, and of the last test, by the run's log. */
static cf_status read_log(double *train_s, double *test_s, const sweep_run *r)
{
    char *path = NULL, *text = NULL;
    size_t n;
    cf_status status = CF_OK;
    *train_s = *test_s = 0;
    CF_GO(sweep_path(&path, r, "log.jsonl"));
    CF_GO(cf_file_read(&text, &n, path));
    for (char *line = text, *next; line && *line; line = next) {
        if ((next = strchr(line, '\n'))) *next++ = 0;
        cJSON *o = cJSON_Parse(line);
        const cJSON *s = cJSON_GetObjectItemCaseSensitive(o, "seconds");
        double seconds = cJSON_IsNumber(s) ? s->valuedouble : 0;
        if (strstr(line, "\"kind\":\"eval\""))
            *test_s = seconds;
        else
            *train_s += seconds;
        cJSON_Delete(o);
    }
done:
    cf_free(path);
    cf_free(text);
    return status;
}

/* Numbers of the test that ended the training. */
static cf_status read_own_test(cf_sweep *s, sweep_run *r, double seconds)
{
    char *path;
    CF_TRY(sweep_path(&path, r, "test.h5"));
    cf_status status = sweep_read_metrics(&r->result[0], s, path);
    cf_free(path);
    r->result[0].seconds = seconds;
    return status;
}

cf_status sweep_trained(cf_sweep *s, sweep_run *r)
{
    char *path = NULL, text[128];
    double train_s, test_s;
    cf_status status = CF_OK;
    CF_GO(read_log(&train_s, &test_s, r));
    if (s->n_tests == 0) CF_GO(read_own_test(s, r, test_s));
    CF_GO(sweep_path(&path, r, "result.json"));
    int n = snprintf(text, sizeof text, "{\"train_seconds\": %.3f, \"test_seconds\": %.3f}\n",
                     train_s, test_s);
    CF_GO(cf_file_write(path, text, (size_t)n));
    r->train_seconds = train_s;
    r->trained = true;
done:
    cf_free(path);
    return status;
}

static cf_status read_slot(cf_sweep *s, sweep_run *r, size_t i)
{
    char *mark = NULL, *path = NULL;
    cf_status status = CF_OK;
    CF_GO(sweep_test_path(&mark, s, r, i, ".json"));
    CF_GO(sweep_test_path(&path, s, r, i, ".h5"));
    CF_GO(read_number(&r->result[i].seconds, mark, "seconds"));
    CF_GO(sweep_read_metrics(&r->result[i], s, path));
done:
    cf_free(mark);
    cf_free(path);
    return status;
}

cf_status sweep_tested(cf_sweep *s, sweep_run *r)
{
    char *printed = NULL, *mark = NULL;
    cf_status status = CF_OK;
    CF_GO(sweep_test_path(&printed, s, r, r->slot, ".json.new"));
    CF_GO(sweep_test_path(&mark, s, r, r->slot, ".json"));
    CF_GO(cf_file_replace(mark, printed));
    CF_GO(read_slot(s, r, r->slot));
done:
    cf_free(printed);
    cf_free(mark);
    return status;
}

/* ---- what is there --------------------------------------------------------------------------- */

static cf_status look_tests(cf_sweep *s, sweep_run *r, const cf_config *run)
{
    for (size_t i = 0; i < s->n_tests; i++) {
        char *given = NULL, *mark = NULL, *weights = NULL, *videos = NULL;
        cf_config *c = NULL;
        cf_status status = CF_OK;
        CF_GO(sweep_test_path(&mark, s, r, i, ".json"));
        if (!cf_file_exists(mark)) goto done;
        CF_GO(sweep_test_path(&given, s, r, i, ".yaml"));
        CF_GO(sweep_weights(&weights, r, run));
        CF_GO(sweep_test_config(&c, s, r, run, i, weights));
        CF_GO(sweep_test_videos(&videos, s, c));
        CF_GO(sweep_claim(c, given, videos, "MODEL.RESUME", false));
        CF_GO(read_slot(s, r, i));
    done:
        cf_free(given);
        cf_free(mark);
        cf_free(weights);
        cf_free(videos);
        cf_config_free(c);
        CF_TRY(status);
    }
    return CF_OK;
}

static cf_status look_trained(cf_sweep *s, sweep_run *r, const cf_config *run, const char *mark)
{
    double seconds;
    CF_TRY(read_number(&r->train_seconds, mark, "train_seconds"));
    r->trained = true;
    if (s->n_tests > 0) return look_tests(s, r, run);
    CF_TRY(read_number(&seconds, mark, "test_seconds"));
    return read_own_test(s, r, seconds);
}

/* A folder of somebody else's run would be gone on with. */
static cf_status check_foreign(const sweep_run *r, const char *given)
{
    static const char *const files[] = { "config.yaml", "last.safetensors" };
    for (size_t i = 0; i < 2; i++) {
        char *path;
        CF_TRY(sweep_path(&path, r, files[i]));
        bool there = cf_file_exists(path);
        cf_free(path);
        if (there && !cf_file_exists(given))
            return CF_FAIL(CF_EINVAL, "%s holds a run that no sweep began; give other RUNS",
                           r->folder);
    }
    return CF_OK;
}

cf_status sweep_look(cf_sweep *s, sweep_run *r)
{
    sweep_job job = { 0 };
    char *given = NULL, *mark = NULL;
    cf_status status = CF_OK;
    CF_GO(sweep_job_make(&job, s, r));
    CF_GO(sweep_path(&given, r, "given.yaml"));
    CF_GO(sweep_path(&mark, r, "result.json"));
    CF_GO(check_foreign(r, given));
    if (job.whole && !job.drawn) goto done; /* the plan tells what is missing */
    CF_GO(sweep_claim(job.config, given, job.videos, job.drawn ? "DATA.TRAIN_FILE" : NULL, false));
    if (cf_file_exists(given) && cf_file_exists(mark)) CF_GO(look_trained(s, r, job.config, mark));
    bool all = r->trained;
    for (size_t i = 0; i < sweep_slots(s); i++) all = all && r->result[i].done;
    if (all) r->state = SWEEP_DONE;
done:
    cf_free(given);
    cf_free(mark);
    sweep_job_fini(&job);
    return status;
}
