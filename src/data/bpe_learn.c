/* Learning a byte-pair vocabulary from texts, in CLIP's manner and merge format.
 *
 * The texts are cleaned and split as for encoding; every distinct piece is a word with its count,
 * spelled in byte symbols, the last one with the end-of-word mark. Then the most frequent adjacent
 * pair becomes a merge and is joined in all words, until the wanted number is reached or every word
 * is one symbol. Of equally frequent pairs the first in byte order is taken, so that the result is
 * unique.
 *
 * Every merge recounts all words: meant for captions, not for the web. */
#include "tokenizer_parts.h"

#include <string.h>

enum { WORD_MAX_BYTES = 256 };

typedef struct {
    char **symbol; /* [n_symbols] own strings */
    size_t n_symbols, symbol_capacity;
    struct word {
        int32_t *s;
        size_t n;
        int64_t count;
    } * word;
    size_t n_words, word_capacity;
    byte_map index; /* piece -> word */
} learner;

static cf_status add_symbol(learner *l, const char *a, const char *b)
{
    CF_TRY(cf_grow(&l->symbol, &l->symbol_capacity, l->n_symbols + 1, sizeof *l->symbol));
    CF_TRY(cf_format(&l->symbol[l->n_symbols], "%s%s", a, b));
    l->n_symbols++;
    return CF_OK;
}

static cf_status add_piece(void *user, const char *piece, size_t n)
{
    learner *l = user;
    int64_t *known = byte_map_get(&l->index, piece, n);
    if (n > WORD_MAX_BYTES) return CF_OK;
    if (known != NULL) {
        l->word[*known].count++;
        return CF_OK;
    }
    CF_TRY(cf_grow(&l->word, &l->word_capacity, l->n_words + 1, sizeof *l->word));
    CF_TRY(byte_map_put(&l->index, piece, n, (int64_t)l->n_words));
    struct word *w = &l->word[l->n_words];
    CF_TRY(cf_alloc(&w->s, n, sizeof *w->s));
    for (size_t i = 0; i < n; i++)
        w->s[i] = (int32_t)((unsigned char)piece[i] + (i + 1 == n ? 256 : 0));
    w->n = n;
    w->count = 1;
    l->n_words++;
    return CF_OK;
}

/* The most frequent pair; *count = 0 if no word has two symbols. */
static cf_status best_pair(int32_t best[2], int64_t *count, const learner *l)
{
    byte_map pairs = { 0 };
    cf_status status = CF_OK;
    *count = 0;
    for (size_t i = 0; i < l->n_words; i++)
        for (size_t k = 0; k + 1 < l->word[i].n; k++) {
            const int32_t *pair = l->word[i].s + k;
            int64_t *known = byte_map_get(&pairs, pair, 2 * sizeof *pair);
            if (known != NULL)
                *known += l->word[i].count;
            else
                CF_GO(byte_map_put(&pairs, pair, 2 * sizeof *pair, l->word[i].count));
        }
    for (size_t i = 0; i < l->n_words; i++)
        for (size_t k = 0; k + 1 < l->word[i].n; k++) {
            const int32_t *pair = l->word[i].s + k;
            int64_t seen = *byte_map_get(&pairs, pair, 2 * sizeof *pair);
            int order = seen < *count ? 1 : seen > *count ? -1 : 0;
            if (order == 0) order = strcmp(l->symbol[pair[0]], l->symbol[best[0]]);
            if (order == 0) order = strcmp(l->symbol[pair[1]], l->symbol[best[1]]);
            if (order >= 0) continue;
            *count = seen;
            memcpy(best, pair, 2 * sizeof *pair);
        }
done:
    byte_map_fini(&pairs);
    return status;
}

static void join(learner *l, const int32_t pair[2], int32_t joined)
{
    for (size_t i = 0; i < l->n_words; i++) {
        struct word *w = &l->word[i];
        size_t kept = 0;
        for (size_t k = 0; k < w->n; kept++) {
            bool hit = k + 1 < w->n && w->s[k] == pair[0] && w->s[k + 1] == pair[1];
            w->s[kept] = hit ? joined : w->s[k];
            k += hit ? 2 : 1;
        }
        w->n = kept;
    }
}

static cf_status read_words(learner *l, const char *const *texts, size_t n)
{
    tokenizer_pattern *pattern = NULL;
    char *clean = NULL;
    cf_status status = CF_OK;
    CF_GO(tokenizer_pattern_new(&pattern));
    for (int marked = 0; marked < 2; marked++)
        for (unsigned b = 0; b < 256; b++) {
            char text[4];
            tokenizer_byte_text(text, b);
            CF_GO(add_symbol(l, text, marked ? "</w>" : ""));
        }
    for (size_t i = 0; i < n; i++) {
        CF_GO(tokenizer_clean(&clean, texts[i]));
        CF_GO(tokenizer_split(pattern, clean, add_piece, l));
        cf_free(clean);
        clean = NULL;
    }
done:
    cf_free(clean);
    tokenizer_pattern_free(pattern);
    return status;
}

/* Pair k joined is symbol 512 + k, so the list of merges is the list of their halves. */
static cf_status write_lines(char **out, const learner *l, int32_t (*merge)[2], size_t n)
{
    static const char header[] = "#version: 0.2\n";
    size_t bytes = sizeof header, at = sizeof header - 1;
    char *text = NULL;
    for (size_t i = 0; i < n; i++)
        bytes += strlen(l->symbol[merge[i][0]]) + strlen(l->symbol[merge[i][1]]) + 2;
    CF_TRY(cf_alloc(&text, bytes, 1));
    memcpy(text, header, sizeof header);
    for (size_t i = 0; i < n; i++)
        for (int side = 0; side < 2; side++) {
            size_t length = strlen(l->symbol[merge[i][side]]);
            memcpy(text + at, l->symbol[merge[i][side]], length);
            at += length;
            text[at++] = side == 0 ? ' ' : '\n';
        }
    text[at] = 0;
    *out = text;
    return CF_OK;
}

cf_status cf_bpe_learn(char **out, const char *const *texts, size_t n_texts, size_t max_merges)
{
    learner l = { 0 };
    int32_t(*merge)[2] = NULL;
    size_t n = 0;
    cf_status status = CF_OK;
    CF_GO(cf_alloc_zero(&merge, max_merges, sizeof *merge));
    CF_GO(read_words(&l, texts, n_texts));
    for (; n < max_merges; n++) {
        int64_t count = 0;
        CF_GO(best_pair(merge[n], &count, &l));
        if (count == 0) break;
        CF_GO(add_symbol(&l, l.symbol[merge[n][0]], l.symbol[merge[n][1]]));
        join(&l, merge[n], (int32_t)l.n_symbols - 1);
    }
    CF_GO(write_lines(out, &l, merge, n));
done:
    for (size_t i = 0; i < l.n_symbols; i++) cf_free(l.symbol[i]);
    for (size_t i = 0; i < l.n_words; i++) cf_free(l.word[i].s);
    cf_free(l.symbol);
    cf_free(l.word);
    byte_map_fini(&l.index);
    cf_free(merge);
    return status;
}
