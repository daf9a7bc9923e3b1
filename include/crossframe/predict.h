/* predict: a model applied to videos as they come, against labels that are chosen at the moment.
 *
 * Design
 *  - The test's own path: the views of `crossframe test`, softmax over the labels, the mean over
 *    the views. The same video, weights and labels give test's probabilities.
 *  - Sizes and names are known when a predictor is made, the numbers are read when it gets its
 *    labels; so a cf_input_reader may decode the first input meanwhile, and the next one while one
 *    is scored.
 *  - Nothing is trained: no gradients, no moments, no tape; the text tower runs once per set of
 *    labels. */
#ifndef CROSSFRAME_PREDICT_H
#define CROSSFRAME_PREDICT_H

#include "crossframe/train.h"

/* ---- labels ---------------------------------------------------------------------------------- */

/* Zero-initialise; cf_labels_fini at the end. */
typedef struct {
    char **name; /* [n], none empty */
    size_t n;
} cf_labels;
void cf_labels_fini(cf_labels *l);
/* A CSV `id,name` with a header row; the id places the name. CF_EFORMAT names file and line. */
cf_status cf_labels_read_csv(cf_labels *out, const char *path);
/* A file (such a CSV, or one label a line) or, where there is none of this name, the labels
 * themselves between commas. CF_ENOTFOUND: neither. */
cf_status cf_labels_get(cf_labels *out, const char *file_or_list);
/* As a JSON array of texts; free with cf_free. What is not UTF-8 becomes U+FFFD. */
cf_status cf_labels_to_json(char **out, const char *const *name, size_t n);
/* CF_EFORMAT: not such an array. */
cf_status cf_labels_from_json(cf_labels *out, const char *json);

/* ---- predictor ------------------------------------------------------------------------------- */

typedef struct {
    const char *checkpoint;  /* weights: a path, or the name of published ones */
    const char *vocabulary;  /* NULL: looked for beside the checkpoint, then in the cache */
    const char *cache;       /* folder of downloaded files; NULL: none */
    size_t frames;           /* T; 0: as the weights or their run say, else 8 */
    size_t clips, crops;     /* views of a video; crops 1 or 3 */
    const char *const *opts; /* keys of the configuration and their values, as --opts */
    size_t n_opts;
} cf_predictor_options;

typedef struct cf_predictor cf_predictor;
/* Opens the weights and decides all sizes from them; a checkpoint of ours also says how its run
 * sampled frames and cut them. A plain CLIP works as CLIP-Mean (the mean over the frames), and a
 * line says so. */
cf_status cf_predictor_new(cf_predictor **out, const cf_predictor_options *o);
void cf_predictor_free(cf_predictor *p); /* NULL is fine */
const cf_xclip_config *cf_predictor_model(const cf_predictor *p);
/* How inputs are to be read for it. */
const cf_view_options *cf_predictor_views(const cf_predictor *p);
/* The classes that the checkpoint was trained on. CF_ENOTFOUND: it does not tell. */
cf_status cf_predictor_own_labels(cf_labels *out, const cf_predictor *p);
/* Chooses the labels and computes their text features; the first call reads the weights, and so
 * does one after a score, which needs the text tower no more and lets it go. `template` with {}
 * where the label goes; NULL: as in training, the label alone or MODEL.PROMPT's templates. */
cf_status cf_predictor_set_labels(cf_predictor *p, const cf_labels *labels, const char *template);
/* probability[K], sum 1, of the views as cf_viewer_* gives them: the mean of softmax over the views
 * in double. CF_ENUMERIC: a score is not finite. */
cf_status cf_predictor_score(float *probability, cf_predictor *p, const float *views);

/* ---- inputs ---------------------------------------------------------------------------------- */

/* One video, read. Borrowed until the next cf_input_reader_next. */
typedef struct {
    const char *input; /* as named; a row of a pack: PACK#ROW */
    const char *name;  /* of the video inside its pack; NULL: not of a pack */
    cf_status status;  /* not CF_OK: it cannot be read, and `error` says why */
    const char *error;
    const float *views;
    double seconds; /* that reading took */
} cf_input;

/* Hands out the inputs' names, *out = NULL after the last. Runs on the reader's thread. *out is
 * borrowed until the next call. */
typedef cf_status cf_input_names(void *user, const char **out);

/* Reads inputs one ahead of the caller, on a thread of its own: video files, folders of pictures,
 * pictures; packs (all rows), PACK#SPLIT, PACK#ROW, PACK#NAME. */
typedef struct cf_input_reader cf_input_reader;
cf_status cf_input_reader_new(cf_input_reader **out, const cf_view_options *o,
                              cf_input_names *names, void *user);
/* *out = the next input, NULL after the last one; inputs that cannot be read come too. A failure is
 * of `names`, or of memory. */
cf_status cf_input_reader_next(const cf_input **out, cf_input_reader *r);
void cf_input_reader_free(cf_input_reader *r); /* NULL is fine */

#endif
