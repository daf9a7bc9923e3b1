/* jpeg_head: walks the markers of a JPEG, before anything is decoded.
 *
 * libjpeg decodes what it finds and fills the rest with grey: a component without a scan, or a scan
 * that refines what never came, passes without a word. So the walk goes to the end marker and
 * wants every component's first scan. It also bounds memory and time by the size of the data: a
 * first scan spends at least one bit on a block of 8 x 8, and the number of scans is limited by the
 * pixels each of them goes over. Format: ITU-T T.81, Annex B; orientation: EXIF 2.3, 4.6. */
#include "data/jpeg.h"

#include <string.h>

#define MOST_PIXELS ((size_t)1 << 26)
#define MOST_PIXELS_A_BYTE 512u
#define MOST_WORK ((size_t)1 << 30) /* pixels times scans */

typedef struct {
    const uint8_t *bytes;
    size_t n, at, n_scans;
    const char *what;
    uint8_t id[4];
    bool seen[4]; /* component has had its first scan */
    jpeg_head *head;
} walk;

static unsigned big16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }

bool jpeg_is_one(const uint8_t *bytes, size_t n)
{
    return n >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

static cf_status damaged(const walk *w, const char *why)
{
    return CF_FAIL(CF_EFORMAT, "%s: damaged JPEG: %s (byte %zu of %zu)", w->what, why, w->at, w->n);
}

/* ---- orientation ----------------------------------------------------------------------------- */

static uint32_t number(const uint8_t *p, size_t n, bool little)
{
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) v = v << 8 | p[little ? n - 1 - i : i];
    return v;
}

/* Tag 0x0112 of the first directory; 1 for whatever is not as it should be: a picture with a
 * damaged note on its making is still a picture. */
static int exif_orientation(const uint8_t *p, size_t n)
{
    if (n < 14 || memcmp(p, "Exif\0\0", 6) != 0) return 1;
    p += 6, n -= 6;
    bool little = p[0] == 'I';
    if (memcmp(p, little ? "II" : "MM", 2) != 0 || number(p + 2, 2, little) != 42) return 1;
    size_t at = number(p + 4, 4, little);
    if (at > n - 2) return 1;
    size_t entries = number(p + at, 2, little);
    for (at += 2; entries > 0 && at + 12 <= n; entries--, at += 12) {
        if (number(p + at, 2, little) != 0x0112) continue;
        uint32_t value = number(p + at + 8, 2, little);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

/* ---- markers --------------------------------------------------------------------------------- */

static cf_status frame_header(walk *w, unsigned marker, const uint8_t *p, size_t n)
{
    jpeg_head *h = w->head;
    if (h->n_components) return damaged(w, "a second frame header");
    if (marker != 0xc0 && marker != 0xc1 && marker != 0xc2)
        return CF_FAIL(CF_EUNSUPPORTED,
                       "%s: a JPEG of kind SOF%u (lossless, hierarchical or arithmetic coding); "
                       "baseline and progressive are read",
                       w->what, marker - 0xc0);
    if (n < 6 || p[5] == 0 || n < 6 + 3 * (size_t)p[5]) return damaged(w, "a cut frame header");
    h->height = big16(p + 1), h->width = big16(p + 3);
    h->progressive = marker == 0xc2;
    if (p[0] != 8)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: a JPEG of %d bits a sample; 8 are read", w->what,
                       p[0]);
    if (p[5] != 1 && p[5] != 3)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: a JPEG of %d components%s; grey and colour are read",
                       w->what, p[5], p[5] == 4 ? " (CMYK inks)" : "");
    if (h->height == 0 || h->width == 0) return damaged(w, "a side of 0 pixels");
    if (h->height * h->width > MOST_PIXELS)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: a JPEG of %zu x %zu pixels, more than the %zu allowed",
                       w->what, h->height, h->width, MOST_PIXELS);
    if (h->height * h->width / MOST_PIXELS_A_BYTE > w->n)
        return CF_FAIL(CF_EFORMAT, "%s: a JPEG of %zu bytes cannot hold %zu x %zu pixels", w->what,
                       w->n, h->height, h->width);
    h->n_components = p[5];
    for (int i = 0; i < p[5]; i++) w->id[i] = p[6 + 3 * i];
    return CF_OK;
}

