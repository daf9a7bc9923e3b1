/* The report: what is read of a run's folder, what the page holds. */
#include "../test_in_folder.h"

#include "crossframe/data.h"
#include "crossframe/h5.h"
#include "train/report_parts.h"
#include "xml.h"

#include <sys/stat.h>

/* fontconfig and pango keep what they know of fonts until the process ends. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libfontconfig\nleak:libpango\n"; }

#define STEP(epoch, step, loss)                                                                    \
    "{\"kind\":\"step\",\"epoch\":" #epoch ",\"step\":" #step ",\"loss\":" #loss                   \
    ",\"lr\":1e-5,\"grad_norm\":2,\"seconds\":0.5,\"data_seconds\":0.1,\"videos_per_second\":8}\n"

/* folder/NAME/FILE with this text; folder/NAME is made. */
static void put_file(const char *run, const char *file, const char *text)
{
    char *at = test_path(folder, run), *path;
    assert_ok(cf_make_folders(at));
    path = test_path(at, file);
    assert_ok(cf_file_write(path, text, strlen(text)));
    cf_free(path);
    cf_free(at);
}

static cf_report *read_one(const char *run)
{
    char *at = test_path(folder, run);
    cf_report *r;
    assert_ok(cf_report_read(&r, (const char *const[]){ at }, 1));
    cf_free(at);
    return r;
}

static cf_status try_one(const char *run)
{
    char *at = test_path(folder, run);
    cf_report *r = NULL;
    cf_status status = cf_report_read(&r, (const char *const[]){ at }, 1);
    cf_report_free(r);
    cf_free(at);
    return status;
}

static size_t occurrences(const char *text, const char *word)
{
    size_t n = 0;
    for (; (text = strstr(text, word)); text += strlen(word)) n++;
    return n;
}

/* The page, held to be well-formed; free with cf_free. Kept out of line: gcc 12 takes the inlined
 * text for a dangling one. */
__attribute__((noinline)) static char *page_of(const cf_report *r)
{
    char *text;
    size_t n;
    assert_ok(cf_report_page(&text, &n, r));
    assert_int_equal(n, strlen(text));
    check_xml(text);
    return text;
}

/* ---- what is read ---------------------------------------------------------------------------- */

static void an_older_log(void **state)
{
    (void)state;
    put_file(
        "old", "log.jsonl",
        STEP(0, 0, 4.5) STEP(
            0, 1,
            null) "{\"kind\":\"eval\",\"epoch\":0,\"top1\":25,\"top5\":80,"
                  "\"videos\":12,\"views\":1}\n{\"kind\":\"later\",\"x\":{\"y\":[1,\"}\"]}}\n" STEP(
                      1, 2, 3.5) "{\"kind\":\"step\",\"epoch\":1,\"st");
    cf_report *r = read_one("old");
    const run_record *l = &r->runs[0].log;
    assert_string_equal(r->runs[0].name, "old");
    assert_int_equal(l->n_steps, 3);
    assert_int_equal(l->n_tests, 1);
    assert_int_equal(l->bad, 0);
    assert_true(l->cut);
    assert_near(l->steps[0].v[LOG_LOSS], 4.5, 0);
    assert_true(isnan(l->steps[1].v[LOG_LOSS]));
    assert_true(isnan(l->steps[0].v[LOG_LR_NEW]));
    assert_near(l->steps[2].v[LOG_DATA_SECONDS], 0.1, 0);
    assert_near(l->tests[0].v[LOG_STEP], 2, 0); /* behind the steps it tests */
    assert_near(report_epoch_steps(&r->runs[0]), 2, 0);
    report_summary s;
    assert_ok(report_summarise(&s, &r->runs[0]));
    assert_near(s.top1, 25, 0);
    assert_near(s.best_epoch, 1, 0);
    assert_near(s.epochs, 1.5, 0);
    assert_near(s.waiting, 20, 1e-9);
    assert_near(s.seconds, 1.5, 1e-9);
    assert_true(isnan(s.parameters) && isnan(s.mean_class));
    assert_int_equal(r->runs[0].n_notes, 1); /* the loss that is no number */
    assert_non_null(strstr(r->runs[0].notes[0], "1 of 3 steps, first in step 1"));
    cf_free(page_of(r));
    cf_report_free(r);
}

