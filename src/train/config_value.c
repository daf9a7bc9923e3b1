/* One configuration value: from a YAML scalar into its field, and back into YAML.
 *
 * Reading follows what PyYAML and yacs make of a scalar together: `2.e-6` and `1e-5` are numbers,
 * `None` (in quotes too) and `null` are nothing, a number in quotes is still a number where one is
 * wanted. It is
 * stricter in two places: a text key refuses a bare number or truth value (quotes make it a text),
 * and a whole number refuses a fraction. A real key takes a whole number. Writing gives YAML that
 * both PyYAML and this file read back to the same bits. */
#include "config_internal.h"

#include "crossframe/safetensors.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_word(const cf_config_scalar *s, const char *const *words)
{
    for (; *words; words++) {
        if (strlen(*words) == s->n && memcmp(*words, s->text, s->n) == 0) return true;
    }
    return false;
}

bool cf_config_is_none(const char *text, size_t n)
{
    static const char *const words[] = { "None", "null", "Null", "NULL", "~", "", NULL };
    return is_word(&(cf_config_scalar){ text, n, false }, words);
}

static bool as_bool(bool *out, const cf_config_scalar *s)
{
    static const char *const yes[] = { "True", "true", "TRUE", "yes", "Yes",
                                       "YES",  "on",   "On",   "ON",  NULL };
    static const char *const no[] = { "False", "false", "FALSE", "no",  "No",
                                      "NO",    "off",   "Off",   "OFF", NULL };
    if (!is_word(s, yes) && !is_word(s, no)) return false;
    *out = is_word(s, yes);
    return true;
}

/* A decimal number as YAML 1.1 and Python write it, `_` between digits allowed. *whole: it has
 * neither point nor exponent, and 010 is none, for YAML 1.1 takes it as octal and YAML 1.2 does
 * not. */
static bool as_number(double *out, bool *whole, const cf_config_scalar *s)
{
    char text[64];
    size_t n = 0, digits = 0;
    bool point = false, exponent = false;
    for (size_t i = 0; i < s->n; i++) {
        char c = s->text[i];
        char last = i > 0 ? s->text[i - 1] : 0;
        if (c >= '0' && c <= '9')
            digits++;
        else if (c == '_' && last >= '0' && last <= '9')
            continue;
        else if (c == '.' && !point && !exponent)
            point = true;
        else if ((c == 'e' || c == 'E') && digits > 0 && !exponent)
            exponent = true, digits = 0;
        else if ((c == '+' || c == '-') && (i == 0 || last == 'e' || last == 'E')) {
        } else
            return false;
        if (n + 1 >= sizeof text) return false;
        text[n++] = c;
    }
    text[n] = 0;
    if (digits == 0) return false;
    const char *first = text + (text[0] == '+' || text[0] == '-');
    *whole = !point && !exponent;
    if (*whole && first[0] == '0' && first[1] != 0) return false;
    *out = strtod(text, NULL);
    return true;
}

/* "a, b, c" of "a|b|c" */
static void list_choices(char *out, size_t size, const char *choices)
{
    size_t n = 0;
    for (const char *c = choices; *c && n + 3 < size; c++) {
        out[n++] = *c == '|' ? ',' : *c;
        if (*c == '|') out[n++] = ' ';
    }
    out[n] = 0;
}

/* Index of the value among "a|b|c"; -1 if it is none of them. */
static int choice_index(const char *choices, const cf_config_scalar *s, bool any_case)
{
    for (int i = 0;; i++) {
        size_t n = strcspn(choices, "|");
        bool same = n == s->n && (any_case ? strncasecmp(choices, s->text, n) == 0
                                           : memcmp(choices, s->text, n) == 0);
        if (same) return i;
        if (choices[n] == 0) return -1;
        choices += n + 1;
    }
}

static cf_status not_a_choice(const cf_config_key *key, const cf_config_scalar *s)
{
    char list[256];
    list_choices(list, sizeof list, key->choices);
    return CF_FAIL(CF_EINVAL, "%s must be one of %s, not '%.*s'", key->name, list,
                   (int)(s->n < 200 ? s->n : 200), s->text);
}

static cf_status wrong_type(const cf_config_key *key, const char *wanted, const cf_config_scalar *s)
{
    return CF_FAIL(CF_EINVAL, "%s takes %s, not '%.*s'", key->name, wanted,
                   (int)(s->n < 200 ? s->n : 200), s->text);
}

static cf_status check_range(const cf_config_key *key, double value)
{
    if (value >= key->least && value <= key->most) return CF_OK;
    return CF_FAIL(CF_EINVAL, "%s must be from %.10g to %.10g%s%s, not %.10g", key->name,
                   key->least, key->most, *key->unit ? " " : "", key->unit, value);
}

