/* safetensors, the numbers: widening 16-bit and 64-bit kinds into float or cf_real.
 *
 * A foreign file may place its data at any byte, so elements are copied out before they are looked
 * at. F16 and BF16 are exact in float; F64 is rounded to nearest. */
#include "crossframe/safetensors.h"

#include <math.h>
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

static double element(const cf_st_tensor *t, size_t i)
{
    const unsigned char *at = (const unsigned char *)t->data + i * cf_st_dtype_bytes(t->dtype);
    uint16_t half;
    uint32_t word;
    double wide;
    switch (t->dtype) {
    case CF_ST_F32: memcpy(&word, at, sizeof word); return (double)from_bits(word);
    case CF_ST_F16: memcpy(&half, at, sizeof half); return (double)from_half(half);
    case CF_ST_BF16: memcpy(&half, at, sizeof half); return (double)from_bits((uint32_t)half << 16);
    case CF_ST_F64: memcpy(&wide, at, sizeof wide); return wide;
    default: CF_ASSERT(!"a kind that check_readable let pass");
    }
    return NAN;
}

static cf_status check_readable(const cf_st_file *f, const cf_st_tensor *t, size_t n)
{
    if (t->n != n)
        return CF_FAIL(CF_ESHAPE, "%s: tensor %s has %zu numbers, wanted %zu", cf_st_path(f),
                       t->name, t->n, n);
    if (t->dtype > CF_ST_F64)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: tensor %s holds %s, no real numbers", cf_st_path(f),
                       t->name, cf_st_dtype_name(t->dtype));
    return CF_OK;
}

const float *cf_st_borrow_f32(const cf_st_tensor *t)
{
    bool fits = t->dtype == CF_ST_F32 && (uintptr_t)t->data % _Alignof(float) == 0;
    return fits ? t->data : NULL;
}

cf_status cf_st_read_f32(float *out, size_t n, const cf_st_file *f, const cf_st_tensor *t)
{
    CF_TRY(check_readable(f, t, n));
    if (t->dtype == CF_ST_F32) {
        if (n > 0) memcpy(out, t->data, n * sizeof *out);
        return CF_OK;
    }
    for (size_t i = 0; i < n; i++) out[i] = (float)element(t, i);
    return CF_OK;
}

cf_status cf_st_read_real(cf_real *out, size_t n, const cf_st_file *f, const cf_st_tensor *t)
{
    CF_TRY(check_readable(f, t, n));
    bool same = t->dtype == (CF_REAL_IS_DOUBLE ? CF_ST_F64 : CF_ST_F32);
    if (same && n > 0) memcpy(out, t->data, n * sizeof *out);
    for (size_t i = 0; !same && i < n; i++) out[i] = (cf_real)element(t, i);
    return CF_OK;
}
