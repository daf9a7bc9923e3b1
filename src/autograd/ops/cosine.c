/* Vectors divided by their length, and cosine scores. */
#include "ops_internal.h"

CF_KERNEL static double dot(const cf_real *x, const cf_real *y, size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

/* inverse[r] = 1 / |row r|; no epsilon: a row of zeros gives inf, and the scores NaN. */
static void inverse_norms(cf_real *inverse, const cf_real *x, size_t rows, size_t n)
{
#pragma omp parallel for schedule(static) if (rows * n >= CF_PARALLEL_MIN)
    for (size_t r = 0; r < rows; r++)
        inverse[r] = (cf_real)(1 / sqrt(dot(x + r * n, x + r * n, n)));
}

/* ---- l2_normalize ------------------------------------------------------------------------------
 *   y = x / |x| over the last axis, no epsilon
 *   x, y [..., e];  dx = (dy - y (y . dy)) / |x|
 *   keeps  1 / |x| of each row
 *   errors CF_ESHAPE: x is one number or empty */
static cf_status l2_infer(cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 1));
    const cf_tensor *x = n->in[0];
    if (x->shape.rank == 0 || x->n == 0)
        return CF_FAIL(CF_ESHAPE, "l2_normalize: x is %s, not [..., e]", CF_SHAPE_TEXT(x->shape));
    cf_out_shape(n, x->shape);
    n->n_keep = x->n / cf_shape_last(&x->shape);
    return CF_OK;
}

CF_KERNEL static void scaled_copy(cf_real *y, const cf_real *x, cf_real a, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] = x[i] * a;
}

static void l2_forward(const cf_node *n)
{
    size_t e = cf_shape_last(&n->out->shape), rows = n->out->n / e;
    const cf_real *x = n->in[0]->data;
    cf_real *y = n->out->data;
    inverse_norms(n->keep, x, rows, e);
#pragma omp parallel for schedule(static) if (rows * e >= CF_PARALLEL_MIN)
    for (size_t r = 0; r < rows; r++) scaled_copy(y + r * e, x + r * e, n->keep[r], e);
}

CF_KERNEL static void l2_row_backward(cf_real *dx, const cf_real *dy, const cf_real *y,
                                      cf_real along, cf_real inverse, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) dx[i] += (dy[i] - y[i] * along) * inverse;
}

static void l2_backward(const cf_node *n)
{
    size_t e = cf_shape_last(&n->out->shape), rows = n->out->n / e;
    const cf_real *y = n->out->data, *dy = n->out->grad;
    cf_real *dx = cf_grad(n, 0);
    if (!dx) return;
#pragma omp parallel for schedule(static) if (rows * e >= CF_PARALLEL_MIN)
    for (size_t r = 0; r < rows; r++) {
        cf_real along = (cf_real)dot(y + r * e, dy + r * e, e);
        l2_row_backward(dx + r * e, dy + r * e, y + r * e, along, n->keep[r], e);
    }
}

const cf_op cf_op_l2_normalize = {
    .name = "l2_normalize",
    .family = "norm",
    .arity = 1,
    .infer = l2_infer,
    .forward = l2_forward,
    .backward = l2_backward,
};

cf_tensor *cf_l2_normalize(cf_tape *t, cf_tensor *x)
{
    cf_tensor *const in[] = { x };
    return cf_apply(t, &cf_op_l2_normalize, in, NULL);
}

/* ---- cosine_scores -----------------------------------------------------------------------------
 *   y[b, k] = s cos(v_b, c_bk),  s = exp(logit_scale)
 *   v [b, e]; c [b, K, e], or [K, e] shared by all b; logit_scale one number; y [b, K]
 *   with v^ = v / |v|, c^ = c / |c|, g = dy s:
 *     dv_b  = sum_k g (c^_bk - cos v^_b) / |v_b|
 *     dc_bk = g (v^_b - cos c^_bk) / |c_bk|, summed over b where c is shared
 *     dlogit_scale = sum dy y
 *   keeps  1 / |v| [b], 1 / |c| of each row of c
 *   errors CF_ESHAPE: v is not [b, e], c not [b, K, e] or [K, e], logit_scale not one number
 *   source Radford et al. 2021, arXiv:2103.00020, fig. 3 */
typedef struct {
    size_t b, k, e, c_rows;
    bool shared;
} sizes;

static sizes sizes_of(const cf_node *n)
{
    const cf_tensor *v = n->in[0], *c = n->in[1];
    sizes s = { .b = v->shape.dim[0], .e = v->shape.dim[1], .shared = c->shape.rank == 2 };
    s.c_rows = c->n / s.e;
    s.k = c->shape.dim[c->shape.rank - 2];
    return s;
}

static cf_status cosine_infer(cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 3));
    const cf_shape *v = &n->in[0]->shape, *c = &n->in[1]->shape;
    if (v->rank != 2 || n->in[0]->n == 0)
        return CF_FAIL(CF_ESHAPE, "cosine_scores: v is %s, not [b, e]", CF_SHAPE_TEXT(*v));
    bool fits = (c->rank == 2 || (c->rank == 3 && c->dim[0] == v->dim[0])) &&
                c->dim[c->rank - 1] == v->dim[1] && n->in[1]->n > 0;
    if (!fits)
        return CF_FAIL(CF_ESHAPE, "cosine_scores: c is %s, not [%zu, K, %zu] or [K, %zu]",
                       CF_SHAPE_TEXT(*c), v->dim[0], v->dim[1], v->dim[1]);
    if (n->in[2]->n != 1)
        return CF_FAIL(CF_ESHAPE, "cosine_scores: logit_scale is %s, not one number",
                       CF_SHAPE_TEXT(n->in[2]->shape));
    sizes s = sizes_of(n);
    cf_out_shape(n, cf_shape_of(s.b, s.k));
    n->n_keep = s.b + s.c_rows;
    n->flop_forward = 2.0 * (double)(s.b * s.k) * (double)s.e;
    n->flop_backward = n->flop_forward * (n->in[0]->needs_grad + n->in[1]->needs_grad);
    return CF_OK;
}

