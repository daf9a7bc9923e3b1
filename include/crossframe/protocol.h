/* protocol: the published protocols as sequences of runs and tests.
 *
 * Few-shot: for each K and seed a draw of K videos a class, a training from CLIP, a test.
 * Zero-shot: one checkpoint on several test sets. Each run or set has its own folder in OUTPUT and
 * leaves a result.json there when it is done, so a protocol that was stopped goes on where it was;
 * the folder remembers the configuration (config.yaml), and another one is refused. OUTPUT ends
 * with the tables of what is done: table.md, table.csv and, a line for each run, runs.csv. */
#ifndef CROSSFRAME_PROTOCOL_H
#define CROSSFRAME_PROTOCOL_H

#include "crossframe/train.h"

/* Mean and sample standard deviation (over n - 1; NaN for fewer than two values). */
typedef struct {
    size_t n;
    double mean, std;
} cf_spread;
cf_spread cf_spread_of(const double *x, size_t n);

/* One run or set, before and after. Percent; NaN: not known yet. */
typedef struct {
    const char *name; /* "k02_seed1", or the set's; its folder in OUTPUT */
    size_t shots, seed;
    size_t train_videos; /* few-shot: drawn */
    bool done;
    double top1, top5;
    int64_t videos, missing; /* of the test: scored; could not be read */
    int views;
    /* zero-shot: classes of the set; of them those that the checkpoint was trained on, by name
     * (letters and digits); -1: the checkpoint does not tell its classes. */
    int64_t classes, seen;
} cf_protocol_run;

typedef struct {
    cf_run_options run; /* its `planned` is called for the first run only */
    void (*begins)(void *user, const cf_protocol_run *r, size_t number, size_t of);
    void (*ends)(void *user, const cf_protocol_run *r, size_t number, size_t of);
    bool dry_run; /* draws and looks what is done, and writes nothing */
} cf_protocol_options;

/* What became of it: the runs in their order and the table as Markdown. */
typedef struct {
    cf_protocol_run *run;
    size_t n;
    char *markdown;
} cf_protocol;
void cf_protocol_fini(cf_protocol *p);

/* shots[n_shots] x seeds 1 .. seeds runs in OUTPUT/kKK_seedS, seed by seed. A run trains on its
 * train.txt, drawn from DATA.TRAIN_FILE by cf_split_shots with its seed, which is its SEED too, and
 * tests DATA.VAL_FILE with the configured views and the last weights; TEST.FREQ is 0 unless given.
 * CF_EINVAL: a class has fewer videos; OUTPUT is of another configuration or of other data, with
 * the difference. CF_EINTERRUPTED: stopped; *out then is as far as it is. */
cf_status cf_fewshot(cf_protocol *out, const cf_config *c, const size_t *shots, size_t n_shots,
                     size_t seeds, const cf_protocol_options *o);

/* A test set, "[NAME=]VIDEOS[,LABELS.csv]". VIDEOS is what DATA.VAL_FILE takes. Without NAME it is
 * called as its file; without LABELS its classes are those of X.csv where VIDEOS is X.txt and that
 * file is there, else as DATA.LABEL_LIST says. MODEL.RESUME (MODEL.PRETRAINED) may hold {set}: the
 * set's name. */
cf_status cf_zeroshot(cf_protocol *out, const cf_config *c, const char *const *set, size_t n_sets,
                      const cf_protocol_options *o);

#endif
