/* train: what a run is made of: configuration, run log, training loop, evaluation, checkpoints.
 *
 * Design
 *  - The configuration has the published keys (spec/data-and-recipe.md 1) and ours, all in one
 *    table (src/train/config_table.c): name, type, default, range or choices, unit, help.
 *    Everything else, reading, writing, checking and the help texts, walks that table; a new key
 *    is one line there and one field here. A field's name is its key's in lower case:
 *    DATA.NUM_FRAMES is data.num_frames.
 *  - The run log is one JSON object a line, written whole by one system call, so a killed run
 *    leaves at most one half-written line, and a resumed one cuts what the checkpoint does not
 *    know. */
#ifndef CROSSFRAME_TRAIN_H
#define CROSSFRAME_TRAIN_H

#include "crossframe/data.h"
#include "crossframe/models.h"
#include "crossframe/optim.h"
#include "crossframe/support.h"

#include <signal.h>

/* ---- configuration --------------------------------------------------------------------------- */

enum { CF_CONFIG_MAX_KEYS = 96 };

/* Values of the choice keys, in the order of their names in the table. */
typedef enum { CF_VIDEO_CCT, CF_VIDEO_MEAN, CF_VIDEO_ONE, CF_VIDEO_JOINT } cf_config_video;
typedef enum {
    CF_PROMPT_VIDEO,
    CF_PROMPT_NONE,
    CF_PROMPT_ENSEMBLE,
    CF_PROMPT_VECTORS
} cf_config_prompt;
typedef enum { CF_HEAD_TEXT, CF_HEAD_FC } cf_config_head;
typedef enum { CF_FIX_AUTO, CF_FIX_TRUE, CF_FIX_FALSE } cf_config_fix;
typedef enum { CF_FINAL_LAST, CF_FINAL_BEST } cf_config_final;
typedef enum { CF_ACTIVATION_AUTO, CF_ACTIVATION_QUICK_GELU } cf_config_activation;

/* Plain values; strings are owned by the configuration, never NULL, "" where nothing is set. */
typedef struct cf_config {
    struct {
        char *root, *train_file, *val_file, *label_list, *dataset;
        int num_frames, num_classes, input_size, workers;
        bool shuffle;
        cf_sampling sampling;
        cf_short_videos short_videos;
        cf_on_error on_error;
    } data;
    struct {
        char *arch, *pretrained, *resume, *bpe, *prompt_templates;
        double drop_path_rate, prompt_alpha, logit_scale;
        bool fix_text, fix_visual;
        cf_config_fix fix_logit_scale;
        cf_config_video video;
        cf_config_prompt prompt;
        cf_config_head head;
        cf_config_activation activation;
        cf_frame_positions mit_position;
        cf_picture_positions visual_position;
        int mit_layers, prompt_layers, prompt_vectors;
        /* ARCH custom; 0 = not given */
        int patch_size, vision_width, vision_layers, embed_dim, text_width, text_layers,
            context_length;
    } model;
    struct {
        int epochs, batch_size, accumulation_steps;
        int global_batch, ranks;
        double warmup_epochs, weight_decay, lr, new_lr_factor, clip_grad;
        double ema;
        bool auto_resume, use_checkpoint;
        char *lr_scheduler, *optimizer, *opt_level;
    } train;
    struct {
        double label_smooth, color_jitter, gray_scale, mixup, cutmix, mixup_switch_prob, flip;
        bool multi_scale_crop;
    } aug;
    struct {
        int num_clip, num_crop, freq;
        bool only_test;
        cf_sampling sampling;
        cf_view_sampling view_sampling;
        cf_config_final final;
    } test;
    char *output;
    bool tensorboard;
    int save_freq, print_freq, seed, local_rank;
    double save_minutes;
    int save_keep;
    char *path;                       /* the file it was loaded from; "" if none */
    char *origin[CF_CONFIG_MAX_KEYS]; /* by key: "FILE:LINE", "--opts", ...; NULL = the default */
} cf_config;

