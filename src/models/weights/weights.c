/* Named tensors of any container: the table of them, looking up, reading and widening. */
#include "crossframe/weights.h"

#include "models/weights/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    char *key, *value;
} pair;

typedef struct {
    void *bytes;
    size_t n;
} mapping;

struct cf_weights {
    char *path;
    char *kind;
    cf_weight_entry *entry;
    const cf_weight_entry **by_name;
    cf_container **container;
    mapping *map;
    pair *metadata;
    size_t n, capacity, n_containers, n_maps, n_metadata, metadata_bytes;
    cf_layout origin;
};

enum {
    MOST_TENSORS = 20000,
    MOST_NAME = 600,
    MOST_METADATA = 4096,
    MOST_METADATA_BYTES = 8 << 20,
};

/* ---- making ---------------------------------------------------------------------------------- */

static void free_entries(cf_weight_entry *entry, size_t n)
{
    for (size_t i = 0; i < n; i++) cf_free((char *)entry[i].info.name);
    cf_free(entry);
}

void cf_weights_close(cf_weights *w)
{
    if (!w) return;
    free_entries(w->entry, w->n);
    for (size_t i = 0; i < w->n_containers; i++) w->container[i]->close(w->container[i]);
    for (size_t i = 0; i < w->n_maps; i++) munmap(w->map[i].bytes, w->map[i].n);
    for (size_t i = 0; i < w->n_metadata; i++) {
        cf_free(w->metadata[i].key);
        cf_free(w->metadata[i].value);
    }
    cf_free(w->by_name);
    cf_free(w->container);
    cf_free(w->map);
    cf_free(w->metadata);
    cf_free(w->path);
    cf_free(w->kind);
    cf_free(w);
}

cf_status cf_weights_new(cf_weights **out, const char *path)
{
    cf_weights *w;
    CF_TRY(cf_alloc_zero(&w, 1, sizeof *w));
    cf_status status = cf_strdup(&w->path, path);
    if (status != CF_OK) cf_weights_close(w);
    if (status == CF_OK) *out = w;
    return status;
}

cf_status cf_weights_map_file(const void **bytes, size_t *n, cf_weights *w, const char *path)
{
    cf_status status = CF_OK;
    struct stat info;
    CF_TRY(cf_realloc(&w->map, w->n_maps + 1, sizeof *w->map));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0)
        CF_GO(CF_FAIL(errno == ENOENT ? CF_ENOTFOUND : CF_EIO, "cannot open %s: %s", path,
                      strerror(errno)));
    if (!S_ISREG(info.st_mode)) CF_GO(CF_FAIL(CF_EFORMAT, "%s is not a file", path));
    if (info.st_size == 0) CF_GO(CF_FAIL(CF_EFORMAT, "%s is empty", path));
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) CF_GO(CF_FAIL(CF_EIO, "cannot map %s: %s", path, strerror(errno)));
    w->map[w->n_maps++] = (mapping){ map, (size_t)info.st_size };
    *bytes = map;
    *n = (size_t)info.st_size;
done:
    if (fd >= 0) close(fd);
    return status;
}

cf_status cf_weights_own(cf_weights *w, cf_container *c)
{
    cf_status status = cf_realloc(&w->container, w->n_containers + 1, sizeof(cf_container *));
    if (status != CF_OK)
        c->close(c);
    else
        w->container[w->n_containers++] = c;
    return status;
}

cf_status cf_weight_part_dense(cf_weight_part *p)
{
    size_t n = 1;
    for (size_t i = p->rank; i-- > 0;) {
        p->stride[i] = n;
        if (cf_mul_size(&n, n, p->shape[i]) != CF_OK)
            return CF_FAIL(CF_EFORMAT, "a shape has more elements than there can be");
    }
    p->n = n;
    return CF_OK;
}

cf_status cf_weights_add(cf_weights *w, const char *name, const cf_weight_part *part)
{
    if (w->n == MOST_TENSORS || strlen(name) > MOST_NAME)
        return CF_FAIL(CF_EUNSUPPORTED,
                       "%s: more than %d tensors, or a name longer than %d bytes: %.80s", w->path,
                       MOST_TENSORS, MOST_NAME, name);
    if (w->n == w->capacity) {
        size_t capacity = w->capacity > 0 ? 2 * w->capacity : 512;
        if (capacity > MOST_TENSORS) capacity = MOST_TENSORS;
        CF_TRY(cf_realloc(&w->entry, capacity, sizeof *w->entry));
        w->capacity = capacity;
    }
    char *copy;
    CF_TRY(cf_strdup(&copy, name));
    cf_weight_entry *e = &w->entry[w->n++];
    *e = (cf_weight_entry){ .n_parts = 1 };
    e->part[0] = *part;
    e->info = (cf_weight){ .name = copy, .dtype = part->dtype, .rank = part->rank, .n = part->n };
    memcpy(e->info.shape, part->shape, sizeof e->info.shape);
    return CF_OK;
}

