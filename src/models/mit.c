/* Multi-frame integration transformer (paper section 3.2, eq. 8): one light transformer over the
 * frame features with temporal positions; v = mean over frames of (h + what it adds). */
#include "xclip.h"

#include <math.h>
#include <stdio.h>

cf_status cf_mit_init(cf_xclip *m)
{
    const cf_xclip_config *c = &m->config;
    if (c->mit_layers == 0) return CF_OK;
    const cf_init normal = cf_init_normal(0.02), zero = cf_init_constant(0);
    CF_TRY(cf_params_add(&m->mit_position, m->params, normal, cf_shape_of(1, c->frames, c->embed),
                         "mit.positional_embedding"));
    const cf_block_start start = {
        .attn_in = cf_init_uniform(cf_xavier_bound(c->embed, 3 * c->embed)),
        .attn_out = normal,
        .fc = normal,
        .fc_bias = zero,
        .proj = normal,
        .proj_bias = zero,
    };
    CF_TRY(cf_alloc_zero(&m->mit_blocks, c->mit_layers, sizeof *m->mit_blocks));
    for (size_t i = 0; i < c->mit_layers; i++) {
        char name[64];
        snprintf(name, sizeof name, "mit.resblocks.%zu", i);
        CF_TRY(cf_block_init(&m->mit_blocks[i], m->params, name, c->embed, &start));
    }
    return CF_OK;
}

cf_tensor *cf_mit_apply(const cf_xclip *m, cf_tape *t, cf_tensor *h, size_t b)
{
    const cf_xclip_config *c = &m->config;
    if (!h) return NULL;
    h = cf_reshape(t, h, cf_shape_of(b, h->shape.dim[0] / b, c->embed));
    if (c->mit_layers > 0) {
        cf_tensor *x = cf_add(t, h, m->mit_position);
        for (size_t i = 0; i < c->mit_layers; i++)
            x = cf_block_apply(t, &m->mit_blocks[i], x, false);
        h = cf_add(t, x, h); /* the input without positions */
    }
    return cf_mean(t, h, 1);
}
