/* CLIP's text tower (Radford et al. 2021): token and position embedding, causal pre-norm blocks,
 * the end-of-text row projected into the common space. */
#include "xclip.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

cf_status cf_text_init(cf_xclip *m)
{
    const cf_xclip_config *c = &m->config;
    cf_params *p = m->params;
    size_t w = c->text_width;
    double std = pow((double)w, -0.5), out_std = std * pow(2.0 * (double)c->text_layers, -0.5);
    CF_TRY(cf_params_add(&m->positional_embedding, p, cf_init_normal(0.01),
                         cf_shape_of(c->context, w), "positional_embedding"));
    CF_TRY(cf_params_add(&m->token_embedding, p, cf_init_normal(0.02),
                         cf_shape_of(c->vocabulary, w), "token_embedding.weight"));
    const cf_block_start start = {
        .attn_in = cf_init_normal(std),
        .attn_out = cf_init_normal(out_std),
        .fc = cf_init_normal(pow(2.0 * (double)w, -0.5)),
        .fc_bias = cf_init_uniform(1 / sqrt((double)w)),
        .proj = cf_init_normal(out_std),
        .proj_bias = cf_init_uniform(1 / sqrt(4.0 * (double)w)),
    };
    CF_TRY(cf_alloc_zero(&m->text_blocks, c->text_layers, sizeof *m->text_blocks));
    for (size_t i = 0; i < c->text_layers; i++) {
        char name[64];
        snprintf(name, sizeof name, "transformer.resblocks.%zu", i);
        CF_TRY(cf_block_init(&m->text_blocks[i], p, name, w, &start));
    }
    CF_TRY(cf_norm_init(&m->ln_final, p, "ln_final", w));
    CF_TRY(cf_params_add(&m->text_projection, p, cf_init_normal(std), cf_shape_of(w, c->embed),
                         "text_projection"));
    double scale = c->logit_scale > 0 ? c->logit_scale : 1 / 0.07;
    return cf_params_add(&m->logit_scale, p, cf_init_constant(log(scale)), cf_shape_make(0, NULL),
                         "logit_scale");
}

/* First position of a row's largest id: the end of text. */
static size_t end_of_text(const int32_t *row, size_t context)
{
    size_t best = 0;
    for (size_t i = 1; i < context; i++)
        if (row[i] > row[best]) best = i;
    return best;
}

static cf_tensor *text_block(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const cf_block *const *block = ctx;
    return cf_block_apply(t, *block, in[0], true);
}

/* Tokens of ids [K, length], the vectors behind the first of each: [K, vectors + length, w]. */
static cf_tensor *embed(const cf_xclip *m, cf_tape *t, const int32_t *ids, size_t K, size_t length)
{
    size_t n = m->config.prompt_vectors, w = m->config.text_width;
    cf_tensor *x = cf_embedding(t, m->token_embedding, ids, K * length);
    x = cf_reshape(t, x, cf_shape_of(K, length, w));
    if (n == 0) return x;
    int32_t *each = cf_tape_push(t, K * n, sizeof *each);
    for (size_t i = 0; each && i < K * n; i++) each[i] = (int32_t)(i % n);
    if (!each) return NULL;
    cf_tensor *vectors = cf_embedding(t, m->prompts_context, each, K * n);
    cf_tensor *start = cf_slice(t, x, 1, 0, 1), *name = cf_slice(t, x, 1, 1, length - 1);
    start = cf_concat(t, start, cf_reshape(t, vectors, cf_shape_of(K, n, w)), 1);
    return cf_concat(t, start, name, 1);
}

