/* The table of configuration keys. One line a key: name, field, default, range or choices, unit,
 * help.
 *
 * The published keys come first in each section, ours after them. A key's type follows its macro:
 * the field must be the matching C type (int, double, bool, char *, enum), which the macros check.
 * Defaults are texts read by the same code that reads a file. A key whose help starts with
 * "accepted" is published and does nothing here; cf_config_check says so when it is set. */
#include "config_internal.h"

#include <math.h>
#include <string.h>

#define FIELD(field, type) (offsetof(cf_config, field) + 0 * sizeof(&(type){ 0 } == TYPED(field)))
#define TYPED(field) (&((cf_config *)0)->field)
#define INT(key, field, standard, least, most, unit, help)                                         \
    {                                                                                              \
        key, CF_CONFIG_INT, FIELD(field, int), standard, least, most, NULL, unit, help             \
    }
#define REAL(key, field, standard, least, most, unit, help)                                        \
    {                                                                                              \
        key, CF_CONFIG_REAL, FIELD(field, double), standard, least, most, NULL, unit, help         \
    }
#define BOOL(key, field, standard, help)                                                           \
    {                                                                                              \
        key, CF_CONFIG_BOOL, FIELD(field, bool), standard, 0, 1, NULL, "", help                    \
    }
#define TEXT(key, field, standard, choices, help)                                                  \
    {                                                                                              \
        key, CF_CONFIG_TEXT, FIELD(field, char *), standard, 0, 0, choices, "", help               \
    }
#define CHOICE(key, field, type, standard, choices, help)                                          \
    {                                                                                              \
        key, CF_CONFIG_CHOICE, FIELD(field, type), standard, 0, 0, choices, "", help               \
    }

#define ARCHITECTURES "ViT-B/32|ViT-B/16|ViT-L/14|ViT-L/14@336px|custom"
#define MANY 1000000000.0

