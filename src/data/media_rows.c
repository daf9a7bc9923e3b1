/* media_rows: a video as older datasets keep it, an HDF5 file whose dataset `video` has one JPEG or
 * PNG file a row. Rows are read one at a time under HDF5's lock, decoded outside of it. */
#include "data/media_parts.h"

#include "crossframe/h5.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    cf_media *media;
    cf_h5 *h5;
    cf_picture picture;
} rows;

static void close_rows(void *source)
{
    rows *r = source;
    cf_h5_close(r->h5);
    cf_picture_fini(&r->picture);
    cf_free(r);
}

static cf_status hand_over(rows *r, size_t row, const media_wish *wish, size_t *height,
                           size_t *width)
{
    cf_media *m = r->media;
    uint8_t *bytes;
    size_t n;
    char what[24];
    snprintf(what, sizeof what, "row %zu", row);
    CF_TRY(cf_h5_read_row(&bytes, &n, r->h5, "/video", row));
    cf_status status = cf_picture_decode(&r->picture, bytes, n, what);
    if (status != CF_OK) CF_GO(cf_fail_context(status, "%s: /video", m->path));
    if (*height == 0) *height = r->picture.height, *width = r->picture.width;
    if (r->picture.height != *height || r->picture.width != *width)
        CF_GO(CF_FAIL(CF_EFORMAT, "%s: /video row %zu is %zu x %zu, those before it %zu x %zu",
                      m->path, row, r->picture.height, r->picture.width, *height, *width));
    m->coded = bytes, m->n_coded = n;
    CF_GO(wish->fn(wish->user, (int64_t)row, &r->picture));
done:
    m->coded = NULL;
    cf_free(bytes);
    return status;
}

static cf_status walk(void *source, const media_wish *wish, int64_t *n_frames)
{
    size_t height = 0, width = 0, n = wish->frame ? wish->n : (size_t)*n_frames;
    for (size_t i = 0; wish->fn && i < n; i++)
        CF_TRY(hand_over(source, wish->frame ? (size_t)wish->frame[i] : i, wish, &height, &width));
    return CF_OK;
}

static const media_kind kind = { walk, close_rows };

bool media_is_hdf5(const uint8_t *bytes, size_t n)
{
    return n >= 8 && memcmp(bytes, "\211HDF\r\n\032\n", 8) == 0;
}

cf_status media_open_rows(cf_media *m)
{
    rows *r;
    cf_h5_info info;
    CF_TRY(cf_alloc_zero(&r, 1, sizeof *r));
    r->media = m;
    m->kind = &kind;
    m->source = r;
    CF_TRY(cf_h5_open(&r->h5, m->path));
    if (!cf_h5_exists(r->h5, "/video"))
        return CF_FAIL(CF_EFORMAT, "%s: an HDF5 file without a dataset `video`", m->path);
    CF_TRY(cf_h5_dataset_info(&info, r->h5, "/video"));
    if (info.class != CF_H5_ROWS || info.rank != 1)
        return CF_FAIL(CF_EFORMAT, "%s: /video does not hold pictures as rows of bytes", m->path);
    if (info.n == 0) return CF_FAIL(CF_EFORMAT, "%s: /video is empty", m->path);
    m->n_frames = (int64_t)info.n;
    return CF_OK;
}
