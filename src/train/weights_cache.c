/* Short names of published weights, and the folder where scripts/get-weights puts them.
 *
 * A name is what the architecture or the release calls it; its file keeps the published file name.
 * A file or folder that is really called so always comes first. The library is told the folder; who
 * reads the environment is the command line. */
#include "crossframe/train.h"

#include <string.h>

/* The same as `scripts/get-weights --list`; tests/cli/test_get_weights.sh holds it. */
static const struct {
    const char *name, *file;
} published[] = {
    { "ViT-B/32", "ViT-B-32.pt" },
    { "ViT-B/16", "ViT-B-16.pt" },
    { "ViT-L/14", "ViT-L-14.pt" },
    { "ViT-L/14@336px", "ViT-L-14-336px.pt" },
    { "k400_32_8", "k400_32_8.pth" },
    { "k400_32_16", "k400_32_16.pth" },
    { "k400_16_8", "k400_16_8.pth" },
    { "k400_16_16", "k400_16_16.pth" },
    { "k600_16_8", "k600_16_8.pth" },
    { "k600_16_16", "k600_16_16.pth" },
    { "few_hmdb_2", "few_hmdb_2.pth" },
    { "few_hmdb_4", "few_hmdb_4.pth" },
    { "few_hmdb_8", "few_hmdb_8.pth" },
    { "few_hmdb_16", "few_hmdb_16.pth" },
    { "few_ucf_2", "few_ucf_2.pth" },
    { "few_ucf_4", "few_ucf_4.pth" },
    { "few_ucf_8", "few_ucf_8.pth" },
    { "few_ucf_16", "few_ucf_16.pth" },
    { "zero", "zero.pth" },
};

const char *cf_published_file(const char *name)
{
    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        if (strcmp(name, published[i].name) == 0) return published[i].file;
    return NULL;
}

cf_status cf_weights_locate(char **out, const char *path_or_name, const char *cache)
{
    const char *file = cf_published_file(path_or_name);
    char *path;
    if (!file || cf_file_exists(path_or_name) || cf_is_folder(path_or_name))
        return cf_strdup(out, path_or_name);
    if (!cache)
        return CF_FAIL(CF_ENOTFOUND, "%s: there is no such file; get it: scripts/get-weights %s",
                       path_or_name, path_or_name);
    CF_TRY(cf_path_join(&path, cache, file));
    if (!cf_file_exists(path)) {
        cf_free(path);
        return CF_FAIL(CF_ENOTFOUND, "%s: there is no %s/%s; get it: scripts/get-weights %s",
                       path_or_name, cache, file, path_or_name);
    }
    *out = path;
    return CF_OK;
}
