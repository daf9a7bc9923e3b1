/* HTML character references, named and numeric.
 *
 * HTML 5 rules: "&name;" if the name is known, otherwise the longest known name that may stand
 * without a semicolon. Names are looked up in the packed table by halving a range of its bytes;
 * wherever that lands, the entry starts behind the space before.
 *
 * Numeric references: 80 to 9F mean Windows-1252, 0 and surrogates U+FFFD, non-characters
 * nothing. */
#include "tokenizer_parts.h"

#include <string.h>
#include <utf8proc.h>

enum {
    NAME_MAX_LENGTH = 32,  /* longest name that HTML 5's rule looks at */
    STRICT_MAX_LENGTH = 24 /* and the repair step's */
};

/* Windows-1252 of 80 .. 9F; the undefined ones stay. */
static const uint16_t windows[32] = {
    0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
    0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178,
};

/* What a reference stands for: one code point, two, or none. */
typedef struct {
    int32_t c[2];
    size_t n;
} reference;

cf_status runes_put(runes *r, int32_t c)
{
    CF_TRY(cf_grow(&r->v, &r->capacity, r->n + 1, sizeof *r->v));
    r->v[r->n++] = c;
    return CF_OK;
}

int32_t tokenizer_windows_1252(int32_t c) { return c >= 0x80 && c < 0xa0 ? windows[c - 0x80] : c; }

static int digit(int32_t c, int base)
{
    int d = c >= '0' && c <= '9'   ? (int)c - '0'
            : c >= 'a' && c <= 'f' ? (int)c - 'a' + 10
            : c >= 'A' && c <= 'F' ? (int)c - 'A' + 10
                                   : 99;
    return d < base ? d : -1;
}

