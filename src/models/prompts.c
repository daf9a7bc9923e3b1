/* Video-specific prompting (paper section 3.3, eq. 9-11): the class texts ask the video's patch
 * tokens, and what they learn is added to them, scaled by a learnt vector alpha. And what the paper
 * compares it with: vectors learnt instead of words around the class names (Zhou et al. 2022,
 * arXiv:2109.01134), which text.c puts there. */
#include "xclip.h"

#include <math.h>
#include <stdio.h>

static cf_status layer_init(cf_prompt_layer *l, cf_params *p, size_t j, size_t e)
{
    const cf_init normal = cf_init_normal(0.02), zero = cf_init_constant(0);
    char prefix[64], name[96];
    snprintf(prefix, sizeof prefix, "prompts_generator.decoder.%zu", j);
    cf_tensor **matrix[] = { &l->q, &l->k, &l->v };
    const char *letter[] = { "q", "k", "v" };
    for (int i = 0; i < 3; i++)
        CF_TRY(cf_params_add(matrix[i], p, normal, cf_shape_of(e, e),
                             "%s.cross_attn.%s_proj.weight", prefix, letter[i]));
    snprintf(name, sizeof name, "%s.cross_attn.proj", prefix);
    CF_TRY(cf_linear_init(&l->proj, p, name, e, e, normal, zero));
    snprintf(name, sizeof name, "%s.norm1", prefix);
    CF_TRY(cf_norm_init(&l->norm1, p, name, e));
    snprintf(name, sizeof name, "%s.norm3", prefix);
    CF_TRY(cf_norm_init(&l->norm3, p, name, e));
    snprintf(name, sizeof name, "%s.mlp.0", prefix);
    CF_TRY(cf_linear_init(&l->fc1, p, name, e, 4 * e, normal, zero));
    snprintf(name, sizeof name, "%s.mlp.3", prefix);
    return cf_linear_init(&l->fc2, p, name, 4 * e, e, normal, zero);
}

cf_status cf_prompts_init(cf_xclip *m)
{
    const cf_xclip_config *c = &m->config;
    cf_params *p = m->params;
    if (c->prompt_vectors > 0)
        CF_TRY(cf_params_add(&m->prompts_context, p, cf_init_normal(0.02),
                             cf_shape_of(c->prompt_vectors, c->text_width), "prompts_context"));
    if (c->prompt_layers == 0) return CF_OK;
    CF_TRY(cf_norm_init(&m->prompts_visual_ln, p, "prompts_visual_ln", c->vision_width));
    CF_TRY(cf_params_add(&m->prompts_visual_proj, p, cf_init_normal(1),
                         cf_shape_of(c->vision_width, c->embed), "prompts_visual_proj"));
    CF_TRY(cf_params_add(&m->alpha, p, cf_init_constant(c->prompt_alpha), cf_shape_of(c->embed),
                         "prompts_generator.alpha"));
    CF_TRY(cf_norm_init(&m->prompts_norm, p, "prompts_generator.norm", c->embed));
    CF_TRY(cf_alloc_zero(&m->prompt_layers, c->prompt_layers, sizeof *m->prompt_layers));
    for (size_t j = 0; j < c->prompt_layers; j++)
        CF_TRY(layer_init(&m->prompt_layers[j], p, j, c->embed));
    return CF_OK;
}

/* The mean over frames is taken before the projection: the same result, T times cheaper. The class
 * row of frames apart is normalised along and dropped afterwards, which saves a copy of all patch
 * tokens; joint attention has one for the video, before the patches of all frames. */
cf_tensor *cf_prompts_tokens(const cf_xclip *m, cf_tape *t, cf_tensor *tokens, size_t b)
{
    if (!tokens) return NULL;
    bool joint = m->config.video == CF_ENCODER_JOINT;
    size_t rows = tokens->shape.dim[1], d = tokens->shape.dim[2];
    size_t T = joint ? m->config.frames : tokens->shape.dim[0] / b;
    cf_tensor *y = cf_norm_apply(t, &m->prompts_visual_ln, tokens);
    if (joint) {
        y = cf_slice(t, y, 1, 1, rows - 1);
        rows = (rows - 1) / T;
    }
    y = cf_mean(t, cf_reshape(t, y, cf_shape_of(b, T, rows * d)), 1);
    y = cf_reshape(t, y, cf_shape_of(b, rows, d));
    if (!joint) y = cf_slice(t, y, 1, 1, rows - 1);
    const cf_linear_options bare = { .in_out = true };
    return cf_linear(t, y, m->prompts_visual_proj, NULL, NULL, &bare);
}

/* x [b, K, e], or [K, e] in the first layer, where it is the same for every video */
static cf_tensor *layer_apply(cf_tape *t, const cf_prompt_layer *l, cf_tensor *x, cf_tensor *y)
{
    const cf_linear_layer of_q = { .weight = l->q };
    cf_tensor *q = cf_norm_linear_apply(t, &l->norm1, &of_q, x);
    cf_tensor *k = cf_linear(t, y, l->k, NULL, NULL, NULL);
    cf_tensor *v = cf_linear(t, y, l->v, NULL, NULL, NULL);
    if (!v) return NULL;
    cf_tensor *a = cf_cross_attention(t, q, k, v, cf_heads_of(cf_shape_last(&v->shape)));
    x = cf_linear_apply(t, &l->proj, a, x, NULL);
    cf_tensor *h = cf_norm_linear_apply(t, &l->norm3, &l->fc1, x);
    return cf_linear_apply(t, &l->fc2, h, x, &(cf_linear_options){ .gelu_in = true });
}

cf_tensor *cf_prompts_apply(const cf_xclip *m, cf_tape *t, cf_tensor *c, cf_tensor *y,
                            cf_xclip_watch *watch, void *user)
{
    cf_tensor *x = c;
    y = cf_norm_apply(t, &m->prompts_norm, y);
    for (size_t j = 0; j < m->config.prompt_layers; j++) {
        x = layer_apply(t, &m->prompt_layers[j], x, y);
        if (watch && x) watch(user, "prompt.layer", j, x);
    }
    return cf_mul(t, x, m->alpha);
}
