/* Pillow's colour operations written pixel by pixel from spec/data-and-recipe.md 4.8, in its mix of
 * single and double precision: what the vectorised ones are held against. Pixels are packed. */
#ifndef CROSSFRAME_PILLOW_H
#define CROSSFRAME_PILLOW_H

#include "synthetic.h"

static inline int pillow_gray(const uint8_t *p)
{
    return (19595 * p[0] + 38470 * p[1] + 7471 * p[2] + 32768) >> 16;
}

static inline uint8_t pillow_blend(int d, int x, float factor)
{
    if (factor == 0) return (uint8_t)d;
    if (factor == 1) return (uint8_t)x;
    float product = factor * (float)(x - d), t = (float)d + product;
    return (uint8_t)fminf(fmaxf(t, 0), 255);
}

/* kind: 0 brightness, 1 contrast, 2 saturation */
static inline void pillow_enhance(uint8_t *pixels, size_t n, int kind, float factor)
{
    double mean = 0;
    for (size_t i = 0; i < n; i++) mean += pillow_gray(pixels + 3 * i);
    mean = floor(mean / (double)n + 0.5);
    for (size_t i = 0; i < n; i++, pixels += 3) {
        int d = kind == 0 ? 0 : kind == 1 ? (int)mean : pillow_gray(pixels);
        for (int c = 0; c < 3; c++) pixels[c] = pillow_blend(d, pixels[c], factor);
    }
}

static inline void pillow_to_hsv(uint8_t *p)
{
    int r = p[0], g = p[1], b = p[2];
    int max = r > g ? (r > b ? r : b) : (g > b ? g : b);
    int min = r < g ? (r < b ? r : b) : (g < b ? g : b);
    p[0] = p[1] = 0;
    p[2] = (uint8_t)max;
    if (max == min) return;
    float d = (float)(max - min), s = d / (float)max, h;
    float rc = (float)(max - r) / d, gc = (float)(max - g) / d, bc = (float)(max - b) / d;
    if (r == max)
        h = bc - gc;
    else if (g == max)
        h = (float)(2.0 + (double)rc - (double)bc);
    else
        h = (float)(4.0 + (double)gc - (double)rc);
    h = (float)fmod((double)h / 6.0 + 1.0, 1.0);
    p[0] = (uint8_t)((double)h * 255.0);
    p[1] = (uint8_t)((double)s * 255.0);
}

static inline uint8_t pillow_round(double v) { return (uint8_t)fmin(fmax(round(v), 0), 255); }

static inline void pillow_to_rgb(uint8_t *out)
{
    int H = out[0], S = out[1];
    uint8_t v = out[2];
    if (S == 0) {
        out[0] = out[1] = v;
        return;
    }
    float fs = (float)(S / 255.0), fh = (float)(H * 6.0 / 255.0), f = fh - floorf(fh);
    uint8_t p = pillow_round((float)(v * (1.0 - (double)fs)));
    uint8_t q = pillow_round((float)(v * (1.0 - (double)fs * (double)f)));
    uint8_t t = pillow_round((float)(v * (1.0 - (double)fs * (1.0 - (double)f))));
    const uint8_t rgb[6][3] = { { v, t, p }, { q, v, p }, { p, v, t },
                                { p, q, v }, { t, p, v }, { v, p, q } };
    memcpy(out, rgb[(int)floorf(fh) % 6], 3);
}

static inline void pillow_hue(uint8_t *pixels, size_t n, float hue)
{
    for (size_t i = 0; i < n; i++, pixels += 3) {
        pillow_to_hsv(pixels);
        pixels[0] = (uint8_t)((pixels[0] + (int)trunc((double)hue * 255) + 256) % 256);
        pillow_to_rgb(pixels);
    }
}

static inline void pillow_jitter(uint8_t *pixels, size_t n, const cf_jitter *j)
{
    for (int i = 0; i < 4; i++) {
        if (j->order[i] == 3)
            pillow_hue(pixels, n, j->hue);
        else
            pillow_enhance(pixels, n, j->order[i], j->factor[j->order[i]]);
    }
}

/* [n, 3] to [3, n], and back. */
static inline void take_apart(uint8_t *planes, const uint8_t *pixels, size_t n)
{
    for (size_t i = 0; i < 3 * n; i++) planes[i % 3 * n + i / 3] = pixels[i];
}

static inline void put_together(uint8_t *pixels, const uint8_t *planes, size_t n)
{
    for (size_t i = 0; i < 3 * n; i++) pixels[i] = planes[i % 3 * n + i / 3];
}

#endif
