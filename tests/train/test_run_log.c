/* The run log: what is written, what a resumed run finds, what is refused. */
#include "../test.h"

#include "crossframe/train.h"

#include <cjson/cJSON.h>
#include <fcntl.h>

/* Kept out of line: gcc 12 takes the inlined name for a dangling one. */
__attribute__((noinline)) static char *new_folder(void) { return test_folder_new(); }

static cf_run_log *open_log(const char *path, int64_t steps, size_t evals)
{
    cf_run_log *l;
    assert_ok(cf_run_log_open(&l, path, steps, evals));
    return l;
}

static cf_step_record step_record(int epoch, int64_t step)
{
    return (cf_step_record){ .epoch = epoch,
                             .step = step,
                             .loss = 3.0 + (double)step / 7,
                             .lr = 1e-5 / 3,
                             .lr_new = 1e-4 / 3,
                             .grad_norm = 0.25,
                             .seconds = 0.5,
                             .data_seconds = 0.001,
                             .forward_seconds = 0.15,
                             .backward_seconds = 0.325,
                             .update_seconds = 0.02,
                             .videos_per_second = 64,
                             .gflops = 1000.0 / 7,
                             .memory_bytes = 123456789012,
                             .time = 1769860800.0625 + (double)step };
}

static void put_step(cf_run_log *l, int epoch, int64_t step)
{
    cf_step_record r = step_record(epoch, step);
    assert_ok(cf_run_log_step(l, &r));
}

static void put_eval(cf_run_log *l, int epoch)
{
    cf_eval_record r = { .epoch = epoch,
                         .step = 2 * epoch + 2,
                         .top1 = 100.0 / 3,
                         .top5 = 90,
                         .mean_class = 200.0 / 3,
                         .videos = 12,
                         .views = 1,
                         .frames = 8,
                         .weights = "last",
                         .seconds = 1.5,
                         .time = 1769860800.125 };
    assert_ok(cf_run_log_eval(l, &r));
}

static char *text_of(const char *path)
{
    char *text;
    size_t n;
    assert_ok(cf_file_read(&text, &n, path));
    return text;
}

static void append_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "ab");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Two epochs of two steps and an eval each. */
static void write_run(cf_run_log *l, int64_t from)
{
    for (int64_t s = from; s < 4; s++) {
        put_step(l, (int)(s / 2), s);
        if (s % 2 == 1) put_eval(l, (int)(s / 2));
    }
}

static void lines_are_as_designed(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "log.jsonl");
    cf_run_log *l = open_log(path, 0, 0);
    put_step(l, 1, 5);
    put_eval(l, 1);
    assert_int_equal(cf_run_log_evals(l), 1);
    assert_ok(cf_run_log_sync(l));
    cf_run_log_close(l);
    char *text = text_of(path);
    assert_string_equal(text, "{\"kind\":\"step\",\"epoch\":1,\"step\":5,\"loss\":3.71428571,"
                              "\"lr\":3.33333333e-06,\"lr_new\":3.33333333e-05,"
                              "\"grad_norm\":0.25,\"seconds\":0.5,\"data_seconds\":0.001,"
                              "\"forward_seconds\":0.15,\"backward_seconds\":0.325,"
                              "\"update_seconds\":0.02,\"videos_per_second\":64,"
                              "\"gflops\":142.857,\"memory_bytes\":123456789012,"
                              "\"time\":1769860805.062}\n"
                              "{\"kind\":\"eval\",\"epoch\":1,\"step\":4,\"top1\":33.3333333,"
                              "\"top5\":90,\"mean_class\":66.6666667,\"videos\":12,\"views\":1,"
                              "\"frames\":8,\"weights\":\"last\",\"seconds\":1.5,"
                              "\"time\":1769860800.125}\n");
    cf_free(text);
    cf_free(path);
    test_folder_remove(folder);
}

static void numbers_are_always_json(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "log.jsonl");
    cf_run_log *l = open_log(path, 0, 0);
    cf_step_record r = { .epoch = -2147483647,
                         .step = INT64_MIN,
                         .loss = NAN,
                         .lr = INFINITY,
                         .grad_norm = -INFINITY,
                         .seconds = -1.7976931348623157e308,
                         .data_seconds = 5e-324,
                         .forward_seconds = NAN,
                         .backward_seconds = 1.7976931348623157e308,
                         .update_seconds = INFINITY,
                         .videos_per_second = -NAN,
                         .gflops = -1.7976931348623157e308,
                         .memory_bytes = INT64_MIN,
                         .time = 1.7976931348623157e308,
                         .skipped = INT64_MIN };
    assert_ok(cf_run_log_step(l, &r));
    cf_eval_record e = { .epoch = -2147483647,
                         .step = INT64_MIN,
                         .top1 = NAN,
                         .top5 = INFINITY,
                         .mean_class = -1.7976931348623157e308,
                         .videos = INT64_MAX,
                         .unlabelled = INT64_MIN,
                         .missing = INT64_MIN,
                         .views = 2147483647,
                         .frames = 2147483647,
                         .weights = "best",
                         .seconds = -1.7976931348623157e308,
                         .time = -1.7976931348623157e308 };
    assert_ok(cf_run_log_eval(l, &e));
    cf_run_log_close(l);
    char *text = text_of(path), *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        cJSON *object = cJSON_Parse(line);
        if (!object) fail_msg("no JSON: %s", line);
        cJSON_Delete(object);
        assert_null(strstr(line, "nan"));
        assert_null(strstr(line, "inf"));
    }
    char *again = text_of(path);
    assert_non_null(strstr(again, "\"loss\":null"));
    assert_non_null(strstr(again, ",\"skipped\":-9223372036854775808}\n"));
    assert_non_null(strstr(again, ",\"missing\":-9223372036854775808,\"seconds\":"));
    cf_free(again);
    cf_free(text);
    cf_free(path);
    test_folder_remove(folder);
}

