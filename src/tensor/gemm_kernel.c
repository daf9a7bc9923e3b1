/* The innermost part of our own matrix product, and what it works on: see gemm_kernel.h. MR x NR
 * sums stay in registers, 14 x 2 vectors of 16 floats; a step takes 14 broadcasts and 2 vectors for
 * 28 multiply-adds, so both panels may stream from the second cache. */
#include "tensor/gemm_kernel.h"

#if CF_GEMM_KERNEL

#include <immintrin.h>
#include <string.h>

#include "tensor/kernel.h"

enum { MR = CF_GEMM_MR, NR = CF_GEMM_NR };

#define AVX512 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma")))
#define AVX512_INLINE AVX512 static inline __attribute__((always_inline))

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

bool cf_gemm_kernel_here(void) { return CF_CPU_IS_V4; }

/* ---- sums ------------------------------------------------------------------------------------ */

/* C on its way to the first cache: some steps before the sums are whole, since what comes earlier
 * is driven out again by the panels. */
enum { FETCH_STEPS = 64 };

AVX512_INLINE void fetch(const cf_gemm_target *t)
{
#pragma GCC unroll 14
    for (int i = 0; i < MR; i++) {
        const char *c = (const char *)(t->c + (size_t)i * t->ldc);
        _mm_prefetch(c, _MM_HINT_T0);
        _mm_prefetch(c + 64, _MM_HINT_T0);
    }
    for (size_t i = 0; t->slope && i < MR; i++) {
        const char *x = (const char *)(t->slope + i * t->ld_add);
        _mm_prefetch(x, _MM_HINT_T0);
        _mm_prefetch(x + 64, _MM_HINT_T0);
    }
}

AVX512_INLINE void clear(__m512 s[MR][2])
{
#pragma GCC unroll 14
    for (int i = 0; i < MR; i++) s[i][0] = s[i][1] = _mm512_setzero_ps();
}

/* Step p takes MR floats at a + p * a_step and NR at b + p * b_step. */
AVX512_INLINE void sum_panels(__m512 s[MR][2], size_t k, const float *restrict a, size_t a_step,
                              const float *restrict b, size_t b_step, const cf_gemm_target *t,
                              bool fetching)
{
    size_t fetch_at = k > FETCH_STEPS ? k - FETCH_STEPS : 0;
    const float *ahead = t->ahead;
    clear(s);
    for (size_t p = 0; p < k; p++, a += a_step, b += b_step) {
        _mm_prefetch((const char *)ahead, _MM_HINT_T1);
        ahead += t->ahead_step;
        __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + 16);
        if (fetching && p == fetch_at) fetch(t);
#pragma GCC unroll 14
        for (int i = 0; i < MR; i++) {
            __m512 ai = _mm512_set1_ps(a[i]);
            s[i][0] = _mm512_fmadd_ps(ai, b0, s[i][0]);
            s[i][1] = _mm512_fmadd_ps(ai, b1, s[i][1]);
        }
    }
}

/* The same of MR rows of A lda apart. Every third row has a pointer, the other two are reached from
 * it by lda and 2 lda: fourteen pointers are more than there are registers. */
AVX512_INLINE void sum_rows(__m512 s[MR][2], size_t k, const float *restrict a, size_t lda,
                            const float *restrict b, size_t b_step, const cf_gemm_target *t,
                            bool fetching)
{
    enum { GROUPS = (MR + 2) / 3 };
    const float *group[GROUPS];
    size_t fetch_at = k > FETCH_STEPS ? k - FETCH_STEPS : 0;
    clear(s);
#pragma GCC unroll 5
    for (int g = 0; g < GROUPS; g++) group[g] = a + 3 * (size_t)g * lda;
    const float *ahead = t->ahead;
    for (size_t p = 0; p < k; p++, b += b_step) {
        _mm_prefetch((const char *)ahead, _MM_HINT_T1);
        ahead += t->ahead_step;
        __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + 16);
        if (fetching && p == fetch_at) fetch(t);
#pragma GCC unroll 14
        for (int i = 0; i < MR; i++) {
            __m512 ai = _mm512_set1_ps(group[i / 3][(size_t)(i % 3) * lda]);
            s[i][0] = _mm512_fmadd_ps(ai, b0, s[i][0]);
            s[i][1] = _mm512_fmadd_ps(ai, b1, s[i][1]);
        }
#pragma GCC unroll 5
        for (int g = 0; g < GROUPS; g++) group[g]++;
    }
}

/* ---- QuickGELU ------------------------------------------------------------------------------- */

/* 1 / (1 + exp(-1.702 x)) to 2 ulp: cf_fast_exp's polynomial; the quotient is an estimate of 14
 * bits and one step of Newton's, twice as fast as a division. */
AVX512 static inline __m512 sigmoid_1702(__m512 x)
{
    static const float term[] = { 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                  4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f };
    x = _mm512_mul_ps(x, _mm512_set1_ps(-1.702f));
    x = _mm512_min_ps(_mm512_set1_ps(87), _mm512_max_ps(_mm512_set1_ps(-87), x));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896341f)), 0);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(term[0]);
