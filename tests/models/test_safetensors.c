/* safetensors: the container both ways, and every way a file can be wrong. */
#include "../test.h"

#include "crossframe/safetensors.h"

/* Kept out of line: gcc 12 takes the inlined name for a dangling one. */
__attribute__((noinline)) static char *new_folder(void) { return test_folder_new(); }

/* A file in memory of this header and n_data bytes 0, 1, 2, ...; *n = its size. */
static unsigned char *make_file(size_t *n, const char *header, size_t n_data)
{
    uint64_t length = strlen(header);
    unsigned char *bytes;
    *n = 8 + length + n_data;
    assert_ok(cf_alloc(&bytes, *n, 1));
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < n_data; i++) bytes[8 + length + i] = (unsigned char)i;
    return bytes;
}

static cf_status open_header(const char *header, size_t n_data)
{
    size_t n;
    unsigned char *bytes = make_file(&n, header, n_data);
    cf_st_file *f = NULL;
    cf_status status = cf_st_open_memory(&f, bytes, n, "x.st");
    cf_st_close(f);
    cf_free(bytes);
    return status;
}

#define A(shape, begin, end)                                                                       \
    "\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"
#define B(begin, end) "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[" begin "," end "]}"

static void written_file_reads_back(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "w.safetensors");
    float a[6] = { 1, -2, 3.5f, NAN, INFINITY, 1e-40f }, one = 7;
    double wide[2] = { 0.1, -1e300 };
    const cf_st_tensor tensors[] = {
        { .name = "z.weight", .dtype = CF_ST_F32, .rank = 2, .shape = { 2, 3 }, .data = a },
        { .name = "empty", .dtype = CF_ST_F32, .rank = 2, .shape = { 0, 9 }, .data = NULL },
        { .name = "logit_scale", .dtype = CF_ST_F32, .rank = 0, .data = &one },
        { .name = "a \"quoted\\\" \xc3\xa9\n",
          .dtype = CF_ST_F64,
          .rank = 1,
          .shape = { 2 },
          .data = wide },
    };
    const cf_st_pair metadata[] = { { "step", "12" },
                                    { "config", "A:\n\tb: \"c\"\x01" },
                                    { "", "" } };
    assert_ok(cf_st_write(path, tensors, 4, metadata, 3));

    cf_st_file *f;
    assert_ok(cf_st_open(&f, path));
    assert_int_equal(cf_st_n_tensors(f), 4);
    const cf_st_tensor *t = cf_st_find(f, "z.weight");
    assert_non_null(t);
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->shape[1], 3);
    assert_int_equal(t->n, 6);
    assert_int_equal((uintptr_t)t->data % 64, 0);
    assert_memory_equal(t->data, a, sizeof a);
    assert_non_null(t = cf_st_find(f, "logit_scale"));
    assert_int_equal(t->rank, 0);
    assert_memory_equal(t->data, &one, sizeof one);
    assert_non_null(t = cf_st_find(f, "empty"));
    assert_int_equal(t->n, 0);
    assert_non_null(t = cf_st_find(f, tensors[3].name));
    assert_memory_equal(t->data, wide, sizeof wide);
    assert_null(cf_st_find(f, "nothing"));
    assert_int_equal(cf_st_n_metadata(f), 3);
    assert_string_equal(cf_st_metadata(f, "step"), "12");
    assert_string_equal(cf_st_metadata(f, "config"), "A:\n\tb: \"c\"\x01");
    assert_string_equal(cf_st_metadata(f, ""), "");
    assert_null(cf_st_metadata(f, "nothing"));
    cf_st_close(f);

    char *first, *second;
    size_t n_first, n_second;
    assert_ok(cf_file_read(&first, &n_first, path));
    assert_ok(cf_st_write(path, tensors, 4, metadata, 3));
    assert_ok(cf_file_read(&second, &n_second, path));
    assert_int_equal(n_first, n_second);
    assert_memory_equal(first, second, n_first);
    cf_free(first);
    cf_free(second);
    cf_free(path);
    test_folder_remove(folder);
}

