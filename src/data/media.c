/* media: one interface for whatever has frames. Which kind it is, is told by content; the kinds are
 * media_folder.c (folders and single pictures), media_rows.c (HDF5) and media_video.c. Here is what
 * they share: what a caller may ask for, and what is known of the number of frames. */
#include "data/media_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static cf_status media_new(cf_media **out, const char *path)
{
    cf_media *m;
    CF_TRY(cf_alloc_zero(&m, 1, sizeof *m));
    m->n_frames = -1;
    m->threads = 1;
    cf_status status = cf_strdup(&m->path, path);
    if (status == CF_OK)
        *out = m;
    else
        cf_free(m);
    return status;
}

/* A stream of JPEGs, one behind the other, begins like a picture and is a video. */
static bool is_picture(const uint8_t *bytes, size_t n)
{
    jpeg_head head;
    if (!jpeg_is_one(bytes, n)) return png_is_one(bytes, n);
    return jpeg_head_read(&head, bytes, n, "") != CF_OK || !head.followed;
}

static cf_status open_bytes(cf_media *m, const uint8_t *bytes, size_t n)
{
    if (n == 0) return CF_FAIL(CF_EFORMAT, "%s is empty", m->path);
    if (is_picture(bytes, n)) return media_open_picture(m, bytes, n);
    return media_open_video(m, bytes, n);
}

/* First bytes of a file, at most n. */
static cf_status peek(uint8_t *to, size_t *got, size_t n, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return CF_FAIL(errno == ENOENT || errno == ENOTDIR ? CF_ENOTFOUND : CF_EIO,
                       "cannot open %s: %s", path, strerror(errno));
    ssize_t r;
    do r = read(fd, to, n);
    while (r < 0 && errno == EINTR);
    int why = errno;
    close(fd);
    if (r < 0) return CF_FAIL(CF_EIO, "cannot read %s: %s", path, strerror(why));
    *got = (size_t)r;
    return CF_OK;
}

static cf_status open_file(cf_media *m)
{
    uint8_t head[16];
    size_t n;
    struct stat info;
    if (stat(m->path, &info) == 0 && !S_ISREG(info.st_mode)) /* a pipe would make us wait */
        return CF_FAIL(CF_EUNSUPPORTED, "%s is neither a file nor a folder", m->path);
    CF_TRY(peek(head, &n, sizeof head, m->path));
    if (n == 0) return CF_FAIL(CF_EFORMAT, "%s is empty", m->path);
    if (media_is_hdf5(head, n)) return media_open_rows(m);
    if (!jpeg_is_one(head, n) && !png_is_one(head, n)) return media_open_video(m, NULL, 0);
    cf_bytes file = { 0 };
    cf_status status = media_file_read(&file, &n, m->path);
    bool picture = status == CF_OK && is_picture(file.bytes, n);
    cf_bytes_fini(&file);
    CF_TRY(status);
    return picture ? media_open_picture(m, NULL, 0) : media_open_video(m, NULL, 0);
}

cf_status cf_media_open(cf_media **out, const char *path)
{
    cf_media *m;
    CF_TRY(media_new(&m, path));
    cf_status status = cf_is_folder(path) ? media_open_folder(m) : open_file(m);
    if (status == CF_OK)
        *out = m;
    else
        cf_media_close(m);
    return status;
}

cf_status cf_media_open_memory(cf_media **out, const uint8_t *bytes, size_t n, const char *name)
{
    cf_media *m;
    CF_TRY(media_new(&m, name));
    cf_status status = open_bytes(m, bytes, n);
    if (status == CF_OK)
        *out = m;
    else
        cf_media_close(m);
    return status;
}

void cf_media_close(cf_media *m)
{
    if (!m) return;
    if (m->source) m->kind->close(m->source);
    cf_free(m->path);
    cf_free(m);
}

const char *cf_media_path(const cf_media *m) { return m->path; }
double cf_media_fps(const cf_media *m) { return m->fps; }
void cf_media_set_threads(cf_media *m, int n) { m->threads = n < 1 ? 1 : n; }

static cf_status walk(cf_media *m, const media_wish *wish)
{
    int64_t n = m->n_frames;
    cf_status status = m->kind->walk(m->source, wish, &n);
    m->coded = NULL;
    if (status == CF_OK) m->n_frames = n;
    return status;
}

cf_status cf_media_count(int64_t *n_frames, cf_media *m)
{
    if (m->n_frames < 0) CF_TRY(walk(m, &(media_wish){ 0 }));
    CF_ASSERT(m->n_frames >= 1);
    *n_frames = m->n_frames;
    return CF_OK;
}

static cf_status beyond(const cf_media *m, int64_t frame)
{
    return CF_FAIL(CF_EINVAL, "%s has %lld frames, asked for frame %lld", m->path,
                   (long long)m->n_frames, (long long)frame);
}

cf_status cf_media_read(cf_media *m, const int64_t *frame, size_t n, cf_media_fn *fn, void *user)
{
    for (size_t i = 0; frame && i < n; i++)
        if (frame[i] <= (i > 0 ? frame[i - 1] : -1))
            return CF_FAIL(CF_EINVAL, "%s: frames must be asked for in rising order, from 0 on",
                           m->path);
    if (frame && n == 0) return CF_OK;
    if (frame && m->n_frames >= 0 && frame[n - 1] >= m->n_frames) return beyond(m, frame[n - 1]);
    CF_TRY(walk(m, &(media_wish){ frame, n, fn, user }));
    /* The walk learns the number only by coming to the end before the last frame wished for. */
    if (frame && m->n_frames >= 0 && frame[n - 1] >= m->n_frames) return beyond(m, frame[n - 1]);
    return CF_OK;
}

bool cf_media_coded(const uint8_t **bytes, size_t *n, cf_encoding *encoding, const cf_media *m)
{
    jpeg_head head;
    if (!m->coded) return false;
    bool jpeg = jpeg_is_one(m->coded, m->n_coded);
    if (jpeg && (jpeg_head_read(&head, m->coded, m->n_coded, "") != CF_OK || head.orientation != 1))
        return false;
    *bytes = m->coded;
    *n = m->n_coded;
    *encoding = jpeg ? CF_ENCODING_JPEG : CF_ENCODING_PNG;
    return true;
}
