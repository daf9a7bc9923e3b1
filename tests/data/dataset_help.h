/* Single frames of a dataset's videos, for tests. */
#ifndef CROSSFRAME_DATASET_HELP_H
#define CROSSFRAME_DATASET_HELP_H

#include "test.h"

#include "crossframe/data.h"

static inline cf_status keep_picture(void *user, int64_t frame, const cf_picture *p)
{
    cf_picture *out = user;
    (void)frame;
    CF_TRY(cf_picture_resize_buffer(out, p->height, p->width));
    memcpy(out->pixels, p->pixels, p->height * p->width * 3);
    return CF_OK;
}

/* The video's number of frames; *out = one of them (negative: counted from the end). */
static inline int64_t read_frame(cf_picture *out, const cf_dataset *d, size_t i, int64_t frame)
{
    cf_video_reader *r;
    int64_t n;
    assert_ok(cf_video_reader_new(&r, d));
    assert_ok(cf_video_reader_open(&n, r, i));
    if (frame < 0) frame += n;
    assert_ok(cf_video_reader_read(r, &frame, 1, keep_picture, out));
    cf_video_reader_free(r);
    return n;
}

#endif
