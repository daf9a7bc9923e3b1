/* What the kernels share beside how they are compiled (support/kernel.h): 64-byte vectors, and an
 * exponential that vectorises. */
#ifndef CROSSFRAME_TENSOR_KERNEL_H
#define CROSSFRAME_TENSOR_KERNEL_H

#include <math.h>
#include <string.h>

#include "crossframe/tensor.h"
#include "support/kernel.h"

/* Below this many elements a loop stays on one thread: waking the others costs more. */
#define CF_PARALLEL_MIN ((size_t)16384)

#define CF_VEC_BYTES 64u
#define CF_VEC_LEN (CF_VEC_BYTES / sizeof(cf_real))
typedef cf_real cf_vec
    __attribute__((vector_size(CF_VEC_BYTES), aligned(sizeof(cf_real)), may_alias));

/* exp(x) without branches, so that loops over it vectorise. float: x = n ln 2 + r, a degree-6
 * polynomial in r (largest error 1.5 ulp on [-87, 88]), clamped outside; double: the library's. */
CF_INLINE cf_real cf_fast_exp(cf_real x)
{
#if CF_REAL_IS_DOUBLE
    return exp(x);
#else
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float n = x * 1.44269504088896341f;
    n = (n + 12582912.0f) - 12582912.0f; /* nearest integer: 1.5 * 2^23 */
    float r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits = ((uint32_t)(int32_t)n + 127u) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
#endif
}

#endif
