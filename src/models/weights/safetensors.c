/* safetensors, reading: mapping, the JSON header, validation.
 *
 * A header is not trusted: json.h bounds what parsing it can cost. Then each tensor's shape must
 * fill its byte range exactly, and the ranges, sorted, must cover the data from first to last byte.
 * The names live in one block, the tensors in one array in the order of their data, and an index
 * sorted by name serves look-ups. */
#include "crossframe/safetensors.h"

#include "crossframe/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "numbers are read in the file's own order");

enum { MOST_HEADER = 100000000, DEEPEST = 4 };

typedef struct {
    const char *key, *value;
} pair;

typedef struct {
    size_t begin, end;
} range;

struct cf_st_file {
    char *path;
    void *map; /* NULL: the caller's bytes */
    size_t map_bytes;
    cf_st_tensor *tensors;
    const cf_st_tensor **by_name;
    pair *metadata;
    char *texts; /* all names, keys and values */
    size_t n_tensors, n_metadata;
};

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [CF_ST_F32] = { "F32", 4 },   [CF_ST_F16] = { "F16", 2 }, [CF_ST_BF16] = { "BF16", 2 },
    [CF_ST_F64] = { "F64", 8 },   [CF_ST_I64] = { "I64", 8 }, [CF_ST_I32] = { "I32", 4 },
    [CF_ST_I16] = { "I16", 2 },   [CF_ST_I8] = { "I8", 1 },   [CF_ST_U64] = { "U64", 8 },
    [CF_ST_U32] = { "U32", 4 },   [CF_ST_U16] = { "U16", 2 }, [CF_ST_U8] = { "U8", 1 },
    [CF_ST_BOOL] = { "BOOL", 1 },
};
enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

const char *cf_st_dtype_name(cf_st_dtype dtype) { return dtypes[dtype].name; }
size_t cf_st_dtype_bytes(cf_st_dtype dtype) { return dtypes[dtype].bytes; }

/* ---- the header's bytes ---------------------------------------------------------------------- */

bool cf_st_looks_like(const void *bytes, size_t n)
{
    uint64_t header;
    if (n < 10) return false;
    memcpy(&header, bytes, sizeof header);
    return header >= 2 && header <= MOST_HEADER && ((const char *)bytes)[8] == '{';
}

static cf_status parse_header(cJSON **out, const char *path, const char *bytes, size_t n)
{
    uint64_t length;
    if (n < sizeof length)
        return CF_FAIL(CF_EFORMAT, "%s is not a safetensors file: %zu bytes", path, n);
    memcpy(&length, bytes, sizeof length);
    if (length > MOST_HEADER || length < 2 || (n > 8 && bytes[8] != '{'))
        return CF_FAIL(CF_EFORMAT, "%s is not a safetensors file", path);
    if (length > n - 8)
        return CF_FAIL(CF_EFORMAT, "%s is cut off: a header of %zu bytes in a file of %zu", path,
                       (size_t)length, n);
    return cf_json_parse(out, path, "the header", bytes + 8, (size_t)length, DEEPEST);
}

/* ---- one tensor's entry ---------------------------------------------------------------------- */

/* A whole number that a double holds exactly. */
static bool as_size(size_t *out, const cJSON *value)
{
    if (!cJSON_IsNumber(value)) return false;
    double v = value->valuedouble;
    if (!(v >= 0 && v <= 9007199254740992.0) || v != (double)(uint64_t)v) return false;
    *out = (size_t)v;
    return true;
}

/* The one member of this name; CF_EFORMAT if it is not there or there twice. */
static cf_status member(const cJSON **out, const char *path, const cJSON *entry, const char *name)
{
    const cJSON *found = NULL, *child;
    cJSON_ArrayForEach(child, entry)
    {
        if (strcmp(child->string, name) != 0) continue;
        if (found)
            return CF_FAIL(CF_EFORMAT, "%s: tensor %s has %s twice", path, entry->string, name);
        found = child;
    }
    if (!found) return CF_FAIL(CF_EFORMAT, "%s: tensor %s has no %s", path, entry->string, name);
    *out = found;
    return CF_OK;
}

static cf_status read_dtype(cf_st_dtype *out, const char *path, const cJSON *entry)
{
    const cJSON *value;
    CF_TRY(member(&value, path, entry, "dtype"));
    if (!cJSON_IsString(value))
        return CF_FAIL(CF_EFORMAT, "%s: tensor %s: dtype is no text", path, entry->string);
    for (int i = 0; i < N_DTYPES; i++) {
        if (strcmp(dtypes[i].name, value->valuestring) != 0) continue;
        *out = (cf_st_dtype)i;
        return CF_OK;
    }
    return CF_FAIL(CF_EUNSUPPORTED, "%s: tensor %s has the unknown dtype %.40s", path,
                   entry->string, value->valuestring);
}

