/* pack_write: writes a packed dataset (docs: the packed dataset's layout).
 *
 * The encoded bytes of frames go to a side file PATH.frames.tmp, because a contiguous dataset
 * must know its length when it is made, and only a contiguous one can be read by pread. The side
 * file loses its name as soon as it is open, so that nothing is left of it whatever happens;
 * commit copies it into the HDF5 file and gives its blocks back as it goes, so that the disk
 * need not hold all bytes twice. What is kept in memory is 8 bytes a frame and a few numbers a
 * video. A video that fails changes nothing of what was added before: counts move only at its
 * end. */
#include "data/jpeg.h"

#include "crossframe/h5.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COPY_BYTES ((size_t)1 << 20)
#define MOST_SIDE 65535u

typedef struct {
    char *name;
    int64_t *rows;
    size_t n;
} split;

struct cf_pack_writer {
    char *path;
    cf_h5 *h5;
    int frames; /* descriptor of the side file */
    cf_encoding encoding;
    int png_level, quality;
    size_t n_classes;

    int64_t *offset,
        *first_frame; /* [n_frames + 1], [n_videos + 1]; the last one is where to go on */
    int32_t *source;  /* [n_frames] */
    int32_t *label, *height, *width, *source_frames; /* [n_videos] */
    float *fps;
    char **name;
    size_t n_frames, n_videos, frame_capacity, video_capacity;
    split *splits;
    size_t n_splits;
    bool thinned; /* a video has fewer frames than its original */

    /* The video begun: row n_videos of the arrays above, its frames from n_frames on. */
    bool begun;
    size_t begun_frames;
};

static void writer_free(cf_pack_writer *w)
{
    cf_pack_writer_drop(w);
    for (size_t i = 0; i < w->n_videos; i++) cf_free(w->name[i]);
    for (size_t i = 0; i < w->n_splits; i++) {
        cf_free(w->splits[i].name);
        cf_free(w->splits[i].rows);
    }
    void *arrays[] = { w->offset, w->first_frame, w->label,  w->height, w->width, w->source_frames,
                       w->fps,    w->name,        w->splits, w->path,   w->source };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) cf_free(arrays[i]);
    if (w->frames >= 0) close(w->frames);
    cf_h5_close(w->h5);
    cf_free(w);
}

/* ---- begin ----------------------------------------------------------------------------------- */

static cf_status side_file(cf_pack_writer *w)
{
    char *path;
    CF_TRY(cf_format(&path, "%s.frames.tmp", w->path));
    w->frames = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cf_status status = CF_OK;
    if (w->frames < 0)
        status = CF_FAIL(CF_EIO, "cannot create %s: %s", path, strerror(errno));
    else
        unlink(path);
    cf_free(path);
    return status;
}

static const char *const encoding_name[] = { "raw", "png", "jpeg" };

static cf_status write_head(cf_pack_writer *w, const cf_pack_options *o)
{
    CF_TRY(cf_h5_put_attr_string(w->h5, "/", "format", "crossframe"));
    CF_TRY(cf_h5_put_attr_i64(w->h5, "/", "version", 1));
    CF_TRY(cf_h5_put_attr_string(w->h5, "/", "encoding", encoding_name[o->encoding]));
    CF_TRY(cf_h5_put_attr_string(w->h5, "/", "dataset", o->dataset ? o->dataset : ""));
    CF_TRY(cf_h5_put_attr_i64(w->h5, "/", "short_side", o->short_side));
    /* raw and png lose nothing */
    CF_TRY(cf_h5_put_attr_i64(w->h5, "/", "quality",
                              o->encoding == CF_ENCODING_JPEG ? o->quality : 100));
    CF_TRY(cf_h5_put_attr_string(w->h5, "/", "creator", "crossframe " CF_VERSION));
    CF_TRY(cf_h5_write_strings(w->h5, "/classes/name", o->class_name, o->n_classes));
    if (o->class_family)
        CF_TRY(cf_h5_write_i32(w->h5, "/classes/family", o->class_family, 1, &o->n_classes));
    return CF_OK;
}

