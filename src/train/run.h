/* Inside of a run: what the files of training share. Who does what:
 *   build_model.c   configuration and weights -> model
 *   vocabulary.c    finds and opens the tokenizer's file
 *   label_list.c    where the class names are
 *   run_classes.c   class names, their token table, their families
 *   templates.c     texts around the class names
 *   plan.c          what a run will cost;  run_info.c  that and the machine as run.json
 *   run_log.c       log.jsonl;  events.c  the same numbers for TensorBoard
 *   resume.c        which file it starts from
 *   checkpoint.c    where a run stands <-> a file
 *   save.c          the files of OUTPUT: generations, kept epochs, what a killed run left
 *   steps.c         how many steps, and at which rates
 *   loop.c          one optimiser step, one epoch
 *   evaluate.c      one pass over the test set;  metrics.c  what it counts
 *   scores.c        its scores as HDF5;  result_files.c  what it found, as HDF5 and CSV
 *   run.c           opens everything, then epoch after epoch
 *   dry_run.c       opens what is there, and tells the plan
 *   predict.c       a checkpoint against chosen labels;  labels.c, predict_input.c  what it is
 *   given
 */
#ifndef CROSSFRAME_TRAIN_RUN_H
#define CROSSFRAME_TRAIN_RUN_H

#include "crossframe/train.h"
#include "train/events.h"

/* The classes: row k of each template's token table is the text of class k. */
typedef struct {
    size_t n, context, templates;
    char **name;
    int32_t *tokens;   /* [templates, n, context] */
    int32_t *gathered; /* [n, context]: rows of a batch's classes, where the text is trained */
    bool chosen;       /* names are of DATA.LABEL_LIST, not of the pack */
} cf_classes;

/* Where a run stands, always between two optimiser steps. */
typedef struct {
    int64_t epoch, micro; /* next micro-batch: number `micro` of epoch `epoch` */
    int64_t step;         /* optimiser steps done */
    int64_t previous;     /* cf_run_tick after the last update; -1: none */
    int64_t log_evals;    /* eval lines in the log */
    double best_top1;     /* percent; -1: never tested */
} cf_position;

/* What OUTPUT/last.safetensors is to this run. */
typedef enum {
    CF_GENERATION_FOREIGN,  /* an earlier run's, or not there */
    CF_GENERATION_PREVIOUS, /* damaged: the run went on from last.previous.safetensors */
    CF_GENERATION_LAST,     /* whole, and its own */
} cf_generation;

struct cf_run {
    cf_config *config;
    cf_run_options options;
    cf_dataset *train, *test; /* NULL: none */
    cf_classes classes;
    char *weights, *vocabulary; /* paths, "" = none */
    bool resuming;              /* weights is MODEL.RESUME, not MODEL.PRETRAINED */
    cf_tokenizer *tokenizer;
    cf_xclip *model;
    cf_tape *tape;
    cf_adamw *adamw;
    cf_ema *ema;   /* NULL: TRAIN.EMA is 0 */
    bool averaged; /* the model has the averaged weights at the moment */
    cf_loader *loader;
    cf_text_cache text; /* features of all classes, in all templates */
    cf_run_log *log;
    cf_events *events; /* NULL: TENSORBOARD is off */
    cf_schedule schedule;
    cf_position at;
    size_t micro_batches, accumulation; /* of an epoch; of a step */
    size_t ranks, counted; /* so many micro-batches are one for the schedule; those of an epoch */
    int64_t steps;         /* of the whole run */
    char *last_path, *previous_path, *best_path;
    cf_generation generation;
    int lock;       /* of OUTPUT; -1: none */
    double saved_s; /* when last was saved (cf_seconds) */
    int64_t *kept;  /* epochs with an epoch_NNN.safetensors of this run */
    size_t n_kept, kept_capacity;
    double step_seconds; /* spent in the steps of this process */
    int64_t own_steps;   /* steps of this process */
};

static inline size_t cf_run_views(const cf_run *r)
{
    return (size_t)r->config->test.num_clip * (size_t)r->config->test.num_crop;
}
/* Classes are told by texts; otherwise there is a head: no vocabulary, tokens or text features. */
static inline bool cf_run_has_text(const cf_run *r)
{
    return r->config->model.head == CF_HEAD_TEXT;
}
/* Videos of a test's batch: their views together are no more clips than a training batch has, where
 * one video alone is not more. */
