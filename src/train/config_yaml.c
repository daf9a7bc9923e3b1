/* YAML into the configuration, by libyaml's document tree.
 *
 * The manner is that of the published code: a top level of sections and of single keys, a list
 * BASE of files (relative to the file that names them) which are merged first, a key over
 * the same one of a BASE file; of a key or section that stands twice in a file the later is read.
 * Each message ends in (FILE:LINE). A tag, an anchor or an alias means what libyaml makes of it;
 * values nested deeper than SECTION.KEY are refused, so aliases that form a circle cannot be
 * followed. */
#include "config_internal.h"
#include "yaml_tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST_BASE = 16 };

/* One file being merged; `parent` is the one whose BASE names it. */
typedef struct source {
    const struct source *parent;
    const char *name;
    const char *real; /* NULL: text in memory */
    cf_config *config;
    yaml_document_t *document;
} source;

static cf_status merge_path(const source *parent, cf_config *c, const char *path);

/* The failure with this reason at this node. */
__attribute__((format(printf, 4, 5))) static cf_status
failed_at(cf_status code, const source *s, const yaml_node_t *node, const char *format, ...)
{
    char why[512];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return CF_FAIL(code, "configuration: %s (%s:%zu)", why, s->name, node->start_mark.line + 1);
}

static cf_config_scalar scalar_of(const yaml_node_t *node)
{
    bool quoted = node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return (cf_config_scalar){ (const char *)node->data.scalar.value, node->data.scalar.length,
                               quoted };
}

static bool is_none(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE) return false;
    cf_config_scalar s = scalar_of(node);
    return !s.quoted && cf_config_is_none(s.text, s.n);
}

/* The value of `name` (section "" = top level), whose key and value stand at these nodes. */
static cf_status merge_value(const source *s, const char *section, const char *name,
                             const yaml_node_t *key, const yaml_node_t *value)
{
    char *full = NULL, *origin = NULL;
    size_t index;
    cf_status status = CF_OK;
    CF_GO(cf_format(&full, "%s%s%s", section, *section ? "." : "", name));
    if (!cf_config_find(&index, full)) {
        status = cf_config_unknown(full);
        CF_GO(failed_at(status, s, key, "%s", cf_error()));
    }
    if (value->type != YAML_SCALAR_NODE)
        CF_GO(failed_at(CF_EINVAL, s, value, "%s takes one value, not a list or keys", full));
    CF_GO(cf_format(&origin, "%s:%zu", s->name, key->start_mark.line + 1));
    cf_config_scalar scalar = scalar_of(value);
    status = cf_config_store(s->config, index, &scalar, origin);
    if (status != CF_OK && status != CF_ENOMEM) failed_at(status, s, value, "%s", cf_error());
done:
    cf_free(origin);
    cf_free(full);
    return status;
}

/* Whether the pair's key stands in this mapping once more, further down: then only that one is
 * read, as PyYAML does, and a line tells. */
static bool comes_again(const source *s, const char *section, const yaml_node_t *mapping,
                        const yaml_node_pair_t *pair)
{
    const yaml_node_t *key = yaml_document_get_node(s->document, pair->key);
    const char *name = (const char *)key->data.scalar.value;
    for (const yaml_node_pair_t *p = pair + 1; p < mapping->data.mapping.pairs.top; p++) {
        const yaml_node_t *later = yaml_document_get_node(s->document, p->key);
        if (later->type != YAML_SCALAR_NODE ||
            strcmp((const char *)later->data.scalar.value, name) != 0)
            continue;
        cf_log(CF_LOG_WARNING,
               "configuration: %s%s%s stands twice, at %s:%zu and %s:%zu; only the later one is "
               "read",
               section, *section ? "." : "", name, s->name, key->start_mark.line + 1, s->name,
               later->start_mark.line + 1);
        return true;
    }
    return false;
}

static bool is_section(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < cf_config_n_keys(); i++) {
        const char *key = cf_config_key_at(i)->name;
        if (strncmp(key, name, n) == 0 && key[n] == '.') return true;
    }
    return false;
}

