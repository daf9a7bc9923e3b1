/* One tensor of a PyTorch archive: its type, storage, shape and strides out of what the pickle
 * says.
 *
 * Nothing of that is believed: a storage is as large as its record, and each element has to lie
 * in it. source: torch/_utils.py, torch/serialization.py. */
#include "models/weights/torch.h"

#include <stdio.h>
#include <string.h>

typedef cf_pickle_value value;

/* A tensor may show an element many times (stride 0), but not make much of little. */
enum { MOST_REPEATED = 1 << 22 };

/* ---- types ----------------------------------------------------------------------------------- */

static const struct {
    const char *storage, *dtype, *other; /* torch.HalfStorage, torch.float16, torch.half */
    cf_st_dtype type;
} types[] = {
    { "FloatStorage", "float32", "float", CF_ST_F32 },
    { "HalfStorage", "float16", "half", CF_ST_F16 },
    { "BFloat16Storage", "bfloat16", "", CF_ST_BF16 },
    { "DoubleStorage", "float64", "double", CF_ST_F64 },
    { "LongStorage", "int64", "long", CF_ST_I64 },
    { "IntStorage", "int32", "int", CF_ST_I32 },
    { "ShortStorage", "int16", "short", CF_ST_I16 },
    { "CharStorage", "int8", "", CF_ST_I8 },
    { "ByteStorage", "uint8", "", CF_ST_U8 },
    { "BoolStorage", "bool", "", CF_ST_BOOL },
    { "UntypedStorage", "uint8", "", CF_ST_U8 },
    { "", "uint16", "", CF_ST_U16 },
    { "", "uint32", "", CF_ST_U32 },
    { "", "uint64", "", CF_ST_U64 },
};

/* False: a global that is no type, or one that is not read (complex, quantised). */
static bool find_type(cf_st_dtype *out, value global, bool storage)
{
    value name = cf_pickle_at(global, 1);
    if (global.kind != CF_PICKLE_GLOBAL) return false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        bool same = storage ? cf_pickle_text_is(name, types[i].storage)
                            : cf_pickle_text_is(name, types[i].dtype) ||
                                  cf_pickle_text_is(name, types[i].other);
        if (!same || name.length == 0) continue;
        *out = types[i].type;
        return true;
    }
    return false;
}

const char *cf_torch_shorten(cf_torch_text *out, value text)
{
    bool readable = text.kind == CF_PICKLE_TEXT;
    int n = readable ? (int)(text.length < 80 ? text.length : 80) : 1;
    snprintf(out->text, sizeof out->text, "%.*s", n, readable ? text.text : "?");
    return out->text;
}

/* ---- one tensor ------------------------------------------------------------------------------ */

cf_torch_call cf_torch_unwrap(value v)
{
    cf_pickle_object o = cf_pickle_object_of(v);
    cf_torch_call c = { o.callable, o.arguments };
    for (int i = 0; i < 4; i++) {
        if (cf_pickle_global_is(c.callable, "torch._utils", "_rebuild_parameter") ||
            cf_pickle_global_is(c.callable, "torch._utils", "_rebuild_parameter_with_state")) {
            o = cf_pickle_object_of(cf_pickle_at(c.arguments, 0));
            c = (cf_torch_call){ o.callable, o.arguments };
        } else if (cf_pickle_global_is(c.callable, "torch._tensor", "_rebuild_from_type_v2")) {
            c = (cf_torch_call){ cf_pickle_at(c.arguments, 0), cf_pickle_at(c.arguments, 2) };
        }
    }
    return c;
}

bool cf_torch_is_tensor(cf_torch_call c)
{
    value name = cf_pickle_at(c.callable, 1);
    return c.callable.kind == CF_PICKLE_GLOBAL &&
           cf_pickle_text_is(cf_pickle_at(c.callable, 0), "torch._utils") &&
           name.kind == CF_PICKLE_TEXT && name.length > 9 && memcmp(name.text, "_rebuild_", 9) == 0;
}

static bool as_size(size_t *out, value v)
{
    if (v.kind != CF_PICKLE_INT || v.i < 0) return false;
    *out = (size_t)v.i;
    return true;
}

/* Persistent id: ("storage", type, key, place, number of elements). *n = elements of `type` that
 * the record holds. */
