/* TensorBoard's event file: a row of records, each
 *
 *   uint64 length, uint32 masked CRC-32C of those 8 bytes, the bytes, uint32 masked CRC-32C of them
 *
 * in little endian; masked = (crc >> 15 | crc << 17) + 0xa282ead8. The bytes are one Event in the
 * wire format of Protocol Buffers: each field is its number and type as a varint, then the value.
 *
 *   Event            1 wall_time (double), 2 step (varint), 3 file_version (text),
 *                    5 summary (message), 7 session_log (message), 10 source_metadata (message)
 *   SessionLog       1 status (varint; 1: START)
 *   SourceMetadata   1 writer (text)
 *   Summary          1 value (message, repeated)
 *   Summary.Value    1 tag (text), 2 simple_value (float)
 *
 * Sources: tensorboard/compat/proto/event.proto and summary.proto of tensorflow/tensorboard;
 * protobuf.dev, "Encoding"; the record framing is that of tensorflow/core/lib/io/record_writer.h.
 * The first record names the version. The second is a START at step 0, by which a TensorBoard that
 * is watching forgets what it had read of the file this one replaces. */
#include "train/events.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char name_start[] = "events.out.tfevents.", name_end[] = ".crossframe";

struct cf_events {
    char *path; /* under which it is written to; for messages */
    int fd;
};

uint32_t cf_crc32c(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82f63b78u & -(crc & 1));
    }
    return ~crc;
}

/* ---- encoding -------------------------------------------------------------------------------- */

/* Large enough for any record here: a dozen scalars with tags of up to 48 characters. */
typedef struct {
    uint8_t bytes[1024];
    size_t n;
} message;

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void put_bytes(message *m, const void *bytes, size_t n)
{
    CF_ASSERT(n <= sizeof m->bytes - m->n);
    memcpy(m->bytes + m->n, bytes, n);
    m->n += n;
}

static void put_fixed(message *m, uint64_t value, size_t n_bytes)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < n_bytes; i++) bytes[i] = (uint8_t)(value >> 8 * i);
    put_bytes(m, bytes, n_bytes);
}

static void put_varint(message *m, uint64_t value)
{
    for (; value >= 128; value >>= 7) put_fixed(m, value | 128, 1);
    put_fixed(m, value, 1);
}

static void put_key(message *m, uint64_t field, uint64_t type) { put_varint(m, field << 3 | type); }

static void put_text(message *m, uint64_t field, const char *text)
{
    put_key(m, field, BYTES);
    put_varint(m, strlen(text));
    put_bytes(m, text, strlen(text));
}

static void put_message(message *m, uint64_t field, const message *inner)
{
    put_key(m, field, BYTES);
    put_varint(m, inner->n);
    put_bytes(m, inner->bytes, inner->n);
}

static void put_double(message *m, uint64_t field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(m, field, FIXED64);
    put_fixed(m, bits, 8);
}

static void put_float(message *m, uint64_t field, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(m, field, FIXED32);
    put_fixed(m, bits, 4);
}

/* Adds a Summary.Value to a Summary. */
static void put_scalar(message *summary, const char *group, const char *name, double value)
{
    char tag[48];
    message v = { .n = 0 };
    if (!isfinite(value)) return;
    int n = snprintf(tag, sizeof tag, "%s/%s", group, name);
    CF_ASSERT(n > 0 && (size_t)n < sizeof tag);
    put_text(&v, 1, tag);
    put_float(&v, 2, (float)value);
    put_message(summary, 1, &v);
}

static message event(double time, int64_t step)
{
    message m = { .n = 0 };
    put_double(&m, 1, time);
    if (step == 0) return m; /* a field at its default is left out */
    put_key(&m, 2, VARINT);
    put_varint(&m, (uint64_t)step);
    return m;
}

/* ---- records --------------------------------------------------------------------------------- */

