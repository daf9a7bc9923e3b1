/* pack_read: opens a packed dataset, checks all of it but the pixels, and reads frames.
 *
 * The tables are read whole and checked once, so that reading a frame needs no more than
 * arithmetic on them: what does not hold is refused with dataset, row and value. Where the
 * frames' bytes are contiguous in the file they are read by pread on a descriptor of the same
 * open file, by any number of threads without a lock, and HDF5 is closed. Other layouts (chunks,
 * filters) go through HDF5 and its lock. Memory is bounded by the file: the wrapper refuses
 * tables larger than what is stored, and here every frame lies within the frame bytes. */
#include "crossframe/data.h"
#include "crossframe/h5.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MOST_SIDE 65535

struct cf_pack {
    char *path;
    cf_h5 *h5;       /* NULL when frames are read by pread */
    int descriptor;  /* -1 when they are read through HDF5 */
    int64_t data_at; /* position of /frames/data in the file */
    cf_encoding encoding;
    size_t n_bytes, n_frames, n_videos, n_classes, n_splits;
    int64_t *offset, *first_frame;
    int32_t *label, *height, *width, *source_frames;
    int32_t *source; /* [n_frames] or NULL */
    int32_t *family; /* [n_classes] or NULL */
    float *fps;
    char **name, **class_name, **split_name;
    int64_t **split_rows;
    size_t *split_n;
};

/* ---- tables ---------------------------------------------------------------------------------- */

static cf_status refuse(const cf_pack *p, const char *path, size_t row, int64_t value,
                        const char *why)
{
    return CF_FAIL(CF_EFORMAT, "%s: %s row %zu is %lld: %s", p->path, path, row, (long long)value,
                   why);
}

#define ANY SIZE_MAX

/* A table has one dimension and n rows (ANY: *found tells). */
static cf_status check_rows(size_t *found, const cf_pack *p, const char *path, size_t n)
{
    cf_h5_info info;
    CF_TRY(cf_h5_dataset_info(&info, p->h5, path));
    if (info.rank != 1)
        return CF_FAIL(CF_EFORMAT, "%s: %s has %d dimensions, expected one", p->path, path,
                       info.rank);
    if (n != ANY && info.n != n)
        return CF_FAIL(CF_EFORMAT, "%s: %s has %zu rows, expected %zu", p->path, path, info.n, n);
    *found = info.n;
    return CF_OK;
}

static cf_status table_i64(int64_t **out, size_t *n, const cf_pack *p, const char *path,
                           size_t rows)
{
    CF_TRY(check_rows(n, p, path, rows));
    return cf_h5_read_i64(out, n, p->h5, path);
}

static cf_status table_i32(int32_t **out, const cf_pack *p, const char *path, size_t rows)
{
    size_t n;
    CF_TRY(check_rows(&n, p, path, rows));
    return cf_h5_read_i32(out, &n, p->h5, path);
}

static cf_status table_text(char ***out, size_t *n, const cf_pack *p, const char *path, size_t rows)
{
    CF_TRY(check_rows(n, p, path, rows));
    return cf_h5_read_strings(out, n, p->h5, path);
}

/* n + 1 positions that start at 0, do not fall (rise, if `rising`), and end at `end` (ANY:
 * anywhere). */
static cf_status check_positions(const cf_pack *p, const char *path, const int64_t *at, size_t n,
                                 size_t end, bool rising)
{
    if (at[0] != 0) return refuse(p, path, 0, at[0], "the first must be 0");
    for (size_t i = 1; i <= n; i++) {
        if (at[i] < at[i - 1]) return refuse(p, path, i, at[i], "smaller than the row before");
        if (rising && at[i] == at[i - 1])
            return refuse(p, path, i, at[i], "same as the row before: a video without frames");
    }
    if (end != ANY && at[n] != (int64_t)end) {
        char why[80];
        snprintf(why, sizeof why, "the last must be %zu", end);
        return refuse(p, path, n, at[n], why);
    }
    return CF_OK;
}

