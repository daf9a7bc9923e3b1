/* Packs as a source: the videos of several packs are numbered through, in the order of the packs.
 *
 * All packs of one dataset have the same classes, names and families, else their labels would mean
 * different things. Reading goes by the pack's own descriptor and offsets (pack_read.c), which many
 * threads may do at once; a reader is only the buffers. They are made for the largest picture that
 * the packs promise, so that a steady epoch allocates nothing. */
#include "source.h"

#include <stdlib.h>
#include <string.h>

size_t source_packs_n_videos(const source_packs *s) { return s->first[s->n_packs]; }

/* The pack of a video, and its row there. */
static const cf_pack *locate(size_t *row, const source_packs *s, int64_t video)
{
    size_t low = 0, high = s->n_packs - 1;
    CF_ASSERT(video >= 0 && (size_t)video < s->first[s->n_packs]);
    while (low < high) { /* ends at the last pack that begins at or before the video */
        size_t middle = (low + high + 1) / 2;
        if (s->first[middle] <= (size_t)video)
            low = middle;
        else
            high = middle - 1;
    }
    *row = (size_t)video - s->first[low];
    return s->pack[low];
}

cf_pack_video source_packs_video(const source_packs *s, int64_t video)
{
    size_t row;
    const cf_pack *p = locate(&row, s, video);
    return cf_pack_video_get(p, row);
}

cf_status source_packs_split(int64_t **videos, size_t *n, const source_packs *s, const char *name)
{
    const int64_t *rows;
    size_t n_rows, total = 0, found = 0, at = 0;
    int64_t *all;
    for (size_t i = 0; i < s->n_packs; i++) {
        if (cf_pack_split(&rows, &n_rows, s->pack[i], name) != CF_OK) continue;
        total += n_rows;
        found++;
    }
    if (!found) return cf_pack_split(&rows, &n_rows, s->pack[0], name); /* its line says it */
    CF_TRY(cf_alloc(&all, total, sizeof *all));
    for (size_t i = 0; i < s->n_packs; i++) {
        if (cf_pack_split(&rows, &n_rows, s->pack[i], name) != CF_OK) continue;
        for (size_t k = 0; k < n_rows; k++) all[at++] = rows[k] + (int64_t)s->first[i];
    }
    *videos = all;
    *n = total;
    return CF_OK;
}

/* ---- names ----------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    int64_t video;
} entry;

static int by_name(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->video > y->video) - (x->video < y->video);
}

static int name_only(const void *key, const void *b)
{
    return strcmp(key, ((const entry *)b)->name);
}

static cf_status find(int64_t *video, const void *data, const char *const *name, size_t n)
{
    const source_packs *s = data;
    size_t n_entries = source_packs_n_videos(s);
    entry *entries;
    CF_TRY(cf_alloc(&entries, n_entries, sizeof *entries));
    for (size_t v = 0; v < n_entries; v++)
        entries[v] = (entry){ source_packs_video(s, (int64_t)v).name, (int64_t)v };
    qsort(entries, n_entries, sizeof *entries, by_name);
    for (size_t i = 0; i < n; i++) {
        const entry *e = bsearch(name[i], entries, n_entries, sizeof *entries, name_only);
        video[i] = e ? e->video : -1;
    }
    cf_free(entries);
    return CF_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct {
    const source_packs *source;
    const cf_pack *pack; /* of the open video */
    size_t row;
    cf_picture picture;
    cf_bytes bytes;
} reader;

static void reader_free(void *r)
{
    reader *p = r;
    if (!p) return;
    cf_picture_fini(&p->picture);
    cf_bytes_fini(&p->bytes);
    cf_free(p);
}

static cf_status reserve(reader *r)
{
    /* Larger sizes are not believed before they are decoded. */
    const size_t limit = (size_t)1 << 26;
    size_t height = 1, width = 1;
    for (size_t i = 0; i < source_packs_n_videos(r->source); i++) {
        cf_pack_video v = source_packs_video(r->source, (int64_t)i);
        if (v.height > 0 && (size_t)v.height > height) height = (size_t)v.height;
        if (v.width > 0 && (size_t)v.width > width) width = (size_t)v.width;
    }
    if (height > limit || width > limit || height * width > limit) return CF_OK;
    CF_TRY(cf_picture_resize_buffer(&r->picture, height, width));
    /* A PNG that does not compress: a filter byte a row, 5 bytes a block, chunks. */
    size_t n = height * (3 * width + 1);
    n += n / 1000 + 4096;
    CF_TRY(cf_alloc(&r->bytes.bytes, n, 1));
    r->bytes.capacity = n;
    return CF_OK;
}

