/* Weights into the model, by their native names (cf_weights_to_native).
 *
 * A file must be complete: each tensor of the model, in its shape, and nothing else. The one
 * exception is CLIP as it is published, from which X-CLIP starts: a file without any tensor of the
 * new modules (message_*, temporal_embedding, mit.*, prompts_*) may lack all of them, and they keep
 * their start values. The opposite, a model without messages between frames or joint attention out
 * of a file with them, is refused: that trunk was trained with them. Passed over: the optimiser's
 * state and the three scalars of sizes that CLIP's archives hold. A model with a head of its own
 * starts from whatever has class texts, too: the head starts anew, and the text side, prompts
 * included, is left out. Everything is compared before the
 * first number is written, so a refused file leaves the model as it was, and the refusal holds all
 * names, those that are missing as the user's file would have them. */
#include "models/name_list.h"
#include "models/weights/layout.h"
#include "crossframe/models.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- sizes ----------------------------------------------------------------------------------- */

static bool has_messages(const cf_weights *f)
{
    return cf_weights_find(f, "visual.transformer.resblocks.0.message_fc.weight") != NULL;
}

static bool is_joint(const cf_weights *f)
{
    return cf_weights_find(f, "visual.temporal_embedding") != NULL;
}

bool cf_xclip_file_is_clip(const cf_weights *f)
{
    for (size_t i = 0; i < cf_weights_count(f); i++) {
        const char *name = cf_weights_at(f, i)->name;
        if (!cf_weights_beside_model(name) && cf_xclip_is_new_module(name)) return false;
    }
    return true;
}

/* One more than the largest number after the prefix; a hole is then seen as missing tensors. Not
 * more than the file has tensors. */
static size_t count_layers(const cf_weights *f, const char *prefix)
{
    size_t n = 0, most = cf_weights_count(f), length = strlen(prefix);
    for (size_t i = 0; i < most; i++) {
        const char *name = cf_weights_at(f, i)->name;
        if (strncmp(name, prefix, length) != 0) continue;
        size_t digits = strspn(name + length, "0123456789"), layer = 0;
        if (digits == 0 || digits > 6 || name[length + digits] != '.') continue;
        for (size_t k = 0; k < digits; k++) layer = 10 * layer + (size_t)(name[length + k] - '0');
        if (layer + 1 > n && layer < most) n = layer + 1;
    }
    return n;
}

size_t cf_xclip_file_head(const cf_weights *f)
{
    const cf_weight *t = cf_weights_find(f, "head.weight");
    return t && t->rank == 2 ? t->shape[0] : 0;
}

static bool is_text_side(const char *name)
{
    static const char *const starts[] = { "token_embedding.", "transformer.", "ln_final.",
                                          "prompts_" };
    static const char *const names[] = { "positional_embedding", "text_projection", "logit_scale" };
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (strncmp(name, starts[i], strlen(starts[i])) == 0) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

typedef struct {
    const cf_weight *conv, *position, *projection, *text, *token;
} size_tensors;

static cf_status lacks(const cf_weights *f, const char *names, bool only_tokens)
{
    const char *path = cf_weights_path(f);
    if (only_tokens)
        return CF_FAIL(
            CF_EFORMAT,
            "%s has no token_embedding.weight (ViFi-CLIP stores none): take it from the CLIP it "
            "was trained from: crossframe convert %s OUT --clip CLIP",
            path, path);
    return CF_FAIL(CF_EFORMAT, "%s: not a whole CLIP or X-CLIP: there is no %s", path, names);
}

static cf_status find_sizes(size_tensors *s, const cf_weights *f)
{
    bool head = cf_xclip_file_head(f) > 0;
    const struct {
        const char *name;
        size_t rank;
        const cf_weight **out;
    } needed[] = {
        { "visual.conv1.weight", 4, &s->conv },
        { "visual.positional_embedding", 2, &s->position },
        { head ? "visual.proj" : "text_projection", 2, &s->projection },
        { "positional_embedding", 2, &s->text }, /* from here on the text side */
        { "token_embedding.weight", 2, &s->token },
    };
    char names[512] = "", name[CF_LAYOUT_NAME];
    size_t at = 0, n = head ? 3 : sizeof needed / sizeof *needed;
    *s = (size_tensors){ NULL };
    for (size_t i = 0; i < n; i++) {
        *needed[i].out = cf_weights_find(f, needed[i].name);
        if (*needed[i].out) continue;
        cf_layout_foreign_name(name, cf_weights_origin(f), needed[i].name);
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at ? ", " : "", name);
    }
    if (at) return lacks(f, names, !s->token && s->conv && s->position && s->projection && s->text);
    for (size_t i = 0; i < n; i++)
        if ((*needed[i].out)->rank != needed[i].rank)
            return CF_FAIL(CF_EFORMAT, "%s: %s has %zu dimensions, not %zu", cf_weights_path(f),
                           needed[i].name, (*needed[i].out)->rank, needed[i].rank);
    return CF_OK;
}

