/* One job of attention: one head of one sequence, on one thread. Included once by the file of each
 * level, which has chosen
 *   JOB        the table to define
 *   VEC_BYTES  of one register
 *   ROWS_OF_4, ROWS_OF_2  rows of a product whose sums fit in registers at 4 (not defined: never),
 *              at 2 vectors a row
 *
 * Scores stand with their queries side by side, s [keys, w]: maxima and sums over keys run down the
 * vectors, a whole vector of queries at a time, and of two matrices to be turned for the products
 * one is left: queries (and in backward the output's gradient), one block at a time. Keys and
 * values are copied: in place their rows lie some pages apart, which is few sets of the first
 * cache. */

#if CF_REAL_IS_DOUBLE
#define LANES (VEC_BYTES / 8)
#else
#define LANES (VEC_BYTES / 4)
#endif
#define LEN ((size_t)LANES)
typedef cf_real vec __attribute__((vector_size(VEC_BYTES), aligned(sizeof(cf_real)), may_alias));
#if CF_REAL_IS_DOUBLE
typedef int64_t bits __attribute__((vector_size(VEC_BYTES)));
#else
typedef int32_t bits __attribute__((vector_size(VEC_BYTES)));
#endif
/* mask ? a : b in each lane, mask of a comparison */
#define SELECT(mask, a, b) ((vec)(((mask) & (bits)(a)) | (~(mask) & (bits)(b))))

#define LOAD(p) (*(const vec *)(p))
#define STORE(p, x) (*(vec *)(p) = (x))

/* ---- products -------------------------------------------------------------------------------- */

typedef struct {
    size_t m, n, k; /* n in elements, whole vectors */
    const cf_real *a, *b;
    size_t lda, ldb, ldc;
    cf_real *c;
    bool add;
} product;

/* `rows` x `vecs` of C = or += A B, from row i and column j on. A(i, p) is a[p * lda + i] if
 * turned, else a[i * lda + p]: then every third row has a pointer, the next two are reached from
 * it. */
