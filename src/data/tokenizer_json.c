/* Hugging Face's forms of a byte-pair vocabulary, held to be CLIP's.
 *
 *   vocab.json       token -> id. The merges are those of a merges.txt beside it; without one they
 *                    are found again: a token is the merge of the two earlier tokens it consists
 *                    of, and where several pairs would do, of those that the merges before it
 *                    leave.
 *   tokenizer.json   model.vocab, model.merges as "a b" or ["a", "b"], added_tokens.
 *
 * Whatever the form: ids are 0 .. n-1, each once; bytes first, one for each merge, start and end of
 * text last. Nothing else that such a file says about cleaning a text is used: CLIP's rules are. */
#include "tokenizer_parts.h"

#include "crossframe/json.h"

#include <string.h>

enum { DEEPEST = 12, SPECIAL = 2 };

typedef struct {
    const char *path;
    const char **token; /* [n], by id */
    size_t n;
} tokens;

static const cJSON *get(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* ---- ids ------------------------------------------------------------------------------------- */

static cf_status place(tokens *t, const char *text, const cJSON *id)
{
    double value = cJSON_IsNumber(id) ? id->valuedouble : -1;
    if (!(value >= 0 && value < (double)t->n) || value != (double)(size_t)value)
        return CF_FAIL(CF_EFORMAT, "%s: the id of \"%.80s\" is not one of 0 .. %zu", t->path, text,
                       t->n - 1);
    const char **at = &t->token[(size_t)value];
    if (*at && strcmp(*at, text) != 0)
        return CF_FAIL(CF_EFORMAT, "%s: id %zu is both \"%.80s\" and \"%.80s\"", t->path,
                       (size_t)value, *at, text);
    *at = text;
    return CF_OK;
}

/* vocab: an object. added: NULL or the list of added tokens, which vocab need not hold. */
static cf_status read_tokens(tokens *t, const cJSON *vocab, const cJSON *added)
{
    const cJSON *item;
    size_t most = (size_t)cJSON_GetArraySize(vocab) + (size_t)cJSON_GetArraySize(added);
    t->n = (size_t)cJSON_GetArraySize(vocab);
    cJSON_ArrayForEach(item, added)
    {
        const cJSON *id = get(item, "id");
        if (!cJSON_IsString(get(item, "content")) || !cJSON_IsNumber(id))
            return CF_FAIL(CF_EFORMAT, "%s: an added token without id or content", t->path);
        if (id->valuedouble >= (double)t->n && id->valuedouble < (double)most)
            t->n = (size_t)id->valuedouble + 1;
    }
    CF_TRY(cf_alloc_zero(&t->token, t->n, sizeof *t->token));
    cJSON_ArrayForEach(item, vocab) CF_TRY(place(t, item->string, item));
    cJSON_ArrayForEach(item, added)
        CF_TRY(place(t, get(item, "content")->valuestring, get(item, "id")));
    for (size_t i = 0; i < t->n; i++)
        if (!t->token[i]) return CF_FAIL(CF_EFORMAT, "%s: no token has the id %zu", t->path, i);
    return CF_OK;
}

static cf_status expect(const tokens *t, size_t id, const char *text)
{
    if (strcmp(t->token[id], text) == 0) return CF_OK;
    return CF_FAIL(CF_EFORMAT, "%s: id %zu is \"%.80s\", in CLIP's order it is \"%s\"", t->path, id,
                   t->token[id], text);
}

/* The ends of the list: bytes, and start and end of text. */
static cf_status check_ends(const tokens *t)
{
    if (t->n < 2 * VOCABULARY_BYTES + SPECIAL)
        return CF_FAIL(CF_EFORMAT, "%s: %zu tokens are too few for CLIP's vocabulary", t->path,
                       t->n);
    for (unsigned i = 0; i < 2 * VOCABULARY_BYTES; i++) {
        char text[TOKENIZER_BYTE_TEXT];
        tokenizer_byte_text(text, i % VOCABULARY_BYTES);
        if (i >= VOCABULARY_BYTES) strcat(text, "</w>");
        size_t id = tokenizer_byte_id(i % VOCABULARY_BYTES);
        CF_TRY(expect(t, i < VOCABULARY_BYTES ? id : id + VOCABULARY_BYTES, text));
    }
    CF_TRY(expect(t, t->n - 2, "<|startoftext|>"));
    return expect(t, t->n - 1, "<|endoftext|>");
}

/* Each merge's token has the merge's id. */
static cf_status check_merges(const tokens *t, const vocabulary *v, const char *where)
{
    size_t n = 2 * VOCABULARY_BYTES + v->n_merges + SPECIAL;
    if (t->n != n)
        return CF_FAIL(CF_EFORMAT, "%s: %zu tokens, but %zu merges in %s make %zu", t->path, t->n,
                       v->n_merges, where, n);
    for (size_t i = 2 * VOCABULARY_BYTES; i < n - SPECIAL; i++) {
        const int64_t *s = byte_map_get(&v->symbol, t->token[i], strlen(t->token[i]));
        if (!s || (size_t)v->id[*s] != i)
            return CF_FAIL(CF_EFORMAT,
                           "%s: id %zu is \"%.80s\", which merge %zu of %s does not "
                           "make",
                           t->path, i, t->token[i], i - 2 * VOCABULARY_BYTES, where);
    }
    return CF_OK;
}

/* ---- merges found again ---------------------------------------------------------------------- */

/* Byte symbols of a token; the last one marked where the token is. 0: it is not written in the
 * byte alphabet. */
static size_t spell(int32_t *out, const vocabulary *v, const char *text, size_t n)
{
    size_t count = 0;
    bool marked = n > 4 && memcmp(text + n - 4, "</w>", 4) == 0;
    const char *p = text, *end = text + n - (marked ? 4 : 0);
    while (p < end) {
        const char *from = p;
        if (cf_utf8_next(&p, end) < 0) return 0;
        size_t length = (size_t)((marked && p == end ? text + n : p) - from);
        const int64_t *s = byte_map_get(&v->symbol, from, length);
        if (!s || *s >= 2 * VOCABULARY_BYTES) return 0;
        out[count++] = (int32_t)*s;
    }
    return count;
}

static size_t symbol_bytes(const vocabulary *v, const char *text, size_t n, int32_t symbol)
{
    for (size_t i = 1; i < n; i++) {
        const int64_t *s = byte_map_get(&v->symbol, text, i);
        if (s && *s == symbol) return i;
    }
    return 0;
}

static cf_status recover_merge(vocabulary *v, const char *text)
{
    int32_t s[SYMBOL_MAX_BYTES];
    size_t n = strlen(text), ways = 0, left = 0;
    if (n > SYMBOL_MAX_BYTES) return CF_FAIL(CF_EFORMAT, "longer than %d bytes", SYMBOL_MAX_BYTES);
    for (size_t i = 1; i < n; i++)
        if (byte_map_get(&v->symbol, text, i) && byte_map_get(&v->symbol, text + i, n - i)) {
            left = i;
            ways++;
        }
    if (ways > 1) {
        size_t count = spell(s, v, text, n);
        if (count == 0 || vocabulary_join(s, count, v) != 2)
            return CF_FAIL(CF_EFORMAT, "it can be made in %zu ways; a merges.txt must tell", ways);
        left = symbol_bytes(v, text, n, s[0]);
    }
    if (left == 0) return CF_FAIL(CF_EFORMAT, "it is not made of two earlier tokens");
    return vocabulary_add(v, text, left, n - left);
}

static cf_status recover_merges(vocabulary *v, const tokens *t)
{
    size_t n = t->n - 2 * VOCABULARY_BYTES - SPECIAL;
    CF_TRY(vocabulary_begin(v, n));
    for (size_t i = 0; i < n; i++) {
        size_t id = 2 * VOCABULARY_BYTES + i;
        CF_TRY_CTX(recover_merge(v, t->token[id]), "%s: token %zu \"%.80s\"", t->path, id,
                   t->token[id]);
    }
    return CF_OK;
}

/* ---- the two files --------------------------------------------------------------------------- */

static cf_status read_vocab(vocabulary *v, tokens *t, const cJSON *root)
{
    char *folder = NULL, *merges = NULL;
    cf_status status = CF_OK;
    CF_GO(read_tokens(t, root, NULL));
    CF_GO(check_ends(t));
    CF_GO(cf_path_folder(&folder, t->path));
    CF_GO(cf_path_join(&merges, folder, "merges.txt"));
    if (cf_file_exists(merges)) {
        CF_GO(vocabulary_read_merges(v, merges));
        CF_GO(check_merges(t, v, merges));
    } else {
        CF_GO(recover_merges(v, t));
        CF_GO(check_merges(t, v, t->path));
    }
done:
    cf_free(folder);
    cf_free(merges);
    return status;
}

static cf_status add_listed(vocabulary *v, const cJSON *item)
{
    char text[SYMBOL_MAX_BYTES];
    if (cJSON_IsString(item))
        return vocabulary_add_line(v, item->valuestring, strlen(item->valuestring));
    const cJSON *a = cJSON_IsArray(item) ? item->child : NULL, *b = a ? a->next : NULL;
    if (!cJSON_IsString(a) || !cJSON_IsString(b) || b->next)
        return CF_FAIL(CF_EFORMAT, "neither \"a b\" nor [\"a\", \"b\"]");
    size_t left = strlen(a->valuestring), right = strlen(b->valuestring);
    if (left == 0 || right == 0 || left + right > SYMBOL_MAX_BYTES)
        return CF_FAIL(CF_EFORMAT, "a symbol that is empty or longer than %d bytes",
                       SYMBOL_MAX_BYTES);
    memcpy(text, a->valuestring, left);
    memcpy(text + left, b->valuestring, right);
    return vocabulary_add(v, text, left, right);
}

static cf_status read_tokenizer(vocabulary *v, tokens *t, const cJSON *root, const cJSON *model)
{
    const cJSON *type = get(model, "type"), *mark = get(model, "end_of_word_suffix"), *item;
    const cJSON *vocab = get(model, "vocab"), *merges = get(model, "merges");
    if ((type && (!cJSON_IsString(type) || strcmp(type->valuestring, "BPE") != 0)) ||
        !cJSON_IsString(mark) || strcmp(mark->valuestring, "</w>") != 0)
        return CF_FAIL(CF_EUNSUPPORTED,
                       "%s: not CLIP's kind of tokenizer: byte pairs with the end-of-word suffix "
                       "</w>",
                       t->path);
    if (!cJSON_IsObject(vocab) || !cJSON_IsArray(merges))
        return CF_FAIL(CF_EFORMAT, "%s: no model.vocab or no model.merges", t->path);
    CF_TRY(read_tokens(t, vocab, get(root, "added_tokens")));
    CF_TRY(check_ends(t));
    CF_TRY(vocabulary_begin(v, (size_t)cJSON_GetArraySize(merges)));
    cJSON_ArrayForEach(item, merges)
        CF_TRY_CTX(add_listed(v, item), "%s: merge %zu", t->path, v->n_merges);
    return check_merges(t, v, "model.merges");
}

cf_status vocabulary_read_json(vocabulary *v, const char *text, size_t n, const char *path)
{
    cJSON *root = NULL;
    tokens t = { .path = path };
    cf_status status = CF_OK;
    CF_TRY(cf_json_parse(&root, path, "the vocabulary", text, n, DEEPEST));
    const cJSON *model = get(root, "model");
    if (cJSON_IsObject(model))
        CF_GO(read_tokenizer(v, &t, root, model));
    else
        CF_GO(read_vocab(v, &t, root));
done:
    cf_free(t.token);
    cJSON_Delete(root);
    return status;
}
