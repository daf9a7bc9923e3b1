/* media_folder: folders of pictures and single pictures.
 *
 * The frames of a folder are its files NAME.png, .jpg, .jpeg (any case), in the order people count:
 * digits are compared as numbers. Where files are called img_NUMBER only these are frames: the
 * common tools put pictures of the optical flow beside them. What is in a file decides how it is
 * decoded. */
#include "data/media_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    cf_media *media;
    char *folder; /* NULL: one picture */
    char **name;
    size_t n, capacity;
    const uint8_t *bytes; /* one picture in memory, or NULL */
    size_t n_bytes;
    cf_bytes file;
    cf_picture picture;
} pictures;

static void close_pictures(void *source)
{
    pictures *p = source;
    for (size_t i = 0; i < p->n; i++) cf_free(p->name[i]);
    cf_free(p->name);
    cf_free(p->folder);
    cf_bytes_fini(&p->file);
    cf_picture_fini(&p->picture);
    cf_free(p);
}

cf_status media_file_read(cf_bytes *to, size_t *n, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return CF_FAIL(errno == ENOENT || errno == ENOTDIR ? CF_ENOTFOUND : CF_EIO,
                       "cannot open %s: %s", path, strerror(errno));
    cf_status status = CF_OK;
    struct stat info;
    size_t used = 0, hint = fstat(fd, &info) == 0 && info.st_size > 0 ? (size_t)info.st_size : 0;
    for (;;) {
        size_t need = used > hint ? 2 * used : hint + 1; /* one more: to see the end */
        if (need > to->capacity) {
            CF_GO(cf_realloc(&to->bytes, need, 1));
            to->capacity = need;
        }
        ssize_t got = read(fd, to->bytes + used, to->capacity - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) CF_GO(CF_FAIL(CF_EIO, "cannot read %s: %s", path, strerror(errno)));
        if (got == 0) break;
        used += (size_t)got;
        if (used == to->capacity) hint = used;
    }
    *n = used;
done:
    close(fd);
    return status == CF_ENOMEM ? cf_fail_context(status, "%s", path) : status;
}

/* ---- one after the other --------------------------------------------------------------------- */

static cf_status decode(pictures *p, size_t i)
{
    cf_media *m = p->media;
    if (p->bytes) {
        m->coded = p->bytes, m->n_coded = p->n_bytes;
        return cf_picture_decode(&p->picture, p->bytes, p->n_bytes, m->path);
    }
    char *joined = NULL;
    if (p->folder) CF_TRY(cf_path_join(&joined, p->folder, p->name[i]));
    const char *path = joined ? joined : m->path;
    size_t n;
    cf_status status = CF_OK;
    CF_GO(media_file_read(&p->file, &n, path));
    CF_GO(cf_picture_decode(&p->picture, p->file.bytes, n, path));
    m->coded = p->file.bytes, m->n_coded = n;
done:
    cf_free(joined);
    return status;
}

static cf_status walk(void *source, const media_wish *wish, int64_t *n_frames)
{
    pictures *p = source;
    if (!wish->fn) return CF_OK;
    size_t n = wish->frame ? wish->n : (size_t)*n_frames, height = 0, width = 0;
    for (size_t i = 0; i < n; i++) {
        size_t f = wish->frame ? (size_t)wish->frame[i] : i;
        CF_TRY(decode(p, f));
        if (i == 0) height = p->picture.height, width = p->picture.width;
        if (p->picture.height != height || p->picture.width != width)
            return CF_FAIL(CF_EFORMAT, "%s/%s is %zu x %zu, the pictures before it %zu x %zu",
                           p->folder, p->name[f], p->picture.height, p->picture.width, height,
                           width);
        CF_TRY(wish->fn(wish->user, (int64_t)f, &p->picture));
    }
    return CF_OK;
}

static const media_kind kind = { walk, close_pictures };

static cf_status pictures_new(pictures **out, cf_media *m)
{
    pictures *p;
    CF_TRY(cf_alloc_zero(&p, 1, sizeof *p));
    p->media = m;
    m->kind = &kind;
    m->source = *out = p;
    return CF_OK;
}

