/* Attention without stored scores (the recomputation of Dao et al. 2022, arXiv:2205.14135, for
 * sequences whose keys fit in cache): forward keeps only log-sum-exp per row; backward recomputes
 * the probabilities. One job = one head of one sequence, on one thread: keys and values are packed
 * into the thread's scratch (the extra key and value as their last row), then blocks of queries
 * pass by.
 *
 * Job memory, np = keys padded to whole vectors:  kt [hw, np] keys transposed and scaled; vr [keys,
 * hw] values (forward) or vt [hw, np] transposed (backward), kr [keys, hw], dk and dv [keys, hw];
 * s, dp [BLOCK, np] scores of a block of queries. */
#include <omp.h>

#include "kernel.h"

#define BLOCK ((size_t)64)
#define TILE_ROWS 4
#define TILE_VECS 2

/* C [rows, vecs * CF_VEC_LEN] = or += sum_p A(i, p) B[p, :], A(i, p) = a[i * a_row + p * a_col] */
CF_INLINE void tile(const size_t rows, const size_t vecs, size_t k, const cf_real *a, size_t a_row,
                    size_t a_col, const cf_real *b, size_t ldb, cf_real *c, size_t ldc, bool add)
{
    cf_vec sum[TILE_ROWS][TILE_VECS];
#pragma GCC unroll 4
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (size_t v = 0; v < vecs; v++)
            sum[i][v] = add ? *(const cf_vec *)(c + i * ldc + v * CF_VEC_LEN) : (cf_vec){ 0 };
    for (size_t p = 0; p < k; p++) {
        cf_vec bv[TILE_VECS];
#pragma GCC unroll 2
        for (size_t v = 0; v < vecs; v++) bv[v] = *(const cf_vec *)(b + p * ldb + v * CF_VEC_LEN);
#pragma GCC unroll 4
        for (size_t i = 0; i < rows; i++) {
            cf_real x = a[i * a_row + p * a_col];
#pragma GCC unroll 2
            for (size_t v = 0; v < vecs; v++) sum[i][v] += x * bv[v];
        }
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (size_t v = 0; v < vecs; v++) *(cf_vec *)(c + i * ldc + v * CF_VEC_LEN) = sum[i][v];
}

CF_INLINE void tile_rows(size_t m, const size_t vecs, size_t k, const cf_real *a, size_t a_row,
                         size_t a_col, const cf_real *b, size_t ldb, cf_real *c, size_t ldc,
                         bool add)
{
    size_t i = 0;
    for (; i + 4 <= m; i += 4)
        tile(4, vecs, k, a + i * a_row, a_row, a_col, b, ldb, c + i * ldc, ldc, add);
    if (m - i >= 2) {
        tile(2, vecs, k, a + i * a_row, a_row, a_col, b, ldb, c + i * ldc, ldc, add);
        i += 2;
    }
    if (i < m) tile(1, vecs, k, a + i * a_row, a_row, a_col, b, ldb, c + i * ldc, ldc, add);
}

/* C [m, n] = or += A B with B row-major [k, n]; small sizes, one thread. */
CF_INLINE void small_gemm(size_t m, size_t n, size_t k, const cf_real *a, size_t a_row,
                          size_t a_col, const cf_real *b, size_t ldb, cf_real *c, size_t ldc,
                          bool add)
{
    size_t j = 0;
    for (; j + 2 * CF_VEC_LEN <= n; j += 2 * CF_VEC_LEN)
        tile_rows(m, 2, k, a, a_row, a_col, b + j, ldb, c + j, ldc, add);
    for (; j + CF_VEC_LEN <= n; j += CF_VEC_LEN)
        tile_rows(m, 1, k, a, a_row, a_col, b + j, ldb, c + j, ldc, add);
    for (size_t i = 0; j < n && i < m; i++)
        for (size_t l = j; l < n; l++) {
            cf_real sum = add ? c[i * ldc + l] : 0;
            for (size_t p = 0; p < k; p++) sum += a[i * a_row + p * a_col] * b[p * ldb + l];
            c[i * ldc + l] = sum;
        }
}

/* ---- one job --------------------------------------------------------------------------------- */

static size_t keys_of(const cf_attention_args *a) { return a->sk + (a->ek ? 1 : 0); }

static size_t padded_keys(const cf_attention_args *a)
{
    return (keys_of(a) + CF_VEC_LEN - 1) / CF_VEC_LEN * CF_VEC_LEN;
}

typedef struct {
    cf_real *kt, *kr, *vr, *vt, *dk, *dv, *s, *dp;
} job_memory;

static size_t job_layout(job_memory *m, cf_real *at, const cf_attention_args *a, bool backward)
{
    size_t np = padded_keys(a), square = a->hw * np, used = 0;
    cf_real **part[] = { &m->kt, &m->vr, &m->s, &m->kr, &m->vt, &m->dk, &m->dv, &m->dp };
    const size_t size[] = {
        square, square, BLOCK * np, square, square, square, square, BLOCK * np
    };
    for (int i = 0; i < (backward ? 8 : 3); i++) {
        *part[i] = at ? at + used : NULL;
        used += (size[i] + 15) / 16 * 16;
    }
    return used;
}

/* Rows of one head's keys or values: the sk common ones, then the extra one. */
CF_INLINE const cf_real *kv_row(const cf_attention_args *a, const cf_real *base,
                                const cf_real *extra, size_t g, size_t h, size_t j)
{
    return j < a->sk ? base + g * a->kv_group + j * a->kv_row + h * a->hw
                     : extra + g * a->ekv_group + h * a->hw;
}

CF_INLINE void pack_rows(cf_real *to, const cf_attention_args *a, const cf_real *base,
                         const cf_real *extra, size_t g, size_t h)
{
    size_t keys = keys_of(a);
    for (size_t j = 0; j < keys; j++)
        memcpy(to + j * a->hw, kv_row(a, base, extra, g, h, j), a->hw * sizeof *to);
}

CF_INLINE void pack_transposed(cf_real *to, const cf_attention_args *a, const cf_real *base,
                               const cf_real *extra, size_t g, size_t h, cf_real factor)
{
    size_t keys = keys_of(a), np = padded_keys(a);
    for (size_t j = 0; j < keys; j++) {
        const cf_real *row = kv_row(a, base, extra, g, h, j);
        for (size_t c = 0; c < a->hw; c++) to[c * np + j] = row[c] * factor;
    }
    for (size_t c = 0; c < a->hw; c++)
        for (size_t j = keys; j < np; j++) to[c * np + j] = 0;
}

CF_INLINE size_t seen_keys(const cf_attention_args *a, size_t i)
{
    return a->causal ? i + 1 : keys_of(a);
}

/* Scores of one row to probabilities; the row beyond the seen keys becomes 0. Returns
 * log-sum-exp. */
CF_INLINE cf_real softmax_row(cf_real *restrict s, size_t seen, size_t np)
{
    cf_real top = s[0];
#pragma omp simd reduction(max : top)
    for (size_t j = 0; j < seen; j++) top = s[j] > top ? s[j] : top;
    cf_real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t j = 0; j < seen; j++) {
        s[j] = cf_fast_exp(s[j] - top);
        sum += s[j];
    }
    cf_real inv = 1 / sum;
#pragma omp simd
    for (size_t j = 0; j < seen; j++) s[j] *= inv;
    for (size_t j = seen; j < np; j++) s[j] = 0;
    return top + (cf_real)log((double)sum);
}

