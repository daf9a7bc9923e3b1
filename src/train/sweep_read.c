/* The file of a sweep into its parts, by libyaml's document tree. Each kind of mapping has a table
 * of its keys; what contradicts what is for sweep_check.c. */
#include "train/sweep_parts.h"

#include "train/config_internal.h"
#include "train/yaml_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    cf_sweep *s;
    yaml_document_t *document;
} reader;

typedef struct {
    const char *name;
    cf_status (*take)(reader *r, void *to, const yaml_node_t *value);
} field;

cf_status sweep_failed(const cf_sweep *s, size_t line, const char *format, ...)
{
    char why[512];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return CF_FAIL(CF_EINVAL, "sweep: %s (%s:%zu)", why, s->path, line);
}

static size_t line_of(const yaml_node_t *node) { return node->start_mark.line + 1; }

static const yaml_node_t *node_at(const reader *r, int index)
{
    return yaml_document_get_node(r->document, index);
}

const char *sweep_nearest(char out[256], const char *word, const char *const *names, size_t n)
{
    size_t least = strlen(word) / 3 + 2, used = 0;
    const char *nearest = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t d = cf_text_distance(word, names[i]);
        if (d < least) least = d, nearest = names[i];
    }
    if (nearest) {
        snprintf(out, 256, "; did you mean %.200s?", nearest);
        return out;
    }
    out[0] = 0;
    for (size_t i = 0; i < n && used < 200; i++)
        used += (size_t)snprintf(out + used, 256 - used, "%s%.48s", i ? ", " : "; there are ",
                                 names[i]);
    return out;
}

/* ---- values ---------------------------------------------------------------------------------- */

static cf_status text_of(char **out, const reader *r, const yaml_node_t *node, const char *what)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.length == 0)
        return sweep_failed(r->s, line_of(node), "%s is one text", what);
    const char *text = (const char *)node->data.scalar.value;
    for (size_t i = 0; i < node->data.scalar.length; i++)
        if ((unsigned char)text[i] < 0x20)
            return sweep_failed(r->s, line_of(node), "%s is one line of text", what);
    char *fresh;
    CF_TRY(cf_strdup(&fresh, text));
    cf_free(*out);
    *out = fresh;
    return CF_OK;
}

static cf_status count_of(size_t *out, const reader *r, const yaml_node_t *node, const char *what,
                          size_t least, size_t most)
{
    const char *text = node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : "";
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || value < least || value > most)
        return sweep_failed(r->s, line_of(node), "%s is a number from %zu to %zu", what, least,
                            most);
    *out = (size_t)value;
    return CF_OK;
}

/* The path of a file that this one names. */
static cf_status path_of(char **out, const reader *r, const yaml_node_t *node, const char *what)
{
    char *name = NULL;
    CF_TRY(text_of(&name, r, node, what));
    const char *folder = strcmp(r->s->folder, ".") == 0 ? "" : r->s->folder;
    cf_status status = cf_path_join(out, folder, name);
    cf_free(name);
    return status;
}

/* ---- mappings and lists ---------------------------------------------------------------------- */

static const field *find(const field *fields, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(fields[i].name, name) == 0) return &fields[i];
    return NULL;
}

static cf_status unknown_key(const reader *r, const yaml_node_t *key, const char *what,
                             const field *fields, size_t n)
{
    enum { MOST = 16 };
    const char *names[MOST], *name = (const char *)key->data.scalar.value;
    char hint[256];
    CF_ASSERT(n <= MOST);
    for (size_t i = 0; i < n; i++) names[i] = fields[i].name;
    return sweep_failed(r->s, line_of(key), "%s has no key %.60s%s", what, name,
                        sweep_nearest(hint, name, names, n));
}

