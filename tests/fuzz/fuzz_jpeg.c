/* Any bytes as a JPEG: refused with one line, or a whole picture, twice the same. */
#include "crossframe/data.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static uint64_t decode(bool *decoded, const uint8_t *bytes, size_t n)
{
    cf_picture p = { 0 };
    uint64_t sum = 0;
    *decoded = cf_jpeg_decode(&p, bytes, n, "fuzz") == CF_OK;
    if (*decoded)
        sum = cf_hash64(p.pixels, p.height * p.width * 3);
    else
        CF_ASSERT(strncmp(cf_error(), "fuzz: ", 6) == 0);
    CF_ASSERT(p.capacity / 3 / 512 <= n);
    cf_picture_fini(&p);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    bool first, second;
    uint64_t a = decode(&first, bytes, n), b = decode(&second, bytes, n);
    CF_ASSERT(first == second && a == b);
    return 0;
}
