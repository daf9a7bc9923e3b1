/* Every problem that check knows, planted, is told once and in its words; sound data have none. */
#include "test_in_folder.h"

#include "crossframe/check.h"
#include "crossframe/data.h"

static char told[8192];

static void tell(void *user, const char *line)
{
    (void)user;
    snprintf(told + strlen(told), sizeof told - strlen(told), "%s\n", line);
}

static cf_check *new_check(size_t n_classes, int64_t min_frames, bool full)
{
    static const char *const names[] = { "run", "walk", "jump" };
    cf_check *c;
    cf_check_options o = { n_classes, names, min_frames, full, tell, NULL };
    told[0] = 0;
    assert_ok(cf_check_new(&c, &o));
    return c;
}

/* As many problems, each of the texts in one of them. */
static void assert_told(cf_check *c, const char *const *texts)
{
    size_t n = 0;
    for (; texts[n]; n++)
        if (!strstr(told, texts[n])) fail_msg("\"%s\" is not told in:\n%s", texts[n], told);
    if (cf_check_problems(c) != n)
        fail_msg("%zu problems, expected %zu:\n%s", cf_check_problems(c), n, told);
    cf_check_free(c);
}
#define TOLD(c, ...) assert_told(c, (const char *const[]){ __VA_ARGS__, NULL })

static char *put(const char *name, const char *text)
{
    char *path = test_path(folder, name);
    assert_ok(cf_file_write(path, text, strlen(text)));
    return path;
}

static void lists_against_a_folder(void **state)
{
    (void)state;
    cf_free(put("a.avi", "content"));
    cf_free(put("b.avi", "CONTENT"));
    cf_free(put("copy.avi", "content"));
    cf_free(put("empty.avi", ""));
    char *sound = put("sound.txt", "a.avi 0\nb.avi 1\n");
    char *train = put("train.txt", "a.avi 0\nempty.avi 1\ngone.avi 1\nb.avi 2\nb.avi 1\nb.avi 3\n");
    char *test = put("test.txt", "copy.avi 0\n"), *bad = put("bad.txt", "a.avi 0\nb.avi\n");
    cf_check *c = new_check(2, 1, false);
    assert_ok(cf_check_list(c, sound, folder));
    assert_ok(cf_check_duplicates(c));
    assert_int_equal(cf_check_videos(c), 2);
    assert_told(c, (const char *const[]){ NULL });
    c = new_check(3, 1, false);
    assert_ok(cf_check_list(c, train, folder));
    assert_ok(cf_check_list(c, test, folder));
    assert_ok(cf_check_duplicates(c));
    TOLD(c, "line 2: empty.avi is empty", "line 3: gone.avi is missing in",
         "line 6: label 3 is outside 0 .. 2", "line 5: b.avi was in line 4 already, with another",
         "line 6: b.avi was in line 5 already, with another", "no video of class 1 (walk)",
         "no video of class 2 (jump)", "are the same video");
    c = new_check(0, 1, false);
    assert_ok(cf_check_list(c, bad, folder));
    assert_ok(cf_check_list(c, sound, "nowhere.tar"));
    TOLD(c, "line 2", "nowhere.tar");
    c = new_check(0, 1, true); /* not a video */
    assert_ok(cf_check_list(c, test, folder));
    TOLD(c, "line 1: copy.avi: ");
    char *sub = test_path(folder, "more"), *last = put("last.txt", "a.avi 0\nempty.avi 1\n");
    assert_ok(cf_make_folders(sub));
    cf_free(put("more/d.mp4", "content"));
    cf_free(put(".hidden.mp4", "content"));
    c = new_check(2, 1, false);
    assert_ok(cf_check_list(c, last, folder));
    assert_ok(cf_check_unlisted(c, folder));
    TOLD(c, "empty.avi is empty", "3 videos are in none of the lists");
    assert_true(strstr(told, "b.avi") && strstr(told, "copy.avi") && strstr(told, "more/d.mp4"));
    cf_free(sub);
    cf_free(last);
    cf_free(sound);
    cf_free(train);
    cf_free(test);
    cf_free(bad);
}

