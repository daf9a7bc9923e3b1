/* Contact sheets of batches (crossframe/browse.h).
 *
 * Everything shown comes out of a loader with one thread, so it is what training and tests get: a
 * batch's floats are turned back to bytes (exact for what was bytes before; what mixup has blended
 * is rounded), its soft targets back to shares by undoing the label smoothing. Frame numbers and
 * partners are drawn once more, which the keyed random numbers allow. */
#include "crossframe/browse.h"

#include "batch.h"
#include "page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GAP = 10,
    BETWEEN = 2, /* pixels between frames */
    TEXT = 2,    /* scale of the font */
    LINE = (CF_GLYPH_HEIGHT + 3) * TEXT,
    LEAST_WIDTH = 960,
    MOST_WIDTH = 2400,
    SMALL = 112, /* smaller frames are enlarged to about that */
    WORDS = 512
};
static const uint32_t paper = 0xf6f6f6, ink = 0x202428, faint = 0x707880;

typedef struct {
    const cf_loader_options *options;
    const cf_dataset *dataset;
    const char *const *class_name;
    cf_page page;
    cf_picture frame; /* S x S, then reduced */
    uint8_t *planes;  /* [3, S, S] */
    size_t zoom, shrink, cell, y;
} sheet;

static cf_status sheet_open(sheet *s, size_t rows)
{
    size_t S = s->options->augment.size, T = s->options->T, width;
    s->zoom = S < SMALL ? (SMALL + S / 2) / S : 1;
    s->shrink = 1;
    while (s->zoom > 1 && T * (s->zoom * S + BETWEEN) > MOST_WIDTH) s->zoom--;
    while (s->shrink < S && T * (S / s->shrink + BETWEEN) > MOST_WIDTH) s->shrink++;
    s->cell = S / s->shrink * s->zoom;
    width = 2 * GAP + T * (s->cell + BETWEEN);
    CF_TRY(cf_alloc(&s->planes, S * S, 3));
    CF_TRY(cf_picture_resize_buffer(&s->frame, S, S));
    size_t height = 3 * GAP + LINE + rows * (s->cell + 2 * LINE + GAP);
    return cf_page_init(&s->page, width < LEAST_WIDTH ? LEAST_WIDTH : width, height, paper);
}

static void sheet_close(sheet *s)
{
    cf_page_fini(&s->page);
    cf_picture_fini(&s->frame);
    cf_free(s->planes);
}

/* Means of shrink x shrink pixels, in place. */
static void reduce(cf_picture *p, size_t shrink)
{
    size_t side = p->width / shrink, area = shrink * shrink;
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++)
            for (size_t c = 0; c < 3; c++) {
                size_t sum = area / 2;
                for (size_t i = 0; i < area; i++)
                    sum += p->pixels[3 * ((y * shrink + i / shrink) * p->width + x * shrink +
                                          i % shrink) +
                                     c];
                p->pixels[3 * (y * side + x) + c] = (uint8_t)(sum / area);
            }
    p->width = p->height = side;
}

static void put_text(sheet *s, uint32_t colour, const char *text)
{
    cf_page_text(&s->page, GAP, s->y, TEXT, colour, text);
    s->y += LINE;
}

/* A row: the T frames of a clip, then two lines. */
static void put_clip(sheet *s, const float *video, const char *what, const char *which)
{
    size_t S = s->options->augment.size, T = s->options->T;
    for (size_t t = 0; t < T; t++, video += 3 * S * S) {
        cf_denormalize(s->planes, video, S * S);
        s->frame.width = s->frame.height = S;
        for (size_t i = 0; i < 3 * S * S; i++)
            s->frame.pixels[i] = s->planes[i % 3 * S * S + i / 3];
        if (s->shrink > 1) reduce(&s->frame, s->shrink);
        cf_page_picture(&s->page, GAP + t * (s->cell + BETWEEN), s->y, s->zoom, &s->frame);
    }
    s->y += s->cell + TEXT * 2;
    put_text(s, ink, what);
    put_text(s, faint, which);
    s->y += GAP - TEXT * 2;
}

__attribute__((format(printf, 2, 3))) static void add(char out[WORDS], const char *format, ...)
{
    size_t n = strlen(out);
    va_list args;
    va_start(args, format);
    vsnprintf(out + n, WORDS - n, format, args);
    va_end(args);
}