static cf_status merge_section(const source *s, const char *section, const yaml_node_t *key,
                               const yaml_node_t *value)
{
    if (!is_section(section))
        return failed_at(CF_EINVAL, s, key,
                         "unknown section %s; there are DATA, MODEL, TRAIN, AUG and TEST", section);
    if (is_none(value)) return CF_OK;
    if (value->type != YAML_MAPPING_NODE)
        return failed_at(CF_EINVAL, s, value, "%s is a section of keys, not one value", section);
    const yaml_node_pair_t *pair = value->data.mapping.pairs.start;
    for (; pair < value->data.mapping.pairs.top; pair++) {
        const yaml_node_t *k = yaml_document_get_node(s->document, pair->key);
        const yaml_node_t *v = yaml_document_get_node(s->document, pair->value);
        if (k->type != YAML_SCALAR_NODE) return failed_at(CF_EINVAL, s, k, "a key is one word");
        if (comes_again(s, section, value, pair)) continue;
        CF_TRY(merge_value(s, section, (const char *)k->data.scalar.value, k, v));
    }
    return CF_OK;
}

/* ---- BASE ------------------------------------------------------------------------------------ */

static cf_status merge_base_file(const source *s, const yaml_node_t *node, const char *name)
{
    if (!*name) return CF_OK;
    if (!s->real) return failed_at(CF_EINVAL, s, node, "BASE needs a file to be relative to");
    char *folder = NULL, *path = NULL;
    cf_status status = CF_OK;
    CF_GO(cf_path_folder(&folder, s->name));
    CF_GO(cf_path_join(&path, strcmp(folder, ".") == 0 ? "" : folder, name));
    if (!cf_file_exists(path))
        CF_GO(failed_at(CF_ENOTFOUND, s, node, "BASE file %s does not exist", path));
    CF_GO(merge_path(s, s->config, path));
done:
    cf_free(path);
    cf_free(folder);
    return status;
}

/* ('a.yaml', 'b.yaml') as Python writes a tuple, which YAML reads as one text; or a plain name. */
static cf_status merge_base_text(const source *s, const yaml_node_t *node)
{
    char *text;
    CF_TRY(cf_strdup(&text, (const char *)node->data.scalar.value));
    cf_status status = CF_OK;
    size_t n = strlen(text);
    bool tuple = n >= 2 && text[0] == '(' && text[n - 1] == ')';
    if (!tuple) CF_GO(merge_base_file(s, node, text));
    char *rest = NULL;
    for (char *part = tuple ? strtok_r(text, "(),'\" ", &rest) : NULL; part;
         part = strtok_r(NULL, "(),'\" ", &rest))
        CF_GO(merge_base_file(s, node, part));
done:
    cf_free(text);
    return status;
}

static cf_status merge_base(const source *s, const yaml_node_t *value)
{
    if (is_none(value)) return CF_OK;
    if (value->type == YAML_SCALAR_NODE) return merge_base_text(s, value);
    if (value->type != YAML_SEQUENCE_NODE)
        return failed_at(CF_EINVAL, s, value, "BASE is a list of files");
    const yaml_node_item_t *item = value->data.sequence.items.start;
    for (; item < value->data.sequence.items.top; item++) {
        const yaml_node_t *node = yaml_document_get_node(s->document, *item);
        if (node->type != YAML_SCALAR_NODE)
            return failed_at(CF_EINVAL, s, node, "BASE is a list of files");
        if (!is_none(node)) CF_TRY(merge_base_file(s, node, (const char *)node->data.scalar.value));
    }
    return CF_OK;
}

/* ---- a document ------------------------------------------------------------------------------ */

