/* Few-shot draws: a training set, and lists of K videos a class of it. */
#ifndef CROSSFRAME_TRAIN_SHOTS_H
#define CROSSFRAME_TRAIN_SHOTS_H

#include "crossframe/splits.h"
#include "crossframe/train.h"

/* Zero-initialise; shots_close at the end. */
typedef struct {
    cf_split all; /* the labelled videos of DATA.TRAIN_FILE */
    char *file;   /* DATA.TRAIN_FILE */
    char *root;   /* DATA.ROOT of the lists drawn from it */
} shots_source;

/* CF_EINVAL: DATA.TRAIN_FILE or VAL_FILE is not set, or the draws and the test set would need two
 * DATA.ROOTs. */
cf_status shots_open(shots_source *out, const cf_config *c);
void shots_close(shots_source *s);
/* A drawn list as text (cf_free) and how many videos it has, by cf_split_shots. CF_EINVAL: a class
 * has fewer. */
cf_status shots_draw(char **list, size_t *videos, const shots_source *s, size_t shots, size_t seed);

#endif
