/* pack_write: writes a packed dataset, video after video.
 *
 * The encoded bytes of frames go to PATH.tmp, behind the room that HDF5 needs before them; commit
 * makes PATH.tmp the HDF5 file, around them, and renames it. So bytes are written once, they are
 * contiguous, which only makes reading by pread possible, and the disk never holds them twice. */
#include "data/jpeg.h"
#include "data/pack_tables.h"

#include "crossframe/h5.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct cf_pack_writer {
    char *path, *temporary;
    int fd; /* of temporary */
    pack_tables tables;
    cf_pack_options options; /* with copies of what it points to */
};

static void options_fini(cf_pack_options *o)
{
    for (size_t i = 0; o->class_name && i < o->n_classes; i++) cf_free((char *)o->class_name[i]);
    cf_free((void *)o->class_name);
    cf_free((int32_t *)o->class_family);
    cf_free((char *)o->dataset);
}

/* *to is zeroed and is to be given to options_fini, also after a failure. */
static cf_status options_copy(cf_pack_options *to, const cf_pack_options *from)
{
    char **names, *dataset;
    int32_t *family;
    *to = *from;
    to->dataset = NULL, to->class_name = NULL, to->class_family = NULL;
    CF_TRY(cf_alloc_zero(&names, from->n_classes, sizeof *names));
    to->class_name = (const char *const *)names;
    for (size_t i = 0; i < from->n_classes; i++) CF_TRY(cf_strdup(&names[i], from->class_name[i]));
    if (from->dataset) {
        CF_TRY(cf_strdup(&dataset, from->dataset));
        to->dataset = dataset;
    }
    if (from->class_family) {
        CF_TRY(cf_alloc(&family, from->n_classes, sizeof *family));
        if (from->n_classes) memcpy(family, from->class_family, from->n_classes * sizeof *family);
        to->class_family = family;
    }
    return CF_OK;
}

/* PATH.tmp goes, unless commit has renamed it and forgotten its name. */
static void writer_free(cf_pack_writer *w)
{
    if (w->fd >= 0) close(w->fd);
    if (w->fd >= 0 && w->temporary) unlink(w->temporary);
    pack_tables_fini(&w->tables);
    options_fini(&w->options);
    cf_free(w->temporary);
    cf_free(w->path);
    cf_free(w);
}

cf_status cf_pack_writer_new(cf_pack_writer **out, const char *path, const cf_pack_options *options)
{
    CF_TRY(pack_options_check(path, options));
    cf_pack_writer *w;
    CF_TRY(cf_alloc_zero(&w, 1, sizeof *w));
    w->fd = -1;
    cf_status status = CF_OK;
    CF_GO(options_copy(&w->options, options));
    CF_GO(cf_strdup(&w->path, path));
    CF_GO(cf_format(&w->temporary, "%s.tmp", path));
    CF_GO(pack_tables_init(&w->tables, w->path, options->n_classes));
    w->fd = open(w->temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0)
        CF_GO(CF_FAIL(errno == ENOENT || errno == ENOTDIR ? CF_ENOTFOUND : CF_EIO,
                      "cannot create %s: %s", w->temporary, strerror(errno)));
    if (ftruncate(w->fd, (off_t)CF_H5_HEAD) != 0)
        CF_GO(CF_FAIL(CF_EIO, "cannot write %s: %s", w->temporary, strerror(errno)));
    *out = w;
    w = NULL;
done:
    if (w) writer_free(w);
    return status;
}

/* ---- add ------------------------------------------------------------------------------------- */

cf_status cf_pack_writer_begin(cf_pack_writer *w, const char *name, int32_t label, float fps)
{
    return pack_tables_begin(&w->tables, name, label, fps);
}

void cf_pack_writer_drop(cf_pack_writer *w) { pack_tables_drop(&w->tables); }

cf_status cf_pack_writer_end(cf_pack_writer *w, int32_t source_frames)
{
    return pack_tables_end(&w->tables, source_frames);
}

