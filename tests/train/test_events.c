/* Event files, read back with a decoder of their own: records, sums, fields; what a resumed run
 * leaves; run.json. */
#include "micro.h"

#include "train/events.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <fnmatch.h>
#include <time.h>

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct {
    double time;
    int64_t step;
    char tag[64];
    float value;
} point;

typedef struct {
    point point[256];
    size_t n, versions, starts;
} points;

static uint64_t fixed(const uint8_t *p, int bytes)
{
    uint64_t value = 0;
    while (bytes-- > 0) value = value << 8 | p[bytes];
    return value;
}

/* Table-driven, unlike the writer's. */
static uint32_t crc_of(const uint8_t *p, size_t n)
{
    static uint32_t table[256];
    for (uint32_t i = 0; i < 256 && !table[255]; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        table[i] = c;
    }
    uint32_t crc = ~0u;
    while (n-- > 0) crc = table[(crc ^ *p++) & 255] ^ crc >> 8;
    return ~crc;
}

static uint32_t unmask(uint32_t masked)
{
    uint32_t rotated = masked - 0xa282ead8u;
    return rotated >> 17 | rotated << 15;
}

typedef struct {
    int field, type;
    uint64_t number; /* varint, fixed; for bytes their count */
    const uint8_t *bytes;
} field;

static uint64_t take_varint(const uint8_t **p, const uint8_t *end)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        assert_true(*p < end);
        uint8_t byte = *(*p)++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return value;
    }
    fail_msg("a varint of more than ten bytes");
    return 0;
}

static field take_field(const uint8_t **p, const uint8_t *end)
{
    uint64_t key = take_varint(p, end);
    field f = { .field = (int)(key >> 3), .type = (int)(key & 7) };
    if (f.type == 0) {
        f.number = take_varint(p, end);
        return f;
    }
    assert_true(f.type == 1 || f.type == 2 || f.type == 5);
    size_t n = f.type == 1 ? 8 : f.type == 5 ? 4 : take_varint(p, end);
    assert_true(n <= (size_t)(end - *p));
    f.bytes = *p;
    f.number = f.type == 2 ? n : fixed(*p, (int)n);
    *p += n;
    return f;
}

static void read_value(points *out, const point *of, const uint8_t *p, const uint8_t *end)
{
    assert_true(out->n < 256);
    point *q = &out->point[out->n++];
    *q = *of;
    while (p < end) {
        field f = take_field(&p, end);
        if (f.field == 1) {
            assert_true(f.type == 2 && f.number < sizeof q->tag);
            memcpy(q->tag, f.bytes, f.number);
            q->tag[f.number] = 0;
        } else {
            assert_true(f.field == 2 && f.type == 5);
            uint32_t bits = (uint32_t)f.number;
            memcpy(&q->value, &bits, sizeof bits);
        }
    }
}

static void read_event(points *out, const uint8_t *p, const uint8_t *end)
{
    point of = { .tag = "" };
    while (p < end) {
        field f = take_field(&p, end);
        if (f.field == 1) memcpy(&of.time, &f.number, sizeof of.time);
        if (f.field == 2) of.step = (int64_t)f.number;
        if (f.field == 3) {
            assert_memory_equal(f.bytes, "brain.Event:2", 13);
            out->versions++;
        }
        if (f.field == 7) {
            assert_int_equal(f.number, 2);
            assert_memory_equal(f.bytes, "\x08\x01", 2);
            out->starts++;
        }
        if (f.field != 5) continue;
        for (const uint8_t *q = f.bytes, *stop = q + f.number; q < stop;) {
            field value = take_field(&q, stop);
            assert_true(value.field == 1 && value.type == 2);
            read_value(out, &of, value.bytes, value.bytes + value.number);
        }
    }
}

static points read_events(const char *path)
{
    points out = { .n = 0 };
    char *text;
    size_t n;
    assert_ok(cf_file_read(&text, &n, path));
    for (const uint8_t *p = (uint8_t *)text, *end = p + n; p < end;) {
        assert_true(end - p >= 16);
        uint64_t length = fixed(p, 8);
        assert_true(length <= (uint64_t)(end - p) - 16);
        assert_int_equal(unmask((uint32_t)fixed(p + 8, 4)), crc_of(p, 8));
        p += 12;
        assert_int_equal(unmask((uint32_t)fixed(p + length, 4)), crc_of(p, length));
        read_event(&out, p, p + length);
        p += length + 4;
    }
    cf_free(text);
    return out;
}

