/* Looking into what a pickle holds: items, objects, names. */
#include "models/weights/pickle.h"

#include <string.h>

typedef cf_pickle_value value;

static const value none = { .kind = CF_PICKLE_NONE };

static bool has_items(value v) { return v.kind >= CF_PICKLE_LIST; }

cf_pickle_walk cf_pickle_items(cf_pickle_value v)
{
    return (cf_pickle_walk){ has_items(v) ? v.box->first : NULL, 0 };
}

bool cf_pickle_next(cf_pickle_value *out, cf_pickle_walk *w)
{
    if (w->chunk && w->at == w->chunk->n) *w = (cf_pickle_walk){ w->chunk->next, 0 };
    if (!w->chunk) return false;
    *out = w->chunk->item[w->at++];
    return true;
}

bool cf_pickle_next_pair(cf_pickle_value *key, cf_pickle_value *item, cf_pickle_walk *w)
{
    return cf_pickle_next(key, w) && cf_pickle_next(item, w);
}

size_t cf_pickle_count(cf_pickle_value v) { return has_items(v) ? v.box->n : 0; }

cf_pickle_value cf_pickle_at(cf_pickle_value v, size_t i)
{
    for (const cf_pickle_chunk *c = has_items(v) ? v.box->first : NULL; c; i -= c->n, c = c->next)
        if (i < c->n) return c->item[i];
    return none;
}

cf_pickle_object cf_pickle_object_of(cf_pickle_value v)
{
    if (v.kind == CF_PICKLE_OBJECT) return *(const cf_pickle_object *)v.box;
    return (cf_pickle_object){ .callable = none, .arguments = none, .state = none };
}

bool cf_pickle_text_is(cf_pickle_value v, const char *text)
{
    return v.kind == CF_PICKLE_TEXT && v.length == strlen(text) &&
           memcmp(v.text, text, v.length) == 0;
}

bool cf_pickle_global_is(cf_pickle_value v, const char *module, const char *name)
{
    return v.kind == CF_PICKLE_GLOBAL && cf_pickle_text_is(cf_pickle_at(v, 0), module) &&
           cf_pickle_text_is(cf_pickle_at(v, 1), name);
}