cf_status cf_pack_writer_split(cf_pack_writer *w, const char *name, const int64_t *rows, size_t n)
{
    return pack_tables_split(&w->tables, name, rows, n);
}

static cf_status put_frame(cf_pack_writer *w, const uint8_t *bytes, size_t n, size_t height,
                           size_t width, int32_t source)
{
    CF_TRY(cf_file_write_at(w->fd, w->temporary, bytes, n,
                            (int64_t)CF_H5_HEAD + pack_tables_at(&w->tables)));
    return pack_tables_frame(&w->tables, n, height, width, source);
}

static const char *begun_name(const cf_pack_writer *w)
{
    return w->tables.name[w->tables.n_videos];
}

cf_status cf_pack_writer_frame(cf_pack_writer *w, const uint8_t *pixels, size_t height,
                               size_t width, int32_t source)
{
    CF_TRY(pack_tables_check(&w->tables, height, width, source));
    uint8_t *coded = NULL;
    size_t n = 3 * height * width;
    cf_status status = CF_OK;
    if (w->options.encoding == CF_ENCODING_PNG)
        CF_GO(cf_png_encode(&coded, &n, pixels, height, width, w->options.png_level));
    if (w->options.encoding == CF_ENCODING_JPEG)
        CF_GO(cf_jpeg_encode(&coded, &n, pixels, height, width, w->options.quality));
    CF_GO(put_frame(w, coded ? coded : pixels, n, height, width, source));
done:
    cf_free(coded);
    if (status == CF_OK) return CF_OK;
    return cf_fail_context(status, "frame %zu of %s", w->tables.begun_frames, begun_name(w));
}

/* The size that the head of these bytes tells; CF_EINVAL if they are not of the pack's encoding. */
static cf_status coded_size(size_t *height, size_t *width, const cf_pack_writer *w,
                            const uint8_t *bytes, size_t n)
{
    jpeg_head head;
    const char *name = begun_name(w);
    if (w->options.encoding == CF_ENCODING_JPEG && jpeg_is_one(bytes, n)) {
        CF_TRY_CTX(jpeg_head_read(&head, bytes, n, name), "%s", w->path);
        bool turned = head.orientation >= 5;
        *height = turned ? head.width : head.height;
        *width = turned ? head.height : head.width;
        return CF_OK;
    }
    if (w->options.encoding == CF_ENCODING_PNG && png_is_one(bytes, n) && n >= 24) {
        const uint8_t *p = bytes + 16; /* signature, length and name of the first chunk */
        *width = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        *height = (size_t)p[4] << 24 | (size_t)p[5] << 16 | (size_t)p[6] << 8 | p[7];
        return CF_OK;
    }
    return CF_FAIL(CF_EINVAL, "%s: frame %zu of %s: its bytes are not %s", w->path,
                   w->tables.begun_frames, name, pack_encoding_name(w->options.encoding));
}

cf_status cf_pack_writer_coded(cf_pack_writer *w, const uint8_t *bytes, size_t n, size_t height,
                               size_t width, int32_t source)
{
    size_t is_high, is_wide;
    CF_TRY(pack_tables_check(&w->tables, height, width, source));
    CF_TRY(coded_size(&is_high, &is_wide, w, bytes, n));
    if (is_high != height || is_wide != width)
        return CF_FAIL(CF_EINVAL, "%s: frame %zu of %s is %zu x %zu by its bytes, not %zu x %zu",
                       w->path, w->tables.begun_frames, begun_name(w), is_high, is_wide, height,
                       width);
    return put_frame(w, bytes, n, height, width, source);
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

/* ---- commit ---------------------------------------------------------------------------------- */

cf_status cf_pack_writer_commit(cf_pack_writer *w)
{
    cf_status status = CF_OK;
    CF_GO(pack_tables_finish(&w->tables, w->temporary, &w->options));
    CF_GO(cf_file_replace(w->path, w->temporary));
    cf_free(w->temporary);
    w->temporary = NULL;
done:
    writer_free(w);
    return status;
}

void cf_pack_writer_abort(cf_pack_writer *w)
{
    if (w) writer_free(w);
}
