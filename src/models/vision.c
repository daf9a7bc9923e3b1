/* The cross-frame communication transformer (paper section 3.2): CLIP's vision transformer on every
 * frame, whose blocks exchange message tokens between the frames of a video (eq. 4-7). Without the
 * messages: frames apart (CLIP-Mean), or joint attention over a video's tokens (CLIP-Joint). */
#include "xclip.h"

#include <math.h>
#include <stdio.h>

static cf_status block_init(cf_vision_block *b, cf_params *p, size_t i, size_t d, bool messages)
{
    char prefix[64], name[96];
    double unit = 1 / sqrt((double)d);
    const cf_block_start start = {
        .attn_in = cf_init_uniform(cf_xavier_bound(d, 3 * d)),
        .attn_out = cf_init_uniform(unit),
        .fc = cf_init_uniform(unit),
        .fc_bias = cf_init_uniform(unit),
        .proj = cf_init_uniform(1 / sqrt(4.0 * (double)d)),
        .proj_bias = cf_init_uniform(1 / sqrt(4.0 * (double)d)),
    };
    snprintf(prefix, sizeof prefix, "visual.transformer.resblocks.%zu", i);
    if (messages) {
        snprintf(name, sizeof name, "%s.message_fc", prefix);
        CF_TRY(cf_linear_init(&b->message_fc, p, name, d, d, start.fc, start.fc_bias));
        snprintf(name, sizeof name, "%s.message_ln", prefix);
        CF_TRY(cf_norm_init(&b->message_ln, p, name, d));
        snprintf(name, sizeof name, "%s.message_attn", prefix);
        CF_TRY(cf_attention_init(&b->message_attn, p, name, d, start.attn_in, start.attn_out));
    }
    return cf_block_init(&b->clip, p, prefix, d, &start);
}

cf_status cf_vision_init(cf_xclip *m)
{
    const cf_xclip_config *c = &m->config;
    cf_params *p = m->params;
    size_t d = c->vision_width, side = c->image / c->patch;
    double std = pow((double)d, -0.5);
    CF_TRY(cf_params_add(&m->class_embedding, p, cf_init_normal(std), cf_shape_of(d),
                         "visual.class_embedding"));
    CF_TRY(cf_params_add(&m->visual_position, p, cf_init_normal(std),
                         cf_shape_of(side * side + 1, d), "visual.positional_embedding"));
    CF_TRY(cf_params_add(&m->conv1, p,
                         cf_init_uniform(1 / sqrt(3.0 * (double)(c->patch * c->patch))),
                         cf_shape_of(d, 3, c->patch, c->patch), "visual.conv1.weight"));
    if (c->video == CF_ENCODER_JOINT)
        CF_TRY(cf_params_add(&m->temporal, p, cf_init_constant(0), cf_shape_of(c->frames, d),
                             "visual.temporal_embedding"));
    CF_TRY(cf_norm_init(&m->ln_pre, p, "visual.ln_pre", d));
    CF_TRY(cf_alloc_zero(&m->vision_blocks, c->vision_layers, sizeof *m->vision_blocks));
    for (size_t i = 0; i < c->vision_layers; i++)
        CF_TRY(block_init(&m->vision_blocks[i], p, i, d, c->video == CF_ENCODER_CCT));
    CF_TRY(cf_norm_init(&m->ln_post, p, "visual.ln_post", d));
    return cf_params_add(&m->visual_proj, p, cf_init_normal(std), cf_shape_of(d, c->embed),
                         "visual.proj");
}

/* ---- one block ------------------------------------------------------------------------------- */

enum { DROP_CFA, DROP_IFA, DROP_MLP, DROP_BRANCHES };

typedef struct {
    const cf_vision_block *block;
    size_t b, T, d;
    bool messages;
    const cf_real *drop; /* [DROP_BRANCHES, b] factors, or NULL */
} block_context;

static const cf_real *drop_of(const block_context *c, size_t branch)
{
    return c->drop ? c->drop + branch * c->b : NULL;
}

/* Rows of a video. */
static size_t rows_of(const block_context *c, const cf_tensor *z)
{
    return z->shape.dim[0] / c->b * z->shape.dim[1];
}

/* z [F, N+1, d]: message m = fc(class token); m = m + attention over the T messages of a video
 * (CFA, eq. 5); z = z + attention inside the frame, the message as one more key and value (IFA, eq.
 * 6); z = z + mlp(z) (eq. 7). The message's own query is never computed: its output would be
 * dropped. Without messages it is CLIP's block, on the tokens of a frame or, z [b, 1 + T N, d], of
 * a whole video. In two halves, so that what one keeps is gone when the other is made again. */
