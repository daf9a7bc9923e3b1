/* Numbers rounded to the type of a file: to nearest, ties to even, as IEEE 754 and PyTorch do. */
#include "models/weights/export.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* x >> shift, rounded to nearest, ties to even. */
static uint32_t shift_rounded(uint32_t x, unsigned shift)
{
    uint32_t half = 1u << (shift - 1), rest = x & ((1u << shift) - 1), kept = x >> shift;
    return kept + (rest > half || (rest == half && (kept & 1)));
}

/* 1 sign, 5 exponent (bias 15), 10 fraction bits. Adding the fraction to the exponent carries a
 * fraction that rounds up to 2 over, to infinity too. */
static uint16_t to_half(float x)
{
    uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    int exponent = (int)(rest >> 23) - 127 + 15;
    uint32_t fraction = rest & 0x7fffff;
    if (rest > 0x7f800000) return (uint16_t)(sign | 0x7e00); /* NaN */
    if (exponent >= 31) return (uint16_t)(sign | 0x7c00);
    if (exponent <= -11) return (uint16_t)sign;
    if (exponent <= 0) /* subnormal: in units of 2^-24 */
        return (uint16_t)(sign | shift_rounded(fraction | 0x800000, (unsigned)(14 - exponent)));
    return (uint16_t)(sign | (((uint32_t)exponent << 10) + shift_rounded(fraction, 13)));
}

static uint16_t to_bfloat(float x)
{
    uint32_t bits = bits_of(x);
    if (isnan(x)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)shift_rounded(bits, 16);
}

/* Piece by piece through the stack, so that the result may take the place of its source: never
 * wider, it never overtakes what is still to be read. */
size_t cf_narrow(void *out, cf_st_dtype dtype, const cf_real *from, size_t n)
{
    enum { PIECE = 256 };
    float single[PIECE];
    uint16_t half[PIECE];
    size_t lost = 0;
    for (size_t at = 0; at < n; at += PIECE) {
        size_t m = n - at < PIECE ? n - at : PIECE;
        for (size_t i = 0; i < m; i++) {
            cf_real x = from[at + i];
            bool infinite = false;
            single[i] = (float)x;
            if (dtype == CF_ST_F16) half[i] = to_half(single[i]);
            if (dtype == CF_ST_BF16) half[i] = to_bfloat(single[i]);
            if (dtype == CF_ST_F32) infinite = isinf(single[i]);
            if (dtype == CF_ST_F16) infinite = (half[i] & 0x7fff) == 0x7c00;
            if (dtype == CF_ST_BF16) infinite = (half[i] & 0x7fff) == 0x7f80;
            lost += infinite && isfinite(x);
        }
        if (dtype == CF_ST_F32)
            memcpy((float *)out + at, single, m * sizeof *single);
        else
            memcpy((uint16_t *)out + at, half, m * sizeof *half);
    }
    return lost;
}
