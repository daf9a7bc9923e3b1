/* Checks of lists, packs and label names. What was seen is kept as (where, name, size, hash), so
 * that equal contents are found by sorting. Of files only those that have the same size as another
 * are read. */
#include "crossframe/check.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crossframe/data.h"
#include "crossframe/list.h"
#include "data/check_unlisted.h"

typedef struct {
    char *name, *file; /* file: what to read for the hash; NULL: hash is known */
    size_t where;      /* in places */
    uint64_t size, hash;
} item;

struct cf_check {
    cf_check_options o;
    size_t n_problems, n_items, items_capacity, n_places;
    item *items;
    char **places; /* lists and packs */
};

cf_status cf_check_new(cf_check **out, const cf_check_options *o)
{
    cf_check *c;
    CF_TRY(cf_alloc_zero(&c, 1, sizeof *c));
    c->o = *o;
    *out = c;
    return CF_OK;
}

void cf_check_free(cf_check *c)
{
    if (!c) return;
    for (size_t i = 0; i < c->n_items; i++) {
        cf_free(c->items[i].name);
        cf_free(c->items[i].file);
    }
    for (size_t i = 0; i < c->n_places; i++) cf_free(c->places[i]);
    cf_free(c->items);
    cf_free(c->places);
    cf_free(c);
}

size_t cf_check_problems(const cf_check *c) { return c->n_problems; }
size_t cf_check_videos(const cf_check *c) { return c->n_items; }

__attribute__((format(printf, 2, 3))) static void problem(cf_check *c, const char *format, ...)
{
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    c->n_problems++;
    c->o.tell(c->o.user, line);
}

/* A failure that is a finding; memory is not. */
static cf_status find(cf_check *c, cf_status status)
{
    if (status != CF_OK && status != CF_ENOMEM) problem(c, "%s", cf_error());
    return status == CF_ENOMEM ? status : CF_OK;
}

static cf_status add_place(cf_check *c, const char *path)
{
    CF_TRY(cf_realloc(&c->places, c->n_places + 1, sizeof *c->places));
    CF_TRY(cf_strdup(&c->places[c->n_places], path));
    c->n_places++;
    return CF_OK;
}

static cf_status add_item(cf_check *c, const char *name, const char *file, uint64_t size,
                          uint64_t hash)
{
    CF_TRY(cf_grow(&c->items, &c->items_capacity, c->n_items + 1, sizeof *c->items));
    item it = { .where = c->n_places - 1, .size = size, .hash = hash };
    CF_TRY(cf_strdup(&it.name, name));
    cf_status status = file ? cf_strdup(&it.file, file) : CF_OK;
    if (status != CF_OK) {
        cf_free(it.name);
        return status;
    }
    c->items[c->n_items++] = it;
    return CF_OK;
}

/* ---- classes --------------------------------------------------------------------------------- */

static const char *class_text(const cf_check *c, size_t k)
{
    return c->o.class_name && k < c->o.n_classes ? c->o.class_name[k] : "";
}

/* Classes without a video among count[0 .. n-1]. */
static void tell_unused(cf_check *c, const char *path, const size_t *count, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (count[k] == 0)
            problem(c, "%s: no video of class %zu%s%s%s", path, k, *class_text(c, k) ? " (" : "",
                    class_text(c, k), *class_text(c, k) ? ")" : "");
}

/* ---- lists ----------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    size_t row;
} pack_row;

typedef struct {
    const char *root; /* NULL: nothing to compare with */
    cf_tar *tar;
    cf_pack *pack;
    pack_row *row; /* of the pack, by name */
} place;

static int by_row_name(const void *a, const void *b)
{
    return strcmp(((const pack_row *)a)->name, ((const pack_row *)b)->name);
}

static bool has_signature(const char *path)
{
    static const unsigned char hdf5[8] = "\211HDF\r\n\032\n";
    unsigned char head[8];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool same = read(fd, head, sizeof head) == sizeof head && memcmp(head, hdf5, sizeof head) == 0;
    close(fd);
    return same;
}

