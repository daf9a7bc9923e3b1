/* bench_media: decoding on one core. CSV: what, frames a second (best of five). JPEG frames of
 * 256 x 340; a video made by the ffmpeg program (left out without it), beside that program's own
 * decoding of it. */
#include "crossframe/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { H = 256, W = 340, RUNS = 5 };

static cf_status fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, cf_error());
    exit(1);
}

static cf_status count(void *user, int64_t frame, const cf_picture *p)
{
    (void)p;
    *(int64_t *)user = frame + 1;
    return CF_OK;
}

/* Smooth with some noise: about 30 KB at quality 90. */
static void fill(uint8_t *pixels)
{
    cf_rng r = cf_rng_make(1, CF_RNG_TEST, 0, 0);
    for (size_t i = 0; i < H * W * 3; i++)
        pixels[i] =
            (uint8_t)(100 + 50 * (i / 3 % W) / W + 40 * (i / (3 * W)) / H + cf_rng_below(&r, 24));
}

static void jpeg(int quality)
{
    enum { FRAMES = 100 };
    static uint8_t pixels[H * W * 3];
    uint8_t *bytes;
    size_t n;
    double decode = 1e9, encode = 1e9;
    cf_picture p = { 0 };
    fill(pixels);
    if (cf_jpeg_encode(&bytes, &n, pixels, H, W, quality)) fail("jpeg");
    for (int run = 0; run < RUNS; run++) {
        double start = cf_seconds();
        for (int i = 0; i < FRAMES; i++)
            if (cf_jpeg_decode(&p, bytes, n, "frame")) fail("jpeg");
        double middle = cf_seconds();
        for (int i = 0; i < FRAMES; i++) {
            cf_free(bytes);
            if (cf_jpeg_encode(&bytes, &n, pixels, H, W, quality)) fail("jpeg");
        }
        if (middle - start < decode) decode = middle - start;
        if (cf_seconds() - middle < encode) encode = cf_seconds() - middle;
    }
    printf("jpeg decode quality %d (%zu bytes),%.0f\n", quality, n, FRAMES / decode);
    printf("jpeg encode quality %d,%.0f\n", quality, FRAMES / encode);
    cf_free(bytes);
    cf_picture_fini(&p);
}

static void video(const char *folder, const char *encoder)
{
    char path[200], command[600];
    double count_s = 1e9, read_s = 1e9, theirs_s = 1e9;
    int64_t n = 0;
    snprintf(path, sizeof path, "%s/%s.mp4", folder, encoder);
    snprintf(command, sizeof command,
             "ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=size=%dx%d:rate=25:duration=12 "
             "-c:v %s -pix_fmt yuv420p %s",
             W, H, encoder, path);
    if (system(command) != 0) return;
    snprintf(command, sizeof command,
             "ffmpeg -nostdin -v error -threads 1 -filter_threads 1 -i %s -pix_fmt rgb24 -f null "
             "-sws_flags accurate_rnd+full_chroma_int+bitexact+bilinear -",
             path);
    for (int run = 0; run < RUNS; run++) {
        cf_media *m;
        double start = cf_seconds(), opened;
        if (cf_media_open(&m, path) || cf_media_count(&n, m)) fail(path);
        if (cf_seconds() - start < count_s) count_s = cf_seconds() - start;
        opened = cf_seconds();
        if (cf_media_read(m, NULL, 0, count, &n)) fail(path);
        if (cf_seconds() - opened < read_s) read_s = cf_seconds() - opened;
        cf_media_close(m);
        start = cf_seconds();
        if (system(command) != 0) fail(path);
        if (cf_seconds() - start < theirs_s) theirs_s = cf_seconds() - start;
    }
    printf("%s count,%.0f\n%s to RGB,%.0f\n%s to RGB by the ffmpeg program,%.0f\n", encoder,
           (double)n / count_s, encoder, (double)n / read_s, encoder, (double)n / theirs_s);
}

int main(void)
{
    char folder[] = "/tmp/bench-media-XXXXXX", command[60];
    printf("media %d x %d on one core,frames/s\n", H, W);
    jpeg(75);
    jpeg(95);
    if (!mkdtemp(folder)) return 1;
    video(folder, "libx264");
    video(folder, "mpeg4");
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0;
}
