/* Shapes: sizes of up to five axes. */
#include "crossframe/tensor.h"

#include <stdio.h>

cf_shape cf_shape_make(int rank, const size_t *dim)
{
    CF_ASSERT(rank >= 0 && rank <= CF_MAX_RANK);
    cf_shape s = { .rank = rank };
    for (int i = 0; i < rank; i++) s.dim[i] = dim[i];
    return s;
}

size_t cf_shape_count(const cf_shape *s)
{
    size_t n = 1;
    for (int i = 0; i < s->rank; i++) n *= s->dim[i];
    return n;
}

bool cf_shape_equal(const cf_shape *a, const cf_shape *b)
{
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

size_t cf_shape_last(const cf_shape *s) { return s->rank == 0 ? 1 : s->dim[s->rank - 1]; }

const char *cf_shape_print(cf_shape_text *buffer, const cf_shape *s)
{
    size_t used = 0, room = sizeof buffer->text;
    used += (size_t)snprintf(buffer->text, room, "[");
    for (int i = 0; i < s->rank && used < room; i++)
        used += (size_t)snprintf(buffer->text + used, room - used, i ? ", %zu" : "%zu", s->dim[i]);
    if (used < room) snprintf(buffer->text + used, room - used, "]");
    return buffer->text;
}
