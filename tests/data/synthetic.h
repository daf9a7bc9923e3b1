/* Pictures and statistics that the data tests share. */
#ifndef CROSSFRAME_TESTS_DATA_SYNTHETIC_H
#define CROSSFRAME_TESTS_DATA_SYNTHETIC_H

#include "test.h"

#include <zlib.h>

#include "data/transform.h"

/* The synthetic picture of spec/data-and-recipe.md 12. Free with free(). */
static inline uint8_t *synthetic_picture(size_t width, size_t height)
{
    uint8_t *p = malloc(width * height * 3), *out = p;
    assert_non_null(p);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            for (size_t c = 0; c < 3; c++)
                *out++ =
                    (uint8_t)(7 * x + 13 * y + 29 * c + 3 * x * y + 11 * ((x * x + c * y) % 17));
    return p;
}

static inline uint8_t *random_picture(cf_rng *rng, size_t width, size_t height)
{
    uint8_t *p = malloc(width * height * 3);
    assert_non_null(p);
    for (size_t i = 0; i < width * height * 3; i++) p[i] = (uint8_t)cf_rng_below(rng, 256);
    return p;
}

static inline cf_view whole_view(const uint8_t *p, size_t width, size_t height)
{
    return (cf_view){ p, width, height, 3 * width };
}

static inline uint32_t crc_of(const uint8_t *p, size_t n)
{
    return (uint32_t)crc32(crc32(0, NULL, 0), p, (uInt)n);
}

static inline uint64_t sum_of(const uint8_t *p, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += p[i];
    return sum;
}

/* The chi-square that chance exceeds once in 10,000 tests of d degrees of freedom (Wilson and
 * Hilferty; 3.719 is the normal distribution's quantile). */
static inline double chi_square_limit(double d)
{
    return d * pow(1 - 2 / (9 * d) + 3.719016 * sqrt(2 / (9 * d)), 3);
}

/* Counts against their shares, which sum to 1; shares NULL: all equal. Not rejected at 1e-4. */
static inline void assert_shares(const size_t *count, const double *share, size_t n)
{
    double total = 0, chi = 0;
    for (size_t i = 0; i < n; i++) total += (double)count[i];
    for (size_t i = 0; i < n; i++) {
        double expected = total * (share ? share[i] : 1 / (double)n);
        chi += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
    }
    double limit = chi_square_limit((double)n - 1);
    if (!(chi <= limit)) fail_msg("chi-square %.1f over %zu cells, limit %.1f", chi, n, limit);
}

static inline void assert_even(const size_t *count, size_t n) { assert_shares(count, NULL, n); }

/* `hits` of n draws of probability p. */
static inline void assert_rate(size_t hits, size_t n, double p)
{
    assert_shares((const size_t[]){ hits, n - hits }, (const double[]){ p, 1 - p }, 2);
}

#endif
