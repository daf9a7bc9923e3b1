/* Any bytes as a PNG: refused with one line, or a whole picture. A second time with the
 * checksums of all chunks made right, without which hardly a mutation gets past the first of
 * them. */
#include "crossframe/data.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static uint32_t number_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void mend_checksums(uint8_t *bytes, size_t n)
{
    for (size_t at = 8; n - at >= 12;) { /* length, name, data, checksum */
        size_t length = number_at(bytes + at);
        if (length > n - at - 12) return;
        uLong crc = crc32(crc32(0, NULL, 0), bytes + at + 4, (uInt)length + 4);
        for (int i = 0; i < 4; i++)
            bytes[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += length + 12;
    }
}

static void decode(const uint8_t *bytes, size_t n)
{
    cf_picture p = { 0 };
    if (cf_png_decode(&p, bytes, n, "fuzz") == CF_OK) {
        volatile uint8_t sum = 0; /* every pixel is there to be read */
        for (size_t i = 0; i < p.height * p.width * 3; i++) sum = (uint8_t)(sum + p.pixels[i]);
    } else {
        CF_ASSERT(strncmp(cf_error(), "fuzz: ", 6) == 0);
    }
    CF_ASSERT(p.capacity <= 3 * ((size_t)1 << 26));
    cf_picture_fini(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    decode(bytes, n);
    uint8_t *mended = n > 8 ? malloc(n) : NULL;
    if (mended) {
        memcpy(mended, bytes, n);
        mend_checksums(mended, n);
        decode(mended, n);
        free(mended);
    }
    return 0;
}
