/* h5: the HDF5 file: opening, creating, committing, looking around in it. The rest is in
 * h5_read.c, h5_write.c, h5_around.c and h5_driver.c; these alone call HDF5.
 *
 * One mutex is held around every call, and HDF5's own printing of errors is switched off inside
 * it; what HDF5 says about a failure (the innermost line of its error stack) becomes the last
 * part of our line. Written files use the oldest format that serves (superblock 0) and have no
 * time stamps, so the same content is the same bytes. They live as PATH.tmp until cf_h5_commit
 * has synced and renamed them, but for those of h5_around.c. */
#include "support/h5_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void cf_h5_lock(void)
{
    pthread_mutex_lock(&mutex);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* a setting of the thread where HDF5 knows threads */
}

void cf_h5_unlock(void) { pthread_mutex_unlock(&mutex); }

static _Thread_local char why_line[200];

static herr_t keep_first(unsigned n, const H5E_error2_t *e, void *user)
{
    (void)user;
    if (n > 0 || !e->desc) return 0;
    /* A system call's failure is told with times and buffers; its reason is enough. */
    static const char start[] = "error message = '";
    const char *reason = strstr(e->desc, start);
    const char *text = reason ? reason + strlen(start) : e->desc;
    snprintf(why_line, sizeof why_line, "%.*s", (int)strcspn(text, reason ? "'\n" : "\n"), text);
    return 0;
}

const char *cf_h5_why(void)
{
    snprintf(why_line, sizeof why_line, "no reason given");
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, NULL);
    return why_line;
}

/* ---- open and create ------------------------------------------------------------------------- */

cf_status cf_h5_handle_new(cf_h5 **out, const char *path)
{
    cf_h5 *f;
    CF_TRY(cf_alloc_zero(&f, 1, sizeof *f));
    f->file = f->bytes = -1;
    f->sink.fd = -1;
    cf_status status = cf_strdup(&f->path, path);
    if (status != CF_OK)
        cf_free(f);
    else
        *out = f;
    return status;
}

void cf_h5_handle_free(cf_h5 *f)
{
    if (f->sink.fd >= 0) close(f->sink.fd);
    cf_free(f->path);
    cf_free(f->temporary);
    cf_free(f->bytes_path);
    cf_free(f);
}

hid_t cf_h5_access_list(void)
{
    hid_t plist = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fclose_degree(plist, H5F_CLOSE_STRONG);
    H5Pset_libver_bounds(plist, H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST);
#if H5_VERSION_GE(1, 10, 7)
    H5Pset_file_locking(plist, 0, 1); /* network file systems refuse locks */
#endif
    return plist;
}