static cf_status merge_root(const source *s)
{
    const yaml_node_t *root = yaml_document_get_root_node(s->document);
    if (!root || is_none(root)) return CF_OK;
    if (root->type != YAML_MAPPING_NODE)
        return failed_at(CF_EINVAL, s, root, "not a configuration: the top level has no keys");
    for (int pass = 0; pass < 2; pass++) { /* BASE first, wherever it stands */
        const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
        for (; pair < root->data.mapping.pairs.top; pair++) {
            const yaml_node_t *key = yaml_document_get_node(s->document, pair->key);
            const yaml_node_t *value = yaml_document_get_node(s->document, pair->value);
            if (key->type != YAML_SCALAR_NODE)
                return failed_at(CF_EINVAL, s, key, "a key is one word");
            const char *name = (const char *)key->data.scalar.value;
            bool base = strcmp(name, "BASE") == 0;
            if (base != (pass == 0) || comes_again(s, "", root, pair)) continue;
            if (base)
                CF_TRY(merge_base(s, value));
            else if (value->type == YAML_MAPPING_NODE || is_section(name))
                CF_TRY(merge_section(s, name, key, value));
            else
                CF_TRY(merge_value(s, "", name, key, value));
        }
    }
    return CF_OK;
}

static cf_status merge_source(source *s, const char *text, size_t n)
{
    yaml_document_t document;
    CF_TRY(yaml_tree_read(&document, text, n, "configuration", s->name));
    s->document = &document;
    cf_status status = merge_root(s);
    yaml_document_delete(&document);
    return status;
}

/* Refuses a file that is among those being merged, under whatever name. */
static cf_status check_cycle(const source *parent, const char *real, const char *path)
{
    size_t depth = 0;
    for (const source *s = parent; s; s = s->parent) {
        if (strcmp(s->real, real) == 0)
            return CF_FAIL(CF_EINVAL,
                           "configuration: BASE goes in a circle: %s leads back to %s (%s)",
                           parent->name, path, s->name);
        if (++depth >= DEEPEST_BASE)
            return CF_FAIL(CF_EINVAL, "configuration: BASE goes deeper than %d files (%s)",
                           (int)DEEPEST_BASE, path);
    }
    return CF_OK;
}

static cf_status merge_path(const source *parent, cf_config *c, const char *path)
{
    char *text = NULL, *real = NULL;
    size_t n;
    cf_status status = CF_OK;
    if (cf_is_folder(path)) return CF_FAIL(CF_EINVAL, "configuration: a folder (%s)", path);
    CF_GO(cf_file_read(&text, &n, path));
    real = realpath(path, NULL);
    if (!real) CF_GO(CF_FAIL(CF_EIO, "cannot resolve %s", path));
    CF_GO(check_cycle(parent, real, path));
    source s = { .parent = parent, .name = path, .real = real, .config = c };
    CF_GO(merge_source(&s, text, n));
done:
    free(real);
    cf_free(text);
    return status;
}

cf_status cf_config_merge_file(cf_config *c, const char *path) { return merge_path(NULL, c, path); }

cf_status cf_config_merge_text(cf_config *c, const char *text, size_t n, const char *name)
{
    source s = { .name = name, .config = c };
    return merge_source(&s, text, n);
}

/* ---- one value ------------------------------------------------------------------------------- */

/* A quoted scalar goes through libyaml for its escapes; anything else is a plain scalar as it
 * stands, so that a path needs no quotes whatever characters it has. */
cf_status cf_config_store_yaml(cf_config *c, size_t index, const char *text, const char *origin)
{
    text += strspn(text, " \t\r\n");
    size_t n = strlen(text);
    while (n > 0 && strchr(" \t\r\n", text[n - 1])) n--;
    if (text[0] != '\'' && text[0] != '"')
        return cf_config_store(c, index, &(cf_config_scalar){ text, n, false }, origin);

    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) return CF_FAIL(CF_ENOMEM, "out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    cf_status status = CF_OK;
    const char *name = cf_config_key_at(index)->name;
    if (!yaml_parser_load(&parser, &document)) {
        status = CF_FAIL(CF_EINVAL, "%s: the quotes of %s do not close", name, text);
        yaml_parser_delete(&parser);
        return status;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root && root->type == YAML_SCALAR_NODE) {
        cf_config_scalar scalar = scalar_of(root);
        status = cf_config_store(c, index, &scalar, origin);
    } else {
        status = CF_FAIL(CF_EINVAL, "%s takes one value, not %s", name, text);
    }
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    return status;
}
