/* memory: aligned, counted heap blocks that can be made to fail, and strings made of them.
 *
 * Each block carries its size in the CF_ALIGN bytes before it, so that cf_free needs no size and
 * the block itself stays aligned. Small blocks end where the malloc'ed range ends: nothing is
 * rounded up, so the address sanitiser sees the first byte past it. */
#include "crossframe/support.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

static atomic_size_t n_allocations, bytes_now, bytes_peak, fail_at;

typedef struct {
    size_t bytes;
    void *memory; /* what malloc gave */
} head;

static head head_of(void *p)
{
    head h;
    memcpy(&h, (char *)p - CF_ALIGN, sizeof h);
    return h;
}

bool cf_memory_should_fail(void)
{
    size_t n = atomic_load_explicit(&fail_at, memory_order_relaxed);
    while (n > 0 && !atomic_compare_exchange_weak(&fail_at, &n, n - 1)) continue;
    return n == 1;
}

static void count_bytes(size_t size)
{
    size_t now = atomic_fetch_add(&bytes_now, size) + size;
    size_t peak = atomic_load(&bytes_peak);
    while (peak < now && !atomic_compare_exchange_weak(&bytes_peak, &peak, now)) continue;
}

/* Weights of gigabytes: the kernel then maps them by 2 MB instead of 4 kB, which is most of what
 * touching them for the first time costs. Advice, so a refusal changes nothing. */
static const size_t large = (size_t)32 << 20, page = 4096;
static void advise_large(char *start, size_t bytes)
{
    size_t skip = (page - (uintptr_t)start % page) % page;
    if (bytes >= large) (void)madvise(start + skip, (bytes - skip) / page * page, MADV_HUGEPAGE);
}

/* Large zeros are taken as the system gives them: no page is there before something is written. */
static char *take(head *h, bool zero)
{
    char *start;
    if (zero && h->bytes >= large) {
        h->memory = start = calloc(1, h->bytes + 2 * CF_ALIGN);
        if (start) start += (CF_ALIGN - (uintptr_t)start % CF_ALIGN) % CF_ALIGN;
        return start;
    }
    if (posix_memalign(&h->memory, CF_ALIGN, CF_ALIGN + h->bytes) != 0) return NULL;
    start = h->memory;
    if (zero) memset(start + CF_ALIGN, 0, h->bytes);
    return start;
}

static cf_status allocate(void **out, size_t count, size_t size, bool zero)
{
    head h = { 0 };
    CF_TRY(cf_mul_size(&h.bytes, count, size));
    bool fits = h.bytes <= SIZE_MAX - 2 * CF_ALIGN;
    char *start = cf_memory_should_fail() || !fits ? NULL : take(&h, zero);
    if (!start) return CF_FAIL(CF_ENOMEM, "out of memory for %zu bytes", h.bytes);
    advise_large(start, h.bytes);
    memcpy(start, &h, sizeof h);
    atomic_fetch_add(&n_allocations, 1);
    count_bytes(h.bytes);
    *out = start + CF_ALIGN;
    return CF_OK;
}

/* The public functions take `void *out` for a pointer to a pointer of any type: memcpy is the one
 * way to store through it that the aliasing rules allow. */
static void store_pointer(void *out, void *p) { memcpy(out, &p, sizeof p); }

cf_status cf_mul_size(size_t *out, size_t a, size_t b)
{
    if (__builtin_mul_overflow(a, b, out))
        return CF_FAIL(CF_ENOMEM, "%zu times %zu bytes is more than can be addressed", a, b);
    return CF_OK;
}

cf_status cf_alloc(void *out, size_t count, size_t size)
{
    void *p;
    CF_TRY(allocate(&p, count, size, false));
    store_pointer(out, p);
    return CF_OK;
}

cf_status cf_alloc_zero(void *out, size_t count, size_t size)
{
    void *p;
    CF_TRY(allocate(&p, count, size, true));
    store_pointer(out, p);
    return CF_OK;
}

cf_status cf_realloc(void *inout, size_t count, size_t size)
{
    void *old, *p;
    memcpy(&old, inout, sizeof old);
    CF_TRY(allocate(&p, count, size, false));
    if (old) {
        size_t before = head_of(old).bytes, after = head_of(p).bytes;
        memcpy(p, old, before < after ? before : after);
        cf_free(old);
    }
    store_pointer(inout, p);
    return CF_OK;
}

cf_status cf_grow(void *inout, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity) return CF_OK;
    size_t more;
    CF_TRY(cf_mul_size(&more, *capacity, 2));
    if (more < need) more = need < 64 ? 64 : need;
    CF_TRY(cf_realloc(inout, more, size));
    *capacity = more;
    return CF_OK;
}

void cf_free(void *p)
{
    if (!p) return;
    head h = head_of(p);
    atomic_fetch_sub(&bytes_now, h.bytes);
    free(h.memory);
}

void cf_memory_drop(void *p, size_t bytes)
{
    size_t skip = (page - (uintptr_t)p % page) % page;
    if (bytes > skip) (void)madvise((char *)p + skip, (bytes - skip) / page * page, MADV_DONTNEED);
}

cf_status cf_strdup(char **out, const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy;
    CF_TRY(cf_alloc(&copy, n, 1));
    memcpy(copy, s, n);
    *out = copy;
    return CF_OK;
}

cf_status cf_format(char **out, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CF_ASSERT(n >= 0);
    char *text;
    cf_status status = cf_alloc(&text, (size_t)n + 1, 1);
    if (status == CF_OK) {
        vsnprintf(text, (size_t)n + 1, format, again);
        *out = text;
    }
    va_end(again);
    return status;
}

cf_memory_stats cf_memory_stats_get(void)
{
    return (cf_memory_stats){ .allocations = atomic_load(&n_allocations),
                              .bytes_now = atomic_load(&bytes_now),
                              .bytes_peak = atomic_load(&bytes_peak) };
}

void cf_memory_fail_at(size_t n) { atomic_store(&fail_at, n); }

size_t cf_csv_field(char *out, const char *s)
{
    bool quote = strpbrk(s, ",\"\r\n") != NULL;
    size_t n = 0;
    if (quote) out[n++] = '"';
    for (; *s; s++) {
        if (*s == '"') out[n++] = '"';
        out[n++] = *s;
    }
    if (quote) out[n++] = '"';
    return n;
}
