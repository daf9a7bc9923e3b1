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
    const float *bias, *add;          /* added where the first part of k is stored; NULL: nothing */
    size_t ld_add, add_row, add_rows; /* row i takes row (add_row + i) mod add_rows of add */
} target;

AVX512 static inline void store_part(float *c, __m512 sum, __mmask16 mask, const target *t,
                                     const float *bias, const float *add)
{
    sum = _mm512_mul_ps(sum, _mm512_set1_ps(t->alpha));
    if (t->beta != 0)
        sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, c), _mm512_set1_ps(t->beta), sum);
    if (bias) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, bias));
    if (add) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, add));
    _mm512_mask_storeu_ps(c, mask, sum);
}

AVX512 static inline void store_sums(__m512 s[MR][2], const target *t)
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
        store_part(c, s[i][0], m0, t, bias, add);
        if (m1) store_part(c + 16, s[i][1], m1, t, bias ? bias + 16 : NULL, add ? add + 16 : NULL);
        if (add && ++from == t->add_rows) from = 0;
    }
}

AVX512 static inline void clear_sums(__m512 s[MR][2], const target *t)
{
#pragma GCC unroll 14
    for (int i = 0; i < MR; i++) {
        s[i][0] = s[i][1] = _mm512_setzero_ps();
        const char *c = (const char *)(t->c + (size_t)i * t->ldc);
        _mm_prefetch(c, _MM_HINT_T0);
        _mm_prefetch(c + 64, _MM_HINT_T0);
    }
}

/* C tile = alpha A panel x B panel + beta C tile. a [k, MR], b [k, NR]. */
AVX512 static void kernel(size_t k, const float *restrict a, const float *restrict b,
                          const target *t)
{
    __m512 s[MR][2];
    clear_sums(s, t);
    for (size_t p = 0; p < k; p++, a += MR, b += NR) {
        __m512 b0 = _mm512_load_ps(b), b1 = _mm512_load_ps(b + 16);
#pragma GCC unroll 14
        for (int i = 0; i < MR; i++) {
            __m512 ai = _mm512_set1_ps(a[i]);
            s[i][0] = _mm512_fmadd_ps(ai, b0, s[i][0]);
            s[i][1] = _mm512_fmadd_ps(ai, b1, s[i][1]);
        }
    }
    store_sums(s, t);
}

/* The same of A as it lies in memory, MR rows lda apart. Every third row has a pointer, the other
 * two are reached from it by lda and 2 lda: fourteen pointers are more than there are registers. */
AVX512 static void kernel_rows(size_t k, const float *restrict a, size_t lda,
                               const float *restrict b, const target *t)
{
    enum { GROUPS = (MR + 2) / 3 };
    __m512 s[MR][2];
    const float *group[GROUPS];
    clear_sums(s, t);
#pragma GCC unroll 5
    for (int g = 0; g < GROUPS; g++) group[g] = a + 3 * (size_t)g * lda;
    for (size_t p = 0; p < k; p++, b += NR) {
        __m512 b0 = _mm512_load_ps(b), b1 = _mm512_load_ps(b + 16);
#pragma GCC unroll 14
        for (int i = 0; i < MR; i++) {
            __m512 ai = _mm512_set1_ps(group[i / 3][(size_t)(i % 3) * lda]);
            s[i][0] = _mm512_fmadd_ps(ai, b0, s[i][0]);
            s[i][1] = _mm512_fmadd_ps(ai, b1, s[i][1]);
        }
#pragma GCC unroll 5
        for (int g = 0; g < GROUPS; g++) group[g]++;
    }
    store_sums(s, t);
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

/* Where the threads of a product wait for each other, and the tiles they take. Waiting spins for
 * some microseconds, then offers the core to whoever wants it: OpenMP's own barrier goes to sleep
 * by a system call, which costs more than a small product, or spins while the thread that is waited
 * for has no core. */
typedef struct {
    atomic_uint arrived, round;
    atomic_size_t next[2]; /* tiles taken, of this round and the next */
} meeting;

typedef struct {
    bool ta, tb;
    size_t m, n, k, lda, ldb, ldc;
    float alpha, beta;
    const float *a, *b;
    float *c;
    cf_gemm_extra extra;
    float *packed_a, *packed_b;
    meeting meet;
} product;

typedef struct {
    size_t i, j, p; /* where the block begins in m, n, k */
    size_t rows, columns, depth;
    float beta;
    bool first, last; /* of the parts of k */
} block;

/* ---- on the way ------------------------------------------------------------------------------ */

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

/* Of x[0 .. n), n rounded up to a multiple of 16. */
AVX512 static void gelu_range(float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_loadu_ps(x + i);
        _mm512_storeu_ps(x + i, _mm512_mul_ps(v, sigmoid_1702(v)));
    }
}

