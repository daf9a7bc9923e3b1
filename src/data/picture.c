/* picture: the buffer that frames are decoded into.
 *
 * A cf_picture belongs to the caller and is reused from frame to frame, so it only ever grows:
 * after the largest frame of a dataset has been seen, decoding asks for no memory. Pixels are
 * height x width x 3 bytes, R, G, B, rows without padding. */
#include "data/jpeg.h"

#include <string.h>

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

/* Of what is shown at (y, x), where it is stored: base + y * down + x * right, in pixels of
 * rows that have `stride` bytes. 2, 4, 5, 7 are mirrored; from 5 on rows become columns. */
cf_status picture_orient(cf_picture *dst, const uint8_t *src, size_t height, size_t width,
                         size_t stride, int orientation)
{
    CF_ASSERT(orientation >= 1 && orientation <= 8);
    bool turned = orientation >= 5;
    bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    CF_TRY(cf_picture_resize_buffer(dst, turned ? width : height, turned ? height : width));
    const uint8_t *corner =
        src + (from_bottom ? (height - 1) * stride : 0) + (from_right ? 3 * (width - 1) : 0);
    ptrdiff_t row = from_bottom ? -(ptrdiff_t)stride : (ptrdiff_t)stride;
    ptrdiff_t column = from_right ? -3 : 3;
    ptrdiff_t down = turned ? column : row, right = turned ? row : column;
    uint8_t *to = dst->pixels;
    for (size_t y = 0; y < dst->height; y++) {
        const uint8_t *from = corner + (ptrdiff_t)y * down;
        if (right == 3) {
            memcpy(to, from, 3 * dst->width);
            to += 3 * dst->width;
            continue;
        }
        for (size_t x = 0; x < dst->width; x++, to += 3, from += right) {
            to[0] = from[0];
            to[1] = from[1];
            to[2] = from[2];
        }
    }
    return CF_OK;
}
