/* The gradient pool: a free list over an arena. A block has a 64-byte head with its size. A request
 * takes the smallest free block that fits and wastes at most a quarter, else new arena memory. The
 * order of requests is the same in every step, so from the second step on the pattern repeats. */
#include "tape.h"

struct cf_pool_block {
    _Alignas(CF_ALIGN) cf_pool_block *next;
    size_t n; /* elements of room */
};

cf_status cf_pool_get(cf_real **out, cf_pool *p, size_t n)
{
    cf_pool_block **best = NULL;
    for (cf_pool_block **link = &p->free; *link; link = &(*link)->next) {
        size_t room = (*link)->n;
        if (room < n || room > n + n / 4) continue;
        if (!best || room < (*best)->n) best = link;
    }
    cf_pool_block *b;
    if (best) {
        b = *best;
        *best = b->next;
    } else {
        CF_TRY(cf_arena_push(p->arena, &b, sizeof *b + n * sizeof(cf_real), 1));
        if (p->dry) CF_TRY(cf_arena_push(p->dry, &b, 1, sizeof *b));
        b->n = n;
    }
    *out = (cf_real *)(b + 1);
    return CF_OK;
}

void cf_pool_put(cf_pool *p, cf_real *grad)
{
    cf_pool_block *b = (cf_pool_block *)(void *)grad - 1;
    b->next = p->free;
    p->free = b;
}

void cf_pool_reset(cf_pool *p)
{
    cf_arena_rewind(p->arena, 0);
    p->free = NULL;
}
