/* pack_tables: gathers the tables of a packed dataset and makes the file of them and the frames.
 *
 * What is kept in memory is 12 bytes a frame and a few numbers a video. A video that fails changes
 * nothing of what was added before: counts move only at its end. */
#include "data/pack_tables.h"

#include "crossframe/h5.h"

#include <math.h>
#include <string.h>

#define MOST_SIDE 65535u

cf_status pack_tables_init(pack_tables *t, const char *path, size_t n_classes)
{
    pack_tables new = { .path = path, .n_classes = n_classes };
    cf_status status = CF_OK;
    CF_GO(cf_alloc_zero(&new.offset, 1, sizeof *new.offset));
    CF_GO(cf_alloc_zero(&new.source, 1, sizeof *new.source));
    CF_GO(cf_alloc_zero(&new.first_frame, 1, sizeof *new.first_frame));
    *t = new;
    return CF_OK;
done:
    pack_tables_fini(&new);
    return status;
}

void pack_tables_clear(pack_tables *t)
{
    pack_tables_drop(t);
    for (size_t i = 0; i < t->n_videos; i++) cf_free(t->name[i]);
    for (size_t i = 0; i < t->n_splits; i++) {
        cf_free(t->splits[i].name);
        cf_free(t->splits[i].rows);
    }
    t->n_frames = t->n_videos = t->n_splits = 0;
    t->thinned = false;
}

void pack_tables_fini(pack_tables *t)
{
    pack_tables_clear(t);
    void *arrays[] = { t->offset,        t->first_frame, t->label, t->height, t->width,
                       t->source_frames, t->fps,         t->name,  t->splits, t->source };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) cf_free(arrays[i]);
    *t = (pack_tables){ 0 };
}

/* ---- videos ---------------------------------------------------------------------------------- */

static cf_status grow_frames(pack_tables *t)
{
    size_t n = t->n_frames + t->begun_frames;
    if (n < t->frame_capacity) return CF_OK;
    size_t capacity = n ? 2 * n : 64;
    CF_TRY(cf_realloc(&t->offset, capacity + 1, sizeof *t->offset));
    CF_TRY(cf_realloc(&t->source, capacity, sizeof *t->source));
    t->frame_capacity = capacity;
    return CF_OK;
}

static cf_status grow_videos(pack_tables *t)
{
    if (t->n_videos < t->video_capacity) return CF_OK;
    size_t n = t->video_capacity ? 2 * t->video_capacity : 64;
    CF_TRY(cf_realloc(&t->first_frame, n + 1, sizeof *t->first_frame));
    CF_TRY(cf_realloc(&t->label, n, sizeof *t->label));
    CF_TRY(cf_realloc(&t->height, n, sizeof *t->height));
    CF_TRY(cf_realloc(&t->width, n, sizeof *t->width));
    CF_TRY(cf_realloc(&t->source_frames, n, sizeof *t->source_frames));
    CF_TRY(cf_realloc(&t->fps, n, sizeof *t->fps));
    CF_TRY(cf_realloc(&t->name, n, sizeof *t->name));
    t->video_capacity = n;
    return CF_OK;
}

cf_status pack_tables_begin(pack_tables *t, const char *name, int32_t label, float fps)
{
    CF_ASSERT(!t->begun);
    if (label < -1 || (label >= 0 && (size_t)label >= t->n_classes))
        return CF_FAIL(CF_EINVAL, "%s: %s has label %d, there are %zu classes", t->path, name,
                       (int)label, t->n_classes);
    if (!(fps >= 0) || isinf(fps))
        return CF_FAIL(CF_EINVAL, "%s: %s has %g frames per second", t->path, name, (double)fps);
    CF_TRY(grow_videos(t));
    size_t v = t->n_videos;
    CF_TRY(cf_strdup(&t->name[v], name));
    t->label[v] = label;
    t->fps[v] = fps;
    t->begun = true;
    t->begun_frames = 0;
    return CF_OK;
}

void pack_tables_drop(pack_tables *t)
{
    if (t->begun) cf_free(t->name[t->n_videos]);
    t->begun = false;
    t->begun_frames = 0;
}