static void cosine_forward(const cf_node *n)
{
    sizes s = sizes_of(n);
    const cf_real *v = n->in[0]->data, *c = n->in[1]->data;
    cf_real *inverse_v = n->keep, *inverse_c = n->keep + s.b, *y = n->out->data;
    cf_real scale = exp(n->in[2]->data[0]);
    inverse_norms(inverse_v, v, s.b, s.e);
    inverse_norms(inverse_c, c, s.c_rows, s.e);
#pragma omp parallel for schedule(static) if (s.b * s.k * s.e >= CF_PARALLEL_MIN)
    for (size_t i = 0; i < s.b * s.k; i++) {
        size_t row = s.shared ? i % s.k : i;
        double d = dot(v + i / s.k * s.e, c + row * s.e, s.e);
        y[i] = (cf_real)(d * (double)inverse_v[i / s.k] * (double)inverse_c[row]) * scale;
    }
}

#define STRIPE ((size_t)64)

/* Columns [at, at + width) of dv for one video. */
CF_KERNEL static void dv_stripe(cf_real *dv, const cf_real *v, const cf_real *c, const cf_real *dy,
                                const cf_real *y, const cf_real *inverse_c, const sizes *s,
                                cf_real inverse_v, cf_real scale, size_t width)
{
    cf_real acc[STRIPE] = { 0 };
    double along = 0; /* sum of g cos = dy y */
    for (size_t k = 0; k < s->k; k++) {
        cf_real weight = dy[k] * scale * inverse_c[k];
        along += (double)dy[k] * (double)y[k];
#pragma omp simd
        for (size_t j = 0; j < width; j++) acc[j] += weight * c[k * s->e + j];
    }
    cf_real back = (cf_real)along * inverse_v;
    for (size_t j = 0; j < width; j++) dv[j] += inverse_v * (acc[j] - back * v[j]);
}

static void add_dv(cf_real *dv, const cf_node *n, const sizes *s, cf_real scale)
{
    size_t stripes = (s->e + STRIPE - 1) / STRIPE;
#pragma omp parallel for schedule(static) if (s->b * s->k * s->e >= CF_PARALLEL_MIN)
    for (size_t task = 0; task < s->b * stripes; task++) {
        size_t b = task / stripes, at = task % stripes * STRIPE;
        size_t c_row = s->shared ? 0 : b * s->k;
        dv_stripe(dv + b * s->e + at, n->in[0]->data + b * s->e + at,
                  n->in[1]->data + c_row * s->e + at, n->out->grad + b * s->k,
                  n->out->data + b * s->k, n->keep + s->b + c_row, s, n->keep[b], scale,
                  s->e - at < STRIPE ? s->e - at : STRIPE);
    }
}

CF_KERNEL static void dc_row(cf_real *dc, const cf_real *v, const cf_real *c, cf_real of_v,
                             cf_real of_c, size_t n)
{
#pragma omp simd
    for (size_t j = 0; j < n; j++) dc[j] += of_v * v[j] - of_c * c[j];
}

static void add_dc(cf_real *dc, const cf_node *n, const sizes *s, cf_real scale)
{
    const cf_real *inverse_v = n->keep, *inverse_c = n->keep + s->b;
#pragma omp parallel for schedule(static) if (s->b * s->k * s->e >= CF_PARALLEL_MIN)
    for (size_t row = 0; row < s->c_rows; row++) {
        size_t first = s->shared ? 0 : row / s->k, end = s->shared ? s->b : first + 1;
        for (size_t b = first; b < end; b++) {
            size_t i = s->shared ? b * s->k + row : row;
            cf_real dy = n->out->grad[i], inverse = inverse_c[row];
            dc_row(dc + row * s->e, n->in[0]->data + b * s->e, n->in[1]->data + row * s->e,
                   dy * scale * inverse_v[b] * inverse, dy * n->out->data[i] * inverse * inverse,
                   s->e);
        }
    }
}

static void cosine_backward(const cf_node *n)
{
    sizes s = sizes_of(n);
    cf_real scale = exp(n->in[2]->data[0]);
    cf_real *dv = cf_grad(n, 0);
    if (dv) add_dv(dv, n, &s, scale);
    cf_real *dc = cf_grad(n, 1);
    if (dc) add_dc(dc, n, &s, scale);
    cf_real *dscale = cf_grad(n, 2);
    if (dscale) dscale[0] += (cf_real)dot(n->out->grad, n->out->data, s.b * s.k);
}

const cf_op cf_op_cosine_scores = {
    .name = "cosine_scores",
    .family = "other",
    .arity = 3,
    .infer = cosine_infer,
    .forward = cosine_forward,
    .backward = cosine_backward,
};

cf_tensor *cf_cosine_scores(cf_tape *t, cf_tensor *v, cf_tensor *c, cf_tensor *logit_scale)
{
    cf_tensor *const in[] = { v, c, logit_scale };
    return cf_apply(t, &cf_op_cosine_scores, in, NULL);
}
