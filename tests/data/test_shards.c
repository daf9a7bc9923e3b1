/* Datasets of several packs: every way to name them, splits, order, and packs that disagree. */
#include "dataset_help.h"
#include "test_in_folder.h"

#include "pack_help.h"

static const char *const cats[] = { "cat", "dog" };
static const char *const mice[] = { "cat", "mouse" };

/* A pack of `n` videos PREFIX0.mp4 ..., each of one frame of its own brightness. */
static void make_pack(const char *name, const char *const *classes, size_t n_classes,
                      const int32_t *family, const char *prefix, size_t n, const char *split)
{
    char *file = test_path(folder, name);
    cf_pack_writer *w;
    cf_pack_options o = { .class_name = classes, .class_family = family, .n_classes = n_classes };
    assert_ok(cf_pack_writer_new(&w, file, &o));
    for (size_t v = 0; v < n; v++) {
        uint8_t pixels[2 * 3 * 3];
        char video[40];
        memset(pixels, (int)(*prefix + v), sizeof pixels);
        snprintf(video, sizeof video, "%s%zu.mp4", prefix, v);
        assert_ok(cf_pack_writer_add(w, video, (int32_t)(v % n_classes), 25, pixels, 1, 2, 3));
    }
    const int64_t rows[] = { (int64_t)n - 1, 0 };
    if (split) assert_ok(cf_pack_writer_split(w, split, rows, n > 1 ? 2 : 1));
    assert_ok(cf_pack_writer_commit(w));
    cf_free(file);
}

static int setup(void **state)
{
    folder_setup(state);
    char *sub = test_path(folder, "shards");
    assert_ok(cf_make_folders(sub));
    make_pack("shards/b.h5", cats, 2, NULL, "b", 3, "val");
    make_pack("shards/a.h5", cats, 2, NULL, "a", 2, "val");
    make_pack("shards/c.HDF5", cats, 2, NULL, "c", 1, NULL);
    cf_free(sub);
    return 0;
}

/* "%s" in file and root is the folder of the test. */
static void check(const char *file, const char *root, const char *names)
{
    char *f, *r, all[200] = "";
    cf_dataset *d;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    assert_ok(cf_format(&f, file, folder, folder));
    assert_ok(cf_format(&r, root, folder, folder));
#pragma GCC diagnostic pop
    assert_ok(cf_dataset_open(&d, f, r));
    assert_int_equal(cf_dataset_n_classes(d), 2);
    assert_string_equal(cf_dataset_class_name(d, 1), "dog");
    assert_true(cf_dataset_is_packed(d));
    for (size_t i = 0; i < cf_dataset_size(d); i++) {
        const char *name = cf_dataset_name(d, i);
        cf_picture p = { 0 };
        snprintf(all + strlen(all), sizeof all - strlen(all), "%.2s ", name);
        assert_int_equal(read_frame(&p, d, i, 0), 1);
        assert_int_equal(p.pixels[0], name[0] + name[1] - '0');
        assert_int_equal(cf_dataset_label(d, i), (name[1] - '0') % 2);
        cf_picture_fini(&p);
    }
    assert_string_equal(all, names);
    cf_dataset_free(d);
    cf_free(f);
    cf_free(r);
}

static void write_file(const char *name, const char *text)
{
    char *file = test_path(folder, name);
    write_plain(file, text, strlen(text));
    cf_free(file);
}

static void every_way_to_name_them(void **state)
{
    (void)state;
    check("%s/shards", "", "a0 a1 b0 b1 b2 c0 ");
    check("%s/shards/[ab].h5", "", "a0 a1 b0 b1 b2 ");
    check("%s/shards/*", "", "a0 a1 b0 b1 b2 c0 ");
    check("%s/shards/b.h5,%s/shards/a.h5", "", "b0 b1 b2 a0 a1 ");
    check("%s/shards/b.h5, %s/shards/c.*", "", "b0 b1 b2 c0 ");
    write_file("list.txt", "\nshards/c.HDF5\r\n  shards/a.h5 \n\n");
    check("%s/list.txt", "", "c0 a0 a1 ");
}

static void splits_are_joined(void **state)
{
    (void)state;
    check("%s/shards#val", "", "a1 a0 b2 b0 ");
    check("%s/shards/b.h5,%s/shards/a.h5#val", "", "b2 b0 a1 a0 ");
    check("%s/shards/[ab].h5#val", "", "a1 a0 b2 b0 ");
    write_file("list.txt", "shards/a.h5\n");
    check("%s/list.txt#val", "", "a1 a0 ");
}

static void lists_find_names_in_all(void **state)
{
    (void)state;
    write_file("videos.txt", "c0.mp4 0\na1.mp4 1\nb2.mp4 0\n");
    write_file("packs.txt", "shards/a.h5\nshards/b.h5\nshards/c.HDF5");
    check("%s/videos.txt", "%s/shards", "c0 a1 b2 ");
    check("%s/videos.txt", "%s/shards/*", "c0 a1 b2 ");
    check("%s/videos.txt", "%s/packs.txt", "c0 a1 b2 ");
}

static void refuse(const char *file, const char *root, cf_status code, const char *why)
{
    char *f, *r;
    cf_dataset *d = NULL;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    assert_ok(cf_format(&f, file, folder, folder));
    assert_ok(cf_format(&r, root, folder, folder));
#pragma GCC diagnostic pop
    assert_fails(cf_dataset_open(&d, f, r), code, why);
    assert_null(d);
    cf_free(f);
    cf_free(r);
}

