/* pack_tables, inside the data module: what a packed dataset has beside the frames' bytes, as it is
 * gathered, and the file made of both. The bytes lie in a file behind CF_H5_HEAD, one frame after
 * the other; whoever writes them tells here how many each frame has. */
#ifndef CF_DATA_PACK_TABLES_H
#define CF_DATA_PACK_TABLES_H

#include "crossframe/data.h"

typedef struct {
    char *name;
    int64_t *rows;
    size_t n;
} pack_split;

typedef struct {
    const char *path; /* for messages; borrowed */
    size_t n_classes;
    /* [n_frames + 1], [n_videos + 1]; the last one is where to go on */
    int64_t *offset, *first_frame;
    int32_t *source;                                 /* [n_frames] */
    int32_t *label, *height, *width, *source_frames; /* [n_videos] */
    float *fps;
    char **name;
    size_t n_frames, n_videos, frame_capacity, video_capacity;
    pack_split *splits;
    size_t n_splits;
    bool thinned; /* a video has fewer frames than its original */

    /* The video begun: row n_videos of the arrays above, its frames from n_frames on. */
    bool begun;
    size_t begun_frames;
} pack_tables;

cf_status pack_tables_init(pack_tables *t, const char *path, size_t n_classes);
void pack_tables_fini(pack_tables *t);  /* also one that is zeroed */
void pack_tables_clear(pack_tables *t); /* as after init, memory kept */

/* As cf_pack_writer_begin, .._end and .._drop. */
cf_status pack_tables_begin(pack_tables *t, const char *name, int32_t label, float fps);
cf_status pack_tables_end(pack_tables *t, int32_t source_frames);
void pack_tables_drop(pack_tables *t);
/* May a frame of this size and number come next? */
cf_status pack_tables_check(const pack_tables *t, size_t height, size_t width, int32_t source);
/* Where the next frame's bytes begin, counted from CF_H5_HEAD. */
int64_t pack_tables_at(const pack_tables *t);
/* It has n_bytes; checked before. */
cf_status pack_tables_frame(pack_tables *t, size_t n_bytes, size_t height, size_t width,
                            int32_t source);
cf_status pack_tables_split(pack_tables *t, const char *name, const int64_t *rows, size_t n);

cf_status pack_options_check(const char *path, const cf_pack_options *o);
const char *pack_encoding_name(cf_encoding e);
/* Makes the file at `path`, which holds the frames' bytes, the packed dataset, in place; synced. */
cf_status pack_tables_finish(const pack_tables *t, const char *path, const cf_pack_options *o);

#endif
