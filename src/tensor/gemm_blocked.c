/* Matrix products in blocks that fit the caches (Goto & van de Geijn 2008, "Anatomy of
 * high-performance matrix multiplication"; van Zee & van de Geijn 2015, BLIS).
 *
 * For each block of KC products and NC columns, op(B) is packed into panels of NR columns, op(A)
 * into panels of MR rows, by all threads together; then tiles of MC rows by some panels are worked
 * off by whoever is free. The innermost kernel keeps MR x NR sums in registers: 14 x 2 vectors of
 * 16 floats, so a panel of B (KC x NR, 48 KB) stays in the first cache while panels of A stream
 * from the second. Edges are packed with zeros and stored under masks.
 *
 * Why it is here: OpenBLAS chooses its kernels by CPU name, and one it does not know gets those of
 * 2013, half of what AVX-512 gives; its threads also start and join for every block. Other CPUs and
 * double use OpenBLAS. Packing memory comes from a small set of buffers that is kept. */
#include "tensor/gemm_blocked.h"

#if defined(__x86_64__) && defined(__GNUC__) && !CF_REAL_IS_DOUBLE

#include <immintrin.h>
#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "tensor/kernel.h"

enum { MR = 14, NR = 32, KC = 384, MC = 12 * MR, NC = 96 * NR, MC_ALL = 16 * MC };
enum { TILE_PANELS = 8 }; /* panels of B of one tile */

#define AVX512 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma")))

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static size_t up(size_t n, size_t step) { return (n + step - 1) / step * step; }

/* ---- the kernel ------------------------------------------------------------------------------ */

typedef struct {
    float *c;
    size_t ldc, rows, columns; /* what of MR x NR is really there */
    float alpha, beta;
} target;

AVX512 static inline void store_row(float *c, __m512 sum, __mmask16 mask, float alpha, float beta)
{
    sum = _mm512_mul_ps(sum, _mm512_set1_ps(alpha));
    if (beta != 0) sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, c), _mm512_set1_ps(beta), sum);
    _mm512_mask_storeu_ps(c, mask, sum);
}

/* C tile = alpha A panel x B panel + beta C tile. a [k, MR], b [k, NR]. */
AVX512 static void kernel(size_t k, const float *restrict a, const float *restrict b,
                          const target *t)
{
    __m512 s[MR][2];
#pragma GCC unroll 14
    for (int i = 0; i < MR; i++) {
        s[i][0] = s[i][1] = _mm512_setzero_ps();
        const char *c = (const char *)(t->c + (size_t)i * t->ldc);
        _mm_prefetch(c, _MM_HINT_T0);
        _mm_prefetch(c + 64, _MM_HINT_T0);
    }
    for (size_t p = 0; p < k; p++, a += MR, b += NR) {
        __m512 b0 = _mm512_load_ps(b), b1 = _mm512_load_ps(b + 16);
#pragma GCC unroll 14
        for (int i = 0; i < MR; i++) {
            __m512 ai = _mm512_set1_ps(a[i]);
            s[i][0] = _mm512_fmadd_ps(ai, b0, s[i][0]);
            s[i][1] = _mm512_fmadd_ps(ai, b1, s[i][1]);
        }
    }
    unsigned bits = t->columns >= NR ? 0xffffffffu : (1u << t->columns) - 1;
    __mmask16 m0 = (__mmask16)(bits & 0xffff), m1 = (__mmask16)(bits >> 16);
#pragma GCC unroll 14
    for (int i = 0; i < MR; i++) {
        if ((size_t)i >= t->rows) break;
        store_row(t->c + (size_t)i * t->ldc, s[i][0], m0, t->alpha, t->beta);
        if (m1) store_row(t->c + (size_t)i * t->ldc + 16, s[i][1], m1, t->alpha, t->beta);
    }
}

/* ---- packing --------------------------------------------------------------------------------- */

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

/* A panel [k, width] of `lines` of a matrix, zero where there are none. across: the panel's lines
 * are the matrix's rows, which are to be turned; else its columns. Writes up to 16 floats beyond
 * the panel's end when it turns panels of MR lines. */
