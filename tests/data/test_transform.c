/* Transforms: the CRC vectors of spec/data-and-recipe.md 12, each random transform against another
 * writing of its definition, distributions of the draws. */
#include "pillow.h"

static void resize_vectors(void **state)
{
    (void)state;
    static const struct {
        size_t sw, sh, dw, dh;
        uint32_t source, result;
        uint64_t sum;
    } v[] = {
        { 37, 23, 61, 29, 0x6960dfe6, 0xc545afa7, 677534 },
        { 37, 23, 20, 31, 0x6960dfe6, 0x58a59c13, 238002 },
        { 340, 256, 298, 224, 0x26d1b5db, 0x9f873d29, 25590067 },
        { 192, 168, 224, 224, 0x36653f6d, 0x79ef364e, 19287639 },
        { 256, 192, 224, 224, 0xba0b628e, 0xc2bee7d1, 19254247 },
        { 320, 240, 341, 256, 0x1ca56932, 0x21f32144, 33427315 },
        { 640, 360, 455, 256, 0x781175fe, 0xb3f8d6fc, 44593721 },
        { 64, 48, 32, 24, 0x3bf2355c, 0x8d5c1cfc, 293951 },
        { 64, 48, 32, 25, 0x3bf2355c, 0x3773547b, 305106 },
        { 2, 3, 5, 4, 0xfd6f2053, 0x77dfe245, 3808 },
        { 1, 1, 3, 2, 0xc6216cbc, 0x44a97650, 522 },
        { 224, 224, 224, 224, 0x11bf1210, 0x11bf1210, 19260650 },
    };
    cf_resize_scratch s = { 0 };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        size_t n = v[i].dw * v[i].dh * 3;
        uint8_t *in = synthetic_picture(v[i].sw, v[i].sh), *out = malloc(n);
        assert_int_equal(crc_of(in, v[i].sw * v[i].sh * 3), v[i].source);
        assert_ok(cf_resize_reserve(&s, v[i].dw));
        cf_resize(out, whole_view(in, v[i].sw, v[i].sh), v[i].dw, v[i].dh,
                  (cf_rect){ 0, 0, v[i].dw, v[i].dh }, &s);
        if (crc_of(out, n) != v[i].result || sum_of(out, n) != v[i].sum)
            fail_msg("%zux%zu to %zux%zu", v[i].sw, v[i].sh, v[i].dw, v[i].dh);
        free(in);
        free(out);
    }
    cf_resize_fini(&s);
}

static void resize_one_channel_example(void **state)
{
    (void)state;
    static const uint8_t in[6] = { 0, 100, 200, 50, 150, 250 };
    static const uint8_t expected[20] = { 0,  40, 100, 160, 200, 13, 52, 113, 173, 213,
                                          38, 77, 138, 198, 238, 50, 90, 150, 210, 250 };
    uint8_t rgb[18], out[60];
    for (int i = 0; i < 18; i++) rgb[i] = in[i / 3];
    cf_resize_scratch s = { 0 };
    assert_ok(cf_resize_reserve(&s, 5));
    cf_resize(out, whole_view(rgb, 3, 2), 5, 4, (cf_rect){ 0, 0, 5, 4 }, &s);
    for (int i = 0; i < 60; i++) assert_int_equal(out[i], expected[i / 3]);
    cf_resize_fini(&s);
}

