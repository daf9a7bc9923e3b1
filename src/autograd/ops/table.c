/* All operations: the gradient suite walks this list and wants a case for each. */
#include "ops_internal.h"

const cf_op *const cf_op_table[] = {
    &cf_op_linear,
    &cf_op_layer_norm,
    &cf_op_self_attention,
    &cf_op_cross_attention,
    &cf_op_patch_embed,
    &cf_op_l2_normalize,
    &cf_op_cosine_scores,
    &cf_op_soft_cross_entropy,
    &cf_op_add,
    &cf_op_mul,
    &cf_op_scale,
    &cf_op_exp,
    &cf_op_quick_gelu,
    &cf_op_matmul,
    &cf_op_sum,
    &cf_op_mean,
    &cf_op_softmax,
    &cf_op_reshape,
    &cf_op_rows,
    &cf_op_transpose,
    &cf_op_slice,
    &cf_op_concat,
    &cf_op_embedding,
    NULL,
};
