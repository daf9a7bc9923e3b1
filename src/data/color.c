/* Colour jitter and greyscale, the integers of Pillow (spec/data-and-recipe.md 4.8, 4.9), on
 * planes.
 *
 * Brightness, contrast and saturation blend the picture with a degenerate one (black, its mean
 * grey, its own grey). Hue goes to Pillow's 8-bit HSV and back, which loses a little even for
 * shift 0. Every step gives bytes again.
 * The loops have no branches, so that they vectorise. Pillow computes parts of hue in double; here
 * all of it is single precision: its inputs are only 2^24 colours each way, and a test compares the
 * results of all of them with Pillow's arithmetic. Pillow divides three differences by d = max -
 * min where one is 0 and one is d: only the middle channel's quotient is left to compute. */
#include "transform.h"

#include "support/kernel.h"

CF_INLINE uint32_t gray_of(uint32_t red, uint32_t green, uint32_t blue)
{
    return (19595u * red + 38470u * green + 7471u * blue + 32768u) >> 16;
}

CF_INLINE uint8_t blend(float degenerate, float value, float factor)
{
    float t = degenerate + factor * (value - degenerate);
    t = t < 0 ? 0 : t;
    return (uint8_t)(int32_t)(t > 255 ? 255 : t);
}

CF_KERNEL static void blend_constant(uint8_t *values, size_t n, float degenerate, float factor)
{
    for (size_t i = 0; i < n; i++) values[i] = blend(degenerate, values[i], factor);
}

CF_KERNEL static void blend_gray(uint8_t *restrict r, uint8_t *restrict g, uint8_t *restrict b,
                                 size_t n, float factor)
{
    for (size_t i = 0; i < n; i++) {
        float gray = (float)(int32_t)gray_of(r[i], g[i], b[i]);
        r[i] = blend(gray, r[i], factor);
        g[i] = blend(gray, g[i], factor);
        b[i] = blend(gray, b[i], factor);
    }
}

CF_KERNEL static void replace_by_gray(uint8_t *restrict r, uint8_t *restrict g, uint8_t *restrict b,
                                      size_t n)
{
    for (size_t i = 0; i < n; i++) r[i] = g[i] = b[i] = (uint8_t)gray_of(r[i], g[i], b[i]);
}

CF_KERNEL static uint32_t sum_of_gray(const uint8_t *r, const uint8_t *g, const uint8_t *b,
                                      size_t n)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += gray_of(r[i], g[i], b[i]);
    return sum;
}

void cf_color_brightness(uint8_t *planes, size_t n, float factor)
{
    blend_constant(planes, 3 * n, 0, factor);
}

void cf_color_contrast(uint8_t *planes, size_t n, float factor)
{
    const size_t block = 1 << 20; /* its sum stays below 2^32 */
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += block)
        sum += sum_of_gray(planes + i, planes + n + i, planes + 2 * n + i,
                           n - i < block ? n - i : block);
    int mean = (int)((double)sum / (double)n + 0.5);
    blend_constant(planes, 3 * n, (float)mean, factor);
}

void cf_color_saturation(uint8_t *planes, size_t n, float factor)
{
    blend_gray(planes, planes + n, planes + 2 * n, n, factor);
}

void cf_color_gray(uint8_t *planes, size_t n)
{
    replace_by_gray(planes, planes + n, planes + 2 * n, n);
}

/* ---- hue ------------------------------------------------------------------------------------- */

/* a where the condition holds, else b; without a branch, which gcc would leave in the loop. */
CF_INLINE int32_t pick(bool condition, int32_t a, int32_t b)
{
    return b ^ ((a ^ b) & -(int32_t)condition);
}

