/* PNG: round trips, every colour type and depth against libpng's own simple interface, and
 * refusals. */
#include "test.h"

#include "crossframe/data.h"

#include <png.h>
#include <sys/resource.h>

static uint8_t pixels[61 * 47 * 3];

static void fill(size_t n)
{
    cf_rng r = cf_rng_make(1, CF_RNG_TEST, 0, n);
    for (size_t i = 0; i < n; i++) pixels[i] = (uint8_t)(cf_rng_u32(&r) >> (i % 3 * 3 + 24 - 6));
}

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    static const size_t sides[][2] = { { 1, 1 }, { 1, 61 }, { 47, 1 }, { 61, 47 }, { 8, 8 } };
    cf_picture p = { 0 };
    size_t least = SIZE_MAX, n;
    uint8_t *bytes;
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        for (int level = 0; level <= 9; level += 3) {
            size_t h = sides[i][0], w = sides[i][1];
            fill(h * w * 3);
            assert_ok(cf_png_encode(&bytes, &n, pixels, h, w, level));
            assert_ok(cf_png_decode(&p, bytes, n, "it"));
            assert_int_equal(p.height, h);
            assert_int_equal(p.width, w);
            assert_memory_equal(p.pixels, pixels, h * w * 3);
            if (n < least) least = n;
            cf_free(bytes);
        }
    assert_int_equal(p.capacity, 61 * 47 * 3); /* grown once, kept */
    cf_picture_fini(&p);
    assert_null(p.pixels);
    assert_true(least < 100);
}

/* A picture of this colour type and depth, as libpng writes it. */
typedef struct {
    uint8_t bytes[1 << 16];
    size_t n;
} file;

static void put(png_structp png, png_bytep from, size_t n)
{
    file *f = png_get_io_ptr(png);
    assert_true(f->n + n <= sizeof f->bytes);
    memcpy(f->bytes + f->n, from, n);
    f->n += n;
}

static void no_flush(png_structp png) { (void)png; }

static void make(file *f, int color, int depth, int interlace, bool transparent)
{
    enum { H = 19, W = 23 };
    static uint8_t rows[H][W * 8];
    png_bytep row[H];
    cf_rng r = cf_rng_make(2, CF_RNG_TEST, (uint32_t)color, (uint64_t)depth);
    for (size_t y = 0; y < H; y++) {
        for (size_t x = 0; x < W * 8; x++) rows[y][x] = (uint8_t)cf_rng_u32(&r);
        row[y] = rows[y];
    }
    f->n = 0;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, f, put, no_flush);
    png_set_IHDR(png, info, W, H, depth, color, interlace, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (color == PNG_COLOR_TYPE_PALETTE) {
        png_color palette[256];
        for (int i = 0; i < 256; i++)
            palette[i] = (png_color){ (png_byte)(i * 3), (png_byte)(255 - i), (png_byte)(i * 7) };
        png_set_PLTE(png, info, palette, 1 << depth);
        png_byte alpha[2] = { 0, 128 };
        if (transparent) png_set_tRNS(png, info, alpha, 2, NULL);
    } else if (transparent) {
        png_color_16 key = { .red = 1, .green = 2, .blue = 3, .gray = 1 };
        png_set_tRNS(png, info, NULL, 0, &key);
    }
    png_write_info(png, info);
    png_write_image(png, row);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
}

/* The simple interface composes alpha onto a background; so alpha is read and dropped here. */
static void expect_as_libpng(const file *f, const cf_picture *p, int color, int depth)
{
    png_image image = { .version = PNG_IMAGE_VERSION };
    assert_true(png_image_begin_read_from_memory(&image, f->bytes, f->n));
    image.format = PNG_FORMAT_RGBA;
    static uint8_t rgba[64 * 64 * 4];
    assert_int_equal(p->height, image.height);
    assert_int_equal(p->width, image.width);
    assert_true(png_image_finish_read(&image, NULL, rgba, 0, NULL));
    for (size_t i = 0; i < p->height * p->width * 3; i++) {
        int got = p->pixels[i], want = rgba[i / 3 * 4 + i % 3];
        /* 16 bits are taken as linear light by the simple interface: not comparable. */
        if (depth < 16 && got != want) fail_msg("colour %d depth %d: byte %zu", color, depth, i);
    }
}

