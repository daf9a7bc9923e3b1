/* Packs that are not what they should be: each rule of the layout broken alone is refused with
 * dataset, row and value; a cut file is an error; damaged tables and frames are an error or
 * other pixels, never a crash. Damage to HDF5's own structures is not tried: HDF5 1.10.8 itself
 * crashes on some (H5HG_read). */
#include "pack_help.h"
#define FOLDER_FILE "a.h5"
#include "test_in_folder.h"

static void refused(cf_status code, const char *text)
{
    size_t before = cf_memory_stats_get().bytes_now;
    cf_pack *p = NULL;
    assert_fails(cf_pack_open(&p, path), code, text);
    assert_null(p);
    assert_non_null(strstr(cf_error(), path));
    assert_int_equal(cf_memory_stats_get().bytes_now, before);
}

static void fresh(cf_encoding encoding) { assert_ok(write_pack(path, encoding)); }

static void set_text_attr(const char *name, const char *value)
{
    hid_t file = edit_open(path), type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, strlen(value)); /* of fixed length: the reader takes both */
    H5Adelete(file, name);
    hid_t id = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(id, type, value) >= 0);
    H5Aclose(id);
    H5Sclose(space);
    H5Tclose(type);
    assert_true(H5Fclose(file) >= 0);
}

static void delete_attr(const char *name)
{
    hid_t file = edit_open(path);
    assert_true(H5Adelete(file, name) >= 0);
    assert_true(H5Fclose(file) >= 0);
}

static void set_version(int value)
{
    hid_t file = edit_open(path), id = H5Aopen(file, "version", H5P_DEFAULT);
    assert_true(H5Awrite(id, H5T_NATIVE_INT, &value) >= 0);
    H5Aclose(id);
    assert_true(H5Fclose(file) >= 0);
}

static void other_files_are_refused(void **state)
{
    (void)state;
    refused(CF_ENOTFOUND, "No such file");
    assert_ok(cf_file_write(path, "", 0));
    refused(CF_EFORMAT, "is not an HDF5 file (0 bytes)");
    assert_ok(cf_file_write(path, "\x89PNG\r\n\x1a\n", 8));
    refused(CF_EFORMAT, "is not an HDF5 file");
    cf_h5 *h;
    assert_ok(cf_h5_create(&h, path));
    assert_ok(cf_h5_commit(h));
    refused(CF_EFORMAT, "is not a packed dataset: / has no attribute format");
    cf_pack *p;
    assert_fails(cf_pack_open(&p, folder), CF_EIO, "not a regular file");
}

static void the_head_is_checked(void **state)
{
    (void)state;
    fresh(CF_ENCODING_RAW);
    set_text_attr("format", "other");
    refused(CF_EFORMAT, "format of / is 'other', expected 'crossframe'");
    set_text_attr("format", "crossframe");
    cf_pack *p;
    assert_ok(cf_pack_open(&p, path));
    cf_pack_free(p);
    set_version(2);
    refused(CF_EUNSUPPORTED, "version of / is 2, this build reads 1");
    set_version(1);
    set_text_attr("encoding", "webp");
    refused(CF_EFORMAT, "encoding of / is 'webp'");
    delete_attr("encoding");
    refused(CF_ENOTFOUND, "no attribute encoding");
    fresh(CF_ENCODING_RAW);
    set_text_attr("version", "1");
    refused(CF_EFORMAT, "version is text, expected integers");
    delete_attr("version");
    refused(CF_ENOTFOUND, "no attribute version");
}

static void each_wrong_row_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *dataset;
        size_t row;
        double value;
        const char *says;
    } wrong[] = {
        { "/frames/offset", 0, 1, "/frames/offset row 0 is 1: the first must be 0" },
        { "/frames/offset", 3, 5, "/frames/offset row 3 is 5: smaller than the row before" },
        { "/frames/offset", 3, -5, "/frames/offset row 3 is -5" },
        { "/frames/offset", 11, 1e6, "/frames/offset row 11 is 1000000: the last must be" },
        { "/frames/offset", 4, 1300, "/frames/offset row 4 is 1300: raw frame 2 of video 1" },
        { "/videos/first_frame", 0, 1, "/videos/first_frame row 0 is 1: the first must be 0" },
        { "/videos/first_frame", 2, 0, "/videos/first_frame row 2 is 0: smaller" },
        { "/videos/first_frame", 2, 1, "/videos/first_frame row 2 is 1: same as the row before" },
        { "/videos/first_frame", 5, 12, "/videos/first_frame row 5 is 12: the last must be 11" },
        { "/videos/label", 2, 3, "/videos/label row 2 is 3: expected -1 to 2" },
        { "/videos/label", 2, -2, "/videos/label row 2 is -2" },
        { "/videos/height", 1, 0, "/videos/height row 1 is 0" },
        { "/videos/width", 4, 65536, "/videos/width row 4 is 65536" },
        { "/videos/width", 4, 7, "raw frame 0 of video 4" },
        { "/videos/source_frames", 3, 5, "/videos/source_frames row 3 is 5" },
        { "/videos/fps", 0, -1, "/videos/fps row 0 is -1" },
        { "/videos/fps", 0, NAN, "/videos/fps row 0 is " },
        { "/splits/train", 1, 5, "/splits/train row 1 is 5: not the row of a video" },
        { "/splits/train", 2, -1, "/splits/train row 2 is -1" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        fresh(CF_ENCODING_RAW);
        set_row(path, wrong[i].dataset, wrong[i].row, wrong[i].value);
        refused(CF_EFORMAT, wrong[i].says);
    }
}

