/* The HDF5 wrapper: what is written is read, conversions that would change values are refused,
 * files made by others (fixed-length text, chunks, filters, big-endian, scalars, empty), and
 * what is no good HDF5. */
#define FOLDER_FILE "a.h5"
#include "test_in_folder.h"

#include "crossframe/h5.h"

#include <fcntl.h>
#include <hdf5.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

static const char *const words[] = { "", "eins", "zw\xc3\xb6lf", "a longer text of several words" };
static const float floats[] = { 0, -1.5f, 3.25e30f, 1e-40f, NAN, INFINITY };
static const int32_t ints[] = { INT32_MIN, -1, 0, 1, 7, INT32_MAX };
static const int64_t longs[] = { INT64_MIN, -1, 0, 1, 7, INT64_MAX };

static cf_status write_all(void)
{
    static const size_t dims[5] = { 1, 2, 1, 3, 1 }, none[2] = { 4, 0 };
    cf_h5 *f;
    CF_TRY(cf_h5_create(&f, path));
    cf_status status = CF_OK;
    CF_GO(cf_h5_write_f32(f, "/deep/er/floats", floats, 5, dims));
    CF_GO(cf_h5_write_i32(f, "/ints", ints, 2, (size_t[]){ 2, 3 }));
    CF_GO(cf_h5_write_i64(f, "/longs", longs, 1, (size_t[]){ 6 }));
    CF_GO(cf_h5_write_f32(f, "/scalar", &floats[1], 0, NULL));
    CF_GO(cf_h5_write_f32(f, "/none", NULL, 2, none));
    CF_GO(cf_h5_write_strings(f, "/words", words, 4));
    CF_GO(cf_h5_write_strings(f, "/no words", NULL, 0));
    CF_GO(cf_h5_make_group(f, "/group/inner"));
    CF_GO(cf_h5_put_attr_i64(f, "/", "answer", 41));
    CF_GO(cf_h5_put_attr_i64(f, "/", "answer", 42)); /* replaces */
    CF_GO(cf_h5_put_attr_string(f, "/ints", "unit", "f\xc3\xbc\xc3\x9f"));
    CF_GO(cf_h5_put_attr_string(f, "/group", "empty", ""));
    cf_h5 *all = f;
    f = NULL;
    CF_GO(cf_h5_commit(all));
done:
    cf_h5_close(f);
    return status;
}

static void numbers_and_texts_come_back(void **state)
{
    (void)state;
    assert_ok(write_all());
    cf_h5 *f;
    size_t n;
    float *x;
    double *y;
    int32_t *i;
    int64_t *l;
    char **s;
    assert_ok(cf_h5_open(&f, path));
    assert_string_equal(cf_h5_path(f), path);
    assert_ok(cf_h5_read_f32(&x, &n, f, "/deep/er/floats"));
    assert_int_equal(n, 6);
    assert_memory_equal(x, floats, sizeof floats);
    cf_free(x);
    assert_ok(cf_h5_read_f64(&y, &n, f, "deep/er/floats"));
    assert_near(y[1], -1.5, 0);
    cf_free(y);
    assert_ok(cf_h5_read_i32(&i, &n, f, "/ints"));
    assert_int_equal(n, 6);
    assert_memory_equal(i, ints, sizeof ints);
    cf_free(i);
    assert_ok(cf_h5_read_f32(&x, &n, f, "/ints"));
    assert_near(x[4], 7, 0);
    cf_free(x);
    assert_ok(cf_h5_read_i64(&l, &n, f, "/longs"));
    assert_memory_equal(l, longs, sizeof longs);
    cf_free(l);
    assert_ok(cf_h5_read_f32(&x, &n, f, "/scalar"));
    assert_int_equal(n, 1);
    assert_near(x[0], -1.5, 0);
    cf_free(x);
    assert_ok(cf_h5_read_f32(&x, &n, f, "/none"));
    assert_int_equal(n, 0);
    cf_free(x);
    assert_ok(cf_h5_read_strings(&s, &n, f, "/words"));
    assert_int_equal(n, 4);
    for (size_t k = 0; k < n; k++) assert_string_equal(s[k], words[k]);
    cf_free(s);
    assert_ok(cf_h5_read_strings(&s, &n, f, "/no words"));
    assert_int_equal(n, 0);
    cf_free(s);
    cf_h5_close(f);
}

