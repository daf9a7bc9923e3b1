/* The loader: worker threads fill a ring of batches ahead of the caller (spec/data-and-recipe.md
 * 5).
 *
 * Design
 *  - The unit of work is one video of one batch, handed out in order under one lock; several
 *    workers fill one batch together, and whoever does its last video mixes it. Which worker does
 *    what changes no bit: every random number is keyed by (seed, epoch, position), and results have
 *    fixed places.
 *  - Batch k lives in slot k mod n_slots. A slot is filled again once the caller has given its
 *    batch back, which it does by asking for the next; so memory is bounded, and all of it is
 *    obtained at the start.
 *  - Failures travel with their batch: the first failing video's line (error lines belong to
 *    threads) is copied into the slot and reported by cf_loader_next when the batch's turn comes.
 *  - Workers use no OpenMP: the cores belong to the training thread. */
#include "batch.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

typedef struct {
    cf_batch batch; /* what the caller sees; the arrays below are what it points to */
    float *video, *target;
    int64_t *index;
    int32_t *label, *column;
    size_t n_done, failed; /* failed: first video that failed */
    bool ready;            /* the caller may have it */
    cf_status status;
    char error[1024];
} slot;

typedef struct {
    cf_loader *loader;
    pthread_t thread;
    cf_clip_reader reader;
    int64_t *partner; /* [batch] */
    float *scratch;   /* of mix.c */
} worker;

struct cf_loader {
    cf_loader_options options;
    const cf_dataset *dataset;
    cf_order order;
    size_t views, sample_floats;
    slot *slots;
    worker *workers;
    size_t n_slots, n_workers, n_threads; /* n_threads: those that run */
    pthread_mutex_t lock;                 /* guards what follows, and the slots' progress */
    pthread_cond_t work, done;            /* something to do; something was done */
    bool started, quit, held;             /* held: the caller has batch `taken` - 1 */
    uint32_t epoch;
    size_t end, issue, issue_item; /* next video to hand out; none from batch `end` on */
    size_t taken, released;        /* batches given to the caller; given back by it */
    size_t busy;                   /* workers in the middle of a video */
    double waited_s;
};

/* ---- workers --------------------------------------------------------------------------------- */

static void begin_slot(cf_loader *l, slot *s, size_t k)
{
    const int64_t *positions;
    size_t n = cf_order_batch(&positions, &l->order, k);
    const int32_t *class_id;
    size_t n_columns = cf_order_classes(&class_id, &l->order, positions[0]);
    for (size_t b = 0; b < n; b++) {
        int32_t label = cf_dataset_label(l->dataset, (size_t)positions[b]);
        s->index[b] = positions[b];
        s->label[b] = label;
        s->column[b] = label < 0 ? -1 : l->order.column[label];
    }
    s->batch = (cf_batch){ .video = s->video,
                           .target = s->target,
                           .class_id = class_id,
                           .n_columns = n_columns,
                           .index = s->index,
                           .label = s->label,
                           .n = n,
                           .views = l->views,
                           .T = l->options.T,
                           .size = l->options.augment.size };
    s->n_done = 0;
    s->failed = SIZE_MAX;
    s->status = CF_OK;
}

/* Waits for a video to do: number `item` of the batch in *out. NULL: the loader ends. Under the
 * lock. */
static slot *take_item(size_t *batch, size_t *item, cf_loader *l)
{
    while (!l->quit && (l->issue >= l->end || l->issue >= l->released + l->n_slots))
        pthread_cond_wait(&l->work, &l->lock);
    if (l->quit) return NULL;
    slot *s = &l->slots[l->issue % l->n_slots];
    *batch = l->issue;
    *item = l->issue_item;
    if (l->issue_item == 0) begin_slot(l, s, l->issue);
    if (++l->issue_item == s->batch.n) l->issue_item = 0, l->issue++;
    l->busy++;
    return s;
}

/* Targets and mixing, when every video of the batch is there. */
static void complete_batch(worker *w, slot *s, size_t k)
{
    const cf_loader_options *o = &w->loader->options;
    size_t n = s->batch.n, columns = s->batch.n_columns;
    if (!o->training) return;
    cf_mix_targets(s->target, s->column, n, columns, o->label_smooth);
    cf_mix m;
    if (!cf_mix_batch(&m, w->partner, n, o, w->loader->epoch, k)) return;
    cf_mix_video(s->video, n, 3 * o->T, o->augment.size, &m, w->scratch);
    cf_mix_rows(s->target, n, columns, &m, w->scratch);
}