static void each_wrong_or_missing_table_is_named(void **state)
{
    (void)state;
    static const char *const tables[] = {
        "/frames/data",          "/frames/offset", "/videos/first_frame", "/videos/label",
        "/videos/name",          "/videos/fps",    "/videos/height",      "/videos/width",
        "/videos/source_frames", "/classes/name",  "/classes/family",     "/splits/train"
    };
    static const double values[64] = { 0 };
    hsize_t dim[2] = { 4, 1 };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        fresh(CF_ENCODING_RAW);
        delete_link(path, tables[i]);
        if (i < 10) refused(CF_ENOTFOUND, tables[i]); /* the other two may be absent */
        replace(path, tables[i], H5T_NATIVE_DOUBLE, 2, dim, values);
        refused(CF_EFORMAT, tables[i]);
        replace(path, tables[i], H5T_NATIVE_DOUBLE, 1, dim, values);
        refused(CF_EFORMAT, tables[i]);
        dim[0] = 0;
        replace(path, tables[i], i == 5 ? H5T_NATIVE_FLOAT : H5T_NATIVE_INT16, 1, dim, NULL);
        if (i != 11) refused(CF_EFORMAT, tables[i]); /* an empty split is fine */
        dim[0] = 4;
        delete_link(path, tables[i]);
        hid_t file = edit_open(path);
        H5Gclose(H5Gcreate2(file, tables[i], H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
        H5Fclose(file);
        refused(CF_EFORMAT, tables[i]);
    }
}

static void numbers_too_large_for_a_table_are_refused(void **state)
{
    (void)state;
    static const int64_t large[VIDEOS] = { 1, 1, ((int64_t)1 << 32) + 1, 1, 1 };
    hsize_t n = VIDEOS;
    fresh(CF_ENCODING_RAW);
    replace(path, "/videos/label", H5T_NATIVE_INT64, 1, &n, large);
    refused(CF_EFORMAT, "/videos/label row 2 is 4294967297, which needs more than 32 bits");
}

/* Dimensions that the file does not back must not become memory. */
static void huge_tables_are_refused_before_memory_is_asked(void **state)
{
    (void)state;
    hsize_t huge = (hsize_t)1 << 40;
    static const char *const tables[] = { "/frames/offset", "/videos/label", "/frames/data" };
    for (size_t i = 0; i < 3; i++)
        for (int chunked = 0; chunked < 2; chunked++) {
            fresh(CF_ENCODING_RAW);
            delete_link(path, tables[i]);
            hid_t file = edit_open(path), create = H5Pcreate(H5P_DATASET_CREATE);
            hsize_t chunk = 1 << 16;
            if (chunked) H5Pset_chunk(create, 1, &chunk);
            if (chunked) H5Pset_deflate(create, 9);
            hid_t space = H5Screate_simple(1, &huge, NULL);
            hid_t id = H5Dcreate2(file, tables[i], i == 2 ? H5T_STD_U8LE : H5T_STD_I32LE, space,
                                  H5P_DEFAULT, create, H5P_DEFAULT);
            assert_true(id >= 0);
            H5Dclose(id);
            H5Sclose(space);
            H5Pclose(create);
            H5Fclose(file);
            refused(CF_EFORMAT, "claims 1099511627776 elements");
        }
}

static void data_in_other_files_is_refused(void **state)
{
    (void)state;
    char *other = test_path(folder, "b.h5");
    assert_ok(write_pack(other, CF_ENCODING_RAW));
    fresh(CF_ENCODING_RAW);
    delete_link(path, "/frames/data");
    hid_t file = edit_open(path);
    H5Lcreate_external(other, "/frames/data", file, "/frames/data", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    refused(CF_EUNSUPPORTED, "/frames/data keeps its data in another file");
    cf_free(other);
}

static void a_frame_that_is_no_png_is_named(void **state)
{
    (void)state;
    fresh(CF_ENCODING_PNG);
    set_row(path, "/frames/data", 1, 'X');
    cf_pack *p;
    cf_picture picture = { 0 };
    cf_bytes scratch = { 0 };
    assert_ok(cf_pack_open(&p, path));
    assert_fails(cf_pack_read_frame(&picture, &scratch, p, 0, 0), CF_EFORMAT,
                 "video 0.mp4: not a PNG");
    assert_ok(cf_pack_read_frame(&picture, &scratch, p, 1, 0));
    cf_pack_free(p);
    fresh(CF_ENCODING_PNG);
    set_row(path, "/videos/height", 1, 8);
    assert_ok(cf_pack_open(&p, path));
    assert_fails(cf_pack_read_frame(&picture, &scratch, p, 1, 2), CF_EFORMAT,
                 "10 x 12, /videos say 8");
    cf_pack_free(p);
    cf_picture_fini(&picture);
    cf_bytes_fini(&scratch);
}

static void a_cut_file_is_an_error(void **state)
{
    (void)state;
    char *bytes;
    size_t n;
    for (cf_encoding e = CF_ENCODING_RAW; e <= CF_ENCODING_PNG; e++) {
        fresh(e);
        assert_ok(cf_file_read(&bytes, &n, path));
        for (size_t cut = 0; cut < n; cut += 61) {
            write_plain(path, bytes, cut);
            cf_pack *p = NULL;
            if (cf_pack_open(&p, path) == CF_OK) fail_msg("%zu of %zu bytes were accepted", cut, n);
            assert_non_null(strstr(cf_error(), path));
        }
        cf_free(bytes);
    }
}

/* Changes one byte after another; how many changes were tried, and how many opened all the same. */
static size_t damage(char *bytes, size_t n, const cf_h5_info *info, size_t *tried)
{
    size_t opened = 0, end = (size_t)info->offset + info->n * info->item_bytes;
    size_t before = cf_memory_stats_get().bytes_now;
    assert_true(info->offset > 0 && end <= n);
    for (size_t at = (size_t)info->offset; at < end; at++) {
        char old = bytes[at];
        bytes[at] = (char)(at % 3 == 0 ? 0xff : at % 3 == 1 ? old ^ 1 : 0);
        if (bytes[at] == old) continue;
        ++*tried;
        write_plain(path, bytes, n);
        cf_pack *p = NULL;
        if (cf_pack_open(&p, path) == CF_OK) {
            read_all(p);
            opened++;
        }
        cf_pack_free(p);
        bytes[at] = old;
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
    return opened;
}

static void damaged_tables_and_frames_do_no_harm(void **state)
{
    (void)state;
    static const char *const tables[] = { "/frames/data",        "/frames/offset",
                                          "/videos/first_frame", "/videos/label",
                                          "/videos/fps",         "/videos/source_frames",
                                          "/videos/height",      "/videos/width",
                                          "/splits/train" };
    char *bytes;
    size_t n;
    cf_h5 *h;
    cf_h5_info info[9];
    fresh(CF_ENCODING_PNG);
    assert_ok(cf_h5_open(&h, path));
    for (size_t i = 0; i < 9; i++) assert_ok(cf_h5_dataset_info(&info[i], h, tables[i]));
    cf_h5_close(h);
    assert_ok(cf_file_read(&bytes, &n, path));
    for (size_t i = 0; i < 9; i++) {
        size_t tried = 0, opened = damage(bytes, n, &info[i], &tried);
        if (i == 0) assert_true(opened > 100); /* frames are not looked into on opening */
        /* Of the offsets only low bytes can change and leave a table that fits. */
        if (i == 1) assert_true(tried > 10 && 4 * opened < tried);
    }
    assert_true(cf_memory_stats_get().bytes_peak < (size_t)1 << 26);
    cf_free(bytes);
}

#define PACK(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
TESTS(PACK(other_files_are_refused), PACK(the_head_is_checked), PACK(each_wrong_row_is_named),
      PACK(each_wrong_or_missing_table_is_named), PACK(numbers_too_large_for_a_table_are_refused),
      PACK(huge_tables_are_refused_before_memory_is_asked), PACK(data_in_other_files_is_refused),
      PACK(a_frame_that_is_no_png_is_named), PACK(a_cut_file_is_an_error),
      PACK(damaged_tables_and_frames_do_no_harm))