static cf_status check_options(const char *path, const cf_pack_options *o)
{
    if (o->encoding < CF_ENCODING_RAW || o->encoding > CF_ENCODING_JPEG)
        return CF_FAIL(CF_EINVAL, "%s: encoding %d", path, (int)o->encoding);
    if (o->quality < 0 || o->quality > 100)
        return CF_FAIL(CF_EINVAL, "%s: quality %d is not 0 to 100", path, o->quality);
    if (o->png_level < 0 || o->png_level > 9)
        return CF_FAIL(CF_EINVAL, "%s: png level %d is not 0 to 9", path, o->png_level);
    if (o->n_classes > INT32_MAX) return CF_FAIL(CF_EINVAL, "%s: %zu classes", path, o->n_classes);
    for (size_t i = 0; i < o->n_classes; i++)
        if (!o->class_name[i]) return CF_FAIL(CF_EINVAL, "%s: class %zu has no name", path, i);
    return CF_OK;
}

cf_status cf_pack_writer_new(cf_pack_writer **out, const char *path, const cf_pack_options *options)
{
    CF_TRY(check_options(path, options));
    cf_pack_writer *w;
    CF_TRY(cf_alloc_zero(&w, 1, sizeof *w));
    w->frames = -1;
    w->encoding = options->encoding;
    w->png_level = options->png_level;
    w->quality = options->quality;
    w->n_classes = options->n_classes;
    cf_status status = CF_OK;
    CF_GO(cf_strdup(&w->path, path));
    CF_GO(cf_alloc_zero(&w->offset, 1, sizeof *w->offset));
    CF_GO(cf_alloc_zero(&w->source, 1, sizeof *w->source));
    CF_GO(cf_alloc_zero(&w->first_frame, 1, sizeof *w->first_frame));
    CF_GO(cf_h5_create(&w->h5, path));
    CF_GO(write_head(w, options));
    CF_GO(side_file(w));
    *out = w;
    w = NULL;
done:
    if (w) writer_free(w);
    return status;
}

/* ---- add ------------------------------------------------------------------------------------- */

static cf_status grow_frames(cf_pack_writer *w)
{
    size_t n = w->n_frames + w->begun_frames;
    if (n < w->frame_capacity) return CF_OK;
    size_t capacity = n ? 2 * n : 64;
    CF_TRY(cf_realloc(&w->offset, capacity + 1, sizeof *w->offset));
    CF_TRY(cf_realloc(&w->source, capacity, sizeof *w->source));
    w->frame_capacity = capacity;
    return CF_OK;
}

static cf_status grow_videos(cf_pack_writer *w)
{
    if (w->n_videos < w->video_capacity) return CF_OK;
    size_t n = w->video_capacity ? 2 * w->video_capacity : 64;
    CF_TRY(cf_realloc(&w->first_frame, n + 1, sizeof *w->first_frame));
    CF_TRY(cf_realloc(&w->label, n, sizeof *w->label));
    CF_TRY(cf_realloc(&w->height, n, sizeof *w->height));
    CF_TRY(cf_realloc(&w->width, n, sizeof *w->width));
    CF_TRY(cf_realloc(&w->source_frames, n, sizeof *w->source_frames));
    CF_TRY(cf_realloc(&w->fps, n, sizeof *w->fps));
    CF_TRY(cf_realloc(&w->name, n, sizeof *w->name));
    w->video_capacity = n;
    return CF_OK;
}

static cf_status put(cf_pack_writer *w, const uint8_t *bytes, size_t n, int64_t at)
{
    while (n > 0) {
        ssize_t done = pwrite(w->frames, bytes, n, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0)
            return CF_FAIL(CF_EIO, "cannot write %s.frames.tmp: %s", w->path, strerror(errno));
        bytes += done;
        n -= (size_t)done;
        at += done;
    }
    return CF_OK;
}

