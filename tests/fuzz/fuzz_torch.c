/* Any bytes as an archive of PyTorch (zip and pickle), also as a bare data.pkl: refused with one
 * line, or every tensor can be read whole. */
#include "crossframe/weights.h"

#include <string.h>

#include "models/weights/pickle.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    cf_weights *w;
    cf_pickle *p;
    if (cf_weights_open_memory(&w, bytes, n, "fuzz") == CF_OK) {
        read_all(w);
        cf_weights_close(w);
    } else {
        CF_ASSERT(*cf_error() != 0);
    }
    if (cf_pickle_open(&p, bytes, n, MOST / 4 + n, "fuzz") == CF_OK) cf_pickle_close(p);
    return 0;
}
