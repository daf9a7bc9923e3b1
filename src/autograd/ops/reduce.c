/* Sum and mean over one axis, which disappears.
 *   x [outer, m, inner] around the axis; y [outer, inner] = f sum_i x[:, i, :], f = 1 or 1 / m
 *   dx[:, i, :] = f dy
 *   keeps  nothing; sums in double
 *   errors CF_EINVAL: no such axis.  CF_ESHAPE: mean over an axis of size 0 */
#include "ops_internal.h"

typedef struct {
    int axis;
} axis_param;

#define STRIPE ((size_t)128)

CF_KERNEL static void sum_stripe(cf_real *y, const cf_real *x, size_t m, size_t width, size_t ld,
                                 double factor)
{
    double acc[STRIPE] = { 0 };
    for (size_t i = 0; i < m; i++, x += ld) {
#pragma omp simd
        for (size_t j = 0; j < width; j++) acc[j] += (double)x[j];
    }
    for (size_t j = 0; j < width; j++) y[j] = (cf_real)(acc[j] * factor);
}

CF_KERNEL static cf_real sum_row(const cf_real *x, size_t m, double factor)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < m; i++) sum += (double)x[i];
    return (cf_real)(sum * factor);
}

static void reduce(cf_real *y, const cf_real *x, cf_axis_split s, double factor)
{
    size_t stripes = (s.inner + STRIPE - 1) / STRIPE;
#pragma omp parallel for schedule(static) if (s.outer * s.len * s.inner >= CF_PARALLEL_MIN)
    for (size_t task = 0; task < s.outer * stripes; task++) {
        size_t o = task / stripes, at = task % stripes * STRIPE;
        size_t width = s.inner - at < STRIPE ? s.inner - at : STRIPE;
        const cf_real *from = x + o * s.len * s.inner + at;
        if (s.inner == 1)
            y[o] = sum_row(from, s.len, factor);
        else
            sum_stripe(y + o * s.inner + at, from, s.len, width, s.inner, factor);
    }
}

/* dx [m, inner] = or += factor dy [inner] in each row */
CF_KERNEL static void spread_rows(cf_real *dx, const cf_real *dy, size_t m, size_t inner,
                                  cf_real factor, cf_real keep)
{
    if (inner == 1) {
        cf_real value = *dy * factor;
#pragma omp simd
        for (size_t i = 0; i < m; i++) dx[i] = keep != 0 ? dx[i] + value : value;
        return;
    }
    for (size_t i = 0; i < m; i++, dx += inner) {
        if (keep != 0) {
#pragma omp simd
            for (size_t j = 0; j < inner; j++) dx[j] += dy[j] * factor;
        } else {
#pragma omp simd
            for (size_t j = 0; j < inner; j++) dx[j] = dy[j] * factor;
        }
    }
}

static void spread(const cf_node *n, double factor)
{
    const axis_param *p = n->param;
    cf_axis_split s = cf_split_at(&n->in[0]->shape, p->axis);
    const cf_real *dy = n->out->grad;
    bool fresh;
    cf_real *dx = cf_grad_fresh(n, 0, &fresh);
    if (!dx || n->in[0]->n == 0) return;
    size_t step = s.inner < 2048 ? 2048 / s.inner : 1, blocks = (s.len + step - 1) / step;
#pragma omp parallel for schedule(static) if (n->in[0]->n >= CF_PARALLEL_MIN)
    for (size_t task = 0; task < s.outer * blocks; task++) {
        size_t o = task / blocks, at = task % blocks * step;
        spread_rows(dx + (o * s.len + at) * s.inner, dy + o * s.inner,
                    s.len - at < step ? s.len - at : step, s.inner, (cf_real)factor, fresh ? 0 : 1);
    }
}

static cf_status reduce_infer(cf_node *n)
{
    const axis_param *p = n->param;
    CF_TRY(cf_need_inputs(n, 1));
    CF_TRY(cf_need_axis(n, n->in[0], p->axis));
    const cf_shape *x = &n->in[0]->shape;
    cf_shape y = { .rank = x->rank - 1 };
    for (int i = 0; i < y.rank; i++) y.dim[i] = x->dim[i < p->axis ? i : i + 1];
    cf_out_shape(n, y);
    return CF_OK;
}

static void sum_forward(const cf_node *n)
{
    const axis_param *p = n->param;
    reduce(n->out->data, n->in[0]->data, cf_split_at(&n->in[0]->shape, p->axis), 1);
}

static void sum_backward(const cf_node *n) { spread(n, 1); }

const cf_op cf_op_sum = {
    .name = "sum",
    .family = "elementwise",
    .arity = 1,
    .param_size = sizeof(axis_param),
    .infer = reduce_infer,
    .forward = sum_forward,
    .backward = sum_backward,
};

cf_tensor *cf_sum(cf_tape *t, cf_tensor *a, int axis)
{
    cf_tensor *const in[] = { a };
    return cf_apply(t, &cf_op_sum, in, &(axis_param){ axis });
}

static cf_status mean_infer(cf_node *n)
{
    const axis_param *p = n->param;
    CF_TRY(reduce_infer(n));
    if (n->in[0]->shape.dim[p->axis] == 0)
        return CF_FAIL(CF_ESHAPE, "mean: axis %d of %s is empty", p->axis,
                       CF_SHAPE_TEXT(n->in[0]->shape));
    return CF_OK;
}

static double mean_factor(const cf_node *n)
{
    const axis_param *p = n->param;
    return 1.0 / (double)n->in[0]->shape.dim[p->axis];
}

static void mean_forward(const cf_node *n)
{
    const axis_param *p = n->param;
    reduce(n->out->data, n->in[0]->data, cf_split_at(&n->in[0]->shape, p->axis), mean_factor(n));
}

static void mean_backward(const cf_node *n) { spread(n, mean_factor(n)); }

const cf_op cf_op_mean = {
    .name = "mean",
    .family = "elementwise",
    .arity = 1,
    .param_size = sizeof(axis_param),
    .infer = mean_infer,
    .forward = mean_forward,
    .backward = mean_backward,
};

cf_tensor *cf_mean(cf_tape *t, cf_tensor *a, int axis)
{
    cf_tensor *const in[] = { a };
    return cf_apply(t, &cf_op_mean, in, &(axis_param){ axis });
}
