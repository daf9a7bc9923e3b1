/* Times the loader at the shape of ViT-B/32: clips of 8 frames of 256 x 340, full augmentation, to
 * 224 x 224, from packs it makes for itself: raw, PNG and JPEG frames. CSV on stdout: what, size,
 * threads, median s, min s, mean CPU s (which other programs hardly change), videos per CPU second.
 *
 *   bench_loader [VIDEOS]     of the pack for random reading (20000)
 *
 *   clip      one video by one thread, everything but mixing
 *   read      its 8 frames, decoded;  what follows are the steps after it, of 8 frames
 *   loader    an epoch of micro-batches of 8 with mixup and cutmix, one worker thread
 *   random    8 frames of a random video of many small ones, raw, in page cache */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "data/batch.h"
#include "train/bench_pack.h"

#define CHECK(call)                                                                                \
    do {                                                                                           \
        if ((call) != CF_OK) {                                                                     \
            fprintf(stderr, "bench_loader: %s\n", cf_error());                                     \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum { T = 8, WIDTH = 340, HEIGHT = 256, S = 224, BATCH = 8, VIDEOS = 24, FRAMES = 24, RUNS = 48 };
enum { SMALL = 32, SMALL_FRAMES = 12 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* CPU time of all threads. */
static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* seconds: one entry a video; cpu: of one video */
static void report(const char *what, const char *size, int threads, double *seconds, int n,
                   double cpu)
{
    qsort(seconds, (size_t)n, sizeof *seconds, compare);
    printf("%s,%s,%d,%.6f,%.6f,%.6f,%.1f\n", what, size, threads, seconds[n / 2], seconds[0], cpu,
           1 / cpu);
    fflush(stdout);
}

/* ---- measurements ---------------------------------------------------------------------------- */

static cf_status ignore(void *user, int64_t frame, const cf_picture *p)
{
    (void)user, (void)frame, (void)p;
    return CF_OK;
}

/* Every `num` / `den`-th frame. */
static void read_frames(cf_video_reader *r, size_t video, int64_t num, int64_t den)
{
    int64_t n, frame[T];
    for (int64_t f = 0; f < T; f++) frame[f] = f * num / den;
    CHECK(cf_video_reader_open(&n, r, video));
    CHECK(cf_video_reader_read(r, frame, T, ignore, NULL));
}

static void bench_clip(const cf_dataset *d, const char *encoding)
{
    cf_loader_options o = cf_bench_training(T, BATCH, S, 1);
    cf_clip_reader r;
    float *out;
    double whole[RUNS], read[RUNS], cpu[2] = { 0 };
    CHECK(cf_clip_reader_init(&r, d, &o));
    CHECK(cf_alloc(&out, (size_t)T * 3 * S * S, sizeof *out));
    for (int run = -VIDEOS; run < RUNS; run++) { /* the first ones fill the page cache */
        size_t video = (size_t)(run + VIDEOS) % VIDEOS;
        double start = cf_seconds(), cpu_start = cpu_seconds();
        CHECK(cf_clip_read(out, &r, video, video, (uint32_t)(run + VIDEOS)));
        if (run >= 0) whole[run] = cf_seconds() - start, cpu[0] += cpu_seconds() - cpu_start;
        start = cf_seconds();
        cpu_start = cpu_seconds();
        read_frames(r.videos, video, 3, 1);
        if (run >= 0) read[run] = cf_seconds() - start, cpu[1] += cpu_seconds() - cpu_start;
    }
    char size[64];
    snprintf(size, sizeof size, "%s %dx%dx%d", encoding, T, HEIGHT, WIDTH);
    report("clip", size, 1, whole, RUNS, cpu[0] / RUNS);
    report("read", size, 1, read, RUNS, cpu[1] / RUNS);
    cf_free(out);
    cf_clip_reader_fini(&r);
}

static void bench_loader(const cf_dataset *d, const char *encoding)
{
    cf_loader_options o = cf_bench_training(T, BATCH, S, 1);
    cf_loader *l;
    const cf_batch *b;
    double seconds[6], cpu = 0;
    CHECK(cf_loader_new(&l, d, &o));
    for (uint32_t epoch = 0; epoch < 6; epoch++) {
        double start = cf_seconds(), cpu_start = cpu_seconds();
        CHECK(cf_loader_start(l, epoch, 0));
        do CHECK(cf_loader_next(&b, l));
        while (b);
        seconds[epoch] = (cf_seconds() - start) / VIDEOS;
        if (epoch > 0)
            cpu += (cpu_seconds() - cpu_start) / VIDEOS / 5; /* the first touches memory */
    }
    char size[64];
    snprintf(size, sizeof size, "%s batch %d", encoding, BATCH);
    report("loader", size, 1, seconds, 6, cpu);
    cf_loader_free(l);
}

/* One of the steps after reading, on 8 frames. */
enum { RESIZE, PLANES, BRIGHTNESS, CONTRAST, SATURATION, HUE, GRAY, NORMALIZE, STAGES };
static const char *const stage_name[STAGES] = { "resize",     "planes", "brightness", "contrast",
                                                "saturation", "hue",    "gray",       "normalize" };

static void run_stage(int stage, cf_transform *t, const uint8_t *frame, float *out)
{
    const cf_view crop = { frame + 3 * (16 * WIDTH + 29), 224, 192, 3 * WIDTH };
    const size_t n = S * S;
    switch (stage) {
    case RESIZE: cf_resize(t->sized, crop, S, S, (cf_rect){ 0, 0, S, S }, &t->resize); break;
    case PLANES: cf_planes(t->planes, (cf_view){ t->sized, S, S, 3 * S }, true); break;
    case BRIGHTNESS: cf_color_brightness(t->planes, n, 1.1f); break;
    case CONTRAST: cf_color_contrast(t->planes, n, .9f); break;
    case SATURATION: cf_color_saturation(t->planes, n, 1.1f); break;
    case HUE: cf_color_hue(t->planes, n, .05f); break;
    case GRAY: cf_color_gray(t->planes, n); break;
    case NORMALIZE: cf_normalize(out, t->planes, n); break;
    }
}

static void bench_stages(void)
{
    cf_transform t;
    uint8_t *frame;
    float *out;
    CHECK(cf_transform_init(&t, S));
    CHECK(cf_alloc(&frame, (size_t)WIDTH * HEIGHT, 3));
    CHECK(cf_alloc(&out, (size_t)3 * S * S, sizeof *out));
    cf_bench_draw(frame, WIDTH, HEIGHT, 1, 2);
    for (int stage = 0; stage < STAGES; stage++) {
        double seconds[RUNS], cpu_start = cpu_seconds();
        for (int run = 0; run < RUNS; run++) {
            double start = cf_seconds();
            for (int f = 0; f < T; f++) run_stage(stage, &t, frame, out);
            seconds[run] = cf_seconds() - start;
        }
        report(stage_name[stage], "8x224x224", 1, seconds, RUNS,
               (cpu_seconds() - cpu_start) / RUNS);
    }
    cf_free(out);
    cf_free(frame);
    cf_transform_fini(&t);
}

static void bench_random(const char *folder, size_t videos)
{
    enum { READS = 4000 };
    static double seconds[READS];
    cf_dataset *d;
    char *path;
    cf_video_reader *r;
    cf_rng rng = cf_rng_make(1, CF_RNG_TEST, 0, 0);
    CHECK(cf_path_join(&path, folder, "many.h5"));
    CHECK(cf_bench_pack(path, CF_ENCODING_RAW, videos, SMALL_FRAMES, SMALL, SMALL));
    CHECK(cf_dataset_open(&d, path, ""));
    CHECK(cf_video_reader_new(&r, d));
    double cpu_start = cpu_seconds();
    for (int i = 0; i < READS; i++) {
        size_t video = cf_rng_below(&rng, (uint32_t)videos);
        double start = cf_seconds();
        read_frames(r, video, 3, 2);
        seconds[i] = cf_seconds() - start;
    }
    char size[64];
    snprintf(size, sizeof size, "8 frames of %d of %zu videos", SMALL_FRAMES, videos);
    report("random", size, 1, seconds, READS, (cpu_seconds() - cpu_start) / READS);
    cf_video_reader_free(r);
    cf_dataset_free(d);
    unlink(path);
    cf_free(path);
}

int main(int argc, char **argv)
{
    static const char *const name[] = { "raw", "png", "jpeg" };
    const char *base = getenv("TMPDIR");
    char *folder;
    CHECK(cf_format(&folder, "%s/crossframe-bench-XXXXXX", base && *base ? base : "/tmp"));
    if (!mkdtemp(folder)) {
        fprintf(stderr, "bench_loader: cannot make a folder like %s\n", folder);
        return 1;
    }
    printf("what,size,threads,median_s,min_s,cpu_s,videos_per_cpu_s\n");
    for (cf_encoding e = CF_ENCODING_RAW; e <= CF_ENCODING_JPEG; e++) {
        cf_dataset *d;
        char *path;
        CHECK(cf_path_join(&path, folder, name[e]));
        CHECK(cf_bench_pack(path, e, VIDEOS, FRAMES, WIDTH, HEIGHT));
        CHECK(cf_dataset_open(&d, path, ""));
        bench_clip(d, name[e]);
        bench_loader(d, name[e]);
        cf_dataset_free(d);
        unlink(path);
        cf_free(path);
    }
    bench_stages();
    bench_random(folder, argc > 1 ? (size_t)atoi(argv[1]) : 20000);
    rmdir(folder);
    cf_free(folder);
    return 0;
}
