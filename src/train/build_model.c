/* From configuration and weights to the model and its tokenizer.
 *
 * Sizes come from the weights' shapes where there are weights: a key that was given must agree with
 * them, one that was not takes their value, so that OUTPUT/config.yaml tells what ran. Of a plain
 * CLIP the shapes say nothing about X-CLIP's own parts, and the configuration decides those.
 * Without weights MODEL.ARCH decides, by name or as custom with its keys, the vocabulary's size
 * coming from the tokenizer. */
#include "train/run.h"

#include "crossframe/predict.h"

#include <stdio.h>
#include <string.h>

const char *cf_config_origin(const cf_config *c, const char *key)
{
    size_t index;
    CF_ASSERT(cf_config_find(&index, key) != NULL);
    return c->origin[index] ? c->origin[index] : "default";
}

bool cf_config_given(const cf_config *c, const char *key)
{
    size_t index;
    CF_ASSERT(cf_config_find(&index, key) != NULL);
    return c->origin[index] != NULL;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static const char *const named[] = { "ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336px" };

static bool same_clip(const cf_xclip_config *a, const cf_xclip_config *b, bool text)
{
    bool visual = a->image == b->image && a->patch == b->patch &&
                  a->vision_width == b->vision_width && a->vision_layers == b->vision_layers &&
                  a->embed == b->embed;
    if (!visual || !text) return visual;
    return a->text_width == b->text_width && a->text_layers == b->text_layers &&
           a->context == b->context && a->vocabulary == b->vocabulary;
}

static cf_status contradicts(const cf_config *c, const char *key, const char *path, const char *has)
{
    size_t index;
    char *value;
    CF_ASSERT(cf_config_find(&index, key) != NULL);
    CF_TRY(cf_config_get(&value, c, index));
    cf_status status =
        CF_FAIL(CF_EINVAL, "configuration: %s %s contradicts the weights: %s has %s (%s)", key,
                value, path, has, cf_config_origin(c, key));
    cf_free(value);
    return status;
}

/* *field becomes what the weights say, unless the key says otherwise. 0 in a size's key: not
 * given. */
static cf_status decide(cf_config *c, const char *key, int *field, size_t value, const char *path)
{
    char has[32];
    snprintf(has, sizeof has, "%zu", value);
    if (cf_config_given(c, key) && (size_t)*field != value) return contradicts(c, key, path, has);
    *field = (int)value;
    return CF_OK;
}

/* The same, with how it can be had all the same. */
static cf_status decide_or_fit(cf_config *c, const char *key, int *field, size_t value,
                               const char *path, const char *remedy)
{
    cf_status status = decide(c, key, field, value, path);
    if (status == CF_EINVAL) status = CF_FAIL(CF_EINVAL, "%s; %s", cf_error(), remedy);
    return status;
}

/* The published name of these sizes, or custom. Weights resized for another picture keep the name
 * that was asked for. */
static cf_status arch_of(const char **out, const cf_config *c, const cf_xclip_config *sizes)
{
    bool resized = c->model.visual_position != CF_PICTURES_REFUSE;
    *out = "custom";
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        cf_xclip_config published;
        CF_TRY(cf_xclip_config_named(&published, named[i]));
        bool asked = strcmp(named[i], c->model.arch) == 0;
        if (asked && resized) published.image = sizes->image;
        if (!same_clip(sizes, &published, c->model.head == CF_HEAD_TEXT)) continue;
        *out = named[i];
        if (asked) return CF_OK;
    }
    return CF_OK;
}