static cf_status check_range(const cf_pack *p, const char *path, const int32_t *v, size_t n,
                             int32_t low, int64_t high)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i] >= low && v[i] <= high) continue;
        char why[80];
        snprintf(why, sizeof why, "expected %d to %lld", (int)low, (long long)high);
        return refuse(p, path, i, v[i], why);
    }
    return CF_OK;
}

/* ---- open ------------------------------------------------------------------------------------ */

static cf_status read_encoding(cf_pack *p)
{
    char *name;
    CF_TRY(cf_h5_attr_string(&name, p->h5, "/", "encoding"));
    cf_status status = CF_OK;
    if (strcmp(name, "raw") == 0)
        p->encoding = CF_ENCODING_RAW;
    else if (strcmp(name, "png") == 0)
        p->encoding = CF_ENCODING_PNG;
    else if (strcmp(name, "jpeg") == 0)
        p->encoding = CF_ENCODING_JPEG;
    else
        status =
            CF_FAIL(CF_EFORMAT, "%s: attribute encoding of / is '%.40s', expected raw, png or jpeg",
                    p->path, name);
    cf_free(name);
    return status;
}

static cf_status read_head(cf_pack *p)
{
    if (!cf_h5_has_attr(p->h5, "/", "format"))
        return CF_FAIL(CF_EFORMAT, "%s is not a packed dataset: / has no attribute format",
                       p->path);
    char *format;
    CF_TRY(cf_h5_attr_string(&format, p->h5, "/", "format"));
    cf_status status = CF_OK;
    int64_t version;
    if (strcmp(format, "crossframe") != 0)
        CF_GO(CF_FAIL(CF_EFORMAT, "%s: attribute format of / is '%.40s', expected 'crossframe'",
                      p->path, format));
    CF_GO(cf_h5_attr_i64(&version, p->h5, "/", "version"));
    if (version != 1)
        CF_GO(CF_FAIL(CF_EUNSUPPORTED, "%s: attribute version of / is %lld, this build reads 1",
                      p->path, (long long)version));
    CF_GO(read_encoding(p));
done:
    cf_free(format);
    return status;
}

/* Where the bytes are, and whether pread reaches them. */
static cf_status find_data(cf_pack *p)
{
    cf_h5_info info;
    CF_TRY(cf_h5_dataset_info(&info, p->h5, "/frames/data"));
    if (info.class != CF_H5_INTEGER || info.item_bytes != 1 || info.rank != 1)
        return CF_FAIL(CF_EFORMAT, "%s: /frames/data is not one-dimensional uint8", p->path);
    p->n_bytes = info.n;
    p->data_at = info.offset;
    if (info.offset < 0) return CF_OK;
    return cf_h5_descriptor(&p->descriptor, p->h5);
}

static cf_status read_frame_tables(cf_pack *p)
{
    size_t rows;
    CF_TRY(table_i64(&p->offset, &rows, p, "/frames/offset", ANY));
    if (rows == 0) return CF_FAIL(CF_EFORMAT, "%s: /frames/offset is empty", p->path);
    p->n_frames = rows - 1;
    CF_TRY(check_positions(p, "/frames/offset", p->offset, p->n_frames, p->n_bytes, false));
    CF_TRY(table_i64(&p->first_frame, &rows, p, "/videos/first_frame", ANY));
    if (rows == 0) return CF_FAIL(CF_EFORMAT, "%s: /videos/first_frame is empty", p->path);
    p->n_videos = rows - 1;
    return check_positions(p, "/videos/first_frame", p->first_frame, p->n_videos, p->n_frames,
                           true);
}

