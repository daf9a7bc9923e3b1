/* What the files of the tokenizer share: code points, cleaning, splitting, and one hash map.
 *
 * Text goes through: bytes -> code points -> repair, entities, white space, lower case (clean) ->
 * bytes -> pieces (split) -> byte pairs (vocabulary, tokenizer.c). Learning a vocabulary uses the
 * same first half. */
#ifndef CROSSFRAME_DATA_TOKENIZER_PARTS_H
#define CROSSFRAME_DATA_TOKENIZER_PARTS_H

#include "crossframe/data.h"

/* A growing array of code points; zero-initialise, free v with cf_free. */
typedef struct {
    int32_t *v;
    size_t n, capacity;
} runes;
cf_status runes_put(runes *r, int32_t c);
/* C1 controls as Windows-1252 means them; others unchanged. */
int32_t tokenizer_windows_1252(int32_t c);

/* HTML's names, packed; see the file of the table. */
extern const char tokenizer_entities[];
extern const size_t tokenizer_entities_bytes;

/* HTML character references. strict: only those that end in ';' (and the upper-case spellings of
 * lower-case names), else the rules of HTML 5. Replaces the contents of r. */
cf_status entities_decode(runes *r, bool strict);

/* What CLIP does to a text before splitting it: repaired, unescaped, white space folded, lower
 * case, UTF-8. CF_EINVAL: not UTF-8. cf_free. */
cf_status tokenizer_clean(char **out, const char *text);

/* Compiled pattern of the pieces; thread-safe to use. */
typedef struct tokenizer_pattern tokenizer_pattern;
cf_status tokenizer_pattern_new(tokenizer_pattern **out);
void tokenizer_pattern_free(tokenizer_pattern *p);
/* Calls visit for each piece of a cleaned text, in order; stops at the first failure. */
typedef cf_status tokenizer_visit(void *user, const char *piece, size_t n);
cf_status tokenizer_split(const tokenizer_pattern *p, const char *clean, tokenizer_visit *visit,
                          void *user);

/* Character a byte is written as in a merge file, as UTF-8 (zero-terminated), and the byte's id. */
void tokenizer_byte_text(char out[4], unsigned byte);
size_t tokenizer_byte_id(unsigned byte);
enum { TOKENIZER_BYTE_TEXT = 16 }; /* room for it and an end-of-word mark */

/* Map from byte strings to int64, open addressing. Keys are copied. Zero-initialise. */
typedef struct {
    struct byte_map_slot *slot;
    size_t n, n_slots; /* n_slots is 0 or a power of two */
    char *keys;
    size_t keys_used, keys_capacity;
} byte_map;
/* The value of a key, NULL if absent. Borrowed until the next byte_map_put. */
int64_t *byte_map_get(const byte_map *m, const void *key, size_t n);
/* Sets a key's value. */
cf_status byte_map_put(byte_map *m, const void *key, size_t n, int64_t value);
void byte_map_fini(byte_map *m);

/* ---- vocabulary ------------------------------------------------------------------------------ */

enum { VOCABULARY_BYTES = 256, SYMBOL_MAX_BYTES = 128 /* CLIP's longest has 65 */ };

/* Symbols 0 .. 255 are the bytes, 256 .. 511 the bytes with the end-of-word mark. */
typedef struct {
    size_t n_merges, n_symbols;
    int32_t *id;        /* [n_symbols] */
    int32_t (*pair)[2]; /* [n_merges] the two symbols of each */
    byte_map symbol;    /* string -> symbol */
    byte_map merge;     /* two symbols -> rank << 32 | joined symbol */
} vocabulary;

/* Any form, told by content; v zero-initialised. CF_EFORMAT names file and line or token. */
cf_status vocabulary_read(vocabulary *v, const char *path);
cf_status vocabulary_read_merges(vocabulary *v, const char *path); /* only the text form */
cf_status vocabulary_read_json(vocabulary *v, const char *text, size_t n, const char *path);
/* The bytes, and room for merges. */
cf_status vocabulary_begin(vocabulary *v, size_t most_merges);
/* The next merge: of text[0 .. left-1] and the `right` bytes behind it; or of a line "a b". The
 * failure does not name the place. */
cf_status vocabulary_add(vocabulary *v, const char *text, size_t left, size_t right);
cf_status vocabulary_add_line(vocabulary *v, const char *line, size_t n);
/* Joins pairs in s[0 .. n-1], all occurrences of the one with the lowest rank at a time from left
 * to right, until none has a rank; the new n. */
size_t vocabulary_join(int32_t *s, size_t n, const vocabulary *v);
uint64_t vocabulary_hash(const vocabulary *v); /* of the merges, whatever the form */
void vocabulary_fini(vocabulary *v);

#endif
