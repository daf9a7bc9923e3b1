/* pack_queue: threads turn entries into frames ahead of the writer, who takes them in order.
 *
 * Entry i lives in slot i % n_slots, and a thread takes the next entry when its slot is free. What
 * is encoded waits in the slot's memory. A thread waits when all slots together hold too much,
 * unless its entry is the one the writer is at: that one may always hold a little, and the writer
 * empties it. So the writer never waits for a thread that waits. */
#include "data/pack_job.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

enum { FIRST_BYTES = 4 << 20 }; /* that the entry whose turn it is may hold in any case */

struct pack_queue {
    const pack_entries *entries;
    const pack_root *root;
    const cf_packing_options *options;
    pack_slot *slots;
    size_t n_slots, most_bytes;
    pthread_t *threads;
    size_t n_threads, wanted_threads;
    pthread_mutex_t lock;      /* guards what follows, and the slots but for their owners' fields */
    pthread_cond_t work, done; /* room or a free slot came; bytes or an end came */
    size_t next, taken, held;  /* the writer's entry; the next one to begin; bytes in all slots */
    bool stopped;
};

static pack_slot *slot_of(const pack_queue *q, size_t entry)
{
    return &q->slots[entry % q->n_slots];
}

/* ---- threads --------------------------------------------------------------------------------- */

static cf_status grow_slot(pack_slot *s, size_t n)
{
    if (n > s->capacity - s->n_bytes) {
        size_t need = s->n_bytes + n;
        size_t capacity =
            need > s->capacity + s->capacity / 2 ? need : s->capacity + s->capacity / 2;
        CF_TRY(cf_realloc(&s->bytes, capacity, 1));
        s->capacity = capacity;
    }
    if (s->n_frames < s->frame_capacity) return CF_OK;
    size_t frames = s->frame_capacity ? 2 * s->frame_capacity : 256;
    CF_TRY(cf_realloc(&s->size, frames, sizeof *s->size));
    CF_TRY(cf_realloc(&s->source, frames, sizeof *s->source));
    s->frame_capacity = frames;
    return CF_OK;
}

cf_status pack_queue_put(pack_queue *q, pack_slot *s, const uint8_t *bytes, size_t n,
                         int32_t source)
{
    cf_status status = CF_OK;
    pthread_mutex_lock(&q->lock);
    while (!q->stopped && s->n_bytes > 0 &&
           (slot_of(q, q->next) == s ? s->n_bytes + n > FIRST_BYTES : q->held + n > q->most_bytes))
        pthread_cond_wait(&q->work, &q->lock);
    if (q->stopped) CF_GO(CF_FAIL(CF_EINTERRUPTED, "stopped"));
    CF_GO(grow_slot(s, n));
    memcpy(s->bytes + s->n_bytes, bytes, n);
    s->n_bytes += n;
    q->held += n;
    s->size[s->n_frames] = (uint32_t)n;
    s->source[s->n_frames++] = source;
    if (slot_of(q, q->next) == s) pthread_cond_signal(&q->done);
done:
    pthread_mutex_unlock(&q->lock);
    return status;
}

static void run_entry(pack_queue *q, size_t entry)
{
    pack_slot *s = slot_of(q, entry);
    size_t left = q->entries->n - entry, threads = left < q->n_threads ? q->n_threads / left : 1;
    cf_status status =
        pack_video_run(q, s, q->root, entry, &q->entries->entry[entry], q->options, (int)threads);
    char *why = NULL;
    if (status != CF_OK && cf_strdup(&why, cf_error()) != CF_OK) status = CF_ENOMEM;
    pthread_mutex_lock(&q->lock);
    s->status = status;
    s->why = why;
    s->done = true;
    pthread_cond_signal(&q->done);
    pthread_mutex_unlock(&q->lock);
}

