/* What the tests of the loader share: two packs of the same videos' shapes, one of them in families
 * of classes, options, and fingerprints of batches. */
#ifndef CROSSFRAME_LOADER_HELP_H
#define CROSSFRAME_LOADER_HELP_H

#include "dataset_help.h"
#include "synthetic.h"

#include "data/batch.h"

enum { T = 3, S = 16, FRAME = 3 * S * S, N_VIDEOS = 47, N_CLASSES = 6 };

static char *folder, *plain, *families;
static const int32_t family_of[N_CLASSES] = { 7, 7, 3, 3, 3, 9 };

static inline void write_pack(const char *path, cf_encoding encoding, const int32_t *family,
                              size_t n, size_t side)
{
    static const char *const classes[N_CLASSES] = { "a", "b", "c", "d", "e", "f" };
    cf_pack_options o = {
        .encoding = encoding, .class_name = classes, .class_family = family, .n_classes = N_CLASSES
    };
    cf_pack_writer *w;
    cf_rng rng = cf_rng_make(3, CF_RNG_TEST, 0, n);
    assert_ok(cf_pack_writer_new(&w, path, &o));
    for (size_t v = 0; v < n; v++) {
        char name[40];
        size_t frames = side ? T : 1 + v % 9;
        size_t width = side ? side : 17 + v % 5 * 6, height = side ? side : 20 + v % 3 * 7;
        uint8_t *pixels = random_picture(&rng, width, height * frames);
        snprintf(name, sizeof name, "v%zu.mp4", v);
        assert_ok(cf_pack_writer_add(w, name, (int32_t)((v * v + v / 6) % N_CLASSES), 25, pixels,
                                     frames, height, width));
        free(pixels);
    }
    assert_ok(cf_pack_writer_commit(w));
}

static inline int setup(void **state)
{
    (void)state;
    folder = test_folder_new();
    assert_ok(cf_path_join(&plain, folder, "plain.h5"));
    assert_ok(cf_path_join(&families, folder, "families.h5"));
    write_pack(plain, CF_ENCODING_RAW, NULL, N_VIDEOS, 0);
    write_pack(families, CF_ENCODING_PNG, family_of, N_VIDEOS, 0);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    test_folder_remove(folder);
    cf_free(plain);
    cf_free(families);
    return 0;
}

static inline cf_loader_options training(size_t batch, int workers)
{
    return (cf_loader_options){ .T = T,
                                .batch = batch,
                                .augment = { S, true, .5, .8, .2 },
                                .training = true,
                                .shuffle = true,
                                .label_smooth = .1,
                                .mixup = .8,
                                .cutmix = 1,
                                .mix_switch = .5,
                                .seed = 1024,
                                .workers = workers,
                                .n_classes = N_CLASSES };
}

static inline cf_loader_options testing(size_t batch, size_t clips, size_t crops)
{
    return (cf_loader_options){ .T = T,
                                .batch = batch,
                                .augment = { .size = S, .multi_scale_crop = true },
                                .clips = clips,
                                .crops = crops,
                                .workers = 2,
                                .n_classes = N_CLASSES };
}

static inline uint64_t fingerprint(const cf_batch *b)
{
    size_t n_video = b->n * b->views * b->T * 3 * b->size * b->size;
    uint64_t parts[] = { b->n,
                         b->n_columns,
                         b->views,
                         cf_hash64(b->video, n_video * sizeof *b->video),
                         b->target ? cf_hash64(b->target, b->n * b->n_columns * sizeof *b->target)
                                   : 0,
                         cf_hash64(b->class_id, b->n_columns * sizeof *b->class_id),
                         cf_hash64(b->index, b->n * sizeof *b->index),
                         cf_hash64(b->label, b->n * sizeof *b->label) };
    return cf_hash64(parts, sizeof parts);
}

static inline size_t read_epoch(uint64_t *prints, cf_loader *l)
{
    size_t n = 0;
    for (const cf_batch *b;; n++) {
        assert_ok(cf_loader_next(&b, l));
        if (!b) break;
        prints[n] = fingerprint(b);
    }
    return n;
}

/* Spoils the signatures of some videos' frames in a copy of the png pack. */
static inline char *spoiled_pack(const bool *bad)
{
    char *path, *bytes, *at;
    size_t n, frame = 0;
    cf_pack *p;
    assert_ok(cf_path_join(&path, folder, "spoiled.h5"));
    assert_ok(cf_file_read(&bytes, &n, families));
    assert_ok(cf_pack_open(&p, families));
    at = bytes;
    for (size_t v = 0; v < N_VIDEOS; v++) {
        cf_pack_video video = cf_pack_video_get(p, v);
        for (int64_t f = 0; f < video.n_frames; f++, frame++, at++) {
            at = memmem(at, n - (size_t)(at - bytes), "\211PNG\r\n\032\n", 8);
            assert_non_null(at);
            if (bad[v]) at[0] = 0;
        }
    }
    cf_pack_free(p);
    assert_ok(cf_file_write(path, bytes, n));
    cf_free(bytes);
    return path;
}

#endif
