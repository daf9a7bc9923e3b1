/* Layer normalisation and the linear layer behind it, without the normalised rows in memory:
 *   y = n W^T + bias,  n = (x - mean) / sqrt(var + eps) * scale + shift  (layer_norm.c)
 *   x [..., in]; scale, shift [in]; W [out, in]; bias? [out]; y [..., out]
 *   dW = dy^T n, n being made again;  dn = dy W, and from it dx, dscale, dshift
 *   keeps  mean and 1/std of each row: two numbers instead of the `in` of n
 *   errors CF_ESHAPE: sizes that do not fit. CF_EINVAL: eps <= 0
 * Rows pass in panels that stay in cache. */
#include "ops_internal.h"

enum { X, SCALE, SHIFT, WEIGHT, BIAS };

typedef struct {
    cf_real eps;
} param;

typedef struct {
    size_t rows, in, out, panel;
} sizes;

static sizes sizes_of(const cf_node *n)
{
    sizes s = { .in = n->in[WEIGHT]->shape.dim[1], .out = n->in[WEIGHT]->shape.dim[0] };
    s.rows = s.in ? n->in[X]->n / s.in : 0;
    s.panel = CF_PANEL_BYTES / ((s.in + 1) * sizeof(cf_real)) + 1;
    if (s.panel > s.rows) s.panel = s.rows;
    return s;
}

static size_t aligned(size_t n) { return (n + 15) / 16 * 16; }

static cf_status check(const cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 4));
    const cf_tensor *x = n->in[X], *w = n->in[WEIGHT], *b = n->in[BIAS];
    if (w->shape.rank != 2 || w->n == 0 || x->shape.rank < 1 ||
        cf_shape_last(&x->shape) != w->shape.dim[1])
        return CF_FAIL(CF_ESHAPE, "norm_linear: x is %s, weight is %s", CF_SHAPE_TEXT(x->shape),
                       CF_SHAPE_TEXT(w->shape));
    for (int i = SCALE; i <= SHIFT; i++)
        if (n->in[i]->shape.rank != 1 || n->in[i]->n != w->shape.dim[1])
            return CF_FAIL(CF_ESHAPE, "norm_linear: %s is %s, weight is %s",
                           i == SCALE ? "scale" : "shift", CF_SHAPE_TEXT(n->in[i]->shape),
                           CF_SHAPE_TEXT(w->shape));
    if (b && (b->shape.rank != 1 || b->n != w->shape.dim[0]))
        return CF_FAIL(CF_ESHAPE, "norm_linear: bias is %s, weight is %s", CF_SHAPE_TEXT(b->shape),
                       CF_SHAPE_TEXT(w->shape));
    const param *p = n->param;
    if (!(p->eps > 0))
        return CF_FAIL(CF_EINVAL, "norm_linear: eps is %g, not positive", (double)p->eps);
    return CF_OK;
}

static cf_status infer(cf_node *n)
{
    CF_TRY(check(n));
    sizes s = sizes_of(n);
    cf_shape shape = n->in[X]->shape;
    shape.dim[shape.rank - 1] = s.out;
    cf_out_shape(n, shape);
    n->n_keep = 2 * s.rows;
    n->n_scratch_forward = s.panel * s.in;
    size_t sums = n->in[BIAS] ? cf_col_sum_scratch(s.out) : 0, norm = cf_layer_norm_scratch(s.in);
    n->n_scratch_backward = aligned(s.panel * s.in) + (sums > norm ? sums : norm);
    bool rows_wanted = n->in[X]->needs_grad || n->in[SCALE]->needs_grad || n->in[SHIFT]->needs_grad;
    n->flop_forward = 2.0 * (double)s.rows * (double)s.in * (double)s.out;
    n->flop_backward = n->flop_forward * (rows_wanted + n->in[WEIGHT]->needs_grad);
    return CF_OK;
}

/* y = n W^T + bias */
static void product(cf_real *y, const cf_real *normed, const cf_node *n, const sizes *s,
                    size_t rows)
{
    const cf_real *w = n->in[WEIGHT]->data, *bias = n->in[BIAS] ? n->in[BIAS]->data : NULL;
    bool here;
    if (cf_gemm_fuses(&here) == CF_OK && here) {
        const cf_gemm_extra extra = { .bias = bias };
        cf_gemm_fused(false, true, rows, s->out, s->in, normed, s->in, w, s->in, 0, y, &extra);
        return;
    }
    for (size_t r = 0; bias && r < rows; r++) memcpy(y + r * s->out, bias, s->out * sizeof *y);
    cf_gemm(false, true, rows, s->out, s->in, 1, normed, s->in, w, s->in, bias ? 1 : 0, y, s->out);
}

static void forward(const cf_node *n)
{
    const param *p = n->param;
    sizes s = sizes_of(n);
    for (size_t at = 0; at < s.rows; at += s.panel) {
        size_t rows = s.rows - at < s.panel ? s.rows - at : s.panel;
        cf_layer_norm_forward(n->scratch, n->keep + at, n->keep + s.rows + at,
                              n->in[X]->data + at * s.in, n->in[SCALE]->data, n->in[SHIFT]->data,
                              rows, s.in, p->eps);
        product(n->out->data + at * s.out, n->scratch, n, &s, rows);
    }
}

static void backward(const cf_node *n)
{
    sizes s = sizes_of(n);
    bool fresh, stores;
    cf_real *dx = cf_grad_fresh(n, X, &fresh), *dw;
    cf_real *dscale = cf_grad(n, SCALE), *dshift = cf_grad(n, SHIFT);
    dw = cf_grad_fresh(n, WEIGHT, &stores);
    if (dw && stores && s.rows == 0) cf_vec_zero(dw, s.in * s.out);
    cf_real *db = n->in[BIAS] ? cf_grad(n, BIAS) : NULL;
    cf_real *panel = n->scratch, *sums = panel + aligned(s.panel * s.in);
    const cf_real *scale = n->in[SCALE]->data, *w = n->in[WEIGHT]->data;
    for (size_t at = 0; at < s.rows; at += s.panel) {
        size_t rows = s.rows - at < s.panel ? s.rows - at : s.panel;
        const cf_real *x = n->in[X]->data + at * s.in, *dy = n->out->grad + at * s.out;
        const cf_real *mean = n->keep + at, *rstd = n->keep + s.rows + at;
        if (db) cf_col_sum(db, dy, rows, s.out, s.out, sums);
        if (dw) {
            cf_layer_norm_again(panel, mean, rstd, x, scale, n->in[SHIFT]->data, rows, s.in);
            cf_gemm(true, false, s.out, s.in, rows, 1, dy, s.out, panel, s.in,
                    stores && at == 0 ? 0 : 1, dw, s.in);
        }
        if (!dx && !dscale && !dshift) continue;
        cf_gemm(false, false, rows, s.in, s.out, 1, dy, s.out, w, s.in, 0, panel, s.in);
        cf_layer_norm_backward(dx ? dx + at * s.in : NULL, !fresh, dscale, dshift, panel, x, mean,
                               rstd, scale, rows, s.in, sums);
    }
}

const cf_op cf_op_norm_linear = {
    .name = "norm_linear",
    .family = "gemm",
    .arity = 5,
    .param_size = sizeof(param),
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .forgets_out = true,
};

cf_tensor *cf_norm_linear(cf_tape *t, cf_tensor *x, cf_tensor *scale, cf_tensor *shift,
                          cf_tensor *weight, cf_tensor *bias, cf_real eps)
{
    cf_tensor *const in[] = { x, scale, shift, weight, bias };
    return cf_apply(t, &cf_op_norm_linear, in, &(param){ eps });
}
