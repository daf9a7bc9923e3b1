/* Inside of weights: what a container offers, and the tensors made of its storages.
 *
 * A container (one file) numbers its storages, runs of bytes of one type. Its opener declares each
 * tensor with cf_weights_add; weights.c finds, reads and widens, and knows nothing of formats. */
#ifndef CROSSFRAME_MODELS_CONTAINER_H
#define CROSSFRAME_MODELS_CONTAINER_H

#include "crossframe/weights.h"

typedef struct cf_container cf_container;
struct cf_container {
    const char *kind; /* "safetensors" */
    /* *out = a storage's bytes, checked, borrowed until close; NULL where they have to be read. */
    cf_status (*map)(const void **out, const cf_container *c, size_t storage);
    /* Bytes begin .. begin + n of a storage. NULL where map always answers. Both are called by
     * several threads at once. */
    cf_status (*read)(void *out, const cf_container *c, size_t storage, size_t begin, size_t n);
    void (*close)(cf_container *c); /* frees the container too */
};

/* A strided window into one storage; shape and stride in elements. */
typedef struct {
    cf_container *container;
    size_t storage;
    cf_st_dtype dtype;
    size_t first; /* element of the storage */
    size_t rank, shape[CF_ST_MAX_RANK], stride[CF_ST_MAX_RANK];
    size_t n;
} cf_weight_part;

enum { CF_WEIGHT_MAX_PARTS = 3 };

/* The parts lie end to end along axis 0 and agree in all others. */
typedef struct {
    cf_weight info;
    cf_weight_part part[CF_WEIGHT_MAX_PARTS];
    size_t n_parts;
} cf_weight_entry;

/* An empty table; cf_weights_close frees it. */
cf_status cf_weights_new(cf_weights **out, const char *path);
/* Maps a file until close. CF_ENOTFOUND, CF_EIO; CF_EFORMAT: empty, or no file. */
cf_status cf_weights_map_file(const void **bytes, size_t *n, cf_weights *w, const char *path);
/* Takes the container over: closed with w, or at once on failure. */
cf_status cf_weights_own(cf_weights *w, cf_container *c);
/* Name is copied. The caller has checked that all elements lie inside the storage. At most 20,000
 * tensors, with names of at most 600 bytes: CF_EUNSUPPORTED. */
cf_status cf_weights_add(cf_weights *w, const char *name, const cf_weight_part *part);
/* Fills in dense strides and the number of elements from rank and shape. CF_EFORMAT: overflow. */
cf_status cf_weight_part_dense(cf_weight_part *p);
/* Copies both; a key that is there keeps its first value. CF_EUNSUPPORTED: more than 4,096 of them,
 * or 8 MB. */
cf_status cf_weights_add_metadata(cf_weights *w, const char *key, const char *value);
/* Makes the index of names; to be called after the last cf_weights_add and after renaming.
 * CF_EFORMAT: a name is there twice. */
cf_status cf_weights_index(cf_weights *w);
/* Takes off "module." and "_orig_mod." where every name has them, tells the container, indexes. */
cf_status cf_weights_finish(cf_weights *w);
/* The container that was taken over as the i-th. */
const cf_container *cf_weights_container_at(const cf_weights *w, size_t i);

/* For renaming (layout.c): the entries as they are, replaced as a whole. `entries` is an array of
 * cf_alloc and taken over, each info.name a cf_strdup. */
const cf_weight_entry *cf_weights_entries(const cf_weights *w, size_t *n);
cf_status cf_weights_replace(cf_weights *w, cf_weight_entry *entries, size_t n);

/* out[i] = element first + i * step of `from`, i < n. The kind is a real number. */
void cf_widen(cf_real *out, const void *from, cf_st_dtype dtype, size_t first, size_t step,
              size_t n);

/* ---- openers: declare all tensors of one file ------------------------------------------------ */

/* The bytes stay the caller's and outlive w. */
cf_status cf_safetensors_into(cf_weights *w, const void *bytes, size_t n, const char *name);
cf_status cf_torch_into(cf_weights *w, const void *bytes, size_t n, const char *name);

#endif