typedef enum {
    CF_CONFIG_INT,
    CF_CONFIG_REAL,
    CF_CONFIG_BOOL,
    CF_CONFIG_TEXT,
    CF_CONFIG_CHOICE,
} cf_config_type;

typedef struct {
    const char *name; /* "TRAIN.LR" */
    cf_config_type type;
    size_t offset;        /* in cf_config */
    const char *standard; /* the default, as YAML */
    double least, most;   /* numbers only */
    const char *choices;  /* "sparse|dense"; NULL: any. Also for texts */
    const char *unit;     /* "" if none */
    const char *help;     /* one line */
} cf_config_key;

size_t cf_config_n_keys(void);
const cf_config_key *cf_config_key_at(size_t i);
/* NULL if there is none of this name; the index, if wanted, in *index. */
const cf_config_key *cf_config_find(size_t *index, const char *name);

/* Defaults < the YAML file at `path` with what it lists under BASE (NULL: no file) < opts: "KEY",
 * "VALUE" pairs and "KEY=VALUE"s, values as in YAML. CF_EINVAL names file and line, key, and for an
 * unknown key the nearest one. Nothing is said here about values that do not fit each other. */
cf_status cf_config_load(cf_config **out, const char *path, const char *const *opts, size_t n_opts);
/* The same from text in memory; `name` stands for the path, BASE is refused. */
cf_status cf_config_parse(cf_config **out, const char *text, size_t n, const char *name);
/* The same values and origins. */
cf_status cf_config_copy(cf_config **out, const cf_config *c);
void cf_config_free(cf_config *c);

/* Sets one key from a value as in YAML; `origin` is kept for messages. *c is unchanged on
 * failure. */
cf_status cf_config_set(cf_config *c, const char *key, const char *value, const char *origin);
/* "KEY", "VALUE" pairs and "KEY=VALUE"s, as cf_config_load takes them. */
cf_status cf_config_set_opts(cf_config *c, const char *const *opts, size_t n_opts);
/* The same for a dedicated option: the value of a text key is taken as it is, unquoted. */
cf_status cf_config_set_plain(cf_config *c, const char *key, const char *value, const char *origin);
/* What follows from other keys: TRAIN.ACCUMULATION_STEPS of a TRAIN.GLOBAL_BATCH. For a training; a
 * test leaves these keys alone. CF_EINVAL: BATCH_SIZE does not divide GLOBAL_BATCH, or
 * ACCUMULATION_STEPS was given and says otherwise; one of a file gives way to a GLOBAL_BATCH or
 * BATCH_SIZE of the command line, with a log line. *c is unchanged on failure. */
cf_status cf_config_settle(cf_config *c);
/* What follows from MODEL.VIDEO and HEAD for keys that were not given: one has 1 frame a view,
 * sampled sparsely, and like joint no MIT; HEAD fc has no prompt. Before anything looks at the keys
 * of the data. CF_EINVAL: one of them was given and says otherwise, with the reason. */
cf_status cf_config_settle_model(cf_config *c);
/* Values that contradict each other or that nothing implements yet; logs what is accepted but
 * unused or suspicious. Asks no file: whether K fits the labels is for the loop. */
cf_status cf_config_check(const cf_config *c);
/* What the loader does under this configuration, in training or in a test with all its views. */
cf_loader_options cf_config_loader(const cf_config *c, bool training, size_t n_classes);

/* One value as YAML; free with cf_free. */
cf_status cf_config_get(char **out, const cf_config *c, size_t key_index);
/* All of it as YAML that loads back to the same values; free with cf_free. */
cf_status cf_config_text(char **out, const cf_config *c);
cf_status cf_config_write(const cf_config *c, const char *path);
/* The same of the keys that were given: the others stay for weights and data to decide. */
cf_status cf_config_given_text(char **out, const cf_config *c);

