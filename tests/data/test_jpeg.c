/* JPEG: round trips within bounds, the same picture coded in other ways, orientation, refusals, and
 * damage that libjpeg alone would pass over. Where the djpeg program is installed its pixels are
 * ours. */
#define FOLDER_FILE "a.jpg"
#include "test_in_folder.h"

#include "crossframe/data.h"

#include <turbojpeg.h>

enum { H = 45, W = 70 };
static uint8_t pixels[H * W * 3], *coded;
static size_t n_coded;
static cf_picture picture;

/* Smooth, so that little is lost; different in each channel and corner. */
static void fill(void)
{
    for (size_t y = 0; y < H; y++)
        for (size_t x = 0; x < W; x++) {
            uint8_t *p = pixels + 3 * (y * W + x);
            p[0] = (uint8_t)(3 * x), p[1] = (uint8_t)(5 * y), p[2] = (uint8_t)(255 - 2 * x - y);
        }
}

static int setup(void **state)
{
    folder_setup(state);
    fill();
    assert_ok(cf_jpeg_encode(&coded, &n_coded, pixels, H, W, 95));
    return 0;
}

static int teardown(void **state)
{
    cf_free(coded);
    cf_picture_fini(&picture);
    return folder_teardown(state);
}

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    static const int quality[] = { 1, 50, 75, 89, 90, 95, 100 },
                     most[] = { 120, 20, 14, 9, 7, 4, 3 };
    static const size_t sides[][2] = {
        { H, W }, { 1, 1 }, { 1, W }, { H, 1 }, { 16, 16 }, { 17, 9 }
    };
    for (size_t s = 0; s < 6; s++)
        for (size_t q = 0; q < 7; q++) {
            uint8_t *bytes;
            size_t n, h = sides[s][0], w = sides[s][1];
            for (size_t y = 0; y < h; y++)
                for (size_t i = 0; i < 3 * w; i++)
                    pixels[3 * w * y + i] = (uint8_t)(2 * y + (i / 3) + 40 * (i % 3));
            assert_ok(cf_jpeg_encode(&bytes, &n, pixels, h, w, quality[q]));
            assert_ok(cf_picture_decode(&picture, bytes, n, "it"));
            assert_int_equal(picture.height, h);
            assert_int_equal(picture.width, w);
            assert_all_near(picture.pixels, pixels, h * w * 3, most[q]);
            cf_free(bytes);
        }
}

static void pixels_are_those_of_djpeg(void **state)
{
    (void)state;
    if (system("djpeg -version >/dev/null 2>&1 </dev/null") != 0) skip();
    for (int quality = 30; quality < 100; quality += 30) {
        uint8_t *bytes;
        size_t n, m;
        char command[600], *ppm;
        fill();
        assert_ok(cf_jpeg_encode(&bytes, &n, pixels, H, W, quality));
        assert_ok(cf_file_write(path, bytes, n));
        snprintf(command, sizeof command, "djpeg -dct int -ppm -outfile %s.ppm %s", path, path);
        assert_int_equal(system(command), 0);
        strcat(strcpy(command, path), ".ppm");
        assert_ok(cf_file_read(&ppm, &m, command));
        assert_ok(cf_jpeg_decode(&picture, bytes, n, "it"));
        assert_true(m > H * W * 3);
        assert_memory_equal(picture.pixels, ppm + m - H * W * 3, H * W * 3);
        cf_free(ppm);
        cf_free(bytes);
    }
}

static void compress(uint8_t **bytes, size_t *n, int pixel_format, int chroma)
{
    static uint8_t wide[H * W * 4];
    unsigned char *out = NULL;
    unsigned long size = 0;
    tjhandle t = tjInitCompress();
    memcpy(wide, pixels, sizeof pixels);
    assert_int_equal(
        tjCompress2(t, wide, W, 0, H, pixel_format, &out, &size, chroma, 90, TJFLAG_ACCURATEDCT),
        0);
    assert_ok(cf_alloc(bytes, size, 1));
    memcpy(*bytes, out, size);
    *n = size;
    tjFree(out);
    tjDestroy(t);
}

