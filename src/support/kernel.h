/* How loops that cost time are compiled: once for each x86-64 level, chosen when the program is
 * loaded.
 *
 * CF_KERNEL functions are serial loops over plain memory; an OpenMP region around them lives in
 * another function, because an outlined loop body is not compiled for the other levels. Whether
 * they may contract to FMA is the Makefile's choice for their module. Private to the sources: every
 * module may include it. */
#ifndef CROSSFRAME_SUPPORT_KERNEL_H
#define CROSSFRAME_SUPPORT_KERNEL_H

/* Function versions are chosen by a resolver that runs before the sanitizers are ready. By level,
 * not by CPU name: names are tested for one maker only. gcc before 12 knows no levels. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) &&                  \
    !defined(__clang__)
#if __GNUC__ >= 12
#define CF_KERNEL __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CF_KERNEL __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#else
#define CF_KERNEL
#endif
#define CF_INLINE static inline __attribute__((always_inline))

/* Whether this CPU and its system run x86-64-v3 and v4, for kernels that are chosen at run time. */
#ifdef __x86_64__
#define CF_CPU_IS_V3 (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#define CF_CPU_IS_V4                                                                               \
    (CF_CPU_IS_V3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&    \
     __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
#endif

#endif
