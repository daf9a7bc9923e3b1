/* From bytes to the network's floats (spec/data-and-recipe.md 4.10): (v - mean) / std per channel,
 * the ImageNet constants on the 0 .. 255 scale, in R, G, B order (Q10).
 *
 * There are only 3 x 256 different values, so they stand in a table; the division is done in single
 * precision when it is made, which gives the original's bits. Writes planes, optionally
 * mirrored. */
#include "transform.h"

void cf_normalize_init(cf_normalize_table *t)
{
    static const float mean[3] = { 123.675f, 116.28f, 103.53f };
    static const float deviation[3] = { 58.395f, 57.12f, 57.375f };
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) t->value[c][v] = ((float)v - mean[c]) / deviation[c];
}

void cf_normalize(float *out, cf_view in, bool flip, const cf_normalize_table *t)
{
    size_t plane = in.width * in.height;
    for (size_t y = 0; y < in.height; y++) {
        const uint8_t *p = in.pixels + y * in.stride;
        float *red = out + y * in.width, *green = red + plane, *blue = green + plane;
        ptrdiff_t step = 3;
        if (flip) p += 3 * (in.width - 1), step = -3;
        for (size_t x = 0; x < in.width; x++, p += step) {
            red[x] = t->value[0][p[0]];
            green[x] = t->value[1][p[1]];
            blue[x] = t->value[2][p[2]];
        }
    }
}
