/* ops: every differentiable operation. Each has its file in src/autograd/ops/ with the full
 * contract (formula, shapes, what is kept, errors, source), a row in table.c and a case in the
 * gradient suite. All return NULL after failing the tape; `?` marks inputs that may be NULL. Sizes
 * in element counts. */
#ifndef CROSSFRAME_OPS_H
#define CROSSFRAME_OPS_H

#include "crossframe/autograd.h"

/* ---- fused: where the time goes -------------------------------------------------------------- */

typedef struct {
    bool gelu_in; /* QuickGELU is applied to x first */
    bool in_out;  /* weight is [in, out] (bare matrices) instead of [out, in] */
    /* Drop path: branch of row r is multiplied by row_scale[r / rows_per_scale]; NULL: 1. Borrowed
     * for the step. */
    const cf_real *row_scale;
    size_t rows_per_scale;
} cf_linear_options;
/* y = residual + row_scale * (act(x) W^T + bias): x [..., in], W [out, in], bias? [out],
 * residual? like y or with fewer leading rows, which then repeat; y [..., out] */
cf_tensor *cf_linear(cf_tape *t, cf_tensor *x, cf_tensor *weight, cf_tensor *bias,
                     cf_tensor *residual, const cf_linear_options *options);

cf_tensor *cf_layer_norm(cf_tape *t, cf_tensor *x, cf_tensor *scale, cf_tensor *shift, cf_real eps);
/* cf_linear of cf_layer_norm, whose output is made again instead of kept: x [..., in], scale and
 * shift [in], W [out, in], bias? [out]; y [..., out] */
cf_tensor *cf_norm_linear(cf_tape *t, cf_tensor *x, cf_tensor *scale, cf_tensor *shift,
                          cf_tensor *weight, cf_tensor *bias, cf_real eps);

/* Self-attention: qkv [g, s, 3d]; extra? [g, 2d]: one further key and value per group; out [g, s,
 * d] */
cf_tensor *cf_self_attention(cf_tape *t, cf_tensor *qkv, cf_tensor *extra, size_t heads,
                             bool causal);
/* Cross-attention: q [g, sq, d] or [sq, d] shared by all groups; k, v [g, sk, d]; out [g, sq, d] */
cf_tensor *cf_cross_attention(cf_tape *t, cf_tensor *q, cf_tensor *k, cf_tensor *v, size_t heads);

/* pictures [f, 3, S, S], weight [d, 3, p, p], class [d], position [N+1, d]; out [f, N+1, d] */
cf_tensor *cf_patch_embed(cf_tape *t, cf_tensor *pictures, cf_tensor *weight,
                          cf_tensor *class_embedding, cf_tensor *position);

/* Tokens of frames [F, N+1, d] as one sequence a video [F/T, 1 + T N, d]: the first frame's class
 * token, then the patches of all frames with their frame's row of temporal [T, d] added */
cf_tensor *cf_join_frames(cf_tape *t, cf_tensor *x, cf_tensor *temporal);

/* y = x / |x| over the last axis, no epsilon */
cf_tensor *cf_l2_normalize(cf_tape *t, cf_tensor *x);
/* exp(logit_scale) * cos(v_b, c_bk): v [b, e]; c [b, K, e] or [K, e]; logit_scale []; out [b, K] */
cf_tensor *cf_cosine_scores(cf_tape *t, cf_tensor *v, cf_tensor *c, cf_tensor *logit_scale);
/* mean over rows of -sum_k target log softmax(logits): both [b, K]; target gets no gradient; out
 * [] */
cf_tensor *cf_soft_cross_entropy(cf_tape *t, cf_tensor *logits, cf_tensor *target);

/* ---- primitives ------------------------------------------------------------------------------ */

/* Broadcasting: b has a's shape, or a trailing part of it (leading 1s dropped), or one element. */
cf_tensor *cf_add(cf_tape *t, cf_tensor *a, cf_tensor *b);
cf_tensor *cf_mul(cf_tape *t, cf_tensor *a, cf_tensor *b);
cf_tensor *cf_scale(cf_tape *t, cf_tensor *a, cf_real factor);
cf_tensor *cf_exp(cf_tape *t, cf_tensor *a);
cf_tensor *cf_quick_gelu(cf_tape *t, cf_tensor *a);
/* [..., m, k] x [..., k, n]; leading axes equal, or b has none; ta, tb: last two axes swapped */
cf_tensor *cf_matmul(cf_tape *t, cf_tensor *a, cf_tensor *b, bool ta, bool tb);
cf_tensor *cf_sum(cf_tape *t, cf_tensor *a, int axis);  /* axis disappears */
cf_tensor *cf_mean(cf_tape *t, cf_tensor *a, int axis); /* axis disappears; sums in double */
cf_tensor *cf_softmax(cf_tape *t, cf_tensor *a);        /* last axis */
/* Views. Reshape: same count. Rows: [start, start + count) of axis 0. */
cf_tensor *cf_reshape(cf_tape *t, cf_tensor *a, cf_shape shape);
cf_tensor *cf_rows(cf_tape *t, cf_tensor *a, size_t start, size_t count);
/* Copies. */
cf_tensor *cf_transpose(cf_tape *t, cf_tensor *a, int axis_a, int axis_b);
cf_tensor *cf_slice(cf_tape *t, cf_tensor *a, int axis, size_t start, size_t count);
cf_tensor *cf_concat(cf_tape *t, cf_tensor *a, cf_tensor *b, int axis);
/* Rows index[0 .. count) of table [rows, w]: out [count, w]. Index is borrowed for the step. */
cf_tensor *cf_embedding(cf_tape *t, cf_tensor *table, const int32_t *index, size_t count);

#endif
