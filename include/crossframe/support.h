/* support: what every module stands on: status and error line, memory, step arena, random numbers,
 * log callback, whole-file reading and atomic writing, threads.
 *
 * Design
 *  - A function that can fail because of the world returns cf_status; results leave through leading
 *    `out` pointers that stay untouched on failure. A failure is born as `return CF_FAIL(code,
 *    ...)`, which stores one thread-local line; callers add what only they know with CF_TRY_CTX.
 *  - All memory of the library comes from cf_alloc/cf_free: 64-byte aligned, counted, and able to
 *    fail on demand, so tests can prove "no allocation in a steady step" and "every failure is
 *    clean".
 *  - Random numbers are a pure function of (seed, purpose, epoch, index): Philox4x32-10. */
#ifndef CROSSFRAME_SUPPORT_H
#define CROSSFRAME_SUPPORT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef CF_REAL
typedef CF_REAL cf_real;
#define CF_REAL_IS_DOUBLE 1
#else
typedef float cf_real;
#define CF_REAL_IS_DOUBLE 0
#endif

#define CF_VERSION "0.1.0"

/* ---- status ---------------------------------------------------------------------------------- */

typedef enum {
    CF_OK = 0,
    CF_EINVAL,       /* a value outside what the contract allows */
    CF_ESHAPE,       /* tensor shapes that do not fit together */
    CF_ENOMEM,       /* memory, or a limit set on it */
    CF_EIO,          /* the operating system refused a file operation */
    CF_EFORMAT,      /* a file that is not what it should be */
    CF_ENOTFOUND,    /* a file, key or name that does not exist */
    CF_EUNSUPPORTED, /* well-formed, but not something this build does */
    CF_ENUMERIC,     /* a loss or score that is not finite */
    CF_EINTERRUPTED, /* the user asked to stop */
} cf_status;

