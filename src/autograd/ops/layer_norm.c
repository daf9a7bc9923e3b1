/* Layer normalisation over the last axis:  y = (x - mean) / sqrt(var + eps) * scale + shift
 *   x [..., w]; scale, shift [w]; y like x; var is the biased (1/w) variance
 *   keeps  mean and 1/std of each row
 *   errors CF_ESHAPE: scale or shift is not [w]. CF_EINVAL: eps <= 0
 *   source Ba, Kiros, Hinton 2016, arXiv:1607.06450, eq. 3-4 */
#include "crossframe/ops.h"

#include "ops_internal.h"

enum { X, SCALE, SHIFT };

typedef struct {
    cf_real eps;
} param;

static cf_status infer(cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 3));
    const param *p = n->param;
    const cf_tensor *x = n->in[X];
    size_t w = cf_shape_last(&x->shape);
    cf_shape_text t1, t2, t3;
    if (x->shape.rank < 1 || w == 0 || n->in[SCALE]->shape.rank != 1 || n->in[SCALE]->n != w ||
        n->in[SHIFT]->shape.rank != 1 || n->in[SHIFT]->n != w)
        return CF_FAIL(CF_ESHAPE, "layer_norm: x is %s, scale is %s, shift is %s",
                       cf_shape_print(&t1, &x->shape), cf_shape_print(&t2, &n->in[SCALE]->shape),
                       cf_shape_print(&t3, &n->in[SHIFT]->shape));
    if (!(p->eps > 0))
        return CF_FAIL(CF_EINVAL, "layer_norm: eps is %g, not positive", (double)p->eps);
    cf_out_shape(n, x->shape);
    n->pass = X + 1;
    n->n_keep = 2 * (x->n / w);
    n->n_scratch_backward = cf_layer_norm_scratch(w);
    return CF_OK;
}

static void forward(const cf_node *n)
{
    const param *p = n->param;
    const cf_tensor *x = n->in[X];
    size_t w = cf_shape_last(&x->shape), rows = x->n / w;
    cf_layer_norm_forward(n->out->data, n->keep, n->keep + rows, x->data, n->in[SCALE]->data,
                          n->in[SHIFT]->data, rows, w, p->eps);
}

static void backward(const cf_node *n)
{
    const cf_tensor *x = n->in[X];
    size_t w = cf_shape_last(&x->shape), rows = x->n / w;
    bool fresh;
    const cf_real *dy = n->out->grad;
    cf_real *dscale = cf_grad(n, SCALE), *dshift = cf_grad(n, SHIFT);
    cf_real *dx = cf_grad_over(n, &fresh);
    cf_layer_norm_backward(dx, !fresh, dscale, dshift, dy, x->data, n->keep, n->keep + rows,
                           n->in[SCALE]->data, rows, w, n->scratch);
}

const cf_op cf_op_layer_norm = {
    .name = "layer_norm",
    .family = "norm",
    .arity = 3,
    .param_size = sizeof(param),
    .infer = infer,
    .forward = forward,
    .backward = backward,
};

cf_tensor *cf_layer_norm(cf_tape *t, cf_tensor *x, cf_tensor *scale, cf_tensor *shift, cf_real eps)
{
    cf_tensor *const in[] = { x, scale, shift };
    return cf_apply(t, &cf_op_layer_norm, in, &(param){ eps });
}
