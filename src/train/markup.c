/* Text of HTML and SVG, escaped. */
#include "markup.h"

#include <stdio.h>
#include <string.h>

static void put_bytes(markup *m, const char *s, size_t n)
{
    if (m->status != CF_OK) return;
    m->status = cf_grow(&m->s, &m->capacity, m->n + n + 1, 1);
    if (m->status != CF_OK) return;
    memcpy(m->s + m->n, s, n);
    m->n += n;
    m->s[m->n] = 0;
}

void markup_raw(markup *m, const char *s) { put_bytes(m, s, strlen(s)); }

void markup_put(markup *m, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    CF_ASSERT(n >= 0 && (size_t)n < sizeof line); /* long texts go through markup_text and _raw */
    put_bytes(m, line, (size_t)n);
}

static const char *escape(int32_t c)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    case '\t':
    case '\n':
    case '\r': return NULL;
    default:
        return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xfffe || c == 0xffff ? "\xef\xbf\xbd"
                                                                                 : NULL;
    }
}

void markup_text_cut(markup *m, const char *s, size_t most)
{
    const char *end = s + strlen(s), *from = s;
    size_t n = 0;
    while (s < end && n++ < most) {
        const char *at = s, *instead = escape(cf_utf8_next(&s, end));
        if (!instead) continue;
        put_bytes(m, from, (size_t)(at - from));
        markup_raw(m, instead);
        from = s;
    }
    put_bytes(m, from, (size_t)(s - from));
    if (s < end) markup_raw(m, "\xe2\x80\xa6");
}

void markup_text(markup *m, const char *s) { markup_text_cut(m, s, SIZE_MAX); }

void markup_base64(markup *m, const uint8_t *bytes, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)bytes[i] << 16;
        if (i + 1 < n) v |= (uint32_t)bytes[i + 1] << 8;
        if (i + 2 < n) v |= bytes[i + 2];
        char four[4] = { digit[v >> 18], digit[v >> 12 & 63], digit[v >> 6 & 63], digit[v & 63] };
        if (i + 1 >= n) four[2] = '=';
        if (i + 2 >= n) four[3] = '=';
        put_bytes(m, four, 4);
    }
}

cf_status markup_done(char **out, size_t *n, markup *m)
{
    put_bytes(m, "", 0);
    cf_status status = m->status;
    if (status == CF_OK) {
        *out = m->s;
        *n = m->n;
        m->s = NULL;
    }
    markup_fini(m);
    return status;
}

void markup_fini(markup *m)
{
    cf_free(m->s);
    *m = (markup){ 0 };
}