CF_INLINE void tile(const size_t rows, const size_t vecs, const bool turned, const product *g,
                    size_t i0, size_t j)
{
    vec sum[8][4];
    const cf_real *a[3] = { g->a + (turned ? i0 : i0 * g->lda) }, *b = g->b + j;
    const size_t lda = g->lda, ldb = g->ldb;
    cf_real *c = g->c + i0 * g->ldc + j;
    if (!turned) {
        a[1] = a[0] + 3 * lda;
        a[2] = a[1] + 3 * lda;
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (size_t v = 0; v < vecs; v++)
            sum[i][v] = g->add ? LOAD(c + i * g->ldc + v * LEN) : (vec){ 0 };
    for (size_t p = g->k; p > 0; p--) {
        vec bv[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < vecs; v++) bv[v] = LOAD(b + v * LEN);
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) {
            cf_real x = turned ? a[0][i] : a[i / 3][i % 3 * lda];
#pragma GCC unroll 4
            for (size_t v = 0; v < vecs; v++) sum[i][v] += x * bv[v];
        }
        b += ldb;
        a[0] += turned ? lda : 1;
        if (!turned && rows > 3) a[1]++;
        if (!turned && rows > 6) a[2]++;
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (size_t v = 0; v < vecs; v++) STORE(c + i * g->ldc + v * LEN, sum[i][v]);
}

/* `vecs` vectors of all rows, in tiles of nearly the same height. */
CF_INLINE void strip(const size_t vecs, const size_t most, const bool turned, const product *g,
                     size_t j)
{
    size_t tiles = (g->m + most - 1) / most, each = g->m / tiles, longer = g->m % tiles;
    for (size_t t = 0, i = 0; t < tiles; t++) {
        size_t rows = each + (t < longer ? 1 : 0);
#define ROWS(n)                                                                                    \
    case n:                                                                                        \
        if (n <= most) tile(n, vecs, turned, g, i, j);                                             \
        break
        switch (rows) {
            ROWS(1);
            ROWS(2);
            ROWS(3);
            ROWS(4);
            ROWS(5);
            ROWS(6);
            ROWS(7);
            ROWS(8);
        }
#undef ROWS
        i += rows;
    }
}

CF_INLINE void multiply(const bool turned, const product *g)
{
    size_t j = 0;
#ifdef ROWS_OF_4
    for (; j + 4 * LEN <= g->n; j += 4 * LEN) strip(4, ROWS_OF_4, turned, g, j);
#endif
    for (; j + 2 * LEN <= g->n; j += 2 * LEN) strip(2, ROWS_OF_2, turned, g, j);
    for (; j < g->n; j += LEN) strip(1, 8, turned, g, j);
}

/* C = A B, or C += A B */
static __attribute__((noinline)) void multiply_rows(const product g) { multiply(false, &g); }
/* C = A^T B, or C += A^T B */
static __attribute__((noinline)) void multiply_turned(const product g) { multiply(true, &g); }

/* Sum of a vector's numbers. */
CF_INLINE cf_real across(vec x)
{
    cf_real part[4] = { 0 };
    for (size_t l = 0; l < LEN; l++) part[l % 4] += x[l];
    return (part[0] + part[1]) + (part[2] + part[3]);
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* to [rows, hp] = factor * from, rows from_row apart; zero from hw on. Down the columns: rows are
 * too short for a loop of their own. */
CF_INLINE void get_rows(cf_real *restrict to, const cf_real *restrict from, size_t from_row,
                        size_t rows, size_t hw, size_t hp, cf_real factor)
{
    size_t c = 0;
    for (; c + LEN <= hw; c += LEN)
        for (size_t i = 0; i < rows; i++)
            STORE(to + i * hp + c, LOAD(from + i * from_row + c) * factor);
    for (size_t i = 0; c < hp && i < rows; i++)
        for (size_t l = c; l < hp; l++)
            to[i * hp + l] = l < hw ? from[i * from_row + l] * factor : 0;
}

/* A block's rows, then rows of zeros up to w. */
CF_INLINE void get_block(cf_real *to, const cf_real *from, size_t from_row, size_t rows, size_t w,
                         size_t hw, size_t hp, cf_real factor)
{
    get_rows(to, from, from_row, rows, hw, hp, factor);
    memset(to + rows * hp, 0, (w - rows) * hp * sizeof *to);
}

/* Rows of `from`, times factor or their own factors, stored or added to_row apart. */
CF_INLINE void put_rows(cf_real *restrict to, size_t to_row, const cf_real *restrict from,
                        size_t rows, size_t hw, size_t hp, cf_real factor, const cf_real *factors,
                        bool store)
{
    size_t c = 0;
    for (; c + LEN <= hw; c += LEN)
        for (size_t i = 0; i < rows; i++) {
            vec x = LOAD(from + i * hp + c) * (factors ? factors[i] : factor);
            if (!store) x += LOAD(to + i * to_row + c);
            STORE(to + i * to_row + c, x);
        }
    for (size_t i = 0; c < hw && i < rows; i++)
        for (size_t l = c; l < hw; l++) {
            cf_real x = from[i * hp + l] * (factors ? factors[i] : factor);
            to[i * to_row + l] = store ? x : to[i * to_row + l] + x;
        }
}

#if LANES == 16
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES == 8
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif LANES == 4
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#else
#define LOW 0, 2
#define HIGH 1, 3
#endif

/* to [hp, w] = the first `rows` rows of from [w, hp] turned, rows and hp multiples of LEN. In a
 * square, first and second half of the rows are interleaved until all have met. */
static void turn(cf_real *restrict to, const cf_real *restrict from, size_t rows, size_t w,
                 size_t hp)
{
    for (size_t c = 0; c < hp; c += LEN)
        for (size_t i = 0; i < rows; i += LEN) {
            vec r[LEN], half[LEN];
#pragma GCC unroll 16
            for (size_t l = 0; l < LEN; l++) r[l] = LOAD(from + (i + l) * hp + c);
#pragma GCC unroll 4
            for (size_t met = 1; met < LEN; met *= 2) {
#pragma GCC unroll 16
                for (size_t l = 0; l < LEN; l++) half[l] = r[l];
#pragma GCC unroll 8
                for (size_t l = 0; l < LEN / 2; l++) {
                    r[2 * l] = __builtin_shuffle(half[l], half[l + LEN / 2], (bits){ LOW });
                    r[2 * l + 1] = __builtin_shuffle(half[l], half[l + LEN / 2], (bits){ HIGH });
                }
            }
#pragma GCC unroll 16
            for (size_t l = 0; l < LEN; l++) STORE(to + (c + l) * w + i, r[l]);
        }
}
#undef LOW
#undef HIGH

/* ---- softmax --------------------------------------------------------------------------------- */

#define FAR ((cf_real)-1e30) /* a score whose exponential is 0 */

/* exp(x) for x <= 88; cf_fast_exp's polynomial, but 0 below -87. */
CF_INLINE vec exp_of(vec x)
{
#if CF_REAL_IS_DOUBLE
    for (size_t l = 0; l < LEN; l++) x[l] = exp(x[l]);
    return x;
#else
    const vec least = (vec){ 0 } - 87.0f;
    bits gone = x < least;
    x = SELECT(gone, least, x);
    vec n = x * 1.44269504088896341f;
    n = (n + 12582912.0f) - 12582912.0f; /* nearest integer: 1.5 * 2^23 */
    vec r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    p *= (vec)((__builtin_convertvector(n, bits) + 127) << 23);
    return (vec)((bits)p & ~gone);
#endif
}

/* Queries at, at + 1, .. see the keys up to their own: the others of the first `keys` get FAR. */
static void hide(cf_real *s, size_t at, size_t keys, size_t w)
{
    for (size_t j = at + 1; j < keys; j++)
        for (size_t l = 0; l < j - at && l < w; l++) s[j * w + l] = FAR;
}

enum { CHAINS = 4 }; /* sums side by side: shorter, so more exact, and none waits for another */

/* s [keys, w] to exp(s - largest of the query); lse [w] its log-sum-exp, inverse [w] 1 / sum. */
static void exponentials(cf_real *s, size_t keys, size_t w, cf_real *lse, cf_real *inverse)
{
    for (size_t l = 0; l < w; l += LEN) {
        cf_real *column = s + l;
        vec top[CHAINS], sum[CHAINS] = { 0 };
        for (int c = 0; c < CHAINS; c++) top[c] = LOAD(column);
        size_t j = 0;
        for (; j + CHAINS <= keys; j += CHAINS)
#pragma GCC unroll 4
            for (size_t c = 0; c < CHAINS; c++) {
                vec x = LOAD(column + (j + c) * w);
                top[c] = SELECT(x > top[c], x, top[c]);
            }
        for (; j < keys; j++) {
            vec x = LOAD(column + j * w);
            top[0] = SELECT(x > top[0], x, top[0]);
        }
        for (int c = 1; c < CHAINS; c++) top[0] = SELECT(top[c] > top[0], top[c], top[0]);
        for (j = 0; j + CHAINS <= keys; j += CHAINS)
#pragma GCC unroll 4
            for (size_t c = 0; c < CHAINS; c++) {
                vec e = exp_of(LOAD(column + (j + c) * w) - top[0]);
                STORE(column + (j + c) * w, e);
                sum[c] += e;
            }
        for (; j < keys; j++) {
            vec e = exp_of(LOAD(column + j * w) - top[0]);
            STORE(column + j * w, e);
            sum[0] += e;
        }
        vec total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        STORE(inverse + l, 1 / total);
        STORE(lse + l, top[0]);
    }
#pragma omp simd
    for (size_t l = 0; l < w; l++) lse[l] -= cf_fast_log(inverse[l]);
}

/* From recomputed scores s and dp = V dO^T, both [keys, w], to probabilities (s) and the scores'
 * gradient (dp). The mean of dp is taken over these very dp (not as out . dout, equal in exact
 * arithmetic): so a query's gradients of scores sum to zero to rounding, and no multiple of the
 * keys' mean leaks into the query's gradient. */
static void probabilities(cf_real *restrict s, cf_real *restrict dp, size_t keys, size_t w,
                          const cf_real *lse)
{
    for (size_t l = 0; l < w; l += LEN) {
        cf_real *ps = s + l, *pd = dp + l;
        vec of_all = LOAD(lse + l), mass[CHAINS] = { 0 }, sum[CHAINS] = { 0 };
        size_t j = 0;
        for (; j + CHAINS <= keys; j += CHAINS)
#pragma GCC unroll 4
            for (size_t c = 0; c < CHAINS; c++) {
                vec p = exp_of(LOAD(ps + (j + c) * w) - of_all);
                STORE(ps + (j + c) * w, p);
                mass[c] += p;
                sum[c] += p * LOAD(pd + (j + c) * w);
            }
        for (; j < keys; j++) {
            vec p = exp_of(LOAD(ps + j * w) - of_all);
            STORE(ps + j * w, p);
            mass[0] += p;
            sum[0] += p * LOAD(pd + j * w);
        }
        vec mean =
            ((sum[0] + sum[1]) + (sum[2] + sum[3])) / ((mass[0] + mass[1]) + (mass[2] + mass[3]));
        for (j = 0; j < keys; j++) STORE(pd + j * w, LOAD(ps + j * w) * (LOAD(pd + j * w) - mean));
    }
}

/* ---- jobs ------------------------------------------------------------------------------------ */

/* One head's keys or values: the sk common ones, then the extra one. */
static void get_keys(cf_real *to, const cf_attention_args *a, const cf_real *base,
                     const cf_real *extra, size_t g, size_t h)
{
    size_t hw = a->hw, hp = cf_attention_width(a);
    get_rows(to, base + g * a->kv_group + h * hw, a->kv_row, a->sk, hw, hp, 1);
    if (extra) get_rows(to + a->sk * hp, extra + g * a->ekv_group + h * hw, 0, 1, hw, hp, 1);
}

static void put_keys(cf_real *base, cf_real *extra, bool store, bool store_extra,
                     const cf_real *from, const cf_attention_args *a, size_t g, size_t h)
{
    size_t hw = a->hw, hp = cf_attention_width(a), at = g * a->kv_group + h * hw;
    if (base) put_rows(base + at, a->kv_row, from, a->sk, hw, hp, 1, NULL, store);
    at = g * a->ekv_group + h * hw;
    if (extra) put_rows(extra + at, 0, from + a->sk * hp, 1, hw, hp, 1, NULL, store_extra);
}

/* A block of queries and what belongs to it. */
typedef struct {
    size_t at, rows, w, keys; /* keys: those that one of these queries sees */
} span;

static span span_at(const cf_attention_args *a, size_t at)
{
    enum { STEP = LEN > 4 ? LEN : 4 };
    size_t rows = a->sq - at < CF_ATTENTION_BLOCK ? a->sq - at : CF_ATTENTION_BLOCK;
    size_t keys = a->causal ? at + rows : cf_attention_keys(a);
    return (span){ at, rows, (rows + STEP - 1) / STEP * STEP, keys };
}

/* to [keys, w] = rows of keys x, each times the block's rows y [w, hp]; yt [hp, w] is where these
 * are turned. One or two rows beyond whole vectors (a class token beside 16 or 49 patches) are not
 * worth a vector of their own: those numbers are summed across. */
static void times_block(cf_real *to, const cf_real *x, const cf_real *y, cf_real *yt, const span *b,
                        size_t hw, size_t hp)
{
    size_t past = b->rows % LEN, whole = LEN >= 8 && past <= 2 ? b->rows - past : b->w;
    turn(yt, y, whole, b->w, hp);
    if (whole)
        multiply_rows((product){ .m = b->keys,
                                 .n = whole,
                                 .k = hw,
                                 .a = x,
                                 .lda = hp,
                                 .b = yt,
                                 .ldb = b->w,
                                 .c = to,
                                 .ldc = b->w });
    if (whole == b->w) return;
    for (size_t j = 0; j < b->keys; j++) {
        vec sum[2] = { 0 }, numbers = { 0 };
        for (size_t c = 0; c < hp; c += LEN) {
            vec key = LOAD(x + j * hp + c);
            sum[0] += key * LOAD(y + whole * hp + c);
            sum[1] += key * LOAD(y + (b->w > whole + 1 ? whole + 1 : whole) * hp + c);
        }
        numbers[0] = across(sum[0]);
        numbers[1] = across(sum[1]);
        STORE(to + j * b->w + whole, numbers);
    }
}

/* The block's queries into q and qt, then their scores into s. */
static void scores(const cf_attention_args *a, const cf_attention_memory *m, const span *b,
                   size_t g, size_t h)
{
    size_t hp = cf_attention_width(a);
    const cf_real *q = a->q + g * a->q_group + b->at * a->q_row + h * a->hw;
    get_block(m->q, q, a->q_row, b->rows, b->w, a->hw, hp, 1 / (cf_real)sqrt((double)a->hw));
    times_block(m->s, m->k, m->q, m->qt, b, a->hw, hp);
    if (a->causal) hide(m->s, b->at, b->keys, b->w);
}

static void forward(const cf_attention_args *a, size_t g, size_t h, const cf_attention_memory *m)
{
    size_t hp = cf_attention_width(a);
    cf_real *lse = a->lse + (g * a->heads + h) * a->sq;
    get_keys(m->k, a, a->k, a->ek, g, h);
    get_keys(m->v, a, a->v, a->ev, g, h);
    for (size_t at = 0; at < a->sq; at += CF_ATTENTION_BLOCK) {
        const span b = span_at(a, at);
        cf_real *inverse = m->row + CF_ATTENTION_BLOCK;
        cf_real *out = a->out + (g * a->sq + at) * a->out_row + h * a->hw;
        scores(a, m, &b, g, h);
        exponentials(m->s, b.keys, b.w, m->row, inverse);
        memcpy(lse + at, m->row, b.rows * sizeof *lse);
        multiply_turned((product){ .m = b.rows,
                                   .n = hp,
                                   .k = b.keys,
                                   .a = m->s,
                                   .lda = b.w,
                                   .b = m->v,
                                   .ldb = hp,
                                   .c = m->y,
                                   .ldc = hp });
        put_rows(out, a->out_row, m->y, b.rows, a->hw, hp, 0, inverse, true);
    }
}

static void backward(const cf_attention_args *a, const cf_attention_grads *d, size_t g, size_t h,
                     const cf_attention_memory *m, cf_real *dq)
{
    size_t hp = cf_attention_width(a), keys = cf_attention_keys(a);
    cf_real factor = 1 / (cf_real)sqrt((double)a->hw);
    const cf_real *lse = a->lse + (g * a->heads + h) * a->sq;
    get_keys(m->k, a, a->k, a->ek, g, h);
    get_keys(m->v, a, a->v, a->ev, g, h);
    if (a->causal) { /* the first block does not reach all keys */
        memset(m->dk, 0, keys * hp * sizeof(cf_real));
        memset(m->dv, 0, keys * hp * sizeof(cf_real));
    }
    for (size_t at = 0; at < a->sq; at += CF_ATTENTION_BLOCK) {
        const span b = span_at(a, at);
        const cf_real *dout = d->dout + (g * a->sq + at) * a->out_row + h * a->hw;
        scores(a, m, &b, g, h);
        get_block(m->dy, dout, a->out_row, b.rows, b.w, a->hw, hp, 1);
        times_block(m->dp, m->v, m->dy, m->dyt, &b, a->hw, hp);
        memset(m->row, 0, b.w * sizeof(cf_real));
        memcpy(m->row, lse + at, b.rows * sizeof(cf_real));
        probabilities(m->s, m->dp, b.keys, b.w, m->row);
        product p = { .m = b.rows,
                      .n = hp,
                      .k = b.keys,
                      .a = m->dp,
                      .lda = b.w,
                      .b = m->k,
                      .ldb = hp,
                      .c = m->y,
                      .ldc = hp };
        if (dq) multiply_turned(p);
        if (dq)
            put_rows(dq + at * a->q_row, a->q_row, m->y, b.rows, a->hw, hp, factor, NULL,
                     d->dq_fresh);
        p.m = b.keys, p.k = b.rows, p.add = at > 0 || a->causal;
        p.b = m->q, p.c = m->dk;
        if (d->dk || d->dek) multiply_rows(p);
        p.a = m->s, p.b = m->dy, p.c = m->dv;
        if (d->dv || d->dev) multiply_rows(p);
    }
    put_keys(d->dk, d->dek, d->dk_fresh, d->dekv_fresh, m->dk, a, g, h);
    put_keys(d->dv, d->dev, d->dv_fresh, d->dekv_fresh, m->dv, a, g, h);
}

const cf_attention_job JOB = { forward, backward };
