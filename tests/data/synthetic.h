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

/* Equal chances: fails above the chi-square value that chance passes about once in 30,000 tests
 * (Wilson and Hilferty's approximation at 4 standard deviations). */
static inline void assert_even(const size_t *count, size_t n)
{
    double total = 0, chi = 0, d = (double)n - 1;
    for (size_t i = 0; i < n; i++) total += (double)count[i];
    for (size_t i = 0; i < n; i++) {
        double off = (double)count[i] - total / (double)n;
        chi += off * off / (total / (double)n);
    }
    double limit = d * pow(1 - 2 / (9 * d) + 4 * sqrt(2 / (9 * d)), 3);
    if (!(chi <= limit)) fail_msg("chi-square %.1f over %zu cells, limit %.1f", chi, n, limit);
}

/* `hits` of n draws of probability p, within 4.5 standard deviations. */
static inline void assert_rate(size_t hits, size_t n, double p)
{
    assert_near((double)hits / (double)n, p, 4.5 * sqrt(p * (1 - p) / (double)n) + 1e-12);
}

#endif