CF_KERNEL static void forward_job(const cf_attention_args *a, size_t g, size_t h, job_memory m)
{
    size_t hw = a->hw, keys = keys_of(a), np = padded_keys(a);
    pack_transposed(m.kt, a, a->k, a->ek, g, h, 1 / (cf_real)sqrt((double)hw));
    pack_rows(m.vr, a, a->v, a->ev, g, h);
    cf_real *lse = a->lse + (g * a->heads + h) * a->sq;
    for (size_t at = 0; at < a->sq; at += BLOCK) {
        size_t rows = a->sq - at < BLOCK ? a->sq - at : BLOCK;
        const cf_real *q = a->q + g * a->q_group + at * a->q_row + h * hw;
        cf_real *out = a->out + (g * a->sq + at) * a->out_row + h * hw;
        small_gemm(rows, np, hw, q, a->q_row, 1, m.kt, np, m.s, np, false);
        for (size_t i = 0; i < rows; i++)
            lse[at + i] = softmax_row(m.s + i * np, seen_keys(a, at + i), np);
        small_gemm(rows, hw, keys, m.s, np, 1, m.vr, hw, out, a->out_row, false);
    }
}

/* From recomputed scores s and dp = dO V^T to probabilities (s) and d(scores) scaled (dp). The mean
 * of dp is taken over these very dp (not as out . dout, equal in exact arithmetic): so d(scores) of
 * a row sums to zero to rounding, and no multiple of the keys' mean leaks into the query's
 * gradient. */
CF_INLINE void backward_row(cf_real *restrict s, cf_real *restrict dp, cf_real lse, size_t seen,
                            size_t np, cf_real factor)
{
    double sum = 0, mass = 0;
#pragma omp simd reduction(+ : sum, mass)
    for (size_t j = 0; j < seen; j++) {
        s[j] = cf_fast_exp(s[j] - lse);
        mass += (double)s[j];
        sum += (double)s[j] * (double)dp[j];
    }
    cf_real mean = (cf_real)(sum / mass);
#pragma omp simd
    for (size_t j = 0; j < seen; j++) dp[j] = s[j] * (dp[j] - mean) * factor;
    for (size_t j = seen; j < np; j++) s[j] = dp[j] = 0;
}

