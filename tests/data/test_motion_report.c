/* The motion report: its arithmetic on made-up scores, the ceiling of what cannot see the order,
 * refusals, and the files it writes. */
#include "test_in_folder.h"

#include "crossframe/h5.h"
#include "crossframe/motion.h"

static void arithmetic(void **state)
{
    (void)state;
    float scores[4][CF_MOTION_CLASSES] = { 0 };
    const int32_t label[4] = { 8, 9, 20, 21 };
    const char *const name[4] = { "test/000001-forward", "test/000001-reverse",
                                  "test/000002-forward", "test/000002-reverse" };
    cf_motion_result r;
    scores[0][8] = 1;     /* right */
    scores[1][8] = 0.75f; /* kind and axis right, motion wrong */
    scores[2][12] = 0.5f; /* kind wrong, motion right: 12 = kind 1, motion 4 */
    scores[3][31] = 0.5f; /* all wrong: kind 3, motion 7 */
    assert_ok(cf_motion_result_compute(&r, scores[0], label, name, 4));
    assert_near(r.top1, 25, 0);
    assert_near(r.kind, 50, 0);
    assert_near(r.motion, 50, 0);
    assert_near(r.axis, 75, 0);
    assert_near(r.pair_difference, 0.5, 1e-7);
    assert_int_equal(r.videos, 4);
    assert_int_equal(r.pairs, 2);
}

/* What cannot see the order is right on one of each two. */
static void the_ceiling_without_order(void **state)
{
    (void)state;
    enum { PAIRS = 100 };
    static float scores[2 * PAIRS][CF_MOTION_CLASSES];
    static char text[2 * PAIRS][32];
    static const char *name[2 * PAIRS];
    static int32_t label[2 * PAIRS];
    cf_motion_result r;
    cf_rng rng = cf_rng_make(5, CF_RNG_TEST, 0, 0);
    for (size_t i = 0; i < 2 * PAIRS; i++) {
        size_t reverse = i / PAIRS; /* all forward first: pairs need not be neighbours */
        snprintf(text[i], sizeof text[i], "test/%zu-%s", i % PAIRS,
                 reverse ? "reverse" : "forward");
        name[i] = text[i];
        label[i] = (int32_t)(2 * (i % PAIRS % 40) + reverse);
        if (reverse)
            memcpy(scores[i], scores[i - PAIRS], sizeof scores[i]);
        else
            scores[i][(uint32_t)label[i] + cf_rng_below(&rng, 2)] = 1;
    }
    assert_ok(cf_motion_result_compute(&r, scores[0], label, name, 2 * PAIRS));
    assert_near(r.top1, 50, 0);
    assert_near(r.motion, 50, 0);
    assert_near(r.kind, 100, 0);
    assert_near(r.axis, 100, 0);
    assert_near(r.pair_difference, 0, 0);
}

static void refuses_scores_of_something_else(void **state)
{
    (void)state;
    static float scores[3][CF_MOTION_CLASSES];
    int32_t label[3] = { 0, 1, 2 };
    const char *name[3] = { "a-forward", "a-reverse", "b-forward" };
    cf_motion_result r;
    assert_fails(cf_motion_result_compute(&r, scores[0], label, name, 0), CF_EINVAL, "no videos");
    assert_fails(cf_motion_result_compute(&r, scores[0], label, name, 3), CF_EINVAL,
                 "one direction only");
    name[1] = "a-forward";
    assert_fails(cf_motion_result_compute(&r, scores[0], label, name, 2), CF_EINVAL,
                 "not the reverse");
    name[1] = "a";
    assert_fails(cf_motion_result_compute(&r, scores[0], label, name, 2), CF_EINVAL, "neither");
    name[1] = "a-reverse";
    label[1] = 3;
    assert_fails(cf_motion_result_compute(&r, scores[0], label, name, 2), CF_EINVAL,
                 "not the reverse");
    label[1] = 80;
    assert_fails(cf_motion_result_compute(&r, scores[0], label, name, 2), CF_EINVAL, "label 80");
    label[1] = 1;
    scores[1][7] = NAN;
    assert_fails(cf_motion_result_compute(&r, scores[0], label, name, 2), CF_EINVAL, "not finite");
    scores[1][7] = 0;
}

/* Scores of the test set, everything right. */
static char *write_scores(const char *name, const char *pack)
{
    cf_pack *p = NULL;
    assert_ok(cf_pack_open(&p, pack));
    char *path = test_path(folder, name);
    static float scores[90][CF_MOTION_CLASSES];
    static int32_t label[90];
    const char *names[90];
    cf_h5 *f = NULL;
    for (size_t i = 0; i < 90; i++) {
        cf_pack_video v = cf_pack_video_get(p, i);
        label[i] = v.label;
        names[i] = v.name;
        scores[i][v.label] = 1;
    }
    assert_ok(cf_h5_create(&f, path));
    assert_ok(cf_h5_write_f32(f, "/scores", scores[0], 2, (size_t[]){ 90, CF_MOTION_CLASSES }));
    assert_ok(cf_h5_write_i32(f, "/label", label, 1, (size_t[]){ 90 }));
    assert_ok(cf_h5_write_strings(f, "/name", names, 90));
    assert_ok(cf_h5_commit(f));
    cf_pack_free(p);
    return path;
}

static void report_files(void **state)
{
    (void)state;
    cf_motion_options make = cf_motion_defaults();
    make.out = folder;
    make.own_shapes = true;
    make.train_videos = make.stills = make.test_stills = 1;
    make.test_trajectories = 45;
    assert_ok(cf_motion_make(&make));
    char *out = test_path(folder, "report"), *pack = test_path(folder, "test.h5"), *bytes = NULL;
    char *scores = write_scores("scores.h5", pack);
    size_t n = 0;
    cf_motion_run runs[] = { { .name = "xclip", .scores_path = scores },
                             { .name = "a<b", .scores_path = scores } };
    cf_motion_report_options o = {
        .out = out, .test_pack = pack, .seconds = 12.34, .sheet_rows = 6
    };
    assert_ok(cf_motion_report(runs, 2, &o));
    assert_near(runs[0].result.top1, 100, 0);
    char *path = test_path(folder, "report/summary.json");
    assert_ok(cf_file_read(&bytes, &n, path));
    assert_non_null(strstr(bytes, "\"xclip\""));
    assert_non_null(strstr(bytes, "\"pair_difference\":\t1"));
    assert_non_null(strstr(bytes, "\"seconds\":\t12.3"));
    assert_non_null(strstr(bytes, "\"a<b\""));
    cf_free(bytes);
    cf_free(path);
    path = test_path(folder, "report/videos.png");
    cf_picture sheet = { 0 };
    assert_ok(cf_file_read(&bytes, &n, path));
    assert_ok(cf_png_decode(&sheet, (uint8_t *)bytes, n, path));
    assert_true(sheet.height > 6 * 80 && sheet.width > 4 * 80);
    cf_picture_fini(&sheet);
    cf_free(bytes);
    cf_free(path);
    runs[1].name = "xclip";
    assert_fails(cf_motion_report(runs, 2, &o), CF_EINVAL, "two runs");
    cf_free(scores);
    cf_free(out);
    cf_free(pack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(arithmetic),
        TEST(the_ceiling_without_order),
        TEST(refuses_scores_of_something_else),
        TEST(report_files),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown) != 0;
}