static void every_colour_type_and_depth_is_read(void **state)
{
    (void)state;
    static const int kinds[][2] = {
        { PNG_COLOR_TYPE_GRAY, 1 },        { PNG_COLOR_TYPE_GRAY, 2 },
        { PNG_COLOR_TYPE_GRAY, 4 },        { PNG_COLOR_TYPE_GRAY, 8 },
        { PNG_COLOR_TYPE_GRAY, 16 },       { PNG_COLOR_TYPE_PALETTE, 1 },
        { PNG_COLOR_TYPE_PALETTE, 2 },     { PNG_COLOR_TYPE_PALETTE, 4 },
        { PNG_COLOR_TYPE_PALETTE, 8 },     { PNG_COLOR_TYPE_RGB, 8 },
        { PNG_COLOR_TYPE_RGB, 16 },        { PNG_COLOR_TYPE_GRAY_ALPHA, 8 },
        { PNG_COLOR_TYPE_GRAY_ALPHA, 16 }, { PNG_COLOR_TYPE_RGB_ALPHA, 8 },
        { PNG_COLOR_TYPE_RGB_ALPHA, 16 },
    };
    static file f;
    cf_picture p = { 0 };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int form = 0; form < 4; form++) {
            int color = kinds[i][0], depth = kinds[i][1];
            if (form >= 2 && (color & PNG_COLOR_MASK_ALPHA)) continue;
            make(&f, color, depth, form % 2 ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, form >= 2);
            assert_ok(cf_png_decode(&p, f.bytes, f.n, "it"));
            expect_as_libpng(&f, &p, color, depth);
        }
    cf_picture_fini(&p);
}

/* 16 bits become 8 by rounding v * 255 / 65535. */
static void sixteen_bits_are_rounded(void **state)
{
    (void)state;
    static file f;
    cf_picture p = { 0 };
    make(&f, PNG_COLOR_TYPE_RGB, 16, PNG_INTERLACE_NONE, false);
    assert_ok(cf_png_decode(&p, f.bytes, f.n, "it"));
    cf_rng r = cf_rng_make(2, CF_RNG_TEST, PNG_COLOR_TYPE_RGB, 16);
    for (size_t y = 0; y < 19; y++)
        for (size_t x = 0; x < 23 * 4; x++) { /* the generator gave 8 bytes a pixel, RGB uses 6 */
            unsigned high = cf_rng_u32(&r) & 255, low = cf_rng_u32(&r) & 255;
            if (x >= 23 * 3) continue;
            assert_near(p.pixels[y * 23 * 3 + x], (high * 256 + low) / 257.0, 0.51);
        }
    cf_picture_fini(&p);
}

static void cut_data_is_an_error(void **state)
{
    (void)state;
    static file f;
    cf_picture p = { 0 };
    for (int interlace = 0; interlace < 2; interlace++) {
        make(&f, PNG_COLOR_TYPE_RGB, 8, interlace, false);
        for (size_t n = 0; n < f.n; n++) {
            uint8_t *exact = test_malloc(n + !n);
            memcpy(exact, f.bytes, n);
            assert_fails(cf_png_decode(&p, exact, n, "frame 3"), CF_EFORMAT, "frame 3: ");
            test_free(exact);
        }
    }
    cf_picture_fini(&p);
}

static void damaged_data_is_an_error(void **state)
{
    (void)state;
    static file f;
    cf_picture p = { 0 };
    make(&f, PNG_COLOR_TYPE_RGB, 8, PNG_INTERLACE_NONE, false);
    for (size_t at = 0; at < f.n;
         at++) { /* every chunk of this file is critical and has its checksum */
        f.bytes[at] ^= 0x10;
        assert_fails(cf_png_decode(&p, f.bytes, f.n, "it"), CF_EFORMAT, "it: ");
        f.bytes[at] ^= 0x10;
    }
    assert_ok(cf_png_decode(&p, f.bytes, f.n, "it"));
    cf_picture_fini(&p);
}

