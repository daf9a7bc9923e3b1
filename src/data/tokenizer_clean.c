/* Cleaning a text as CLIP does before splitting it: what its `ftfy` step does to sound text, HTML
 * twice, white space, lower case.
 *
 * Repair: entities (unless there is a '<'), C1 controls as Windows-1252, Latin ligatures, full and
 * half width, curly quotes, line ends, terminal colours, control characters; NFC; again until
 * nothing changes; each line for itself. What it does not do is to undo wrongly decoded UTF-8; a
 * text that looks like it is logged.
 *
 * Lower case is Unicode's full mapping: U+0130 becomes two characters, a capital sigma at the end
 * of a word the final form. */
#include "tokenizer_parts.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { ROUNDS_MAX = 64 };

static const struct {
    int32_t c;
    const char *text;
} ligatures[] = {
    { 0x132, "IJ" },         { 0x133, "ij" },        { 0x149, "\xca\xbcn" }, { 0x1c4, "D\xc5\xbd" },
    { 0x1c5, "D\xc5\xbe" },  { 0x1c6, "d\xc5\xbe" }, { 0x1c7, "LJ" },        { 0x1c8, "Lj" },
    { 0x1c9, "lj" },         { 0x1ca, "NJ" },        { 0x1cb, "Nj" },        { 0x1cc, "nj" },
    { 0x1f1, "DZ" },         { 0x1f2, "Dz" },        { 0x1f3, "dz" },        { 0xfb00, "ff" },
    { 0xfb01, "fi" },        { 0xfb02, "fl" },       { 0xfb03, "ffi" },      { 0xfb04, "ffl" },
    { 0xfb05, "\xc5\xbft" }, { 0xfb06, "st" },
};

static bool is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

static cf_status decode(runes *out, const char *text)
{
    const uint8_t *s = (const uint8_t *)text;
    utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(text);
    out->n = 0;
    while (left > 0) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate(s, left, &c);
        if (n <= 0)
            return CF_FAIL(CF_EINVAL, "tokenizer: byte 0x%02x at %zu of \"%.60s\" is not UTF-8", *s,
                           (size_t)(s - (const uint8_t *)text), text);
        CF_TRY(runes_put(out, c));
        s += n;
        left -= n;
    }
    return CF_OK;
}

static cf_status encode(char **out, const runes *r)
{
    char *s = NULL;
    size_t n = 0;
    CF_TRY(cf_alloc(&s, 4 * r->n + 1, 1));
    for (size_t i = 0; i < r->n; i++)
        n += (size_t)utf8proc_encode_char(r->v[i], (utf8proc_uint8_t *)s + n);
    s[n] = 0;
    *out = s;
    return CF_OK;
}

/* ESC [ digits (of any script) and semicolons letter: code points it takes at v, 0 = none. */
static size_t terminal_escape(const int32_t *v, size_t n)
{
    size_t i = 2;
    if (n < 3 || v[0] != 0x1b || v[1] != '[') return 0;
    while (i < n && (v[i] == ';' || utf8proc_category(v[i]) == UTF8PROC_CATEGORY_ND)) i++;
    return i < n && (v[i] | 32) >= 'a' && (v[i] | 32) <= 'z' && v[i] < 128 ? i + 1 : 0;
}

static bool is_removed(int32_t c)
{
    return c <= 8 || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f ||
           (c >= 0x206a && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffc);
}

static int32_t straight_quote(int32_t c)
{
    if (c == 0x2bc || (c >= 0x2018 && c <= 0x201b)) return '\'';
    return c >= 0x201c && c <= 0x201f ? '"' : c;
}

/* Full or half width: its compatibility mapping. */
static size_t plain_width(utf8proc_int32_t to[4], int32_t c)
{
    int last = 0;
    to[0] = c == 0x3000 ? ' ' : c;
    if (c < 0xff01 || c > 0xffef) return 1;
    utf8proc_ssize_t n =
        utf8proc_decompose_char(c, to, 4, UTF8PROC_COMPAT | UTF8PROC_COMPOSE, &last);
    CF_ASSERT(n >= 1 && n <= 2);
    return (size_t)n;
}

