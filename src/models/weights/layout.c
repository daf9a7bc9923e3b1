/* Which names a file has, and from them to the native ones.
 *
 * Renaming builds a new table of entries whose parts are the old windows: query, key and value
 * become the three parts of one entry, a transposed matrix swaps its strides. A name that no rule
 * knows keeps its name, and so do query, key and value where one of them is missing or of another
 * shape: whoever compares with a model then sees and tells it. */
#include "models/weights/layout.h"

#include <stdio.h>
#include <string.h>

/* ---- recognition ----------------------------------------------------------------------------- */

/* In this order. A model of ours without messages still has parts no CLIP has. */
static const struct {
    const char *name, *also;
    cf_layout layout;
} signs[] = {
    { "visual.transformer.resblocks.0.message_fc.weight", NULL, CF_LAYOUT_XCLIP },
    { "visual.conv1.weight", "mit.positional_embedding", CF_LAYOUT_XCLIP },
    { "visual.conv1.weight", "prompts_visual_proj", CF_LAYOUT_XCLIP },
    { "visual.conv1.weight", "visual.temporal_embedding", CF_LAYOUT_XCLIP },
    { "visual.conv1.weight", "head.weight", CF_LAYOUT_XCLIP },
    { "vision_model.encoder.layers.0.message_fc.weight", NULL, CF_LAYOUT_XCLIP_HF },
    { "vision_model.pre_layrnorm.weight", NULL, CF_LAYOUT_CLIP_HF },
    { "vision_model.pre_layernorm.weight", NULL, CF_LAYOUT_CLIP_HF },
    { "visual.conv1.weight", "visual.class_embedding", CF_LAYOUT_CLIP },
    { "image_encoder.conv1.weight", NULL, CF_LAYOUT_VIFI },
    { "visual.layer1.0.conv1.weight", NULL, CF_LAYOUT_RESNET },
    { "visual.attnpool.positional_embedding", NULL, CF_LAYOUT_RESNET },
};

cf_layout cf_weights_layout(const cf_weights *w)
{
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (cf_weights_find(w, signs[i].name) &&
            (!signs[i].also || cf_weights_find(w, signs[i].also)))
            return signs[i].layout;
    return CF_LAYOUT_UNKNOWN;
}

const char *cf_layout_name(cf_layout layout)
{
    static const char *const names[] = {
        [CF_LAYOUT_UNKNOWN] = "unknown",
        [CF_LAYOUT_XCLIP] = "X-CLIP",
        [CF_LAYOUT_XCLIP_HF] = "Hugging Face XCLIPModel",
        [CF_LAYOUT_CLIP] = "OpenAI CLIP or open_clip",
        [CF_LAYOUT_CLIP_HF] = "Hugging Face CLIPModel",
        [CF_LAYOUT_VIFI] = "ViFi-CLIP",
        [CF_LAYOUT_RESNET] = "CLIP with a ResNet",
    };
    CF_ASSERT((size_t)layout < sizeof names / sizeof *names);
    return names[layout];
}

static cf_status refuse_unknown(const cf_weights *w)
{
    char names[1024] = "";
    size_t n = cf_weights_count(w), at = 0;
    for (size_t i = 0; i < n && i < 10 && at < sizeof names; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%.90s", i > 0 ? ", " : "",
                               cf_weights_at(w, i)->name);
    return CF_FAIL(CF_EFORMAT,
                   "%s: not a CLIP or X-CLIP in any layout known here; its %zu tensors start with "
                   "%s",
                   cf_weights_path(w), n, names);
}

/* ---- renaming -------------------------------------------------------------------------------- */

typedef struct {
    const cf_weights *w;
    const cf_weight_entry *from;
    size_t n_from;
    cf_weight_entry *to;
    size_t n_to;
    cf_layout_rule rule[CF_LAYOUT_MAX_RULES];
    size_t n_rules;
} renaming;

