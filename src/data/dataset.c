/* A dataset: an ordered choice of videos with labels, out of a source of videos (source.h).
 *
 * DATA.TRAIN_FILE names packs ("train.h5": all their videos; "all.h5#NAME": their split NAME), and
 * DATA.ROOT is not used; or a list of `path label` lines whose videos are found by name in what
 * DATA.ROOT names. All names are looked for when the dataset is opened, so that a run does not end
 * in the night for a file that was missing in the evening. */
#include "dataset.h"

#include <stdio.h>
#include <string.h>

void cf_dataset_free(cf_dataset *d)
{
    if (!d) return;
    source_close(&d->source);
    cf_list_free(d->list);
    void *arrays[] = { d->path, d->name, d->video, d->label, (void *)d->n_frames, d->told };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) cf_free(arrays[i]);
    cf_free(d);
}

size_t cf_dataset_size(const cf_dataset *d) { return d->n; }

size_t cf_dataset_n_classes(const cf_dataset *d) { return d->n_classes; }

/* Classes that the source itself knows. */
static size_t known_classes(const cf_dataset *d)
{
    return d->source.packs ? cf_pack_n_classes(d->source.packs->pack[0]) : 0;
}

const char *cf_dataset_class_name(const cf_dataset *d, size_t class_id)
{
    if (class_id >= known_classes(d)) return "";
    return cf_pack_class_name(d->source.packs->pack[0], class_id);
}

int32_t cf_dataset_class_family(const cf_dataset *d, size_t class_id)
{
    if (class_id >= known_classes(d)) return 0;
    return cf_pack_class_family(d->source.packs->pack[0], class_id);
}

int32_t cf_dataset_label(const cf_dataset *d, size_t i) { return d->label[i]; }
const char *cf_dataset_path(const cf_dataset *d) { return d->path; }
const char *cf_dataset_source(const cf_dataset *d) { return d->source.what; }
bool cf_dataset_is_list(const cf_dataset *d) { return d->list != NULL; }
bool cf_dataset_is_packed(const cf_dataset *d) { return d->source.packs != NULL; }

const char *cf_dataset_name(const cf_dataset *d, size_t i)
{
    CF_ASSERT(i < d->n);
    return d->name[i];
}

bool cf_dataset_tell_once(const cf_dataset *d, size_t i)
{
    return !atomic_exchange(&d->told[i], true);
}

static cf_status make_rows(cf_dataset *d, size_t n)
{
    CF_TRY(cf_alloc(&d->name, n, sizeof *d->name));
    CF_TRY(cf_alloc(&d->video, n, sizeof *d->video));
    CF_TRY(cf_alloc(&d->label, n, sizeof *d->label));
    CF_TRY(cf_alloc_zero(&d->n_frames, n, sizeof *d->n_frames));
    return cf_alloc_zero(&d->told, n, sizeof *d->told);
}

/* ---- packs and their splits ------------------------------------------------------------------ */

/* Their videos (all, or a split's) with their own labels. */
static cf_status take_rows(cf_dataset *d, const char *split)
{
    const source_packs *s = d->source.packs;
    int64_t *videos = NULL;
    size_t n = source_packs_n_videos(s);
    if (split) CF_TRY(source_packs_split(&videos, &n, s, split));
    cf_status status = make_rows(d, n);
    for (size_t i = 0; status == CF_OK && i < n; i++) {
        d->video[i] = videos ? videos[i] : (int64_t)i;
        cf_pack_video v = source_packs_video(s, d->video[i]);
        d->label[i] = v.label;
        d->name[i] = v.name;
    }
    d->n = n;
    d->n_classes = known_classes(d);
    cf_free(videos);
    return status;
}

