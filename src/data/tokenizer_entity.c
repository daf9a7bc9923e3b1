/* HTML character references: numeric ones in full, and the names that have always been in HTML.
 *
 * HTML 5 rules: "&name;" if the name is known, otherwise the longest known name that may stand
 * without a semicolon, which are Latin-1's and the basic five but "apos". Of the two thousand names
 * of HTML 5 the table holds these and the usual typographic ones; the rest are left as they stand.
 *
 * Numeric references: 80 to 9F mean Windows-1252, 0 and surrogates U+FFFD, non-characters
 * nothing. */
#include "tokenizer_parts.h"

#include <string.h>
#include <utf8proc.h>

enum { NAME_MAX_LENGTH = 32, LATIN_FIRST = 0xa0 };

static const char *const latin[96] = {
    "nbsp",   "iexcl",  "cent",   "pound",  "curren", "yen",    "brvbar", "sect",   "uml",
    "copy",   "ordf",   "laquo",  "not",    "shy",    "reg",    "macr",   "deg",    "plusmn",
    "sup2",   "sup3",   "acute",  "micro",  "para",   "middot", "cedil",  "sup1",   "ordm",
    "raquo",  "frac14", "frac12", "frac34", "iquest", "Agrave", "Aacute", "Acirc",  "Atilde",
    "Auml",   "Aring",  "AElig",  "Ccedil", "Egrave", "Eacute", "Ecirc",  "Euml",   "Igrave",
    "Iacute", "Icirc",  "Iuml",   "ETH",    "Ntilde", "Ograve", "Oacute", "Ocirc",  "Otilde",
    "Ouml",   "times",  "Oslash", "Ugrave", "Uacute", "Ucirc",  "Uuml",   "Yacute", "THORN",
    "szlig",  "agrave", "aacute", "acirc",  "atilde", "auml",   "aring",  "aelig",  "ccedil",
    "egrave", "eacute", "ecirc",  "euml",   "igrave", "iacute", "icirc",  "iuml",   "eth",
    "ntilde", "ograve", "oacute", "ocirc",  "otilde", "ouml",   "divide", "oslash", "ugrave",
    "uacute", "ucirc",  "uuml",   "yacute", "thorn",  "yuml",
};
static const struct {
    const char *name;
    int32_t c;
    bool bare; /* may stand without semicolon */
} others[] = {
    { "amp", '&', true },        { "AMP", '&', true },       { "lt", '<', true },
    { "LT", '<', true },         { "gt", '>', true },        { "GT", '>', true },
    { "quot", '"', true },       { "QUOT", '"', true },      { "COPY", 0xa9, true },
    { "REG", 0xae, true },       { "apos", '\'', false },    { "ndash", 0x2013, false },
    { "mdash", 0x2014, false },  { "lsquo", 0x2018, false }, { "rsquo", 0x2019, false },
    { "sbquo", 0x201a, false },  { "ldquo", 0x201c, false }, { "rdquo", 0x201d, false },
    { "bdquo", 0x201e, false },  { "bull", 0x2022, false },  { "hellip", 0x2026, false },
    { "prime", 0x2032, false },  { "Prime", 0x2033, false }, { "euro", 0x20ac, false },
    { "trade", 0x2122, false },  { "larr", 0x2190, false },  { "rarr", 0x2192, false },
    { "minus", 0x2212, false },  { "OElig", 0x152, false },  { "oelig", 0x153, false },
    { "Scaron", 0x160, false },  { "scaron", 0x161, false }, { "Zcaron", 0x17d, false },
    { "zcaron", 0x17e, false },  { "ensp", 0x2002, false },  { "emsp", 0x2003, false },
    { "thinsp", 0x2009, false }, { "num", '#', false },      { "percnt", '%', false },
    { "commat", '@', false },    { "lowbar", '_', false },   { "sol", '/', false },
    { "colon", ':', false },     { "semi", ';', false },     { "comma", ',', false },
    { "period", '.', false },    { "excl", '!', false },     { "quest", '?', false },
    { "lpar", '(', false },      { "rpar", ')', false },     { "dollar", '$', false },
    { "Tab", '\t', false },      { "NewLine", '\n', false }, { "plus", '+', false },
};
/* Windows-1252 of 80 .. 9F; the undefined ones stay. */
static const uint16_t windows[32] = {
    0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
    0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178,
};