static void the_file_can_be_looked_around_in(void **state)
{
    (void)state;
    static const char *const top[] = { "deep",     "group", "ints",   "longs",
                                       "no words", "none",  "scalar", "words" };
    assert_ok(write_all());
    cf_h5 *f;
    char **names;
    size_t n;
    assert_ok(cf_h5_open(&f, path));
    assert_ok(cf_h5_list(&names, &n, f, "/"));
    assert_int_equal(n, sizeof top / sizeof *top);
    for (size_t i = 0; i < n; i++) assert_string_equal(names[i], top[i]);
    cf_free(names);
    assert_ok(cf_h5_list(&names, &n, f, "/group/inner"));
    assert_int_equal(n, 0);
    cf_free(names);
    assert_fails(cf_h5_list(&names, &n, f, "/ints"), CF_EFORMAT, "/ints is not a readable group");
    assert_fails(cf_h5_list(&names, &n, f, "/nowhere"), CF_ENOTFOUND, "there is no /nowhere");
    assert_true(cf_h5_exists(f, "/"));
    assert_true(cf_h5_exists(f, "/deep/er"));
    assert_false(cf_h5_exists(f, "/deep/est/floats"));
    assert_false(cf_h5_exists(f, "/ints/x"));
    assert_false(cf_h5_exists(f, ""));
    cf_h5_info info;
    assert_ok(cf_h5_dataset_info(&info, f, "/deep/er/floats"));
    assert_int_equal(info.class, CF_H5_FLOAT);
    assert_int_equal(info.item_bytes, 4);
    assert_int_equal(info.rank, 5);
    assert_int_equal(info.dim[3], 3);
    assert_int_equal(info.n, 6);
    assert_true(info.offset > 0);
    assert_ok(cf_h5_dataset_info(&info, f, "/none"));
    assert_int_equal(info.n, 0);
    assert_int_equal(info.dim[0], 4);
    assert_ok(cf_h5_dataset_info(&info, f, "/scalar"));
    assert_int_equal(info.rank, 0);
    assert_int_equal(info.n, 1);
    assert_ok(cf_h5_dataset_info(&info, f, "/words"));
    assert_int_equal(info.class, CF_H5_STRING);
    assert_int_equal(info.item_bytes, 0);
    assert_fails(cf_h5_dataset_info(&info, f, "/group"), CF_EFORMAT,
                 "/group is not a readable dataset");
    cf_h5_close(f);
}

static void attributes_come_back(void **state)
{
    (void)state;
    assert_ok(write_all());
    cf_h5 *f;
    int64_t i, *list;
    double d;
    char *s;
    size_t n;
    assert_ok(cf_h5_open(&f, path));
    assert_true(cf_h5_has_attr(f, "/", "answer"));
    assert_false(cf_h5_has_attr(f, "/", "question"));
    assert_false(cf_h5_has_attr(f, "/nowhere", "answer"));
    assert_ok(cf_h5_attr_i64(&i, f, "/", "answer"));
    assert_int_equal(i, 42);
    assert_ok(cf_h5_attr_f64(&d, f, "/", "answer"));
    assert_near(d, 42, 0);
    assert_ok(cf_h5_attr_i64s(&list, &n, f, "/", "answer"));
    assert_int_equal(n, 1);
    cf_free(list);
    assert_ok(cf_h5_attr_string(&s, f, "/ints", "unit"));
    assert_string_equal(s, "f\xc3\xbc\xc3\x9f");
    cf_free(s);
    assert_ok(cf_h5_attr_string(&s, f, "/group", "empty"));
    assert_string_equal(s, "");
    cf_free(s);
    assert_fails(cf_h5_attr_string(&s, f, "/", "answer"), CF_EFORMAT, "answer holds no text");
    assert_fails(cf_h5_attr_i64(&i, f, "/ints", "unit"), CF_EFORMAT,
                 "unit is text, expected integers");
    assert_fails(cf_h5_attr_i64(&i, f, "/", "nix"), CF_ENOTFOUND, "/ has no attribute nix");
    assert_fails(cf_h5_attr_i64(&i, f, "/nix", "nix"), CF_ENOTFOUND, "there is no /nix");
    cf_h5_close(f);
}

