/* CLIP's byte-pair encoding.
 *
 * A cleaned text is split into pieces; a piece becomes byte symbols, the last with the end-of-word
 * mark, and adjacent pairs are joined as the vocabulary ranks them. Words repeat, so results are
 * kept in a map under a lock. */
#include "tokenizer_parts.h"

#include <pthread.h>
#include <string.h>

enum {
    CACHE_WORDS_MAX = 1 << 20,
    WORD_MAX_BYTES = 1 << 14, /* joining takes time that grows with the square of it */
    COUNT_FURTHER = 10000     /* tokens counted beyond the context, for the message */
};
static const char start_text[] = "<|startoftext|>", end_text[] = "<|endoftext|>";

struct cf_tokenizer {
    vocabulary vocabulary;
    uint64_t hash;
    tokenizer_pattern *pattern;
    pthread_mutex_t lock; /* guards what follows */
    byte_map word;        /* piece -> first << 16 | count in word_ids */
    int32_t *word_ids;
    size_t word_used, word_capacity;
};

cf_status cf_tokenizer_open(cf_tokenizer **out, const char *path)
{
    cf_tokenizer *t = NULL;
    cf_status status = CF_OK;
    CF_TRY(cf_alloc_zero(&t, 1, sizeof *t));
    pthread_mutex_init(&t->lock, NULL);
    CF_GO(tokenizer_pattern_new(&t->pattern));
    CF_GO(vocabulary_read(&t->vocabulary, path));
    t->hash = vocabulary_hash(&t->vocabulary);
    *out = t;
    t = NULL;
done:
    cf_tokenizer_free(t);
    return status;
}

void cf_tokenizer_free(cf_tokenizer *t)
{
    if (t == NULL) return;
    vocabulary_fini(&t->vocabulary);
    byte_map_fini(&t->word);
    tokenizer_pattern_free(t->pattern);
    pthread_mutex_destroy(&t->lock);
    cf_free(t->word_ids);
    cf_free(t);
}

static size_t start_id(const cf_tokenizer *t)
{
    return 2 * VOCABULARY_BYTES + t->vocabulary.n_merges;
}

size_t cf_tokenizer_vocabulary(const cf_tokenizer *t) { return start_id(t) + 2; }

uint64_t cf_tokenizer_hash(const cf_tokenizer *t) { return t->hash; }

/* ---- encoding -------------------------------------------------------------------------------- */

/* Appends the ids of one piece to word_ids; *first, *count say where. */
static cf_status encode_piece(cf_tokenizer *t, size_t *first, size_t *count, const char *piece,
                              size_t n)
{
    if (n > WORD_MAX_BYTES)
        return CF_FAIL(CF_EINVAL,
                       "tokenizer: a word of %zu bytes (\"%.40s...\"), at most %d are "
                       "taken",
                       n, piece, (int)WORD_MAX_BYTES);
    if (t->word_capacity - t->word_used < n) {
        size_t capacity = 2 * t->word_capacity + n + 256;
        CF_TRY(cf_realloc(&t->word_ids, capacity, sizeof *t->word_ids));
        t->word_capacity = capacity;
    }
    int32_t *ids = t->word_ids + t->word_used;
    if ((n == sizeof start_text - 1 && memcmp(piece, start_text, n) == 0) ||
        (n == sizeof end_text - 1 && memcmp(piece, end_text, n) == 0)) {
        ids[0] = (int32_t)(start_id(t) + (piece[2] == 'e'));
        *count = 1;
    } else {
        for (size_t i = 0; i < n; i++)
            ids[i] = (int32_t)((unsigned char)piece[i] + (i + 1 == n ? VOCABULARY_BYTES : 0));
        *count = vocabulary_join(ids, n, &t->vocabulary);
        for (size_t i = 0; i < *count; i++) ids[i] = t->vocabulary.id[ids[i]];
    }
    *first = t->word_used;
    return CF_OK;
}

typedef struct {
    cf_tokenizer *t;
    int32_t *out;
    size_t n, max; /* n goes on counting beyond max, up to `most` */
    size_t most;
} encoding;

static cf_status visit_piece(void *user, const char *piece, size_t n)
{
    encoding *e = user;
    cf_tokenizer *t = e->t;
    size_t first, count;
    if (e->n >= e->most) return CF_OK;
    const int64_t *known = byte_map_get(&t->word, piece, n);
    if (known != NULL) {
        first = (size_t)(*known >> 16);
        count = (size_t)(*known & 0xffff);
    } else {
        CF_TRY(encode_piece(t, &first, &count, piece, n));
        if (count <= 0xffff &&
            t->word.n < CACHE_WORDS_MAX) { /* otherwise it is overwritten next time */
            CF_TRY(byte_map_put(&t->word, piece, n, (int64_t)first << 16 | (int64_t)count));
            t->word_used += count;
        }
    }
    for (size_t i = 0; i < count; i++, e->n++)
        if (e->n < e->max) e->out[e->n] = t->word_ids[first + i];
    return CF_OK;
}

/* The text's ids behind the start, as many as fit into max - 1; e->n tells how many it has. */
static cf_status encode_text(encoding *e, const cf_tokenizer *t, const char *text)
{
    char *clean = NULL;
    e->t = (cf_tokenizer *)(uintptr_t)t; /* its cache changes, under the lock */
    e->n = 1;
    CF_TRY(tokenizer_clean(&clean, text));
    pthread_mutex_lock(&e->t->lock);
    cf_status status = tokenizer_split(t->pattern, clean, visit_piece, e);
    pthread_mutex_unlock(&e->t->lock);
    cf_free(clean);
    return status;
}

static void put_ends(encoding *e, size_t *n, size_t last)
{
    e->out[0] = (int32_t)start_id(e->t);
    e->out[last] = e->out[0] + 1;
    *n = last + 1;
}

cf_status cf_tokenize(int32_t *out, size_t *n, size_t max, const cf_tokenizer *t, const char *text)
{
    encoding e = { .out = out, .max = max, .most = max + COUNT_FURTHER };
    CF_TRY(encode_text(&e, t, text));
    if (e.n + 1 > max)
        return CF_FAIL(CF_EINVAL, "text of %zu tokens%s, the context holds %zu: \"%.80s%s\"",
                       e.n + 1, e.n >= e.most ? " or more" : "", max, text,
                       strlen(text) > 80 ? "..." : "");
    put_ends(&e, n, e.n);
    return CF_OK;
}

cf_status cf_tokenize_cut(int32_t *out, size_t *n, size_t max, const cf_tokenizer *t,
                          const char *text)
{
    encoding e = { .out = out, .max = max, .most = max };
    CF_ASSERT(max >= 2);
    CF_TRY(encode_text(&e, t, text));
    put_ends(&e, n, e.n < max ? e.n : max - 1);
    return CF_OK;
}

cf_status cf_tokenize_table(int32_t *out, const cf_tokenizer *t, const char *const *texts,
                            size_t n_texts, size_t context)
{
    for (size_t i = 0; i < n_texts; i++) {
        size_t n = 0;
        CF_TRY(cf_tokenize(out + i * context, &n, context, t, texts[i]));
        memset(out + i * context + n, 0, (context - n) * sizeof *out);
    }
    return CF_OK;
}
