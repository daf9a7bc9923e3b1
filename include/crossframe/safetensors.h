/* safetensors: the container of our checkpoints, read and written.
 *
 * Design
 *  - A file is: 8 bytes little-endian length, that many bytes of JSON (name -> dtype, shape,
 *    data_offsets; __metadata__ -> texts), then the data. The data must be covered exactly,
 *    without holes or overlaps; everything else is refused with the file's and the tensor's name.
 *  - Reading maps the file: a tensor's data is a borrowed pointer into it (weights.h widens it
 *    into the caller's buffer). Memory is bounded by the header, and the header by the file.
 *  - Writing goes through PATH.tmp, sync and rename. The same input gives the same bytes, and the
 *    data starts at a multiple of 64: the header is padded with spaces, as the format allows.
 *  - A file may carry a checksum of itself, which other readers take for metadata: the first pair
 *    is CF_ST_CRC_KEY, eight hexadecimal digits of the CRC-32 of the whole file with these digits
 *    as zeros; the last is CF_ST_CHECKSUM_KEY, which says so. There are two, so that damage to
 *    either cannot make the file one without a checksum. */
#ifndef CROSSFRAME_SAFETENSORS_H
#define CROSSFRAME_SAFETENSORS_H

#include "crossframe/support.h"

typedef enum {
    CF_ST_F32,
    CF_ST_F16,
    CF_ST_BF16,
    CF_ST_F64,
    CF_ST_I64,
    CF_ST_I32,
    CF_ST_I16,
    CF_ST_I8,
    CF_ST_U64,
    CF_ST_U32,
    CF_ST_U16,
    CF_ST_U8,
    CF_ST_BOOL,
} cf_st_dtype;

enum { CF_ST_MAX_RANK = 8 };
#define CF_ST_CRC_KEY "crc32"
#define CF_ST_CHECKSUM_KEY "checksum"

typedef struct {
    const char *name; /* borrowed from the file */
    cf_st_dtype dtype;
    size_t rank; /* 0: one number */
    size_t shape[CF_ST_MAX_RANK];
    size_t n;         /* product of the shape */
    const void *data; /* borrowed; n * cf_st_dtype_bytes bytes, at any alignment */
    /* Writing, data NULL: the numbers are in this open file instead, from byte `file_at` on. */
    int file;
    int64_t file_at;
} cf_st_tensor;

const char *cf_st_dtype_name(cf_st_dtype dtype); /* "F32" */
size_t cf_st_dtype_bytes(cf_st_dtype dtype);

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct cf_st_file cf_st_file;
/* Maps and validates. CF_EFORMAT: not a safetensors file, or a damaged one. */
cf_status cf_st_open(cf_st_file **out, const char *path);
/* The same of bytes in memory, which must outlive it; `name` stands for the path in messages. */
cf_status cf_st_open_memory(cf_st_file **out, const void *bytes, size_t n, const char *name);
void cf_st_close(cf_st_file *f); /* NULL is fine */
/* True if the file starts as a safetensors file does; it may still be damaged. */
bool cf_st_looks_like(const void *bytes, size_t n);

/* Validates the file and its checksum; *has (may be NULL): whether it has one, without one nothing
 * more than cf_st_open does is looked at. CF_EFORMAT, CF_EUNSUPPORTED: damaged or no safetensors
 * file; CF_ENOTFOUND, CF_EIO: it cannot be read. About as fast as the file is read. */
cf_status cf_st_check(bool *has, const char *path);
cf_status cf_st_check_memory(bool *has, const void *bytes, size_t n, const char *name);

size_t cf_st_n_tensors(const cf_st_file *f);
const cf_st_tensor *cf_st_tensor_at(const cf_st_file *f, size_t i); /* in the order of their data */
const cf_st_tensor *cf_st_find(const cf_st_file *f, const char *name); /* NULL if there is none */
size_t cf_st_n_metadata(const cf_st_file *f);
void cf_st_metadata_at(const char **key, const char **value, const cf_st_file *f, size_t i);
const char *cf_st_metadata(const cf_st_file *f, const char *key); /* NULL if there is none */

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct {
    const char *key, *value;
} cf_st_pair;

/* tensor[n_tensors]: written in this order; names unique; `n` is ignored (the shape decides) and
 * `data` holds dtype's numbers. Names, keys and values in UTF-8. */
cf_status cf_st_write(const char *path, const cf_st_tensor *tensor, size_t n_tensors,
                      const cf_st_pair *metadata, size_t n_metadata);

/* The same with a checksum; CF_EINVAL if one of its two keys is among the metadata. */
cf_status cf_st_write_checked(const char *path, const cf_st_tensor *tensor, size_t n_tensors,
                              const cf_st_pair *metadata, size_t n_metadata);

/* *bytes = the numbers of tensor i, borrowed until the next call. Tensors are asked for once each,
 * in order. */
typedef cf_status cf_st_source(void *user, size_t i, const void **bytes);
/* The same with numbers that come when they are written; the tensors' `data` is not looked at. */
cf_status cf_st_write_from(const char *path, const cf_st_tensor *tensor, size_t n_tensors,
                           const cf_st_pair *metadata, size_t n_metadata, cf_st_source *source,
                           void *user);

#endif