/* MODEL.ARCH and its sizes against the file's. */
static cf_status decide_arch(cf_config *c, const cf_xclip_config *sizes, const char *path)
{
    const struct {
        const char *key;
        int *field;
        size_t value;
    } custom[] = {
        { "MODEL.PATCH_SIZE", &c->model.patch_size, sizes->patch },
        { "MODEL.VISION_WIDTH", &c->model.vision_width, sizes->vision_width },
        { "MODEL.VISION_LAYERS", &c->model.vision_layers, sizes->vision_layers },
        { "MODEL.EMBED_DIM", &c->model.embed_dim, sizes->embed },
        { "MODEL.TEXT_WIDTH", &c->model.text_width, sizes->text_width }, /* from here on of texts */
        { "MODEL.TEXT_LAYERS", &c->model.text_layers, sizes->text_layers },
        { "MODEL.CONTEXT_LENGTH", &c->model.context_length, sizes->context },
    };
    size_t n = c->model.head == CF_HEAD_FC ? 4 : sizeof custom / sizeof *custom;
    const char *arch;
    CF_TRY(arch_of(&arch, c, sizes));
    bool custom_asked = strcmp(c->model.arch, "custom") == 0;
    if (cf_config_given(c, "MODEL.ARCH") && !custom_asked && strcmp(c->model.arch, arch) != 0)
        return contradicts(c, "MODEL.ARCH", path, strcmp(arch, "custom") ? arch : "other sizes");
    if (!custom_asked) CF_TRY(cf_config_set_plain(c, "MODEL.ARCH", arch, NULL));
    if (strcmp(c->model.arch, "custom") != 0) return CF_OK;
    for (size_t i = 0; i < n; i++) {
        char has[32];
        snprintf(has, sizeof has, "%zu", custom[i].value);
        if (*custom[i].field != 0 && (size_t)*custom[i].field != custom[i].value)
            return contradicts(c, custom[i].key, path, has);
        *custom[i].field = (int)custom[i].value;
    }
    return CF_OK;
}

/* One frame or several are one to the model. */
static cf_video_encoder encoder_of(const cf_config *c)
{
    static const cf_video_encoder of[] = { [CF_VIDEO_CCT] = CF_ENCODER_CCT,
                                           [CF_VIDEO_MEAN] = CF_ENCODER_MEAN,
                                           [CF_VIDEO_ONE] = CF_ENCODER_MEAN,
                                           [CF_VIDEO_JOINT] = CF_ENCODER_JOINT };
    return of[c->model.video];
}

static cf_status decide_prompt(cf_config *c, const cf_xclip_config *sizes, const char *path)
{
    cf_config_prompt now = c->model.prompt, has = CF_PROMPT_NONE;
    const char *what = "no prompts";
    if (sizes->prompt_layers > 0) has = CF_PROMPT_VIDEO, what = "prompts";
    if (sizes->prompt_vectors > 0) has = CF_PROMPT_VECTORS, what = "prompt vectors";
    bool off = now == CF_PROMPT_VIDEO && c->model.prompt_layers == 0; /* instead of none */
    if (off && has == CF_PROMPT_NONE) now = has;
    if (now == CF_PROMPT_ENSEMBLE && has == CF_PROMPT_NONE) return CF_OK; /* no tensor tells */
    if (now != has && cf_config_given(c, "MODEL.PROMPT"))
        return contradicts(c, "MODEL.PROMPT", path, what);
    c->model.prompt = has;
    if (has == CF_PROMPT_VECTORS)
        CF_TRY(decide(c, "MODEL.PROMPT_VECTORS", &c->model.prompt_vectors, sizes->prompt_vectors,
                      path));
    if (has != CF_PROMPT_VIDEO) return CF_OK;
    return decide(c, "MODEL.PROMPT_LAYERS", &c->model.prompt_layers, sizes->prompt_layers, path);
}