static void add_frames(char out[WORDS], const sheet *s, size_t n_frames, uint32_t epoch,
                       size_t view, size_t video, int64_t *index)
{
    cf_sample_view(index, n_frames, s->options, epoch, view, video);
    add(out, "frames");
    for (size_t t = 0; t < s->options->T; t++) add(out, " %lld", (long long)index[t]);
    add(out, " of %zu", n_frames);
}

/* ---- clips ----------------------------------------------------------------------------------- */

/* "abseiling 62 % + diving 38 %": smoothing adds e / K to every class and takes e from the rest. */
static void add_labels(char out[WORDS], const sheet *s, const cf_batch *b, size_t i)
{
    const float *target = b->target + i * b->n_columns;
    double smooth = s->options->label_smooth, off = smooth / (double)b->n_columns;
    for (int own = 1; own >= 0; own--)
        for (size_t k = 0; k < b->n_columns; k++) {
            double share = ((double)target[k] - off) / (1 - smooth);
            if ((b->class_id[k] == b->label[i]) != own || share < 5e-4) continue;
            const char *name = s->class_name[b->class_id[k]];
            if (share > 0.9995)
                add(out, "%s", name);
            else
                add(out, "%s%s %.1f %%", *out ? " + " : "", name, 100 * share);
        }
}

typedef struct {
    cf_video_reader *reader;
    int64_t *frame, *partner; /* [T], [batch] */
    uint32_t epoch;
} drawn;

/* Batch number k; its first n clips. */
static cf_status put_batch(sheet *s, const cf_batch *b, size_t k, size_t n, const drawn *again)
{
    cf_mix m;
    int64_t frames;
    bool mixed = cf_mix_batch(&m, again->partner, b->n, s->options, again->epoch, k);
    for (size_t i = 0; i < n; i++) {
        char what[WORDS] = "", which[WORDS] = "";
        size_t video = (size_t)b->index[i];
        CF_TRY(cf_video_reader_open(&frames, again->reader, video));
        add_labels(what, s, b, i);
        add(which, "%s  ", cf_dataset_name(s->dataset, video));
        add_frames(which, s, (size_t)frames, again->epoch, 0, (size_t)b->place[i], again->frame);
        size_t partner = mixed ? (size_t)again->partner[i] : i;
        if (partner != i)
            add(which, "  %s %.1f %% %s", m.cutmix ? "cutmix" : "mixup", 100 * (1 - m.lambda),
                cf_dataset_name(s->dataset, (size_t)b->index[partner]));
        put_clip(s, b->video + i * b->T * 3 * b->size * b->size, what, which);
    }
    return CF_OK;
}

cf_status cf_browse_clips(const char *path, const cf_dataset *d, const cf_loader_options *o,
                          const char *const *class_name, uint32_t epoch, size_t n)
{
    cf_status status = CF_OK;
    cf_loader *l = NULL;
    drawn again = { .epoch = epoch };
    sheet s = { .options = o, .dataset = d, .class_name = class_name, .y = GAP };
    CF_ASSERT(o->training);
    CF_GO(cf_loader_new(&l, d, o));
    size_t most = cf_loader_batches(l) * o->batch;
    if (n > most) n = most;
    CF_GO(cf_video_reader_new(&again.reader, d));
    CF_GO(cf_alloc(&again.frame, o->T, sizeof *again.frame));
    CF_GO(cf_alloc(&again.partner, o->batch, sizeof *again.partner));
    CF_GO(sheet_open(&s, n));
    CF_GO(cf_loader_start(l, epoch, 0));
    char head[WORDS] = "";
    add(head, "epoch %u of %s: %zu clips as trained on, %zu frames of %zu x %zu", epoch,
        cf_dataset_path(d), n, o->T, o->augment.size, o->augment.size);
    put_text(&s, ink, head);
    s.y += GAP / 2;
    for (size_t k = 0; k * o->batch < n; k++) {
        const cf_batch *b;
        size_t left = n - k * o->batch;
        CF_GO(cf_loader_next(&b, l));
        CF_GO(put_batch(&s, b, k, b->n < left ? b->n : left, &again));
    }
    CF_GO(cf_png_write(path, s.page.pixels, s.page.height, s.page.width));
done:
    cf_video_reader_free(again.reader);
    cf_free(again.frame);
    cf_free(again.partner);
    cf_loader_free(l);
    sheet_close(&s);
    return status;
}

/* ---- views ----------------------------------------------------------------------------------- */

