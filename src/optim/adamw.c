/* AdamW: moments beside the trainable block, and the update of everything in one pass over memory.
 *
 * A segment is one tensor without its padding; it knows which rate it has and whether it decays.
 * The block is cut into chunks of a fixed size, whatever tensors lie in them, so that threads have
 * equal work; every element is computed alone, so that the cut cannot show in the result. */
#include "crossframe/optim.h"

#include <tgmath.h>

#include "tensor/kernel.h"

#define CHUNK ((size_t)16384) /* elements: 448 KiB of the seven streams in float */

typedef struct {
    size_t start, n; /* elements of the block; padding follows */
    bool is_new, decay;
} segment;

struct cf_adamw {
    cf_params *params; /* borrowed */
    cf_adamw_options options;
    uint64_t steps;
    size_t n; /* of the block, with padding */
    cf_real *m, *v;
    segment *segments; /* in the order of the block */
    size_t n_segments;
    size_t *first; /* of each chunk: the first segment that ends behind the chunk's start */
    size_t n_chunks;
};

static cf_status check_options(const cf_adamw_options *o)
{
    if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1))
        return CF_FAIL(CF_EINVAL, "AdamW: betas %g and %g are not both in [0, 1)", o->beta1,
                       o->beta2);
    if (!(isfinite(o->eps) && (cf_real)o->eps > 0))
        return CF_FAIL(CF_EINVAL, "AdamW: eps %g is not above 0", o->eps);
    if (!(isfinite(o->weight_decay) && o->weight_decay >= 0))
        return CF_FAIL(CF_EINVAL, "AdamW: weight decay %g is negative", o->weight_decay);
    return CF_OK;
}

static void fill_segments(cf_adamw *o, const cf_group_rule *rule)
{
    size_t count = cf_params_count(o->params), at = 0;
    for (size_t i = 0; i < count; i++) {
        const cf_param *p = cf_params_get(o->params, i);
        if (!p->trainable || p->tensor.n == 0) continue;
        cf_param_group group = cf_param_group_of(rule, p);
        CF_ASSERT(p->start >= at && p->start + p->tensor.n <= o->n);
        o->segments[o->n_segments++] = (segment){
            .start = p->start, .n = p->tensor.n, .is_new = group.is_new, .decay = group.decay
        };
        at = p->start + p->tensor.n;
    }
    for (size_t chunk = 0, s = 0; chunk < o->n_chunks; chunk++) {
        while (s < o->n_segments && o->segments[s].start + o->segments[s].n <= chunk * CHUNK) s++;
        o->first[chunk] = s;
    }
}

cf_status cf_adamw_new(cf_adamw **out, cf_params *params, const cf_adamw_options *options,
                       const cf_group_rule *rule)
{
    CF_TRY(check_options(options));
    cf_adamw *o = NULL;
    cf_status status = CF_OK;
    CF_TRY(cf_alloc_zero(&o, 1, sizeof *o));
    o->params = params;
    o->options = *options;
    const cf_real *weights = cf_params_weights(params, &o->n);
    CF_ASSERT(weights);
    o->n_chunks = (o->n + CHUNK - 1) / CHUNK;
    CF_GO(cf_alloc_zero(&o->m, o->n, sizeof *o->m));
    CF_GO(cf_alloc_zero(&o->v, o->n, sizeof *o->v));
    CF_GO(cf_alloc(&o->segments, cf_params_count(params), sizeof *o->segments));
    CF_GO(cf_alloc(&o->first, o->n_chunks, sizeof *o->first));
    fill_segments(o, rule);
    *out = o;
done:
    if (status != CF_OK) cf_adamw_free(o);
    return status;
}

void cf_adamw_free(cf_adamw *o)
{
    if (!o) return;
    cf_free(o->m);
    cf_free(o->v);
    cf_free(o->segments);
    cf_free(o->first);
    cf_free(o);
}

