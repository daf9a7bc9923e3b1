/* Opening weights: what a path leads to is told by the first bytes that are there. */
#include "crossframe/weights.h"

#include "crossframe/json.h"
#include "models/weights/container.h"
#include "models/weights/zip.h"

#include <string.h>

enum { MOST_SHARDS = 1000, DEEPEST = 4 };

/* ---- one file -------------------------------------------------------------------------------- */

static bool starts_with(const void *bytes, size_t n, const void *start, size_t length)
{
    return n >= length && memcmp(bytes, start, length) == 0;
}

/* The number 0x1950a86a20f9469cfc6c as a pickle of protocol 2, or the tar from before that. */
static bool is_old_pytorch(const void *bytes, size_t n)
{
    static const char magic[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    return starts_with(bytes, n, magic, sizeof magic - 1) ||
           (n > 262 && memcmp((const char *)bytes + 257, "ustar", 5) == 0);
}

static bool is_json(const char *bytes, size_t n)
{
    size_t i = 0;
    while (i < n && i < 64 && bytes[i] != 0 && strchr(" \t\r\n", bytes[i])) i++;
    return i < n && bytes[i] == '{';
}

static cf_status refuse(const void *bytes, size_t n, const char *name)
{
    static const char lfs[] = "version https://git-lfs";
    if (is_old_pytorch(bytes, n))
        return CF_FAIL(CF_EUNSUPPORTED,
                       "%s is in PyTorch's format from before 1.6; convert it: python3 -c \"import "
                       "torch; torch.save(torch.load('old.pt', map_location='cpu'), 'new.pt')\"",
                       name);
    if (starts_with(bytes, n, lfs, sizeof lfs - 1))
        return CF_FAIL(CF_EFORMAT, "%s is a pointer of Git LFS, not the file itself: git lfs pull",
                       name);
    if (is_json(bytes, n))
        return CF_FAIL(CF_EFORMAT, "%s is JSON; only an index of shards on disk leads to weights",
                       name);
    return CF_FAIL(
        CF_EFORMAT,
        "%s is not a safetensors file, nor an archive of PyTorch, nor an index of shards", name);
}

static cf_status open_bytes(cf_weights *w, const void *bytes, size_t n, const char *name)
{
    if (cf_zip_looks_like(bytes, n)) return cf_torch_into(w, bytes, n, name);
    if (cf_st_looks_like(bytes, n)) return cf_safetensors_into(w, bytes, n, name);
    return refuse(bytes, n, name);
}

/* ---- shards ---------------------------------------------------------------------------------- */

typedef struct {
    cf_weights *w;
    const char *path;
    const char *file[MOST_SHARDS]; /* borrowed from the JSON */
    size_t n;
} shards;

static size_t shard_of(const shards *s, const char *file)
{
    size_t i = 0;
    while (i < s->n && strcmp(s->file[i], file) != 0) i++;
    return i;
}

/* A shard is a file beside the index: no path that leads elsewhere. */
static cf_status add_shard(shards *s, const cJSON *item)
{
    if (!cJSON_IsString(item))
        return CF_FAIL(CF_EFORMAT, "%s: the file of tensor %s is no text", s->path, item->string);
    const char *file = item->valuestring;
    if (file[0] == 0 || strpbrk(file, "/\\") || strcmp(file, ".") == 0 || strcmp(file, "..") == 0)
        return CF_FAIL(CF_EFORMAT,
                       "%s: tensor %s is said to be in %s, which is no file beside the "
                       "index",
                       s->path, item->string, file);
    if (shard_of(s, file) < s->n) return CF_OK;
    if (s->n == MOST_SHARDS)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: more than %d shards", s->path, MOST_SHARDS);
    s->file[s->n++] = file;
    return CF_OK;
}

static cf_status open_shard(shards *s, const char *folder, const char *file)
{
    char *path;
    const void *bytes;
    size_t n;
    CF_TRY(cf_path_join(&path, folder, file));
    cf_status status = cf_weights_map_file(&bytes, &n, s->w, path);
    if (status == CF_OK) status = open_bytes(s->w, bytes, n, path);
    cf_free(path);
    if (status != CF_OK) return cf_fail_context(status, "%s", s->path), status;
    return CF_OK;
}

/* Each tensor that the index lists is in the shard it names. */
static cf_status check_listed(const shards *s, const cJSON *map)
{
    const cJSON *item;
    CF_TRY(cf_weights_index(s->w));
    cJSON_ArrayForEach(item, map)
    {
        const cf_weight *t = cf_weights_find(s->w, item->string);
        size_t shard = shard_of(s, item->valuestring);
        if (!t ||
            ((const cf_weight_entry *)t)->part[0].container != cf_weights_container_at(s->w, shard))
            return CF_FAIL(CF_EFORMAT, "%s: tensor %s is not in %s", s->path, item->string,
                           item->valuestring);
    }
    return CF_OK;
}

static cf_status open_index(cf_weights *w, const char *path, const char *text, size_t n)
{
    cJSON *root = NULL;
    char *folder = NULL;
    shards *s = NULL;
    const cJSON *item;
    cf_status status = CF_OK;
    CF_GO(cf_json_parse(&root, path, "the index", text, n, DEEPEST));
    CF_GO(cf_alloc_zero(&s, 1, sizeof *s));
    s->w = w;
    s->path = path;
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(root, "weight_map");
    if (!cJSON_IsObject(map) || !map->child)
        CF_GO(CF_FAIL(CF_EFORMAT, "%s: no index of shards: it has no weight_map", path));
    cJSON_ArrayForEach(item, map) { CF_GO(add_shard(s, item)); }
    CF_GO(cf_path_folder(&folder, path));
    for (size_t i = 0; i < s->n; i++) CF_GO(open_shard(s, folder, s->file[i]));
    CF_GO(check_listed(s, map));
done:
    cJSON_Delete(root);
    cf_free(folder);
    cf_free(s);
    return status;
}

/* ---- folders --------------------------------------------------------------------------------- */

static cf_status find_in_folder(char **out, const char *folder)
{
    static const char *const names[] = { "model.safetensors", "model.safetensors.index.json",
                                         "pytorch_model.bin", "pytorch_model.bin.index.json" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path;
        CF_TRY(cf_path_join(&path, folder, names[i]));
        if (cf_file_exists(path)) {
            *out = path;
            return CF_OK;
        }
        cf_free(path);
    }
    return CF_FAIL(CF_ENOTFOUND, "folder %s has no %s, %s, %s or %s", folder, names[0], names[1],
                   names[2], names[3]);
}

/* ---- opening --------------------------------------------------------------------------------- */

static cf_status open_file(cf_weights *w, const char *path)
{
    const void *bytes;
    size_t n;
    CF_TRY(cf_weights_map_file(&bytes, &n, w, path));
    return is_json(bytes, n) ? open_index(w, path, bytes, n) : open_bytes(w, bytes, n, path);
}

/* Gives w to *out, or frees it. */
static cf_status hand_over(cf_weights **out, cf_weights *w, cf_status status)
{
    if (status == CF_OK) status = cf_weights_finish(w);
    if (status == CF_OK)
        *out = w;
    else
        cf_weights_close(w);
    return status;
}

cf_status cf_weights_open(cf_weights **out, const char *path)
{
    cf_weights *w;
    char *found = NULL;
    if (cf_is_folder(path)) CF_TRY(find_in_folder(&found, path));
    cf_status status = cf_weights_new(&w, found ? found : path);
    if (status == CF_OK) status = hand_over(out, w, open_file(w, found ? found : path));
    cf_free(found);
    return status;
}

cf_status cf_weights_open_memory(cf_weights **out, const void *bytes, size_t n, const char *name)
{
    cf_weights *w;
    CF_TRY(cf_weights_new(&w, name));
    return hand_over(out, w, open_bytes(w, bytes, n, name));
}
