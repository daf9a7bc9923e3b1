/* CLIP's byte-pair encoding.
 *
 * Symbols are strings, as in the original; a symbol's number here is where its string was first
 * seen, and its id is that of the last merge that makes the string. Ids: 256 bytes, the same with
 * the end-of-word mark, one a merge, start of text, end of text.
 *
 * A piece becomes byte symbols, the last with the mark; then, while any adjacent pair has a rank,
 * all occurrences of the pair with the lowest one are joined from left to right. Words repeat, so
 * results are kept in a map under a lock. */
#include "tokenizer_parts.h"

#include <pthread.h>
#include <string.h>

enum {
    BYTES = 256,
    CLIP_MERGES = 48894,
    FILE_MAX_BYTES = 1 << 26,
    SYMBOL_MAX_BYTES = 1024,
    CACHE_WORDS_MAX = 1 << 20
};
static const char start_text[] = "<|startoftext|>", end_text[] = "<|endoftext|>";

struct cf_tokenizer {
    size_t n_merges;
    uint64_t hash;
    int32_t *id; /* [n_symbols] */
    size_t n_symbols;
    byte_map symbol; /* string -> symbol */
    byte_map merge;  /* two symbols -> rank << 32 | joined symbol */
    tokenizer_pattern *pattern;
    pthread_mutex_t lock; /* guards what follows */
    byte_map word;        /* piece -> first << 16 | count in word_ids */
    int32_t *word_ids;
    size_t word_used, word_capacity;
};

/* ---- reading a vocabulary -------------------------------------------------------------------- */

static cf_status add_symbol(int32_t *out, cf_tokenizer *t, const char *text, size_t n, size_t id)
{
    int64_t *known = byte_map_get(&t->symbol, text, n);
    int32_t s = known != NULL ? (int32_t)*known : (int32_t)t->n_symbols;
    if (known == NULL) {
        CF_TRY(byte_map_put(&t->symbol, text, n, s));
        t->n_symbols++;
    }
    t->id[s] = (int32_t)id;
    *out = s;
    return CF_OK;
}

static cf_status add_bytes(cf_tokenizer *t)
{
    int32_t symbol;
    for (int marked = 0; marked < 2; marked++)
        for (unsigned b = 0; b < BYTES; b++) {
            char text[16] = { 0 };
            tokenizer_byte_text(text, b);
            if (marked) strcat(text, "</w>");
            CF_TRY(add_symbol(&symbol, t, text, strlen(text),
                              tokenizer_byte_id(b) + BYTES * (size_t)marked));
        }
    return CF_OK;
}

/* One line "left right" without its end. */
static cf_status add_merge(cf_tokenizer *t, const char *line, size_t n, const char *path,
                           size_t number)
{
    const char *space = memchr(line, ' ', n);
    if (space == NULL || space == line || space == line + n - 1 ||
        memchr(space + 1, ' ', (size_t)(line + n - space - 1)) != NULL || n > SYMBOL_MAX_BYTES)
        return CF_FAIL(CF_EFORMAT, "%s: line %zu: not two symbols with a space between them", path,
                       number);
    size_t left = (size_t)(space - line), right = n - left - 1;
    const int64_t *a = byte_map_get(&t->symbol, line, left);
    const int64_t *b = byte_map_get(&t->symbol, space + 1, right);
    if (a == NULL || b == NULL)
        return CF_FAIL(CF_EFORMAT,
                       "%s: line %zu: '%.*s' is neither a byte nor made by an earlier line", path,
                       number, (int)(a == NULL ? left : right), a == NULL ? line : space + 1);
    int32_t pair[2] = { (int32_t)*a, (int32_t)*b }, joined = 0;
    if (byte_map_get(&t->merge, pair, sizeof pair) != NULL)
        return CF_FAIL(CF_EFORMAT, "%s: line %zu: '%.*s' stands there twice", path, number, (int)n,
                       line);
    char text[SYMBOL_MAX_BYTES];
    memcpy(text, line, left);
    memcpy(text + left, space + 1, right);
    CF_TRY(add_symbol(&joined, t, text, left + right, 2 * BYTES + t->n_merges));
    CF_TRY(byte_map_put(&t->merge, pair, sizeof pair, (int64_t)t->n_merges << 32 | joined));
    t->n_merges++;
    return CF_OK;
}

static cf_status read_merges(cf_tokenizer *t, const char *text, size_t n, const char *path)
{
    const char *at = text, *end = text + n, *first_merge = NULL;
    size_t lines = 1;
    for (const char *p = text; p < end; p++) lines += *p == '\n';
    CF_TRY(cf_alloc_zero(&t->id, 2 * BYTES + lines, sizeof *t->id));
    CF_TRY(add_bytes(t));
    for (size_t number = 1; at < end && t->n_merges < CLIP_MERGES; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop != NULL ? stop : end) - at);
        if (length > 0 && at[length - 1] == '\r') length--;
        if (number == 1) {
            char header[128] = { 0 };
            memcpy(header, at, length < sizeof header - 1 ? length : sizeof header - 1);
            if (strstr(header, "#version") == NULL)
                return CF_FAIL(CF_EFORMAT,
                               "%s: line 1: no \"#version\": not a byte-pair vocabulary", path);
        } else if (length > 0 || stop != NULL) {
            if (first_merge == NULL) first_merge = at;
            CF_TRY(add_merge(t, at, length, path, number));
        }
        at = stop != NULL ? stop + 1 : end;
    }
    if (n == 0) return CF_FAIL(CF_EFORMAT, "%s: empty: not a byte-pair vocabulary", path);
    t->hash =
        first_merge != NULL ? cf_hash64(first_merge, (size_t)(at - first_merge)) : cf_hash64("", 0);
    return CF_OK;
}