static cf_status read_video_tables(cf_pack *p)
{
    size_t n = p->n_videos, rows;
    CF_TRY(table_text(&p->class_name, &p->n_classes, p, "/classes/name", ANY));
    if (cf_h5_exists(p->h5, "/classes/family"))
        CF_TRY(table_i32(&p->family, p, "/classes/family", p->n_classes));
    CF_TRY(table_text(&p->name, &rows, p, "/videos/name", n));
    CF_TRY(table_i32(&p->label, p, "/videos/label", n));
    CF_TRY(check_range(p, "/videos/label", p->label, n, -1, (int64_t)p->n_classes - 1));
    CF_TRY(table_i32(&p->height, p, "/videos/height", n));
    CF_TRY(check_range(p, "/videos/height", p->height, n, 1, MOST_SIDE));
    CF_TRY(table_i32(&p->width, p, "/videos/width", n));
    CF_TRY(check_range(p, "/videos/width", p->width, n, 1, MOST_SIDE));
    CF_TRY(table_i32(&p->source_frames, p, "/videos/source_frames", n));
    CF_TRY(check_rows(&rows, p, "/videos/fps", n));
    CF_TRY(cf_h5_read_f32(&p->fps, &rows, p->h5, "/videos/fps"));
    for (size_t i = 0; i < n; i++)
        if (!(p->fps[i] >= 0) || isinf(p->fps[i]))
            return CF_FAIL(CF_EFORMAT, "%s: /videos/fps row %zu is %g", p->path, i,
                           (double)p->fps[i]);
    return CF_OK;
}

/* Of raw frames the length is known. */
static cf_status check_raw(const cf_pack *p)
{
    for (size_t v = 0; v < p->n_videos; v++) {
        int64_t size = (int64_t)3 * p->height[v] * p->width[v];
        for (int64_t f = p->first_frame[v]; f < p->first_frame[v + 1]; f++)
            if (p->offset[f + 1] - p->offset[f] != size)
                return CF_FAIL(
                    CF_EFORMAT,
                    "%s: /frames/offset row %lld is %lld: raw frame %lld of video %zu has "
                    "%lld bytes, expected %d x %d x 3",
                    p->path, (long long)(f + 1), (long long)p->offset[f + 1],
                    (long long)(f - p->first_frame[v]), v,
                    (long long)(p->offset[f + 1] - p->offset[f]), (int)p->height[v],
                    (int)p->width[v]);
    }
    return CF_OK;
}

/* Which frames of the original are stored: all, or those in /frames/source, which rise. */
static cf_status read_source(cf_pack *p)
{
    if (cf_h5_exists(p->h5, "/frames/source"))
        CF_TRY(table_i32(&p->source, p, "/frames/source", p->n_frames));
    for (size_t v = 0; v < p->n_videos; v++) {
        int64_t first = p->first_frame[v], end = p->first_frame[v + 1];
        if (!p->source && p->source_frames[v] != end - first)
            return refuse(p, "/videos/source_frames", v, p->source_frames[v],
                          "not the frames stored, and there is no /frames/source");
        for (int64_t f = first; p->source && f < end; f++) {
            int64_t least = f == first ? 0 : (int64_t)p->source[f - 1] + 1;
            if (p->source[f] < least || p->source[f] >= p->source_frames[v])
                return refuse(p, "/frames/source", (size_t)f, p->source[f],
                              "not above the frame before it and below /videos/source_frames");
        }
    }
    return CF_OK;
}

static cf_status read_split(cf_pack *p, size_t i)
{
    char *path;
    CF_TRY(cf_format(&path, "/splits/%s", p->split_name[i]));
    cf_status status = CF_OK;
    CF_GO(table_i64(&p->split_rows[i], &p->split_n[i], p, path, ANY));
    for (size_t j = 0; j < p->split_n[i]; j++)
        if (p->split_rows[i][j] < 0 || p->split_rows[i][j] >= (int64_t)p->n_videos)
            CF_GO(refuse(p, path, j, p->split_rows[i][j], "not the row of a video"));
done:
    cf_free(path);
    return status;
}