static void a_full_log(void **state)
{
    (void)state;
    put_file("full", "log.jsonl",
             "{\"kind\":\"step\",\"epoch\":0,\"step\":0,\"loss\":4,\"lr\":1e-6,\"lr_new\":1e-5,"
             "\"grad_norm\":1,"
             "\"seconds\":2,\"data_seconds\":0.5,\"forward_seconds\":0.5,\"backward_seconds\":0.9,"
             "\"update_seconds\":0.1,\"videos_per_second\":4,\"gflops\":55.5,\"memory_bytes\":"
             "2000000000,"
             "\"time\":1769860800.25,\"skipped\":3}\n"
             "{\"kind\":\"eval\",\"epoch\":0,\"step\":1,\"top1\":40,\"top5\":80,\"mean_class\":39."
             "5,\"videos\":10,"
             "\"views\":12,\"frames\":8,\"weights\":\"best\",\"seconds\":7,\"time\":1769860809,"
             "\"missing\":2}\n");
    put_file("full", "run.json",
             "{\"crossframe\":\"0.1.0\",\"command\":[\"crossframe\",\"train\"],\"started\":\"2026-"
             "01-31T12:00:00Z\","
             "\"machine\":{\"cpu\":\"a <fast> "
             "one\",\"threads\":2},\"model\":{\"arch\":\"ViT-B/32\",\"parameters\":"
             "196000000,\"trained\":120000000},\"data\":{\"steps\":30}}");
    put_file("full", "config.yaml", "TRAIN:\n  EPOCHS: 30\n");
    cf_report *r = read_one("full");
    report_summary s;
    assert_ok(report_summarise(&s, &r->runs[0]));
    assert_near(s.mean_class, 39.5, 0);
    assert_near(s.views, 12, 0);
    assert_near(s.seconds, 9, 0);
    assert_near(s.waiting, 25, 0);
    assert_near(s.gflops, 55.5, 0);
    assert_near(s.memory_bytes, 2e9, 0);
    assert_near(s.parameters, 196e6, 0);
    assert_near(s.steps_planned, 30, 0);
    assert_near(s.epochs, 1, 0);
    assert_string_equal(r->runs[0].log.tests[0].weights, "best");
    assert_int_equal(r->runs[0].n_notes, 2); /* skipped, missing */
    char *page = page_of(r);
    assert_non_null(strstr(page, "a &lt;fast&gt; one"));
    assert_non_null(strstr(page, "2026-01-31T12:00:00Z"));
    assert_non_null(strstr(page, "1 of 30 steps done"));
    assert_non_null(strstr(page, "id=\"rate-step\""));
    cf_free(page);
    cf_report_free(r);
}

static void lines_that_come_again(void **state)
{
    (void)state;
    put_file("again", "log.jsonl",
             STEP(0, 0, 9) STEP(0, 1, 8) "{\"kind\":\"eval\",\"epoch\":0,\"top1\":1}\n" STEP(
                 1, 2, 7) "{\"kind\":\"eval\",\"epoch\":1,\"top1\":2}\n" STEP(0, 1, 6)
                 STEP(1, 2, 5));
    cf_report *r = read_one("again");
    const run_record *l = &r->runs[0].log;
    assert_int_equal(l->n_steps, 3);
    assert_near(l->steps[1].v[LOG_LOSS], 6, 0);
    assert_near(l->steps[2].v[LOG_LOSS], 5, 0);
    assert_int_equal(l->n_tests, 0);
    cf_report_free(r);
}

