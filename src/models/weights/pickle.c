/* The pickle machine: a stack, a memo, and one small function for each kind of opcode. */
#include "models/weights/pickle.h"

#include <string.h>

typedef cf_pickle_value value;
typedef cf_pickle_box box;
typedef cf_pickle_chunk chunk;

typedef struct block block;
struct block {
    block *next;
    size_t used, size;
    _Alignas(16) char bytes[];
};

struct cf_pickle {
    block *blocks; /* the newest first */
    size_t bytes, limit;
    value root;
};

enum { BLOCK_BYTES = 1 << 16 };

typedef struct {
    cf_pickle *p;
    const char *name;
    const unsigned char *bytes;
    size_t n, at;
    size_t op_at; /* byte of the opcode that is being run */
    unsigned char op;
    value *stack, *memo;
    size_t depth, stack_room, n_memo, memo_room;
} machine;

static cf_status wrong(const machine *m, const char *what)
{
    return CF_FAIL(CF_EFORMAT, "%s: damaged: %s (opcode 0x%02x at byte %zu)", m->name, what, m->op,
                   m->op_at);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static cf_status count(const machine *m, size_t bytes)
{
    if (bytes > m->p->limit - m->p->bytes)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: it describes more than %zu bytes of objects", m->name,
                       m->p->limit);
    m->p->bytes += bytes;
    return CF_OK;
}

static cf_status bump(void *out, const machine *m, size_t bytes)
{
    cf_pickle *p = m->p;
    bytes = (bytes + 15) / 16 * 16;
    if (!p->blocks || bytes > p->blocks->size - p->blocks->used) {
        size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block *b;
        CF_TRY(count(m, sizeof *b + size));
        CF_TRY(cf_alloc(&b, sizeof *b + size, 1));
        *b = (block){ .next = p->blocks, .size = size };
        p->blocks = b;
    }
    void *at = p->blocks->bytes + p->blocks->used;
    p->blocks->used += bytes;
    memcpy(out, &at, sizeof at);
    return CF_OK;
}

static cf_status reserve(const machine *m, value **array, size_t *room, size_t need)
{
    if (need <= *room) return CF_OK;
    size_t more = *room > 0 ? 2 * *room : 256;
    if (more < need) more = need;
    CF_TRY(count(m, (more - *room) * sizeof(value)));
    CF_TRY(cf_realloc(array, more, sizeof(value)));
    *room = more;
    return CF_OK;
}

static cf_status add_items(const machine *m, box *b, const value *item, size_t n)
{
    chunk *c;
    if (n == 0) return CF_OK;
    CF_TRY(bump(&c, m, sizeof *c + n * sizeof(value)));
    *c = (chunk){ .n = n };
    memcpy(c->item, item, n * sizeof(value));
    if (b->last)
        b->last->next = c;
    else
        b->first = c;
    b->last = c;
    b->n += n;
    return CF_OK;
}

static cf_status new_box(value *out, const machine *m, cf_pickle_kind kind, const value *item,
                         size_t n)
{
    box *b;
    CF_TRY(bump(&b, m, sizeof *b));
    *b = (box){ 0 };
    CF_TRY(add_items(m, b, item, n));
    *out = (value){ .kind = kind, .box = b };
    return CF_OK;
}

/* ---- bytes and stack ------------------------------------------------------------------------- */

static cf_status take(const unsigned char **out, machine *m, size_t n)
{
    if (n > m->n - m->at)
        return CF_FAIL(CF_EFORMAT, "%s: cut off in opcode 0x%02x at byte %zu", m->name, m->op,
                       m->op_at);
    *out = m->bytes + m->at;
    m->at += n;
    return CF_OK;
}

/* A whole number of 1 to 8 bytes, the lowest first. */
static cf_status take_number(uint64_t *out, machine *m, size_t width)
{
    const unsigned char *at;
    CF_TRY(take(&at, m, width));
    uint64_t number = 0;
    for (size_t i = width; i-- > 0;) number = number << 8 | at[i];
    *out = number;
    return CF_OK;
}

static cf_status take_line(value *out, machine *m)
{
    const unsigned char *at = m->bytes + m->at, *end = memchr(at, '\n', m->n - m->at);
    size_t length = end ? (size_t)(end - at) : m->n;
    CF_TRY(take(&at, m, length == m->n ? length : length + 1));
    *out = (value){ CF_PICKLE_TEXT, .length = (uint32_t)length, .text = (const char *)at };
    return CF_OK;
}

