/* h5_read: datasets and attributes of an open HDF5 file, as numbers, texts and bytes.
 *
 * A dataset or attribute under work is an `item`: its handles and what is known of it. A file is
 * not trusted: before memory is asked for, the size an item claims is held against what the file
 * stores for it (check_stored), and storage that lies in other files is refused. Conversions
 * that change values (fractions to integers, 64 bits to 32) are refused too. A public function
 * is: lock, open the item, work, close it, unlock. What is beyond us: HDF5 1.10.8 itself may crash
 * on damage to its own structures (variable-length text: H5HG_read trusts the heap's sizes). */
#include "support/h5_internal.h"

#include <string.h>

/* The most zlib can make of a byte, and what a dataset may claim without anything stored. */
#define LARGEST_RATIO 1032u
#define FREE_BYTES ((size_t)1 << 20)

/* ---- open datasets and attributes ------------------------------------------------------------ */

typedef struct {
    hid_t id, type, space;
    bool attr, text_fixed;
    cf_h5_info info;
} item;

static void item_close(item *d)
{
    if (d->space >= 0) H5Sclose(d->space);
    if (d->type >= 0) H5Tclose(d->type);
    if (d->id >= 0 && d->attr) H5Aclose(d->id);
    if (d->id >= 0 && !d->attr) H5Dclose(d->id);
    d->id = d->type = d->space = -1;
}

static herr_t item_read(const item *d, hid_t memory_type, void *out)
{
    if (d->info.n == 0) return 0;
    if (d->attr) return H5Aread(d->id, memory_type, out);
    return H5Dread(d->id, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out);
}

static bool lies_in_other_file(cf_h5 *f, hid_t dataset, hid_t plist)
{
    H5D_layout_t layout = H5Pget_layout(plist);
    bool contained = layout == H5D_COMPACT || layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED;
    if (!contained || H5Pget_external_count(plist) != 0) return true;
    hid_t file = H5Iget_file_id(dataset);
    if (file < 0) return true;
    void *ours = NULL, *its = NULL;
    bool other = H5Fget_vfd_handle(f->file, H5P_DEFAULT, &ours) < 0 ||
                 H5Fget_vfd_handle(file, H5P_DEFAULT, &its) < 0 || ours != its;
    H5Fclose(file);
    return other;
}

/* The elements a dataset claims to have must be in the file, so that memory for them may be
 * asked. */
static cf_status check_stored(item *d, cf_h5 *f, const char *path)
{
    if (f->temporary) return CF_OK;
    hid_t plist = H5Dget_create_plist(d->id);
    if (plist < 0) return CF_FAIL(CF_EFORMAT, "%s: %s: %s", f->path, path, cf_h5_why());
    bool other = lies_in_other_file(f, d->id, plist);
    bool contiguous = H5Pget_layout(plist) == H5D_CONTIGUOUS;
    H5Pclose(plist);
    if (other)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: %s keeps its data in another file", f->path, path);
    size_t bytes, size = H5Tget_size(d->type);
    haddr_t at = contiguous && d->info.n > 0 ? H5Dget_offset(d->id) : HADDR_UNDEF;
    size_t stored = (size_t)H5Dget_storage_size(d->id);
    if (stored > f->file_bytes) stored = f->file_bytes;
    bool fits = cf_mul_size(&bytes, d->info.n, size) == CF_OK && size > 0;
    if (fits && at != HADDR_UNDEF) {
        fits = at <= f->file_bytes && bytes <= f->file_bytes - (size_t)at;
        d->info.offset = (int64_t)at;
    } else if (fits) {
        fits = bytes <= FREE_BYTES || bytes / LARGEST_RATIO <= stored;
    }
    if (fits) return CF_OK;
    return CF_FAIL(CF_EFORMAT, "%s: %s claims %zu elements, more than the file of %zu bytes holds",
                   f->path, path, d->info.n, f->file_bytes);
}