/* Number of insertions, deletions, replacements and swaps of neighbours between a and b, without
 * regard to case: for "did you mean". */
size_t cf_text_distance(const char *a, const char *b);

/* ---- run log --------------------------------------------------------------------------------- */

typedef struct {
    int epoch;
    int64_t step;      /* optimiser steps since the start of the run, from 0 */
    double loss;       /* mean over the step's accumulation */
    double lr, lr_new; /* of CLIP's tensors; of the new modules */
    double grad_norm;  /* before clipping */
    /* Of the whole step; waiting for the loader, the model to the loss, gradients, and norm,
     * clipping and AdamW. What is left is this program's own. */
    double seconds, data_seconds, forward_seconds, backward_seconds, update_seconds;
    double videos_per_second;
    double gflops;        /* matrix products both ways, recomputed ones too, over `seconds` */
    int64_t memory_bytes; /* largest resident set of the process so far */
    double time;          /* unix */
    int64_t skipped;      /* of its videos could not be read: others of their classes were shown */
} cf_step_record;

typedef struct {
    int epoch;
    int64_t step;       /* optimiser steps done; -1 (as epoch): the weights' file does not tell */
    double top1, top5;  /* percent; NaN without a labelled video, as the next */
    double mean_class;  /* percent: mean of the classes' own top-1, over classes with videos */
    int64_t videos;     /* with a label, scored */
    int64_t unlabelled; /* scored beside them */
    int64_t missing;    /* could not be read */
    int clips, crops;   /* views = clips x crops */
    int views, frames;  /* views of each video, frames of a view */
    /* "last", "best" or "ema"; of cf_run_test the weights' path, while the run lives. */
    const char *weights;
    double seconds, time; /* of the test; since 1970 */
} cf_eval_record;

typedef struct cf_run_log cf_run_log;
/* Opens OUTPUT/log.jsonl to append. What an earlier run left is cut before the first step line
 * with step >= keep_steps and before eval line number keep_evals (counted from 0; SIZE_MAX: any),
 * and so is a half-written last line: the log reads as if the run had never stopped. CF_EFORMAT:
 * not a run log, nothing is changed. */
cf_status cf_run_log_open(cf_run_log **out, const char *path, int64_t keep_steps,
                          size_t keep_evals);
/* Numbers that are not finite become null; "skipped", "unlabelled" and "missing" stand in the line
 * when there are any. These allocate nothing. */
cf_status cf_run_log_step(cf_run_log *l, const cf_step_record *r);
cf_status cf_run_log_eval(cf_run_log *l, const cf_eval_record *r);
size_t cf_run_log_evals(const cf_run_log *l); /* eval lines in the file: for the checkpoint */
cf_status cf_run_log_sync(cf_run_log *l);     /* on disk when it returns: before a checkpoint */
void cf_run_log_close(cf_run_log *l);         /* NULL is fine */

/* ---- training -------------------------------------------------------------------------------- */

/* A model's weights of any container and layout, in native names. MODEL.ACTIVATION quick_gelu: no
 * doubts about it are told. Where DATA.NUM_FRAMES or DATA.INPUT_SIZE was given and is not the
 * file's, the position embeddings are made to fit as MODEL.MIT_POSITION and MODEL.VISUAL_POSITION
 * say, with a line; by default they are left, and cf_model_config refuses. */
cf_status cf_model_open_weights(cf_weights **out, const cf_config *c, const char *path);
/* Sizes of the model a configuration describes. weights: the file it starts from (MODEL.PRETRAINED
 * or MODEL.RESUME), whose shapes then decide: keys that were not given are set in *c from it, a key
 * that was given and says otherwise is CF_EINVAL. NULL: MODEL.ARCH and its sizes alone. vocabulary:
 * of the tokenizer, for ARCH custom without weights. */
cf_status cf_model_config(cf_xclip_config *out, cf_config *c, const cf_weights *weights,
                          size_t vocabulary);

