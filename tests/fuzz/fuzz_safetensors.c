/* Any bytes as a safetensors file: refused with one line, or every tensor and every metadata value
 * can be read to its last byte. */
#include "crossframe/safetensors.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void read_all(const cf_st_file *f)
{
    for (size_t i = 0; i < cf_st_n_tensors(f); i++) {
        const cf_st_tensor *t = cf_st_tensor_at(f, i);
        CF_ASSERT(cf_st_find(f, t->name) == t);
        float *value;
        CF_ASSERT(cf_alloc(&value, t->n, sizeof *value) == CF_OK);
        cf_status status = cf_st_read_f32(value, t->n, f, t);
        CF_ASSERT(status == CF_OK || status == CF_EUNSUPPORTED);
        cf_free(value);
    }
    for (size_t i = 0; i < cf_st_n_metadata(f); i++) {
        const char *key, *value;
        cf_st_metadata_at(&key, &value, f, i);
        CF_ASSERT(cf_st_metadata(f, key) == value && strlen(value) < SIZE_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    cf_st_file *f;
    if (cf_st_open_memory(&f, bytes, n, "fuzz") == CF_OK) {
        read_all(f);
        cf_st_close(f);
    } else {
        CF_ASSERT(*cf_error() != 0);
    }
    return 0;
}
