/* Hash map from byte strings to int64: open addressing with linear steps, at most half full. Keys
 * are copied into one growing block, so slots hold offsets. Nothing is ever removed. */
#include "tokenizer_parts.h"

#include <string.h>

struct byte_map_slot {
    uint64_t hash;
    size_t key, n; /* offset and length in keys */
    int64_t value;
    bool used;
};

static struct byte_map_slot *find(const byte_map *m, uint64_t hash, const void *key, size_t n)
{
    size_t mask = m->n_slots - 1, i = (size_t)(hash ^ hash >> 32) & mask;
    for (;; i = (i + 1) & mask) {
        struct byte_map_slot *s = &m->slot[i];
        if (!s->used) return s;
        if (s->hash == hash && s->n == n && memcmp(m->keys + s->key, key, n) == 0) return s;
    }
}

int64_t *byte_map_get(const byte_map *m, const void *key, size_t n)
{
    if (m->n_slots == 0) return NULL;
    struct byte_map_slot *s = find(m, cf_hash64(key, n), key, n);
    return s->used ? &s->value : NULL;
}

static cf_status grow(byte_map *m)
{
    byte_map bigger = *m;
    bigger.n_slots = m->n_slots == 0 ? 64 : 2 * m->n_slots;
    CF_TRY(cf_alloc_zero(&bigger.slot, bigger.n_slots, sizeof *bigger.slot));
    for (size_t i = 0; i < m->n_slots; i++)
        if (m->slot[i].used)
            *find(&bigger, m->slot[i].hash, m->keys + m->slot[i].key, m->slot[i].n) = m->slot[i];
    cf_free(m->slot);
    *m = bigger;
    return CF_OK;
}

cf_status byte_map_put(byte_map *m, const void *key, size_t n, int64_t value)
{
    if (2 * (m->n + 1) > m->n_slots) CF_TRY(grow(m));
    uint64_t hash = cf_hash64(key, n);
    struct byte_map_slot *s = find(m, hash, key, n);
    if (!s->used) {
        if (m->keys_capacity - m->keys_used < n) {
            size_t capacity = 2 * m->keys_capacity + n + 256;
            CF_TRY(cf_realloc(&m->keys, capacity, 1));
            m->keys_capacity = capacity;
        }
        if (n > 0) memcpy(m->keys + m->keys_used, key, n);
        *s = (struct byte_map_slot){ .hash = hash, .key = m->keys_used, .n = n, .used = true };
        m->keys_used += n;
        m->n++;
    }
    s->value = value;
    return CF_OK;
}

void byte_map_fini(byte_map *m)
{
    cf_free(m->slot);
    cf_free(m->keys);
    *m = (byte_map){ 0 };
}
