/* Colour jitter and grey: the CRC vectors of spec/data-and-recipe.md 12, every operation against
 * Pillow's arithmetic (hue over all 2^24 colours), the distribution of the draws. */
#include "pillow.h"

static void check_color(const char *what, const uint8_t *planes, uint32_t crc, uint64_t sum)
{
    size_t n = 37 * 23 * 3;
    uint8_t p[37 * 23 * 3];
    put_together(p, planes, 37 * 23);
    if (crc_of(p, n) != crc || sum_of(p, n) != sum)
        fail_msg("%s: CRC %08x sum %llu, expected %08x %llu", what, (unsigned)crc_of(p, n),
                 (unsigned long long)sum_of(p, n), (unsigned)crc, (unsigned long long)sum);
}

static uint8_t *synthetic_planes(void)
{
    uint8_t *pixels = synthetic_picture(37, 23), *planes = malloc(37 * 23 * 3);
    take_apart(planes, pixels, 37 * 23);
    free(pixels);
    return planes;
}

static void color_vectors(void **state)
{
    (void)state;
    static const struct {
        void (*apply)(uint8_t *, size_t, float);
        float factor;
        uint32_t crc;
        uint64_t sum;
    } v[] = {
        { cf_color_brightness, 1.25f, 0x6d04c12f, 390423 },
        { cf_color_brightness, 0.625f, 0x0512ae3b, 203084 },
        { cf_color_contrast, 0.75f, 0xe0d7beeb, 325210 },
        { cf_color_contrast, 1.375f, 0x77c7e07c, 326175 },
        { cf_color_saturation, 1.125f, 0xaea72323, 326093 },
        { cf_color_saturation, 0.8125f, 0x809959f9, 325089 },
        { cf_color_hue, 0.0625f, 0x1976dba1, 315767 },
        { cf_color_hue, -0.0625f, 0x9626aa1f, 339202 },
        { cf_color_hue, 0, 0x1e10df1d, 327606 },
    };
    size_t n = 37 * 23;
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        uint8_t *p = synthetic_planes();
        v[i].apply(p, n, v[i].factor);
        check_color("operation", p, v[i].crc, v[i].sum);
        free(p);
    }
    uint8_t *p = synthetic_planes();
    cf_jitter j = { .order = { 3, 1, 0, 2 }, .factor = { 1.25f, .75f, 1.125f }, .hue = .0625f };
    cf_jitter_apply(p, n, &j);
    check_color("jitter", p, 0x6f323d67, 385624);
    free(p);
    p = synthetic_planes();
    cf_rgb_to_hsv(p, n);
    check_color("HSV", p, 0x62230eaf, 420375);
    free(p);
    p = synthetic_planes();
    cf_color_gray(p, n);
    check_color("grey", p, 0x15f645b7, 324348);
    free(p);
}

static void single_colors(void **state)
{
    (void)state;
    static const uint8_t v[][9] = {
        { 10, 200, 30, 89, 242, 200, 10, 200, 28 },   { 200, 30, 10, 4, 242, 200, 200, 28, 10 },
        { 30, 10, 200, 174, 242, 200, 28, 10, 200 },  { 128, 127, 126, 21, 3, 128, 128, 127, 126 },
        { 254, 255, 253, 63, 2, 255, 254, 255, 253 },
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        uint8_t p[3] = { v[i][0], v[i][1], v[i][2] };
        cf_rgb_to_hsv(p, 1);
        assert_memory_equal(p, v[i] + 3, 3);
        cf_hsv_to_rgb(p, 1);
        assert_memory_equal(p, v[i] + 6, 3);
    }
    uint8_t red[3] = { 255, 0, 0 }, again[3] = { 255, 0, 0 };
    cf_color_hue(red, 1, 15.5f / 255);
    assert_memory_equal(red, ((uint8_t[3]){ 255, 90, 0 }), 3);
    cf_color_hue(again, 1, -15.5f / 255);
    assert_memory_equal(again, ((uint8_t[3]){ 255, 0, 84 }), 3);
}

