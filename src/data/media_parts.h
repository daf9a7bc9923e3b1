/* media, inside: what a kind of source does for media.c. */
#ifndef CF_DATA_MEDIA_PARTS_H
#define CF_DATA_MEDIA_PARTS_H

#include "data/jpeg.h"

typedef struct {
    const int64_t *frame; /* rising; NULL: all */
    size_t n;
    cf_media_fn *fn; /* NULL: nothing is handed over, frames are only counted */
    void *user;
} media_wish;

typedef struct {
    /* Goes from the start through what is wished for. *n_frames: how many there are, where the walk
     * came to the end or knows without; else left alone. */
    cf_status (*walk)(void *source, const media_wish *wish, int64_t *n_frames);
    void (*close)(void *source);
} media_kind;

struct cf_media {
    char *path;
    const media_kind *kind;
    void *source;
    double fps;
    int64_t n_frames; /* -1: not known yet */
    int threads;
    /* Inside a cf_media_fn: the file of the picture handed over. */
    const uint8_t *coded;
    size_t n_coded;
};

/* Each fills kind, source, fps and, if known, n_frames of a new media whose path is set. bytes
 * NULL: the file at the path. */
cf_status media_open_video(cf_media *m, const uint8_t *bytes, size_t n);
cf_status media_open_picture(cf_media *m, const uint8_t *bytes, size_t n);
cf_status media_open_folder(cf_media *m);
cf_status media_open_rows(cf_media *m); /* an HDF5 file */
bool media_is_hdf5(const uint8_t *bytes, size_t n);

/* The whole file at a path, into bytes that are kept and grow. */
cf_status media_file_read(cf_bytes *to, size_t *n, const char *path);

#endif
