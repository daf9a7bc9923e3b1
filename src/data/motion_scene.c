/* Scenes of the motion dataset: trajectories, videos, stills.
 *
 * A trajectory is two poses; every step between them is equal (in the logarithm of the edge for
 * growth). Its extent is given from first to last frame, not a frame, so that a clip of few frames
 * shows as much motion as a long one: motions under one patch in all are not learnt. Centres are
 * drawn so that the picture stays on the canvas; there is no wrap-around.
 *
 * The edge and the angle are symmetric about the middle of the video, and a reversed video is the
 * very same frames in the opposite order: no single frame, nor the set of them, tells the
 * direction.
 *
 * A still shows its motion by a trail: earlier poses, fainter with age, in a colour of their
 * own. */
#include "motion_parts.h"

#include <math.h>
#include <string.h>

enum { TRAIL = 3 };

/* Where a picture of this edge may be centred along one direction in which it also travels. */
static double draw_centre(double edge, double travel, double size, cf_rng *r)
{
    double border =
        (edge + travel) / 2 - 1; /* the pictures have an empty border of about a pixel */
    return border < size - border ? motion_uniform(r, border, size - border) : size / 2;
}

void motion_path_draw(motion_path *out, size_t axis, const cf_motion_options *o, cf_rng *r)
{
    double size = (double)o->size, edge = motion_uniform(r, o->picture.lo, o->picture.hi);
    double tilt = motion_uniform(r, -o->tilt, o->tilt), dx = 0, dy = 0, grow = 1, turn = 0;
    switch (axis) {
    case 0: dx = -motion_uniform(r, o->travel.lo, o->travel.hi); break;
    case 1: dy = -motion_uniform(r, o->travel.lo, o->travel.hi); break;
    case 2: grow = sqrt(motion_uniform(r, o->growth.lo, o->growth.hi)); break;
    default: turn = motion_uniform(r, o->turn.lo, o->turn.hi);
    }
    double x = draw_centre(edge * grow, fabs(dx), size, r);
    double y = draw_centre(edge * grow, fabs(dy), size, r);
    out->first = (motion_pose){ x - dx / 2, y - dy / 2, edge / grow, tilt - turn / 2 };
    out->last = (motion_pose){ x + dx / 2, y + dy / 2, edge * grow, tilt + turn / 2 };
}

motion_pose motion_path_at(const motion_path *p, size_t t, size_t n)
{
    double f = n > 1 ? (double)t / (double)(n - 1) : 0.5;
    return (motion_pose){
        .x = p->first.x + f * (p->last.x - p->first.x),
        .y = p->first.y + f * (p->last.y - p->first.y),
        .edge = p->first.edge * pow(p->last.edge / p->first.edge, f),
        .angle = p->first.angle + f * (p->last.angle - p->first.angle),
    };
}

static void pick_sprite(motion_sprite *out, const motion_bank *b, size_t kind, cf_rng *r)
{
    size_t n = b->start[kind + 1] - b->start[kind];
    size_t i = b->order[b->start[kind] + cf_rng_below(r, (uint32_t)n)];
    motion_sprite_make(out, b->pictures.pixels + i * MOTION_EDGE * MOTION_EDGE);
}

/* The picture's brightness with a slight tint. */
static void pick_colour(float rgb[3], cf_motion_range brightness, cf_rng *r)
{
    double light = motion_uniform(r, brightness.lo, brightness.hi);
    for (int c = 0; c < 3; c++) rgb[c] = (float)(light * motion_uniform(r, 0.85, 1.0));
}

void motion_video_draw(uint8_t *out, float *scratch, const motion_scene *s, size_t index,
                       size_t kind, size_t axis, bool *reversed)
{
    const cf_motion_options *o = s->options;
    size_t frame = s->noise->frame, n = o->frames;
    float *background = scratch, *canvas = scratch + frame, rgb[3];
    cf_rng r = cf_rng_make(o->seed, CF_RNG_MOTION, s->stream, index);
    motion_sprite sprite;
    motion_path path;
    bool backwards = cf_rng_below(&r, 2) == 1;
    if (reversed != NULL)
        *reversed = backwards;
    else
        backwards = false;
    pick_sprite(&sprite, s->bank, kind, &r);
    motion_path_draw(&path, axis, o, &r);
    pick_colour(rgb, o->brightness, &r);
    motion_background(background, o->size, o->texture, &r);
    for (size_t t = 0; t < n; t++) {
        motion_pose pose = motion_path_at(&path, t, n);
        memcpy(canvas, background, frame * sizeof *canvas);
        motion_composite(canvas, o->size, &sprite, &pose, 1, rgb);
        motion_finish(out + (backwards ? n - 1 - t : t) * frame, canvas, s->noise, o->noise, &r);
    }
}

/* A pose such as a single frame of some video has. */
static motion_pose pose_of_a_frame(const cf_motion_options *o, cf_rng *r)
{
    motion_path path;
    motion_path_draw(&path, cf_rng_below(r, CF_MOTION_MOTIONS / 2), o, r);
    size_t n = o->frames > 1 ? o->frames : 2;
    return motion_path_at(&path, cf_rng_below(r, (uint32_t)n), n);
}