static void conversions_that_change_values_are_refused(void **state)
{
    (void)state;
    assert_ok(write_all());
    cf_h5 *f;
    float *x = NULL;
    int32_t *i = NULL;
    int64_t *l = NULL;
    char **s = NULL;
    uint8_t byte[10];
    size_t n = 77;
    assert_ok(cf_h5_open(&f, path));
    assert_fails(cf_h5_read_f32(&x, &n, f, "/words"), CF_EFORMAT,
                 "/words is text, expected numbers");
    assert_fails(cf_h5_read_i64(&l, &n, f, "/scalar"), CF_EFORMAT,
                 "/scalar is float, expected integers");
    assert_fails(cf_h5_read_i32(&i, &n, f, "/longs"), CF_EFORMAT,
                 "/longs row 0 is -9223372036854775808, which needs more than 32 bits");
    assert_fails(cf_h5_read_strings(&s, &n, f, "/ints"), CF_EFORMAT, "/ints holds no text");
    assert_fails(cf_h5_read_f32(&x, &n, f, "/group"), CF_EFORMAT,
                 "/group is not a readable dataset");
    assert_fails(cf_h5_read_f32(&x, &n, f, "/group/x"), CF_ENOTFOUND, "there is no /group/x");
    assert_fails(cf_h5_read_u8(byte, f, "/ints", 0, 1), CF_EFORMAT,
                 "/ints is not one-dimensional uint8");
    assert_null(x);
    assert_null(i);
    assert_null(l);
    assert_null(s);
    assert_int_equal(n, 77);
    cf_h5_close(f);
}

static void only_a_commit_makes_the_file(void **state)
{
    (void)state;
    char *temporary = test_path(folder, "a.h5.tmp");
    cf_h5 *f;
    assert_ok(cf_h5_create(&f, path));
    assert_true(cf_file_exists(temporary));
    assert_ok(cf_h5_make_group(f, "/g"));
    assert_fails(cf_h5_make_group(f, "/g"), CF_EIO, "cannot write /g: ");
    assert_fails(cf_h5_commit(f), CF_EINVAL, "an earlier write failed");
    assert_false(cf_file_exists(path));
    assert_false(cf_file_exists(temporary));
    assert_ok(write_all());
    assert_ok(cf_h5_create(&f, path));
    cf_h5_close(f);
    cf_h5_close(NULL);
    assert_false(cf_file_exists(temporary));
    assert_ok(cf_h5_open(&f, path)); /* the old one */
    assert_true(cf_h5_exists(f, "/words"));
    cf_h5_close(f);
    assert_fails(cf_h5_create(&f, "/nonexistent/a.h5"), CF_ENOTFOUND,
                 "/nonexistent/a.h5.tmp: No such");
    cf_free(temporary);
}

/* ---- files of others ------------------------------------------------------------------------- */

static void put(hid_t file, const char *name, hid_t type, hid_t memory, int rank,
                const hsize_t *dim, const void *v, int level)
{
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    if (level) H5Pset_chunk(create, rank, dim);
    if (level) H5Pset_shuffle(create);
    if (level) H5Pset_deflate(create, (unsigned)level);
    hid_t space = rank < 0 ? H5Screate(H5S_NULL) : H5Screate_simple(rank, dim, NULL);
    hid_t id = H5Dcreate2(file, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    assert_true(id >= 0);
    if (v) assert_true(H5Dwrite(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) >= 0);
    H5Dclose(id);
    H5Sclose(space);
    H5Pclose(create);
}

static hid_t fixed_text(size_t size, H5T_str_t pad)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, size);
    H5Tset_strpad(type, pad);
    return type;
}