static cf_status open_place(place *p, const char *root)
{
    p->root = root;
    if (!root || cf_is_folder(root)) return CF_OK;
    if (!has_signature(root)) return cf_tar_open(&p->tar, root);
    CF_TRY(cf_pack_open(&p->pack, root));
    size_t n = cf_pack_n_videos(p->pack);
    CF_TRY(cf_alloc(&p->row, n, sizeof *p->row));
    for (size_t i = 0; i < n; i++) p->row[i] = (pack_row){ cf_pack_video_get(p->pack, i).name, i };
    qsort(p->row, n, sizeof *p->row, by_row_name);
    return CF_OK;
}

static void close_place(place *p)
{
    cf_tar_close(p->tar);
    cf_pack_free(p->pack);
    cf_free(p->row);
}

static void tell_frames(cf_check *c, const char *where, const char *name, int64_t n)
{
    if (n < c->o.min_frames)
        problem(c, "%s: %s is short: %lld frames, fewer than %lld", where, name, (long long)n,
                (long long)c->o.min_frames);
}

/* Decodes a video to its end. */
static cf_status check_media(cf_check *c, const char *where, const char *name, const char *file,
                             const uint8_t *bytes, size_t size)
{
    cf_media *m = NULL;
    int64_t n = 0;
    cf_status status =
        bytes ? cf_media_open_memory(&m, bytes, size, name) : cf_media_open(&m, file);
    if (status == CF_OK) status = cf_media_count(&n, m);
    if (status == CF_OK)
        tell_frames(c, where, name, n);
    else if (status != CF_ENOMEM)
        problem(c, "%s: %s: %s", where, name, cf_error());
    cf_media_close(m);
    return status == CF_ENOMEM ? status : CF_OK;
}

static cf_status check_file(cf_check *c, const char *where, const char *name, const char *root)
{
    char *file;
    struct stat info;
    CF_TRY(cf_path_join(&file, root, name));
    cf_status status = CF_OK;
    if (stat(file, &info) != 0)
        problem(c, "%s: %s is missing in %s", where, name, root);
    else if (S_ISREG(info.st_mode) && info.st_size == 0) {
        problem(c, "%s: %s is empty", where, name);
        status = add_item(c, name, NULL, 0, 0);
    } else {
        status = add_item(c, name, S_ISREG(info.st_mode) ? file : NULL, (uint64_t)info.st_size, 0);
        if (status == CF_OK && c->o.full) status = check_media(c, where, name, file, NULL, 0);
    }
    cf_free(file);
    return status;
}

static cf_status check_member(cf_check *c, const char *where, const char *name, const place *p)
{
    const uint8_t *bytes;
    size_t n;
    cf_status status = cf_tar_find(&bytes, &n, p->tar, name);
    if (status == CF_ENOMEM) return status;
    if (status != CF_OK)
        problem(c, "%s: %s is missing in %s", where, name, p->root);
    else if (n == 0)
        problem(c, "%s: %s is empty", where, name);
    else {
        CF_TRY(add_item(c, name, NULL, n, cf_hash64(bytes, n)));
        if (c->o.full) return check_media(c, where, name, NULL, bytes, n);
    }
    return CF_OK;
}

static cf_status check_entry(cf_check *c, const char *where, const char *name, const place *p)
{
    if (!p->root) return CF_OK;
    if (p->tar) return check_member(c, where, name, p);
    if (!p->pack) return check_file(c, where, name, p->root);
    pack_row key = { name, 0 };
    pack_row *row = bsearch(&key, p->row, cf_pack_n_videos(p->pack), sizeof key, by_row_name);
    if (!row)
        problem(c, "%s: %s is missing in %s", where, name, p->root);
    else
        tell_frames(c, where, name, cf_pack_video_get(p->pack, row->row).n_frames);
    return CF_OK;
}

