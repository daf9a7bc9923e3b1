/* How far a run is: on a terminal one live line, cut to its width; otherwise one line each
 * PRINT_FREQ micro-batches (tests by themselves: each tenth), without control characters, so that a
 * log file stays readable. After each epoch one line stays in both. */
#include "run_print.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Of an interval or epoch spent waiting for videos; above it the run says what helps. */
#define MUCH_WAITING 0.1

/* ---- lines ----------------------------------------------------------------------------------- */

/* Parts in the order of the line; where they do not fit, those with the highest rank go first. */
typedef struct {
    char text[64];
    int rank;
} part;

typedef struct {
    part parts[12];
    size_t n;
} parts;

__attribute__((format(printf, 3, 4))) static void add(parts *l, int rank, const char *format, ...)
{
    va_list list;
    CF_ASSERT(l->n < sizeof l->parts / sizeof *l->parts);
    part *p = &l->parts[l->n++];
    p->rank = rank;
    va_start(list, format);
    vsnprintf(p->text, sizeof p->text, format, list);
    va_end(list);
}

static size_t columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 2) return 79;
    return size.ws_col - 1u; /* the last column makes some terminals go on in the next line */
}

static size_t width_of(const parts *l)
{
    size_t width = 0;
    for (size_t i = 0; i < l->n; i++) width += strlen(l->parts[i].text) + (i > 0 ? 2 : 0);
    return width;
}

static void drop_last_rank(parts *l)
{
    size_t worst = 0;
    for (size_t i = 1; i < l->n; i++)
        if (l->parts[i].rank >= l->parts[worst].rank) worst = i;
    l->n--;
    memmove(l->parts + worst, l->parts + worst + 1, (l->n - worst) * sizeof *l->parts);
}

void run_printer_end(run_printer *p)
{
    if (!p->live) return;
    fprintf(stderr, "\r\033[K");
    fflush(stderr); /* before what comes next on stdout */
    p->live = false;
}

static void print_parts(run_printer *p, parts *l)
{
    char line[1024] = "";
    size_t most = p->terminal ? columns() : sizeof line - 1, at = 0;
    while (l->n > 1 && width_of(l) > most) drop_last_rank(l);
    for (size_t i = 0; i < l->n; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%s", i > 0 ? "  " : "",
                               l->parts[i].text);
    if (!p->terminal) {
        fprintf(stderr, "%s\n", line);
        return;
    }
    fprintf(stderr, "\r\033[K%.*s", (int)most, line);
    fflush(stderr);
    p->live = true;
}

static void add_bar(parts *l, int rank, double done, double of)
{
    enum { WIDTH = 12 };
    char bar[WIDTH + 1];
    double share = of > 0 ? done / of : 1;
    for (int i = 0; i < WIDTH; i++) bar[i] = share * WIDTH >= i + 1 ? '#' : '-';
    bar[WIDTH] = 0;
    add(l, rank, "[%s]", bar);
    add(l, 1, "%3.0f %%", 100 * share);
}

/* ---- training -------------------------------------------------------------------------------- */

static void add_step(run_sums *s, const cf_step_record *r)
{
    s->steps++;
    s->loss += r->loss;
    s->seconds += r->seconds;
    s->data_seconds += r->data_seconds;
    s->videos += r->videos_per_second * r->seconds;
}

static run_sums both(const run_sums *a, const run_sums *b)
{
    return (run_sums){ a->steps + b->steps, a->loss + b->loss, a->seconds + b->seconds,
                       a->data_seconds + b->data_seconds, a->videos + b->videos };
}

static double rate_of(const run_sums *s) { return s->seconds > 0 ? s->videos / s->seconds : 0; }

static double waiting(const run_sums *s)
{
    return s->seconds > 0 ? s->data_seconds / s->seconds : 0;
}

static void print_step(run_printer *p, const cf_run_progress *s, const run_sums *sums)
{
    const cf_step_record *r = &s->record;
    parts l = { .n = 0 };
    char left[32];
    int64_t steps_left = s->steps - r->step - 1;
    double one = steps_left > 0 ? s->seconds_left / (double)steps_left : 0;
    add(&l, 0, "epoch %d/%d", r->epoch + 1, p->epochs);
    if (p->terminal) add_bar(&l, 7, (double)s->epoch_step, (double)s->epoch_steps);
    add(&l, 8, "step %" PRId64 "/%" PRId64, r->step + 1, s->steps);
    add(&l, 2, "loss %.4f", sums->loss / (double)sums->steps);
    if (p->terminal) add(&l, 10, "now %.4f", r->loss);
    add(&l, 6, "lr %.3g", r->lr);
    add(&l, 9, "grad %.3g", r->grad_norm);
    add(&l, 3, "%.1f videos/s", rate_of(sums));
    add(&l, 5, "waiting %.0f %%", 100 * waiting(sums));
    add(&l, 11, "epoch left %s", print_time(left, one * (double)(s->epoch_steps - s->epoch_step)));
    add(&l, 4, "left %s", print_time(left, s->seconds_left));
    print_parts(p, &l);
}

