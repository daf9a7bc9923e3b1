/* PyTorch archives, writing: a zip whose data.pkl tells names, types and shapes, and whose data/N
 * are the numbers of tensor N.
 *
 * The pickle is protocol 2 and holds what torch.save itself writes for dictionaries of tensors, no
 * more, so that torch.load(weights_only=True) takes it: an OrderedDict of _rebuild_tensor_v2 calls
 * on persistent storages. Nothing is compressed and the time of every member is the first that zip
 * knows, so the same input gives the same bytes. The numbers start at multiples of 64 bytes, as in
 * PyTorch's own archives, by padding in an extra field. libzip asks for them when the archive is
 * closed, one member after the other. */
#include "models/weights/export.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

/* ---- the pickle ------------------------------------------------------------------------------ */

typedef struct {
    char *bytes;
    size_t n, capacity;
} pickle;

static cf_status put(pickle *p, const void *bytes, size_t n)
{
    CF_TRY(cf_grow(&p->bytes, &p->capacity, p->n + n, 1));
    memcpy(p->bytes + p->n, bytes, n);
    p->n += n;
    return CF_OK;
}

static cf_status put_code(pickle *p, const char *codes) { return put(p, codes, strlen(codes)); }

/* BINUNICODE: X, four bytes of length, UTF-8 */
static cf_status put_text(pickle *p, const char *text)
{
    size_t n = strlen(text);
    uint32_t length = (uint32_t)n;
    if (n > UINT32_MAX) return CF_FAIL(CF_EUNSUPPORTED, "a text of %zu bytes", n);
    for (const char *at = text, *end = text + n; at < end;)
        if (cf_utf8_next(&at, end) < 0) return CF_FAIL(CF_EINVAL, "not UTF-8: %.60s", text);
    CF_TRY(put_code(p, "X"));
    CF_TRY(put(p, &length, 4));
    return put(p, text, n);
}

/* BININT1, BININT or LONG1 of eight bytes */
static cf_status put_number(pickle *p, size_t value)
{
    uint8_t small = (uint8_t)value;
    uint32_t word = (uint32_t)value;
    uint64_t wide = value;
    if (value <= UINT8_MAX) {
        CF_TRY(put_code(p, "K"));
        return put(p, &small, 1);
    }
    if (value <= INT32_MAX) {
        CF_TRY(put_code(p, "J"));
        return put(p, &word, 4);
    }
    CF_ASSERT(value <= INT64_MAX);
    CF_TRY(put_code(p, "\x8a\x08"));
    return put(p, &wide, 8);
}

/* (a, b, ...) by MARK and TUPLE */
static cf_status put_sizes(pickle *p, const size_t *size, size_t n)
{
    CF_TRY(put_code(p, "("));
    for (size_t i = 0; i < n; i++) CF_TRY(put_number(p, size[i]));
    return put_code(p, "t");
}

static cf_status put_ordered_dict(pickle *p)
{
    return put_code(p, "ccollections\nOrderedDict\n)R");
}

static cf_status put_tensor(pickle *p, const cf_st_tensor *t, size_t index, size_t n)
{
    static const char *const storages[] = { [CF_ST_F32] = "ctorch\nFloatStorage\n",
                                            [CF_ST_F16] = "ctorch\nHalfStorage\n",
                                            [CF_ST_BF16] = "ctorch\nBFloat16Storage\n" };
    char key[24];
    size_t stride[CF_ST_MAX_RANK], step = 1;
    for (size_t i = t->rank; i-- > 0; step *= t->shape[i]) stride[i] = step;
    snprintf(key, sizeof key, "%zu", index);
    CF_TRY(put_code(p, "ctorch._utils\n_rebuild_tensor_v2\n(("));
    CF_TRY(put_text(p, "storage"));
    CF_TRY(put_code(p, storages[t->dtype]));
    CF_TRY(put_text(p, key));
    CF_TRY(put_text(p, "cpu"));
    CF_TRY(put_number(p, n));
    CF_TRY(put_code(p, "tQ")); /* the storage, by persistent id */
    CF_TRY(put_number(p, 0));
    CF_TRY(put_sizes(p, t->shape, t->rank));
    CF_TRY(put_sizes(p, stride, t->rank));
    CF_TRY(put_code(p, "\x89")); /* requires_grad False */
    CF_TRY(put_ordered_dict(p)); /* no hooks */
    return put_code(p, "tR");
}