static void blends_by_definition(void **state)
{
    (void)state;
    static void (*const apply[3])(
        uint8_t *, size_t, float) = { cf_color_brightness, cf_color_contrast, cf_color_saturation };
    cf_rng rng = cf_rng_make(2, CF_RNG_TEST, 0, 0);
    for (int round = 0; round < 300; round++) {
        enum { MOST = 300 };
        size_t n = 1 + cf_rng_below(&rng, MOST);
        uint8_t *in = random_picture(&rng, n, 1), planes[3 * MOST], out[3 * MOST],
                expected[3 * MOST];
        float factor = round < 2 ? (float)round : cf_rng_uniform_f32(&rng) * 1.6f;
        for (int k = 0; k < 4; k++) {
            take_apart(planes, in, n);
            memcpy(expected, in, 3 * n);
            if (k < 3) {
                apply[k](planes, n, factor);
                pillow_enhance(expected, n, k, factor);
            } else {
                cf_color_gray(planes, n);
                for (size_t i = 0; i < n; i++) memset(expected + 3 * i, pillow_gray(in + 3 * i), 3);
            }
            put_together(out, planes, n);
            assert_memory_equal(out, expected, 3 * n);
        }
        free(in);
    }
}

/* The whole of both conversions, and the vectorised loop that does both at once. */
static void hue_of_every_color(void **state)
{
    (void)state;
    enum { N = 1 << 12 };
    static uint8_t in[3 * N], planes[3 * N], got[3 * N], expected[3 * N];
    for (size_t first = 0; first < 1 << 24; first += N) {
        int shift = (int)(first / N % 51) - 25;
        float hue = (float)((shift + (shift > 0 ? .5 : shift < 0 ? -.5 : 0)) / 255);
        for (size_t i = 0; i < N; i++) {
            size_t k = first + i;
            in[3 * i] = (uint8_t)(k >> 16), in[3 * i + 1] = (uint8_t)(k >> 8);
            in[3 * i + 2] = (uint8_t)k;
        }
        for (int what = 0; what < 3; what++) {
            take_apart(planes, in, N);
            memcpy(expected, in, sizeof in);
            if (what == 0) cf_rgb_to_hsv(planes, N);
            if (what == 1) cf_hsv_to_rgb(planes, N);
            if (what == 2) cf_color_hue(planes, N, hue);
            for (size_t i = 0; i < N && what == 0; i++) pillow_to_hsv(expected + 3 * i);
            for (size_t i = 0; i < N && what == 1; i++) pillow_to_rgb(expected + 3 * i);
            if (what == 2) pillow_hue(expected, N, hue);
            put_together(got, planes, N);
            for (size_t i = 0; i < sizeof in; i++)
                if (got[i] != expected[i])
                    fail_msg("conversion %d, shift %d, color %06zx: %d, expected %d", what, shift,
                             first + i / 3, got[i], expected[i]);
        }
    }
}

static void jitter_draws(void **state)
{
    (void)state;
    enum { N = 24000 };
    static const float low[4] = { .6f, .6f, .8f, -.1f }, high[4] = { 1.4f, 1.4f, 1.2f, .1f };
    size_t order[256] = { 0 }, seen[24], n = 0, part[4][16] = { { 0 } };
    cf_rng rng = cf_rng_make(9, CF_RNG_JITTER, 0, 0);
    for (int k = 0; k < N; k++) {
        cf_jitter j = cf_jitter_draw(&rng);
        order[j.order[0] * 64 + j.order[1] * 16 + j.order[2] * 4 + j.order[3]]++;
        for (int i = 0; i < 4; i++) {
            float f = i < 3 ? j.factor[i] : j.hue, at = (f - low[i]) / (high[i] - low[i]) * 16;
            assert_true(f >= low[i] && f <= high[i]);
            part[i][at < 16 ? (int)at : 15]++;
        }
    }
    for (int i = 0; i < 256; i++)
        if (order[i]) {
            assert_true(n < 24);
            seen[n++] = order[i];
        }
    assert_int_equal(n, 24);
    assert_even(seen, 24);
    for (int i = 0; i < 4; i++) assert_even(part[i], 16);
}

TESTS(TEST(color_vectors), TEST(single_colors), TEST(blends_by_definition),
      TEST(hue_of_every_color), TEST(jitter_draws))