static int by_entry_name(const void *a, const void *b)
{
    const cf_list_entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

static cf_status check_names(cf_check *c, const cf_list *l)
{
    cf_list_entry *e;
    size_t n = cf_list_size(l);
    CF_TRY(cf_alloc(&e, n, sizeof *e));
    for (size_t i = 0; i < n; i++) e[i] = cf_list_get(l, i);
    qsort(e, n, sizeof *e, by_entry_name);
    for (size_t i = 1; i < n; i++)
        if (strcmp(e[i].name, e[i - 1].name) == 0)
            problem(c, "%s, line %zu: %s was in line %zu already%s", cf_list_path(l), e[i].line,
                    e[i].name, e[i - 1].line,
                    e[i].label != e[i - 1].label ? ", with another label" : "");
    cf_free(e);
    return CF_OK;
}

static cf_status check_entries(cf_check *c, const cf_list *l, const place *p)
{
    size_t *count = NULL;
    cf_status status = CF_OK;
    CF_GO(cf_alloc_zero(&count, c->o.n_classes, sizeof *count));
    for (size_t i = 0; i < cf_list_size(l); i++) {
        cf_list_entry e = cf_list_get(l, i);
        char where[1024];
        snprintf(where, sizeof where, "%s, line %zu", cf_list_path(l), e.line);
        if (c->o.n_classes && (size_t)e.label >= c->o.n_classes)
            problem(c, "%s: label %d is outside 0 .. %zu", where, e.label, c->o.n_classes - 1);
        else if (c->o.n_classes)
            count[e.label]++;
        CF_GO(check_entry(c, where, e.name, p));
    }
    tell_unused(c, cf_list_path(l), count, c->o.n_classes);
    CF_GO(check_names(c, l));
done:
    cf_free(count);
    return status;
}

cf_status cf_check_list(cf_check *c, const char *path, const char *root)
{
    cf_list *l = NULL;
    place p = { 0 };
    CF_TRY(add_place(c, path));
    cf_status status = open_place(&p, root);
    if (status == CF_OK) status = cf_list_open(&l, path, 0, NULL, NULL);
    if (status != CF_OK)
        status = find(c, status);
    else
        status = check_entries(c, l, &p);
    cf_list_free(l);
    close_place(&p);
    return status;
}

/* ---- packs ----------------------------------------------------------------------------------- */

/* Decodes all frames of a video and hashes their pixels. */
static cf_status check_frames(cf_check *c, const cf_pack *p, size_t row, cf_picture *picture,
                              cf_bytes *scratch)
{
    cf_pack_video v = cf_pack_video_get(p, row);
    uint64_t hash = 0, size = 0;
    for (int64_t i = 0; i < v.n_frames; i++) {
        cf_status status = cf_pack_read_frame(picture, scratch, p, row, i);
        if (status != CF_OK) return find(c, status);
        size_t n = picture->height * picture->width * 3;
        uint64_t both[2] = { hash, cf_hash64(picture->pixels, n) };
        hash = cf_hash64(both, sizeof both);
        size += n;
    }
    return add_item(c, v.name, NULL, size, hash);
}

static cf_status check_rows(cf_check *c, const cf_pack *p)
{
    cf_picture picture = { 0 };
    cf_bytes scratch = { 0 };
    size_t *count = NULL, n_classes = cf_pack_n_classes(p), n_unlabelled = 0;
    const char *path = cf_pack_path(p);
    cf_status status = CF_OK;
    CF_GO(cf_alloc_zero(&count, n_classes, sizeof *count));
    if (c->o.n_classes && n_classes && n_classes != c->o.n_classes)
        problem(c, "%s: %zu classes, but there are %zu labels", path, n_classes, c->o.n_classes);
    for (size_t i = 0; i < cf_pack_n_videos(p); i++) {
        cf_pack_video v = cf_pack_video_get(p, i);
        if (v.label < 0)
            n_unlabelled++, problem(c, "%s: %s has no label", path, v.name);
        else if ((size_t)v.label < n_classes)
            count[v.label]++;
        tell_frames(c, path, v.name, v.n_frames);
        if (c->o.full)
            CF_GO(check_frames(c, p, i, &picture, &scratch));
        else
            CF_GO(add_item(c, v.name, NULL, 0, i));
    }
    if (n_unlabelled < cf_pack_n_videos(p)) tell_unused(c, path, count, n_classes);
done:
    cf_free(count);
    cf_picture_fini(&picture);
    cf_bytes_fini(&scratch);
    return status;
}

cf_status cf_check_pack(cf_check *c, const char *path)
{
    cf_pack *p = NULL;
    CF_TRY(add_place(c, path));
    cf_status status = cf_pack_open(&p, path);
    status = status == CF_OK ? check_rows(c, p) : find(c, status);
    cf_pack_free(p);
    return status;
}

/* ---- duplicates ------------------------------------------------------------------------------ */

/* Files first, by their size; what has no content to compare (size 0) last. */
static int by_content(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    if (x->where != y->where) return x->where < y->where ? -1 : 1;
    return strcmp(x->name, y->name);
}

static cf_status hash_file(uint64_t *out, const char *path)
{
    char *bytes;
    size_t n;
    CF_TRY(cf_file_read(&bytes, &n, path));
    *out = cf_hash64(bytes, n);
    cf_free(bytes);
    return CF_OK;
}

static bool same_video(const item *a, const item *b)
{
    return a->size == b->size && a->size > 0 && a->hash == b->hash;
}

cf_status cf_check_duplicates(cf_check *c)
{
    item *v = c->items;
    if (c->n_items == 0) return CF_OK;
    qsort(v, c->n_items, sizeof *v, by_content);
    for (size_t i = 0; i < c->n_items; i++) {
        bool alone = (i == 0 || v[i - 1].size != v[i].size) &&
                     (i + 1 == c->n_items || v[i + 1].size != v[i].size);
        if (!alone && v[i].file) CF_TRY(find(c, hash_file(&v[i].hash, v[i].file)));
    }
    qsort(v, c->n_items, sizeof *v, by_content);
    for (size_t i = 1; i < c->n_items; i++) {
        const item *a = &v[i - 1], *b = &v[i];
        bool entry_twice = a->where == b->where && strcmp(a->name, b->name) == 0;
        if (!same_video(a, b) || entry_twice) continue;
        problem(c, "%s in %s and %s in %s are the same video", a->name, c->places[a->where],
                b->name, c->places[b->where]);
    }
    return CF_OK;
}

/* ---- without label --------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

cf_status cf_check_unlisted(cf_check *c, const char *root)
{
    const char **names;
    cf_unlisted u = { 0 };
    if (!cf_is_folder(root)) return CF_OK;
    CF_TRY(cf_alloc(&names, c->n_items, sizeof *names));
    for (size_t i = 0; i < c->n_items; i++) names[i] = c->items[i].name;
    if (c->n_items > 0) qsort(names, c->n_items, sizeof *names, by_text);
    cf_status status = find(c, cf_unlisted_find(&u, root, names, c->n_items));
    char shown[1024] = "";
    for (size_t i = 0, at = 0; i < CF_UNLISTED_SHOWN && u.first[i] && at < sizeof shown; i++)
        at += (size_t)snprintf(shown + at, sizeof shown - at, "%s%s", i ? ", " : "", u.first[i]);
    if (u.n > 0)
        problem(c, "%s: %zu videos are in none of the lists, so without label: %s%s", root, u.n,
                shown, u.n > CF_UNLISTED_SHOWN ? ", ..." : "");
    cf_unlisted_fini(&u);
    cf_free(names);
    return status;
}

/* ---- labels ---------------------------------------------------------------------------------- */

cf_status cf_check_fixed_label(char **out, const char *name)
{
    char *text, *to;
    CF_TRY(cf_alloc(&text, 2 * strlen(name) + 1, 1));
    to = text;
    for (const char *p = name; *p; p++) {
        bool blank = *p == '_' || *p == ' ' || *p == '\t';
        bool new_word = p > name && *p >= 'A' && *p <= 'Z' && p[-1] >= 'a' && p[-1] <= 'z';
        if ((blank || new_word) && to > text && to[-1] != ' ') *to++ = ' ';
        if (!blank) *to++ = *p;
    }
    if (to > text && to[-1] == ' ') to--;
    *to = 0;
    *out = text;
    return CF_OK;
}

static bool same_label(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b)) return false;
    return *a == *b;
}

cf_status cf_check_labels(cf_check *c, const char *path, const char *const *name, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *fixed;
        CF_TRY(cf_check_fixed_label(&fixed, name[i]));
        if (strcmp(fixed, name[i]) != 0)
            problem(c,
                    "%s: the words of label %zu are not separated by blanks: \"%s\", write "
                    "\"%s\"",
                    path, i, name[i], fixed);
        cf_free(fixed);
        for (size_t k = 0; k < i; k++)
            if (same_label(name[k], name[i]))
                problem(c, "%s: labels %zu and %zu are both \"%s\"", path, k, i, name[i]);
    }
    return CF_OK;
}
