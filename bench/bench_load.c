/* Times loading weights into an X-CLIP of their size: for each file given, or for a ViT-B/32 that
 * is written first (float32 safetensors, in the current folder, removed again). The file is in the
 * page cache; the model's memory is there before. CSV on stdout: file, container, megabytes,
 * threads, median and smallest seconds to open and load, seconds of processor time, GB/s, and the
 * largest memory beyond the model's block in percent of the file (its mapped pages count). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "crossframe/models.h"

#define CHECK(call)                                                                                \
    do {                                                                                           \
        if ((call) != CF_OK) {                                                                     \
            fprintf(stderr, "bench_load: %s\n", cf_error());                                       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum { RUNS = 7 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A line of /proc/self/status in bytes. */
static double memory(const char *what)
{
    char line[256];
    double kilobytes = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, what, strlen(what)) == 0) kilobytes = atof(line + strlen(what));
    if (f) fclose(f);
    return kilobytes * 1024;
}

/* The peak starts anew: another file's is not this one's. */
static void forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f) return;
    fputs("5", f);
    fclose(f);
}

static double load_once(cf_xclip *m, const char *path, char container[64])
{
    cf_weights *w;
    cf_load_counts counts;
    double start = cf_seconds();
    CHECK(cf_weights_open_model(&w, path));
    CHECK(cf_xclip_load(&counts, m, w, true));
    double seconds = cf_seconds() - start;
    snprintf(container, 64, "%s", cf_weights_container(w));
    cf_weights_close(w);
    return seconds;
}

static void bench_file(const char *path)
{
    cf_weights *w;
    cf_xclip_config c;
    cf_xclip *m;
    struct stat info;
    double seconds[RUNS];
    char container[64];
    CHECK(cf_weights_open_model(&w, path));
    CHECK(cf_xclip_config_from_file(&c, w));
    cf_weights_close(w);
    if (c.frames == 0) c.frames = 8;
    CHECK(cf_xclip_new(&m, &c));
    load_once(m, path, container); /* touches the block */
    forget_peak();
    double before = memory("VmRSS:");
    clock_t busy = clock();
    for (int i = 0; i < RUNS; i++) seconds[i] = load_once(m, path, container);
    busy = clock() - busy;
    double more = memory("VmHWM:") - before;
    qsort(seconds, RUNS, sizeof *seconds, compare);
    if (stat(path, &info) != 0) info.st_size = 0;
    double bytes = (double)info.st_size;
    printf("%s,%s,%.1f,%d,%.3f,%.3f,%.3f,%.2f,%.1f\n", path, container, bytes * 1e-6, cf_threads(),
           seconds[RUNS / 2], seconds[0], (double)busy / CLOCKS_PER_SEC / RUNS,
           bytes / seconds[RUNS / 2] * 1e-9, 100 * more / bytes);
    cf_xclip_free(m);
}

static void write_model(const char *path)
{
    cf_xclip_config c;
    cf_xclip *m;
    cf_st_tensor *tensors;
    CHECK(cf_xclip_config_named(&c, "ViT-B/32"));
    CHECK(cf_xclip_new(&m, &c));
    cf_params *params = cf_xclip_params(m);
    cf_params_init(params, 1);
    size_t n = cf_params_count(params);
    CHECK(cf_alloc(&tensors, n, sizeof *tensors));
    for (size_t i = 0; i < n; i++) {
        const cf_param *p = cf_params_get(params, i);
        tensors[i] = cf_param_as_st(p, p->tensor.name, p->tensor.data);
    }
    CHECK(cf_st_write(path, tensors, n, NULL, 0));
    cf_free(tensors);
    cf_xclip_free(m);
}

int main(int argc, char **argv)
{
    static const char written[] = "bench_load.safetensors";
    printf("file,container,mb,threads,median_s,min_s,cpu_s,gb_s,memory_percent_of_file\n");
    fflush(stdout);
    for (int i = 1; i < argc; i++) bench_file(argv[i]);
    if (argc > 1) return 0;
    write_model(written);
    bench_file(written);
    unlink(written);
    return 0;
}
