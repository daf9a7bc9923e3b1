/* What a path names: packs in one of five ways, a folder of videos, a tar.
 *
 * A path that exists as it is written is never taken apart, so names with commas, brackets or '#'
 * work. The order of packs, which is the order of the dataset, is that of their names' bytes where
 * the caller gives none. */
#include "source.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcasecmp(s + n - m, end) == 0;
}

static bool has_pack_name(const char *path)
{
    return ends_with(path, ".h5") || ends_with(path, ".hdf5");
}

static bool exists(const char *path) { return cf_file_exists(path) || cf_is_folder(path); }

/* First bytes of a file; 0 if it cannot be read. */
static size_t peek(char *to, size_t n, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) return 0;
    n = fread(to, 1, n, f);
    fclose(f);
    return n;
}

bool cf_path_is_pack(const char *path)
{
    char head[8];
    if (cf_is_folder(path)) return false;
    if (has_pack_name(path)) return true;
    return peek(head, sizeof head, path) == sizeof head &&
           memcmp(head, "\211HDF\r\n\032\n", sizeof head) == 0;
}

/* ---- lists of paths -------------------------------------------------------------------------- */

typedef struct {
    char **path;
    size_t n, capacity;
} paths;

/* Takes over `path`, also on failure. */
static cf_status add(paths *p, char *path)
{
    cf_status status = cf_grow(&p->path, &p->capacity, p->n + 1, sizeof *p->path);
    if (status != CF_OK) {
        cf_free(path);
        return status;
    }
    p->path[p->n++] = path;
    return CF_OK;
}

void source_paths_free(char **path, size_t n)
{
    for (size_t i = 0; i < n; i++) cf_free(path[i]);
    cf_free(path);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static cf_status add_pattern(paths *p, const char *pattern)
{
    glob_t found = { 0 };
    cf_status status = CF_OK;
    char *copy;
    int code = glob(pattern, GLOB_NOSORT, NULL, &found);
    if (code == GLOB_NOMATCH)
        CF_GO(CF_FAIL(CF_ENOTFOUND, "%s: no file has a name like this", pattern));
    if (code != 0) CF_GO(CF_FAIL(CF_EIO, "cannot look for %s: %s", pattern, strerror(errno)));
    size_t before = p->n;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        CF_GO(cf_strdup(&copy, found.gl_pathv[i]));
        CF_GO(add(p, copy));
    }
    qsort(p->path + before, p->n - before, sizeof *p->path, by_bytes);
done:
    globfree(&found);
    return status;
}

static cf_status add_folder(paths *p, const char *folder)
{
    cf_status status = CF_OK;
    DIR *d = opendir(folder);
    char *path;
    if (!d) return CF_FAIL(CF_EIO, "cannot open folder %s: %s", folder, strerror(errno));
    for (const struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.' || !has_pack_name(e->d_name)) continue;
        CF_GO(cf_path_join(&path, folder, e->d_name));
        CF_GO(cf_is_folder(path) ? (cf_free(path), CF_OK) : add(p, path));
    }
    if (p->n) qsort(p->path, p->n, sizeof *p->path, by_bytes);
done:
    closedir(d);
    return status;
}

/* One part of "a.h5,b.h5": a path or a pattern. */
static cf_status add_part(paths *p, const char *part)
{
    char *copy;
    if (!exists(part) && strpbrk(part, "*?[")) return add_pattern(p, part);
    CF_TRY(cf_strdup(&copy, part));
    return add(p, copy);
}

static cf_status add_parts(paths *p, const char *text)
{
    cf_status status = CF_OK;
    char *copy, *part;
    CF_TRY(cf_strdup(&copy, text));
    for (char *rest = copy; (part = strsep(&rest, ","));) {
        part += strspn(part, " ");
        if (!*part) CF_GO(CF_FAIL(CF_EINVAL, "%s: a name between commas is empty", text));
        CF_GO(add_part(p, part));
    }
done:
    cf_free(copy);
    return status;
}

/* ---- a text file of packs -------------------------------------------------------------------- */

#define SPACES " \t\r\n\v\f"

