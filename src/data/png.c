/* png: PNG bytes to a picture and back, in memory, through libpng.
 *
 * libpng reports errors by longjmp. Each setjmp stands at the head of a small function (header,
 * pixels, encode) that has no local variables of its own, so none can be clobbered; state lives
 * in a struct of the caller, who also frees libpng's objects, whichever way it returned. A file
 * is not trusted: sides and pixels are limited, and a picture larger than zlib could have packed
 * into the given bytes is refused before memory is asked for it. Decoding reads up to the end
 * chunk, so that cut or damaged data is an error and never a grey half of a picture. */
#include "data/jpeg.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#define MOST_PIXELS ((size_t)1 << 26)
#define MOST_SIDE 65535u
#define LARGEST_RATIO 1032u /* bytes that zlib can make of one */

bool png_is_one(const uint8_t *bytes, size_t n) { return n >= 8 && png_sig_cmp(bytes, 0, 8) == 0; }

/* ---- decode ---------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *bytes;
    size_t n, at;
    png_structp png;
    png_infop info;
    size_t height, width, packed_bytes; /* packed: the rows as compressed, before expansion */
    int passes;
    char why[120];
} reader;

static void keep_reason(png_structp png, png_const_charp message)
{
    snprintf(png_get_error_ptr(png), sizeof((reader *)0)->why, "%s", message);
    png_longjmp(png, 1);
}

static void drop_warning(png_structp png, png_const_charp message) { (void)png, (void)message; }

static void give_bytes(png_structp png, png_bytep to, size_t n)
{
    reader *r = png_get_io_ptr(png);
    if (n > r->n - r->at) png_error(png, "the data ends early");
    memcpy(to, r->bytes + r->at, n);
    r->at += n;
}

/* False: r->why tells. */
static bool read_header(reader *r)
{
    if (setjmp(png_jmpbuf(r->png))) return false;
    png_set_read_fn(r->png, r, give_bytes);
    png_set_user_limits(r->png, MOST_SIDE, MOST_SIDE);
    /* Only what makes pixels: libpng asks memory for as much text as a chunk claims to have. */
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(r->png, r->info);
    r->height = png_get_image_height(r->png, r->info);
    r->width = png_get_image_width(r->png, r->info);
    r->packed_bytes = r->height * png_get_rowbytes(r->png, r->info);
    png_set_expand(r->png); /* palettes, 1, 2 and 4 bits, transparent colours */
    png_set_scale_16(r->png);
    png_set_strip_alpha(r->png);
    png_set_gray_to_rgb(r->png);
    r->passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    if (png_get_rowbytes(r->png, r->info) != 3 * r->width)
        png_error(r->png, "unknown pixel layout");
    return true;
}

static void read_rows(reader *r, uint8_t *pixels)
{
    for (int pass = 0; pass < r->passes; pass++)
        for (size_t y = 0; y < r->height; y++)
            png_read_row(r->png, pixels + 3 * r->width * y, NULL);
}

static bool read_pixels(reader *r, uint8_t *pixels)
{
    if (setjmp(png_jmpbuf(r->png))) return false;
    read_rows(r, pixels);
    png_read_end(r->png, NULL);
    return true;
}

static cf_status decode(cf_picture *out, reader *r, const char *what)
{
    if (!read_header(r)) return CF_FAIL(CF_EFORMAT, "%s: not a readable PNG: %s", what, r->why);
    if (r->height * r->width > MOST_PIXELS)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: a PNG of %zu x %zu pixels, more than the %zu allowed",
                       what, r->height, r->width, MOST_PIXELS);
    if (r->packed_bytes / LARGEST_RATIO > r->n)
        return CF_FAIL(CF_EFORMAT, "%s: a PNG of %zu bytes cannot hold %zu x %zu pixels", what,
                       r->n, r->height, r->width);
    CF_TRY_CTX(cf_picture_resize_buffer(out, r->height, r->width), "%s", what);
    if (!read_pixels(r, out->pixels))
        return CF_FAIL(CF_EFORMAT, "%s: damaged PNG of %zu x %zu: %s", what, r->height, r->width,
                       r->why);
    return CF_OK;
}