cf_status cf_pack_writer_begin(cf_pack_writer *w, const char *name, int32_t label, float fps)
{
    CF_ASSERT(!w->begun);
    if (label < -1 || (label >= 0 && (size_t)label >= w->n_classes))
        return CF_FAIL(CF_EINVAL, "%s: %s has label %d, there are %zu classes", w->path, name,
                       (int)label, w->n_classes);
    if (!(fps >= 0) || isinf(fps))
        return CF_FAIL(CF_EINVAL, "%s: %s has %g frames per second", w->path, name, (double)fps);
    CF_TRY(grow_videos(w));
    size_t v = w->n_videos;
    CF_TRY(cf_strdup(&w->name[v], name));
    w->label[v] = label;
    w->fps[v] = fps;
    w->begun = true;
    w->begun_frames = 0;
    return CF_OK;
}

void cf_pack_writer_drop(cf_pack_writer *w)
{
    if (w->begun) cf_free(w->name[w->n_videos]);
    w->begun = false;
    w->begun_frames = 0;
}

/* A frame of this size and number may come next. */
static cf_status check_frame(const cf_pack_writer *w, size_t height, size_t width, int32_t source)
{
    CF_ASSERT(w->begun);
    size_t v = w->n_videos, n = w->begun_frames;
    int64_t least = n ? (int64_t)w->source[w->n_frames + n - 1] + 1 : 0;
    if (height == 0 || width == 0 || height > MOST_SIDE || width > MOST_SIDE)
        return CF_FAIL(CF_EINVAL, "%s: %s has frames of %zu x %zu", w->path, w->name[v], height,
                       width);
    if (n > 0 && (height != (size_t)w->height[v] || width != (size_t)w->width[v]))
        return CF_FAIL(CF_EINVAL, "%s: frame %zu of %s is %zu x %zu, those before it %d x %d",
                       w->path, n, w->name[v], height, width, (int)w->height[v], (int)w->width[v]);
    if (source < least || source == INT32_MAX)
        return CF_FAIL(CF_EINVAL,
                       "%s: frame %zu of %s is number %d of the original, expected %lld "
                       "or more",
                       w->path, n, w->name[v], (int)source, (long long)least);
    return CF_OK;
}

static cf_status put_frame(cf_pack_writer *w, const uint8_t *bytes, size_t n, size_t height,
                           size_t width, int32_t source)
{
    CF_TRY(grow_frames(w));
    size_t f = w->n_frames + w->begun_frames;
    CF_TRY(put(w, bytes, n, w->offset[f]));
    w->offset[f + 1] = w->offset[f] + (int64_t)n;
    w->source[f] = source;
    w->height[w->n_videos] = (int32_t)height;
    w->width[w->n_videos] = (int32_t)width;
    w->begun_frames++;
    return CF_OK;
}

cf_status cf_pack_writer_frame(cf_pack_writer *w, const uint8_t *pixels, size_t height,
                               size_t width, int32_t source)
{
    CF_TRY(check_frame(w, height, width, source));
    uint8_t *coded = NULL;
    size_t n = 3 * height * width;
    cf_status status = CF_OK;
    if (w->encoding == CF_ENCODING_PNG)
        CF_GO(cf_png_encode(&coded, &n, pixels, height, width, w->png_level));
    if (w->encoding == CF_ENCODING_JPEG)
        CF_GO(cf_jpeg_encode(&coded, &n, pixels, height, width, w->quality));
    CF_GO(put_frame(w, coded ? coded : pixels, n, height, width, source));
done:
    cf_free(coded);
    if (status == CF_OK) return CF_OK;
    return cf_fail_context(status, "frame %zu of %s", w->begun_frames, w->name[w->n_videos]);
}

