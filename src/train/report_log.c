/* Reads log.jsonl (docs/runs.md) of any length.
 *
 * Lines are flat JSON objects of a known make and there may be a million of them, so they are
 * scanned in place: numbers of known names are taken, everything else is stepped over. A field is
 * looked for first behind the one before it, where the writer puts it. */
#include "report_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const log_field_names[LOG_FIELDS] = {
    [LOG_EPOCH] = "epoch",
    [LOG_STEP] = "step",
    [LOG_LOSS] = "loss",
    [LOG_LR] = "lr",
    [LOG_LR_NEW] = "lr_new",
    [LOG_GRAD_NORM] = "grad_norm",
    [LOG_SECONDS] = "seconds",
    [LOG_DATA_SECONDS] = "data_seconds",
    [LOG_FORWARD_SECONDS] = "forward_seconds",
    [LOG_BACKWARD_SECONDS] = "backward_seconds",
    [LOG_UPDATE_SECONDS] = "update_seconds",
    [LOG_VIDEOS_PER_SECOND] = "videos_per_second",
    [LOG_GFLOPS] = "gflops",
    [LOG_MEMORY_BYTES] = "memory_bytes",
    [LOG_TIME] = "time",
    [LOG_SKIPPED] = "skipped",
    [LOG_TOP1] = "top1",
    [LOG_TOP5] = "top5",
    [LOG_MEAN_CLASS] = "mean_class",
    [LOG_VIDEOS] = "videos",
    [LOG_VIEWS] = "views",
    [LOG_FRAMES] = "frames",
    [LOG_MISSING] = "missing",
};

enum { PIECE = 1 << 20, DEEPEST = 64 };

typedef enum { LINE_BAD, LINE_OTHER, LINE_STEP, LINE_TEST } line_kind;

typedef struct {
    const char *p, *end;
    size_t field; /* where the next name is looked for first */
    line_kind kind;
    log_test values;
} scan;

static void blanks(scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\r')) s->p++;
}

static bool take(scan *s, char c)
{
    blanks(s);
    if (s->p == s->end || *s->p != c) return false;
    s->p++;
    return true;
}

/* The bytes between the quotes, escapes as they are. */
static bool text(const char **out, size_t *n, scan *s)
{
    if (!take(s, '"')) return false;
    *out = s->p;
    for (; s->p < s->end && *s->p != '"'; s->p++)
        if (*s->p == '\\' && s->p + 1 < s->end) s->p++;
    if (s->p >= s->end) return false;
    *n = (size_t)(s->p++ - *out);
    return true;
}

/* A value that is not wanted; brackets are balanced, not told apart. */
static bool step_over(scan *s)
{
    const char *t;
    size_t n, depth = 0;
    do {
        blanks(s);
        if (s->p == s->end) return false;
        char c = *s->p;
        if (c == '"') {
            if (!text(&t, &n, s)) return false;
        } else if (c == '{' || c == '[') {
            s->p++;
            if (++depth > DEEPEST) return false;
        } else if (c == '}' || c == ']') {
            if (depth == 0) return false;
            s->p++;
            depth--;
        } else if (depth > 0 && (c == ',' || c == ':')) {
            s->p++;
        } else {
            const char *from = s->p;
            while (s->p < s->end && !strchr(",:]}[{\" \t\r", *s->p)) s->p++;
            if (s->p == from) return false;
        }
    } while (depth > 0);
    return true;
}

/* A number, or null as NaN. The line ends in a newline or a zero byte, where strtod stops. */
static bool number(double *out, scan *s)
{
    blanks(s);
    if (s->end - s->p >= 4 && memcmp(s->p, "null", 4) == 0) {
        *out = NAN;
        s->p += 4;
        return true;
    }
    char *stop;
    if (s->p == s->end || !(*s->p == '-' || (*s->p >= '0' && *s->p <= '9'))) return false;
    *out = strtod(s->p, &stop);
    if (stop == s->p || stop > s->end) return false;
    s->p = stop;
    return true;
}

static size_t find_field(const scan *s, const char *name, size_t n)
{
    for (size_t i = 0; i < LOG_FIELDS; i++) {
        size_t at = (s->field + i) % LOG_FIELDS;
        if (strncmp(log_field_names[at], name, n) == 0 && log_field_names[at][n] == 0) return at;
    }
    return LOG_FIELDS;
}

static bool is(const char *s, size_t n, const char *word)
{
    return n == strlen(word) && memcmp(s, word, n) == 0;
}

static bool member(scan *s)
{
    const char *name, *word;
    size_t n, length;
    if (!text(&name, &n, s) || !take(s, ':')) return false;
    bool kind = is(name, n, "kind");
    if (kind || is(name, n, "weights")) {
        if (!text(&word, &length, s)) return false;
        if (kind)
            s->kind = is(word, length, "step")   ? LINE_STEP
                      : is(word, length, "eval") ? LINE_TEST
                                                 : LINE_OTHER;
        else if (length < sizeof s->values.weights)
            memcpy(s->values.weights, word, length);
        return true;
    }
    size_t field = find_field(s, name, n);
    if (field == LOG_FIELDS) return step_over(s);
    s->field = (field + 1) % LOG_FIELDS;
    return number(&s->values.v[field], s);
}