static cf_status push(machine *m, value v)
{
    CF_TRY(reserve(m, &m->stack, &m->stack_room, m->depth + 1));
    m->stack[m->depth++] = v;
    return CF_OK;
}

/* *out = the last n values, which leave the stack but keep their place until the next push. */
static cf_status pop(const value **out, machine *m, size_t n)
{
    if (n > m->depth) return wrong(m, "it takes more than the stack holds");
    for (size_t i = 0; i < n; i++)
        if (m->stack[m->depth - 1 - i].kind == CF_PICKLE_MARK)
            return wrong(m, "it takes values beyond a mark");
    m->depth -= n;
    *out = m->stack + m->depth;
    return CF_OK;
}

/* The same for all values above the last mark, and the mark. */
static cf_status pop_to_mark(const value **out, size_t *n, machine *m)
{
    size_t at = m->depth;
    while (at > 0 && m->stack[at - 1].kind != CF_PICKLE_MARK) at--;
    if (at == 0) return wrong(m, "there is no mark");
    *out = m->stack + at;
    *n = m->depth - at;
    m->depth = at - 1;
    return CF_OK;
}

/* The value that items are put into. */
static cf_status top(value *out, const machine *m)
{
    if (m->depth == 0 || m->stack[m->depth - 1].kind == CF_PICKLE_MARK)
        return wrong(m, "there is nothing to act on");
    *out = m->stack[m->depth - 1];
    return CF_OK;
}

/* ---- opcodes: numbers, texts ----------------------------------------------------------------- */

static cf_status op_protocol(machine *m, int arg)
{
    uint64_t version;
    (void)arg;
    CF_TRY(take_number(&version, m, 1));
    if (version > 5)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: pickle protocol %d; 2 to 5 are read", m->name,
                       (int)version);
    return CF_OK;
}

static cf_status op_frame(machine *m, int arg)
{
    uint64_t length;
    (void)arg;
    CF_TRY(take_number(&length, m, 8));
    if (length > m->n - m->at) return wrong(m, "a frame is longer than what is there");
    return CF_OK;
}

static cf_status op_none(machine *m, int kind)
{
    return push(m, (value){ .kind = (cf_pickle_kind)kind });
}

static cf_status op_bool(machine *m, int truth)
{
    return push(m, (value){ CF_PICKLE_BOOL, .i = truth });
}

static cf_status op_unsigned(machine *m, int width)
{
    uint64_t number;
    CF_TRY(take_number(&number, m, (size_t)width));
    return push(m, (value){ CF_PICKLE_INT, .i = (int64_t)number });
}

static cf_status op_int32(machine *m, int arg)
{
    uint64_t number;
    (void)arg;
    CF_TRY(take_number(&number, m, 4));
    return push(m, (value){ CF_PICKLE_INT, .i = (int32_t)(uint32_t)number });
}

static cf_status op_long(machine *m, int width)
{
    uint64_t length;
    const unsigned char *at;
    CF_TRY(take_number(&length, m, (size_t)width));
    CF_TRY(take(&at, m, (size_t)length));
    if (length > 8) return push(m, (value){ CF_PICKLE_BIG, .i = 0 });
    uint64_t number = length > 0 && at[length - 1] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = (size_t)length; i-- > 0;) number = number << 8 | at[i];
    return push(m, (value){ CF_PICKLE_INT, .i = (int64_t)number });
}

static cf_status op_float(machine *m, int arg)
{
    const unsigned char *at;
    uint64_t bits = 0;
    double number;
    (void)arg;
    CF_TRY(take(&at, m, 8));
    for (size_t i = 0; i < 8; i++) bits = bits << 8 | at[i];
    memcpy(&number, &bits, sizeof number);
    return push(m, (value){ CF_PICKLE_FLOAT, .f = number });
}

static cf_status push_text(machine *m, cf_pickle_kind kind, int width)
{
    uint64_t length;
    const unsigned char *at;
    CF_TRY(take_number(&length, m, (size_t)width));
    CF_TRY(take(&at, m, (size_t)length));
    return push(m, (value){ kind, .length = (uint32_t)length, .text = (const char *)at });
}