/* The parts beside CLIP, where the file has any of them. */
static cf_status decide_parts(cf_config *c, const cf_xclip_config *sizes, const char *path)
{
    static const struct {
        cf_config_video video;
        const char *has;
    } encoders[] = {
        [CF_ENCODER_CCT] = { CF_VIDEO_CCT, "messages between frames" },
        [CF_ENCODER_MEAN] = { CF_VIDEO_MEAN,
                              "no messages between frames and no temporal embedding" },
        [CF_ENCODER_JOINT] = { CF_VIDEO_JOINT, "the temporal embedding of joint attention" },
    };
    cf_config_video video = encoders[sizes->video].video;
    if (encoder_of(c) != sizes->video && cf_config_given(c, "MODEL.VIDEO"))
        return contradicts(c, "MODEL.VIDEO", path, encoders[sizes->video].has);
    if (encoder_of(c) != sizes->video) c->model.video = video;
    CF_TRY(decide(c, "MODEL.MIT_LAYERS", &c->model.mit_layers, sizes->mit_layers, path));
    return c->model.head == CF_HEAD_FC ? CF_OK : decide_prompt(c, sizes, path);
}

cf_status cf_model_decide_head(cf_config *c, const cf_weights *file)
{
    size_t K = file ? cf_xclip_file_head(file) : 0;
    char has[64];
    if (K == 0 || c->model.head == CF_HEAD_FC) return CF_OK;
    snprintf(has, sizeof has, "a fully connected head of %zu classes", K);
    if (cf_config_given(c, "MODEL.HEAD"))
        return contradicts(c, "MODEL.HEAD", cf_weights_path(file), has);
    CF_TRY(cf_config_set_plain(c, "MODEL.HEAD", "fc", cf_weights_path(file)));
    return cf_config_settle_model(c);
}

/* K of the file, or of the data; of a text side that the file may have nothing is taken. */
static void set_head(cf_xclip_config *m, const cf_config *c)
{
    if (c->model.head == CF_HEAD_TEXT) return;
    if (m->head_classes == 0) m->head_classes = (size_t)c->data.num_classes;
    m->text_width = m->text_layers = m->context = m->vocabulary = 0;
}

static cf_status sizes_from_arch(cf_xclip_config *out, const cf_config *c, size_t vocabulary)
{
    if (strcmp(c->model.arch, "custom") != 0) return cf_xclip_config_named(out, c->model.arch);
    *out = (cf_xclip_config){
        .image = (size_t)c->data.input_size,
        .patch = (size_t)c->model.patch_size,
        .vision_width = (size_t)c->model.vision_width,
        .vision_layers = (size_t)c->model.vision_layers,
        .embed = (size_t)c->model.embed_dim,
        .text_width = (size_t)c->model.text_width,
        .text_layers = (size_t)c->model.text_layers,
        .context = c->model.context_length > 0 ? (size_t)c->model.context_length : 77,
        .vocabulary = vocabulary,
    };
    return CF_OK;
}

static cf_logit_scale_rule logit_scale_rule(cf_config_fix fix)
{
    if (fix == CF_FIX_AUTO) return CF_LOGIT_SCALE_AS_TEXT;
    return fix == CF_FIX_TRUE ? CF_LOGIT_SCALE_FROZEN : CF_LOGIT_SCALE_TRAINED;
}