static const point *find(const points *p, const char *tag, int64_t step)
{
    const point *found = NULL;
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->point[i].tag, tag) != 0 || p->point[i].step != step) continue;
        if (found) fail_msg("%s of step %d stands there twice", tag, (int)step);
        found = &p->point[i];
    }
    if (!found) fail_msg("there is no %s of step %d", tag, (int)step);
    return found;
}

/* The one event file in the folder that matches; free with cf_free. */
static char *only_file(const char *folder, const char *pattern)
{
    char *found = NULL;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));) {
        if (fnmatch(pattern, f->d_name, 0) != 0) continue;
        if (found) fail_msg("%s: both %s and %s", folder, found, f->d_name);
        found = test_path(folder, f->d_name);
    }
    closedir(d);
    if (!found) fail_msg("%s: there is no %s", folder, pattern);
    return found;
}

#define OURS "events.out.tfevents.[0-9]*.crossframe"

/* Kept out of line: gcc 12 takes the inlined name for a dangling one. */
__attribute__((noinline)) static char *new_folder(void) { return test_folder_new(); }

/* ---- tests ----------------------------------------------------------------------------------- */

static void sums_are_castagnoli(void **state)
{
    (void)state;
    uint8_t bytes[32];
    assert_int_equal(cf_crc32c("", 0), 0);
    assert_int_equal(cf_crc32c("123456789", 9), 0xe3069283u);
    memset(bytes, 0, 32); /* RFC 3720, B.4 */
    assert_int_equal(cf_crc32c(bytes, 32), 0x8a9136aau);
    memset(bytes, 255, 32);
    assert_int_equal(cf_crc32c(bytes, 32), 0x62a8ab43u);
    for (uint8_t i = 0; i < 32; i++) bytes[i] = i;
    assert_int_equal(cf_crc32c(bytes, 32), 0x46dd794eu);
    for (uint8_t i = 0; i < 32; i++) bytes[i] = 31 - i;
    assert_int_equal(cf_crc32c(bytes, 32), 0x113fdb5cu);
}

static const cf_step_record a_step = { .step = 300,
                                       .loss = 1.25,
                                       .lr = 1e-6,
                                       .lr_new = 1e-5,
                                       .grad_norm = NAN,
                                       .seconds = 2,
                                       .data_seconds = 0.5,
                                       .videos_per_second = 4,
                                       .gflops = 70,
                                       .time = 1769860800.0625 };

static void points_are_read_back(void **state)
{
    (void)state;
    char *folder = new_folder(), *log = test_path(folder, "log.jsonl");
    cf_events *e;
    assert_ok(cf_file_write(log, "", 0));
    assert_ok(cf_events_open(&e, folder, log));
    char *path = only_file(folder, OURS);
    size_t before = cf_memory_stats_get().allocations;
    assert_ok(cf_events_step(e, &a_step));
    cf_eval_record test = { .step = 301, .time = 5, .top1 = 50, .top5 = 100, .mean_class = 25 };
    for (int i = 0; i < 3; i++) {
        test.weights = i == 1 ? "ema" : "last";
        test.views = i == 2 ? 12 : 1;
        assert_ok(cf_events_eval(e, &test));
    }
    assert_int_equal(cf_memory_stats_get().allocations, before);
    points p = read_events(path); /* while it is still open: whole records are there */
    assert_int_equal(p.versions, 1);
    assert_int_equal(p.starts, 1);
    assert_int_equal(p.n, 6 + 3 * 3); /* the norm, no number, is left out */
    const point *loss = find(&p, "train/loss", 300);
    assert_true(loss->time == a_step.time && loss->value == 1.25f);
    assert_true(find(&p, "train/lr", 300)->value == 1e-6f);
    assert_true(find(&p, "train/lr_new", 300)->value == 1e-5f);
    assert_true(find(&p, "speed/videos_per_second", 300)->value == 4);
    assert_true(find(&p, "speed/gflops", 300)->value == 70);
    assert_true(find(&p, "speed/data_share", 300)->value == 0.25f);
    assert_true(find(&p, "test/top1", 301)->value == 50);
    assert_true(find(&p, "test_ema/top5", 301)->value == 100);
    assert_true(find(&p, "test_views/mean_class", 301)->value == 25);
    cf_events_close(e);
    cf_free(path);
    cf_free(log);
    test_folder_remove(folder);
}