static cf_status op_text(machine *m, int width) { return push_text(m, CF_PICKLE_TEXT, width); }
static cf_status op_bytes(machine *m, int width) { return push_text(m, CF_PICKLE_BYTES, width); }

/* ---- opcodes: stack, memo -------------------------------------------------------------------- */

static cf_status op_pop(machine *m, int arg)
{
    (void)arg;
    if (m->depth == 0) return wrong(m, "the stack is empty");
    m->depth--;
    return CF_OK;
}

static cf_status op_pop_mark(machine *m, int arg)
{
    const value *v;
    size_t n;
    (void)arg;
    return pop_to_mark(&v, &n, m);
}

static cf_status op_dup(machine *m, int arg)
{
    value v;
    (void)arg;
    CF_TRY(top(&v, m));
    return push(m, v);
}

static cf_status remember(machine *m, uint64_t index)
{
    value v;
    CF_TRY(top(&v, m));
    if (index >= m->n) return wrong(m, "a memo's number is larger than there are bytes");
    CF_TRY(reserve(m, &m->memo, &m->memo_room, (size_t)index + 1));
    for (; m->n_memo <= index; m->n_memo++) m->memo[m->n_memo] = (value){ .kind = CF_PICKLE_MARK };
    m->memo[index] = v;
    return CF_OK;
}

static cf_status op_put(machine *m, int width)
{
    uint64_t index;
    CF_TRY(take_number(&index, m, (size_t)width));
    return remember(m, index);
}

static cf_status op_memoize(machine *m, int arg)
{
    (void)arg;
    return remember(m, m->n_memo);
}

static cf_status op_get(machine *m, int width)
{
    uint64_t index;
    CF_TRY(take_number(&index, m, (size_t)width));
    if (index >= m->n_memo || m->memo[index].kind == CF_PICKLE_MARK)
        return wrong(m, "it asks for what was not remembered");
    return push(m, m->memo[index]);
}

/* ---- opcodes: containers --------------------------------------------------------------------- */

static cf_status op_empty(machine *m, int kind)
{
    value v;
    CF_TRY(new_box(&v, m, (cf_pickle_kind)kind, NULL, 0));
    return push(m, v);
}

static cf_status op_tuple(machine *m, int n)
{
    const value *item;
    value v;
    CF_TRY(pop(&item, m, (size_t)n));
    CF_TRY(new_box(&v, m, CF_PICKLE_TUPLE, item, (size_t)n));
    return push(m, v);
}

static cf_status op_from_mark(machine *m, int kind)
{
    const value *item;
    size_t n;
    value v;
    CF_TRY(pop_to_mark(&item, &n, m));
    if (kind == CF_PICKLE_DICT && n % 2 != 0) return wrong(m, "a key has no value");
    CF_TRY(new_box(&v, m, (cf_pickle_kind)kind, item, kind == CF_PICKLE_SET ? 0 : n));
    return push(m, v);
}

/* A subclass of list or set is an object; what is put into it is of no use to anyone. */
static cf_status put_items(machine *m, cf_pickle_kind wanted, const value *item, size_t n)
{
    value v;
    CF_TRY(top(&v, m));
    if (v.kind == CF_PICKLE_OBJECT && wanted != CF_PICKLE_DICT) return CF_OK;
    if (v.kind != wanted && v.kind != CF_PICKLE_OBJECT)
        return wrong(m, "items for what holds none of this kind");
    if (wanted == CF_PICKLE_SET) return CF_OK;
    if (wanted == CF_PICKLE_DICT && n % 2 != 0) return wrong(m, "a key has no value");
    return add_items(m, v.box, item, n);
}

static cf_status op_append(machine *m, int kind)
{
    const value *item;
    size_t n = kind == CF_PICKLE_DICT ? 2 : 1;
    CF_TRY(pop(&item, m, n));
    return put_items(m, (cf_pickle_kind)kind, item, n);
}

static cf_status op_append_all(machine *m, int kind)
{
    const value *item;
    size_t n;
    CF_TRY(pop_to_mark(&item, &n, m));
    return put_items(m, (cf_pickle_kind)kind, item, n);
}

/* ---- opcodes: globals, objects --------------------------------------------------------------- */

