/* Datasets: whole packs, splits, lists of names; what is refused and in which words. */
#include "dataset_help.h"
#include "synthetic.h"

#include "crossframe/data.h"

static char *folder, *pack, *list;

static void write_list(const char *text) { assert_ok(cf_file_write(list, text, strlen(text))); }

static int setup(void **state)
{
    (void)state;
    static const char *const classes[] = { "one", "two", "three" };
    static const char *const names[] = { "a.mp4", "sub/b.mp4", "with  two spaces.mp4", "d.mp4" };
    static const int32_t labels[] = { 2, 0, -1, 1 };
    static const int64_t test1[] = { 3, 1 };
    uint8_t pixels[5 * 4 * 6 * 3];
    cf_pack_writer *w;
    cf_pack_options o = { .class_name = classes, .n_classes = 3 };
    folder = test_folder_new();
    assert_ok(cf_path_join(&pack, folder, "all.h5"));
    assert_ok(cf_path_join(&list, folder, "list.txt"));
    assert_ok(cf_pack_writer_new(&w, pack, &o));
    for (size_t v = 0; v < 4; v++) {
        memset(pixels, (int)v, sizeof pixels);
        assert_ok(cf_pack_writer_add(w, names[v], labels[v], 25, pixels, v + 2, 4, 6));
    }
    assert_ok(cf_pack_writer_split(w, "test1", test1, 2));
    assert_ok(cf_pack_writer_split(w, "none", test1, 0));
    return cf_pack_writer_commit(w);
}

static int teardown(void **state)
{
    (void)state;
    test_folder_remove(folder);
    cf_free(pack);
    cf_free(list);
    return 0;
}

static void check_videos(const char *file, const char *root, const char *names, const char *labels)
{
    cf_dataset *d;
    assert_ok(cf_dataset_open(&d, file, root));
    assert_string_equal(cf_dataset_path(d), file);
    assert_int_equal(cf_dataset_n_classes(d), 3);
    assert_string_equal(cf_dataset_class_name(d, 1), "two");
    assert_int_equal(cf_dataset_class_family(d, 1), 0);
    char all[200] = "", numbers[100] = "";
    for (size_t i = 0; i < cf_dataset_size(d); i++) {
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s|", cf_dataset_name(d, i));
        snprintf(numbers + strlen(numbers), sizeof numbers - strlen(numbers), "%d|",
                 (int)cf_dataset_label(d, i));
        cf_picture p = { 0 };
        int64_t n = read_frame(&p, d, i, -1);
        assert_int_equal(p.pixels[0], n - 2); /* the pack's row */
        cf_picture_fini(&p);
    }
    assert_string_equal(all, names);
    assert_string_equal(numbers, labels);
    cf_dataset_free(d);
}

static void packs_and_splits(void **state)
{
    (void)state;
    char *split;
    assert_ok(cf_format(&split, "%s#test1", pack));
    check_videos(pack, "", "a.mp4|sub/b.mp4|with  two spaces.mp4|d.mp4|", "2|0|-1|1|");
    check_videos(pack, NULL, "a.mp4|sub/b.mp4|with  two spaces.mp4|d.mp4|", "2|0|-1|1|");
    check_videos(pack, "unused", "a.mp4|sub/b.mp4|with  two spaces.mp4|d.mp4|", "2|0|-1|1|");
    check_videos(split, "", "d.mp4|sub/b.mp4|", "1|0|");
    cf_free(split);
}

static void lists(void **state)
{
    (void)state;
    write_list("with  two spaces.mp4 1\r\n\n  a.mp4\t0  \n \t \nsub/b.mp4 2\na.mp4 2");
    check_videos(list, pack, "with  two spaces.mp4|a.mp4|sub/b.mp4|a.mp4|", "1|0|2|2|");
}