static cf_status reader_new(void **out, const void *data)
{
    reader *r;
    CF_TRY(cf_alloc_zero(&r, 1, sizeof *r));
    r->source = data;
    cf_status status = reserve(r);
    if (status == CF_OK)
        *out = r;
    else
        reader_free(r);
    return status;
}

/* Sampling is computed on the frames of the original. */
static cf_status open_video(int64_t *n_frames, void *r, int64_t video, const char *name)
{
    reader *p = r;
    (void)name;
    p->pack = locate(&p->row, p->source, video);
    *n_frames = cf_pack_video_get(p->pack, p->row).source_frames;
    return CF_OK;
}

/* Several frames of the original may be one stored frame. */
static cf_status read_frames(void *r, const int64_t *frame, size_t n, cf_media_fn *fn, void *user)
{
    reader *p = r;
    int64_t held = -1;
    for (size_t i = 0; i < n; i++) {
        int64_t stored = cf_pack_stored_frame(p->pack, p->row, frame[i]);
        if (stored != held)
            CF_TRY(cf_pack_read_frame(&p->picture, &p->bytes, p->pack, p->row, stored));
        held = stored;
        CF_TRY(fn(user, frame[i], &p->picture));
    }
    return CF_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void close_packs(void *data)
{
    source_packs *s = data;
    for (size_t i = 0; i < s->n_packs; i++) cf_pack_free(s->pack[i]);
    cf_free(s->pack);
    cf_free(s->first);
    cf_free(s);
}

static cf_status agree(const cf_pack *a, const cf_pack *b)
{
    size_t n = cf_pack_n_classes(a), m = cf_pack_n_classes(b);
    if (n != m)
        return CF_FAIL(CF_EINVAL,
                       "%s has %zu classes and %s has %zu: packs of one dataset have the same",
                       cf_pack_path(a), n, cf_pack_path(b), m);
    for (size_t k = 0; k < n; k++) {
        const char *x = cf_pack_class_name(a, k), *y = cf_pack_class_name(b, k);
        if (strcmp(x, y) != 0)
            return CF_FAIL(CF_EINVAL,
                           "class %zu is \"%.60s\" in %s and \"%.60s\" in %s: packs of one dataset "
                           "have the same classes",
                           k, x, cf_pack_path(a), y, cf_pack_path(b));
        if (cf_pack_class_family(a, k) != cf_pack_class_family(b, k))
            return CF_FAIL(CF_EINVAL, "class %zu (\"%.60s\") is of family %d in %s and of %d in %s",
                           k, x, (int)cf_pack_class_family(a, k), cf_pack_path(a),
                           (int)cf_pack_class_family(b, k), cf_pack_path(b));
    }
    return CF_OK;
}

static const source_kind kind = { find,        close_packs, reader_new,
                                  reader_free, open_video,  read_frames };

cf_status source_packs_open(source *out, const char *what, char *const *path, size_t n)
{
    cf_status status = CF_OK;
    source_packs *s;
    char *text = NULL;
    CF_TRY(cf_alloc_zero(&s, 1, sizeof *s));
    CF_GO(cf_alloc_zero(&s->pack, n, sizeof *s->pack));
    CF_GO(cf_alloc_zero(&s->first, n + 1, sizeof *s->first));
    for (; s->n_packs < n; s->n_packs++) {
        size_t i = s->n_packs;
        CF_GO(cf_pack_open(&s->pack[i], path[i]));
        s->first[i + 1] = s->first[i] + cf_pack_n_videos(s->pack[i]);
        if (i == 0) continue;
        if ((status = agree(s->pack[0], s->pack[i])) == CF_OK) continue;
        s->n_packs++; /* this one is open too */
        goto done;
    }
    if (n == 1)
        CF_GO(cf_strdup(&text, what));
    else
        CF_GO(cf_format(&text, "%s (%zu packs)", what, n));
    *out = (source){ &kind, s, text, s };
    s = NULL;
done:
    if (s) close_packs(s);
    return status;
}