static void foreign_order_and_padding_are_fine(void **state)
{
    (void)state;
    assert_ok(open_header("{}", 0));
    assert_ok(open_header("{}    \n", 0));
    assert_ok(open_header("{" B("4", "8") "," A("[1]", "0", "4") "}", 8));
    assert_ok(open_header("{" A("[]", "0", "4") ",\"__metadata__\":{\"k\":\"v\"}}", 4));
    assert_ok(open_header("{" A("[0]", "4", "4") "," B("0", "4") "}", 4));
    assert_ok(open_header("{" A("[1.0e0]", "0", "4") "}", 4));
}

static void wrong_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        cf_status code;
        const char *why;
    } cases[] = {
        { "", 4, CF_EFORMAT, "not a safetensors file" },
        { "[]", 0, CF_EFORMAT, "not a safetensors file" },
        { "{", 0, CF_EFORMAT, "not a safetensors file" },
        { "{  ", 0, CF_EFORMAT, "no JSON" },
        { "{} x", 0, CF_EFORMAT, "not one JSON object" },
        { "{\"\xff\":1}", 0, CF_EFORMAT, "not UTF-8" },
        { "{\"a\\u0000\":1}", 0, CF_EFORMAT, "zero byte" },
        { "{\"a\":[[[[[1]]]]]}", 0, CF_EFORMAT, "nested too deeply" },
        { "{\"a\":1}", 0, CF_EFORMAT, "tensor a: its entry is no object" },
        { "{\"a\":{}}", 0, CF_EFORMAT, "tensor a has no dtype" },
        { "{\"a\":{\"dtype\":1}}", 0, CF_EFORMAT, "dtype is no text" },
        { "{\"a\":{\"dtype\":\"F31\"}}", 0, CF_EUNSUPPORTED, "unknown dtype F31" },
        { "{\"a\":{\"dtype\":\"F32\"}}", 0, CF_EFORMAT, "tensor a has no shape" },
        { "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0, CF_EFORMAT, "has dtype twice" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":3}}", 0, CF_EFORMAT, "shape is no list" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, CF_EFORMAT, "no data_offsets" },
        { "{" A("[-1]", "0", "4") "}", 4, CF_EFORMAT, "no list of sizes" },
        { "{" A("[1.5]", "0", "4") "}", 4, CF_EFORMAT, "no list of sizes" },
        { "{" A("[\"1\"]", "0", "4") "}", 4, CF_EFORMAT, "no list of sizes" },
        { "{" A("[1e300]", "0", "4") "}", 4, CF_EFORMAT, "no list of sizes" },
        { "{" A("[9007199254740992,9007199254740992]", "0", "4") "}", 4, CF_EFORMAT,
          "no list of sizes" },
        { "{" A("[9007199254740992,1024]", "0", "4") "}", 4, CF_EFORMAT, "disagree" },
        { "{" A("[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, CF_EUNSUPPORTED,
          "more than 8 dimensions" },
        { "{" A("[2]", "0", "4") "}", 4, CF_EFORMAT,
          "tensor a: its shape and its 4 bytes disagree" },
        { "{" A("[1]", "4", "0") "}", 4, CF_EFORMAT, "data_offsets is no range" },
        { "{" A("[1]", "-4", "0") "}", 4, CF_EFORMAT, "data_offsets is no range" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, CF_EFORMAT,
          "no range" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, CF_EFORMAT,
          "no range" },
        { "{" A("[1]", "0", "4") "}", 3, CF_EFORMAT, "cut off: tensor a ends at byte 4 of 3" },
        { "{" A("[1]", "0", "4") "}", 5, CF_EFORMAT, "1 bytes after the last tensor" },
        { "{}", 1, CF_EFORMAT, "1 bytes after the last tensor" },
        { "{" A("[1]", "0", "4") "," B("2", "6") "}", 6, CF_EFORMAT,
          "inside one that ends at byte 4" },
        { "{" A("[1]", "0", "4") "," B("5", "9") "}", 9, CF_EFORMAT, "behind a hole at byte 4" },
        { "{" B("1", "5") "}", 5, CF_EFORMAT, "behind a hole at byte 0" },
        { "{" A("[1]", "0", "4") "," A("[1]", "4", "8") "}", 8, CF_EFORMAT,
          "tensor a is there twice" },
        { "{" A("[0]", "0", "0") "," A("[0]", "0", "0") "}", 0, CF_EFORMAT,
          "tensor a is there twice" },
        { "{\"__metadata__\":1}", 0, CF_EFORMAT, "__metadata__ is no object" },
        { "{\"__metadata__\":[\"x\"]}", 0, CF_EFORMAT, "__metadata__ is no object" },
        { "{\"__metadata__\":{\"k\":1}}", 0, CF_EFORMAT, "metadata k is no text" },
        { "{\"__metadata__\":{},\"__metadata__\":{}}", 0, CF_EFORMAT,
          "__metadata__ is there twice" },
        { "{\"__metadata__\":{\"k\":\"1\",\"l\":\"\",\"k\":\"2\"}}", 0, CF_EFORMAT,
          "k is there twice" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cf_status got = open_header(cases[i].header, cases[i].n_data);
        if (got != cases[i].code || !strstr(cf_error(), cases[i].why))
            fail_msg("%s: status %d, \"%s\"; expected \"%s\"", cases[i].header, (int)got,
                     cf_error(), cases[i].why);
        if (!strstr(cf_error(), "x.st")) fail_msg("\"%s\" does not name the file", cf_error());
    }
}

