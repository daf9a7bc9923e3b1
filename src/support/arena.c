/* arena: the step's bump allocator.
 *
 * One range of addresses is reserved at the start and never moves, so pointers stay valid while it
 * grows and the system gives memory only for pages that are used. `used` is always a multiple of
 * CF_ALIGN: every block starts aligned and a mark is simply `used`.
 *
 * With CF_ARENA_MALLOC each block comes from malloc instead, in a list with the newest first; the
 * offsets, marks, limit and peak stay the same, so a program behaves alike in both builds. */
#include "crossframe/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

#define HUGE_PAGE ((size_t)2 << 20)

typedef struct block {
    _Alignas(CF_ALIGN) struct block *older;
    size_t offset; /* arena.used before this push */
} block;

struct cf_arena {
    size_t limit, used, peak;
    bool counting; /* no memory: only offsets, limit and peak */
    char *base;    /* the reserved range; NULL with CF_ARENA_MALLOC or counting */
    block *newest; /* with CF_ARENA_MALLOC */
    void *range;   /* of cf_arena_range, with CF_ARENA_MALLOC */
    char name[32];
};

#ifdef CF_ARENA_MALLOC

static cf_status reserve(cf_arena *a)
{
    (void)a;
    return CF_OK;
}

static void *take(cf_arena *a, size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, CF_ALIGN, sizeof(block) + bytes) != 0) return NULL;
    block *b = p;
    *b = (block){ .older = a->newest, .offset = a->used };
    a->newest = b;
    return b + 1;
}

static void give_back(cf_arena *a, size_t mark)
{
    while (a->newest && a->newest->offset >= mark) {
        block *b = a->newest;
        a->newest = b->older;
        free(b);
    }
}

/* Takes p's block out of the list, gives the rest back, and puts p's block at the mark. */
static void *move_down(cf_arena *a, size_t mark, void *p, size_t bytes)
{
    (void)bytes;
    block *kept = (block *)p - 1;
    block **link = &a->newest;
    while (*link != kept) link = &(*link)->older;
    *link = kept->older;
    give_back(a, mark);
    *kept = (block){ .older = a->newest, .offset = mark };
    a->newest = kept;
    return p;
}

static void *range_at(cf_arena *a, size_t offset, size_t bytes)
{
    (void)offset;
    if (!a->range && posix_memalign(&a->range, CF_ALIGN, bytes + 1) != 0) return NULL;
    return a->range;
}

static void release(cf_arena *a) { free(a->range); }

#else

static cf_status reserve(cf_arena *a)
{
    /* Strict overcommit or an address-space limit may refuse all of it: take what it allows. */
    for (size_t size = a->limit; size >= HUGE_PAGE || size == a->limit; size /= 2) {
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) continue;
        a->base = p;
        a->limit = size & ~(size_t)(CF_ALIGN - 1);
#ifdef MADV_HUGEPAGE
        madvise(p, size, MADV_HUGEPAGE);
#endif
        return CF_OK;
    }
    return CF_FAIL(CF_ENOMEM, "%s arena: the system refused to reserve %zu bytes", a->name,
                   a->limit);
}

static void *take(cf_arena *a, size_t bytes)
{
    (void)bytes;
    return a->base + a->used;
}

static void give_back(cf_arena *a, size_t mark)
{
    (void)a;
    (void)mark;
}

static void *move_down(cf_arena *a, size_t mark, void *p, size_t bytes)
{
    return memmove(a->base + mark, p, bytes);
}

static void *range_at(cf_arena *a, size_t offset, size_t bytes)
{
    (void)bytes;
    return a->base + offset;
}

static void release(cf_arena *a)
{
    if (a->base) munmap(a->base, a->limit);
}

#endif

cf_status cf_arena_new(cf_arena **out, const char *name, size_t limit_bytes)
{
    if (limit_bytes == 0) limit_bytes = cf_physical_memory();
    if (limit_bytes > SIZE_MAX / 2) limit_bytes = SIZE_MAX / 2;
    cf_arena *a;
    CF_TRY(cf_alloc_zero(&a, 1, sizeof *a));
    snprintf(a->name, sizeof a->name, "%s", name);
    a->limit = (limit_bytes + CF_ALIGN - 1) & ~(size_t)(CF_ALIGN - 1);
    cf_status status = reserve(a);
    if (status != CF_OK) {
        cf_free(a);
        return status;
    }
    *out = a;
    return CF_OK;
}

cf_status cf_arena_new_counting(cf_arena **out, const char *name)
{
    cf_arena *a;
    CF_TRY(cf_alloc_zero(&a, 1, sizeof *a));
    snprintf(a->name, sizeof a->name, "%s", name);
    a->limit = SIZE_MAX / 2 & ~(size_t)(CF_ALIGN - 1);
    a->counting = true;
    *out = a;
    return CF_OK;
}

void cf_arena_free(cf_arena *a)
{
    if (!a) return;
    cf_arena_rewind(a, 0);
    release(a);
    cf_free(a);
}

cf_status cf_arena_push(cf_arena *a, void *out, size_t count, size_t size)
{
    size_t bytes;
    CF_TRY_CTX(cf_mul_size(&bytes, count, size), "%s arena", a->name);
    size_t room = a->limit - a->used; /* a multiple of CF_ALIGN: if bytes fit, so do rounded ones */
    if (bytes > room)
        return CF_FAIL(CF_ENOMEM, "%s arena is full: %zu bytes wanted, %zu of %zu in use", a->name,
                       bytes, a->used, a->limit);
    void *p = a->counting ? CF_ARENA_NOWHERE : cf_memory_should_fail() ? NULL : take(a, bytes);
    if (!p)
        return CF_FAIL(CF_ENOMEM, "%s arena: out of memory for %zu bytes, %zu in use", a->name,
                       bytes, a->used);
    a->used += (bytes + CF_ALIGN - 1) & ~(size_t)(CF_ALIGN - 1);
    if (a->used > a->peak) a->peak = a->used;
    memcpy(out, &p, sizeof p);
    return CF_OK;
}

cf_arena_mark_t cf_arena_mark(const cf_arena *a) { return a->used; }

void cf_arena_rewind(cf_arena *a, cf_arena_mark_t mark)
{
    CF_ASSERT(mark <= a->used);
    give_back(a, mark);
    a->used = mark;
}

void *cf_arena_keep(cf_arena *a, cf_arena_mark_t mark, void *p, size_t bytes)
{
    CF_ASSERT(mark <= a->used);
    void *place = a->counting ? p : move_down(a, mark, p, bytes);
    a->used = mark + ((bytes + CF_ALIGN - 1) & ~(size_t)(CF_ALIGN - 1));
    return place;
}

cf_status cf_arena_range(cf_arena *a, void *out, size_t offset, size_t bytes)
{
    CF_ASSERT(offset % CF_ALIGN == 0);
    bool fits = offset <= a->limit && bytes <= a->limit - offset;
    void *p = a->counting ? CF_ARENA_NOWHERE : fits ? range_at(a, offset, bytes) : NULL;
    if (!p || !fits)
        return CF_FAIL(CF_ENOMEM, "%s arena: no room for %zu bytes at %zu of %zu", a->name, bytes,
                       offset, a->limit);
    memcpy(out, &p, sizeof p);
    return CF_OK;
}

size_t cf_arena_used(const cf_arena *a) { return a->used; }

size_t cf_arena_peak(const cf_arena *a) { return a->peak; }
