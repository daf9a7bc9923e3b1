/* The predictor: weights, labels, and the scores of one video's views.
 *
 * A checkpoint of ours carries its run's configuration; of it the frames, the sampling, the crop
 * and the model's parts are taken, so that the scores are those of a test. Other weights get the
 * published defaults and tell their sizes by their shapes. The views of a video go through the
 * model as one batch, cut where it would take much memory. */
#include "train/run.h"

#include "crossframe/predict.h"

#include <math.h>
#include <string.h>

/* Labels of one pass of the text tower; and floats of one tensor of vision tokens, 256 MB with what
 * a block keeps beside it. */
enum { TEXT_BATCH = 256, TOKEN_FLOATS = 8 << 20 };

struct cf_predictor {
    cf_weights *weights; /* NULL once they are read */
    cf_config *config;
    char *path, *vocabulary, *own_labels; /* own_labels: JSON, NULL = none */
    cf_tokenizer *tokenizer;
    cf_xclip_config sizes;
    cf_view_options views;
    cf_xclip *model;
    cf_tape *tape;
    bool scored;   /* the text tower is no longer in memory */
    cf_real *text; /* [K, e] */
    size_t K;
    double *sum; /* [K] */
};

void cf_predictor_free(cf_predictor *p)
{
    if (!p) return;
    cf_weights_close(p->weights);
    cf_config_free(p->config);
    cf_tokenizer_free(p->tokenizer);
    cf_xclip_free(p->model);
    cf_tape_free(p->tape);
    cf_free(p->path);
    cf_free(p->vocabulary);
    cf_free(p->own_labels);
    cf_free(p->text);
    cf_free(p->sum);
    cf_free(p);
}

const cf_xclip_config *cf_predictor_model(const cf_predictor *p) { return &p->sizes; }
const cf_view_options *cf_predictor_views(const cf_predictor *p) { return &p->views; }

/* ---- opening --------------------------------------------------------------------------------- */

/* The configuration of the run that wrote the weights, or the defaults. */
static cf_status read_config(cf_predictor *p)
{
    cf_weights *w;
    CF_TRY(cf_weights_open(&w, p->path));
    const char *text = cf_weights_metadata(w, "config");
    cf_status status = text && cf_weights_metadata(w, "crossframe")
                           ? cf_config_parse(&p->config, text, strlen(text), "metadata config")
                           : cf_config_load(&p->config, NULL, NULL, 0);
    cf_weights_close(w);
    return status == CF_OK ? CF_OK : cf_fail_context(status, "%s", p->path);
}

/* What the caller asks for goes over it. */
static cf_status set_config(cf_config *c, const cf_predictor_options *o)
{
    char *frames;
    CF_TRY(cf_config_set_opts(c, o->opts, o->n_opts));
    if (o->frames == 0) return CF_OK;
    CF_TRY(cf_format(&frames, "%zu", o->frames));
    cf_status status = cf_config_set(c, "DATA.NUM_FRAMES", frames, "--frames");
    cf_free(frames);
    return status;
}

/* A CLIP has no parts of X-CLIP: frames apart, their mean, or one frame where its run had one,
 * texts alone. */
static void be_clip_mean(cf_config *c, const char *path)
{
    bool one = c->model.video == CF_VIDEO_ONE;
    c->model.video = one ? CF_VIDEO_ONE : CF_VIDEO_MEAN;
    c->model.mit_layers = 0;
    if (c->model.prompt != CF_PROMPT_ENSEMBLE) c->model.prompt = CF_PROMPT_NONE;
    if (one)
        cf_log(CF_LOG_INFO, "%s: a CLIP: one frame is scored (CLIP-One)", path);
    else
        cf_log(CF_LOG_INFO, "%s: a CLIP: the mean over %d frames is scored (CLIP-Mean)", path,
               c->data.num_frames);
}

static cf_status decide_sizes(cf_predictor *p, const cf_predictor_options *o)
{
    cf_config *c = p->config;
    if (cf_xclip_file_is_clip(p->weights)) be_clip_mean(c, p->path);
    size_t vocabulary = p->tokenizer ? cf_tokenizer_vocabulary(p->tokenizer) : 0;
    CF_TRY(cf_model_config(&p->sizes, c, p->weights, vocabulary));
    p->sizes.train_text = false;
    p->sizes.inference = true;
    if (p->sizes.vocabulary != vocabulary)
        return CF_FAIL(CF_EINVAL,
                       "%s has %zu tokens, the model %zu: it is not the vocabulary of %s",
                       p->vocabulary, vocabulary, p->sizes.vocabulary, p->path);
    p->views = (cf_view_options){ .T = p->sizes.frames,
                                  .size = p->sizes.image,
                                  .clips = o->clips,
                                  .crops = o->crops,
                                  .sampling = c->test.sampling,
                                  .short_videos = c->data.short_videos,
                                  .multi_scale_crop = c->aug.multi_scale_crop };
    return CF_OK;
}

