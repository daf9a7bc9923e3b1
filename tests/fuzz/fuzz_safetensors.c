/* Any bytes as a safetensors file: refused with one line, or every tensor and every metadata value
 * can be read to its last byte. */
#include "crossframe/weights.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void read_all(const cf_st_file *f, const cf_weights *w)
{
    CF_ASSERT(cf_weights_count(w) == cf_st_n_tensors(f));
    for (size_t i = 0; i < cf_weights_count(w); i++) {
        const cf_weight *t = cf_weights_at(w, i);
        CF_ASSERT(cf_weights_find(w, t->name) == t && cf_st_tensor_at(f, i)->n == t->n);
        cf_real *value;
        CF_ASSERT(cf_alloc(&value, t->n, sizeof *value) == CF_OK);
        cf_status status = cf_weights_read(value, t->n, w, t);
        CF_ASSERT(status == (cf_weight_is_real(t) ? CF_OK : CF_EUNSUPPORTED));
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
    cf_st_file *f = NULL;
    cf_weights *w = NULL;
    cf_status status = cf_st_open_memory(&f, bytes, n, "fuzz");
    CF_ASSERT(status == CF_OK || *cf_error() != 0);
    if (status == CF_OK && cf_weights_open_memory(&w, bytes, n, "fuzz") == CF_OK) read_all(f, w);
    cf_weights_close(w);
    cf_st_close(f);
    return 0;
}