static cf_status describe_space(item *d, cf_h5 *f, const char *path)
{
    cf_h5_info *info = &d->info;
    H5S_class_t kind = H5Sget_simple_extent_type(d->space);
    info->n = kind == H5S_NULL ? 0 : 1;
    info->rank = kind == H5S_NULL ? 1 : H5Sget_simple_extent_ndims(d->space);
    if (kind == H5S_NULL || info->rank == 0) return CF_OK;
    if (info->rank < 0) return CF_FAIL(CF_EFORMAT, "%s: %s: %s", f->path, path, cf_h5_why());
    if (info->rank > 5)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: %s has %d dimensions, at most 5 are read", f->path,
                       path, info->rank);
    hsize_t dim[5] = { 0 };
    H5Sget_simple_extent_dims(d->space, dim, NULL);
    bool empty = false, fits = true;
    for (int i = 0; i < info->rank; i++) {
        info->dim[i] = (size_t)dim[i];
        empty |= dim[i] == 0;
        fits = fits && cf_mul_size(&info->n, info->n, info->dim[i]) == CF_OK;
    }
    if (empty) info->n = 0;
    if (empty || fits) return CF_OK;
    return CF_FAIL(CF_EFORMAT, "%s: %s claims more elements than can be counted", f->path, path);
}

static bool is_rows(hid_t type, H5T_class_t kind)
{
    hid_t of = kind == H5T_VLEN ? H5Tget_super(type) : -1;
    if (of < 0) return false;
    bool bytes = H5Tget_class(of) == H5T_INTEGER && H5Tget_size(of) == 1;
    H5Tclose(of);
    return bytes;
}

/* Fills d->info from d->id, which is open. */
static cf_status describe(item *d, cf_h5 *f, const char *path)
{
    d->type = d->attr ? H5Aget_type(d->id) : H5Dget_type(d->id);
    d->space = d->attr ? H5Aget_space(d->id) : H5Dget_space(d->id);
    if (d->type < 0 || d->space < 0)
        return CF_FAIL(CF_EFORMAT, "%s: %s: %s", f->path, path, cf_h5_why());
    H5T_class_t kind = H5Tget_class(d->type);
    d->info.class = kind == H5T_INTEGER || kind == H5T_ENUM ? CF_H5_INTEGER
                    : kind == H5T_FLOAT                     ? CF_H5_FLOAT
                    : kind == H5T_STRING                    ? CF_H5_STRING
                    : is_rows(d->type, kind)                ? CF_H5_ROWS
                                                            : CF_H5_OTHER;
    d->text_fixed = kind == H5T_STRING && H5Tis_variable_str(d->type) <= 0;
    d->info.item_bytes = kind == H5T_STRING && !d->text_fixed ? 0 : H5Tget_size(d->type);
    CF_TRY(describe_space(d, f, path));
    if (!d->attr) return check_stored(d, f, path);
    /* Attributes live in object headers, of less than the file's size. */
    if (d->info.n > f->file_bytes / (d->info.item_bytes ? d->info.item_bytes : 1))
        return CF_FAIL(CF_EFORMAT, "%s: %s claims %zu values", f->path, path, d->info.n);
    return CF_OK;
}

static cf_status dataset_open(item *d, cf_h5 *f, const char *path)
{
    *d = (item){ .id = -1, .type = -1, .space = -1, .info.offset = -1 };
    if (!cf_h5_path_exists(f->file, path))
        return CF_FAIL(CF_ENOTFOUND, "%s: there is no %s", f->path, path);
    d->id = H5Dopen2(f->file, path, H5P_DEFAULT);
    if (d->id < 0)
        return CF_FAIL(CF_EFORMAT, "%s: %s is not a readable dataset: %s", f->path, path,
                       cf_h5_why());
    cf_status status = describe(d, f, path);
    if (status != CF_OK) item_close(d);
    return status;
}