AVX512 static void pack_panel(float *to, size_t width, const float *from, size_t ld, size_t lines,
                              size_t k, bool across)
{
    if (across) {
        for (size_t line = 0; line < width; line += 16) {
            size_t rows = lines > line ? smaller(lines - line, 16) : 0;
            for (size_t p = 0; p < k; p += 16) {
                __mmask16 columns = (__mmask16)((1u << smaller(k - p, 16)) - 1);
                if (k - p >= 16) {
                    transpose16(to + p * width + line, width, from + line * ld + p, ld, rows,
                                columns);
                    continue;
                }
                float turned[16 * 16];
                transpose16(turned, 16, from + line * ld + p, ld, rows, columns);
                for (size_t j = 0; j < k - p; j++)
                    memcpy(to + (p + j) * width + line, turned + 16 * j,
                           smaller(width - line, 16) * sizeof *to);
            }
        }
        return;
    }
    for (size_t p = 0; p < k; p++) {
        for (size_t line = 0; line < width; line += 16) {
            size_t n = lines > line ? smaller(lines - line, 16) : 0;
            __mmask16 there = (__mmask16)((1u << n) - 1);
            __mmask16 room = (__mmask16)((1u << smaller(width - line, 16)) - 1);
            __m512 x = _mm512_maskz_loadu_ps(there, from + p * ld + line);
            _mm512_mask_storeu_ps(to + p * width + line, room, x);
        }
    }
}

/* ---- packing memory -------------------------------------------------------------------------- */

enum { A_FLOATS = MC_ALL / MR * (MR * KC + 32), B_FLOATS = NC * KC, BUFFERS = 128 };

/* Floats from one panel of A to the next: turning the last row of one writes two beyond its end. */
static size_t a_stride(size_t depth) { return up(MR * depth, 16) + 16; }

typedef struct {
    atomic_flag used;
    float *memory; /* kept for the life of the process */
} buffer;

static buffer buffers[BUFFERS];

/* NULL: all are in use, or there is no memory for another. */
static buffer *take_buffer(void)
{
    for (size_t i = 0; i < BUFFERS; i++) {
        buffer *b = &buffers[i];
        if (atomic_flag_test_and_set_explicit(&b->used, memory_order_acquire)) continue;
        if (b->memory || cf_alloc(&b->memory, A_FLOATS + B_FLOATS, sizeof *b->memory) == CF_OK)
            return b;
        atomic_flag_clear_explicit(&b->used, memory_order_release);
        return NULL;
    }
    return NULL;
}

/* ---- a product ------------------------------------------------------------------------------- */

typedef struct {
    bool ta, tb;
    size_t m, n, k, lda, ldb, ldc;
    float alpha, beta;
    const float *a, *b;
    float *c;
    cf_gemm_extra extra;
    float *packed_a, *packed_b;
} product;

typedef struct {
    size_t i, j, p; /* where the block begins in m, n, k */
    size_t rows, columns, depth;
    float beta;
    bool first, last; /* of the parts of k */
} block;

/* ---- on the way ------------------------------------------------------------------------------ */

AVX512 static void gelu_range(float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) x[i] = x[i] / (1 + cf_fast_exp(-1.702f * x[i]));
}

AVX512 static void add_row(float *restrict c, const float *restrict bias, const float *restrict add,
                           size_t n)
{
    if (bias && add) {
#pragma omp simd
        for (size_t j = 0; j < n; j++) c[j] += bias[j] + add[j];
        return;
    }
    const float *one = bias ? bias : add;
#pragma omp simd
    for (size_t j = 0; j < n; j++) c[j] += one[j];
}

AVX512 static void slope_row(float *restrict c, const float *restrict x, size_t n)
{
#pragma omp simd
    for (size_t j = 0; j < n; j++) {
        float s = 1 / (1 + cf_fast_exp(-1.702f * x[j]));
        c[j] *= s + 1.702f * x[j] * s * (1 - s);
    }
}

/* A tile of C that has just been stored and is still near. */
static void finish_tile(const product *g, const block *k, size_t i, size_t j, size_t rows,
                        size_t columns)
{
    const cf_gemm_extra *e = &g->extra;
    bool adds = k->first && (e->bias || e->add), slopes = k->last && e->slope;
    for (size_t r = i; (adds || slopes) && r < i + rows; r++) {
        float *c = g->c + r * g->ldc + j;
        const float *add = e->add ? e->add + r % e->add_rows * g->n + j : NULL;
        if (adds) add_row(c, e->bias ? e->bias + j : NULL, add, columns);
        if (slopes) slope_row(c, e->slope + r * g->n + j, columns);
    }
}