static cf_status op_global(machine *m, int arg)
{
    value name[2], v;
    (void)arg;
    CF_TRY(take_line(&name[0], m));
    CF_TRY(take_line(&name[1], m));
    CF_TRY(new_box(&v, m, CF_PICKLE_GLOBAL, name, 2));
    return push(m, v);
}

static cf_status op_stack_global(machine *m, int arg)
{
    const value *name;
    value v;
    (void)arg;
    CF_TRY(pop(&name, m, 2));
    if (name[0].kind != CF_PICKLE_TEXT || name[1].kind != CF_PICKLE_TEXT)
        return wrong(m, "a global's name is no text");
    CF_TRY(new_box(&v, m, CF_PICKLE_GLOBAL, name, 2));
    return push(m, v);
}

/* A number of Python's extension registry stands for a global nobody here knows. */
static cf_status op_extension(machine *m, int width)
{
    static const value names[2] = {
        { CF_PICKLE_TEXT, .length = 7, .text = "copyreg" },
        { CF_PICKLE_TEXT, .length = 9, .text = "extension" },
    };
    uint64_t number;
    value v;
    CF_TRY(take_number(&number, m, (size_t)width));
    CF_TRY(new_box(&v, m, CF_PICKLE_GLOBAL, names, 2));
    return push(m, v);
}

static cf_status push_object(machine *m, value callable, value arguments)
{
    cf_pickle_object *o;
    CF_TRY(bump(&o, m, sizeof *o));
    *o = (cf_pickle_object){ .callable = callable,
                             .arguments = arguments,
                             .state = { .kind = CF_PICKLE_NONE } };
    return push(m, (value){ CF_PICKLE_OBJECT, .box = &o->box });
}

/* REDUCE and NEWOBJ: callable, arguments; NEWOBJ_EX: and keywords, which nobody reads. */
static cf_status op_call(machine *m, int n)
{
    const value *part;
    CF_TRY(pop(&part, m, (size_t)n));
    return push_object(m, part[0], part[1]);
}

static cf_status op_obj(machine *m, int arg)
{
    const value *part;
    value arguments;
    size_t n;
    (void)arg;
    CF_TRY(pop_to_mark(&part, &n, m));
    if (n == 0) return wrong(m, "an object without a class");
    value callable = part[0];
    CF_TRY(new_box(&arguments, m, CF_PICKLE_TUPLE, part + 1, n - 1));
    return push_object(m, callable, arguments);
}

static cf_status op_inst(machine *m, int arg)
{
    const value *part;
    value name[2], callable, arguments;
    size_t n;
    (void)arg;
    CF_TRY(take_line(&name[0], m));
    CF_TRY(take_line(&name[1], m));
    CF_TRY(pop_to_mark(&part, &n, m));
    CF_TRY(new_box(&arguments, m, CF_PICKLE_TUPLE, part, n));
    CF_TRY(new_box(&callable, m, CF_PICKLE_GLOBAL, name, 2));
    return push_object(m, callable, arguments);
}

/* State of what is no object (_metadata of an OrderedDict that was seen as a dictionary) is
 * dropped. */
static cf_status op_build(machine *m, int arg)
{
    const value *state;
    value v;
    (void)arg;
    CF_TRY(pop(&state, m, 1));
    CF_TRY(top(&v, m));
    if (v.kind == CF_PICKLE_OBJECT) ((cf_pickle_object *)v.box)->state = *state;
    return CF_OK;
}

static cf_status op_persistent(machine *m, int arg)
{
    const value *id;
    value v;
    (void)arg;
    CF_TRY(pop(&id, m, 1));
    CF_TRY(new_box(&v, m, CF_PICKLE_STORED, id, 1));
    return push(m, v);
}

/* ---- the machine ----------------------------------------------------------------------------- */

