/* Inside of the model: its layers. */
#ifndef CROSSFRAME_MODELS_XCLIP_H
#define CROSSFRAME_MODELS_XCLIP_H

#include "crossframe/models.h"

/* A vision block: CLIP's, and the message parts where frames communicate. */
typedef struct {
    cf_block clip;
    cf_linear_layer message_fc;
    cf_norm_layer message_ln;
    cf_attention_layer message_attn;
} cf_vision_block;

typedef struct {
    cf_norm_layer norm1, norm3;
    cf_tensor *q, *k, *v;
    cf_linear_layer proj, fc1, fc2;
} cf_prompt_layer;

struct cf_xclip {
    cf_xclip_config config;
    cf_params *params;
    /* text side */
    cf_tensor *token_embedding, *positional_embedding, *text_projection, *logit_scale;
    cf_block *text_blocks;
    cf_norm_layer ln_final;
    /* video side */
    cf_tensor *class_embedding, *visual_position, *conv1, *visual_proj;
    cf_tensor *temporal; /* joint attention only */
    cf_norm_layer ln_pre, ln_post;
    cf_vision_block *vision_blocks;
    /* multi-frame integration */
    cf_tensor *mit_position;
    cf_block *mit_blocks;
    /* prompts */
    cf_norm_layer prompts_visual_ln, prompts_norm;
    cf_tensor *prompts_visual_proj, *alpha;
    cf_prompt_layer *prompt_layers;
    cf_tensor *prompts_context; /* vectors before the class names; NULL: none */
    cf_linear_layer head;       /* config.head_classes > 0 only */
};

/* The three parts declare their parameters; called by cf_xclip_new. */
cf_status cf_text_init(cf_xclip *m);
cf_status cf_vision_init(cf_xclip *m);
cf_status cf_mit_init(cf_xclip *m);
cf_status cf_prompts_init(cf_xclip *m);

/* h [F, e] -> v [b, e]; not for joint attention, where h is v */
cf_tensor *cf_mit_apply(const cf_xclip *m, cf_tape *t, cf_tensor *h, size_t b);
/* tokens [F, N+1, d], or [b, 1 + T N, d] of joint attention -> y [b, N, e] */
cf_tensor *cf_prompts_tokens(const cf_xclip *m, cf_tape *t, cf_tensor *tokens, size_t b);
/* c [K, e], y [b, N, e] -> alpha * x [b, K, e] */
cf_tensor *cf_prompts_apply(const cf_xclip *m, cf_tape *t, cf_tensor *c, cf_tensor *y,
                            cf_xclip_watch *watch, void *user);
/* A part of a block as one step of the tape: recomputed in backward, or its inner values released
 * at once when nothing is recorded, or nothing in it or before it is trained; else called directly.
 * trained: it has trained parameters. */
cf_tensor *cf_model_segment(const cf_xclip *m, cf_tape *t, cf_segment_fn *fn, const void *ctx,
                            size_t ctx_size, cf_tensor *x, bool trained);

#endif
