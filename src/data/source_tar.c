/* An uncompressed tar as a source: names are of files in it, told by the whole name, else by the
 * last part where that is unique (Q3).
 *
 * The archive is mapped and indexed once; members are read where they lie, so a reader costs no
 * handle and no copy, and which ones have been looked at is the system's page cache's business. */
#include "source.h"

typedef struct {
    const cf_tar *tar;
    cf_media *media; /* the open video, or NULL */
} reader;

static cf_status find(int64_t *video, const void *data, const char *const *name, size_t n)
{
    const uint8_t *bytes;
    size_t n_bytes;
    for (size_t i = 0; i < n; i++) {
        cf_status status = cf_tar_find(&bytes, &n_bytes, data, name[i]);
        if (status != CF_OK && status != CF_ENOTFOUND) return status;
        video[i] = status == CF_OK ? 0 : -1;
    }
    return CF_OK;
}

static void close_tar(void *data) { cf_tar_close(data); }

static cf_status reader_new(void **out, const void *data)
{
    reader *r;
    CF_TRY(cf_alloc_zero(&r, 1, sizeof *r));
    r->tar = data;
    *out = r;
    return CF_OK;
}

static void reader_free(void *r)
{
    if (r) cf_media_close(((reader *)r)->media);
    cf_free(r);
}

static cf_status open_video(int64_t *n_frames, void *r, int64_t video, const char *name)
{
    reader *p = r;
    const uint8_t *bytes;
    size_t n;
    char *path;
    (void)video;
    cf_media_close(p->media);
    p->media = NULL;
    CF_TRY(cf_tar_find(&bytes, &n, p->tar, name));
    CF_TRY(cf_format(&path, "%s:%s", cf_tar_path(p->tar), name));
    cf_status status = cf_media_open_memory(&p->media, bytes, n, path);
    cf_free(path);
    CF_TRY(status);
    return *n_frames > 0 ? CF_OK : cf_media_count(n_frames, p->media);
}

static cf_status read_frames(void *r, const int64_t *frame, size_t n, cf_media_fn *fn, void *user)
{
    return cf_media_read(((reader *)r)->media, frame, n, fn, user);
}

static const source_kind kind = {
    find, close_tar, reader_new, reader_free, open_video, read_frames
};

cf_status source_tar_open(source *out, const char *path)
{
    cf_tar *tar;
    char *text;
    CF_TRY(cf_tar_open(&tar, path));
    cf_status status = cf_strdup(&text, path);
    if (status == CF_OK)
        *out = (source){ .kind = &kind, .data = tar, .what = text };
    else
        cf_tar_close(tar);
    return status;
}
