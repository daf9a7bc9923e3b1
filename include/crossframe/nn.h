/* nn: layers. A layer is a struct of parameters with an _init that declares them under a name
 * prefix and an _apply that calls operations; no layer touches a data pointer or has backward code.
 * Names are those of the published checkpoints (spec/weight-names.md). */
#ifndef CROSSFRAME_NN_H
#define CROSSFRAME_NN_H

#include "crossframe/ops.h"

#define CF_LAYER_NORM_EPS ((cf_real)1e-5)

/* Start values (spec/model.md, "Initialisation"). */
cf_init cf_init_constant(double value);
cf_init cf_init_normal(double std);
cf_init cf_init_uniform(double bound);
double cf_xavier_bound(size_t fan_in, size_t fan_out); /* sqrt(6 / (in + out)) */

/* y = x W^T + b; W [out, in] = PREFIX.weight, b [out] = PREFIX.bias */
typedef struct {
    cf_tensor *weight, *bias;
} cf_linear_layer;
cf_status cf_linear_init(cf_linear_layer *l, cf_params *p, const char *prefix, size_t in,
                         size_t out, cf_init weight, cf_init bias);
cf_tensor *cf_linear_apply(cf_tape *t, const cf_linear_layer *l, cf_tensor *x, cf_tensor *residual,
                           const cf_linear_options *options);

/* PREFIX.weight and PREFIX.bias [w], start 1 and 0 */
typedef struct {
    cf_tensor *weight, *bias;
} cf_norm_layer;
cf_status cf_norm_init(cf_norm_layer *l, cf_params *p, const char *prefix, size_t w);
cf_tensor *cf_norm_apply(cf_tape *t, const cf_norm_layer *l, cf_tensor *x);
/* The linear layer of the normalised x, which is not kept: the same numbers, less memory. */
cf_tensor *cf_norm_linear_apply(cf_tape *t, const cf_norm_layer *norm, const cf_linear_layer *l,
                                cf_tensor *x);

/* Start values of one pre-norm block. */
typedef struct {
    cf_init attn_in, attn_out, fc, fc_bias, proj, proj_bias;
} cf_block_start;

/* Multi-head self-attention: PREFIX.in_proj_weight [3w, w], .in_proj_bias [3w], .out_proj.* */
typedef struct {
    cf_tensor *in_weight, *in_bias;
    cf_linear_layer out;
    size_t width;
} cf_attention_layer;
cf_status cf_attention_init(cf_attention_layer *l, cf_params *p, const char *prefix, size_t w,
                            cf_init in, cf_init out);
typedef struct {
    const cf_norm_layer *norm; /* x is to be normalised by it; NULL: x is normalised already */
    cf_tensor *message; /* [g, w], normalised: one more key and value per group; NULL: none */
    bool causal;
    const cf_real *drop_scale; /* drop path: branch factor per video; NULL: none */
    size_t rows_per_scale;     /* rows of x [g, s, w] that share a factor */
} cf_attention_options;
/* residual + attention(x): x [g, s, w]; heads of width 64 */
cf_tensor *cf_attention_apply(cf_tape *t, const cf_attention_layer *l, cf_tensor *x,
                              cf_tensor *residual, const cf_attention_options *options);
size_t cf_heads_of(size_t width); /* width / 64 (at least 1) */

/* A pre-norm transformer block: PREFIX.ln_1, .attn, .ln_2, .mlp.c_fc, .mlp.c_proj */
typedef struct {
    cf_norm_layer ln_1, ln_2;
    cf_attention_layer attn;
    cf_linear_layer c_fc, c_proj;
} cf_block;
cf_status cf_block_init(cf_block *b, cf_params *p, const char *prefix, size_t w,
                        const cf_block_start *start);
/* x + attn(ln_1(x)), then x + mlp(ln_2(x)): x [g, s, w] */
cf_tensor *cf_block_apply(cf_tape *t, const cf_block *b, cf_tensor *x, bool causal);
/* residual + c_proj(QuickGELU(c_fc(ln_2(x)))) with drop path */
cf_tensor *cf_block_mlp(cf_tape *t, const cf_block *b, cf_tensor *x, const cf_real *drop_scale,
                        size_t rows_per_scale);

#endif
