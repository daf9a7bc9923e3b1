/* Walks a folder of videos and counts those that no list names; hidden entries and folders of
 * pictures that are listed themselves are passed over, links to folders not followed. */
#include "data/check_unlisted.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

typedef struct {
    cf_unlisted found;
    const char *root;
    const char *const *listed;
    size_t n_listed;
} walk;

static bool is_video(const char *name)
{
    static const char *const endings[] = { ".mp4", ".avi", ".webm", ".mkv", ".mov", ".gif",
                                           ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".ts" };
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0) return true;
    return false;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_listed(const walk *w, const char *name)
{
    return bsearch(&name, w->listed, w->n_listed, sizeof *w->listed, by_text) != NULL;
}

static cf_status look_at(walk *w, const char *name);

/* `folder` is relative to the root, "" the root itself. */
static cf_status look_into(walk *w, const char *folder)
{
    char *path;
    cf_status status = CF_OK;
    CF_TRY(cf_path_join(&path, w->root, folder));
    DIR *d = opendir(path);
    if (!d) status = CF_FAIL(CF_EIO, "cannot open %s: %s", path, strerror(errno));
    const struct dirent *e;
    while (status == CF_OK && (e = readdir(d))) {
        char *name;
        if (e->d_name[0] == '.') continue;
        status = cf_path_join(&name, folder, e->d_name);
        if (status != CF_OK) break;
        status = look_at(w, name);
        cf_free(name);
    }
    if (d) closedir(d);
    cf_free(path);
    return status;
}

static cf_status look_at(walk *w, const char *name)
{
    char *path;
    struct stat info;
    CF_TRY(cf_path_join(&path, w->root, name));
    bool there = lstat(path, &info) == 0;
    cf_free(path);
    if (!there || is_listed(w, name)) return CF_OK;
    if (S_ISDIR(info.st_mode)) return look_into(w, name);
    if (!is_video(name)) return CF_OK;
    if (w->found.n < CF_UNLISTED_SHOWN) CF_TRY(cf_strdup(&w->found.first[w->found.n], name));
    w->found.n++;
    return CF_OK;
}

cf_status cf_unlisted_find(cf_unlisted *out, const char *root, const char *const *listed,
                           size_t n_listed)
{
    walk w = { .root = root, .listed = listed, .n_listed = n_listed };
    cf_status status = look_into(&w, "");
    if (status == CF_OK)
        *out = w.found;
    else
        cf_unlisted_fini(&w.found);
    return status;
}

void cf_unlisted_fini(cf_unlisted *u)
{
    for (size_t i = 0; i < CF_UNLISTED_SHOWN; i++) cf_free(u->first[i]);
    *u = (cf_unlisted){ 0 };
}