/* c *= s + 1.702 x s (1 - s), QuickGELU's slope at x */
AVX512 static void slope_row(float *restrict c, const float *restrict x, size_t n)
{
    for (size_t j = 0; j < n; j += 16) {
        __mmask16 there = (__mmask16)((1u << smaller(n - j, 16)) - 1);
        __m512 v = _mm512_maskz_loadu_ps(there, x + j), s = sigmoid_1702(v);
        __m512 t =
            _mm512_mul_ps(_mm512_mul_ps(v, _mm512_set1_ps(1.702f)), _mm512_fnmadd_ps(s, s, s));
        t = _mm512_mul_ps(_mm512_add_ps(s, t), _mm512_maskz_loadu_ps(there, c + j));
        _mm512_mask_storeu_ps(c + j, there, t);
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

/* Whether A is read where it lies, but for a last panel of fewer rows. Not where rows are whole
 * multiples of 4096 bytes apart: all of a panel would share one set of the first cache. */
static bool a_in_place(const product *g)
{
    return !g->ta && !g->extra.gelu_a && g->lda % 1024 != 0;
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

static tiling tiling_of(const block *k, size_t threads)
{
    size_t panels = (k->columns + NR - 1) / NR;
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

/* MR x NR at row i, column j of the block. */
static void run_panels(const product *g, const block *k, size_t i, size_t j)
{
    const cf_gemm_extra *e = &g->extra;
    size_t row = k->i + i, column = k->j + j;
    const target t = { .c = g->c + row * g->ldc + column,
                       .ldc = g->ldc,
                       .rows = smaller(MR, k->rows - i),
                       .columns = smaller(NR, k->columns - j),
                       .alpha = g->alpha,
                       .beta = k->beta,
                       .bias = k->first && e->bias ? e->bias + column : NULL,
                       .add = k->first && e->add ? e->add + column : NULL,
                       .ld_add = g->n,
                       .add_row = row,
                       .add_rows = e->add_rows };
    const float *b = g->packed_b + j * k->depth;
    if (t.rows == MR && a_in_place(g))
        kernel_rows(k->depth, g->a + row * g->lda + k->p, g->lda, b, &t);
    else
        kernel(k->depth, g->packed_a + i / MR * a_stride(k->depth), b, &t);
    /* while it is near */
    for (size_t r = 0; k->last && e->slope && r < t.rows; r++)
        slope_row(t.c + r * g->ldc, e->slope + (row + r) * g->n + column, t.columns);
}

static void run_tile(const product *g, const block *k, const tiling *by, size_t tile)
{
    size_t row = tile % by->row_tiles * by->rows, column = tile / by->row_tiles * by->panels * NR;
    size_t i_end = smaller(k->rows, row + by->rows);
    size_t j_end = smaller(k->columns, column + by->panels * NR);
    for (size_t j = column; j < j_end; j += NR)
        for (size_t i = row; i < i_end; i += MR) run_panels(g, k, i, j);
}

/* ---- threads --------------------------------------------------------------------------------- */

/* One of the threads of a product. */
typedef struct {
    size_t id, n;
    unsigned round; /* meetings it has been to */
} worker;

/* Returns once all have come. */
static void meet(meeting *m, worker *w)
{
    enum { SPINS = 2000 };
    unsigned round = w->round++;
    if (w->n == 1) {
        atomic_store_explicit(&m->next[w->round % 2], 0, memory_order_relaxed);
        return;
    }
    if (atomic_fetch_add_explicit(&m->arrived, 1, memory_order_acq_rel) + 1 == w->n) {
        atomic_store_explicit(&m->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&m->next[w->round % 2], 0, memory_order_relaxed);
        atomic_store_explicit(&m->round, w->round, memory_order_release);
        return;
    }
    for (size_t spins = 0; atomic_load_explicit(&m->round, memory_order_acquire) == round;) {
        if (++spins < SPINS)
            _mm_pause();
        else
            sched_yield();
    }
}

/* The next tile of those between two meetings. */
static size_t take_tile(meeting *m, const worker *w)
{
    return atomic_fetch_add_explicit(&m->next[w->round % 2], 1, memory_order_relaxed);
}

static void pack_block(const product *g, const block *k, const worker *w, bool with_b)
{
    size_t b_panels = with_b ? up(k->columns, NR) / NR : 0, a_panels = up(k->rows, MR) / MR;
    for (size_t i = b_panels * w->id / w->n; i < b_panels * (w->id + 1) / w->n; i++)
        pack_b(g, k, i);
    if (a_in_place(g)) {
        if (k->rows % MR != 0 && w->id + 1 == w->n) pack_a(g, k, a_panels - 1);
        return;
    }
    for (size_t i = a_panels * w->id / w->n; i < a_panels * (w->id + 1) / w->n; i++)
        pack_a(g, k, i);
}

/* By every thread of the product. Two meetings a block: nobody reads what is not packed yet, nobody
 * packs where others still read; the last is the end of the parallel region. */
static void run_blocks(product *g, worker w)
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
            for (k.i = 0; k.i < g->m; k.i += MC_ALL) {
                k.rows = smaller(MC_ALL, g->m - k.i);
                if (j + p + k.i > 0) meet(&g->meet, &w);
                pack_block(g, &k, &w, k.i == 0);
                meet(&g->meet, &w);
                const tiling by = tiling_of(&k, w.n);
                for (size_t t; (t = take_tile(&g->meet, &w)) < by.row_tiles * by.column_tiles;)
                    run_tile(g, &k, &by, t);
            }
        }
    }
}

static void run_product(product *g, buffer *memory)
{
    g->packed_b = memory->memory;
    g->packed_a = memory->memory + B_FLOATS;
    if (omp_in_parallel() || g->m * g->n * g->k < (size_t)1 << 18) {
        run_blocks(g, (worker){ .n = 1 });
    } else {
#pragma omp parallel
        run_blocks(
            g, (worker){ .id = (size_t)omp_get_thread_num(), .n = (size_t)omp_get_num_threads() });
    }
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