static void every_chroma_sampling_is_read_and_cmyk_refused(void **state)
{
    (void)state;
    uint8_t *bytes;
    size_t n;
    static const int chroma[] = { TJSAMP_444, TJSAMP_422, TJSAMP_420, TJSAMP_440, TJSAMP_411 };
    for (int i = 0; i < 5; i++) {
        compress(&bytes, &n, TJPF_RGB, chroma[i]);
        assert_ok(cf_jpeg_decode(&picture, bytes, n, "it"));
        assert_all_near(picture.pixels, pixels, H * W * 3, 60);
        cf_free(bytes);
    }
    compress(&bytes, &n, TJPF_RGB, TJSAMP_GRAY);
    assert_ok(cf_jpeg_decode(&picture, bytes, n, "it"));
    for (size_t i = 0; i < H * W; i++) {
        const uint8_t *p = picture.pixels + 3 * i, *s = pixels + 3 * i;
        assert_true(p[0] == p[1] && p[1] == p[2]);
        assert_near(p[0], 0.299 * s[0] + 0.587 * s[1] + 0.114 * s[2], 12);
    }
    cf_free(bytes);
    compress(&bytes, &n, TJPF_CMYK, TJSAMP_444);
    assert_fails(cf_jpeg_decode(&picture, bytes, n, "it"), CF_EUNSUPPORTED, "4 components (CMYK");
    cf_free(bytes);
}

/* The same coefficients in many scans: the same pixels. */
static void progressive(uint8_t **bytes, size_t *n)
{
    tjtransform change = { .op = TJXOP_NONE, .options = TJXOPT_PROGRESSIVE };
    unsigned char *out = NULL;
    unsigned long size = 0;
    tjhandle t = tjInitTransform();
    assert_int_equal(tjTransform(t, coded, (unsigned long)n_coded, 1, &out, &size, &change, 0), 0);
    assert_ok(cf_alloc(bytes, size, 1));
    memcpy(*bytes, out, size);
    *n = size;
    tjFree(out);
    tjDestroy(t);
}

static void progressive_is_the_same_picture(void **state)
{
    (void)state;
    uint8_t *bytes;
    size_t n;
    cf_picture other = { 0 };
    progressive(&bytes, &n);
    assert_ok(cf_jpeg_decode(&picture, coded, n_coded, "it"));
    assert_ok(cf_jpeg_decode(&other, bytes, n, "it"));
    assert_memory_equal(picture.pixels, other.pixels, H * W * 3);
    for (size_t m = 0; m < n; m++)
        assert_fails(cf_jpeg_decode(&other, bytes, m, "frame 3"), CF_EFORMAT, "frame 3: ");
    cf_picture_fini(&other);
    cf_free(bytes);
}

/* An EXIF segment behind the first marker. */
static size_t with_orientation(uint8_t *to, int orientation, bool little)
{
    static const uint8_t big_endian[] = { 0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0,    'M', 'M',
                                          0,    42,   0, 0,  0,   8,   0,   1,   1, 0x12, 0,   3,
                                          0,    0,    0, 1,  0,   0,   0,   0,   0, 0,    0,   0 };
    static const uint8_t little_endian[] = { 0xff, 0xe1, 0,    34, 'E', 'x', 'i', 'f', 0,
                                             0,    'I',  'I',  42, 0,   8,   0,   0,   0,
                                             1,    0,    0x12, 1,  3,   0,   1,   0,   0,
                                             0,    0,    0,    0,  0,   0,   0,   0,   0 };
    memcpy(to, coded, 2);
    memcpy(to + 2, little ? little_endian : big_endian, 36);
    to[2 + (little ? 28 : 29)] = (uint8_t)orientation;
    memcpy(to + 38, coded + 2, n_coded - 2);
    return n_coded + 36;
}

/* Where the pixel shown at (y, x) is stored, by EXIF's table: which side of what is shown row 0 and
 * column 0 are. */
static size_t stored_at(int orientation, size_t y, size_t x)
{
    switch (orientation) {
    case 2: return y * W + (W - 1 - x);           /* top, right */
    case 3: return (H - 1 - y) * W + (W - 1 - x); /* bottom, right */
    case 4: return (H - 1 - y) * W + x;           /* bottom, left */
    case 5: return x * W + y;                     /* left, top */
    case 6: return (H - 1 - x) * W + y;           /* right, top */
    case 7: return (H - 1 - x) * W + (W - 1 - y); /* right, bottom */
    case 8: return x * W + (W - 1 - y);           /* left, bottom */
    default: return y * W + x;
    }
}

