/* Which frames of a video make a clip (spec/data-and-recipe.md 3.1).
 *
 * Sparse: the video is cut into T equal segments and one frame is taken of each: a random one in
 * training, the middle one in a test. View v of V in a test is shifted evenly inside the segments,
 * to their fraction (2v + 1) / 2V, so the published centre is view 0 of 1 and all views are
 * deterministic. The published multi-view test draws its views as in training (Q6), which the
 * option view_sampling restores, with a stream for each video and view.
 * Dense: T frames at interval 64 / T (at least 1), read round the video's end. A window has T *
 * interval frames; training starts it anywhere it fits, test view v of V at the fraction (2v + 1) /
 * 2V of those places. A video shorter than the window is read from frame 0.
 * Indices beyond the end start again at frame 0 (Q5), or stay on the last frame. */
#include "crossframe/data.h"

#include <math.h>

static void sparse_train(int64_t *index, size_t T, size_t n, cf_rng *rng)
{
    size_t segment = n / T;
    CF_ASSERT(segment <= UINT32_MAX);
    for (size_t i = 0; i < T; i++) {
        if (segment == 0) /* rounding can give n itself */
            index[i] = (int64_t)rint((double)i * ((double)n / (double)T));
        else
            index[i] = (int64_t)(i * segment + cf_rng_below(rng, (uint32_t)segment));
    }
}

/* The double expression, not the exact quotient: they differ for some n (checked in the spec). */
static void sparse_test(int64_t *index, size_t T, size_t n, double at)
{
    double segment = (double)n / (double)T;
    for (size_t i = 0; i < T; i++) index[i] = (int64_t)((double)i * segment + segment * at);
}

static size_t dense_interval(size_t T) { return T < 64 ? 64 / T : 1; }

/* Number of places where a dense window fits; a short video has one, its start. */
static size_t dense_places(size_t T, size_t n)
{
    size_t window = T * dense_interval(T);
    return n >= window ? n - window + 1 : 1;
}

static void dense_at(int64_t *index, size_t T, size_t start)
{
    for (size_t i = 0; i < T; i++) index[i] = (int64_t)(start + i * dense_interval(T));
}

static void keep_inside(int64_t *index, size_t T, size_t n, cf_short_videos how)
{
    for (size_t i = 0; i < T; i++) {
        if (index[i] < (int64_t)n) continue;
        index[i] = how == CF_SHORT_LOOP ? index[i] % (int64_t)n : (int64_t)n - 1;
    }
}

/* Training manner, before keep_inside. */
static void draw(int64_t *index, size_t T, size_t n, cf_sampling mode, cf_rng *rng)
{
    CF_ASSERT(T >= 1 && n >= 1);
    if (mode == CF_SAMPLING_SPARSE) {
        sparse_train(index, T, n, rng);
        return;
    }
    size_t places = dense_places(T, n);
    CF_ASSERT(places <= UINT32_MAX);
    dense_at(index, T, cf_rng_below(rng, (uint32_t)places));
}

/* Deterministic, before keep_inside. */
static void place(int64_t *index, size_t T, size_t n, cf_sampling mode, size_t view, size_t views)
{
    CF_ASSERT(T >= 1 && n >= 1 && view < views);
    double at = ((double)view + 0.5) / (double)views;
    if (mode == CF_SAMPLING_DENSE)
        dense_at(index, T, (size_t)(at * (double)dense_places(T, n)));
    else
        sparse_test(index, T, n, at);
}

void cf_sample_train(int64_t *index, size_t T, size_t n, cf_sampling mode, cf_rng *rng)
{
    draw(index, T, n, mode, rng);
    keep_inside(index, T, n, CF_SHORT_LOOP);
}

void cf_sample_test(int64_t *index, size_t T, size_t n, cf_sampling mode, size_t view, size_t views)
{
    place(index, T, n, mode, view, views);
    keep_inside(index, T, n, CF_SHORT_LOOP);
}

void cf_sample_view(int64_t *index, size_t n, const cf_loader_options *o, uint32_t epoch,
                    size_t view, uint64_t video)
{
    bool random = o->view_sampling == CF_VIEWS_RANDOM && o->clips > 1;
    cf_rng rng = o->training ? cf_rng_make(o->seed, CF_RNG_FRAMES, epoch, video)
                             : cf_rng_make(o->seed, CF_RNG_VIEWS, (uint32_t)view, video);
    if (o->training || random)
        draw(index, o->T, n, o->sampling, &rng);
    else
        place(index, o->T, n, o->sampling, view, o->clips);
    keep_inside(index, o->T, n, o->short_videos);
}