cf_status cf_xclip_config_from_file(cf_xclip_config *out, const cf_weights *f)
{
    size_tensors s;
    CF_TRY(find_sizes(&s, f));
    size_t patches = s.position->shape[0] > 0 ? s.position->shape[0] - 1 : 0;
    size_t side = (size_t)llround(sqrt((double)patches));
    if (side == 0 || side * side != patches)
        return CF_FAIL(CF_EFORMAT, "%s: %zu rows of visual.positional_embedding are no square + 1",
                       cf_weights_path(f), s.position->shape[0]);
    cf_xclip_config c = {
        .image = side * s.conv->shape[2],
        .patch = s.conv->shape[2],
        .vision_width = s.conv->shape[0],
        .vision_layers = count_layers(f, "visual.transformer.resblocks."),
        .embed = s.projection->shape[1],
        .head_classes = cf_xclip_file_head(f),
        .frames = cf_weights_frames(f),
        .video = has_messages(f) ? CF_ENCODER_CCT
                 : is_joint(f)   ? CF_ENCODER_JOINT
                                 : CF_ENCODER_MEAN,
        .mit_layers = count_layers(f, "mit.resblocks."),
        .prompt_layers = count_layers(f, "prompts_generator.decoder."),
    };
    if (c.head_classes == 0) {
        c.text_width = s.projection->shape[0];
        c.text_layers = count_layers(f, "transformer.resblocks.");
        c.context = s.text->shape[0];
        c.vocabulary = s.token->shape[0];
    }
    const cf_weight *vectors = cf_weights_find(f, "prompts_context");
    if (vectors && vectors->rank == 2) c.prompt_vectors = vectors->shape[0];
    if (c.mit_layers > 0 && c.frames == 0)
        return CF_FAIL(CF_EFORMAT, "%s: mit.positional_embedding is not there as [1, T, %zu]",
                       cf_weights_path(f), c.embed);
    if (c.video == CF_ENCODER_JOINT && c.frames == 0)
        return CF_FAIL(CF_EFORMAT, "%s: visual.temporal_embedding is not there as [T, %zu]",
                       cf_weights_path(f), c.vision_width);
    *out = c;
    return CF_OK;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static cf_shape shape_of(const cf_weight *t)
{
    cf_shape s = { .rank = (int)t->rank };
    for (size_t i = 0; i < t->rank && i < CF_MAX_RANK; i++) s.dim[i] = t->shape[i];
    return s;
}

static const char *print_shape(cf_shape_text *out, const cf_weight *t)
{
    cf_shape s = shape_of(t);
    if (t->rank <= CF_MAX_RANK) return cf_shape_print(out, &s);
    snprintf(out->text, sizeof out->text, "of rank %zu", t->rank);
    return out->text;
}

/* One number is one number: logit_scale is stored as [] by some and as [1] by others. */
static bool fits(const cf_tensor *x, const cf_weight *t)
{
    if (t->rank > CF_MAX_RANK) return false;
    if (x->n == 1 && t->n == 1) return true;
    cf_shape s = shape_of(t);
    return cf_shape_equal(&x->shape, &s);
}

typedef struct {
    cf_name_list missing, unexpected, misshapen;
    cf_load_counts counts;
} comparison;

static cf_status add_misshapen(comparison *c, const cf_tensor *x, const cf_weight *t)
{
    char note[300];
    cf_shape_text in_file, in_model;
    if (!fits(x, t))
        snprintf(note, sizeof note, " is %s, the model's %s", print_shape(&in_file, t),
                 cf_shape_print(&in_model, &x->shape));
    else
        snprintf(note, sizeof note, " holds %s", cf_st_dtype_name(t->dtype));
    return cf_name_list_add(&c->misshapen, x->name, note);
}

/* known[i]: the model has tensor i of the file. head: one that starts anew. */
static cf_status add_missing(comparison *c, bool *known, const cf_xclip *m, const cf_weights *f,
                             bool clip, bool head)
{
    const cf_params *params = cf_xclip_params(m);
    char name[CF_LAYOUT_NAME];
    size_t n;
    const cf_weight_entry *entry = cf_weights_entries(f, &n);
    for (size_t i = 0; i < cf_params_count(params); i++) {
        const cf_tensor *x = &cf_params_get(params, i)->tensor;
        const cf_weight *t = cf_weights_find(f, x->name);
        if (t) known[(const cf_weight_entry *)t - entry] = true;
        if (t && fits(x, t) && cf_weight_is_real(t)) {
            c->counts.loaded++;
        } else if (t) {
            CF_TRY(add_misshapen(c, x, t));
        } else if ((clip && cf_xclip_is_new_module(x->name)) ||
                   (head && strncmp(x->name, "head.", 5) == 0)) {
            c->counts.fresh++;
        } else {
            cf_layout_foreign_name(name, cf_weights_origin(f), x->name);
            CF_TRY(cf_name_list_add(&c->missing, name, ""));
        }
    }
    return CF_OK;
}

static cf_status add_unexpected(comparison *c, const cf_weights *f, const bool *known, bool head)
{
    char note[300];
    cf_shape_text shape;
    for (size_t i = 0; i < cf_weights_count(f); i++) {
        const cf_weight *t = cf_weights_at(f, i);
        if (known[i] || cf_weights_beside_model(t->name)) continue;
        if (head && is_text_side(t->name)) {
            c->counts.left_out++;
            continue;
        }
        snprintf(note, sizeof note, " %s", print_shape(&shape, t));
        CF_TRY(cf_name_list_add(&c->unexpected, t->name, note));
    }
    return CF_OK;
}

static cf_status refuse(comparison *c, const cf_weights *f)
{
    static const char *const kinds[] = { "missing", "unexpected", "wrong shape" };
    cf_name_list *lists[] = { &c->missing, &c->unexpected, &c->misshapen };
    enum { EACH = 2500 };
    char line[3 * (EACH + 32)] = "", names[EACH];
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        if (lists[i]->n == 0) continue;
        cf_name_list_print(names, sizeof names, lists[i]);
        at += (size_t)snprintf(line + at, sizeof line - at, "%s %s: %s", at > 0 ? ";" : "",
                               kinds[i], names);
    }
    return CF_FAIL(CF_EFORMAT, "%s does not fit the model:%s", cf_weights_path(f), line);
}

