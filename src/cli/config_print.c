/* Configurations and their keys on stdout: YAML with origins, differences, the table of keys. */
#include "config_print.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { WIDEST = 48 }; /* columns before a comment */

static const char *origin_of(const cf_config *c, size_t i)
{
    return c->origin[i] ? c->origin[i] : "default";
}

/* Whether the values of key i are the same. */
static cf_status same_value(bool *same, const cf_config *a, const cf_config *b, size_t i)
{
    char *x = NULL, *y = NULL;
    cf_status status = CF_OK;
    CF_GO(cf_config_get(&x, a, i));
    CF_GO(cf_config_get(&y, b, i));
    *same = strcmp(x, y) == 0;
done:
    cf_free(x);
    cf_free(y);
    return status;
}

/* ---- a configuration ------------------------------------------------------------------------- */

/* "  KEY: VALUE" of key i; its section, with the dot, in *section ("" = none), of *n_section bytes
 * in the key's name. */
static cf_status line_of(char **out, size_t *n_section, const cf_config *c, size_t i)
{
    const char *name = cf_config_key_at(i)->name, *dot = strchr(name, '.');
    char *value;
    *n_section = dot ? (size_t)(dot - name) + 1 : 0;
    CF_TRY(cf_config_get(&value, c, i));
    cf_status status = cf_format(out, "%s%s: %s", dot ? "  " : "", name + *n_section, value);
    cf_free(value);
    return status;
}

static cf_status widest_line(size_t *out, const cf_config *c, const bool *shown)
{
    *out = 0;
    for (size_t i = 0; i < cf_config_n_keys(); i++) {
        char *line;
        size_t n;
        if (!shown[i]) continue;
        CF_TRY(line_of(&line, &n, c, i));
        n = strlen(line);
        cf_free(line);
        if (n > *out && n <= WIDEST) *out = n;
    }
    return CF_OK;
}

static cf_status print_lines(const cf_config *c, const bool *shown)
{
    const char *section = "";
    size_t width;
    CF_TRY(widest_line(&width, c, shown));
    for (size_t i = 0; i < cf_config_n_keys(); i++) {
        const char *name = cf_config_key_at(i)->name;
        char *line;
        size_t n;
        if (!shown[i]) continue;
        CF_TRY(line_of(&line, &n, c, i));
        if (n && strncmp(section, name, n) != 0) printf("%.*s:\n", (int)n - 1, name);
        printf("%-*s  # %s\n", (int)width, line, origin_of(c, i));
        cf_free(line);
        section = name;
    }
    return CF_OK;
}

cf_status config_print(const cf_config *c, bool changed)
{
    bool shown[CF_CONFIG_MAX_KEYS];
    cf_config *standard;
    CF_TRY(cf_config_load(&standard, NULL, NULL, 0));
    cf_status status = CF_OK;
    for (size_t i = 0; i < cf_config_n_keys() && status == CF_OK; i++) {
        bool same = true;
        status = same_value(&same, c, standard, i);
        shown[i] = !changed || !same;
    }
    if (status == CF_OK) status = print_lines(c, shown);
    cf_config_free(standard);
    return status;
}

/* ---- two configurations ---------------------------------------------------------------------- */

static cf_status print_difference(const cf_config *a, const cf_config *b, size_t i)
{
    char *x = NULL, *y = NULL;
    cf_status status = CF_OK;
    CF_GO(cf_config_get(&x, a, i));
    CF_GO(cf_config_get(&y, b, i));
    int width = (int)(strlen(x) > strlen(y) ? strlen(x) : strlen(y));
    printf("%s\n  - %-*s  # %s\n", cf_config_key_at(i)->name, width, x, origin_of(a, i));
    printf("  + %-*s  # %s\n", width, y, origin_of(b, i));
done:
    cf_free(x);
    cf_free(y);
    return status;
}

cf_status config_print_differences(const cf_config *a, const cf_config *b)
{
    for (size_t i = 0; i < cf_config_n_keys(); i++) {
        bool same;
        CF_TRY(same_value(&same, a, b, i));
        if (!same) CF_TRY(print_difference(a, b, i));
    }
    return CF_OK;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static const char *type_of(const cf_config_key *k)
{
    static const char *const names[] = { [CF_CONFIG_INT] = "whole",
                                         [CF_CONFIG_REAL] = "number",
                                         [CF_CONFIG_BOOL] = "truth",
                                         [CF_CONFIG_TEXT] = "text",
                                         [CF_CONFIG_CHOICE] = "choice" };
    return names[k->type];
}

/* "1 .. 1000", "sparse, dense", or nothing. */
static void range_of(char *out, size_t size, const cf_config_key *k)
{
    out[0] = 0;
    if (k->type == CF_CONFIG_BOOL) {
        snprintf(out, size, "True, False");
    } else if (k->choices) {
        size_t n = 0;
        for (const char *c = k->choices; *c && n + 3 < size; c++) {
            out[n++] = *c == '|' ? ',' : *c;
            if (*c == '|') out[n++] = ' ';
        }
        out[n] = 0;
    } else if (k->type == CF_CONFIG_INT || k->type == CF_CONFIG_REAL) {
        snprintf(out, size, "%.10g .. %.10g", k->least, k->most);
    }
}

static void print_markdown_key(const cf_config_key *k, const char *section)
{
    char range[256];
    const char *dot = strchr(k->name, '.');
    size_t n = dot ? (size_t)(dot - k->name) + 1 : 0;
    bool starts = !*section || (n ? strncmp(section, k->name, n) != 0 : strchr(section, '.') != 0);
    range_of(range, sizeof range, k);
    if (starts)
        printf("%s### %.*s\n\n| key | type | default | range | unit | meaning |\n"
               "|---|---|---|---|---|---|\n",
               *section ? "\n" : "", n ? (int)n - 1 : -1, n ? k->name : "The whole run");
    printf("| `%s` | %s | `%s` | %s | %s | %s |\n", k->name, type_of(k), k->standard, range,
           k->unit, k->help);
}

static void print_key(const cf_config_key *k)
{
    char range[256];
    range_of(range, sizeof range, k);
    printf("%-24s %-7s %-31s %s%s%s\n    %s\n", k->name, type_of(k), k->standard, range,
           *range && *k->unit ? " " : "", k->unit, k->help);
}

cf_status config_print_keys(const char *prefix, bool markdown)
{
    const char *section = "";
    for (size_t i = 0; i < cf_config_n_keys(); i++) {
        const cf_config_key *k = cf_config_key_at(i);
        if (strncasecmp(k->name, prefix, strlen(prefix)) != 0) continue;
        if (markdown)
            print_markdown_key(k, section);
        else
            print_key(k);
        section = k->name;
    }
    return *section ? CF_OK : CF_FAIL(CF_ENOTFOUND, "no key starts with %s", prefix);
}
