/* file: whole-file reading, atomic writing, paths. */
#include "crossframe/support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* Failure of a system call on a path, with errno's reason. */
static cf_status system_failed(const char *what, const char *path)
{
    cf_status code = errno == ENOENT || errno == ENOTDIR ? CF_ENOTFOUND : CF_EIO;
    return CF_FAIL(code, "cannot %s %s: %s", what, path, strerror(errno));
}

/* Doubles *inout (NULL: starts with it) until it holds `need` bytes. */
static cf_status grow(char **inout, size_t *capacity, size_t need)
{
    if (need <= *capacity) return CF_OK;
    size_t size = *capacity ? *capacity : 4096;
    while (size < need) size = size > SIZE_MAX / 2 ? need : 2 * size;
    CF_TRY(cf_realloc(inout, size, 1));
    *capacity = size;
    return CF_OK;
}

/* The size the system tells is only a hint: a pipe has none and a file may grow meanwhile. */
cf_status cf_file_read(char **out, size_t *n, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return system_failed("open", path);
    cf_status status = CF_OK;
    char *text = NULL;
    size_t used = 0, capacity = 0;
    struct stat info;
    size_t hint = fstat(fd, &info) == 0 && info.st_size > 0 ? (size_t)info.st_size : 0;
    CF_GO(grow(&text, &capacity, hint + 2));
    for (;;) {
        CF_GO(grow(&text, &capacity, used + 2));
        ssize_t got = read(fd, text + used, capacity - used - 1);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) CF_GO(system_failed("read", path));
        if (got == 0) break;
        used += (size_t)got;
    }
    text[used] = 0;
    *out = text;
    *n = used;
    text = NULL;
done:
    cf_free(text);
    close(fd);
    return status == CF_ENOMEM ? cf_fail_context(status, "%s", path) : status;
}

cf_status cf_file_read_gz(char **out, size_t *n, const char *path, size_t max_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return system_failed("open", path);
    gzFile file = gzdopen(fd, "rb");
    if (!file) {
        close(fd);
        return CF_FAIL(CF_ENOMEM, "%s: out of memory", path);
    }
    cf_status status = CF_OK;
    char *text = NULL;
    size_t used = 0, capacity = 0;
    for (;;) {
        CF_GO(grow(&text, &capacity, used + 4096));
        size_t room = capacity - used - 1;
        int got = gzread(file, text + used, room > 1u << 30 ? 1u << 30 : (unsigned)room);
        int code = Z_OK;
        const char *why = gzerror(file, &code);
        if (code == Z_ERRNO) CF_GO(system_failed("read", path));
        /* A truncated file reads without an error return, and says so only here. */
        if (got < 0 || code == Z_BUF_ERROR)
            CF_GO(CF_FAIL(CF_EFORMAT, "%s is not a whole gzip file: %s", path, why));
        if (got == 0) break;
        used += (size_t)got;
        if (used > max_bytes)
            CF_GO(CF_FAIL(CF_ENOMEM, "%s holds more than %zu bytes", path, max_bytes));
    }
    text[used] = 0;
    *out = text;
    *n = used;
    text = NULL;
done:
    cf_free(text);
    gzclose(file);
    return status;
}