cf_status cf_png_decode(cf_picture *out, const uint8_t *bytes, size_t n, const char *what)
{
    reader r = { .bytes = bytes, .n = n };
    if (!png_is_one(bytes, n)) return CF_FAIL(CF_EFORMAT, "%s: not a PNG (%zu bytes)", what, n);
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r.why, keep_reason, drop_warning);
    r.info = r.png ? png_create_info_struct(r.png) : NULL;
    cf_status status =
        r.info ? decode(out, &r, what) : CF_FAIL(CF_ENOMEM, "%s: libpng: no memory", what);
    if (r.png) png_destroy_read_struct(&r.png, &r.info, NULL);
    return status;
}

/* ---- encode ---------------------------------------------------------------------------------- */

typedef struct {
    uint8_t *bytes;
    size_t n, capacity;
    const uint8_t *pixels;
    size_t height, width;
    int level;
    png_structp png;
    png_infop info;
    cf_status status; /* of growing `bytes` */
    char why[sizeof((reader *)0)->why];
} writer;

static void take_bytes(png_structp png, png_bytep from, size_t n)
{
    writer *w = png_get_io_ptr(png);
    size_t need = w->n + n;
    if (need > w->capacity) {
        size_t capacity = need > 2 * w->capacity ? need + 4096 : 2 * w->capacity;
        w->status = cf_realloc(&w->bytes, capacity, 1);
        if (w->status != CF_OK) png_error(png, "no memory");
        w->capacity = capacity;
    }
    memcpy(w->bytes + w->n, from, n);
    w->n = need;
}

static void nothing_to_flush(png_structp png) { (void)png; }

static void write_rows(writer *w)
{
    for (size_t y = 0; y < w->height; y++) png_write_row(w->png, w->pixels + 3 * w->width * y);
}

static bool encode(writer *w)
{
    if (setjmp(png_jmpbuf(w->png))) return false;
    png_set_write_fn(w->png, w, take_bytes, nothing_to_flush);
    png_set_user_limits(w->png, MOST_SIDE, MOST_SIDE);
    png_set_compression_level(w->png, w->level);
    png_set_IHDR(w->png, w->info, (png_uint_32)w->width, (png_uint_32)w->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w->png, w->info);
    write_rows(w);
    png_write_end(w->png, NULL);
    return true;
}

cf_status cf_png_encode(uint8_t **out, size_t *n, const uint8_t *pixels, size_t height,
                        size_t width, int level)
{
    if (height == 0 || width == 0 || height > MOST_SIDE || width > MOST_SIDE ||
        height * width > MOST_PIXELS)
        return CF_FAIL(CF_EINVAL, "PNG: a picture of %zu x %zu pixels", height, width);
    if (level < 0 || level > 9) return CF_FAIL(CF_EINVAL, "PNG: level %d is not 0 to 9", level);
    writer w = { .pixels = pixels, .height = height, .width = width, .level = level };
    w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, w.why, keep_reason, drop_warning);
    w.info = w.png ? png_create_info_struct(w.png) : NULL;
    cf_status status = CF_OK;
    if (!w.info)
        status = CF_FAIL(CF_ENOMEM, "PNG: libpng: no memory");
    else if (!encode(&w))
        status = w.status != CF_OK ? w.status : CF_FAIL(CF_EINVAL, "PNG: %s", w.why);
    if (w.png) png_destroy_write_struct(&w.png, &w.info);
    if (status == CF_OK) {
        *out = w.bytes;
        *n = w.n;
    } else {
        cf_free(w.bytes);
    }
    return status;
}

cf_status cf_png_write(const char *path, const uint8_t *pixels, size_t height, size_t width)
{
    uint8_t *bytes;
    size_t n;
    CF_TRY_CTX(cf_png_encode(&bytes, &n, pixels, height, width, 6), "%s", path);
    cf_status status = cf_file_write(path, bytes, n);
    cf_free(bytes);
    return status;
}