static void *run_worker(void *argument)
{
    worker *w = argument;
    cf_loader *l = w->loader;
    size_t k, item;
    slot *s;
    pthread_mutex_lock(&l->lock);
    while ((s = take_item(&k, &item, l))) {
        pthread_mutex_unlock(&l->lock);
        cf_status status = cf_clip_read(s->video + item * l->sample_floats, &w->reader,
                                        (size_t)s->index[item], l->epoch);
        pthread_mutex_lock(&l->lock);
        if (status != CF_OK && item < s->failed) {
            s->failed = item;
            s->status = status;
            snprintf(s->error, sizeof s->error, "%s", cf_error());
        }
        if (++s->n_done == s->batch.n) {
            pthread_mutex_unlock(&l->lock);
            if (s->status == CF_OK) complete_batch(w, s, k);
            pthread_mutex_lock(&l->lock);
            s->ready = true;
        }
        l->busy--;
        if (s->ready || l->busy == 0) pthread_cond_broadcast(&l->done);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- making and freeing ---------------------------------------------------------------------- */

static bool is_share(double p) { return p >= 0 && p <= 1; }

static cf_status check_options(const cf_loader_options *o)
{
    const cf_augment *a = &o->augment;
    if (o->T < 1 || o->batch < 1 || a->size < 1 || o->n_classes < 1)
        return CF_FAIL(CF_EINVAL,
                       "loader: frames, batch, picture size and classes must be at least 1"
                       " (%zu, %zu, %zu, %zu)",
                       o->T, o->batch, a->size, o->n_classes);
    if (a->size > 1 << 14)
        return CF_FAIL(CF_EINVAL, "loader: picture size %zu is above %d", a->size, 1 << 14);
    if (o->workers < 0) return CF_FAIL(CF_EINVAL, "loader: %d threads", o->workers);
    if (!o->training && o->crops != 1 && o->crops != 3)
        return CF_FAIL(CF_EINVAL, "loader: %zu test crops; 1 and 3 are defined", o->crops);
    if (!o->training && o->clips < 1) return CF_FAIL(CF_EINVAL, "loader: no test clips");
    if (!o->training) return CF_OK;
    if (!is_share(a->flip) || !is_share(a->color_jitter) || !is_share(a->gray_scale) ||
        !is_share(o->mix_switch) || !is_share(o->label_smooth))
        return CF_FAIL(CF_EINVAL, "loader: a probability is outside 0 .. 1");
    if (!(o->mixup >= 0 && o->cutmix >= 0))
        return CF_FAIL(CF_EINVAL, "loader: mixup and cutmix must not be negative");
    return CF_OK;
}

/* The cores are the training's, and a core trains slower than it loads: of ViT-B/32 about one clip
 * a second, while one thread makes over 60 of JPEG frames and over 30 of PNG frames (bench_loader).
 * So one thread serves 16 cores even where it has twelve views to make of a video. */
static size_t choose_workers(const cf_loader_options *o)
{
    if (o->workers > 0) return (size_t)o->workers;
    size_t n = o->augment.size <= 96 ? 1 : 1 + (size_t)cf_threads() / 16;
    return n > 8 ? 8 : n;
}

static cf_status make_slots(cf_loader *l)
{
    const cf_loader_options *o = &l->options;
    size_t floats, targets;
    CF_TRY(cf_mul_size(&floats, o->batch, l->sample_floats));
    CF_TRY(cf_mul_size(&targets, o->batch, o->n_classes));
    l->n_slots = 2 + (l->n_workers + o->batch - 1) / o->batch;
    CF_TRY(cf_alloc_zero(&l->slots, l->n_slots, sizeof *l->slots));
    for (size_t i = 0; i < l->n_slots; i++) {
        slot *s = &l->slots[i];
        CF_TRY(cf_alloc(&s->video, floats, sizeof *s->video));
        if (o->training) CF_TRY(cf_alloc(&s->target, targets, sizeof *s->target));
        CF_TRY(cf_alloc(&s->index, o->batch, sizeof *s->index));
        CF_TRY(cf_alloc(&s->label, o->batch, sizeof *s->label));
        CF_TRY(cf_alloc(&s->column, o->batch, sizeof *s->column));
    }
    return CF_OK;
}

static cf_status make_workers(cf_loader *l)
{
    const cf_loader_options *o = &l->options;
    size_t scratch;
    CF_TRY(cf_mix_scratch(&scratch, o->batch, o->augment.size));
    CF_TRY(cf_alloc_zero(&l->workers, l->n_workers, sizeof *l->workers));
    for (size_t i = 0; i < l->n_workers; i++) {
        worker *w = &l->workers[i];
        w->loader = l;
        CF_TRY(cf_clip_reader_init(&w->reader, l->dataset, o));
        if (!o->training) continue;
        CF_TRY(cf_alloc(&w->partner, o->batch, sizeof *w->partner));
        CF_TRY(cf_alloc(&w->scratch, scratch, sizeof *w->scratch));
    }
    return CF_OK;
}

/* Signals stay with the caller's threads. */
static cf_status start_threads(cf_loader *l)
{
    sigset_t all, before;
    int failed = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (!failed && l->n_threads < l->n_workers) {
        worker *w = &l->workers[l->n_threads];
        failed = pthread_create(&w->thread, NULL, run_worker, w);
        if (!failed) l->n_threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return CF_FAIL(CF_ENOMEM, "loader: the system refuses thread %zu of %zu", l->n_threads + 1,
                       l->n_workers);
    return CF_OK;
}

cf_status cf_loader_new(cf_loader **out, const cf_dataset *d, const cf_loader_options *o)
{
    cf_status status = CF_OK;
    cf_loader *l = NULL;
    CF_TRY(check_options(o));
    CF_TRY(cf_alloc_zero(&l, 1, sizeof *l));
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->done, NULL);
    l->options = *o;
    l->dataset = d;
    l->n_workers = choose_workers(o);
    CF_GO(cf_mul_size(&l->views, o->training ? 1 : o->clips, o->training ? 1 : o->crops));
    CF_GO(cf_mul_size(&l->sample_floats, l->views, o->T));
    CF_GO(cf_mul_size(&l->sample_floats, l->sample_floats, 3 * o->augment.size * o->augment.size));
    CF_GO(cf_order_init(&l->order, d, o->batch, o->n_classes, o->training));
    CF_GO(make_slots(l));
    CF_GO(make_workers(l));
    CF_GO(start_threads(l));
    *out = l;
done:
    if (status != CF_OK) cf_loader_free(l);
    return status;
}

void cf_loader_free(cf_loader *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->quit = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < l->n_threads; i++) pthread_join(l->workers[i].thread, NULL);
    for (size_t i = 0; l->workers && i < l->n_workers; i++) {
        cf_clip_reader_fini(&l->workers[i].reader);
        cf_free(l->workers[i].partner);
        cf_free(l->workers[i].scratch);
    }
    for (size_t i = 0; l->slots && i < l->n_slots; i++) {
        slot *s = &l->slots[i];
        cf_free(s->video);
        cf_free(s->target);
        cf_free(s->index);
        cf_free(s->label);
        cf_free(s->column);
    }
    cf_free(l->workers);
    cf_free(l->slots);
    cf_order_fini(&l->order);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->done);
    cf_free(l);
}

