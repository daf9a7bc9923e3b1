/* Parameters: named tensors in two aligned blocks, so that the update, clipping and saving of what
 * is trained are single loops. Every tensor starts on a 64-byte boundary; the padding stays
 * zero. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tape.h"

struct cf_params {
    cf_param **items;
    size_t count, room;
    cf_real *weights, *grads, *frozen;
    cf_tape *tape; /* has the memory of grads; NULL: it is the set's */
    size_t n_frozen, n_trainable;
    int file; /* of what is set aside; -1: none */
};

cf_status cf_params_new(cf_params **out)
{
    CF_TRY(cf_alloc_zero(out, 1, sizeof **out));
    (*out)->file = -1;
    return CF_OK;
}

void cf_params_free(cf_params *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->count; i++) {
        cf_free((char *)(uintptr_t)p->items[i]->tensor.name);
        cf_free(p->items[i]);
    }
    cf_free(p->items);
    cf_free(p->weights);
    if (!p->tape) cf_free(p->grads);
    cf_free(p->frozen);
    if (p->file >= 0) close(p->file);
    cf_free(p);
}

cf_status cf_params_add(cf_tensor **out, cf_params *p, cf_init init, cf_shape shape,
                        const char *name_format, ...)
{
    char name[256];
    va_list args;
    va_start(args, name_format);
    vsnprintf(name, sizeof name, name_format, args);
    va_end(args);
    CF_ASSERT(!cf_params_find(p, name) && !p->weights && !p->frozen);
    if (p->count == p->room) {
        size_t room = p->room ? 2 * p->room : 64;
        CF_TRY(cf_realloc(&p->items, room, sizeof *p->items));
        p->room = room;
    }
    cf_param *q = NULL;
    char *copy = NULL;
    CF_TRY(cf_alloc_zero(&q, 1, sizeof *q));
    cf_status status = cf_strdup(&copy, name);
    if (status != CF_OK) {
        cf_free(q);
        return status;
    }
    q->init = init;
    q->tensor =
        (cf_tensor){ .shape = shape, .n = cf_shape_count(&shape), .is_leaf = true, .name = copy };
    p->items[p->count++] = q;
    *out = &q->tensor;
    return CF_OK;
}

static size_t padded(size_t n)
{
    size_t unit = CF_ALIGN / sizeof(cf_real);
    return (n + unit - 1) / unit * unit;
}

/* Each parameter's place in its block, and the blocks' sizes. */
static void lay_out(cf_params *p, cf_param_filter *trainable, const void *user)
{
    size_t n[2] = { 0, 0 }; /* frozen, trainable */
    for (size_t i = 0; i < p->count; i++) {
        cf_param *q = p->items[i];
        q->trainable = !trainable || trainable(q->tensor.name, user);
        q->start = n[q->trainable];
        n[q->trainable] += padded(q->tensor.n);
    }
    p->n_frozen = n[0];
    p->n_trainable = n[1];
}

static void place_grads(cf_params *p, cf_real *block)
{
    for (size_t i = 0; i < p->count; i++) {
        cf_param *q = p->items[i];
        q->tensor.grad = q->trainable ? block + q->start : NULL;
    }
}

void cf_params_plan(cf_params *p, cf_param_filter *trainable, const void *user)
{
    lay_out(p, trainable, user);
    for (size_t i = 0; i < p->count; i++) {
        cf_param *q = p->items[i];
        q->tensor.needs_grad = q->trainable;
        q->tensor.data = CF_ARENA_NOWHERE;
    }
    place_grads(p, CF_ARENA_NOWHERE);
}

cf_status cf_params_alloc(cf_params *p, cf_param_filter *trainable, const void *user)
{
    lay_out(p, trainable, user);
    CF_TRY(cf_alloc(&p->frozen, p->n_frozen, sizeof(cf_real)));
    CF_TRY(cf_alloc(&p->weights, p->n_trainable, sizeof(cf_real)));
    CF_TRY(cf_alloc_zero(&p->grads, p->n_trainable, sizeof(cf_real)));
    for (size_t i = 0; i < p->count; i++) {
        cf_param *q = p->items[i];
        q->tensor.needs_grad = q->trainable;
        q->tensor.data = (q->trainable ? p->weights : p->frozen) + q->start;
        cf_vec_zero(q->tensor.data + q->tensor.n, padded(q->tensor.n) - q->tensor.n);
    }
    place_grads(p, p->grads);
    return CF_OK;
}

void cf_params_put_grads(cf_params *p, cf_real *to, cf_tape *owner)
{
    if (!p->tape) cf_free(p->grads);
    p->tape = owner;
    p->grads = to;
    place_grads(p, to);
}