static cf_status find_storage(cf_weight_part *p, size_t *n, cf_torch_reader *r, const char *name,
                              value stored)
{
    value id = cf_pickle_at(stored, 0), key = cf_pickle_at(id, 2);
    cf_torch_text text;
    size_t declared;
    if (stored.kind != CF_PICKLE_STORED || !cf_pickle_text_is(cf_pickle_at(id, 0), "storage") ||
        key.kind != CF_PICKLE_TEXT || !as_size(&declared, cf_pickle_at(id, 4)))
        return CF_FAIL(CF_EFORMAT, "%s: tensor %s has no storage", r->path, name);
    if (!find_type(&p->dtype, cf_pickle_at(id, 1), true))
        return CF_FAIL(CF_EUNSUPPORTED, "%s: tensor %s is kept in a %s, which is not read", r->path,
                       name, cf_torch_shorten(&text, cf_pickle_at(cf_pickle_at(id, 1), 1)));
    char *record;
    CF_TRY(cf_format(&record, "%s/data/%s", r->folder, cf_torch_shorten(&text, key)));
    cf_status status = cf_zip_find(&p->storage, r->zip, record);
    cf_free(record);
    if (status != CF_OK) return status;
    *n = cf_zip_size(r->zip, p->storage) / cf_st_dtype_bytes(p->dtype);
    if (declared > *n)
        return CF_FAIL(CF_EFORMAT, "%s: tensor %s: its storage has %zu elements, not %zu", r->path,
                       name, *n, declared);
    return CF_OK;
}

static cf_status read_shape(cf_weight_part *p, const cf_torch_reader *r, const char *name,
                            value sizes, value strides)
{
    p->rank = cf_pickle_count(sizes);
    if (sizes.kind != CF_PICKLE_TUPLE || strides.kind != CF_PICKLE_TUPLE ||
        cf_pickle_count(strides) != p->rank)
        return CF_FAIL(CF_EFORMAT, "%s: tensor %s: shape and strides do not fit", r->path, name);
    if (p->rank > CF_ST_MAX_RANK)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: tensor %s has more than %d dimensions", r->path, name,
                       (int)CF_ST_MAX_RANK);
    for (size_t i = 0; i < p->rank; i++)
        if (!as_size(&p->shape[i], cf_pickle_at(sizes, i)))
            return CF_FAIL(CF_EFORMAT, "%s: tensor %s: its shape is no list of sizes", r->path,
                           name);
    CF_TRY_CTX(cf_weight_part_dense(p), "%s: tensor %s", r->path, name);
    for (size_t i = 0; i < p->rank && p->n > 0; i++)
        if (!as_size(&p->stride[i], cf_pickle_at(strides, i)))
            return CF_FAIL(CF_EFORMAT, "%s: tensor %s: a stride is no size", r->path, name);
    return CF_OK;
}

/* All elements lie among the storage's n. */
static cf_status check_inside(const cf_weight_part *p, size_t n, const cf_torch_reader *r,
                              const char *name)
{
    size_t last = p->first, step;
    bool inside = true;
    if (p->n == 0) return CF_OK;
    for (size_t i = 0; i < p->rank && inside; i++)
        inside = !__builtin_mul_overflow(p->shape[i] - 1, p->stride[i], &step) &&
                 !__builtin_add_overflow(last, step, &last);
    if (!inside || last >= n)
        return CF_FAIL(CF_EFORMAT, "%s: tensor %s reaches beyond its storage of %zu elements",
                       r->path, name, n);
    if (p->n > n && p->n > MOST_REPEATED)
        return CF_FAIL(CF_EUNSUPPORTED,
                       "%s: tensor %s has %zu elements out of a storage of %zu: more than is "
                       "believed",
                       r->path, name, p->n, n);
    return CF_OK;
}

/* _rebuild_tensor(storage, offset, size, stride), _v2 with more that does not matter, and _v3
 * (storage, offset, size, stride, requires_grad, hooks, dtype). */
cf_status cf_torch_add_tensor(cf_torch_reader *r, const char *name, cf_torch_call c)
{
    cf_weight_part p = { .container = r->container };
    value a[4], function = cf_pickle_at(c.callable, 1);
    bool v3 = cf_pickle_text_is(function, "_rebuild_tensor_v3");
    cf_torch_text text;
    size_t n;
    if (!v3 && !cf_pickle_text_is(function, "_rebuild_tensor_v2") &&
        !cf_pickle_text_is(function, "_rebuild_tensor"))
        return CF_FAIL(CF_EUNSUPPORTED, "%s: tensor %s is made by %s: only plain tensors are read",
                       r->path, name, cf_torch_shorten(&text, function));
    for (size_t i = 0; i < 4; i++) a[i] = cf_pickle_at(c.arguments, i);
    CF_TRY(find_storage(&p, &n, r, name, a[0]));
    if (v3) {
        size_t bytes = n * cf_st_dtype_bytes(p.dtype);
        value dtype = cf_pickle_at(c.arguments, 6);
        if (!find_type(&p.dtype, dtype, false))
            return CF_FAIL(CF_EUNSUPPORTED, "%s: tensor %s holds %s, which is not read", r->path,
                           name, cf_torch_shorten(&text, cf_pickle_at(dtype, 1)));
        n = bytes / cf_st_dtype_bytes(p.dtype);
    }
    if (!as_size(&p.first, a[1]))
        return CF_FAIL(CF_EFORMAT, "%s: tensor %s: its offset is no size", r->path, name);
    CF_TRY(read_shape(&p, r, name, a[2], a[3]));
    CF_TRY(check_inside(&p, n, r, name));
    if (p.n == 0) p.first = 0;
    return cf_weights_add(r->w, name, &p);
}
