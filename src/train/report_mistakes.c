/* The most confident mistakes of the newest test, with frames of the videos.
 *
 * The frames come from DATA.VAL_FILE as the run's configuration names it, cut as a test would cut
 * them. Where the data is gone, or not what was tested, the page says so and shows names alone. */
#include "report_parts.h"

#include <math.h>
#include <string.h>

enum { THUMB = 96, FRAMES = 3, QUALITY = 82 };

typedef struct {
    const report_run *run;
    cf_dataset *data; /* NULL: not there */
    cf_viewer *viewer;
    float *pixels;  /* [FRAMES, 3, THUMB, THUMB], normalised */
    uint8_t *bytes; /* [THUMB, THUMB, 3] */
} thumbs;

static void thumbs_fini(thumbs *t)
{
    cf_viewer_free(t->viewer);
    cf_dataset_free(t->data);
    cf_free(t->pixels);
    cf_free(t->bytes);
}

static cf_status thumbs_init(thumbs *out, const report_run *r)
{
    thumbs t = { .run = r };
    cf_status status = CF_OK;
    const cf_config *c = r->config;
    if (!c) return CF_FAIL(CF_ENOTFOUND, "there is no config.yaml to say where the videos are");
    if (!*c->data.val_file) return CF_FAIL(CF_ENOTFOUND, "config.yaml names no DATA.VAL_FILE");
    const cf_view_options view = { .T = FRAMES,
                                   .size = THUMB,
                                   .clips = 1,
                                   .crops = 1,
                                   .sampling = CF_SAMPLING_SPARSE,
                                   .short_videos = c->data.short_videos };
    CF_GO(cf_dataset_open_partial(&t.data, c->data.val_file, c->data.root));
    CF_GO(cf_viewer_new(&t.viewer, &view));
    CF_GO(cf_alloc(&t.pixels, cf_viewer_floats(t.viewer), sizeof *t.pixels));
    CF_GO(cf_alloc(&t.bytes, THUMB * THUMB * 3, 1));
    *out = t;
    return CF_OK;
done:
    thumbs_fini(&t);
    return status;
}

/* The video of a row of test.h5; its place if that still has its name, else wherever it is. */
static cf_status find_video(size_t *out, const thumbs *t, size_t row)
{
    const char *name = t->run->test.name[row];
    size_t n = cf_dataset_size(t->data);
    if (row < n && strcmp(cf_dataset_name(t->data, row), name) == 0) return *out = row, CF_OK;
    for (size_t i = 0; i < n; i++)
        if (strcmp(cf_dataset_name(t->data, i), name) == 0) return *out = i, CF_OK;
    return CF_FAIL(CF_ENOTFOUND, "not in %s any more", cf_dataset_path(t->data));
}

/* Undoes the network's normalisation (spec/data-and-recipe.md 4.10). */
static void to_bytes(uint8_t *out, const float *frame)
{
    static const float mean[3] = { 123.675f, 116.28f, 103.53f };
    static const float deviation[3] = { 58.395f, 57.12f, 57.375f };
    const size_t n = THUMB * THUMB;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++) {
            float v = frame[c * n + i] * deviation[c] + mean[c] + 0.5f;
            out[3 * i + c] = v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
        }
}

static cf_status put_frames(markup *m, thumbs *t, size_t row)
{
    size_t video;
    CF_TRY(find_video(&video, t, row));
    CF_TRY(cf_viewer_dataset(t->pixels, t->viewer, t->data, video));
    for (size_t f = 0; f < FRAMES; f++) {
        uint8_t *jpeg;
        size_t n;
        to_bytes(t->bytes, t->pixels + f * 3 * THUMB * THUMB);
        CF_TRY(cf_jpeg_encode(&jpeg, &n, t->bytes, THUMB, THUMB, QUALITY));
        markup_put(
            m,
            "<img width=\"%d\" height=\"%d\" alt=\"frame %zu of %d\" src=\"data:image/jpeg;base64,",
            THUMB, THUMB, f + 1, FRAMES);
        markup_base64(m, jpeg, n);
        markup_raw(m, "\"/>");
        cf_free(jpeg);
    }
    return CF_OK;
}

static cf_status put_mistake(markup *m, thumbs *t, size_t row)
{
    const test_record *test = &t->run->test;
    const int32_t label = test->label[row], first = test->prediction[row * test->k];
    markup_raw(m, "<figure class=\"mistake\">");
    if (t->data) {
        markup_raw(m, "<div class=\"frames\">");
        cf_status status = put_frames(m, t, row);
        if (status == CF_ENOMEM) return status;
        if (status != CF_OK) {
            markup_raw(m, "<p class=\"none\">");
            markup_text(m, cf_error());
            markup_raw(m, "</p>");
        }
        markup_raw(m, "</div>");
    }
    markup_raw(m, "<figcaption><span class=\"mark right\">is</span> ");
    markup_text(m, test->class_name[label]);
    markup_raw(m, "<br/><span class=\"mark wrong\">taken for</span> ");
    markup_text(m, test->class_name[first]);
    markup_put(m, " <small>%.1f %%</small><br/><small class=\"name\">",
               100 * (double)test->score[row * test->k]);
    markup_text(m, test->name[row]);
    markup_raw(m, "</small></figcaption></figure>\n");
    return CF_OK;
}

cf_status report_put_mistakes(markup *m, const report_run *r, size_t most)
{
    enum { MOST = 24 };
    size_t row[MOST], n;
    thumbs t = { .run = r };
    CF_ASSERT(most <= MOST);
    CF_TRY(test_mistakes(row, &n, &r->test, most));
    if (n == 0) {
        markup_raw(m, "<p>No scored video was taken for another class.</p>\n");
        return CF_OK;
    }
    cf_status status = thumbs_init(&t, r);
    if (status == CF_ENOMEM) return status;
    if (status != CF_OK) {
        cf_log(CF_LOG_WARNING, "%s: no frames of mistaken videos: %s", r->folder, cf_error());
        markup_raw(
            m, "<p class=\"note\">The test data cannot be read here, so there are no pictures: ");
        markup_text(m, cf_error());
        markup_raw(m, "</p>\n");
    }
    markup_raw(m, "<div class=\"mistakes\">\n");
    status = CF_OK;
    for (size_t i = 0; i < n && status == CF_OK; i++) status = put_mistake(m, &t, row[i]);
    markup_raw(m, "</div>\n");
    thumbs_fini(&t);
    return status;
}