static void a_header_cannot_cost_gigabytes(void **state)
{
    (void)state;
    enum { N = 5000000 };
    char *header;
    assert_ok(cf_alloc(&header, N + 8, 1));
    strcpy(header, "{\"a\":[");
    for (size_t i = 6; i < N; i += 2) memcpy(header + i, "1,", 2);
    strcpy(header + N, "1]}");
    assert_fails(open_header(header, 0), CF_EFORMAT, "more than 400000 values");
    memset(header + 5, '[', N);
    assert_fails(open_header(header, 0), CF_EFORMAT, "nested too deeply");
    cf_free(header);
    unsigned char huge[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, '{' };
    cf_st_file *f;
    assert_fails(cf_st_open_memory(&f, huge, sizeof huge, "x.st"), CF_EFORMAT,
                 "x.st is not a safe");
    unsigned char large[16] = { 0, 0, 0, 1, 0, 0, 0, 0, '{', '}' };
    assert_fails(cf_st_open_memory(&f, large, sizeof large, "x.st"), CF_EFORMAT, "x.st is cut off");
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    size_t n;
    unsigned char *bytes = make_file(
        &n, "{\"__metadata__\":{\"k\":\"v\"}," A("[1]", "0", "4") "," B("4", "8") "}  ", 8);
    for (size_t cut = 0; cut < n; cut++) {
        unsigned char *part; /* of exactly this size, so that the sanitizer sees a read beyond it */
        assert_ok(cf_alloc(&part, cut, 1));
        memcpy(part, bytes, cut);
        cf_st_file *f = NULL;
        assert_int_equal(cf_st_open_memory(&f, part, cut, "x.st"), CF_EFORMAT);
        assert_null(f);
        cf_free(part);
    }
    cf_free(bytes);
}

