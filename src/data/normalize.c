/* From bytes to the network's floats (spec/data-and-recipe.md 4.10): (v - mean) / std per channel,
 * the ImageNet constants on the 0 .. 255 scale, in R, G, B order (Q10).
 *
 * A true division in single precision: it gives the original's bits, a product with 1/std does
 * not. */
#include "transform.h"

#include "support/kernel.h"

static const float mean[3] = { 123.675f, 116.28f, 103.53f };
static const float deviation[3] = { 58.395f, 57.12f, 57.375f };

CF_KERNEL static void split_row(uint8_t *restrict r, uint8_t *restrict g, uint8_t *restrict b,
                                const uint8_t *restrict in, size_t n)
{
    for (size_t x = 0; x < n; x++) {
        r[x] = in[3 * x];
        g[x] = in[3 * x + 1];
        b[x] = in[3 * x + 2];
    }
}

static void reverse(uint8_t *row, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        uint8_t v = row[i];
        row[i] = row[n - 1 - i];
        row[n - 1 - i] = v;
    }
}

void cf_planes(uint8_t *planes, cf_view in, bool flip)
{
    size_t n = in.width * in.height;
    for (size_t y = 0; y < in.height; y++, planes += in.width) {
        split_row(planes, planes + n, planes + 2 * n, in.pixels + y * in.stride, in.width);
        for (size_t c = 0; flip && c < 3; c++) reverse(planes + c * n, in.width);
    }
}

CF_KERNEL static void normalize(float *restrict out, const uint8_t *restrict in, size_t n, float m,
                                float d)
{
    for (size_t i = 0; i < n; i++) out[i] = ((float)in[i] - m) / d;
}

void cf_normalize(float *out, const uint8_t *planes, size_t n)
{
    for (size_t c = 0; c < 3; c++) normalize(out + c * n, planes + c * n, n, mean[c], deviation[c]);
}

void cf_denormalize(uint8_t *planes, const float *in, size_t n)
{
    for (size_t i = 0; i < 3 * n; i++) {
        float v = in[i] * deviation[i / n] + mean[i / n];
        planes[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v + 0.5f);
    }
}
