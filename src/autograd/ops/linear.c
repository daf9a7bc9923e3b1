/* Linear layer with everything around it that would otherwise be a pass over memory:
 *   y = residual + s (act(x) W^T + bias)
 *   x [..., in], W [out, in] (in_out: [in, out], y = act(x) W), bias? [out], y [..., out]
 *   residual?  y's size, or fewer rows, which then repeat: row r takes residual row r mod R
 *   act        identity or QuickGELU (gelu_in): the activation before the layer, never kept
 *   s          1, or row_scale[r / rows_per_scale] (drop path: Huang et al. 2016, arXiv:1603.09382)
 *   keeps      nothing; backward makes act(x) again
 *   errors     CF_ESHAPE: sizes that do not fit. CF_EINVAL: rows_per_scale 0
 * Where the matrix product can do it on the way, bias, residual and activation are its own work;
 * otherwise, and with row_scale, the rows pass in panels that stay in cache. */
#include "crossframe/ops.h"

#include "ops_internal.h"

enum { X, WEIGHT, BIAS, RESIDUAL };

typedef struct {
    size_t rows, in, out, residual_rows, panel;
} sizes;

/* Where this is true it stays so: what infer left out is not missed later. */
static bool fuses(const sizes *s)
{
    bool here;
    return s->rows > 0 && s->in > 0 && cf_gemm_fuses(&here) == CF_OK && here;
}

/* The activation is the products' own work, both ways; row_scale is not, in backward. */
static bool fuses_gelu(const cf_linear_options *o, const sizes *s)
{
    return o->gelu_in && !o->row_scale && fuses(s);
}

/* Then panels serve only an x that had a gradient before, from somebody else who read it. */
#define THIN_PANEL_BYTES (CF_PANEL_BYTES / 16)

static sizes sizes_of(const cf_node *n)
{
    const cf_linear_options *o = n->param;
    const cf_tensor *w = n->in[WEIGHT];
    sizes s = { .in = w->shape.dim[o->in_out ? 0 : 1], .out = w->shape.dim[o->in_out ? 1 : 0] };
    s.rows = s.in ? n->in[X]->n / s.in : 0;
    s.residual_rows = n->in[RESIDUAL] && s.out ? n->in[RESIDUAL]->n / s.out : 0;
    size_t wide = (s.in > s.out ? s.in : s.out) * sizeof(cf_real);
    size_t most = fuses_gelu(o, &s) ? THIN_PANEL_BYTES : CF_PANEL_BYTES;
    s.panel = (o->gelu_in || o->row_scale) && wide ? most / wide + 1 : s.rows;
    if (s.panel > s.rows) s.panel = s.rows;
    return s;
}

static cf_status check(const cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 2));
    const cf_linear_options *o = n->param;
    const cf_tensor *x = n->in[X], *w = n->in[WEIGHT], *b = n->in[BIAS], *r = n->in[RESIDUAL];
    cf_shape_text t1, t2;
    if (w->shape.rank != 2)
        return CF_FAIL(CF_ESHAPE, "linear: weight is %s, not a matrix",
                       cf_shape_print(&t1, &w->shape));
    sizes s = sizes_of(n);
    if (x->shape.rank < 1 || cf_shape_last(&x->shape) != s.in || s.out == 0)
        return CF_FAIL(CF_ESHAPE, "linear: x is %s, weight is %s", cf_shape_print(&t1, &x->shape),
                       cf_shape_print(&t2, &w->shape));
    if (b && (b->shape.rank != 1 || b->n != s.out))
        return CF_FAIL(CF_ESHAPE, "linear: bias is %s, weight is %s",
                       cf_shape_print(&t1, &b->shape), cf_shape_print(&t2, &w->shape));
    if (r && (cf_shape_last(&r->shape) != s.out || s.residual_rows == 0 ||
              s.rows % s.residual_rows != 0))
        return CF_FAIL(CF_ESHAPE, "linear: residual is %s, y has %zu rows of %zu",
                       cf_shape_print(&t1, &r->shape), s.rows, s.out);
    if (o->row_scale && o->rows_per_scale == 0)
        return CF_FAIL(CF_EINVAL, "linear: rows_per_scale is 0");
    return CF_OK;
}

/* Elements of act(x) that backward makes. */
static size_t act_panel(const cf_node *n, const sizes *s)
{
    const cf_linear_options *o = n->param;
    bool none = !o->gelu_in || (!n->in[X]->needs_grad && fuses_gelu(o, s));
    return none ? 0 : s->panel * s->in;
}

/* The gradient of x may be written over x: all of dW is computed before, and a slope is applied
 * where it is read. */
static bool writes_over(const cf_linear_options *o, const sizes *s)
{
    if (o->gelu_in) return fuses_gelu(o, s) && s->out <= CF_GEMM_ONE_PASS;
    return !o->row_scale;
}