/* ---- one product ----------------------------------------------------------------------------- */

static void pack_b(const product *g, const block *k, size_t panel)
{
    size_t j = k->j + panel * NR, columns = smaller(NR, k->j + k->columns - j);
    const float *from = g->tb ? g->b + j * g->ldb + k->p : g->b + k->p * g->ldb + j;
    float *to = g->packed_b + panel * NR * k->depth;
    pack_panel(to, NR, from, g->ldb, columns, k->depth, g->tb);
    if (g->extra.gelu_b) gelu_range(to, NR * k->depth);
}

static void pack_a(const product *g, const block *k, size_t panel)
{
    size_t i = k->i + panel * MR, rows = smaller(MR, k->i + k->rows - i);
    const float *from = g->ta ? g->a + k->p * g->lda + i : g->a + i * g->lda + k->p;
    float *to = g->packed_a + panel * a_stride(k->depth);
    pack_panel(to, MR, from, g->lda, rows, k->depth, !g->ta);
    if (g->extra.gelu_a) gelu_range(to, MR * k->depth);
}

/* How a block is cut into tiles: MC rows by TILE_PANELS panels of columns, or fewer panels, then
 * fewer rows, where there would be too few tiles for all threads to end together. */
typedef struct {
    size_t rows, panels; /* of a tile */
    size_t row_tiles, column_tiles;
} tiling;

static tiling tiling_of(const block *k)
{
    size_t threads = (size_t)omp_get_num_threads(), panels = (k->columns + NR - 1) / NR;
    size_t enough = threads > 1 ? 3 * threads : 1;
    tiling t = { .rows = MC, .panels = TILE_PANELS };
    for (;;) {
        t.row_tiles = (k->rows + t.rows - 1) / t.rows;
        t.column_tiles = (panels + t.panels - 1) / t.panels;
        if (t.row_tiles * t.column_tiles >= enough) return t;
        if (t.panels > 2)
            t.panels /= 2;
        else if (t.rows > 4 * MR)
            t.rows = up(t.rows / 2, MR);
        else
            return t;
    }
}

static void run_tile(const product *g, const block *k, const tiling *by, size_t tile)
{
    size_t row = tile % by->row_tiles * by->rows, column = tile / by->row_tiles * by->panels * NR;
    size_t i_end = smaller(k->rows, row + by->rows);
    size_t j_end = smaller(k->columns, column + by->panels * NR);
    for (size_t j = column; j < j_end; j += NR) {
        for (size_t i = row; i < i_end; i += MR) {
            const target t = { .c = g->c + (k->i + i) * g->ldc + k->j + j,
                               .ldc = g->ldc,
                               .rows = smaller(MR, k->rows - i),
                               .columns = smaller(NR, k->columns - j),
                               .alpha = g->alpha,
                               .beta = k->beta };
            kernel(k->depth, g->packed_a + i / MR * a_stride(k->depth), g->packed_b + j * k->depth,
                   &t);
            finish_tile(g, k, k->i + i, k->j + j, t.rows, t.columns);
        }
    }
}

/* By every thread of a region, or by one alone. Implicit barriers end each loop. */
static void run_blocks(const product *g)
{
    size_t parts = (g->k + KC - 1) / KC, depth = (g->k + parts - 1) / parts;
    for (size_t j = 0; j < g->n; j += NC) {
        for (size_t p = 0; p < g->k; p += depth) {
            block k = { .j = j,
                        .p = p,
                        .columns = smaller(NC, g->n - j),
                        .depth = smaller(depth, g->k - p),
                        .beta = p == 0 ? g->beta : 1,
                        .first = p == 0,
                        .last = p + depth >= g->k };
            size_t b_panels = up(k.columns, NR) / NR;
#pragma omp for schedule(static) nowait
            for (size_t panel = 0; panel < b_panels; panel++) pack_b(g, &k, panel);
            for (k.i = 0; k.i < g->m; k.i += MC_ALL) {
                k.rows = smaller(MC_ALL, g->m - k.i);
                size_t a_panels = up(k.rows, MR) / MR;
#pragma omp for schedule(static)
                for (size_t panel = 0; panel < a_panels; panel++) pack_a(g, &k, panel);
                const tiling by = tiling_of(&k);
#pragma omp for schedule(dynamic)
                for (size_t tile = 0; tile < by.row_tiles * by.column_tiles; tile++)
                    run_tile(g, &k, &by, tile);
            }
        }
    }
}

