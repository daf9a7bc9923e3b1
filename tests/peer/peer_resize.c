/* Resizes pictures from standard input for resize_peer.py: records of four int32 (width and height
 * of the source, width and height of the result) and the source's bytes; answers with the result's
 * bytes. */
#include "data/transform.h"

#include <stdio.h>

static cf_status resize_next(bool *more)
{
    cf_status status = CF_OK;
    int32_t size[4];
    uint8_t *in = NULL, *out = NULL;
    cf_resize_scratch scratch = { 0 };
    *more = fread(size, sizeof size, 1, stdin) == 1;
    if (!*more) return CF_OK;
    size_t sw = (size_t)size[0], sh = (size_t)size[1], w = (size_t)size[2], h = (size_t)size[3];
    CF_GO(cf_alloc(&in, sw * sh, 3));
    CF_GO(cf_alloc(&out, w * h, 3));
    CF_GO(cf_resize_reserve(&scratch, w));
    if (fread(in, 3, sw * sh, stdin) != sw * sh) CF_GO(CF_FAIL(CF_EIO, "the picture is cut off"));
    cf_resize(out, (cf_view){ in, sw, sh, 3 * sw }, w, h, (cf_rect){ 0, 0, w, h }, &scratch);
    if (fwrite(out, 3, w * h, stdout) != w * h || fflush(stdout) != 0)
        CF_GO(CF_FAIL(CF_EIO, "nobody reads the result"));
done:
    cf_free(in);
    cf_free(out);
    cf_resize_fini(&scratch);
    return status;
}

int main(void)
{
    for (bool more = true; more;) {
        if (resize_next(&more) == CF_OK) continue;
        fprintf(stderr, "peer_resize: %s\n", cf_error());
        return 1;
    }
    return 0;
}
