/* The test views of one video that stands by itself: a file, a folder of pictures, a dataset's row.
 *
 * What is drawn from a dataset in a test is a function of the video's number of frames and size
 * alone, so the same video gives the same bits here. */
#include "batch.h"

struct cf_viewer {
    cf_loader_options options;
    cf_clip_reader reader;
    size_t floats; /* of all views */
};

static cf_status check_options(const cf_view_options *o)
{
    if (o->T < 1 || o->size < 1 || o->size > 1 << 14)
        return CF_FAIL(CF_EINVAL, "views: %zu frames of %zu pixels", o->T, o->size);
    if (o->clips < 1 || (o->crops != 1 && o->crops != 3))
        return CF_FAIL(CF_EINVAL, "views: %zu clips of %zu crops; crops are 1 or 3", o->clips,
                       o->crops);
    return CF_OK;
}

cf_status cf_viewer_new(cf_viewer **out, const cf_view_options *o)
{
    cf_status status = CF_OK;
    cf_viewer *v;
    CF_TRY(check_options(o));
    CF_TRY(cf_alloc_zero(&v, 1, sizeof *v));
    v->options = (cf_loader_options){
        .T = o->T,
        .augment = { .size = o->size, .multi_scale_crop = o->multi_scale_crop },
        .sampling = o->sampling,
        .short_videos = o->short_videos,
        .clips = o->clips,
        .crops = o->crops,
    };
    CF_GO(cf_mul_size(&v->floats, o->clips, o->T));
    CF_GO(cf_mul_size(&v->floats, v->floats, o->crops));
    CF_GO(cf_mul_size(&v->floats, v->floats, 3 * o->size * o->size));
    CF_GO(cf_clip_reader_init(&v->reader, NULL, &v->options));
    *out = v;
done:
    if (status != CF_OK) cf_viewer_free(v);
    return status;
}

void cf_viewer_free(cf_viewer *v)
{
    if (!v) return;
    cf_clip_reader_fini(&v->reader);
    cf_free(v);
}

size_t cf_viewer_floats(const cf_viewer *v) { return v->floats; }

cf_status cf_viewer_dataset(float *out, cf_viewer *v, const cf_dataset *d, size_t i)
{
    cf_clip_reader *r = &v->reader;
    CF_TRY(cf_video_reader_new(&r->videos, d));
    r->dataset = d;
    cf_status status = cf_clip_read(out, r, i, i, 0);
    cf_video_reader_free(r->videos);
    r->videos = NULL;
    return status;
}

cf_status cf_viewer_media(float *out, cf_viewer *v, cf_media *m)
{
    int64_t n_frames;
    const int64_t *frame;
    CF_TRY(cf_media_count(&n_frames, m));
    size_t n = cf_clip_choose(&frame, out, &v->reader, (size_t)n_frames, 0, 0);
    return cf_media_read(m, frame, n, cf_clip_take, &v->reader);
}
