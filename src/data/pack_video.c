/* pack_video: one video, decoded from its first frame to its last, becomes encoded frames in a slot
 * of the queue. A JPEG or PNG file that is a frame as it stands is copied, not encoded anew. */
#include "data/pack_job.h"
#include "data/transform.h"

#include <math.h>
#include <string.h>

typedef struct {
    pack_queue *queue;
    pack_slot *slot;
    const cf_packing_options *options;
    cf_media *media;
    int64_t n_frames; /* decoded */
    cf_resize_scratch scratch;
    cf_picture resized;
} work;

static cf_status encode(work *w, const cf_picture *p, int32_t source)
{
    const cf_packing_options *o = w->options;
    uint8_t *coded = NULL;
    size_t n = 3 * p->height * p->width;
    if (o->encoding == CF_ENCODING_PNG)
        CF_TRY(cf_png_encode(&coded, &n, p->pixels, p->height, p->width, 6));
    if (o->encoding == CF_ENCODING_JPEG)
        CF_TRY(cf_jpeg_encode(&coded, &n, p->pixels, p->height, p->width, o->quality));
    cf_status status = pack_queue_put(w->queue, w->slot, coded ? coded : p->pixels, n, source);
    cf_free(coded);
    return status;
}

static cf_status resize(work *w, const cf_picture *p, size_t height, size_t width)
{
    CF_TRY(cf_picture_resize_buffer(&w->resized, height, width));
    CF_TRY(cf_resize_reserve(&w->scratch, width));
    cf_resize(w->resized.pixels, (cf_view){ p->pixels, p->width, p->height, 3 * p->width }, width,
              height, (cf_rect){ 0, 0, width, height }, &w->scratch);
    return CF_OK;
}

static cf_status take_frame(void *user, int64_t frame, const cf_picture *p)
{
    work *w = user;
    const cf_packing_options *o = w->options;
    w->n_frames = frame + 1;
    if (w->n_frames >= INT32_MAX)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: too many frames", cf_media_path(w->media));
    if (frame % o->stride != 0) return CF_OK;
    size_t width = p->width, height = p->height, n;
    if (o->short_side) cf_resize_short_side(&width, &height, (size_t)o->short_side);
    if (width > 65500 || height > 65500)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: frames would become %zu x %zu",
                       cf_media_path(w->media), height, width);
    w->slot->height = (int32_t)height;
    w->slot->width = (int32_t)width;
    if (width != p->width || height != p->height) {
        CF_TRY(resize(w, p, height, width));
        return encode(w, &w->resized, (int32_t)frame);
    }
    const uint8_t *coded;
    cf_encoding encoding;
    if (cf_media_coded(&coded, &n, &encoding, w->media) && encoding == o->encoding)
        return pack_queue_put(w->queue, w->slot, coded, n, (int32_t)frame);
    return encode(w, p, (int32_t)frame);
}

static float stored_fps(const work *w)
{
    double fps = cf_media_fps(w->media) / w->options->stride;
    return isfinite(fps) && fps > 0 ? (float)fps : 0;
}

cf_status pack_video_run(pack_queue *q, pack_slot *s, const pack_root *r, size_t index,
                         const pack_entry *e, const cf_packing_options *o, int threads)
{
    work w = { .queue = q, .slot = s, .options = o };
    uint8_t *bytes = NULL;
    CF_TRY(pack_root_media(&w.media, &bytes, r, index, e->name));
    cf_status status = CF_OK;
    cf_media_set_threads(w.media, threads);
    CF_GO(cf_media_read(w.media, NULL, 0, take_frame, &w));
    if (e->count >= 0 && e->count != w.n_frames)
        CF_GO(CF_FAIL(CF_EFORMAT, "%s has %lld frames, its list says %d", cf_media_path(w.media),
                      (long long)w.n_frames, (int)e->count));
    s->source_frames = (int32_t)w.n_frames;
    s->fps = stored_fps(&w);
done:
    cf_media_close(w.media);
    cf_free(bytes);
    cf_resize_fini(&w.scratch);
    cf_picture_fini(&w.resized);
    return status;
}