cf_status pack_tables_check(const pack_tables *t, size_t height, size_t width, int32_t source)
{
    CF_ASSERT(t->begun);
    size_t v = t->n_videos, n = t->begun_frames;
    int64_t least = n ? (int64_t)t->source[t->n_frames + n - 1] + 1 : 0;
    if (height == 0 || width == 0 || height > MOST_SIDE || width > MOST_SIDE)
        return CF_FAIL(CF_EINVAL, "%s: %s has frames of %zu x %zu", t->path, t->name[v], height,
                       width);
    if (n > 0 && (height != (size_t)t->height[v] || width != (size_t)t->width[v]))
        return CF_FAIL(CF_EINVAL, "%s: frame %zu of %s is %zu x %zu, those before it %d x %d",
                       t->path, n, t->name[v], height, width, (int)t->height[v], (int)t->width[v]);
    if (source < least || source == INT32_MAX)
        return CF_FAIL(CF_EINVAL,
                       "%s: frame %zu of %s is number %d of the original, expected %lld "
                       "or more",
                       t->path, n, t->name[v], (int)source, (long long)least);
    return CF_OK;
}

int64_t pack_tables_at(const pack_tables *t) { return t->offset[t->n_frames + t->begun_frames]; }

cf_status pack_tables_frame(pack_tables *t, size_t n_bytes, size_t height, size_t width,
                            int32_t source)
{
    CF_TRY(grow_frames(t));
    size_t f = t->n_frames + t->begun_frames;
    t->offset[f + 1] = t->offset[f] + (int64_t)n_bytes;
    t->source[f] = source;
    t->height[t->n_videos] = (int32_t)height;
    t->width[t->n_videos] = (int32_t)width;
    t->begun_frames++;
    return CF_OK;
}

static cf_status check_end(const pack_tables *t, int32_t source_frames)
{
    size_t n = t->begun_frames;
    const char *name = t->name[t->n_videos];
    if (n == 0 || n > INT32_MAX)
        return CF_FAIL(CF_EINVAL, "%s: %s has %zu frames", t->path, name, n);
    if (source_frames <= t->source[t->n_frames + n - 1])
        return CF_FAIL(CF_EINVAL, "%s: %s has %d frames and number %d of them", t->path, name,
                       (int)source_frames, (int)t->source[t->n_frames + n - 1]);
    return CF_OK;
}

cf_status pack_tables_end(pack_tables *t, int32_t source_frames)
{
    CF_ASSERT(t->begun);
    cf_status status = check_end(t, source_frames);
    if (status != CF_OK) {
        pack_tables_drop(t);
        return status;
    }
    t->source_frames[t->n_videos] = source_frames;
    if ((size_t)source_frames != t->begun_frames) t->thinned = true;
    t->n_frames += t->begun_frames;
    t->first_frame[++t->n_videos] = (int64_t)t->n_frames;
    t->begun = false;
    t->begun_frames = 0;
    return CF_OK;
}

cf_status pack_tables_split(pack_tables *t, const char *name, const int64_t *rows, size_t n)
{
    if (name[0] == 0 || strchr(name, '/') || strcmp(name, ".") == 0)
        return CF_FAIL(CF_EINVAL, "%s: '%s' cannot name a split", t->path, name);
    for (size_t i = 0; i < t->n_splits; i++)
        if (strcmp(t->splits[i].name, name) == 0)
            return CF_FAIL(CF_EINVAL, "%s: split %s is there already", t->path, name);
    CF_TRY(cf_realloc(&t->splits, t->n_splits + 1, sizeof *t->splits));
    pack_split s = { .n = n };
    CF_TRY(cf_strdup(&s.name, name));
    cf_status status = cf_alloc(&s.rows, n, sizeof *rows);
    if (status != CF_OK) {
        cf_free(s.name);
        return status;
    }
    if (n > 0) memcpy(s.rows, rows, n * sizeof *rows);
    t->splits[t->n_splits++] = s;
    return CF_OK;
}

/* ---- the file -------------------------------------------------------------------------------- */

static const char *const encoding_name[] = { "raw", "png", "jpeg" };

const char *pack_encoding_name(cf_encoding e) { return encoding_name[e]; }

cf_status pack_options_check(const char *path, const cf_pack_options *o)
{
    if (o->encoding < CF_ENCODING_RAW || o->encoding > CF_ENCODING_JPEG)
        return CF_FAIL(CF_EINVAL, "%s: encoding %d", path, (int)o->encoding);
    if (o->quality < 0 || o->quality > 100)
        return CF_FAIL(CF_EINVAL, "%s: quality %d is not 0 to 100", path, o->quality);
    if (o->png_level < 0 || o->png_level > 9)
        return CF_FAIL(CF_EINVAL, "%s: png level %d is not 0 to 9", path, o->png_level);
    if (o->n_classes > INT32_MAX) return CF_FAIL(CF_EINVAL, "%s: %zu classes", path, o->n_classes);
    for (size_t i = 0; i < o->n_classes; i++)
        if (!o->class_name[i]) return CF_FAIL(CF_EINVAL, "%s: class %zu has no name", path, i);
    return CF_OK;
}

