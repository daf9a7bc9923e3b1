/* The chain from a decoded frame to [3, S, S] floats (spec/data-and-recipe.md 4.1).
 *
 * Training: short side to R256, multi-scale crop, resize to S, flip, jitter, grey, normalise.
 * Test, one view: short side to R256, centre crop, normalise. Three crops: short side to S, crops.
 * With AUG.MULTI_SCALE_CROP off, training and the one-crop test bring the short side to S and take
 * the centre: both then see the same scale. A step that changes nothing is skipped, so a frame that
 * comes in its final size goes straight to normalisation. */
#include "transform.h"

#include <string.h>

static void plan_size(cf_clip_plan *p, size_t width, size_t height, size_t side)
{
    *p = (cf_clip_plan){ .source_width = width,
                         .source_height = height,
                         .width = width,
                         .height = height,
                         .n_crops = 1 };
    cf_resize_short_side(&p->width, &p->height, side);
}

void cf_plan_train(cf_clip_plan *p, size_t width, size_t height, const cf_augment *a, uint64_t seed,
                   uint32_t epoch, uint64_t index)
{
    plan_size(p, width, height, a->multi_scale_crop ? cf_resize_side(a->size) : a->size);
    if (a->multi_scale_crop) {
        cf_rng rng = cf_rng_make(seed, CF_RNG_CROP, epoch, index);
        p->crop[0] = cf_crop_multi_scale(p->width, p->height, a->size, &rng);
    } else {
        p->crop[0] = cf_crop_center(p->width, p->height, a->size);
    }
    cf_rng flip = cf_rng_make(seed, CF_RNG_FLIP, epoch, index);
    cf_rng gray = cf_rng_make(seed, CF_RNG_GRAY, epoch, index);
    p->rng = cf_rng_make(seed, CF_RNG_JITTER, epoch, index);
    p->flip = cf_rng_uniform(&flip) < a->flip;
    p->gray = cf_rng_uniform(&gray) < a->gray_scale;
    p->jitter = cf_rng_uniform(&p->rng) < a->color_jitter;
}

void cf_plan_test(cf_clip_plan *p, size_t width, size_t height, const cf_augment *a, size_t crops)
{
    CF_ASSERT(crops == 1 || crops == 3);
    bool whole = crops == 3 || !a->multi_scale_crop;
    plan_size(p, width, height, whole ? a->size : cf_resize_side(a->size));
    p->n_crops = crops;
    if (crops == 3)
        cf_crop_three(p->crop, p->width, p->height, a->size);
    else
        p->crop[0] = cf_crop_center(p->width, p->height, a->size);
}

cf_status cf_transform_init(cf_transform *t, size_t size)
{
    cf_status status = CF_OK;
    size_t side = cf_resize_side(size), area; /* no crop is larger than R256 x R256 */
    if (side < size) side = size;
    *t = (cf_transform){ .size = size };
    CF_GO(cf_mul_size(&area, side, side));
    CF_GO(cf_alloc(&t->cropped, area, 3));
    CF_GO(cf_alloc(&t->sized, size * size, 3));
    CF_GO(cf_alloc(&t->planes, size * size, 3));
    CF_GO(cf_resize_reserve(&t->resize, side));
done:
    if (status != CF_OK) cf_transform_fini(t);
    return status;
}

void cf_transform_fini(cf_transform *t)
{
    cf_free(t->cropped);
    cf_free(t->sized);
    cf_free(t->planes);
    cf_resize_fini(&t->resize);
    *t = (cf_transform){ 0 };
}

static cf_view packed(const uint8_t *pixels, size_t width, size_t height)
{
    return (cf_view){ pixels, width, height, 3 * width };
}

/* The crop of the frame as the ratio-keeping resize leaves it; the picture itself when it is not
 * resized. */
static cf_view crop_of(const cf_picture *in, const cf_clip_plan *p, cf_rect r, cf_transform *t)
{
    cf_view v = packed(in->pixels, in->width, in->height);
    if (p->width == in->width && p->height == in->height)
        return (cf_view){ v.pixels + r.y * v.stride + 3 * r.x, r.width, r.height, v.stride };
    cf_resize(t->cropped, v, p->width, p->height, r, &t->resize);
    return packed(t->cropped, r.width, r.height);
}

void cf_transform_frame(float *out, const cf_picture *in, cf_clip_plan *p, size_t crop,
                        cf_transform *t)
{
    CF_ASSERT(in->width == p->source_width && in->height == p->source_height && crop < p->n_crops);
    size_t S = t->size;
    cf_view v = crop_of(in, p, p->crop[crop], t);
    if (v.width != S || v.height != S) {
        cf_resize(t->sized, v, S, S, (cf_rect){ 0, 0, S, S }, &t->resize);
        v = packed(t->sized, S, S);
    }
    cf_planes(t->planes, v, p->flip);
    if (p->jitter) {
        cf_jitter j = cf_jitter_draw(&p->rng);
        cf_jitter_apply(t->planes, S * S, &j);
    }
    if (p->gray) cf_color_gray(t->planes, S * S);
    cf_normalize(out, t->planes, S * S);
}