/* A character as the repair step replaces it, still with what is removed later. */
static cf_status put_replaced(runes *out, int32_t c)
{
    for (size_t k = 0; k < sizeof ligatures / sizeof *ligatures; k++)
        if (ligatures[k].c == c) {
            const uint8_t *s = (const uint8_t *)ligatures[k].text;
            for (utf8proc_int32_t d; *s != 0;) {
                s += utf8proc_iterate(s, -1, &d);
                CF_TRY(runes_put(out, straight_quote(d)));
            }
            return CF_OK;
        }
    utf8proc_int32_t wide[4];
    size_t n = plain_width(wide, tokenizer_windows_1252(c));
    for (size_t i = 0; i < n; i++) {
        c = straight_quote(wide[i]);
        CF_TRY(runes_put(out, c == 0x85 || c == 0x2028 || c == 0x2029 ? '\n' : c));
    }
    return CF_OK;
}

/* Line ends, terminal colours, controls: in place, each over the whole text before the next. */
static void remove_controls(runes *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->v[i] != '\r')
            r->v[n++] = r->v[i];
        else if (i + 1 == r->n || r->v[i + 1] != '\n')
            r->v[n++] = '\n';
    r->n = n;
    n = 0;
    for (size_t i = 0, escape; i<r->n; i += escape> 0 ? escape : 1) {
        escape = terminal_escape(r->v + i, r->n - i);
        if (escape == 0) r->v[n++] = r->v[i];
    }
    r->n = n;
    n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (!is_removed(r->v[i])) r->v[n++] = r->v[i];
    r->n = n;
}

static cf_status compose(runes *r)
{
    char *s = NULL;
    cf_status status = CF_OK;
    CF_TRY(encode(&s, r));
    utf8proc_uint8_t *composed = utf8proc_NFC((const utf8proc_uint8_t *)s);
    if (composed == NULL) {
        status = CF_FAIL(CF_ENOMEM, "tokenizer: no memory to compose a text");
        goto done;
    }
    status = decode(r, (const char *)composed);
done:
    free(composed);
    cf_free(s);
    return status;
}

/* Nothing the repair step or the entities could change: printable ASCII without an ampersand. */
static bool is_plain(const runes *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->v[i] < ' ' || r->v[i] > '~' || r->v[i] == '&') return false;
    return true;
}

/* One round; r is replaced. */
static cf_status repair_round(runes *r, bool entities)
{
    runes out = { 0 };
    cf_status status = CF_OK;
    bool ascii = true;
    if (entities) CF_TRY(entities_decode(r, true));
    for (size_t i = 0; i < r->n; i++) CF_GO(put_replaced(&out, r->v[i]));
    remove_controls(&out);
    for (size_t i = 0; i < out.n; i++) ascii = ascii && out.v[i] < 128;
    if (!ascii) CF_GO(compose(&out));
    cf_free(r->v);
    *r = out;
    return CF_OK;
done:
    cf_free(out.v);
    return status;
}

/* Rounds until nothing changes. Each takes one level off a text that was escaped many times
 * over. */
static cf_status repair_line(runes *r, bool entities)
{
    runes before = { 0 };
    cf_status status = CF_OK;
    bool changed = true;
    for (int round = 0; changed && round < ROUNDS_MAX; round++) {
        before.n = 0;
        for (size_t i = 0; i < r->n; i++) CF_GO(runes_put(&before, r->v[i]));
        CF_GO(repair_round(r, entities));
        changed = r->n != before.n || (r->n > 0 && memcmp(r->v, before.v, r->n * sizeof *r->v));
    }
    if (changed)
        CF_GO(CF_FAIL(CF_EINVAL, "tokenizer: a text is escaped more than %d times over",
                      (int)ROUNDS_MAX));
done:
    cf_free(before.v);
    return status;
}