static void *run_thread(void *user)
{
    pack_queue *q = user;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        while (!q->stopped && q->taken < q->entries->n && slot_of(q, q->taken)->busy)
            pthread_cond_wait(&q->work, &q->lock);
        if (q->stopped || q->taken == q->entries->n) break;
        size_t entry = q->taken++;
        slot_of(q, entry)->busy = true;
        pthread_mutex_unlock(&q->lock);
        run_entry(q, entry);
        pthread_mutex_lock(&q->lock);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* ---- the writer ------------------------------------------------------------------------------ */

static struct timespec later(double seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t ns = t.tv_nsec + (int64_t)(seconds * 1e9);
    t.tv_sec += (time_t)(ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    return t;
}

void pack_queue_take(pack_slot **slot, uint8_t **bytes, size_t *n, size_t *capacity, pack_queue *q,
                     double seconds)
{
    struct timespec until = later(seconds);
    pthread_mutex_lock(&q->lock);
    pack_slot *s = slot_of(q, q->next);
    while (!s->done && s->n_bytes < FIRST_BYTES / 2 &&
           pthread_cond_timedwait(&q->done, &q->lock, &until) != ETIMEDOUT) {}
    bool failed = s->done && s->status != CF_OK; /* its frames are not wanted */
    q->held -= s->n_bytes;
    *n = failed ? 0 : s->n_bytes;
    if (*n > 0) {
        uint8_t *old = *bytes;
        size_t old_capacity = *capacity;
        *bytes = s->bytes, *capacity = s->capacity;
        s->bytes = old, s->capacity = old_capacity;
    }
    s->n_bytes = 0;
    *slot = s->done ? s : NULL;
    pthread_cond_broadcast(&q->work);
    pthread_mutex_unlock(&q->lock);
}

static void slot_fini(pack_slot *s)
{
    cf_free(s->bytes);
    cf_free(s->size);
    cf_free(s->source);
    cf_free(s->why);
}

void pack_queue_next(pack_queue *q)
{
    pthread_mutex_lock(&q->lock);
    pack_slot *s = slot_of(q, q->next++);
    cf_free(s->bytes); /* a long video's memory is not kept */
    cf_free(s->why);
    s->bytes = NULL, s->why = NULL;
    s->capacity = s->n_frames = 0;
    s->busy = s->done = false;
    pthread_cond_broadcast(&q->work);
    pthread_mutex_unlock(&q->lock);
}

/* ---- begin and end --------------------------------------------------------------------------- */

/* Signals are for the caller's thread. */
static cf_status start_threads(pack_queue *q)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = 0;
    pthread_mutex_lock(&q->lock); /* n_threads is read by threads */
    for (size_t i = 0; i < q->wanted_threads && !failed; i++) {
        failed = pthread_create(&q->threads[i], NULL, run_thread, q);
        q->n_threads += !failed;
    }
    pthread_mutex_unlock(&q->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed) return CF_OK;
    return CF_FAIL(CF_ENOMEM, "cannot start %zu threads: %s", q->wanted_threads, strerror(failed));
}

cf_status pack_queue_new(pack_queue **out, const pack_entries *e, const pack_root *r,
                         const cf_packing_options *o, size_t first)
{
    pack_queue *q;
    CF_TRY(cf_alloc_zero(&q, 1, sizeof *q));
    *q = (pack_queue){ .entries = e, .root = r, .options = o, .next = first, .taken = first };
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->work, NULL);
    pthread_cond_init(&q->done, &clock);
    pthread_condattr_destroy(&clock);
    q->wanted_threads = (size_t)o->workers;
    q->n_slots = 4 * q->wanted_threads + 4;
    q->most_bytes = ((size_t)64 << 20) + q->wanted_threads * ((size_t)16 << 20);
    cf_status status = CF_OK;
    CF_GO(cf_alloc_zero(&q->slots, q->n_slots, sizeof *q->slots));
    CF_GO(cf_alloc(&q->threads, q->wanted_threads, sizeof *q->threads));
    CF_GO(start_threads(q));
    *out = q;
    q = NULL;
done:
    pack_queue_free(q);
    return status;
}

void pack_queue_free(pack_queue *q)
{
    if (!q) return;
    pthread_mutex_lock(&q->lock);
    q->stopped = true;
    pthread_cond_broadcast(&q->work);
    pthread_mutex_unlock(&q->lock);
    for (size_t i = 0; i < q->n_threads; i++) pthread_join(q->threads[i], NULL);
    for (size_t i = 0; q->slots && i < q->n_slots; i++) slot_fini(&q->slots[i]);
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->work);
    pthread_cond_destroy(&q->done);
    cf_free(q->slots);
    cf_free(q->threads);
    cf_free(q);
}