static void files_of_others_are_read(void **state)
{
    (void)state;
    static const double d[4] = { 1.5, 2, 3, 4 };
    static const hsize_t four = 4, two = 2, deep[6] = { 1, 1, 1, 1, 1, 1 };
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t spaces = fixed_text(4, H5T_STR_SPACEPAD), zeros = fixed_text(4, H5T_STR_NULLPAD);
    put(file, "big", H5T_IEEE_F64BE, H5T_NATIVE_DOUBLE, 1, &four, d, 0);
    put(file, "short", H5T_STD_I16BE, H5T_NATIVE_DOUBLE, 1, &four, d, 0);
    put(file, "packed", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 1, &four, d, 6);
    put(file, "spaces", spaces, spaces, 1, &two, "ab  cdef", 0);
    put(file, "zeros", zeros, zeros, 1, &two, "ab\0\0cdef", 6);
    put(file, "null", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, -1, NULL, NULL, 0);
    put(file, "deep", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 6, deep, d, 0);
    put(file, "unset", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 1, &four, NULL, 0);
    H5Lcreate_soft("/nowhere", file, "dangling", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/big", file, "link", H5P_DEFAULT, H5P_DEFAULT);
    H5Tclose(spaces);
    H5Tclose(zeros);
    H5Fclose(file);

    cf_h5 *f;
    float *x;
    int32_t *i;
    char **s;
    size_t n;
    assert_ok(cf_h5_open(&f, path));
    static const char *const same[] = { "big", "packed", "link" };
    for (int k = 0; k < 3; k++) {
        assert_ok(cf_h5_read_f32(&x, &n, f, same[k]));
        assert_int_equal(n, 4);
        for (int j = 0; j < 4; j++) assert_near(x[j], d[j], 0);
        cf_free(x);
    }
    assert_ok(cf_h5_read_i32(&i, &n, f, "/short"));
    assert_int_equal(i[3], 4);
    cf_free(i);
    static const char *const text[] = { "/spaces", "/zeros" };
    for (int k = 0; k < 2; k++) {
        assert_ok(cf_h5_read_strings(&s, &n, f, text[k]));
        assert_int_equal(n, 2);
        assert_string_equal(s[0], "ab");
        assert_string_equal(s[1], "cdef");
        cf_free(s);
    }
    assert_ok(cf_h5_read_f32(&x, &n, f, "/null"));
    assert_int_equal(n, 0);
    cf_free(x);
    assert_ok(cf_h5_read_f32(&x, &n, f, "/unset"));
    assert_near(x[3], 0, 0);
    cf_free(x);
    assert_fails(cf_h5_read_f32(&x, &n, f, "/deep"), CF_EUNSUPPORTED, "/deep has 6 dimensions");
    assert_false(cf_h5_exists(f, "/dangling"));
    assert_fails(cf_h5_read_f32(&x, &n, f, "/dangling"), CF_ENOTFOUND, "there is no /dangling");
    cf_h5_close(f);
}

/* Bytes at once in the file, so that they can be read without HDF5, and in compressed pieces. */
static void bytes_come_in_any_layout(void **state)
{
    (void)state;
    static const hsize_t ten = 10, many = 3000;
    uint8_t written[3000], got[3000];
    cf_h5 *f;
    cf_h5_info info;
    int fd;
    for (size_t i = 0; i < sizeof written; i++) written[i] = (uint8_t)(i * 7 + i / 251);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    put(file, "plain", H5T_STD_U8LE, H5T_NATIVE_UINT8, 1, &ten, "0123456789", 0);
    put(file, "packed", H5T_STD_U8LE, H5T_NATIVE_UINT8, 1, &many, written, 6);
    H5Fclose(file);
    assert_ok(cf_h5_open(&f, path));
    assert_ok(cf_h5_read_u8(got, f, "/plain", 2, 5));
    assert_memory_equal(got, "23456", 5);
    assert_ok(cf_h5_read_u8(got, f, "/packed", 0, 3000));
    assert_memory_equal(got, written, 3000);
    assert_ok(cf_h5_read_u8(got, f, "/plain", 10, 0));
    assert_fails(cf_h5_read_u8(got, f, "/plain", 5, 6), CF_EINVAL,
                 "/plain has 10 bytes, asked for 6 at 5");
    assert_fails(cf_h5_read_u8(got, f, "/plain", SIZE_MAX, 2), CF_EINVAL, "10 bytes");
    assert_ok(cf_h5_dataset_info(&info, f, "/packed"));
    assert_int_equal(info.n, 3000);
    assert_int_equal(info.offset, -1);
    assert_ok(cf_h5_dataset_info(&info, f, "/plain"));
    assert_ok(cf_h5_descriptor(&fd, f));
    cf_h5_close(f);
    assert_int_equal(pread(fd, got, 10, info.offset), 10);
    assert_memory_equal(got, "0123456789", 10);
    close(fd);
}

/* An empty list attribute, as h5py writes one: float64 [0]. */
static void an_empty_list_attribute_is_an_empty_list(void **state)
{
    (void)state;
    hsize_t n = 0, three = 3;
    int16_t v[3] = { 5, -6, 7 };
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t none = H5Screate_simple(1, &n, NULL), some = H5Screate_simple(1, &three, NULL);
    H5Aclose(H5Acreate2(file, "none", H5T_IEEE_F64LE, none, H5P_DEFAULT, H5P_DEFAULT));
    hid_t id = H5Acreate2(file, "some", H5T_STD_I16LE, some, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(id, H5T_NATIVE_INT16, v) >= 0);
    H5Aclose(id);
    H5Sclose(none);
    H5Sclose(some);
    H5Fclose(file);
    cf_h5 *f;
    int64_t *list, one;
    size_t count;
    assert_ok(cf_h5_open(&f, path));
    assert_ok(cf_h5_attr_i64s(&list, &count, f, "/", "none"));
    assert_int_equal(count, 0);
    cf_free(list);
    assert_ok(cf_h5_attr_i64s(&list, &count, f, "/", "some"));
    assert_int_equal(count, 3);
    assert_int_equal(list[1], -6);
    cf_free(list);
    assert_fails(cf_h5_attr_i64(&one, f, "/", "some"), CF_EFORMAT, "some of / has 3 values");
    cf_h5_close(f);
}

/* ---- bad files ------------------------------------------------------------------------------- */

static void what_is_no_hdf5_is_refused(void **state)
{
    (void)state;
    cf_h5 *f = NULL;
    assert_fails(cf_h5_open(&f, path), CF_ENOTFOUND, "No such file");
    assert_fails(cf_h5_open(&f, folder), CF_EIO, "not a regular file");
    assert_ok(cf_file_write(path, "", 0));
    assert_fails(cf_h5_open(&f, path), CF_EFORMAT, "is not an HDF5 file (0 bytes)");
    assert_ok(cf_file_write(path, "plain text, several bytes", 25));
    assert_fails(cf_h5_open(&f, path), CF_EFORMAT, "is not an HDF5 file");
    assert_null(f);
}

static void a_cut_file_is_refused(void **state)
{
    (void)state;
    char *bytes;
    size_t n;
    assert_ok(write_all());
    assert_ok(cf_file_read(&bytes, &n, path));
    for (size_t cut = 0; cut < n; cut += n / 97) {
        cf_h5 *f = NULL;
        FILE *file = fopen(path, "wb");
        fwrite(bytes, 1, cut, file);
        fclose(file);
        if (cf_h5_open(&f, path) == CF_OK) fail_msg("%zu of %zu bytes were accepted", cut, n);
        assert_non_null(strstr(cf_error(), path));
    }
    cf_free(bytes);
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, limit;
    getrlimit(RLIMIT_FSIZE, &old);
    char *temporary = test_path(folder, "a.h5.tmp");
    assert_ok(write_all());
    cf_h5 *f;
    assert_ok(cf_h5_open(&f, path));
    cf_h5_close(f);
    unlink(path);
    for (size_t most = 0; most < 4000; most += 100) {
        limit = old;
        limit.rlim_cur = most;
        setrlimit(RLIMIT_FSIZE, &limit);
        cf_status status = write_all();
        setrlimit(RLIMIT_FSIZE, &old);
        if (status != CF_EIO || !strstr(cf_error(), "File too large"))
            fail_msg("%zu bytes: %d: %s", most, (int)status, cf_error());
        assert_false(cf_file_exists(path));
        assert_false(cf_file_exists(temporary));
    }
    cf_free(temporary);
}

static void no_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    size_t before = cf_memory_stats_get().bytes_now;
    cf_status status = CF_ENOMEM;
    for (size_t i = 1; status != CF_OK; i++) {
        cf_memory_fail_at(i);
        status = write_all();
        cf_memory_fail_at(0);
        assert_true(status == CF_OK || status == CF_ENOMEM);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
    status = CF_ENOMEM;
    for (size_t i = 1; status != CF_OK; i++) {
        cf_h5 *f = NULL;
        char **s = NULL, **names = NULL, *unit = NULL;
        int32_t *v = NULL;
        size_t n;
        cf_memory_fail_at(i);
        status = cf_h5_open(&f, path);
        if (status == CF_OK) status = cf_h5_read_strings(&s, &n, f, "/words");
        if (status == CF_OK) status = cf_h5_read_i32(&v, &n, f, "/ints");
        if (status == CF_OK) status = cf_h5_list(&names, &n, f, "/");
        if (status == CF_OK) status = cf_h5_attr_string(&unit, f, "/ints", "unit");
        cf_memory_fail_at(0);
        assert_true(status == CF_OK || status == CF_ENOMEM);
        cf_free(s);
        cf_free(v);
        cf_free(names);
        cf_free(unit);
        cf_h5_close(f);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
}

static void *read_often(void *wrong)
{
    cf_h5 *f;
    char **s;
    size_t n;
    for (int i = 0; i < 100 && !*(int *)wrong; i++) {
        if (cf_h5_open(&f, path) != CF_OK) return *(int *)wrong = 1, NULL;
        if (cf_h5_read_strings(&s, &n, f, "/words") != CF_OK)
            *(int *)wrong = 1;
        else if (n != 4 || strcmp(s[3], words[3]) != 0)
            *(int *)wrong = 1;
        else
            cf_free(s);
        if (cf_h5_read_strings(&s, &n, f, "/none") == CF_OK) *(int *)wrong = 1;
        if (!strstr(cf_error(), "/none")) *(int *)wrong = 1;
        cf_h5_close(f);
    }
    return NULL;
}

static void threads_may_read_at_once(void **state)
{
    (void)state;
    assert_ok(write_all());
    pthread_t thread[4];
    int wrong[4] = { 0 };
    for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, read_often, &wrong[i]);
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < 4; i++) assert_int_equal(wrong[i], 0);
}

#define H5(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
TESTS(H5(numbers_and_texts_come_back), H5(the_file_can_be_looked_around_in),
      H5(attributes_come_back), H5(conversions_that_change_values_are_refused),
      H5(only_a_commit_makes_the_file), H5(files_of_others_are_read), H5(bytes_come_in_any_layout),
      H5(an_empty_list_attribute_is_an_empty_list), H5(what_is_no_hdf5_is_refused),
      H5(a_cut_file_is_refused), H5(a_full_disk_is_an_error), H5(no_memory_is_an_error_and_no_leak),
      H5(threads_may_read_at_once))
