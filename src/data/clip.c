/* One video of a dataset into its clips (spec/data-and-recipe.md 3, 4): the work of a loader
 * thread.
 *
 * Training makes one clip with all its random decisions drawn from (seed, epoch, position in the
 * dataset). A test makes clips x crops views; every frame is read once and all its crops are taken.
 * A frame that is asked for twice in a row is decoded once.
 * The buffers are made for the dataset's largest picture, so that a steady epoch allocates
 * nothing. */
#include "batch.h"

static cf_status reserve_pictures(cf_clip_reader *r)
{
    /* Larger sizes are not believed before they are decoded. */
    const size_t limit = (size_t)1 << 26;
    size_t height = 1, width = 1;
    for (size_t i = 0; i < cf_dataset_size(r->dataset); i++) {
        cf_pack_video v = cf_dataset_video(r->dataset, i);
        if (v.height > 0 && (size_t)v.height > height) height = (size_t)v.height;
        if (v.width > 0 && (size_t)v.width > width) width = (size_t)v.width;
    }
    if (height > limit || width > limit || height * width > limit) return CF_OK;
    CF_TRY(cf_picture_resize_buffer(&r->picture, height, width));
    /* A PNG that does not compress: a filter byte a row, 5 bytes a block, chunks. */
    size_t n = height * (3 * width + 1);
    n += n / 1000 + 4096;
    CF_TRY(cf_alloc(&r->bytes.bytes, n, 1));
    r->bytes.capacity = n;
    return CF_OK;
}

cf_status cf_clip_reader_init(cf_clip_reader *r, const cf_dataset *d, const cf_loader_options *o)
{
    cf_status status = CF_OK;
    *r = (cf_clip_reader){ .dataset = d, .options = o };
    CF_GO(cf_alloc(&r->frame, o->T, sizeof *r->frame));
    CF_GO(cf_transform_init(&r->transform, o->augment.size));
    if (d) CF_GO(reserve_pictures(r));
done:
    if (status != CF_OK) cf_clip_reader_fini(r);
    return status;
}

void cf_clip_reader_fini(cf_clip_reader *r)
{
    cf_free(r->frame);
    cf_transform_fini(&r->transform);
    cf_picture_fini(&r->picture);
    cf_bytes_fini(&r->bytes);
    *r = (cf_clip_reader){ 0 };
}

void cf_clip_begin(cf_clip_reader *r, size_t i, uint32_t epoch)
{
    r->planned = false;
    r->video = i;
    r->epoch = epoch;
}

static void make_plan(cf_clip_reader *r, const cf_picture *first)
{
    const cf_loader_options *o = r->options;
    if (o->training)
        cf_plan_train(&r->plan, first->width, first->height, &o->augment, o->seed, r->epoch,
                      r->video);
    else
        cf_plan_test(&r->plan, first->width, first->height, &o->augment, o->crops);
    r->planned = true;
}

cf_status cf_clip_put(float *out, cf_clip_reader *r, const cf_picture *picture, int64_t frame,
                      size_t at)
{
    const cf_loader_options *o = r->options;
    size_t frames = (o->training ? 1 : o->clips) * o->T;
    if (!r->planned) make_plan(r, picture);
    cf_clip_plan *plan = &r->plan;
    if (picture->width != plan->source_width || picture->height != plan->source_height)
        return CF_FAIL(CF_EFORMAT, "frame %lld has %zux%zu pixels, its first %zux%zu",
                       (long long)frame, picture->width, picture->height, plan->source_width,
                       plan->source_height);
    for (size_t crop = 0; crop < plan->n_crops; crop++)
        cf_transform_frame(out + (crop * frames + at) * 3 * o->augment.size * o->augment.size,
                           picture, plan, crop, &r->transform);
    return CF_OK;
}

/* Drawn on the frames of the original video, read from those the pack holds. */
static void choose_frames(cf_clip_reader *r, size_t i, size_t clip, uint32_t epoch)
{
    size_t n = (size_t)cf_dataset_video(r->dataset, i).source_frames;
    cf_sample_view(r->frame, n, r->options, epoch, clip, i);
    for (size_t t = 0; t < r->options->T; t++)
        r->frame[t] = cf_dataset_stored_frame(r->dataset, i, r->frame[t]);
}

cf_status cf_clip_read(float *out, cf_clip_reader *r, size_t i, uint32_t epoch)
{
    const cf_loader_options *o = r->options;
    const char *name = cf_dataset_name(r->dataset, i);
    size_t clips = o->training ? 1 : o->clips;
    int64_t held = -1;
    cf_clip_begin(r, i, epoch);
    for (size_t at = 0; at < clips * o->T; at++) {
        if (at % o->T == 0) choose_frames(r, i, at / o->T, epoch);
        int64_t frame = r->frame[at % o->T];
        if (frame != held)
            CF_TRY_CTX(cf_dataset_read_frame(&r->picture, &r->bytes, r->dataset, i, frame),
                       "video %s", name);
        held = frame;
        CF_TRY_CTX(cf_clip_put(out, r, &r->picture, frame, at), "video %s", name);
    }
    return CF_OK;
}