/* ---- out of memory --------------------------------------------------------------------------- */

static bool goes_aside(const cf_param *q, cf_param_filter *which, const void *user)
{
    return !q->trainable && q->tensor.data && which(q->tensor.name, user);
}

static cf_status write_aside(cf_params *p, cf_param_filter *which, const void *user,
                             const char *folder)
{
    int64_t at = 0;
    CF_TRY(cf_file_nameless(&p->file, folder));
    for (size_t i = 0; i < p->count; i++) {
        cf_param *q = p->items[i];
        if (!goes_aside(q, which, user)) continue;
        CF_TRY(
            cf_file_write_at(p->file, folder, q->tensor.data, q->tensor.n * sizeof(cf_real), at));
        q->file_at = at;
        at += (int64_t)(q->tensor.n * sizeof(cf_real));
    }
    return CF_OK;
}

cf_status cf_params_set_aside(cf_params *p, cf_param_filter *which, const void *user,
                              const char *folder)
{
    CF_ASSERT(p->file < 0);
    cf_status status = folder ? write_aside(p, which, user, folder) : CF_OK;
    if (status != CF_OK) {
        if (p->file >= 0) close(p->file);
        p->file = -1;
        return status;
    }
    char *start = NULL, *end = NULL; /* neighbours are dropped together: they share pages */
    for (size_t i = 0; i <= p->count; i++) {
        cf_param *q = i < p->count ? p->items[i] : NULL;
        if (q && !goes_aside(q, which, user)) continue;
        if (start && (!q || (char *)q->tensor.data != end)) {
            cf_memory_drop(start, (size_t)(end - start));
            start = NULL;
        }
        if (!q) break;
        if (!start) start = (char *)q->tensor.data;
        end = (char *)(q->tensor.data + padded(q->tensor.n));
        q->tensor.data = NULL;
        q->aside = folder ? CF_ASIDE_FILE : CF_ASIDE_GONE;
        q->file = p->file;
    }
    return CF_OK;
}

/* ---- values ---------------------------------------------------------------------------------- */

void cf_params_init_one(cf_param *q, uint64_t seed)
{
    const char *name = q->tensor.name;
    cf_rng r = cf_rng_make(seed, CF_RNG_INIT, 0, cf_hash64(name, strlen(name)));
    double v = q->init.value;
    for (size_t i = 0; i < q->tensor.n; i++) {
        switch (q->init.kind) {
        case CF_INIT_CONSTANT: q->tensor.data[i] = (cf_real)v; break;
        case CF_INIT_NORMAL: q->tensor.data[i] = (cf_real)(v * cf_rng_normal(&r)); break;
        case CF_INIT_UNIFORM:
            q->tensor.data[i] = (cf_real)(v * (2 * cf_rng_uniform(&r) - 1));
            break;
        }
    }
}

void cf_params_init_those(cf_params *p, cf_param_filter *which, const void *user, uint64_t seed)
{
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < p->count; i++)
        if (!which || which(p->items[i]->tensor.name, user)) cf_params_init_one(p->items[i], seed);
}

void cf_params_init(cf_params *p, uint64_t seed) { cf_params_init_those(p, NULL, NULL, seed); }

size_t cf_params_count(const cf_params *p) { return p->count; }

cf_param *cf_params_get(const cf_params *p, size_t i) { return p->items[i]; }

cf_param *cf_params_find(const cf_params *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->items[i]->tensor.name, name) == 0) return p->items[i];
    return NULL;
}

cf_real *cf_params_weights(const cf_params *p, size_t *n)
{
    if (n) *n = p->n_trainable;
    return p->weights;
}

/* Norm and update pass over the whole block, padding and all. */
cf_real *cf_params_grads(const cf_params *p)
{
    for (size_t i = 0; i < p->count; i++) {
        cf_tensor *x = &p->items[i]->tensor;
        if (!p->items[i]->trainable) continue;
        size_t held = x->grad_empty ? 0 : x->n;
        cf_vec_zero(x->grad + held, padded(x->n) - held);
        x->grad_empty = false;
    }
    if (p->tape) p->tape->held = 0;
    return p->grads;
}

void cf_params_zero_grads(cf_params *p)
{
    for (size_t i = 0; i < p->count; i++) p->items[i]->tensor.grad_empty = p->items[i]->trainable;
    if (p->tape) p->tape->held = p->tape->grads_bytes;
}

size_t cf_params_block(const cf_params *p, bool trainable)
{
    return trainable ? p->n_trainable : p->n_frozen;
}

size_t cf_params_numbers(const cf_params *p, bool trainable_only)
{
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++)
        if (!trainable_only || p->items[i]->trainable) n += p->items[i]->tensor.n;
    return n;
}