static cf_status read_shape(cf_st_tensor *t, const char *path, const cJSON *entry)
{
    const cJSON *value, *item;
    CF_TRY(member(&value, path, entry, "shape"));
    if (!cJSON_IsArray(value))
        return CF_FAIL(CF_EFORMAT, "%s: tensor %s: shape is no list", path, entry->string);
    t->rank = 0;
    t->n = 1;
    cJSON_ArrayForEach(item, value)
    {
        if (t->rank == CF_ST_MAX_RANK)
            return CF_FAIL(CF_EUNSUPPORTED, "%s: tensor %s has more than %d dimensions", path,
                           entry->string, (int)CF_ST_MAX_RANK);
        size_t *size = &t->shape[t->rank++];
        if (!as_size(size, item) || cf_mul_size(&t->n, t->n, *size) != CF_OK)
            return CF_FAIL(CF_EFORMAT, "%s: tensor %s: its shape is no list of sizes", path,
                           entry->string);
    }
    return CF_OK;
}

static cf_status read_entry(cf_st_tensor *t, range *r, const char *path, const cJSON *entry,
                            size_t data_bytes)
{
    if (!cJSON_IsObject(entry))
        return CF_FAIL(CF_EFORMAT, "%s: tensor %s: its entry is no object", path, entry->string);
    CF_TRY(read_dtype(&t->dtype, path, entry));
    CF_TRY(read_shape(t, path, entry));
    const cJSON *offsets;
    CF_TRY(member(&offsets, path, entry, "data_offsets"));
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !as_size(&r->begin, offsets->child) || !as_size(&r->end, offsets->child->next) ||
        r->begin > r->end)
        return CF_FAIL(CF_EFORMAT, "%s: tensor %s: data_offsets is no range", path, entry->string);
    if (r->end > data_bytes)
        return CF_FAIL(CF_EFORMAT, "%s is cut off: tensor %s ends at byte %zu of %zu", path,
                       entry->string, r->end, data_bytes);
    size_t bytes;
    if (cf_mul_size(&bytes, t->n, dtypes[t->dtype].bytes) != CF_OK || bytes != r->end - r->begin)
        return CF_FAIL(CF_EFORMAT, "%s: tensor %s: its shape and its %zu bytes disagree", path,
                       entry->string, r->end - r->begin);
    return CF_OK;
}

/* ---- the whole header ------------------------------------------------------------------------ */

static int compare_place(const void *a, const void *b)
{
    const cf_st_tensor *x = a, *y = b;
    const char *x_data = x->data, *y_data = y->data;
    if (x_data != y_data) return x_data < y_data ? -1 : 1;
    size_t x_end = x->n * dtypes[x->dtype].bytes, y_end = y->n * dtypes[y->dtype].bytes;
    if (x_end != y_end) return x_end < y_end ? -1 : 1; /* an empty one before what starts there */
    return strcmp(x->name, y->name);
}

static int compare_name(const void *a, const void *b)
{
    return strcmp((*(const cf_st_tensor *const *)a)->name, (*(const cf_st_tensor *const *)b)->name);
}

static int compare_key(const void *a, const void *b)
{
    return strcmp(((const pair *)a)->key, ((const pair *)b)->key);
}

static const char *keep_text(char **next, const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = memcpy(*next, text, n);
    *next += n;
    return copy;
}

static cf_status read_metadata(cf_st_file *f, const cJSON *entry, char **next)
{
    if (!cJSON_IsObject(entry))
        return CF_FAIL(CF_EFORMAT, "%s: __metadata__ is no object", f->path);
    const cJSON *child;
    cJSON_ArrayForEach(child, entry)
    {
        if (!cJSON_IsString(child))
            return CF_FAIL(CF_EFORMAT, "%s: the metadata %s is no text", f->path, child->string);
        pair *p = &f->metadata[f->n_metadata++];
        p->key = keep_text(next, child->string);
        p->value = keep_text(next, child->valuestring);
    }
    qsort(f->metadata, f->n_metadata, sizeof *f->metadata, compare_key);
    for (size_t i = 1; i < f->n_metadata; i++) {
        if (compare_key(&f->metadata[i - 1], &f->metadata[i]) == 0)
            return CF_FAIL(CF_EFORMAT, "%s: the metadata %s is there twice", f->path,
                           f->metadata[i].key);
    }
    return CF_OK;
}

