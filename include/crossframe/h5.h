/* The one HDF5 wrapper. HDF5 is not thread-safe: src/support/h5*.c alone call it, under one lock,
 * with its own error printing off. Paths are "/group/dataset"; every failure names file and path.
 *
 * Reading converts to the asked type (as HDF5 does) and refuses what would lose the meaning
 * (strings as numbers). File locking is off (network file systems). Writing goes to PATH.tmp;
 * cf_h5_commit syncs it and renames it over PATH, cf_h5_close without commit removes it. */
#ifndef CROSSFRAME_H5_H
#define CROSSFRAME_H5_H

#include "crossframe/support.h"

typedef struct cf_h5 cf_h5;
/* ROWS: each element is a row of bytes of its own length (a variable-length 8-bit integer). */
typedef enum { CF_H5_OTHER, CF_H5_INTEGER, CF_H5_FLOAT, CF_H5_STRING, CF_H5_ROWS } cf_h5_class;
typedef struct {
    cf_h5_class class;
    size_t item_bytes; /* of one element as stored; 0 for variable-length strings */
    int rank;          /* 0 = scalar */
    size_t dim[5], n;  /* n = product of dim */
    int64_t offset;    /* byte position in the file when contiguous and stored in it, else -1 */
} cf_h5_info;

cf_status cf_h5_open(cf_h5 **out, const char *path);   /* read only */
cf_status cf_h5_create(cf_h5 **out, const char *path); /* see above */
/* Makes PATH itself the HDF5 file, around bytes that are there already: the `total` bytes behind
 * its first CF_H5_HEAD become the dataset `dataset`, one-dimensional uint8 and contiguous, without
 * being moved. What lies before and behind them is overwritten. The bytes stay through everything:
 * a commit syncs, a close without commit leaves a file that can be wrapped again. CF_EFORMAT: it is
 * shorter than that. */
#define CF_H5_HEAD ((size_t)1 << 16)
cf_status cf_h5_create_around(cf_h5 **out, const char *path, const char *dataset, size_t total);
cf_status cf_h5_commit(cf_h5 *f); /* created files; closes and frees f in any case */
void cf_h5_close(cf_h5 *f);       /* NULL is fine */
const char *cf_h5_path(const cf_h5 *f);
/* *out = a descriptor of the very file that is open, for pread at cf_h5_info.offset; close(2)
 * it. */
cf_status cf_h5_descriptor(int *out, cf_h5 *f);

bool cf_h5_exists(cf_h5 *f, const char *path);
cf_status cf_h5_dataset_info(cf_h5_info *out, cf_h5 *f, const char *path);
/* Names of the links of a group, sorted; *names one block freed with cf_free. */
cf_status cf_h5_list(char ***names, size_t *n, cf_h5 *f, const char *group);

bool cf_h5_has_attr(cf_h5 *f, const char *object, const char *name);
cf_status cf_h5_attr_i64(int64_t *out, cf_h5 *f, const char *object, const char *name);
cf_status cf_h5_attr_f64(double *out, cf_h5 *f, const char *object, const char *name);
cf_status cf_h5_attr_string(char **out, cf_h5 *f, const char *object,
                            const char *name); /* cf_free */
/* A whole integer array attribute (length 0 allowed); cf_free. */
cf_status cf_h5_attr_i64s(int64_t **out, size_t *n, cf_h5 *f, const char *object, const char *name);

/* Whole datasets into fresh memory (cf_free); n = number of elements. */
cf_status cf_h5_read_f32(float **out, size_t *n, cf_h5 *f, const char *path);
cf_status cf_h5_read_f64(double **out, size_t *n, cf_h5 *f, const char *path);
cf_status cf_h5_read_i32(int32_t **out, size_t *n, cf_h5 *f, const char *path);
cf_status cf_h5_read_i64(int64_t **out, size_t *n, cf_h5 *f, const char *path);
cf_status cf_h5_read_strings(char ***out, size_t *n, cf_h5 *f, const char *path); /* one block */
/* Bytes [start, start + n) of a one-dimensional uint8 dataset. */
cf_status cf_h5_read_u8(uint8_t *out, cf_h5 *f, const char *path, size_t start, size_t n);
/* One element of a one-dimensional dataset of rows, into fresh memory (cf_free). */
cf_status cf_h5_read_row(uint8_t **out, size_t *n, cf_h5 *f, const char *path, size_t row);

cf_status cf_h5_make_group(cf_h5 *f, const char *path);
cf_status cf_h5_put_attr_i64(cf_h5 *f, const char *object, const char *name, int64_t value);
cf_status cf_h5_put_attr_string(cf_h5 *f, const char *object, const char *name, const char *value);
/* Groups on the way to a dataset are made as needed. Rank 0 is one number, a dimension may be 0. */
cf_status cf_h5_write_f32(cf_h5 *f, const char *path, const float *v, int rank, const size_t *dim);
cf_status cf_h5_write_i32(cf_h5 *f, const char *path, const int32_t *v, int rank,
                          const size_t *dim);
cf_status cf_h5_write_i64(cf_h5 *f, const char *path, const int64_t *v, int rank,
                          const size_t *dim);
cf_status cf_h5_write_strings(cf_h5 *f, const char *path, const char *const *v, size_t n);

#endif
