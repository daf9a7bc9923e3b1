/* The table of names: native on the left, Hugging Face on the right; the other layouts follow from
 * the native name and its side. Renaming on import and on export both walk this table.
 *
 * No rule scales or reorders heads: head h owns rows 64h .. 64h+63 of each of q, k and v in every
 * layout. */
#include "models/weights/layout.h"

#include <stdio.h>
#include <string.h>

typedef enum { TOKENS, TEXT, SCALE, VISUAL, OWN /* X-CLIP's, no CLIP has them */ } side;

typedef struct {
    side side;
    cf_rule_kind kind;
    const char *native, *hf;
} row;

#define COPY CF_RULE_COPY
#define BLOCK(side, native, hf)                                                                    \
    { side, COPY, native "ln_1.@", hf "layer_norm1.@" },                                           \
        { side, COPY, native "ln_2.@", hf "layer_norm2.@" },                                       \
        { side, COPY, native "mlp.c_fc.@", hf "mlp.fc1.@" },                                       \
        { side, COPY, native "mlp.c_proj.@", hf "mlp.fc2.@" },                                     \
        { side, CF_RULE_QKV, native "attn.in_proj_@", hf "self_attn.?_proj.@" },                   \
    {                                                                                              \
        side, COPY, native "attn.out_proj.@", hf "self_attn.out_proj.@"                            \
    }
#define SAME(side, name)                                                                           \
    {                                                                                              \
        side, COPY, name, name                                                                     \
    }

static const row rows[] = {
    { TOKENS, COPY, "token_embedding.weight", "text_model.embeddings.token_embedding.weight" },
    { TEXT, COPY, "positional_embedding", "text_model.embeddings.position_embedding.weight" },
    BLOCK(TEXT, "transformer.resblocks.#.", "text_model.encoder.layers.#."),
    { TEXT, COPY, "ln_final.@", "text_model.final_layer_norm.@" },
    { TEXT, CF_RULE_TRANSPOSE, "text_projection", "text_projection.weight" },
    SAME(SCALE, "logit_scale"),

    { VISUAL, COPY, "visual.class_embedding", "vision_model.embeddings.class_embedding" },
    { VISUAL, COPY, "visual.positional_embedding",
      "vision_model.embeddings.position_embedding.weight" },
    { VISUAL, COPY, "visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight" },
    { VISUAL, COPY, "visual.ln_pre.@", "vision_model.pre_layernorm.@" },
    BLOCK(VISUAL, "visual.transformer.resblocks.#.", "vision_model.encoder.layers.#."),
    { VISUAL, COPY, "visual.ln_post.@", "vision_model.post_layernorm.@" },
    { VISUAL, CF_RULE_TRANSPOSE, "visual.proj", "visual_projection.weight" },

    { OWN, COPY, "visual.transformer.resblocks.#.message_fc.@",
      "vision_model.encoder.layers.#.message_fc.@" },
    { OWN, COPY, "visual.transformer.resblocks.#.message_ln.@",
      "vision_model.encoder.layers.#.message_ln.@" },
    { OWN, CF_RULE_QKV, "visual.transformer.resblocks.#.message_attn.in_proj_@",
      "vision_model.encoder.layers.#.message_attn.?_proj.@" },
    { OWN, COPY, "visual.transformer.resblocks.#.message_attn.out_proj.@",
      "vision_model.encoder.layers.#.message_attn.out_proj.@" },
    { OWN, COPY, "mit.positional_embedding", "mit.position_embedding" },
    BLOCK(OWN, "mit.resblocks.#.", "mit.encoder.layers.#."),
    { OWN, COPY, "prompts_visual_ln.@", "prompts_visual_layernorm.@" },
    { OWN, COPY, "prompts_visual_proj", "prompts_visual_projection" }, /* bare on both sides */
    { OWN, COPY, "prompts_generator.norm.@", "prompts_generator.layernorm.@" },
    SAME(OWN, "prompts_generator.alpha"),
    SAME(OWN, "prompts_generator.decoder.#.cross_attn.?_proj.weight"),
    SAME(OWN, "prompts_generator.decoder.#.cross_attn.proj.@"),
    SAME(OWN, "prompts_generator.decoder.#.norm1.@"),
    SAME(OWN, "prompts_generator.decoder.#.norm3.@"),
    SAME(OWN, "prompts_generator.decoder.#.mlp.0.@"),
    SAME(OWN, "prompts_generator.decoder.#.mlp.3.@"),
};
enum { N_ROWS = sizeof rows / sizeof *rows };

/* ---- patterns -------------------------------------------------------------------------------- */

/* A number as it is written here: no leading zeros. Its length; 0: none. */
static size_t take_layer(char layer[8], const char *name)
{
    size_t n = strspn(name, "0123456789");
    if (n == 0 || n > 6 || (n > 1 && name[0] == '0')) return 0;
    memcpy(layer, name, n);
    layer[n] = 0;
    return n;
}

static size_t take_ending(const char **ending, const char *name)
{
    static const char *const endings[] = { "weight", "bias" };
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(endings[i]);
        if (strncmp(name, endings[i], n) != 0) continue;
        *ending = endings[i];
        return n;
    }
    return 0;
}

bool cf_pattern_match(cf_pattern_fill *fill, const char *pattern, const char *name)
{
    cf_pattern_fill f = { .ending = "" };
    for (; *pattern; pattern++) {
        size_t n = 1;
        if (*pattern == '#') {
            n = take_layer(f.layer, name);
        } else if (*pattern == '@') {
            n = take_ending(&f.ending, name);
        } else if (*pattern == '?') {
            f.letter = *name;
            n = *name && strchr("qkv", *name) ? 1 : 0;
        } else if (*pattern != *name) {
            n = 0;
        }
        if (n == 0) return false;
        name += n;
    }
    if (*name) return false;
    *fill = f;
    return true;
}

