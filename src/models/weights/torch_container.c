/* PyTorch's zip archives as a container: what torch.save and torch.jit.save write.
 *
 * All records lie in one folder, whatever its name: data.pkl describes the tensors, data/KEY holds
 * the storage of that key, byteorder (since 2.1) says "little" or "big". The pickle is read as
 * inert data (pickle.h); here is decided what of it means a tensor: objects that would call
 * torch._utils._rebuild_tensor_v2 and its kin, their storages by persistent id.
 *   torch.save      a dictionary by name, perhaps under `model`, `state_dict` or `model_state`
 *   torch.jit.save  modules within modules, whose attributes joined by dots are the names
 * source: torch/_utils.py, torch/serialization.py and the pickler of TorchScript (PyTorch 1.6 to
 * 2.x). */
#include "models/weights/torch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef cf_pickle_value value;

/* Depth of modules in modules, and attributes looked at in all. */
enum { DEEPEST = 32, MOST_STEPS = 1 << 20, MOST_PICKLE = 16 << 20, NAME_SIZE = 600 };
typedef struct {
    cf_container base;
    cf_zip *zip;
} torch_container;

/* ---- the container --------------------------------------------------------------------------- */

static cf_status map_storage(const void **out, const cf_container *c, size_t storage)
{
    return cf_zip_map(out, ((const torch_container *)c)->zip, storage);
}

static cf_status read_storage(void *out, const cf_container *c, size_t storage, size_t begin,
                              size_t n)
{
    return cf_zip_read(out, ((const torch_container *)c)->zip, storage, begin, n);
}

static void close_container(cf_container *c)
{
    cf_zip_close(((torch_container *)c)->zip);
    cf_free(c);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* out = prefix + name, the dot included in the prefix. */
static cf_status join_name(char out[NAME_SIZE], const cf_torch_reader *r, const char *prefix,
                           value name)
{
    size_t n = strlen(prefix);
    if (name.length > NAME_SIZE - 1 - n)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: a tensor's name is longer than %d bytes", r->path,
                       NAME_SIZE - 1);
    const char *at = name.text, *end = name.text + name.length;
    while (at < end)
        if (cf_utf8_next(&at, end) <= 0)
            return CF_FAIL(CF_EFORMAT, "%s: a tensor's name is no text", r->path);
    memmove(out, prefix, n);
    memcpy(out + n, name.text, name.length);
    out[n + name.length] = 0;
    return CF_OK;
}

/* The shortest writing that is read back as the same number. */
static void print_float(char out[32], double number)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, 32, "%.*g", digits, number);
        if (strtod(out, NULL) == number) return;
    }
}

static cf_status add_metadata(cf_torch_reader *r, value key, value v)
{
    char name[NAME_SIZE], number[32];
    char *text = NULL;
    CF_TRY(join_name(name, r, "", key));
    if (v.kind == CF_PICKLE_INT)
        snprintf(number, sizeof number, "%" PRId64, v.i);
    else if (v.kind == CF_PICKLE_FLOAT)
        print_float(number, v.f);
    else if (v.kind != CF_PICKLE_TEXT || memchr(v.text, 0, v.length))
        return CF_OK;
    if (v.kind != CF_PICKLE_TEXT) return cf_weights_add_metadata(r->w, name, number);
    CF_TRY(cf_alloc(&text, (size_t)v.length + 1, 1));
    memcpy(text, v.text, v.length);
    text[v.length] = 0;
    cf_status status = cf_weights_add_metadata(r->w, name, text);
    cf_free(text);
    return status;
}

/* ---- torch.save ------------------------------------------------------------------------------ */

static bool is_dictionary(value v)
{
    return v.kind == CF_PICKLE_DICT || v.kind == CF_PICKLE_OBJECT;
}

/* Tensors of the dictionary become entries, its numbers and texts metadata. */
static cf_status add_dictionary(cf_torch_reader *r, value dictionary)
{
    value key, v;
    char name[NAME_SIZE];
    for (cf_pickle_walk w = cf_pickle_items(dictionary); cf_pickle_next_pair(&key, &v, &w);) {
        cf_torch_call c = cf_torch_unwrap(v);
        if (key.kind != CF_PICKLE_TEXT) continue;
        if (cf_torch_is_tensor(c)) {
            CF_TRY(join_name(name, r, "", key));
            CF_TRY(cf_torch_add_tensor(r, name, c));
        } else {
            CF_TRY(add_metadata(r, key, v));
        }
    }
    return CF_OK;
}

