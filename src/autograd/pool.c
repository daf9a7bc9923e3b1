/* The gradient pool: blocks over an arena, each behind a 64-byte head. A request takes the smallest
 * free block that is large enough, else new memory on top; free blocks at the top go back to the
 * arena at once, so their memory serves the next request whatever its size. Gradients come and go
 * nearly as on a stack (those of a layer's inside above the one that passes it), so few holes are
 * left, and dividing or merging them would save little. What is where depends on the order of the
 * requests alone, which is the same in every step. */
#include "tape.h"

struct cf_pool_block {
    _Alignas(CF_ALIGN) cf_pool_block *below; /* in the arena */
    cf_arena_mark_t start;
    size_t n; /* elements of room */
    bool free;
};

static cf_pool_block *smallest_free(const cf_pool *p, size_t n)
{
    cf_pool_block *best = NULL;
    for (cf_pool_block *b = p->top; b; b = b->below)
        if (b->free && b->n >= n && (!best || b->n < best->n)) best = b;
    return best;
}

static cf_status new_on_top(cf_pool_block **out, cf_pool *p, size_t n)
{
    cf_arena_mark_t start = cf_arena_mark(p->arena);
    cf_pool_block *b;
    CF_TRY(cf_arena_push(p->arena, &b, sizeof *b + n * sizeof(cf_real), 1));
    if (p->dry) CF_TRY(cf_arena_push(p->dry, &b, 1, sizeof *b));
    *b = (cf_pool_block){ .below = p->top, .start = start, .n = n };
    p->top = b;
    *out = b;
    return CF_OK;
}

cf_status cf_pool_get(cf_real **out, cf_pool *p, size_t n)
{
    cf_pool_block *b = smallest_free(p, n);
    if (!b) CF_TRY(new_on_top(&b, p, n));
    b->free = false;
    *out = (cf_real *)(b + 1);
    return CF_OK;
}

void cf_pool_put(cf_pool *p, cf_real *grad)
{
    ((cf_pool_block *)(void *)grad - 1)->free = true;
    while (p->top && p->top->free) {
        cf_arena_mark_t start = p->top->start;
        p->top = p->top->below;
        cf_arena_rewind(p->arena, start);
    }
}

void cf_pool_reset(cf_pool *p)
{
    cf_arena_rewind(p->arena, 0);
    p->top = NULL;
}