static cf_status infer(cf_node *n)
{
    CF_TRY(check(n));
    const cf_linear_options *o = n->param;
    sizes s = sizes_of(n);
    cf_shape shape = n->in[X]->shape;
    shape.dim[shape.rank - 1] = s.out;
    cf_out_shape(n, shape);
    if (s.residual_rows == s.rows) n->pass = RESIDUAL + 1;
    if (writes_over(o, &s)) n->over = 1u << X;
    n->n_scratch_forward = o->gelu_in && !fuses(&s) ? s.panel * s.in : 0;
    size_t columns = n->in[BIAS] ? cf_col_sum_scratch(s.out) : 0;
    n->n_scratch_backward = act_panel(n, &s) + (o->row_scale ? s.panel * s.out : 0) + columns + 16;
    n->flop_forward = 2.0 * (double)s.rows * (double)s.in * (double)s.out;
    n->flop_backward =
        n->flop_forward * ((n->in[X]->needs_grad ? 1 : 0) + (n->in[WEIGHT]->needs_grad ? 1 : 0));
    return CF_OK;
}

/* y row = bias and / or residual row, to which the product is added */
static void prefill(cf_real *y, const cf_real *bias, const cf_real *residual, const sizes *s)
{
    bool large = s->rows * s->out >= 16384;
#pragma omp parallel for schedule(static) if (large)
    for (size_t r = 0; r < s->rows; r++) {
        cf_real *to = y + r * s->out;
        const cf_real *from = residual ? residual + r % s->residual_rows * s->out : NULL;
        if (bias && from) {
#pragma omp simd
            for (size_t j = 0; j < s->out; j++) to[j] = bias[j] + from[j];
        } else {
            const cf_real *one = bias ? bias : from;
#pragma omp simd
            for (size_t j = 0; j < s->out; j++) to[j] = one[j];
        }
    }
}

/* y row = residual + scale y row */
static void scale_branch(cf_real *y, const cf_real *residual, const sizes *s,
                         const cf_linear_options *o)
{
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < s->rows; r++) {
        cf_real *to = y + r * s->out, k = o->row_scale[r / o->rows_per_scale];
        const cf_real *from = residual ? residual + r % s->residual_rows * s->out : NULL;
        for (size_t j = 0; j < s->out; j++) to[j] = (from ? from[j] : 0) + k * to[j];
    }
}

static void forward_fused(const cf_node *n, const sizes *s)
{
    const cf_linear_options *o = n->param;
    const cf_tensor *bias = n->in[BIAS], *residual = n->in[RESIDUAL];
    const cf_gemm_extra extra = { .gelu_a = o->gelu_in,
                                  .bias = bias ? bias->data : NULL,
                                  .add = residual && !o->row_scale ? residual->data : NULL,
                                  .add_rows = s->residual_rows };
    cf_gemm_fused(false, !o->in_out, s->rows, s->out, s->in, n->in[X]->data, s->in,
                  n->in[WEIGHT]->data, o->in_out ? s->out : s->in, 0, n->out->data, &extra);
    if (o->row_scale) scale_branch(n->out->data, residual ? residual->data : NULL, s, o);
}

static void forward(const cf_node *n)
{
    const cf_linear_options *o = n->param;
    sizes s = sizes_of(n);
    if (fuses(&s)) {
        forward_fused(n, &s);
        return;
    }
    const cf_real *bias = n->in[BIAS] ? n->in[BIAS]->data : NULL;
    const cf_real *residual = n->in[RESIDUAL] ? n->in[RESIDUAL]->data : NULL;
    const cf_real *added = o->row_scale ? NULL : residual;
    cf_real *y = n->out->data, beta = bias || added ? 1 : 0;
    if (beta != 0) prefill(y, bias, added, &s);
    for (size_t at = 0; at < s.rows; at += s.panel) {
        size_t rows = s.rows - at < s.panel ? s.rows - at : s.panel;
        const cf_real *x = n->in[X]->data + at * s.in;
        if (o->gelu_in) {
            cf_quick_gelu_forward(n->scratch, x, rows * s.in);
            x = n->scratch;
        }
        cf_gemm(false, !o->in_out, rows, s.out, s.in, 1, x, s.in, n->in[WEIGHT]->data,
                o->in_out ? s.out : s.in, beta, y + at * s.out, s.out);
    }
    if (o->row_scale) scale_branch(y, residual, &s, o);
}

/* dW = beta dW + dy^T act(x), or act(x)^T dy when the weight is [in, out] */
static void weight_gradient(cf_real *dw, const cf_real *dy, const cf_real *x, size_t rows,
                            const sizes *s, bool in_out, cf_real beta)
{
    if (in_out)
        cf_gemm(true, false, s->in, s->out, rows, 1, x, s->in, dy, s->out, beta, dw, s->out);
    else
        cf_gemm(true, false, s->out, s->in, rows, 1, dy, s->out, x, s->in, beta, dw, s->in);
}

