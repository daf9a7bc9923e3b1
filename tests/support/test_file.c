/* Files: reading whole, writing atomically, paths, and each way it can fail. */
#include "test.h"

#include <sys/stat.h>
#include <zlib.h>

static char *folder;

static int setup(void **state)
{
    (void)state;
    folder = test_folder_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_folder_remove(folder);
    return 0;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    char *path = test_path(folder, "a.bin"), *temporary = test_path(folder, "a.bin.tmp"), *text;
    size_t sizes[] = { 0, 1, 4095, 4096, 65536, 65537, 300000 }, n;
    char *bytes = test_malloc(300000);
    for (size_t i = 0; i < 300000; i++) bytes[i] = (char)(i * 7 + i / 256);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_ok(cf_file_write(path, bytes, sizes[i]));
        assert_false(cf_file_exists(temporary));
        assert_ok(cf_file_read(&text, &n, path));
        assert_int_equal(n, sizes[i]);
        assert_memory_equal(text, bytes, n);
        assert_int_equal(text[n], 0);
        cf_free(text);
    }
    test_free(bytes);
    cf_free(path);
    cf_free(temporary);
}

static void files_without_a_size_are_read(void **state)
{
    (void)state;
    char *text;
    size_t n;
    assert_ok(cf_file_read(&text, &n, "/proc/self/stat"));
    assert_true(n > 10);
    cf_free(text);
}

static void pieces_add_up(void **state)
{
    (void)state;
    char *path = test_path(folder, "pieces"), *text;
    size_t n, total = 0;
    cf_writer *w;
    assert_ok(cf_writer_new(&w, path));
    char piece[1000];
    for (size_t i = 0; i < sizeof piece; i++) {
        memset(piece, (int)i, i);
        assert_ok(cf_writer_put(w, piece, i));
        total += i;
    }
    assert_false(cf_file_exists(path));
    assert_ok(cf_writer_commit(w));
    assert_ok(cf_file_read(&text, &n, path));
    assert_int_equal(n, total);
    size_t at = 0;
    for (size_t i = 0; i < sizeof piece; i++) {
        for (size_t k = 0; k < i; k++) assert_int_equal(text[at + k], (char)i);
        at += i;
    }
    cf_free(text);
    cf_free(path);
}

static void an_abort_leaves_the_old_file(void **state)
{
    (void)state;
    char *path = test_path(folder, "kept"), *temporary = test_path(folder, "kept.tmp"), *text;
    size_t n;
    assert_ok(cf_file_write(path, "old", 3));
    cf_writer *w;
    assert_ok(cf_writer_new(&w, path));
    assert_ok(cf_writer_put(w, "new", 3));
    assert_true(cf_file_exists(temporary));
    cf_writer_abort(w);
    cf_writer_abort(NULL);
    assert_false(cf_file_exists(temporary));
    assert_ok(cf_file_read(&text, &n, path));
    assert_string_equal(text, "old");
    cf_free(text);
    cf_free(path);
    cf_free(temporary);
}

/* The temporary file is a link to a device on which every write fails with "no space left". */
static void a_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    char *path = test_path(folder, "full"), *temporary = test_path(folder, "full.tmp"), *text;
    char big[100000] = { 0 };
    size_t n;
    assert_ok(cf_file_write(path, "old", 3));
    for (size_t size = 1; size <= sizeof big; size += sizeof big - 1) {
        if (!cf_file_exists("/dev/full") || symlink("/dev/full", temporary) != 0) skip();
        assert_fails(cf_file_write(path, big, size), CF_EIO, "full.tmp: No space left on device");
        assert_false(cf_file_exists(temporary));
        assert_ok(cf_file_read(&text, &n, path));
        assert_string_equal(text, "old");
        cf_free(text);
    }
    cf_free(path);
    cf_free(temporary);
}

static void missing_things_are_named(void **state)
{
    (void)state;
    char *path = test_path(folder, "no/such/file"), *text = NULL;
    size_t n = 99;
    assert_fails(cf_file_read(&text, &n, path), CF_ENOTFOUND, "no/such/file: No such file");
    assert_fails(cf_file_read_gz(&text, &n, path, 1000), CF_ENOTFOUND, "no/such/file: No such");
    assert_fails(cf_file_write(path, "x", 1), CF_ENOTFOUND, "cannot create");
    assert_fails(cf_file_read(&text, &n, folder), CF_EIO, "Is a directory");
    assert_fails(cf_file_write(folder, "x", 1), CF_EIO, "rename");
    assert_null(text);
    assert_int_equal(n, 99);
    cf_free(path);
    assert_ok(cf_format(&path, "%s.tmp", folder));
    assert_false(cf_file_exists(path));
    cf_free(path);
}

/* Root may write anywhere: it becomes nobody for a moment. */
static void what_may_not_be_written_is_not(void **state)
{
    (void)state;
    char *locked = test_path(folder, "locked"), *path = test_path(folder, "locked/file");
    assert_ok(cf_make_folders(locked));
    assert_int_equal(chmod(locked, 0500), 0);
    uid_t user = geteuid();
    if (user == 0) assert_int_equal(seteuid(65534), 0);
    cf_status status = cf_file_write(path, "x", 1);
    if (user == 0) assert_int_equal(seteuid(0), 0);
    assert_fails(status, CF_EIO, "locked/file.tmp: Permission denied");
    assert_int_equal(chmod(locked, 0700), 0);
    cf_free(path);
    cf_free(locked);
}

