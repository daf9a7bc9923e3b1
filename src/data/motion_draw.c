/* Drawing for the motion dataset: backgrounds, sprites, noise.
 *
 * A sprite's opacity comes from the picture's own brightness (black is background), a soft step so
 * that edges blend. Each picture is brought to about the same mean brightness: Fashion-MNIST's
 * darkest shirts would vanish otherwise. Sampling is bilinear at 2 x 2 points a pixel, enough for
 * shrinking to a third. A background is a muted colour, two octaves of value noise, and stripes;
 * noise is drawn from a table made once, because half a billion normal numbers would cost more than
 * everything else. */
#include "motion_parts.h"

#include <math.h>
#include <string.h>

enum { NOISE_STARTS = 1 << 18, CELLS_COARSE = 4, CELLS_FINE = 9 };
#define TWO_PI 6.28318530717958647692

double motion_uniform(cf_rng *r, double lo, double hi)
{
    return lo + (hi - lo) * cf_rng_uniform(r);
}

void motion_sprite_make(motion_sprite *out, const uint8_t *pixels)
{
    const float black = 6.0f, solid = 70.0f, mean_wanted = 0.68f;
    float sum = 0, weight = 0;
    memset(out, 0, sizeof *out);
    for (int y = 0; y < MOTION_EDGE; y++)
        for (int x = 0; x < MOTION_EDGE; x++) {
            float g = pixels[y * MOTION_EDGE + x];
            float a = fminf(fmaxf((g - black) / (solid - black), 0.0f), 1.0f);
            a *= a * (3.0f - 2.0f * a);
            out->alpha[y + MOTION_PAD][x + MOTION_PAD] = a;
            sum += a * g / 255.0f;
            weight += a;
        }
    float gain = fminf(fmaxf(mean_wanted * weight / fmaxf(sum, 1e-6f), 0.8f), 2.4f);
    for (int y = 0; y < MOTION_EDGE; y++)
        for (int x = 0; x < MOTION_EDGE; x++) {
            float v = fminf(gain * (float)pixels[y * MOTION_EDGE + x] / 255.0f, 1.0f);
            out->value[y + MOTION_PAD][x + MOTION_PAD] =
                v * out->alpha[y + MOTION_PAD][x + MOTION_PAD];
        }
}

/* One octave of value noise added to `out` [size, size]: a grid of normal numbers, smoothly
 * interpolated. */
static void add_octave(float *out, size_t size, int cells, float amplitude, cf_rng *r)
{
    float grid[CELLS_FINE + 1][CELLS_FINE + 1];
    for (int i = 0; i <= cells; i++)
        for (int j = 0; j <= cells; j++)
            grid[i][j] = amplitude * (2.0f * cf_rng_uniform_f32(r) - 1.0f);
    for (size_t y = 0; y < size; y++) {
        float gy = (float)y * (float)cells / (float)size;
        int i = (int)gy;
        float fy = gy - (float)i;
        fy *= fy * (3.0f - 2.0f * fy);
        for (size_t x = 0; x < size; x++) {
            float gx = (float)x * (float)cells / (float)size;
            int j = (int)gx;
            float fx = gx - (float)j;
            fx *= fx * (3.0f - 2.0f * fx);
            float top = grid[i][j] + fx * (grid[i][j + 1] - grid[i][j]);
            float low = grid[i + 1][j] + fx * (grid[i + 1][j + 1] - grid[i + 1][j]);
            out[y * size + x] += top + fy * (low - top);
        }
    }
}

void motion_background(float *canvas, size_t size, double texture, cf_rng *r)
{
    /* The pattern is built in the canvas's last third and read before it is written over. */
    float *pattern = canvas + 2 * size * size;
    double light = motion_uniform(r, 0.10, 0.34), angle = motion_uniform(r, 0, TWO_PI);
    double wave = TWO_PI / ((double)size * motion_uniform(r, 0.12, 0.4));
    float phase = (float)motion_uniform(r, 0, TWO_PI), stripes = (float)motion_uniform(r, 0, 0.5);
    float kx = (float)(wave * cos(angle)), ky = (float)(wave * sin(angle)), base[3], share[3];
    for (int c = 0; c < 3; c++) {
        base[c] = (float)(light * motion_uniform(r, 0.6, 1.4));
        share[c] = (float)(texture * motion_uniform(r, 0.6, 1.2));
    }
    memset(pattern, 0, size * size * sizeof *pattern);
    add_octave(pattern, size, CELLS_COARSE, 0.7f, r);
    add_octave(pattern, size, CELLS_FINE, 0.5f, r);
    for (size_t y = 0; y < size; y++)
        for (size_t x = 0; x < size; x++) {
            float p = pattern[y * size + x] + stripes * sinf(kx * (float)x + ky * (float)y + phase);
            for (int c = 0; c < 3; c++)
                canvas[3 * (y * size + x) + (size_t)c] = base[c] + share[c] * p;
        }
}

