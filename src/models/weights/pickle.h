/* pickle: Python's object stream as inert data, for reading what torch.save wrote.
 *
 * Design
 *  - Nothing is ever executed or imported. A global is its two names; calling one (REDUCE, NEWOBJ,
 *    OBJ, INST) makes an object that remembers what would have been called with what; BUILD keeps
 *    the state, SETITEMS the items. Who reads the result decides which of these mean something.
 *  - One loop over the opcodes, no recursion; lists, dictionaries and objects may hold each other
 *    in cycles, so a walker bounds its own depth and steps.
 *  - Texts point into the bytes. All else is bumped from blocks that are freed together, and their
 *    sum has a limit: a short stream cannot ask for much.
 *  - Protocols 2 to 5; the opcodes of 0 and 1 that spell numbers out as text are refused, as is
 *    every unknown one, with the opcode and its byte.
 *  - source: Lib/pickletools.py of Python, where each opcode's effect is written down. */
#ifndef CROSSFRAME_MODELS_PICKLE_H
#define CROSSFRAME_MODELS_PICKLE_H

#include "crossframe/support.h"

typedef enum {
    CF_PICKLE_MARK, /* only inside the machine */
    CF_PICKLE_NONE,
    CF_PICKLE_BOOL,   /* i */
    CF_PICKLE_INT,    /* i */
    CF_PICKLE_BIG,    /* a whole number of more than 64 bits: not kept */
    CF_PICKLE_FLOAT,  /* f */
    CF_PICKLE_TEXT,   /* text, length: UTF-8, not checked, without a zero byte behind it */
    CF_PICKLE_BYTES,  /* text, length */
    CF_PICKLE_LIST,   /* items */
    CF_PICKLE_TUPLE,  /* items */
    CF_PICKLE_DICT,   /* items: key, value, key, value, ... in the order they were set */
    CF_PICKLE_SET,    /* items are not kept */
    CF_PICKLE_GLOBAL, /* items: module, name */
    CF_PICKLE_OBJECT, /* see cf_pickle_object; items as of a dictionary */
    CF_PICKLE_STORED, /* items: the one persistent id */
} cf_pickle_kind;

typedef struct cf_pickle_box cf_pickle_box;
typedef struct {
    cf_pickle_kind kind;
    uint32_t length;
    union {
        int64_t i;
        double f;
        const char *text;
        cf_pickle_box *box; /* of every kind that has items */
    };
} cf_pickle_value;

typedef struct cf_pickle_chunk cf_pickle_chunk;
struct cf_pickle_chunk {
    cf_pickle_chunk *next;
    size_t n;
    cf_pickle_value item[];
};

struct cf_pickle_box {
    cf_pickle_chunk *first, *last;
    size_t n; /* items in all chunks */
};

/* The box of a CF_PICKLE_OBJECT: callable(*arguments), then __setstate__(state). */
typedef struct {
    cf_pickle_box box;
    cf_pickle_value callable, arguments, state; /* state: NONE if there is none */
} cf_pickle_object;

typedef struct cf_pickle cf_pickle;
/* bytes[n] have to outlive it; `name` stands for them in messages; `limit`: most bytes of memory.
 * CF_EFORMAT: cut off, or not what Python writes; CF_EUNSUPPORTED: an opcode that is not known, or
 * more than the limit. */
cf_status cf_pickle_open(cf_pickle **out, const void *bytes, size_t n, size_t limit,
                         const char *name);
void cf_pickle_close(cf_pickle *p); /* NULL is fine */
cf_pickle_value cf_pickle_root(const cf_pickle *p);

/* Items one by one: `for (cf_pickle_walk w = cf_pickle_items(v); cf_pickle_next(&item, &w);)`. None
 * of a kind without items. */
typedef struct {
    const cf_pickle_chunk *chunk;
    size_t at;
} cf_pickle_walk;
cf_pickle_walk cf_pickle_items(cf_pickle_value v);
bool cf_pickle_next(cf_pickle_value *out, cf_pickle_walk *w);
/* Keys and values of a dictionary or an object. */
bool cf_pickle_next_pair(cf_pickle_value *key, cf_pickle_value *value, cf_pickle_walk *w);

size_t cf_pickle_count(cf_pickle_value v);                 /* items; 0 of a kind without */
cf_pickle_value cf_pickle_at(cf_pickle_value v, size_t i); /* NONE behind the last */
cf_pickle_object cf_pickle_object_of(cf_pickle_value v);   /* all NONE if it is no object */
bool cf_pickle_text_is(cf_pickle_value v, const char *text);
bool cf_pickle_global_is(cf_pickle_value v, const char *module, const char *name);

#endif