cf_status cf_model_config(cf_xclip_config *out, cf_config *c, const cf_weights *weights,
                          size_t vocabulary)
{
    cf_xclip_config m;
    if (weights) {
        const char *path = cf_weights_path(weights);
        CF_TRY(cf_model_decide_head(c, weights));
        CF_TRY(cf_xclip_config_from_file(&m, weights));
        CF_TRY(decide_arch(c, &m, path));
        CF_TRY(decide_or_fit(c, "DATA.INPUT_SIZE", &c->data.input_size, m.image, path,
                             "MODEL.VISUAL_POSITION bicubic or bilinear resizes its positions"));
        if (m.frames > 0)
            CF_TRY(decide_or_fit(c, "DATA.NUM_FRAMES", &c->data.num_frames, m.frames, path,
                                 "MODEL.MIT_POSITION interpolate, cut or new fits its positions"));
        if (!cf_xclip_file_is_clip(weights)) CF_TRY(decide_parts(c, &m, path));
    } else {
        CF_TRY(sizes_from_arch(&m, c, vocabulary));
        /* As from a file: the configuration in a resumed run's checkpoints reads the same. */
        if (strcmp(c->model.arch, "custom") == 0 && c->model.head == CF_HEAD_TEXT)
            c->model.context_length = (int)m.context;
    }
    set_head(&m, c);
    m.frames = (size_t)c->data.num_frames;
    m.video = encoder_of(c);
    m.mit_layers = (size_t)c->model.mit_layers;
    m.prompt_layers = c->model.prompt == CF_PROMPT_VIDEO ? (size_t)c->model.prompt_layers : 0;
    m.prompt_vectors = c->model.prompt == CF_PROMPT_VECTORS ? (size_t)c->model.prompt_vectors : 0;
    m.prompt_alpha = c->model.prompt_alpha;
    m.logit_scale = c->model.logit_scale;
    m.drop_path = c->model.drop_path_rate;
    m.recompute = c->train.use_checkpoint;
    m.train_text = !c->model.fix_text && c->model.head == CF_HEAD_TEXT;
    m.fix_visual = c->model.fix_visual;
    m.train_logit_scale = logit_scale_rule(c->model.fix_logit_scale);
    CF_TRY(cf_xclip_config_check(&m));
    *out = m;
    return CF_OK;
}

/* ---- weights --------------------------------------------------------------------------------- */

static cf_status fit_frames(cf_weights *w, const cf_config *c)
{
    static const char *const ways[] = { "", "interpolated", "cut or repeated", "started anew" };
    size_t T = (size_t)c->data.num_frames, of_file = cf_weights_frames(w);
    if (c->model.mit_position == CF_FRAMES_REFUSE || !cf_config_given(c, "DATA.NUM_FRAMES") ||
        of_file == 0 || of_file == T)
        return CF_OK;
    cf_log(CF_LOG_INFO, "%s: T = %zu, positions %s to %zu frames (MODEL.MIT_POSITION)",
           cf_weights_path(w), of_file, ways[c->model.mit_position], T);
    return cf_weights_set_frames(w, T, c->model.mit_position, (uint64_t)c->seed);
}

static cf_status fit_image(cf_weights *w, const cf_config *c)
{
    cf_xclip_config sizes;
    size_t image = (size_t)c->data.input_size;
    if (c->model.visual_position == CF_PICTURES_REFUSE || !cf_config_given(c, "DATA.INPUT_SIZE"))
        return CF_OK;
    CF_TRY(cf_xclip_config_from_file(&sizes, w));
    if (sizes.image == image) return CF_OK;
    cf_log(CF_LOG_INFO,
           "%s: pictures of %zu pixels, positions resized for %zu "
           "(MODEL.VISUAL_POSITION)",
           cf_weights_path(w), sizes.image, image);
    return cf_weights_set_image(w, image, c->model.visual_position);
}

cf_status cf_model_open_weights(cf_weights **out, const cf_config *c, const char *path)
{
    cf_weights *w = NULL;
    cf_status status = CF_OK;
    if (c->model.activation == CF_ACTIVATION_AUTO) {
        CF_GO(cf_weights_open_model(&w, path));
    } else {
        CF_GO(cf_weights_open(&w, path));
        CF_GO(cf_weights_to_native(w, NULL));
    }
    CF_GO(fit_frames(w, c));
    CF_GO(fit_image(w, c));
    *out = w;
    w = NULL;
done:
    cf_weights_close(w);
    return status;
}

/* ---- model ----------------------------------------------------------------------------------- */

/* The classes that the head's file names, if it does, against those of the run, if they are
 * known. */
static cf_status compare_names(const cf_run *r, const cf_weights *file)
{
    const char *text = cf_weights_metadata(file, "classes");
    cf_labels of;
    cf_status status = CF_OK;
    if (!text || !r->classes.name) return CF_OK;
    CF_TRY_CTX(cf_labels_from_json(&of, text), "%s: metadata classes", cf_weights_path(file));
    for (size_t k = 0; k < of.n && k < r->classes.n && status == CF_OK; k++)
        if (strcmp(of.name[k], r->classes.name[k]) != 0)
            status = CF_FAIL(CF_EINVAL,
                             "%s: class %zu of its fully connected head is \"%s\", here it is "
                             "\"%s\": a head knows the classes it was trained on only",
                             cf_weights_path(file), k, of.name[k], r->classes.name[k]);
    cf_labels_fini(&of);
    return status;
}