cf_status cf_weights_add_metadata(cf_weights *w, const char *key, const char *value)
{
    pair p = { 0 };
    size_t bytes = strlen(key) + strlen(value);
    if (cf_weights_metadata(w, key)) return CF_OK;
    if (w->n_metadata == MOST_METADATA || bytes > MOST_METADATA_BYTES - w->metadata_bytes)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: more than %d texts and numbers, or %d bytes of them",
                       w->path, MOST_METADATA, MOST_METADATA_BYTES);
    if (!w->metadata) CF_TRY(cf_alloc(&w->metadata, MOST_METADATA, sizeof *w->metadata));
    CF_TRY(cf_strdup(&p.key, key));
    cf_status status = cf_strdup(&p.value, value);
    if (status != CF_OK)
        cf_free(p.key);
    else
        w->metadata[w->n_metadata++] = p;
    w->metadata_bytes += bytes;
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const cf_weight_entry *const *)a)->info.name,
                  (*(const cf_weight_entry *const *)b)->info.name);
}

static cf_status index_entries(cf_weights *w)
{
    for (size_t i = 0; i < w->n; i++) w->by_name[i] = &w->entry[i];
    if (w->n > 0) qsort(w->by_name, w->n, sizeof *w->by_name, compare_names);
    for (size_t i = 1; i < w->n; i++)
        if (compare_names(&w->by_name[i - 1], &w->by_name[i]) == 0)
            return CF_FAIL(CF_EFORMAT, "%s: tensor %s is there twice", w->path,
                           w->by_name[i]->info.name);
    return CF_OK;
}

cf_status cf_weights_index(cf_weights *w)
{
    CF_TRY(cf_realloc(&w->by_name, w->n, sizeof *w->by_name));
    return index_entries(w);
}

const cf_weight_entry *cf_weights_entries(const cf_weights *w, size_t *n)
{
    *n = w->n;
    return w->entry;
}

/* Room for the index comes first: without it w stays as it was. */
cf_status cf_weights_replace(cf_weights *w, cf_weight_entry *entries, size_t n)
{
    cf_status status = cf_realloc(&w->by_name, n > w->n ? n : w->n, sizeof *w->by_name);
    if (status != CF_OK) {
        free_entries(entries, n);
        return status;
    }
    free_entries(w->entry, w->n);
    w->entry = entries;
    w->n = w->capacity = n;
    return index_entries(w);
}

cf_layout cf_weights_origin(const cf_weights *w) { return w->origin; }
void cf_weights_set_origin(cf_weights *w, cf_layout layout) { w->origin = layout; }

const cf_container *cf_weights_container_at(const cf_weights *w, size_t i)
{
    CF_ASSERT(i < w->n_containers);
    return w->container[i];
}

/* True if the prefix stands before every name, and it was taken off. */
static bool strip(cf_weights *w, const char *prefix)
{
    size_t n = strlen(prefix);
    for (size_t i = 0; i < w->n; i++) {
        const char *name = w->entry[i].info.name;
        if (strncmp(name, prefix, n) != 0 || name[n] == 0) return false;
    }
    for (size_t i = 0; i < w->n; i++) {
        char *name = (char *)w->entry[i].info.name;
        memmove(name, name + n, strlen(name + n) + 1);
    }
    return w->n > 0;
}

cf_status cf_weights_finish(cf_weights *w)
{
    const char *kind = w->container[0]->kind;
    while (strip(w, "module.") || strip(w, "_orig_mod.")) continue;
    CF_TRY(w->n_containers > 1 ? cf_format(&w->kind, "%s in %zu shards", kind, w->n_containers)
                               : cf_strdup(&w->kind, kind));
    return cf_weights_index(w);
}

void cf_weights_will_read(const cf_weights *w)
{
    for (size_t i = 0; i < w->n_maps; i++) madvise(w->map[i].bytes, w->map[i].n, MADV_WILLNEED);
}

/* ---- looking things up ----------------------------------------------------------------------- */

const char *cf_weights_path(const cf_weights *w) { return w->path; }
const char *cf_weights_container(const cf_weights *w) { return w->kind; }
size_t cf_weights_count(const cf_weights *w) { return w->n; }

const cf_weight *cf_weights_at(const cf_weights *w, size_t i)
{
    CF_ASSERT(i < w->n);
    return &w->entry[i].info;
}

const cf_weight *cf_weights_find(const cf_weights *w, const char *name)
{
    const cf_weight_entry wanted = { .info.name = name }, *key = &wanted;
    if (w->n == 0) return NULL;
    const cf_weight_entry **found =
        bsearch(&key, w->by_name, w->n, sizeof *w->by_name, compare_names);
    return found ? &(*found)->info : NULL;
}

