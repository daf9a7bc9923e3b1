/* Colour jitter and greyscale, the integers of Pillow (spec/data-and-recipe.md 4.8, 4.9).
 *
 * Brightness, contrast and saturation blend the picture with a degenerate one (black, its mean
 * grey, its own grey); the first two depend on the value alone and go through a table of 256. Hue
 * goes to Pillow's 8-bit HSV and back, which loses a little even for shift 0. Every step gives
 * bytes again. The mix of single and double precision below is what makes the bits agree: keep the
 * casts. */
#include "transform.h"

#include <math.h>

static uint8_t gray_of(const uint8_t *p)
{
    return (uint8_t)((19595u * p[0] + 38470u * p[1] + 7471u * p[2] + 32768u) >> 16);
}

static uint8_t blend(int degenerate, int value, float factor)
{
    float t = (float)degenerate + factor * (float)(value - degenerate);
    return (uint8_t)(t <= 0 ? 0 : t >= 255 ? 255 : t);
}

/* The same constant against every value: one table for all pixels. */
static void blend_constant(uint8_t *pixels, size_t n, int degenerate, float factor)
{
    uint8_t table[256];
    if (factor == 1) return;
    for (int v = 0; v < 256; v++)
        table[v] = factor == 0 ? (uint8_t)degenerate : blend(degenerate, v, factor);
    for (size_t i = 0; i < 3 * n; i++) pixels[i] = table[pixels[i]];
}

void cf_color_brightness(uint8_t *pixels, size_t n, float factor)
{
    blend_constant(pixels, n, 0, factor);
}

void cf_color_contrast(uint8_t *pixels, size_t n, float factor)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += gray_of(pixels + 3 * i);
    blend_constant(pixels, n, (int)((double)sum / (double)n + 0.5), factor);
}

void cf_color_saturation(uint8_t *pixels, size_t n, float factor)
{
    if (factor == 1) return;
    for (size_t i = 0; i < n; i++, pixels += 3) {
        int gray = gray_of(pixels);
        for (int c = 0; c < 3; c++)
            pixels[c] = factor == 0 ? (uint8_t)gray : blend(gray, pixels[c], factor);
    }
}

void cf_color_gray(uint8_t *pixels, size_t n)
{
    for (size_t i = 0; i < n; i++, pixels += 3) pixels[0] = pixels[1] = pixels[2] = gray_of(pixels);
}

static void hsv_of(uint8_t *p)
{
    int r = p[0], g = p[1], b = p[2];
    int max = r > g ? (r > b ? r : b) : (g > b ? g : b);
    int min = r < g ? (r < b ? r : b) : (g < b ? g : b);
    if (max == min) {
        p[0] = p[1] = 0;
        p[2] = (uint8_t)max;
        return;
    }
    float d = (float)(max - min), s = d / (float)max, h;
    float rc = (float)(max - r) / d, gc = (float)(max - g) / d, bc = (float)(max - b) / d;
    if (r == max)
        h = bc - gc;
    else if (g == max)
        h = (float)(2.0 + (double)rc - (double)bc);
    else
        h = (float)(4.0 + (double)gc - (double)rc);
    double turn = (double)h / 6.0 + 1.0; /* between 5/6 and 11/6: its remainder by 1 is exact */
    h = (float)(turn >= 1 ? turn - 1 : turn);
    p[0] = (uint8_t)((double)h * 255.0);
    p[1] = (uint8_t)((double)s * 255.0);
    p[2] = (uint8_t)max;
}

/* Half away from zero; v is in 0 .. 255 and exact in double after adding a half. */
static uint8_t round_byte(float v) { return (uint8_t)((double)v + 0.5); }

static void rgb_of(uint8_t *out)
{
    uint8_t value = out[2];
    if (out[1] == 0) {
        out[0] = out[1] = value;
        return;
    }
    float fs = (float)(out[1] / 255.0), fh = (float)(out[0] * 6.0 / 255.0);
    int i = (int)fh;
    float f = fh - (float)i;
    double V = value, saturation = (double)fs, fraction = (double)f;
    uint8_t p = round_byte((float)(V * (1.0 - saturation)));
    uint8_t q = round_byte((float)(V * (1.0 - saturation * fraction)));
    uint8_t t = round_byte((float)(V * (1.0 - saturation * (1.0 - fraction))));
    const uint8_t rgb[6][3] = { { value, t, p }, { q, value, p }, { p, value, t },
                                { p, q, value }, { t, p, value }, { value, p, q } };
    for (int c = 0; c < 3; c++) out[c] = rgb[i % 6][c];
}

void cf_rgb_to_hsv(uint8_t *pixels, size_t n)
{
    for (size_t i = 0; i < n; i++) hsv_of(pixels + 3 * i);
}

void cf_hsv_to_rgb(uint8_t *pixels, size_t n)
{
    for (size_t i = 0; i < n; i++) rgb_of(pixels + 3 * i);
}

void cf_color_hue(uint8_t *pixels, size_t n, float hue)
{
    uint8_t shift = (uint8_t)(int)((double)hue * 255.0); /* toward zero, then modulo 256 */
    for (size_t i = 0; i < n; i++, pixels += 3) {
        hsv_of(pixels);
        pixels[0] = (uint8_t)(pixels[0] + shift);
        rgb_of(pixels);
    }
}

static float between(cf_rng *rng, float low, float high)
{
    return low + (high - low) * cf_rng_uniform_f32(rng);
}

cf_jitter cf_jitter_draw(cf_rng *rng)
{
    cf_jitter j = { .order = { 0, 1, 2, 3 } };
    for (int i = 3; i > 0; i--) {
        int k = (int)cf_rng_below(rng, (uint32_t)i + 1), was = j.order[i];
        j.order[i] = j.order[k];
        j.order[k] = was;
    }
    j.factor[0] = between(rng, .6f, 1.4f);
    j.factor[1] = between(rng, .6f, 1.4f);
    j.factor[2] = between(rng, .8f, 1.2f);
    j.hue = between(rng, -.1f, .1f);
    return j;
}

void cf_jitter_apply(uint8_t *pixels, size_t n, const cf_jitter *j)
{
    static void (*const apply[3])(
        uint8_t *, size_t, float) = { cf_color_brightness, cf_color_contrast, cf_color_saturation };
    for (int i = 0; i < 4; i++) {
        if (j->order[i] < 3)
            apply[j->order[i]](pixels, n, j->factor[j->order[i]]);
        else
            cf_color_hue(pixels, n, j->hue);
    }
}