static cf_status attr_open(item *d, cf_h5 *f, const char *object, const char *name)
{
    *d = (item){ .id = -1, .type = -1, .space = -1, .attr = true, .info.offset = -1 };
    if (!cf_h5_path_exists(f->file, object))
        return CF_FAIL(CF_ENOTFOUND, "%s: there is no %s", f->path, object);
    if (H5Aexists_by_name(f->file, object, name, H5P_DEFAULT) <= 0)
        return CF_FAIL(CF_ENOTFOUND, "%s: %s has no attribute %s", f->path, object, name);
    d->id = H5Aopen_by_name(f->file, object, name, H5P_DEFAULT, H5P_DEFAULT);
    if (d->id < 0)
        return CF_FAIL(CF_EFORMAT, "%s: %s: attribute %s: %s", f->path, object, name, cf_h5_why());
    cf_status status = describe(d, f, name);
    if (status != CF_OK) item_close(d);
    return status;
}

/* ---- reading numbers and strings ------------------------------------------------------------- */

hid_t cf_h5_memory_type(cf_h5_number t)
{
    return t == CF_H5_F32   ? H5T_NATIVE_FLOAT
           : t == CF_H5_F64 ? H5T_NATIVE_DOUBLE
           : t == CF_H5_I32 ? H5T_NATIVE_INT32
                            : H5T_NATIVE_INT64;
}

static const size_t number_bytes[] = { 4, 8, 4, 8 };

static bool is_integer(cf_h5_number t) { return t == CF_H5_I32 || t == CF_H5_I64; }

/* All elements of d, of rank 0 or more, into fresh memory. */
static cf_status numbers_of(void *out, cf_h5 *f, const item *d, const char *path, cf_h5_number t)
{
    static const char *const class_name[] = { "of an unknown kind", "integer", "float", "text",
                                              "rows of bytes" };
    bool integers = d->info.class == CF_H5_INTEGER;
    if (!integers && (d->info.class != CF_H5_FLOAT || is_integer(t)))
        return CF_FAIL(CF_EFORMAT, "%s: %s is %s, expected %s", f->path, path,
                       class_name[d->info.class], is_integer(t) ? "integers" : "numbers");
    void *values;
    CF_TRY_CTX(cf_alloc(&values, d->info.n, number_bytes[t]), "%s: %s", f->path, path);
    if (item_read(d, cf_h5_memory_type(t), values) < 0) {
        cf_free(values);
        return CF_FAIL(CF_EFORMAT, "%s: cannot read %s: %s", f->path, path, cf_h5_why());
    }
    memcpy(out, &values, sizeof values);
    return CF_OK;
}

static cf_status read_numbers(void *out, size_t *n, cf_h5 *f, const char *path, cf_h5_number t)
{
    item d;
    cf_h5_lock();
    cf_status status = dataset_open(&d, f, path);
    if (status == CF_OK) {
        status = numbers_of(out, f, &d, path, t);
        if (status == CF_OK) *n = d.info.n;
        item_close(&d);
    }
    cf_h5_unlock();
    return status;
}

cf_status cf_h5_read_f32(float **out, size_t *n, cf_h5 *f, const char *path)
{
    return read_numbers(out, n, f, path, CF_H5_F32);
}

cf_status cf_h5_read_f64(double **out, size_t *n, cf_h5 *f, const char *path)
{
    return read_numbers(out, n, f, path, CF_H5_F64);
}

cf_status cf_h5_read_i64(int64_t **out, size_t *n, cf_h5 *f, const char *path)
{
    return read_numbers(out, n, f, path, CF_H5_I64);
}