static cf_status open_vocabulary(cf_predictor *p, const cf_predictor_options *o)
{
    const cf_config *c = p->config;
    const char *const near[] = { c->model.pretrained, c->data.root, c->data.train_file,
                                 c->data.val_file };
    if (o->vocabulary)
        CF_TRY(cf_strdup(&p->vocabulary, o->vocabulary));
    else if (*c->model.bpe && cf_file_exists(c->model.bpe))
        CF_TRY(cf_strdup(&p->vocabulary, c->model.bpe));
    else
        CF_TRY(cf_vocabulary_find(&p->vocabulary, p->path, near, 4, o->cache));
    return cf_tokenizer_open(&p->tokenizer, p->vocabulary);
}

static cf_status open_all(cf_predictor *p, const cf_predictor_options *o)
{
    CF_TRY(cf_weights_locate(&p->path, o->checkpoint, o->cache));
    CF_TRY(read_config(p));
    CF_TRY(set_config(p->config, o));
    CF_TRY(cf_config_settle_model(p->config));
    CF_TRY(cf_model_open_weights(&p->weights, p->config, p->path));
    CF_TRY(cf_model_decide_head(p->config, p->weights));
    if (p->config->model.head == CF_HEAD_TEXT) CF_TRY(open_vocabulary(p, o));
    CF_TRY(decide_sizes(p, o));
    const char *own = cf_weights_metadata(p->weights, "classes");
    return own ? cf_strdup(&p->own_labels, own) : CF_OK;
}

cf_status cf_predictor_new(cf_predictor **out, const cf_predictor_options *o)
{
    cf_predictor *p;
    CF_TRY(cf_alloc_zero(&p, 1, sizeof *p));
    cf_status status = open_all(p, o);
    if (status == CF_OK)
        *out = p;
    else
        cf_predictor_free(p);
    return status;
}

cf_status cf_predictor_own_labels(cf_labels *out, const cf_predictor *p)
{
    if (!p->own_labels)
        return CF_FAIL(CF_ENOTFOUND, "%s does not tell its classes: name the labels", p->path);
    CF_TRY_CTX(cf_labels_from_json(out, p->own_labels), "%s: metadata classes", p->path);
    return CF_OK;
}

/* ---- labels ---------------------------------------------------------------------------------- */

static cf_status load(cf_predictor *p)
{
    cf_load_counts counts;
    cf_xclip *model;
    if (p->model && !p->scored) return CF_OK;
    if (!p->weights) CF_TRY(cf_model_open_weights(&p->weights, p->config, p->path));
    cf_xclip_free(p->model);
    p->model = NULL;
    p->scored = false;
    CF_TRY(cf_xclip_new(&model, &p->sizes));
    cf_status status = cf_xclip_load(&counts, model, p->weights, false);
    if (status == CF_OK && !p->tape) status = cf_tape_new(&p->tape, NULL);
    if (status != CF_OK) {
        cf_xclip_free(model);
        return status;
    }
    cf_tape_record(p->tape, false);
    p->model = model;
    cf_weights_close(p->weights);
    p->weights = NULL;
    return CF_OK;
}

/* Token rows of labels [first, first + n). */
static cf_status tokenize(int32_t *tokens, const cf_predictor *p, const cf_labels *l, size_t first,
                          size_t n, const char *template)
{
    size_t context = p->sizes.context, room = context - p->sizes.prompt_vectors, used;
    memset(tokens, 0, n * context * sizeof *tokens);
    for (size_t i = 0; i < n; i++) {
        char *text;
        CF_TRY(cf_template_fill(&text, template, l->name[first + i]));
        cf_status status = cf_tokenize(tokens + i * context, &used, room, p->tokenizer, text);
        cf_free(text);
        CF_TRY(status);
    }
    return CF_OK;
}

static cf_status text_features(cf_real *out, cf_predictor *p, const cf_labels *l,
                               const char *template)
{
    cf_status status = CF_OK;
    int32_t *tokens;
    CF_TRY(cf_alloc(&tokens, TEXT_BATCH * p->sizes.context, sizeof *tokens));
    for (size_t first = 0; first < l->n; first += TEXT_BATCH) {
        size_t n = l->n - first < TEXT_BATCH ? l->n - first : TEXT_BATCH;
        CF_GO(tokenize(tokens, p, l, first, n, template));
        cf_tape_reset(p->tape);
        cf_tensor *c = cf_xclip_text(p->model, p->tape, tokens, n);
        CF_GO(cf_tape_status(p->tape));
        CF_GO(cf_tensor_copy(out + first * p->sizes.embed, c));
    }
done:
    cf_tape_reset(p->tape);
    cf_free(tokens);
    return status;
}

