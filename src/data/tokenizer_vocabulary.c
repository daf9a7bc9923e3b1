/* Byte-pair vocabularies: symbols, merges, and the text file of merges.
 *
 * Symbols are strings, as in the original; a symbol's number here is where its string was first
 * seen, and its id is that of the last merge that makes the string. Ids: 256 bytes, the same with
 * the end-of-word mark, one a merge, start of text, end of text. */
#include "tokenizer_parts.h"

#include <string.h>

enum {
    CLIP_MERGES = 48894,
    FILE_MAX_BYTES = 1 << 24 /* of text: CLIP's has 3 MB */
};

/* ---- symbols and merges ---------------------------------------------------------------------- */

static cf_status add_symbol(int32_t *out, vocabulary *v, const char *text, size_t n, size_t id)
{
    int64_t *known = byte_map_get(&v->symbol, text, n);
    int32_t s = known != NULL ? (int32_t)*known : (int32_t)v->n_symbols;
    if (known == NULL) {
        CF_TRY(byte_map_put(&v->symbol, text, n, s));
        v->n_symbols++;
    }
    v->id[s] = (int32_t)id;
    *out = s;
    return CF_OK;
}

cf_status vocabulary_begin(vocabulary *v, size_t most_merges)
{
    int32_t symbol;
    CF_TRY(cf_alloc_zero(&v->id, 2 * VOCABULARY_BYTES + most_merges, sizeof *v->id));
    CF_TRY(cf_alloc_zero(&v->pair, most_merges, sizeof *v->pair));
    for (size_t i = 0; i < 2 * VOCABULARY_BYTES; i++) {
        char text[TOKENIZER_BYTE_TEXT];
        unsigned byte = (unsigned)(i % VOCABULARY_BYTES);
        bool marked = i >= VOCABULARY_BYTES;
        tokenizer_byte_text(text, byte);
        if (marked) strcat(text, "</w>");
        CF_TRY(add_symbol(&symbol, v, text, strlen(text),
                          tokenizer_byte_id(byte) + (marked ? VOCABULARY_BYTES : 0)));
    }
    return CF_OK;
}

cf_status vocabulary_add(vocabulary *v, const char *text, size_t left, size_t right)
{
    const int64_t *a = byte_map_get(&v->symbol, text, left);
    const int64_t *b = byte_map_get(&v->symbol, text + left, right);
    if (a == NULL || b == NULL)
        return CF_FAIL(CF_EFORMAT, "'%.*s' is neither a byte nor made by an earlier merge",
                       (int)(a == NULL ? left : right), a == NULL ? text : text + left);
    int32_t pair[2] = { (int32_t)*a, (int32_t)*b }, joined = 0;
    if (byte_map_get(&v->merge, pair, sizeof pair) != NULL)
        return CF_FAIL(CF_EFORMAT, "'%.*s %.*s' stands there twice", (int)left, text, (int)right,
                       text + left);
    CF_TRY(add_symbol(&joined, v, text, left + right, 2 * VOCABULARY_BYTES + v->n_merges));
    CF_TRY(byte_map_put(&v->merge, pair, sizeof pair, (int64_t)v->n_merges << 32 | joined));
    memcpy(v->pair[v->n_merges++], pair, sizeof pair);
    return CF_OK;
}

/* "left right" */
cf_status vocabulary_add_line(vocabulary *v, const char *line, size_t n)
{
    char text[SYMBOL_MAX_BYTES];
    const char *space = memchr(line, ' ', n);
    if (space == NULL || space == line || space == line + n - 1 ||
        memchr(space + 1, ' ', (size_t)(line + n - space - 1)) != NULL || n > SYMBOL_MAX_BYTES)
        return CF_FAIL(CF_EFORMAT, "not two symbols with a space between them");
    size_t left = (size_t)(space - line), right = n - left - 1;
    memcpy(text, line, left);
    memcpy(text + left, space + 1, right);
    return vocabulary_add(v, text, left, right);
}

uint64_t vocabulary_hash(const vocabulary *v)
{
    return cf_hash64(v->pair, v->n_merges * sizeof *v->pair);
}

void vocabulary_fini(vocabulary *v)
{
    byte_map_fini(&v->symbol);
    byte_map_fini(&v->merge);
    cf_free(v->id);
    cf_free(v->pair);
    *v = (vocabulary){ 0 };
}

size_t vocabulary_join(int32_t *s, size_t n, const vocabulary *v)
{
    while (n > 1) {
        int64_t best = INT64_MAX;
        int32_t left = 0, right = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const int64_t *m = byte_map_get(&v->merge, s + i, 2 * sizeof *s);
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

/* ---- the text file --------------------------------------------------------------------------- */

/* A first line with "#version" in it is a header. Of more merges than CLIP's the rest is not
 * used. */
static cf_status read_merges(vocabulary *v, const char *text, size_t n, const char *path)
{
    const char *at = text, *end = text + n;
    size_t lines = 1;
    for (const char *p = text; p < end; p++) lines += *p == '\n';
    CF_TRY(vocabulary_begin(v, lines < CLIP_MERGES ? lines : CLIP_MERGES));
    for (size_t number = 1; at < end && v->n_merges < CLIP_MERGES; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop != NULL ? stop : end) - at);
        if (length > 0 && at[length - 1] == '\r') length--;
        char head[128] = { 0 };
        if (number == 1) memcpy(head, at, length < sizeof head - 1 ? length : sizeof head - 1);
        if (strstr(head, "#version") == NULL && (length > 0 || stop != NULL))
            CF_TRY_CTX(vocabulary_add_line(v, at, length), "%s: line %zu%s", path, number,
                       v->n_merges == 0 ? ": not a byte-pair vocabulary" : "");
        at = stop != NULL ? stop + 1 : end;
    }
    return CF_OK;
}

static cf_status read_text(vocabulary *v, const char *text, size_t n, const char *path)
{
    size_t blank = 0;
    while (blank < n && strchr(" \t\r\n", text[blank])) blank++;
    if (blank == n) return CF_FAIL(CF_EFORMAT, "%s: empty: not a byte-pair vocabulary", path);
    if (text[blank] == '{') return vocabulary_read_json(v, text, n, path);
    return read_merges(v, text, n, path);
}

cf_status vocabulary_read_merges(vocabulary *v, const char *path)
{
    char *text = NULL;
    size_t n = 0;
    CF_TRY(cf_file_read_gz(&text, &n, path, FILE_MAX_BYTES));
    cf_status status = read_merges(v, text, n, path);
    cf_free(text);
    return status;
}

cf_status vocabulary_read(vocabulary *v, const char *path)
{
    char *text = NULL;
    size_t n = 0;
    CF_TRY(cf_file_read_gz(&text, &n, path, FILE_MAX_BYTES));
    cf_status status = read_text(v, text, n, path);
    cf_free(text);
    return status;
}