/* Line by line, as the original: from the first line with a '<' on, entities are left alone. */
static cf_status repair(runes *r)
{
    runes line = { 0 }, out = { 0 };
    cf_status status = CF_OK;
    bool entities = true;
    for (size_t i = 0; i < r->n;) {
        line.n = 0;
        do {
            entities = entities && r->v[i] != '<';
            CF_GO(runes_put(&line, r->v[i]));
        } while (r->v[i++] != '\n' && i < r->n);
        if (!is_plain(&line)) CF_GO(repair_line(&line, entities));
        for (size_t k = 0; k < line.n; k++) CF_GO(runes_put(&out, line.v[k]));
    }
    cf_free(r->v);
    *r = out;
    out.v = NULL;
done:
    cf_free(line.v);
    cf_free(out.v);
    return status;
}

/* U+00C2 .. 00F4 and as many of U+0080 .. 00BF as that lead byte asks for: UTF-8 read as
 * Latin-1. */
static void warn_of_wrong_decoding(const runes *r, const char *text)
{
    static atomic_flag warned = ATOMIC_FLAG_INIT;
    for (size_t i = 0; i < r->n; i++) {
        int32_t c = r->v[i];
        size_t more = c >= 0xc2 && c < 0xe0   ? 1
                      : c >= 0xe0 && c < 0xf0 ? 2
                      : c >= 0xf0 && c < 0xf5 ? 3
                                              : 0;
        size_t k = 0;
        while (k < more && i + k + 1 < r->n && r->v[i + k + 1] >= 0x80 && r->v[i + k + 1] < 0xc0)
            k++;
        if (more == 0 || k < more) continue;
        if (!atomic_flag_test_and_set(&warned))
            cf_log(CF_LOG_WARNING,
                   "the text \"%.60s\" looks like UTF-8 that was decoded as Latin-1; it is taken "
                   "as it is",
                   text);
        return;
    }
}

static void fold_spaces(runes *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (!is_space(r->v[i]))
            r->v[n++] = r->v[i];
        else if (n > 0 && r->v[n - 1] != ' ')
            r->v[n++] = ' ';
    }
    r->n = n > 0 && r->v[n - 1] == ' ' ? n - 1 : n;
}

static bool is_cased(int32_t c)
{
    utf8proc_category_t k = utf8proc_category(c);
    if (c == 0xaa || c == 0xba || (c >= 0x2160 && c <= 0x217f) || (c >= 0x24b6 && c <= 0x24e9) ||
        (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
        (c >= 0x1f170 && c <= 0x1f189))
        return true; /* ordinals, numerals, circled letters */
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

static bool is_case_ignorable(int32_t c)
{
    static const int32_t marks[] = { '\'',   '.',    ':',    0xb7,   0x387,  0x55f,
                                     0x5f4,  0x2018, 0x2019, 0x2024, 0x2027, 0xfe13,
                                     0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a };
    utf8proc_category_t k = utf8proc_category(c);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (c == marks[i]) return true;
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
           k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK;
}

static bool is_final_sigma(const runes *r, size_t at)
{
    size_t before = at, after = at + 1;
    while (before > 0 && is_case_ignorable(r->v[before - 1])) before--;
    while (after < r->n && is_case_ignorable(r->v[after])) after++;
    return before > 0 && is_cased(r->v[before - 1]) && !(after < r->n && is_cased(r->v[after]));
}

static cf_status lower(runes *out, const runes *r)
{
    for (size_t i = 0; i < r->n; i++) {
        int32_t c = r->v[i];
        if (c == 0x130) {
            CF_TRY(runes_put(out, 'i'));
            CF_TRY(runes_put(out, 0x307));
        } else if (c == 0x3a3) {
            CF_TRY(runes_put(out, is_final_sigma(r, i) ? 0x3c2 : 0x3c3));
        } else {
            CF_TRY(runes_put(out, utf8proc_tolower(c)));
        }
    }
    return CF_OK;
}

cf_status tokenizer_clean(char **out, const char *text)
{
    runes r = { 0 }, small = { 0 };
    cf_status status = CF_OK;
    CF_GO(decode(&r, text));
    warn_of_wrong_decoding(&r, text);
    if (!is_plain(&r)) {
        CF_GO(repair(&r));
        CF_GO(entities_decode(&r, false));
        CF_GO(entities_decode(&r, false));
    }
    fold_spaces(&r);
    CF_GO(lower(&small, &r));
    CF_GO(encode(out, &small));
done:
    cf_free(r.v);
    cf_free(small.v);
    return status;
}