/* The file of published weights ("ViT-B/32": "ViT-B-32.pt", "k400_16_8": ...); NULL: no such
 * name. */
const char *cf_published_file(const char *name);
/* The path itself or, where nothing is called so and it is the name of published weights, their
 * file in the folder `cache` (NULL: none). Fresh path in *out (cf_free). CF_ENOTFOUND: it is not
 * there, with the command that gets it. */
cf_status cf_weights_locate(char **out, const char *path_or_name, const char *cache);

/* Where the byte-pair vocabulary is: the first of bpe_simple_vocab_16e6.txt.gz, merges.txt,
 * tokenizer.json and vocab.json beside the weights, beside each of the data in turn, in the folder
 * `cache`. A path is a file or a folder; NULL and "" are passed over. Fresh path in *out (cf_free),
 * for cf_tokenizer_open. CF_ENOTFOUND names the places that were looked at. */
cf_status cf_vocabulary_find(char **out, const char *weights, const char *const *data,
                             size_t n_data, const char *cache);

/* The file that DATA.LABEL_LIST names: as it stands, or beside the YAML file that gave it or in the
 * two folders above, where it then stays in *c; or the list in SHARE/labels of the same classes as
 * the published list of this name (share NULL: none). Where it is not the first, a log line tells.
 * Fresh path in *out (cf_free). CF_ENOTFOUND names the places that were looked at. */
cf_status cf_label_list_find(char **out, cf_config *c, const char *share);

/* A part of a model: how many numbers, and how many of them are trained. */
typedef struct {
    /* "vision trunk", "messages" or "temporal embedding", "MIT", "prompts", "text tower", "logit
     * scale", "head" */
    const char *name;
    size_t numbers, trained;
} cf_plan_part;
enum { CF_PLAN_PARTS = 7 };

/* Bytes of memory. The step's are counted by a dry tape: what it really takes, to the byte. */
typedef struct {
    size_t weights;            /* of the model, without a frozen text tower: it leaves memory */
    size_t gradients, moments; /* of what is trained: one block, and AdamW's two */
    size_t average;            /* of what is trained: TRAIN.EMA's two; 0: none */
    size_t activations;        /* of one micro-batch, test batch or the class texts: the largest */
    /* Counted in both, for gradients lie over activations (cf_tape_share), from byte gradients_at
     * of them on. */
    size_t shared, gradients_at;
    size_t buffers; /* gradients of activations */
    size_t batches; /* pictures that are loaded, in training and test */
    size_t text;    /* class texts and their features */
    size_t process; /* about: program, libraries and their threads */
    size_t start;   /* before the steps: while a frozen text tower is still there */
    size_t total;   /* the sum less `shared` and `start`, or `start`, whichever is larger */
} cf_plan_memory;

/* What a run is going to do, once everything is open. */
typedef struct {
    const cf_config *config;
    const cf_xclip_config *model; /* NULL: a dry run whose weights would tell, but are missing */
    /* Paths; weights "" = start values. A dry run: NULL = missing. vocabulary: NULL with a head. */
    const char *weights, *vocabulary;
    size_t parameters, trained;                /* numbers in the model; of them trained */
    size_t train_videos, test_videos, classes; /* 0 videos: no such dataset, or not known */
    size_t templates;                          /* texts of each class */
    const char *train_source, *test_source;    /* where they come from */
    size_t micro_batches, views;               /* of an epoch; of each test video */
    int64_t steps, first_step; /* optimiser steps of the run; done before it was resumed */
    size_t tests;              /* of one view of each video, still to come between the steps */
    bool only_test;
    /* The two class texts most alike and the cosine of their features; NULL: still to be
     * trained. */
    const char *alike[2];
    double cosine;
    cf_plan_part parts[CF_PLAN_PARTS];
    /* GFLOP of matrix products, 2 per multiply-add: of one view of a test, the class texts'
     * features being there (a test is videos x views of it); of one video of a training step,
     * forward and backward, what is recomputed and a trained text tower's part of it included (0:
     * only_test); of all class texts once. */
    double gflop_forward, gflop_train, gflop_text;
    cf_plan_memory memory;
    /* The same with TRAIN.USE_CHECKPOINT turned over. */
    cf_plan_memory other_memory;
    double other_gflop_train;
    size_t machine_memory; /* bytes, physical */
    /* Where the memory is more than the machine's, the nearest that fits, with as many videos a
     * step; batch 0: nothing does. */
    struct {
        size_t batch, accumulation, total;
        bool use_checkpoint;
    } fitting;
    /* A dry run: what a run would not find, "DATA.TRAIN_FILE: cannot open ..."; steps and
     * micro_batches are 0 where the number of videos is not known. */
    bool dry;
    const char *const *missing;
    size_t n_missing;
} cf_run_plan;