/* Cuts blanks off both ends of a line. */
static char *trim(char *line)
{
    line += strspn(line, SPACES);
    for (char *end = line + strlen(line); end > line && strchr(SPACES, end[-1]);) *--end = 0;
    return line;
}

/* Whether its first line with something in it is a pack's name, and so no `path label`. */
static bool is_list_of_packs(const char *path)
{
    char head[4097];
    size_t n = peek(head, sizeof head - 1, path);
    head[n] = 0;
    if (memchr(head, 0, n)) return false;
    char *line = head + strspn(head, SPACES);
    line[strcspn(line, "\r\n")] = 0;
    return has_pack_name(trim(line));
}

static cf_status add_line(paths *p, const char *folder, const char *line)
{
    char *path;
    if (!*line) return CF_OK;
    if (!has_pack_name(line))
        return CF_FAIL(CF_EFORMAT, "'%.80s' is not a pack's name (.h5, .hdf5), as line 1 has it",
                       line);
    CF_TRY(cf_path_join(&path, folder, line));
    return add(p, path);
}

static cf_status add_list(paths *p, const char *list)
{
    cf_status status = CF_OK;
    char *text = NULL, *folder = NULL, *line;
    size_t n, number = 1;
    CF_GO(cf_file_read(&text, &n, list));
    CF_GO(cf_path_folder(&folder, list));
    if (memchr(text, 0, n)) CF_GO(CF_FAIL(CF_EFORMAT, "%s: not a list of text lines", list));
    for (char *rest = text; (line = strsep(&rest, "\n")); number++) {
        status = add_line(p, folder, trim(line));
        if (status != CF_OK) {
            cf_fail_context(status, "%s, line %zu", list, number);
            goto done;
        }
    }
done:
    cf_free(text);
    cf_free(folder);
    return status;
}

cf_status source_pack_paths(char ***out, size_t *n, const char *path)
{
    paths p = { 0 };
    cf_status status = CF_OK;
    if (cf_is_folder(path))
        CF_GO(add_folder(&p, path));
    else if (cf_path_is_pack(path) && exists(path))
        CF_GO(add_part(&p, path));
    else if (cf_file_exists(path) && is_list_of_packs(path))
        CF_GO(add_list(&p, path));
    else if (!exists(path) && strchr(path, ','))
        CF_GO(add_parts(&p, path));
    else if (!exists(path) && (strpbrk(path, "*?[") || has_pack_name(path)))
        CF_GO(add_part(&p, path));
    *out = p.path;
    *n = p.n;
    return CF_OK;
done:
    source_paths_free(p.path, p.n);
    return status;
}

/* ---- DATA.ROOT ------------------------------------------------------------------------------- */

void source_close(source *s)
{
    if (s->kind) s->kind->close(s->data);
    cf_free(s->what);
    *s = (source){ 0 };
}

/* A folder that holds packs is a folder of videos if the list's first video lies in it. */
static cf_status is_folder_of_videos(bool *yes, const char *root, const char *first_name)
{
    char *path;
    *yes = false;
    if (!cf_is_folder(root)) return CF_OK;
    CF_TRY(cf_path_join(&path, root, first_name));
    *yes = exists(path);
    cf_free(path);
    return CF_OK;
}

static cf_status open_files(source *out, const char *root)
{
    if (cf_is_folder(root)) return source_folder_open(out, root);
    if (!cf_file_exists(root)) return CF_FAIL(CF_ENOTFOUND, "DATA.ROOT %s does not exist", root);
    CF_TRY_CTX(source_tar_open(out, root),
               "DATA.ROOT is neither a pack, a list of packs nor a folder; as a tar");
    return CF_OK;
}

cf_status source_open(source *out, const char *root, const char *first_name)
{
    char **path = NULL;
    size_t n = 0;
    bool videos;
    CF_TRY(is_folder_of_videos(&videos, root, first_name));
    if (!videos) CF_TRY(source_pack_paths(&path, &n, root));
    cf_status status = n > 0 ? source_packs_open(out, root, path, n) : open_files(out, root);
    source_paths_free(path, n);
    return status;
}
