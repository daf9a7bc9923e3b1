/* The pre-norm transformer block of CLIP (Radford et al. 2021), shared by all towers. */
#include "crossframe/nn.h"

#include <stdio.h>

cf_status cf_block_init(cf_block *b, cf_params *p, const char *prefix, size_t w,
                        const cf_block_start *start)
{
    char name[200];
    snprintf(name, sizeof name, "%s.attn", prefix);
    CF_TRY(cf_attention_init(&b->attn, p, name, w, start->attn_in, start->attn_out));
    snprintf(name, sizeof name, "%s.ln_1", prefix);
    CF_TRY(cf_norm_init(&b->ln_1, p, name, w));
    snprintf(name, sizeof name, "%s.mlp.c_fc", prefix);
    CF_TRY(cf_linear_init(&b->c_fc, p, name, w, 4 * w, start->fc, start->fc_bias));
    snprintf(name, sizeof name, "%s.mlp.c_proj", prefix);
    CF_TRY(cf_linear_init(&b->c_proj, p, name, 4 * w, w, start->proj, start->proj_bias));
    snprintf(name, sizeof name, "%s.ln_2", prefix);
    return cf_norm_init(&b->ln_2, p, name, w);
}

cf_tensor *cf_block_mlp(cf_tape *t, const cf_block *b, cf_tensor *x, const cf_real *drop_scale,
                        size_t rows_per_scale)
{
    cf_tensor *h = cf_norm_linear_apply(t, &b->ln_2, &b->c_fc, x);
    const cf_linear_options o = { .gelu_in = true,
                                  .row_scale = drop_scale,
                                  .rows_per_scale = rows_per_scale };
    return cf_linear_apply(t, &b->c_proj, h, x, &o);
}

cf_tensor *cf_block_apply(cf_tape *t, const cf_block *b, cf_tensor *x, bool causal)
{
    const cf_attention_options o = { .norm = &b->ln_1, .causal = causal };
    x = cf_attention_apply(t, &b->attn, x, x, &o);
    return cf_block_mlp(t, b, x, NULL, 0);
}
