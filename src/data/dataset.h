/* A dataset, inside the data module: what its readers and the loader see of it. */
#ifndef CROSSFRAME_DATA_DATASET_H
#define CROSSFRAME_DATA_DATASET_H

#include "crossframe/list.h"
#include "source.h"

#include <stdatomic.h>

struct cf_dataset {
    char *path;
    source source;
    cf_list *list;     /* NULL: whole packs or a split; names are the list's or the packs' */
    const char **name; /* [n] */
    int64_t *video;    /* [n] numbers in the source; -1: it does not hold it */
    int32_t *label;    /* [n] */
    size_t n, n_classes;
    _Atomic int64_t *n_frames; /* [n] once known, 0 before */
    atomic_bool *told;         /* [n] the user was told that it cannot be read */
};

/* True the first time that it is asked about a video. */
bool cf_dataset_tell_once(const cf_dataset *d, size_t i);

#endif
