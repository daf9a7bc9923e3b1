/* check: what is wrong in lists, packs and label names, each problem one line to a callback. A
 * failure is returned only where checking itself cannot go on (memory). */
#ifndef CROSSFRAME_CHECK_H
#define CROSSFRAME_CHECK_H

#include "crossframe/support.h"

typedef void cf_check_tell(void *user, const char *line);

typedef struct cf_check cf_check;
/* n_classes: what labels must be below; 0 = unknown. min_frames: fewer are told as short. full:
 * every video and every frame is decoded. */
typedef struct {
    size_t n_classes;
    const char *const *class_name; /* [n_classes] or NULL */
    int64_t min_frames;
    bool full;
    cf_check_tell *tell;
    void *user;
} cf_check_options;

cf_status cf_check_new(cf_check **out, const cf_check_options *o);
void cf_check_free(cf_check *c); /* NULL is fine */
size_t cf_check_problems(const cf_check *c);
size_t cf_check_videos(const cf_check *c); /* looked at */

/* A list against `root`, a folder, a tar or a pack (NULL: only the list itself): lines that are
 * none, labels outside, names twice, videos missing, empty, cut short; classes without a video. */
cf_status cf_check_list(cf_check *c, const char *path, const char *root);
/* A pack: unlabelled videos, short ones, classes without a video, another number of classes; with
 * `full` every frame. */
cf_status cf_check_pack(cf_check *c, const char *path);
/* Among all videos of all lists and packs so far: the same content twice (files: all bytes; packs,
 * with `full`: all pixels), within one or between two of them. */
cf_status cf_check_duplicates(cf_check *c);
/* One problem line for the videos in the folder `root` that none of the lists names, so without
 * label: how many, and the first few. Nothing where root is no folder. */
cf_status cf_check_unlisted(cf_check *c, const char *root);
/* Label names: CamelCase, underscores, blanks too many, the same name twice; with the fix. */
cf_status cf_check_labels(cf_check *c, const char *path, const char *const *name, size_t n);
/* The name with its words separated by single blanks; cf_free. */
cf_status cf_check_fixed_label(char **out, const char *name);

#endif