static cf_status read_splits(cf_pack *p)
{
    if (!cf_h5_exists(p->h5, "/splits")) return CF_OK;
    size_t n;
    CF_TRY(cf_h5_list(&p->split_name, &n, p->h5, "/splits"));
    CF_TRY(cf_alloc_zero(&p->split_rows, n, sizeof *p->split_rows));
    CF_TRY(cf_alloc_zero(&p->split_n, n, sizeof *p->split_n));
    p->n_splits = n;
    for (size_t i = 0; i < n; i++) CF_TRY(read_split(p, i));
    return CF_OK;
}

cf_status cf_pack_open(cf_pack **out, const char *path)
{
    cf_pack *p;
    CF_TRY(cf_alloc_zero(&p, 1, sizeof *p));
    p->descriptor = -1;
    cf_status status = CF_OK;
    CF_GO(cf_strdup(&p->path, path));
    CF_GO(cf_h5_open(&p->h5, path));
    CF_GO(read_head(p));
    CF_GO(find_data(p));
    CF_GO(read_frame_tables(p));
    CF_GO(read_video_tables(p));
    if (p->encoding == CF_ENCODING_RAW) CF_GO(check_raw(p));
    CF_GO(read_source(p));
    CF_GO(read_splits(p));
    if (p->descriptor >= 0) {
        cf_h5_close(p->h5);
        p->h5 = NULL;
    }
    *out = p;
    p = NULL;
done:
    cf_pack_free(p);
    return status;
}

void cf_pack_free(cf_pack *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->n_splits; i++) cf_free(p->split_rows[i]);
    void *arrays[] = { p->path,  p->offset,        p->first_frame, p->label,      p->height,
                       p->width, p->source_frames, p->source,      p->family,     p->fps,
                       p->name,  p->class_name,    p->split_name,  p->split_rows, p->split_n };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) cf_free(arrays[i]);
    if (p->descriptor >= 0) close(p->descriptor);
    cf_h5_close(p->h5);
    cf_free(p);
}

/* ---- what is in it --------------------------------------------------------------------------- */

const char *cf_pack_path(const cf_pack *p) { return p->path; }
size_t cf_pack_n_videos(const cf_pack *p) { return p->n_videos; }
size_t cf_pack_n_frames(const cf_pack *p) { return p->n_frames; }
size_t cf_pack_n_classes(const cf_pack *p) { return p->n_classes; }
cf_encoding cf_pack_encoding(const cf_pack *p) { return p->encoding; }
bool cf_pack_is_direct(const cf_pack *p) { return p->descriptor >= 0; }

cf_pack_video cf_pack_video_get(const cf_pack *p, size_t row)
{
    CF_ASSERT(row < p->n_videos);
    return (cf_pack_video){
        .name = p->name[row],
        .first_frame = p->first_frame[row],
        .n_frames = p->first_frame[row + 1] - p->first_frame[row],
        .label = p->label[row],
        .height = p->height[row],
        .width = p->width[row],
        .source_frames = p->source_frames[row],
        .fps = p->fps[row],
    };
}

const char *cf_pack_class_name(const cf_pack *p, size_t class_id)
{
    CF_ASSERT(class_id < p->n_classes);
    return p->class_name[class_id];
}

int32_t cf_pack_class_family(const cf_pack *p, size_t class_id)
{
    CF_ASSERT(class_id < p->n_classes);
    return p->family ? p->family[class_id] : 0;
}

size_t cf_pack_n_splits(const cf_pack *p) { return p->n_splits; }

const char *cf_pack_split_name(const cf_pack *p, size_t i)
{
    CF_ASSERT(i < p->n_splits);
    return p->split_name[i];
}