/* The residual's gradient is y's, summed over repeats where it repeats. */
static void residual_gradient(const cf_node *n, const sizes *s)
{
    if (!n->in[RESIDUAL] || !n->in[RESIDUAL]->needs_grad) return;
    if (n->pass) {
        cf_grad_pass(n);
        return;
    }
    cf_real *dr = cf_grad(n, RESIDUAL);
    size_t block = s->residual_rows * s->out;
    for (size_t at = 0; dr && at < s->rows * s->out; at += block)
        cf_vec_add(dr, n->out->grad + at, block);
}

/* act(x) is computed as the product for dw reads x, its slope as the product for dx is stored; dx
 * holds nothing yet. */
static void backward_fused(const cf_node *n, const sizes *s, cf_real *dx, cf_real *dw, cf_real *db,
                           cf_real *columns, cf_real beta)
{
    const cf_linear_options *o = n->param;
    const cf_real *x = n->in[X]->data, *dy = n->out->grad, *w = n->in[WEIGHT]->data;
    const cf_gemm_extra slope = { .slope = x };
    const cf_gemm_extra act = { .gelu_a = o->in_out, .gelu_b = !o->in_out };
    if (db) cf_col_sum(db, dy, s->rows, s->out, s->out, columns);
    if (dw && o->in_out)
        cf_gemm_fused(true, false, s->in, s->out, s->rows, x, s->in, dy, s->out, beta, dw, &act);
    else if (dw)
        cf_gemm_fused(true, false, s->out, s->in, s->rows, dy, s->out, x, s->in, beta, dw, &act);
    if (dx)
        cf_gemm_fused(false, o->in_out, s->rows, s->in, s->out, dy, s->out, w,
                      o->in_out ? s->out : s->in, 0, dx, &slope);
}

static void backward(const cf_node *n)
{
    const cf_linear_options *o = n->param;
    sizes s = sizes_of(n);
    bool fresh, stores;
    cf_real *dx = cf_grad_fresh(n, X, &fresh), *dw = cf_grad_fresh(n, WEIGHT, &stores);
    if (dw && stores && s.rows == 0) cf_vec_zero(dw, s.in * s.out);
    cf_real *db = n->in[BIAS] ? cf_grad(n, BIAS) : NULL;
    cf_real *act = n->scratch, *scaled = act + act_panel(n, &s);
    cf_real *columns = scaled + (o->row_scale ? s.panel * s.out : 0);
    if ((fresh || !dx) && fuses_gelu(o, &s)) {
        backward_fused(n, &s, dx, dw, db, columns, stores ? 0 : 1);
        residual_gradient(n, &s);
        return;
    }
    for (size_t at = 0; at < s.rows; at += s.panel) {
        size_t rows = s.rows - at < s.panel ? s.rows - at : s.panel;
        const cf_real *x = n->in[X]->data + at * s.in, *dy = n->out->grad + at * s.out;
        if (o->row_scale) {
            for (size_t r = 0; r < rows; r++) {
                cf_real k = o->row_scale[(at + r) / o->rows_per_scale];
                for (size_t j = 0; j < s.out; j++) scaled[r * s.out + j] = k * dy[r * s.out + j];
            }
            dy = scaled;
        }
        if (db) cf_col_sum(db, dy, rows, s.out, s.out, columns);
        cf_real beta = stores && at == 0 ? 0 : 1;
        if (dw && o->gelu_in) {
            cf_quick_gelu_forward(act, x, rows * s.in);
            weight_gradient(dw, dy, act, rows, &s, o->in_out, beta);
        } else if (dw) {
            weight_gradient(dw, dy, x, rows, &s, o->in_out, beta);
        }
        if (!dx) continue;
        cf_real *to = dx + at * s.in, *product = o->gelu_in && !fresh ? act : to;
        cf_gemm(false, o->in_out, rows, s.in, s.out, 1, dy, s.out, n->in[WEIGHT]->data,
                o->in_out ? s.out : s.in, product == to && !fresh ? 1 : 0, product, s.in);
        if (o->gelu_in) cf_quick_gelu_backward(to, product, x, rows * s.in, !fresh);
    }
    residual_gradient(n, &s);
}

const cf_op cf_op_linear = {
    .name = "linear",
    .family = "gemm",
    .arity = 4,
    .param_size = sizeof(cf_linear_options),
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .forgets_out = true,
};

cf_tensor *cf_linear(cf_tape *t, cf_tensor *x, cf_tensor *weight, cf_tensor *bias,
                     cf_tensor *residual, const cf_linear_options *options)
{
    static const cf_linear_options none;
    cf_tensor *const in[] = { x, weight, bias, residual };
    return cf_apply(t, &cf_op_linear, in, options ? options : &none);
}