static bool wants_new_modules(const cf_xclip_config *c)
{
    return c->head_classes > 0 || c->video != CF_ENCODER_MEAN || c->mit_layers > 0 ||
           c->prompt_layers > 0;
}

cf_status cf_xclip_check(cf_load_counts *out, const cf_xclip *m, const cf_weights *f,
                         bool allow_clip)
{
    const cf_xclip_config *config = cf_xclip_config_get(m);
    bool clip = cf_xclip_file_is_clip(f) && cf_weights_find(f, "visual.conv1.weight");
    bool head = config->head_classes > 0, fresh_head = head && allow_clip && !cf_xclip_file_head(f);
    if (!head && cf_xclip_file_head(f) > 0)
        return CF_FAIL(CF_EFORMAT,
                       "%s has a fully connected head of %zu classes and no text side: it knows "
                       "the classes it was trained on only (MODEL.HEAD fc)",
                       cf_weights_path(f), cf_xclip_file_head(f));
    if (!head && cf_weights_origin(f) == CF_LAYOUT_VIFI &&
        !cf_weights_find(f, "token_embedding.weight"))
        return lacks(f, "", true);
    if (config->video != CF_ENCODER_JOINT && is_joint(f))
        return CF_FAIL(
            CF_EFORMAT,
            "%s: a model of joint attention cannot start one that looks at frames apart; "
            "name the CLIP it was made from",
            cf_weights_path(f));
    if (config->video != CF_ENCODER_CCT && has_messages(f))
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
    bool *known;
    cf_status status = CF_OK;
    CF_TRY(cf_alloc_zero(&known, cf_weights_count(f), sizeof *known));
    CF_GO(add_missing(&c, known, m, f, clip, fresh_head));
    CF_GO(add_unexpected(&c, f, known, fresh_head));
    if (c.missing.n + c.unexpected.n + c.misshapen.n > 0) CF_GO(refuse(&c, f));
    *out = c.counts;
done:
    cf_name_list_fini(&c.missing);
    cf_name_list_fini(&c.unexpected);
    cf_name_list_fini(&c.misshapen);
    cf_free(known);
    return status;
}