static cf_status check_head(const cf_run *r, const cf_weights *file)
{
    size_t K = file ? cf_xclip_file_head(file) : 0;
    if (!file || (K == 0 && !r->resuming)) return CF_OK; /* the head starts anew */
    if (K == 0)
        return CF_FAIL(CF_EINVAL,
                       "configuration: MODEL.HEAD fc contradicts the weights: %s has class texts "
                       "and no head; to start from its trunk use --pretrained (%s)",
                       cf_weights_path(file), cf_config_origin(r->config, "MODEL.HEAD"));
    if (K != r->classes.n)
        return CF_FAIL(CF_EINVAL,
                       "%s has a fully connected head of %zu classes, the data have %zu: a head "
                       "knows the classes it was trained on only",
                       cf_weights_path(file), K, r->classes.n);
    return compare_names(r, file);
}

cf_status cf_run_model_config(cf_xclip_config *out, const cf_run *r, const cf_weights *file)
{
    enum { CLIP_VOCABULARY = 49408 };
    cf_xclip_config m;
    size_t vocabulary = r->tokenizer ? cf_tokenizer_vocabulary(r->tokenizer) : CLIP_VOCABULARY;
    CF_TRY(cf_model_config(&m, r->config, file, vocabulary));
    if (r->tokenizer && m.vocabulary != vocabulary)
        return CF_FAIL(
            CF_EINVAL,
            "%s has %zu tokens, the model %zu: it is not the vocabulary of these weights; "
            "set MODEL.BPE",
            r->vocabulary, vocabulary, m.vocabulary);
    if (m.head_classes > 0) CF_TRY(check_head(r, file));
    *out = m;
    return CF_OK;
}

cf_status cf_run_check_trained(const cf_run *r)
{
    const cf_config *c = r->config;
    if (r->options.only_test || cf_params_numbers(cf_xclip_params(r->model), true) > 0)
        return CF_OK;
    return CF_FAIL(CF_EINVAL,
                   "configuration: nothing is trained: there are no new modules, MODEL.FIX_VISUAL "
                   "is True (%s) and MODEL.FIX_TEXT is True (%s)",
                   cf_config_origin(c, "MODEL.FIX_VISUAL"), cf_config_origin(c, "MODEL.FIX_TEXT"));
}

cf_status cf_run_build_model(cf_run *r, const cf_weights *file)
{
    cf_xclip_config m;
    cf_load_counts counts;
    CF_TRY(cf_run_model_config(&m, r, file));
    CF_TRY(cf_xclip_new(&r->model, &m));
    CF_TRY(cf_run_check_trained(r));
    CF_TRY(cf_xclip_start(&counts, r->model, file, !r->resuming, (uint64_t)r->config->seed));
    if (!file) return CF_OK;
    if (m.head_classes > 0 && !cf_xclip_file_head(file))
        cf_log(CF_LOG_INFO,
               "%s: %zu tensors loaded, %zu start anew with the head of %zu classes; its text "
               "side, %zu tensors, is left out (MODEL.HEAD fc)",
               cf_weights_path(file), counts.loaded, counts.fresh, m.head_classes, counts.left_out);
    else if (counts.fresh > 0)
        cf_log(CF_LOG_INFO, "%s: a CLIP: %zu tensors loaded, %zu of X-CLIP's own parts start anew",
               cf_weights_path(file), counts.loaded, counts.fresh);
    else
        cf_log(CF_LOG_INFO, "%s: %zu tensors loaded", cf_weights_path(file), counts.loaded);
    return CF_OK;
}