/* The size that the head of these bytes tells; CF_EINVAL if they are not of the pack's encoding. */
static cf_status coded_size(size_t *height, size_t *width, const cf_pack_writer *w,
                            const uint8_t *bytes, size_t n)
{
    jpeg_head head;
    const char *name = w->name[w->n_videos];
    if (w->encoding == CF_ENCODING_JPEG && jpeg_is_one(bytes, n)) {
        CF_TRY_CTX(jpeg_head_read(&head, bytes, n, name), "%s", w->path);
        bool turned = head.orientation >= 5;
        *height = turned ? head.width : head.height;
        *width = turned ? head.height : head.width;
        return CF_OK;
    }
    if (w->encoding == CF_ENCODING_PNG && png_is_one(bytes, n) && n >= 24) {
        const uint8_t *p = bytes + 16; /* signature, length and name of the first chunk */
        *width = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        *height = (size_t)p[4] << 24 | (size_t)p[5] << 16 | (size_t)p[6] << 8 | p[7];
        return CF_OK;
    }
    return CF_FAIL(CF_EINVAL, "%s: frame %zu of %s: its bytes are not %s", w->path, w->begun_frames,
                   name, encoding_name[w->encoding]);
}

cf_status cf_pack_writer_coded(cf_pack_writer *w, const uint8_t *bytes, size_t n, size_t height,
                               size_t width, int32_t source)
{
    size_t is_high, is_wide;
    CF_TRY(check_frame(w, height, width, source));
    CF_TRY(coded_size(&is_high, &is_wide, w, bytes, n));
    if (is_high != height || is_wide != width)
        return CF_FAIL(CF_EINVAL, "%s: frame %zu of %s is %zu x %zu by its bytes, not %zu x %zu",
                       w->path, w->begun_frames, w->name[w->n_videos], is_high, is_wide, height,
                       width);
    return put_frame(w, bytes, n, height, width, source);
}

static cf_status check_end(const cf_pack_writer *w, int32_t source_frames)
{
    size_t n = w->begun_frames;
    const char *name = w->name[w->n_videos];
    if (n == 0 || n > INT32_MAX)
        return CF_FAIL(CF_EINVAL, "%s: %s has %zu frames", w->path, name, n);
    if (source_frames <= w->source[w->n_frames + n - 1])
        return CF_FAIL(CF_EINVAL, "%s: %s has %d frames and number %d of them", w->path, name,
                       (int)source_frames, (int)w->source[w->n_frames + n - 1]);
    return CF_OK;
}

cf_status cf_pack_writer_end(cf_pack_writer *w, int32_t source_frames)
{
    CF_ASSERT(w->begun);
    cf_status status = check_end(w, source_frames);
    if (status != CF_OK) {
        cf_pack_writer_drop(w);
        return status;
    }
    w->source_frames[w->n_videos] = source_frames;
    if ((size_t)source_frames != w->begun_frames) w->thinned = true;
    w->n_frames += w->begun_frames;
    w->first_frame[++w->n_videos] = (int64_t)w->n_frames;
    w->begun = false;
    w->begun_frames = 0;
    return CF_OK;
}

cf_status cf_pack_writer_add(cf_pack_writer *w, const char *name, int32_t label, float fps,
                             const uint8_t *pixels, size_t n_frames, size_t height, size_t width)
{
    if (n_frames > INT32_MAX)
        return CF_FAIL(CF_EINVAL, "%s: %s has %zu frames", w->path, name, n_frames);
    CF_TRY(cf_pack_writer_begin(w, name, label, fps));
    for (size_t i = 0; i < n_frames; i++) {
        const uint8_t *frame = pixels + 3 * height * width * i;
        cf_status status = cf_pack_writer_frame(w, frame, height, width, (int32_t)i);
        if (status == CF_OK) continue;
        cf_pack_writer_drop(w);
        return status;
    }
    return cf_pack_writer_end(w, (int32_t)n_frames);
}

/* Rows are checked at commit: a split may be told before its videos. */
cf_status cf_pack_writer_split(cf_pack_writer *w, const char *name, const int64_t *rows, size_t n)
{
    if (name[0] == 0 || strchr(name, '/') || strcmp(name, ".") == 0)
        return CF_FAIL(CF_EINVAL, "%s: '%s' cannot name a split", w->path, name);
    for (size_t i = 0; i < w->n_splits; i++)
        if (strcmp(w->splits[i].name, name) == 0)
            return CF_FAIL(CF_EINVAL, "%s: split %s is there already", w->path, name);
    CF_TRY(cf_realloc(&w->splits, w->n_splits + 1, sizeof *w->splits));
    split s = { .n = n };
    CF_TRY(cf_strdup(&s.name, name));
    cf_status status = cf_alloc(&s.rows, n, sizeof *rows);
    if (status != CF_OK) {
        cf_free(s.name);
        return status;
    }
    if (n > 0) memcpy(s.rows, rows, n * sizeof *rows);
    w->splits[w->n_splits++] = s;
    return CF_OK;
}

