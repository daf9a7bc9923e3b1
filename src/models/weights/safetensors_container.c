/* A safetensors file as a container: each tensor is a storage of its own, mapped. */
#include "models/weights/container.h"

#include <string.h>

typedef struct {
    cf_container base;
    cf_st_file *file;
} st_container;

static cf_status map_storage(const void **out, const cf_container *c, size_t storage)
{
    *out = cf_st_tensor_at(((const st_container *)c)->file, storage)->data;
    return CF_OK;
}

static void close_container(cf_container *c)
{
    cf_st_close(((st_container *)c)->file);
    cf_free(c);
}

static cf_status add_all(cf_weights *w, st_container *c)
{
    for (size_t i = 0; i < cf_st_n_tensors(c->file); i++) {
        const cf_st_tensor *t = cf_st_tensor_at(c->file, i);
        cf_weight_part p = { .container = &c->base, .storage = i, .dtype = t->dtype };
        p.rank = t->rank;
        for (size_t k = 0; k < t->rank; k++) p.shape[k] = t->shape[k];
        CF_TRY(cf_weight_part_dense(&p));
        CF_TRY(cf_weights_add(w, t->name, &p));
    }
    for (size_t i = 0; i < cf_st_n_metadata(c->file); i++) {
        const char *key, *value;
        cf_st_metadata_at(&key, &value, c->file, i);
        /* True of this file's bytes only, not of what is made of them. */
        if (strcmp(key, CF_ST_CRC_KEY) == 0 || strcmp(key, CF_ST_CHECKSUM_KEY) == 0) continue;
        CF_TRY(cf_weights_add_metadata(w, key, value));
    }
    return CF_OK;
}

cf_status cf_safetensors_into(cf_weights *w, const void *bytes, size_t n, const char *name)
{
    st_container *c;
    CF_TRY(cf_alloc_zero(&c, 1, sizeof *c));
    c->base = (cf_container){ .kind = "safetensors", .map = map_storage, .close = close_container };
    cf_status status = cf_st_open_memory(&c->file, bytes, n, name);
    if (status != CF_OK) {
        cf_free(c);
        return status;
    }
    CF_TRY(cf_weights_own(w, &c->base));
    return add_all(w, c);
}
