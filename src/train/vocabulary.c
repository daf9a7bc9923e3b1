/* Where the byte-pair vocabulary is.
 *
 * Weights do not hold it, but it usually lies beside them: CLIP's own file, the merges.txt that
 * `crossframe motion` writes, or what Hugging Face puts into a model's folder. Failing that it lies
 * beside the data, or among the downloaded weights. */
#include "train/run.h"

#include <stdio.h>
#include <string.h>

/* merges.txt before the JSON files: it says the same and is read in a tenth of the time. */
static const char *const names[] = { "bpe_simple_vocab_16e6.txt.gz", "merges.txt", "tokenizer.json",
                                     "vocab.json" };

/* *found stays NULL where there is none. */
static cf_status look_in(char **found, const char *folder)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path;
        CF_TRY(cf_path_join(&path, folder, names[i]));
        if (cf_file_exists(path)) {
            *found = path;
            return CF_OK;
        }
        cf_free(path);
    }
    return CF_OK;
}

/* Where it was looked for, as far as a line goes. */
typedef struct {
    char text[600];
    size_t length;
} places;

static void add_place(places *p, const char *folder)
{
    size_t room = sizeof p->text - p->length;
    if (strstr(p->text, folder)) return;
    int n = snprintf(p->text + p->length, room, "%s%s", p->length ? ", " : "", folder);
    if (n > 0) p->length += (size_t)n < room ? (size_t)n : room - 1;
}

/* In the folder `path`, or in the folder of the file `path`. */
static cf_status look_beside(char **found, places *p, const char *path)
{
    char *folder;
    if (*found || !path || !*path) return CF_OK;
    if (cf_is_folder(path))
        CF_TRY(cf_strdup(&folder, path));
    else
        CF_TRY(cf_path_folder(&folder, path));
    add_place(p, folder);
    cf_status status = look_in(found, folder);
    cf_free(folder);
    return status;
}

cf_status cf_vocabulary_find(char **out, const char *weights, const char *const *data,
                             size_t n_data, const char *cache)
{
    char *found = NULL;
    places p = { .text = "" };
    CF_TRY(look_beside(&found, &p, weights));
    for (size_t i = 0; i < n_data; i++) CF_TRY(look_beside(&found, &p, data[i]));
    if (cache && *cache && cf_is_folder(cache)) CF_TRY(look_beside(&found, &p, cache));
    if (!found)
        return CF_FAIL(
            CF_ENOTFOUND,
            "no vocabulary: neither bpe_simple_vocab_16e6.txt.gz nor merges.txt, "
            "tokenizer.json or vocab.json lies beside the weights or the data%s%s%s; get it: "
            "scripts/get-weights bpe",
            p.length ? " (" : "", p.text, p.length ? ")" : "");
    *out = found;
    return CF_OK;
}

cf_status cf_run_open_tokenizer(cf_run *r)
{
    const cf_config *c = r->config;
    const char *const data[] = { c->data.root, c->data.train_file, c->data.val_file };
    if (*c->model.bpe)
        CF_TRY(cf_strdup(&r->vocabulary, c->model.bpe));
    else
        CF_TRY_CTX(cf_vocabulary_find(&r->vocabulary, r->weights, data, 3, r->options.cache),
                   "set MODEL.BPE");
    return cf_tokenizer_open(&r->tokenizer, r->vocabulary);
}
