/* Scaled dot-product attention (Vaswani et al. 2017, eq. 1), heads side by side in the last axis,
 * scores times head_width^-1/2.
 *   self    qkv [g, s, 3d] (query, key, value thirds); extra? [g, 2d]: one more key and value of
 *           each group, for tokens that are attended to but do not ask (X-CLIP's message); causal:
 *           row i sees rows 0 .. i (without extra); out [g, s, d]
 *   cross   q [g, sq, d], or [sq, d] shared by all groups; k, v [g, sk, d]; out [g, sq, d]
 *   keeps   log-sum-exp of each row's scores; backward recomputes the probabilities
 *   errors  CF_ESHAPE; CF_EINVAL: heads does not divide d, or causal with extra */
#include "crossframe/ops.h"

#include "ops_internal.h"

typedef struct {
    size_t heads;
    bool causal;
} param;

/* Shared end of both infers: sizes from the kernel's own arguments. */
static cf_status finish(cf_node *n, const cf_attention_args *a)
{
    cf_out_shape(n, cf_shape_of(a->groups, a->sq, a->heads * a->hw));
    n->n_keep = a->groups * a->heads * a->sq;
    n->n_scratch_forward = cf_attention_scratch(a, false);
    n->n_scratch_backward = cf_attention_scratch(a, true);
    double keys = (double)(a->sk + (a->ek ? 1 : 0));
    double product = 2.0 * (double)(a->groups * a->heads * a->sq) * keys * (double)a->hw;
    n->flop_forward = 2 * product;
    n->flop_backward = 5 * product;
    return CF_OK;
}

static cf_status check_heads(const char *op, size_t heads, size_t d)
{
    if (heads == 0 || d % heads != 0 || d == 0)
        return CF_FAIL(CF_EINVAL, "%s: %zu heads do not divide width %zu", op, heads, d);
    return CF_OK;
}

/* ---- self-attention -------------------------------------------------------------------------- */

enum { QKV, EXTRA };

static cf_attention_args self_args(const cf_node *n)
{
    const param *p = n->param;
    const cf_tensor *x = n->in[QKV], *extra = n->in[EXTRA];
    size_t s = x->shape.dim[1], w3 = x->shape.dim[2], d = w3 / 3;
    cf_attention_args a = {
        .groups = x->shape.dim[0],
        .heads = p->heads,
        .hw = d / p->heads,
        .sq = s,
        .sk = s,
        .q = x->data,
        .k = x->data + d,
        .v = x->data + 2 * d,
        .q_group = s * w3,
        .q_row = w3,
        .kv_group = s * w3,
        .kv_row = w3,
        .out = n->out->data,
        .out_row = d,
        .lse = n->keep,
        .causal = p->causal,
    };
    if (extra) {
        a.ek = extra->data;
        a.ev = extra->data + d;
        a.ekv_group = 2 * d;
    }
    return a;
}

static cf_status self_infer(cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 1));
    const param *p = n->param;
    const cf_tensor *x = n->in[QKV], *extra = n->in[EXTRA];
    cf_shape_text t1, t2;
    if (x->shape.rank != 3 || x->shape.dim[2] % 3 != 0 || x->n == 0)
        return CF_FAIL(CF_ESHAPE, "self_attention: qkv is %s, not [g, s, 3d]",
                       cf_shape_print(&t1, &x->shape));
    size_t d = x->shape.dim[2] / 3;
    CF_TRY(check_heads("self_attention", p->heads, d));
    if (extra && (extra->shape.rank != 2 || extra->shape.dim[0] != x->shape.dim[0] ||
                  extra->shape.dim[1] != 2 * d))
        return CF_FAIL(CF_ESHAPE, "self_attention: extra is %s, qkv is %s",
                       cf_shape_print(&t1, &extra->shape), cf_shape_print(&t2, &x->shape));
    if (extra && p->causal) return CF_FAIL(CF_EINVAL, "self_attention: causal with an extra key");
    cf_attention_args a = self_args(n);
    n->over =
        1u << QKV; /* a head's keys are copied, its queries read block by block before theirs */
    return finish(n, &a);
}

static void self_forward(const cf_node *n)
{
    cf_attention_args a = self_args(n);
    cf_attention_forward(&a, n->scratch);
}