cf_status cf_file_write_at(int fd, const char *path, const void *bytes, size_t n, int64_t at)
{
    const char *from = bytes;
    while (n > 0) {
        ssize_t done = pwrite(fd, from, n, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return CF_FAIL(CF_EIO, "cannot write %s: %s", path, strerror(errno));
        from += done;
        n -= (size_t)done;
        at += done;
    }
    return CF_OK;
}

cf_status cf_file_read_at(int fd, const char *path, void *bytes, size_t n, int64_t at)
{
    char *to = bytes;
    while (n > 0) {
        ssize_t done = pread(fd, to, n, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return CF_FAIL(CF_EIO, "cannot read %s: %s", path, strerror(errno));
        if (done == 0) return CF_FAIL(CF_EIO, "cannot read %s: it ends too early", path);
        to += done;
        n -= (size_t)done;
        at += done;
    }
    return CF_OK;
}

cf_status cf_file_nameless(int *fd, const char *folder)
{
    char *path;
#ifdef O_TMPFILE
    int at_once = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (at_once >= 0) {
        *fd = at_once;
        return CF_OK;
    }
#endif
    CF_TRY(cf_path_join(&path, folder, "nameless.XXXXXX")); /* file systems without O_TMPFILE */
    int named = mkostemp(path, O_CLOEXEC);
    cf_status status = CF_OK;
    if (named < 0)
        status = system_failed("make a file in", folder);
    else if (unlink(path) != 0) {
        status = system_failed("take the name of", path);
        close(named);
    } else
        *fd = named;
    cf_free(path);
    return status;
}

bool cf_file_exists(const char *path) { return access(path, F_OK) == 0; }

bool cf_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

cf_status cf_make_folders(const char *path)
{
    char *part;
    CF_TRY(cf_strdup(&part, path));
    cf_status status = CF_OK;
    for (size_t i = 1; part[0]; i++) {
        char c = part[i];
        if (c != '/' && c != 0) continue;
        part[i] = 0;
        /* Not only EEXIST means "there": a read-only or foreign parent gives EROFS or EACCES. */
        if (mkdir(part, 0777) != 0 && !cf_is_folder(part))
            CF_GO(system_failed("make folder", part));
        part[i] = c;
        if (c == 0) break;
    }
done:
    cf_free(part);
    return status;
}

cf_status cf_path_join(char **out, const char *folder, const char *name)
{
    if (name[0] == '/' || folder[0] == 0) return cf_strdup(out, name);
    bool slash = folder[strlen(folder) - 1] == '/';
    return cf_format(out, "%s%s%s", folder, slash ? "" : "/", name);
}

cf_status cf_path_folder(char **out, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return cf_strdup(out, ".");
    if (slash == path) return cf_strdup(out, "/");
    return cf_format(out, "%.*s", (int)(slash - path), path);
}

/* ---- writing --------------------------------------------------------------------------------- */

struct cf_writer {
    char *path, *temporary;
    int fd;
    size_t used;
    char buffer[1 << 16];
};

static void writer_free(cf_writer *w)
{
    if (w->fd >= 0) close(w->fd);
    cf_free(w->temporary);
    cf_free(w->path);
    cf_free(w);
}

static cf_status write_all(cf_writer *w, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t put = write(w->fd, bytes, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return system_failed("write", w->temporary);
        bytes += put;
        n -= (size_t)put;
    }
    return CF_OK;
}

static cf_status flush(cf_writer *w)
{
    size_t n = w->used;
    w->used = 0;
    return write_all(w, w->buffer, n);
}

cf_status cf_writer_new(cf_writer **out, const char *path)
{
    cf_writer *w;
    CF_TRY(cf_alloc(&w, 1, sizeof *w));
    w->path = w->temporary = NULL;
    w->fd = -1;
    w->used = 0;
    cf_status status = CF_OK;
    CF_GO(cf_strdup(&w->path, path));
    CF_GO(cf_format(&w->temporary, "%s.tmp", path));
    w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0) CF_GO(system_failed("create", w->temporary));
    *out = w;
    w = NULL;
done:
    if (w) writer_free(w);
    return status;
}

cf_status cf_writer_put(cf_writer *w, const void *bytes, size_t n)
{
    if (n > sizeof w->buffer - w->used) {
        CF_TRY(flush(w));
        if (n > sizeof w->buffer) return write_all(w, bytes, n);
    }
    if (n > 0) memcpy(w->buffer + w->used, bytes, n);
    w->used += n;
    return CF_OK;
}

/* Makes the rename itself last through a power cut. Not every file system can sync a folder, and
 * the file is complete either way: a failure here is none. */
static void sync_folder(const char *path)
{
    char *folder;
    if (cf_path_folder(&folder, path) != CF_OK) return;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cf_free(folder);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

cf_status cf_writer_commit(cf_writer *w)
{
    cf_status status = CF_OK;
    CF_GO(flush(w));
    /* EINVAL: nothing there that could be synced. */
    if (fsync(w->fd) != 0 && errno != EINVAL) CF_GO(system_failed("sync", w->temporary));
    int fd = w->fd;
    w->fd = -1;
    if (close(fd) != 0) CF_GO(system_failed("close", w->temporary));
    if (rename(w->temporary, w->path) != 0) CF_GO(system_failed("rename to", w->path));
    sync_folder(w->path);
    writer_free(w);
    return CF_OK;
done:
    cf_writer_abort(w);
    return status;
}

cf_status cf_file_replace(const char *path, const char *with)
{
    int fd = open(with, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return system_failed("open", with);
    cf_status status = CF_OK;
    if (fsync(fd) != 0 && errno != EINVAL) CF_GO(system_failed("sync", with));
    if (rename(with, path) != 0) CF_GO(system_failed("rename to", path));
    sync_folder(path);
done:
    close(fd);
    return status;
}

cf_status cf_file_link(const char *path, const char *from)
{
    char *temporary;
    CF_TRY(cf_format(&temporary, "%s.tmp", path));
    cf_status status = CF_OK;
    if (unlink(temporary) != 0 && errno != ENOENT) CF_GO(system_failed("remove", temporary));
    if (link(from, temporary) != 0) {
        bool none = errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EMLINK;
        if (none) CF_GO(CF_FAIL(CF_EUNSUPPORTED, "cannot link %s: %s", path, strerror(errno)));
        CF_GO(system_failed("link", from));
    }
    if (rename(temporary, path) != 0) CF_GO(system_failed("rename to", path));
    unlink(temporary); /* where both were the same file already, rename leaves both names */
    sync_folder(path);
done:
    cf_free(temporary);
    return status;
}

cf_status cf_file_copy(const char *path, const char *from)
{
    char buffer[1 << 16];
    cf_writer *w = NULL;
    cf_status status = CF_OK;
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return system_failed("open", from);
    CF_GO(cf_writer_new(&w, path));
    for (;;) {
        ssize_t got = read(fd, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) CF_GO(system_failed("read", from));
        if (got == 0) break;
        CF_GO(cf_writer_put(w, buffer, (size_t)got));
    }
    status = cf_writer_commit(w);
    w = NULL;
done:
    cf_writer_abort(w);
    close(fd);
    return status;
}

void cf_writer_abort(cf_writer *w)
{
    if (!w) return;
    unlink(w->temporary);
    writer_free(w);
}

cf_status cf_file_write(const char *path, const void *bytes, size_t n)
{
    cf_writer *w;
    CF_TRY(cf_writer_new(&w, path));
    cf_status status = cf_writer_put(w, bytes, n);
    if (status == CF_OK) return cf_writer_commit(w);
    cf_writer_abort(w);
    return status;
}