static void what_is_refused(void **state)
{
    (void)state;
    refuse("%s/shards#test", "", CF_ENOTFOUND, "a.h5 has no split 'test'; it has: val");
    refuse("%s/nothing*.h5", "", CF_ENOTFOUND, "no file has a name like this");
    refuse("%s/shards/a.h5,,%s/shards/b.h5", "", CF_EINVAL, "between commas is empty");
    refuse("%s/shards/a.h5,%s/none.h5", "", CF_ENOTFOUND, "none.h5");
    refuse("%s/nolist#val", "", CF_ENOTFOUND, "there is no pack");
    write_file("list.txt", "shards/a.h5\nshards/b.mp4\n");
    refuse("%s/list.txt", "", CF_EFORMAT, "list.txt, line 2: 'shards/b.mp4' is not a pack's name");
    write_file("list.txt", "shards/a.h5\nshards/none.h5\n");
    refuse("%s/list.txt", "", CF_ENOTFOUND, "none.h5");
    write_file("videos.txt", "a0.mp4 0\nx.mp4 1\na1.mp4 0\ny.mp4 1\nz.mp4 0\n");
    refuse("%s/videos.txt", "%s/shards", CF_ENOTFOUND, "videos.txt, line 2: ");
    refuse(
        "%s/videos.txt", "%s/shards", CF_ENOTFOUND,
        "shards (3 packs) holds no video 'x.mp4', also 'y.mp4', 'z.mp4'; missing in all: 3 of 5");
}

static void packs_that_disagree(void **state)
{
    (void)state;
    static const int32_t apart[] = { 0, 1 };
    make_pack("mice.h5", mice, 2, NULL, "m", 1, NULL);
    make_pack("one.h5", cats, 1, NULL, "o", 1, NULL);
    make_pack("families.h5", cats, 2, apart, "f", 1, NULL);
    refuse("%s/shards/a.h5,%s/mice.h5", "", CF_EINVAL, "class 1 is \"dog\" in ");
    refuse("%s/shards/a.h5,%s/mice.h5", "", CF_EINVAL, "and \"mouse\" in ");
    refuse("%s/shards/a.h5,%s/one.h5", "", CF_EINVAL, "a.h5 has 2 classes and ");
    refuse("%s/shards/a.h5,%s/families.h5", "", CF_EINVAL, "is of family 0 in ");
}

/* With DATA.ON_ERROR skip a list may name what is not there. */
static void partial_lists(void **state)
{
    (void)state;
    char *file = test_path(folder, "videos.txt"), *root = test_path(folder, "shards");
    cf_dataset *d = NULL;
    cf_video_reader *r;
    int64_t n;
    write_file("videos.txt", "a0.mp4 0\nx.mp4 1\n");
    assert_ok(cf_dataset_open_partial(&d, file, root));
    assert_int_equal(cf_dataset_size(d), 2);
    assert_ok(cf_video_reader_new(&r, d));
    assert_ok(cf_video_reader_open(&n, r, 0));
    assert_fails(cf_video_reader_open(&n, r, 1), CF_ENOTFOUND, "does not hold it");
    cf_video_reader_free(r);
    cf_dataset_free(d);
    d = NULL;
    write_file("videos.txt", "x.mp4 1\n");
    assert_fails(cf_dataset_open_partial(&d, file, root), CF_ENOTFOUND, "'x.mp4'");
    assert_null(d);
    cf_free(file);
    cf_free(root);
}

/* A path that exists is never taken apart. */
static void odd_names(void **state)
{
    (void)state;
    char *sub = test_path(folder, "x,[1]#y");
    assert_ok(cf_make_folders(sub));
    make_pack("x,[1]#y/d,e#f.h5", cats, 2, NULL, "d", 2, "s");
    check("%s/x,[1]#y", "", "d0 d1 ");
    check("%s/x,[1]#y/d,e#f.h5", "", "d0 d1 ");
    check("%s/x,[1]#y/d,e#f.h5#s", "", "d1 d0 ");
    cf_free(sub);
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    static const char *const forms[] = { "%s/shards", "%s/shards/*", "%s/packs.txt#val",
                                         "%s/shards/b.h5, %s/shards/a.h5" };
    write_file("packs.txt", "shards/a.h5\nshards/b.h5");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char *file;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        assert_ok(cf_format(&file, forms[i], folder, folder));
#pragma GCC diagnostic pop
        size_t before = cf_memory_stats_get().bytes_now, n = 1;
        for (;; n++) {
            cf_dataset *d = NULL;
            cf_video_reader *r = NULL;
            cf_memory_fail_at(n);
            cf_status status = cf_dataset_open(&d, file, "");
            if (status == CF_OK) status = cf_video_reader_new(&r, d);
            cf_memory_fail_at(0);
            cf_video_reader_free(r);
            cf_dataset_free(d);
            assert_int_equal(cf_memory_stats_get().bytes_now, before);
            if (status == CF_OK) break;
            assert_int_equal(status, CF_ENOMEM);
        }
        assert_true(n > 20);
        cf_free(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_way_to_name_them),
        TEST(splits_are_joined),
        TEST(lists_find_names_in_all),
        TEST(what_is_refused),
        TEST(packs_that_disagree),
        TEST(partial_lists),
        TEST(odd_names),
        TEST(every_failed_allocation_is_clean),
    };
    return cmocka_run_group_tests(tests, setup, folder_teardown) != 0;
}
