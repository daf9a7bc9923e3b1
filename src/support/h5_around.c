/* h5_around: an HDF5 file made around bytes that are in it already.
 *
 * A packed dataset's frames come first and its tables last, and the frames must be contiguous. So
 * they are written behind a gap of CF_H5_HEAD bytes, and HDF5 then lays its file around them: it is
 * asked for a dataset with its place at once and nothing written there, and our driver answers the
 * first request for room for data with the end of the gap. What HDF5 needs before that is about
 * 2 KB; the rest of the gap stays empty. The dataset's offset is asked and held against it. */
#include "support/h5_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file with an empty head and no tail, as if HDF5 had never been here. */
static cf_status clear(cf_h5 *f, size_t total)
{
    struct stat info;
    if (fstat(f->sink.fd, &info) != 0)
        return CF_FAIL(CF_EIO, "cannot read %s: %s", f->path, strerror(errno));
    if ((size_t)info.st_size < CF_H5_HEAD || (size_t)info.st_size - CF_H5_HEAD < total)
        return CF_FAIL(CF_EFORMAT, "%s has %lld bytes, not the %zu that were written", f->path,
                       (long long)info.st_size, CF_H5_HEAD + total);
    char *zeros;
    CF_TRY(cf_alloc_zero(&zeros, CF_H5_HEAD, 1));
    bool done = ftruncate(f->sink.fd, (off_t)(CF_H5_HEAD + total)) == 0 &&
                pwrite(f->sink.fd, zeros, CF_H5_HEAD, 0) == (ssize_t)CF_H5_HEAD;
    cf_free(zeros);
    return done ? CF_OK : CF_FAIL(CF_EIO, "cannot write %s: %s", f->path, strerror(errno));
}

static cf_status create(cf_h5 *f, const char *dataset, size_t total)
{
    haddr_t at = HADDR_UNDEF;
    hid_t access = cf_h5_access_list();
    H5Pset_small_data_block_size(access, 0); /* else little data would share a block */
    f->file = cf_h5_create_over(access, &f->sink);
    cf_status status = CF_OK;
    if (f->file < 0)
        status = CF_FAIL(CF_EIO, "cannot create %s: %s", f->path, cf_h5_why());
    else
        status = cf_h5_reserve(&at, f, dataset, total);
    H5Pclose(access);
    if (status == CF_OK && total > 0 && at != CF_H5_HEAD)
        status = CF_FAIL(CF_EUNSUPPORTED, "%s: this HDF5 places %s at %llu, not at %zu", f->path,
                         dataset, (unsigned long long)at, CF_H5_HEAD);
    return status;
}

cf_status cf_h5_create_around(cf_h5 **out, const char *path, const char *dataset, size_t total)
{
    cf_h5 *f;
    CF_TRY(cf_h5_handle_new(&f, path));
    f->file_bytes = SIZE_MAX;
    f->in_place = true;
    cf_status status = CF_OK;
    CF_GO(cf_strdup(&f->temporary, path));
    f->sink.fd = open(path, O_RDWR | O_CLOEXEC);
    if (f->sink.fd < 0)
        CF_GO(CF_FAIL(errno == ENOENT || errno == ENOTDIR ? CF_ENOTFOUND : CF_EIO,
                      "cannot open %s: %s", path, strerror(errno)));
    CF_GO(clear(f, total));
    f->sink.least_bytes = CF_H5_HEAD + total;
    f->sink.data_next = true;
    cf_h5_lock();
    status = create(f, dataset, total);
    cf_h5_unlock();
    if (status != CF_OK && f->file >= 0) {
        cf_h5_close(f);
        return status;
    }
done:
    if (status == CF_OK)
        *out = f;
    else
        cf_h5_handle_free(f);
    return status;
}
