/* HDF5 files made around bytes that are there already, and rows of bytes of others' files. */
#define FOLDER_FILE "a.h5"
#include "test_in_folder.h"

#include "crossframe/h5.h"

#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>

static char *new_bytes(size_t total)
{
    char *bytes;
    assert_ok(cf_alloc(&bytes, CF_H5_HEAD + total + 1, 1));
    memset(bytes, 'x', CF_H5_HEAD); /* the gap may hold anything */
    for (size_t i = 0; i <= total; i++) bytes[CF_H5_HEAD + i] = (char)(i * 7 + i / 251);
    return bytes;
}

/* Around `total` bytes: two tables, names, an attribute. */
static cf_status wrap(size_t total)
{
    static const char *const names[] = { "a", "a longer name" };
    cf_h5 *f;
    CF_TRY(cf_h5_create_around(&f, path, "/frames/data", total));
    cf_status status = CF_OK;
    int64_t longs[300] = { 3, 4 };
    CF_GO(cf_h5_put_attr_i64(f, "/", "version", 1));
    CF_GO(cf_h5_write_strings(f, "/names", names, 2));
    CF_GO(cf_h5_write_i64(f, "/frames/offset", longs, 1, (size_t[]){ 300 }));
    CF_GO(cf_h5_write_i64(f, "/small", longs, 1, (size_t[]){ 2 }));
    cf_h5 *all = f;
    f = NULL;
    CF_GO(cf_h5_commit(all));
done:
    cf_h5_close(f);
    return status;
}

static void assert_wrapped(const char *bytes, size_t total)
{
    cf_h5 *f;
    cf_h5_info info;
    int64_t *longs, version;
    size_t n;
    uint8_t *data;
    assert_ok(cf_h5_open(&f, path));
    assert_ok(cf_h5_dataset_info(&info, f, "/frames/data"));
    assert_int_equal(info.n, total);
    if (total) assert_int_equal(info.offset, CF_H5_HEAD);
    assert_ok(cf_alloc(&data, total, 1));
    assert_ok(cf_h5_read_u8(data, f, "/frames/data", 0, total));
    assert_memory_equal(data, bytes + CF_H5_HEAD, total);
    assert_ok(cf_h5_read_i64(&longs, &n, f, "/frames/offset"));
    assert_true(n == 300 && longs[0] == 3 && longs[1] == 4 && longs[299] == 0);
    assert_ok(cf_h5_attr_i64(&version, f, "/", "version"));
    assert_int_equal(version, 1);
    cf_free(longs);
    cf_free(data);
    cf_h5_close(f);
}

static const size_t totals[] = { 0, 1, 100, 2047, 2048, 70000, 1000003 };
enum { N_TOTALS = sizeof totals / sizeof *totals };

/* Twice, as after a first attempt that ended anywhere: the same bytes. */
static void a_file_lies_around_its_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TOTALS; i++) {
        size_t total = totals[i], n, again_n;
        char *bytes = new_bytes(total), *first, *again;
        assert_ok(cf_file_write(path, bytes, CF_H5_HEAD + total));
        assert_ok(wrap(total));
        assert_wrapped(bytes, total);
        assert_ok(cf_file_read(&first, &n, path));
        assert_ok(wrap(total));
        assert_ok(cf_file_read(&again, &again_n, path));
        assert_int_equal(n, again_n);
        assert_memory_equal(first, again, n);
        cf_free(first);
        cf_free(again);
        cf_free(bytes);
    }
}

static void too_few_bytes_are_refused(void **state)
{
    (void)state;
    cf_h5 *f;
    assert_fails(cf_h5_create_around(&f, path, "/d", 0), CF_ENOTFOUND, path);
    assert_ok(cf_file_write(path, "short", 5));
    assert_fails(cf_h5_create_around(&f, path, "/d", 0), CF_EFORMAT,
                 "has 5 bytes, not the 65536 that were written");
    char *bytes = new_bytes(10);
    assert_ok(cf_file_write(path, bytes, CF_H5_HEAD + 10));
    assert_fails(cf_h5_create_around(&f, path, "/d", 11), CF_EFORMAT, "has 65546 bytes");
    cf_free(bytes);
}

