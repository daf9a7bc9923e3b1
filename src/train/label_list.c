/* Where DATA.LABEL_LIST is.
 *
 * Published files say labels/kinetics_400_labels.csv, from the folder of their program. The first
 * of these that exists is read: the path as it stands; beside the YAML file that gave it (or that
 * -c named), then in the folder above, and the one above that, as published files stand in
 * configs/NAME; and where the name is that of a published list, the list of the same classes that
 * is shipped. */
#include "train/run.h"

#include <string.h>

enum { FOLDERS = 3 };

static const struct {
    const char *published, *shipped;
} lists[] = {
    { "kinetics_400_labels.csv", "kinetics400.csv" },
    { "kinetics_600_labels.csv", "kinetics600.csv" },
    { "hmdb_51_labels.csv", "hmdb51.csv" },
    { "ucf_101_labels.csv", "ucf101.csv" },
};

static const char *shipped_name(const char *list)
{
    const char *slash = strrchr(list, '/'), *name = slash ? slash + 1 : list;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (strcmp(name, lists[i].published) == 0 || strcmp(name, lists[i].shipped) == 0)
            return lists[i].shipped;
    return NULL;
}

/* The YAML file that gave the list, or that the configuration was loaded from; "" if neither. */
static cf_status yaml_of(char **out, const cf_config *c)
{
    const char *origin = cf_config_origin(c, "DATA.LABEL_LIST"), *colon = strrchr(origin, ':');
    bool line = colon && colon[1] && colon[1 + strspn(colon + 1, "0123456789")] == 0;
    if (!line) return cf_strdup(out, c->path);
    return cf_format(out, "%.*s", (int)(colon - origin), origin);
}

static cf_status folder_above(char **out, const char *folder)
{
    size_t n = strlen(folder);
    bool dots = strcmp(folder, ".") == 0, up = n >= 2 && strcmp(folder + n - 2, "..") == 0;
    if (dots) return cf_strdup(out, "..");
    return up ? cf_path_join(out, folder, "..") : cf_path_folder(out, folder);
}

/* *out stays NULL if no folder has it; `places` gets each that was looked at. */
static cf_status find_beside(char **out, char **places, const cf_config *c)
{
    char *yaml = NULL, *folder = NULL, *path = NULL, *next = NULL;
    cf_status status = CF_OK;
    CF_GO(yaml_of(&yaml, c));
    if (!*yaml || c->data.label_list[0] == '/') goto done;
    CF_GO(cf_path_folder(&folder, yaml));
    for (int i = 0; i < FOLDERS; i++) {
        bool here = strcmp(folder, ".") == 0;
        CF_GO(cf_path_join(&path, here ? "" : folder, c->data.label_list));
        if (cf_file_exists(path)) {
            *out = path;
            path = NULL;
            goto done;
        }
        CF_GO(cf_format(&next, "%s%s%s", *places, **places ? ", " : "", folder));
        cf_free(*places);
        *places = next;
        next = NULL;
        CF_GO(folder_above(&next, folder));
        cf_free(folder);
        cf_free(path);
        folder = next;
        path = next = NULL;
        if (strcmp(folder, "/") == 0) break;
    }
done:
    cf_free(next);
    cf_free(path);
    cf_free(folder);
    cf_free(yaml);
    return status;
}

static cf_status find_shipped(char **out, const cf_config *c, const char *share)
{
    const char *name = shipped_name(c->data.label_list);
    char *folder = NULL, *path = NULL;
    cf_status status = CF_OK;
    if (!name || !share || c->data.label_list[0] == '/') return CF_OK;
    CF_GO(cf_path_join(&folder, share, "labels"));
    CF_GO(cf_path_join(&path, folder, name));
    if (cf_file_exists(path)) {
        *out = path;
        path = NULL;
    }
done:
    cf_free(path);
    cf_free(folder);
    return status;
}

cf_status cf_label_list_find(char **out, cf_config *c, const char *share)
{
    const char *list = c->data.label_list;
    char *found = NULL, *places = NULL;
    cf_status status = CF_OK;
    if (cf_file_exists(list)) return cf_strdup(out, list);
    CF_GO(cf_strdup(&places, ""));
    CF_GO(find_beside(&found, &places, c));
    bool beside = found != NULL;
    if (!found) CF_GO(find_shipped(&found, c, share));
    if (!found)
        CF_GO(CF_FAIL(CF_ENOTFOUND, "configuration: DATA.LABEL_LIST %s does not exist%s%s%s (%s)",
                      list, *places ? ", nor in " : "", places,
                      !shipped_name(list) ? ""
                      : share             ? ", nor is it shipped"
                                          : ", and no shipped lists are there",
                      cf_config_origin(c, "DATA.LABEL_LIST")));
    cf_log(CF_LOG_INFO, "DATA.LABEL_LIST %s: %s is read", list, found);
    if (beside)
        CF_GO(cf_config_set_plain(c, "DATA.LABEL_LIST", found,
                                  cf_config_origin(c, "DATA.LABEL_LIST")));
    *out = found;
    found = NULL;
done:
    cf_free(places);
    cf_free(found);
    return status;
}