/* *yes false: `file` names no packs. */
static cf_status open_packs(bool *yes, cf_dataset *d, const char *file)
{
    cf_status status = CF_OK;
    char *path = NULL, *split = NULL, **packs = NULL;
    size_t n = 0;
    CF_GO(cf_strdup(&path, file));
    if (!cf_file_exists(path) && !cf_is_folder(path) && (split = strrchr(path, '#'))) *split++ = 0;
    CF_GO(source_pack_paths(&packs, &n, path));
    *yes = n > 0;
    if (n == 0 && split)
        CF_GO(CF_FAIL(CF_ENOTFOUND, "%s: there is no pack %s to have splits", file, path));
    if (n == 0) goto done;
    CF_GO(source_packs_open(&d->source, path, packs, n));
    CF_GO(take_rows(d, split));
done:
    source_paths_free(packs, n);
    cf_free(path);
    return status;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static bool holds(void *of, const char *name)
{
    const source *s = of;
    int64_t video;
    return s->kind->find(&video, s->data, &name, 1) == CF_OK && video >= 0;
}

/* Of the n missing videos, what stands behind the first. */
static void list_others(char *out, size_t room, const cf_dataset *d, const size_t *missing,
                        size_t n, size_t shown)
{
    size_t used = 0;
    *out = 0;
    for (size_t k = 1; k < n && k < shown && used < room; k++)
        used += (size_t)snprintf(out + used, room - used, "%s '%.80s'", k > 1 ? "," : ", also",
                                 d->name[missing[k]]);
    if (n > 1 && used < room)
        snprintf(out + used, room - used, "%s; missing in all: %zu of %zu",
                 n > shown ? ", ..." : "", n, d->n);
}

/* One message tells how much is missing. */
static cf_status check_missing(const cf_dataset *d, bool partial)
{
    enum { SHOWN = 5 };
    size_t missing[SHOWN] = { 0 }, n = 0;
    char others[600], text[1300];
    for (size_t i = 0; i < d->n; i++) {
        if (d->video[i] >= 0) continue;
        if (n < SHOWN) missing[n] = i;
        n++;
        if (partial) cf_dataset_tell_once(d, i);
    }
    if (n == 0) return CF_OK;
    list_others(others, sizeof others, d, missing, n, SHOWN);
    snprintf(text, sizeof text, "%.200s, line %zu: %.200s holds no video '%.200s'%s", d->path,
             cf_list_get(d->list, missing[0]).line, d->source.what, d->name[missing[0]], others);
    if (!partial || n == d->n) return CF_FAIL(CF_ENOTFOUND, "%s", text);
    cf_log(CF_LOG_WARNING, "%s", text);
    return CF_OK;
}

static cf_status take_list(cf_dataset *d)
{
    size_t n = cf_list_size(d->list);
    CF_TRY(make_rows(d, n));
    d->n = n;
    d->n_classes = known_classes(d);
    for (size_t i = 0; i < n; i++) {
        cf_list_entry e = cf_list_get(d->list, i);
        d->name[i] = e.name;
        d->label[i] = e.label;
        if (d->n_classes < (size_t)e.label + 1) d->n_classes = (size_t)e.label + 1;
    }
    return CF_OK;
}

/* The list is read twice: its first name helps to tell the source, and the source knows the range
 * of the labels and whether names end in numbers. */
static cf_status open_list(cf_dataset *d, const char *root, bool partial)
{
    cf_status status = CF_OK;
    char *text = NULL;
    size_t n;
    CF_GO(cf_file_read(&text, &n, d->path));
    CF_GO(cf_list_parse(&d->list, text, n, d->path, 0, NULL, NULL));
    if (cf_list_size(d->list) == 0) goto done;
    if (!*root)
        CF_GO(CF_FAIL(CF_EINVAL, "%s: a list of videos needs DATA.ROOT, where the videos are",
                      d->path));
    CF_GO(source_open(&d->source, root, cf_list_get(d->list, 0).name));
    cf_list_free(d->list);
    d->list = NULL;
    CF_GO(cf_list_parse(&d->list, text, n, d->path, known_classes(d), holds, &d->source));
    CF_GO(take_list(d));
    CF_GO(d->source.kind->find(d->video, d->source.data, d->name, d->n));
    CF_GO(check_missing(d, partial));
done:
    cf_free(text);
    return status;
}

/* ---- opening --------------------------------------------------------------------------------- */

static cf_status check_videos(const cf_dataset *d)
{
    size_t n_thinned = 0;
    if (d->n == 0) return CF_FAIL(CF_EINVAL, "%s: there are no videos in it", d->path);
    for (size_t i = 0; d->source.packs && i < d->n; i++) {
        if (d->video[i] < 0) continue;
        cf_pack_video v = source_packs_video(d->source.packs, d->video[i]);
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

static cf_status open_dataset(cf_dataset **out, const char *file, const char *root, bool partial)
{
    cf_status status = CF_OK;
    cf_dataset *d = NULL;
    bool packs;
    if (!file || !*file) return CF_FAIL(CF_EINVAL, "no dataset is named");
    CF_TRY(cf_alloc_zero(&d, 1, sizeof *d));
    CF_GO(cf_strdup(&d->path, file));
    CF_GO(open_packs(&packs, d, file));
    if (!packs && cf_is_folder(file))
        CF_GO(CF_FAIL(CF_EUNSUPPORTED,
                      "%s: a folder is not a dataset, but for one of packs; name a pack or a list",
                      file));
    if (!packs) CF_GO(open_list(d, root ? root : "", partial));
    CF_GO(check_videos(d));
    *out = d;
done:
    if (status != CF_OK) cf_dataset_free(d);
    return status;
}

cf_status cf_dataset_open(cf_dataset **out, const char *file, const char *root)
{
    return open_dataset(out, file, root, false);
}

cf_status cf_dataset_open_partial(cf_dataset **out, const char *file, const char *root)
{
    return open_dataset(out, file, root, true);
}