/* ---- the caller's side ----------------------------------------------------------------------- */

size_t cf_loader_batches(const cf_loader *l) { return l->order.n_batches; }

cf_status cf_loader_start(cf_loader *l, uint32_t epoch, size_t first)
{
    if (first > l->order.n_batches)
        return CF_FAIL(CF_EINVAL, "loader: an epoch has %zu batches, there is no number %zu",
                       l->order.n_batches, first);
    pthread_mutex_lock(&l->lock);
    l->end = 0; /* nothing more of the old epoch is handed out */
    while (l->busy > 0) pthread_cond_wait(&l->done, &l->lock);
    cf_order_epoch(&l->order, l->options.seed, epoch, l->options.shuffle);
    for (size_t i = 0; i < l->n_slots; i++) l->slots[i].ready = false;
    l->epoch = epoch;
    l->issue = l->taken = l->released = first;
    l->issue_item = 0;
    l->held = false;
    l->started = true;
    l->end = l->order.n_batches;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    return CF_OK;
}

cf_status cf_loader_next(const cf_batch **out, cf_loader *l)
{
    if (!l->started) return CF_FAIL(CF_EINVAL, "loader: not started");
    pthread_mutex_lock(&l->lock);
    if (l->held) {
        l->slots[l->released++ % l->n_slots].ready = false;
        l->held = false;
        pthread_cond_broadcast(&l->work);
    }
    slot *s = l->taken < l->end ? &l->slots[l->taken % l->n_slots] : NULL;
    if (s) {
        double before = cf_seconds();
        while (!s->ready) pthread_cond_wait(&l->done, &l->lock);
        l->waited_s += cf_seconds() - before;
        l->taken++;
        l->held = true;
    }
    pthread_mutex_unlock(&l->lock);
    if (s && s->status != CF_OK) return CF_FAIL(s->status, "%s", s->error);
    *out = s ? &s->batch : NULL;
    return CF_OK;
}

double cf_loader_waited_s(cf_loader *l)
{
    double waited = l->waited_s;
    l->waited_s = 0;
    return waited;
}
