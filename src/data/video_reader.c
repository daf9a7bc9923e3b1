/* Readers of a dataset's videos: the source's own reader, and what the dataset remembers. */
#include "dataset.h"

struct cf_video_reader {
    const cf_dataset *dataset;
    void *reader;
};

cf_status cf_video_reader_new(cf_video_reader **out, const cf_dataset *d)
{
    cf_video_reader *r;
    CF_TRY(cf_alloc_zero(&r, 1, sizeof *r));
    r->dataset = d;
    cf_status status = d->source.kind->reader_new(&r->reader, d->source.data);
    if (status == CF_OK)
        *out = r;
    else
        cf_video_reader_free(r);
    return status;
}

void cf_video_reader_free(cf_video_reader *r)
{
    if (!r) return;
    r->dataset->source.kind->reader_free(r->reader);
    cf_free(r);
}

cf_status cf_video_reader_open(int64_t *n_frames, cf_video_reader *r, size_t i)
{
    const cf_dataset *d = r->dataset;
    CF_ASSERT(i < d->n);
    if (d->video[i] < 0) return CF_FAIL(CF_ENOTFOUND, "%s does not hold it", d->source.what);
    int64_t n = atomic_load_explicit(&d->n_frames[i], memory_order_relaxed);
    CF_TRY(d->source.kind->open(&n, r->reader, d->video[i], d->name[i]));
    CF_ASSERT(n >= 1);
    atomic_store_explicit(&d->n_frames[i], n, memory_order_relaxed);
    *n_frames = n;
    return CF_OK;
}

cf_status cf_video_reader_read(cf_video_reader *r, const int64_t *frame, size_t n, cf_media_fn *fn,
                               void *user)
{
    return r->dataset->source.kind->read(r->reader, frame, n, fn, user);
}