/* Through 64 bits: HDF5 would silently clip what does not fit into 32. */
cf_status cf_h5_read_i32(int32_t **out, size_t *n, cf_h5 *f, const char *path)
{
    int64_t *wide = NULL;
    int32_t *narrow = NULL;
    size_t count;
    cf_status status = CF_OK;
    CF_GO(cf_h5_read_i64(&wide, &count, f, path));
    CF_GO(cf_alloc(&narrow, count, sizeof *narrow));
    for (size_t i = 0; i < count; i++) {
        if (wide[i] < INT32_MIN || wide[i] > INT32_MAX)
            CF_GO(CF_FAIL(CF_EFORMAT, "%s: %s row %zu is %lld, which needs more than 32 bits",
                          f->path, path, i, (long long)wide[i]));
        narrow[i] = (int32_t)wide[i];
    }
    *out = narrow;
    *n = count;
    narrow = NULL;
done:
    cf_free(wide);
    cf_free(narrow);
    return status;
}

/* String i of what was read: pointers (variable length) or rows of item_bytes, padded. */
static const char *text_at(size_t *length, const item *d, const void *raw, size_t i)
{
    if (!d->text_fixed) {
        const char *s = ((char *const *)raw)[i];
        *length = s ? strlen(s) : 0;
        return s;
    }
    const char *s = (const char *)raw + i * d->info.item_bytes;
    *length = strnlen(s, d->info.item_bytes);
    if (H5Tget_strpad(d->type) == H5T_STR_SPACEPAD)
        while (*length > 0 && s[*length - 1] == ' ') --*length;
    return s;
}

/* One block: n pointers and then the text. */
static cf_status block_of_texts(char ***out, const item *d, const void *raw)
{
    size_t bytes, length, n = d->info.n;
    CF_TRY(cf_mul_size(&bytes, n, sizeof(char *)));
    for (size_t i = 0; i < n; i++) {
        text_at(&length, d, raw, i);
        bytes += length + 1;
    }
    char **block;
    CF_TRY(cf_alloc(&block, bytes, 1));
    char *to = (char *)(block + n);
    for (size_t i = 0; i < n; i++) {
        const char *s = text_at(&length, d, raw, i);
        block[i] = to;
        if (length > 0) memcpy(to, s, length);
        to[length] = 0;
        to += length + 1;
    }
    *out = block;
    return CF_OK;
}

static cf_status texts_of(char ***out, cf_h5 *f, const item *d, const char *path)
{
    if (d->info.class != CF_H5_STRING)
        return CF_FAIL(CF_EFORMAT, "%s: %s holds no text", f->path, path);
    void *raw;
    size_t size = d->text_fixed ? d->info.item_bytes : sizeof(char *);
    CF_TRY_CTX(cf_alloc_zero(&raw, d->info.n, size), "%s: %s", f->path, path);
    cf_status status = CF_OK;
    if (item_read(d, d->type, raw) < 0)
        status = CF_FAIL(CF_EFORMAT, "%s: cannot read %s: %s", f->path, path, cf_h5_why());
    else
        status = block_of_texts(out, d, raw);
    if (!d->text_fixed && d->info.n > 0) H5Dvlen_reclaim(d->type, d->space, H5P_DEFAULT, raw);
    cf_free(raw);
    return status;
}

