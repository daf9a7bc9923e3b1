/* Writing weights: native tensors under the names of a layout, in a type, into a container.
 *
 * The rules of layout_rules.c say for each native name what it is called there, whether it is
 * transposed and whether it becomes three. Tensors are read, turned and narrowed one at a time when
 * the writer asks for them, the thirds of one read following each other. */
#include "models/weights/export.h"

#include "crossframe/models.h"
#include "models/name_list.h"
#include "models/weights/layout.h"

#include <stdio.h>
#include <string.h>

/* What tensor i of the file is made of. */
typedef struct {
    const cf_weight *from;
    size_t first, n; /* its elements of it */
    bool transposed;
} origin;

typedef struct {
    const cf_weights *w;
    const cf_export *options;
    cf_layout_rule rule[CF_LAYOUT_MAX_RULES];
    size_t n_rules;
    cf_st_tensor *tensor;
    origin *origin;
    char (*name)[CF_LAYOUT_NAME];
    size_t n, capacity;
    /* while writing */
    const cf_weight *held; /* in `numbers` */
    cf_real *numbers, *turned;
    size_t lost, most; /* numbers that overflowed; elements of the largest tensor */
    char first_lost[CF_LAYOUT_NAME];
} job;

/* ---- what there is to write ------------------------------------------------------------------ */

static cf_status add(job *j, const cf_weight *from, const char *name)
{
    if (j->n == j->capacity) {
        size_t capacity = j->capacity ? 2 * j->capacity : 1024;
        CF_TRY(cf_realloc(&j->tensor, capacity, sizeof *j->tensor));
        CF_TRY(cf_realloc(&j->origin, capacity, sizeof *j->origin));
        CF_TRY(cf_realloc(&j->name, capacity, sizeof *j->name));
        j->capacity = capacity;
    }
    cf_st_tensor *t = &j->tensor[j->n];
    *t = (cf_st_tensor){ .dtype = j->options->dtype, .rank = from->rank };
    memcpy(t->shape, from->shape, sizeof t->shape);
    j->origin[j->n] = (origin){ .from = from, .n = from->n };
    snprintf(j->name[j->n++], sizeof *j->name, "%s", name);
    if (from->n > j->most) j->most = from->n;
    return CF_OK;
}

static cf_status add_thirds(job *j, const cf_weight *t, const char *pattern, cf_pattern_fill fill)
{
    char name[CF_LAYOUT_NAME];
    if (t->rank == 0 || t->shape[0] % 3 != 0)
        return CF_FAIL(CF_ESHAPE, "%s: %s cannot be parted into query, key and value",
                       cf_weights_path(j->w), t->name);
    for (size_t i = 0; i < 3; i++) {
        fill.letter = "qkv"[i];
        cf_pattern_expand(name, pattern, &fill);
        CF_TRY(add(j, t, name));
        j->tensor[j->n - 1].shape[0] /= 3;
        j->origin[j->n - 1].n /= 3;
        j->origin[j->n - 1].first = i * (t->n / 3);
    }
    return CF_OK;
}

static cf_status add_transposed(job *j, const cf_weight *t, const char *name)
{
    if (t->rank != 2)
        return CF_FAIL(CF_ESHAPE, "%s: %s has %zu dimensions, not 2", cf_weights_path(j->w),
                       t->name, t->rank);
    CF_TRY(add(j, t, name));
    cf_st_tensor *to = &j->tensor[j->n - 1];
    to->shape[0] = t->shape[1];
    to->shape[1] = t->shape[0];
    j->origin[j->n - 1].transposed = true;
    return CF_OK;
}

/* Tensors that a CLIP does not have, where a CLIP is asked for. */
static bool left_out(const job *j, const char *name)
{
    cf_layout l = j->options->layout;
    bool clip = l == CF_LAYOUT_CLIP || l == CF_LAYOUT_CLIP_HF || l == CF_LAYOUT_VIFI;
    if (cf_weights_beside_model(name)) return true;
    if (l == CF_LAYOUT_VIFI && strcmp(name, "token_embedding.weight") == 0) return true;
    return clip && cf_xclip_is_new_module(name);
}