/* Numbers and texts only. */
static cf_status add_top_level(cf_torch_reader *r, value top)
{
    value key, v;
    for (cf_pickle_walk w = cf_pickle_items(top); cf_pickle_next_pair(&key, &v, &w);)
        if (key.kind == CF_PICKLE_TEXT) CF_TRY(add_metadata(r, key, v));
    return CF_OK;
}

static bool find_wrapped(value *out, value top)
{
    static const char *const names[] = { "model", "state_dict", "model_state" };
    value key, v;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (cf_pickle_walk w = cf_pickle_items(top); cf_pickle_next_pair(&key, &v, &w);)
            if (cf_pickle_text_is(key, names[i]) && is_dictionary(v) &&
                !cf_torch_is_tensor(cf_torch_unwrap(v))) {
                *out = v;
                return true;
            }
    return false;
}

static cf_status refuse_empty(const cf_torch_reader *r, value top)
{
    char list[256] = "";
    size_t at = 0, n = 0;
    value key, v, class = cf_pickle_object_of(top).callable;
    cf_torch_text text, module;
    for (cf_pickle_walk w = cf_pickle_items(top); cf_pickle_next_pair(&key, &v, &w); n++)
        if (n < 4 && at < sizeof list)
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", n > 0 ? ", " : "",
                                   cf_torch_shorten(&text, key));
    if (is_dictionary(top) && n > 0)
        return CF_FAIL(CF_EFORMAT,
                       "%s holds no tensors at its top level nor under model, state_dict or "
                       "model_state; its top level has %zu entries: %s%s",
                       r->path, n, list, n > 4 ? ", ..." : "");
    if (class.kind == CF_PICKLE_GLOBAL && !cf_pickle_global_is(class, "collections", "OrderedDict"))
        return CF_FAIL(CF_EFORMAT, "%s holds an object %s.%s, not a dictionary of tensors by name",
                       r->path, cf_torch_shorten(&module, cf_pickle_at(class, 0)),
                       cf_torch_shorten(&text, cf_pickle_at(class, 1)));
    return CF_FAIL(CF_EFORMAT, "%s holds no dictionary of tensors", r->path);
}

static cf_status read_saved(cf_torch_reader *r, value top)
{
    value wrapped;
    size_t before = cf_weights_count(r->w);
    if (find_wrapped(&wrapped, top)) {
        CF_TRY(add_top_level(r, top));
        CF_TRY(add_dictionary(r, wrapped));
    } else if (is_dictionary(top)) {
        CF_TRY(add_dictionary(r, top));
    }
    return cf_weights_count(r->w) > before ? CF_OK : refuse_empty(r, top);
}

/* ---- torch.jit.save -------------------------------------------------------------------------- */

static bool is_module(value v)
{
    value module = cf_pickle_at(cf_pickle_object_of(v).callable, 0);
    return module.kind == CF_PICKLE_TEXT && module.length >= 9 &&
           memcmp(module.text, "__torch__", 9) == 0;
}

static cf_status add_module(cf_torch_reader *r, value module, const char *prefix, int depth)
{
    value key, v;
    char name[NAME_SIZE];
    if (depth > DEEPEST)
        return CF_FAIL(CF_EFORMAT, "%s: modules lie more than %d deep in each other", r->path,
                       DEEPEST);
    value state = cf_pickle_object_of(module).state;
    for (cf_pickle_walk w = cf_pickle_items(state); cf_pickle_next_pair(&key, &v, &w);) {
        if (r->steps++ > MOST_STEPS)
            return CF_FAIL(CF_EFORMAT, "%s: its modules have more than %d attributes", r->path,
                           MOST_STEPS);
        cf_torch_call c = cf_torch_unwrap(v);
        if (key.kind != CF_PICKLE_TEXT) continue;
        if (cf_torch_is_tensor(c)) {
            CF_TRY(join_name(name, r, prefix, key));
            CF_TRY(cf_torch_add_tensor(r, name, c));
        } else if (is_module(v)) {
            CF_TRY(join_name(name, r, prefix, key));
            if (strlen(name) + 2 > NAME_SIZE)
                return CF_FAIL(CF_EUNSUPPORTED, "%s: a tensor's name is too long", r->path);
            strcat(name, ".");
            CF_TRY(add_module(r, v, name, depth + 1));
        } else if (depth == 0) {
            CF_TRY(add_metadata(r, key, v));
        }
    }
    return CF_OK;
}