static motion_pose pose_at_place(size_t place, const cf_motion_options *o, cf_rng *r)
{
    double size = (double)o->size, edge = motion_uniform(r, o->picture.lo, o->picture.hi);
    double near = edge / 2 - 1 + motion_uniform(r, 0, 0.06 * size);
    double middle = size / 2 + motion_uniform(r, -0.1, 0.1) * size;
    double side = place % 2 == 0 ? near : size - near;
    bool sideways = place < 2;
    return (motion_pose){ sideways ? side : middle, sideways ? middle : side, edge,
                          motion_uniform(r, -o->tilt, o->tilt) };
}

static motion_pose pose_of_a_look(bool large, const cf_motion_options *o, cf_rng *r)
{
    double size = (double)o->size, factor = large ? 1.35 : 0.68;
    double edge = factor * motion_uniform(r, o->picture.lo, o->picture.hi);
    return (motion_pose){ draw_centre(edge, 0, size, r), draw_centre(edge, 0, size, r), edge,
                          motion_uniform(r, -o->tilt, o->tilt) };
}

/* The last frame of a motion, with the earlier poses as its trail. Largest first, so that the trail
 * of a growing picture lies on it and that of a shrinking one shows around it. */
static void draw_trail(float *canvas, const cf_motion_options *o, const motion_sprite *sprite,
                       size_t motion, const float rgb[3], cf_rng *r)
{
    static const float trail_rgb[3] = { 0.30f, 0.65f, 1.0f };
    static const double opacity[TRAIL] = { 0.35, 0.5, 0.65 }; /* oldest first */
    motion_path path;
    motion_path_draw(&path, motion / 2, o, r);
    if (motion % 2 == 1) path = (motion_path){ .first = path.last, .last = path.first };
    bool growing = path.last.edge > path.first.edge * 1.01;
    if (growing) motion_composite(canvas, o->size, sprite, &path.last, 1, rgb);
    for (size_t i = 0; i < TRAIL; i++) {
        size_t t = growing ? TRAIL - 1 - i : i;
        motion_pose pose = motion_path_at(&path, t, TRAIL + 1);
        motion_composite(canvas, o->size, sprite, &pose, opacity[t], trail_rgb);
    }
    if (!growing) motion_composite(canvas, o->size, sprite, &path.last, 1, rgb);
}

/* A tag in the lower left corner, one colour a kind. At this size a coat, a pullover and a shirt
 * look the same to a small model, which then learns one text for all of them (cosine 0.99); a share
 * of stills that tell the kind at a glance keeps the words apart. Videos have no tags. */
static void draw_tag(float *canvas, size_t size, size_t kind)
{
    static const float colour[CF_MOTION_KINDS][3] = {
        { 1, 0, 0 }, { 0, 1, 0 },    { 0, 0.2f, 1 }, { 1, 1, 0 }, { 1, 0, 1 },
        { 0, 1, 1 }, { 1, 0.5f, 0 }, { 1, 1, 1 },    { 0, 0, 0 }, { 0.5f, 0, 1 },
    };
    size_t edge = size / 6, from = size / 40 + 1;
    for (size_t y = size - from - edge; y < size - from; y++)
        for (size_t x = from; x < from + edge; x++)
            memcpy(canvas + 3 * (y * size + x), colour[kind], sizeof colour[kind]);
}

void motion_still_draw(uint8_t *out, float *scratch, const motion_scene *s, size_t index,
                       size_t caption)
{
    const cf_motion_options *o = s->options;
    size_t family = 0;
    while (caption >= cf_motion_family_size(family)) caption -= cf_motion_family_size(family++);
    size_t variants = cf_motion_family_size(family) / CF_MOTION_KINDS, variant = caption % variants;
    cf_rng r = cf_rng_make(o->seed, CF_RNG_MOTION, s->stream, index);
    cf_motion_range dark = { 0.38, 0.5 }, bright = { 0.9, 1.0 };
    motion_sprite sprite;
    motion_pose pose = { 0 };
    float rgb[3];
    pick_sprite(&sprite, s->bank, caption / variants, &r);
    motion_background(scratch, o->size, o->texture, &r);
    if (family == CF_MOTION_FAMILY_LOOK)
        pick_colour(rgb, variant % 2 == 0 ? dark : bright, &r);
    else
        pick_colour(rgb, o->brightness, &r);
    switch (family) {
    case CF_MOTION_FAMILY_KIND: pose = pose_of_a_frame(o, &r); break;
    case CF_MOTION_FAMILY_PLACE: pose = pose_at_place(variant, o, &r); break;
    case CF_MOTION_FAMILY_LOOK: pose = pose_of_a_look(variant >= 2, o, &r); break;
    default: draw_trail(scratch, o, &sprite, variant, rgb, &r);
    }
    if (family != CF_MOTION_FAMILY_MOTION)
        motion_composite(scratch, o->size, &sprite, &pose, 1, rgb);
    if (cf_rng_uniform(&r) < s->tags) draw_tag(scratch, o->size, caption / variants);
    motion_finish(out, scratch, s->noise, o->noise, &r);
}
