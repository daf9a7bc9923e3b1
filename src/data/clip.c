/* One video of a dataset into its clips (spec/data-and-recipe.md 3, 4): the work of a loader
 * thread.
 *
 * Training makes one clip with all its random decisions drawn from (seed, epoch, position in the
 * dataset). A test makes clips x crops views. The frames of all clips are put in rising order, each
 * once, because a video file is decoded from its start; each picture goes to all its places, and
 * all its crops are taken. */
#include "batch.h"

#include <stdlib.h>

static size_t n_clips(const cf_loader_options *o) { return o->training ? 1 : o->clips; }

cf_status cf_clip_reader_init(cf_clip_reader *r, const cf_dataset *d, const cf_loader_options *o)
{
    cf_status status = CF_OK;
    *r = (cf_clip_reader){ .dataset = d, .options = o };
    CF_GO(cf_mul_size(&r->n_places, n_clips(o), o->T));
    CF_GO(cf_alloc(&r->places, r->n_places, sizeof *r->places));
    CF_GO(cf_alloc(&r->frame, r->n_places, sizeof *r->frame));
    CF_GO(cf_transform_init(&r->transform, o->augment.size));
    if (d) CF_GO(cf_video_reader_new(&r->videos, d));
done:
    if (status != CF_OK) cf_clip_reader_fini(r);
    return status;
}

void cf_clip_reader_fini(cf_clip_reader *r)
{
    cf_free(r->places);
    cf_free(r->frame);
    cf_transform_fini(&r->transform);
    cf_video_reader_free(r->videos);
    *r = (cf_clip_reader){ 0 };
}

/* ---- which frames ---------------------------------------------------------------------------- */

static int by_frame(const void *a, const void *b)
{
    const cf_clip_place *x = a, *y = b;
    if (x->frame != y->frame) return x->frame < y->frame ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

size_t cf_clip_choose(const int64_t **frame, float *out, cf_clip_reader *r, size_t n_frames,
                      size_t key, uint32_t epoch)
{
    size_t T = r->options->T, n = 0;
    r->out = out;
    r->key = key;
    r->epoch = epoch;
    r->next = 0;
    for (size_t clip = 0; clip < n_clips(r->options); clip++) {
        cf_sample_view(r->frame, n_frames, r->options, epoch, clip, key);
        for (size_t t = 0; t < T; t++)
            r->places[clip * T + t] = (cf_clip_place){ r->frame[t], clip * T + t };
    }
    qsort(r->places, r->n_places, sizeof *r->places, by_frame);
    for (size_t i = 0; i < r->n_places; i++)
        if (n == 0 || r->frame[n - 1] != r->places[i].frame) r->frame[n++] = r->places[i].frame;
    *frame = r->frame;
    return n;
}

/* ---- their pictures -------------------------------------------------------------------------- */

static void make_plan(cf_clip_reader *r, const cf_picture *first)
{
    const cf_loader_options *o = r->options;
    if (o->training)
        cf_plan_train(&r->plan, first->width, first->height, &o->augment, o->seed, r->epoch,
                      r->key);
    else
        cf_plan_test(&r->plan, first->width, first->height, &o->augment, o->crops);
}

cf_status cf_clip_take(void *reader, int64_t frame, const cf_picture *picture)
{
    cf_clip_reader *r = reader;
    size_t S = r->options->augment.size;
    if (r->next == 0) make_plan(r, picture);
    cf_clip_plan *plan = &r->plan;
    if (picture->width != plan->source_width || picture->height != plan->source_height)
        return CF_FAIL(CF_EFORMAT, "frame %lld has %zux%zu pixels, the first %zux%zu",
                       (long long)frame, picture->width, picture->height, plan->source_width,
                       plan->source_height);
    for (; r->next < r->n_places && r->places[r->next].frame == frame; r->next++)
        for (size_t crop = 0; crop < plan->n_crops; crop++)
            cf_transform_frame(r->out + (crop * r->n_places + r->places[r->next].at) * 3 * S * S,
                               picture, plan, crop, &r->transform);
    return CF_OK;
}

static cf_status read_clip(float *out, cf_clip_reader *r, size_t i, size_t key, uint32_t epoch)
{
    int64_t n_frames;
    const int64_t *frame;
    CF_TRY(cf_video_reader_open(&n_frames, r->videos, i));
    size_t n = cf_clip_choose(&frame, out, r, (size_t)n_frames, key, epoch);
    CF_TRY(cf_video_reader_read(r->videos, frame, n, cf_clip_take, r));
    CF_ASSERT(r->next == r->n_places);
    return CF_OK;
}

cf_status cf_clip_read(float *out, cf_clip_reader *r, size_t i, size_t key, uint32_t epoch)
{
    CF_TRY_CTX(read_clip(out, r, i, key, epoch), "video %s", cf_dataset_name(r->dataset, i));
    return CF_OK;
}
