/* packing: from videos as they lie about to packed datasets.
 *
 * Design
 *  - Every video is decoded once, from its first frame on, by one of `workers` threads; the pack is
 *    written in the list's order by the caller's thread. The bytes of the result are a function of
 *    the videos and the options, not of threads or interruptions.
 *  - Encoded frames wait for their turn in memory, at most 64 MB and 16 MB a thread; the video
 *    whose turn it is goes straight to the disk. So one video may be of any length.
 *  - OUT.tmp grows to what OUT will be and is turned into it in place: the disk needs room for the
 *    pack once (with max_frames, for all frames of one video too).
 *  - OUT.journal says which videos are in OUT.tmp. After an end of any kind, the power's too, the
 *    same call goes on behind the last video that was synced: mostly a fraction of a second, at
 *    most five seconds of work back.
 *  - A video that cannot be read whole, or does not have as many frames as its list says, is left
 *    out and told in OUT.problems.csv. */
#ifndef CROSSFRAME_PACKING_H
#define CROSSFRAME_PACKING_H

#include "crossframe/data.h"

typedef struct {
    const char *split; /* NULL: the list makes no split */
    const char *path;
} cf_packing_list;

typedef struct {
    size_t videos, frames; /* in the pack so far */
    int64_t bytes;         /* of encoded frames */
    size_t skipped;        /* could not be read */
    size_t done, total;    /* videos of the lists */
    size_t found;          /* of done, those of an earlier, interrupted call */
    double seconds;
} cf_packing_count;

/* Called on the caller's thread, five times a second or so. False stops: CF_EINTERRUPTED. */
typedef bool cf_packing_progress(void *user, const cf_packing_count *count);

typedef struct {
    /* A folder of video files, of folders of pictures and of HDF5 files with JPEGs as rows of
     * `video`; an uncompressed tar of video files; or one HDF5 file of pictures as rows of `images`
     * and classes in `labels`, which takes no list. */
    const char *root;
    /* Names in root. A video that is in several lists is packed once. None: a video is whatever is
     * in a sub-folder of root, or in a folder of the tar, which is named as its class. */
    const cf_packing_list *lists;
    size_t n_lists;
    const char *const *class_name; /* [n_classes]; none: the folders, in the order of their bytes */
    size_t n_classes;
    const char *out;
    cf_encoding encoding;
    int quality;    /* of jpeg */
    int short_side; /* frames are brought to it, the ratio kept; 0 = as they are */
    int stride;     /* keeps frames 0, stride, 2 stride, ... */
    int max_frames; /* of M such frames keeps number floor((2 i + 1) M / (2 max_frames)); 0 = all */
    int shards;     /* more than 1: as many files OUT-00000-of-00004.h5, equal parts of the list */
    int workers;    /* 0 = the machine's cores */
    bool strict;    /* the first video that cannot be read ends it */
    bool restart;   /* forgets an interrupted call */
    cf_packing_progress *progress; /* may be NULL */
    void *user;
} cf_packing_options;

cf_packing_options cf_packing_defaults(void);
/* CF_EINVAL: a list that contradicts itself or the classes, with the line; none of its videos is
 * there; an interrupted call had other options or other lists (restart forgets it). CF_EFORMAT:
 * no video could be packed. */
cf_status cf_packing_run(cf_packing_count *out, const cf_packing_options *o);

#endif