static void only_our_files_are_replaced(void **state)
{
    (void)state;
    static const char *const foreign[] = {
        "events.out.tfevents.1769860800.host",
        "events.out.tfevents.1769860800.host.4711.0",
        "events.out.tfevents.12.host.crossframe",
        "events.out.tfevents.1769860800.crossframe.v2",
        "xevents.out.tfevents.1769860800.host.crossframe",
    };
    char *folder = new_folder(), *log = test_path(folder, "log.jsonl");
    char *later = test_path(folder, "events.out.tfevents.9999999999.elsewhere.crossframe");
    assert_ok(cf_file_write(log, "", 0));
    assert_ok(cf_file_write(later, "", 0));
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        char *path = test_path(folder, foreign[i]);
        assert_ok(cf_file_write(path, "theirs", 6));
        cf_free(path);
    }
    cf_events *e;
    for (int i = 0; i < 3; i++) { /* within one second, and after a clock that was ahead */
        assert_ok(cf_events_open(&e, folder, log));
        cf_events_close(e);
        char name[64];
        snprintf(name, sizeof name, "events.out.tfevents.1000000000%d.*.crossframe", i);
        char *path = only_file(folder, name);
        assert_int_equal(read_events(path).versions, 1);
        cf_free(path);
    }
    assert_false(cf_file_exists(later));
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        char *path = test_path(folder, foreign[i]);
        if (!cf_file_exists(path)) fail_msg("%s is gone", path);
        cf_free(path);
    }
    /* what cannot be replayed leaves nothing behind and takes nothing away */
    assert_ok(cf_file_write(log, "{\"kind\":\"st\n", 12));
    assert_fails(cf_events_open(&e, folder, log), CF_EFORMAT, "no JSON");
    char *path = only_file(folder, "events.out.tfevents.10000000002.*.crossframe"),
         *half = test_path(folder, "events.tmp");
    assert_false(cf_file_exists(half));
    cf_free(half);
    cf_free(path);
    cf_free(later);
    cf_free(log);
    test_folder_remove(folder);
}

/* The value of a field in the log's line of this kind and step. */
static double in_log(const char *folder, const char *kind, int64_t step, const char *name)
{
    char *path = test_path(folder, "run/log.jsonl"), *text, *rest;
    size_t n;
    double value = NAN;
    assert_ok(cf_file_read(&text, &n, path));
    rest = text;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        cJSON *o = cJSON_Parse(line);
        if (strcmp(cJSON_GetObjectItem(o, "kind")->valuestring, kind) == 0 &&
            cJSON_GetObjectItem(o, "step")->valuedouble == (double)step)
            value = cJSON_GetObjectItem(o, name)->valuedouble;
        cJSON_Delete(o);
    }
    cf_free(text);
    cf_free(path);
    return value;
}

static void a_resumed_run_has_each_point_once(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *run = test_path(folder, "run");
    assert_int_equal(micro_train(micro_config(folder, "run", NULL), MICRO_STEPS + 2),
                     CF_EINTERRUPTED);
    char *first = only_file(run, OURS);
    const char *const more[] = { "TRAIN.AUTO_RESUME=True", NULL };
    assert_ok(micro_train(micro_config(folder, "run", more), 0));
    assert_false(cf_file_exists(first));
    char *path = only_file(run, OURS);
    points p = read_events(path);
    assert_int_equal(p.n, 2 * MICRO_STEPS * 7 + 2 * 3);
    for (int64_t s = 0; s < 2 * MICRO_STEPS; s++) {
        const point *loss = find(&p, "train/loss", s);
        assert_near(loss->value, in_log(folder, "step", s, "loss"), 1e-6);
        assert_near(loss->time, in_log(folder, "step", s, "time"), 0.0006);
        assert_near(find(&p, "train/lr_new", s)->value, in_log(folder, "step", s, "lr_new"), 1e-9);
    }
    for (int64_t s = MICRO_STEPS; s <= 2 * MICRO_STEPS; s += MICRO_STEPS)
        assert_near(find(&p, "test/top1", s)->value, in_log(folder, "eval", s, "top1"), 1e-5);
    cf_free(path);
    cf_free(first);
    cf_free(run);
    test_folder_remove(folder);
}