static void the_picture_is_turned_as_exif_asks(void **state)
{
    (void)state;
    uint8_t *bytes = test_malloc(n_coded + 36);
    cf_picture turned = { 0 };
    assert_ok(cf_jpeg_decode(&picture, coded, n_coded, "it"));
    for (int o = 0; o <= 9; o++) /* 0 and 9 are none */
        for (int little = 0; little < 2; little++) {
            size_t n = with_orientation(bytes, o, little);
            assert_ok(cf_jpeg_decode(&turned, bytes, n, "it"));
            assert_int_equal(turned.height, o >= 5 && o <= 8 ? W : H);
            assert_int_equal(turned.width, o >= 5 && o <= 8 ? H : W);
            for (size_t y = 0; y < turned.height; y++)
                for (size_t x = 0; x < turned.width; x++)
                    assert_memory_equal(turned.pixels + 3 * (y * turned.width + x),
                                        picture.pixels + 3 * stored_at(o, y, x), 3);
        }
    cf_picture_fini(&turned);
    test_free(bytes);
}

static void cut_data_is_an_error(void **state)
{
    (void)state;
    for (size_t n = 0; n < n_coded; n++) {
        uint8_t *exact = test_malloc(n + !n);
        memcpy(exact, coded, n);
        assert_fails(cf_picture_decode(&picture, exact, n, "frame 3"), CF_EFORMAT, "frame 3: ");
        test_free(exact);
    }
}

/* JPEG has no checksums: a damaged byte is an error or another picture of some size. */
static void damaged_data_is_an_error_or_a_whole_picture(void **state)
{
    (void)state;
    size_t errors = 0;
    for (size_t at = 0; at < n_coded; at++) {
        coded[at] ^= 0x10;
        cf_status status = cf_jpeg_decode(&picture, coded, n_coded, "it");
        if (status != CF_OK) {
            errors++;
            if (strncmp(cf_error(), "it: ", 4) != 0) fail_msg("byte %zu: '%s'", at, cf_error());
        }
        coded[at] ^= 0x10;
    }
    assert_true(errors > n_coded / 8);
    assert_ok(cf_jpeg_decode(&picture, coded, n_coded, "it"));
}

/* The frame header's place. */
static uint8_t *frame_header(void)
{
    for (size_t i = 2; i + 9 < n_coded; i++)
        if (coded[i] == 0xff && coded[i + 1] == 0xc0) return coded + i;
    fail_msg("no frame header");
    return NULL;
}

static void what_is_not_decoded_is_refused_with_its_kind(void **state)
{
    (void)state;
    uint8_t *h = frame_header(), kept[12];
    memcpy(kept, h, sizeof kept);
    h[4] = 12;
    assert_fails(cf_jpeg_decode(&picture, coded, n_coded, "it"), CF_EUNSUPPORTED, "12 bits");
    h[4] = 8, h[1] = 0xc9;
    assert_fails(cf_jpeg_decode(&picture, coded, n_coded, "it"), CF_EUNSUPPORTED, "SOF9");
    h[1] = 0xc3;
    assert_fails(cf_jpeg_decode(&picture, coded, n_coded, "it"), CF_EUNSUPPORTED, "SOF3");
    h[1] = 0xc0, h[9] = 2;
    assert_fails(cf_jpeg_decode(&picture, coded, n_coded, "it"), CF_EUNSUPPORTED, "2 components");
    h[9] = 3, h[5] = h[6] = 0;
    assert_fails(cf_jpeg_decode(&picture, coded, n_coded, "it"), CF_EFORMAT, "0 pixels");
    memset(h + 5, 0xff, 4);
    assert_fails(cf_jpeg_decode(&picture, coded, n_coded, "it"), CF_EUNSUPPORTED, "65535 x 65535");
    h[5] = h[7] = 0x1f, h[6] = h[8] = 0x40;
    assert_fails(cf_jpeg_decode(&picture, coded, n_coded, "it"), CF_EFORMAT,
                 "cannot hold 8000 x 8000");
    memcpy(h, kept, sizeof kept);
    assert_fails(cf_picture_decode(&picture, (const uint8_t *)"GIF89a..", 8, "it"), CF_EFORMAT,
                 "it: neither PNG nor JPEG (8 bytes)");
    assert_ok(cf_jpeg_decode(&picture, coded, n_coded, "it"));
}