static cf_status put(renaming *r, const cf_weight_entry *entry, const char *name)
{
    char *copy;
    CF_TRY(cf_strdup(&copy, name));
    r->to[r->n_to] = *entry;
    r->to[r->n_to++].info.name = copy;
    return CF_OK;
}

static void swap(size_t *a, size_t *b)
{
    size_t t = *a;
    *a = *b;
    *b = t;
}

/* Anything but one matrix is left as it is: it will not fit the model, whatever it is. */
static void transpose(cf_weight_entry *e)
{
    cf_weight_part *p = &e->part[0];
    if (e->n_parts != 1 || p->rank != 2) return;
    swap(&p->shape[0], &p->shape[1]);
    swap(&p->stride[0], &p->stride[1]);
    memcpy(e->info.shape, p->shape, sizeof e->info.shape);
}

static bool same_shape(const cf_weight_entry *a, const cf_weight_entry *b)
{
    if (a->info.rank != b->info.rank) return false;
    for (size_t i = 0; i < a->info.rank; i++)
        if (a->info.shape[i] != b->info.shape[i]) return false;
    return cf_weight_is_real(&a->info) && cf_weight_is_real(&b->info);
}

/* The three entries of one in_proj; false where they do not make one. */
static bool find_three(const cf_weight_entry *three[3], const renaming *r,
                       const cf_layout_rule *rule, cf_pattern_fill fill)
{
    char name[CF_LAYOUT_NAME];
    for (size_t i = 0; i < 3; i++) {
        fill.letter = "qkv"[i];
        cf_pattern_expand(name, rule->foreign, &fill);
        three[i] = (const cf_weight_entry *)cf_weights_find(r->w, name);
        if (!three[i] || three[i]->n_parts != 1 || three[i]->info.rank == 0) return false;
        if (!same_shape(three[0], three[i])) return false;
    }
    size_t n;
    return three[0]->info.n <= SIZE_MAX / 3 && cf_mul_size(&n, three[0]->info.shape[0], 3) == CF_OK;
}

static cf_status put_three(renaming *r, const cf_weight_entry *const three[3], const char *name)
{
    cf_weight_entry e = *three[0];
    e.n_parts = 3;
    for (size_t i = 1; i < 3; i++) e.part[i] = three[i]->part[0];
    e.info.shape[0] *= 3;
    e.info.n *= 3;
    return put(r, &e, name);
}

static cf_status rename_one(renaming *r, const cf_weight_entry *from)
{
    const cf_layout_rule *rule = NULL;
    const cf_weight_entry *three[3];
    cf_pattern_fill fill;
    char name[CF_LAYOUT_NAME];
    for (size_t i = 0; i < r->n_rules && !rule; i++)
        if (cf_pattern_match(&fill, r->rule[i].foreign, from->info.name)) rule = &r->rule[i];
    if (!rule) return put(r, from, from->info.name);
    cf_pattern_expand(name, rule->native, &fill);
    if (rule->kind == CF_RULE_QKV) {
        if (!find_three(three, r, rule, fill)) return put(r, from, from->info.name);
        return fill.letter == 'q' ? put_three(r, three, name) : CF_OK;
    }
    CF_TRY(put(r, from, name));
    cf_weight_entry *to = &r->to[r->n_to - 1];
    if (rule->kind == CF_RULE_TRANSPOSE) transpose(to);
    /* [1] in some files */
    if (strcmp(name, "logit_scale") == 0 && to->info.n == 1) to->info.rank = to->part[0].rank = 0;
    return CF_OK;
}

static void free_names(cf_weight_entry *entry, size_t n)
{
    for (size_t i = 0; i < n; i++) cf_free((char *)(uintptr_t)entry[i].info.name);
    cf_free(entry);
}

