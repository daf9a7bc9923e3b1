/* models: X-CLIP (Ni et al., ECCV 2022, arXiv:2208.02816) on CLIP's two towers. Exact definition:
 * the paper's section 3; every size comes from the configuration or from a checkpoint's shapes.
 *
 * Way through: pictures -> patch embedding -> L_c vision blocks, each with message tokens exchanged
 * between frames (CFA) and attention inside a frame (IFA) -> frame features -> MIT -> video
 * feature; patch tokens -> video-specific prompts on the text features -> cosine scores.
 *
 * Axes: b videos, T frames, F = b T, N patches, d vision width, e embedding, K classes. */
#ifndef CROSSFRAME_MODELS_H
#define CROSSFRAME_MODELS_H

#include "crossframe/nn.h"
#include "crossframe/weights.h"

typedef enum {
    CF_ENCODER_CCT,  /* cross-frame communication: message tokens in every vision block */
    CF_ENCODER_MEAN, /* plain CLIP blocks on each frame */
    /* Plain CLIP blocks on all patches of all frames and one class token, 1 + T N tokens a video.
     * Each frame has a learnt place in time, visual.temporal_embedding [T, d], 0 at the start. The
     * class token's feature is the video's: no MIT. */
    CF_ENCODER_JOINT,
} cf_video_encoder;

/* Whether logit_scale is trained. */
typedef enum {
    CF_LOGIT_SCALE_AS_TEXT, /* with the text side */
    CF_LOGIT_SCALE_FROZEN,
    CF_LOGIT_SCALE_TRAINED,
} cf_logit_scale_rule;

typedef struct {
    size_t image, patch; /* pixels a side */
    size_t vision_width, vision_layers, embed;
    size_t text_width, text_layers, context, vocabulary;
    size_t frames; /* T: rows of mit.positional_embedding or visual.temporal_embedding */
    cf_video_encoder video;
    size_t mit_layers;     /* 0: v is the mean of the frame features */
    size_t prompt_layers;  /* 0: class texts are used as they are */
    size_t prompt_vectors; /* 0: none stand before the class names */
    /* K: a linear layer scores K classes (head.weight [K, e], head.bias), and there is no text side
     * and no prompt; the sizes of the text are not looked at. 0: cosines with class texts. */
    size_t head_classes;
    double prompt_alpha; /* start of prompts_generator.alpha */
    double logit_scale;  /* start of exp(logit_scale); 0: 1 / 0.07, CLIP's */
    double drop_path;    /* largest rate, of the last block */
    bool recompute;      /* activation checkpointing by block */
    /* What is trained: the new modules always. */
    bool train_text; /* otherwise the text side is frozen */
    bool fix_visual; /* CLIP's vision trunk is frozen: visual.* without messages */
    cf_logit_scale_rule train_logit_scale;
    bool inference; /* nothing is trained: no gradients are kept */
} cf_xclip_config;

/* "messages between frames", "frames apart", "joint attention over the frames" */
const char *cf_video_encoder_text(cf_video_encoder video);
/* Sizes of "ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336px" with the paper's defaults (T 8, MIT
 * 1, prompts 2, alpha 0.1). CF_ENOTFOUND lists the names. */
cf_status cf_xclip_config_named(cf_xclip_config *out, const char *arch);
/* CF_EINVAL names the size that cannot be: zero, image no multiple of patch, width no multiple of
 * 64. */
cf_status cf_xclip_config_check(const cf_xclip_config *c);