cf_status cf_h5_read_strings(char ***out, size_t *n, cf_h5 *f, const char *path)
{
    item d;
    cf_h5_lock();
    cf_status status = dataset_open(&d, f, path);
    if (status == CF_OK) {
        status = texts_of(out, f, &d, path);
        if (status == CF_OK) *n = d.info.n;
        item_close(&d);
    }
    cf_h5_unlock();
    return status;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void cf_h5_bytes_close(cf_h5 *f)
{
    if (f->bytes >= 0) H5Dclose(f->bytes);
    cf_free(f->bytes_path);
    f->bytes = -1;
    f->bytes_path = NULL;
}

static cf_status bytes_open(cf_h5 *f, const char *path)
{
    if (f->bytes_path && strcmp(f->bytes_path, path) == 0) return CF_OK;
    cf_h5_bytes_close(f);
    item d;
    CF_TRY(dataset_open(&d, f, path));
    cf_status status = CF_OK;
    if (d.info.class != CF_H5_INTEGER || d.info.item_bytes != 1 || d.info.rank != 1)
        CF_GO(CF_FAIL(CF_EFORMAT, "%s: %s is not one-dimensional uint8", f->path, path));
    CF_GO(cf_strdup(&f->bytes_path, path));
    f->bytes = d.id;
    f->bytes_n = d.info.n;
    d.id = -1;
done:
    item_close(&d);
    return status;
}

static cf_status bytes_read(uint8_t *out, cf_h5 *f, const char *path, size_t start, size_t n)
{
    CF_TRY(bytes_open(f, path));
    if (start > f->bytes_n || n > f->bytes_n - start)
        return CF_FAIL(CF_EINVAL, "%s: %s has %zu bytes, asked for %zu at %zu", f->path, path,
                       f->bytes_n, n, start);
    if (n == 0) return CF_OK;
    hsize_t from = start, count = n;
    hid_t memory = H5Screate_simple(1, &count, NULL), space = H5Dget_space(f->bytes);
    hid_t type = H5Dget_type(f->bytes); /* a type of one byte, read as it is: no conversion */
    cf_status status = CF_OK;
    if (H5Sselect_hyperslab(space, H5S_SELECT_SET, &from, NULL, &count, NULL) < 0 ||
        H5Dread(f->bytes, type, memory, space, H5P_DEFAULT, out) < 0)
        status = CF_FAIL(CF_EFORMAT, "%s: cannot read %s, %zu bytes at %zu: %s", f->path, path, n,
                         start, cf_h5_why());
    H5Tclose(type);
    H5Sclose(space);
    H5Sclose(memory);
    return status;
}

cf_status cf_h5_read_u8(uint8_t *out, cf_h5 *f, const char *path, size_t start, size_t n)
{
    cf_h5_lock();
    cf_status status = bytes_read(out, f, path, start, n);
    cf_h5_unlock();
    return status;
}

/* The one allocation of HDF5 for a row: ours, so that what a damaged file claims is not asked of
 * the system. */
typedef struct {
    size_t most;
    void *bytes;
} row_memory;

static void *row_alloc(size_t n, void *info)
{
    row_memory *m = info;
    if (m->bytes || n > m->most || cf_alloc(&m->bytes, n, 1) != CF_OK) return NULL;
    return m->bytes;
}

static void row_free(void *bytes, void *info)
{
    row_memory *m = info;
    if (bytes == m->bytes) m->bytes = NULL;
    cf_free(bytes);
}

static cf_status row_of(uint8_t **out, size_t *n, cf_h5 *f, const item *d, const char *path,
                        size_t row)
{
    if (d->info.class != CF_H5_ROWS || d->info.rank != 1)
        return CF_FAIL(CF_EFORMAT, "%s: %s does not hold rows of bytes", f->path, path);
    if (row >= d->info.n)
        return CF_FAIL(CF_EINVAL, "%s: %s has %zu rows, asked for row %zu", f->path, path,
                       d->info.n, row);
    hsize_t from = row, one = 1;
    hvl_t read = { 0 };
    row_memory memory = { .most = f->file_bytes };
    hid_t plist = H5Pcreate(H5P_DATASET_XFER), type = H5Tvlen_create(H5T_NATIVE_UINT8);
    hid_t to = H5Screate_simple(1, &one, NULL);
    H5Pset_vlen_mem_manager(plist, row_alloc, &memory, row_free, &memory);
    cf_status status = CF_OK;
    if (H5Sselect_hyperslab(d->space, H5S_SELECT_SET, &from, NULL, &one, NULL) < 0 ||
        H5Dread(d->id, type, to, d->space, plist, &read) < 0)
        status =
            CF_FAIL(CF_EFORMAT, "%s: cannot read %s, row %zu: %s", f->path, path, row, cf_h5_why());
    H5Sclose(to);
    H5Tclose(type);
    H5Pclose(plist);
    if (status == CF_OK && !memory.bytes) status = cf_alloc(&memory.bytes, 0, 1);
    if (status != CF_OK) {
        cf_free(memory.bytes);
        return status;
    }
    *out = memory.bytes;
    *n = read.p ? read.len : 0;
    return CF_OK;
}

cf_status cf_h5_read_row(uint8_t **out, size_t *n, cf_h5 *f, const char *path, size_t row)
{
    item d;
    cf_h5_lock();
    cf_status status = dataset_open(&d, f, path);
    if (status == CF_OK) {
        status = row_of(out, n, f, &d, path, row);
        item_close(&d);
    }
    cf_h5_unlock();
    return status;
}

/* ---- information and attributes -------------------------------------------------------------- */

cf_status cf_h5_dataset_info(cf_h5_info *out, cf_h5 *f, const char *path)
{
    item d;
    cf_h5_lock();
    cf_status status = dataset_open(&d, f, path);
    if (status == CF_OK) *out = d.info;
    if (status == CF_OK) item_close(&d);
    cf_h5_unlock();
    return status;
}

bool cf_h5_has_attr(cf_h5 *f, const char *object, const char *name)
{
    cf_h5_lock();
    bool has = cf_h5_path_exists(f->file, object) &&
               H5Aexists_by_name(f->file, object, name, H5P_DEFAULT) > 0;
    cf_h5_unlock();
    return has;
}

/* All values of an attribute: text when `t` is TEXT. */
#define TEXT (-1)
static cf_status read_attr(void *out, size_t *n, cf_h5 *f, const char *object, const char *name,
                           int t)
{
    item d;
    cf_h5_lock();
    cf_status status = attr_open(&d, f, object, name);
    if (status == CF_OK) {
        void *values = NULL;
        /* An empty list has lost its type: h5py stores it as float64. */
        if (d.info.n == 0 && t != TEXT)
            status = cf_alloc(&values, 0, 1);
        else if (t == TEXT)
            status = texts_of((char ***)(void *)&values, f, &d, name);
        else
            status = numbers_of(&values, f, &d, name, (cf_h5_number)t);
        if (status == CF_OK) {
            memcpy(out, &values, sizeof values);
            *n = d.info.n;
        }
        item_close(&d);
    }
    cf_h5_unlock();
    return status;
}

static cf_status need_one(size_t n, cf_h5 *f, const char *object, const char *name)
{
    if (n == 1) return CF_OK;
    return CF_FAIL(CF_EFORMAT, "%s: attribute %s of %s has %zu values, expected one", f->path, name,
                   object, n);
}

cf_status cf_h5_attr_i64(int64_t *out, cf_h5 *f, const char *object, const char *name)
{
    int64_t *values;
    size_t n;
    CF_TRY(read_attr(&values, &n, f, object, name, CF_H5_I64));
    cf_status status = need_one(n, f, object, name);
    if (status == CF_OK) *out = values[0];
    cf_free(values);
    return status;
}

cf_status cf_h5_attr_f64(double *out, cf_h5 *f, const char *object, const char *name)
{
    double *values;
    size_t n;
    CF_TRY(read_attr(&values, &n, f, object, name, CF_H5_F64));
    cf_status status = need_one(n, f, object, name);
    if (status == CF_OK) *out = values[0];
    cf_free(values);
    return status;
}

cf_status cf_h5_attr_string(char **out, cf_h5 *f, const char *object, const char *name)
{
    char **values;
    size_t n;
    CF_TRY(read_attr(&values, &n, f, object, name, TEXT));
    cf_status status = need_one(n, f, object, name);
    if (status == CF_OK) status = cf_strdup(out, values[0]);
    cf_free(values);
    return status;
}

cf_status cf_h5_attr_i64s(int64_t **out, size_t *n, cf_h5 *f, const char *object, const char *name)
{
    return read_attr(out, n, f, object, name, CF_H5_I64);
}