#pragma GCC unroll 5
    for (int i = 1; i < 6; i++) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(term[i]));
    p = _mm512_fmadd_ps(_mm512_mul_ps(p, r), r, _mm512_add_ps(r, _mm512_set1_ps(1)));
    __m512 d = _mm512_add_ps(_mm512_scalef_ps(p, n), _mm512_set1_ps(1));
    __m512 q = _mm512_rcp14_ps(d);
    return _mm512_mul_ps(q, _mm512_fnmadd_ps(d, q, _mm512_set1_ps(2)));
}

/* s + 1.702 x s (1 - s), s = sigmoid(1.702 x). */
AVX512_INLINE __m512 slope_at(__m512 x)
{
    __m512 s = sigmoid_1702(x);
    x = _mm512_mul_ps(x, _mm512_set1_ps(1.702f));
    return _mm512_fmadd_ps(x, _mm512_fnmadd_ps(s, s, s), s);
}

/* ---- to memory ------------------------------------------------------------------------------- */

/* 16 x 16 floats, row i of `from` to column i of `to`. */
AVX512 static void transpose16(float *to, size_t ld_to, const float *from, size_t ld_from,
                               size_t rows, __mmask16 columns)
{
    __m512 r[16], t[16];
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i++)
        r[i] = i < rows ? _mm512_maskz_loadu_ps(columns, from + i * ld_from) : _mm512_setzero_ps();
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const __m512d a = _mm512_castps_pd(t[4 * i]), b = _mm512_castps_pd(t[4 * i + 1]);
        const __m512d c = _mm512_castps_pd(t[4 * i + 2]), d = _mm512_castps_pd(t[4 * i + 3]);
        r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    /* r[4 q + j], lane l: columns 4 l + j of rows 4 q .. 4 q + 3 */
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        __m512 x = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x44);
        __m512 y = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x44);
        __m512 z = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xee);
        __m512 w = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xee);
        t[j] = _mm512_shuffle_f32x4(x, y, 0x88);
        t[4 + j] = _mm512_shuffle_f32x4(x, y, 0xdd);
        t[8 + j] = _mm512_shuffle_f32x4(z, w, 0x88);
        t[12 + j] = _mm512_shuffle_f32x4(z, w, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) _mm512_storeu_ps(to + (size_t)i * ld_to, t[i]);
}

AVX512_INLINE void store_part(float *c, __m512 sum, __mmask16 mask, const cf_gemm_target *t,
                              const float *bias, const float *add, const float *slope)
{
    sum = _mm512_mul_ps(sum, _mm512_set1_ps(t->alpha));
    if (t->beta != 0)
        sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, c), _mm512_set1_ps(t->beta), sum);
    if (bias) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, bias));
    if (add) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, add));
    if (slope) sum = _mm512_mul_ps(sum, slope_at(_mm512_maskz_loadu_ps(mask, slope)));
    _mm512_mask_storeu_ps(c, mask, sum);
}

AVX512_INLINE void store_sums(__m512 s[MR][2], const cf_gemm_target *t)
{
    unsigned bits = t->columns >= NR ? 0xffffffffu : (1u << t->columns) - 1;
    __mmask16 m0 = (__mmask16)(bits & 0xffff), m1 = (__mmask16)(bits >> 16);
    const float *bias = t->bias;
    size_t from = t->add ? t->add_row % t->add_rows : 0;
#pragma GCC unroll 14
    for (int i = 0; i < MR; i++) {
        if ((size_t)i >= t->rows) break;
        float *c = t->c + (size_t)i * t->ldc;
        const float *add = t->add ? t->add + from * t->ld_add : NULL;
        store_part(c, s[i][0], m0, t, bias, add, NULL);
        if (m1)
            store_part(c + 16, s[i][1], m1, t, bias ? bias + 16 : NULL, add ? add + 16 : NULL,
                       NULL);
        if (add && ++from == t->add_rows) from = 0;
    }
}

/* Column j of the sums to row j of C; bias and add are those of C's rows and columns. */
AVX512 static void store_turned(const float sums[MR * NR], const cf_gemm_target *t)
{
    const __mmask16 there = (__mmask16)((1u << t->rows) - 1);
    float turned[16 * 16];
    for (size_t j = 0; j < t->columns; j++) {
        if (j % 16 == 0) transpose16(turned, 16, sums + j, NR, MR, 0xffff);
        const float *add = t->add ? t->add + (t->add_row + j) % t->add_rows * t->ld_add : NULL;
        store_part(t->c + j * t->ldc, _mm512_loadu_ps(turned + 16 * (j % 16)), there, t, t->bias,
                   add, t->slope ? t->slope + j * t->ld_add : NULL);
    }
}

/* The slope needs registers that the sums are in. */
AVX512 static void store_sloped(const float sums[MR * NR], const cf_gemm_target *t)
{
    for (size_t j = 0; j < t->columns; j += 16) {
        const __mmask16 there = (__mmask16)((1u << smaller(t->columns - j, 16)) - 1);
#pragma GCC unroll 2
        for (size_t i = 0; i < t->rows; i++) {
            const float *add =
                t->add ? t->add + (t->add_row + i) % t->add_rows * t->ld_add + j : NULL;
            store_part(t->c + i * t->ldc + j, _mm512_loadu_ps(sums + i * NR + j), there, t,
                       t->bias ? t->bias + j : NULL, add, t->slope + i * t->ld_add + j);
        }
    }
}

