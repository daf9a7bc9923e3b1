/* What the files of the motion generator share: the bank of pictures, poses, drawing, the report.
 *
 * A canvas is float RGB, interleaved, [size, size, 3], 0 .. 1. A sprite is one picture prepared for
 * drawing: brightness times opacity, and opacity, with a border of zeros so that sampling needs no
 * bounds. Everything is a function of the random stream it is given. */
#ifndef CROSSFRAME_DATA_MOTION_PARTS_H
#define CROSSFRAME_DATA_MOTION_PARTS_H

#include "crossframe/h5.h"
#include "crossframe/motion.h"

enum { MOTION_EDGE = 28, MOTION_PAD = 2, MOTION_SPRITE = MOTION_EDGE + 2 * MOTION_PAD };

/* Pictures sorted by kind: those of kind k are order[start[k]] .. order[start[k + 1] - 1]. */
typedef struct {
    cf_idx_pictures pictures;
    uint32_t *order;
    size_t start[CF_MOTION_KINDS + 1];
} motion_bank;

cf_status motion_bank_read(motion_bank *out, const char *folder, const char *prefix);
cf_status motion_bank_draw(motion_bank *out, uint64_t seed, size_t per_kind); /* own shapes */
void motion_bank_fini(motion_bank *b);

typedef struct {
    float value[MOTION_SPRITE][MOTION_SPRITE]; /* brightness x opacity */
    float alpha[MOTION_SPRITE][MOTION_SPRITE];
} motion_sprite;

typedef struct {
    double x, y, edge, angle; /* centre and edge in pixels; radians, positive = clockwise */
} motion_pose;

/* One shape of `kind`, 28 x 28, varied by the stream. */
void motion_shape(uint8_t out[MOTION_EDGE * MOTION_EDGE], size_t kind, cf_rng *r);

void motion_sprite_make(motion_sprite *out, const uint8_t *pixels);
double motion_uniform(cf_rng *r, double lo, double hi);
/* Fills the canvas with a fresh background. */
void motion_background(float *canvas, size_t size, double texture, cf_rng *r);
/* Blends the sprite over the canvas. */
void motion_composite(float *canvas, size_t size, const motion_sprite *s, const motion_pose *pose,
                      double opacity, const float rgb[3]);

/* Normal numbers drawn once; a frame's noise is a run of them at a random start. */
typedef struct {
    float *values;
    size_t n, frame; /* frame = values a frame takes */
} motion_noise;
cf_status motion_noise_make(motion_noise *out, uint64_t seed, size_t size);
/* out = bytes of canvas + sd * noise. */
void motion_finish(uint8_t *out, const float *canvas, const motion_noise *noise, double sd,
                   cf_rng *r);

/* Poses of a trajectory in its forward direction (motion = 2 * axis). */
typedef struct {
    motion_pose first, last;
} motion_path;
void motion_path_draw(motion_path *out, size_t axis, const cf_motion_options *o, cf_rng *r);
/* Pose at frame t of n. */
motion_pose motion_path_at(const motion_path *p, size_t t, size_t n);

typedef struct {
    const cf_motion_options *options;
    const motion_bank *bank;
    const motion_noise *noise;
    uint32_t stream; /* epoch of the random stream: one a file */
    double tags;     /* share of stills with a tag */
} motion_scene;
/* Both need two canvases of scratch. */
void motion_video_draw(uint8_t *out, float *scratch, const motion_scene *s, size_t index,
                       size_t kind, size_t axis, bool *reversed);
void motion_still_draw(uint8_t *out, float *scratch, const motion_scene *s, size_t index,
                       size_t caption);

/* ---- report ---- */

/* A scores file: scores [n, CF_MOTION_CLASSES]. */
typedef struct {
    float *scores;
    int32_t *label;
    char **name;
    size_t n;
} motion_scores;
cf_status motion_scores_read(motion_scores *out, const char *path);
void motion_scores_fini(motion_scores *s);
size_t motion_scores_best(const motion_scores *s, size_t row);

/* One row a test video: its frames, its label and the answer of each run that has scores
 * [n_runs]. */
cf_status motion_sheet_write(const char *path, const char *test_pack, const cf_motion_run *runs,
                             const motion_scores *scores, size_t n_runs, size_t rows);

#endif