/* The numbers of one step and group, each computed in double and rounded once. In float a decay
 * lr wd below 3e-8 is thereby none, since 1 - lr wd rounds to 1: so it is for old tensors at the
 * published 8e-6 and 0.001, as in any float program that multiplies by it. */
typedef struct {
    cf_real keep;            /* 1 - lr wd */
    cf_real beta1, beta2;    /* and what they leave: */
    cf_real rest1, rest2;    /* 1 - beta */
    cf_real rate, root, eps; /* lr / (1 - beta1^s); sqrt(1 - beta2^s) */
    cf_real grad_scale;
} factors;

static factors factors_of(const cf_adamw *o, double lr, bool decay, double grad_scale)
{
    const cf_adamw_options *a = &o->options;
    double s = (double)o->steps;
    return (factors){
        .keep = (cf_real)(decay ? 1 - lr * a->weight_decay : 1),
        .beta1 = (cf_real)a->beta1,
        .beta2 = (cf_real)a->beta2,
        .rest1 = (cf_real)(1 - a->beta1),
        .rest2 = (cf_real)(1 - a->beta2),
        .rate = (cf_real)(lr / (1 - pow(a->beta1, s))),
        .root = (cf_real)sqrt(1 - pow(a->beta2, s)),
        .eps = (cf_real)a->eps,
        .grad_scale = (cf_real)grad_scale,
    };
}

/* The blocks do not overlap. This file is compiled without contraction to FMA, so that all versions
 * of the kernel give the same bits. */
CF_KERNEL static void update_range(cf_real *restrict p, cf_real *restrict m, cf_real *restrict v,
                                   const cf_real *restrict grad, size_t n,
                                   const factors *restrict f)
{
    const factors k = *f;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        cf_real g = grad[i] * k.grad_scale;
        cf_real mean = k.beta1 * m[i] + k.rest1 * g;
        cf_real square = k.beta2 * v[i] + k.rest2 * g * g;
        m[i] = mean;
        v[i] = square;
        p[i] = p[i] * k.keep - k.rate * mean / (sqrt(square) / k.root + k.eps);
    }
}

static void update_chunk(const cf_adamw *o, size_t chunk, const cf_real *g, const factors f[2][2])
{
    cf_real *p = cf_params_weights(o->params, NULL);
    size_t begin = chunk * CHUNK, end = o->n - begin < CHUNK ? o->n : begin + CHUNK;
    for (size_t i = o->first[chunk]; i < o->n_segments && o->segments[i].start < end; i++) {
        const segment *s = &o->segments[i];
        size_t from = s->start > begin ? s->start : begin;
        size_t to = s->start + s->n < end ? s->start + s->n : end;
        update_range(p + from, o->m + from, o->v + from, g + from, to - from,
                     &f[s->is_new][s->decay]);
    }
}

void cf_adamw_update(cf_adamw *o, const double lr[2], double grad_scale)
{
    o->steps++;
    factors f[2][2];
    for (int is_new = 0; is_new < 2; is_new++)
        for (int decay = 0; decay < 2; decay++)
            f[is_new][decay] = factors_of(o, lr[is_new], decay, grad_scale);
    const cf_real *grads = cf_params_grads(o->params);
#pragma omp parallel for schedule(static) if (o->n_chunks > 1)
    for (size_t chunk = 0; chunk < o->n_chunks; chunk++) update_chunk(o, chunk, grads, f);
}

uint64_t cf_adamw_steps(const cf_adamw *o) { return o->steps; }

void cf_adamw_set_steps(cf_adamw *o, uint64_t steps) { o->steps = steps; }

cf_real *cf_adamw_m(const cf_adamw *o, size_t *n)
{
    if (n) *n = o->n;
    return o->m;
}

cf_real *cf_adamw_v(const cf_adamw *o, size_t *n)
{
    if (n) *n = o->n;
    return o->v;
}