static void self_backward(const cf_node *n)
{
    cf_attention_args a = self_args(n);
    size_t d = a.heads * a.hw;
    bool fresh, fresh_extra = false;
    cf_real *g = cf_grad_fresh(n, QKV, &fresh);
    cf_real *e = n->in[EXTRA] ? cf_grad_fresh(n, EXTRA, &fresh_extra) : NULL;
    cf_attention_grads grads = {
        .dout = n->out->grad,
        .dq_fresh = fresh,
        .dk_fresh = fresh,
        .dv_fresh = fresh,
        .dekv_fresh = fresh_extra,
        .dq = g,
        .dk = g ? g + d : NULL,
        .dv = g ? g + 2 * d : NULL,
        .dek = e,
        .dev = e ? e + d : NULL,
    };
    cf_attention_backward(&a, &grads, n->scratch);
}

const cf_op cf_op_self_attention = {
    .name = "self_attention",
    .family = "attention",
    .arity = 2,
    .param_size = sizeof(param),
    .infer = self_infer,
    .forward = self_forward,
    .backward = self_backward,
    .forgets_out = true,
};

cf_tensor *cf_self_attention(cf_tape *t, cf_tensor *qkv, cf_tensor *extra, size_t heads,
                             bool causal)
{
    cf_tensor *const in[] = { qkv, extra };
    return cf_apply(t, &cf_op_self_attention, in, &(param){ .heads = heads, .causal = causal });
}

/* ---- cross-attention ------------------------------------------------------------------------- */

enum { Q, K, V };

static cf_attention_args cross_args(const cf_node *n)
{
    const param *p = n->param;
    const cf_tensor *q = n->in[Q], *k = n->in[K];
    size_t sk = k->shape.dim[1], d = k->shape.dim[2];
    size_t sq = q->shape.dim[q->shape.rank - 2];
    return (cf_attention_args){
        .groups = k->shape.dim[0],
        .heads = p->heads,
        .hw = d / p->heads,
        .sq = sq,
        .sk = sk,
        .q = q->data,
        .k = k->data,
        .v = n->in[V]->data,
        .q_group = q->shape.rank == 3 ? sq * d : 0,
        .q_row = d,
        .kv_group = sk * d,
        .kv_row = d,
        .out = n->out->data,
        .out_row = d,
        .lse = n->keep,
    };
}

static cf_status cross_infer(cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 3));
    const param *p = n->param;
    const cf_tensor *q = n->in[Q], *k = n->in[K], *v = n->in[V];
    cf_shape_text t1, t2, t3;
    bool fits = k->shape.rank == 3 && cf_shape_equal(&k->shape, &v->shape) && k->n > 0 &&
                q->shape.rank >= 2 && q->shape.rank <= 3 && q->n > 0 &&
                cf_shape_last(&q->shape) == k->shape.dim[2] &&
                (q->shape.rank == 2 || q->shape.dim[0] == k->shape.dim[0]);
    if (!fits)
        return CF_FAIL(CF_ESHAPE, "cross_attention: q is %s, k is %s, v is %s",
                       cf_shape_print(&t1, &q->shape), cf_shape_print(&t2, &k->shape),
                       cf_shape_print(&t3, &v->shape));
    CF_TRY(check_heads("cross_attention", p->heads, k->shape.dim[2]));
    cf_attention_args a = cross_args(n);
    return finish(n, &a);
}

static void cross_forward(const cf_node *n)
{
    cf_attention_args a = cross_args(n);
    cf_attention_forward(&a, n->scratch);
}

static void cross_backward(const cf_node *n)
{
    cf_attention_args a = cross_args(n);
    cf_attention_grads g = { .dout = n->out->grad };
    g.dq = cf_grad_fresh(n, Q, &g.dq_fresh);
    g.dk = cf_grad_fresh(n, K, &g.dk_fresh);
    g.dv = cf_grad_fresh(n, V, &g.dv_fresh);
    cf_attention_backward(&a, &g, n->scratch);
}

const cf_op cf_op_cross_attention = {
    .name = "cross_attention",
    .family = "attention",
    .arity = 3,
    .param_size = sizeof(param),
    .infer = cross_infer,
    .forward = cross_forward,
    .backward = cross_backward,
    .forgets_out = true,
};

cf_tensor *cf_cross_attention(cf_tape *t, cf_tensor *q, cf_tensor *k, cf_tensor *v, size_t heads)
{
    cf_tensor *const in[] = { q, k, v };
    return cf_apply(t, &cf_op_cross_attention, in, &(param){ .heads = heads });
}