static void without_tensorboard_there_are_none(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *run = test_path(folder, "run");
    micro_train_whole(folder, "run",
                      (const char *const[]){ "TENSORBOARD=False", "TRAIN.EPOCHS=1", NULL });
    DIR *d = opendir(run);
    for (struct dirent *f; (f = readdir(d));) assert_null(strstr(f->d_name, "events"));
    closedir(d);
    cf_free(run);
    test_folder_remove(folder);
}

/* The item at A.B ("A" if b is NULL) of a JSON object. */
static const cJSON *item(const cJSON *o, const char *a, const char *b)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(o, a);
    if (b) found = cJSON_GetObjectItemCaseSensitive(found, b);
    if (!found) fail_msg("run.json has no %s.%s", a, b ? b : "");
    return found;
}

static void run_json_tells_what_ran(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *path = test_path(folder, "run/run.json"), *text;
    const char *const command[] = { "crossframe", "train", "--output", "a \"b\" \xff", NULL };
    const cf_run_options o = { .command = command };
    cf_config *c = micro_config(folder, "run", NULL);
    cf_run *r;
    size_t n;
    assert_ok(cf_run_new(&r, c, &o));
    assert_ok(cf_file_read(&text, &n, path));
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    assert_string_equal(item(json, "crossframe", NULL)->valuestring, CF_VERSION);
    const cJSON *words = item(json, "command", NULL);
    assert_int_equal(cJSON_GetArraySize(words), 4);
    assert_string_equal(cJSON_GetArrayItem(words, 3)->valuestring, "a \"b\" \xef\xbf\xbd");
    struct tm tm = { 0 };
    assert_non_null(strptime(item(json, "started", NULL)->valuestring, "%Y-%m-%dT%H:%M:%SZ", &tm));
    assert_near((double)timegm(&tm), cf_unix_time(), 60);
    assert_near(item(json, "machine", "threads")->valuedouble, cf_threads(), 0);
    assert_near(item(json, "machine", "memory_bytes")->valuedouble, cf_physical_memory(), 0);
    assert_string_equal(item(json, "machine", "cpu")->valuestring, cf_cpu_name());
    assert_non_null(strstr(item(json, "machine", "blas")->valuestring, "OpenBLAS"));
    assert_true(strlen(item(json, "machine", "os")->valuestring) > 3);
    assert_string_equal(item(json, "model", "arch")->valuestring, "custom");
    double trained = item(json, "model", "trained")->valuedouble;
    double forward = item(json, "model", "gflop_forward")->valuedouble;
    assert_true(trained > 1000 && trained <= item(json, "model", "parameters")->valuedouble);
    assert_true(forward > 0 && item(json, "model", "gflop_train")->valuedouble > 2 * forward);
    assert_near(item(json, "data", "train_videos")->valuedouble, MICRO_TRAIN, 0);
    assert_near(item(json, "data", "test_videos")->valuedouble, MICRO_TEST, 0);
    assert_near(item(json, "data", "classes")->valuedouble, MICRO_CLASSES, 0);
    assert_near(item(json, "data", "steps")->valuedouble, 2 * MICRO_STEPS, 0);
    cJSON_Delete(json);
    cf_free(text);
    cf_run_free(r);
    cf_config_free(c);
    cf_free(path);
    test_folder_remove(folder);
}

TESTS(TEST(sums_are_castagnoli), TEST(points_are_read_back), TEST(only_our_files_are_replaced),
      TEST(a_resumed_run_has_each_point_once), TEST(without_tensorboard_there_are_none),
      TEST(run_json_tells_what_ran))
