/* X-CLIP put together: parts, parameters, scores. */
#include "xclip.h"

#include <string.h>

bool cf_xclip_is_new_module(const char *name)
{
    return strstr(name, "message_") || strstr(name, "mit") || strstr(name, "prompts") ||
           strstr(name, "temporal_embedding") || strncmp(name, "head.", 5) == 0;
}

bool cf_xclip_is_trained(const cf_xclip_config *c, const char *name)
{
    if (c->inference) return false;
    if (cf_xclip_is_new_module(name)) return true;
    if (strstr(name, "visual.")) return !c->fix_visual;
    if (strcmp(name, "logit_scale") == 0 && c->train_logit_scale != CF_LOGIT_SCALE_AS_TEXT)
        return c->train_logit_scale == CF_LOGIT_SCALE_TRAINED;
    return c->train_text;
}

bool cf_xclip_trains_text(const cf_xclip_config *c)
{
    return c->head_classes == 0 && !c->inference && (c->train_text || c->prompt_vectors > 0);
}

static bool trains(const char *name, const void *user) { return cf_xclip_is_trained(user, name); }

static cf_status head_init(cf_xclip *m)
{
    return cf_linear_init(&m->head, m->params, "head", m->config.embed, m->config.head_classes,
                          cf_init_normal(0.02), cf_init_constant(0));
}

cf_status cf_xclip_declare(cf_xclip **out, const cf_xclip_config *config)
{
    cf_status status = CF_OK;
    cf_xclip *m = NULL;
    CF_TRY(cf_xclip_config_check(config));
    CF_TRY(cf_alloc_zero(&m, 1, sizeof *m));
    m->config = *config;
    CF_GO(cf_params_new(&m->params));
    /* In the order a step uses them: gradients lie over activations (cf_tape_share). */
    CF_GO(cf_vision_init(m));
    CF_GO(cf_mit_init(m));
    CF_GO(config->head_classes > 0 ? head_init(m) : cf_text_init(m));
    CF_GO(cf_prompts_init(m));
    *out = m;
    return CF_OK;
done:
    cf_xclip_free(m);
    return status;
}

cf_status cf_xclip_new(cf_xclip **out, const cf_xclip_config *config)
{
    cf_xclip *m;
    CF_TRY(cf_xclip_declare(&m, config));
    cf_status status = cf_params_alloc(m->params, trains, &m->config);
    if (status == CF_OK)
        *out = m;
    else
        cf_xclip_free(m);
    return status;
}

cf_status cf_xclip_plan(cf_xclip **out, const cf_xclip_config *config)
{
    CF_TRY(cf_xclip_declare(out, config));
    cf_params_plan((*out)->params, trains, &(*out)->config);
    return CF_OK;
}

void cf_xclip_free(cf_xclip *m)
{
    if (!m) return;
    cf_params_free(m->params);
    cf_free(m->text_blocks);
    cf_free(m->vision_blocks);
    cf_free(m->mit_blocks);
    cf_free(m->prompt_layers);
    cf_free(m);
}

const cf_xclip_config *cf_xclip_config_get(const cf_xclip *m) { return &m->config; }
cf_params *cf_xclip_params(const cf_xclip *m) { return m->params; }

cf_tensor *cf_model_segment(const cf_xclip *m, cf_tape *t, cf_segment_fn *fn, const void *ctx,
                            size_t ctx_size, cf_tensor *x, bool trained)
{
    if (!x) return NULL;
    bool differs = trained || x->needs_grad; /* else backward never comes here */
    if (m->config.recompute || !differs || !cf_tape_recording(t))
        return cf_segment(t, fn, ctx, ctx_size, &x, 1);
    return fn(t, ctx, &x);
}

cf_status cf_xclip_head_scores(cf_xclip_outputs *io, const cf_xclip *m, cf_tape *t,
                               const int32_t *class_id, size_t K)
{
    size_t all = m->config.head_classes;
    cf_tensor *weight = m->head.weight, *bias = m->head.bias;
    CF_ASSERT(all > 0);
    if (class_id) {
        weight = cf_embedding(t, weight, class_id, K);
        bias = cf_embedding(t, cf_reshape(t, bias, cf_shape_of(all, 1)), class_id, K);
        bias = cf_reshape(t, bias, cf_shape_of(K));
    }
    cf_tensor *logits = cf_linear(t, io->video_features, weight, bias, NULL, NULL);
    CF_TRY(cf_tape_status(t));
    io->logits = logits;
    return CF_OK;
}

cf_status cf_xclip_scores(cf_xclip_outputs *io, const cf_xclip *m, cf_tape *t, cf_tensor *c,
                          cf_xclip_watch *watch, void *user)
{
    cf_tensor *prompt = NULL, *text = c;
    if (m->config.head_classes > 0) return cf_xclip_head_scores(io, m, t, NULL, 0);
    if (m->config.prompt_layers > 0) {
        prompt = cf_prompts_apply(m, t, c, io->prompt_tokens, watch, user);
        text = prompt ? cf_add(t, prompt, c) : NULL; /* c_hat = c + alpha x, [b, K, e] */
    }
    cf_tensor *logits = cf_cosine_scores(t, io->video_features, text, m->logit_scale);
    CF_TRY(cf_tape_status(t));
    io->prompt = prompt;
    io->logits = logits;
    return CF_OK;
}