static void a_resumed_log_reads_as_unbroken(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "log.jsonl");
    cf_run_log *l = open_log(path, 0, 0);
    write_run(l, 0);
    cf_run_log_close(l);
    char *whole = text_of(path);
    /* resumed at each step; at a step that ends an epoch both after and before its test */
    for (int64_t keep = 0; keep <= 4; keep++) {
        for (int before = 0; before <= (keep > 0 && keep % 2 == 0); before++) {
            size_t evals = (size_t)(keep / 2) - (size_t)before;
            l = open_log(path, keep, evals);
            assert_int_equal(cf_run_log_evals(l), evals);
            if (before) put_eval(l, (int)(keep / 2) - 1);
            write_run(l, keep);
            cf_run_log_close(l);
            char *again = text_of(path);
            assert_string_equal(again, whole);
            cf_free(again);
        }
    }
    l = open_log(path, INT64_MAX, SIZE_MAX); /* nothing is cut */
    assert_int_equal(cf_run_log_evals(l), 2);
    cf_run_log_close(l);
    char *again = text_of(path);
    assert_string_equal(again, whole);
    cf_free(again);
    cf_free(whole);
    cf_free(path);
    test_folder_remove(folder);
}

static void a_half_written_line_is_dropped(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "log.jsonl");
    cf_run_log *l = open_log(path, 0, 0);
    put_step(l, 0, 0);
    cf_run_log_close(l);
    char *whole = text_of(path);
    static const char *const ends[] = { "{", "{\"kind\":\"step\",\"epoch\":0,\"st", "{\"ki\n", "\n",
                                        "{\"kind\":\"step\",\"epoch\":0,\"step\":1}" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        append_text(path, ends[i]);
        l = open_log(path, 9, 9);
        cf_run_log_close(l);
        char *text = text_of(path);
        assert_string_equal(text, whole);
        cf_free(text);
    }
    cf_free(whole);
    assert_ok(cf_file_write(path, "{\"kind\":\"st", 11)); /* died in its very first line */
    l = open_log(path, 0, 0);
    put_step(l, 0, 0);
    cf_run_log_close(l);
    cf_free(path);
    test_folder_remove(folder);
}

static void a_foreign_file_is_left_alone(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "log.jsonl");
    static const char *const texts[] = { "dear diary,\n",
                                         "dear diary",
                                         "[1]\n{}\n",
                                         "{\"a\":1}\n{}\n",
                                         "{\"kind\":\"step\",\"step\":0}\nx\n{\"kind\":\"eval\"}\n",
                                         "{\"kind\":\"step\",\"step\":\"0\"}\n{}\n" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_ok(cf_file_write(path, texts[i], strlen(texts[i])));
        cf_run_log *l;
        assert_fails(cf_run_log_open(&l, path, 5, 5), CF_EFORMAT, "is not a run log");
        char *text = text_of(path);
        assert_string_equal(text, texts[i]);
        cf_free(text);
    }
    char *below = test_path(folder, "none/log.jsonl");
    cf_run_log *l;
    assert_fails(cf_run_log_open(&l, below, 0, 0), CF_EIO, "cannot open");
    cf_free(below);
    cf_free(path);
    test_folder_remove(folder);
}

static void writing_allocates_nothing(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "log.jsonl");
    cf_run_log *l = open_log(path, 0, 0);
    size_t before = cf_memory_stats_get().allocations;
    put_step(l, 0, 0);
    put_eval(l, 0);
    assert_int_equal(cf_memory_stats_get().allocations, before);
    cf_run_log_close(l);
    cf_free(path);
    test_folder_remove(folder);
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    char *folder = new_folder();
    char *path = test_path(folder, "log.jsonl");
    cf_run_log *l = open_log(path, 0, 0);
    int full = open("/dev/full", O_WRONLY), fd = -1;
    for (int i = 3; i < 64; i++) { /* the log's descriptor */
        char link[512], name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%d", i);
        ssize_t n = readlink(name, link, sizeof link - 1);
        if (n > 0 && (link[n] = 0, strstr(link, "log.jsonl"))) fd = i;
    }
    if (fd >= 0 && full >= 0) {
        dup2(full, fd);
        cf_step_record r = step_record(0, 0);
        assert_fails(cf_run_log_step(l, &r), CF_EIO, "cannot write");
    }
    close(full);
    cf_run_log_close(l);
    cf_free(path);
    test_folder_remove(folder);
}

TESTS(TEST(lines_are_as_designed), TEST(numbers_are_always_json),
      TEST(a_resumed_log_reads_as_unbroken), TEST(a_half_written_line_is_dropped),
      TEST(a_foreign_file_is_left_alone), TEST(writing_allocates_nothing),
      TEST(a_full_disk_is_an_error))