typedef struct cf_xclip cf_xclip;
/* Declares and allocates all parameters; call cf_params_init or load before use. */
cf_status cf_xclip_new(cf_xclip **out, const cf_xclip_config *config);
/* Its parameters by name and shape alone, without memory for numbers: to compare with. */
cf_status cf_xclip_declare(cf_xclip **out, const cf_xclip_config *config);
/* The same for a dry tape (crossframe/autograd.h): what is trained asks for gradients, too. */
cf_status cf_xclip_plan(cf_xclip **out, const cf_xclip_config *config);
void cf_xclip_free(cf_xclip *m);
const cf_xclip_config *cf_xclip_config_get(const cf_xclip *m);
cf_params *cf_xclip_params(const cf_xclip *m);
/* Whether a model of this configuration trains its tensor of this name. */
bool cf_xclip_is_trained(const cf_xclip_config *c, const char *name);
/* Whether training changes the text features: the text side is trained, or vectors are. */
bool cf_xclip_trains_text(const cf_xclip_config *c);
/* Whether a tensor of this name belongs to X-CLIP only (new modules: 10 x learning rate): its name
 * contains "message_", "mit", "prompts" or "temporal_embedding", or starts with "head.". */
bool cf_xclip_is_new_module(const char *name);

/* Text features c [K, e]: tokens [K, context] as cf_tokenize_table writes them, the prompt vectors
 * going behind the start token. Columns after the last end-of-text of the table are not computed
 * (causal: they cannot matter). CF_ESHAPE: with the vectors a text does not fit the context. */
cf_tensor *cf_xclip_text(const cf_xclip *m, cf_tape *t, const int32_t *tokens, size_t K);

/* Drop path is drawn from (seed, step) when training. */
typedef struct {
    bool training;
    uint64_t seed, step;
} cf_xclip_run;

/* What the video side computed; tensors of the step. */
typedef struct {
    /* ln_pre, and tokens after the last block: [F, N+1, d], row 0 of each the class token; joint
     * attention: [b, 1 + T N, d] */
    cf_tensor *ln_pre, *tokens;
    cf_tensor *frame_features; /* h [F, e]; NULL with joint attention */
    cf_tensor *video_features; /* v [b, e], before normalisation */
    cf_tensor
        *prompt_tokens; /* mean over frames of norm(patch tokens) x projection: y [b, N, e], before
                                  prompts_generator.norm; NULL without prompts */
    cf_tensor *prompt;  /* alpha * x [b, K, e], what is added to c; NULL without prompts */
    cf_tensor *logits;  /* [b, K] */
} cf_xclip_outputs;

/* Called after each vision block (and prompt layer) with its output, for tests and tools; may be
 * NULL. */
typedef void cf_xclip_watch(void *user, const char *stage, size_t index, const cf_tensor *x);

/* Video features and prompt tokens of pictures [b, T, 3, image, image]. */
cf_status cf_xclip_video(cf_xclip_outputs *out, const cf_xclip *m, cf_tape *t, cf_tensor *pictures,
                         const cf_xclip_run *run, cf_xclip_watch *watch, void *user);
/* Adds prompt and logits for text features c [K, e]. With a head it scores all its classes, and c
 * is not looked at. */
cf_status cf_xclip_scores(cf_xclip_outputs *io, const cf_xclip *m, cf_tape *t, cf_tensor *c,
                          cf_xclip_watch *watch, void *user);

/* Adds the logits of a head for classes class_id[0 .. K), which is borrowed for the step; NULL: for
 * all. */
cf_status cf_xclip_head_scores(cf_xclip_outputs *io, const cf_xclip *m, cf_tape *t,
                               const int32_t *class_id, size_t K);

/* Text features of K classes, each told in one or several templates, computed once. Keyed by the
 * token table: asking for another table computes again. Zero-initialise; cf_text_cache_fini at the
 * end. */
typedef struct {
    uint64_t key;
    size_t K, templates;
    cf_real *each;     /* [templates, K, e] */
    cf_real *features; /* [K, e] for a test: cf_text_mean of them, or `each` itself if it is one */
} cf_text_cache;
/* tokens [templates, K, context] */
cf_status cf_text_cache_get(cf_text_cache *cache, const cf_xclip *m, cf_tape *t,
                            const int32_t *tokens, size_t templates, size_t K);
/* out [K, e]: the mean over the templates of each [templates, K, e], every row divided by its
 * length. */