static void put_pack(const char *path, const char *first, const char *third, int32_t label)
{
    static const char *const names[] = { "run", "walk" };
    static uint8_t pixels[4 * 6 * 8 * 3];
    cf_pack_options o = { .encoding = CF_ENCODING_PNG, .class_name = names, .n_classes = 2 };
    cf_pack_writer *w;
    assert_ok(cf_pack_writer_new(&w, path, &o));
    for (int i = 0; i < 3; i++) {
        memset(pixels, i % 2 ? 9 : 5, sizeof pixels);
        if (i == 2 && *third == 'c') pixels[7] = 1;
        assert_ok(cf_pack_writer_add(w,
                                     i == 0   ? first
                                     : i == 1 ? "b"
                                              : third,
                                     i == 1 ? 1 : label, 25, pixels, i == 1 ? 2 : 4, 6, 8));
    }
    assert_ok(cf_pack_writer_commit(w));
}

static void packs(void **state)
{
    (void)state;
    char *path = test_path(folder, "a.h5"), *other = test_path(folder, "b.h5");
    put_pack(path, "a", "c", 0);
    cf_check *c = new_check(2, 1, true);
    assert_ok(cf_check_pack(c, path));
    assert_ok(cf_check_duplicates(c));
    assert_told(c, (const char *const[]){ NULL });
    put_pack(other, "x", "same", -1);
    c = new_check(3, 3, true);
    assert_ok(cf_check_pack(c, other));
    assert_ok(cf_check_duplicates(c));
    TOLD(c, "x has no label", "same has no label", "b is short: 2 frames", "no video of class 0",
         "2 classes, but there are 3 labels", "same in ");
    c = new_check(0, 1, true); /* "x" is the first pack's "a", "b" its "b" */
    assert_ok(cf_check_pack(c, path));
    put_pack(other, "x", "c", 0);
    assert_ok(cf_check_pack(c, other));
    assert_ok(cf_check_duplicates(c));
    TOLD(c, "a in ", "b in ", "c in ");
    char *list = put("rows.txt", "a 0\nnone 1\n");
    c = new_check(0, 5, false);
    assert_ok(cf_check_list(c, list, path));
    TOLD(c, "line 1: a is short: 4 frames", "line 2: none is missing in");
    char *bytes;
    size_t n;
    assert_ok(cf_file_read(&bytes, &n, path));
    assert_ok(cf_file_write(other, bytes, n / 2));
    c = new_check(0, 1, false);
    assert_ok(cf_check_pack(c, other));
    TOLD(c, "b.h5");
    cf_free(bytes);
    cf_free(list);
    cf_free(path);
    cf_free(other);
}

static void labels(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "ApplyEyeMakeup", "Apply Eye Makeup" },
        { "brush_hair", "brush hair" },
        { " two  blanks ", "two blanks" },
        { "YoYo", "Yo Yo" },
        { "TV watching", "TV watching" },
        { "passing American football (in game)", "passing American football (in game)" },
        { "caf\xc3\x89s", "caf\xc3\x89s" },
        { "_", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *fixed;
        assert_ok(cf_check_fixed_label(&fixed, cases[i][0]));
        assert_string_equal(fixed, cases[i][1]);
        cf_free(fixed);
    }
    const char *const names[] = { "run", "longJump", "Run" };
    cf_check *c = new_check(0, 1, false);
    assert_ok(cf_check_labels(c, "l.csv", names, 3));
    TOLD(c, "write \"long Jump\"", "labels 0 and 2 are both");
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    char *list = put("list.txt", "a.avi 0\nb.avi 1\ncopy.avi 0\n");
    size_t before = cf_memory_stats_get().bytes_now, failures = 0;
    for (size_t n = 1;; n++) {
        cf_check *c = NULL;
        cf_check_options o = { 3, NULL, 1, false, tell, NULL };
        told[0] = 0;
        cf_memory_fail_at(n);
        cf_status status = cf_check_new(&c, &o);
        if (status == CF_OK) status = cf_check_list(c, list, folder);
        if (status == CF_OK) status = cf_check_duplicates(c);
        if (status == CF_OK) status = cf_check_unlisted(c, folder);
        cf_memory_fail_at(0);
        cf_check_free(c);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
        if (status == CF_OK) break;
        assert_int_equal(status, CF_ENOMEM);
        failures++;
    }
    assert_true(failures > 10);
    cf_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lists_against_a_folder),
        TEST(packs),
        TEST(labels),
        TEST(every_failed_allocation_is_clean),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown) != 0;
}