static cf_status write_head(cf_h5 *h5, const cf_pack_options *o)
{
    CF_TRY(cf_h5_put_attr_string(h5, "/", "format", "crossframe"));
    CF_TRY(cf_h5_put_attr_i64(h5, "/", "version", 1));
    CF_TRY(cf_h5_put_attr_string(h5, "/", "encoding", encoding_name[o->encoding]));
    CF_TRY(cf_h5_put_attr_string(h5, "/", "dataset", o->dataset ? o->dataset : ""));
    CF_TRY(cf_h5_put_attr_i64(h5, "/", "short_side", o->short_side));
    /* raw and png lose nothing */
    CF_TRY(
        cf_h5_put_attr_i64(h5, "/", "quality", o->encoding == CF_ENCODING_JPEG ? o->quality : 100));
    CF_TRY(cf_h5_put_attr_string(h5, "/", "creator", "crossframe " CF_VERSION));
    CF_TRY(cf_h5_write_strings(h5, "/classes/name", o->class_name, o->n_classes));
    if (o->class_family)
        CF_TRY(cf_h5_write_i32(h5, "/classes/family", o->class_family, 1, &o->n_classes));
    return CF_OK;
}

/* Rows are checked at the end: a split may be told before its videos. */
static cf_status check_splits(const pack_tables *t)
{
    for (size_t s = 0; s < t->n_splits; s++) {
        const pack_split *one = &t->splits[s];
        for (size_t i = 0; i < one->n; i++)
            if (one->rows[i] < 0 || one->rows[i] >= (int64_t)t->n_videos)
                return CF_FAIL(CF_EINVAL, "%s: split %s has row %lld, there are %zu videos",
                               t->path, one->name, (long long)one->rows[i], t->n_videos);
    }
    return CF_OK;
}

static cf_status write_splits(cf_h5 *h5, const pack_tables *t)
{
    for (size_t s = 0; s < t->n_splits; s++) {
        const pack_split *one = &t->splits[s];
        char *path;
        CF_TRY(cf_format(&path, "/splits/%s", one->name));
        cf_status status = cf_h5_write_i64(h5, path, one->rows, 1, &one->n);
        cf_free(path);
        CF_TRY(status);
    }
    return CF_OK;
}

static cf_status write_tables(cf_h5 *h5, const pack_tables *t)
{
    size_t frames = t->n_frames + 1, firsts = t->n_videos + 1, n = t->n_videos;
    CF_TRY(cf_h5_write_i64(h5, "/frames/offset", t->offset, 1, &frames));
    if (t->thinned) CF_TRY(cf_h5_write_i32(h5, "/frames/source", t->source, 1, &t->n_frames));
    CF_TRY(cf_h5_write_i64(h5, "/videos/first_frame", t->first_frame, 1, &firsts));
    CF_TRY(cf_h5_write_i32(h5, "/videos/label", t->label, 1, &n));
    CF_TRY(cf_h5_write_strings(h5, "/videos/name", (const char *const *)t->name, n));
    CF_TRY(cf_h5_write_f32(h5, "/videos/fps", t->fps, 1, &n));
    CF_TRY(cf_h5_write_i32(h5, "/videos/height", t->height, 1, &n));
    CF_TRY(cf_h5_write_i32(h5, "/videos/width", t->width, 1, &n));
    return cf_h5_write_i32(h5, "/videos/source_frames", t->source_frames, 1, &n);
}

cf_status pack_tables_finish(const pack_tables *t, const char *path, const cf_pack_options *o)
{
    cf_h5 *h5;
    CF_ASSERT(!t->begun);
    CF_TRY(check_splits(t));
    CF_TRY(cf_h5_create_around(&h5, path, "/frames/data", (size_t)t->offset[t->n_frames]));
    cf_status status = CF_OK;
    CF_GO(write_head(h5, o));
    CF_GO(write_tables(h5, t));
    CF_GO(write_splits(h5, t));
    return cf_h5_commit(h5);
done:
    cf_h5_close(h5);
    return status;
}