static cf_status put_tensors(pickle *p, const cf_st_tensor *tensor, const size_t *n, size_t count)
{
    CF_TRY(put_ordered_dict(p));
    CF_TRY(put_code(p, "("));
    for (size_t i = 0; i < count; i++) {
        CF_TRY(put_text(p, tensor[i].name));
        CF_TRY(put_tensor(p, &tensor[i], i, n[i]));
    }
    return put_code(p, "u");
}

static cf_status put_top(pickle *p, const cf_st_tensor *tensor, const size_t *n, size_t count,
                         const char *root, const cf_st_pair *metadata, size_t n_metadata)
{
    CF_TRY(put_code(p, "\x80\x02"));
    if (!root) {
        CF_TRY(put_tensors(p, tensor, n, count));
        return put_code(p, ".");
    }
    CF_TRY(put_code(p, "}("));
    CF_TRY(put_text(p, root));
    CF_TRY(put_tensors(p, tensor, n, count));
    for (size_t i = 0; i < n_metadata; i++) {
        CF_TRY(put_text(p, metadata[i].key));
        CF_TRY_CTX(put_text(p, metadata[i].value), "metadata %s", metadata[i].key);
    }
    return put_code(p, "u.");
}

/* ---- the archive ----------------------------------------------------------------------------- */

typedef struct archive archive;

/* What libzip reads a member from. */
typedef struct {
    archive *a;
    size_t index; /* of the tensor */
    const char *bytes;
    size_t n, at; /* bytes of it; read so far */
} member;

struct archive {
    zip_t *zip;
    member *member;
    cf_st_source *source;
    void *user;
    size_t end;       /* where the next member's header will be */
    cf_status status; /* of the first source that failed */
    zip_error_t error;
};

static zip_int64_t read_member(void *user, void *data, zip_uint64_t length,
                               zip_source_cmd_t command)
{
    member *m = user;
    const void *bytes;
    size_t n;
    switch (command) {
    case ZIP_SOURCE_OPEN:
        m->at = 0;
        m->a->status = m->a->source(m->a->user, m->index, &bytes);
        m->bytes = bytes;
        if (m->a->status == CF_OK) return 0;
        zip_error_set(&m->a->error, ZIP_ER_INTERNAL, 0);
        return -1;
    case ZIP_SOURCE_READ:
        n = length < m->n - m->at ? (size_t)length : m->n - m->at;
        if (n > 0) memcpy(data, m->bytes + m->at, n);
        m->at += n;
        return (zip_int64_t)n;
    case ZIP_SOURCE_STAT:
        zip_stat_init(data);
        ((zip_stat_t *)data)->valid = ZIP_STAT_SIZE;
        ((zip_stat_t *)data)->size = m->n;
        return sizeof(zip_stat_t);
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&m->a->error, data, length);
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                              ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
                                              -1);
    default: return 0;
    }
}

static cf_status zip_failed(zip_error_t *error)
{
    return CF_FAIL(zip_error_code_zip(error) == ZIP_ER_MEMORY ? CF_ENOMEM : CF_EIO, "%s",
                   zip_error_strerror(error));
}

