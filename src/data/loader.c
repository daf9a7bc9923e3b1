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
 *    With CF_ON_ERROR_SKIP so do the notes of videos that were skipped. Whether a video can be read
 *    depends on nothing but (seed, epoch, position), and so does what takes its place.
 *  - Workers use no OpenMP: the cores belong to the training thread. */
#include "batch.h"
#include "dataset.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A video that could not be read: the `order`-th of its batch that was tried for `item`. */
typedef struct {
    size_t item, order;
    int64_t video;
    char *line;
} note;

typedef struct {
    cf_batch batch; /* what the caller sees; the arrays below are what it points to */
    float *video, *target;
    int64_t *index, *place;
    int32_t *label, *column;
    size_t n_done, failed; /* failed: first video that failed */
    bool ready;            /* the caller may have it */
    cf_status status;
    char error[1024];
    note *notes;
    size_t n_notes, n_skipped; /* skipped: places in the batch */
} slot;

typedef struct {
    cf_loader *loader;
    pthread_t thread;
    cf_clip_reader reader;
    int64_t *partner; /* [batch] */
    float *scratch;   /* of mix.c */
    int64_t *others;  /* [videos of the largest class] still to be tried */
} worker;

struct cf_loader {
    cf_loader_options options;
    const cf_dataset *dataset;
    cf_order order;
    int64_t *by_class;   /* CF_ON_ERROR_SKIP in training: videos, class by class */
    size_t *class_start; /* [n_classes + 1] into it */
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
    size_t skipped;
    double waited_s;
};

/* ---- workers --------------------------------------------------------------------------------- */

static void forget_notes(slot *s)
{
    for (size_t i = 0; i < s->n_notes; i++) cf_free(s->notes[i].line);
    cf_free(s->notes);
    s->notes = NULL;
    s->n_notes = 0;
}