/* The name of a pair's key, which must not have stood before. */
static cf_status key_of(const yaml_node_t **out, const reader *r, const yaml_node_t *mapping,
                        const yaml_node_pair_t *pair)
{
    const yaml_node_t *key = node_at(r, pair->key);
    if (key->type != YAML_SCALAR_NODE) return sweep_failed(r->s, line_of(key), "a key is one word");
    for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < pair; p++) {
        const yaml_node_t *before = node_at(r, p->key);
        if (strcmp((const char *)before->data.scalar.value, (const char *)key->data.scalar.value))
            continue;
        return sweep_failed(r->s, line_of(key), "%.60s stands twice, first in line %zu",
                            (const char *)key->data.scalar.value, line_of(before));
    }
    *out = key;
    return CF_OK;
}

static cf_status check_mapping(const reader *r, const yaml_node_t *node, const char *what)
{
    if (node->type == YAML_MAPPING_NODE) return CF_OK;
    return sweep_failed(r->s, line_of(node), "%s has keys: `KEY: value`", what);
}

static cf_status read_mapping(reader *r, void *to, const yaml_node_t *node, const char *what,
                              const field *fields, size_t n)
{
    CF_TRY(check_mapping(r, node, what));
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key;
        CF_TRY(key_of(&key, r, node, pair));
        const field *f = find(fields, n, (const char *)key->data.scalar.value);
        if (!f) return unknown_key(r, key, what, fields, n);
        CF_TRY(f->take(r, to, node_at(r, pair->value)));
    }
    return CF_OK;
}

/* Item number i of a list; a single value is a list of one. NULL: there are no more. */
static const yaml_node_t *item_of(const reader *r, const yaml_node_t *node, size_t i)
{
    if (node->type != YAML_SEQUENCE_NODE) return i == 0 ? node : NULL;
    size_t n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    return i < n ? node_at(r, node->data.sequence.items.start[i]) : NULL;
}

/* ---- OPTS and PAPER -------------------------------------------------------------------------- */

/* Keys that are the sweep's own. */
static bool is_own_key(const char *key)
{
    static const char *const keys[] = { "OUTPUT", "SEED", "TRAIN.AUTO_RESUME", "TEST.ONLY_TEST" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return false;
}

static cf_status take_opts(reader *r, void *to, const yaml_node_t *node)
{
    sweep_row *row = to;
    CF_TRY(check_mapping(r, node, "OPTS"));
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key, *value = node_at(r, pair->value);
        sweep_opt opt = { .text = NULL };
        CF_TRY(key_of(&key, r, node, pair));
        const char *name = (const char *)key->data.scalar.value;
        if (!cf_config_find(&opt.key, name)) {
            cf_config_unknown(name);
            return sweep_failed(r->s, line_of(key), "%s", cf_error());
        }
        if (is_own_key(name))
            return sweep_failed(r->s, line_of(key), "%s is set by the sweep, for each run", name);
        if (value->type != YAML_SCALAR_NODE)
            return sweep_failed(r->s, line_of(value),
                                "%s takes one value; one with { in it needs quotes", name);
        CF_TRY(cf_grow(&row->opts, &row->opts_capacity, row->n_opts + 1, sizeof *row->opts));
        opt.line = line_of(key);
        opt.quoted = value->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        CF_TRY(cf_strdup(&opt.text, (const char *)value->data.scalar.value));
        row->opts[row->n_opts++] = opt;
    }
    return CF_OK;
}

static cf_status add_figure(reader *r, sweep_row *row, const char *test, const yaml_node_t *key,
                            const yaml_node_t *value)
{
    sweep_figure f = { .line = line_of(key) };
    CF_TRY(cf_grow(&row->paper, &row->paper_capacity, row->n_paper + 1, sizeof *row->paper));
    cf_status status = text_of(&f.text, r, value, "a figure of PAPER");
    if (status == CF_OK) status = cf_strdup(&f.metric, (const char *)key->data.scalar.value);
    if (status == CF_OK && test) status = cf_strdup(&f.test, test);
    row->paper[row->n_paper++] = f; /* to be freed with it, also half made */
    return status;
}

/* Of one test. */
static cf_status take_figures(reader *r, sweep_row *row, const char *test, const yaml_node_t *node)
{
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key;
        CF_TRY(key_of(&key, r, node, pair));
        CF_TRY(add_figure(r, row, test, key, node_at(r, pair->value)));
    }
    return CF_OK;
}

