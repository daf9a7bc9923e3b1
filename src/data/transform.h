/* Frame transforms, inside the data module (spec/data-and-recipe.md 4): resize, crops, colour,
 * normalisation, and the chain that turns one decoded frame into [3, S, S] floats.
 *
 * Design
 *  - Everything that is drawn once per clip is a cf_clip_plan; applying it to a frame draws nothing
 *    but the jitter parameters, which the recipe draws per frame.
 *  - Pictures are never resized whole: a resize takes the window of its result that the crop needs,
 *    so all buffers have a size known from S alone and a frame cannot fail.
 *  - What changes colours works on planes, where it vectorises; the flip is part of taking the
 *    picture apart (colours do not depend on the order of pixels).
 *  - Bit-exact arithmetic: these files need -ffp-contract=off (the Makefile's default). */
#ifndef CROSSFRAME_DATA_TRANSFORM_H
#define CROSSFRAME_DATA_TRANSFORM_H

#include "crossframe/data.h"

typedef struct {
    size_t x, y, width, height;
} cf_rect;

/* A borrowed picture, or part of one; stride in bytes. */
typedef struct {
    const uint8_t *pixels;
    size_t width, height, stride;
} cf_view;

/* ---- resize.c -------------------------------------------------------------------------------- */

typedef struct {
    int32_t *table; /* left and right byte offset, left and right weight of each column */
    int16_t *rows;  /* two horizontally resized source rows */
    size_t capacity;
} cf_resize_scratch;
/* Room for results (windows) up to `width` columns. */
cf_status cf_resize_reserve(cf_resize_scratch *s, size_t width);
void cf_resize_fini(cf_resize_scratch *s);
/* `window` of `in` resized to width x height (4.3), packed into out [window.height, window.width,
 * 3]. */
void cf_resize(uint8_t *out, cf_view in, size_t width, size_t height, cf_rect window,
               cf_resize_scratch *s);
/* 4.2: the size with the ratio kept and the short side `side`. */
void cf_resize_short_side(size_t *width, size_t *height, size_t side);
size_t cf_resize_side(size_t size); /* R256 of 4.1 */

/* ---- crop.c ---------------------------------------------------------------------------------- */

cf_rect cf_crop_center(size_t width, size_t height, size_t size);
/* 4.6; one side of width x height is `size`. */
void cf_crop_three(cf_rect out[3], size_t width, size_t height, size_t size);
/* 4.4: draws a size, then a position. */
cf_rect cf_crop_multi_scale(size_t width, size_t height, size_t size, cf_rng *rng);

/* ---- color.c: in place, planes [3, n] -------------------------------------------------------- */

typedef struct {
    int order[4]; /* of 0 brightness, 1 contrast, 2 saturation, 3 hue */
    float factor[3], hue;
} cf_jitter;
cf_jitter cf_jitter_draw(cf_rng *rng);
void cf_jitter_apply(uint8_t *planes, size_t n, const cf_jitter *j);
void cf_color_brightness(uint8_t *planes, size_t n, float factor);
void cf_color_contrast(uint8_t *planes, size_t n, float factor);
void cf_color_saturation(uint8_t *planes, size_t n, float factor);
void cf_color_hue(uint8_t *planes, size_t n, float hue);
void cf_color_gray(uint8_t *planes, size_t n);
void cf_rgb_to_hsv(uint8_t *planes, size_t n);
void cf_hsv_to_rgb(uint8_t *planes, size_t n);

/* ---- normalize.c ----------------------------------------------------------------------------- */

/* planes [3, height, width] of the picture; flip mirrors left and right. */
void cf_planes(uint8_t *planes, cf_view in, bool flip);
/* out [3, n] of planes [3, n]. */
void cf_normalize(float *out, const uint8_t *planes, size_t n);
/* The byte that cf_normalize made this value from, for pictures of what the network sees; values
 * between (mixup) are rounded. */
void cf_denormalize(uint8_t *planes, const float *in, size_t n);

/* ---- transform.c: the chain ------------------------------------------------------------------ */

typedef struct {
    size_t source_width, source_height;
    size_t width, height; /* of the whole frame after the ratio-keeping resize */
    cf_rect crop[3];      /* in that frame; resized to S x S when it has another size */
    size_t n_crops;
    bool flip, jitter, gray;
    cf_rng rng; /* draws the jitter of each frame */
} cf_clip_plan;

/* Training: all decisions of a clip, from (seed, epoch, index) alone. */
void cf_plan_train(cf_clip_plan *p, size_t width, size_t height, const cf_augment *a, uint64_t seed,
                   uint32_t epoch, uint64_t index);
/* Test: crops is 1 or 3. */
void cf_plan_test(cf_clip_plan *p, size_t width, size_t height, const cf_augment *a, size_t crops);

typedef struct {
    cf_resize_scratch resize;
    uint8_t *cropped, *sized, *planes; /* the crop; resized to S x S; [3, S, S] */
    size_t size;
} cf_transform;
cf_status cf_transform_init(cf_transform *t, size_t size);
void cf_transform_fini(cf_transform *t);
/* One frame, one crop: out [3, S, S]. The picture has the plan's source size and is left as it
 * is. */
void cf_transform_frame(float *out, const cf_picture *in, cf_clip_plan *p, size_t crop,
                        cf_transform *t);

#endif