void cf_text_mean(cf_real *out, const cf_real *each, size_t templates, size_t K, size_t e);
void cf_text_cache_fini(cf_text_cache *cache);
/* Takes the frozen text tower out of memory once its features are there (cf_params_set_aside; all
 * but logit_scale): cf_xclip_text then fails with CF_EINVAL. Nothing where the text is trained. */
cf_status cf_xclip_set_text_aside(cf_xclip *m, const char *folder);

/* ---- weights --------------------------------------------------------------------------------- */

/* What a weights file holds, told by its names: CLIP's two towers alone, or parts of X-CLIP too. */
bool cf_xclip_file_is_clip(const cf_weights *f);
/* K of a head of its own; 0: it has none, and scores class texts. */
size_t cf_xclip_file_head(const cf_weights *f);
/* Sizes as the shapes tell them. frames is 0 where no tensor tells (frames apart, no MIT);
 * prompt_alpha and what is no size keep 0. CF_EFORMAT: not a CLIP in native names, with what is
 * missing. */
cf_status cf_xclip_config_from_file(cf_xclip_config *out, const cf_weights *f);

/* ---- another T, another picture size: only position embeddings depend on them ---------------- */

typedef enum {
    CF_FRAMES_REFUSE,      /* for configurations; no function here takes it */
    CF_FRAMES_INTERPOLATE, /* linear along T */
    CF_FRAMES_CUT,         /* the first T; where there are fewer they are repeated */
    CF_FRAMES_NEW,         /* start values */
} cf_frame_positions;
typedef enum { CF_PICTURES_REFUSE, CF_PICTURES_BICUBIC, CF_PICTURES_BILINEAR } cf_picture_positions;
/* T of the file's positions along time: rows of mit.positional_embedding [1, T, e] or
 * visual.temporal_embedding [T, d]; 0: it has none, or of another shape. */
size_t cf_weights_frames(const cf_weights *w);
/* Native names. Nothing is changed where the sizes are those already, or no positions along time.
 * As torch.nn.functional.interpolate has it, corners not aligned, no antialiasing; the class
 * token's row stays. */
cf_status cf_weights_set_frames(cf_weights *w, size_t T, cf_frame_positions by, uint64_t seed);
cf_status cf_weights_set_image(cf_weights *w, size_t image, cf_picture_positions by);

typedef struct {
    size_t loaded; /* tensors read */
    /* Tensors of new modules that a plain CLIP lacks, or of a head that any file without one lacks:
     * they keep their values. */
    size_t fresh;
    size_t left_out; /* tensors of the file's text side, prompts too, that a head has no use for */
} cf_load_counts;
/* Whether a file in native names fits the model; what starts with "optimizer." and CLIP's three
 * scalars of sizes are passed over. CF_EFORMAT has all names that are missing (as the file's own
 * layout spells them), unexpected or wrongly shaped in one line. allow_clip: a plain CLIP may start
 * a model with new modules, and whatever has class texts one with a head. */
cf_status cf_xclip_check(cf_load_counts *out, const cf_xclip *m, const cf_weights *f,
                         bool allow_clip);
/* All tensors of the model, frozen ones too, after cf_xclip_check; a refused file leaves the model
 * untouched, one whose numbers fail their checksum does not. Reads in parallel. */
cf_status cf_xclip_load(cf_load_counts *out, cf_xclip *m, const cf_weights *f, bool allow_clip);
/* The same, and start values (cf_params_init) for every tensor that the file does not have; f NULL:
 * for all. */
cf_status cf_xclip_start(cf_load_counts *out, cf_xclip *m, const cf_weights *f, bool allow_clip,
                         uint64_t seed);
/* The tensor as one to be written, its numbers from `data` (the parameter's own, or moments of it;
 * NULL: set aside, in a file). */
cf_st_tensor cf_param_as_st(const cf_param *p, const char *name, const cf_real *data);

#endif
