/* safetensors, writing: the header is made in memory, the data streams through a cf_writer.
 *
 * Nothing but the arguments decides the bytes: metadata and tensors stand in the order given,
 * numbers are decimal, texts escape only what JSON demands. The header is padded with spaces to
 * where the data starts at a multiple of 64 bytes; each tensor follows the one before it without a
 * gap, as the format demands. A checksum is computed before anything is written: its digits stand
 * at a fixed place, in the first pair of the metadata. */
#include "crossframe/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* A growing text. */
typedef struct {
    char *bytes;
    size_t n, capacity;
} text;

static cf_status put(text *t, const char *bytes, size_t n)
{
    CF_TRY(cf_grow(&t->bytes, &t->capacity, t->n + n, 1));
    if (n > 0) memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    return CF_OK;
}

static cf_status put_plain(text *t, const char *s) { return put(t, s, strlen(s)); }

static cf_status put_size(text *t, size_t value)
{
    char digits[24];
    return put(t, digits, (size_t)snprintf(digits, sizeof digits, "%zu", value));
}

/* "s" as JSON; CF_EINVAL if it is not UTF-8, which other readers of the format refuse. */
static cf_status put_quoted(text *t, const char *s)
{
    CF_TRY(put(t, "\"", 1));
    for (const char *end = s + strlen(s); s < end;) {
        const char *at = s;
        int32_t c = cf_utf8_next(&s, end);
        char escape[8];
        if (c < 0) return CF_FAIL(CF_EINVAL, "not UTF-8: %.60s", at);
        if (c == '"' || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", (char)c);
        else if (c < 0x20)
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
        else {
            CF_TRY(put(t, at, (size_t)(s - at)));
            continue;
        }
        CF_TRY(put_plain(t, escape));
    }
    return put(t, "\"", 1);
}

static cf_status tensor_bytes(size_t *out, const cf_st_tensor *t)
{
    size_t bytes = cf_st_dtype_bytes(t->dtype);
    CF_ASSERT(t->rank <= CF_ST_MAX_RANK);
    for (size_t i = 0; i < t->rank; i++) CF_TRY(cf_mul_size(&bytes, bytes, t->shape[i]));
    *out = bytes;
    return CF_OK;
}

static cf_status put_tensor(text *t, const cf_st_tensor *tensor, size_t begin, size_t end)
{
    CF_TRY(put_quoted(t, tensor->name));
    CF_TRY(put_plain(t, ":{\"dtype\":\""));
    CF_TRY(put_plain(t, cf_st_dtype_name(tensor->dtype)));
    CF_TRY(put_plain(t, "\",\"shape\":["));
    for (size_t i = 0; i < tensor->rank; i++) {
        if (i > 0) CF_TRY(put(t, ",", 1));
        CF_TRY(put_size(t, tensor->shape[i]));
    }
    CF_TRY(put_plain(t, "],\"data_offsets\":["));
    CF_TRY(put_size(t, begin));
    CF_TRY(put(t, ",", 1));
    CF_TRY(put_size(t, end));
    return put_plain(t, "]}");
}

static cf_status put_metadata(text *t, const cf_st_pair *metadata, size_t n)
{
    CF_TRY(put_plain(t, "\"__metadata__\":{"));
    for (size_t i = 0; i < n; i++) {
        if (i > 0) CF_TRY(put(t, ",", 1));
        CF_TRY(put_quoted(t, metadata[i].key));
        CF_TRY(put(t, ":", 1));
        CF_TRY_CTX(put_quoted(t, metadata[i].value), "metadata %s", metadata[i].key);
    }
    return put(t, "}", 1);
}

static cf_status make_header(text *t, const cf_st_tensor *tensor, size_t n_tensors,
                             const cf_st_pair *metadata, size_t n_metadata)
{
    enum { LENGTH = 8 };
    size_t end = 0;
    CF_TRY(put(t, "{", 1));
    if (n_metadata > 0) CF_TRY(put_metadata(t, metadata, n_metadata));
    for (size_t i = 0; i < n_tensors; i++) {
        size_t bytes;
        CF_TRY_CTX(tensor_bytes(&bytes, &tensor[i]), "tensor %s", tensor[i].name);
        if (i > 0 || n_metadata > 0) CF_TRY(put(t, ",", 1));
        CF_TRY(put_tensor(t, &tensor[i], end, end + bytes));
        end += bytes;
    }
    CF_TRY(put(t, "}", 1));
    while ((LENGTH + t->n) % CF_ALIGN != 0) CF_TRY(put(t, " ", 1));
    return CF_OK;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No two of these names are equal. `step` is the distance of one name pointer to the next. */
static cf_status check_unique(const char *const *name, size_t n, size_t step, const char *what)
{
    const char **sorted;
    CF_TRY(cf_alloc(&sorted, n, sizeof *sorted));
    for (size_t i = 0; i < n; i++)
        memcpy(&sorted[i], (const char *)name + i * step, sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_texts);
    cf_status status = CF_OK;
    for (size_t i = 1; i < n && status == CF_OK; i++) {
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            status = CF_FAIL(CF_EINVAL, "two %s are named %s", what, sorted[i]);
    }
    for (size_t i = 0; i < n && status == CF_OK; i++) {
        if (strcmp(sorted[i], "__metadata__") == 0)
            status = CF_FAIL(CF_EINVAL, "one of the %s has the reserved name __metadata__", what);
    }
    cf_free(sorted);
    return status;
}

static cf_status prepare_header(text *header, const cf_st_tensor *tensor, size_t n_tensors,
                                const cf_st_pair *metadata, size_t n_metadata)
{
    if (n_tensors > 0) CF_TRY(check_unique(&tensor->name, n_tensors, sizeof *tensor, "tensors"));
    if (n_metadata > 0)
        CF_TRY(check_unique(&metadata->key, n_metadata, sizeof *metadata, "metadata"));
    return make_header(header, tensor, n_tensors, metadata, n_metadata);
}

/* Hands a tensor's bytes on, those of another file in pieces. */
typedef cf_status piece_fn(void *user, const void *bytes, size_t n);
static cf_status in_pieces(const cf_st_tensor *t, const void *bytes, size_t n, piece_fn *to,
                           void *user)
{
    enum { PIECE = 1 << 20 };
    if (bytes || n == 0) return to(user, bytes, n);
    char *piece;
    CF_TRY(cf_alloc(&piece, n < PIECE ? n : PIECE, 1));
    cf_status status = CF_OK;
    for (size_t at = 0; at < n && status == CF_OK; at += PIECE) {
        size_t now = n - at < PIECE ? n - at : PIECE;
        status = cf_file_read_at(t->file, t->name, piece, now, t->file_at + (int64_t)at);
        if (status == CF_OK) status = to(user, piece, now);
    }
    cf_free(piece);
    return status;
}

static cf_status put_piece(void *user, const void *bytes, size_t n)
{
    return cf_writer_put(user, bytes, n);
}

static cf_status put_file(const char *path, const text *header, const cf_st_tensor *tensor,
                          size_t n_tensors, cf_st_source *source, void *user)
{
    cf_writer *w = NULL;
    cf_status status = CF_OK;
    CF_GO(cf_writer_new(&w, path));
    uint64_t length = header->n;
    CF_GO(cf_writer_put(w, &length, sizeof length));
    CF_GO(cf_writer_put(w, header->bytes, header->n));
    for (size_t i = 0; i < n_tensors; i++) {
        size_t n;
        const void *bytes;
        CF_GO(tensor_bytes(&n, &tensor[i]));
        CF_GO(source(user, i, &bytes));
        CF_GO(in_pieces(&tensor[i], bytes, n, put_piece, w));
    }
    status = cf_writer_commit(w);
    w = NULL;
done:
    cf_writer_abort(w);
    return status;
}

cf_status cf_st_write_from(const char *path, const cf_st_tensor *tensor, size_t n_tensors,
                           const cf_st_pair *metadata, size_t n_metadata, cf_st_source *source,
                           void *user)
{
    text header = { 0 };
    cf_status status = prepare_header(&header, tensor, n_tensors, metadata, n_metadata);
    if (status == CF_OK) status = put_file(path, &header, tensor, n_tensors, source, user);
    cf_free(header.bytes);
    return status == CF_OK ? CF_OK : cf_fail_context(status, "cannot write %s", path);
}

static cf_status lend(void *user, size_t i, const void **bytes)
{
    *bytes = ((const cf_st_tensor *)user)[i].data;
    return CF_OK;
}

cf_status cf_st_write(const char *path, const cf_st_tensor *tensor, size_t n_tensors,
                      const cf_st_pair *metadata, size_t n_metadata)
{
    return cf_st_write_from(path, tensor, n_tensors, metadata, n_metadata, lend,
                            (void *)(uintptr_t)tensor);
}

/* ---- with a checksum ------------------------------------------------------------------------- */

static cf_status add_to_crc(void *user, const void *bytes, size_t n)
{
    unsigned long *crc = user;
    if (n > 0) *crc = crc32_z(*crc, bytes, n);
    return CF_OK;
}

/* CRC-32 of the file whose header this is, its digits still zeros. */
static cf_status crc_of(unsigned long *out, const text *header, const cf_st_tensor *tensor,
                        size_t n_tensors)
{
    uint64_t length = header->n;
    unsigned long crc = crc32_z(0, (const unsigned char *)&length, sizeof length);
    crc = crc32_z(crc, (const unsigned char *)header->bytes, header->n);
    for (size_t i = 0; i < n_tensors; i++) {
        size_t n;
        CF_TRY(tensor_bytes(&n, &tensor[i]));
        CF_TRY(in_pieces(&tensor[i], tensor[i].data, n, add_to_crc, &crc));
    }
    *out = crc;
    return CF_OK;
}

static cf_status make_checked_header(text *header, const cf_st_tensor *tensor, size_t n_tensors,
                                     const cf_st_pair *metadata, size_t n_metadata)
{
    static const char start[] = "{\"__metadata__\":{\"" CF_ST_CRC_KEY "\":\"";
    cf_st_pair *pairs;
    unsigned long crc;
    CF_TRY(cf_alloc(&pairs, n_metadata + 2, sizeof *pairs));
    pairs[0] = (cf_st_pair){ CF_ST_CRC_KEY, "00000000" };
    if (n_metadata > 0) memcpy(pairs + 1, metadata, n_metadata * sizeof *metadata);
    pairs[n_metadata + 1] =
        (cf_st_pair){ CF_ST_CHECKSUM_KEY, CF_ST_CRC_KEY " of the file, with its digits as zeros" };
    cf_status status = prepare_header(header, tensor, n_tensors, pairs, n_metadata + 2);
    cf_free(pairs);
    CF_TRY(status);
    CF_TRY(crc_of(&crc, header, tensor, n_tensors));
    char digits[9];
    snprintf(digits, sizeof digits, "%08lx", crc);
    memcpy(header->bytes + sizeof start - 1, digits, 8);
    return CF_OK;
}

cf_status cf_st_write_checked(const char *path, const cf_st_tensor *tensor, size_t n_tensors,
                              const cf_st_pair *metadata, size_t n_metadata)
{
    text header = { 0 };
    cf_status status = make_checked_header(&header, tensor, n_tensors, metadata, n_metadata);
    if (status == CF_OK)
        status = put_file(path, &header, tensor, n_tensors, lend, (void *)(uintptr_t)tensor);
    cf_free(header.bytes);
    return status == CF_OK ? CF_OK : cf_fail_context(status, "cannot write %s", path);
}