static void advise(run_printer *p, const run_sums *s)
{
    if (p->advised || s->seconds < 1 || waiting(s) <= MUCH_WAITING) return;
    p->advised = true;
    run_printer_end(p);
    fprintf(stderr,
            "note: %.0f %% of the time goes into waiting for videos: raise DATA.WORKERS, or keep "
            "the videos as smaller pictures (crossframe pack)\n",
            100 * waiting(s));
}

static void print_epoch(run_printer *p, const cf_run_progress *s)
{
    char time[32];
    const run_sums *e = &p->epoch;
    run_printer_end(p);
    fprintf(stderr, "epoch %d/%d  loss %.4f  %s  %.1f videos/s  waiting %.0f %%\n",
            s->record.epoch + 1, p->epochs, e->loss / (double)e->steps,
            print_time(time, e->seconds), rate_of(e), 100 * waiting(e));
}

/* Once: how long all of it will take. */
static void tell_rate(run_printer *p, const cf_run_progress *s)
{
    char line[256];
    if (!plan_rate_step(line, &p->rate, s)) return;
    run_printer_end(p);
    fprintf(stderr, "%s\n", line);
}

void run_printer_stepped(void *user, const cf_run_progress *s)
{
    run_printer *p = user;
    size_t interval = s->micro_batch / (size_t)p->print_freq;
    bool epoch_ends = s->epoch_step == s->epoch_steps, first = p->interval == (size_t)-1;
    bool ends = epoch_ends || interval != p->interval;
    double now = cf_seconds();
    p->epochs = (int)(s->steps / (int64_t)s->epoch_steps);
    if (p->quiet) return;
    tell_rate(p, s);
    add_step(&p->now, &s->record);
    add_step(&p->epoch, &s->record);
    const run_sums sums = p->terminal ? both(&p->before, &p->now) : p->now;
    if (p->terminal ? now - p->last_s >= 0.2 : ends && !epoch_ends) {
        print_step(p, s, &sums);
        p->last_s = now;
    }
    if (ends) {
        if (!first) advise(p, &p->now); /* the first step always waits for the first videos */
        p->before = p->now;
        p->now = (run_sums){ 0 };
        p->interval = interval;
    }
    if (!epoch_ends) return;
    print_epoch(p, s);
    p->epoch = (run_sums){ 0 };
    p->interval = 0;
}

/* ---- tests ----------------------------------------------------------------------------------- */

void run_printer_testing(void *user, size_t done, size_t videos)
{
    run_printer *p = user;
    parts l = { .n = 0 };
    char left[32];
    double now = cf_seconds();
    int64_t tenth = (int64_t)(10 * done / videos);
    if (p->quiet) return;
    if (p->test_done == 0) { /* after the first videos: the rate counts from here */
        p->test_first = done;
        p->test_began_s = now;
    }
    p->test_done = done;
    if (done == videos) {
        p->tested = 0;
        p->test_done = 0;
        run_printer_end(p);
        return;
    }
    if (p->terminal ? now - p->last_s < 0.2 : !p->only_test || tenth == p->tested) return;
    p->tested = tenth;
    p->last_s = now;
    add(&l, 0, "testing");
    if (p->terminal) add_bar(&l, 4, (double)done, (double)videos);
    add(&l, 2, "%zu of %zu videos", done, videos);
    if (done > p->test_first && now > p->test_began_s) {
        double rate = (double)(done - p->test_first) / (now - p->test_began_s);
        add(&l, 3, "%.1f videos/s", rate);
        add(&l, 2, "left %s", print_time(left, (double)(videos - done) / rate));
    }
    print_parts(p, &l);
}

/* ---- the library's lines --------------------------------------------------------------------- */

/* The printer that has the screen; NULL: none. A process runs one run at a time. */
static run_printer *screen;

static void print_log(void *user, cf_log_level level, const char *line)
{
    (void)user;
    if (screen && screen->quiet && level == CF_LOG_INFO) return;
    if (screen) run_printer_end(screen);
    fprintf(stderr, "%s%s\n", level == CF_LOG_WARNING ? "warning: " : "", line);
}

void run_printer_watch_log(run_printer *p)
{
    screen = p;
    cf_log_set(print_log, NULL);
}

void run_printer_forget(run_printer *p)
{
    run_printer_end(p);
    if (screen == p) screen = NULL;
}