/* [K, e]: in one template, or the mean over those that the weights were trained with. */
static cf_status ensemble_features(cf_real *out, cf_predictor *p, const cf_labels *l,
                                   const char *template)
{
    cf_templates t = { 0 };
    cf_real *each = NULL;
    cf_status status = CF_OK;
    size_t rows, n, e = p->sizes.embed;
    if (template) return text_features(out, p, l, template);
    CF_TRY(cf_templates_open(&t, p->config));
    CF_GO(cf_mul_size(&rows, t.n, l->n));
    CF_GO(cf_mul_size(&n, rows, e));
    CF_GO(cf_alloc(&each, n, sizeof *each));
    for (size_t i = 0; i < t.n; i++) CF_GO(text_features(each + i * l->n * e, p, l, t.text[i]));
    if (t.n > 1)
        cf_text_mean(out, each, t.n, l->n, e);
    else
        memcpy(out, each, n * sizeof *each);
done:
    cf_templates_fini(&t);
    cf_free(each);
    return status;
}

/* A head's classes are those of its training. */
static cf_status check_head(const cf_predictor *p, const cf_labels *labels, const char *template)
{
    size_t K = p->sizes.head_classes;
    if (K > 0 && template)
        return CF_FAIL(CF_EINVAL,
                       "%s has a fully connected head: there are no texts for --template", p->path);
    if (K > 0 && labels->n != K)
        return CF_FAIL(CF_EINVAL,
                       "%s has a fully connected head of %zu classes, but there are %zu labels: a "
                       "head knows the classes it was trained on only",
                       p->path, K, labels->n);
    return CF_OK;
}

cf_status cf_predictor_set_labels(cf_predictor *p, const cf_labels *labels, const char *template)
{
    cf_status status = CF_OK;
    cf_real *text = NULL;
    double *sum = NULL;
    size_t n;
    if (labels->n == 0) return CF_FAIL(CF_EINVAL, "there are no labels");
    CF_TRY(check_head(p, labels, template));
    CF_TRY(load(p));
    CF_TRY(cf_mul_size(&n, labels->n, p->sizes.embed));
    CF_GO(cf_alloc(&text, n, sizeof *text));
    CF_GO(cf_alloc(&sum, labels->n, sizeof *sum));
    if (p->sizes.head_classes == 0) CF_GO(ensemble_features(text, p, labels, template));
    cf_free(p->text);
    cf_free(p->sum);
    p->text = text;
    p->sum = sum;
    p->K = labels->n;
    return CF_OK;
done:
    cf_free(text);
    cf_free(sum);
    return status;
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* Adds the probabilities of `n` views to p->sum. */
static cf_status score_views(cf_predictor *p, const float *views, size_t n)
{
    const cf_xclip_config *c = &p->sizes;
    const cf_xclip_run mode = { .training = false };
    const cf_shape shape = cf_shape_of(n, p->views.T, 3, c->image, c->image);
    cf_xclip_outputs out;
    cf_tape_reset(p->tape);
    cf_tensor *pictures = cf_tensor_input_f32(p->tape, shape, views);
    CF_TRY(cf_xclip_video(&out, p->model, p->tape, pictures, &mode, NULL, NULL));
    cf_tensor *text = NULL;
    if (c->head_classes == 0)
        text = cf_tensor_input(p->tape, cf_shape_of(p->K, c->embed), p->text, false);
    CF_TRY(cf_xclip_scores(&out, p->model, p->tape, text, NULL, NULL));
    for (size_t i = 0; i < n; i++)
        if (!cf_add_softmax(p->sum, out.logits->data + i * p->K, p->K))
            return CF_FAIL(CF_ENUMERIC, "the scores are not finite");
    return CF_OK;
}

cf_status cf_predictor_score(float *probability, cf_predictor *p, const float *views)
{
    const cf_xclip_config *c = &p->sizes;
    CF_ASSERT(p->model && p->text);
    if (!p->scored && c->head_classes == 0) CF_TRY(cf_xclip_set_text_aside(p->model, NULL));
    p->scored = true;
    size_t n = p->views.clips * p->views.crops, side = c->image / c->patch;
    size_t one = p->views.T * (side * side + 1) * c->vision_width;
    size_t most = one < TOKEN_FLOATS ? TOKEN_FLOATS / one : 1;
    size_t floats = p->views.T * 3 * c->image * c->image;
    memset(p->sum, 0, p->K * sizeof *p->sum);
    for (size_t at = 0; at < n; at += most)
        CF_TRY(score_views(p, views + at * floats, n - at < most ? n - at : most));
    for (size_t k = 0; k < p->K; k++) probability[k] = (float)(p->sum[k] / (double)n);
    return CF_OK;
}