typedef struct {
    int64_t n_frames;
    size_t height, width;
} extent;

static cf_status take_size(void *user, int64_t frame, const cf_picture *p)
{
    extent *e = user;
    (void)frame;
    e->height = p->height;
    e->width = p->width;
    return CF_OK;
}

static cf_status read_extent(extent *e, const cf_dataset *d, size_t video)
{
    cf_video_reader *r;
    CF_TRY(cf_video_reader_new(&r, d));
    cf_status status = cf_video_reader_open(&e->n_frames, r, video);
    if (status == CF_OK) status = cf_video_reader_read(r, &(int64_t){ 0 }, 1, take_size, e);
    cf_video_reader_free(r);
    return status;
}

static const char *crop_name(const sheet *s, const extent *v, size_t crop)
{
    static const char *const names[2][3] = { { "left", "right", "middle" },
                                             { "top", "bottom", "middle" } };
    return s->options->crops == 1 ? "centre" : names[v->height > v->width][crop];
}

cf_status cf_browse_views(const char *path, const cf_dataset *d, const cf_loader_options *o,
                          const char *const *class_name, size_t video)
{
    cf_status status = CF_OK;
    cf_loader *l = NULL;
    int64_t *index = NULL;
    const cf_batch *b;
    cf_loader_options one = *o;
    sheet s = { .options = &one, .dataset = d, .class_name = class_name, .y = GAP };
    extent v;
    CF_ASSERT(!o->training && video < cf_dataset_size(d));
    int32_t label = cf_dataset_label(d, video);
    CF_TRY_CTX(read_extent(&v, d, video), "video %s", cf_dataset_name(d, video));
    one.batch = 1;
    one.on_error = CF_ON_ERROR_STOP;
    CF_GO(cf_loader_new(&l, d, &one));
    CF_GO(cf_alloc(&index, o->T, sizeof *index));
    CF_GO(cf_loader_start(l, 0, video));
    CF_GO(cf_loader_next(&b, l));
    CF_GO(sheet_open(&s, b->views));
    char head[WORDS] = "";
    add(head, "%s (%zu x %zu): %s, %zu views, %zu frames of %zu x %zu", cf_dataset_name(d, video),
        v.width, v.height, label < 0 ? "no label" : class_name[label], b->views, o->T, b->size,
        b->size);
    put_text(&s, ink, head);
    s.y += GAP / 2;
    for (size_t view = 0; view < b->views; view++) {
        char what[WORDS] = "", which[WORDS] = "";
        size_t clip = view % o->clips;
        add(what, "clip %zu of %zu, %s crop", clip + 1, o->clips,
            crop_name(&s, &v, view / o->clips));
        add_frames(which, &s, (size_t)v.n_frames, 0, clip, video, index);
        put_clip(&s, b->video + view * b->T * 3 * b->size * b->size, what, which);
    }
    CF_GO(cf_png_write(path, s.page.pixels, s.page.height, s.page.width));
done:
    cf_free(index);
    cf_loader_free(l);
    sheet_close(&s);
    return status;
}

static bool is_end_of(const char *end, const char *name)
{
    size_t n = strlen(name), m = strlen(end);
    return m > 0 && n > m && name[n - m - 1] == '/' && strcmp(name + n - m, end) == 0;
}

cf_status cf_browse_find(size_t *video, const cf_dataset *d, const char *name)
{
    size_t n = cf_dataset_size(d), found = n, fits = 0;
    for (size_t i = 0; i < n; i++) {
        const char *own = cf_dataset_name(d, i);
        bool whole = strcmp(own, name) == 0;
        if (!whole && !is_end_of(name, own)) continue;
        if (!fits++ || whole) found = i;
        if (whole) fits = 1;
        if (whole) break;
    }
    if (fits > 1)
        return CF_FAIL(CF_EINVAL, "%s: %zu videos end in %s, the first is %s", cf_dataset_path(d),
                       fits, name, cf_dataset_name(d, found));
    if (fits == 0) {
        char *end;
        unsigned long long number = strtoull(name, &end, 10);
        bool digits = *name >= '0' && *name <= '9' && *end == 0;
        if (!digits || number >= n)
            return CF_FAIL(CF_ENOTFOUND, "%s: there is no video %s among its %zu%s",
                           cf_dataset_path(d), name, n, digits ? " (numbers start at 0)" : "");
        found = (size_t)number;
    }
    *video = found;
    return CF_OK;
}
