/* An uncompressed tar as a source: names are of files in it, told by the whole name, else by the
 * last part where that is unique (Q3).
 *
 * The archive is mapped and indexed once; members are read where they lie, so a reader costs no
 * handle and no copy, and which ones have been looked at is the system's page cache's business. */
#include "source.h"

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

static cf_status open_video(int64_t *n_frames, void *r, int64_t video, const char *name)
{
    media_reader *p = r;
    const uint8_t *bytes;
    size_t n;
    char *path;
    (void)video;
    media_reader_close(p);
    CF_TRY(cf_tar_find(&bytes, &n, p->data, name));
    CF_TRY(cf_format(&path, "%s:%s", cf_tar_path(p->data), name));
    cf_status status = cf_media_open_memory(&p->media, bytes, n, path);
    cf_free(path);
    CF_TRY(status);
    return media_reader_count(n_frames, p);
}

static const source_kind kind = { find,       close_tar,        media_reader_new, media_reader_free,
                                  open_video, media_reader_read };

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
