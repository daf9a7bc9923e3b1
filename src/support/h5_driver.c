/* h5_driver: how HDF5 reaches a file that we write.
 *
 * HDF5 does not survive a full disk: what it could not write it keeps, closing the file fails,
 * and it tries again at exit, where it crashes (seen with 1.10.8 and its own driver). This
 * driver is the plain one, pread and pwrite, but for one thing: after the first failure it
 * remembers errno in the caller's cf_h5_sink, writes no more and tells HDF5 that all is well. So
 * HDF5 closes such a file without complaint; the writer looks at the sink, and removes the file.
 * Setting sink.error gives a file up in the same way. */
#include "support/h5_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

typedef struct {
    H5FD_t head; /* HDF5's part, first */
    cf_h5_sink *sink;
    haddr_t allocated, end; /* end: of what is written */
} driver_file;

typedef struct {
    cf_h5_sink *sink;
} driver_access;

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t access, haddr_t most)
{
    (void)name, (void)flags, (void)most;
    const driver_access *info = H5Pget_driver_info(access);
    driver_file *file = info ? calloc(1, sizeof *file) : NULL; /* HDF5's, like all it allocates */
    if (!file) return NULL;
    file->sink = info->sink;
    return &file->head;
}

static herr_t driver_close(H5FD_t *file)
{
    free(file);
    return 0;
}

static herr_t driver_query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
    return 0;
}

static haddr_t driver_get_eoa(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const driver_file *)file)->allocated;
}

static herr_t driver_set_eoa(H5FD_t *file, H5FD_mem_t type, haddr_t address)
{
    (void)type;
    ((driver_file *)file)->allocated = address;
    return 0;
}

/* Room at the end, but for the data that is there already (h5_around.c). */
static haddr_t driver_alloc(H5FD_t *file, H5FD_mem_t type, hid_t transfer, hsize_t size)
{
    (void)transfer;
    driver_file *d = (driver_file *)file;
    if (type == H5FD_MEM_DRAW && d->sink->data_next && d->allocated <= CF_H5_HEAD) {
        d->sink->data_next = false;
        d->allocated = CF_H5_HEAD;
    }
    haddr_t at = d->allocated;
    d->allocated += size;
    return at;
}

static haddr_t driver_get_eof(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const driver_file *)file)->end;
}

static herr_t driver_get_handle(H5FD_t *file, hid_t access, void **handle)
{
    (void)access;
    *handle = &((driver_file *)file)->sink->fd;
    return 0;
}

/* What lies behind the end of the file reads as zeros. */
static herr_t driver_read(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t address,
                          size_t size, void *buffer)
{
    (void)type, (void)transfer;
    char *to = buffer;
    while (size > 0) {
        ssize_t got = pread(((driver_file *)file)->sink->fd, to, size, (off_t)address);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            memset(to, 0, size);
            return got < 0 ? -1 : 0;
        }
        to += got;
        size -= (size_t)got;
        address += (haddr_t)got;
    }
    return 0;
}

static herr_t driver_write(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t address,
                           size_t size, const void *buffer)
{
    (void)type, (void)transfer;
    driver_file *d = (driver_file *)file;
    if (address + size > d->end) d->end = address + size;
    const char *from = buffer;
    while (size > 0 && !d->sink->error) {
        ssize_t put = pwrite(d->sink->fd, from, size, (off_t)address);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) {
            d->sink->error = errno;
            break;
        }
        from += put;
        size -= (size_t)put;
        address += (haddr_t)put;
    }
    return 0;
}

static herr_t driver_truncate(H5FD_t *file, hid_t transfer, hbool_t closing)
{
    (void)transfer, (void)closing;
    driver_file *d = (driver_file *)file;
    haddr_t size = d->allocated < d->sink->least_bytes ? d->sink->least_bytes : d->allocated;
    if (d->allocated != d->end && !d->sink->error && ftruncate(d->sink->fd, (off_t)size) != 0)
        d->sink->error = errno;
    d->end = d->allocated;
    return 0;
}

static const H5FD_class_t driver = {
#ifdef H5FD_CLASS_VERSION
    .version = H5FD_CLASS_VERSION,
    .value = 613, /* any number above HDF5's own */
#endif
    .name = "crossframe",
    .maxaddr = (haddr_t)1 << 62,
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(driver_access),
    .open = driver_open,
    .close = driver_close,
    .query = driver_query,
    .alloc = driver_alloc,
    .get_eoa = driver_get_eoa,
    .set_eoa = driver_set_eoa,
    .get_eof = driver_get_eof,
    .get_handle = driver_get_handle,
    .read = driver_read,
    .write = driver_write,
    .truncate = driver_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

hid_t cf_h5_create_over(hid_t access, cf_h5_sink *sink)
{
    hid_t id = H5FDregister(&driver);
    if (id < 0) return -1;
    hid_t file = -1;
    if (H5Pset_driver(access, id, &(driver_access){ sink }) >= 0)
        file = H5Fcreate("(crossframe)", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5FDunregister(id); /* the file keeps it as long as it is open */
    return file;
}