static bool is_alphanumeric(int32_t c)
{
    return digit(c, 10) >= 0 || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Order of v[0 .. n-1] against the name at entry, which a '=' or '*' ends. */
static int compare(const int32_t *v, size_t n, const char *entry)
{
    for (size_t i = 0;; i++) {
        bool ends = entry[i] == '=' || entry[i] == '*';
        if (i == n || ends) return (ends ? 0 : -1) + (i == n ? 0 : 1);
        if (v[i] != (unsigned char)entry[i]) return v[i] < (unsigned char)entry[i] ? -1 : 1;
    }
}

static reference value_of(const char *entry)
{
    reference r = { { 0 }, 0 };
    const char *p = entry;
    while (is_alphanumeric(*p)) p++;
    do {
        int32_t c = 0;
        for (p++; *p != ' ' && *p != '+'; p++) c = c * 16 + digit(*p, 16);
        r.c[r.n++] = c;
    } while (*p == '+' && r.n < 2);
    return r;
}

/* bare: only a name that may stand without a semicolon counts. */
static bool lookup(reference *out, const int32_t *v, size_t n, bool bare)
{
    size_t from = 0, to = tokenizer_entities_bytes;
    while (from < to) {
        size_t at = from + (to - from) / 2;
        while (at > from && tokenizer_entities[at - 1] != ' ') at--;
        const char *entry = tokenizer_entities + at;
        int order = compare(v, n, entry);
        size_t size = (size_t)(strchr(entry, ' ') - entry) + 1;
        if (order < 0) {
            to = at;
        } else if (order > 0) {
            from = at + size;
        } else {
            if (bare && entry[n] != '*') return false;
            *out = value_of(entry);
            return true;
        }
    }
    return false;
}

/* Longest known name that needs no semicolon at v; 0 = none. */
static size_t bare_name(reference *out, const int32_t *v, size_t n)
{
    for (; n > 1; n--)
        if (lookup(out, v, n, true)) return n;
    return 0;
}

static size_t named(reference *out, const int32_t *v, size_t n)
{
    size_t length = 0;
    while (length < n && length < NAME_MAX_LENGTH && v[length] != '\t' && v[length] != '\n' &&
           v[length] != '\f' && v[length] != ' ' && v[length] != '<' && v[length] != '&' &&
           v[length] != '#' && v[length] != ';')
        length++;
    if (length < n && v[length] == ';' && lookup(out, v, length, false)) return length + 1;
    return bare_name(out, v, length);
}

/* "&NAME;" in capitals stands for the capitals of what "&name;" is, unless HTML reads it
 * otherwise. */
static size_t named_strict(reference *out, const int32_t *v, size_t n)
{
    int32_t lower[STRICT_MAX_LENGTH];
    reference ignored;
    size_t length = 0;
    bool capitals = true;
    while (length < n && length < STRICT_MAX_LENGTH && is_alphanumeric(v[length])) length++;
    if (length == 0 || length == n || v[length] != ';') return 0;
    if (lookup(out, v, length, false)) return length + 1;
    for (size_t i = 0; i < length; i++) {
        capitals = capitals && !(v[i] >= 'a' && v[i] <= 'z');
        lower[i] = v[i] >= 'A' && v[i] <= 'Z' ? v[i] + 32 : v[i];
    }
    if (!capitals || bare_name(&ignored, v, length) > 0 || !lookup(out, lower, length, false))
        return 0;
    if (out->c[0] == 0xdf)
        *out = (reference){ { 'S', 'S' }, 2 };
    else
        for (size_t i = 0; i < out->n; i++) out->c[i] = utf8proc_toupper(out->c[i]);
    return length + 1;
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Numeric reference at v (just after "&#"): code points it takes, 0 = none. */
static size_t numeric(reference *out, const int32_t *v, size_t n, bool strict)
{
    size_t i = 0, first;
    int base = 10;
    int64_t value = 0;
    if (n > 0 && (v[0] == 'x' || v[0] == 'X')) {
        base = 16;
        i = 1;
    }
    for (first = i; i < n && digit(v[i], base) >= 0; i++)
        if (value <= 0x110000) value = value * base + digit(v[i], base);
    if (i == first) return 0;
    bool closed = i < n && v[i] == ';';
    /* The repair step takes a result with a semicolon in it for a failure. */
    if (strict && (!closed || i > STRICT_MAX_LENGTH || value == ';')) return 0;
    *out = (reference){ { (int32_t)value }, 1 };
    if (value >= 0x80 && value < 0xa0)
        out->c[0] = windows[value - 0x80];
    else if (value == 0 || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        out->c[0] = 0xfffd;
    else if ((value < 0x20 && value != 9 && value != 10 && value != 12 && value != 13) ||
             value == 0x7f || (value >= 0xfdd0 && value <= 0xfdef) || (value & 0xfffe) == 0xfffe)
        out->n = 0;
    return i + closed;
}

cf_status entities_decode(runes *r, bool strict)
{
    runes out = { 0 };
    cf_status status = CF_OK;
    size_t first = 0;
    while (first < r->n && r->v[first] != '&') first++;
    if (first == r->n) return CF_OK;
    for (size_t i = 0; i < r->n;) {
        reference ref = { { r->v[i] }, 1 };
        size_t taken = 0;
        const int32_t *rest = r->v + i + 1;
        size_t n = r->n - i - 1;
        if (r->v[i] == '&' && n > 0 && rest[0] == '#') {
            taken = numeric(&ref, rest + 1, n - 1, strict);
            taken += taken > 0;
        } else if (r->v[i] == '&') {
            taken = strict ? named_strict(&ref, rest, n) : named(&ref, rest, n);
        }
        if (taken == 0) ref = (reference){ { r->v[i] }, 1 };
        for (size_t k = 0; k < ref.n; k++) CF_GO(runes_put(&out, ref.c[k]));
        i += taken + 1;
    }
    cf_free(r->v);
    *r = out;
    return CF_OK;
done:
    cf_free(out.v);
    return status;
}
