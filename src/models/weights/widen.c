/* Numbers of any real kind as cf_real.
 *
 * A foreign file may place its data at any byte, so elements are copied out before they are looked
 * at. F16 and BF16 are exact in float; F64 is rounded to nearest. Each kind is one branchless
 * function, and rows without gaps are loops of their own, which the compiler vectorises. */
#include "models/weights/container.h"

#include <string.h>

static inline float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float load_f32(const char *at)
{
    float value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* IEEE half: 1 sign, 5 exponent (bias 15), 10 fraction bits. Moved to float's places the exponent
 * is 112 too small, which a multiplication mends, exactly and for subnormals too; infinity and
 * NaN then still want float's highest exponent. */
static inline float load_f16(const char *at)
{
    uint16_t half;
    memcpy(&half, at, sizeof half);
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = (uint32_t)(half & 0x7fff) << 13;
    uint32_t special = rest >= 0x0f800000u ? 0x7f800000u : 0;
    return from_bits(to_bits(from_bits(rest) * 0x1p112f) | special | sign);
}

static inline float load_bf16(const char *at)
{
    uint16_t half;
    memcpy(&half, at, sizeof half);
    return from_bits((uint32_t)half << 16);
}

static inline double load_f64(const char *at)
{
    double value;
    memcpy(&value, at, sizeof value);
    return value;
}

#define WIDEN(load, bytes)                                                                         \
    do {                                                                                           \
        if (step == 1)                                                                             \
            for (size_t i = 0; i < n; i++) out[i] = (cf_real)load(at + (bytes)*i);                 \
        else                                                                                       \
            for (size_t i = 0; i < n; i++) out[i] = (cf_real)load(at + (bytes)*i * step);          \
    } while (0)

void cf_widen(cf_real *restrict out, const void *restrict from, cf_st_dtype dtype, size_t first,
              size_t step, size_t n)
{
    const char *at = (const char *)from + first * cf_st_dtype_bytes(dtype);
    switch (dtype) {
    case CF_ST_F32: WIDEN(load_f32, 4); return;
    case CF_ST_F16: WIDEN(load_f16, 2); return;
    case CF_ST_BF16: WIDEN(load_bf16, 2); return;
    case CF_ST_F64: WIDEN(load_f64, 8); return;
    default: CF_ASSERT(!"a kind that is no real number");
    }
}