static line_kind read_line(log_test *out, const char *line, size_t n)
{
    scan s = { .p = line, .end = line + n, .kind = LINE_BAD };
    for (size_t i = 0; i < LOG_FIELDS; i++) s.values.v[i] = NAN;
    if (!take(&s, '{')) return LINE_BAD;
    do {
        if (!member(&s)) return LINE_BAD;
    } while (take(&s, ','));
    if (!take(&s, '}')) return LINE_BAD;
    blanks(&s);
    if (s.p != s.end) return LINE_BAD;
    if (s.kind == LINE_STEP && !(s.values.v[LOG_STEP] >= 0)) return LINE_BAD;
    *out = s.values;
    return s.kind;
}

static cf_status keep_step(run_record *r, const log_test *line)
{
    double step = line->v[LOG_STEP];
    while (r->n_steps > 0 && r->steps[r->n_steps - 1].v[LOG_STEP] >= step) r->n_steps--;
    while (r->n_tests > 0 && r->tests[r->n_tests - 1].v[LOG_STEP] > step) r->n_tests--;
    CF_TRY(cf_grow(&r->steps, &r->steps_capacity, r->n_steps + 1, sizeof *r->steps));
    memcpy(r->steps[r->n_steps++].v, line->v, sizeof r->steps->v);
    return CF_OK;
}

static cf_status keep_test(run_record *r, const log_test *line)
{
    CF_TRY(cf_grow(&r->tests, &r->tests_capacity, r->n_tests + 1, sizeof *r->tests));
    log_test *t = &r->tests[r->n_tests++];
    *t = *line;
    if (!(t->v[LOG_STEP] >= 0)) /* an older run's: it stands behind the steps it tests */
        t->v[LOG_STEP] = r->n_steps > 0 ? r->steps[r->n_steps - 1].v[LOG_STEP] + 1 : 0;
    return CF_OK;
}

static cf_status keep_line(run_record *r, const char *line, size_t n, bool whole)
{
    log_test values;
    r->lines++;
    switch (read_line(&values, line, n)) {
    case LINE_STEP: return keep_step(r, &values);
    case LINE_TEST: return keep_test(r, &values);
    case LINE_OTHER: return CF_OK;
    case LINE_BAD: break;
    }
    r->cut = !whole;
    if (whole && r->bad++ == 0) r->first_bad = r->lines;
    return CF_OK;
}

/* Hands the lines of a piece over; *kept = bytes of the last one, not ended yet. */
static cf_status keep_lines(run_record *r, char *buffer, size_t *kept)
{
    char *at = buffer, *end = buffer + *kept, *stop;
    while ((stop = memchr(at, '\n', (size_t)(end - at)))) {
        CF_TRY(keep_line(r, at, (size_t)(stop - at), true));
        at = stop + 1;
    }
    *kept = (size_t)(end - at);
    memmove(buffer, at, *kept);
    return CF_OK;
}

static cf_status read_pieces(run_record *r, int fd, const char *path)
{
    cf_status status = CF_OK;
    char *buffer = NULL;
    size_t capacity = 0, kept = 0;
    for (;;) {
        CF_GO(cf_grow(&buffer, &capacity, kept + PIECE + 1, 1));
        ssize_t got = read(fd, buffer + kept, PIECE);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            status = CF_FAIL(CF_EIO, "%s: cannot be read: %s", path, strerror(errno));
            goto done;
        }
        if (got == 0) break;
        kept += (size_t)got;
        buffer[kept] = 0;
        CF_GO(keep_lines(r, buffer, &kept));
    }
    buffer[kept] = 0;
    if (kept > 0) CF_GO(keep_line(r, buffer, kept, false));
done:
    cf_free(buffer);
    return status;
}

cf_status run_record_read(run_record *out, const char *path)
{
    run_record r = { 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return CF_FAIL(errno == ENOENT ? CF_ENOTFOUND : CF_EIO, "%s: cannot be opened: %s", path,
                       strerror(errno));
    cf_status status = read_pieces(&r, fd, path);
    close(fd);
    if (status == CF_OK && r.bad > 0 && r.n_steps + r.n_tests == 0)
        status =
            CF_FAIL(CF_EFORMAT, "%s is not a run's log: line %zu is no JSON object with a kind",
                    path, r.first_bad);
    if (status != CF_OK) {
        run_record_fini(&r);
        return status;
    }
    *out = r;
    return CF_OK;
}

void run_record_fini(run_record *r)
{
    cf_free(r->steps);
    cf_free(r->tests);
    *r = (run_record){ 0 };
}
