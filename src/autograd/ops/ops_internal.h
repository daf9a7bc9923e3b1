/* What the operation files share: the list of operations, how their loops are compiled and split,
 * and the checks most of them begin with. */
#ifndef CROSSFRAME_OPS_INTERNAL_H
#define CROSSFRAME_OPS_INTERNAL_H

#include "crossframe/ops.h"

#include "tensor/kernel.h"

extern const cf_op cf_op_linear, cf_op_layer_norm, cf_op_norm_linear, cf_op_self_attention,
    cf_op_cross_attention, cf_op_patch_embed, cf_op_join_frames, cf_op_l2_normalize,
    cf_op_cosine_scores, cf_op_soft_cross_entropy;
extern const cf_op cf_op_add, cf_op_mul, cf_op_scale, cf_op_exp, cf_op_quick_gelu, cf_op_matmul,
    cf_op_sum, cf_op_mean, cf_op_softmax, cf_op_reshape, cf_op_rows, cf_op_transpose, cf_op_slice,
    cf_op_concat, cf_op_embedding;

/* Rows that pass in panels: so much a panel, which then stays in cache. */
#define CF_PANEL_BYTES ((size_t)8 << 20)

/* cf_grad_fresh of input n->pass - 1 for operations that can write it over the output's gradient:
 * where nothing was there before it is that memory, n->out->grad is NULL afterwards, and what it
 * holds must be read before it is overwritten. The last to be asked for. Same element count. */
cf_real *cf_grad_over(const cf_node *n, bool *fresh);

/* "[2, 3]" of a shape, for a message: lives until the end of the block. */
#define CF_SHAPE_TEXT(shape) cf_shape_print(&(cf_shape_text){ { 0 } }, &(shape))

/* CF_EINVAL unless the first `required` inputs are there. */
static inline cf_status cf_need_inputs(const cf_node *n, int required)
{
    for (int i = 0; i < required; i++)
        if (!n->in[i]) return CF_FAIL(CF_EINVAL, "%s: input %d is missing", n->op->name, i);
    return CF_OK;
}

/* A dense tensor seen as [outer, len, inner] around one axis. */
typedef struct {
    size_t outer, len, inner;
} cf_axis_split;

static inline cf_axis_split cf_split_at(const cf_shape *s, int axis)
{
    cf_axis_split a = { 1, s->dim[axis], 1 };
    for (int i = 0; i < axis; i++) a.outer *= s->dim[i];
    for (int i = axis + 1; i < s->rank; i++) a.inner *= s->dim[i];
    return a;
}

/* CF_EINVAL unless x has this axis. */
static inline cf_status cf_need_axis(const cf_node *n, const cf_tensor *x, int axis)
{
    if (axis < 0 || axis >= x->shape.rank)
        return CF_FAIL(CF_EINVAL, "%s: there is no axis %d in %s", n->op->name, axis,
                       CF_SHAPE_TEXT(x->shape));
    return CF_OK;
}

#endif
