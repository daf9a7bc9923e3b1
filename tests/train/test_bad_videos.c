/* DATA.ON_ERROR: a list that names videos which are not there. Stop tells before anything is done;
 * with skip the run goes on, also when it is resumed, and says how often. */
#include "micro.h"

#include "crossframe/h5.h"

enum { GONE = 2 };

/* FOLDER/NAME: all videos of the pack, of labels 0 to 3 in turn, and two that it does not hold. */
static void write_list(const char *folder, const char *name, int videos)
{
    char *path = test_path(folder, name), text[1000] = "";
    for (int i = 0; i < videos; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "video %d %d\n", i,
                 i % MICRO_CLASSES);
    strcat(text, "gone 0.mp4 3\ngone 1.mp4 0\n");
    assert_ok(cf_file_write(path, text, strlen(text)));
    cf_free(path);
}

static char *key(const char *name, const char *folder, const char *file)
{
    char *text;
    assert_ok(cf_format(&text, "%s='%s/%s'", name, folder, file));
    return text;
}

typedef struct {
    char *folder, *train, *val, *root;
} setting;

static setting setting_new(void)
{
    setting s = { .folder = micro_folder(false) };
    write_list(s.folder, "train.txt", MICRO_TRAIN);
    write_list(s.folder, "val.txt", MICRO_TEST);
    s.train = key("DATA.TRAIN_FILE", s.folder, "train.txt");
    s.val = key("DATA.VAL_FILE", s.folder, "val.txt");
    s.root = key("DATA.ROOT", s.folder, "train.h5");
    return s;
}

static void setting_fini(setting *s)
{
    cf_free(s->train);
    cf_free(s->val);
    cf_free(s->root);
    test_folder_remove(s->folder);
}

/* How many lines hold the text, and the sum of the numbers behind it. */
static size_t count_in_log(int *sum, const char *folder, const char *text)
{
    char *path = test_path(folder, "log.jsonl"), *log;
    size_t n, lines = 0;
    *sum = 0;
    assert_ok(cf_file_read(&log, &n, path));
    for (const char *at = log; (at = strstr(at, text)); lines++) {
        at += strlen(text);
        *sum += atoi(at);
    }
    cf_free(log);
    cf_free(path);
    return lines;
}

static void stop_tells_before_the_run(void **state)
{
    (void)state;
    setting s = setting_new();
    cf_run *r = NULL;
    const char *const more[] = { s.train, s.root, NULL };
    cf_config *c = micro_config(s.folder, "run", more);
    assert_fails(cf_run_new(&r, c, NULL), CF_ENOTFOUND, "train.txt, line 28: ");
    assert_fails(
        cf_run_new(&r, c, NULL), CF_ENOTFOUND,
        "train.h5 holds no video 'gone 0.mp4', also 'gone 1.mp4'; missing in all: 2 of 29");
    assert_null(r);
    cf_config_free(c);
    setting_fini(&s);
}

static void skip_counts_and_resumes(void **state)
{
    (void)state;
    setting s = setting_new();
    const char *const more[] = { s.train, s.val, s.root, "DATA.ON_ERROR=skip", NULL };
    const char *const again[] = {
        s.train, s.val, s.root, "DATA.ON_ERROR=skip", "TRAIN.AUTO_RESUME=True", NULL
    };
    micro_train_whole(s.folder, "whole", more);
    assert_int_equal(micro_train(micro_config(s.folder, "parts", more), 3), CF_EINTERRUPTED);
    assert_int_equal(micro_train(micro_config(s.folder, "parts", again), 9), CF_EINTERRUPTED);
    assert_ok(micro_train(micro_config(s.folder, "parts", again), 0));
    char *whole = test_path(s.folder, "whole"), *parts = test_path(s.folder, "parts");
    char *a = test_path(whole, "last.safetensors"), *b = test_path(parts, "last.safetensors");
    char *x = test_path(whole, "log.jsonl"), *y = test_path(parts, "log.jsonl");
    int sum, tested;
    assert_same_tensors(a, b);
    assert_same_log(x, y);
    /* Two epochs show 28 of the 29 videos each. */
    count_in_log(&sum, whole, "\"skipped\":");
    assert_in_range(sum, 2 * (GONE - 1), 2 * GONE);
    assert_int_equal(count_in_log(&tested, whole, "\"videos\":9,\"views\":1,\"frames\":3"), 2);
    assert_int_equal(count_in_log(&tested, whole, "\"missing\":"), 2);
    assert_int_equal(tested, 2 * GONE);
    char *const paths[] = { whole, parts, a, b, x, y };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) cf_free(paths[i]);
    setting_fini(&s);
}

static void scores_of_the_missing_are_no_numbers(void **state)
{
    (void)state;
    setting s = setting_new();
    micro_train_whole(s.folder, "run", (const char *const[]){ "TRAIN.EPOCHS=1", NULL });
    const char *const more[] = { s.val, s.root, "DATA.ON_ERROR=skip", NULL };
    char *scores = test_path(s.folder, "scores.h5"),
         *last = test_path(s.folder, "run/last.safetensors");
    cf_config *c = micro_config(s.folder, "test", more);
    const cf_run_options o = { .only_test = true, .scores = scores };
    cf_eval_record e;
    cf_run *run;
    cf_h5 *f;
    float *value;
    size_t n;
    assert_ok(cf_config_set_plain(c, "MODEL.RESUME", last, "--resume"));
    assert_ok(cf_run_new(&run, c, &o));
    assert_ok(cf_run_test(&e, run));
    assert_int_equal(e.videos, MICRO_TEST);
    assert_int_equal(e.missing, GONE);
    assert_ok(cf_h5_open(&f, scores));
    assert_ok(cf_h5_read_f32(&value, &n, f, "/scores"));
    cf_h5_close(f);
    assert_int_equal(n, (MICRO_TEST + GONE) * MICRO_CLASSES);
    for (size_t i = 0; i < n; i++)
        assert_true(isnan(value[i]) == (i >= MICRO_TEST * MICRO_CLASSES));
    cf_free(value);
    cf_run_free(run);
    cf_config_free(c);
    cf_free(scores);
    cf_free(last);
    setting_fini(&s);
}

TESTS(TEST(stop_tells_before_the_run), TEST(skip_counts_and_resumes),
      TEST(scores_of_the_missing_are_no_numbers))