static void gzip_is_read(void **state)
{
    (void)state;
    char *path = test_path(folder, "a.gz"), *text = NULL;
    char *bytes = test_malloc(100000);
    size_t n = 0;
    for (int i = 0; i < 100000; i++) bytes[i] = (char)((unsigned)i * (unsigned)i >> 8);
    gzFile file = gzopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, 100000), 100000);
    gzclose(file);
    assert_ok(cf_file_read_gz(&text, &n, path, 100000));
    assert_int_equal(n, 100000);
    assert_memory_equal(text, bytes, n);
    assert_int_equal(text[n], 0);
    cf_free(text);
    text = NULL;
    assert_fails(cf_file_read_gz(&text, &n, path, 99999), CF_ENOMEM, "more than 99999 bytes");

    char *packed;
    size_t n_packed;
    assert_ok(cf_file_read(&packed, &n_packed, path));
    for (size_t cut = n_packed - 1; cut > 2; cut = cut * 2 / 3) {
        assert_ok(cf_file_write(path, packed, cut));
        assert_fails(cf_file_read_gz(&text, &n, path, 100000), CF_EFORMAT, "gzip");
    }
    assert_ok(cf_file_write(path, packed, n_packed));
    packed[n_packed / 2] ^= 0x55;
    assert_ok(cf_file_write(path, packed, n_packed));
    assert_fails(cf_file_read_gz(&text, &n, path, 100000), CF_EFORMAT, "gzip");
    assert_null(text);
    cf_free(packed);

    assert_ok(cf_file_write(path, "plain", 5));
    assert_ok(cf_file_read_gz(&text, &n, path, 5));
    assert_string_equal(text, "plain");
    cf_free(text);
    cf_free(path);
    test_free(bytes);
}

static void folders_are_made(void **state)
{
    (void)state;
    char *deep = test_path(folder, "one//two/three/"), *file = test_path(folder, "file");
    char *below = test_path(folder, "file/below");
    assert_ok(cf_make_folders(deep));
    assert_true(cf_is_folder(deep));
    assert_ok(cf_make_folders(deep));
    assert_ok(cf_make_folders("/"));
    assert_ok(cf_make_folders("."));
    assert_ok(cf_make_folders(""));
    assert_ok(cf_file_write(file, "x", 1));
    assert_false(cf_is_folder(file));
    assert_fails(cf_make_folders(file), CF_EIO, "File exists");
    assert_fails(cf_make_folders(below), CF_EIO, "/file: File exists");
    cf_free(deep);
    cf_free(file);
    cf_free(below);
}

static void paths_are_joined_and_cut(void **state)
{
    (void)state;
    static const char *const joins[][3] = {
        { "a", "b", "a/b" }, { "a/", "b", "a/b" },   { "", "b", "b" },
        { "a", "/b", "/b" }, { "/", "b/c", "/b/c" },
    };
    static const char *const cuts[][2] = {
        { "a/b", "a" }, { "b", "." }, { "/b", "/" }, { "a/b/c.h5", "a/b" }, { "", "." },
    };
    char *p;
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) {
        assert_ok(cf_path_join(&p, joins[i][0], joins[i][1]));
        assert_string_equal(p, joins[i][2]);
        cf_free(p);
    }
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        assert_ok(cf_path_folder(&p, cuts[i][0]));
        assert_string_equal(p, cuts[i][1]);
        cf_free(p);
    }
}

static void linked_and_copied(void **state)
{
    (void)state;
    char *from = test_path(folder, "original"), *other = test_path(folder, "other"), *text;
    char *temporary = test_path(folder, "other.tmp");
    size_t n;
    static char large[200000];
    memset(large, 'x', sizeof large);
    for (int way = 0; way < 2; way++) {
        assert_ok(cf_file_write(from, large, sizeof large));
        assert_ok(cf_file_write(other, "old", 3));
        assert_ok(cf_file_write(temporary, "left over", 9));
        for (int again = 0; again < 2; again++) { /* also onto itself */
            assert_ok(way ? cf_file_copy(other, from) : cf_file_link(other, from));
            assert_false(cf_file_exists(temporary));
            assert_ok(cf_file_read(&text, &n, other));
            assert_true(n == sizeof large && memcmp(text, large, n) == 0);
            cf_free(text);
        }
        assert_ok(cf_file_write(from, "new", 3)); /* the other keeps what it had */
        assert_ok(cf_file_read(&text, &n, other));
        assert_int_equal(n, sizeof large);
        cf_free(text);
        unlink(from);
        assert_fails(way ? cf_file_copy(other, from) : cf_file_link(other, from), CF_ENOTFOUND,
                     "original");
        assert_true(cf_file_exists(other));
    }
    cf_free(from);
    cf_free(other);
    cf_free(temporary);
}

static cf_status everything(const char *path)
{
    char *text = NULL;
    size_t n;
    CF_TRY(cf_file_write(path, "hello", 5));
    CF_TRY(cf_file_read(&text, &n, path));
    cf_free(text);
    CF_TRY(cf_file_read_gz(&text, &n, path, 100));
    cf_free(text);
    return cf_make_folders(path) == CF_ENOMEM ? CF_ENOMEM : CF_OK;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char *path = test_path(folder, "memory");
    size_t before = cf_memory_stats_get().bytes_now, n = 0;
    cf_status status;
    do {
        cf_memory_fail_at(++n);
        status = everything(path);
        cf_memory_fail_at(0);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
        assert_true(status == CF_OK || status == CF_ENOMEM);
    } while (n < 6 || status == CF_ENOMEM);
    assert_true(n < 20);
    cf_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read),
        TEST(files_without_a_size_are_read),
        TEST(pieces_add_up),
        TEST(an_abort_leaves_the_old_file),
        TEST(a_full_disk_leaves_the_old_file),
        TEST(missing_things_are_named),
        TEST(what_may_not_be_written_is_not),
        TEST(gzip_is_read),
        TEST(folders_are_made),
        TEST(paths_are_joined_and_cut),
        TEST(linked_and_copied),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, setup, teardown) != 0;
}