/* Room for what the header names: tensors, pairs, and all their texts. */
static cf_status reserve(cf_st_file *f, const cJSON *root)
{
    size_t tensors = 0, pairs = 0, bytes = 0;
    const cJSON *entry, *child;
    cJSON_ArrayForEach(entry, root)
    {
        bytes += strlen(entry->string) + 1;
        tensors++;
        if (strcmp(entry->string, "__metadata__") != 0) continue;
        cJSON_ArrayForEach(child, entry)
        {
            pairs++;
            if (child->string) bytes += strlen(child->string) + 1;
            if (cJSON_IsString(child)) bytes += strlen(child->valuestring) + 1;
        }
    }
    CF_TRY(cf_alloc(&f->tensors, tensors, sizeof *f->tensors));
    CF_TRY(cf_alloc(&f->by_name, tensors, sizeof *f->by_name));
    CF_TRY(cf_alloc(&f->metadata, pairs, sizeof *f->metadata));
    return cf_alloc(&f->texts, bytes, 1);
}

static cf_status read_entries(cf_st_file *f, const cJSON *root, const char *data, size_t data_bytes)
{
    CF_TRY(reserve(f, root));
    char *next = f->texts;
    bool seen_metadata = false;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, root)
    {
        if (strcmp(entry->string, "__metadata__") == 0) {
            if (seen_metadata)
                return CF_FAIL(CF_EFORMAT, "%s: __metadata__ is there twice", f->path);
            seen_metadata = true;
            CF_TRY(read_metadata(f, entry, &next));
            continue;
        }
        range r;
        cf_st_tensor *t = &f->tensors[f->n_tensors];
        CF_TRY(read_entry(t, &r, f->path, entry, data_bytes));
        t->name = keep_text(&next, entry->string);
        t->data = data + r.begin;
        f->n_tensors++;
    }
    return CF_OK;
}

/* Sorts, and holds that the tensors fill the data exactly and that no name is there twice. */
static cf_status check_entries(cf_st_file *f, const char *data, size_t data_bytes)
{
    qsort(f->tensors, f->n_tensors, sizeof *f->tensors, compare_place);
    size_t end = 0;
    for (size_t i = 0; i < f->n_tensors; i++) {
        const cf_st_tensor *t = &f->tensors[i];
        size_t begin = (size_t)((const char *)t->data - data);
        if (begin != end)
            return CF_FAIL(CF_EFORMAT, "%s: tensor %s starts at byte %zu, %s byte %zu", f->path,
                           t->name, begin,
                           begin < end ? "inside one that ends at" : "behind a hole at", end);
        end = begin + t->n * dtypes[t->dtype].bytes;
    }
    if (end != data_bytes)
        return CF_FAIL(CF_EFORMAT, "%s: %zu bytes after the last tensor belong to none", f->path,
                       data_bytes - end);
    for (size_t i = 0; i < f->n_tensors; i++) f->by_name[i] = &f->tensors[i];
    qsort(f->by_name, f->n_tensors, sizeof *f->by_name, compare_name);
    for (size_t i = 1; i < f->n_tensors; i++) {
        if (strcmp(f->by_name[i - 1]->name, f->by_name[i]->name) == 0)
            return CF_FAIL(CF_EFORMAT, "%s: tensor %s is there twice", f->path,
                           f->by_name[i]->name);
    }
    return CF_OK;
}

cf_status cf_st_open_memory(cf_st_file **out, const void *bytes, size_t n, const char *name)
{
    cf_st_file *f;
    cJSON *root = NULL;
    CF_TRY(cf_alloc_zero(&f, 1, sizeof *f));
    cf_status status = CF_OK;
    CF_GO(cf_strdup(&f->path, name));
    CF_GO(parse_header(&root, f->path, bytes, n));
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    const char *data = (const char *)bytes + 8 + header;
    size_t data_bytes = n - 8 - (size_t)header;
    CF_GO(read_entries(f, root, data, data_bytes));
    CF_GO(check_entries(f, data, data_bytes));
    *out = f;
    f = NULL;
done:
    cJSON_Delete(root);
    cf_st_close(f);
    return status;
}

static cf_status map_file(void **out, size_t *out_n, const char *path)
{
    cf_status status = CF_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0)
        CF_GO(CF_FAIL(errno == ENOENT ? CF_ENOTFOUND : CF_EIO, "cannot open %s: %s", path,
                      strerror(errno)));
    if (!S_ISREG(info.st_mode)) CF_GO(CF_FAIL(CF_EFORMAT, "%s is not a file", path));
    size_t n = (size_t)info.st_size;
    if (n < 8) CF_GO(CF_FAIL(CF_EFORMAT, "%s is not a safetensors file: %zu bytes", path, n));
    void *map = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) CF_GO(CF_FAIL(CF_EIO, "cannot map %s: %s", path, strerror(errno)));
    *out = map;
    *out_n = n;