/* ---- commit ---------------------------------------------------------------------------------- */

static cf_status copy_frames(cf_pack_writer *w)
{
    uint8_t *buffer = NULL;
    cf_status status = CF_OK;
    int64_t total = w->offset[w->n_frames];
    CF_GO(cf_alloc(&buffer, COPY_BYTES, 1));
    CF_GO(cf_h5_stream_begin(w->h5, "/frames/data", (size_t)total));
    for (int64_t at = 0; at < total;) {
        size_t n = total - at < (int64_t)COPY_BYTES ? (size_t)(total - at) : COPY_BYTES;
        ssize_t got = pread(w->frames, buffer, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            CF_GO(CF_FAIL(CF_EIO, "cannot read %s.frames.tmp: %s", w->path,
                          got < 0 ? strerror(errno) : "it ends early"));
        CF_GO(cf_h5_stream_append(w->h5, buffer, (size_t)got));
        /* Not all file systems can; then the disk holds the bytes twice for a while. */
        fallocate(w->frames, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)got);
        at += got;
    }
    CF_GO(cf_h5_stream_end(w->h5));
done:
    cf_free(buffer);
    return status;
}

static cf_status write_splits(cf_pack_writer *w)
{
    for (size_t s = 0; s < w->n_splits; s++) {
        const split *one = &w->splits[s];
        for (size_t i = 0; i < one->n; i++)
            if (one->rows[i] < 0 || one->rows[i] >= (int64_t)w->n_videos)
                return CF_FAIL(CF_EINVAL, "%s: split %s has row %lld, there are %zu videos",
                               w->path, one->name, (long long)one->rows[i], w->n_videos);
        char *path;
        CF_TRY(cf_format(&path, "/splits/%s", one->name));
        cf_status status = cf_h5_write_i64(w->h5, path, one->rows, 1, &one->n);
        cf_free(path);
        CF_TRY(status);
    }
    return CF_OK;
}

static cf_status write_tables(cf_pack_writer *w)
{
    size_t frames = w->n_frames + 1, firsts = w->n_videos + 1, n = w->n_videos;
    CF_TRY(cf_h5_write_i64(w->h5, "/frames/offset", w->offset, 1, &frames));
    if (w->thinned) CF_TRY(cf_h5_write_i32(w->h5, "/frames/source", w->source, 1, &w->n_frames));
    CF_TRY(cf_h5_write_i64(w->h5, "/videos/first_frame", w->first_frame, 1, &firsts));
    CF_TRY(cf_h5_write_i32(w->h5, "/videos/label", w->label, 1, &n));
    CF_TRY(cf_h5_write_strings(w->h5, "/videos/name", (const char *const *)w->name, n));
    CF_TRY(cf_h5_write_f32(w->h5, "/videos/fps", w->fps, 1, &n));
    CF_TRY(cf_h5_write_i32(w->h5, "/videos/height", w->height, 1, &n));
    CF_TRY(cf_h5_write_i32(w->h5, "/videos/width", w->width, 1, &n));
    return cf_h5_write_i32(w->h5, "/videos/source_frames", w->source_frames, 1, &n);
}

cf_status cf_pack_writer_commit(cf_pack_writer *w)
{
    cf_status status = CF_OK;
    CF_ASSERT(!w->begun);
    CF_GO(write_splits(w)); /* first: its rows may be refused before the long copy */
    CF_GO(copy_frames(w));
    CF_GO(write_tables(w));
    cf_h5 *h5 = w->h5;
    w->h5 = NULL;
    CF_GO(cf_h5_commit(h5));
done:
    writer_free(w);
    return status;
}

void cf_pack_writer_abort(cf_pack_writer *w)
{
    if (w) writer_free(w);
}
