/* Lists from the datasets' own files, draws of K shots and of unseen classes; refusals with their
 * place. The draw of seed 1024 is written down: it must be the same everywhere. */
#include "test_in_folder.h"

#include "crossframe/splits.h"

static const char *const class_names[] = { "brush hair", "Handstand Pushups", "kick" };
static const cf_split_classes classes = { class_names, 3 };

static void put(const char *name, const char *text)
{
    char *path = test_path(folder, name);
    assert_ok(cf_file_write(path, text, strlen(text)));
    cf_free(path);
}

static void assert_list(cf_split *s, const char *expected)
{
    char got[4096] = "";
    for (size_t i = 0; i < s->n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s %d\n", s->video[i].path,
                 s->video[i].label);
    assert_string_equal(got, expected);
    cf_split_fini(s);
}

static void ucf101(void **state)
{
    (void)state;
    cf_split train = { 0 }, test = { 0 };
    put("classInd.txt", "1 BrushHair\r\n2 HandstandPushups\r\n3 Kick\r\n");
    put("trainlist01.txt", "BrushHair/a.avi 1\r\nHandStandPushups/b c.avi 2\r\n\r\n");
    put("testlist01.txt", "Kick/c.avi\nBrushHair/d.avi");
    assert_ok(cf_split_ucf101(&train, &test, folder, 1, &classes));
    assert_list(&train, "BrushHair/a.avi 0\nHandStandPushups/b c.avi 1\n");
    assert_list(&test, "Kick/c.avi 2\nBrushHair/d.avi 0\n");
    assert_fails(cf_split_ucf101(&train, &test, folder, 2, &classes), CF_ENOTFOUND,
                 "trainlist02.txt");
    static const char *const wrong[][2] = {
        { "Kick/a.avi 2\n", "trainlist01.txt, line 1: 2 is not the number of the class 'Kick'" },
        { "\nKick/a.avi 99999\n", "line 2: 99999 is not" },
        { "Jump/a.avi 1\n", "line 1: the class 'Jump' is not among the 3 labels" },
        { "a.avi 1\n", "not CLASS/FILE" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put("trainlist01.txt", wrong[i][0]);
        cf_status status = cf_split_ucf101(&train, &test, folder, 1, &classes);
        assert_int_not_equal(status, CF_OK);
        if (!strstr(cf_error(), wrong[i][1])) fail_msg("%s", cf_error());
        cf_split_fini(&train);
        cf_split_fini(&test);
    }
}

static void hmdb51(void **state)
{
    (void)state;
    cf_split train = { 0 }, test = { 0 };
    put("brush_hair_test_split2.txt", "a.avi 1 \nb.avi 2 \nc.avi 0 \n");
    put("kick_test_split2.txt", "d e.avi 2\n");
    assert_fails(cf_split_hmdb51(&train, &test, folder, 2, &classes), CF_ENOTFOUND,
                 "of class 1, \"Handstand Pushups\"");
    cf_split_fini(&train);
    cf_split_fini(&test);
    put("handstand_pushups_test_split2.txt", "f.avi 1\n");
    assert_ok(cf_split_hmdb51(&train, &test, folder, 2, &classes));
    assert_list(&train, "brush_hair/a.avi 0\nhandstand_pushups/f.avi 1\n");
    assert_list(&test, "brush_hair/b.avi 0\nkick/d e.avi 2\n");
    put("kick_test_split2.txt", "d.avi 3\n");
    assert_fails(cf_split_hmdb51(&train, &test, folder, 2, &classes), CF_EFORMAT,
                 "kick_test_split2.txt, line 1: not a file and 0, 1 or 2");
    cf_split_fini(&train);
    cf_split_fini(&test);
}

static void kinetics(void **state)
{
    (void)state;
    cf_split s = { 0 };
    char *path = test_path(folder, "train.csv");
    put("train.csv", "\xef\xbb\xbflabel,youtube_id,time_start,time_end,split,is_cc\n"
                     "brush hair,-aB_1,12,22,train,0\n\"kick\",x\"y,0,10.5,train,1\n");
    assert_ok(cf_split_kinetics(&s, path, NULL, &classes));
    assert_list(&s, "-aB_1_000012_000022.mp4 0\nx\"y_000000_000010.mp4 2\n");
    assert_ok(cf_split_kinetics(&s, path, "{split}/{label_}/{label}-{id}.webm", &classes));
    assert_list(&s, "train/brush_hair/brush hair--aB_1.webm 0\ntrain/kick/kick-x\"y.webm 2\n");
    assert_fails(cf_split_kinetics(&s, path, "{name}.mp4", &classes), CF_EINVAL, "{name}.mp4");
    cf_split_fini(&s);
    static const char *const wrong[][2] = {
        { "youtube_id,time_start,time_end,split\na,1,2,test\n", "line 1: the header has no column "
                                                                "'label'" },
        { "label,youtube_id,time_start,time_end\nkick,a,x,2\n", "line 2: 'x' is no time" },
        { "label,youtube_id,time_start,time_end\nkick,a,1\n", "line 2: 3 fields" },
        { "label,youtube_id,time_start,time_end\nkick,../a,1,2\n", "no youtube_id" },
        { "label,youtube_id,time_start,time_end\njump,a,1,2\n", "'jump' is not among" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put("train.csv", wrong[i][0]);
        assert_int_not_equal(cf_split_kinetics(&s, path, NULL, &classes), CF_OK);
        if (!strstr(cf_error(), wrong[i][1])) fail_msg("%s", cf_error());
        cf_split_fini(&s);
    }
    cf_free(path);
}

/* Videos a .. t of two classes, in an order that must not matter. */
static void make_videos(cf_split *s, bool backwards)
{
    put("classInd.txt", "1 BrushHair\n3 Kick\n");
    char text[2048] = "";
    for (int i = 0; i < 40; i++) {
        int k = backwards ? 39 - i : i;
        sprintf(text + strlen(text), "%s/%c.avi\n", k % 2 ? "Kick" : "BrushHair", 'a' + k / 2);
    }
    put("trainlist03.txt", text);
    put("testlist03.txt", "");
    assert_ok(cf_split_ucf101(s, s, folder, 3, &classes));
    assert_int_equal(s->n, 40);
}

static void shots(void **state)
{
    (void)state;
    cf_split all = { 0 }, other = { 0 }, two = { 0 }, four = { 0 }, again = { 0 };
    make_videos(&all, false);
    make_videos(&other, true);
    assert_ok(cf_split_shots(&two, &all, 2, 1024));
    assert_ok(cf_split_shots(&four, &all, 4, 1024));
    assert_ok(cf_split_shots(&again, &other, 4, 1024));
    assert_int_equal(four.n, 8);
    size_t common = 0;
    for (size_t i = 0; i < 8; i++) {
        assert_string_equal(four.video[i].path, again.video[i].path);
        for (size_t k = 0; k < 4; k++) common += strcmp(four.video[i].path, two.video[k].path) == 0;
    }
    assert_int_equal(common, 4);
    cf_split_fini(&four);
    cf_split_fini(&again);
    assert_list(&two, "BrushHair/n.avi 0\nBrushHair/s.avi 0\nKick/j.avi 2\nKick/t.avi 2\n");
    assert_fails(cf_split_shots(&four, &all, 21, 1), CF_EINVAL, "class 0 has 20 videos");
    assert_ok(cf_split_shots(&four, &all, 20, 1));
    assert_int_equal(four.n, 40);
    cf_split_fini(&four);
    cf_split_fini(&all);
    cf_split_fini(&other);
}

/* Each of 20 videos is among 5 drawn in a quarter of 2,000 seeds: within 5 standard deviations. */
static void draws_are_even(void **state)
{
    (void)state;
    enum { SEEDS = 2000 };
    cf_split all = { 0 };
    size_t count[20] = { 0 };
    make_videos(&all, false);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        cf_split few = { 0 };
        assert_ok(cf_split_shots(&few, &all, 5, seed));
        for (size_t i = 0; i < 5; i++) count[few.video[i].path[strlen("BrushHair/")] - 'a']++;
        cf_split_fini(&few);
    }
    for (size_t i = 0; i < 20; i++) assert_near(count[i], SEEDS / 4.0, 5 * 19.4);
    cf_split_fini(&all);
}

static void unseen_classes(void **state)
{
    (void)state;
    static const char *const seen_names[] = { "Kick", "wrestling", "tying tie", "dying hair",
                                              "hugging" };
    static const char *const names[] = { "kick",        "arm wrestling",      "tying necktie",
                                         "dyeing hair", "hugging (not baby)", "zumba" };
    const cf_split_classes seen = { seen_names, 5 }, all = { names, 6 };
    size_t *unseen, n;
    assert_ok(cf_split_unseen(&unseen, &n, &all, &seen));
    assert_int_equal(n, 5);
    for (size_t i = 0; i < 5; i++) assert_int_equal(unseen[i], i + 1);
    assert_string_equal(cf_split_near(names[1], &seen), "wrestling");
    assert_null(cf_split_near(names[2], &seen));
    assert_string_equal(cf_split_near(names[3], &seen), "dying hair");
    assert_string_equal(cf_split_near(names[4], &seen), "hugging");
    assert_null(cf_split_near(names[5], &seen));
    size_t a[3], b[3], differ = 0;
    for (uint32_t set = 0; set < 20; set++) {
        assert_ok(cf_split_draw(a, 3, unseen, n, 7, set));
        assert_ok(cf_split_draw(b, 3, unseen, n, 7, 0));
        assert_true(a[0] < a[1] && a[1] < a[2] && a[0] >= 1 && a[2] <= 5);
        differ += memcmp(a, b, sizeof a) != 0;
    }
    assert_true(differ > 10 && differ < 20);
    assert_fails(cf_split_draw(a, 6, unseen, n, 7, 1), CF_EINVAL, "6 classes");
    cf_split videos = { 0 }, picked = { 0 };
    make_videos(&videos, false);
    const size_t only[] = { 2 };
    assert_ok(cf_split_pick(&picked, &videos, only, 1));
    assert_int_equal(picked.n, 20);
    assert_int_equal(picked.video[0].label, 0);
    assert_string_equal(picked.video[0].path, "Kick/a.avi");
    cf_split_fini(&videos);
    cf_split_fini(&picked);
    cf_free(unseen);
}

static void written_whole_or_not_at_all(void **state)
{
    (void)state;
    cf_split all = { 0 }, none = { 0 };
    char *path = test_path(folder, "list.txt");
    make_videos(&all, false);
    assert_fails(cf_split_write(&none, path), CF_EINVAL, "empty");
    assert_false(cf_file_exists(path));
    assert_ok(cf_split_write(&all, path));
    char *text;
    size_t n;
    assert_ok(cf_file_read(&text, &n, path));
    assert_non_null(strstr(text, "\nKick/b.avi 2\n"));
    cf_free(text);
    cf_split_fini(&all);
    cf_free(path);
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    cf_split all = { 0 };
    make_videos(&all, false);
    cf_split_fini(&all);
    size_t before = cf_memory_stats_get().bytes_now, failures = 0;
    for (size_t n = 1;; n++) {
        cf_split few = { 0 };
        cf_memory_fail_at(n);
        cf_status status = cf_split_ucf101(&all, &all, folder, 3, &classes);
        if (status == CF_OK) status = cf_split_shots(&few, &all, 3, 1);
        cf_memory_fail_at(0);
        cf_split_fini(&all);
        cf_split_fini(&few);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
        if (status == CF_OK) break;
        assert_int_equal(status, CF_ENOMEM);
        failures++;
    }
    assert_true(failures > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ucf101),
        TEST(hmdb51),
        TEST(kinetics),
        TEST(shots),
        TEST(draws_are_even),
        TEST(unseen_classes),
        TEST(written_whole_or_not_at_all),
        TEST(every_failed_allocation_is_clean),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown) != 0;
}