static const cf_config_key keys[] = {
    TEXT("DATA.ROOT", data.root, "''", NULL,
         "where the videos of the lists are: a folder, a tar, a pack, several packs"),
    TEXT("DATA.TRAIN_FILE", data.train_file, "''", NULL,
         "training videos: a list of `path label` lines, packs, or PACKS#SPLIT"),
    TEXT("DATA.VAL_FILE", data.val_file, "''", NULL, "test videos, as DATA.TRAIN_FILE"),
    TEXT("DATA.DATASET", data.dataset, "kinetics400", NULL, "accepted, names the dataset only"),
    INT("DATA.INPUT_SIZE", data.input_size, "224", 1, 4000, "pixels", "side of the square input"),
    INT("DATA.NUM_FRAMES", data.num_frames, "8", 1, 1024, "frames", "frames of one view"),
    INT("DATA.NUM_CLASSES", data.num_classes, "400", 1, MANY, "classes",
        "must equal the number of class names"),
    TEXT("DATA.LABEL_LIST", data.label_list, "labels/kinetics_400_labels.csv", NULL,
         "CSV `id,name` of the class names; '' takes the pack's"),
    BOOL("DATA.SHUFFLE", data.shuffle, "True", "False keeps the dataset's order"),
    INT("DATA.WORKERS", data.workers, "0", 0, 1024, "threads", "decoding threads; 0 = automatic"),
    CHOICE("DATA.SAMPLING", data.sampling, cf_sampling, "sparse", "sparse|dense",
           "frames of a training view: one of each segment, or neighbours"),
    CHOICE("DATA.SHORT_VIDEOS", data.short_videos, cf_short_videos, "loop", "loop|clamp",
           "frames beyond a short video's end: from its start again, or its last one"),
    CHOICE(
        "DATA.ON_ERROR", data.on_error, cf_on_error, "stop", "stop|skip",
        "a video that cannot be read ends the run, or one of its class takes its place (training) "
        "or it is left out (test)"),

    TEXT("MODEL.ARCH", model.arch, "ViT-B/32", ARCHITECTURES,
         "which CLIP; custom takes its sizes from the keys below"),
    REAL("MODEL.DROP_PATH_RATE", model.drop_path_rate, "0.0", 0, 0.99, "",
         "stochastic depth of the last block, rising linearly to it"),
    TEXT("MODEL.PRETRAINED", model.pretrained, "None", NULL,
         "CLIP weights to start from: a file, a published name, or scratch; none: ARCH's"),
    TEXT("MODEL.RESUME", model.resume, "None", NULL, "checkpoint to go on from, or to test"),
    BOOL("MODEL.FIX_TEXT", model.fix_text, "True", "freezes the text tower"),
    BOOL("MODEL.FIX_VISUAL", model.fix_visual, "False", "freezes CLIP's vision trunk"),
    CHOICE("MODEL.FIX_LOGIT_SCALE", model.fix_logit_scale, cf_config_fix, "auto", "auto|True|False",
           "freezes the factor before the cosines; auto: as FIX_TEXT"),
    CHOICE("MODEL.VIDEO", model.video, cf_config_video, "cct", "cct|mean|one|joint",
           "how frames see each other: by messages, not at all, there is but one, or by joint "
           "attention"),
    INT("MODEL.MIT_LAYERS", model.mit_layers, "1", 0, 64, "layers",
        "multi-frame integration; 0 averages the frames"),
    CHOICE("MODEL.PROMPT", model.prompt, cf_config_prompt, "video", "video|none|ensemble|vectors",
           "what helps the class names: what the video shows, nothing, texts around them, vectors"),
    INT("MODEL.PROMPT_LAYERS", model.prompt_layers, "2", 0, 64, "layers",
        "of the video-specific prompt; 0 switches it off"),
    INT("MODEL.PROMPT_VECTORS", model.prompt_vectors, "16", 1, 65536, "vectors",
        "PROMPT vectors: learnt ones before the class name; they take as many tokens of the "
        "context"),
    TEXT(
        "MODEL.PROMPT_TEMPLATES", model.prompt_templates, "''", NULL,
        "PROMPT ensemble: file of texts, one a line, {} for the class name; '' is ActionCLIP's 16"),
    REAL("MODEL.LOGIT_SCALE", model.logit_scale, "14.285714285714286", 1e-3, 1e3, "",
         "start of the factor before the cosines, without CLIP weights"),
    REAL("MODEL.PROMPT_ALPHA", model.prompt_alpha, "0.1", -1e6, 1e6, "",
         "start value of the prompt's weight"),
    CHOICE("MODEL.MIT_POSITION", model.mit_position, cf_frame_positions, "refuse",
           "refuse|interpolate|cut|new",
           "weights of another T (MIT, joint): linear along it, the first (or repeated), or start "
           "values"),
    CHOICE("MODEL.VISUAL_POSITION", model.visual_position, cf_picture_positions, "refuse",
           "refuse|bicubic|bilinear", "weights of another picture size: how the grid is resized"),
    CHOICE("MODEL.ACTIVATION", model.activation, cf_config_activation, "auto", "auto|quick_gelu",
           "quick_gelu: foreign CLIP weights were trained with it, whatever stands beside them"),
    CHOICE("MODEL.HEAD", model.head, cf_config_head, "text", "text|fc",
           "classes scored by their names' features, or by a linear layer"),
    TEXT("MODEL.BPE", model.bpe, "''", NULL,
         "vocabulary file; '' looks beside the weights, then beside the data"),
    INT("MODEL.PATCH_SIZE", model.patch_size, "0", 0, 4000, "pixels",
        "ARCH custom: side of a patch"),
    INT("MODEL.VISION_WIDTH", model.vision_width, "0", 0, 65536, "", "ARCH custom"),
    INT("MODEL.VISION_LAYERS", model.vision_layers, "0", 0, 1024, "layers", "ARCH custom"),
    INT("MODEL.EMBED_DIM", model.embed_dim, "0", 0, 65536, "", "ARCH custom: shared features"),
    INT("MODEL.TEXT_WIDTH", model.text_width, "0", 0, 65536, "", "ARCH custom"),
    INT("MODEL.TEXT_LAYERS", model.text_layers, "0", 0, 1024, "layers", "ARCH custom"),
    INT("MODEL.CONTEXT_LENGTH", model.context_length, "0", 0, 65536, "tokens",
        "ARCH custom: longest text; 0 = 77"),

    INT("TRAIN.EPOCHS", train.epochs, "30", 1, 1000000, "epochs", "length of the training"),
    REAL("TRAIN.WARMUP_EPOCHS", train.warmup_epochs, "5.0", 0, 1000000, "epochs",
         "linear rise of the learning rate"),
    REAL("TRAIN.WEIGHT_DECAY", train.weight_decay, "0.001", 0, 1e6, "", "decoupled, matrices only"),
    REAL("TRAIN.LR", train.lr, "8.e-6", 0, 1e6, "", "base learning rate"),
    REAL("TRAIN.NEW_LR_FACTOR", train.new_lr_factor, "10.0", 0, 1e6, "",
         "learning rate of new modules, in base rates"),
    INT("TRAIN.BATCH_SIZE", train.batch_size, "8", 1, 1000000, "videos", "videos of a micro-batch"),
    INT("TRAIN.ACCUMULATION_STEPS", train.accumulation_steps, "1", 1, 1000000, "micro-batches",
        "micro-batches of one optimiser step"),
    INT("TRAIN.GLOBAL_BATCH", train.global_batch, "0", 0, MANY, "videos",
        "of one optimiser step; sets ACCUMULATION_STEPS to GLOBAL_BATCH / BATCH_SIZE; 0 = off"),
    INT("TRAIN.RANKS", train.ranks, "1", 1, 1000000, "processes",
        "whose steps the accumulation repeats: the schedule counts the micro-batches of one"),
    TEXT("TRAIN.LR_SCHEDULER", train.lr_scheduler, "cosine", NULL,
         "accepted, the schedule is always cosine"),
    TEXT("TRAIN.OPTIMIZER", train.optimizer, "adamw", NULL,
         "accepted, the optimiser is always AdamW"),
    TEXT("TRAIN.OPT_LEVEL", train.opt_level, "O1", "O0|O1|O2|O3",
         "accepted, everything is computed in float32"),
    BOOL("TRAIN.AUTO_RESUME", train.auto_resume, "False", "goes on from OUTPUT's last checkpoint"),
    BOOL("TRAIN.USE_CHECKPOINT", train.use_checkpoint, "False",
         "computes activations again in backward instead of keeping them"),
    REAL("TRAIN.CLIP_GRAD", train.clip_grad, "0.0", 0, 1e30, "", "largest gradient norm; 0 = off"),
    REAL("TRAIN.EMA", train.ema, "0.0", 0, 0.9999999, "",
         "decay, a step, of the weights' moving average, which tests and best then have; 0 = off"),

    REAL("AUG.LABEL_SMOOTH", aug.label_smooth, "0.1", 0, 0.999, "", "label smoothing"),
    REAL("AUG.COLOR_JITTER", aug.color_jitter, "0.8", 0, 1, "probability", "for a whole clip"),
    REAL("AUG.GRAY_SCALE", aug.gray_scale, "0.2", 0, 1, "probability", "for a whole clip"),
    REAL("AUG.MIXUP", aug.mixup, "0.8", 0, 1e6, "", "Beta parameter; 0 switches mixing off"),
    REAL("AUG.CUTMIX", aug.cutmix, "1.0", 0, 1e6, "", "Beta parameter"),
    REAL("AUG.MIXUP_SWITCH_PROB", aug.mixup_switch_prob, "0.5", 0, 1, "probability",
         "of cutmix instead of mixup"),
    REAL("AUG.FLIP", aug.flip, "0.5", 0, 1, "probability", "of mirroring a clip"),
    BOOL("AUG.MULTI_SCALE_CROP", aug.multi_scale_crop, "True",
         "False: short side to INPUT_SIZE, centre crop"),

    INT("TEST.NUM_CLIP", test.num_clip, "1", 1, 1000, "clips", "views of a video in time"),
    INT("TEST.NUM_CROP", test.num_crop, "1", 1, 1000, "crops", "views in space: 1 or 3"),
    INT("TEST.FREQ", test.freq, "1", 0, 1000000, "epochs",
        "between the tests of a training; 0: one test, after the last epoch"),
    BOOL("TEST.ONLY_TEST", test.only_test, "False", "tests and does not train"),
    CHOICE("TEST.SAMPLING", test.sampling, cf_sampling, "sparse", "sparse|dense",
           "frames of a test view, as DATA.SAMPLING"),
    CHOICE("TEST.VIEW_SAMPLING", test.view_sampling, cf_view_sampling, "deterministic",
           "deterministic|random",
           "several clips of a video: evenly shifted, or drawn as in training and as published"),
    CHOICE("TEST.FINAL", test.final, cf_config_final, "last", "last|best",
           "weights of the test with all views that ends a training run"),

    TEXT("OUTPUT", output, "''", NULL, "folder for log, configuration and checkpoints"),
    BOOL("TENSORBOARD", tensorboard, "True",
         "writes the log's numbers for TensorBoard too, to OUTPUT/events.out.tfevents.*"),
    INT("SAVE_FREQ", save_freq, "1", 1, 1000000, "epochs", "between checkpoints"),
    REAL("SAVE_MINUTES", save_minutes, "30", 0, 1e6, "minutes",
         "after which last is saved within an epoch too; 0 = at its end only"),
    INT("SAVE_KEEP", save_keep, "0", 0, 100000, "checkpoints",
        "of the newest saved epochs, kept as epoch_NNN.safetensors"),
    INT("PRINT_FREQ", print_freq, "50", 1, MANY, "micro-batches", "between progress lines"),
    INT("SEED", seed, "1024", 0, 2147483647.0, "", "of everything random"),
    INT("LOCAL_RANK", local_rank, "0", -1, MANY, "", "accepted, a run is one process"),
};

