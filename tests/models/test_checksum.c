/* The checksum of a safetensors file: no truncation and no flipped bit goes unseen. */
#include "../test.h"

#include "crossframe/weights.h"

/* Out of line: gcc 12 takes the inlined name for a dangling one. */
__attribute__((noinline)) static char *new_folder(void) { return test_folder_new(); }

static const float numbers[6] = { 1, -2.5f, 3e-9f, 0, 5, 6 };
static const cf_st_tensor tensors[] = {
    { .name = "a.weight", .dtype = CF_ST_F32, .rank = 2, .shape = { 2, 3 }, .data = numbers },
    { .name = "b", .dtype = CF_ST_F32, .rank = 0, .data = numbers + 4 },
    { .name = "none", .dtype = CF_ST_F32, .rank = 1, .shape = { 0 }, .data = NULL },
};
static const cf_st_pair pairs[] = { { "epoch", "3" }, { "classes", "[\"a \\\"b\\\"\"]" } };

/* The bytes of a written file, with a checksum or without. */
static char *write_one(size_t *n, bool checked)
{
    char *folder = new_folder(), *path = test_path(folder, "x.safetensors"), *bytes;
    assert_ok(checked ? cf_st_write_checked(path, tensors, 3, pairs, 2)
                      : cf_st_write(path, tensors, 3, pairs, 2));
    assert_ok(cf_file_read(&bytes, n, path));
    bool has = !checked;
    assert_ok(cf_st_check(&has, path));
    assert_int_equal(has, checked);
    cf_free(path);
    test_folder_remove(folder);
    return bytes;
}

static void a_whole_file_passes_and_reads(void **state)
{
    (void)state;
    size_t n;
    bool has;
    cf_st_file *f;
    char *bytes = write_one(&n, true);
    assert_ok(cf_st_open_memory(&f, bytes, n, "x"));
    assert_int_equal(cf_st_n_tensors(f), 3);
    assert_memory_equal(cf_st_find(f, "a.weight")->data, numbers, sizeof numbers);
    assert_string_equal(cf_st_metadata(f, "epoch"), "3");
    assert_int_equal(strlen(cf_st_metadata(f, CF_ST_CRC_KEY)), 8);
    cf_st_close(f);
    cf_weights *w; /* what is made of the file has another checksum */
    assert_ok(cf_weights_open_memory(&w, bytes, n, "x"));
    assert_int_equal(cf_weights_n_metadata(w), 2);
    assert_null(cf_weights_metadata(w, CF_ST_CRC_KEY));
    cf_weights_close(w);
    cf_free(bytes);
    bytes = write_one(&n, false);
    assert_ok(cf_st_check_memory(&has, bytes, n, "x"));
    assert_false(has);
    cf_free(bytes);
}

static void every_truncation_is_seen(void **state)
{
    (void)state;
    size_t n;
    char *bytes = write_one(&n, true);
    for (size_t m = 0; m < n; m++) {
        char *cut; /* of its own size: a read behind its end is found by the asan build */
        assert_ok(cf_alloc(&cut, m, 1));
        if (m > 0) memcpy(cut, bytes, m);
        if (cf_st_check_memory(NULL, cut, m, "x") == CF_OK) fail_msg("%zu of %zu bytes", m, n);
        cf_free(cut);
    }
    cf_free(bytes);
}

static void every_flipped_bit_is_seen(void **state)
{
    (void)state;
    size_t n;
    char *bytes = write_one(&n, true);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        if (cf_st_check_memory(NULL, bytes, n, "x") == CF_OK) fail_msg("bit %zu", bit);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_ok(cf_st_check_memory(NULL, bytes, n, "x"));
    cf_free(bytes);
}

static void it_says_what_is_wrong(void **state)
{
    (void)state;
    size_t n;
    char *bytes = write_one(&n, true), *folder = new_folder(), *path = test_path(folder, "x");
    bytes[n - 1] ^= 64;
    assert_fails(cf_st_check_memory(NULL, bytes, n, "some.st"), CF_EFORMAT,
                 "some.st is damaged: the CRC-32 of its bytes is ");
    bytes[n - 1] ^= 64;
    memcpy(strstr(bytes + 8, CF_ST_CRC_KEY), "crc33", 5);
    assert_fails(cf_st_check_memory(NULL, bytes, n, "x"), CF_EFORMAT, "not where it belongs");
    assert_fails(cf_st_check(NULL, path), CF_ENOTFOUND, "cannot open");
    assert_ok(cf_file_write(path, "", 0));
    assert_fails(cf_st_check(NULL, path), CF_EFORMAT, "0 bytes");
    const cf_st_pair own = { CF_ST_CRC_KEY, "1" };
    assert_fails(cf_st_write_checked(path, tensors, 3, &own, 1), CF_EINVAL, "crc32");
    cf_free(bytes);
    cf_free(path);
    test_folder_remove(folder);
}

TESTS(TEST(a_whole_file_passes_and_reads), TEST(every_truncation_is_seen),
      TEST(every_flipped_bit_is_seen), TEST(it_says_what_is_wrong))