static inline size_t cf_run_test_videos(size_t batch, size_t views)
{
    return batch > views ? batch / views : 1;
}
static inline bool cf_run_stopped(const cf_run *r)
{
    return (r->options.stop && *r->options.stop) ||
           (r->options.stop_after > 0 && r->at.step >= r->options.stop_after);
}

/* ---- build_model.c --------------------------------------------------------------------------- */

/* Where a key's value comes from, for messages; whether it was given at all. */
const char *cf_config_origin(const cf_config *c, const char *key);
bool cf_config_given(const cf_config *c, const char *key);
/* MODEL.HEAD as the file has it, with what follows from it for other keys. Before anything asks for
 * vocabulary or texts. CF_EINVAL: HEAD text was given for a file with a head. */
cf_status cf_model_decide_head(cf_config *c, const cf_weights *file);
/* Sizes of the model, which vocabulary or classes must fit; r->tokenizer NULL: as many tokens as
 * CLIP's. */
cf_status cf_run_model_config(cf_xclip_config *out, const cf_run *r, const cf_weights *file);
/* r->model with its start values or r->weights; file NULL: there are none. */
cf_status cf_run_build_model(cf_run *r, const cf_weights *file);
/* CF_EINVAL: r->model is to be trained, but all of it is frozen. */
cf_status cf_run_check_trained(const cf_run *r);

/* ---- vocabulary.c ---------------------------------------------------------------------------- */

/* r->tokenizer and r->vocabulary: MODEL.BPE, or what lies beside the weights or the data. */
cf_status cf_run_open_tokenizer(cf_run *r);

/* ---- run_classes.c --------------------------------------------------------------------------- */

/* Names from DATA.LABEL_LIST or the pack, held against NUM_CLASSES and both datasets. */
cf_status cf_run_read_classes(cf_run *r);
cf_status cf_run_tokenize_classes(cf_run *r); /* needs tokenizer and model */
/* The two classes whose text features are most alike, and their cosine (-1: fewer than two). */
cf_status cf_run_class_likeness(double *cosine, size_t pair[2], cf_run *r);
void cf_classes_fini(cf_classes *c);

/* ---- templates.c ----------------------------------------------------------------------------- */

/* Texts with {} where a class name goes. Zero-initialise; cf_templates_fini at the end. */
typedef struct {
    char **text;
    size_t n;
} cf_templates;
/* Those of MODEL.PROMPT; one, the bare name, where it is no ensemble. */
cf_status cf_templates_open(cf_templates *out, const cf_config *c);
cf_status cf_template_fill(char **out, const char *template, const char *name);
void cf_templates_fini(cf_templates *t);

/* ---- resume.c -------------------------------------------------------------------------------- */

/* r->weights, resuming and generation: OUTPUT's last with AUTO_RESUME, else MODEL.RESUME, else
 * MODEL.PRETRAINED. */
cf_status cf_run_choose_weights(cf_run *r);

/* ---- save.c ---------------------------------------------------------------------------------- */

/* Makes and locks OUTPUT, removes what a killed run left half-written, sets r's paths. */
cf_status cf_run_open_output(cf_run *r);
cf_status cf_run_save_last(cf_run *r);       /* between two steps */
cf_status cf_run_save_epoch(cf_run *r);      /* after an epoch: last, and SAVE_KEEP */
cf_status cf_run_save_due(cf_run *r);        /* last, if SAVE_MINUTES are over */
cf_status cf_run_save_best(const cf_run *r); /* the model's weights as they are now */
/* After cf_checkpoint_read: finishes what the process before was killed in. */
cf_status cf_run_resume_kept(cf_run *r);
/* The model gets the averaged weights, or its own back; nothing without TRAIN.EMA. */
void cf_run_average(cf_run *r, bool on);

/* ---- checkpoint.c ---------------------------------------------------------------------------- */

bool cf_checkpoint_has_optimizer(const cf_weights *f);
/* Takes over what the checkpoint's run had and this configuration says otherwise; logs each. */
cf_status cf_checkpoint_adopt(cf_config *c, const cf_weights *f);
/* Moments and position; r->adamw, micro_batches and accumulation are set. */
cf_status cf_checkpoint_read(cf_run *r, const cf_weights *f);
/* The model gets the averaged weights that stand beside its own in f, if any do. */
cf_status cf_checkpoint_use_average(cf_run *r, const cf_weights *f);
/* full: with the optimiser's state. */
cf_status cf_checkpoint_write(const cf_run *r, const char *path, bool full);

/* ---- plan.c ---------------------------------------------------------------------------------- */

/* What is known of a run once its parts are open. In a dry run some are not: datasets are NULL,
 * r->micro_batches is 0 where it is unknown. */
