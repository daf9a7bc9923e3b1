/* pack_entries: the videos to pack, in their order: those of all lists one after the other, each
 * once; or what lies in the folders of classes; or the rows of an older HDF5 file. */
#include "data/pack_job.h"

#include "crossframe/h5.h"
#include "crossframe/list.h"

#include <stdlib.h>
#include <string.h>

/* Where an entry was named, until it is known which are the same. */
typedef struct {
    const char *name;
    size_t at;         /* place among all lines */
    size_t list, line; /* for messages */
    size_t entry;      /* which entry it became */
    int32_t label, count;
} mention;

typedef struct {
    cf_list **lists;
    size_t n_lists;
    char **names; /* where no list has them */
    size_t n_names, name_capacity;
    char **classes; /* of the folders */
    size_t n_classes;
} store;

static cf_status store_of(store **out, pack_entries *e)
{
    if (!e->store) {
        store *s;
        CF_TRY(cf_alloc_zero(&s, 1, sizeof *s));
        e->store = s;
    }
    *out = e->store;
    return CF_OK;
}

void pack_entries_fini(pack_entries *e)
{
    store *s = e->store;
    for (size_t i = 0; s && i < s->n_lists; i++) cf_list_free(s->lists[i]);
    for (size_t i = 0; s && i < s->n_names; i++) cf_free(s->names[i]);
    for (size_t i = 0; s && i < s->n_classes; i++) cf_free(s->classes[i]);
    if (s) {
        cf_free(s->lists);
        cf_free(s->names);
        cf_free(s->classes);
        cf_free(s);
    }
    for (size_t i = 0; i < e->n_parts; i++) cf_free(e->part[i].entry);
    cf_free(e->part);
    cf_free(e->entry);
    *e = (pack_entries){ 0 };
}

/* ---- lists ----------------------------------------------------------------------------------- */

static bool has(void *user, const char *name) { return pack_root_has(user, name); }

static cf_status read_lists(store *s, const pack_root *r, const cf_packing_options *o)
{
    CF_TRY(cf_alloc_zero(&s->lists, o->n_lists, sizeof *s->lists));
    for (size_t i = 0; i < o->n_lists; i++) {
        CF_TRY(cf_list_open(&s->lists[i], o->lists[i].path, o->n_classes, has, (void *)r));
        s->n_lists++;
        if (cf_list_size(s->lists[i]) == 0)
            return CF_FAIL(CF_EINVAL, "%s names no videos", o->lists[i].path);
    }
    return CF_OK;
}

