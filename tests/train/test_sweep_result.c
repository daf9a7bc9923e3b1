/* Numbers that a sweep takes from a test.h5, and what of such a file it refuses. */
#include "../test_in_folder.h"

#include "crossframe/h5.h"
#include "train/sweep_parts.h"

enum { VIDEOS = 7, CLASSES = 4, METRICS = 4 };

/* What is written. Video 5 could not be read, 6 has no label; no video is of class 3. */
typedef struct {
    int32_t label[VIDEOS], prediction[VIDEOS][2], confusion[CLASSES * CLASSES];
    size_t classes, scores;
} content;

static const content good = {
    .label = { 0, 0, 0, 1, 2, 2, -1 },
    .prediction = { { 0, 1 }, { 1, 0 }, { 2, 1 }, { 1, 0 }, { 2, 0 }, { -1, -1 }, { 0, 2 } },
    .confusion = { 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0 },
    .classes = CLASSES,
    .scores = VIDEOS
};

static char *write_test(const content *c)
{
    static const char *const name[] = { "a", "b", "c", "d", "e", "f", "g" };
    static const char *const class[] = { "p", "q", "r", "s" };
    static const float score[VIDEOS][2];
    char *path = test_path(folder, "test.h5");
    cf_h5 *f;
    assert_ok(cf_h5_create(&f, path));
    assert_ok(cf_h5_write_strings(f, "/name", name, VIDEOS));
    assert_ok(cf_h5_write_strings(f, "/class", class, c->classes));
    assert_ok(cf_h5_write_i32(f, "/label", c->label, 1, (size_t[]){ VIDEOS }));
    assert_ok(cf_h5_write_i32(f, "/prediction", c->prediction[0], 2, (size_t[]){ VIDEOS, 2 }));
    assert_ok(cf_h5_write_f32(f, "/score", score[0], 2, (size_t[]){ c->scores, 2 }));
    assert_ok(cf_h5_write_i32(f, "/confusion", c->confusion, 2, (size_t[]){ CLASSES, CLASSES }));
    assert_ok(cf_h5_commit(f));
    return path;
}

/* The numbers of the file in a sweep with all metrics, and a group that holds q and r as one. */
static cf_status read_numbers(sweep_result *out, const content *c, size_t group_classes)
{
    char *group_of[] = { "x", "y", "y", "z" };
    const sweep_group group = {
        .name = "kind", .path = "kind.csv", .line = 6, .of = { group_of, group_classes }
    };
    sweep_metric metrics[METRICS] = { { .name = "top1" },
                                      { .name = "top5" },
                                      { .name = "mean_class" },
                                      { .name = "kind", .group = &group } };
    const cf_sweep s = { .path = "s.yaml", .metrics = metrics, .n_metrics = METRICS };
    char *path = write_test(c);
    cf_status status = sweep_read_metrics(out, &s, path);
    cf_free(path);
    return status;
}

static void numbers(void **state)
{
    (void)state;
    sweep_result r = { 0 };
    assert_ok(read_numbers(&r, &good, CLASSES));
    assert_true(r.done);
    assert_int_equal(r.videos, 5);
    assert_near(r.value[0], 60, 1e-9);                    /* a, d, e */
    assert_near(r.value[1], 80, 1e-9);                    /* and b, by its second */
    assert_near(r.value[2], (100 / 3.0 + 200) / 3, 1e-9); /* of three classes with videos */
    assert_near(r.value[3], 60, 1e-9);
    cf_free(r.value);

    content one_kind = good; /* c was said to be of r, is of q */
    one_kind.label[2] = 1;
    one_kind.confusion[2] = 0;
    one_kind.confusion[CLASSES + 2] = 1;
    r = (sweep_result){ 0 };
    assert_ok(read_numbers(&r, &one_kind, CLASSES));
    assert_near(r.value[0], 60, 1e-9);
    assert_near(r.value[3], 80, 1e-9);
    cf_free(r.value);
}

static void check_refused(const content *c, size_t group_classes, const char *message)
{
    sweep_result r = { .seconds = 3 };
    assert_int_not_equal(read_numbers(&r, c, group_classes), CF_OK);
    if (!strstr(cf_error(), message)) fail_msg("\"%s\" does not say \"%s\"", cf_error(), message);
    assert_null(strchr(cf_error(), '\n'));
    assert_false(r.done);
    assert_null(r.value);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    content c = good;
    c.label[1] = CLASSES;
    check_refused(&c, CLASSES, "test.h5: the label of row 1 does not fit the others");
    c = good;
    c.prediction[2][1] = CLASSES;
    check_refused(&c, CLASSES, "test.h5: the prediction of row 2 does not fit the others");
    c = good;
    c.label[3] = -2;
    check_refused(&c, CLASSES, "test.h5: the label of row 3 does not fit the others");
    c = good;
    c.classes = 3;
    check_refused(&c, CLASSES, "16 confusions and 3 classes do not fit together");
    c = good;
    c.scores = VIDEOS - 1;
    check_refused(&c, CLASSES, "14 predictions, 12 scores");
    c = good;
    for (size_t i = 0; i < VIDEOS; i++) c.label[i] = -1;
    check_refused(&c, CLASSES, "no video has a label and could be read");
    check_refused(&good, 3, "GROUPS kind: kind.csv has 3 classes");
}

static void a_cut_file_is_refused(void **state)
{
    (void)state;
    const cf_sweep s = { .path = "s.yaml" };
    sweep_result r = { 0 };
    char *path = write_test(&good), *text;
    size_t n;
    assert_ok(cf_file_read(&text, &n, path));
    for (size_t part = 0; part < 4; part++) {
        assert_ok(cf_file_write(path, text, n * part / 4));
        assert_int_not_equal(sweep_read_metrics(&r, &s, path), CF_OK);
        assert_non_null(strstr(cf_error(), "test.h5"));
        assert_null(strchr(cf_error(), '\n'));
    }
    cf_free(text);
    cf_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_refused, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(a_cut_file_is_refused, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
