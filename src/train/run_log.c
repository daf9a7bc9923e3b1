/* The run log: one JSON object a line, appended by one write each.
 *
 * On opening, the lines an earlier run left are looked through from the first, and the file is cut
 * at the first line that the checkpoint does not know: from there on the resumed run writes the
 * same lines again. A last line without its newline, or that is no JSON, was cut off by a crash
 * and goes too; such a line before others means that the file is something else, and then nothing
 * is changed. */
#include "crossframe/train.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct cf_run_log {
    char *path;
    int fd;
    size_t evals;
};

/* ---- what is kept ---------------------------------------------------------------------------- */

typedef struct {
    int64_t keep_steps, steps;
    size_t keep_evals, evals;
} keeper;

/* False if the line is not one of ours; else *keep tells whether the checkpoint knows it. */
static bool judge_line(bool *keep, keeper *k, const char *line, size_t n)
{
    cJSON *object = cJSON_ParseWithLength(line, n);
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(object, "kind");
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(object, "step");
    bool ours = cJSON_IsString(kind);
    *keep = ours;
    if (ours && strcmp(kind->valuestring, "step") == 0) {
        ours = cJSON_IsNumber(step);
        *keep = ours && step->valuedouble < (double)k->keep_steps;
        if (*keep) k->steps = (int64_t)step->valuedouble + 1;
    } else if (ours && strcmp(kind->valuestring, "eval") == 0) {
        *keep = k->evals < k->keep_evals;
        if (*keep) k->evals++;
    }
    cJSON_Delete(object);
    return ours;
}

/* *out = how many leading bytes of the log stay. */
static cf_status find_end(size_t *out, keeper *k, const char *path, const char *text, size_t n)
{
    size_t at = 0, line = 1;
    for (; at < n; line++) {
        const char *end = memchr(text + at, '\n', n - at);
        if (!end) break;
        size_t length = (size_t)(end - (text + at));
        bool keep, last = at + length + 1 == n;
        if (!judge_line(&keep, k, text + at, length)) {
            if (last && line > 1) break;
            return CF_FAIL(CF_EFORMAT,
                           "%s is not a run log: line %zu is no JSON object with a kind", path,
                           line);
        }
        if (!keep) break;
        at += length + 1;
    }
    if (line == 1 && n > 0 && text[0] != '{')
        return CF_FAIL(CF_EFORMAT, "%s is not a run log: line 1 is no JSON object", path);
    *out = at;
    return CF_OK;
}

static cf_status cut_old(cf_run_log *l, keeper *k)
{
    char *text;
    size_t n, end;
    CF_TRY(cf_file_read(&text, &n, l->path));
    cf_status status = find_end(&end, k, l->path, text, n);
    cf_free(text);
    CF_TRY(status);
    if (end < n && ftruncate(l->fd, (off_t)end) != 0)
        return CF_FAIL(CF_EIO, "cannot cut %s: %s", l->path, strerror(errno));
    if (k->steps < k->keep_steps)
        cf_log(CF_LOG_WARNING, "%s ends at step %" PRId64 ", the checkpoint at %" PRId64, l->path,
               k->steps, k->keep_steps);
    l->evals = k->evals;
    return CF_OK;
}

cf_status cf_run_log_open(cf_run_log **out, const char *path, int64_t keep_steps, size_t keep_evals)
{
    cf_run_log *l;
    CF_TRY(cf_alloc_zero(&l, 1, sizeof *l));
    l->fd = -1;
    cf_status status = CF_OK;
    CF_GO(cf_strdup(&l->path, path));
    l->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (l->fd < 0) CF_GO(CF_FAIL(CF_EIO, "cannot open %s: %s", path, strerror(errno)));
    keeper k = { .keep_steps = keep_steps, .keep_evals = keep_evals };
    CF_GO(cut_old(l, &k));
    *out = l;
    l = NULL;
done:
    cf_run_log_close(l);
    return status;
}

/* ---- writing --------------------------------------------------------------------------------- */

enum { LINE = 512, NUMBER = 32 };

/* ,"NAME":COUNT where there is something to count. */
static const char *count(char out[2 * NUMBER], const char *name, int64_t value)
{
    if (value == 0)
        *out = 0;
    else
        snprintf(out, 2 * NUMBER, ",\"%s\":%" PRId64, name, value);
    return out;
}

/* JSON has neither NaN nor infinity. */
static const char *number(char out[NUMBER], double value, int digits)
{
    if (isfinite(value))
        snprintf(out, NUMBER, "%.*g", digits, value);
    else
        strcpy(out, "null");
    return out;
}

static cf_status append(cf_run_log *l, const char *line, int n)
{
    CF_ASSERT(n > 0 && n < LINE);
    size_t left = (size_t)n;
    while (left > 0) {
        ssize_t put = write(l->fd, line, left);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return CF_FAIL(CF_EIO, "cannot write %s: %s", l->path, strerror(errno));
        line += put;
        left -= (size_t)put;
    }
    return CF_OK;
}

cf_status cf_run_log_step(cf_run_log *l, const cf_step_record *r)
{
    char line[LINE], loss[NUMBER], lr[NUMBER], norm[NUMBER], s[NUMBER], data[NUMBER], rate[NUMBER];
    char skipped[2 * NUMBER];
    int n = snprintf(line, sizeof line,
                     "{\"kind\":\"step\",\"epoch\":%d,\"step\":%" PRId64
                     ",\"loss\":%s,\"lr\":%s,\"grad_norm\":%s,\"seconds\":%s,\"data_seconds\":%s,"
                     "\"videos_per_second\":%s%s}\n",
                     r->epoch, r->step, number(loss, r->loss, 9), number(lr, r->lr, 9),
                     number(norm, r->grad_norm, 9), number(s, r->seconds, 6),
                     number(data, r->data_seconds, 6), number(rate, r->videos_per_second, 6),
                     count(skipped, "skipped", r->skipped));
    return append(l, line, n);
}

cf_status cf_run_log_eval(cf_run_log *l, const cf_eval_record *r)
{
    char line[LINE], top1[NUMBER], top5[NUMBER], mean[NUMBER], s[NUMBER], time[NUMBER];
    char unlabelled[2 * NUMBER], missing[2 * NUMBER];
    int n = snprintf(line, sizeof line,
                     "{\"kind\":\"eval\",\"epoch\":%d,\"step\":%" PRId64
                     ",\"top1\":%s,\"top5\":%s,\"mean_class\":%s,\"videos\":%" PRId64
                     ",\"views\":%d,\"frames\":%d,\"weights\":\"%s\"%s%s,\"seconds\":%s,"
                     "\"time\":%s}\n",
                     r->epoch, r->step, number(top1, r->top1, 9), number(top5, r->top5, 9),
                     number(mean, r->mean_class, 9), r->videos, r->views, r->frames, r->weights,
                     count(unlabelled, "unlabelled", r->unlabelled),
                     count(missing, "missing", r->missing), number(s, r->seconds, 6),
                     number(time, r->time, 13));
    CF_TRY(append(l, line, n));
    l->evals++;
    return CF_OK;
}

size_t cf_run_log_evals(const cf_run_log *l) { return l->evals; }

cf_status cf_run_log_sync(cf_run_log *l)
{
    if (fsync(l->fd) == 0 || errno == EINVAL || errno == EROFS) return CF_OK;
    return CF_FAIL(CF_EIO, "cannot sync %s: %s", l->path, strerror(errno));
}

void cf_run_log_close(cf_run_log *l)
{
    if (!l) return;
    if (l->fd >= 0) close(l->fd);
    cf_free(l->path);
    cf_free(l);
}
