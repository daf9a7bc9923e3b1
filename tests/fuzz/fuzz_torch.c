/* Any bytes as an archive of PyTorch (zip and pickle), a bare data.pkl is put into one: refused
 * with one line, or every tensor can be read whole. */
#include "crossframe/weights.h"

#include <string.h>
#include <zip.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { MOST = 64 << 20 };

static void read_all(const cf_weights *w)
{
    for (size_t i = 0; i < cf_weights_count(w); i++) {
        const cf_weight *t = cf_weights_at(w, i);
        CF_ASSERT(cf_weights_find(w, t->name) == t);
        cf_real *value;
        if (t->n > MOST / sizeof *value || i > 100) continue; /* a caller knows what it wants */
        CF_ASSERT(cf_alloc(&value, t->n, sizeof *value) == CF_OK);
        cf_status status = cf_weights_read(value, t->n, w, t);
        CF_ASSERT(status == CF_OK || *cf_error() != 0);
        if (!cf_weight_is_real(t)) CF_ASSERT(status == CF_EUNSUPPORTED);
        cf_free(value);
    }
    for (size_t i = 0; i < cf_weights_n_metadata(w); i++) {
        const char *key, *value;
        cf_weights_metadata_at(&key, &value, w, i);
        CF_ASSERT(cf_weights_metadata(w, key) == value && strlen(value) < SIZE_MAX);
    }
}

static void open_all(const void *bytes, size_t n)
{
    cf_weights *w;
    if (cf_weights_open_memory(&w, bytes, n, "fuzz") == CF_OK) {
        read_all(w);
        cf_weights_close(w);
    } else {
        CF_ASSERT(*cf_error() != 0);
    }
}

static void add_record(zip_t *zip, const char *name, const void *bytes, size_t n)
{
    zip_source_t *from = zip_source_buffer(zip, bytes, n, 0);
    zip_int64_t index = zip_file_add(zip, name, from, 0);
    CF_ASSERT(index >= 0);
    CF_ASSERT(zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0) == 0);
}

/* An archive with this pickle and right checksums, so that what it means is looked at too. */
static void open_wrapped(const uint8_t *pickle, size_t n)
{
    static const char numbers[256];
    zip_error_t error;
    zip_stat_t info;
    zip_error_init(&error);
    zip_source_t *to = zip_source_buffer_create(NULL, 0, 0, &error);
    CF_ASSERT(to);
    zip_source_keep(to);
    zip_t *zip = zip_open_from_source(to, ZIP_TRUNCATE, &error);
    CF_ASSERT(zip);
    add_record(zip, "x/data.pkl", pickle, n);
    add_record(zip, "x/data/0", numbers, sizeof numbers);
    add_record(zip, "x/data/1", numbers, 16);
    CF_ASSERT(zip_close(zip) == 0 && zip_source_open(to) == 0 && zip_source_stat(to, &info) == 0);
    char *bytes;
    CF_ASSERT(cf_alloc(&bytes, (size_t)info.size, 1) == CF_OK);
    CF_ASSERT(zip_source_read(to, bytes, info.size) == (zip_int64_t)info.size);
    zip_source_close(to);
    zip_source_free(to);
    zip_error_fini(&error);
    open_all(bytes, (size_t)info.size);
    cf_free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    open_all(bytes, n);
    if (n > 0 && bytes[0] == 0x80) open_wrapped(bytes, n);
    return 0;
}