cf_status runes_put(runes *r, int32_t c)
{
    if (r->n == r->capacity) {
        size_t capacity = 2 * r->capacity + 64;
        CF_TRY(cf_realloc(&r->v, capacity, sizeof *r->v));
        r->capacity = capacity;
    }
    r->v[r->n++] = c;
    return CF_OK;
}

int32_t tokenizer_windows_1252(int32_t c) { return c >= 0x80 && c < 0xa0 ? windows[c - 0x80] : c; }

static bool same(const char *name, const int32_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (name[i] == 0 || v[i] != (unsigned char)name[i]) return false;
    return name[n] == 0;
}

/* Character of a name of n code points; 0 = unknown. bare: only names without semicolon count. */
static int32_t lookup(const int32_t *v, size_t n, bool bare)
{
    for (size_t i = 0; i < sizeof latin / sizeof *latin; i++)
        if (same(latin[i], v, n)) return LATIN_FIRST + (int32_t)i;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if ((others[i].bare || !bare) && same(others[i].name, v, n)) return others[i].c;
    return 0;
}

static int digit(int32_t c, int base)
{
    int d = c >= '0' && c <= '9'   ? (int)c - '0'
            : c >= 'a' && c <= 'f' ? (int)c - 'a' + 10
            : c >= 'A' && c <= 'F' ? (int)c - 'A' + 10
                                   : 99;
    return d < base ? d : -1;
}

/* Numeric reference at v (just after "&#"): code points it takes, 0 = none. *c = -1: stands for
 * nothing. */
static size_t numeric(int32_t *c, const int32_t *v, size_t n, bool strict)
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
    if (strict && (!closed || i > 22)) return 0;
    if (value >= 0x80 && value < 0xa0)
        *c = windows[value - 0x80];
    else if (value == 0 || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        *c = 0xfffd;
    else if ((value < 0x20 && value != 9 && value != 10 && value != 12 && value != 13) ||
             value == 0x7f || (value >= 0xfdd0 && value <= 0xfdef) || (value & 0xfffe) == 0xfffe)
        *c = -1;
    else
        *c = (int32_t)value;
    return i + closed;
}

static size_t named(int32_t *c, const int32_t *v, size_t n)
{
    size_t length = 0;
    while (length < n && length < NAME_MAX_LENGTH && v[length] > ' ' && v[length] != '<' &&
           v[length] != '&' && v[length] != '#' && v[length] != ';')
        length++;
    if (length < n && v[length] == ';' && (*c = lookup(v, length, false)) != 0) return length + 1;
    for (; length > 1; length--)
        if ((*c = lookup(v, length, true)) != 0) return length;
    return 0;
}

/* "&NAME;" in capitals stands for the capital of what "&name;" is, if it is not a name itself. */
static size_t named_strict(int32_t *c, const int32_t *v, size_t n)
{
    int32_t lower[NAME_MAX_LENGTH];
    size_t length = 0;
    bool capitals = true;
    while (length < n && length < 24 &&
           (digit(v[length], 10) >= 0 || ((v[length] | 32) >= 'a' && (v[length] | 32) <= 'z')))
        length++;
    if (length == 0 || length == n || v[length] != ';') return 0;
    if ((*c = lookup(v, length, false)) != 0) return length + 1;
    for (size_t i = 0; i < length; i++) {
        capitals = capitals && !(v[i] >= 'a' && v[i] <= 'z');
        lower[i] = v[i] >= 'A' && v[i] <= 'Z' ? v[i] + 32 : v[i];
    }
    if (!capitals || (*c = lookup(lower, length, false)) == 0) return 0;
    *c = utf8proc_toupper(*c);
    return length + 1;
}

cf_status entities_decode(runes *r, bool strict)
{
    runes out = { 0 };
    cf_status status = CF_OK;
    for (size_t i = 0; i < r->n;) {
        int32_t c = -1;
        size_t taken = 0;
        const int32_t *rest = r->v + i + 1;
        size_t n = r->n - i - 1;
        if (r->v[i] == '&' && n > 0 && rest[0] == '#') {
            taken = numeric(&c, rest + 1, n - 1, strict);
            taken += taken > 0;
        } else if (r->v[i] == '&') {
            taken = strict ? named_strict(&c, rest, n) : named(&c, rest, n);
        }
        if (taken == 0) c = r->v[i];
        if (c >= 0) CF_GO(runes_put(&out, c));
        i += taken + 1;
    }
    cf_free(r->v);
    *r = out;
    return CF_OK;
done:
    cf_free(out.v);
    return status;
}
