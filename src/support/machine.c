/* machine: clock, threads, memory, and which BLAS is behind us. */
#include "crossframe/support.h"

#include <cblas.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

double cf_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double cf_unix_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int cf_threads(void) { return omp_get_max_threads(); }

size_t cf_physical_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (size_t)pages * (size_t)page : (size_t)1 << 32;
}

#if defined(__x86_64__)
/* The brand string: 48 bytes from three leaves. */
const char *cf_cpu_name(void)
{
    static _Thread_local char name[49];
    unsigned word[12], most, unused;
    if (!__get_cpuid(0x80000000u, &most, &unused, &unused, &unused) || most < 0x80000004u)
        return "unknown";
    for (unsigned i = 0; i < 3; i++) {
        unsigned *w = word + 4 * i;
        __get_cpuid(0x80000002u + i, w, w + 1, w + 2, w + 3);
    }
    memcpy(name, word, 48);
    size_t n = strlen(name), start = strspn(name, " ");
    while (n > start && name[n - 1] == ' ') name[--n] = 0;
    return n > start ? name + start : "unknown";
}
#else
const char *cf_cpu_name(void) { return "unknown"; }
#endif

size_t cf_resident_peak(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

const char *cf_blas_config(void) { return openblas_get_config(); }

const char *cf_blas_warning(void)
{
    static _Thread_local char line[256];
    int build = openblas_get_parallel();
    if (build == OPENBLAS_THREAD)
        snprintf(line, sizeof line,
                 "OpenBLAS is the pthread build, whose threads fight with OpenMP's: "
                 "install its OpenMP build (libopenblas-openmp-dev)");
    else if (build == OPENBLAS_SEQUENTIAL)
        snprintf(line, sizeof line,
                 "OpenBLAS is the single-threaded build: "
                 "install its OpenMP build (libopenblas-openmp-dev)");
    else
        return NULL;
    return line;
}
