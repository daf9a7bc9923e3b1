/* Numbers of any real kind as cf_real.
 *
 * A foreign file may place its data at any byte, so elements are copied out before they are looked
 * at. F16 and BF16 are exact in float; F64 is rounded to nearest. */
#include "models/weights/container.h"

#include <string.h>

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE half: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static float from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half >> 15) << 31;
    uint32_t exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    if (exponent == 0x1f) return from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0) {
        float value = (float)fraction * 0x1p-24f; /* subnormal: exact in float */
        return sign ? -value : value;
    }
    return from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

void cf_widen(cf_real *out, const void *from, cf_st_dtype dtype, size_t first, size_t step,
              size_t n)
{
    const char *at = (const char *)from + first * cf_st_dtype_bytes(dtype);
    const size_t next = step * cf_st_dtype_bytes(dtype);
    uint32_t word;
    uint16_t half;
    double wide;
    switch (dtype) {
    case CF_ST_F32:
        for (size_t i = 0; i < n; i++, at += next) {
            memcpy(&word, at, sizeof word);
            out[i] = (cf_real)from_bits(word);
        }
        return;
    case CF_ST_F16:
        for (size_t i = 0; i < n; i++, at += next) {
            memcpy(&half, at, sizeof half);
            out[i] = (cf_real)from_half(half);
        }
        return;
    case CF_ST_BF16:
        for (size_t i = 0; i < n; i++, at += next) {
            memcpy(&half, at, sizeof half);
            out[i] = (cf_real)from_bits((uint32_t)half << 16);
        }
        return;
    case CF_ST_F64:
        for (size_t i = 0; i < n; i++, at += next) {
            memcpy(&wide, at, sizeof wide);
            out[i] = (cf_real)wide;
        }
        return;
    default: CF_ASSERT(!"a kind that is no real number");
    }
}