/* libjpeg makes grey of these without a warning. */
static void missing_components_are_an_error(void **state)
{
    (void)state;
    static const uint8_t one_of_three[] = {
        0xff, 0xd8, 0xff, 0xc0, 0,    17, 8, 0, 8, 0, 8, 3,  1, 0x11, 0,    2,    0x11, 0,
        3,    0x11, 0,    0xff, 0xda, 0,  8, 1, 1, 0, 0, 63, 0, 0x55, 0x55, 0xff, 0xd9,
    };
    assert_fails(cf_jpeg_decode(&picture, one_of_three, sizeof one_of_three, "it"), CF_EFORMAT,
                 "without one of its components");
    static const uint8_t no_scan[] = { 0xff, 0xd8, 0xff, 0xc0, 0,    11, 8,    0,   8,
                                       0,    8,    1,    1,    0x11, 0,  0xff, 0xd9 };
    assert_fails(cf_jpeg_decode(&picture, no_scan, sizeof no_scan, "it"), CF_EFORMAT,
                 "without a picture");
}

/* A thousand scans over a large picture would take minutes. */
static void too_many_scans_are_refused(void **state)
{
    (void)state;
    enum { SCANS = 200, BYTES = 80000 };
    static const uint8_t head[] = { 0xff, 0xd8, 0xff, 0xc2, 0, 11,   8, 0x10,
                                    0,    0x10, 0,    1,    1, 0x11, 0 };
    static const uint8_t scan[] = { 0xff, 0xda, 0, 8, 1, 1, 0, 0, 0, 0 };
    uint8_t *bytes = test_calloc(1, BYTES);
    memcpy(bytes, head, sizeof head);
    for (size_t i = 0; i < SCANS; i++)
        memcpy(bytes + sizeof head + i * sizeof scan, scan, sizeof scan);
    assert_fails(cf_jpeg_decode(&picture, bytes, BYTES, "it"), CF_EUNSUPPORTED, "in more than");
    test_free(bytes);
}

static void the_encoder_refuses(void **state)
{
    (void)state;
    uint8_t *bytes;
    size_t n;
    assert_fails(cf_jpeg_encode(&bytes, &n, pixels, 0, 3, 90), CF_EINVAL, "0 x 3");
    assert_fails(cf_jpeg_encode(&bytes, &n, pixels, 1, 65536, 90), CF_EINVAL, "1 x 65536");
    assert_fails(cf_jpeg_encode(&bytes, &n, pixels, 1, 1, 0), CF_EINVAL, "quality 0");
    assert_fails(cf_jpeg_encode(&bytes, &n, pixels, 1, 1, 101), CF_EINVAL, "quality 101");
}

static void no_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    uint8_t *turned = test_malloc(n_coded + 36), *bytes;
    size_t n, size = with_orientation(turned, 6, true), before = cf_memory_stats_get().bytes_now;
    for (size_t i = 1; i <= 2; i++) {
        cf_memory_fail_at(i);
        assert_fails(cf_jpeg_encode(&bytes, &n, pixels, H, W, 90), CF_ENOMEM, "");
        cf_memory_fail_at(i);
        assert_fails(cf_jpeg_decode(&picture, turned, size, "it"), CF_ENOMEM, "it: ");
        cf_memory_fail_at(0);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
    test_free(turned);
}

#define JPEG(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
TESTS(JPEG(what_is_encoded_is_decoded), JPEG(pixels_are_those_of_djpeg),
      JPEG(every_chroma_sampling_is_read_and_cmyk_refused), JPEG(progressive_is_the_same_picture),
      JPEG(the_picture_is_turned_as_exif_asks), JPEG(cut_data_is_an_error),
      JPEG(damaged_data_is_an_error_or_a_whole_picture),
      JPEG(what_is_not_decoded_is_refused_with_its_kind), JPEG(missing_components_are_an_error),
      JPEG(too_many_scans_are_refused), JPEG(the_encoder_refuses),
      JPEG(no_memory_is_an_error_and_no_leak))