static void damage_is_told(void **state)
{
    (void)state;
    put_file("bad", "log.jsonl", STEP(0, 0, 9) "what?\n" STEP(0, 1, 8) "{\"kind\":\"step\"}\n");
    put_file("bad", "config.yaml", "NO_SUCH: 1\n");
    put_file("bad", "run.json", "{");
    put_file("bad", "test.h5", "no HDF5");
    cf_report *r = read_one("bad");
    assert_int_equal(r->runs[0].log.n_steps, 2);
    assert_int_equal(r->runs[0].n_notes, 4);
    char *page = page_of(r);
    assert_non_null(strstr(page, "2 of 4 lines of log.jsonl"));
    assert_non_null(strstr(page, "the first is line 2"));
    assert_non_null(strstr(page, "NO_SUCH"));
    assert_non_null(strstr(page, "run.json"));
    assert_non_null(strstr(page, "test.h5"));
    cf_free(page);
    cf_report_free(r);
}

static void what_is_no_run(void **state)
{
    (void)state;
    assert_fails(try_one("nowhere"), CF_ENOTFOUND, "is no run: it has no log.jsonl");
    put_file("text", "log.jsonl", "hello\nyou\n");
    assert_fails(try_one("text"), CF_EFORMAT, "line 1 is no JSON object with a kind");
    put_file("empty", "log.jsonl", "");
    cf_report *r = read_one("empty");
    char *page = page_of(r);
    assert_non_null(strstr(page, "the log is empty"));
    assert_non_null(strstr(page, "nothing to draw yet"));
    cf_free(page);
    cf_report_free(r);
    put_file("tested", "log.jsonl", "{\"kind\":\"eval\",\"epoch\":0,\"top1\":33.5}\n");
    r = read_one("tested");
    page = page_of(r);
    assert_non_null(strstr(page, "33.50"));
    cf_free(page);
    cf_report_free(r);
}

static void many_steps_make_a_small_page(void **state)
{
    (void)state;
    enum { N = 60000 };
    char *at = test_path(folder, "many"), *path = test_path(at, "log.jsonl");
    assert_ok(cf_make_folders(at));
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < N; i++)
        fprintf(f,
                "{\"kind\":\"step\",\"epoch\":%d,\"step\":%d,\"loss\":%.9g,\"lr\":1e-5,\"lr_new\":"
                "1e-4,\"grad_norm\":"
                "%.9g,\"seconds\":0.5,\"data_seconds\":0.1,\"videos_per_second\":%d}\n",
                i / 2000, i, i == 31111 ? 99.0 : 3 + sin(i), 2 + cos(i * 0.3), 100 + i % 9);
    fclose(f);
    cf_report *r = read_one("many");
    assert_int_equal(r->runs[0].log.n_steps, N);
    char *page = page_of(r);
    assert_true(strlen(page) < 250000);
    chart_set set;
    bool peak = false;
    assert_ok(report_charts(&set, r, false));
    for (size_t i = 0; i < set.charts[0].n; i++)
        for (size_t k = 0; k < set.charts[0].lines[i].n; k++)
            peak = peak || set.charts[0].lines[i].points[k].y == 99;
    assert_true(peak);
    chart_set_fini(&set);
    cf_free(page);
    cf_report_free(r);
    cf_free(path);
    cf_free(at);
}

/* ---- the newest test ------------------------------------------------------------------------- */

enum { VIDEOS = 6, CLASSES = 3 };

