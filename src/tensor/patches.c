/* Pictures to rows of patches and back. Picture [3, size, size]; patch (py, px) is row py g + px,
 * g = size / patch; its columns run over channel, y, x. */
#include "kernel.h"

/* Some pixels of a line; the published patches are known when compiled. */
CF_INLINE void copy_pixels(cf_real *restrict to, const cf_real *restrict from, size_t n)
{
    for (size_t x = 0; x < n; x++) to[x] = from[x];
}

/* One row of patches: g patches, 3 patch^2 columns each. */
CF_INLINE void read_patches(cf_real *rows, const cf_real *picture, size_t size, const size_t patch)
{
    size_t g = size / patch, width = 3 * patch * patch;
    for (size_t c = 0; c < 3; c++)
        for (size_t y = 0; y < patch; y++) {
            const cf_real *line = picture + (c * size + y) * size;
            cf_real *to = rows + (c * patch + y) * patch;
            for (size_t px = 0; px < g; px++)
                copy_pixels(to + px * width, line + px * patch, patch);
        }
}

CF_KERNEL static void patch_row_read(cf_real *rows, const cf_real *picture, size_t size,
                                     size_t patch)
{
    if (patch == 32)
        read_patches(rows, picture, size, 32);
    else if (patch == 16)
        read_patches(rows, picture, size, 16);
    else if (patch == 14)
        read_patches(rows, picture, size, 14);
    else
        read_patches(rows, picture, size, patch);
}

CF_KERNEL static void patch_row_add(cf_real *picture, const cf_real *rows, size_t size,
                                    size_t patch)
{
    size_t g = size / patch, width = 3 * patch * patch;
    for (size_t c = 0; c < 3; c++)
        for (size_t y = 0; y < patch; y++) {
            cf_real *line = picture + (c * size + y) * size;
            const cf_real *from = rows + (c * patch + y) * patch;
            for (size_t px = 0; px < g; px++)
                for (size_t x = 0; x < patch; x++) line[px * patch + x] += from[px * width + x];
        }
}

void cf_im2col(cf_real *rows, size_t pitch, const cf_real *pictures, size_t frames, size_t size,
               size_t patch)
{
    size_t g = size / patch, width = 3 * patch * patch;
#pragma omp parallel for schedule(static) if (frames * g * g * width >= CF_PARALLEL_MIN)
    for (size_t t = 0; t < frames * g; t++)
        patch_row_read(rows + t / g * pitch + t % g * g * width,
                       pictures + t / g * 3 * size * size + t % g * patch * size, size, patch);
}

void cf_col2im_add(cf_real *pictures, const cf_real *rows, size_t pitch, size_t frames, size_t size,
                   size_t patch)
{
    size_t g = size / patch, width = 3 * patch * patch;
#pragma omp parallel for schedule(static) if (frames * g * g * width >= CF_PARALLEL_MIN)
    for (size_t t = 0; t < frames * g; t++)
        patch_row_add(pictures + t / g * 3 * size * size + t % g * patch * size,
                      rows + t / g * pitch + t % g * g * width, size, patch);
}
