/* Inside of writing weights: numbers as a file holds them, and the archive of PyTorch. */
#ifndef CROSSFRAME_MODELS_EXPORT_H
#define CROSSFRAME_MODELS_EXPORT_H

#include "crossframe/weights.h"

/* out[n] of dtype F32, F16 or BF16, rounded to nearest, ties to even. How many finite numbers
 * became infinite. out may be `from` itself. */
size_t cf_narrow(void *out, cf_st_dtype dtype, const cf_real *from, size_t n);

/* A zip archive, stored, the same input the same bytes. root: the dictionary the tensors are in,
 * with the metadata beside it; NULL: the tensors are the top level and there is no metadata. */
cf_status cf_torch_write_from(const char *path, const cf_st_tensor *tensor, size_t n_tensors,
                              const char *root, const cf_st_pair *metadata, size_t n_metadata,
                              cf_st_source *source, void *user);

#endif