/* Six videos of three classes; 0 and 3 are mistaken, 5 could not be read. */
static void write_test(const char *run, bool fits)
{
    static const char *const name[] = {
        "a.mp4", "b & c.mp4", "c.mp4", "<d>.mp4", "e.mp4", "f.mp4"
    };
    static const char *const class[] = { "<script>alert(1)</script>", "it's \"quoted\"",
                                         "caf\xc3\xa9 & \xff" };
    static const int32_t label[] = { 0, 0, 1, 1, 2, 2 };
    static const int32_t prediction[][2] = { { 1, 0 }, { 0, 1 }, { 1, 2 },
                                             { 2, 1 }, { 2, 0 }, { -1, -1 } };
    static const float score[][2] = { { 0.6f, 0.3f }, { 0.9f, 0.1f }, { 0.5f, 0.4f },
                                      { 0.8f, 0.2f }, { 0.7f, 0.2f }, { NAN, NAN } };
    static const int32_t confusion[] = { 1, 1, 0, 0, 1, 1, 0, 0, 1 };
    char *at = test_path(folder, run), *path = test_path(at, "test.h5");
    cf_h5 *f;
    assert_ok(cf_h5_create(&f, path));
    assert_ok(cf_h5_write_strings(f, "/name", name, VIDEOS));
    assert_ok(cf_h5_write_strings(f, "/class", class, fits ? CLASSES : 2));
    assert_ok(cf_h5_write_i32(f, "/label", label, 1, (size_t[]){ VIDEOS }));
    assert_ok(cf_h5_write_i32(f, "/prediction", prediction[0], 2, (size_t[]){ VIDEOS, 2 }));
    assert_ok(cf_h5_write_f32(f, "/score", score[0], 2, (size_t[]){ VIDEOS, 2 }));
    assert_ok(cf_h5_write_i32(f, "/confusion", confusion, 2, (size_t[]){ CLASSES, CLASSES }));
    assert_ok(cf_h5_write_i32(f, "/epoch", (int32_t[]){ 4 }, 1, (size_t[]){ 1 }));
    assert_ok(cf_h5_write_i32(f, "/views", (int32_t[]){ 12 }, 1, (size_t[]){ 1 }));
    assert_ok(cf_h5_commit(f));
    cf_free(path);
    cf_free(at);
}

/* Three of the videos, in another order, the last one's frames no picture of one colour. */
static char *write_videos(void)
{
    static const char *const class[] = { "a", "b", "c" };
    const cf_pack_options o = {
        .encoding = CF_ENCODING_PNG, .png_level = 1, .class_name = class, .n_classes = 3
    };
    static uint8_t pixels[4 * 24 * 32 * 3];
    char *path = test_path(folder, "videos.h5");
    cf_pack_writer *w;
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i / 7);
    assert_ok(cf_pack_writer_new(&w, path, &o));
    assert_ok(cf_pack_writer_add(w, "b & c.mp4", 0, 25, pixels, 4, 24, 32));
    assert_ok(cf_pack_writer_add(w, "a.mp4", 0, 25, pixels, 2, 24, 32));
    assert_ok(cf_pack_writer_commit(w));
    return path;
}

static void classes_and_mistakes(void **state)
{
    (void)state;
    put_file("tests", "log.jsonl", STEP(0, 0, 4));
    write_test("tests", true);
    cf_report *r = read_one("tests");
    const test_record *t = &r->runs[0].test;
    size_t row[8], n;
    confused_pair pair[4];
    assert_true(r->runs[0].has_test);
    assert_int_equal(t->K, CLASSES);
    assert_int_equal(t->k, 2);
    assert_ok(test_mistakes(row, &n, t, 8));
    assert_int_equal(n, 2);
    assert_int_equal(row[0], 3); /* the more confident one first */
    assert_int_equal(row[1], 0);
    assert_ok(test_mistakes(row, &n, t, 1));
    assert_int_equal(n, 1);
    assert_ok(test_confused(pair, &n, t, 4));
    assert_int_equal(n, 2);
    assert_int_equal(pair[0].label, 0);
    assert_int_equal(pair[0].prediction, 1);
    assert_ok(test_ranking(row, &n, t));
    assert_int_equal(n, 3);
    assert_int_equal(row[0], 2);
    assert_int_equal(t->videos[1], 2);
    assert_int_equal(t->right[1], 1);
    char *page = page_of(r);
    assert_int_equal(occurrences(page, "<script"), 1); /* ours */
    assert_true(occurrences(page, "&lt;script&gt;alert(1)&lt;/script&gt;") > 3);
    assert_non_null(strstr(page, "it&#39;s &quot;quoted&quot;"));
    assert_non_null(strstr(page, "caf\xc3\xa9 &amp; \xef\xbf\xbd"));
    assert_non_null(strstr(page, "&lt;d&gt;.mp4"));
    assert_non_null(strstr(page, "5 videos of 3 classes, 3 right: top-1 60.00 %"));
    assert_non_null(strstr(page, "no config.yaml to say where the videos are"));
    assert_null(strstr(page, "data:image"));
    cf_free(page);
    cf_report_free(r);
    write_test("tests", false);
    r = read_one("tests");
    assert_false(r->runs[0].has_test);
    assert_non_null(strstr(r->runs[0].notes[0], "do not fit together"));
    cf_report_free(r);
}

