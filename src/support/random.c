/* random: counter-based random numbers. Philox4x32-10, Salmon, Moraes, Dror, Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011.
 *
 * A stream's key is a Philox block of (seed, purpose); its counter is (block, epoch, index), so two
 * streams of one purpose never meet and a stream holds 2^34 words before it would repeat. */
#include "crossframe/support.h"

#include <math.h>

static const double two_pi = 6.283185307179586476925;

void cf_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

cf_rng cf_rng_make(uint64_t seed, cf_rng_purpose purpose, uint32_t epoch, uint64_t index)
{
    cf_rng r = { .counter = { 0, epoch, (uint32_t)index, (uint32_t)(index >> 32) }, .used = 4 };
    uint32_t block[4];
    cf_philox4x32(block, (const uint32_t[4]){ (uint32_t)purpose, 0, 0, 0 },
                  (const uint32_t[2]){ (uint32_t)seed, (uint32_t)(seed >> 32) });
    r.key[0] = block[0];
    r.key[1] = block[1];
    return r;
}

uint32_t cf_rng_u32(cf_rng *r)
{
    if (r->used == 4) {
        cf_philox4x32(r->block, r->counter, r->key);
        r->counter[0]++;
        r->used = 0;
    }
    return r->block[r->used++];
}

double cf_rng_uniform(cf_rng *r)
{
    uint64_t high = cf_rng_u32(r), low = cf_rng_u32(r);
    return (double)((high << 32 | low) >> 11) * 0x1p-53;
}

float cf_rng_uniform_f32(cf_rng *r) { return (float)(cf_rng_u32(r) >> 8) * 0x1p-24f; }

/* Lemire 2019, arXiv:1805.10941: the high word of u * n, redrawn where it would be biased. */
uint32_t cf_rng_below(cf_rng *r, uint32_t n)
{
    CF_ASSERT(n >= 1);
    uint64_t product = (uint64_t)cf_rng_u32(r) * n;
    if ((uint32_t)product < n) {
        uint32_t biased = -n % n;
        while ((uint32_t)product < biased) product = (uint64_t)cf_rng_u32(r) * n;
    }
    return (uint32_t)(product >> 32);
}

/* The second number of the pair is dropped: a stream then has no state but its position. */
double cf_rng_normal(cf_rng *r)
{
    double radius = sqrt(-2 * log(1 - cf_rng_uniform(r)));
    return radius * cos(two_pi * cf_rng_uniform(r));
}

/* ln of a Gamma(shape, 1) number. Marsaglia and Tsang 2000, ACM TOMS 26(3). Below shape 1 it uses
 * Gamma(a) = Gamma(a + 1) * U^(1/a), which underflows for small a: hence the logarithm. */
static double log_gamma_number(cf_rng *r, double shape)
{
    CF_ASSERT(shape > 0);
    if (shape < 1) {
        double boost = log(1 - cf_rng_uniform(r)) / shape;
        return log_gamma_number(r, shape + 1) + boost;
    }
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = cf_rng_normal(r), u = 1 - cf_rng_uniform(r);
        double t = 1 + c * x, v = t * t * t;
        if (t > 0 && log(u) < 0.5 * x * x + d * (1 - v + log(v))) return log(d * v);
    }
}

double cf_rng_gamma(cf_rng *r, double shape) { return exp(log_gamma_number(r, shape)); }

double cf_rng_beta(cf_rng *r, double a, double b)
{
    double log_x = log_gamma_number(r, a), log_y = log_gamma_number(r, b);
    return 1 / (1 + exp(log_y - log_x));
}

void cf_rng_shuffle(cf_rng *r, int64_t *values, size_t n)
{
    CF_ASSERT(n <= UINT32_MAX);
    for (size_t i = n; i > 1; i--) {
        size_t j = cf_rng_below(r, (uint32_t)i);
        int64_t v = values[i - 1];
        values[i - 1] = values[j];
        values[j] = v;
    }
}

uint64_t cf_hash64(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}