/* What HDF5 would say in many words: not there, not a file, not HDF5. Also tells the size. */
static cf_status look_at_file(size_t *bytes, const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return CF_FAIL(errno == ENOENT || errno == ENOTDIR ? CF_ENOTFOUND : CF_EIO,
                       "cannot open %s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return CF_FAIL(CF_EIO, "cannot open %s: not a regular file", path);
    if (access(path, R_OK) != 0)
        return CF_FAIL(CF_EIO, "cannot open %s: %s", path, strerror(errno));
    if (H5Fis_hdf5(path) <= 0)
        return CF_FAIL(CF_EFORMAT, "%s is not an HDF5 file (%lld bytes)", path,
                       (long long)info.st_size);
    *bytes = (size_t)info.st_size;
    return CF_OK;
}

static cf_status open_file(cf_h5 *f)
{
    CF_TRY(look_at_file(&f->file_bytes, f->path));
    hid_t plist = cf_h5_access_list();
    f->file = H5Fopen(f->path, H5F_ACC_RDONLY, plist);
    cf_status status = CF_OK;
    if (f->file < 0)
        status = CF_FAIL(CF_EFORMAT, "%s is a damaged HDF5 file: %s", f->path, cf_h5_why());
    H5Pclose(plist);
    return status;
}

cf_status cf_h5_open(cf_h5 **out, const char *path)
{
    cf_h5 *f;
    CF_TRY(cf_h5_handle_new(&f, path));
    cf_h5_lock();
    cf_status status = open_file(f);
    cf_h5_unlock();
    if (status != CF_OK)
        cf_h5_handle_free(f);
    else
        *out = f;
    return status;
}

static cf_status create_file(cf_h5 *f)
{
    f->file_bytes = SIZE_MAX;
    /* Asked of the system first: its reasons are clearer. */
    f->sink.fd = open(f->temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (f->sink.fd < 0)
        return CF_FAIL(errno == ENOENT || errno == ENOTDIR ? CF_ENOTFOUND : CF_EIO,
                       "cannot create %s: %s", f->temporary, strerror(errno));
    hid_t access = cf_h5_access_list();
    f->file = cf_h5_create_over(access, &f->sink);
    cf_status status = CF_OK;
    if (f->file < 0) status = CF_FAIL(CF_EIO, "cannot create %s: %s", f->temporary, cf_h5_why());
    H5Pclose(access);
    if (status != CF_OK) unlink(f->temporary);
    return status;
}

cf_status cf_h5_create(cf_h5 **out, const char *path)
{
    cf_h5 *f;
    CF_TRY(cf_h5_handle_new(&f, path));
    cf_status status = CF_OK;
    CF_GO(cf_format(&f->temporary, "%s.tmp", path));
    cf_h5_lock();
    status = create_file(f);
    cf_h5_unlock();
    if (status == CF_OK) {
        *out = f;
        f = NULL;
    }
done:
    if (f) cf_h5_handle_free(f);
    return status;
}

/* ---- close and commit ------------------------------------------------------------------------ */

static int descriptor(const cf_h5 *f)
{
    void *handle = NULL;
    if (H5Fget_vfd_handle(f->file, H5P_DEFAULT, &handle) < 0 || !handle) return -1;
    return *(int *)handle;
}

/* Reports what of a created file could not be written. */
static cf_status close_all(cf_h5 *f)
{
    if (f->failed && !f->sink.error) f->sink.error = ECANCELED; /* it is given up: write no more */
    cf_h5_bytes_close(f);
    bool closed = H5Fclose(f->file) >= 0;
    if (!f->temporary || f->failed) return CF_OK;
    if (closed && !f->sink.error) return CF_OK;
    return CF_FAIL(CF_EIO, "cannot write %s: %s", f->temporary,
                   f->sink.error ? strerror(f->sink.error) : cf_h5_why());
}

static cf_status sync_and_rename(const cf_h5 *f)
{
    if (!f->in_place) return cf_file_replace(f->path, f->temporary);
    if (fsync(f->sink.fd) != 0)
        return CF_FAIL(CF_EIO, "cannot sync %s: %s", f->path, strerror(errno));
    return CF_OK;
}

cf_status cf_h5_commit(cf_h5 *f)
{
    CF_ASSERT(f->temporary);
    cf_status status = CF_OK;
    if (f->failed)
        status = CF_FAIL(CF_EINVAL, "%s: not committed, an earlier write failed", f->path);
    cf_h5_lock();
    cf_status closed = close_all(f);
    cf_h5_unlock();
    if (status == CF_OK) status = closed;
    if (status == CF_OK) status = sync_and_rename(f);
    if (status != CF_OK && !f->in_place) unlink(f->temporary);
    cf_h5_handle_free(f);
    return status;
}

void cf_h5_close(cf_h5 *f)
{
    if (!f) return;
    f->failed = true; /* nothing of it is kept */
    cf_h5_lock();
    close_all(f);
    cf_h5_unlock();
    if (f->temporary && !f->in_place) unlink(f->temporary);
    cf_h5_handle_free(f);
}

/* ---- looking around -------------------------------------------------------------------------- */

const char *cf_h5_path(const cf_h5 *f) { return f->path; }

cf_status cf_h5_descriptor(int *out, cf_h5 *f)
{
    cf_h5_lock();
    int fd = descriptor(f);
    cf_h5_unlock();
    int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return CF_FAIL(CF_EIO, "%s: cannot share its descriptor: %s", f->path, strerror(errno));
    *out = copy;
    return CF_OK;
}

/* Does every link of the path lead somewhere? HDF5 asks link by link. */
bool cf_h5_path_exists(hid_t file, const char *path)
{
    char part[1024];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part) return false;
    for (size_t i = 1; i <= n; i++) {
        if ((i < n && path[i] != '/') || path[i - 1] == '/') continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (H5Lexists(file, part, H5P_DEFAULT) <= 0) return false;
    }
    return strcmp(path, "/") == 0 || H5Oexists_by_name(file, path, H5P_DEFAULT) > 0;
}

bool cf_h5_exists(cf_h5 *f, const char *path)
{
    cf_h5_lock();
    bool exists = cf_h5_path_exists(f->file, path);
    cf_h5_unlock();
    return exists;
}

/* First pass (block NULL): counts links and bytes; second: fills the block. */
typedef struct {
    char **block, *to;
    size_t n, n_most, bytes;
} name_list;

static herr_t add_name(hid_t group, const char *name, const H5L_info_t *info, void *user)
{
    (void)group, (void)info;
    name_list *l = user;
    size_t size = strlen(name) + 1;
    if (l->block && (l->n == l->n_most || size > l->bytes)) return -1;
    if (l->block) {
        l->block[l->n] = memcpy(l->to, name, size);
        l->to += size;
        l->bytes -= size;
    } else {
        l->bytes += size;
    }
    l->n++;
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static cf_status list_group(char ***names, size_t *n, cf_h5 *f, const char *group)
{
    if (!cf_h5_path_exists(f->file, group))
        return CF_FAIL(CF_ENOTFOUND, "%s: there is no %s", f->path, group);
    hid_t id = H5Gopen2(f->file, group, H5P_DEFAULT);
    if (id < 0)
        return CF_FAIL(CF_EFORMAT, "%s: %s is not a readable group: %s", f->path, group,
                       cf_h5_why());
    cf_status status = CF_OK;
    name_list count = { 0 }, fill = { 0 };
    if (H5Literate(id, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, add_name, &count) < 0)
        CF_GO(CF_FAIL(CF_EFORMAT, "%s: cannot list %s: %s", f->path, group, cf_h5_why()));
    CF_GO(cf_alloc(&fill.block, count.n * sizeof(char *) + count.bytes, 1));
    fill.to = (char *)(fill.block + count.n);
    fill.n_most = count.n;
    fill.bytes = count.bytes;
    if (H5Literate(id, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, add_name, &fill) < 0 ||
        fill.n != count.n)
        CF_GO(CF_FAIL(CF_EFORMAT, "%s: cannot list %s: %s", f->path, group, cf_h5_why()));
    if (fill.n > 1) qsort(fill.block, fill.n, sizeof(char *), compare_names);
    *names = fill.block;
    *n = fill.n;
    fill.block = NULL;
done:
    cf_free(fill.block);
    H5Gclose(id);
    return status;
}

cf_status cf_h5_list(char ***names, size_t *n, cf_h5 *f, const char *group)
{
    cf_h5_lock();
    cf_status status = list_group(names, n, f, group);
    cf_h5_unlock();
    return status;
}