/* 4.3 written point by point, without tables and rows. */
static int naive_point(cf_view in, size_t dw, size_t dh, size_t dx, size_t dy, int c)
{
#define AT(x, y) ((int)in.pixels[(size_t)(y)*in.stride + 3 * (size_t)(x) + (size_t)c])
    if (dw == in.width && dh == in.height) return AT(dx, dy);
    if (2 * dw == in.width && 2 * dh == in.height)
        return (AT(2 * dx, 2 * dy) + AT(2 * dx + 1, 2 * dy) + AT(2 * dx, 2 * dy + 1) +
                AT(2 * dx + 1, 2 * dy + 1) + 2) /
               4;
    float fx = (float)(((double)dx + 0.5) * (1.0 / ((double)dw / (double)in.width)) - 0.5);
    float fy = (float)(((double)dy + 0.5) * (1.0 / ((double)dh / (double)in.height)) - 0.5);
    int sx = (int)floor(fx), sy = (int)floor(fy), w = (int)in.width - 1, h = (int)in.height - 1;
    fx -= (float)sx;
    fy -= (float)sy;
    if (sx < 0 || sx >= w) sx = sx < 0 ? 0 : w, fx = 0;
    int a0 = (int)nearbyintf((1 - fx) * 2048), a1 = (int)nearbyintf(fx * 2048);
    int b0 = (int)nearbyintf((1 - fy) * 2048), b1 = (int)nearbyintf(fy * 2048), H[2];
    for (int k = 0; k < 2; k++) {
        int y = sy + k < 0 ? 0 : sy + k > h ? h : sy + k;
        H[k] = a0 * AT(sx, y) + (a1 ? a1 * AT(sx + 1, y) : 0);
    }
    return (((b0 * (H[0] >> 4)) >> 16) + ((b1 * (H[1] >> 4)) >> 16) + 2) >> 2;
#undef AT
}

static void naive_resize(uint8_t *out, cf_view in, size_t dw, size_t dh)
{
    for (size_t y = 0; y < dh; y++)
        for (size_t x = 0; x < dw; x++)
            for (int c = 0; c < 3; c++) *out++ = (uint8_t)naive_point(in, dw, dh, x, y, c);
}

/* Random sizes, a part of a larger picture as source, a window of the result. */
static void resize_of_windows_and_parts(void **state)
{
    (void)state;
    cf_rng rng = cf_rng_make(1, CF_RNG_TEST, 0, 0);
    cf_resize_scratch s = { 0 };
    assert_ok(cf_resize_reserve(&s, 80));
    for (int round = 0; round < 300; round++) {
        size_t W = 1 + cf_rng_below(&rng, 70), H = 1 + cf_rng_below(&rng, 70);
        uint8_t *picture = random_picture(&rng, W, H), full[80 * 80 * 3], out[80 * 80 * 3];
        size_t x = cf_rng_below(&rng, (uint32_t)W), y = cf_rng_below(&rng, (uint32_t)H);
        cf_view in = { picture + 3 * (y * W + x), 1 + cf_rng_below(&rng, (uint32_t)(W - x)),
                       1 + cf_rng_below(&rng, (uint32_t)(H - y)), 3 * W };
        size_t dw = 1 + cf_rng_below(&rng, 80), dh = 1 + cf_rng_below(&rng, 80);
        if (round % 10 == 0 && in.width > 1 && in.height > 1) {
            in.width &= ~(size_t)1, in.height &= ~(size_t)1;
            dw = in.width / 2, dh = in.height / 2;
        }
        naive_resize(full, in, dw, dh);
        cf_rect r = { cf_rng_below(&rng, (uint32_t)dw), cf_rng_below(&rng, (uint32_t)dh), 0, 0 };
        r.width = 1 + cf_rng_below(&rng, (uint32_t)(dw - r.x));
        r.height = 1 + cf_rng_below(&rng, (uint32_t)(dh - r.y));
        cf_resize(out, in, dw, dh, r, &s);
        for (size_t row = 0; row < r.height; row++)
            assert_memory_equal(out + row * r.width * 3, full + ((r.y + row) * dw + r.x) * 3,
                                r.width * 3);
        free(picture);
    }
    cf_resize_fini(&s);
}

static void sizes(void **state)
{
    (void)state;
    static const size_t v[][5] = {
        { 320, 240, 256, 341, 256 },   { 640, 360, 256, 455, 256 }, { 1280, 720, 256, 455, 256 },
        { 1920, 1080, 256, 455, 256 }, { 426, 240, 256, 454, 256 }, { 171, 128, 256, 342, 256 },
        { 240, 320, 256, 256, 341 },   { 340, 256, 224, 298, 224 }, { 320, 240, 224, 299, 224 },
        { 640, 360, 224, 398, 224 },
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        size_t w = v[i][0], h = v[i][1];
        cf_resize_short_side(&w, &h, v[i][2]);
        assert_int_equal(w, v[i][3]);
        assert_int_equal(h, v[i][4]);
    }
    for (size_t S = 1; S <= 4000; S++) assert_int_equal(cf_resize_side(S), 8 * S / 7);
    for (size_t side = 1; side < 5000; side++) {
        size_t w = side, h = side + side % 97;
        cf_resize_short_side(&w, &h, 224);
        assert_int_equal(w, 224);
    }
}