done:
    if (fd >= 0) close(fd);
    return status;
}

cf_status cf_st_open(cf_st_file **out, const char *path)
{
    cf_st_file *f;
    void *map;
    size_t n;
    CF_TRY(map_file(&map, &n, path));
    cf_status status = cf_st_open_memory(&f, map, n, path);
    if (status != CF_OK) {
        munmap(map, n);
        return status;
    }
    f->map = map;
    f->map_bytes = n;
    *out = f;
    return CF_OK;
}

void cf_st_close(cf_st_file *f)
{
    if (!f) return;
    if (f->map) munmap(f->map, f->map_bytes);
    cf_free(f->tensors);
    cf_free(f->by_name);
    cf_free(f->metadata);
    cf_free(f->texts);
    cf_free(f->path);
    cf_free(f);
}

/* ---- looking things up ----------------------------------------------------------------------- */

size_t cf_st_n_tensors(const cf_st_file *f) { return f->n_tensors; }

const cf_st_tensor *cf_st_tensor_at(const cf_st_file *f, size_t i)
{
    CF_ASSERT(i < f->n_tensors);
    return &f->tensors[i];
}

const cf_st_tensor *cf_st_find(const cf_st_file *f, const char *name)
{
    const cf_st_tensor wanted = { .name = name }, *key = &wanted;
    const cf_st_tensor **found =
        bsearch(&key, f->by_name, f->n_tensors, sizeof *f->by_name, compare_name);
    return found ? *found : NULL;
}

size_t cf_st_n_metadata(const cf_st_file *f) { return f->n_metadata; }

void cf_st_metadata_at(const char **key, const char **value, const cf_st_file *f, size_t i)
{
    CF_ASSERT(i < f->n_metadata);
    *key = f->metadata[i].key;
    *value = f->metadata[i].value;
}

const char *cf_st_metadata(const cf_st_file *f, const char *key)
{
    const pair *found = bsearch(&(pair){ .key = key }, f->metadata, f->n_metadata,
                                sizeof *f->metadata, compare_key);
    return found ? found->value : NULL;
}

/* ---- the checksum ---------------------------------------------------------------------------- */

static const char crc_start[] = "{\"__metadata__\":{\"" CF_ST_CRC_KEY "\":\"";
enum { CRC_AT = 8 + sizeof crc_start - 1, CRC_DIGITS = 8 }; /* behind the header's length */

static cf_status check_crc(const char *bytes, size_t n, const char *name)
{
    if (n < CRC_AT + CRC_DIGITS || memcmp(bytes + 8, crc_start, sizeof crc_start - 1) != 0)
        return CF_FAIL(CF_EFORMAT, "%s is damaged: its checksum is not where it belongs", name);
    const unsigned char *b = (const unsigned char *)bytes;
    unsigned long crc = crc32_z(0, b, CRC_AT);
    crc = crc32_z(crc, (const unsigned char *)"00000000", CRC_DIGITS);
    crc = crc32_z(crc, b + CRC_AT + CRC_DIGITS, n - CRC_AT - CRC_DIGITS);
    char digits[CRC_DIGITS + 1];
    snprintf(digits, sizeof digits, "%08lx", crc);
    if (memcmp(digits, bytes + CRC_AT, CRC_DIGITS) != 0)
        return CF_FAIL(CF_EFORMAT, "%s is damaged: the CRC-32 of its bytes is %s, not %.8s", name,
                       digits, bytes + CRC_AT);
    return CF_OK;
}

cf_status cf_st_check_memory(bool *has, const void *bytes, size_t n, const char *name)
{
    cf_st_file *f;
    CF_TRY(cf_st_open_memory(&f, bytes, n, name));
    bool checked = cf_st_metadata(f, CF_ST_CRC_KEY) || cf_st_metadata(f, CF_ST_CHECKSUM_KEY);
    cf_st_close(f);
    if (has) *has = checked;
    return checked ? check_crc(bytes, n, name) : CF_OK;
}

cf_status cf_st_check(bool *has, const char *path)
{
    void *map;
    size_t n;
    CF_TRY(map_file(&map, &n, path));
    cf_status status = cf_st_check_memory(has, map, n, path);
    munmap(map, n);
    return status;
}