static void run_product(product *g, buffer *memory)
{
    g->packed_b = memory->memory;
    g->packed_a = memory->memory + B_FLOATS;
    bool alone = omp_in_parallel() || g->m * g->n * g->k < (size_t)1 << 18;
#pragma omp parallel if (!alone)
    run_blocks(g);
    atomic_flag_clear_explicit(&memory->used, memory_order_release);
}

bool cf_gemm_blocked_here(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

bool cf_gemm_blocked(bool ta, bool tb, size_t m, size_t n, size_t k, cf_real alpha,
                     const cf_real *a, size_t lda, const cf_real *b, size_t ldb, cf_real beta,
                     cf_real *c, size_t ldc)
{
    if (!cf_gemm_blocked_here() || k == 0) return false;
    buffer *memory = take_buffer();
    if (!memory) return false;
    product g = { .ta = ta,
                  .tb = tb,
                  .m = m,
                  .n = n,
                  .k = k,
                  .lda = lda,
                  .ldb = ldb,
                  .ldc = ldc,
                  .alpha = alpha,
                  .beta = beta,
                  .a = a,
                  .b = b,
                  .c = c };
    run_product(&g, memory);
    return true;
}

cf_status cf_gemm_fuses(bool *here)
{
    static atomic_bool reserved;
    *here = cf_gemm_blocked_here();
    if (!*here || atomic_load(&reserved)) return CF_OK;
    buffer *memory = take_buffer();
    if (!memory) return CF_FAIL(CF_ENOMEM, "there is no memory for packing matrices");
    atomic_flag_clear_explicit(&memory->used, memory_order_release);
    atomic_store(&reserved, true);
    return CF_OK;
}

void cf_gemm_fused(bool ta, bool tb, size_t m, size_t n, size_t k, const cf_real *a, size_t lda,
                   const cf_real *b, size_t ldb, cf_real beta, cf_real *c,
                   const cf_gemm_extra *extra)
{
    product g = { .ta = ta,
                  .tb = tb,
                  .m = m,
                  .n = n,
                  .k = k,
                  .lda = lda,
                  .ldb = ldb,
                  .ldc = n,
                  .alpha = 1,
                  .beta = beta,
                  .a = a,
                  .b = b,
                  .c = c,
                  .extra = *extra };
    buffer *memory = take_buffer();
    CF_ASSERT(k > 0 && (!extra->slope || beta == 0));
    for (; !memory; memory = take_buffer()) sched_yield(); /* others hold what was reserved */
    run_product(&g, memory);
}

#else

bool cf_gemm_blocked_here(void) { return false; }

bool cf_gemm_blocked(bool ta, bool tb, size_t m, size_t n, size_t k, cf_real alpha,
                     const cf_real *a, size_t lda, const cf_real *b, size_t ldb, cf_real beta,
                     cf_real *c, size_t ldc)
{
    (void)ta, (void)tb, (void)m, (void)n, (void)k, (void)alpha, (void)a, (void)lda, (void)b;
    (void)ldb, (void)beta, (void)c, (void)ldc;
    return false;
}

cf_status cf_gemm_fuses(bool *here)
{
    *here = false;
    return CF_OK;
}

void cf_gemm_fused(bool ta, bool tb, size_t m, size_t n, size_t k, const cf_real *a, size_t lda,
                   const cf_real *b, size_t ldb, cf_real beta, cf_real *c,
                   const cf_gemm_extra *extra)
{
    (void)ta, (void)tb, (void)m, (void)n, (void)k, (void)a, (void)lda, (void)b, (void)ldb;
    (void)beta, (void)c, (void)extra;
    CF_ASSERT(!"there are no kernels of our own here");
}

#endif