static cf_status rename_all(cf_weights *w, cf_layout layout)
{
    renaming *r;
    CF_TRY(cf_alloc_zero(&r, 1, sizeof *r));
    cf_status status = CF_OK;
    r->w = w;
    r->from = cf_weights_entries(w, &r->n_from);
    r->n_rules = cf_layout_rules(r->rule, layout);
    CF_GO(cf_alloc(&r->to, r->n_from, sizeof *r->to));
    for (size_t i = 0; i < r->n_from; i++)
        if (!cf_layout_drops(layout, r->from[i].info.name)) CF_GO(rename_one(r, &r->from[i]));
    cf_weight_entry *to = r->to;
    r->to = NULL;
    status = cf_weights_replace(w, to, r->n_to);
done:
    if (r->to) free_names(r->to, r->n_to);
    cf_free(r);
    return status;
}

cf_status cf_weights_to_native(cf_weights *w, cf_layout *from)
{
    cf_layout layout = cf_weights_layout(w);
    if (layout == CF_LAYOUT_UNKNOWN) return refuse_unknown(w);
    if (layout == CF_LAYOUT_RESNET)
        return CF_FAIL(
            CF_EUNSUPPORTED,
            "%s: a CLIP whose picture side is a ResNet; X-CLIP is built on CLIP's vision "
            "transformers: ViT-B/32, ViT-B/16, ViT-L/14",
            cf_weights_path(w));
    CF_TRY(rename_all(w, layout));
    cf_weights_set_origin(w, layout);
    if (from) *from = layout;
    return CF_OK;
}

/* ---- single tensors -------------------------------------------------------------------------- */

/* The entries with `e` instead of, or beside, what has its name. */
static cf_status put_entry(cf_weights *w, const cf_weight_entry *e, const char *name)
{
    size_t n, n_to = 0;
    const cf_weight_entry *from = cf_weights_entries(w, &n);
    cf_weight_entry *to;
    cf_status status = CF_OK;
    CF_TRY(cf_alloc(&to, n + 1, sizeof *to));
    for (size_t i = 0; i <= n; i++) {
        const cf_weight_entry *one = i < n ? &from[i] : e;
        if (i < n && strcmp(one->info.name, name) == 0) continue;
        char *copy;
        CF_GO(cf_strdup(&copy, i < n ? one->info.name : name));
        to[n_to] = *one;
        to[n_to++].info.name = copy;
    }
    return cf_weights_replace(w, to, n_to);
done:
    free_names(to, n_to);
    return status;
}

cf_status cf_weights_borrow(cf_weights *w, const cf_weights *from, const char *name)
{
    const cf_weight *t;
    CF_TRY(cf_weights_get(&t, from, name));
    return put_entry(w, (const cf_weight_entry *)t, name);
}

typedef struct {
    cf_container base;
    cf_real *numbers;
} memory;

static cf_status map_memory(const void **out, const cf_container *c, size_t storage)
{
    (void)storage;
    *out = ((const memory *)c)->numbers;
    return CF_OK;
}

static void close_memory(cf_container *c)
{
    cf_free(((memory *)c)->numbers);
    cf_free(c);
}

cf_status cf_weights_put(cf_weights *w, const char *name, size_t rank, const size_t *shape,
                         cf_real *numbers)
{
    memory *m;
    cf_weight_entry e = { .n_parts = 1 };
    cf_weight_part *p = &e.part[0];
    cf_status status = cf_alloc_zero(&m, 1, sizeof *m);
    if (status != CF_OK) {
        cf_free(numbers);
        return status;
    }
    *m = (memory){ { .kind = "memory", .map = map_memory, .close = close_memory }, numbers };
    CF_TRY(cf_weights_own(w, &m->base));
    *p = (cf_weight_part){ .container = &m->base,
                           .dtype = CF_REAL_IS_DOUBLE ? CF_ST_F64 : CF_ST_F32,
                           .rank = rank };
    CF_ASSERT(rank <= CF_ST_MAX_RANK);
    if (rank > 0) memcpy(p->shape, shape, rank * sizeof *shape);
    CF_TRY(cf_weight_part_dense(p));
    e.info = (cf_weight){ .dtype = p->dtype, .rank = rank, .n = p->n };
    memcpy(e.info.shape, p->shape, sizeof e.info.shape);
    return put_entry(w, &e, name);
}
