/* A folder as a source: names are paths in it of video files or of folders of pictures. An absolute
 * name stands for itself.
 *
 * Whether the files are there is asked of the system once for each when the dataset is opened, by
 * several threads, since on a network file system each answer takes its time. A reader opens the
 * file anew for each video that it turns to, and holds no other. */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    char *path;
} folder;

static cf_status find(int64_t *video, const void *data, const char *const *name, size_t n)
{
    enum { ASKING = 8 };
    const folder *s = data;
    int root = open(s->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return CF_FAIL(CF_EIO, "cannot open folder %s: %s", s->path, strerror(errno));
#pragma omp parallel for num_threads(ASKING) schedule(static, 64) if (n > 1000)
    for (size_t i = 0; i < n; i++) {
        struct stat info;
        video[i] = fstatat(root, name[i], &info, 0) == 0 ? (int64_t)i : -1;
    }
    close(root);
    return CF_OK;
}

static void close_folder(void *data)
{
    folder *s = data;
    cf_free(s->path);
    cf_free(s);
}

static cf_status open_video(int64_t *n_frames, void *r, int64_t video, const char *name)
{
    media_reader *p = r;
    char *path;
    (void)video;
    media_reader_close(p);
    CF_TRY(cf_path_join(&path, ((const folder *)p->data)->path, name));
    cf_status status = cf_media_open(&p->media, path);
    cf_free(path);
    CF_TRY(status);
    return media_reader_count(n_frames, p);
}

static const source_kind kind = { find,       close_folder,     media_reader_new, media_reader_free,
                                  open_video, media_reader_read };

cf_status source_folder_open(source *out, const char *path)
{
    cf_status status = CF_OK;
    folder *s;
    char *text = NULL;
    CF_TRY(cf_alloc_zero(&s, 1, sizeof *s));
    CF_GO(cf_strdup(&s->path, path));
    CF_GO(cf_format(&text, "folder %s", path));
    *out = (source){ .kind = &kind, .data = s, .what = text };
    s = NULL;
done:
    if (s) close_folder(s);
    return status;
}