/* Adds value and opacity at (u, v) of the sprite, bilinear; outside is nothing. */
static void sample(float sum[2], const motion_sprite *s, float u, float v)
{
    if (!(u >= 0 && v >= 0 && u < MOTION_SPRITE - 1 && v < MOTION_SPRITE - 1)) return;
    int i = (int)v, j = (int)u;
    float fx = u - (float)j, fy = v - (float)i;
    float a = (1 - fx) * (1 - fy), b = fx * (1 - fy), c = (1 - fx) * fy, d = fx * fy;
    sum[0] += a * s->value[i][j] + b * s->value[i][j + 1] + c * s->value[i + 1][j] +
              d * s->value[i + 1][j + 1];
    sum[1] += a * s->alpha[i][j] + b * s->alpha[i][j + 1] + c * s->alpha[i + 1][j] +
              d * s->alpha[i + 1][j + 1];
}

void motion_composite(float *canvas, size_t size, const motion_sprite *s, const motion_pose *pose,
                      double opacity, const float rgb[3])
{
    double zoom = MOTION_EDGE / pose->edge, co = cos(pose->angle) * zoom,
           si = sin(pose->angle) * zoom;
    double centre = MOTION_SPRITE / 2.0 - 0.5, reach = 0.71 * pose->edge + 1;
    long top = lround(fmax(pose->y - reach, 0)), left = lround(fmax(pose->x - reach, 0));
    long bottom = lround(fmin(pose->y + reach, (double)size)),
         right = lround(fmin(pose->x + reach, (double)size));
    for (long y = top; y < bottom; y++)
        for (long x = left; x < right; x++) {
            float sum[2] = { 0, 0 };
            for (int k = 0; k < 4; k++) { /* pixel x covers x .. x + 1 */
                double dx = (double)x + 0.25 + 0.5 * (k & 1) - pose->x;
                double dy = (double)y + 0.25 + 0.5 * (k >> 1) - pose->y;
                sample(sum, s, (float)(co * dx + si * dy + centre),
                       (float)(co * dy - si * dx + centre));
            }
            if (sum[1] == 0) continue;
            float *p = canvas + 3 * ((size_t)y * size + (size_t)x);
            float keep = 1 - (float)opacity * 0.25f * sum[1], add = (float)opacity * 0.25f * sum[0];
            for (int c = 0; c < 3; c++) p[c] = p[c] * keep + add * rgb[c];
        }
}

cf_status motion_noise_make(motion_noise *out, uint64_t seed, size_t size)
{
    size_t frame = 3 * size * size, n = frame + NOISE_STARTS;
    float *values = NULL;
    CF_TRY(cf_alloc(&values, n, sizeof *values));
    cf_rng r = cf_rng_make(seed, CF_RNG_MOTION, UINT32_MAX, 0);
    for (size_t i = 0; i < n; i++) values[i] = (float)cf_rng_normal(&r);
    *out = (motion_noise){ .values = values, .n = n, .frame = frame };
    return CF_OK;
}

void motion_finish(uint8_t *out, const float *canvas, const motion_noise *noise, double sd,
                   cf_rng *r)
{
    const float *z = noise->values + cf_rng_below(r, NOISE_STARTS);
    const float amplitude = (float)(255 * sd);
#pragma omp simd
    for (size_t i = 0; i < noise->frame; i++) {
        float v = 255.0f * canvas[i] + amplitude * z[i] + 0.5f;
        v = v < 0.0f ? 0.0f : v > 255.0f ? 255.0f : v;
        out[i] = (uint8_t)(int)v;
    }
}
