/* Label smoothing, mixup and cutmix of one micro-batch (spec/data-and-recipe.md 6.2, 6.3).
 *
 * One choice, one lambda and one permutation serve the whole micro-batch. Mixing is in place: a
 * block of the same elements of all clips is copied aside, then every clip takes from that copy, so
 * the source is always the unmixed clip and the scratch stays small enough for the cache.
 * CUTMIX 0 leaves mixup alone (the original fails there); MIXUP 0 switches both off (Q13), which is
 * the caller's to see. Floats as in the original: lambda in single precision, the box's share in
 * double. */
#include "batch.h"

#include <math.h>
#include <string.h>

#define BLOCK 1024u

cf_status cf_mix_scratch(size_t *out, size_t n, size_t size)
{
    return cf_mul_size(out, n, size > BLOCK ? size : BLOCK);
}

void cf_mix_targets(float *target, const int32_t *column, size_t n, size_t n_columns, double smooth)
{
    double off = smooth / (double)n_columns, on = 1 - smooth + off;
    for (size_t b = 0; b < n; b++, target += n_columns) {
        for (size_t k = 0; k < n_columns; k++) target[k] = (float)off;
        target[column[b]] = (float)on;
    }
}

static size_t clamped(int64_t v, size_t size)
{
    return v < 0 ? 0 : v > (int64_t)size ? size : (size_t)v;
}

void cf_mix_box(cf_mix *m, float lambda, size_t size, size_t cx, size_t cy)
{
    int64_t half = (int64_t)((float)size * sqrtf(1.0f - lambda)) / 2;
    m->x1 = clamped((int64_t)cx - half, size);
    m->x2 = clamped((int64_t)cx + half, size);
    m->y1 = clamped((int64_t)cy - half, size);
    m->y2 = clamped((int64_t)cy + half, size);
    double area = (double)((m->x2 - m->x1) * (m->y2 - m->y1));
    m->lambda = (float)(1 - area / ((double)size * (double)size));
}

void cf_mix_draw(cf_mix *m, int64_t *partner, size_t n, size_t size, const cf_mix_options *o,
                 cf_rng *rng)
{
    CF_ASSERT(o->mixup > 0);
    double u = cf_rng_uniform(rng);
    *m = (cf_mix){ .cutmix = o->cutmix > 0 && u < o->switch_probability, .partner = partner };
    double alpha = m->cutmix ? o->cutmix : o->mixup;
    m->lambda = (float)cf_rng_beta(rng, alpha, alpha);
    for (size_t b = 0; b < n; b++) partner[b] = (int64_t)b;
    cf_rng_shuffle(rng, partner, n);
    if (!m->cutmix) return;
    size_t cx = cf_rng_below(rng, (uint32_t)size), cy = cf_rng_below(rng, (uint32_t)size);
    cf_mix_box(m, m->lambda, size, cx, cy);
}

bool cf_mix_batch(cf_mix *m, int64_t *partner, size_t n, const cf_loader_options *o, uint32_t epoch,
                  size_t k)
{
    if (!o->training || o->mixup <= 0 || n < 2) return false; /* a clip with itself is itself */
    const cf_mix_options mix = { o->label_smooth, o->mixup, o->cutmix, o->mix_switch };
    cf_rng rng = cf_rng_make(o->seed, CF_RNG_MIX, epoch, k);
    cf_mix_draw(m, partner, n, o->augment.size, &mix, &rng);
    return true;
}

/* Elements [at, at + count) of each of n rows of `stride` floats: row b becomes
 * lambda * row b + (1 - lambda) * row partner[b], both as they were. lambda 0: a plain copy. */
static void blend_block(float *rows, size_t n, size_t stride, size_t at, size_t count, float lambda,
                        const int64_t *partner, float *restrict scratch)
{
    float rest = 1.0f - lambda;
    for (size_t b = 0; b < n; b++)
        memcpy(scratch + b * count, rows + b * stride + at, count * sizeof *rows);
    for (size_t b = 0; b < n; b++) {
        const float *own = scratch + b * count, *other = scratch + (size_t)partner[b] * count;
        float *restrict out = rows + b * stride + at;
        if (lambda == 0) {
            memcpy(out, other, count * sizeof *out);
            continue;
        }
#pragma omp simd
        for (size_t i = 0; i < count; i++) out[i] = lambda * own[i] + rest * other[i];
    }
}

static void blend_rows(float *rows, size_t n, size_t stride, const cf_mix *m, float *scratch)
{
    for (size_t at = 0; at < stride; at += BLOCK) {
        size_t count = stride - at < BLOCK ? stride - at : BLOCK;
        blend_block(rows, n, stride, at, count, m->lambda, m->partner, scratch);
    }
}

void cf_mix_rows(float *target, size_t n, size_t n_columns, const cf_mix *m, float *scratch)
{
    blend_rows(target, n, n_columns, m, scratch);
}

void cf_mix_video(float *video, size_t n, size_t planes, size_t size, const cf_mix *m,
                  float *scratch)
{
    size_t stride = planes * size * size;
    if (!m->cutmix) {
        blend_rows(video, n, stride, m, scratch);
        return;
    }
    for (size_t plane = 0; plane < planes; plane++)
        for (size_t y = m->y1; y < m->y2; y++)
            blend_block(video, n, stride, (plane * size + y) * size + m->x1, m->x2 - m->x1, 0,
                        m->partner, scratch);
}
