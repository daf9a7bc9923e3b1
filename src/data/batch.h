/* The loader's parts, inside the data module.
 *
 * order.c decides which videos stand in which batch and which classes are its columns; clip.c turns
 * one video into its clips, with the buffers of one thread; view.c does so for videos that stand by
 * themselves; mix.c makes the soft targets and mixes
 * the videos of a batch (spec/data-and-recipe.md 5, 6). All allocate when they are made and not
 * after (clip.c: but for encoded frames larger than their picture, and videos read from files). */
#ifndef CROSSFRAME_DATA_BATCH_H
#define CROSSFRAME_DATA_BATCH_H

#include "transform.h"

/* ---- order.c --------------------------------------------------------------------------------- */

typedef struct {
    size_t batch, n_batches, n_classes, n_videos; /* n_videos = size of the dataset */
    bool training;
    int64_t *position; /* [n_batches * batch], or [n_videos] in a test: positions in the dataset */
    /* Families: those of a training batch's classes, or one of all classes. */
    size_t n_families;
    int32_t *family;      /* [K] family number of each class, 0 .. n_families - 1 */
    int32_t *column;      /* [K] column of each class among its family's */
    int32_t *class_id;    /* [K] classes ordered by family, ascending inside one */
    size_t *family_start; /* [n_families + 1] into class_id */
    const cf_dataset *dataset;
    int64_t *shuffled, *rank, *pending; /* scratch of cf_order_epoch */
    size_t *n_pending;
} cf_order;

/* CF_EINVAL: a label no column stands for; training with no whole batch. */
cf_status cf_order_init(cf_order *o, const cf_dataset *d, size_t batch, size_t n_classes,
                        bool training);
void cf_order_fini(cf_order *o);
/* Fills `position` for one epoch. */
void cf_order_epoch(cf_order *o, uint64_t seed, uint32_t epoch, bool shuffle);
/* Number of videos of batch k and the first of its positions. */
size_t cf_order_batch(const int64_t **positions, const cf_order *o, size_t k);
/* Columns of a batch whose first video is at `position`. */
size_t cf_order_classes(const int32_t **class_id, const cf_order *o, int64_t position);

/* ---- clip.c ---------------------------------------------------------------------------------- */

/* Frame `frame` of the video is number `at` of the frames of its clips. */
typedef struct {
    int64_t frame;
    size_t at;
} cf_clip_place;

typedef struct {
    const cf_loader_options *options;
    const cf_dataset *dataset; /* NULL: none */
    cf_video_reader *videos;
    cf_transform transform;
    /* Of the present video: */
    float *out;
    size_t key; /* of what is drawn for it, with the epoch */
    uint32_t epoch;
    cf_clip_place *places; /* [n_places] by frame */
    size_t n_places, next; /* next: first one still to be filled */
    int64_t *frame;        /* [n_places] each frame once, rising */
    cf_clip_plan plan;     /* made with its first picture */
} cf_clip_reader;
/* d NULL: for cf_clip_choose and cf_clip_take alone. */
cf_status cf_clip_reader_init(cf_clip_reader *r, const cf_dataset *d, const cf_loader_options *o);
void cf_clip_reader_fini(cf_clip_reader *r);
/* All views of video i of the dataset: out [views * T, 3, S, S] (4.11). Everything random is drawn
 * from (seed, epoch, key); key is i, or the position of the video whose place it takes. Failures
 * name the video. */
cf_status cf_clip_read(float *out, cf_clip_reader *r, size_t i, size_t key, uint32_t epoch);
/* The same in two halves, for whatever hands over frames: which ones of n_frames, rising, each
 * once (borrowed), their number returned; then each picture, as a cf_media_fn with the reader as
 * user. CF_EFORMAT: it has another size than the first. */
size_t cf_clip_choose(const int64_t **frame, float *out, cf_clip_reader *r, size_t n_frames,
                      size_t key, uint32_t epoch);
cf_status cf_clip_take(void *reader, int64_t frame, const cf_picture *picture);

/* ---- mix.c ----------------------------------------------------------------------------------- */

typedef struct {
    double label_smooth, mixup, cutmix, switch_probability;
} cf_mix_options;

typedef struct {
    bool cutmix;
    float lambda;           /* share of the clip itself; after cutmix's clipping of the box */
    size_t x1, x2, y1, y2;  /* the box */
    const int64_t *partner; /* [n] */
} cf_mix;

/* 6.2: target [n, n_columns] from the label's column. */
void cf_mix_targets(float *target, const int32_t *column, size_t n, size_t n_columns,
                    double smooth);
/* 6.3: all decisions of a micro-batch; `partner` [n] is filled and borrowed. mixup > 0. */
void cf_mix_draw(cf_mix *m, int64_t *partner, size_t n, size_t size, const cf_mix_options *o,
                 cf_rng *rng);
/* How the loader mixes micro-batch k of n clips; false: not at all. */
bool cf_mix_batch(cf_mix *m, int64_t *partner, size_t n, const cf_loader_options *o, uint32_t epoch,
                  size_t k);
/* The box of side size * sqrt(1 - lambda) round (cx, cy), clipped, and lambda from its area. */
void cf_mix_box(cf_mix *m, float lambda, size_t size, size_t cx, size_t cy);
/* video [n, planes, size, size] in place. */
void cf_mix_video(float *video, size_t n, size_t planes, size_t size, const cf_mix *m,
                  float *scratch);
void cf_mix_rows(float *target, size_t n, size_t n_columns, const cf_mix *m, float *scratch);
/* Floats of scratch that both need. */
cf_status cf_mix_scratch(size_t *out, size_t n, size_t size);

#endif