cf_run_plan cf_run_plan_of(const cf_run *r);
/* Parts, flop and memory, from the model's sizes, the classes' tokens and the configuration. */
cf_status cf_run_plan_costs(cf_run_plan *p, const cf_run *r);

/* ---- run.c ----------------------------------------------------------------------------------- */

/* Whether a one-view test comes after this epoch. */
bool cf_run_test_is_due(const cf_run *r, int64_t epoch);

/* ---- steps.c --------------------------------------------------------------------------------- */

/* r->accumulation, ranks, counted, steps and schedule, from r->config, r->micro_batches and the
 * number of training videos. */
cf_status cf_run_plan_steps(cf_run *r, size_t videos);
/* Number, as the schedule counts them, of the micro-batch before r->at. */
int64_t cf_run_tick(const cf_run *r);

/* ---- run_info.c ------------------------------------------------------------------------------ */

/* OUTPUT/run.json: machine, program, size and cost. */
cf_status cf_run_info_write(const cf_run *r, const cf_run_plan *p);

/* ---- loop.c, evaluate.c, metrics.c, scores.c, result_files.c --------------------------------- */

/* The loss of a micro-batch on r->tape, which is reset; t: its number in the run; template: of the
 * class texts. */
cf_status cf_run_loss(cf_tensor **loss, cf_run *r, const cf_batch *b, uint64_t t, size_t template);
/* Whether the class texts' features change from step to step. */
bool cf_run_text_is_trained(const cf_run *r);
/* From r->at to the end of its epoch; CF_EINTERRUPTED after the step in which it was asked to
 * stop. */
cf_status cf_run_epoch(cf_run *r);

typedef struct {
    size_t n, views, K;
    float *logits, *scores; /* [n, views, K], [n, K] */
} cf_scores;
cf_status cf_scores_new(cf_scores *out, size_t n, size_t views, size_t K);
cf_status cf_scores_write(const cf_scores *s, const cf_dataset *d, const char *path);
void cf_scores_fini(cf_scores *s);

/* What a test found; rows are the dataset's videos. metrics.c says how it counts. */
typedef struct {
    size_t n, K, k;      /* videos, classes, k = min(5, K) */
    int32_t *label;      /* [n]; -1: none. The caller's to fill before videos are added */
    int32_t *family;     /* [K]; the same; all 0 from cf_metrics_new */
    int32_t *prediction; /* [n, k] classes by falling score; -1: no further class, or not read */
    float *score;        /* [n, k] theirs, mean of the views' probabilities; NaN beside -1 */
    int32_t *confusion;  /* [K, K] videos by label and first prediction */
    bool *seen;          /* [n] */
    size_t scored;       /* videos added */
    int64_t videos;      /* of them with a label */
    int64_t top1, top5;  /* of these hits */
} cf_metrics;
typedef struct {
    int64_t videos, hits;
    int32_t wrong; /* the most frequent wrong prediction, of equals the first; -1: none */
} cf_class_metrics;
cf_status cf_metrics_new(cf_metrics *out, size_t n, size_t K);
void cf_metrics_fini(cf_metrics *m);
/* Video `row`, which must be new. sum [K]: of the views' probabilities. */
void cf_metrics_add(cf_metrics *m, size_t row, const float *sum, size_t views);
cf_class_metrics cf_metrics_of_class(const cf_metrics *m, size_t label);
double cf_metrics_mean_class(const cf_metrics *m); /* percent; NaN: no labelled video */
double cf_percent(int64_t hits, int64_t videos);   /* NaN of none */

/* test.h5 of docs/runs.md; one line a class; the confusion matrix with the classes' names. */
cf_status cf_result_write(const cf_metrics *m, const cf_run *r, const cf_eval_record *e,
                          const char *path);
cf_status cf_result_write_classes(const cf_metrics *m, const cf_classes *c, const char *path);
cf_status cf_result_write_confusion(const cf_metrics *m, const cf_classes *c, const char *path);

/* Frozen or just computed features of all classes, in r->text; nothing where there are no texts. */
cf_status cf_run_text_features(cf_run *r);
/* sum[k] += softmax(logits)[k]; false if a logit is not finite. */
bool cf_add_softmax(double *sum, const cf_real *logits, size_t K);
/* *metrics is made here (cf_metrics_fini); scores may be NULL. The record's weights are
 * "last". */
cf_status cf_run_evaluate(cf_eval_record *out, cf_metrics *metrics, cf_run *r, size_t clips,
                          size_t crops, cf_scores *scores);

#endif
