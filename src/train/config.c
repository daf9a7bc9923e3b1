/* The configuration as a whole: making, loading, setting, writing.
 *
 * Precedence: defaults < BASE files < the file < --opts < dedicated options, each later one over
 * the earlier. The resolved text that cf_config_text gives is the form in which a configuration
 * travels: in OUTPUT/config.yaml, in a checkpoint's metadata, in a report. */
#include "config_internal.h"

#include <string.h>

/* path: NULL for none. */
static cf_status make_default(cf_config **out, const char *path)
{
    cf_config *c;
    CF_TRY(cf_alloc_zero(&c, 1, sizeof *c));
    cf_status status = cf_strdup(&c->path, path ? path : "");
    for (size_t i = 0; i < cf_config_n_keys() && status == CF_OK; i++)
        status = cf_config_store_yaml(c, i, cf_config_key_at(i)->standard, NULL);
    if (status != CF_OK) {
        CF_ASSERT(status == CF_ENOMEM);
        cf_config_free(c);
        return status;
    }
    *out = c;
    return CF_OK;
}

static cf_status copy_texts(cf_config *to, const cf_config *from)
{
    for (size_t i = 0; i < cf_config_n_keys(); i++) {
        const cf_config_key *key = cf_config_key_at(i);
        char **text = (char **)((char *)to + key->offset);
        if (key->type == CF_CONFIG_TEXT)
            CF_TRY(cf_strdup(text, *(char *const *)((const char *)from + key->offset)));
        if (from->origin[i]) CF_TRY(cf_strdup(&to->origin[i], from->origin[i]));
    }
    return from->path ? cf_strdup(&to->path, from->path) : CF_OK;
}

cf_status cf_config_copy(cf_config **out, const cf_config *c)
{
    cf_config *copy;
    CF_TRY(cf_alloc(&copy, 1, sizeof *copy));
    *copy = *c;
    copy->path = NULL;
    for (size_t i = 0; i < cf_config_n_keys(); i++) {
        const cf_config_key *key = cf_config_key_at(i);
        if (key->type == CF_CONFIG_TEXT) *(char **)((char *)copy + key->offset) = NULL;
        copy->origin[i] = NULL;
    }
    cf_status status = copy_texts(copy, c);
    if (status == CF_OK)
        *out = copy;
    else
        cf_config_free(copy);
    return status;
}

void cf_config_free(cf_config *c)
{
    if (!c) return;
    for (size_t i = 0; i < cf_config_n_keys(); i++) {
        const cf_config_key *key = cf_config_key_at(i);
        if (key->type == CF_CONFIG_TEXT) cf_free(*(char **)((char *)c + key->offset));
        cf_free(c->origin[i]);
    }
    cf_free(c->path);
    cf_free(c);
}

/* Puts what every message of the configuration has around the reason. */
static cf_status located(cf_status status, const char *origin)
{
    if (status == CF_OK || status == CF_ENOMEM) return status;
    return CF_FAIL(status, "configuration: %s (%s)", cf_error(), origin);
}

cf_status cf_config_set(cf_config *c, const char *key, const char *value, const char *origin)
{
    size_t index;
    if (!cf_config_find(&index, key)) return located(cf_config_unknown(key), origin);
    return located(cf_config_store_yaml(c, index, value, origin), origin);
}

cf_status cf_config_set_plain(cf_config *c, const char *key, const char *value, const char *origin)
{
    size_t index;
    const cf_config_key *found = cf_config_find(&index, key);
    if (!found) return located(cf_config_unknown(key), origin);
    cf_config_scalar scalar = { value, strlen(value), found->type == CF_CONFIG_TEXT };
    return located(cf_config_store(c, index, &scalar, origin), origin);
}

static cf_status set_pair(cf_config *c, const char *pair)
{
    char *key;
    size_t n = strcspn(pair, "=");
    CF_TRY(cf_format(&key, "%.*s", (int)n, pair));
    cf_status status = cf_config_set(c, key, pair + n + 1, "--opts");
    cf_free(key);
    return status;
}

cf_status cf_config_set_opts(cf_config *c, const char *const *opts, size_t n_opts)
{
    for (size_t i = 0; i < n_opts; i++) {
        if (strchr(opts[i], '=')) {
            CF_TRY(set_pair(c, opts[i]));
            continue;
        }
        if (i + 1 == n_opts) {
            if (!cf_config_find(NULL, opts[i]))
                return located(cf_config_unknown(opts[i]), "--opts");
            return CF_FAIL(CF_EINVAL, "configuration: %s has no value (--opts)", opts[i]);
        }
        CF_TRY(cf_config_set(c, opts[i], opts[i + 1], "--opts"));
        i++;
    }
    return CF_OK;
}

cf_status cf_config_load(cf_config **out, const char *path, const char *const *opts, size_t n_opts)
{
    cf_config *c;
    CF_TRY(make_default(&c, path));
    cf_status status = CF_OK;
    if (path) CF_GO(cf_config_merge_file(c, path));
    CF_GO(cf_config_set_opts(c, opts, n_opts));
    *out = c;
    c = NULL;
done:
    cf_config_free(c);
    return status;
}

cf_status cf_config_parse(cf_config **out, const char *text, size_t n, const char *name)
{
    cf_config *c;
    CF_TRY(make_default(&c, NULL));
    cf_status status = CF_OK;
    CF_GO(cf_config_merge_text(c, text, n, name));
    *out = c;
    c = NULL;
done:
    cf_config_free(c);
    return status;
}

/* Appends "SECTION:\n" where a section starts, then "  KEY: VALUE\n". */
static cf_status append_key(char **text, const cf_config *c, size_t index, const char **section)
{
    const char *name = cf_config_key_at(index)->name;
    const char *dot = strchr(name, '.');
    size_t n = dot ? (size_t)(dot - name) : 0;
    bool starts = dot && strncmp(*section, name, n + 1) != 0;
    char *value, *longer;
    CF_TRY(cf_config_get(&value, c, index));
    cf_status status = cf_format(&longer, "%s%.*s%s%s%s: %s\n", *text, starts ? (int)n : 0, name,
                                 starts ? ":\n" : "", dot ? "  " : "", dot ? dot + 1 : name, value);
    cf_free(value);
    CF_TRY(status);
    cf_free(*text);
    *text = longer;
    *section = name;
    return CF_OK;
}

static cf_status make_text(char **out, const cf_config *c, bool only_given)
{
    char *text;
    const char *section = "";
    CF_TRY(cf_strdup(&text, ""));
    for (size_t i = 0; i < cf_config_n_keys(); i++) {
        if (only_given && !c->origin[i]) continue;
        cf_status status = append_key(&text, c, i, &section);
        if (status == CF_OK) continue;
        cf_free(text);
        return status;
    }
    *out = text;
    return CF_OK;
}

cf_status cf_config_text(char **out, const cf_config *c) { return make_text(out, c, false); }

cf_status cf_config_given_text(char **out, const cf_config *c) { return make_text(out, c, true); }

cf_status cf_config_write(const cf_config *c, const char *path)
{
    char *text;
    CF_TRY(cf_config_text(&text, c));
    cf_status status = cf_file_write(path, text, strlen(text));
    cf_free(text);
    return status;
}
