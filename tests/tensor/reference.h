/* What the tensor tests share: random values, and tolerances of both precisions. */
#ifndef CROSSFRAME_TEST_TENSOR_REFERENCE_H
#define CROSSFRAME_TEST_TENSOR_REFERENCE_H

#include "test.h"

#include <omp.h>

#include "crossframe/tensor.h"

#define TOLERANCE(in_float, in_double) (CF_REAL_IS_DOUBLE ? (in_double) : (in_float))

static inline cf_real *zeros(size_t n)
{
    cf_real *x;
    assert_ok(cf_alloc_zero(&x, n, sizeof *x));
    return x;
}

/* n values in offset + scale (-1, 1); each call another stream. Free with cf_free. */
static inline cf_real *values(size_t n, double offset, double scale)
{
    static uint64_t which;
    cf_rng r = cf_rng_make(7, CF_RNG_TEST, 0, which++);
    cf_real *x = zeros(n);
    for (size_t i = 0; i < n; i++) x[i] = (cf_real)(offset + scale * (2 * cf_rng_uniform(&r) - 1));
    return x;
}

static inline cf_real *copy_of(const cf_real *x, size_t n)
{
    cf_real *y = zeros(n);
    memcpy(y, x, n * sizeof *y);
    return y;
}

#endif