void cf_pattern_expand(char out[CF_LAYOUT_NAME], const char *pattern, const cf_pattern_fill *fill)
{
    size_t at = 0;
    for (; *pattern; pattern++) {
        const char one[2] = { *pattern == '?' ? fill->letter : *pattern, 0 };
        const char *piece = *pattern == '#' ? fill->layer : *pattern == '@' ? fill->ending : one;
        at += (size_t)snprintf(out + at, CF_LAYOUT_NAME - at, "%s", piece);
        CF_ASSERT(at < CF_LAYOUT_NAME);
    }
    out[at] = 0;
}

/* ---- rules of a layout ----------------------------------------------------------------------- */

typedef struct {
    cf_layout_rule *out;
    size_t n;
} list;

static void add(list *l, const row *r, const char *prefix, const char *name, cf_rule_kind kind)
{
    CF_ASSERT(l->n < CF_LAYOUT_MAX_RULES);
    cf_layout_rule *rule = &l->out[l->n++];
    *rule = (cf_layout_rule){ .native = r->native, .kind = kind };
    snprintf(rule->foreign, sizeof rule->foreign, "%s%s", prefix, name);
}

static void add_clip(list *l, const row *r)
{
    if (r->side == OWN) return;
    add(l, r, "", r->native, COPY);
    if (r->side != TEXT && r->side != TOKENS) return;
    add(l, r, "text.", r->native, COPY); /* open_clip's later models */
    l->out[l->n - 1].only_read = true;
}

/* Hugging Face misspells it in CLIPModel, and rightly in XCLIPModel; some files are corrected. */
static void add_clip_hf(list *l, const row *r)
{
    if (r->side == OWN) return;
    bool misspelt = strcmp(r->hf, "vision_model.pre_layernorm.@") == 0;
    if (misspelt) add(l, r, "", "vision_model.pre_layrnorm.@", r->kind);
    add(l, r, "", r->hf, r->kind);
    l->out[l->n - 1].only_read = misspelt;
}

static void add_vifi(list *l, const row *r)
{
    if (r->side == VISUAL) add(l, r, "image_encoder.", r->native + strlen("visual."), COPY);
    if (r->side == TEXT) add(l, r, "text_encoder.", r->native, COPY);
    if (r->side == SCALE) add(l, r, "", r->native, COPY);
}

size_t cf_layout_rules(cf_layout_rule out[CF_LAYOUT_MAX_RULES], cf_layout layout)
{
    list l = { out, 0 };
    for (size_t i = 0; i < N_ROWS; i++) {
        const row *r = &rows[i];
        switch (layout) {
        case CF_LAYOUT_XCLIP: add(&l, r, "", r->native, COPY); break;
        case CF_LAYOUT_XCLIP_HF: add(&l, r, "", r->hf, r->kind); break;
        case CF_LAYOUT_CLIP: add_clip(&l, r); break;
        case CF_LAYOUT_CLIP_HF: add_clip_hf(&l, r); break;
        case CF_LAYOUT_VIFI: add_vifi(&l, r); break;
        case CF_LAYOUT_UNKNOWN:
        case CF_LAYOUT_RESNET: break;
        }
    }
    return l.n;
}

void cf_layout_foreign_name(char out[CF_LAYOUT_NAME], cf_layout layout, const char *native)
{
    cf_layout_rule rule[CF_LAYOUT_MAX_RULES];
    cf_pattern_fill fill;
    size_t n = cf_layout_rules(rule, layout);
    snprintf(out, CF_LAYOUT_NAME, "%s", native);
    for (size_t i = 0; i < n; i++) {
        if (rule[i].only_read || !cf_pattern_match(&fill, rule[i].native, native)) continue;
        char pattern[CF_LAYOUT_NAME];
        const char *hole = rule[i].kind == CF_RULE_QKV ? strchr(rule[i].foreign, '?') : NULL;
        if (hole)
            snprintf(pattern, sizeof pattern, "%.*s{q,k,v}%s", (int)(hole - rule[i].foreign),
                     rule[i].foreign, hole + 1);
        cf_pattern_expand(out, hole ? pattern : rule[i].foreign, &fill);
        return;
    }
}

/* ---- what is no weight ----------------------------------------------------------------------- */

bool cf_layout_drops(cf_layout layout, const char *name)
{
    static const char *const buffers[] = { "text_model.embeddings.position_ids",
                                           "vision_model.embeddings.position_ids" };
    bool hf = layout == CF_LAYOUT_XCLIP_HF || layout == CF_LAYOUT_CLIP_HF;
    for (size_t i = 0; hf && i < sizeof buffers / sizeof *buffers; i++)
        if (strcmp(name, buffers[i]) == 0) return true;
    /* The embedded texts of the classes it was trained with. */
    const char *learner = "prompt_learner.";
    return layout == CF_LAYOUT_VIFI && strncmp(name, learner, strlen(learner)) == 0;
}

bool cf_weights_beside_model(const char *native)
{
    static const char *const scalars[] = { "input_resolution", "context_length", "vocab_size" };
    if (strncmp(native, "optimizer.", strlen("optimizer.")) == 0) return true;
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
        if (strcmp(native, scalars[i]) == 0) return true;
    return false;
}