static cf_status read_script(cf_torch_reader *r, value top)
{
    size_t before = cf_weights_count(r->w);
    CF_TRY(add_module(r, top, "", 0));
    if (cf_weights_count(r->w) == before)
        return CF_FAIL(CF_EFORMAT, "%s: its modules hold no tensors", r->path);
    r->container->kind = "TorchScript archive";
    return CF_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* A small record whole; *copy is the caller's to free, NULL where the bytes are mapped. */
static cf_status whole_record(const char **bytes, size_t *n, char **copy, cf_zip *zip,
                              const char *path, const char *record, size_t most)
{
    size_t i;
    const void *mapped;
    CF_TRY(cf_zip_find(&i, zip, record));
    CF_TRY_CTX(cf_zip_map(&mapped, zip, i), "%s", path);
    *n = cf_zip_size(zip, i);
    *bytes = mapped;
    if (mapped) return CF_OK;
    if (*n > most)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: record %s unpacks to %zu bytes; the most is %zu", path,
                       record, *n, most);
    CF_TRY(cf_alloc(copy, *n, 1));
    cf_status status = cf_zip_read(*copy, zip, i, 0, *n);
    *bytes = *copy;
    if (status != CF_OK) return cf_fail_context(status, "%s", path), status;
    return CF_OK;
}

static cf_status check_byte_order(const cf_torch_reader *r)
{
    char *record, *copy = NULL;
    const char *order;
    size_t n;
    CF_TRY(cf_format(&record, "%s/byteorder", r->folder));
    cf_status status = whole_record(&order, &n, &copy, r->zip, r->path, record, 64);
    if (status == CF_ENOTFOUND)
        status = CF_OK; /* before PyTorch 2.1 */
    else if (status == CF_OK && (n != 6 || memcmp(order, "little", 6) != 0))
        status = CF_FAIL(CF_EUNSUPPORTED,
                         "%s: its numbers are in the order of a big-endian machine", r->path);
    cf_free(copy);
    cf_free(record);
    return status;
}

static cf_status read_pickle(cf_torch_reader *r, size_t archive_bytes)
{
    char *record = NULL, *name = NULL, *copy = NULL;
    const char *bytes;
    cf_pickle *p = NULL;
    size_t n, most = MOST_PICKLE + archive_bytes;
    cf_status status = CF_OK;
    CF_GO(cf_format(&record, "%s/data.pkl", r->folder));
    CF_GO(cf_format(&name, "%s: %s", r->path, record));
    status = whole_record(&bytes, &n, &copy, r->zip, r->path, record, most);
    if (status == CF_ENOTFOUND)
        status = CF_FAIL(CF_EFORMAT, "%s is a zip archive, but none of PyTorch: it has no %s",
                         r->path, record);
    if (status != CF_OK) goto done;
    CF_GO(cf_pickle_open(&p, bytes, n, most, name));
    value top = cf_pickle_root(p);
    CF_GO(is_module(top) ? read_script(r, top) : read_saved(r, top));
done:
    cf_pickle_close(p);
    cf_free(copy);
    cf_free(record);
    cf_free(name);
    return status;
}

cf_status cf_torch_into(cf_weights *w, const void *bytes, size_t n, const char *name)
{
    torch_container *c;
    CF_TRY(cf_alloc_zero(&c, 1, sizeof *c));
    c->base = (cf_container){ .kind = "PyTorch archive",
                              .map = map_storage,
                              .read = read_storage,
                              .close = close_container };
    cf_status status = cf_zip_open(&c->zip, bytes, n, name);
    if (status != CF_OK) {
        cf_free(c);
        return status;
    }
    CF_TRY(cf_weights_own(w, &c->base));
    cf_torch_reader r = { .w = w, .container = &c->base, .zip = c->zip, .path = name };
    CF_TRY(cf_zip_folder(&r.folder, c->zip));
    CF_TRY(check_byte_order(&r));
    return read_pickle(&r, n);
}