static const struct {
    cf_status (*run)(machine *m, int arg);
    int arg;
} ops[256] = {
    [0x80] = { op_protocol, 0 },
    [0x95] = { op_frame, 0 },
    ['('] = { op_none, CF_PICKLE_MARK },
    ['N'] = { op_none, CF_PICKLE_NONE },
    [0x88] = { op_bool, 1 },
    [0x89] = { op_bool, 0 },
    ['J'] = { op_int32, 0 },
    ['K'] = { op_unsigned, 1 },
    ['M'] = { op_unsigned, 2 },
    [0x8a] = { op_long, 1 },
    [0x8b] = { op_long, 4 },
    ['G'] = { op_float, 0 },
    ['U'] = { op_text, 1 },
    ['T'] = { op_text, 4 },
    ['X'] = { op_text, 4 },
    [0x8c] = { op_text, 1 },
    [0x8d] = { op_text, 8 },
    ['C'] = { op_bytes, 1 },
    ['B'] = { op_bytes, 4 },
    [0x8e] = { op_bytes, 8 },
    [0x96] = { op_bytes, 8 },
    ['0'] = { op_pop, 0 },
    ['1'] = { op_pop_mark, 0 },
    ['2'] = { op_dup, 0 },
    ['q'] = { op_put, 1 },
    ['r'] = { op_put, 4 },
    [0x94] = { op_memoize, 0 },
    ['h'] = { op_get, 1 },
    ['j'] = { op_get, 4 },
    [']'] = { op_empty, CF_PICKLE_LIST },
    ['}'] = { op_empty, CF_PICKLE_DICT },
    [')'] = { op_empty, CF_PICKLE_TUPLE },
    [0x8f] = { op_empty, CF_PICKLE_SET },
    ['l'] = { op_from_mark, CF_PICKLE_LIST },
    ['d'] = { op_from_mark, CF_PICKLE_DICT },
    ['t'] = { op_from_mark, CF_PICKLE_TUPLE },
    [0x91] = { op_from_mark, CF_PICKLE_SET },
    [0x85] = { op_tuple, 1 },
    [0x86] = { op_tuple, 2 },
    [0x87] = { op_tuple, 3 },
    ['a'] = { op_append, CF_PICKLE_LIST },
    ['s'] = { op_append, CF_PICKLE_DICT },
    ['e'] = { op_append_all, CF_PICKLE_LIST },
    ['u'] = { op_append_all, CF_PICKLE_DICT },
    [0x90] = { op_append_all, CF_PICKLE_SET },
    ['c'] = { op_global, 0 },
    [0x93] = { op_stack_global, 0 },
    [0x82] = { op_extension, 1 },
    [0x83] = { op_extension, 2 },
    [0x84] = { op_extension, 4 },
    ['R'] = { op_call, 2 },
    [0x81] = { op_call, 2 },
    [0x92] = { op_call, 3 },
    ['o'] = { op_obj, 0 },
    ['i'] = { op_inst, 0 },
    ['b'] = { op_build, 0 },
    ['Q'] = { op_persistent, 0 },
};

static cf_status run(machine *m)
{
    for (;;) {
        const unsigned char *op;
        m->op_at = m->at;
        if (m->at == m->n)
            return CF_FAIL(CF_EFORMAT, "%s: cut off at byte %zu, before its end", m->name, m->n);
        CF_TRY(take(&op, m, 1));
        m->op = *op;
        if (m->op == '.') return top(&m->p->root, m);
        if (!ops[m->op].run)
            return CF_FAIL(CF_EUNSUPPORTED, "%s: the unknown opcode 0x%02x at byte %zu", m->name,
                           m->op, m->op_at);
        CF_TRY(ops[m->op].run(m, ops[m->op].arg));
    }
}

cf_status cf_pickle_open(cf_pickle **out, const void *bytes, size_t n, size_t limit,
                         const char *name)
{
    if (n > UINT32_MAX)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: a pickle of %zu bytes; up to 4 GB are read", name, n);
    cf_pickle *p;
    CF_TRY(cf_alloc_zero(&p, 1, sizeof *p));
    p->limit = limit;
    machine m = { .p = p, .name = name, .bytes = bytes, .n = n };
    cf_status status = run(&m);
    cf_free(m.stack);
    cf_free(m.memo);
    if (status == CF_OK)
        *out = p;
    else
        cf_pickle_close(p);
    return status;
}

void cf_pickle_close(cf_pickle *p)
{
    if (!p) return;
    for (block *b = p->blocks, *next; b; b = next) {
        next = b->next;
        cf_free(b);
    }
    cf_free(p);
}

cf_pickle_value cf_pickle_root(const cf_pickle *p) { return p->root; }
