/* Cross-entropy with soft targets, the mean over rows.
 *   y = -1/b sum_i sum_k target_ik log softmax(x_i)_k
 *   x, target [b, K]; y one number; target gets no gradient and may sum to anything:
 *   dx_ik = dy / b (softmax(x_i)_k sum_j target_ij - target_ik)
 *   keeps  nothing: backward takes the exponentials again, in double as forward
 *   errors CF_ESHAPE: x is not [b, K], target not like x
 *   source Szegedy et al. 2016, arXiv:1512.00567, section 7 */
#include "ops_internal.h"

static cf_status loss_infer(cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 2));
    const cf_tensor *x = n->in[0], *target = n->in[1];
    if (x->shape.rank != 2 || x->n == 0)
        return CF_FAIL(CF_ESHAPE, "soft_cross_entropy: logits are %s, not [b, K]",
                       CF_SHAPE_TEXT(x->shape));
    if (!cf_shape_equal(&x->shape, &target->shape))
        return CF_FAIL(CF_ESHAPE, "soft_cross_entropy: target is %s, logits are %s",
                       CF_SHAPE_TEXT(target->shape), CF_SHAPE_TEXT(x->shape));
    cf_out_shape(n, (cf_shape){ .rank = 0 });
    return CF_OK;
}

/* The largest value of a row, and the sum of exp(x - largest). */
typedef struct {
    double top, sum;
} row_exp;

static row_exp row_exp_of(const cf_real *x, size_t n)
{
    row_exp r = { .top = (double)x[0] };
    for (size_t k = 1; k < n; k++)
        if ((double)x[k] > r.top) r.top = (double)x[k];
    for (size_t k = 0; k < n; k++) r.sum += exp((double)x[k] - r.top);
    return r;
}

static void loss_forward(const cf_node *n)
{
    size_t b = n->in[0]->shape.dim[0], classes = n->in[0]->shape.dim[1];
    double loss = 0;
    for (size_t i = 0; i < b; i++) {
        const cf_real *x = n->in[0]->data + i * classes, *target = n->in[1]->data + i * classes;
        row_exp r = row_exp_of(x, classes);
        double log_sum = log(r.sum);
        /* A class with target 0 and score -inf counts nothing, instead of 0 * inf. */
        for (size_t k = 0; k < classes; k++)
            if (target[k] != 0) loss -= (double)target[k] * ((double)x[k] - r.top - log_sum);
        if (isnan(r.sum)) loss = r.sum;
    }
    n->out->data[0] = (cf_real)(loss / (double)b);
}

static void loss_backward(const cf_node *n)
{
    size_t b = n->in[0]->shape.dim[0], classes = n->in[0]->shape.dim[1];
    double factor = (double)n->out->grad[0] / (double)b;
    cf_real *dx = cf_grad(n, 0);
    if (!dx) return;
    for (size_t i = 0; i < b; i++, dx += classes) {
        const cf_real *x = n->in[0]->data + i * classes, *target = n->in[1]->data + i * classes;
        row_exp r = row_exp_of(x, classes);
        double mass = 0;
        for (size_t k = 0; k < classes; k++) mass += (double)target[k];
        for (size_t k = 0; k < classes; k++) {
            double p = exp((double)x[k] - r.top) / r.sum;
            dx[k] += (cf_real)(factor * (p * mass - (double)target[k]));
        }
    }
}

const cf_op cf_op_soft_cross_entropy = {
    .name = "soft_cross_entropy",
    .family = "other",
    .arity = 2,
    .infer = loss_infer,
    .forward = loss_forward,
    .backward = loss_backward,
    .without_grad = 1U << 1,
};

cf_tensor *cf_soft_cross_entropy(cf_tape *t, cf_tensor *logits, cf_tensor *target)
{
    cf_tensor *const in[] = { logits, target };
    return cf_apply(t, &cf_op_soft_cross_entropy, in, NULL);
}
