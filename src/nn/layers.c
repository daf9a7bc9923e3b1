/* Linear, layer norm and attention layers: declare parameters, call operations. */
#include "crossframe/nn.h"

#include <math.h>
#include <stdio.h>

cf_init cf_init_constant(double value) { return (cf_init){ CF_INIT_CONSTANT, value }; }
cf_init cf_init_normal(double std) { return (cf_init){ CF_INIT_NORMAL, std }; }
cf_init cf_init_uniform(double bound) { return (cf_init){ CF_INIT_UNIFORM, bound }; }
double cf_xavier_bound(size_t fan_in, size_t fan_out)
{
    return sqrt(6.0 / (double)(fan_in + fan_out));
}

size_t cf_heads_of(size_t width) { return width < 64 ? 1 : width / 64; }

cf_status cf_linear_init(cf_linear_layer *l, cf_params *p, const char *prefix, size_t in,
                         size_t out, cf_init weight, cf_init bias)
{
    CF_TRY(cf_params_add(&l->weight, p, weight, cf_shape_of(out, in), "%s.weight", prefix));
    return cf_params_add(&l->bias, p, bias, cf_shape_of(out), "%s.bias", prefix);
}

cf_tensor *cf_linear_apply(cf_tape *t, const cf_linear_layer *l, cf_tensor *x, cf_tensor *residual,
                           const cf_linear_options *options)
{
    return cf_linear(t, x, l->weight, l->bias, residual, options);
}

cf_status cf_norm_init(cf_norm_layer *l, cf_params *p, const char *prefix, size_t w)
{
    CF_TRY(cf_params_add(&l->weight, p, cf_init_constant(1), cf_shape_of(w), "%s.weight", prefix));
    return cf_params_add(&l->bias, p, cf_init_constant(0), cf_shape_of(w), "%s.bias", prefix);
}

cf_tensor *cf_norm_apply(cf_tape *t, const cf_norm_layer *l, cf_tensor *x)
{
    return cf_layer_norm(t, x, l->weight, l->bias, CF_LAYER_NORM_EPS);
}

cf_tensor *cf_norm_linear_apply(cf_tape *t, const cf_norm_layer *norm, const cf_linear_layer *l,
                                cf_tensor *x)
{
    return cf_norm_linear(t, x, norm->weight, norm->bias, l->weight, l->bias, CF_LAYER_NORM_EPS);
}

cf_status cf_attention_init(cf_attention_layer *l, cf_params *p, const char *prefix, size_t w,
                            cf_init in, cf_init out)
{
    char name[200];
    l->width = w;
    CF_TRY(cf_params_add(&l->in_weight, p, in, cf_shape_of(3 * w, w), "%s.in_proj_weight", prefix));
    CF_TRY(cf_params_add(&l->in_bias, p, cf_init_constant(0), cf_shape_of(3 * w), "%s.in_proj_bias",
                         prefix));
    snprintf(name, sizeof name, "%s.out_proj", prefix);
    return cf_linear_init(&l->out, p, name, w, w, out, cf_init_constant(0));
}

cf_tensor *cf_attention_apply(cf_tape *t, const cf_attention_layer *l, cf_tensor *x,
                              cf_tensor *residual, const cf_attention_options *options)
{
    static const cf_attention_options none;
    const cf_attention_options *o = options ? options : &none;
    size_t w = l->width;
    const cf_linear_layer in = { l->in_weight, l->in_bias };
    cf_tensor *qkv = o->norm ? cf_norm_linear_apply(t, o->norm, &in, x)
                             : cf_linear_apply(t, &in, x, NULL, NULL),
              *extra = NULL;
    if (o->message) /* the message answers but does not ask: key and value rows only */
        extra = cf_linear(t, o->message, cf_rows(t, l->in_weight, w, 2 * w),
                          cf_rows(t, l->in_bias, w, 2 * w), NULL, NULL);
    cf_tensor *y = cf_self_attention(t, qkv, extra, cf_heads_of(w), o->causal);
    const cf_linear_options drop = { .row_scale = o->drop_scale,
                                     .rows_per_scale = o->rows_per_scale };
    return cf_linear_apply(t, &l->out, y, residual, &drop);
}