/* Decoded at once: an input that is no picture is told when it is opened, as of videos. */
cf_status media_open_picture(cf_media *m, const uint8_t *bytes, size_t n)
{
    pictures *p;
    CF_TRY(pictures_new(&p, m));
    p->bytes = bytes;
    p->n_bytes = n;
    m->n_frames = 1;
    CF_TRY(decode(p, 0));
    m->coded = NULL;
    return CF_OK;
}

/* ---- folders --------------------------------------------------------------------------------- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Digits as numbers of any length, the rest by bytes; of equal numbers the shorter writing
 * first. */
static int compare_counting(const char *a, const char *b)
{
    int zeros = 0;
    while (*a || *b) {
        if (!is_digit(*a) || !is_digit(*b)) {
            if (*a != *b) return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
            a++, b++;
            continue;
        }
        const char *from_a = a, *from_b = b;
        while (*a == '0') a++;
        while (*b == '0') b++;
        size_t n = 0, m = 0;
        while (is_digit(a[n])) n++;
        while (is_digit(b[m])) m++;
        if (n != m) return n < m ? -1 : 1;
        int by = memcmp(a, b, n);
        if (by) return by;
        if (!zeros && a - from_a != b - from_b) zeros = a - from_a < b - from_b ? -1 : 1;
        a += n, b += m;
    }
    return zeros;
}

static int compare_names(const void *a, const void *b)
{
    return compare_counting(*(char *const *)a, *(char *const *)b);
}

static bool has_picture_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    return name[0] != '.' && dot &&
           (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg") || !strcasecmp(dot, ".png"));
}

static bool is_img_number(const char *name)
{
    if (strncasecmp(name, "img_", 4) != 0 || !is_digit(name[4])) return false;
    for (name += 4; is_digit(*name); name++) {}
    return *name == '.' && !strchr(name + 1, '.');
}

static cf_status add(pictures *p, const char *name)
{
    CF_TRY(cf_grow(&p->name, &p->capacity, p->n + 1, sizeof *p->name));
    CF_TRY(cf_strdup(&p->name[p->n], name));
    p->n++;
    return CF_OK;
}

static bool is_file(const char *folder, const struct dirent *e)
{
    if (e->d_type != DT_UNKNOWN && e->d_type != DT_LNK) return e->d_type == DT_REG;
    char *path;
    struct stat info;
    if (cf_path_join(&path, folder, e->d_name) != CF_OK) return true; /* reading it will tell */
    bool regular = stat(path, &info) != 0 || S_ISREG(info.st_mode);
    cf_free(path);
    return regular;
}

static cf_status list(pictures *p)
{
    DIR *d = opendir(p->folder);
    if (!d) return CF_FAIL(CF_EIO, "cannot open folder %s: %s", p->folder, strerror(errno));
    cf_status status = CF_OK;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e) break;
        if (has_picture_name(e->d_name) && is_file(p->folder, e)) CF_GO(add(p, e->d_name));
    }
    if (errno) status = CF_FAIL(CF_EIO, "cannot list folder %s: %s", p->folder, strerror(errno));
done:
    closedir(d);
    return status;
}

/* Leaves the files img_NUMBER where there are any. */
static void keep_img_numbers(pictures *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) n += is_img_number(p->name[i]);
    if (n == 0 || n == p->n) return;
    n = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (is_img_number(p->name[i]))
            p->name[n++] = p->name[i];
        else
            cf_free(p->name[i]);
    }
    p->n = n;
}

cf_status media_open_folder(cf_media *m)
{
    pictures *p;
    CF_TRY(pictures_new(&p, m));
    CF_TRY(cf_strdup(&p->folder, m->path));
    CF_TRY(list(p));
    if (p->n == 0)
        return CF_FAIL(CF_EFORMAT, "%s: no pictures (.png, .jpg, .jpeg) in this folder", m->path);
    keep_img_numbers(p);
    qsort(p->name, p->n, sizeof *p->name, compare_names);
    m->n_frames = (int64_t)p->n;
    return CF_OK;
}