_Static_assert(sizeof keys / sizeof *keys <= CF_CONFIG_MAX_KEYS, "raise CF_CONFIG_MAX_KEYS");
_Static_assert(sizeof(cf_sampling) == sizeof(int) && sizeof(cf_view_sampling) == sizeof(int) &&
                   sizeof(cf_short_videos) == sizeof(int) &&
                   sizeof(cf_config_video) == sizeof(int) &&
                   sizeof(cf_config_prompt) == sizeof(int) &&
                   sizeof(cf_config_head) == sizeof(int) && sizeof(cf_config_fix) == sizeof(int) &&
                   sizeof(cf_config_activation) == sizeof(int) &&
                   sizeof(cf_frame_positions) == sizeof(int) &&
                   sizeof(cf_picture_positions) == sizeof(int),
               "choices are stored as int");

size_t cf_config_n_keys(void) { return sizeof keys / sizeof *keys; }

const cf_config_key *cf_config_key_at(size_t i)
{
    CF_ASSERT(i < cf_config_n_keys());
    return &keys[i];
}

const cf_config_key *cf_config_find(size_t *index, const char *name)
{
    for (size_t i = 0; i < cf_config_n_keys(); i++) {
        if (strcmp(keys[i].name, name) != 0) continue;
        if (index) *index = i;
        return &keys[i];
    }
    return NULL;
}

