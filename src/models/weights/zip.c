/* A zip archive in memory by libzip; stored records are found by watching where libzip reads. */
#include "models/weights/zip.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>
#include <zlib.h>

enum {
    MOST_DIRECTORY = 4 << 20, /* bytes read while the archive is opened */
    MOST_SPARE = 64 << 20,
    MOST_RATIO = 8,
    CHUNK = 1 << 16,
};

typedef struct {
    zip_uint64_t index;
    char *name;
    size_t begin, size; /* of the data in the archive, where it is stored */
    uint32_t crc;
    bool stored;
    size_t uses;
    atomic_int checked; /* the CRC was right */
    char *unpacked;     /* of a deflated record that is shared; under the lock */
} record;

struct cf_zip {
    const char *bytes;
    size_t n;
    char *name, *folder;
    zip_t *zip;
    record *records;
    uint32_t *record_of; /* of each index of the directory, + 1; 0: not asked for */
    size_t n_records, room;
    size_t unpacked_sum; /* of all deflated records that were asked for */
    size_t kept_sum;     /* of those that are kept */
    pthread_mutex_t lock;
    /* the source that libzip reads from */
    zip_error_t error;
    size_t at, last_read, budget;
    bool over_budget;
};

/* ---- the source ------------------------------------------------------------------------------ */

static zip_int64_t source_read(cf_zip *z, void *data, zip_uint64_t length)
{
    size_t n = length < z->n - z->at ? (size_t)length : z->n - z->at;
    if (n > z->budget) {
        z->over_budget = true;
        zip_error_set(&z->error, ZIP_ER_INCONS, 0);
        return -1;
    }
    z->budget -= n;
    memcpy(data, z->bytes + z->at, n);
    z->last_read = z->at;
    z->at += n;
    return (zip_int64_t)n;
}

static zip_int64_t source_seek(cf_zip *z, void *data, zip_uint64_t length)
{
    zip_int64_t to = zip_source_seek_compute_offset(z->at, z->n, data, length, &z->error);
    if (to < 0) return -1;
    z->at = (size_t)to;
    return 0;
}

static zip_int64_t source(void *user, void *data, zip_uint64_t length, zip_source_cmd_t command)
{
    cf_zip *z = user;
    switch (command) {
    case ZIP_SOURCE_OPEN: z->at = 0; return 0;
    case ZIP_SOURCE_READ: return source_read(z, data, length);
    case ZIP_SOURCE_SEEK: return source_seek(z, data, length);
    case ZIP_SOURCE_TELL: return (zip_int64_t)z->at;
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE: return 0;
    case ZIP_SOURCE_STAT:
        zip_stat_init(data);
        ((zip_stat_t *)data)->size = z->n;
        ((zip_stat_t *)data)->valid = ZIP_STAT_SIZE;
        return sizeof(zip_stat_t);
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&z->error, data, length);
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                              ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
                                              ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, -1);
    default: zip_error_set(&z->error, ZIP_ER_OPNOTSUPP, 0); return -1;
    }
}

static cf_status zip_failed(const cf_zip *z, zip_error_t *error)
{
    int code = zip_error_code_zip(error);
    if (code == ZIP_ER_MEMORY) return CF_FAIL(CF_ENOMEM, "%s: out of memory", z->name);
    if (z->over_budget)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: its zip directory is larger than %d MB", z->name,
                       MOST_DIRECTORY >> 20);
    return CF_FAIL(CF_EFORMAT, "%s is a damaged zip archive: %s", z->name,
                   zip_error_strerror(error));
}

/* ---- opening --------------------------------------------------------------------------------- */

bool cf_zip_looks_like(const void *bytes, size_t n)
{
    return n >= 4 && (memcmp(bytes, "PK\3\4", 4) == 0 || memcmp(bytes, "PK\5\6", 4) == 0);
}

static cf_status open_zip(cf_zip *z)
{
    zip_error_t error;
    cf_status status = CF_OK;
    zip_error_init(&error);
    zip_source_t *from = zip_source_function_create(source, z, &error);
    if (!from) CF_GO(zip_failed(z, &error));
    z->budget = MOST_DIRECTORY;
    z->zip = zip_open_from_source(from, ZIP_RDONLY | ZIP_CHECKCONS, &error);
    if (!z->zip) {
        zip_source_free(from);
        CF_GO(zip_failed(z, &error));
    }
    z->budget = SIZE_MAX;
    CF_GO(cf_alloc_zero(&z->record_of, (size_t)zip_get_num_entries(z->zip, 0), sizeof(uint32_t)));
done:
    zip_error_fini(&error);
    return status;
}