cf_status cf_pack_split(const int64_t **rows, size_t *n, const cf_pack *p, const char *name)
{
    char known[200] = "none";
    size_t used = 0;
    for (size_t i = 0; i < p->n_splits; i++) {
        if (strcmp(p->split_name[i], name) == 0) {
            *rows = p->split_rows[i];
            *n = p->split_n[i];
            return CF_OK;
        }
        if (used < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                     p->split_name[i]);
    }
    return CF_FAIL(CF_ENOTFOUND, "%s has no split '%s'; it has: %s", p->path, name, known);
}

/* ---- frames ---------------------------------------------------------------------------------- */

int64_t cf_pack_stored_frame(const cf_pack *p, size_t row, int64_t source)
{
    CF_ASSERT(row < p->n_videos && source >= 0 && source < p->source_frames[row]);
    if (!p->source) return source;
    const int32_t *at = p->source + p->first_frame[row];
    int64_t low = 0, high = p->first_frame[row + 1] - p->first_frame[row] - 1, last = high;
    while (low < high) { /* ends at the last stored frame at or before `source`, else at 0 */
        int64_t middle = (low + high + 1) / 2;
        if (at[middle] <= source)
            low = middle;
        else
            high = middle - 1;
    }
    return low < last && at[low + 1] - source < source - at[low] ? low + 1 : low;
}

static cf_status read_direct(uint8_t *to, const cf_pack *p, size_t at, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got =
            pread(p->descriptor, to + done, n - done, (off_t)(p->data_at + (int64_t)(at + done)));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return CF_FAIL(CF_EIO, "cannot read %s: %s", p->path, strerror(errno));
        if (got == 0) return CF_FAIL(CF_EIO, "%s: the file has become shorter", p->path);
        done += (size_t)got;
    }
    return CF_OK;
}

static cf_status read_bytes(uint8_t *to, const cf_pack *p, size_t at, size_t n)
{
    if (p->descriptor >= 0) return read_direct(to, p, at, n);
    return cf_h5_read_u8(to, p->h5, "/frames/data", at, n);
}

static cf_status read_coded(cf_picture *out, cf_bytes *scratch, const cf_pack *p, size_t row,
                            int64_t frame, size_t at, size_t n)
{
    char what[200];
    snprintf(what, sizeof what, "frame %lld of %.100s", (long long)frame, p->name[row]);
    if (n > scratch->capacity) {
        CF_TRY(cf_realloc(&scratch->bytes, n, 1));
        scratch->capacity = n;
    }
    CF_TRY(read_bytes(scratch->bytes, p, at, n));
    CF_TRY_CTX(p->encoding == CF_ENCODING_JPEG ? cf_jpeg_decode(out, scratch->bytes, n, what)
                                               : cf_png_decode(out, scratch->bytes, n, what),
               "%s", p->path);
    if (out->height == (size_t)p->height[row] && out->width == (size_t)p->width[row]) return CF_OK;
    return CF_FAIL(CF_EFORMAT, "%s: %s is %zu x %zu, /videos say %d x %d", p->path, what,
                   out->height, out->width, (int)p->height[row], (int)p->width[row]);
}

cf_status cf_pack_read_frame(cf_picture *out, cf_bytes *scratch, const cf_pack *p, size_t row,
                             int64_t frame)
{
    CF_ASSERT(row < p->n_videos);
    int64_t first = p->first_frame[row], n_frames = p->first_frame[row + 1] - first;
    if (frame < 0 || frame >= n_frames)
        return CF_FAIL(CF_EINVAL, "%s: %s has %lld frames, asked for frame %lld", p->path,
                       p->name[row], (long long)n_frames, (long long)frame);
    int64_t f = first + frame;
    size_t at = (size_t)p->offset[f], n = (size_t)(p->offset[f + 1] - p->offset[f]);
    if (p->encoding != CF_ENCODING_RAW) return read_coded(out, scratch, p, row, frame, at, n);
    CF_TRY(cf_picture_resize_buffer(out, (size_t)p->height[row], (size_t)p->width[row]));
    return read_bytes(out->pixels, p, at, n);
}
