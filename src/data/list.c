/* list: reads annotation lists. The text is kept and cut in place, so a list costs its own size and
 * a few numbers a line. Lines are cut from their end: label, then perhaps a count, then the name.
 * Whether the numbers before the labels are counts is known only when all lines have been seen;
 * until then both ends of the name are remembered. */
#include "crossframe/list.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    char *name, *end, *count_end; /* the name's end without and with a count */
    int32_t label;
    int32_t count; /* -1: the field before the label is no number */
    size_t line;
    bool comma; /* before the label */
} row;

struct cf_list {
    char *path, *text;
    row *rows;
    size_t n;
};

void cf_list_free(cf_list *l)
{
    if (!l) return;
    cf_free(l->path);
    cf_free(l->text);
    cf_free(l->rows);
    cf_free(l);
}

const char *cf_list_path(const cf_list *l) { return l->path; }
size_t cf_list_size(const cf_list *l) { return l->n; }

cf_list_entry cf_list_get(const cf_list *l, size_t i)
{
    CF_ASSERT(i < l->n);
    const row *r = &l->rows[i];
    return (cf_list_entry){ r->name, r->label, r->count, r->line };
}

/* ---- one line -------------------------------------------------------------------------------- */

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Where the last field of [from, end) begins. */
static char *last_field(char *from, char *end)
{
    while (end > from && !is_space(end[-1]) && end[-1] != ',') end--;
    return end;
}

/* The end of what stands before a field: spaces and at most one comma are taken off. */
static char *before(char *from, char *field, bool *comma)
{
    while (field > from && is_space(field[-1])) field--;
    *comma = field > from && field[-1] == ',';
    if (*comma) field--;
    while (field > from && is_space(field[-1])) field--;
    return field;
}

/* -1: [from, end) is not a whole number from 0 to 2^31 - 1. */
static int32_t count_of(const char *from, const char *end)
{
    int64_t n = 0;
    if (from == end) return -1;
    for (; from < end; from++) {
        if (!is_digit(*from) || n > INT32_MAX) return -1;
        n = 10 * n + (*from - '0');
    }
    return n > INT32_MAX ? -1 : (int32_t)n;
}

static cf_status read_label(row *r, const char *from, const char *end, size_t n_classes)
{
    char *rest;
    long label = strtol(from, &rest, 10);
    if (rest != end || rest == from)
        return CF_FAIL(CF_EFORMAT, "the last field must be a label number, not '%.*s'",
                       (int)(end - from > 60 ? 60 : end - from), from);
    if (label < 0 || label > INT32_MAX || (n_classes && (size_t)label >= n_classes))
        return CF_FAIL(CF_EINVAL, "label %ld is outside 0 .. %ld", label,
                       n_classes ? (long)n_classes - 1 : (long)INT32_MAX);
    r->label = (int32_t)label;
    return CF_OK;
}

/* Cuts [line, end), which is not blank. */
static cf_status read_line(row *r, char *line, char *end, size_t n_classes)
{
    bool comma;
    while (is_space(*line)) line++;
    while (is_space(end[-1])) *--end = 0;
    char *label = last_field(line, end);
    CF_TRY(read_label(r, label, end, n_classes));
    r->name = line;
    r->end = before(line, label, &r->comma);
    if (r->end == line)
        return CF_FAIL(CF_EFORMAT, "there is no name before the label %d", (int)r->label);
    char *count = last_field(line, r->end);
    r->count = count_of(count, r->end);
    r->count_end = before(line, count, &comma);
    if (r->count_end == line) r->count = -1; /* the number is all the name there is */
    return CF_OK;
}

/* "a ""b""" in place. */
static void unquote(row *r, char *end)
{
    *end = 0;
    if (!r->comma || end - r->name < 2 || *r->name != '"' || end[-1] != '"') return;
    char *to = ++r->name;
    end[-1] = 0;
    for (const char *from = r->name; *from; from++) {
        if (*from == '"' && from[1] == '"') from++;
        *to++ = *from;
    }
    *to = 0;
}

/* ---- the list -------------------------------------------------------------------------------- */

static bool is_blank(const char *from, const char *end)
{
    while (from < end && is_space(*from)) from++;
    return from == end;
}

static cf_status read_lines(cf_list *l, size_t n_bytes, size_t n_classes)
{
    char *at = l->text, *stop = l->text + n_bytes;
    if (strncmp(at, "\xef\xbb\xbf", 3) == 0) at += 3;
    for (size_t line = 1; at < stop; line++) {
        char *end = memchr(at, '\n', (size_t)(stop - at));
        if (!end) end = stop;
        if (!is_blank(at, end)) {
            row *r = &l->rows[l->n];
            r->line = line;
            *end = 0; /* stop has a zero already */
            CF_TRY_CTX(read_line(r, at, end, n_classes), "%s, line %zu", l->path, line);
            l->n++;
        }
        at = end + 1;
    }
    return CF_OK;
}

static bool with_counts(const cf_list *l, cf_list_has *has, void *user)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->rows[i].count < 0) return false;
    if (l->n == 0 || !has) return l->n > 0;
    row *first = &l->rows[0];
    char kept = *first->end;
    *first->end = 0;
    bool is_name = has(user, first->name);
    *first->end = kept;
    return !is_name;
}

static void end_names(cf_list *l, bool counts)
{
    for (size_t i = 0; i < l->n; i++) {
        row *r = &l->rows[i];
        if (!counts) r->count = -1;
        unquote(r, counts ? r->count_end : r->end);
    }
}

cf_status cf_list_parse(cf_list **out, const char *text, size_t n, const char *path,
                        size_t n_classes, cf_list_has *has, void *user)
{
    cf_list *l;
    cf_status status = CF_OK;
    size_t n_lines = 1;
    CF_TRY(cf_alloc_zero(&l, 1, sizeof *l));
    CF_GO(cf_strdup(&l->path, path));
    for (size_t i = 0; i < n; i++) {
        if (text[i] == 0) CF_GO(CF_FAIL(CF_EFORMAT, "%s is not a list of text lines", path));
        n_lines += text[i] == '\n';
    }
    CF_GO(cf_alloc(&l->text, n + 1, 1));
    if (n > 0) memcpy(l->text, text, n);
    l->text[n] = 0;
    CF_GO(cf_alloc(&l->rows, n_lines, sizeof *l->rows));
    CF_GO(read_lines(l, n, n_classes));
    end_names(l, with_counts(l, has, user));
    for (size_t i = 0; i < l->n; i++)
        if (!*l->rows[i].name)
            CF_GO(CF_FAIL(CF_EFORMAT, "%s, line %zu: there is no name before the label", path,
                          l->rows[i].line));
    *out = l;
    l = NULL;
done:
    cf_list_free(l);
    return status;
}

cf_status cf_list_open(cf_list **out, const char *path, size_t n_classes, cf_list_has *has,
                       void *user)
{
    char *text;
    size_t n;
    CF_TRY(cf_file_read(&text, &n, path));
    cf_status status = cf_list_parse(out, text, n, path, n_classes, has, user);
    cf_free(text);
    return status;
}
