/* Packs of drawn videos, for measuring: what bench_loader.c here and in bench/ read. */
#ifndef CROSSFRAME_TRAIN_BENCH_PACK_H
#define CROSSFRAME_TRAIN_BENCH_PACK_H

#include "crossframe/data.h"

/* Frame `frame` of video `video`, 3 bytes a pixel. */
void cf_bench_draw(uint8_t *out, size_t width, size_t height, size_t video, size_t frame);
/* Two classes in turn. */
cf_status cf_bench_pack(const char *path, cf_encoding encoding, size_t videos, size_t frames,
                        size_t width, size_t height);
/* The published augmentation in training, of such packs. */
cf_loader_options cf_bench_training(size_t T, size_t batch, size_t size, int workers);

#endif
