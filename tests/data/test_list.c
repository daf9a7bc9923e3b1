/* Annotation lists: the three ways of writing, names that hold what parts fields, and refusals. */
#define FOLDER_FILE "videos.txt"
#include "../test_in_folder.h"

#include "crossframe/list.h"

static cf_list *parse(const char *text)
{
    cf_list *l;
    assert_ok(cf_list_parse(&l, text, strlen(text), "l", 0, NULL, NULL));
    return l;
}

static void assert_entry(const cf_list *l, size_t i, const char *name, int label, int count,
                         size_t line)
{
    cf_list_entry e = cf_list_get(l, i);
    assert_string_equal(e.name, name);
    assert_int_equal(e.label, label);
    assert_int_equal(e.count, count);
    assert_int_equal(e.line, line);
}

static void spaces_part_name_and_label(void **state)
{
    (void)state;
    cf_list *l = parse("\xef\xbb\xbf"
                       "a.mp4 0\r\n\n  b/c d.mp4\t 12 \n \t\ne, f.mp4 3");
    assert_int_equal(cf_list_size(l), 3);
    assert_string_equal(cf_list_path(l), "l");
    assert_entry(l, 0, "a.mp4", 0, -1, 1);
    assert_entry(l, 1, "b/c d.mp4", 12, -1, 3);
    assert_entry(l, 2, "e, f.mp4", 3, -1, 5);
    cf_list_free(l);
}

static void commas_part_name_and_label(void **state)
{
    (void)state;
    cf_list *l = parse("a.mp4,0\nb c.mp4 , 5\nd,e.mp4,6\n\"f, \"\"g\"\".mp4\",7\n\"h\" 8\n");
    assert_int_equal(cf_list_size(l), 5);
    assert_entry(l, 0, "a.mp4", 0, -1, 1);
    assert_entry(l, 1, "b c.mp4", 5, -1, 2);
    assert_entry(l, 2, "d,e.mp4", 6, -1, 3);
    assert_entry(l, 3, "f, \"g\".mp4", 7, -1, 4);
    assert_entry(l, 4, "\"h\"", 8, -1, 5); /* not CSV: the quotes are the name's */
    cf_list_free(l);
}

static void counts_stand_before_labels(void **state)
{
    (void)state;
    cf_list *l = parse("a 120 3\nb c 7 0\n");
    assert_entry(l, 0, "a", 3, 120, 1);
    assert_entry(l, 1, "b c", 0, 7, 2);
    cf_list_free(l);
    l = parse("a,120,3\n\"b,c\", 7, 0\n");
    assert_entry(l, 0, "a", 3, 120, 1);
    assert_entry(l, 1, "b,c", 0, 7, 2);
    cf_list_free(l);
}

static bool has_clip_1(void *user, const char *name)
{
    ++*(int *)user;
    return strcmp(name, "clip 1") == 0;
}

/* One line without a number, or a video that is called so: then the numbers are the names'. */
static void numbers_may_belong_to_names(void **state)
{
    (void)state;
    int asked = 0;
    cf_list *l = parse("clip 1 0\nclip 0\n");
    assert_entry(l, 0, "clip 1", 0, -1, 1);
    assert_entry(l, 1, "clip", 0, -1, 2);
    cf_list_free(l);
    assert_ok(cf_list_parse(&l, "clip 1 0\nclip 2 1", 17, "l", 0, has_clip_1, &asked));
    assert_entry(l, 1, "clip 2", 1, -1, 2);
    cf_list_free(l);
    assert_ok(cf_list_parse(&l, "clip 3 0\nclip 2 1", 17, "l", 0, has_clip_1, &asked));
    assert_entry(l, 1, "clip", 1, 2, 2);
    cf_list_free(l);
    assert_int_equal(asked, 2);
    l = parse("12 0\n13 1\n"); /* names that are numbers */
    assert_entry(l, 0, "12", 0, -1, 1);
    cf_list_free(l);
}

static void bad_lines_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        cf_status code;
        const char *says;
    } bad[] = {
        { "a 0\nb.mp4\n", CF_EFORMAT,
          "l, line 2: the last field must be a label number, not 'b.mp4'" },
        { "a one\n", CF_EFORMAT, "line 1: the last field must be a label number, not 'one'" },
        { "a 1.5\n", CF_EFORMAT, "not '1.5'" },
        { "\n 4 \n", CF_EFORMAT, "line 2: there is no name before the label 4" },
        { ",4", CF_EFORMAT, "line 1: there is no name before the label 4" },
        { "\"\",4", CF_EFORMAT, "line 1: there is no name before the label" },
        { "a -1\n", CF_EINVAL, "line 1: label -1 is outside 0 .. 2147483647" },
        { "a 99999999999999999999\n", CF_EINVAL, "is outside 0 .." },
        { "b 4\na 5\n", CF_EINVAL, "l, line 2: label 5 is outside 0 .. 4" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cf_list *l = NULL;
        size_t classes = i == sizeof bad / sizeof *bad - 1 ? 5 : 0;
        assert_fails(cf_list_parse(&l, bad[i].text, strlen(bad[i].text), "l", classes, NULL, NULL),
                     bad[i].code, bad[i].says);
        assert_null(l);
    }
    cf_list *l = NULL;
    assert_fails(cf_list_parse(&l, "a\0 1", 4, "l", 0, NULL, NULL), CF_EFORMAT,
                 "l is not a list of text lines");
}

static void files_are_read(void **state)
{
    (void)state;
    cf_list *l = NULL;
    assert_fails(cf_list_open(&l, path, 0, NULL, NULL), CF_ENOTFOUND, path);
    assert_ok(cf_file_write(path, "", 0));
    assert_ok(cf_list_open(&l, path, 0, NULL, NULL));
    assert_int_equal(cf_list_size(l), 0);
    cf_list_free(l);
    assert_ok(cf_file_write(path, "a b 1\n", 6));
    assert_ok(cf_list_open(&l, path, 2, NULL, NULL));
    assert_entry(l, 0, "a b", 1, -1, 1);
    cf_list_free(l);
    for (size_t n = 1;; n++) {
        cf_memory_fail_at(n);
        cf_status status = cf_list_open(&l, path, 2, NULL, NULL);
        cf_memory_fail_at(0);
        if (status == CF_OK) break;
        assert_int_equal(status, CF_ENOMEM);
    }
    cf_list_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(spaces_part_name_and_label), TEST(commas_part_name_and_label),
        TEST(counts_stand_before_labels), TEST(numbers_may_belong_to_names),
        TEST(bad_lines_are_refused),      TEST(files_are_read),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown) != 0;
}
