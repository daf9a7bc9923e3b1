/* A dataset: an ordered choice of videos with labels, out of one pack (spec/packed-dataset.md).
 *
 * DATA.TRAIN_FILE names a pack ("train.h5": all its videos; "all.h5#NAME": its split NAME) or a
 * list of `path label` lines whose videos are looked up by name in the pack that DATA.ROOT names. A
 * file is a pack when it has HDF5's signature or name; ROOT is then not used. In a list the last
 * field is the label and the rest the name, so names may hold spaces; blank lines are skipped; a
 * name the pack does not hold and a label out of range are refused with the line's number (Q1). */
#include "crossframe/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct cf_dataset {
    char *path;
    cf_pack *pack;
    int64_t *row; /* [n] rows of the pack */
    int32_t *label;
    size_t n, n_classes;
};

void cf_dataset_free(cf_dataset *d)
{
    if (!d) return;
    cf_pack_free(d->pack);
    cf_free(d->path);
    cf_free(d->row);
    cf_free(d->label);
    cf_free(d);
}

size_t cf_dataset_size(const cf_dataset *d) { return d->n; }

size_t cf_dataset_n_classes(const cf_dataset *d) { return d->n_classes; }

const char *cf_dataset_class_name(const cf_dataset *d, size_t class_id)
{
    return class_id < cf_pack_n_classes(d->pack) ? cf_pack_class_name(d->pack, class_id) : "";
}

int32_t cf_dataset_class_family(const cf_dataset *d, size_t class_id)
{
    return class_id < cf_pack_n_classes(d->pack) ? cf_pack_class_family(d->pack, class_id) : 0;
}

int32_t cf_dataset_label(const cf_dataset *d, size_t i) { return d->label[i]; }

const char *cf_dataset_path(const cf_dataset *d) { return d->path; }

cf_pack_video cf_dataset_video(const cf_dataset *d, size_t i)
{
    CF_ASSERT(i < d->n);
    return cf_pack_video_get(d->pack, (size_t)d->row[i]);
}

const char *cf_dataset_name(const cf_dataset *d, size_t i) { return cf_dataset_video(d, i).name; }

int64_t cf_dataset_stored_frame(const cf_dataset *d, size_t i, int64_t source)
{
    CF_ASSERT(i < d->n);
    return cf_pack_stored_frame(d->pack, (size_t)d->row[i], source);
}

cf_status cf_dataset_read_frame(cf_picture *out, cf_bytes *scratch, const cf_dataset *d, size_t i,
                                int64_t frame)
{
    CF_ASSERT(i < d->n);
    return cf_pack_read_frame(out, scratch, d->pack, (size_t)d->row[i], frame);
}

/* ---- packs and their splits ------------------------------------------------------------------ */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcasecmp(s + n - m, end) == 0;
}

bool cf_path_is_pack(const char *path)
{
    static const unsigned char signature[8] = "\211HDF\r\n\032\n";
    unsigned char head[8];
    if (ends_with(path, ".h5") || ends_with(path, ".hdf5")) return true;
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    size_t n = fread(head, 1, sizeof head, f);
    fclose(f);
    return n == sizeof head && memcmp(head, signature, sizeof head) == 0;
}

/* The pack's rows (all, or a split's) with the pack's own labels. */
static cf_status take_rows(cf_dataset *d, const char *split)
{
    const int64_t *rows = NULL;
    d->n = cf_pack_n_videos(d->pack);
    d->n_classes = cf_pack_n_classes(d->pack);
    if (split) CF_TRY(cf_pack_split(&rows, &d->n, d->pack, split));
    CF_TRY(cf_alloc(&d->row, d->n, sizeof *d->row));
    CF_TRY(cf_alloc(&d->label, d->n, sizeof *d->label));
    for (size_t i = 0; i < d->n; i++) {
        d->row[i] = rows ? rows[i] : (int64_t)i;
        d->label[i] = cf_pack_video_get(d->pack, (size_t)d->row[i]).label;
    }
    return CF_OK;
}

static cf_status open_pack(cf_dataset *d, const char *file)
{
    cf_status status = CF_OK;
    char *path = NULL, *split = NULL;
    CF_GO(cf_strdup(&path, file));
    if (!cf_file_exists(path) && (split = strrchr(path, '#'))) *split++ = 0;
    CF_GO(cf_pack_open(&d->pack, path));
    CF_GO(take_rows(d, split));
done:
    cf_free(path);
    return status;
}

/* ---- lists ----------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    int64_t row;
} entry;

static int by_name(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

static int name_only(const void *key, const void *b)
{
    return strcmp(key, ((const entry *)b)->name);
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Cuts `line` into name and label, both inside it; false for a blank line. */
static cf_status split_line(char **name, long *label, char *line)
{
    char *end = line + strlen(line), *rest;
    while (is_space(*line)) line++;
    while (end > line && is_space(end[-1])) *--end = 0;
    *name = NULL;
    if (line == end) return CF_OK;
    char *field = end;
    while (field > line && !is_space(field[-1])) field--;
    *label = strtol(field, &rest, 10);
    if (rest == field || *rest)
        return CF_FAIL(CF_EFORMAT, "the last field must be a label number, not '%s'", field);
    if (field == line) return CF_FAIL(CF_EFORMAT, "there is no name before the label %ld", *label);
    for (end = field; is_space(end[-1]);) *--end = 0;
    *name = line;
    return CF_OK;
}