/* ---- loading --------------------------------------------------------------------------------- */

/* In parallel; of several failures the first in the model's order is told, whoever met it. */
static cf_status read_tensors(cf_params *params, const cf_weights *f)
{
    size_t n = cf_params_count(params), failed = n;
    cf_status status = CF_OK;
    char line[2048];
    cf_weights_will_read(f);
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < n; i++) {
        cf_tensor *x = &cf_params_get(params, i)->tensor;
        const cf_weight *t = cf_weights_find(f, x->name);
        cf_status read = t ? cf_weights_read(x->data, x->n, f, t) : CF_OK;
        if (read == CF_OK) continue;
#pragma omp critical(cf_xclip_read_failed)
        if (i < failed) {
            failed = i;
            status = read;
            snprintf(line, sizeof line, "%s", cf_error());
        }
    }
    return status == CF_OK ? CF_OK : CF_FAIL(status, "%s", line);
}

cf_status cf_xclip_load(cf_load_counts *out, cf_xclip *m, const cf_weights *f, bool allow_clip)
{
    cf_load_counts counts;
    CF_TRY(cf_xclip_check(&counts, m, f, allow_clip));
    CF_TRY(read_tensors(cf_xclip_params(m), f));
    *out = counts;
    return CF_OK;
}

static bool lacks_tensor(const char *name, const void *f)
{
    return !f || !cf_weights_find(f, name);
}

/* In this order, since drawing a normal number takes far longer than reading one. */
cf_status cf_xclip_start(cf_load_counts *out, cf_xclip *m, const cf_weights *f, bool allow_clip,
                         uint64_t seed)
{
    cf_load_counts counts = { .fresh = cf_params_count(cf_xclip_params(m)) };
    if (f) CF_TRY(cf_xclip_load(&counts, m, f, allow_clip));
    cf_params_init_those(cf_xclip_params(m), lacks_tensor, f, seed);
    *out = counts;
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
    if (data) return t;
    CF_ASSERT(p->aside == CF_ASIDE_FILE);
    t.file = p->file;
    t.file_at = p->file_at;
    return t;
}
