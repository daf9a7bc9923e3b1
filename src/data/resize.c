/* Bilinear resize of 8-bit pictures, the integers of OpenCV's INTER_LINEAR (spec 4.2, 4.3).
 *
 * Two samples per axis, weights in 1/2048. A source row is resized horizontally once and kept as
 * 16-bit values (the sum >> 4), two rows at a time; an output row is their weighted sum with the
 * two truncations of the original. Exactly half size in both axes is the mean of 2 x 2 pixels.
 * Horizontally the fraction is cleared at the borders, vertically only the row numbers are
 * clamped. Each 16-bit row has room for one value more: pixels are written as four. */
#include "transform.h"

#include "support/kernel.h"

#include <float.h>
#include <math.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define ONE 2048.0f

cf_status cf_resize_reserve(cf_resize_scratch *s, size_t width)
{
    if (width <= s->capacity) return CF_OK;
    size_t n;
    CF_TRY(cf_mul_size(&n, width, 6));
    CF_TRY(cf_realloc(&s->table, n, sizeof *s->table));
    CF_TRY(cf_realloc(&s->rows, n + 2, sizeof *s->rows));
    s->capacity = width;
    return CF_OK;
}

void cf_resize_fini(cf_resize_scratch *s)
{
    cf_free(s->table);
    cf_free(s->rows);
    *s = (cf_resize_scratch){ 0 };
}

size_t cf_resize_side(size_t size) { return (size_t)(256.0 / 224.0 * (double)size); }

void cf_resize_short_side(size_t *width, size_t *height, size_t side)
{
    size_t w = *width, h = *height;
    double f = (double)side / (double)(w < h ? w : h);
    *width = (size_t)((double)w * f + 0.5);
    *height = (size_t)((double)h * f + 0.5);
}

/* The sample left of (above) position `at` and the fraction beyond it. */
static int32_t split(float *fraction, size_t at, double scale)
{
    float f = (float)(((double)at + 0.5) * scale - 0.5);
    int32_t whole = (int32_t)floorf(f);
    *fraction = f - (float)whole;
    return whole;
}

static void weights(int32_t out[2], float fraction)
{
    out[0] = (int32_t)lrintf((1.0f - fraction) * ONE);
    out[1] = (int32_t)lrintf(fraction * ONE);
}

static void build_columns(int32_t *table, cf_rect window, size_t source_width, double scale)
{
    for (size_t i = 0; i < window.width; i++, table += 4) {
        float f;
        int32_t x = split(&f, window.x + i, scale), last = (int32_t)source_width - 1;
        if (x < 0) x = 0, f = 0;
        if (x >= last) x = last, f = 0;
        table[0] = 3 * x;
        table[1] = 3 * (x < last ? x + 1 : last); /* its weight is 0 at the border */
        weights(table + 2, f);
    }
}

static void resize_pixel(int16_t *out, const uint8_t *in, const int32_t *column)
{
    const uint8_t *a = in + column[0], *b = in + column[1];
    for (int c = 0; c < 3; c++) out[c] = (int16_t)((column[2] * a[c] + column[3] * b[c]) >> 4);
}

#ifdef __SSE2__
/* The three sums of a pixel at once: bytes of both samples in turn, widened, times the weights in
 * turn. Reads and writes one value too many; the next pixel puts it right. */
static void resize_pixel_sse2(int16_t *out, const uint8_t *in, const int32_t *column)
{
    int32_t a, b;
    memcpy(&a, in + column[0], sizeof a);
    memcpy(&b, in + column[1], sizeof b);
    __m128i bytes = _mm_unpacklo_epi8(_mm_cvtsi32_si128(a), _mm_cvtsi32_si128(b));
    __m128i values = _mm_unpacklo_epi8(bytes, _mm_setzero_si128());
    __m128i sums = _mm_madd_epi16(values, _mm_set1_epi32(column[2] | column[3] << 16));
    sums = _mm_srli_epi32(sums, 4);
    _mm_storel_epi64((__m128i *)(void *)out, _mm_packs_epi32(sums, sums));
}
#endif

