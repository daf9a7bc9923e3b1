/* Which part of a frame the network sees (spec/data-and-recipe.md 4.4 to 4.6).
 *
 * Training takes one of ten sizes (four scales of the short side, height and width at most one step
 * apart) at one of five places of a coarse grid; a side within 2 pixels of S is made S. Tests take
 * the centre, or three squares along the long side. All divisions floor, as in the original, so the
 * right and lower places may stop up to 3 pixels short of the edge (Q8). */
#include "transform.h"

#include <stdlib.h>

cf_rect cf_crop_center(size_t width, size_t height, size_t size)
{
    CF_ASSERT(width >= size && height >= size);
    return (cf_rect){ (width - size) / 2, (height - size) / 2, size, size };
}

void cf_crop_three(cf_rect out[3], size_t width, size_t height, size_t size)
{
    CF_ASSERT((height == size && width >= size) || (width == size && height >= size));
    for (size_t i = 0; i < 3; i++) { /* first, last, middle */
        static const size_t steps[3] = { 0, 2, 1 };
        out[i] = (cf_rect){ 0, 0, size, size };
        if (height == size)
            out[i].x = steps[i] * ((width - size) / 2);
        else
            out[i].y = steps[i] * ((height - size) / 2);
    }
}

static size_t snap(size_t side, size_t size)
{
    return llabs((long long)side - (long long)size) < 3 ? size : side;
}

cf_rect cf_crop_multi_scale(size_t width, size_t height, size_t size, cf_rng *rng)
{
    static const double scale[4] = { 1, .875, .75, .66 };
    static const uint8_t pair[10][2] = { { 0, 0 }, { 0, 1 }, { 1, 0 }, { 1, 1 }, { 1, 2 },
                                         { 2, 1 }, { 2, 2 }, { 2, 3 }, { 3, 2 }, { 3, 3 } };
    static const uint8_t place[5][2] = { { 0, 0 }, { 4, 0 }, { 0, 4 }, { 4, 4 }, { 2, 2 } };
    double base = (double)(width < height ? width : height);
    const uint8_t *sides = pair[cf_rng_below(rng, 10)], *at = place[cf_rng_below(rng, 5)];
    cf_rect r = { .width = snap((size_t)(base * scale[sides[1]]), size),
                  .height = snap((size_t)(base * scale[sides[0]]), size) };
    CF_ASSERT(r.width <= width && r.height <= height);
    r.x = at[0] * ((width - r.width) / 4);
    r.y = at[1] * ((height - r.height) / 4);
    return r;
}
