/* What the two files of splits share. */
#ifndef CROSSFRAME_DATA_SPLITS_PARTS_H
#define CROSSFRAME_DATA_SPLITS_PARTS_H

#include "crossframe/splits.h"

cf_status split_add(cf_split *s, const char *path, int32_t label);
/* Equal in letters (whatever their case) and digits. */
bool split_same_name(const char *a, size_t n_a, const char *b, size_t n_b);

#endif
