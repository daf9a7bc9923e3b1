/* Weights in and out of the model through safetensors, under their native names.
 *
 * A file must be complete: each tensor of the model, in its shape, and nothing else. The one
 * exception is CLIP as it is published, from which X-CLIP starts: a file without any tensor of the
 * new modules (message_*, mit.*, prompts_*) may lack all of them, and they keep their start values.
 * The opposite, a model without messages between frames out of a file with them, is refused: that
 * trunk was trained with messages. Passed over: the optimiser's state and the three scalars of
 * sizes that CLIP's archives hold. Everything is compared before the first number is written, so a
 * refused file leaves the model as it was, and the refusal names the first few of each kind of
 * difference and counts the rest. */
#include "crossframe/models.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- sizes ----------------------------------------------------------------------------------- */

static bool passed_over(const char *name)
{
    static const char *const scalars[] = { "input_resolution", "context_length", "vocab_size" };
    if (strncmp(name, "optimizer.", strlen("optimizer.")) == 0) return true;
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
        if (strcmp(name, scalars[i]) == 0) return true;
    return false;
}

static bool has_messages(const cf_weights *f)
{
    return cf_weights_find(f, "visual.transformer.resblocks.0.message_fc.weight") != NULL;
}

bool cf_xclip_file_is_clip(const cf_weights *f)
{
    for (size_t i = 0; i < cf_weights_count(f); i++) {
        const char *name = cf_weights_at(f, i)->name;
        if (!passed_over(name) && cf_xclip_is_new_module(name)) return false;
    }
    return true;
}

/* How many of PREFIX0SUFFIX, PREFIX1SUFFIX, ... there are. */
static size_t count_layers(const cf_weights *f, const char *prefix, const char *suffix)
{
    char name[128];
    size_t n = 0;
    for (;; n++) {
        snprintf(name, sizeof name, "%s%zu%s", prefix, n, suffix);
        if (!cf_weights_find(f, name)) return n;
    }
}

static cf_status get_shape(const cf_weight **out, const cf_weights *f, const char *name,
                           size_t rank)
{
    const cf_weight *t = cf_weights_find(f, name);
    if (!t)
        return CF_FAIL(CF_EFORMAT, "%s: not a CLIP or X-CLIP in native names: there is no %s",
                       cf_weights_path(f), name);
    if (t->rank != rank)
        return CF_FAIL(CF_EFORMAT, "%s: %s has %zu dimensions, not %zu", cf_weights_path(f), name,
                       t->rank, rank);
    *out = t;
    return CF_OK;
}

cf_status cf_xclip_config_from_file(cf_xclip_config *out, const cf_weights *f)
{
    const cf_weight *conv, *position, *projection, *text, *token, *mit;
    CF_TRY(get_shape(&conv, f, "visual.conv1.weight", 4));
    CF_TRY(get_shape(&position, f, "visual.positional_embedding", 2));
    CF_TRY(get_shape(&projection, f, "text_projection", 2));
    CF_TRY(get_shape(&text, f, "positional_embedding", 2));
    CF_TRY(get_shape(&token, f, "token_embedding.weight", 2));
    size_t patches = position->shape[0] > 0 ? position->shape[0] - 1 : 0;
    size_t side = (size_t)llround(sqrt((double)patches));
    if (side == 0 || side * side != patches)
        return CF_FAIL(CF_EFORMAT, "%s: %zu rows of visual.positional_embedding are no square + 1",
                       cf_weights_path(f), position->shape[0]);
    cf_xclip_config c = {
        .patch = conv->shape[2],
        .image = conv->shape[2] * side,
        .vision_width = conv->shape[0],
        .vision_layers = count_layers(f, "visual.transformer.resblocks.", ".attn.in_proj_weight"),
        .embed = projection->shape[1],
        .text_width = projection->shape[0],
        .text_layers = count_layers(f, "transformer.resblocks.", ".attn.in_proj_weight"),
        .context = text->shape[0],
        .vocabulary = token->shape[0],
        .video = has_messages(f) ? CF_ENCODER_CCT : CF_ENCODER_MEAN,
        .mit_layers = count_layers(f, "mit.resblocks.", ".attn.in_proj_weight"),
        .prompt_layers = count_layers(f, "prompts_generator.decoder.", ".norm1.weight"),
    };
    if (c.mit_layers > 0) {
        CF_TRY(get_shape(&mit, f, "mit.positional_embedding", 3));
        c.frames = mit->shape[1];
    }
    *out = c;
    return CF_OK;
}

/* ---- comparing ------------------------------------------------------------------------------- */

enum { SHOWN = 4, LIST_SIZE = 480 };

/* "a, b, c and 12 more" */
typedef struct {
    char text[LIST_SIZE];
    size_t n, length;
} name_list;

static void list_add(name_list *l, const char *item)
{
    if (l->n++ >= SHOWN || l->length >= LIST_SIZE - 1) return;
    int n =
        snprintf(l->text + l->length, LIST_SIZE - l->length, "%s%s", l->n > 1 ? ", " : "", item);
    l->length += (size_t)n;
    if (l->length >= LIST_SIZE) l->length = LIST_SIZE - 1;
}

static const char *list_rest(char out[32], const name_list *l)
{
    out[0] = 0;
    if (l->n > SHOWN) snprintf(out, 32, " and %zu more", l->n - SHOWN);
    return out;
}

