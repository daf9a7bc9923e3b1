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

/* A line in the making. One number at a time: glibc's printf takes memory for a format with
 * many. */
typedef struct {
    char text[1024];
    size_t n;
} entry;

__attribute__((format(printf, 2, 3))) static void put(entry *e, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int n = vsnprintf(e->text + e->n, sizeof e->text - e->n, format, list);
    va_end(list);
    CF_ASSERT(n > 0 && (size_t)n < sizeof e->text - e->n);
    e->n += (size_t)n;
}

/* JSON has neither NaN nor infinity. */
static void put_number(entry *e, const char *name, double value, int digits)
{
    if (isfinite(value))
        put(e, ",\"%s\":%.*g", name, digits, value);
    else
        put(e, ",\"%s\":null", name);
}

/* A unix time to the millisecond; one beyond the year 9999 is none. */
static void put_time(entry *e, const char *name, double seconds)
{
    if (fabs(seconds) < 253402300800.0)
        put(e, ",\"%s\":%.3f", name, seconds);
    else
        put(e, ",\"%s\":null", name);
}

static void put_count(entry *e, const char *name, int64_t value)
{
    put(e, ",\"%s\":%" PRId64, name, value);
}

static entry start(const char *kind, int epoch)
{
    entry e = { .n = 0 };
    put(&e, "{\"kind\":\"%s\",\"epoch\":%d", kind, epoch);
    return e;
}

static cf_status append(cf_run_log *l, entry *e)
{
    put(e, "}\n");
    const char *line = e->text;
    size_t left = e->n;
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
    entry e = start("step", r->epoch);
    put_count(&e, "step", r->step);
    put_number(&e, "loss", r->loss, 9);
    put_number(&e, "lr", r->lr, 9);
    put_number(&e, "lr_new", r->lr_new, 9);
    put_number(&e, "grad_norm", r->grad_norm, 9);
    put_number(&e, "seconds", r->seconds, 6);
    put_number(&e, "data_seconds", r->data_seconds, 6);
    put_number(&e, "forward_seconds", r->forward_seconds, 6);
    put_number(&e, "backward_seconds", r->backward_seconds, 6);
    put_number(&e, "update_seconds", r->update_seconds, 6);
    put_number(&e, "videos_per_second", r->videos_per_second, 6);
    put_number(&e, "gflops", r->gflops, 6);
    put_count(&e, "memory_bytes", r->memory_bytes);
    put_time(&e, "time", r->time);
    if (r->skipped != 0) put_count(&e, "skipped", r->skipped);
    return append(l, &e);
}

cf_status cf_run_log_eval(cf_run_log *l, const cf_eval_record *r)
{
    entry e = start("eval", r->epoch);
    put_count(&e, "step", r->step);
    put_number(&e, "top1", r->top1, 9);
    put_number(&e, "top5", r->top5, 9);
    put_number(&e, "mean_class", r->mean_class, 9);
    put_count(&e, "videos", r->videos);
    put_count(&e, "views", r->views);
    put_count(&e, "frames", r->frames);
    put(&e, ",\"weights\":\"%s\"", r->weights);
    if (r->unlabelled != 0) put_count(&e, "unlabelled", r->unlabelled);
    if (r->missing != 0) put_count(&e, "missing", r->missing);
    put_number(&e, "seconds", r->seconds, 6);
    put_time(&e, "time", r->time);
    CF_TRY(append(l, &e));
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
