/* What the files h5*.c share: the open file, the lock, HDF5's reasons. */
#ifndef CROSSFRAME_H5_INTERNAL_H
#define CROSSFRAME_H5_INTERNAL_H

#include "crossframe/h5.h"

#include <hdf5.h>

/* The file under a cf_h5 that is written. error: errno of the first failed write; once set,
 * nothing more is written and HDF5 is told that all is well (h5_driver.c). */
typedef struct {
    int fd, error;
    size_t least_bytes; /* it is never cut to less than this */
    bool data_next;     /* the first room for data that is asked for lies at CF_H5_HEAD */
} cf_h5_sink;

struct cf_h5 {
    char *path, *temporary; /* temporary: NULL when reading; path itself under create_around */
    hid_t file;
    size_t file_bytes; /* SIZE_MAX while writing */
    hid_t bytes;       /* cf_h5_read_u8 keeps its dataset open, and so HDF5's cache of chunks */
    char *bytes_path;
    size_t bytes_n;
    cf_h5_sink sink;
    bool failed;   /* a write failed: never to be committed */
    bool in_place; /* cf_h5_create_around */
};

typedef enum { CF_H5_F32, CF_H5_F64, CF_H5_I32, CF_H5_I64 } cf_h5_number;

/* Every HDF5 call stands between these two. */
void cf_h5_lock(void);
void cf_h5_unlock(void);
/* The reason of the HDF5 call that failed just now; ask before the next call. Borrowed. */
const char *cf_h5_why(void);
bool cf_h5_path_exists(hid_t file, const char *path);
hid_t cf_h5_memory_type(cf_h5_number t);
/* A new HDF5 file in sink->fd, which stays the caller's; the sink must outlive it. Negative on
 * failure. */
hid_t cf_h5_create_over(hid_t access, cf_h5_sink *sink);
hid_t cf_h5_access_list(void); /* how we open every file; H5Pclose it */
cf_status cf_h5_handle_new(cf_h5 **out, const char *path);
void cf_h5_handle_free(cf_h5 *f);
/* Under the lock: a contiguous uint8 dataset [total] with its place in the file, not written. */
cf_status cf_h5_reserve(haddr_t *at, cf_h5 *f, const char *path, size_t total);
void cf_h5_bytes_close(cf_h5 *f); /* what cf_h5_read_u8 keeps open */

#endif
