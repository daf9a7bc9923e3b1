/* A reader of XML, strict enough to hold our HTML and SVG: tags balance, attributes are quoted, no
 * bare < or &. */
#ifndef CROSSFRAME_TEST_XML_H
#define CROSSFRAME_TEST_XML_H

#include "../test.h"

static inline const char *xml_name(char out[64], const char *p)
{
    size_t n = strcspn(p, " \t\n/>=");
    assert_true(n > 0 && n < 64);
    memcpy(out, p, n);
    out[n] = 0;
    return p + n;
}

static inline void xml_text(const char *from, const char *to)
{
    for (const char *p = from; p < to; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 32 && c != '\n' && c != '\t') fail_msg("a control character: %.40s", p);
        if (*p == '<') fail_msg("a bare <: %.60s", p);
        if (*p != '&') continue;
        const char *end = memchr(p, ';', (size_t)(to - p));
        if (!end || end - p > 8) fail_msg("a bare &: %.60s", p);
    }
}

/* Attributes behind a tag's name, each once and quoted; the place of > or />. */
static inline const char *xml_attributes(const char *p)
{
    char name[64];
    for (;;) {
        p += strspn(p, " \t\n");
        if (*p == '>' || *p == '/') return p;
        p = xml_name(name, p);
        if (p[0] != '=' || p[1] != '"') fail_msg("an attribute without value: %s", name);
        const char *end = strchr(p + 2, '"');
        assert_non_null(end);
        xml_text(p + 2, end);
        p = end + 1;
    }
}

static inline void check_xml(const char *text)
{
    static char open[64][64];
    size_t depth = 0, tags = 0;
    const char *p = text;
    if (strncmp(p, "<!DOCTYPE html>", 15) == 0) p += 15;
    while (*p) {
        const char *next = strchr(p, '<');
        const char *cdata = strstr(p, "<![CDATA[");
        if (!next) next = p + strlen(p);
        xml_text(p, next);
        if (!*next) break;
        p = next + 1;
        if (next == cdata) {
            p = strstr(p, "]]>");
            assert_non_null(p);
            p += 3;
        } else if (*p == '/') {
            char name[64];
            p = xml_name(name, p + 1);
            if (depth == 0 || strcmp(open[depth - 1], name) != 0)
                fail_msg("</%s> closes <%s>", name, depth ? open[depth - 1] : "");
            depth--;
            assert_int_equal(*p++, '>');
        } else {
            assert_true(depth < 64);
            p = xml_attributes(xml_name(open[depth], p));
            tags++;
            depth++;
            if (*p == '/') p++, depth--;
            assert_int_equal(*p++, '>');
        }
    }
    assert_int_equal(depth, 0);
    assert_true(tags > 0);
}

#endif