/* safe: that many columns from the left may read a byte beyond their samples. */
static void resize_row(int16_t *out, const uint8_t *in, const int32_t *table, size_t n, size_t safe)
{
    size_t i = 0;
#ifdef __SSE2__
    for (; i < safe; i++) resize_pixel_sse2(out + 3 * i, in, table + 4 * i);
#endif
    for (; i < n; i++) resize_pixel(out + 3 * i, in, table + 4 * i);
    (void)safe;
}

static void copy_window(uint8_t *out, cf_view in, cf_rect w)
{
    for (size_t y = 0; y < w.height; y++)
        memcpy(out + y * w.width * 3, in.pixels + (w.y + y) * in.stride + w.x * 3, w.width * 3);
}

static void halve(uint8_t *out, cf_view in, cf_rect w)
{
    for (size_t y = 0; y < w.height; y++) {
        const uint8_t *a = in.pixels + 2 * (w.y + y) * in.stride + 6 * w.x, *b = a + in.stride;
        for (size_t x = 0; x < w.width; x++, a += 6, b += 6)
            for (int c = 0; c < 3; c++)
                *out++ = (uint8_t)((a[c] + a[c + 3] + b[c] + b[c + 3] + 2) >> 2);
    }
}

CF_KERNEL static void blend_rows(uint8_t *restrict out, const int16_t *restrict a,
                                 const int16_t *restrict b, const int32_t weight[2], size_t n)
{
    int16_t wa = (int16_t)weight[0], wb = (int16_t)weight[1];
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        int16_t upper = (int16_t)((wa * a[i]) >> 16), lower = (int16_t)((wb * b[i]) >> 16);
        out[i] = (uint8_t)((upper + lower + 2) >> 2);
    }
}

static int32_t clamp(int32_t v, int32_t last) { return v < 0 ? 0 : v > last ? last : v; }

void cf_resize(uint8_t *out, cf_view in, size_t width, size_t height, cf_rect window,
               cf_resize_scratch *s)
{
    CF_ASSERT(window.x + window.width <= width && window.y + window.height <= height);
    if (width == in.width && height == in.height) {
        copy_window(out, in, window);
        return;
    }
    double scale_x = 1.0 / ((double)width / (double)in.width);
    double scale_y = 1.0 / ((double)height / (double)in.height);
    if (fabs(scale_x - 2) <= DBL_EPSILON && fabs(scale_y - 2) <= DBL_EPSILON) {
        halve(out, in, window);
        return;
    }
    CF_ASSERT(window.width <= s->capacity);
    build_columns(s->table, window, in.width, scale_x);
    size_t safe = 0; /* columns that do not touch the last pixel of a source row */
    while (safe < window.width && s->table[4 * safe + 1] < 3 * ((int32_t)in.width - 1)) safe++;
    int16_t *row[2] = { s->rows, s->rows + 3 * window.width + 1 };
    int32_t held[2] = { -1, -1 }, last = (int32_t)in.height - 1;
    for (size_t y = 0; y < window.height; y++, out += 3 * window.width) {
        float f;
        int32_t weight[2], at = split(&f, window.y + y, scale_y);
        int32_t need[2] = { clamp(at, last), clamp(at + 1, last) };
        weights(weight, f);
        if (held[0] != need[0] && held[1] == need[0]) { /* moved down one row */
            int16_t *r = row[0];
            row[0] = row[1], row[1] = r;
            held[1] = held[0], held[0] = need[0];
        }
        for (int k = 0; k < 2; k++) {
            if (held[k] == need[k]) continue;
            resize_row(row[k], in.pixels + (size_t)need[k] * in.stride, s->table, window.width,
                       safe);
            held[k] = need[k];
        }
        blend_rows(out, row[0], row[1], weight, 3 * window.width);
    }
}
