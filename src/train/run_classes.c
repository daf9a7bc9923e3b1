/* The classes of a run: names, token table, and whether they fit the data.
 *
 * Names come from DATA.LABEL_LIST, a CSV `id,name` with a header row, or where that is '' from the
 * pack. The id places the name, whatever the order of the rows; ids must be 0 .. K-1, each once;
 * names stay as they are written (Q2 of the recipe: the published reader takes the row's place and
 * turns some names into "nan"). Quoted fields may hold commas, doubled quotes and line breaks.
 * K must be the same in names, DATA.NUM_CLASSES and the packs (Q35); where NUM_CLASSES was not
 * given and the names are the pack's, it is the pack's. */
#include "train/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void cf_classes_fini(cf_classes *c)
{
    for (size_t i = 0; c->name && i < c->n; i++) cf_free(c->name[i]);
    cf_free(c->name);
    cf_free(c->tokens);
    cf_free(c->gathered);
    *c = (cf_classes){ 0 };
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

static cf_status place_name(cf_classes *c, const char *id, const char *name)
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

static cf_status read_rows(cf_classes *c, csv *at)
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

static cf_status read_list(cf_classes *c, const char *path)
{
    char *text;
    size_t n;
    CF_TRY_CTX(cf_file_read(&text, &n, path), "DATA.LABEL_LIST");
    cf_status status = CF_OK;
    size_t rows = count_rows(text);
    if (rows < 2 || strlen(text) != n)
        CF_GO(CF_FAIL(CF_EFORMAT, "%s: not a CSV `id,name` with a header and classes", path));
    CF_GO(cf_alloc_zero(&c->name, rows - 1, sizeof *c->name));
    c->n = rows - 1;
    csv at = { .at = strncmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text, .line = 1 };
    status = read_rows(c, &at);
    if (status != CF_OK) status = cf_fail_context(status, "%s, line %zu", path, at.line);
done:
    cf_free(text);
    return status;
}

/* ---- from the pack, and against it ----------------------------------------------------------- */

static bool has_names(const cf_dataset *d) { return *cf_dataset_class_name(d, 0) != 0; }

static cf_status take_names(cf_classes *c, const cf_dataset *d)
{
    if (!has_names(d))
        return CF_FAIL(CF_EINVAL, "%s holds no class names; set DATA.LABEL_LIST",
                       cf_dataset_path(d));
    size_t n = cf_dataset_n_classes(d);
    CF_TRY(cf_alloc_zero(&c->name, n, sizeof *c->name));
    c->n = n;
    for (size_t i = 0; i < c->n; i++) CF_TRY(cf_strdup(&c->name[i], cf_dataset_class_name(d, i)));
    return CF_OK;
}

/* The pack's own names, or the largest label of a list. */
static cf_status check_dataset(const cf_classes *c, const cf_dataset *d)
{
    size_t n = cf_dataset_n_classes(d);
    if (has_names(d) ? n != c->n : n > c->n)
        return CF_FAIL(CF_EINVAL, "%s has %zu classes, but there are %zu class names%s",
                       cf_dataset_path(d), n, c->n,
                       c->chosen ? " in DATA.LABEL_LIST" : " in the training data");
    for (size_t i = 0; has_names(d) && i < n; i++) {
        if (strcmp(c->name[i], cf_dataset_class_name(d, i)) == 0) continue;
        cf_log(CF_LOG_WARNING, "%s calls class %zu \"%s\"; \"%s\" is used", cf_dataset_path(d), i,
               cf_dataset_class_name(d, i), c->name[i]);
        break;
    }
    return CF_OK;
}

cf_status cf_run_read_classes(cf_run *r)
{
    cf_config *c = r->config;
    cf_classes *classes = &r->classes;
    classes->chosen = *c->data.label_list != 0;
    if (classes->chosen)
        CF_TRY(read_list(classes, c->data.label_list));
    else
        CF_TRY(take_names(classes, r->train ? r->train : r->test));
    if (!classes->chosen && !cf_config_given(c, "DATA.NUM_CLASSES"))
        c->data.num_classes = (int)classes->n;
    if ((size_t)c->data.num_classes != classes->n)
        return CF_FAIL(
            CF_EINVAL,
            "configuration: DATA.NUM_CLASSES is %d, but there are %zu class names in %s (%s)",
            c->data.num_classes, classes->n,
            classes->chosen ? c->data.label_list : cf_dataset_path(r->train ? r->train : r->test),
            cf_config_origin(c, "DATA.NUM_CLASSES"));
    if (r->train) CF_TRY(check_dataset(classes, r->train));
    if (r->test) CF_TRY(check_dataset(classes, r->test));
    return CF_OK;
}

cf_status cf_run_tokenize_classes(cf_run *r)
{
    cf_classes *c = &r->classes;
    size_t n;
    c->context = cf_xclip_config_get(r->model)->context;
    CF_TRY(cf_mul_size(&n, c->n, c->context));
    CF_TRY(cf_alloc(&c->tokens, n, sizeof *c->tokens));
    CF_TRY(cf_alloc(&c->gathered, n, sizeof *c->gathered));
    return cf_tokenize_table(c->tokens, r->tokenizer, (const char *const *)c->name, c->n,
                             c->context);
}

cf_status cf_run_class_likeness(double *cosine, size_t pair[2], cf_run *r)
{
    size_t e = cf_xclip_config_get(r->model)->embed, K = r->classes.n;
    double *unit, most = -1;
    CF_TRY(cf_run_text_features(r));
    CF_TRY(cf_alloc(&unit, K * e, sizeof *unit));
    for (size_t k = 0; k < K; k++) {
        const cf_real *c = r->text.features + k * e;
        double norm = sqrt(cf_vec_sum_squares(c, e));
        for (size_t j = 0; j < e; j++) unit[k * e + j] = (double)c[j] / norm;
    }
    for (size_t a = 1; a < K; a++)
        for (size_t b = 0; b < a; b++) {
            double dot = 0;
            for (size_t j = 0; j < e; j++) dot += unit[a * e + j] * unit[b * e + j];
            if (dot <= most) continue;
            most = dot;
            pair[0] = b;
            pair[1] = a;
        }
    cf_free(unit);
    *cosine = most;
    return CF_OK;
}