cf_status cf_tokenizer_open(cf_tokenizer **out, const char *path)
{
    char *text = NULL;
    size_t n = 0;
    cf_tokenizer *t = NULL;
    cf_status status = CF_OK;
    CF_TRY(cf_file_read_gz(&text, &n, path, FILE_MAX_BYTES));
    CF_GO(cf_alloc_zero(&t, 1, sizeof *t));
    pthread_mutex_init(&t->lock, NULL);
    CF_GO(tokenizer_pattern_new(&t->pattern));
    CF_GO(read_merges(t, text, n, path));
    *out = t;
    t = NULL;
done:
    cf_tokenizer_free(t);
    cf_free(text);
    return status;
}

void cf_tokenizer_free(cf_tokenizer *t)
{
    if (t == NULL) return;
    byte_map_fini(&t->symbol);
    byte_map_fini(&t->merge);
    byte_map_fini(&t->word);
    tokenizer_pattern_free(t->pattern);
    pthread_mutex_destroy(&t->lock);
    cf_free(t->word_ids);
    cf_free(t->id);
    cf_free(t);
}

size_t cf_tokenizer_vocabulary(const cf_tokenizer *t) { return 2 * BYTES + t->n_merges + 2; }

uint64_t cf_tokenizer_hash(const cf_tokenizer *t) { return t->hash; }

/* ---- encoding -------------------------------------------------------------------------------- */

/* Joins pairs in s[0 .. n-1] until none has a rank; returns the new n. */
static size_t join_pairs(int32_t *s, size_t n, const cf_tokenizer *t)
{
    while (n > 1) {
        int64_t best = INT64_MAX;
        int32_t left = 0, right = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const int64_t *m = byte_map_get(&t->merge, s + i, 2 * sizeof *s);
            if (m == NULL || *m >= best) continue;
            best = *m;
            left = s[i];
            right = s[i + 1];
        }
        if (best == INT64_MAX) break;
        size_t kept = 0;
        for (size_t i = 0; i < n; kept++) {
            bool hit = i + 1 < n && s[i] == left && s[i + 1] == right;
            s[kept] = hit ? (int32_t)(best & INT32_MAX) : s[i];
            i += hit ? 2 : 1;
        }
        n = kept;
    }
    return n;
}

/* Appends the ids of one piece to word_ids; *first, *count say where. */
static cf_status encode_piece(cf_tokenizer *t, size_t *first, size_t *count, const char *piece,
                              size_t n)
{
    if (t->word_capacity - t->word_used < n) {
        size_t capacity = 2 * t->word_capacity + n + 256;
        CF_TRY(cf_realloc(&t->word_ids, capacity, sizeof *t->word_ids));
        t->word_capacity = capacity;
    }
    int32_t *ids = t->word_ids + t->word_used;
    if ((n == sizeof start_text - 1 && memcmp(piece, start_text, n) == 0) ||
        (n == sizeof end_text - 1 && memcmp(piece, end_text, n) == 0)) {
        ids[0] = (int32_t)(2 * BYTES + t->n_merges + (piece[2] == 'e'));
        *count = 1;
    } else {
        /* Byte symbols were numbered in the order of the bytes, the marked ones after the
         * others. */
        for (size_t i = 0; i < n; i++)
            ids[i] = (int32_t)((unsigned char)piece[i] + (i + 1 == n ? BYTES : 0));
        *count = join_pairs(ids, n, t);
        for (size_t i = 0; i < *count; i++) ids[i] = t->id[ids[i]];
    }
    *first = t->word_used;
    return CF_OK;
}

typedef struct {
    cf_tokenizer *t;
    int32_t *out;
    size_t n, max; /* n goes on counting beyond max */
} encoding;

static cf_status visit_piece(void *user, const char *piece, size_t n)
{
    encoding *e = user;
    cf_tokenizer *t = e->t;
    size_t first, count;
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

cf_status cf_tokenize(int32_t *out, size_t *n, size_t max, const cf_tokenizer *t, const char *text)
{
    char *clean = NULL;
    encoding e = { .t = (cf_tokenizer *)(uintptr_t)t, .out = out, .n = 1, .max = max };
    int32_t start = (int32_t)(2 * BYTES + t->n_merges);
    CF_TRY(tokenizer_clean(&clean, text));
    pthread_mutex_lock(&e.t->lock);
    cf_status status = tokenizer_split(t->pattern, clean, visit_piece, &e);
    pthread_mutex_unlock(&e.t->lock);
    cf_free(clean);
    CF_TRY(status);
    if (e.n + 1 > max)
        return CF_FAIL(CF_EINVAL, "text of %zu tokens, the context holds %zu: \"%.80s%s\"", e.n + 1,
                       max, text, strlen(text) > 80 ? "..." : "");
    out[0] = start;
    out[e.n] = start + 1;
    *n = e.n + 1;
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