static void begin_slot(cf_loader *l, slot *s, size_t k)
{
    const int64_t *positions;
    size_t n = cf_order_batch(&positions, &l->order, k);
    const int32_t *class_id;
    size_t n_columns = cf_order_classes(&class_id, &l->order, positions[0]);
    for (size_t b = 0; b < n; b++) {
        int32_t label = cf_dataset_label(l->dataset, (size_t)positions[b]);
        s->index[b] = s->place[b] = positions[b];
        s->label[b] = label;
        s->column[b] = label < 0 ? -1 : l->order.column[label];
    }
    s->batch = (cf_batch){ .video = s->video,
                           .target = s->target,
                           .class_id = class_id,
                           .n_columns = n_columns,
                           .index = s->index,
                           .place = s->place,
                           .label = s->label,
                           .n = n,
                           .views = l->views,
                           .T = l->options.T,
                           .size = l->options.augment.size };
    s->n_done = s->n_skipped = 0;
    s->failed = SIZE_MAX;
    s->status = CF_OK;
    forget_notes(s);
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

/* Closes the gaps that skipped videos of a test left. */
static void close_gaps(slot *s, size_t sample_floats)
{
    size_t n = 0;
    for (size_t i = 0; i < s->batch.n; i++) {
        if (s->index[i] < 0) continue;
        if (n < i)
            memcpy(s->video + n * sample_floats, s->video + i * sample_floats,
                   sample_floats * sizeof *s->video);
        s->index[n] = s->place[n] = s->index[i];
        s->label[n++] = s->label[i];
    }
    s->batch.n = n;
}

/* Targets and mixing, when every video of the batch is there. */
static void complete_batch(worker *w, slot *s, size_t k)
{
    const cf_loader_options *o = &w->loader->options;
    size_t n = s->batch.n, columns = s->batch.n_columns;
    if (!o->training && s->n_skipped > 0) close_gaps(s, w->loader->sample_floats);
    if (!o->training) return;
    cf_mix_targets(s->target, s->column, n, columns, o->label_smooth);
    cf_mix m;
    if (!cf_mix_batch(&m, w->partner, n, o, w->loader->epoch, k)) return;
    cf_mix_video(s->video, n, 3 * o->T, o->augment.size, &m, w->scratch);
    cf_mix_rows(s->target, n, columns, &m, w->scratch);
}

/* ---- videos that cannot be read -------------------------------------------------------------- */

/* Keeps the thread's error line for the user. */
static cf_status add_note(cf_loader *l, slot *s, size_t item, size_t order, int64_t video)
{
    char *line;
    CF_TRY(cf_strdup(&line, cf_error()));
    pthread_mutex_lock(&l->lock);
    cf_status status = cf_realloc(&s->notes, s->n_notes + 1, sizeof *s->notes);
    if (status == CF_OK) s->notes[s->n_notes++] = (note){ item, order, video, line };
    pthread_mutex_unlock(&l->lock);
    if (status != CF_OK) cf_free(line);
    return status;
}

/* Other videos of the class in an order drawn for this place, until one can be read. */
static cf_status read_other(worker *w, slot *s, size_t item, float *out)
{
    cf_loader *l = w->loader;
    int64_t video = s->place[item];
    size_t start = l->class_start[s->label[item]], end = l->class_start[s->label[item] + 1], n = 0;
    cf_rng rng = cf_rng_make(l->options.seed, CF_RNG_REPLACE, l->epoch, (uint64_t)video);
    for (size_t i = start; i < end; i++)
        if (l->by_class[i] != video) w->others[n++] = l->by_class[i];
    for (size_t tried = 1, left = n; left > 0; tried++) {
        size_t pick = cf_rng_below(&rng, (uint32_t)left);
        int64_t other = w->others[pick];
        w->others[pick] = w->others[--left];
        cf_status status = cf_clip_read(out, &w->reader, (size_t)other, (size_t)video, l->epoch);
        if (status == CF_OK) s->index[item] = other;
        if (status == CF_OK || status == CF_ENOMEM) return status;
        CF_TRY(add_note(l, s, item, tried, other));
    }
    return CF_FAIL(CF_EFORMAT,
                   "video %s cannot be read, nor can any of the other %zu of its class %d to take "
                   "its place",
                   cf_dataset_name(l->dataset, (size_t)video), n, (int)s->label[item]);
}

static cf_status read_item(worker *w, slot *s, size_t item)
{
    cf_loader *l = w->loader;
    float *out = s->video + item * l->sample_floats;
    size_t video = (size_t)s->index[item];
    cf_status status = cf_clip_read(out, &w->reader, video, video, l->epoch);
    if (status == CF_OK || status == CF_ENOMEM || l->options.on_error == CF_ON_ERROR_STOP)
        return status;
    CF_TRY(add_note(l, s, item, 0, (int64_t)video));
    if (l->options.training) return read_other(w, s, item, out);
    s->index[item] = -1;
    return CF_OK;
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
        cf_status status = read_item(w, s, item);
        pthread_mutex_lock(&l->lock);
        s->n_skipped += s->index[item] != s->place[item];
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
 * So one thread serves 16 cores even where it has twelve views to make of a video. Video files are
 * decoded from their start, several a second and thread: there one serves 4 cores. */
static size_t choose_workers(const cf_loader_options *o, const cf_dataset *d)
{
    if (o->workers > 0) return (size_t)o->workers;
    size_t threads = (size_t)cf_threads(), n = 1 + threads / 16;
    if (d && !cf_dataset_is_packed(d))
        n = 1 + threads / 4;
    else if (o->augment.size <= 96)
        n = 1;
    return n > 32 ? 32 : n;
}

static size_t choose_slots(const cf_loader_options *o, size_t n_workers)
{
    return 2 + (n_workers + o->batch - 1) / o->batch;
}

/* Views of a video, and floats of them all. */
static cf_status measure_sample(size_t *views, size_t *floats, const cf_loader_options *o)
{
    CF_TRY(cf_mul_size(views, o->training ? 1 : o->clips, o->training ? 1 : o->crops));
    CF_TRY(cf_mul_size(floats, *views, o->T));
    return cf_mul_size(floats, *floats, 3 * o->augment.size * o->augment.size);
}

static cf_status make_slots(cf_loader *l)
{
    const cf_loader_options *o = &l->options;
    size_t floats, targets;
    CF_TRY(cf_mul_size(&floats, o->batch, l->sample_floats));
    CF_TRY(cf_mul_size(&targets, o->batch, o->n_classes));
    l->n_slots = choose_slots(o, l->n_workers);
    CF_TRY(cf_alloc_zero(&l->slots, l->n_slots, sizeof *l->slots));
    for (size_t i = 0; i < l->n_slots; i++) {
        slot *s = &l->slots[i];
        CF_TRY(cf_alloc(&s->video, floats, sizeof *s->video));
        if (o->training) CF_TRY(cf_alloc(&s->target, targets, sizeof *s->target));
        CF_TRY(cf_alloc(&s->index, o->batch, sizeof *s->index));
        CF_TRY(cf_alloc(&s->place, o->batch, sizeof *s->place));
        CF_TRY(cf_alloc(&s->label, o->batch, sizeof *s->label));
        CF_TRY(cf_alloc(&s->column, o->batch, sizeof *s->column));
    }
    return CF_OK;
}

/* Lists the videos of each class; *most = of the largest one. */
static cf_status make_classes(size_t *most, cf_loader *l)
{
    const cf_dataset *d = l->dataset;
    size_t n = cf_dataset_size(d), K = l->options.n_classes;
    *most = 0;
    if (!l->options.training || l->options.on_error == CF_ON_ERROR_STOP) return CF_OK;
    CF_TRY(cf_alloc(&l->by_class, n, sizeof *l->by_class));
    CF_TRY(cf_alloc_zero(&l->class_start, K + 2, sizeof *l->class_start));
    /* Counted one place on, so that filling moves each start to where it belongs. */
    for (size_t i = 0; i < n; i++) l->class_start[cf_dataset_label(d, i) + 2]++;
    for (size_t k = 0; k < K; k++) {
        if (l->class_start[k + 2] > *most) *most = l->class_start[k + 2];
        l->class_start[k + 2] += l->class_start[k + 1];
    }
    for (size_t i = 0; i < n; i++)
        l->by_class[l->class_start[cf_dataset_label(d, i) + 1]++] = (int64_t)i;
    return CF_OK;
}

static cf_status make_workers(cf_loader *l)
{
    const cf_loader_options *o = &l->options;
    size_t scratch, most;
    CF_TRY(cf_mix_scratch(&scratch, o->batch, o->augment.size));
    CF_TRY(make_classes(&most, l));
    CF_TRY(cf_alloc_zero(&l->workers, l->n_workers, sizeof *l->workers));
    for (size_t i = 0; i < l->n_workers; i++) {
        worker *w = &l->workers[i];
        w->loader = l;
        CF_TRY(cf_clip_reader_init(&w->reader, l->dataset, o));
        if (!o->training) continue;
        CF_TRY(cf_alloc(&w->partner, o->batch, sizeof *w->partner));
        CF_TRY(cf_alloc(&w->scratch, scratch, sizeof *w->scratch));
        if (most) CF_TRY(cf_alloc(&w->others, most, sizeof *w->others));
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
    l->n_workers = choose_workers(o, d);
    CF_GO(measure_sample(&l->views, &l->sample_floats, o));
    CF_GO(cf_order_init(&l->order, d, o->batch, o->n_classes, o->training));
    CF_GO(make_slots(l));
    CF_GO(make_workers(l));
    CF_GO(start_threads(l));
    *out = l;
done:
    if (status != CF_OK) cf_loader_free(l);
    return status;
}

static cf_status measure_order(cf_loader_size *s, const cf_dataset *d, const cf_loader_options *o)
{
    cf_order order;
    if (!d) return CF_OK;
    CF_TRY(cf_order_init(&order, d, o->batch, o->n_classes, o->training));
    s->batches = order.n_batches;
    s->columns = 0;
    for (size_t f = 0; f < order.n_families; f++) {
        size_t n = order.family_start[f + 1] - order.family_start[f];
        if (n > s->columns) s->columns = n;
    }
    cf_order_fini(&order);
    return CF_OK;
}

cf_status cf_loader_measure(cf_loader_size *out, const cf_dataset *d, const cf_loader_options *o)
{
    cf_loader_size s = { .columns = o->n_classes };
    size_t views, floats, bytes, workers = choose_workers(o, d), mix = 0;
    CF_TRY(check_options(o));
    CF_TRY(measure_order(&s, d, o));
    CF_TRY(measure_sample(&views, &floats, o));
    if (o->training) floats += o->n_classes;
    CF_TRY(cf_mul_size(&bytes, o->batch, floats * sizeof(float)));
    if (o->training) CF_TRY(cf_mix_scratch(&mix, o->batch, o->augment.size));
    CF_TRY(cf_mul_size(&s.bytes, choose_slots(o, workers), bytes));
    s.bytes += workers * mix * sizeof(float);
    *out = s;
    return CF_OK;
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
        cf_free(l->workers[i].others);
    }
    for (size_t i = 0; l->slots && i < l->n_slots; i++) {
        slot *s = &l->slots[i];
        cf_free(s->video);
        cf_free(s->target);
        cf_free(s->index);
        cf_free(s->place);
        cf_free(s->label);
        cf_free(s->column);
        forget_notes(s);
    }
    cf_free(l->workers);
    cf_free(l->slots);
    cf_free(l->by_class);
    cf_free(l->class_start);
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

static int by_place(const void *a, const void *b)
{
    const note *x = a, *y = b;
    if (x->item != y->item) return x->item < y->item ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* Each bad video once, in the order in which the batch came upon them. */
static void tell_notes(const cf_loader *l, slot *s)
{
    if (s->n_notes) qsort(s->notes, s->n_notes, sizeof *s->notes, by_place);
    for (size_t i = 0; i < s->n_notes; i++)
        if (cf_dataset_tell_once(l->dataset, (size_t)s->notes[i].video))
            cf_log(CF_LOG_WARNING, "%s: %s", s->notes[i].line,
                   l->options.training ? "another video of its class takes its place"
                                       : "it is not scored");
}

/* The next batch, once it is ready; NULL: there is none. */
static slot *await_slot(cf_loader *l)
{
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
    return s;
}

cf_status cf_loader_next(const cf_batch **out, cf_loader *l)
{
    slot *s;
    if (!l->started) return CF_FAIL(CF_EINVAL, "loader: not started");
    do { /* past batches of a test of which nothing could be read */
        s = await_slot(l);
        if (s) tell_notes(l, s);
        if (s && s->status != CF_OK) return CF_FAIL(s->status, "%s", s->error);
        if (s) l->skipped += s->n_skipped;
    } while (s && s->batch.n == 0);
    *out = s ? &s->batch : NULL;
    return CF_OK;
}

size_t cf_loader_skipped(cf_loader *l)
{
    size_t skipped = l->skipped;
    l->skipped = 0;
    return skipped;
}

double cf_loader_waited_s(cf_loader *l)
{
    double waited = l->waited_s;
    l->waited_s = 0;
    return waited;
}
