/* Names of tensors gathered for a message: those that differ in a layer's number only are one
 * group, and two groups that differ in .weight and .bias only are shown as one. */
#include "models/name_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No model has as many kinds of names; a file that has is only counted. */
enum { MOST_GROUPS = 256 };

static void free_group(cf_name_group *g)
{
    cf_free(g->before);
    cf_free(g->after);
    cf_free(g->note);
}

void cf_name_list_fini(cf_name_list *l)
{
    for (size_t i = 0; i < l->n_groups; i++) free_group(&l->group[i]);
    cf_free(l->group);
    *l = (cf_name_list){ 0 };
}

/* The first whole component that is a number; its place and value. */
static const char *find_layer(const char *name, size_t *digits, size_t *layer)
{
    for (const char *p = strchr(name, '.'); p; p = strchr(p + 1, '.')) {
        *digits = strspn(p + 1, "0123456789");
        if (*digits == 0 || *digits > 4 || p[1 + *digits] != '.') continue;
        *layer = strtoul(p + 1, NULL, 10);
        if (*layer < CF_NAME_LIST_LAYERS && (p[1] != '0' || *digits == 1)) return p + 1;
    }
    return NULL;
}

static bool same_text(const char *a, const char *b, size_t n)
{
    return strncmp(a, b, n) == 0 && a[n] == 0;
}

static cf_status new_group(cf_name_group *out, const char *name, const char *at, size_t digits,
                           const char *note)
{
    cf_name_group g = { 0 };
    cf_status status = CF_OK;
    CF_GO(at ? cf_format(&g.before, "%.*s", (int)(at - name), name) : cf_strdup(&g.before, name));
    if (at) CF_GO(cf_strdup(&g.after, at + digits));
    CF_GO(cf_strdup(&g.note, note));
    *out = g;
    return CF_OK;
done:
    free_group(&g);
    return status;
}

cf_status cf_name_list_add(cf_name_list *l, const char *name, const char *note)
{
    size_t digits = 0, layer = 0;
    const char *at = find_layer(name, &digits, &layer);
    cf_name_group *g = NULL;
    for (size_t i = 0; at && i < l->n_groups && !g; i++) {
        cf_name_group *x = &l->group[i];
        if (x->after && same_text(x->before, name, (size_t)(at - name)) &&
            strcmp(x->after, at + digits) == 0 && strcmp(x->note, note) == 0)
            g = x;
    }
    if (!g && l->n_groups == MOST_GROUPS) {
        l->n++;
        return CF_OK;
    }
    if (!g) {
        CF_TRY(cf_grow(&l->group, &l->capacity, l->n_groups + 1, sizeof *l->group));
        CF_TRY(new_group(&l->group[l->n_groups], name, at, digits, note));
        g = &l->group[l->n_groups++];
    }
    g->layer[layer / 8] |= (uint8_t)(1u << layer % 8);
    g->n++;
    l->n++;
    return CF_OK;
}

/* ---- printing -------------------------------------------------------------------------------- */

/* The last component of a group's name. */
static char *ending_of(const cf_name_group *g)
{
    char *text = g->after ? g->after : g->before, *dot = strrchr(text, '.');
    return dot ? dot + 1 : text;
}

/* b is a's bias. */
static bool is_bias_of(const cf_name_group *a, const cf_name_group *b)
{
    const char *x = ending_of(a), *y = ending_of(b);
    if (strcmp(x, "weight") != 0 || strcmp(y, "bias") != 0 || !a->after != !b->after) return false;
    if (strcmp(a->note, b->note) != 0 || memcmp(a->layer, b->layer, sizeof a->layer) != 0)
        return false;
    const char *p = a->after ? a->after : a->before, *q = b->after ? b->after : b->before;
    return (!a->after || strcmp(a->before, b->before) == 0) && x - p == y - q &&
           strncmp(p, q, (size_t)(x - p)) == 0;
}

static void merge_biases(cf_name_list *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n_groups; i++) {
        cf_name_group *g = &l->group[i], *weight = NULL;
        for (size_t k = 0; k < n && !weight; k++)
            if (!l->group[k].both && is_bias_of(&l->group[k], g)) weight = &l->group[k];
        if (weight) {
            weight->both = true;
            weight->n += g->n;
            free_group(g);
        } else {
            l->group[n++] = *g;
        }
    }
    l->n_groups = n;
}

static bool has_layer(const cf_name_group *g, size_t i)
{
    return i < CF_NAME_LIST_LAYERS && (g->layer[i / 8] >> i % 8 & 1);
}

/* "3" or "{0-2,5}" */
static size_t print_layers(char *out, size_t size, const cf_name_group *g)
{
    size_t at = 0, parts = 0;
    char text[256] = "";
    for (size_t i = 0; i < CF_NAME_LIST_LAYERS && at + 16 < sizeof text; i++) {
        if (!has_layer(g, i)) continue;
        size_t last = i;
        while (has_layer(g, last + 1)) last++;
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%zu", parts ? "," : "", i);
        if (last > i) at += (size_t)snprintf(text + at, sizeof text - at, "-%zu", last);
        parts += last > i ? 2 : 1;
        i = last;
    }
    return (size_t)snprintf(out, size, parts > 1 ? "{%s}" : "%s", text);
}

static size_t print_group(char *out, size_t size, const cf_name_group *g)
{
    const char *ending = ending_of(g), *last = g->after ? g->after : g->before;
    char layers[300] = "";
    if (g->after) print_layers(layers, sizeof layers, g);
    int shown = g->both ? (int)(ending - last) : (int)strlen(last);
    return (size_t)snprintf(out, size, "%s%s%.*s%s%s", g->after ? g->before : "", layers, shown,
                            last, g->both ? "{weight,bias}" : "", g->note);
}

void cf_name_list_print(char *out, size_t size, cf_name_list *l)
{
    enum { REST = 32 }; /* " and 12345 more" */
    size_t at = 0, shown = 0;
    merge_biases(l);
    out[0] = 0;
    for (size_t i = 0; i < l->n_groups; i++) {
        const char *comma = i > 0 ? ", " : "";
        size_t need = strlen(comma) + print_group(NULL, 0, &l->group[i]);
        if (at + need + REST >= size) break;
        at += (size_t)snprintf(out + at, size - at, "%s", comma);
        at += print_group(out + at, size - at, &l->group[i]);
        shown += l->group[i].n;
    }
    if (shown < l->n)
        snprintf(out + at, size - at, shown > 0 ? " and %zu more" : "%zu", l->n - shown);
}
