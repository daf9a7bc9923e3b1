/* Exponential moving average of the trained weights.
 *
 * The average is kept as the sum of two blocks, `mean` and the much smaller `rest` that rounding
 * left over. In one float block it would stand still: with a decay of 0.9999 a weight less than
 * 6e-4 of itself away from its average adds less than half a unit in the last place. `mean` is what
 * models and files get. This file is compiled without contraction to FMA, so all versions of the
 * kernel give the same bits. */
#include "crossframe/optim.h"

#include <tgmath.h>

#include "tensor/kernel.h"

#define CHUNK ((size_t)16384) /* elements */

struct cf_ema {
    cf_params *params; /* borrowed */
    double decay;
    size_t n; /* of a block, with padding */
    cf_real *mean, *rest;
};

cf_status cf_ema_new(cf_ema **out, cf_params *params, double decay)
{
    if (!(decay >= 0 && decay < 1))
        return CF_FAIL(CF_EINVAL, "the decay %g of the weights' average is not in [0, 1)", decay);
    cf_ema *e = NULL;
    cf_status status = CF_OK;
    CF_TRY(cf_alloc_zero(&e, 1, sizeof *e));
    e->params = params;
    e->decay = decay;
    const cf_real *weights = cf_params_weights(params, &e->n);
    CF_ASSERT(weights);
    CF_GO(cf_alloc(&e->mean, e->n, sizeof *e->mean));
    CF_GO(cf_alloc_zero(&e->rest, e->n, sizeof *e->rest));
    for (size_t i = 0; i < e->n; i++) e->mean[i] = weights[i];
    *out = e;
done:
    if (status != CF_OK) cf_ema_free(e);
    return status;
}

void cf_ema_free(cf_ema *e)
{
    if (!e) return;
    cf_free(e->mean);
    cf_free(e->rest);
    cf_free(e);
}

double cf_ema_decay(double decay, uint64_t step)
{
    double s = (double)step, early = (1 + s) / (10 + s);
    return early < decay ? early : decay;
}

/* mean + rest <- mean + rest + c (weight - mean - rest). The sum of mean and `add` is exact in
 * mean and rest together, as long as mean is the larger; where it is not, rest keeps less. */
CF_KERNEL static void update_range(cf_real *restrict mean, cf_real *restrict rest,
                                   const cf_real *restrict weight, size_t n, cf_real c)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        cf_real add = rest[i] + c * (weight[i] - mean[i] - rest[i]);
        cf_real sum = mean[i] + add;
        rest[i] = add - (sum - mean[i]);
        mean[i] = sum;
    }
}

void cf_ema_update(cf_ema *e, uint64_t step)
{
    const cf_real *weights = cf_params_weights(e->params, NULL);
    cf_real c = (cf_real)(1 - cf_ema_decay(e->decay, step));
#pragma omp parallel for schedule(static) if (e->n > CHUNK)
    for (size_t begin = 0; begin < e->n; begin += CHUNK) {
        size_t n = e->n - begin < CHUNK ? e->n - begin : CHUNK;
        update_range(e->mean + begin, e->rest + begin, weights + begin, n, c);
    }
}

void cf_ema_swap(cf_ema *e)
{
    cf_real *weights = cf_params_weights(e->params, NULL);
#pragma omp parallel for simd schedule(static) if (e->n > CHUNK)
    for (size_t i = 0; i < e->n; i++) {
        cf_real w = weights[i];
        weights[i] = e->mean[i];
        e->mean[i] = w;
    }
}

cf_real *cf_ema_mean(const cf_ema *e, size_t *n)
{
    if (n) *n = e->n;
    return e->mean;
}

cf_real *cf_ema_rest(const cf_ema *e, size_t *n)
{
    if (n) *n = e->n;
    return e->rest;
}
