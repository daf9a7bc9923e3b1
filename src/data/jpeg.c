/* jpeg: JPEG bytes to a picture and back, in memory, through libjpeg-turbo's TurboJPEG interface.
 *
 * Decoding uses the exact integer transform and smooth chroma ("fancy") upsampling at full scale,
 * which every machine does to the same bits. libjpeg's warnings mean that it has made up pixels:
 * here each is an error. What it would not warn of, jpeg_head.c finds before. */
#include "data/jpeg.h"

#include <string.h>
#include <turbojpeg.h>

#define MOST_SIDE 65500u /* libjpeg's own */
#define MOST_PIXELS ((size_t)1 << 26)

static cf_status decompress(uint8_t *pixels, const jpeg_head *h, const uint8_t *bytes, size_t n,
                            const char *what)
{
    tjhandle t = tjInitDecompress();
    if (!t) return CF_FAIL(CF_ENOMEM, "%s: libjpeg: no memory", what);
    cf_status status = CF_OK;
    if (tjDecompress2(t, bytes, (unsigned long)n, pixels, (int)h->width, 0, (int)h->height,
                      TJPF_RGB, TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS) != 0)
        status = CF_FAIL(CF_EFORMAT, "%s: damaged JPEG of %zu x %zu: %s", what, h->height, h->width,
                         tjGetErrorStr2(t));
    tjDestroy(t);
    return status;
}

cf_status cf_jpeg_decode(cf_picture *out, const uint8_t *bytes, size_t n, const char *what)
{
    jpeg_head h;
    CF_TRY(jpeg_head_read(&h, bytes, n, what));
    if (h.orientation == 1) {
        CF_TRY_CTX(cf_picture_resize_buffer(out, h.height, h.width), "%s", what);
        return decompress(out->pixels, &h, bytes, n, what);
    }
    cf_picture stored = { 0 };
    cf_status status = CF_OK;
    CF_GO(cf_picture_resize_buffer(&stored, h.height, h.width));
    CF_GO(decompress(stored.pixels, &h, bytes, n, what));
    CF_GO(picture_orient(out, stored.pixels, h.height, h.width, 3 * h.width, h.orientation));
done:
    cf_picture_fini(&stored);
    return status == CF_ENOMEM ? cf_fail_context(status, "%s", what) : status;
}

static cf_status compress(uint8_t **out, size_t *n, tjhandle t, const uint8_t *pixels,
                          size_t height, size_t width, int quality)
{
    int chroma = quality < 90 ? TJSAMP_420 : TJSAMP_444;
    unsigned long size = tjBufSize((int)width, (int)height, chroma);
    uint8_t *bytes;
    CF_TRY(cf_alloc(&bytes, size, 1));
    cf_status status = CF_OK;
    if (tjCompress2(t, pixels, (int)width, 0, (int)height, TJPF_RGB, &bytes, &size, chroma, quality,
                    TJFLAG_ACCURATEDCT | TJFLAG_NOREALLOC) != 0)
        CF_GO(CF_FAIL(CF_EINVAL, "JPEG: %s", tjGetErrorStr2(t)));
    CF_GO(cf_realloc(&bytes, size, 1));
    *out = bytes;
    *n = size;
    bytes = NULL;
done:
    cf_free(bytes);
    return status;
}

cf_status cf_jpeg_encode(uint8_t **out, size_t *n, const uint8_t *pixels, size_t height,
                         size_t width, int quality)
{
    if (height == 0 || width == 0 || height > MOST_SIDE || width > MOST_SIDE ||
        height * width > MOST_PIXELS)
        return CF_FAIL(CF_EINVAL, "JPEG: a picture of %zu x %zu pixels", height, width);
    if (quality < 1 || quality > 100)
        return CF_FAIL(CF_EINVAL, "JPEG: quality %d is not 1 to 100", quality);
    tjhandle t = tjInitCompress();
    if (!t) return CF_FAIL(CF_ENOMEM, "JPEG: libjpeg: no memory");
    cf_status status = compress(out, n, t, pixels, height, width, quality);
    tjDestroy(t);
    return status;
}

cf_status cf_picture_decode(cf_picture *out, const uint8_t *bytes, size_t n, const char *what)
{
    if (jpeg_is_one(bytes, n)) return cf_jpeg_decode(out, bytes, n, what);
    if (png_is_one(bytes, n)) return cf_png_decode(out, bytes, n, what);
    return CF_FAIL(CF_EFORMAT, "%s: neither PNG nor JPEG (%zu bytes)", what, n);
}