static void mistakes_have_pictures(void **state)
{
    (void)state;
    char *videos = write_videos(), *config;
    assert_ok(cf_format(&config, "DATA:\n  VAL_FILE: '%s'\n", videos));
    put_file("shown", "log.jsonl", STEP(0, 0, 4));
    put_file("shown", "config.yaml", config);
    write_test("shown", true);
    cf_report *r = read_one("shown");
    char *page = page_of(r);
    assert_int_equal(occurrences(page, "data:image/jpeg;base64,"), 3); /* a.mp4; <d> is not there */
    assert_int_equal(occurrences(page, "not in "), 1);
    cf_free(page);
    assert_int_equal(unlink(videos), 0);
    page = page_of(r);
    assert_int_equal(occurrences(page, "data:image"), 0);
    assert_non_null(strstr(page, "The test data cannot be read here"));
    cf_free(page);
    cf_report_free(r);
    cf_free(config);
    cf_free(videos);
}

/* ---- tables, pictures, failures -------------------------------------------------------------- */

static void several_runs(void **state)
{
    (void)state;
    put_file("one/a", "log.jsonl", STEP(0, 0, 4) STEP(0, 1, 3) STEP(1, 2, 2.5) STEP(1, 3, 2));
    put_file("two/a", "log.jsonl",
             STEP(0, 0, 4) "{\"kind\":\"eval\",\"epoch\":0,\"step\":1,\"top1\":50}\n");
    put_file("one/a", "config.yaml", "TRAIN:\n  LR: 1.e-3\n");
    put_file("two/a", "config.yaml", "TRAIN:\n  LR: 2.e-3\n");
    char *first = test_path(folder, "one/a"), *second = test_path(folder, "two/a"), *text, *path;
    size_t n;
    cf_report *r;
    assert_ok(cf_report_read(&r, (const char *const[]){ first, second }, 2));
    assert_string_equal(r->runs[0].name, first); /* of one name: told apart by their folders */
    assert_string_equal(r->runs[1].name, second);
    char *page = page_of(r);
    const char *differ = strstr(page, "What differs between the runs");
    assert_non_null(differ);
    assert_non_null(strstr(differ, "TRAIN.LR"));
    assert_true(strstr(differ, "TRAIN.EPOCHS") > strstr(differ, "<details>"));
    assert_non_null(strstr(page, "id=\"by-epoch\""));
    cf_free(page);
    assert_ok(cf_report_json(&text, r));
    cJSON *json = cJSON_Parse(text);
    assert_int_equal(cJSON_GetArraySize(json), 2);
    const cJSON *run = cJSON_GetArrayItem(json, 1);
    assert_near(cJSON_GetObjectItem(run, "top1")->valuedouble, 50, 0);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(run, "top5")));
    assert_near(cJSON_GetObjectItem(run, "steps")->valuedouble, 1, 0);
    cJSON_Delete(json);
    cf_free(text);
    path = test_path(folder, "all.csv");
    assert_ok(cf_report_write_csv(r, path));
    assert_ok(cf_file_read(&text, &n, path));
    assert_int_equal(occurrences(text, "\n"), 1 + 4 + 1 + 1);
    assert_non_null(strstr(text, "run,kind,epoch,step,loss,"));
    assert_non_null(strstr(text, ",eval,0,1,"));
    cf_free(text);
    cf_free(path);
    cf_report_free(r);
    cf_free(first);
    cf_free(second);
}

