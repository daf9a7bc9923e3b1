/* JSON of files that are not trusted.
 *
 * Before cJSON sees it, one pass over the bytes bounds the nesting and the number of values (with
 * its texts each costs cJSON up to 150 bytes), refuses "\u0000" (cJSON would cut the text there)
 * and checks UTF-8. */
#include "crossframe/json.h"

#include <string.h>

enum { MOST_VALUES = 400000 };

/* Bounds what parsing can cost, and refuses what cJSON would read otherwise than it is written. */
static cf_status check_text(const char *path, const char *what, const char *text, size_t n,
                            size_t deepest)
{
    size_t values = 0, depth = 0;
    bool quoted = false;
    const char *end = text + n;
    for (const char *p = text; p < end;) {
        const char *at = p;
        int32_t c = cf_utf8_next(&p, end);
        if (c <= 0) return CF_FAIL(CF_EFORMAT, "%s: %s is not UTF-8 text", path, what);
        if (quoted) {
            if (c == '\\' && p < end) {
                if (end - p >= 5 && memcmp(p, "u0000", 5) == 0)
                    return CF_FAIL(CF_EFORMAT, "%s: %s has a text with a zero byte", path, what);
                p++;
            }
            quoted = c != '"';
            continue;
        }
        quoted = c == '"';
        if (*at == '{' || *at == '[') depth++;
        if ((*at == '}' || *at == ']') && depth > 0) depth--;
        if (*at == '{' || *at == '[' || *at == ',') values++;
        if (depth > deepest) return CF_FAIL(CF_EFORMAT, "%s: %s is nested too deeply", path, what);
        if (values > MOST_VALUES)
            return CF_FAIL(CF_EFORMAT, "%s: %s has more than %d values", path, what,
                           (int)MOST_VALUES);
    }
    return CF_OK;
}

cf_status cf_json_parse(cJSON **out, const char *path, const char *what, const char *text, size_t n,
                        size_t deepest)
{
    const char *end = NULL;
    CF_TRY(check_text(path, what, text, n, deepest));
    cJSON *root = cJSON_ParseWithLengthOpts(text, n, &end, 0);
    if (!root) {
        size_t at = end && end >= text ? (size_t)(end - text) : 0;
        return CF_FAIL(CF_EFORMAT, "%s: %s is no JSON (byte %zu of %zu)", path, what, at, n);
    }
    while (end < text + n && strchr(" \t\r\n", *end)) end++;
    if (end != text + n || !cJSON_IsObject(root)) {
        cJSON_Delete(root);
        return CF_FAIL(CF_EFORMAT, "%s: %s is not one JSON object", path, what);
    }
    *out = root;
    return CF_OK;
}

bool cf_json_add_text(cJSON *to, const char *key, const char *text)
{
    char *clean;
    if (cf_utf8_repair(&clean, text) != CF_OK) return false;
    bool done = cJSON_AddStringToObject(to, key, clean) != NULL;
    cf_free(clean);
    return done;
}
