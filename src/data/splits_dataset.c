/* Lists of what a dataset holds: all of it, or some of its classes under numbers of their own. */
#include "crossframe/splits.h"

#include <string.h>

#include "splits_parts.h"

cf_status cf_split_dataset(cf_split *out, const cf_dataset *d)
{
    for (size_t i = 0; i < cf_dataset_size(d); i++) {
        if (cf_dataset_label(d, i) < 0) continue;
        CF_TRY(split_add(out, cf_dataset_name(d, i), cf_dataset_label(d, i)));
    }
    return CF_OK;
}

/* new_label[k]: the place of class k's name among those named, -1: it is not named. */
static cf_status number_classes(int32_t *new_label, const cf_dataset *d,
                                const cf_split_classes *named)
{
    size_t n = cf_dataset_n_classes(d);
    for (size_t k = 0; k < n; k++) new_label[k] = -1;
    for (size_t i = 0; i < named->n; i++) {
        const char *name = named->name[i];
        size_t k = 0;
        while (k < n && !split_same_name(name, strlen(name), cf_dataset_class_name(d, k),
                                         strlen(cf_dataset_class_name(d, k))))
            k++;
        if (k == n)
            return CF_FAIL(CF_EINVAL, "%s has no class \"%.100s\"", cf_dataset_path(d), name);
        new_label[k] = (int32_t)i;
    }
    return CF_OK;
}

cf_status cf_split_named(cf_split *out, const cf_dataset *d, const cf_split_classes *named)
{
    cf_status status = CF_OK;
    int32_t *new_label = NULL;
    size_t *found = NULL;
    CF_GO(cf_alloc(&new_label, cf_dataset_n_classes(d), sizeof *new_label));
    CF_GO(cf_alloc_zero(&found, named->n, sizeof *found));
    CF_GO(number_classes(new_label, d, named));
    for (size_t i = 0; i < cf_dataset_size(d); i++) {
        int32_t label = cf_dataset_label(d, i);
        if (label < 0 || new_label[label] < 0) continue;
        CF_GO(split_add(out, cf_dataset_name(d, i), new_label[label]));
        found[new_label[label]]++;
    }
    for (size_t i = 0; i < named->n; i++)
        if (found[i] == 0)
            CF_GO(CF_FAIL(CF_EINVAL, "%s has no video of class \"%.100s\"", cf_dataset_path(d),
                          named->name[i]));
done:
    cf_free(new_label);
    cf_free(found);
    return status;
}
