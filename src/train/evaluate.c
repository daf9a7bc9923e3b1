/* One pass over the test set (spec of the recipe, section 8).
 *
 * Every video is scored once, whatever the batch size (Q12): its views, each a clip, go through the
 * model unrecorded, TRAIN.BATCH_SIZE clips of whatever videos at a time, so that a test of many
 * views takes no more memory than one of one; softmax over the classes; the sum of the
 * probabilities over the views, in double, is the video's score. What is counted from the scores:
 * metrics.c; families are the pack's. Videos that cannot be read, with DATA.ON_ERROR skip, are
 * counted apart. Drop path is off (Q26). */
#include "train/run.h"

#include <math.h>
#include <string.h>
#include <time.h>

cf_status cf_run_text_features(cf_run *r)
{
    const cf_classes *c = &r->classes;
    if (!cf_run_has_text(r)) return CF_OK;
    bool trained = cf_run_text_is_trained(r);
    if (trained) cf_text_cache_fini(&r->text);
    bool there = r->text.features;
    CF_TRY(cf_text_cache_get(&r->text, r->model, r->tape, c->tokens, c->templates, c->n));
    if (trained || there) return CF_OK;
    /* Checkpoints still need the tower's weights, a test does not. */
    const char *folder = r->options.only_test ? NULL : r->config->output;
    cf_status status = cf_xclip_set_text_aside(r->model, folder);
    if (status != CF_EIO && status != CF_ENOTFOUND) return status;
    cf_log(CF_LOG_WARNING, "the frozen text tower stays in memory: %s", cf_error());
    return CF_OK;
}

typedef struct {
    cf_run *run;
    double *sum;    /* [batch, K] */
    float *score;   /* [batch, K] */
    size_t clips;   /* at a time */
    cf_scores *all; /* NULL: not kept */
    cf_metrics *metrics;
    int64_t missing;
} pass;

/* ---- views ----------------------------------------------------------------------------------- */

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

/* Clips first .. first + n of a batch, which holds its videos' views one behind the other. */
static cf_status run_clips(pass *p, const cf_batch *b, size_t first, size_t n)
{
    cf_run *r = p->run;
    size_t K = r->classes.n, e = cf_xclip_config_get(r->model)->embed;
    cf_xclip_outputs out;
    const cf_xclip_run mode = { .training = false };
    cf_tape_reset(r->tape);
    cf_tensor *pictures = cf_tensor_input_f32(r->tape, cf_shape_of(n, b->T, 3, b->size, b->size),
                                              b->video + first * (b->T * 3 * b->size * b->size));
    CF_TRY(cf_xclip_video(&out, r->model, r->tape, pictures, &mode, NULL, NULL));
    cf_tensor *text = NULL;
    if (cf_run_has_text(r))
        text = cf_tensor_input(r->tape, cf_shape_of(K, e), r->text.features, false);
    CF_TRY(cf_xclip_scores(&out, r->model, r->tape, text, NULL, NULL));
    for (size_t i = 0; i < n; i++) {
        const cf_real *logits = out.logits->data + i * K;
        size_t video = (first + i) / b->views, view = (first + i) % b->views;
        if (!cf_add_softmax(p->sum + video * K, logits, K))
            return CF_FAIL(CF_ENUMERIC, "%s: the scores of video %s are not finite",
                           cf_dataset_path(r->test),
                           cf_dataset_name(r->test, (size_t)b->index[video]));
        if (p->all) keep_logits(p->all, logits, b->index[video], view);
    }
    return CF_OK;
}

static cf_status run_batch(pass *p, const cf_batch *b)
{
    size_t K = p->run->classes.n, clips = b->n * b->views;
    memset(p->sum, 0, b->n * K * sizeof *p->sum);
    for (size_t first = 0; first < clips; first += p->clips)
        CF_TRY(run_clips(p, b, first, clips - first < p->clips ? clips - first : p->clips));
    for (size_t i = 0; i < b->n * K; i++) p->score[i] = (float)p->sum[i];
    for (size_t i = 0; i < b->n; i++) {
        const float *score = p->score + i * K;
        cf_metrics_add(p->metrics, (size_t)b->index[i], score, b->views);
        if (p->all) memcpy(p->all->scores + (size_t)b->index[i] * K, score, K * sizeof *score);
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
        if (!b) break;
        if (o->stop && *o->stop)
            return CF_FAIL(CF_EINTERRUPTED, "stopped after %zu of %zu test videos", done,
                           cf_dataset_size(p->run->test));
    }
    CF_ASSERT(p->metrics->scored + (size_t)p->missing == p->metrics->n);
    return CF_OK;
}

static cf_status new_metrics(cf_metrics *out, const cf_run *r)
{
    cf_metrics m;
    CF_TRY(cf_metrics_new(&m, cf_dataset_size(r->test), r->classes.n));
    for (size_t i = 0; i < m.n; i++) m.label[i] = cf_dataset_label(r->test, i);
    if (cf_dataset_n_classes(r->test) == m.K)
        for (size_t k = 0; k < m.K; k++) m.family[k] = cf_dataset_class_family(r->test, k);
    *out = m;
    return CF_OK;
}

static cf_eval_record record_of(const pass *p, size_t clips, size_t crops, double began)
{
    const cf_metrics *m = p->metrics;
    const cf_run *r = p->run;
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    bool between = r->at.micro == 0 && r->at.epoch > 0; /* the epoch before is the one tested */
    return (cf_eval_record){ .epoch = (int)(r->at.epoch - between),
                             .step = r->at.step,
                             .top1 = cf_percent(m->top1, m->videos),
                             .top5 = cf_percent(m->top5, m->videos),
                             .mean_class = cf_metrics_mean_class(m),
                             .videos = m->videos,
                             .unlabelled = (int64_t)m->scored - m->videos,
                             .missing = p->missing,
                             .views = (int)(clips * crops),
                             .clips = (int)clips,
                             .crops = (int)crops,
                             .frames = r->config->data.num_frames,
                             .weights = "last",
                             .seconds = cf_seconds() - began,
                             .time = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec };
}

cf_status cf_run_evaluate(cf_eval_record *out, cf_metrics *metrics, cf_run *r, size_t clips,
                          size_t crops, cf_scores *scores)
{
    cf_status status = CF_OK;
    cf_loader *loader = NULL;
    cf_metrics found = { 0 };
    double began = cf_seconds();
    cf_loader_options o = cf_config_loader(r->config, false, r->classes.n);
    pass p = { .run = r, .clips = o.batch, .all = scores, .metrics = &found };
    o.clips = clips;
    o.crops = crops;
    o.batch = cf_run_test_videos(p.clips, clips * crops);
    size_t n;
    bool before = cf_tape_record(r->tape, false);
    CF_GO(cf_mul_size(&n, o.batch, r->classes.n));
    CF_GO(cf_alloc(&p.sum, n, sizeof *p.sum));
    CF_GO(cf_alloc(&p.score, n, sizeof *p.score));
    CF_GO(new_metrics(&found, r));
    CF_GO(cf_loader_new(&loader, r->test, &o));
    CF_GO(cf_run_text_features(r));
    CF_GO(run_batches(&p, loader));
    *out = record_of(&p, clips, crops, began);
    *metrics = found;
    found = (cf_metrics){ 0 };
done:
    cf_metrics_fini(&found);
    cf_tape_record(r->tape, before);
    cf_loader_free(loader);
    cf_free(p.sum);
    cf_free(p.score);
    return status;
}
