/* Times `crossframe predict` from start to answer: a model of random weights as a safetensors file
 * of full size (ViT-B/32, or the architecture given), a made vocabulary of CLIP's size, a short
 * MP4. Everything is in the page cache, as after a first run. CSV on stdout: what, labels, threads,
 * median s, min s; the program's own --times of the last run on stderr.
 *   bench_predict [ARCH] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crossframe/models.h"

#define CHECK(call)                                                                                \
    do {                                                                                           \
        if ((call) != CF_OK) {                                                                     \
            fprintf(stderr, "bench_predict: %s\n", cf_error());                                    \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum { RUNS = 7, MERGES = 48894 };

static void write_weights(const char *path, const char *arch)
{
    cf_xclip_config c;
    cf_xclip *m;
    cf_st_tensor *tensors;
    CHECK(cf_xclip_config_named(&c, arch));
    CHECK(cf_xclip_new(&m, &c));
    cf_params *p = cf_xclip_params(m);
    cf_params_init(p, 1);
    size_t n = cf_params_count(p);
    CHECK(cf_alloc(&tensors, n, sizeof *tensors));
    for (size_t i = 0; i < n; i++) {
        const cf_param *q = cf_params_get(p, i);
        tensors[i] = cf_param_as_st(q, q->tensor.name, q->tensor.data);
    }
    CHECK(cf_st_write(path, tensors, n, NULL, 0));
    cf_free(tensors);
    cf_xclip_free(m);
}

/* Pairs of printable characters and of what they make: as many merges as CLIP has, no two alike. */
static void write_merges(const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f) exit(1);
    fprintf(f, "#version: bench\n");
    int left = MERGES;
    for (int a = '!'; a <= '~'; a++)
        for (int b = '!'; b <= '~' && left > 0; b++, left--) fprintf(f, "%c %c\n", a, b);
    for (int a = '!'; a <= '~'; a++)
        for (int b = '!'; b <= '~'; b++)
            for (int c = '!'; c <= '~' && left > 0; c++, left--) fprintf(f, "%c%c %c\n", a, b, c);
    if (fclose(f) != 0) exit(1);
}

static void write_labels(const char *path, int n)
{
    FILE *f = fopen(path, "w");
    if (!f) exit(1);
    for (int i = 0; i < n; i++) fprintf(f, "label number %d\n", i);
    if (fclose(f) != 0) exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void time_labels(const char *program, const char *folder, int labels)
{
    char command[4096], path[1024];
    double seconds[RUNS];
    snprintf(path, sizeof path, "%s/labels%d", folder, labels);
    write_labels(path, labels);
    for (int i = 0; i < RUNS; i++) {
        snprintf(command, sizeof command,
                 "%s predict %s/video.mp4 --checkpoint %s/w.safetensors --labels %s %s >/dev/null",
                 program, folder, folder, path, i + 1 < RUNS ? "" : "--times");
        double begin = cf_seconds();
        if (system(command) != 0) exit(1);
        seconds[i] = cf_seconds() - begin;
    }
    qsort(seconds, RUNS, sizeof *seconds, compare);
    printf("first_answer,%d,%d,%.3f,%.3f\n", labels, cf_threads(), seconds[RUNS / 2], seconds[0]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *arch = argc > 1 ? argv[1] : "ViT-B/32";
    const char *program = getenv("CROSSFRAME");
    char folder[] = "/tmp/crossframe-bench-XXXXXX", path[1024], command[2048];
    if (!program) program = "build/release/crossframe";
    if (access(program, X_OK) != 0 || !mkdtemp(folder)) {
        fprintf(stderr, "bench_predict: there is no program %s, or no room in /tmp\n", program);
        return 1;
    }
    snprintf(command, sizeof command,
             "ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=25:duration=10 "
             "-pix_fmt yuv420p %s/video.mp4",
             folder);
    if (system(command) != 0) return 1;
    snprintf(path, sizeof path, "%s/w.safetensors", folder);
    write_weights(path, arch);
    snprintf(path, sizeof path, "%s/merges.txt", folder);
    write_merges(path);
    printf("what,labels,threads,median_s,min_s\n");
    time_labels(program, folder, 5);
    time_labels(program, folder, 400);
    snprintf(command, sizeof command, "rm -rf -- %s", folder);
    return system(command) != 0;
}