static void fixed_crops(void **state)
{
    (void)state;
    cf_rect r = cf_crop_center(341, 256, 224), three[3];
    assert_int_equal(r.x, 58);
    assert_int_equal(r.y, 16);
    cf_crop_three(three, 299, 224, 224);
    static const size_t wide[3] = { 0, 74, 37 }, tall[3] = { 0, 174, 87 };
    for (int i = 0; i < 3; i++) assert_true(three[i].x == wide[i] && three[i].y == 0);
    cf_crop_three(three, 224, 398, 224);
    for (int i = 0; i < 3; i++) assert_true(three[i].y == tall[i] && three[i].x == 0);
    cf_crop_three(three, 224, 224, 224);
    for (int i = 0; i < 3; i++)
        assert_true(!three[i].x && !three[i].y && three[i].width == 224 && three[i].height == 224);
}

/* 4.4 with the candidates listed by its rule. */
static cf_rect naive_multi_scale(size_t width, size_t height, size_t S, cf_rng *rng)
{
    static const double scale[4] = { 1, .875, .75, .66 };
    size_t candidate[16][2], n = 0, least = width < height ? width : height;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            if (i - j > 1 || j - i > 1) continue;
            candidate[n][0] = (size_t)((double)least * scale[j]);
            candidate[n++][1] = (size_t)((double)least * scale[i]);
        }
    const size_t *c = candidate[cf_rng_below(rng, (uint32_t)n)];
    cf_rect r = { 0, 0, c[0], c[1] };
    if (r.width + 3 > S && r.width < S + 3) r.width = S;
    if (r.height + 3 > S && r.height < S + 3) r.height = S;
    size_t ws = (width - r.width) / 4, hs = (height - r.height) / 4, at = cf_rng_below(rng, 5);
    if (at == 1 || at == 3) r.x = 4 * ws;
    if (at == 2 || at == 3) r.y = 4 * hs;
    if (at == 4) r.x = 2 * ws, r.y = 2 * hs;
    return r;
}

/* The table of 4.4 for 340 x 256: width, height, and the grid's steps. Each of the 50 choices is
 * met, and equally often. */
static void multi_scale_crops(void **state)
{
    (void)state;
    static const size_t v[10][4] = {
        { 256, 256, 21, 0 },  { 224, 256, 29, 0 },  { 256, 224, 21, 8 },  { 224, 224, 29, 8 },
        { 192, 224, 37, 8 },  { 224, 192, 29, 16 }, { 192, 192, 37, 16 }, { 168, 192, 43, 16 },
        { 192, 168, 37, 22 }, { 168, 168, 43, 22 },
    };
    size_t count[10] = { 0 }, place[5] = { 0 };
    for (uint64_t k = 0; k < 20000; k++) {
        cf_rng rng = cf_rng_make(3, CF_RNG_CROP, 2, k);
        cf_rect r = cf_crop_multi_scale(340, 256, 224, &rng);
        size_t i = 0;
        while (i < 10 && (v[i][0] != r.width || v[i][1] != r.height)) i++;
        assert_true(i < 10);
        count[i]++;
        size_t ws = v[i][2], hs = v[i][3];
        const size_t at[5][2] = {
            { 0, 0 }, { 4 * ws, 0 }, { 0, 4 * hs }, { 4 * ws, 4 * hs }, { 2 * ws, 2 * hs }
        };
        size_t p = 0;
        while (p < 5 && (at[p][0] != r.x || at[p][1] != r.y)) p++;
        assert_true(p < 5);
        if (hs) place[p]++; /* with hs = 0 the places fall together */
    }
    assert_even(count, 10);
    assert_even(place, 5);
    for (size_t S = 1; S < 400; S++) { /* every choice fits, whatever the size and the ratio */
        size_t w = 100 + S % 61, h = 100;
        cf_resize_short_side(&w, &h, cf_resize_side(S));
        for (uint64_t k = 0; k < 30; k++) {
            cf_rng rng = cf_rng_make(4, CF_RNG_CROP, 0, k), same = rng;
            cf_rect r = cf_crop_multi_scale(w, h, S, &rng);
            cf_rect expected = naive_multi_scale(w, h, S, &same);
            assert_memory_equal(&r, &expected, sizeof r);
            assert_true(r.width >= 1 && r.height >= 1 && r.x + r.width <= w && r.y + r.height <= h);
            if (S == 32 && r.width != 32)
                assert_true(r.width == 36 || r.width == 27 || r.width == 23);
        }
    }
}