static cf_status take_paper(reader *r, void *to, const yaml_node_t *node)
{
    CF_TRY(check_mapping(r, node, "PAPER of a setting or test"));
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key, *value = node_at(r, pair->value);
        CF_TRY(key_of(&key, r, node, pair));
        if (value->type == YAML_MAPPING_NODE)
            CF_TRY(take_figures(r, to, (const char *)key->data.scalar.value, value));
        else
            CF_TRY(add_figure(r, to, NULL, key, value));
    }
    return CF_OK;
}

/* ---- settings and tests ---------------------------------------------------------------------- */

static cf_status take_name(reader *r, void *to, const yaml_node_t *node)
{
    sweep_row *row = to;
    CF_TRY(text_of(&row->name, r, node, "NAME"));
    if (strpbrk(row->name, "/,") || row->name[0] == '.')
        return sweep_failed(r->s, line_of(node),
                            "NAME %.60s is to be a folder: no / and no comma in it, and no dot "
                            "before it",
                            row->name);
    return CF_OK;
}

static cf_status take_label(reader *r, void *to, const yaml_node_t *node)
{
    return text_of(&((sweep_row *)to)->label, r, node, "LABEL");
}

static cf_status take_shots(reader *r, void *to, const yaml_node_t *node)
{
    return count_of(&((sweep_row *)to)->shots, r, node, "SHOTS", 1, 100000);
}

static cf_status read_rows(reader *r, sweep_row **rows, size_t *n, size_t *capacity,
                           const yaml_node_t *list, bool settings)
{
    static const field fields[] = { { "NAME", take_name },
                                    { "LABEL", take_label },
                                    { "OPTS", take_opts },
                                    { "PAPER", take_paper },
                                    { "SHOTS", take_shots } };
    const char *what = settings ? "SETTINGS" : "TESTS", *one = settings ? "a setting" : "a test";
    if (list->type != YAML_SEQUENCE_NODE)
        return sweep_failed(r->s, line_of(list), "%s is a list: `- NAME: ...`", what);
    const yaml_node_t *item;
    for (size_t i = 0; (item = item_of(r, list, i)); i++) {
        CF_TRY(cf_grow(rows, capacity, *n + 1, sizeof **rows));
        sweep_row *row = &(*rows)[(*n)++];
        *row = (sweep_row){ .line = line_of(item) };
        CF_TRY(read_mapping(r, row, item, one, fields, settings ? 5 : 4));
        if (!row->name) return sweep_failed(r->s, row->line, "%s has no NAME", one);
    }
    if (*n == 0) return sweep_failed(r->s, line_of(list), "%s is empty", what);
    return CF_OK;
}

static cf_status take_settings(reader *r, void *to, const yaml_node_t *node)
{
    cf_sweep *s = to;
    return read_rows(r, &s->settings, &s->n_settings, &s->settings_capacity, node, true);
}

static cf_status take_tests(reader *r, void *to, const yaml_node_t *node)
{
    cf_sweep *s = to;
    return read_rows(r, &s->tests, &s->n_tests, &s->tests_capacity, node, false);
}

/* ---- the top level --------------------------------------------------------------------------- */

static cf_status take_title(reader *r, void *to, const yaml_node_t *node)
{
    return text_of(&((cf_sweep *)to)->title, r, node, "TITLE");
}

static cf_status take_config(reader *r, void *to, const yaml_node_t *node)
{
    cf_sweep *s = to;
    CF_TRY(path_of(&s->config, r, node, "CONFIG"));
    if (cf_file_exists(s->config)) return CF_OK;
    return sweep_failed(s, line_of(node), "CONFIG %s does not exist", s->config);
}

static cf_status take_output(reader *r, void *to, const yaml_node_t *node)
{
    return text_of(&((cf_sweep *)to)->output, r, node, "OUTPUT");
}

static cf_status take_runs(reader *r, void *to, const yaml_node_t *node)
{
    return text_of(&((cf_sweep *)to)->runs_folder, r, node, "RUNS");
}

