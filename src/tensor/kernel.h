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

/* log(x) of a positive normal x, likewise: x = 2^n m, m about 1, a polynomial in m - 1. float: 1
 * ulp; double: the library's. What is not finite gives no number. */
CF_INLINE cf_real cf_fast_log(cf_real x)
{
#if CF_REAL_IS_DOUBLE
    return log(x);
#else
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int32_t n = (bits - 0x3f3504f3) >> 23; /* sqrt(1/2): m is in [sqrt(1/2), sqrt(2)) */
    bits -= (int32_t)((uint32_t)n << 23);
    float m, e = (float)n;
    memcpy(&m, &bits, sizeof m);
    m -= 1.0f;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    float z = m * m, y = p * m * z;
    y = y - e * 2.12194440e-4f;
    y = y - 0.5f * z;
    return (m + y) + e * 0.693359375f + (x - x);
#endif
}

#endif
