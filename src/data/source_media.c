/* What the readers of a folder and of a tar share: one video open at a time, as a cf_media. */
#include "source.h"

cf_status media_reader_new(void **out, const void *data)
{
    media_reader *r;
    CF_TRY(cf_alloc_zero(&r, 1, sizeof *r));
    r->data = data;
    *out = r;
    return CF_OK;
}

void media_reader_free(void *reader)
{
    if (reader) media_reader_close(reader);
    cf_free(reader);
}

void media_reader_close(media_reader *r)
{
    cf_media_close(r->media);
    r->media = NULL;
}

cf_status media_reader_count(int64_t *n_frames, const media_reader *r)
{
    return *n_frames > 0 ? CF_OK : cf_media_count(n_frames, r->media);
}

cf_status media_reader_read(void *reader, const int64_t *frame, size_t n, cf_media_fn *fn,
                            void *user)
{
    return cf_media_read(((media_reader *)reader)->media, frame, n, fn, user);
}
