/* Labels: the names of classes, from a CSV `id,name`, a file with one a line, or the command line.
 *
 * In a CSV the id places the name, whatever the order of the rows; ids must be 0 .. K-1, each once;
 * names stay as they are written (Q2 of the recipe: the published reader takes the row's place and
 * turns some names into "nan"). Quoted fields may hold commas, doubled quotes and line breaks. */
#include "crossframe/predict.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void cf_labels_fini(cf_labels *l)
{
    for (size_t i = 0; l->name && i < l->n; i++) cf_free(l->name[i]);
    cf_free(l->name);
    *l = (cf_labels){ 0 };
}

/* ---- CSV ------------------------------------------------------------------------------------- */

typedef struct {
    char *at; /* in a text that ends with 0 and is changed in place */
    size_t line;
    bool row_ends; /* the field read last was its row's last */
} csv;

/* The next field, without quotes. */
static cf_status csv_field(char **out, csv *c)
{
    char *from = c->at, *to = c->at;
    bool quoted = *from == '"';
    *out = to;
    if (quoted) from++;
    while (*from && (quoted || (*from != ',' && *from != '\n'))) {
        if (*from == '\n') c->line++;
        if (quoted && *from == '"' && *++from != '"') {
            quoted = false;
            continue;
        }
        *to++ = *from++;
    }
    if (quoted) return CF_FAIL(CF_EFORMAT, "a quote is not closed");
    c->row_ends = *from != ',';
    if (c->row_ends && to > *out && to[-1] == '\r') to--;
    c->at = *from ? from + 1 : from;
    *to = 0;
    return CF_OK;
}

/* One row of exactly two fields; *id NULL for a blank one. */
static cf_status csv_row(char **id, char **name, csv *c)
{
    CF_TRY(csv_field(id, c));
    if (c->row_ends && !**id) {
        *id = NULL;
        return CF_OK;
    }
    if (c->row_ends) return CF_FAIL(CF_EFORMAT, "a row must be `id,name`, not '%.60s'", *id);
    CF_TRY(csv_field(name, c));
    if (c->row_ends) return CF_OK;
    return CF_FAIL(CF_EFORMAT, "a row has more than two fields; a name with a comma needs quotes");
}

static cf_status place_name(cf_labels *c, const char *id, const char *name)
{
    char *end;
    long k = strtol(id, &end, 10);
    if (end == id || *end) return CF_FAIL(CF_EFORMAT, "'%.60s' is no class number", id);
    if (k < 0 || (size_t)k >= c->n)
        return CF_FAIL(CF_EFORMAT,
                       "class number %ld is outside 0 .. %zu, the number of rows less 1", k,
                       c->n - 1);
    if (c->name[k]) return CF_FAIL(CF_EFORMAT, "class number %ld comes twice", k);
    if (!*name) return CF_FAIL(CF_EFORMAT, "class %ld has no name", k);
    return cf_strdup(&c->name[k], name);
}

static size_t count_rows(const char *text)
{
    size_t n = 0;
    bool quoted = false, blank = true;
    for (; *text; text++) {
        if (*text == '"') quoted = !quoted;
        if (*text == '\n' && !quoted)
            n += !blank, blank = true;
        else if (*text != '\r' && *text != '\n')
            blank = false;
    }
    return n + !blank;
}

static cf_status read_rows(cf_labels *c, csv *at)
{
    char *id, *name;
    bool header = true;
    while (*at->at) {
        CF_TRY(csv_row(&id, &name, at));
        if (id && !header) CF_TRY(place_name(c, id, name));
        if (id) header = false;
        at->line++;
    }
    return CF_OK;
}

/* The text of a file behind a byte order mark. */
static char *behind_mark(char *text) { return strncmp(text, "\xef\xbb\xbf", 3) ? text : text + 3; }

/* *text is changed. */
static cf_status parse_csv(cf_labels *out, char *text, const char *path)
{
    cf_labels l = { 0 };
    size_t rows = count_rows(text);
    if (rows < 2)
        return CF_FAIL(CF_EFORMAT, "%s: not a CSV `id,name` with a header and classes", path);
    CF_TRY(cf_alloc_zero(&l.name, rows - 1, sizeof *l.name));
    l.n = rows - 1;
    csv at = { .at = behind_mark(text), .line = 1 };
    cf_status status = read_rows(&l, &at);
    if (status != CF_OK) {
        cf_labels_fini(&l);
        return cf_fail_context(status, "%s, line %zu", path, at.line), status;
    }
    *out = l;
    return CF_OK;
}

cf_status cf_labels_read_csv(cf_labels *out, const char *path)
{
    char *text;
    size_t n;
    CF_TRY(cf_file_read(&text, &n, path));
    cf_status status = strlen(text) == n
                           ? parse_csv(out, text, path)
                           : CF_FAIL(CF_EFORMAT, "%s: not a CSV `id,name`: it holds a NUL", path);
    cf_free(text);
    return status;
}