/* IHDR of the given size in front of the data of a small picture. */
static void claim(file *f, uint32_t height, uint32_t width)
{
    uint8_t *ihdr = f->bytes + 12; /* signature 8, length 4 */
    png_save_uint_32(ihdr + 4, width);
    png_save_uint_32(ihdr + 8, height);
    uint32_t crc = 0xffffffff;
    for (int i = 0; i < 17; i++) {
        crc ^= ihdr[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    png_save_uint_32(ihdr + 17, ~crc);
}

static void false_sizes_do_not_become_memory(void **state)
{
    (void)state;
    static file f;
    cf_picture p = { 0 };
    size_t before = cf_memory_stats_get().bytes_now;
    make(&f, PNG_COLOR_TYPE_RGB, 8, PNG_INTERLACE_NONE, false);
    claim(&f, 65535, 65535);
    assert_fails(cf_png_decode(&p, f.bytes, f.n, "it"), CF_EUNSUPPORTED,
                 "65535 x 65535 pixels, more");
    claim(&f, 1, 65536);
    assert_fails(cf_png_decode(&p, f.bytes, f.n, "it"), CF_EFORMAT, "it: not a readable PNG");
    claim(&f, 0, 10);
    assert_fails(cf_png_decode(&p, f.bytes, f.n, "it"), CF_EFORMAT, "it: not a readable PNG");
    claim(&f, 8000, 8000);
    assert_fails(cf_png_decode(&p, f.bytes, f.n, "it"), CF_EFORMAT, "cannot hold 8000 x 8000");
    claim(&f, 300, 200);
    assert_fails(cf_png_decode(&p, f.bytes, f.n, "it"), CF_EFORMAT, "damaged PNG of 300 x 200");
    claim(&f, 19, 23);
    assert_ok(cf_png_decode(&p, f.bytes, f.n, "it"));
    cf_picture_fini(&p);
    assert_int_equal(cf_memory_stats_get().bytes_now, before);
    assert_true(cf_memory_stats_get().bytes_peak < 1 << 20);
}

/* A chunk that claims gigabytes of text, in a file of some bytes. */
static void a_false_length_does_not_become_memory(void **state)
{
    (void)state;
    static file f;
    cf_picture p = { 0 };
    struct rusage before, after;
    make(&f, PNG_COLOR_TYPE_RGB, 8, PNG_INTERLACE_NONE, false);
    getrusage(RUSAGE_SELF, &before);
    static const char *const names[] = { "tEXt", "iTXt", "zTXt", "iCCP", "eXIf", "sPLT", "abCd" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        png_save_uint_32(f.bytes + 33, 0x60000000);
        memcpy(f.bytes + 37, names[i], 4);
        assert_fails(cf_png_decode(&p, f.bytes, f.n, "it"), CF_EFORMAT, "it: ");
    }
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 1 << 16); /* KiB */
}

static void the_encoder_refuses(void **state)
{
    (void)state;
    uint8_t *bytes;
    size_t n;
    assert_fails(cf_png_encode(&bytes, &n, pixels, 0, 3, 6), CF_EINVAL, "0 x 3");
    assert_fails(cf_png_encode(&bytes, &n, pixels, 1, 65536, 6), CF_EINVAL, "1 x 65536");
    assert_fails(cf_png_encode(&bytes, &n, pixels, 1, 1, 10), CF_EINVAL, "level 10");
    assert_fails(cf_png_encode(&bytes, &n, pixels, 1, 1, -1), CF_EINVAL, "level -1");
    assert_fails(cf_png_write("/nonexistent/a.png", pixels, 1, 1), CF_ENOTFOUND,
                 "/nonexistent/a.png");
}

static void no_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    fill(61 * 47 * 3);
    uint8_t *bytes = NULL;
    size_t n, before = cf_memory_stats_get().bytes_now, i = 1;
    for (cf_status status = CF_ENOMEM; status != CF_OK; i++) {
        cf_memory_fail_at(i);
        status = cf_png_encode(&bytes, &n, pixels, 61, 47, 0);
        cf_memory_fail_at(0);
        if (status == CF_OK) break;
        assert_int_equal(status, CF_ENOMEM);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
    assert_true(i > 1);
    cf_picture p = { 0 };
    cf_memory_fail_at(1);
    assert_fails(cf_png_decode(&p, bytes, n, "it"), CF_ENOMEM, "it: ");
    cf_memory_fail_at(0);
    assert_null(p.pixels);
    cf_free(bytes);
}

static void a_written_file_is_read(void **state)
{
    (void)state;
    static char *folder; /* a local confuses gcc 12's -Wdangling-pointer */
    folder = test_folder_new();
    char *path = test_path(folder, "a.png"), *bytes;
    size_t n;
    cf_picture p = { 0 };
    fill(61 * 47 * 3);
    assert_ok(cf_png_write(path, pixels, 61, 47));
    assert_ok(cf_file_read(&bytes, &n, path));
    assert_ok(cf_png_decode(&p, (uint8_t *)bytes, n, path));
    assert_memory_equal(p.pixels, pixels, 61 * 47 * 3);
    cf_picture_fini(&p);
    cf_free(bytes);
    cf_free(path);
    test_folder_remove(folder);
}

TESTS(TEST(false_sizes_do_not_become_memory), TEST(a_false_length_does_not_become_memory),
      TEST(what_is_encoded_is_decoded), TEST(every_colour_type_and_depth_is_read),
      TEST(sixteen_bits_are_rounded), TEST(cut_data_is_an_error), TEST(damaged_data_is_an_error),
      TEST(the_encoder_refuses), TEST(no_memory_is_an_error_and_no_leak),
      TEST(a_written_file_is_read))