AVX512_INLINE void keep(float sums[MR * NR], __m512 s[MR][2])
{
#pragma GCC unroll 14
    for (int i = 0; i < MR; i++) {
        _mm512_storeu_ps(sums + i * NR, s[i][0]);
        _mm512_storeu_ps(sums + i * NR + 16, s[i][1]);
    }
}

AVX512_INLINE void store(__m512 s[MR][2], const cf_gemm_target *t)
{
    float sums[MR * NR];
    if (!t->slope) {
        store_sums(s, t);
        return;
    }
    keep(sums, s);
    store_sloped(sums, t);
}

/* ---- kernels --------------------------------------------------------------------------------- */

AVX512 void cf_gemm_panels(size_t k, const float *a, size_t a_step, const float *b, size_t b_step,
                           const cf_gemm_target *t)
{
    __m512 s[MR][2];
    sum_panels(s, k, a, a_step, b, b_step, t, true);
    store(s, t);
}

AVX512 void cf_gemm_rows(size_t k, const float *a, size_t lda, const float *b, size_t b_step,
                         const cf_gemm_target *t)
{
    __m512 s[MR][2];
    sum_rows(s, k, a, lda, b, b_step, t, true);
    store(s, t);
}

AVX512 void cf_gemm_panels_turned(size_t k, const float *a, size_t a_step, const float *b,
                                  size_t b_step, const cf_gemm_target *t)
{
    __m512 s[MR][2];
    float sums[MR * NR];
    sum_panels(s, k, a, a_step, b, b_step, t, false);
    keep(sums, s);
    store_turned(sums, t);
}

AVX512 void cf_gemm_rows_turned(size_t k, const float *a, size_t lda, const float *b, size_t b_step,
                                const cf_gemm_target *t)
{
    __m512 s[MR][2];
    float sums[MR * NR];
    sum_rows(s, k, a, lda, b, b_step, t, false);
    keep(sums, s);
    store_turned(sums, t);
}

/* ---- packing --------------------------------------------------------------------------------- */

AVX512 void cf_gemm_turn_panel(float *to, size_t width, const float *from, size_t ld, size_t lines,
                               size_t k)
{
    for (size_t line = 0; line < width; line += 16) {
        size_t rows = lines > line ? smaller(lines - line, 16) : 0;
        for (size_t p = 0; p < k; p += 16) {
            __mmask16 columns = (__mmask16)((1u << smaller(k - p, 16)) - 1);
            for (size_t i = 0; i < rows; i++) /* two lines on: more rows than prefetchers follow */
                _mm_prefetch((const char *)(from + (line + i) * ld + p + 32), _MM_HINT_T0);
            if (k - p >= 16) {
                transpose16(to + p * width + line, width, from + line * ld + p, ld, rows, columns);
                continue;
            }
            float turned[16 * 16];
            transpose16(turned, 16, from + line * ld + p, ld, rows, columns);
            for (size_t j = 0; j < k - p; j++)
                memcpy(to + (p + j) * width + line, turned + 16 * j,
                       smaller(width - line, 16) * sizeof *to);
        }
    }
}

/* A few rows pass at a time, so that they are read as they lie. */
AVX512 void cf_gemm_copy_panels(float *to, size_t stride, size_t width, const float *from,
                                size_t ld, size_t lines, size_t k)
{
    enum { ROWS = 8 };
    for (size_t start = 0; start < k; start += ROWS) {
        size_t end = smaller(k, start + ROWS);
        float *panel = to;
        for (size_t line = 0; line < lines; line += width, panel += stride) {
            size_t n = smaller(width, lines - line), n1 = n > 16 ? n - 16 : 0;
            __mmask16 there0 = (__mmask16)((1u << smaller(n, 16)) - 1);
            __mmask16 there1 = (__mmask16)((1u << n1) - 1);
            __mmask16 room = (__mmask16)((1u << smaller(width, 16)) - 1);
            for (size_t p = start; p < end; p++) {
                const float *x = from + p * ld + line;
                _mm_prefetch((const char *)(x + ROWS * ld), _MM_HINT_T0); /* of the next pass */
                if (width > 16) _mm_prefetch((const char *)(x + ROWS * ld + 16), _MM_HINT_T0);
                _mm512_mask_storeu_ps(panel + p * width, room, _mm512_maskz_loadu_ps(there0, x));
                if (width > 16)
                    _mm512_storeu_ps(panel + p * width + 16, _mm512_maskz_loadu_ps(there1, x + 16));
            }
        }
    }
}

/* ---- on the way ------------------------------------------------------------------------------ */

AVX512 void cf_gemm_gelu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_loadu_ps(x + i);
        _mm512_storeu_ps(x + i, _mm512_mul_ps(v, sigmoid_1702(v)));
    }
}

#else

bool cf_gemm_kernel_here(void) { return false; }

#endif