cf_status cf_zip_open(cf_zip **out, const void *bytes, size_t n, const char *name)
{
    cf_zip *z;
    CF_TRY(cf_alloc_zero(&z, 1, sizeof *z));
    z->bytes = bytes;
    z->n = n;
    zip_error_init(&z->error);
    pthread_mutex_init(&z->lock, NULL);
    cf_status status = cf_strdup(&z->name, name);
    if (status == CF_OK) status = open_zip(z);
    if (status == CF_OK)
        *out = z;
    else
        cf_zip_close(z);
    return status;
}

void cf_zip_close(cf_zip *z)
{
    if (!z) return;
    if (z->zip) zip_discard(z->zip);
    for (size_t i = 0; i < z->n_records; i++) {
        cf_free(z->records[i].name);
        cf_free(z->records[i].unpacked);
    }
    zip_error_fini(&z->error);
    pthread_mutex_destroy(&z->lock);
    cf_free(z->records);
    cf_free(z->record_of);
    cf_free(z->folder);
    cf_free(z->name);
    cf_free(z);
}

cf_status cf_zip_folder(const char **out, const cf_zip *z)
{
    const char *first = zip_get_name(z->zip, 0, 0);
    const char *slash = first ? strchr(first, '/') : NULL;
    if (!slash || slash == first)
        return CF_FAIL(CF_EFORMAT, "%s is a zip archive, but none of PyTorch: no folder inside",
                       z->name);
    if (!z->folder) {
        CF_TRY(cf_strdup(&((cf_zip *)z)->folder, first));
        z->folder[slash - first] = 0;
    }
    *out = z->folder;
    return CF_OK;
}

/* ---- finding records ------------------------------------------------------------------------- */

/* Where a stored record's data begins: where libzip goes for its first byte. */
static cf_status find_begin(record *r, cf_zip *z)
{
    char byte;
    zip_file_t *f = zip_fopen_index(z->zip, r->index, ZIP_FL_COMPRESSED);
    if (!f) return zip_failed(z, zip_get_error(z->zip));
    zip_int64_t got = zip_fread(f, &byte, 1);
    zip_fclose(f);
    if (got != 1 || z->last_read >= z->n || r->size > z->n - z->last_read)
        return CF_FAIL(CF_EFORMAT, "%s is cut off: record %s has %zu bytes", z->name, r->name,
                       r->size);
    r->begin = z->last_read;
    return CF_OK;
}

static size_t times_plus(size_t times, size_t n, size_t more)
{
    return n > (SIZE_MAX - more) / times ? SIZE_MAX : times * n + more;
}

static cf_status check_unpacked(const record *r, cf_zip *z)
{
    size_t most = times_plus(MOST_RATIO, z->n, MOST_SPARE) - z->unpacked_sum;
    if (r->size > most || r->size > times_plus(1, z->n, MOST_SPARE))
        return CF_FAIL(CF_EUNSUPPORTED,
                       "%s: record %s would unpack to %zu bytes, out of an archive of %zu: more "
                       "than is believed",
                       z->name, r->name, r->size, z->n);
    z->unpacked_sum += r->size;
    return CF_OK;
}

static cf_status describe(record *r, cf_zip *z)
{
    zip_stat_t info;
    const zip_uint64_t needed =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_CRC | ZIP_STAT_COMP_METHOD;
    zip_stat_init(&info);
    if (zip_stat_index(z->zip, r->index, 0, &info) != 0)
        return zip_failed(z, zip_get_error(z->zip));
    if ((info.valid & needed) != needed || info.comp_size > z->n || info.size > SIZE_MAX / 2)
        return CF_FAIL(CF_EFORMAT, "%s: record %s has no size that can be", z->name, r->name);
    if ((info.valid & ZIP_STAT_ENCRYPTION_METHOD) && info.encryption_method != ZIP_EM_NONE)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: record %s is encrypted", z->name, r->name);
    if (info.comp_method != ZIP_CM_STORE && info.comp_method != ZIP_CM_DEFLATE)
        return CF_FAIL(CF_EUNSUPPORTED,
                       "%s: record %s is packed by method %d; stored and deflated "
                       "ones are read",
                       z->name, r->name, (int)info.comp_method);
    r->size = (size_t)info.size;
    r->crc = info.crc;
    r->stored = info.comp_method == ZIP_CM_STORE;
    if (!r->stored) return check_unpacked(r, z);
    if (info.comp_size != info.size)
        return CF_FAIL(CF_EFORMAT, "%s: record %s is stored, but has two sizes", z->name, r->name);
    return r->size > 0 ? find_begin(r, z) : CF_OK;
}