/* A full disk, no memory, no commit: the bytes are as they were, and can be wrapped again. */
static void the_bytes_stay_through_failures(void **state)
{
    (void)state;
    size_t total = 70000, n;
    char *bytes = new_bytes(total), *after;
    struct rlimit old, limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    assert_ok(cf_file_write(path, bytes, CF_H5_HEAD + total));
    for (size_t more = 0; more < 2000; more += 250) {
        limit = old;
        limit.rlim_cur = CF_H5_HEAD + total + more;
        setrlimit(RLIMIT_FSIZE, &limit);
        cf_status status = wrap(total);
        setrlimit(RLIMIT_FSIZE, &old);
        if (status != CF_EIO || !strstr(cf_error(), "File too large"))
            fail_msg("%zu bytes: %d: %s", more, (int)status, cf_error());
    }
    for (size_t i = 1;; i++) {
        cf_memory_fail_at(i);
        cf_status status = wrap(total);
        cf_memory_fail_at(0);
        if (status == CF_OK) break;
        assert_int_equal(status, CF_ENOMEM);
    }
    cf_h5 *f;
    assert_ok(cf_h5_create_around(&f, path, "/d", total));
    cf_h5_close(f);
    assert_ok(cf_file_read(&after, &n, path));
    assert_true(n >= CF_H5_HEAD + total);
    assert_memory_equal(after + CF_H5_HEAD, bytes + CF_H5_HEAD, total);
    assert_ok(wrap(total));
    assert_wrapped(bytes, total);
    cf_free(after);
    cf_free(bytes);
}

static void write_rows(hid_t type)
{
    hvl_t rows[3] = { { 3, (char[12]){ 1, 2, 3 } }, { 0, NULL }, { 100000, NULL } };
    assert_ok(cf_alloc_zero(&rows[2].p, rows[2].len, 8));
    hsize_t n = 3;
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t vlen = H5Tvlen_create(type), space = H5Screate_simple(1, &n, NULL);
    hid_t d = H5Dcreate2(file, "video", vlen, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(d, vlen, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) >= 0);
    H5Dclose(d);
    H5Sclose(space);
    H5Tclose(vlen);
    H5Fclose(file);
    cf_free(rows[2].p);
}

static void rows_of_bytes_are_read(void **state)
{
    (void)state;
    cf_h5 *f;
    cf_h5_info info;
    uint8_t *row;
    size_t n;
    write_rows(H5T_STD_I8LE);
    assert_ok(cf_h5_open(&f, path));
    assert_ok(cf_h5_dataset_info(&info, f, "/video"));
    assert_true(info.class == CF_H5_ROWS && info.n == 3);
    static const size_t lengths[] = { 3, 0, 100000 };
    for (size_t i = 0; i < 3; i++) {
        assert_ok(cf_h5_read_row(&row, &n, f, "/video", i));
        assert_int_equal(n, lengths[i]);
        if (i == 0) assert_memory_equal(row, ((char[]){ 1, 2, 3 }), 3);
        cf_free(row);
    }
    assert_fails(cf_h5_read_row(&row, &n, f, "/video", 3), CF_EINVAL,
                 "has 3 rows, asked for row 3");
    assert_fails(cf_h5_read_row(&row, &n, f, "/no", 0), CF_ENOTFOUND, "there is no /no");
    for (size_t i = 1;; i++) {
        cf_memory_fail_at(i);
        cf_status status = cf_h5_read_row(&row, &n, f, "/video", 0);
        cf_memory_fail_at(0);
        if (status == CF_OK) break;
    }
    cf_free(row);
    cf_h5_close(f);
    write_rows(H5T_STD_I32LE);
    assert_ok(cf_h5_open(&f, path));
    assert_fails(cf_h5_read_row(&row, &n, f, "/video", 0), CF_EFORMAT,
                 "/video does not hold rows of bytes");
    cf_h5_close(f);
}

#define H5(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
TESTS(H5(a_file_lies_around_its_bytes), H5(too_few_bytes_are_refused),
      H5(the_bytes_stay_through_failures), H5(rows_of_bytes_are_read))