static void normalization_bits(void **state)
{
    (void)state;
    static const struct {
        int v;
        uint32_t bits[3];
    } rows[] = {
        { 0, { 0xc0078bbd, 0xc0024925, 0xbfe6f809 } },
        { 1, { 0xc006732b, 0xc0012a4f, 0xbfe4bcea } },
        { 127, { 0x3d6939a9, 0x3e402de6, 0x3ed170bb } },
        { 255, { 0x400fee1d, 0x401b6db7, 0x4028f5c3 } },
    };
    for (size_t i = 0; i < 4; i++) {
        uint8_t v[3] = { (uint8_t)rows[i].v, (uint8_t)rows[i].v, (uint8_t)rows[i].v }, again[3];
        float out[3];
        cf_normalize(out, v, 1);
        assert_memory_equal(out, rows[i].bits, sizeof out);
        cf_denormalize(again, out, 1);
        assert_memory_equal(again, v, 3);
    }
    uint8_t all[3 * 256], again[3 * 256];
    float out[3 * 256];
    for (int i = 0; i < 3 * 256; i++) all[i] = (uint8_t)i;
    cf_normalize(out, all, 256);
    cf_denormalize(again, out, 256);
    assert_memory_equal(again, all, sizeof all);
}

/* The training chain of 4.1 step by step on whole pictures, from the plan's decisions. */
static void naive_chain(float *out, const uint8_t *in, const cf_clip_plan *p, cf_rng *jitter,
                        size_t S)
{
    uint8_t *all = malloc(p->width * p->height * 3), *final = malloc(S * S * 3);
    naive_resize(all, whole_view(in, p->source_width, p->source_height), p->width, p->height);
    cf_rect r = p->crop[0];
    cf_view part = { all + 3 * (r.y * p->width + r.x), r.width, r.height, 3 * p->width };
    naive_resize(final, part, S, S);
    for (size_t y = 0; p->flip && y < S; y++)
        for (size_t x = 0; x < S / 2; x++)
            for (size_t c = 0; c < 3; c++) {
                uint8_t *a = final + 3 * (y * S + x) + c, *b = final + 3 * (y * S + S - 1 - x) + c,
                        v = *a;
                *a = *b, *b = v;
            }
    if (p->jitter) {
        cf_jitter j = cf_jitter_draw(jitter);
        pillow_jitter(final, S * S, &j);
    }
    for (size_t i = 0; p->gray && i < S * S; i++)
        memset(final + 3 * i, pillow_gray(final + 3 * i), 3);
    static const float mean[3] = { 123.675f, 116.28f, 103.53f },
                       std[3] = { 58.395f, 57.12f, 57.375f };
    for (size_t i = 0; i < S * S; i++)
        for (size_t c = 0; c < 3; c++)
            out[c * S * S + i] = ((float) final[3 * i + c] - mean[c]) / std[c];
    free(all);
    free(final);
}