static cf_status add_tensor(job *j, const cf_weight *t)
{
    char name[CF_LAYOUT_NAME];
    cf_pattern_fill fill;
    const cf_layout_rule *rule = NULL;
    if (left_out(j, t->name)) return CF_OK;
    if (!cf_weight_is_real(t))
        return CF_FAIL(CF_EUNSUPPORTED, "%s: tensor %s holds %s, no real numbers",
                       cf_weights_path(j->w), t->name, cf_st_dtype_name(t->dtype));
    for (size_t i = 0; i < j->n_rules && !rule; i++)
        if (!j->rule[i].only_read && cf_pattern_match(&fill, j->rule[i].native, t->name))
            rule = &j->rule[i];
    /* Our own names have room for what later models add. */
    if (!rule && j->options->layout == CF_LAYOUT_XCLIP && strlen(t->name) < sizeof name)
        return add(j, t, t->name);
    if (!rule)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: %s has no name for tensor %s", cf_weights_path(j->w),
                       cf_layout_name(j->options->layout), t->name);
    if (rule->kind == CF_RULE_QKV) return add_thirds(j, t, rule->foreign, fill);
    cf_pattern_expand(name, rule->foreign, &fill);
    return rule->kind == CF_RULE_TRANSPOSE ? add_transposed(j, t, name) : add(j, t, name);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void transpose(cf_real *out, const cf_real *in, size_t rows, size_t columns)
{
    for (size_t c = 0; c < columns; c++)
        for (size_t r = 0; r < rows; r++) out[c * rows + r] = in[r * columns + c];
}

static cf_status numbers_of(void *user, size_t i, const void **bytes)
{
    job *j = user;
    const origin *o = &j->origin[i];
    if (j->held != o->from) {
        j->held = NULL;
        CF_TRY(cf_weights_read(j->numbers, o->from->n, j->w, o->from));
        j->held = o->from;
    }
    const cf_real *at = j->numbers + o->first;
    if (o->transposed) {
        transpose(j->turned, at, o->from->shape[0], o->from->shape[1]);
        at = j->turned;
    }
    size_t lost = cf_narrow(j->turned, j->tensor[i].dtype, at, o->n);
    if (lost > 0 && j->lost == 0) memcpy(j->first_lost, j->name[i], sizeof j->first_lost);
    j->lost += lost;
    *bytes = j->turned;
    return CF_OK;
}

/* The last tensor asks to be told what was lost before the file takes its place. */
static cf_status last_checked(void *user, size_t i, const void **bytes)
{
    job *j = user;
    CF_TRY(numbers_of(user, i, bytes));
    if (i + 1 == j->n && j->lost > 0)
        return CF_FAIL(CF_ENUMERIC, "%zu number%s too large for %s, the first in %s: take %s",
                       j->lost, j->lost == 1 ? " is" : "s are", cf_st_dtype_name(j->options->dtype),
                       j->first_lost, j->options->dtype == CF_ST_F16 ? "bf16 or f32" : "f32");
    return CF_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

static cf_status write_file(const char *path, job *j)
{
    const cf_export *e = j->options;
    const char *root = e->layout == CF_LAYOUT_XCLIP ? "model" : NULL;
    if (e->format == CF_FILE_TORCH)
        return cf_torch_write_from(path, j->tensor, j->n, root, e->metadata,
                                   root ? e->n_metadata : 0, last_checked, j);
    return cf_st_write_from(path, j->tensor, j->n, e->metadata, e->n_metadata, last_checked, j);
}

cf_status cf_weights_export(const char *path, const cf_weights *w, const cf_export *e)
{
    job *j;
    CF_ASSERT(e->dtype == CF_ST_F32 || e->dtype == CF_ST_F16 || e->dtype == CF_ST_BF16);
    CF_TRY(cf_alloc_zero(&j, 1, sizeof *j));
    cf_status status = CF_OK;
    j->w = w;
    j->options = e;
    j->n_rules = cf_layout_rules(j->rule, e->layout);
    for (size_t i = 0; i < cf_weights_count(w); i++) CF_GO(add_tensor(j, cf_weights_at(w, i)));
    if (j->n == 0) CF_GO(CF_FAIL(CF_EFORMAT, "%s: no weights to write", cf_weights_path(w)));
    for (size_t i = 0; i < j->n; i++) j->tensor[i].name = j->name[i];
    CF_GO(cf_alloc(&j->numbers, j->most, sizeof *j->numbers));
    CF_GO(cf_alloc(&j->turned, j->most, sizeof *j->turned));
    CF_GO(write_file(path, j));
done:
    cf_free(j->tensor);
    cf_free(j->origin);
    cf_free(j->name);
    cf_free(j->numbers);
    cf_free(j->turned);
    cf_free(j);
    return status;
}
