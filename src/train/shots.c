/* Few-shot draws. */
#include "train/shots.h"

#include <string.h>

/* Lists of a pack's videos are looked up in the pack; lists of a list's where the list's were. */
static cf_status choose_root(shots_source *s, const cf_config *c, const cf_dataset *d)
{
    if (cf_dataset_is_list(d)) return cf_strdup(&s->root, c->data.root);
    cf_dataset *test;
    CF_TRY(cf_strdup(&s->root, c->data.train_file));
    char *split = cf_file_exists(s->root) ? NULL : strrchr(s->root, '#');
    if (split) *split = 0;
    CF_TRY_CTX(cf_dataset_open(&test, c->data.val_file, c->data.root), "DATA.VAL_FILE");
    bool list = cf_dataset_is_list(test);
    cf_dataset_free(test);
    if (list && strcmp(s->root, c->data.root) != 0)
        return CF_FAIL(
            CF_EINVAL,
            "DATA.TRAIN_FILE %s is packs and DATA.VAL_FILE %s a list of videos in "
            "DATA.ROOT %s: draws need one DATA.ROOT for both; name two packs or two lists",
            c->data.train_file, c->data.val_file, c->data.root);
    return CF_OK;
}

cf_status shots_open(shots_source *out, const cf_config *c)
{
    cf_dataset *d = NULL;
    shots_source s = { 0 };
    bool skip = c->data.on_error == CF_ON_ERROR_SKIP;
    if (!*c->data.train_file || !*c->data.val_file)
        return CF_FAIL(CF_EINVAL, "configuration: DATA.%s is not set",
                       *c->data.train_file ? "VAL_FILE" : "TRAIN_FILE");
    cf_status status = skip ? cf_dataset_open_partial(&d, c->data.train_file, c->data.root)
                            : cf_dataset_open(&d, c->data.train_file, c->data.root);
    CF_TRY_CTX(status, "DATA.TRAIN_FILE");
    CF_GO(cf_split_dataset(&s.all, d));
    CF_GO(cf_strdup(&s.file, c->data.train_file));
    CF_GO(choose_root(&s, c, d));
    *out = s;
    s = (shots_source){ 0 };
done:
    shots_close(&s);
    cf_dataset_free(d);
    return status;
}

void shots_close(shots_source *s)
{
    cf_split_fini(&s->all);
    cf_free(s->file);
    cf_free(s->root);
    *s = (shots_source){ 0 };
}

cf_status shots_draw(char **list, size_t *videos, const shots_source *s, size_t shots, size_t seed)
{
    cf_split drawn = { 0 };
    cf_status status = cf_split_shots(&drawn, &s->all, shots, seed);
    if (status != CF_OK) {
        cf_fail_context(status, "%s: %zu shots", s->file, shots);
        goto done;
    }
    CF_GO(cf_split_text(list, &drawn));
    *videos = drawn.n;
done:
    cf_split_fini(&drawn);
    return status;
}
