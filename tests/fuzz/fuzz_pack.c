/* Any tables as a packed dataset: refused with one line, or every frame can be asked for.
 *
 * The input is not an HDF5 file, of which HDF5's own parser would be the subject, and 1.10.8 is
 * known to crash on damaged ones, but what stands in one:
 *   byte: bits 0-1 encoding (raw, png, jpeg, unknown), bit 2 chunked, bit 3 /frames/source present,
 *         bit 4 /classes/family present; byte: version; byte: classes; byte: names
 *   then each table as a byte n and n little-endian int32, in the order of `tables`
 *   then fps as a byte n and n float32; the rest is /frames/data. */
#include "crossframe/data.h"
#include "crossframe/h5.h"

#include "fuzz_folder.h"

#include <hdf5.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

typedef struct {
    const uint8_t *bytes;
    size_t n;
} input;

static const struct {
    const char *path;
    int wide, flag; /* wide: int64; flag: written only with this bit of the first byte */
} tables[] = {
    { "/frames/offset", 1, 0 }, { "/videos/first_frame", 1, 0 }, { "/videos/label", 0, 0 },
    { "/videos/height", 0, 0 }, { "/videos/width", 0, 0 },       { "/videos/source_frames", 0, 0 },
    { "/frames/source", 0, 8 }, { "/classes/family", 0, 16 },    { "/splits/s", 1, 0 },
};

static uint8_t take(input *in)
{
    if (in->n == 0) return 0;
    in->n--;
    return *in->bytes++;
}

/* A byte n and n values of 4 bytes; fewer if the input ends. */
static size_t take_values(int32_t value[255], input *in)
{
    size_t n = take(in);
    if (n > in->n / 4) n = in->n / 4;
    memcpy(value, in->bytes, 4 * n);
    in->bytes += 4 * n;
    in->n -= 4 * n;
    return n;
}

static cf_status put_table(cf_h5 *f, size_t i, int flags, input *in)
{
    int32_t value[255];
    int64_t wide[255];
    size_t n = take_values(value, in);
    for (size_t k = 0; k < n; k++) wide[k] = value[k];
    if (tables[i].flag && !(flags & tables[i].flag)) return CF_OK;
    if (tables[i].wide) return cf_h5_write_i64(f, tables[i].path, wide, 1, &n);
    return cf_h5_write_i32(f, tables[i].path, value, 1, &n);
}

static cf_status put_all(input *data, cf_h5 *f, input in)
{
    static const char *const encoding[] = { "raw", "png", "jpeg", "nix" };
    static const char *names[255];
    int flags = take(&in);
    for (int i = 0; i < 255; i++) names[i] = "name";
    CF_TRY(cf_h5_put_attr_string(f, "/", "format", "crossframe"));
    CF_TRY(cf_h5_put_attr_string(f, "/", "encoding", encoding[flags & 3]));
    CF_TRY(cf_h5_put_attr_i64(f, "/", "version", take(&in)));
    CF_TRY(cf_h5_write_strings(f, "/classes/name", names, take(&in) % 255));
    CF_TRY(cf_h5_write_strings(f, "/videos/name", names, take(&in) % 255));
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) CF_TRY(put_table(f, i, flags, &in));
    int32_t value[255];
    float fps[255];
    size_t n = take_values(value, &in);
    memcpy(fps, value, sizeof fps);
    CF_TRY(cf_h5_write_f32(f, "/videos/fps", fps, 1, &n));
    *data = in;
    return CF_OK;
}

/* What a pack holds of frames, contiguous or in chunks, as other programs write it. */
static void put_data(const input *data, bool chunked)
{
    const hsize_t n = data->n, chunk = n < 4096 ? n : 4096;
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), create = H5Pcreate(H5P_DATASET_CREATE);
    if (chunked && n > 0) H5Pset_chunk(create, 1, &chunk);
    hid_t space = H5Screate_simple(1, &n, NULL);
    hid_t id =
        H5Dcreate2(file, "frames/data", H5T_STD_U8LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
    CF_ASSERT(id >= 0);
    CF_ASSERT(H5Dwrite(id, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, data->bytes) >= 0);
    H5Dclose(id);
    H5Sclose(space);
    H5Pclose(create);
    CF_ASSERT(H5Fclose(file) >= 0);
}

static void use_video(const cf_pack *p, size_t row)
{
    cf_picture picture = { 0 };
    cf_bytes scratch = { 0 };
    cf_pack_video v = cf_pack_video_get(p, row);
    CF_ASSERT(v.n_frames > 0 && v.label >= -1 && v.label < (int64_t)cf_pack_n_classes(p));
    for (int64_t f = 0; f < v.n_frames; f++) {
        cf_status status = cf_pack_read_frame(&picture, &scratch, p, row, f);
        CF_ASSERT(status == CF_OK || cf_pack_encoding(p) != CF_ENCODING_RAW);
    }
    int32_t step = v.source_frames / 100 + 1;
    for (int32_t s = 0; s < v.source_frames && s <= INT32_MAX - step; s += step) {
        int64_t stored = cf_pack_stored_frame(p, row, s);
        CF_ASSERT(stored >= 0 && stored < v.n_frames);
    }
    cf_picture_fini(&picture);
    cf_bytes_fini(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    make_folder("a.h5");
    cf_h5 *f;
    cf_pack *p = NULL;
    input data;
    CF_ASSERT(cf_h5_create(&f, path) == CF_OK);
    CF_ASSERT(put_all(&data, f, (input){ bytes, n }) == CF_OK);
    CF_ASSERT(cf_h5_commit(f) == CF_OK);
    put_data(&data, n > 0 && bytes[0] & 4);
    if (cf_pack_open(&p, path) == CF_OK)
        for (size_t v = 0; v < cf_pack_n_videos(p); v++) use_video(p, v);
    else
        CF_ASSERT(strstr(cf_error(), path));
    cf_pack_free(p);
    return 0;
}