cf_tensor *cf_xclip_text(const cf_xclip *m, cf_tape *t, const int32_t *tokens, size_t K)
{
    const cf_xclip_config *c = &m->config;
    size_t w = c->text_width, length = 2, rows;
    int32_t *last = cf_tape_push(t, K, sizeof *last); /* row of each text's end in [K rows, w] */
    if (!last) return NULL;
    for (size_t k = 0; k < K; k++) {
        size_t end = end_of_text(tokens + k * c->context, c->context);
        if (end + 1 > length) length = end + 1;
        last[k] = (int32_t)end;
    }
    if (length > c->context) length = c->context;
    rows = length + c->prompt_vectors;
    int32_t *ids = cf_tape_push(t, K * length, sizeof *ids);
    if (!ids) return NULL;
    for (size_t k = 0; k < K; k++) {
        memcpy(ids + k * length, tokens + k * c->context, length * sizeof *ids);
        last[k] += (int32_t)(k * rows + c->prompt_vectors);
    }
    cf_tensor *x = embed(m, t, ids, K, length);
    x = cf_add(t, x, cf_rows(t, m->positional_embedding, 0, rows));
    for (size_t i = 0; i < c->text_layers; i++) {
        const cf_block *block = &m->text_blocks[i];
        x = cf_model_segment(m, t, text_block, &block, sizeof block, x,
                             block->c_fc.weight->needs_grad);
    }
    x = cf_embedding(t, cf_reshape(t, x, cf_shape_of(K * rows, w)), last, K);
    const cf_linear_options bare = { .in_out = true };
    return cf_linear(t, cf_norm_apply(t, &m->ln_final, x), m->text_projection, NULL, NULL, &bare);
}

/* ---- cache of frozen features ---------------------------------------------------------------- */

void cf_text_mean(cf_real *out, const cf_real *each, size_t templates, size_t K, size_t e)
{
#pragma omp parallel for schedule(static)
    for (size_t k = 0; k < K; k++) {
        cf_real *to = out + k * e;
        for (size_t j = 0; j < e; j++) to[j] = 0;
        for (size_t i = 0; i < templates; i++) {
            const cf_real *c = each + (i * K + k) * e;
            double share = 1 / (sqrt(cf_vec_sum_squares(c, e)) * (double)templates);
            for (size_t j = 0; j < e; j++) to[j] += (cf_real)((double)c[j] * share);
        }
    }
}

/* One template after the other: all of them at once would take that many times the memory. */
static cf_status compute_each(cf_real *each, const cf_xclip *m, cf_tape *t, const int32_t *tokens,
                              size_t templates, size_t K)
{
    cf_status status = CF_OK;
    bool before = cf_tape_record(t, false);
    for (size_t i = 0; i < templates && status == CF_OK; i++) {
        cf_tape_reset(t);
        cf_tensor *c = cf_xclip_text(m, t, tokens + i * K * m->config.context, K);
        status = cf_tape_status(t);
        if (status == CF_OK) status = cf_tensor_copy(each + i * K * m->config.embed, c);
    }
    cf_tape_record(t, before);
    cf_tape_reset(t);
    return status;
}

cf_status cf_text_cache_get(cf_text_cache *cache, const cf_xclip *m, cf_tape *t,
                            const int32_t *tokens, size_t templates, size_t K)
{
    size_t e = m->config.embed, n, rows;
    cf_status status = CF_OK;
    CF_TRY(cf_mul_size(&rows, templates, K));
    CF_TRY(cf_mul_size(&n, rows, e));
    cf_text_cache new = { .key = cf_hash64(tokens, rows * m->config.context * sizeof *tokens),
                          .K = K,
                          .templates = templates };
    if (cache->features && cache->key == new.key && cache->K == K && cache->templates == templates)
        return CF_OK;
    CF_GO(cf_alloc(&new.each, n, sizeof *new.each));
    new.features = new.each;
    if (templates > 1) CF_GO(cf_alloc(&new.features, K * e, sizeof *new.features));
    CF_GO(compute_each(new.each, m, t, tokens, templates, K));
    if (templates > 1) cf_text_mean(new.features, new.each, templates, K, e);
    cf_text_cache_fini(cache);
    *cache = new;
    return CF_OK;
done:
    cf_text_cache_fini(&new);
    return status;
}

static bool is_text_tower(const char *name, const void *user)
{
    (void)user;
    bool video = strstr(name, "visual.") || cf_xclip_is_new_module(name);
    return !video && strcmp(name, "logit_scale") != 0;
}

cf_status cf_xclip_set_text_aside(cf_xclip *m, const char *folder)
{
    if (cf_xclip_trains_text(&m->config) || !m->token_embedding->data) return CF_OK;
    return cf_params_set_aside(m->params, is_text_tower, NULL, folder);
}

void cf_text_cache_fini(cf_text_cache *cache)
{
    if (cache->features != cache->each) cf_free(cache->features);
    cf_free(cache->each);
    *cache = (cf_text_cache){ 0 };
}