static void files_that_are_none(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "w");
    cf_st_file *f;
    assert_fails(cf_st_open(&f, path), CF_ENOTFOUND, "cannot open");
    assert_fails(cf_st_open(&f, folder), CF_EFORMAT, "is not a file");
    assert_ok(cf_file_write(path, "", 0));
    assert_fails(cf_st_open(&f, path), CF_EFORMAT, "is not a safetensors file: 0 bytes");
    assert_ok(cf_file_write(path, "\x89HDF\r\n\x1a\n and so on", 18));
    assert_fails(cf_st_open(&f, path), CF_EFORMAT, "is not a safetensors file");
    cf_free(path);
    test_folder_remove(folder);
}

static void bad_writes_leave_nothing(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "w"), *temporary = test_path(folder, "w.tmp");
    char *below = test_path(folder, "none/w");
    float x = 0;
    cf_st_tensor two[] = { { .name = "a", .dtype = CF_ST_F32, .data = &x },
                           { .name = "a", .dtype = CF_ST_F32, .data = &x } };
    assert_fails(cf_st_write(path, two, 2, NULL, 0), CF_EINVAL, "two tensors are named a");
    two[1].name = "\xff";
    assert_fails(cf_st_write(path, two, 2, NULL, 0), CF_EINVAL, "not UTF-8");
    two[1].name = "__metadata__";
    assert_fails(cf_st_write(path, two, 2, NULL, 0), CF_EINVAL, "reserved name");
    const cf_st_pair twice[] = { { "k", "" }, { "k", "" } }, bad = { "k", "\xc0\x80" };
    assert_fails(cf_st_write(path, two, 1, twice, 2), CF_EINVAL, "two metadata are named k");
    assert_fails(cf_st_write(path, two, 1, &bad, 1), CF_EINVAL, "metadata k: not UTF-8");
    assert_fails(cf_st_write(below, two, 1, NULL, 0), CF_ENOTFOUND, "cannot write");
    assert_false(cf_file_exists(path) || cf_file_exists(temporary));
    cf_free(below);
    cf_free(temporary);
    cf_free(path);
    test_folder_remove(folder);
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "w");
    float x = 0;
    const cf_st_tensor one = { .name = "a", .dtype = CF_ST_F32, .data = &x };
    const cf_st_pair pair = { "k", "v" };
    cf_status status = CF_ENOMEM;
    for (size_t n = 1; status != CF_OK; n++) {
        size_t before = cf_memory_stats_get().bytes_now;
        cf_st_file *f = NULL;
        cf_memory_fail_at(n);
        status = cf_st_write(path, &one, 1, &pair, 1);
        if (status == CF_OK) status = cf_st_open(&f, path);
        cf_memory_fail_at(0);
        if (status != CF_OK) assert_int_equal(status, CF_ENOMEM);
        cf_st_close(f);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
    cf_free(path);
    test_folder_remove(folder);
}

static void utf8_is_decoded_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        int32_t code;
        int used;
    } cases[] = {
        { "A", 'A', 1 },
        { "\xc3\xa9", 0xe9, 2 },
        { "\xe2\x82\xac", 0x20ac, 3 },
        { "\xf0\x9f\x98\x80", 0x1f600, 4 },
        { "\x80", -1, 1 },
        { "\xc0\x80", -1, 1 },
        { "\xe0\x80\x80", -1, 1 },
        { "\xed\xa0\x80", -1, 1 },
        { "\xf4\x90\x80\x80", -1, 1 },
        { "\xe2\x82", -1, 1 },
        { "\xff", -1, 1 },
        { "\xc3(", -1, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *p = cases[i].bytes;
        assert_int_equal(cf_utf8_next(&p, p + strlen(p)), cases[i].code);
        assert_int_equal(p - cases[i].bytes, cases[i].used);
    }
}

TESTS(TEST(written_file_reads_back), TEST(foreign_order_and_padding_are_fine),
      TEST(wrong_headers_are_refused), TEST(a_header_cannot_cost_gigabytes),
      TEST(every_truncation_is_refused), TEST(files_that_are_none), TEST(bad_writes_leave_nothing),
      TEST(every_failed_allocation_is_clean), TEST(utf8_is_decoded_strictly))