/* Takes the source over. n: bytes of the member. */
static cf_status add_member(archive *a, const char *name, zip_source_t *source, size_t n)
{
    enum { HEADER = 30, FIELD = 4, PADDING = 0x4246 /* "FB", PyTorch's */ };
    static const zip_uint8_t zeros[CF_ALIGN];
    if (!source) return zip_failed(zip_get_error(a->zip));
    zip_int64_t i = zip_file_add(a->zip, name, source, ZIP_FL_ENC_UTF_8);
    if (i < 0) {
        zip_source_free(source);
        return zip_failed(zip_get_error(a->zip));
    }
    zip_uint64_t index = (zip_uint64_t)i;
    size_t start = a->end + HEADER + strlen(name) + FIELD;
    size_t pad = (CF_ALIGN - start % CF_ALIGN) % CF_ALIGN;
    a->end = start + pad + n;
    if (zip_set_file_compression(a->zip, index, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(a->zip, index, 0, 0x21 /* 1980-01-01 */, 0) != 0 ||
        zip_file_extra_field_set(a->zip, index, PADDING, ZIP_EXTRA_FIELD_NEW, zeros,
                                 (zip_uint16_t)pad, ZIP_FL_LOCAL) != 0)
        return zip_failed(zip_get_error(a->zip));
    return CF_OK;
}

static cf_status add_bytes(archive *a, const char *name, const char *bytes, size_t n)
{
    return add_member(a, name, zip_source_buffer(a->zip, bytes, n, 0), n);
}

static cf_status add_tensors(archive *a, const cf_st_tensor *tensor, const size_t *n, size_t count)
{
    CF_TRY(cf_alloc_zero(&a->member, count, sizeof *a->member));
    for (size_t i = 0; i < count; i++) {
        char name[48];
        member *m = &a->member[i];
        *m = (member){ .a = a, .index = i, .n = n[i] * cf_st_dtype_bytes(tensor[i].dtype) };
        snprintf(name, sizeof name, "archive/data/%zu", i);
        CF_TRY(add_member(a, name, zip_source_function(a->zip, read_member, m), m->n));
    }
    return CF_OK;
}

static cf_status close_archive(archive *a)
{
    if (zip_close(a->zip) == 0) {
        a->zip = NULL;
        return CF_OK;
    }
    if (a->status != CF_OK) return a->status; /* its line is the one that says why */
    return zip_failed(zip_get_error(a->zip));
}

static cf_status write_archive(const char *path, const pickle *p, const cf_st_tensor *tensor,
                               const size_t *n, size_t count, cf_st_source *source, void *user)
{
    archive a = { .source = source, .user = user };
    cf_status status = CF_OK;
    int code;
    zip_error_init(&a.error);
    a.zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    if (!a.zip) {
        zip_error_init_with_code(&a.error, code);
        CF_GO(zip_failed(&a.error));
    }
    CF_GO(add_bytes(&a, "archive/data.pkl", p->bytes, p->n));
    CF_GO(add_bytes(&a, "archive/byteorder", "little", strlen("little")));
    CF_GO(add_tensors(&a, tensor, n, count));
    CF_GO(add_bytes(&a, "archive/version", "3\n", 2));
    CF_GO(close_archive(&a));
done:
    if (a.zip) zip_discard(a.zip);
    zip_error_fini(&a.error);
    cf_free(a.member);
    return status;
}

static cf_status count_elements(size_t *n, const cf_st_tensor *tensor, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CF_ASSERT(tensor[i].dtype <= CF_ST_BF16 && tensor[i].rank <= CF_ST_MAX_RANK);
        n[i] = 1;
        for (size_t k = 0; k < tensor[i].rank; k++)
            CF_TRY(cf_mul_size(&n[i], n[i], tensor[i].shape[k]));
    }
    return CF_OK;
}

cf_status cf_torch_write_from(const char *path, const cf_st_tensor *tensor, size_t n_tensors,
                              const char *root, const cf_st_pair *metadata, size_t n_metadata,
                              cf_st_source *source, void *user)
{
    pickle p = { 0 };
    char *temporary = NULL;
    size_t *n = NULL;
    cf_status status = CF_OK;
    CF_GO(cf_format(&temporary, "%s.tmp", path));
    CF_GO(cf_alloc(&n, n_tensors, sizeof *n));
    CF_GO(count_elements(n, tensor, n_tensors));
    CF_GO(put_top(&p, tensor, n, n_tensors, root, metadata, n_metadata));
    CF_GO(write_archive(temporary, &p, tensor, n, n_tensors, source, user));
    CF_GO(cf_file_replace(path, temporary));
done:
    if (status != CF_OK && temporary) unlink(temporary);
    cf_free(temporary);
    cf_free(n);
    cf_free(p.bytes);
    return status == CF_OK ? CF_OK : cf_fail_context(status, "cannot write %s", path);
}