static uint32_t masked_crc(const void *bytes, size_t n)
{
    uint32_t crc = cf_crc32c(bytes, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static cf_status append(cf_events *e, const message *m)
{
    message record = { .n = 0 };
    put_fixed(&record, m->n, 8);
    put_fixed(&record, masked_crc(record.bytes, 8), 4);
    put_bytes(&record, m->bytes, m->n);
    put_fixed(&record, masked_crc(m->bytes, m->n), 4);
    for (size_t at = 0; at < record.n;) {
        ssize_t put = write(e->fd, record.bytes + at, record.n - at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return CF_FAIL(CF_EIO, "cannot write %s: %s", e->path, strerror(errno));
        at += (size_t)put;
    }
    return CF_OK;
}

static cf_status append_head(cf_events *e, double time)
{
    message m = event(time, 0), inner = { .n = 0 };
    put_text(&m, 3, "brain.Event:2");
    put_text(&inner, 1, "crossframe");
    put_message(&m, 10, &inner);
    CF_TRY(append(e, &m));
    m = event(time, 0);
    inner.n = 0;
    put_key(&inner, 1, VARINT);
    put_varint(&inner, 1);
    put_message(&m, 7, &inner);
    return append(e, &m);
}

cf_status cf_events_step(cf_events *e, const cf_step_record *r)
{
    message s = { .n = 0 };
    if (!e) return CF_OK;
    message m = event(r->time, r->step);
    put_scalar(&s, "train", "loss", r->loss);
    put_scalar(&s, "train", "lr", r->lr);
    put_scalar(&s, "train", "lr_new", r->lr_new);
    put_scalar(&s, "train", "grad_norm", r->grad_norm);
    put_scalar(&s, "speed", "videos_per_second", r->videos_per_second);
    put_scalar(&s, "speed", "gflops", r->gflops);
    put_scalar(&s, "speed", "data_share", r->data_seconds / r->seconds);
    put_message(&m, 5, &s);
    return append(e, &m);
}

cf_status cf_events_eval(cf_events *e, const cf_eval_record *r)
{
    char group[32];
    message s = { .n = 0 };
    if (!e) return CF_OK;
    /* One curve for each kind of test: those between the epochs, the one with all views. */
    snprintf(group, sizeof group, "test%s%s",
             strcmp(r->weights, "ema") == 0    ? "_ema"
             : strcmp(r->weights, "best") == 0 ? "_best"
                                               : "",
             r->views > 1 ? "_views" : "");
    message m = event(r->time, r->step);
    put_scalar(&s, group, "top1", r->top1);
    put_scalar(&s, group, "top5", r->top5);
    put_scalar(&s, group, "mean_class", r->mean_class);
    put_message(&m, 5, &s);
    return append(e, &m);
}

/* ---- from the log ---------------------------------------------------------------------------- */

static double number(const cJSON *line, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(line, name);
    return cJSON_IsNumber(value) ? value->valuedouble : NAN;
}

static const char *text(const cJSON *line, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(line, name);
    return cJSON_IsString(value) ? value->valuestring : "";
}

/* now: the time of lines that have none. */
static cf_status replay_line(cf_events *e, const cJSON *line, double now)
{
    double time = number(line, "time"), step = number(line, "step");
    if (!isfinite(time)) time = now;
    if (!(step >= 0 && step < 9e15)) return CF_OK; /* lines of a version that had no step there */
    if (strcmp(text(line, "kind"), "step") == 0) {
        const cf_step_record r = { .step = (int64_t)step,
                                   .time = time,
                                   .loss = number(line, "loss"),
                                   .lr = number(line, "lr"),
                                   .lr_new = number(line, "lr_new"),
                                   .grad_norm = number(line, "grad_norm"),
                                   .seconds = number(line, "seconds"),
                                   .data_seconds = number(line, "data_seconds"),
                                   .videos_per_second = number(line, "videos_per_second"),
                                   .gflops = number(line, "gflops") };
        return cf_events_step(e, &r);
    }
    if (strcmp(text(line, "kind"), "eval") != 0) return CF_OK;
    const cf_eval_record r = { .step = (int64_t)step,
                               .time = time,
                               .top1 = number(line, "top1"),
                               .top5 = number(line, "top5"),
                               .mean_class = number(line, "mean_class"),
                               .views = number(line, "views") > 1 ? 2 : 1,
                               .weights = text(line, "weights") };
    return cf_events_eval(e, &r);
}

static cf_status replay(cf_events *e, const char *log, double now)
{
    char *lines;
    size_t n;
    cf_status status = CF_OK;
    CF_TRY(cf_file_read(&lines, &n, log));
    for (const char *at = lines; status == CF_OK && at < lines + n;) {
        size_t length = strcspn(at, "\n");
        cJSON *line = cJSON_ParseWithLength(at, length);
        status = line ? replay_line(e, line, now)
                      : CF_FAIL(CF_EFORMAT, "%s: a line is no JSON object", log);
        cJSON_Delete(line);
        at += length + 1;
    }
    cf_free(lines);
    return status;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* The seconds in a name of ours; -1: it is none. */
static int64_t seconds_of(const char *name)
{
    size_t n = strlen(name), head = sizeof name_start - 1, tail = sizeof name_end - 1;
    if (n <= head + tail || strncmp(name, name_start, head) != 0) return -1;
    if (strcmp(name + n - tail, name_end) != 0) return -1;
    size_t digits = strspn(name + head, "0123456789");
    if (digits < 10 || digits > 15 || name[head + digits] != '.') return -1;
    return strtoll(name + head, NULL, 10);
}

/* Files of ours in the folder: the latest one's seconds in *latest (-1: none); remove: all but
 * the one with the seconds `keep` go. */
static cf_status walk(int64_t *latest, const char *folder, bool remove, int64_t keep)
{
    cf_status status = CF_OK;
    DIR *d = opendir(folder);
    if (!d) return CF_FAIL(CF_EIO, "cannot read %s: %s", folder, strerror(errno));
    *latest = -1;
    for (struct dirent *f; status == CF_OK && (f = readdir(d));) {
        int64_t seconds = seconds_of(f->d_name);
        if (seconds > *latest) *latest = seconds;
        if (seconds < 0 || !remove || seconds == keep) continue;
        if (unlinkat(dirfd(d), f->d_name, 0) != 0 && errno != ENOENT)
            status = CF_FAIL(CF_EIO, "cannot remove %s/%s: %s", folder, f->d_name, strerror(errno));
    }
    closedir(d);
    return status;
}

/* A name after all names there, as TensorBoard reads the files of a folder in that order. */
static cf_status choose_name(char **out, int64_t *seconds, const char *folder, double now)
{
    char host[65] = "", name[160];
    int64_t latest;
    CF_TRY(walk(&latest, folder, false, 0));
    if (gethostname(host, sizeof host - 1) != 0 || !*host) strcpy(host, "localhost");
    for (char *p = host; *p; p++)
        if (*p == '/') *p = '_';
    *seconds = (int64_t)now > latest ? (int64_t)now : latest + 1;
    snprintf(name, sizeof name, "%s%010" PRId64 ".%s%s", name_start, *seconds, host, name_end);
    return cf_path_join(out, folder, name);
}

cf_status cf_events_open(cf_events **out, const char *folder, const char *log)
{
    double now = cf_unix_time();
    int64_t seconds, latest;
    cf_events *e;
    char *path = NULL;
    cf_status status = CF_OK;
    CF_TRY(cf_alloc_zero(&e, 1, sizeof *e));
    e->fd = -1;
    CF_GO(choose_name(&path, &seconds, folder, now));
    CF_GO(cf_path_join(&e->path, folder, "events.tmp"));
    e->fd = open(e->path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    if (e->fd < 0) CF_GO(CF_FAIL(CF_EIO, "cannot open %s: %s", e->path, strerror(errno)));
    CF_GO(append_head(e, now));
    CF_GO(replay(e, log, now));
    CF_GO(cf_file_replace(path, e->path));
    cf_free(e->path);
    e->path = path;
    path = NULL;
    CF_GO(walk(&latest, folder, true, seconds));
    *out = e;
    e = NULL;
done:
    if (e && path && e->fd >= 0) unlink(e->path);
    cf_free(path);
    cf_events_close(e);
    return status;
}

void cf_events_close(cf_events *e)
{
    if (!e) return;
    if (e->fd >= 0) close(e->fd);
    cf_free(e->path);
    cf_free(e);
}