static void pictures(void **state)
{
    (void)state;
    put_file("drawn", "log.jsonl", STEP(0, 0, 4) STEP(0, 1, 3) STEP(0, 2, 2));
    write_test("drawn", true);
    cf_report *r = read_one("drawn");
    char *all = test_path(folder, "all.png"), *some = test_path(folder, "pictures"), *path, *bytes;
    cf_picture p = { 0 };
    size_t n;
    if (strstr(cf_report_libraries(), "without")) {
        assert_fails(cf_report_write_png(r, all), CF_EUNSUPPORTED, "without librsvg");
        assert_false(cf_file_exists(all));
    } else {
        assert_ok(cf_report_write_png(r, all));
        assert_ok(cf_report_write_png(r, some));
        path = test_path(some, "confusion.png");
        assert_true(cf_file_exists(path));
        cf_free(path);
        path = test_path(some, "loss.png");
        assert_ok(cf_file_read(&bytes, &n, path));
        assert_ok(cf_png_decode(&p, (uint8_t *)bytes, n, path));
        assert_int_equal(p.width, 2 * CHART_WIDTH);
        assert_int_equal(p.height, 2 * (CHART_HEIGHT + CHART_HEAD));
        /* The title has been written: dark pixels in the first rows. */
        size_t dark = 0;
        for (size_t i = 0; i < p.width * 40; i++) dark += p.pixels[3 * i] < 80;
        assert_true(dark > 100 && dark < p.width * 10);
        cf_free(bytes);
        cf_free(path);
    }
    cf_picture_fini(&p);
    cf_report_free(r);
    cf_free(all);
    cf_free(some);
}

/* Whichever allocation fails, that is what is told, and nothing is left. */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    put_file("short", "log.jsonl",
             STEP(0, 0, 4) STEP(0, 1, 3) "{\"kind\":\"eval\",\"epoch\":0,\"top1\":5}\nbad\n");
    put_file("short", "config.yaml", "TRAIN:\n  LR: 1.e-3\n");
    write_test("short", true);
    char *at = test_path(folder, "short");
    size_t failures = 0, before = cf_memory_stats_get().bytes_now;
    for (size_t n = 1;; n = n < 400 ? n + 1 : n + n / 50) {
        cf_report *r = NULL;
        char *page = NULL;
        size_t size;
        size_t first = cf_memory_stats_get().allocations;
        cf_memory_fail_at(n);
        cf_status status = cf_report_read(&r, (const char *const[]){ at }, 1);
        if (status == CF_OK) status = cf_report_page(&page, &size, r);
        cf_memory_fail_at(0);
        size_t asked = cf_memory_stats_get().allocations - first;
        cf_free(page);
        cf_report_free(r);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
        if (status == CF_OK && asked >= n) fail_msg("allocation %zu failed and nobody said so", n);
        if (status == CF_OK) break;
        if (status != CF_ENOMEM)
            fail_msg("allocation %zu: status %d: %s", n, (int)status, cf_error());
        failures++;
    }
    assert_true(failures > 100);
    cf_free(at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_older_log),
        TEST(a_full_log),
        TEST(lines_that_come_again),
        TEST(damage_is_told),
        TEST(what_is_no_run),
        TEST(many_steps_make_a_small_page),
        TEST(classes_and_mistakes),
        TEST(mistakes_have_pictures),
        TEST(several_runs),
        TEST(pictures),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown) != 0;
}
