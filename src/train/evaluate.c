/* One pass over the test set (spec of the recipe, section 8).
 *
 * Every video is scored once, whatever the batch size (Q12): each view by itself through the model,
 * unrecorded; softmax over the classes; the sum of the probabilities over the views, in double, is
 * the video's score. A hit: no other class of the label's family scores higher, and of equals none
 * stands before it (Q20: top-5 is among min(5, K)). Families are the pack's; without any, all
 * classes are one. Videos without a label are scored and not counted; those that cannot be read,
 * with DATA.ON_ERROR skip, are counted apart. Drop path is off (Q26). */
#include "train/run.h"

#include <math.h>
#include <string.h>

cf_status cf_run_text_features(cf_run *r)
{
    if (cf_xclip_config_get(r->model)->train_text) cf_text_cache_fini(&r->text);
    return cf_text_cache_get(&r->text, r->model, r->tape, r->classes.tokens, r->classes.n);
}

typedef struct {
    cf_run *run;
    double *sum;    /* [batch, K] */
    float *score;   /* [batch, K] */
    cf_scores *all; /* NULL: not kept */
    int64_t videos, top1, top5, missing;
} pass;

/* ---- one view -------------------------------------------------------------------------------- */

/* View `view` of each video, [n, T, 3, S, S]: they stand apart in the batch when there are
 * several. */
static cf_tensor *pictures_of(cf_tape *t, const cf_batch *b, size_t view)
{
    const cf_shape shape = cf_shape_of(b->n, b->T, 3, b->size, b->size);
    size_t one = b->T * 3 * b->size * b->size;
    if (b->views == 1) return cf_tensor_input_f32(t, shape, b->video);
    float *copy = cf_tape_push(t, b->n * one, sizeof *copy);
    if (!copy) return NULL;
    for (size_t i = 0; i < b->n; i++)
        memcpy(copy + i * one, b->video + (i * b->views + view) * one, one * sizeof *copy);
    return cf_tensor_input_f32(t, shape, copy);
}

bool cf_add_softmax(double *sum, const cf_real *logits, size_t K)
{
    double most = -INFINITY, total = 0;
    for (size_t k = 0; k < K; k++) {
        if (!isfinite(logits[k])) return false;
        if ((double)logits[k] > most) most = (double)logits[k];
    }
    for (size_t k = 0; k < K; k++) total += exp((double)logits[k] - most);
    for (size_t k = 0; k < K; k++) sum[k] += exp((double)logits[k] - most) / total;
    return true;
}

static void keep_logits(cf_scores *s, const cf_real *logits, int64_t index, size_t view)
{
    float *to = s->logits + ((size_t)index * s->views + view) * s->K;
    for (size_t k = 0; k < s->K; k++) to[k] = (float)logits[k];
}

static cf_status run_view(pass *p, const cf_batch *b, size_t view)
{
    cf_run *r = p->run;
    size_t K = r->classes.n, e = cf_xclip_config_get(r->model)->embed;
    cf_xclip_outputs out;
    const cf_xclip_run mode = { .training = false };
    cf_tape_reset(r->tape);
    cf_tensor *pictures = pictures_of(r->tape, b, view);
    CF_TRY(cf_xclip_video(&out, r->model, r->tape, pictures, &mode, NULL, NULL));
    cf_tensor *text = cf_tensor_input(r->tape, cf_shape_of(K, e), r->text.features, false);
    CF_TRY(cf_xclip_scores(&out, r->model, r->tape, text, NULL, NULL));
    for (size_t i = 0; i < b->n; i++) {
        const cf_real *logits = out.logits->data + i * K;
        if (!cf_add_softmax(p->sum + i * K, logits, K))
            return CF_FAIL(CF_ENUMERIC, "%s: the scores of video %s are not finite",
                           cf_dataset_path(r->test), cf_dataset_name(r->test, (size_t)b->index[i]));
        if (p->all) keep_logits(p->all, logits, b->index[i], view);
    }
    return CF_OK;
}