/* Byte values in int32_t: r, g, b are replaced by H, S, V, and back. */
CF_INLINE void hsv_of(int32_t *h, int32_t *s, int32_t *v, int32_t r, int32_t g, int32_t b)
{
    int32_t max = r > g ? r : g, min = r < g ? r : g;
    max = max > b ? max : b;
    min = min < b ? min : b;
    int32_t d = max - min, middle = r + g + b - max - min;
    float q = (float)(max - middle) / (float)(d + (d == 0));
    /* Sixths of the circle: red 0, green 2, blue 4; downwards from the next odd one, or upwards
     * from the one before. A tie is resolved in the order R, G, B. */
    int32_t corner = pick(r == max, 0, pick(g == max, 2, 4));
    int32_t lowest = pick(r == max, b, pick(g == max, r, g));
    int32_t down = pick(lowest == min, 1, -1);
    float turn = ((float)(corner + down) - (float)down * q) / 6.0f;
    turn += turn < 0 ? 1.0f : 0.0f;
    *h = pick(d == 0, 0, (int32_t)(turn * 255.0f));
    *s = (int32_t)((float)d / (float)(max + (max == 0)) * 255.0f);
    *v = max;
}

CF_INLINE void rgb_of(int32_t *r, int32_t *g, int32_t *b, int32_t h, int32_t s, int32_t v)
{
    float share = (float)s / 255.0f, sixths = (float)(6 * h) / 255.0f, V = (float)v;
    int32_t i = (int32_t)sixths; /* 0 .. 6; 6 is 0 again, with fraction 0 */
    float fraction = sixths - (float)i;
    int32_t p = (int32_t)(V * (1.0f - share) + 0.5f);
    int32_t q = (int32_t)(V * (1.0f - share * fraction) + 0.5f);
    int32_t t = (int32_t)(V * (1.0f - share * (1.0f - fraction)) + 0.5f);
    i = pick(i == 6, 0, i);
    *r = pick(i == 1, q, pick(i == 4, t, pick((i == 2) | (i == 3), p, v)));
    *g = pick(i == 3, q, pick(i == 0, t, pick(i >= 4, p, v)));
    *b = pick(i == 5, q, pick(i == 2, t, pick(i <= 1, p, v)));
}

void cf_rgb_to_hsv(uint8_t *planes, size_t n)
{
    for (size_t i = 0; i < n; i++, planes++) {
        int32_t h, s, v;
        hsv_of(&h, &s, &v, planes[0], planes[n], planes[2 * n]);
        planes[0] = (uint8_t)h, planes[n] = (uint8_t)s, planes[2 * n] = (uint8_t)v;
    }
}

void cf_hsv_to_rgb(uint8_t *planes, size_t n)
{
    for (size_t i = 0; i < n; i++, planes++) {
        int32_t r, g, b;
        rgb_of(&r, &g, &b, planes[0], planes[n], planes[2 * n]);
        planes[0] = (uint8_t)r, planes[n] = (uint8_t)g, planes[2 * n] = (uint8_t)b;
    }
}

CF_KERNEL static void turn_hue(uint8_t *restrict r, uint8_t *restrict g, uint8_t *restrict b,
                               size_t n, int32_t shift)
{
    for (size_t i = 0; i < n; i++) {
        int32_t h, s, v, red, green, blue;
        hsv_of(&h, &s, &v, r[i], g[i], b[i]);
        rgb_of(&red, &green, &blue, (h + shift) & 255, s, v);
        r[i] = (uint8_t)red, g[i] = (uint8_t)green, b[i] = (uint8_t)blue;
    }
}

void cf_color_hue(uint8_t *planes, size_t n, float hue)
{
    int32_t shift = (int32_t)((double)hue * 255.0); /* toward zero */
    turn_hue(planes, planes + n, planes + 2 * n, n, shift);
}

/* ---- jitter ---------------------------------------------------------------------------------- */

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

void cf_jitter_apply(uint8_t *planes, size_t n, const cf_jitter *j)
{
    static void (*const apply[3])(
        uint8_t *, size_t, float) = { cf_color_brightness, cf_color_contrast, cf_color_saturation };
    for (int i = 0; i < 4; i++) {
        if (j->order[i] < 3)
            apply[j->order[i]](planes, n, j->factor[j->order[i]]);
        else
            cf_color_hue(planes, n, j->hue);
    }
}
