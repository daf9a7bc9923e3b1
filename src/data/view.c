/* The test views of one video that stands by itself: a file, a folder of pictures, a dataset's row.
 *
 * Of a media the frames of all clips are put in order, those of several clips being one, and read
 * in one go; each picture then goes to all its places. What is drawn from a dataset in a test is a
 * function of the video's number of frames and size alone, so the same video gives the same bits
 * here. */
#include "batch.h"

#include <stdlib.h>

/* Frame `frame` of the video is number `at` of the frames of its clips. */
typedef struct {
    int64_t frame;
    size_t at;
} place;

struct cf_viewer {
    cf_loader_options options;
    cf_clip_reader reader;
    size_t n, floats; /* frames of all clips; floats of all views */
    place *places;    /* [n], by frame */
    int64_t *frames;  /* [n], each frame once */
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
        .clips = o->clips,
        .crops = o->crops,
    };
    CF_GO(cf_mul_size(&v->n, o->clips, o->T));
    CF_GO(cf_mul_size(&v->floats, v->n, o->crops));
    CF_GO(cf_mul_size(&v->floats, v->floats, 3 * o->size * o->size));
    CF_GO(cf_clip_reader_init(&v->reader, NULL, &v->options));
    CF_GO(cf_alloc(&v->places, v->n, sizeof *v->places));
    CF_GO(cf_alloc(&v->frames, v->n, sizeof *v->frames));
    *out = v;
done:
    if (status != CF_OK) cf_viewer_free(v);
    return status;
}

void cf_viewer_free(cf_viewer *v)
{
    if (!v) return;
    cf_clip_reader_fini(&v->reader);
    cf_free(v->places);
    cf_free(v->frames);
    cf_free(v);
}

size_t cf_viewer_floats(const cf_viewer *v) { return v->floats; }

cf_status cf_viewer_dataset(float *out, cf_viewer *v, const cf_dataset *d, size_t i)
{
    v->reader.dataset = d;
    return cf_clip_read(out, &v->reader, i, 0);
}

/* ---- media ----------------------------------------------------------------------------------- */

static int by_frame(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->frame != y->frame) return x->frame < y->frame ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* Fills places and frames; how many frames there are to read. */
static size_t choose_frames(cf_viewer *v, size_t n_frames)
{
    const cf_loader_options *o = &v->options;
    size_t n = 0;
    for (size_t clip = 0; clip < o->clips; clip++) {
        cf_sample_test(v->reader.frame, o->T, n_frames, o->sampling, clip, o->clips);
        for (size_t t = 0; t < o->T; t++)
            v->places[clip * o->T + t] = (place){ v->reader.frame[t], clip * o->T + t };
    }
    qsort(v->places, v->n, sizeof *v->places, by_frame);
    for (size_t i = 0; i < v->n; i++)
        if (n == 0 || v->frames[n - 1] != v->places[i].frame) v->frames[n++] = v->places[i].frame;
    return n;
}

typedef struct {
    cf_viewer *viewer;
    float *out;
    size_t next; /* first place still to be filled */
} filling;

static cf_status take_picture(void *user, int64_t frame, const cf_picture *picture)
{
    filling *f = user;
    cf_viewer *v = f->viewer;
    for (; f->next < v->n && v->places[f->next].frame == frame; f->next++)
        CF_TRY(cf_clip_put(f->out, &v->reader, picture, frame, v->places[f->next].at));
    return CF_OK;
}

cf_status cf_viewer_media(float *out, cf_viewer *v, cf_media *m)
{
    int64_t n_frames;
    filling f = { .viewer = v, .out = out };
    CF_TRY(cf_media_count(&n_frames, m));
    size_t n = choose_frames(v, (size_t)n_frames);
    cf_clip_begin(&v->reader, 0, 0);
    CF_TRY(cf_media_read(m, v->frames, n, take_picture, &f));
    CF_ASSERT(f.next == v->n);
    return CF_OK;
}
