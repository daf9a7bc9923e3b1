/* IDX files, the format of MNIST and Fashion-MNIST: big-endian magic number, sizes, then bytes.
 *
 *   images  00 00 08 03, n, height, width (u32 each), n * height * width bytes
 *   labels  00 00 08 01, n, n bytes
 *
 * Files may be gzip-compressed. The length must fit the sizes to the byte: a truncated download and
 * a foreign file are refused with the file's name and both numbers. */
#include "crossframe/motion.h"

#include <string.h>

enum { IDX_LIMIT_BYTES = 1 << 30, IDX_LARGEST_EDGE = 1024 };

static uint32_t big_endian(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Payload of a file with `rank` sizes: *out owns the file's bytes, the payload starts at 4 + 4 *
 * rank. */
static cf_status read_sizes(char **out, uint32_t *size, int rank, const char *path)
{
    char *bytes = NULL;
    size_t n = 0;
    CF_TRY(cf_file_read_gz(&bytes, &n, path, IDX_LIMIT_BYTES));
    const uint8_t *b = (const uint8_t *)bytes;
    size_t header = 4 + 4 * (size_t)rank, payload = 1;
    cf_status status = CF_OK;
    if (n < header || b[0] != 0 || b[1] != 0 || b[2] != 8 || b[3] != rank) {
        status = CF_FAIL(CF_EFORMAT, "%s: not an IDX file of bytes with %d dimension%s", path, rank,
                         rank == 1 ? "" : "s");
        goto done;
    }
    for (int i = 0; i < rank; i++) {
        size[i] = big_endian(b + 4 + 4 * i);
        CF_GO(cf_mul_size(&payload, payload, size[i]));
    }
    if (n - header != payload) {
        status = CF_FAIL(CF_EFORMAT, "%s: %zu bytes after the header, its sizes ask for %zu%s",
                         path, n - header, payload, n - header < payload ? " (truncated)" : "");
        goto done;
    }
    *out = bytes;
    bytes = NULL;
done:
    cf_free(bytes);
    return status;
}

cf_status cf_idx_read(cf_idx_pictures *out, const char *images_path, const char *labels_path)
{
    char *images = NULL, *labels = NULL;
    uint32_t size[3] = { 0 }, n_labels = 0;
    cf_status status = CF_OK;
    CF_GO(read_sizes(&images, size, 3, images_path));
    CF_GO(read_sizes(&labels, &n_labels, 1, labels_path));
    if (n_labels != size[0]) {
        status = CF_FAIL(CF_EFORMAT, "%s: %u labels for the %u pictures of %s", labels_path,
                         n_labels, size[0], images_path);
        goto done;
    }
    if (size[0] == 0 || size[1] == 0 || size[2] == 0 || size[1] > IDX_LARGEST_EDGE ||
        size[2] > IDX_LARGEST_EDGE) {
        status = CF_FAIL(CF_EFORMAT, "%s: %u pictures of %u x %u", images_path, size[0], size[1],
                         size[2]);
        goto done;
    }
    size_t bytes = (size_t)size[0] * size[1] * size[2];
    memmove(images, images + 16, bytes);
    memmove(labels, labels + 8, n_labels);
    *out = (cf_idx_pictures){ .pixels = (uint8_t *)images,
                              .labels = (uint8_t *)labels,
                              .n = size[0],
                              .height = size[1],
                              .width = size[2] };
    return CF_OK;
done:
    cf_free(images);
    cf_free(labels);
    return status;
}

void cf_idx_fini(cf_idx_pictures *p)
{
    cf_free(p->pixels);
    cf_free(p->labels);
    *p = (cf_idx_pictures){ 0 };
}
