/* pack_root: where the videos of a pack come from, and what is there when no list says so. */
#include "data/media_parts.h"
#include "data/pack_job.h"

#include "crossframe/h5.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static cf_status open_images(pack_root *r)
{
    cf_h5_info images, labels;
    r->kind = PACK_FROM_IMAGES;
    CF_TRY(cf_h5_open(&r->h5, r->path));
    if (cf_h5_has_attr(r->h5, "/", "format"))
        return CF_FAIL(CF_EINVAL, "%s: is a packed dataset already", r->path);
    if (!cf_h5_exists(r->h5, "/images") || !cf_h5_exists(r->h5, "/labels"))
        return CF_FAIL(CF_EFORMAT,
                       "%s: an HDF5 file to pack from has datasets `images` and `labels`; one file "
                       "a video goes by its folder",
                       r->path);
    CF_TRY(cf_h5_dataset_info(&images, r->h5, "/images"));
    CF_TRY(cf_h5_dataset_info(&labels, r->h5, "/labels"));
    if (images.class != CF_H5_ROWS || images.rank != 1)
        return CF_FAIL(CF_EFORMAT, "%s: /images does not hold pictures as rows of bytes", r->path);
    if (labels.rank != 1 || labels.n != images.n)
        return CF_FAIL(CF_EFORMAT, "%s: /images has %zu rows, /labels %zu", r->path, images.n,
                       labels.n);
    return CF_OK;
}

static cf_status open_file(pack_root *r)
{
    uint8_t head[8];
    int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return CF_FAIL(errno == ENOENT || errno == ENOTDIR ? CF_ENOTFOUND : CF_EIO,
                       "cannot open %s: %s", r->path, strerror(errno));
    ssize_t n = read(fd, head, sizeof head);
    close(fd);
    if (n > 0 && media_is_hdf5(head, (size_t)n)) return open_images(r);
    r->kind = PACK_FROM_TAR;
    return cf_tar_open(&r->tar, r->path);
}

cf_status pack_root_open(pack_root *r, const char *path)
{
    *r = (pack_root){ .kind = PACK_FROM_FOLDER, .path = path };
    return cf_is_folder(path) ? CF_OK : open_file(r);
}

void pack_root_close(pack_root *r)
{
    cf_tar_close(r->tar);
    cf_h5_close(r->h5);
    *r = (pack_root){ 0 };
}

cf_status pack_root_media(cf_media **out, uint8_t **bytes, const pack_root *r, size_t entry,
                          const char *name)
{
    size_t n;
    if (r->kind == PACK_FROM_TAR) {
        const uint8_t *member;
        CF_TRY(cf_tar_find(&member, &n, r->tar, name));
        return cf_media_open_memory(out, member, n, name);
    }
    char *path;
    cf_status status;
    if (r->kind == PACK_FROM_IMAGES) {
        CF_TRY(cf_h5_read_row(bytes, &n, r->h5, "/images", entry));
        CF_TRY(cf_format(&path, "%s: /images row %zu", r->path, entry));
        status = cf_media_open_memory(out, *bytes, n, path);
    } else {
        CF_TRY(cf_path_join(&path, r->path, name));
        status = cf_media_open(out, path);
    }
    cf_free(path);
    return status;
}

bool pack_root_has(const pack_root *r, const char *name)
{
    const uint8_t *bytes;
    size_t n;
    char *path;
    if (r->kind == PACK_FROM_TAR) return cf_tar_find(&bytes, &n, r->tar, name) != CF_ENOTFOUND;
    if (cf_path_join(&path, r->path, name) != CF_OK) return false;
    bool has = cf_file_exists(path);
    cf_free(path);
    return has;
}

/* ---- what is there --------------------------------------------------------------------------- */

static int visible(const struct dirent *e) { return e->d_name[0] != '.'; }
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool is_frame_name(const char *name)
{
    return strncasecmp(name, "img_", 4) == 0 && name[4] >= '0' && name[4] <= '9';
}

static cf_status walk_class(const pack_root *r, const char *class, pack_found *found, void *user)
{
    char *folder, *name = NULL;
    struct dirent **items = NULL;
    cf_status status = CF_OK;
    CF_TRY(cf_path_join(&folder, r->path, class));
    int n = scandir(folder, &items, visible, by_bytes);
    if (n < 0) CF_GO(CF_FAIL(CF_EIO, "cannot list folder %s: %s", folder, strerror(errno)));
    for (int i = 0; i < n; i++) {
        if (is_frame_name(items[i]->d_name))
            CF_GO(CF_FAIL(CF_EINVAL,
                          "%s holds frames of one video (%s); without --list the folders in --root "
                          "are classes, and videos lie in them",
                          folder, items[i]->d_name));
        CF_GO(cf_path_join(&name, class, items[i]->d_name));
        CF_GO(found(user, name, class));
        cf_free(name);
        name = NULL;
    }
done:
    for (int i = 0; i < n; i++) free(items[i]);
    free(items);
    cf_free(name);
    cf_free(folder);
    return status;
}

static cf_status walk_folder(const pack_root *r, pack_found *found, void *user)
{
    struct dirent **classes = NULL;
    size_t n_classes = 0;
    cf_status status = CF_OK;
    int n = scandir(r->path, &classes, visible, by_bytes);
    if (n < 0) return CF_FAIL(CF_EIO, "cannot list folder %s: %s", r->path, strerror(errno));
    for (int i = 0; i < n; i++) {
        char *path;
        CF_GO(cf_path_join(&path, r->path, classes[i]->d_name));
        bool folder = cf_is_folder(path);
        cf_free(path);
        if (!folder) continue;
        n_classes++;
        CF_GO(walk_class(r, classes[i]->d_name, found, user));
    }
    if (n_classes == 0)
        status = CF_FAIL(CF_EINVAL, "%s holds no folders of classes; name the videos by --list",
                         r->path);
done:
    for (int i = 0; i < n; i++) free(classes[i]);
    free(classes);
    return status;
}

/* The class is the folder that the file lies in. */
static cf_status walk_tar(const pack_root *r, pack_found *found, void *user)
{
    for (size_t i = 0; i < cf_tar_size(r->tar); i++) {
        const uint8_t *bytes;
        size_t n;
        const char *name = cf_tar_get(&bytes, &n, r->tar, i), *slash = strrchr(name, '/');
        if ((slash ? slash[1] : name[0]) == '.') continue;
        if (!slash)
            return CF_FAIL(CF_EINVAL,
                           "%s: %s lies in no folder that could be its class; name the videos by "
                           "--list",
                           r->path, name);
        const char *from = slash;
        while (from > name && from[-1] != '/') from--;
        char *class;
        CF_TRY(cf_format(&class, "%.*s", (int)(slash - from), from));
        cf_status status = found(user, name, class);
        cf_free(class);
        CF_TRY(status);
    }
    return CF_OK;
}

cf_status pack_root_walk(const pack_root *r, pack_found *found, void *user)
{
    return r->kind == PACK_FROM_TAR ? walk_tar(r, found, user) : walk_folder(r, found, user);
}