/* Label range: the pack's classes; a pack without any takes what comes. */
static cf_status add_line(cf_dataset *d, char *line, const entry *entries, size_t n_entries)
{
    char *name;
    long label;
    size_t n_classes = cf_pack_n_classes(d->pack);
    CF_TRY(split_line(&name, &label, line));
    if (!name) return CF_OK;
    if (label < 0 || label > INT32_MAX || (n_classes && (size_t)label >= n_classes))
        return CF_FAIL(CF_EINVAL, "label %ld is outside 0 .. %ld", label,
                       n_classes ? (long)n_classes - 1 : (long)INT32_MAX);
    const entry *e = bsearch(name, entries, n_entries, sizeof *entries, name_only);
    if (!e) return CF_FAIL(CF_ENOTFOUND, "%s holds no video '%s'", cf_pack_path(d->pack), name);
    d->row[d->n] = e->row;
    d->label[d->n++] = (int32_t)label;
    if (d->n_classes < (size_t)label + 1) d->n_classes = (size_t)label + 1;
    return CF_OK;
}

static cf_status add_lines(cf_dataset *d, char *text, size_t n_bytes, const entry *entries,
                           size_t n_entries)
{
    size_t n_lines = 1, number = 1;
    for (size_t i = 0; i < n_bytes; i++) {
        if (text[i] == 0)
            return CF_FAIL(CF_EFORMAT, "%s: neither a pack nor a list of text lines", d->path);
        n_lines += text[i] == '\n';
    }
    CF_TRY(cf_alloc(&d->row, n_lines, sizeof *d->row));
    CF_TRY(cf_alloc(&d->label, n_lines, sizeof *d->label));
    d->n_classes = cf_pack_n_classes(d->pack);
    for (char *line = text, *end; line; line = end, number++) {
        if ((end = strchr(line, '\n'))) *end++ = 0;
        CF_TRY_CTX(add_line(d, line, entries, n_entries), "%s, line %zu", d->path, number);
    }
    return CF_OK;
}

static cf_status check_root(const char *file, const char *root)
{
    if (!*root)
        return CF_FAIL(CF_EINVAL, "%s: a list of videos needs DATA.ROOT, the pack that holds them",
                       file);
    if (ends_with(root, ".tar") || cf_is_folder(root))
        return CF_FAIL(CF_EUNSUPPORTED,
                       "%s: reading videos from a folder or a tar is not "
                       "implemented yet; pack them and name the pack as DATA.ROOT",
                       root);
    return CF_OK;
}

static cf_status open_list(cf_dataset *d, const char *root)
{
    cf_status status = CF_OK;
    char *text = NULL;
    entry *entries = NULL;
    size_t n_bytes;
    CF_GO(cf_file_read(&text, &n_bytes, d->path));
    CF_GO(check_root(d->path, root));
    CF_GO(cf_pack_open(&d->pack, root));
    size_t n = cf_pack_n_videos(d->pack);
    CF_GO(cf_alloc(&entries, n, sizeof *entries));
    for (size_t i = 0; i < n; i++)
        entries[i] = (entry){ cf_pack_video_get(d->pack, i).name, (int64_t)i };
    qsort(entries, n, sizeof *entries, by_name);
    CF_GO(add_lines(d, text, n_bytes, entries, n));
done:
    cf_free(text);
    cf_free(entries);
    return status;
}

static cf_status check_videos(const cf_dataset *d)
{
    size_t n_thinned = 0;
    if (d->n == 0) return CF_FAIL(CF_EINVAL, "%s: there are no videos in it", d->path);
    for (size_t i = 0; i < d->n; i++) {
        cf_pack_video v = cf_dataset_video(d, i);
        if (v.n_frames < 1)
            return CF_FAIL(CF_EFORMAT, "%s: video %s has no frames", d->path, v.name);
        n_thinned += v.n_frames != v.source_frames;
    }
    if (n_thinned)
        cf_log(CF_LOG_INFO,
               "%s: %zu of %zu videos hold a part of their frames; the nearest one is taken",
               d->path, n_thinned, d->n);
    return CF_OK;
}

cf_status cf_dataset_open(cf_dataset **out, const char *file, const char *root)
{
    cf_status status = CF_OK;
    cf_dataset *d = NULL;
    if (!file || !*file) return CF_FAIL(CF_EINVAL, "no dataset is named");
    CF_TRY(cf_alloc_zero(&d, 1, sizeof *d));
    CF_GO(cf_strdup(&d->path, file));
    const char *split = strrchr(file, '#');
    if (cf_is_folder(file))
        CF_GO(
            CF_FAIL(CF_EUNSUPPORTED, "%s: a folder is not a dataset; name a pack or a list", file));
    if (cf_path_is_pack(file) || (split && !cf_file_exists(file)))
        CF_GO(open_pack(d, file));
    else
        CF_GO(open_list(d, root ? root : ""));
    CF_GO(check_videos(d));
    *out = d;
done:
    if (status != CF_OK) cf_dataset_free(d);
    return status;
}