static cf_tensor *block_attention(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const block_context *c = ctx;
    const cf_vision_block *block = c->block;
    cf_tensor *z = in[0], *message = NULL;
    if (!z) return NULL;
    if (c->messages) {
        cf_tensor *m = cf_slice(t, z, 1, 0, 1);
        m = cf_linear_apply(t, &block->message_fc, cf_reshape(t, m, cf_shape_of(c->b, c->T, c->d)),
                            NULL, NULL);
        const cf_attention_options cfa = { .norm = &block->message_ln,
                                           .drop_scale = drop_of(c, DROP_CFA),
                                           .rows_per_scale = c->T };
        m = cf_attention_apply(t, &block->message_attn, m, m, &cfa);
        m = cf_reshape(t, m, cf_shape_of(c->b * c->T, c->d));
        message = cf_norm_apply(t, &block->clip.ln_1, m);
        if (!message) return NULL;
    }
    const cf_attention_options ifa = { .norm = &block->clip.ln_1,
                                       .message = message,
                                       .drop_scale = drop_of(c, DROP_IFA),
                                       .rows_per_scale = rows_of(c, z) };
    return cf_attention_apply(t, &block->clip.attn, z, z, &ifa);
}

static cf_tensor *block_mlp(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const block_context *c = ctx;
    if (!in[0]) return NULL;
    return cf_block_mlp(t, &c->block->clip, in[0], drop_of(c, DROP_MLP), rows_of(c, in[0]));
}

/* Branch factors of block i: 0 with probability p = rate i / (layers - 1), else 1 / (1 - p); one
 * draw per video and branch. NULL: nothing is dropped. */
static const cf_real *draw_drop(const cf_xclip *m, cf_tape *t, const cf_xclip_run *run, size_t i,
                                size_t b)
{
    size_t layers = m->config.vision_layers;
    double p = layers > 1 ? m->config.drop_path * (double)i / (double)(layers - 1) : 0;
    if (!run->training || p <= 0) return NULL;
    cf_real *factor = cf_tape_push(t, DROP_BRANCHES * b, sizeof *factor);
    cf_rng rng = cf_rng_make(run->seed, CF_RNG_DROP_PATH, (uint32_t)i, run->step);
    for (size_t j = 0; factor && j < DROP_BRANCHES * b; j++)
        factor[j] = cf_rng_uniform(&rng) < p ? 0 : (cf_real)(1 / (1 - p));
    return factor;
}

/* Tokens before the first block. */
static cf_tensor *embed(const cf_xclip *m, cf_tape *t, cf_tensor *pictures)
{
    const cf_xclip_config *c = &m->config;
    const size_t *dim = pictures->shape.dim;
    cf_tensor *x = cf_reshape(t, pictures, cf_shape_of(dim[0] * dim[1], 3, c->image, c->image));
    x = cf_patch_embed(t, x, m->conv1, m->class_embedding, m->visual_position);
    if (c->video == CF_ENCODER_JOINT) x = cf_join_frames(t, x, m->temporal);
    return cf_norm_apply(t, &m->ln_pre, x);
}

static cf_status check_pictures(const cf_xclip_config *c, const cf_tensor *pictures)
{
    cf_shape_text text;
    const size_t *dim = pictures->shape.dim;
    bool places = c->mit_layers > 0 || c->video == CF_ENCODER_JOINT; /* in time */
    if (pictures->shape.rank != 5 || dim[0] == 0 || dim[2] != 3 || dim[3] != c->image ||
        dim[4] != c->image || (places && dim[1] != c->frames))
        return CF_FAIL(CF_ESHAPE, "model: pictures are %s, the model takes [b, %zu, 3, %zu, %zu]",
                       cf_shape_print(&text, &pictures->shape), c->frames, c->image, c->image);
    return CF_OK;
}

cf_status cf_xclip_video(cf_xclip_outputs *out, const cf_xclip *m, cf_tape *t, cf_tensor *pictures,
                         const cf_xclip_run *run, cf_xclip_watch *watch, void *user)
{
    const cf_xclip_config *c = &m->config;
    if (!pictures) return cf_tape_status(t);
    CF_TRY(check_pictures(c, pictures));
    size_t b = pictures->shape.dim[0], T = pictures->shape.dim[1], d = c->vision_width;
    bool joint = c->video == CF_ENCODER_JOINT;
    cf_xclip_outputs o = { 0 };
    cf_tensor *x = o.ln_pre = embed(m, t, pictures);
    for (size_t i = 0; i < c->vision_layers; i++) {
        const block_context ctx = { .block = &m->vision_blocks[i],
                                    .b = b,
                                    .T = T,
                                    .d = d,
                                    .messages = c->video == CF_ENCODER_CCT,
                                    .drop = draw_drop(m, t, run, i, b) };
        bool trained = ctx.messages || ctx.block->clip.c_fc.weight->needs_grad;
        x = cf_model_segment(m, t, block_attention, &ctx, sizeof ctx, x, trained);
        x = cf_model_segment(m, t, block_mlp, &ctx, sizeof ctx, x, trained);
        if (watch && x) watch(user, "visual.block", i, x);
    }
    o.tokens = x;
    cf_tensor *h = cf_reshape(t, cf_slice(t, x, 1, 0, 1), cf_shape_of(joint ? b : b * T, d));
    const cf_linear_options bare = { .in_out = true };
    h = cf_linear(t, cf_norm_apply(t, &m->ln_post, h), m->visual_proj, NULL, NULL, &bare);
    o.frame_features = joint ? NULL : h;
    o.video_features = joint ? h : cf_mit_apply(m, t, h, b);
    if (c->prompt_layers > 0) o.prompt_tokens = cf_prompts_tokens(m, t, x, b);
    CF_TRY(cf_tape_status(t));
    *out = o;
    return CF_OK;
}
