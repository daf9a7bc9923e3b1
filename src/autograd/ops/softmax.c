/* Softmax over the last axis.
 *   y = exp(x - max x) / sum exp(x - max x);  dx = y (dy - y . dy), per row
 *   x, y [..., n]
 *   keeps  nothing: y is there
 *   errors CF_ESHAPE: x is one number or empty */
#include "ops_internal.h"

static cf_status softmax_infer(cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 1));
    const cf_tensor *x = n->in[0];
    if (x->shape.rank == 0 || x->n == 0)
        return CF_FAIL(CF_ESHAPE, "softmax: x is %s, not [..., n]", CF_SHAPE_TEXT(x->shape));
    cf_out_shape(n, x->shape);
    return CF_OK;
}

static void softmax_forward(const cf_node *n)
{
    size_t width = cf_shape_last(&n->out->shape);
    cf_softmax_forward(n->out->data, n->in[0]->data, n->out->n / width, width);
}

CF_KERNEL static void row_backward(cf_real *dx, const cf_real *dy, const cf_real *y, size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t j = 0; j < n; j++) sum += (double)y[j] * (double)dy[j];
    cf_real along = (cf_real)sum;
#pragma omp simd
    for (size_t j = 0; j < n; j++) dx[j] += y[j] * (dy[j] - along);
}

static void softmax_backward(const cf_node *n)
{
    size_t width = cf_shape_last(&n->out->shape), rows = n->out->n / width;
    const cf_real *y = n->out->data, *dy = n->out->grad;
    cf_real *dx = cf_grad(n, 0);
    if (!dx) return;
#pragma omp parallel for schedule(static) if (rows * width >= CF_PARALLEL_MIN)
    for (size_t r = 0; r < rows; r++)
        row_backward(dx + r * width, dy + r * width, y + r * width, width);
}

const cf_op cf_op_softmax = {
    .name = "softmax",
    .family = "elementwise",
    .arity = 1,
    .infer = softmax_infer,
    .forward = softmax_forward,
    .backward = softmax_backward,
};

cf_tensor *cf_softmax(cf_tape *t, cf_tensor *a)
{
    cf_tensor *const in[] = { a };
    return cf_apply(t, &cf_op_softmax, in, NULL);
}
