/* splits: lists `path label` from the datasets' own files, and draws from them.
 *
 * Class names come from a label CSV and say which label is which: the datasets' names are matched
 * to them by letters and digits alone ("HandstandPushups", "Handstand Pushups"). A name that
 * matches none is refused with file and line. */
#ifndef CROSSFRAME_SPLITS_H
#define CROSSFRAME_SPLITS_H

#include "crossframe/data.h"

typedef struct {
    char *path;
    int32_t label;
} cf_split_video;

/* Zero-initialise; cf_split_fini at the end. */
typedef struct {
    cf_split_video *video;
    size_t n, capacity;
} cf_split;
void cf_split_fini(cf_split *s);
/* The list as text; free with cf_free. */
cf_status cf_split_text(char **out, const cf_split *s);
/* Writes the list. CF_EINVAL: it is empty. */
cf_status cf_split_write(const cf_split *s, const char *path);

/* Class names in the order of their labels. */
typedef struct {
    const char *const *name;
    size_t n;
} cf_split_classes;

/* Each adds to *train and *test; split is 1, 2 or 3.
 * UCF101: trainlist0N.txt and testlist0N.txt in `folder`; a number behind a path must be that of
 * the path's class in classInd.txt. */
cf_status cf_split_ucf101(cf_split *train, cf_split *test, const char *folder, int split,
                          const cf_split_classes *classes);
/* HMDB51: CLASS_test_splitN.txt for each class, `file 1` for training, `file 2` for test, `file 0`
 * for neither. Paths are CLASS/file. */
cf_status cf_split_hmdb51(cf_split *train, cf_split *test, const char *folder, int split,
                          const cf_split_classes *classes);
/* Kinetics: a CSV with the columns label, youtube_id, time_start, time_end and perhaps split, in
 * any order. naming: the files' name with {id}, {start}, {end} (six digits), {label}, {label_}
 * (blanks as underscores) and {split} in it; NULL: "{id}_{start}_{end}.mp4". */
cf_status cf_split_kinetics(cf_split *out, const char *csv, const char *naming,
                            const cf_split_classes *classes);

/* All videos of a dataset that have a label, in its order. */
cf_status cf_split_dataset(cf_split *out, const cf_dataset *d);
/* Of them those of the classes named, by the dataset's own class names, relabelled by the place of
 * the name. CF_EINVAL: the dataset has no such class or no video of it. */
cf_status cf_split_named(cf_split *out, const cf_dataset *d, const cf_split_classes *named);

/* K videos of each class of `train`, the same for the same seed everywhere: a class's paths in the
 * order of their bytes are shuffled by (seed, label), and the first K taken; so a draw of two is
 * part of the draw of four. In *out by label, then path. CF_EINVAL: a class has fewer. */
cf_status cf_split_shots(cf_split *out, const cf_split *train, size_t k, uint64_t seed);

/* Which of `classes` are not in `seen`, by name after normalisation: ascending indices in *out
 * (cf_free). */
cf_status cf_split_unseen(size_t **out, size_t *n, const cf_split_classes *classes,
                          const cf_split_classes *seen);
/* The name of `seen` that says nearly the same: the same words, or all the words of the shorter in
 * the longer (articles and what stands in parentheses left out), or at most one letter in eight
 * different. NULL: none. */
const char *cf_split_near(const char *name, const cf_split_classes *seen);
/* Set `set` of `size` of the n indices, ascending, drawn by (seed, set) alone. */
cf_status cf_split_draw(size_t *out, size_t size, const size_t *from, size_t n, uint64_t seed,
                        uint32_t set);
/* The videos of these classes, relabelled 0 .. n-1 in their order. */
cf_status cf_split_pick(cf_split *out, const cf_split *all, const size_t *classes, size_t n);

#endif