cf_status cf_zip_find(size_t *out, cf_zip *z, const char *name)
{
    zip_int64_t index = zip_name_locate(z->zip, name, 0);
    if (index < 0) return CF_FAIL(CF_ENOTFOUND, "%s: the archive has no record %s", z->name, name);
    uint32_t *known = &z->record_of[index];
    if (*known == 0) {
        if (z->n_records == z->room) {
            size_t room = z->room > 0 ? 2 * z->room : 64;
            CF_TRY(cf_realloc(&z->records, room, sizeof *z->records));
            z->room = room;
        }
        record r = { .index = (zip_uint64_t)index };
        CF_TRY(cf_strdup(&r.name, name));
        cf_status status = describe(&r, z);
        if (status != CF_OK) {
            cf_free(r.name);
            return status;
        }
        z->records[z->n_records++] = r;
        *known = (uint32_t)z->n_records;
    }
    z->records[*known - 1].uses++;
    *out = *known - 1;
    return CF_OK;
}

size_t cf_zip_size(const cf_zip *z, size_t i) { return z->records[i].size; }

/* ---- reading --------------------------------------------------------------------------------- */

static cf_status bad_sum(const record *r)
{
    return CF_FAIL(CF_EFORMAT, "record %s is damaged: its checksum is wrong", r->name);
}

/* libzip checks size and CRC when it has come to the end, so it always goes there. */
static cf_status unpack_all(const record *r, zip_file_t *f, char *out, size_t begin, size_t n)
{
    char *scratch;
    size_t at = 0;
    cf_status status = CF_OK;
    CF_TRY(cf_alloc(&scratch, CHUNK, 1));
    for (;;) {
        bool wanted = at >= begin && at - begin < n;
        size_t room = wanted ? n - (at - begin) : CHUNK;
        if (at < begin && begin - at < room) room = begin - at;
        zip_int64_t got = zip_fread(f, wanted ? out + (at - begin) : scratch, room);
        if (got == 0) break;
        if (got < 0) {
            zip_error_t *why = zip_file_get_error(f);
            CF_GO(zip_error_code_zip(why) == ZIP_ER_MEMORY
                      ? CF_FAIL(CF_ENOMEM, "out of memory")
                      : CF_FAIL(CF_EFORMAT, "record %s is damaged: %s", r->name,
                                zip_error_strerror(why)));
        }
        at += (size_t)got;
        if (at > r->size) CF_GO(bad_sum(r));
    }
    if (at != r->size) CF_GO(bad_sum(r));
done:
    cf_free(scratch);
    return status;
}

/* Under the lock. */
static cf_status unpack(cf_zip *z, const record *r, char *out, size_t begin, size_t n)
{
    zip_file_t *f = zip_fopen_index(z->zip, r->index, 0);
    if (!f) return zip_failed(z, zip_get_error(z->zip));
    cf_status status = unpack_all(r, f, out, begin, n);
    zip_fclose(f);
    return status;
}

/* Under the lock. Several tensors lie in it: it is unpacked once. */
static cf_status keep_unpacked(cf_zip *z, record *r)
{
    if (r->unpacked) return CF_OK;
    if (r->size > times_plus(1, z->n, MOST_SPARE) - z->kept_sum)
        return CF_FAIL(
            CF_EUNSUPPORTED,
            "shared records unpack to more than %zu bytes; store them instead of deflating",
            z->n + MOST_SPARE);
    char *unpacked;
    CF_TRY(cf_alloc(&unpacked, r->size, 1));
    cf_status status = unpack(z, r, unpacked, 0, r->size);
    if (status == CF_OK) {
        r->unpacked = unpacked;
        z->kept_sum += r->size;
    } else {
        cf_free(unpacked);
    }
    return status;
}

cf_status cf_zip_map(const void **out, cf_zip *z, size_t i)
{
    record *r = &z->records[i];
    if (r->stored) {
        const char *at = z->bytes + r->begin;
        if (!atomic_load(&r->checked)) {
            if (crc32_z(0, (const unsigned char *)at, r->size) != r->crc) return bad_sum(r);
            atomic_store(&r->checked, 1);
        }
        *out = at;
        return CF_OK;
    }
    *out = NULL;
    if (r->uses < 2) return CF_OK;
    pthread_mutex_lock(&z->lock);
    cf_status status = keep_unpacked(z, r);
    pthread_mutex_unlock(&z->lock);
    if (status == CF_OK) *out = r->unpacked;
    return status;
}

cf_status cf_zip_read(void *out, cf_zip *z, size_t i, size_t begin, size_t n)
{
    const record *r = &z->records[i];
    CF_ASSERT(begin <= r->size && n <= r->size - begin);
    if (r->stored) {
        const void *at;
        CF_TRY(cf_zip_map(&at, z, i));
        if (n > 0) memcpy(out, (const char *)at + begin, n);
        return CF_OK;
    }
    pthread_mutex_lock(&z->lock);
    cf_status status = unpack(z, r, out, begin, n);
    pthread_mutex_unlock(&z->lock);
    return status;
}