static void training_chain(void **state)
{
    (void)state;
    enum { S = 28, FLOATS = 3 * S * S };
    cf_rng rng = cf_rng_make(6, CF_RNG_TEST, 0, 0);
    cf_transform t;
    static float out[FLOATS], expected[FLOATS];
    assert_ok(cf_transform_init(&t, S));
    for (uint64_t k = 0; k < 120; k++) {
        size_t w = 5 + cf_rng_below(&rng, 90), h = 5 + cf_rng_below(&rng, 60);
        if (k % 8 == 0) w = h = k % 16 ? S : 32; /* 32 = R256 of 28 */
        cf_augment a = { S, k % 3 != 0, 0.5, k % 2 ? 0.5 : 0, k % 5 ? 0.2 : 0 };
        uint8_t *pixels = random_picture(&rng, w, h);
        cf_picture picture = { pixels, h, w, w * h * 3 };
        cf_clip_plan p, again;
        cf_plan_train(&p, w, h, &a, 77, 3, k);
        cf_plan_train(&again, w, h, &a, 77, 3, k);
        assert_true(p.flip == again.flip && p.crop[0].x == again.crop[0].x);
        cf_rng flip = cf_rng_make(77, CF_RNG_FLIP, 3, k), gray = cf_rng_make(77, CF_RNG_GRAY, 3, k),
               gate = cf_rng_make(77, CF_RNG_JITTER, 3, k);
        assert_int_equal(p.flip, cf_rng_uniform(&flip) < a.flip);
        assert_int_equal(p.gray, cf_rng_uniform(&gray) < a.gray_scale);
        assert_int_equal(p.jitter, cf_rng_uniform(&gate) < a.color_jitter);
        cf_rng jitter = p.rng;
        for (int frame = 0; frame < 2; frame++) { /* the second frame draws its own jitter */
            naive_chain(expected, pixels, &p, &jitter, S);
            cf_transform_frame(out, &picture, &p, 0, &t);
            assert_memory_equal(out, expected, sizeof out);
        }
        free(pixels);
    }
    cf_transform_fini(&t);
}

static void test_chains(void **state)
{
    (void)state;
    enum { S = 28, FLOATS = 3 * S * S };
    cf_rng rng = cf_rng_make(8, CF_RNG_TEST, 0, 0);
    cf_transform t;
    static float out[FLOATS], expected[FLOATS];
    assert_ok(cf_transform_init(&t, S));
    for (int k = 0; k < 60; k++) {
        size_t w = 20 + cf_rng_below(&rng, 60), h = 20 + cf_rng_below(&rng, 60),
               crops = k % 3 ? 1 : 3;
        cf_augment a = {
            .size = S, .multi_scale_crop = k % 2, .flip = 1, .color_jitter = 1, .gray_scale = 1
        };
        uint8_t *pixels = random_picture(&rng, w, h);
        cf_picture picture = { pixels, h, w, w * h * 3 };
        cf_clip_plan p;
        cf_plan_test(&p, w, h, &a, crops);
        assert_true(!p.flip && !p.jitter && !p.gray);
        assert_int_equal(p.n_crops, crops);
        assert_int_equal(p.width < p.height ? p.width : p.height, crops == 1 && k % 2 ? 32 : S);
        for (size_t c = 0; c < crops; c++) {
            cf_clip_plan one = p;
            one.crop[0] = p.crop[c];
            naive_chain(expected, pixels, &one, NULL, S);
            cf_transform_frame(out, &picture, &p, c, &t);
            assert_memory_equal(out, expected, sizeof out);
        }
        free(pixels);
    }
    cf_transform_fini(&t);
}

static void gates_have_their_rates(void **state)
{
    (void)state;
    enum { N = 20000 };
    size_t flip = 0, jitter = 0, gray = 0, both = 0;
    cf_augment a = { 40, false, 0.5, 0.8, 0.2 }, never = { 40, false, 0, 0, 0 },
               always = { 40, false, 1, 1, 1 };
    for (uint64_t k = 0; k < N; k++) {
        cf_clip_plan p;
        cf_plan_train(&p, 40, 40, &a, 1, 0, k);
        flip += p.flip;
        jitter += p.jitter;
        gray += p.gray;
        both += p.jitter && p.gray && p.flip;
        cf_plan_train(&p, 40, 40, &never, 1, 0, k);
        assert_true(!p.flip && !p.jitter && !p.gray);
        cf_plan_train(&p, 40, 40, &always, 1, 0, k);
        assert_true(p.flip && p.jitter && p.gray);
    }
    assert_rate(flip, N, .5);
    assert_rate(jitter, N, .8);
    assert_rate(gray, N, .2);
    assert_rate(both, N, .5 * .8 * .2);
}

TESTS(TEST(resize_vectors), TEST(resize_one_channel_example), TEST(resize_of_windows_and_parts),
      TEST(sizes), TEST(fixed_crops), TEST(multi_scale_crops), TEST(normalization_bits),
      TEST(training_chain), TEST(test_chains), TEST(gates_have_their_rates))
