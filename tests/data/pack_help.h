/* What the tests of packs share: a small pack whose pixels are a function, and edits of it with
 * HDF5's own interface, so that the reader is held against files our writer did not make. */
#ifndef CROSSFRAME_PACK_HELP_H
#define CROSSFRAME_PACK_HELP_H

#include "test.h"

#include "crossframe/data.h"
#include "crossframe/h5.h"

#include <fcntl.h>
#include <hdf5.h>
#include <sys/stat.h>

enum { VIDEOS = 5 };
static const char *const class_names[] = { "h\xc3\xb6her", "zwei", "drei" };
static const int32_t families[] = { 0, 0, 7 };
static const int32_t labels[VIDEOS] = { 2, -1, 0, 1, 0 };

static inline size_t frames_of(size_t v) { return 1 + (v * 3) % 4; }
static inline size_t height_of(size_t v) { return 9 + v; }
static inline size_t width_of(size_t v) { return 14 - 2 * v; }
static inline uint8_t pixel(size_t v, size_t f, size_t i)
{
    return (uint8_t)((i * 2654435761u + f * 40503u + v * 97u) >> 7);
}

static inline cf_pack_options test_options(cf_encoding encoding)
{
    return (cf_pack_options){ .dataset = "test",
                              .encoding = encoding,
                              .png_level = 6,
                              .short_side = 9,
                              .class_name = class_names,
                              .class_family = families,
                              .n_classes = 3 };
}

static inline cf_status add_video(cf_pack_writer *w, size_t v)
{
    static _Thread_local uint8_t pixels[4 * 20 * 20 * 3];
    size_t size = height_of(v) * width_of(v) * 3;
    for (size_t f = 0; f < frames_of(v); f++)
        for (size_t i = 0; i < size; i++) pixels[f * size + i] = pixel(v, f, i);
    char name[40];
    snprintf(name, sizeof name, "klasse \xe4\xb8\x80/video %zu.mp4", v);
    return cf_pack_writer_add(w, name, labels[v], 12.5f + (float)v, pixels, frames_of(v),
                              height_of(v), width_of(v));
}

static inline cf_status write_pack(const char *path, cf_encoding encoding)
{
    static const int64_t train[] = { 0, 2, 4 };
    cf_pack_options options = test_options(encoding);
    cf_pack_writer *w = NULL;
    cf_status status = CF_OK;
    CF_GO(cf_pack_writer_new(&w, path, &options));
    CF_GO(cf_pack_writer_split(w, "train", train, 3));
    for (size_t v = 0; v < VIDEOS; v++) CF_GO(add_video(w, v));
    CF_GO(cf_pack_writer_split(w, "empty", NULL, 0));
    cf_pack_writer *full = w;
    w = NULL;
    CF_GO(cf_pack_writer_commit(full));
done:
    cf_pack_writer_abort(w);
    return status;
}

/* Frame f of video v is what add_video gave; false if not (threads may not use cmocka). */
static inline bool frame_is_right(const cf_picture *p, size_t v, size_t f)
{
    if (p->height != height_of(v) || p->width != width_of(v)) return false;
    for (size_t i = 0; i < p->height * p->width * 3; i++)
        if (p->pixels[i] != pixel(v, f, i)) return false;
    return true;
}

/* Reads every frame; NULL if all are right. */
static inline const char *read_all(const cf_pack *p)
{
    cf_picture picture = { 0 };
    cf_bytes scratch = { 0 };
    const char *wrong = NULL;
    for (size_t v = 0; v < cf_pack_n_videos(p) && !wrong; v++) {
        int64_t n = cf_pack_video_get(p, v).n_frames;
        for (int64_t f = 0; f < n && !wrong; f++) {
            if (cf_pack_read_frame(&picture, &scratch, p, v, f) != CF_OK)
                wrong = cf_error();
            else if (!frame_is_right(&picture, v, (size_t)f))
                wrong = "wrong pixels";
        }
    }
    cf_picture_fini(&picture);
    cf_bytes_fini(&scratch);
    return wrong;
}

/* ---- edits ----------------------------------------------------------------------------------- */

static inline hid_t edit_open(const char *path)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    return file;
}

/* The dataset anew, with other rows; type is of memory and file. */
static inline void replace(const char *path, const char *dataset, hid_t type, int rank,
                           const hsize_t *dim, const void *values)
{
    hid_t file = edit_open(path);
    if (H5Lexists(file, dataset, H5P_DEFAULT) > 0)
        assert_true(H5Ldelete(file, dataset, H5P_DEFAULT) >= 0);
    hid_t space = H5Screate_simple(rank, dim, NULL);
    hid_t id = H5Dcreate2(file, dataset, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(id >= 0);
    if (values) assert_true(H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(id);
    H5Sclose(space);
    assert_true(H5Fclose(file) >= 0);
}

static inline void set_row(const char *path, const char *dataset, size_t row, double value)
{
    hid_t file = edit_open(path), id = H5Dopen2(file, dataset, H5P_DEFAULT);
    hid_t space = H5Dget_space(id), memory = H5Screate(H5S_SCALAR);
    hsize_t at = row;
    assert_true(H5Sselect_elements(space, H5S_SELECT_SET, 1, &at) >= 0);
    assert_true(H5Dwrite(id, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, &value) >= 0);
    H5Sclose(memory);
    H5Sclose(space);
    H5Dclose(id);
    assert_true(H5Fclose(file) >= 0);
}

static inline void delete_link(const char *path, const char *link)
{
    hid_t file = edit_open(path);
    assert_true(H5Ldelete(file, link, H5P_DEFAULT) >= 0);
    assert_true(H5Fclose(file) >= 0);
}

/* /frames/data in chunks, with zlib's filter if level > 0. */
static inline void make_chunked(const char *path, hsize_t chunk, unsigned level)
{
    cf_h5 *h;
    cf_h5_info info;
    assert_ok(cf_h5_open(&h, path));
    assert_ok(cf_h5_dataset_info(&info, h, "/frames/data"));
    uint8_t *bytes = test_malloc(info.n);
    assert_ok(cf_h5_read_u8(bytes, h, "/frames/data", 0, info.n));
    cf_h5_close(h);
    hid_t file = edit_open(path), create = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(H5Ldelete(file, "/frames/data", H5P_DEFAULT) >= 0);
    H5Pset_chunk(create, 1, &chunk);
    if (level > 0) H5Pset_deflate(create, level);
    hsize_t n = info.n, most = H5S_UNLIMITED;
    hid_t space = H5Screate_simple(1, &n, &most);
    hid_t id =
        H5Dcreate2(file, "/frames/data", H5T_STD_U8LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
    assert_true(H5Dwrite(id, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes) >= 0);
    H5Dclose(id);
    H5Sclose(space);
    H5Pclose(create);
    assert_true(H5Fclose(file) >= 0);
    test_free(bytes);
}

/* Unlike cf_file_write without a sync: for thousands of files. */
static inline void write_plain(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static inline size_t file_size(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (size_t)info.st_size : 0;
}

#endif
