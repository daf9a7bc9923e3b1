/* A small model with telling numbers, and its weights as a file in any layout. */
#ifndef CROSSFRAME_TESTS_LAYOUT_HELP_H
#define CROSSFRAME_TESTS_LAYOUT_HELP_H

#include "../test.h"

#include "crossframe/models.h"

extern const cf_xclip_config small_sizes; /* all widths differ */
cf_xclip_config small_clip(void);         /* CLIP's towers of these sizes */
/* Every number another: no bias is zero, no norm is one. */
cf_xclip *small_model(const cf_xclip_config *c, uint64_t seed);
/* In native names, to be read at once: float32, or what the build computes in. */
void write_native(const char *path, const cf_xclip *m);
/* Opens, native names. */
cf_weights *open_native(const char *path);
/* Two files' tensors in native names: the same names, shapes and numbers. */
void assert_same_weights(const cf_weights *a, const cf_weights *b);
/* Scores [K] of one random video against K = 3 random texts. */
void small_logits(cf_real out[3], const cf_xclip *m);
/* Entries of a folder. */
size_t count_files(const char *folder);

#endif