/* ---- hits ------------------------------------------------------------------------------------ */

static int32_t family_of(const cf_run *r, size_t k)
{
    if (cf_dataset_n_classes(r->test) != r->classes.n) return 0;
    return cf_dataset_class_family(r->test, k);
}

/* How many classes of the label's family come before it. */
static size_t rank_of(const cf_run *r, const float *score, size_t label)
{
    int32_t family = family_of(r, label);
    size_t rank = 0;
    for (size_t k = 0; k < r->classes.n; k++) {
        if (k == label || family_of(r, k) != family) continue;
        rank += score[k] > score[label] || (score[k] == score[label] && k < label);
    }
    return rank;
}

static cf_status run_batch(pass *p, const cf_batch *b)
{
    size_t K = p->run->classes.n;
    memset(p->sum, 0, b->n * K * sizeof *p->sum);
    for (size_t view = 0; view < b->views; view++) CF_TRY(run_view(p, b, view));
    for (size_t i = 0; i < b->n * K; i++) p->score[i] = (float)p->sum[i];
    for (size_t i = 0; i < b->n; i++) {
        const float *score = p->score + i * K;
        if (p->all) memcpy(p->all->scores + (size_t)b->index[i] * K, score, K * sizeof *score);
        if (b->label[i] < 0) continue;
        size_t rank = rank_of(p->run, score, (size_t)b->label[i]);
        p->videos++;
        p->top1 += rank == 0;
        p->top5 += rank < 5;
    }
    return CF_OK;
}

/* ---- the pass -------------------------------------------------------------------------------- */

static cf_status run_batches(pass *p, cf_loader *l)
{
    const cf_run_options *o = &p->run->options;
    const cf_batch *b;
    size_t done = 0;
    CF_TRY(cf_loader_start(l, 0, 0));
    for (;;) {
        CF_TRY(cf_loader_next(&b, l));
        size_t missing = cf_loader_skipped(l);
        p->missing += (int64_t)missing;
        done += missing + (b ? b->n : 0);
        if (b) CF_TRY(run_batch(p, b));
        if (o->testing) o->testing(o->user, done, cf_dataset_size(p->run->test));
        if (!b) return CF_OK;
        if (o->stop && *o->stop)
            return CF_FAIL(CF_EINTERRUPTED, "stopped after %zu of %zu test videos", done,
                           cf_dataset_size(p->run->test));
    }
}

static double percent(int64_t hits, int64_t videos)
{
    return videos > 0 ? 100.0 * (double)hits / (double)videos : NAN;
}

cf_status cf_run_evaluate(cf_eval_record *out, cf_run *r, size_t clips, size_t crops,
                          cf_scores *scores)
{
    cf_status status = CF_OK;
    cf_loader *loader = NULL;
    pass p = { .run = r, .all = scores };
    cf_loader_options o = cf_config_loader(r->config, false, r->classes.n);
    o.clips = clips;
    o.crops = crops;
    size_t n;
    bool before = cf_tape_record(r->tape, false);
    CF_GO(cf_mul_size(&n, o.batch, r->classes.n));
    CF_GO(cf_alloc(&p.sum, n, sizeof *p.sum));
    CF_GO(cf_alloc(&p.score, n, sizeof *p.score));
    CF_GO(cf_loader_new(&loader, r->test, &o));
    CF_GO(cf_run_text_features(r));
    CF_GO(run_batches(&p, loader));
    *out = (cf_eval_record){ .epoch = (int)r->at.epoch,
                             .top1 = percent(p.top1, p.videos),
                             .top5 = percent(p.top5, p.videos),
                             .videos = p.videos,
                             .views = (int)(clips * crops),
                             .missing = p.missing };
done:
    cf_tape_record(r->tape, before);
    cf_loader_free(loader);
    cf_free(p.sum);
    cf_free(p.score);
    return status;
}