/* ---- one a line, or between commas ----------------------------------------------------------- */

/* The pieces of text between the separators without the space round them; *text is changed. Empty
 * pieces are passed over, or an error. */
static cf_status split(cf_labels *out, char *text, char separator, bool skip_empty)
{
    cf_labels l = { 0 };
    cf_status status = CF_OK;
    size_t room = 1;
    for (const char *p = text; *p; p++) room += *p == separator;
    CF_TRY(cf_alloc_zero(&l.name, room, sizeof *l.name));
    for (char *piece = text, *next; piece; piece = next) {
        if ((next = strchr(piece, separator))) *next++ = 0;
        while (isspace((unsigned char)*piece)) piece++;
        char *end = piece + strlen(piece);
        while (end > piece && isspace((unsigned char)end[-1])) *--end = 0;
        if (*piece)
            CF_GO(cf_strdup(&l.name[l.n++], piece));
        else if (!skip_empty)
            CF_GO(CF_FAIL(CF_EINVAL, "label %zu is empty", l.n + 1));
    }
    if (l.n == 0) CF_GO(CF_FAIL(CF_EFORMAT, "there are no labels in it"));
    *out = l;
done:
    if (status != CF_OK) cf_labels_fini(&l);
    return status;
}

/* A header `id,name`, or a second row that starts with a number and a comma. */
static bool looks_like_csv(const char *text)
{
    size_t first = strcspn(text, "\r\n");
    if (first == 7 && strncasecmp(text, "id,name", 7) == 0) return true;
    if (!memchr(text, ',', first)) return false;
    const char *second = text + first + strspn(text + first, "\r\n");
    size_t digits = strspn(second, "0123456789");
    return digits > 0 && second[digits] == ',';
}

static cf_status read_file(cf_labels *out, const char *path)
{
    char *text;
    size_t n;
    cf_status status;
    CF_TRY(cf_file_read(&text, &n, path));
    if (strlen(text) != n)
        status = CF_FAIL(CF_EFORMAT, "%s: not a list of labels: it holds a NUL", path);
    else if (looks_like_csv(behind_mark(text)))
        status = parse_csv(out, text, path);
    else if ((status = split(out, behind_mark(text), '\n', true)) != CF_OK)
        cf_fail_context(status, "%s", path);
    cf_free(text);
    return status;
}

cf_status cf_labels_get(cf_labels *out, const char *file_or_list)
{
    char *copy;
    if (cf_file_exists(file_or_list)) return read_file(out, file_or_list);
    if (!strchr(file_or_list, ','))
        return CF_FAIL(CF_ENOTFOUND,
                       "%s: there is no such file of labels, and labels themselves are "
                       "written with commas: \"a,b\"",
                       file_or_list);
    CF_TRY(cf_strdup(&copy, file_or_list));
    cf_status status = split(out, copy, ',', false);
    if (status != CF_OK) cf_fail_context(status, "labels \"%.60s\"", file_or_list);
    cf_free(copy);
    return status;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

cf_status cf_labels_to_json(char **out, const char *const *name, size_t n)
{
    cJSON *array = cJSON_CreateArray();
    cf_status status = CF_OK;
    char *text = NULL;
    for (size_t i = 0; i < n && status == CF_OK; i++) {
        char *clean;
        CF_GO(cf_utf8_repair(&clean, name[i]));
        cJSON *item = cJSON_CreateString(clean);
        cf_free(clean);
        if (!cJSON_AddItemToArray(array, item)) {
            cJSON_Delete(item);
            CF_GO(CF_FAIL(CF_ENOMEM, "out of memory for %zu labels", n));
        }
    }
    text = cJSON_PrintUnformatted(array);
    status = text ? cf_strdup(out, text) : CF_FAIL(CF_ENOMEM, "out of memory for %zu labels", n);
done:
    cJSON_free(text);
    cJSON_Delete(array);
    return status;
}

cf_status cf_labels_from_json(cf_labels *out, const char *json)
{
    cf_labels l = { 0 };
    cf_status status = CF_OK;
    cJSON *array = cJSON_Parse(json);
    int n = cJSON_IsArray(array) ? cJSON_GetArraySize(array) : 0;
    if (n < 1) CF_GO(CF_FAIL(CF_EFORMAT, "not a JSON array of labels"));
    CF_GO(cf_alloc_zero(&l.name, (size_t)n, sizeof *l.name));
    const cJSON *item;
    cJSON_ArrayForEach(item, array)
    {
        if (!cJSON_IsString(item) || !*item->valuestring)
            CF_GO(CF_FAIL(CF_EFORMAT, "label %zu is no text", l.n + 1));
        CF_GO(cf_strdup(&l.name[l.n++], item->valuestring));
    }
    *out = l;
done:
    if (status != CF_OK) cf_labels_fini(&l);
    cJSON_Delete(array);
    return status;
}
