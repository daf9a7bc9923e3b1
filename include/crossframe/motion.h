/* motion: the generator of the motion dataset, part of the module data.
 *
 * Short clips of small pictures that move over a textured, noisy background. 8 motions in 4 pairs
 * that are each other's time reversal, times 10 kinds of picture: 80 classes. One trajectory is
 * drawn and its frames, noise and all, are reversed for the partner class, so the set of frames
 * tells nothing about the direction: a model that pools frames without order cannot pass 50 % on
 * the motion.
 *
 *   class id = kind * 8 + motion;  motion ^ 1 = the time-reversed partner;  motion / 2 = the axis
 *
 * Beside it: stills with captions in families for a small CLIP, and a byte-pair vocabulary of all
 * the captions. Same options, same bytes, whatever the number of threads. */
#ifndef CROSSFRAME_MOTION_H
#define CROSSFRAME_MOTION_H

#include "crossframe/data.h"

/* ---- IDX files (the format of MNIST and Fashion-MNIST) --------------------------------------- */

typedef struct {
    uint8_t *pixels; /* [n, height, width], 0 = background */
    uint8_t *labels; /* [n] */
    size_t n, height, width;
} cf_idx_pictures;

/* Reads a pair of files, gzip or plain. CF_EFORMAT names the file and what is wrong with it. */
cf_status cf_idx_read(cf_idx_pictures *out, const char *images_path, const char *labels_path);
void cf_idx_fini(cf_idx_pictures *p);

/* ---- classes and captions -------------------------------------------------------------------- */

enum {
    CF_MOTION_KINDS = 10,
    CF_MOTION_MOTIONS = 8,
    CF_MOTION_CLASSES = CF_MOTION_KINDS * CF_MOTION_MOTIONS,
    CF_MOTION_TEXT_MAX = 64, /* bytes of the longest text with its zero */
    /* Families of captions of the stills, in this order; the class ids of a family are
     * contiguous. */
    CF_MOTION_FAMILY_KIND = 0, /* "an ankle boot" */
    CF_MOTION_FAMILY_PLACE,    /* "an ankle boot on the left" (right, top, bottom) */
    CF_MOTION_FAMILY_LOOK,     /* "a large bright ankle boot" (small, dark) */
    CF_MOTION_FAMILY_MOTION,   /* the 80 class texts: where the object was is a fading trail */
    CF_MOTION_FAMILIES
};

/* Two vocabularies of kinds: Fashion-MNIST's, or those of the shapes drawn without it. */
typedef enum { CF_MOTION_FASHION, CF_MOTION_SHAPES } cf_motion_set;

/* "an ankle boot moving left". class_id 0 .. 79. */
void cf_motion_class_text(char out[CF_MOTION_TEXT_MAX], cf_motion_set set, size_t class_id);
size_t cf_motion_family_size(size_t family); /* captions of a family */
size_t cf_motion_n_captions(void);           /* of all families */
/* Caption `caption` (0 .. n_captions-1, families one after another); returns its family. */
size_t cf_motion_caption_text(char out[CF_MOTION_TEXT_MAX], cf_motion_set set, size_t caption);

/* ---- making the dataset ---------------------------------------------------------------------- */

#define CF_MOTION_SOURCE "/usr/share/datasets/fashion-mnist"

typedef struct {
    double lo, hi;
} cf_motion_range;

typedef struct {
    const char *source; /* NULL: CF_MOTION_SOURCE if it is there, otherwise own shapes (logged) */
    const char *out;    /* folder, made if missing; its files are replaced one by one */
    bool own_shapes;    /* do not look for pictures */
    size_t train_videos, test_trajectories, stills, test_stills;
    size_t frames, size; /* of a video; canvas edge in pixels */
    uint64_t seed;
    double family_weight[CF_MOTION_FAMILIES]; /* shares of the stills */
    cf_motion_range
        picture; /* edge in pixels, at the middle of the video; 0 = 0.45 .. 0.55 of size */
    cf_motion_range travel;     /* pixels from first to last frame; 0 = 0.3 .. 0.42 of size */
    cf_motion_range growth;     /* factor from first to last frame */
    cf_motion_range turn;       /* radians from first to last frame */
    cf_motion_range brightness; /* of the picture, 0 .. 1 */
    double tilt;                /* radians, either way */
    double texture, noise; /* amplitude of the background's pattern; standard deviation, 0 .. 1 */
    double tags; /* share of the training stills with a tag in a corner, one colour a kind */
} cf_motion_options;

cf_motion_options cf_motion_defaults(void);
/* Writes into options->out: train.h5, test.h5 (videos "test/000123-forward" and "-reverse"),
 * stills.h5, stills_test.h5, labels.csv, merges.txt. CF_EINVAL for an option out of range. */
cf_status cf_motion_make(const cf_motion_options *options);

/* ---- report ---------------------------------------------------------------------------------- */

/* Percent, of the class with the highest score; pair_difference is the largest difference of one
 * class's score between a trajectory and its reverse. */
typedef struct {
    double top1, kind, motion, axis, pair_difference;
    size_t videos, pairs;
} cf_motion_result;

/* scores [n, CF_MOTION_CLASSES], label [n], name [n]: what `crossframe test --scores` writes.
 * CF_EINVAL: a label out of range, a score that is not finite, a trajectory without its reverse. */
cf_status cf_motion_result_compute(cf_motion_result *out, const float *scores, const int32_t *label,
                                   const char *const *name, size_t n);

typedef struct {
    const char *name;        /* column of the table, key of summary.json */
    const char *scores_path; /* what `crossframe test --scores` wrote */
    cf_motion_result result; /* filled by the report */
} cf_motion_run;

typedef struct {
    const char *out;       /* folder */
    const char *test_pack; /* the motion test set: frames of the contact sheet; NULL: none */
    double seconds;        /* of the whole demonstration; negative: left out */
    size_t sheet_rows;     /* videos on the contact sheet, an even number (pairs) */
} cf_motion_report_options;

/* Fills runs[i].result and writes OUT/summary.json and, with a test pack, OUT/videos.png. The
 * curves are `crossframe report`'s. */
cf_status cf_motion_report(cf_motion_run *runs, size_t n_runs, const cf_motion_report_options *o);

#endif
