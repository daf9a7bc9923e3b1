/* Matrix product over the last two axes.
 *   y_i = op(a_i) op(b_i), op(x) = x^T where its flag is set
 *   a [..., m, k] ([..., k, m] with ta); b [..., k, n] ([..., n, k] with tb), or without leading
 *   axes and then shared by all i; y [..., m, n]
 *   da_i = dy_i op(b_i)^T, db_i = op(a_i)^T dy_i, each transposed where its flag is set; a shared b
 *   sums db over i, in order
 *   keeps  nothing
 *   errors CF_ESHAPE: fewer than two axes, inner or leading sizes that differ, an empty input */
#include "ops_internal.h"

typedef struct {
    bool ta, tb;
} matmul_param;

typedef struct {
    size_t batch, m, n, k;
    size_t lda, ldb, stride_b; /* stride_b 0: shared */
} sizes;

static sizes sizes_of(const cf_node *node)
{
    const matmul_param *p = node->param;
    const cf_shape *a = &node->in[0]->shape, *b = &node->in[1]->shape;
    sizes s = { .lda = a->dim[a->rank - 1], .ldb = b->dim[b->rank - 1] };
    size_t a_rows = a->dim[a->rank - 2], b_rows = b->dim[b->rank - 2];
    s.m = p->ta ? s.lda : a_rows;
    s.k = p->ta ? a_rows : s.lda;
    s.n = p->tb ? b_rows : s.ldb;
    s.batch = node->in[0]->n / (s.m * s.k);
    s.stride_b = b->rank == 2 ? 0 : s.k * s.n;
    /* Rows of all a_i lie one after the other: with one b it is a single product. */
    if (!p->ta && s.stride_b == 0) {
        s.m *= s.batch;
        s.batch = 1;
    }
    return s;
}

static cf_status matmul_infer(cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 2));
    const matmul_param *p = n->param;
    const cf_shape *a = &n->in[0]->shape, *b = &n->in[1]->shape;
    bool fits = a->rank >= 2 && b->rank >= 2 && n->in[0]->n > 0 && n->in[1]->n > 0 &&
                (b->rank == 2 || b->rank == a->rank);
    for (int i = 0; fits && b->rank > 2 && i < a->rank - 2; i++) fits = a->dim[i] == b->dim[i];
    if (fits) fits = a->dim[a->rank - (p->ta ? 2 : 1)] == b->dim[b->rank - (p->tb ? 1 : 2)];
    if (!fits)
        return CF_FAIL(CF_ESHAPE, "matmul: a is %s%s, b is %s%s", CF_SHAPE_TEXT(*a),
                       p->ta ? " transposed" : "", CF_SHAPE_TEXT(*b), p->tb ? " transposed" : "");
    cf_shape y = *a;
    y.dim[y.rank - 2] = a->dim[a->rank - (p->ta ? 1 : 2)];
    y.dim[y.rank - 1] = b->dim[b->rank - (p->tb ? 2 : 1)];
    cf_out_shape(n, y);
    sizes s = sizes_of(n);
    n->flop_forward = 2.0 * (double)(s.batch * s.m) * (double)s.n * (double)s.k;
    n->flop_backward = n->flop_forward * (n->in[0]->needs_grad + n->in[1]->needs_grad);
    return CF_OK;
}

static void matmul_forward(const cf_node *n)
{
    const matmul_param *p = n->param;
    sizes s = sizes_of(n);
    cf_gemm_batch(s.batch, p->ta, p->tb, s.m, s.n, s.k, 1, n->in[0]->data, s.lda, s.m * s.k,
                  n->in[1]->data, s.ldb, s.stride_b, 0, n->out->data, s.n, s.m * s.n);
}

static void add_da(const cf_node *n, const sizes *s)
{
    const matmul_param *p = n->param;
    const cf_real *dy = n->out->grad, *b = n->in[1]->data;
    bool fresh;
    cf_real *da = cf_grad_fresh(n, 0, &fresh);
    if (da && p->ta)
        cf_gemm_batch(s->batch, p->tb, true, s->k, s->m, s->n, 1, b, s->ldb, s->stride_b, dy, s->n,
                      s->m * s->n, fresh ? 0 : 1, da, s->lda, s->m * s->k);
    else if (da)
        cf_gemm_batch(s->batch, false, !p->tb, s->m, s->k, s->n, 1, dy, s->n, s->m * s->n, b,
                      s->ldb, s->stride_b, fresh ? 0 : 1, da, s->lda, s->m * s->k);
}

static void add_db(const cf_node *n, const sizes *s)
{
    const matmul_param *p = n->param;
    const cf_real *dy = n->out->grad, *a = n->in[0]->data;
    bool fresh;
    cf_real *db = cf_grad_fresh(n, 1, &fresh);
    if (!db) return;
    /* One product at a time into a shared b: each adds to what the one before left. */
    bool shared = s->stride_b == 0;
    size_t rounds = shared ? s->batch : 1, batch = shared ? 1 : s->batch;
    for (size_t i = 0; i < rounds; i++) {
        const cf_real *a_i = a + i * s->m * s->k, *dy_i = dy + i * s->m * s->n;
        cf_real beta = fresh && i == 0 ? 0 : 1;
        if (p->tb)
            cf_gemm_batch(batch, true, p->ta, s->n, s->k, s->m, 1, dy_i, s->n, s->m * s->n, a_i,
                          s->lda, s->m * s->k, beta, db, s->ldb, s->stride_b);
        else
            cf_gemm_batch(batch, !p->ta, false, s->k, s->n, s->m, 1, a_i, s->lda, s->m * s->k, dy_i,
                          s->n, s->m * s->n, beta, db, s->ldb, s->stride_b);
    }
}

static void matmul_backward(const cf_node *n)
{
    sizes s = sizes_of(n);
    add_da(n, &s);
    add_db(n, &s);
}

const cf_op cf_op_matmul = {
    .name = "matmul",
    .family = "gemm",
    .arity = 2,
    .param_size = sizeof(matmul_param),
    .infer = matmul_infer,
    .forward = matmul_forward,
    .backward = matmul_backward,
};

cf_tensor *cf_matmul(cf_tape *t, cf_tensor *a, cf_tensor *b, bool ta, bool tb)
{
    cf_tensor *const in[] = { a, b };
    return cf_apply(t, &cf_op_matmul, in, &(matmul_param){ ta, tb });
}