CF_INLINE void add_rows(cf_real *base, cf_real *extra, const cf_real *from,
                        const cf_attention_args *a, size_t g, size_t h)
{
    size_t keys = keys_of(a);
    for (size_t j = 0; j < keys; j++) {
        cf_real *to = j < a->sk ? (base ? base + g * a->kv_group + j * a->kv_row + h * a->hw : NULL)
                                : (extra ? extra + g * a->ekv_group + h * a->hw : NULL);
        if (!to) continue;
#pragma omp simd
        for (size_t c = 0; c < a->hw; c++) to[c] += from[j * a->hw + c];
    }
}

/* dq: where this job adds its query gradients (NULL: not wanted), rows a->q_row apart */
CF_KERNEL static void backward_job(const cf_attention_args *a, const cf_attention_grads *d,
                                   size_t g, size_t h, job_memory m, cf_real *dq)
{
    size_t hw = a->hw, keys = keys_of(a), np = padded_keys(a);
    cf_real factor = 1 / (cf_real)sqrt((double)hw);
    pack_transposed(m.kt, a, a->k, a->ek, g, h, factor);
    pack_transposed(m.vt, a, a->v, a->ev, g, h, 1);
    pack_rows(m.kr, a, a->k, a->ek, g, h);
    memset(m.dk, 0, keys * hw * sizeof(cf_real));
    memset(m.dv, 0, keys * hw * sizeof(cf_real));
    const cf_real *lse = a->lse + (g * a->heads + h) * a->sq;
    for (size_t at = 0; at < a->sq; at += BLOCK) {
        size_t rows = a->sq - at < BLOCK ? a->sq - at : BLOCK;
        const cf_real *q = a->q + g * a->q_group + at * a->q_row + h * hw;
        size_t out_at = (g * a->sq + at) * a->out_row + h * hw;
        const cf_real *dout = d->dout + out_at;
        small_gemm(rows, np, hw, q, a->q_row, 1, m.kt, np, m.s, np, false);
        small_gemm(rows, np, hw, dout, a->out_row, 1, m.vt, np, m.dp, np, false);
        for (size_t i = 0; i < rows; i++)
            backward_row(m.s + i * np, m.dp + i * np, lse[at + i], seen_keys(a, at + i), np,
                         factor);
        if (dq)
            small_gemm(rows, hw, keys, m.dp, np, 1, m.kr, hw, dq + at * a->q_row, a->q_row, true);
        small_gemm(keys, hw, rows, m.dp, 1, np, q, a->q_row, m.dk, hw, true);
        small_gemm(keys, hw, rows, m.s, 1, np, dout, a->out_row, m.dv, hw, true);
    }
    add_rows(d->dk, d->dek, m.dk, a, g, h);
    add_rows(d->dv, d->dev, m.dv, a, g, h);
}

/* ---- all jobs -------------------------------------------------------------------------------- */

/* Queries shared by all groups: each thread sums its part of dq on its own, added up in thread
 * order. */
static size_t shared_dq_size(const cf_attention_args *a)
{
    return a->q_group == 0 && a->groups > 1 ? a->sq * a->heads * a->hw : 0;
}

size_t cf_attention_scratch(const cf_attention_args *a, bool backward)
{
    job_memory m;
    size_t each = job_layout(&m, NULL, a, backward) + (backward ? shared_dq_size(a) : 0);
    return (size_t)omp_get_max_threads() * ((each + 15) / 16 * 16);
}

void cf_attention_forward(const cf_attention_args *a, cf_real *scratch)
{
    size_t jobs = a->groups * a->heads;
#pragma omp parallel
    {
        job_memory m;
        size_t each = job_layout(&m, NULL, a, false);
        job_layout(&m, scratch + (size_t)omp_get_thread_num() * each, a, false);
#pragma omp for schedule(static)
        for (size_t i = 0; i < jobs; i++) forward_job(a, i / a->heads, i % a->heads, m);
    }
}

void cf_attention_backward(const cf_attention_args *a, const cf_attention_grads *g,
                           cf_real *scratch)
{
    size_t jobs = a->groups * a->heads, shared = shared_dq_size(a);
    CF_ASSERT(!shared || a->q_row == a->heads * a->hw);
    job_memory sizes;
    size_t each = job_layout(&sizes, NULL, a, true);
    int n_threads = omp_get_max_threads();
    cf_real *partial = scratch + (size_t)n_threads * each; /* [threads, sq, heads * hw] */
    if (shared && g->dq) memset(partial, 0, (size_t)n_threads * shared * sizeof *partial);
#pragma omp parallel num_threads(n_threads)
    {
        size_t t = (size_t)omp_get_thread_num();
        job_memory m;
        job_layout(&m, scratch + t * each, a, true);
#pragma omp for schedule(static)
        for (size_t i = 0; i < jobs; i++) {
            size_t group = i / a->heads, head = i % a->heads;
            cf_real *dq = NULL;
            if (g->dq && shared) dq = partial + t * shared + head * a->hw;
            if (g->dq && !shared) dq = g->dq + group * a->q_group + head * a->hw;
            backward_job(a, g, group, head, m, dq);
        }
    }
    if (!shared || !g->dq) return;
    for (int t = 0; t < n_threads; t++) cf_vec_add(g->dq, partial + (size_t)t * shared, shared);
}