cf_status cf_weights_get(const cf_weight **out, const cf_weights *w, const char *name)
{
    const cf_weight *t = cf_weights_find(w, name);
    if (!t) return CF_FAIL(CF_ENOTFOUND, "%s has no tensor %s", w->path, name);
    *out = t;
    return CF_OK;
}

size_t cf_weights_n_metadata(const cf_weights *w) { return w->n_metadata; }

void cf_weights_metadata_at(const char **key, const char **value, const cf_weights *w, size_t i)
{
    CF_ASSERT(i < w->n_metadata);
    *key = w->metadata[i].key;
    *value = w->metadata[i].value;
}

const char *cf_weights_metadata(const cf_weights *w, const char *key)
{
    for (size_t i = 0; i < w->n_metadata; i++)
        if (strcmp(w->metadata[i].key, key) == 0) return w->metadata[i].value;
    return NULL;
}

bool cf_weight_is_real(const cf_weight *t) { return t->dtype <= CF_ST_F64; }

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_dense(const cf_weight_part *p)
{
    size_t n = 1;
    for (size_t i = p->rank; i-- > 0; n *= p->shape[i])
        if (p->shape[i] != 1 && p->stride[i] != n) return false;
    return true;
}

/* Elements from the first to the last that the window touches. */
static size_t span(const cf_weight_part *p)
{
    if (p->n == 0) return 0;
    size_t last = 0;
    for (size_t i = 0; i < p->rank; i++) last += (p->shape[i] - 1) * p->stride[i];
    return last + 1;
}

/* The numbers at `from`, element 0 being the window's first, as cf_real. */
static void widen_strided(cf_real *out, const void *from, const cf_weight_part *p)
{
    if (is_dense(p)) {
        cf_widen(out, from, p->dtype, 0, 1, p->n);
        return;
    }
    size_t at[CF_ST_MAX_RANK] = { 0 }, place = 0;
    size_t inner = p->rank > 0 ? p->shape[p->rank - 1] : 1;
    size_t step = p->rank > 0 ? p->stride[p->rank - 1] : 1;
    for (size_t done = 0; done < p->n; done += inner) {
        cf_widen(out + done, from, p->dtype, place, step, inner);
        for (size_t i = p->rank; i-- > 1;) {
            place += p->stride[i - 1];
            if (++at[i - 1] < p->shape[i - 1]) break;
            place -= p->stride[i - 1] * p->shape[i - 1];
            at[i - 1] = 0;
        }
    }
}

static cf_status read_part(cf_real *out, const cf_weight_part *p)
{
    const cf_container *c = p->container;
    size_t bytes = cf_st_dtype_bytes(p->dtype), n = span(p);
    bool same = p->dtype == (CF_REAL_IS_DOUBLE ? CF_ST_F64 : CF_ST_F32) && is_dense(p);
    const void *mapped;
    if (n == 0) return CF_OK;
    CF_TRY(c->map(&mapped, c, p->storage));
    if (mapped) {
        const char *from = (const char *)mapped + p->first * bytes;
        if (same)
            memcpy(out, from, n * bytes);
        else
            widen_strided(out, from, p);
        return CF_OK;
    }
    if (same) return c->read(out, c, p->storage, p->first * bytes, n * bytes);
    char *copy;
    CF_TRY(cf_alloc(&copy, n, bytes));
    cf_status status = c->read(copy, c, p->storage, p->first * bytes, n * bytes);
    if (status == CF_OK) widen_strided(out, copy, p);
    cf_free(copy);
    return status;
}

static cf_status check_readable(const cf_weights *w, const cf_weight *t, size_t n)
{
    const cf_weight_entry *e = (const cf_weight_entry *)t;
    if (t->n != n)
        return CF_FAIL(CF_ESHAPE, "%s: tensor %s has %zu numbers, wanted %zu", w->path, t->name,
                       t->n, n);
    for (size_t i = 0; i < e->n_parts; i++)
        if (e->part[i].dtype > CF_ST_F64)
            return CF_FAIL(CF_EUNSUPPORTED, "%s: tensor %s holds %s, no real numbers", w->path,
                           t->name, cf_st_dtype_name(e->part[i].dtype));
    return CF_OK;
}

cf_status cf_weights_read(cf_real *out, size_t n, const cf_weights *w, const cf_weight *t)
{
    const cf_weight_entry *e = (const cf_weight_entry *)t;
    CF_TRY(check_readable(w, t, n));
    for (size_t i = 0; i < e->n_parts; i++) {
        CF_TRY_CTX(read_part(out, &e->part[i]), "%s: tensor %s", w->path, t->name);
        out += e->part[i].n;
    }
    return CF_OK;
}