static void refuse_list(const char *text, cf_status code, const char *why)
{
    cf_dataset *d = NULL;
    write_list(text);
    assert_fails(cf_dataset_open(&d, list, pack), code, why);
    assert_null(d);
}

static void refused_lists(void **state)
{
    (void)state;
    refuse_list("a.mp4 0\n\nc.mp4 1\n", CF_ENOTFOUND, "list.txt, line 3: ");
    refuse_list("c.mp4 1\n", CF_ENOTFOUND, "all.h5 holds no video 'c.mp4'");
    refuse_list("a.mp4 3\n", CF_EINVAL, "line 1: label 3 is outside 0 .. 2");
    refuse_list("a.mp4 -1\n", CF_EINVAL, "label -1 is outside");
    refuse_list("a.mp4 99999999999999999999\n", CF_EINVAL, "is outside");
    refuse_list("a.mp4 1x\n", CF_EFORMAT, "'1x'");
    refuse_list("a.mp4\n", CF_EFORMAT, "'a.mp4'");
    refuse_list("\n7\n", CF_EFORMAT, "line 2: there is no name before the label 7");
    refuse_list("", CF_EINVAL, "list.txt: there are no videos");
    refuse_list("\n \n", CF_EINVAL, "there are no videos");
    cf_dataset *d = NULL;
    assert_ok(cf_file_write(list, "a\0b 1\n", 6));
    assert_fails(cf_dataset_open(&d, list, pack), CF_EFORMAT, "not a list of text lines");
}

static void refused_names(void **state)
{
    (void)state;
    cf_dataset *d = NULL;
    char *split, *empty, *missing, *emptyfolder;
    write_list("a.mp4 0\n");
    assert_ok(cf_format(&split, "%s#nosuch", pack));
    assert_ok(cf_format(&empty, "%s#none", pack));
    assert_ok(cf_path_join(&missing, folder, "missing"));
    assert_ok(cf_path_join(&emptyfolder, folder, "empty folder"));
    assert_ok(cf_make_folders(emptyfolder));
    assert_fails(cf_dataset_open(&d, "", ""), CF_EINVAL, "no dataset");
    assert_fails(cf_dataset_open(&d, split, ""), CF_ENOTFOUND, "no split 'nosuch'");
    assert_fails(cf_dataset_open(&d, empty, ""), CF_EINVAL, "all.h5#none: there are no videos");
    assert_fails(cf_dataset_open(&d, missing, pack), CF_ENOTFOUND, "missing");
    assert_fails(cf_dataset_open(&d, list, ""), CF_EINVAL, "DATA.ROOT");
    assert_fails(cf_dataset_open(&d, list, "videos.tar"), CF_ENOTFOUND, "videos.tar");
    assert_fails(cf_dataset_open(&d, list, list), CF_EFORMAT, "DATA.ROOT is neither a pack");
    assert_fails(cf_dataset_open(&d, emptyfolder, ""), CF_EUNSUPPORTED, "folder is not a dataset");
    assert_fails(cf_dataset_open(&d, list, missing), CF_ENOTFOUND, "missing");
    assert_null(d);
    cf_free(split);
    cf_free(empty);
    cf_free(missing);
    cf_free(emptyfolder);
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    write_list("a.mp4 0\nd.mp4 1\n");
    size_t before = cf_memory_stats_get().bytes_now, n = 1;
    for (;; n++) {
        cf_dataset *d = NULL;
        cf_memory_fail_at(n);
        cf_status status = cf_dataset_open(&d, list, pack);
        cf_memory_fail_at(0);
        cf_dataset_free(d);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
        if (status == CF_OK) break;
        assert_null(d);
        assert_int_equal(status, CF_ENOMEM);
    }
    assert_true(n > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = { TEST(packs_and_splits), TEST(lists), TEST(refused_lists),
                                        TEST(refused_names),
                                        TEST(every_failed_allocation_is_clean) };
    return cmocka_run_group_tests(tests, setup, teardown) != 0;
}