static cf_status take_about(reader *r, void *to, const yaml_node_t *node)
{
    return text_of(&((cf_sweep *)to)->paper, r, node, "PAPER");
}

static cf_status take_seeds(reader *r, void *to, const yaml_node_t *node)
{
    enum { MOST = 1000 };
    cf_sweep *s = to;
    size_t count = 0;
    const yaml_node_t *item;
    if (node->type != YAML_SEQUENCE_NODE)
        CF_TRY(count_of(&count, r, node, "SEEDS, if it is no list,", 1, MOST));
    for (size_t i = 0; count > 0 ? i < count : (item = item_of(r, node, i)) != NULL; i++) {
        size_t seed = i + 1;
        if (count == 0) CF_TRY(count_of(&seed, r, item, "a seed", 0, INT32_MAX));
        for (size_t k = 0; k < s->n_seeds; k++)
            if (s->seeds[k] == seed)
                return sweep_failed(s, line_of(item), "seed %zu stands twice", seed);
        CF_TRY(cf_grow(&s->seeds, &s->seeds_capacity, s->n_seeds + 1, sizeof *s->seeds));
        s->seeds[s->n_seeds++] = seed;
    }
    if (s->n_seeds == 0) return sweep_failed(s, line_of(node), "SEEDS is empty");
    return CF_OK;
}

static cf_status take_metrics(reader *r, void *to, const yaml_node_t *node)
{
    cf_sweep *s = to;
    const yaml_node_t *item;
    for (size_t i = 0; (item = item_of(r, node, i)); i++) {
        CF_TRY(cf_grow(&s->metrics, &s->metrics_capacity, s->n_metrics + 1, sizeof *s->metrics));
        sweep_metric *m = &s->metrics[s->n_metrics++];
        *m = (sweep_metric){ .line = line_of(item) };
        CF_TRY(text_of(&m->name, r, item, "a metric"));
    }
    if (s->n_metrics == 0) return sweep_failed(s, line_of(node), "METRICS is empty");
    return CF_OK;
}

static cf_status take_groups(reader *r, void *to, const yaml_node_t *node)
{
    cf_sweep *s = to;
    CF_TRY(check_mapping(r, node, "GROUPS"));
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key;
        CF_TRY(key_of(&key, r, node, pair));
        CF_TRY(cf_grow(&s->groups, &s->groups_capacity, s->n_groups + 1, sizeof *s->groups));
        sweep_group *g = &s->groups[s->n_groups++];
        *g = (sweep_group){ .line = line_of(key) };
        CF_TRY(text_of(&g->name, r, key, "a name of GROUPS"));
        CF_TRY(path_of(&g->path, r, node_at(r, pair->value), "a file of GROUPS"));
    }
    return CF_OK;
}

static cf_status read_root(reader *r)
{
    static const field fields[] = { { "TITLE", take_title },       { "CONFIG", take_config },
                                    { "OUTPUT", take_output },     { "RUNS", take_runs },
                                    { "SEEDS", take_seeds },       { "METRICS", take_metrics },
                                    { "GROUPS", take_groups },     { "PAPER", take_about },
                                    { "SETTINGS", take_settings }, { "TESTS", take_tests } };
    const yaml_node_t *root = yaml_document_get_root_node(r->document);
    if (!root) return sweep_failed(r->s, 1, "the file is empty");
    return read_mapping(r, r->s, root, "a sweep", fields, sizeof fields / sizeof *fields);
}

cf_status sweep_read(cf_sweep *s)
{
    char *text = NULL;
    size_t n;
    yaml_document_t document;
    cf_status status = CF_OK;
    if (cf_is_folder(s->path)) return CF_FAIL(CF_EINVAL, "sweep: a folder (%s)", s->path);
    CF_GO(cf_path_folder(&s->folder, s->path));
    CF_GO(cf_file_read(&text, &n, s->path));
    CF_GO(yaml_tree_read(&document, text, n, "sweep", s->path));
    reader r = { s, &document };
    status = read_root(&r);
    yaml_document_delete(&document);
done:
    cf_free(text);
    return status;
}
