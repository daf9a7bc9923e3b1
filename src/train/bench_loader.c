/* Timed epochs of the loader over a small pack of drawn JPEG frames. */
#include "train/bench_pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "crossframe/bench.h"

enum { HEIGHT = 256, WIDTH = 340, VIDEOS = 32, FRAMES = 24, EPOCHS = 5 };

/* Smooth areas, edges and grain, moving: JPEG needs about 22 kB a frame for it at quality 90. */
void cf_bench_draw(uint8_t *out, size_t width, size_t height, size_t video, size_t frame)
{
    uint32_t noise = (uint32_t)(video * 7919 + frame * 104729 + 1);
    size_t shift = frame * 3 + video * 17;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++, out += 3) {
            size_t u = x + shift, v = y + shift / 2;
            uint32_t base = (uint32_t)(u * 2 + v), box = (u / 40 + v / 28) % 3 * 40;
            noise = noise * 1664525u + 1013904223u;
            uint32_t grain = (noise >> 28) & 7;
            out[0] = (uint8_t)(40 + base % 128 / 2 + box + grain);
            out[1] = (uint8_t)(60 + v % 96 / 2 + box / 2 + grain);
            out[2] = (uint8_t)(50 + u % 192 / 3 + (80 - box) / 2 + grain);
        }
}

cf_status cf_bench_pack(const char *path, cf_encoding encoding, size_t videos, size_t frames,
                        size_t width, size_t height)
{
    static const char *const classes[] = { "one", "two" };
    const cf_pack_options o = {
        .encoding = encoding, .png_level = 6, .quality = 90, .class_name = classes, .n_classes = 2
    };
    cf_status status = CF_OK;
    cf_pack_writer *w = NULL;
    uint8_t *pixels;
    size_t size = width * height * 3;
    CF_TRY(cf_alloc(&pixels, frames, size));
    CF_GO(cf_pack_writer_new(&w, path, &o));
    for (size_t v = 0; v < videos; v++) {
        char name[32];
        snprintf(name, sizeof name, "video%zu", v);
        for (size_t f = 0; f < frames; f++) cf_bench_draw(pixels + f * size, width, height, v, f);
        CF_GO(cf_pack_writer_add(w, name, (int32_t)(v % 2), 25, pixels, frames, height, width));
    }
    cf_pack_writer *whole = w;
    w = NULL;
    CF_GO(cf_pack_writer_commit(whole));
done:
    cf_pack_writer_abort(w);
    cf_free(pixels);
    return status;
}

cf_loader_options cf_bench_training(size_t T, size_t batch, size_t size, int workers)
{
    return (cf_loader_options){ .T = T,
                                .batch = batch,
                                .augment = { size, true, .5, .8, .2 },
                                .training = true,
                                .shuffle = true,
                                .label_smooth = .1,
                                .mixup = .8,
                                .cutmix = 1,
                                .mix_switch = .5,
                                .seed = 1,
                                .workers = workers,
                                .n_classes = 2 };
}

static cf_status time_epochs(double *videos_per_second, const cf_dataset *d, size_t T, size_t size,
                             int workers)
{
    const cf_loader_options o = cf_bench_training(T, 8, size, workers > 0 ? workers : cf_threads());
    cf_loader *l = NULL;
    const cf_batch *b;
    double seconds[EPOCHS];
    cf_status status = CF_OK;
    CF_TRY(cf_loader_new(&l, d, &o));
    for (int epoch = -1; epoch < EPOCHS; epoch++) { /* the first one touches the memory */
        double start = cf_seconds();
        CF_GO(cf_loader_start(l, (uint32_t)(epoch + 1), 0));
        do CF_GO(cf_loader_next(&b, l));
        while (b);
        if (epoch >= 0) seconds[epoch] = (cf_seconds() - start) / VIDEOS;
    }
    *videos_per_second = 1 / cf_bench_summary(seconds, EPOCHS).median;
done:
    cf_loader_free(l);
    return status;
}

cf_status cf_bench_loader(double *videos_per_second, const char *folder, size_t T, size_t size,
                          int workers)
{
    char *own = NULL, *path = NULL;
    cf_dataset *d = NULL;
    cf_status status = CF_OK;
    CF_TRY(cf_format(&own, "%s/crossframe-bench-XXXXXX", folder));
    if (!mkdtemp(own)) {
        status = CF_FAIL(CF_EIO, "cannot make a folder like %s", own);
        cf_free(own);
        return status;
    }
    CF_GO(cf_path_join(&path, own, "train.h5"));
    CF_GO(cf_bench_pack(path, CF_ENCODING_JPEG, VIDEOS, FRAMES, WIDTH, HEIGHT));
    CF_GO(cf_dataset_open(&d, path, ""));
    CF_GO(time_epochs(videos_per_second, d, T, size, workers));
done:
    cf_dataset_free(d);
    if (path) unlink(path);
    rmdir(own);
    cf_free(path);
    cf_free(own);
    return status;
}