static cf_status store_text(char **field, const cf_config_key *key, const cf_config_scalar *s)
{
    bool truth, whole;
    double number;
    if (!s->quoted && (as_bool(&truth, s) || as_number(&number, &whole, s)))
        return CF_FAIL(CF_EINVAL, "%s takes a text; put '%.*s' in quotes to make it one", key->name,
                       (int)s->n, s->text);
    bool none = cf_config_is_none(s->text, s->n) && (!s->quoted || memcmp(s->text, "None", 4) == 0);
    if (key->choices && choice_index(key->choices, s, false) < 0) return not_a_choice(key, s);
    const char *p = s->text, *end = s->text + s->n;
    while (p < end) {
        if (cf_utf8_next(&p, end) <= 0)
            return CF_FAIL(CF_EINVAL, "%s takes a text in UTF-8 without zero bytes", key->name);
    }
    char *copy;
    CF_TRY(cf_format(&copy, "%.*s", none ? 0 : (int)s->n, s->text));
    cf_free(*field);
    *field = copy;
    return CF_OK;
}

static cf_status store_value(void *field, const cf_config_key *key, const cf_config_scalar *s)
{
    double number;
    bool whole, truth;
    int index;
    switch (key->type) {
    case CF_CONFIG_INT:
        if (!as_number(&number, &whole, s) || !whole) return wrong_type(key, "a whole number", s);
        CF_TRY(check_range(key, number));
        *(int *)field = (int)number;
        return CF_OK;
    case CF_CONFIG_REAL:
        if (!as_number(&number, &whole, s)) return wrong_type(key, "a number", s);
        CF_TRY(check_range(key, number));
        *(double *)field = number;
        return CF_OK;
    case CF_CONFIG_BOOL:
        if (!as_bool(&truth, s)) return wrong_type(key, "True or False", s);
        *(bool *)field = truth;
        return CF_OK;
    case CF_CONFIG_CHOICE:
        if ((index = choice_index(key->choices, s, true)) < 0) return not_a_choice(key, s);
        memcpy(field, &index, sizeof index);
        return CF_OK;
    case CF_CONFIG_TEXT: return store_text(field, key, s);
    }
    CF_ASSERT(!"a type of the table");
    return CF_OK;
}

cf_status cf_config_store(cf_config *c, size_t index, const cf_config_scalar *value,
                          const char *origin)
{
    const cf_config_key *key = cf_config_key_at(index);
    char *copy = NULL;
    if (origin) CF_TRY(cf_strdup(&copy, origin));
    cf_status status = store_value((char *)c + key->offset, key, value);
    if (status != CF_OK) {
        cf_free(copy);
        return status;
    }
    cf_free(c->origin[index]);
    c->origin[index] = copy;
    return CF_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* The shortest digits that read back to the same double, always with a point: PyYAML takes `1e-05`
 * as a text. */
static cf_status real_text(char **out, double value)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    size_t mantissa = strcspn(text, "e");
    bool point = memchr(text, '.', mantissa) != NULL;
    return cf_format(out, "%.*s%s%s", (int)mantissa, text, point ? "" : ".0", text + mantissa);
}

/* What may stand as it is between single quotes on one line. */
static bool is_plain(int32_t code)
{
    return (code >= 0x20 && code <= 0x7e) || (code >= 0xa0 && code <= 0x2027) ||
           (code >= 0x202a && code <= 0xd7ff) || (code >= 0xe000 && code <= 0xfefe) ||
           (code >= 0xff00 && code <= 0xfffd) || code >= 0x10000;
}

/* 'single quotes', or "\U0000000A escapes" where a character needs them. */
static cf_status quoted_text(char **out, const char *value)
{
    bool plain = true;
    const char *end = value + strlen(value);
    for (const char *p = value; p < end;) plain = is_plain(cf_utf8_next(&p, end)) && plain;
    char *text;
    CF_TRY(cf_alloc(&text, strlen(value) + 1, 10));
    size_t n = 0;
    text[n++] = plain ? '\'' : '"';
    for (const char *p = value; p < end;) {
        const char *start = p;
        int32_t code = cf_utf8_next(&p, end);
        if (plain && code == '\'') text[n++] = '\'';
        if (plain || (is_plain(code) && code != '"' && code != '\\')) {
            memcpy(text + n, start, (size_t)(p - start));
            n += (size_t)(p - start);
        } else {
            n += (size_t)sprintf(text + n, "\\U%08X", (unsigned)code);
        }
    }
    text[n++] = plain ? '\'' : '"';
    text[n] = 0;
    *out = text;
    return CF_OK;
}

cf_status cf_config_get(char **out, const cf_config *c, size_t key_index)
{
    const cf_config_key *key = cf_config_key_at(key_index);
    const void *field = (const char *)c + key->offset;
    const char *choice = key->choices;
    int index;
    switch (key->type) {
    case CF_CONFIG_INT: return cf_format(out, "%d", *(const int *)field);
    case CF_CONFIG_REAL: return real_text(out, *(const double *)field);
    case CF_CONFIG_BOOL: return cf_strdup(out, *(const bool *)field ? "True" : "False");
    case CF_CONFIG_TEXT: return quoted_text(out, *(char *const *)field);
    case CF_CONFIG_CHOICE:
        memcpy(&index, field, sizeof index);
        for (; index > 0; index--) choice = strchr(choice, '|') + 1;
        return cf_format(out, "%.*s", (int)strcspn(choice, "|"), choice);
    }
    CF_ASSERT(!"a type of the table");
    return CF_OK;
}