/* After each optimiser step. */
typedef struct {
    cf_step_record record;
    int64_t steps;                  /* of the whole run */
    size_t micro_batch;             /* how many of the epoch's are done */
    size_t epoch_step, epoch_steps; /* steps of the epoch done; in all */
    double seconds_left;
} cf_run_progress;

/* Callbacks may be NULL. They run on the training thread. */
typedef struct {
    void *user;
    void (*planned)(void *user, const cf_run_plan *p);
    void (*stepped)(void *user, const cf_run_progress *p);
    void (*testing)(void *user, size_t done, size_t videos);
    void (*tested)(void *user, const cf_eval_record *r, double best_top1);
    void (*saved)(void *user, const char *path);
    const volatile sig_atomic_t
        *stop; /* not 0: finish the step, save, CF_EINTERRUPTED; may be NULL */
    int64_t
        stop_after; /* optimiser steps of the run after which to stop in the same way; 0: never */
    bool only_test; /* no training data is opened, cf_run_train refuses */
    /* Files for what cf_run_test finds, NULL: none. scores: of all classes and views; result: as
     * OUTPUT/test.h5 (docs/runs.md); per_class, confusion: CSV. */
    const char *scores, *result, *per_class, *confusion;
    const char *cache;          /* folder of downloaded weights and vocabulary; NULL: none */
    const char *share;          /* folder of shipped configurations and label lists; NULL: none */
    const char *const *command; /* the command line, for run.json; ends with NULL; NULL: unknown */
} cf_run_options;

typedef struct cf_run cf_run;
/* Opens and checks everything a run needs: data, classes, vocabulary, weights, OUTPUT. Where no
 * weights are named, a published MODEL.ARCH starts from its CLIP in `cache`, and custom, or
 * MODEL.PRETRAINED scratch, from random values. *c is
 * borrowed until cf_run_free, and takes on what its weights or the resumed checkpoint decide. */
cf_status cf_run_new(cf_run **out, cf_config *c, const cf_run_options *o);
/* Calls o->planned with what that run would do, as far as it can be known: nothing is computed or
 * written, and neither data nor weights, vocabulary or OUTPUT need be there. *c takes on what the
 * weights decide, where they are. CF_EINVAL and the like: no run of it can be. */
cf_status cf_run_dry(cf_config *c, const cf_run_options *o);
/* Trains, tests after each epoch (or as TEST.FREQ says), keeps OUTPUT/last (two generations) and
 * best.safetensors, and test.h5 of the newest test; ends, when TEST.NUM_CLIP x NUM_CROP > 1, with
 * that many views of each video and the weights TEST.FINAL names, the tests between having one. Not
 * a finite loss: CF_ENUMERIC names epoch and step, and no checkpoint is touched. */
cf_status cf_run_train(cf_run *r);
/* One test of DATA.VAL_FILE with the configured views. */
cf_status cf_run_test(cf_eval_record *out, cf_run *r);
void cf_run_free(cf_run *r);
/* Borrowed: its memory statistics. */
cf_tape *cf_run_tape(const cf_run *r);

#endif