static cf_status scan_header(walk *w, const uint8_t *p, size_t n)
{
    const jpeg_head *h = w->head;
    if (!h->n_components) return damaged(w, "a scan before the frame header");
    if (n < 1 || n < 4 + 2 * (size_t)p[0]) return damaged(w, "a cut scan header");
    const uint8_t *range = p + 1 + 2 * p[0]; /* first and last coefficient, bit positions */
    bool first = !h->progressive || (range[0] == 0 && range[2] >> 4 == 0);
    for (int i = 0; i < p[0]; i++)
        for (int c = 0; c < h->n_components; c++)
            if (w->id[c] == p[1 + 2 * i] && first) w->seen[c] = true;
    if (++w->n_scans * h->height * h->width > MOST_WORK)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: a JPEG of %zu x %zu in more than %zu scans", w->what,
                       h->height, h->width, w->n_scans - 1);
    return CF_OK;
}

/* To the next marker that is neither a stuffed zero nor a restart. */
static void skip_entropy_coded(walk *w)
{
    while (w->at < w->n) {
        const uint8_t *ff = memchr(w->bytes + w->at, 0xff, w->n - w->at);
        w->at = ff ? (size_t)(ff - w->bytes) : w->n;
        if (w->n - w->at < 2) break;
        uint8_t next = w->bytes[w->at + 1];
        if (next != 0 && (next < 0xd0 || next > 0xd7)) return;
        w->at += 2;
    }
    w->at = w->n;
}

static cf_status end(walk *w)
{
    const jpeg_head *h = w->head;
    if (!w->n_scans) return damaged(w, "it ends without a picture");
    for (int c = 0; c < h->n_components; c++)
        if (!w->seen[c]) return damaged(w, "it ends without one of its components");
    w->head->followed = jpeg_is_one(w->bytes + w->at, w->n - w->at);
    return CF_OK;
}

/* One segment with its length; `at` stands on the length. */
static cf_status segment(walk *w, unsigned marker)
{
    if (w->n - w->at < 2) return damaged(w, "the data ends early");
    size_t length = big16(w->bytes + w->at);
    if (length < 2 || length > w->n - w->at) return damaged(w, "the data ends early");
    const uint8_t *p = w->bytes + w->at + 2;
    w->at += length;
    length -= 2;
    if (marker == 0xe1 && w->head->orientation == 1)
        w->head->orientation = exif_orientation(p, length);
    if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc)
        return frame_header(w, marker, p, length);
    if (marker != 0xda) return CF_OK;
    CF_TRY(scan_header(w, p, length));
    skip_entropy_coded(w);
    return CF_OK;
}

cf_status jpeg_head_read(jpeg_head *out, const uint8_t *bytes, size_t n, const char *what)
{
    if (!jpeg_is_one(bytes, n)) return CF_FAIL(CF_EFORMAT, "%s: not a JPEG (%zu bytes)", what, n);
    jpeg_head head = { .orientation = 1 };
    walk w = { .bytes = bytes, .n = n, .at = 2, .what = what, .head = &head };
    for (;;) {
        if (w.n - w.at < 2) return damaged(&w, "the data ends early");
        if (bytes[w.at] != 0xff) return damaged(&w, "no marker where one must be");
        unsigned marker = bytes[w.at + 1];
        w.at++;
        if (marker == 0xff) continue; /* fill bytes */
        w.at++;
        if (marker == 0xd9) break;
        if (marker == 0x01) continue; /* stands alone */
        if (marker == 0 || (marker >= 0xd0 && marker <= 0xd8))
            return damaged(&w, "a marker out of place");
        CF_TRY(segment(&w, marker));
    }
    CF_TRY(end(&w));
    *out = head;
    return CF_OK;
}