/* Optimal string alignment over the shorter 63 characters: enough for any key or option. */
size_t cf_text_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t rows[3][LONGEST + 1];
    size_t *last = rows[0], *row = rows[1], *before = rows[2];
    size_t n_a = strnlen(a, LONGEST), n_b = strnlen(b, LONGEST);
    for (size_t j = 0; j <= n_b; j++) last[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            int x = a[i - 1] | 0x20, y = b[j - 1] | 0x20;
            size_t best = last[j - 1] + (x != y);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            bool swap =
                i > 1 && j > 1 && x != y && x == (b[j - 2] | 0x20) && y == (a[i - 2] | 0x20);
            if (swap && before[j - 2] + 1 < best) best = before[j - 2] + 1;
            row[j] = best;
        }
        size_t *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[n_b];
}

cf_status cf_config_unknown(const char *name)
{
    const char *nearest = keys[0].name;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < cf_config_n_keys(); i++) {
        /* A key written under the wrong section is nearer than its letters say. */
        const char *own = strrchr(keys[i].name, '.'), *theirs = strrchr(name, '.');
        size_t d = 2 * cf_text_distance(keys[i].name, name);
        size_t tail =
            1 + 2 * cf_text_distance(own ? own + 1 : keys[i].name, theirs ? theirs + 1 : name);
        if (tail < d) d = tail;
        if (d < least) least = d, nearest = keys[i].name;
    }
    return CF_FAIL(CF_EINVAL, "unknown key %s; the nearest is %s", name, nearest);
}
