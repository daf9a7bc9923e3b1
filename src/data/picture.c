/* picture: the buffer that frames are decoded into.
 *
 * A cf_picture belongs to the caller and is reused from frame to frame, so it only ever grows:
 * after the largest frame of a dataset has been seen, decoding asks for no memory. Pixels are
 * height x width x 3 bytes, R, G, B, rows without padding. */
#include "crossframe/data.h"

cf_status cf_picture_resize_buffer(cf_picture *p, size_t height, size_t width)
{
    size_t bytes;
    CF_TRY(cf_mul_size(&bytes, height, width));
    CF_TRY(cf_mul_size(&bytes, bytes, 3));
    if (bytes > p->capacity || !p->pixels) {
        uint8_t *pixels; /* not cf_realloc: what is there need not be copied */
        CF_TRY(cf_alloc(&pixels, bytes, 1));
        cf_free(p->pixels);
        p->pixels = pixels;
        p->capacity = bytes;
    }
    p->height = height;
    p->width = width;
    return CF_OK;
}

void cf_picture_fini(cf_picture *p)
{
    cf_free(p->pixels);
    *p = (cf_picture){ 0 };
}

void cf_bytes_fini(cf_bytes *b)
{
    cf_free(b->bytes);
    *b = (cf_bytes){ 0 };
}