/* Stores the thread's error line and returns `code`. Use through CF_FAIL. */
cf_status cf_fail(cf_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "context: " before the thread's error line and returns `code` unchanged. */
cf_status cf_fail_context(cf_status code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The thread's last error line, without newline; "" if none. Borrowed until the next failure. */
const char *cf_error(void);

/* The code stands in the macro so that the compiler sees which returns are failures. */
#define CF_FAIL(code, ...) (cf_fail((code), __VA_ARGS__), (code))
#define CF_TRY(call)                                                                               \
    do {                                                                                           \
        cf_status cf_try_ = (call);                                                                \
        if (cf_try_ != CF_OK) return cf_try_;                                                      \
    } while (0)
#define CF_TRY_CTX(call, ...)                                                                      \
    do {                                                                                           \
        cf_status cf_try_ = (call);                                                                \
        if (cf_try_ != CF_OK) return cf_fail_context(cf_try_, __VA_ARGS__), cf_try_;               \
    } while (0)
/* For functions with one `done:` label and a local `cf_status status = CF_OK`. */
#define CF_GO(call)                                                                                \
    do {                                                                                           \
        if ((status = (call)) != CF_OK) goto done;                                                 \
    } while (0)

/* Our own bug: aborts in every build. Never for what a file, flag or configuration can cause. */
_Noreturn void cf_assert_failed(const char *expression, const char *file, int line);
#define CF_ASSERT(x) ((x) ? (void)0 : cf_assert_failed(#x, __FILE__, __LINE__))

/* ---- log ------------------------------------------------------------------------------------- */

typedef enum { CF_LOG_INFO, CF_LOG_WARNING } cf_log_level;
typedef void cf_log_fn(void *user, cf_log_level level, const char *line);
/* The library never prints: it hands lines to this callback (none: dropped). Not thread-safe to
 * set. */
void cf_log_set(cf_log_fn *fn, void *user);
void cf_log(cf_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- memory ---------------------------------------------------------------------------------- */

#define CF_ALIGN 64u

/* *out = a * b; CF_ENOMEM on overflow. */
cf_status cf_mul_size(size_t *out, size_t a, size_t b);
/* 64-byte aligned, uninitialised (cf_alloc) or zeroed (cf_alloc_zero). Size 0 gives a valid
 * pointer. */
cf_status cf_alloc(void *out, size_t count, size_t size);
cf_status cf_alloc_zero(void *out, size_t count, size_t size);
/* Grows or shrinks *inout (NULL: allocates), keeping min(old, new) bytes; *inout unchanged on
 * failure. */
cf_status cf_realloc(void *inout, size_t count, size_t size);
/* Makes room for `need` elements in an array that grows one by one: at least doubles *capacity when
 * it is smaller. Both unchanged on failure. */
cf_status cf_grow(void *inout, size_t *capacity, size_t need, size_t size);
void cf_free(void *p);
/* Gives the whole pages of a part of a block back to the system: they hold nothing any more, but
 * can be written again. */
void cf_memory_drop(void *p, size_t bytes);
/* Copies of strings; free with cf_free. */
cf_status cf_strdup(char **out, const char *s);
cf_status cf_format(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes `s` as one field of a CSV, in quotes where it needs them, without a zero byte; returns the
 * length, at most 2 strlen(s) + 2. */
size_t cf_csv_field(char *out, const char *s);

/* Decodes one UTF-8 character at *p < end and moves *p behind it. -1 (and one byte on) if the bytes
 * are none: too long, a surrogate, beyond U+10FFFF, cut off. */
int32_t cf_utf8_next(const char **p, const char *end);
/* A copy with each byte that is no part of UTF-8 replaced by U+FFFD; free with cf_free. */
cf_status cf_utf8_repair(char **out, const char *s);

typedef struct {
    size_t allocations; /* calls that obtained memory since the program started */
    size_t bytes_now, bytes_peak;
} cf_memory_stats;
cf_memory_stats cf_memory_stats_get(void);
/* Tests: the n-th allocation from now (1 = the next) fails with CF_ENOMEM; 0 switches it off. */
void cf_memory_fail_at(size_t n);

/* ---- step arena ------------------------------------------------------------------------------ */

/* A bump allocator over one reserved range of addresses: pages are touched when first used and
 * kept, so after the first step nothing is asked of the system. Marks nest. With CF_ARENA_MALLOC
 * (the asan build) every push is its own malloc, so that a use after rewind is seen. Not
 * thread-safe. */
typedef struct cf_arena cf_arena;
typedef size_t cf_arena_mark_t;

/* limit_bytes: most that may be in use at once; 0 = the machine's physical memory. */
cf_status cf_arena_new(cf_arena **out, const char *name, size_t limit_bytes);
/* One that has no memory and no limit, but the same marks and peak as if it had: every push gives
 * CF_ARENA_NOWHERE, which must not be read or written. */
cf_status cf_arena_new_counting(cf_arena **out, const char *name);
#define CF_ARENA_NOWHERE ((void *)(uintptr_t)CF_ALIGN)
void cf_arena_free(cf_arena *a);
/* 64-byte aligned, uninitialised, count * size bytes. CF_ENOMEM names the arena and both
 * numbers. */
cf_status cf_arena_push(cf_arena *a, void *out, size_t count, size_t size);
cf_arena_mark_t cf_arena_mark(const cf_arena *a);
void cf_arena_rewind(cf_arena *a, cf_arena_mark_t mark); /* everything pushed after mark is gone */
/* Rewinds to mark but keeps one block pushed after it (p, bytes), moved down to the mark; its new
 * place. */
void *cf_arena_keep(cf_arena *a, cf_arena_mark_t mark, void *p, size_t bytes);
/* `bytes` bytes of the range from byte `offset` on, a multiple of CF_ALIGN, whatever is pushed
 * there: the caller keeps the two apart. CF_ENOMEM: beyond the limit. Where pushes are mallocs, or
 * only counted, they are one block of their own, the same for all offsets; `bytes` never
 * changes. */
cf_status cf_arena_range(cf_arena *a, void *out, size_t offset, size_t bytes);
size_t cf_arena_used(const cf_arena *a); /* bytes in use */
size_t cf_arena_peak(const cf_arena *a); /* most bytes ever in use */

/* ---- random numbers -------------------------------------------------------------------------- */

/* What a stream is for; part of its key, so that no two uses share numbers. Append only. */
typedef enum {
    CF_RNG_INIT = 1, /* start values: index = hash of the parameter's name */
    CF_RNG_ORDER,    /* shuffled order of an epoch */
    CF_RNG_FRAMES,   /* frame offsets */
    CF_RNG_CROP,     /* crop size and position */
    CF_RNG_FLIP,
    CF_RNG_JITTER,
    CF_RNG_GRAY,
    CF_RNG_MIX,       /* mixup / cutmix of one micro-batch */
    CF_RNG_DROP_PATH, /* epoch = step, index = block and branch */
    CF_RNG_MOTION,    /* the motion dataset */
    CF_RNG_TEST,      /* tests */
    CF_RNG_FAMILY,    /* order of class families */
    CF_RNG_VIEWS,     /* frames of random test views: epoch = view */
    CF_RNG_REPLACE,   /* what takes the place of a video that cannot be read */
    CF_RNG_SHOTS,     /* few-shot and zero-shot draws: index = class or set */
    CF_RNG_TEMPLATE,  /* the texts' template of one micro-batch */
} cf_rng_purpose;

typedef struct {
    uint32_t key[2], counter[4], block[4];
    int used; /* words of block already given out */
} cf_rng;

/* Philox4x32-10 (Salmon et al., SC 2011). The stream depends on these four numbers only. */
cf_rng cf_rng_make(uint64_t seed, cf_rng_purpose purpose, uint32_t epoch, uint64_t index);
void cf_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);
uint32_t cf_rng_u32(cf_rng *r);
double cf_rng_uniform(cf_rng *r);                          /* [0, 1), 53 bits */
float cf_rng_uniform_f32(cf_rng *r);                       /* [0, 1), 24 bits */
uint32_t cf_rng_below(cf_rng *r, uint32_t n);              /* 0 .. n-1, unbiased; n >= 1 */
double cf_rng_normal(cf_rng *r);                           /* mean 0, variance 1 (Box-Muller) */
double cf_rng_gamma(cf_rng *r, double shape);              /* Marsaglia-Tsang; shape > 0 */
double cf_rng_beta(cf_rng *r, double a, double b);         /* a, b > 0 */
void cf_rng_shuffle(cf_rng *r, int64_t *values, size_t n); /* Fisher-Yates */

uint64_t cf_hash64(const void *bytes, size_t n); /* FNV-1a, 64 bits */

/* ---- files ----------------------------------------------------------------------------------- */

/* Reads a whole file; *out gets one extra zero byte after n. Free with cf_free. */
cf_status cf_file_read(char **out, size_t *n, const char *path);
/* Reads a gzip-compressed (or plain) file whole, like cf_file_read. CF_ENOMEM above max_bytes. */
cf_status cf_file_read_gz(char **out, size_t *n, const char *path, size_t max_bytes);
/* Writes PATH.tmp, syncs it and renames it over PATH: PATH is always a complete file. */
cf_status cf_file_write(const char *path, const void *bytes, size_t n);
/* Syncs the complete file `with` and renames it over `path`. */
cf_status cf_file_replace(const char *path, const char *with);
/* `path` becomes a second name of the file `from`, atomically (by way of PATH.tmp).
 * CF_EUNSUPPORTED: this file system has no hard links. */
cf_status cf_file_link(const char *path, const char *from);
/* Copies the file `from` to `path` as cf_file_write does. */
cf_status cf_file_copy(const char *path, const char *from);
/* All n bytes at place `at` of an open file; `path` is its name in messages. */
cf_status cf_file_write_at(int fd, const char *path, const void *bytes, size_t n, int64_t at);
cf_status cf_file_read_at(int fd, const char *path, void *bytes, size_t n, int64_t at);
/* A file in `folder` without a name, to write and read: gone when it is closed, or the process
 * ends. */
cf_status cf_file_nameless(int *fd, const char *folder);
bool cf_file_exists(const char *path);
bool cf_is_folder(const char *path);
cf_status cf_make_folders(const char *path); /* mkdir -p */
/* *out = "folder/name" ("name" if it is absolute or folder is empty). Free with cf_free. */
cf_status cf_path_join(char **out, const char *folder, const char *name);
/* *out = the folder part of path ("." if none). Free with cf_free. */
cf_status cf_path_folder(char **out, const char *path);

/* A growing sequential writer to PATH.tmp that becomes PATH on commit. */
typedef struct cf_writer cf_writer;
cf_status cf_writer_new(cf_writer **out, const char *path);
cf_status cf_writer_put(cf_writer *w, const void *bytes, size_t n);
cf_status cf_writer_commit(cf_writer *w); /* flush, sync, rename; frees w, also on failure */
void cf_writer_abort(cf_writer *w);       /* removes PATH.tmp; frees w; NULL is fine */

/* ---- time, threads, machine ------------------------------------------------------------------ */

double cf_seconds(void);          /* monotonic clock */
double cf_unix_time(void);        /* seconds since 1970 */
int cf_threads(void);             /* OpenMP threads a parallel region will get */
size_t cf_physical_memory(void);  /* bytes */
const char *cf_cpu_name(void);    /* as the processor calls itself; "unknown" where it does not */
size_t cf_resident_peak(void);    /* bytes: most this process ever held in memory */
const char *cf_blas_config(void); /* OpenBLAS's own description of its build and kernels */
/* One line if the BLAS in use fights with OpenMP (pthread build) or has one thread; NULL if all is
 * well. */
const char *cf_blas_warning(void);

#endif
