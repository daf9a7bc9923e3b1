/* browse: contact sheets of what the model sees, as PNG: the loader's own batches, turned back to
 * bytes exactly. One row a clip, its frames from left to right, what it is beneath. Frames are
 * shown at their size, small ones enlarged and wide rows reduced by a whole factor. */
#ifndef CROSSFRAME_BROWSE_H
#define CROSSFRAME_BROWSE_H

#include "crossframe/data.h"

/* The first n clips (fewer where the epoch has fewer) of an epoch of training under `o`: after
 * augmentation, mixed where that is on, with the share of each label. class_name [o->n_classes]. */
cf_status cf_browse_clips(const char *path, const cf_dataset *d, const cf_loader_options *o,
                          const char *const *class_name, uint32_t epoch, size_t n);
/* All views that a test under `o` takes of one video. */
cf_status cf_browse_views(const char *path, const cf_dataset *d, const cf_loader_options *o,
                          const char *const *class_name, size_t video);
/* The position of a video told by its name, the end of its name after a `/`, or a number from 0.
 * CF_ENOTFOUND: none; CF_EINVAL: the end fits several. */
cf_status cf_browse_find(size_t *video, const cf_dataset *d, const char *name);

#endif
