/* jpeg: what the head of a JPEG says; shared by jpeg.c, media and the pack writer. */
#ifndef CF_DATA_JPEG_H
#define CF_DATA_JPEG_H

#include "crossframe/data.h"

typedef struct {
    size_t height, width; /* as stored, before the orientation is applied */
    int n_components;
    int orientation; /* EXIF's 1 .. 8; 1 where there is none */
    bool progressive;
    bool followed; /* another JPEG begins right behind this one: a stream of pictures */
} jpeg_head;

bool jpeg_is_one(const uint8_t *bytes, size_t n); /* by its first bytes */
/* Walks the markers from start to end without decoding. Refuses what cf_jpeg_decode refuses for its
 * kind, its size or its missing parts. */
cf_status jpeg_head_read(jpeg_head *out, const uint8_t *bytes, size_t n, const char *what);

bool png_is_one(const uint8_t *bytes, size_t n);

/* picture.c: dst (resized to it) = src turned and mirrored as EXIF's orientation 1 .. 8 asks; src
 * has rows of `stride` bytes. */
cf_status picture_orient(cf_picture *dst, const uint8_t *src, size_t height, size_t width,
                         size_t stride, int orientation);

#endif
