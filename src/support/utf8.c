/* UTF-8, one character at a time; what is none is told, never guessed. */
#include "crossframe/support.h"

#include <string.h>

int32_t cf_utf8_next(const char **p, const char *end)
{
    static const int32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *s = (const unsigned char *)*p;
    ptrdiff_t room = end - *p;
    int n = s[0] < 0x80   ? 1
            : s[0] < 0xc0 ? 0
            : s[0] < 0xe0 ? 2
            : s[0] < 0xf0 ? 3
            : s[0] < 0xf8 ? 4
                          : 0;
    *p += 1;
    if (n == 0 || n > room) return -1;
    int32_t code = n == 1 ? s[0] : s[0] & (0x7f >> n);
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return -1;
        code = code << 6 | (s[i] & 0x3f);
    }
    if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return -1;
    *p += n - 1;
    return code;
}

cf_status cf_utf8_repair(char **out, const char *s)
{
    const char *end = s + strlen(s);
    char *copy, *to;
    CF_TRY(cf_alloc(&copy, (size_t)(end - s) + 1, 3));
    for (to = copy; s < end;) {
        const char *from = s;
        if (cf_utf8_next(&s, end) < 0) {
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
        } else {
            memcpy(to, from, (size_t)(s - from));
            to += s - from;
        }
    }
    *to = 0;
    *out = copy;
    return CF_OK;
}