static cf_shape shape_of(const cf_weight *t)
{
    cf_shape s = { .rank = (int)t->rank };
    for (size_t i = 0; i < t->rank && i < CF_MAX_RANK; i++) s.dim[i] = t->shape[i];
    return s;
}

/* One number is one number: logit_scale is stored as [] by some and as [1] by others. */
static bool fits(const cf_tensor *x, const cf_weight *t)
{
    if (t->rank > CF_MAX_RANK) return false;
    if (x->n == 1 && t->n == 1) return true;
    cf_shape s = shape_of(t);
    return cf_shape_equal(&x->shape, &s);
}

static void list_add_shapes(name_list *l, const cf_tensor *x, const cf_weight *t)
{
    char item[400];
    cf_shape_text in_file, in_model;
    cf_shape s = shape_of(t);
    if (t->rank > CF_MAX_RANK)
        snprintf(in_file.text, sizeof in_file.text, "rank %zu", t->rank);
    else
        cf_shape_print(&in_file, &s);
    snprintf(item, sizeof item, "%s is %s, the model's %s", x->name, in_file.text,
             cf_shape_print(&in_model, &x->shape));
    list_add(l, item);
}

static void list_add_type(name_list *l, const cf_weight *t)
{
    char item[320];
    snprintf(item, sizeof item, "%s holds %s", t->name, cf_st_dtype_name(t->dtype));
    list_add(l, item);
}

typedef struct {
    name_list missing, unexpected, misshapen;
    cf_load_counts counts;
} comparison;

static void compare(comparison *c, const cf_xclip *m, const cf_weights *f, bool clip)
{
    const cf_params *params = cf_xclip_params(m);
    for (size_t i = 0; i < cf_params_count(params); i++) {
        const cf_tensor *x = &cf_params_get(params, i)->tensor;
        const cf_weight *t = cf_weights_find(f, x->name);
        if (!t && clip && cf_xclip_is_new_module(x->name))
            c->counts.fresh++;
        else if (!t)
            list_add(&c->missing, x->name);
        else if (!fits(x, t))
            list_add_shapes(&c->misshapen, x, t);
        else if (t->dtype > CF_ST_F64)
            list_add_type(&c->misshapen, t);
        else
            c->counts.loaded++;
    }
    for (size_t i = 0; i < cf_weights_count(f); i++) {
        const char *name = cf_weights_at(f, i)->name;
        if (!passed_over(name) && !cf_params_find(params, name)) list_add(&c->unexpected, name);
    }
}

static cf_status refuse(const comparison *c, const cf_weights *f)
{
    static const char *const kinds[] = { "missing", "unexpected", "wrong shape" };
    const name_list *lists[] = { &c->missing, &c->unexpected, &c->misshapen };
    char line[3 * (LIST_SIZE + 64)] = "", rest[32];
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        if (lists[i]->n == 0) continue;
        at += (size_t)snprintf(line + at, sizeof line - at, "%s %s: %s%s", at > 0 ? ";" : "",
                               kinds[i], lists[i]->text, list_rest(rest, lists[i]));
    }
    return CF_FAIL(CF_EFORMAT, "%s does not fit the model:%s", cf_weights_path(f), line);
}

/* ---- loading --------------------------------------------------------------------------------- */

static bool wants_new_modules(const cf_xclip_config *c)
{
    return c->video == CF_ENCODER_CCT || c->mit_layers > 0 || c->prompt_layers > 0;
}

cf_status cf_xclip_load(cf_load_counts *out, cf_xclip *m, const cf_weights *f, bool allow_clip)
{
    const cf_xclip_config *config = cf_xclip_config_get(m);
    bool clip = cf_xclip_file_is_clip(f) && cf_weights_find(f, "visual.conv1.weight");
    if (config->video == CF_ENCODER_MEAN && has_messages(f))
        return CF_FAIL(CF_EFORMAT,
                       "%s: an X-CLIP whose frames exchange messages cannot start a model without "
                       "them; name the CLIP it was made from",
                       cf_weights_path(f));
    if (clip && !allow_clip && wants_new_modules(config))
        return CF_FAIL(CF_EFORMAT,
                       "%s is a CLIP without X-CLIP's parts: training starts from it as "
                       "MODEL.PRETRAINED (--pretrained)",
                       cf_weights_path(f));
    comparison c = { .counts = { 0 } };
    compare(&c, m, f, clip);
    if (c.missing.n + c.unexpected.n + c.misshapen.n > 0) return refuse(&c, f);
    cf_params *params = cf_xclip_params(m);
    for (size_t i = 0; i < cf_params_count(params); i++) {
        cf_tensor *x = &cf_params_get(params, i)->tensor;
        const cf_weight *t = cf_weights_find(f, x->name);
        if (t) CF_TRY(cf_weights_read(x->data, x->n, f, t));
    }
    *out = c.counts;
    return CF_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

cf_st_tensor cf_param_as_st(const cf_param *p, const char *name, const cf_real *data)
{
    const cf_shape *s = &p->tensor.shape;
    cf_st_tensor t = { .name = name,
                       .dtype = CF_REAL_IS_DOUBLE ? CF_ST_F64 : CF_ST_F32,
                       .rank = (size_t)s->rank,
                       .n = p->tensor.n,
                       .data = data };
    for (int i = 0; i < s->rank; i++) t.shape[i] = s->dim[i];
    return t;
}