static int by_name(const void *a, const void *b)
{
    const mention *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

static int by_place(const void *a, const void *b)
{
    const mention *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

static cf_status same_video(const mention *a, const mention *b, const store *s)
{
    if (a->label == b->label && a->count == b->count) return CF_OK;
    bool label = a->label != b->label;
    return CF_FAIL(CF_EINVAL, "%s has %s %d in %s, line %zu, and %d in %s, line %zu", a->name,
                   label ? "label" : "count", (int)(label ? a->label : a->count),
                   cf_list_path(s->lists[a->list]), a->line, (int)(label ? b->label : b->count),
                   cf_list_path(s->lists[b->list]), b->line);
}

/* The first mention of each video becomes an entry; e->repeated counts the lines that name one
 * again in the same list. */
static cf_status join(pack_entries *e, mention *m, size_t n, const store *s)
{
    qsort(m, n, sizeof *m, by_name);
    for (size_t i = 0, first = 0; i < n; i++) {
        if (i > 0 && strcmp(m[i].name, m[first].name) == 0) {
            CF_TRY(same_video(&m[first], &m[i], s));
            e->repeated += m[i].list == m[i - 1].list;
            m[i].entry = m[first].at;
        } else {
            first = i;
            m[i].entry = m[i].at;
        }
    }
    qsort(m, n, sizeof *m, by_place);
    CF_TRY(cf_alloc(&e->entry, n, sizeof *e->entry));
    for (size_t i = 0; i < n; i++) {
        if (m[i].entry != i) {
            m[i].entry = m[m[i].entry].entry; /* it stands before, and has its number */
            continue;
        }
        m[i].entry = e->n;
        e->entry[e->n++] = (pack_entry){ m[i].name, m[i].label, m[i].count };
    }
    return CF_OK;
}

static cf_status make_parts(pack_entries *e, const mention *m, const store *s,
                            const cf_packing_options *o)
{
    CF_TRY(cf_alloc_zero(&e->part, o->n_lists, sizeof *e->part));
    for (size_t i = 0, at = 0; i < o->n_lists; at += cf_list_size(s->lists[i++])) {
        if (!o->lists[i].split) continue;
        pack_part *p = &e->part[e->n_parts];
        p->name = o->lists[i].split;
        p->n = cf_list_size(s->lists[i]);
        CF_TRY(cf_alloc(&p->entry, p->n, sizeof *p->entry));
        e->n_parts++;
        for (size_t k = 0; k < p->n; k++) p->entry[k] = m[at + k].entry;
    }
    return CF_OK;
}

/* A wrong --root would leave out every video one by one. */
static cf_status some_are_there(const pack_entries *e, const pack_root *r,
                                const cf_packing_options *o)
{
    for (size_t i = 0; i < e->n; i++)
        if (pack_root_has(r, e->entry[i].name)) return CF_OK;
    return CF_FAIL(CF_ENOTFOUND, "%s: none of the %zu videos of %s is in it; the first is %s",
                   r->path, e->n, o->lists[0].path, e->entry[0].name);
}

static cf_status from_lists(pack_entries *e, const pack_root *r, const cf_packing_options *o)
{
    store *s;
    mention *m = NULL;
    size_t n = 0, at = 0;
    cf_status status = CF_OK;
    CF_TRY(store_of(&s, e));
    CF_GO(read_lists(s, r, o));
    for (size_t i = 0; i < s->n_lists; i++) n += cf_list_size(s->lists[i]);
    CF_GO(cf_alloc(&m, n, sizeof *m));
    for (size_t i = 0; i < s->n_lists; i++)
        for (size_t k = 0; k < cf_list_size(s->lists[i]); k++, at++) {
            cf_list_entry l = cf_list_get(s->lists[i], k);
            m[at] = (mention){ l.name, at, i, l.line, 0, l.label, l.count };
        }
    CF_GO(join(e, m, n, s));
    CF_GO(make_parts(e, m, s, o));
    CF_GO(some_are_there(e, r, o));
    e->class_name = o->class_name;
    e->n_classes = o->n_classes;
done:
    cf_free(m);
    return status;
}

/* ---- folders of classes ---------------------------------------------------------------------- */

typedef struct {
    pack_entries *e;
    store *s;
    const pack_root *root;
    const cf_packing_options *options;
    size_t capacity;
} finder;

static cf_status find_class(int32_t *label, finder *f, const char *class)
{
    const cf_packing_options *o = f->options;
    store *s = f->s;
    for (size_t i = 0; i < o->n_classes; i++) {
        if (strcmp(o->class_name[i], class) != 0) continue;
        *label = (int32_t)i;
        return CF_OK;
    }
    if (o->n_classes)
        return CF_FAIL(CF_EINVAL, "%s: the folder %s is none of the %zu classes", f->root->path,
                       class, o->n_classes);
    /* The same class comes again soon or, in a tar, anywhere. */
    for (size_t i = s->n_classes; i-- > 0;) {
        if (strcmp(s->classes[i], class) != 0) continue;
        *label = (int32_t)i;
        return CF_OK;
    }
    CF_TRY(cf_realloc(&s->classes, s->n_classes + 1, sizeof *s->classes));
    CF_TRY(cf_strdup(&s->classes[s->n_classes], class));
    *label = (int32_t)s->n_classes++;
    return CF_OK;
}

static cf_status add_name(store *s, const char *name)
{
    CF_TRY(cf_grow(&s->names, &s->name_capacity, s->n_names + 1, sizeof *s->names));
    CF_TRY(cf_strdup(&s->names[s->n_names], name));
    s->n_names++;
    return CF_OK;
}

static cf_status add_entry(pack_entries *e, size_t *capacity, pack_entry entry)
{
    CF_TRY(cf_grow(&e->entry, capacity, e->n + 1, sizeof *e->entry));
    e->entry[e->n++] = entry;
    return CF_OK;
}

static cf_status add_found(void *user, const char *name, const char *class)
{
    finder *f = user;
    int32_t label;
    CF_TRY(find_class(&label, f, class));
    CF_TRY(add_name(f->s, name));
    return add_entry(f->e, &f->capacity, (pack_entry){ f->s->names[f->s->n_names - 1], label, -1 });
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Classes in the order of their bytes, which in a tar is not that in which they come. */
static cf_status sort_classes(pack_entries *e, store *s)
{
    char **sorted;
    CF_TRY(cf_alloc(&sorted, s->n_classes, sizeof *sorted));
    memcpy(sorted, s->classes, s->n_classes * sizeof *sorted);
    qsort(sorted, s->n_classes, sizeof *sorted, compare_names);
    for (size_t i = 0; i < e->n; i++) {
        char **place = bsearch(&s->classes[e->entry[i].label], sorted, s->n_classes, sizeof *sorted,
                               compare_names);
        e->entry[i].label = (int32_t)(place - sorted);
    }
    cf_free(s->classes);
    s->classes = sorted;
    e->class_name = (const char *const *)sorted;
    e->n_classes = s->n_classes;
    return CF_OK;
}

static cf_status from_folders(pack_entries *e, const pack_root *r, const cf_packing_options *o)
{
    finder f = { .e = e, .root = r, .options = o };
    CF_TRY(store_of(&f.s, e));
    CF_TRY(pack_root_walk(r, add_found, &f));
    if (e->n == 0) return CF_FAIL(CF_EINVAL, "%s holds no videos", r->path);
    e->class_name = o->class_name;
    e->n_classes = o->n_classes;
    return o->n_classes ? CF_OK : sort_classes(e, f.s);
}

/* ---- images and labels ----------------------------------------------------------------------- */

static cf_status from_images(pack_entries *e, const pack_root *r, const cf_packing_options *o)
{
    store *s;
    int32_t *label = NULL;
    size_t n, capacity = 0;
    char *name = NULL;
    cf_status status = CF_OK;
    if (o->n_lists)
        return CF_FAIL(CF_EINVAL, "%s: its `labels` are the list; it takes no other", r->path);
    if (!o->n_classes)
        return CF_FAIL(CF_EINVAL, "%s: the names of its classes are wanted (--labels)", r->path);
    CF_TRY(store_of(&s, e));
    CF_GO(cf_h5_read_i32(&label, &n, r->h5, "/labels"));
    if (n == 0) CF_GO(CF_FAIL(CF_EINVAL, "%s holds no images", r->path));
    for (size_t i = 0; i < n; i++) {
        if (label[i] < 0 || (size_t)label[i] >= o->n_classes)
            CF_GO(CF_FAIL(CF_EINVAL, "%s: /labels row %zu is %d, outside 0 .. %zu", r->path, i,
                          (int)label[i], o->n_classes - 1));
        CF_GO(cf_format(&name, "images/%zu", i));
        CF_GO(add_name(s, name));
        cf_free(name);
        name = NULL;
        CF_GO(add_entry(e, &capacity, (pack_entry){ s->names[i], label[i], -1 }));
    }
    e->class_name = o->class_name;
    e->n_classes = o->n_classes;
done:
    cf_free(name);
    cf_free(label);
    return status;
}

cf_status pack_entries_read(pack_entries *e, const pack_root *r, const cf_packing_options *o)
{
    if (r->kind == PACK_FROM_IMAGES) return from_images(e, r, o);
    if (!o->n_lists) return from_folders(e, r, o);
    if (!o->n_classes)
        return CF_FAIL(CF_EINVAL, "%s: the names of its classes are wanted (--labels)",
                       o->lists[0].path);
    return from_lists(e, r, o);
}
