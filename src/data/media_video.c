/* media_video: the frames of a video file, by FFmpeg's libraries.
 *
 * Every packet is decoded, from the first on, and the decoder emptied at the end, so that frame i
 * is the i-th picture shown: no seeking, no dropping or doubling to an even rate, fields of
 * interlaced pictures left woven, samples taken as square. What the decoder refuses, and a frame it
 * had to conceal, end the reading with the frame it happened at: a concealed picture is a wrong
 * one, and a shorter video is another video. Slips of the stream that cost no picture are let pass
 * (a clip cut without re-encoding names references from before the cut). Colours go to RGB by the
 * stream's own matrix and range (BT.601 where it names none) through swscale's exact paths, which
 * give the same bits on every machine. */
#include "data/media_video.h"

#ifdef CF_HAVE_FFMPEG

#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <pthread.h>
#include <stdio.h>

#define MOST_SIDE 65535
#define MOST_PIXELS (1 << 26)
#define CONVERSION (SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_BITEXACT)

typedef struct {
    cf_media *media;
    media_input in;
    bool used; /* read from since it was opened */
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame, *rgb;
    struct SwsContext *sws;
    cf_picture picture;
    int64_t at; /* frames decoded so far */
    int height, width;
    bool ended;
} video;

static cf_status broken(const video *v, int code)
{
    return media_fail(code, "%s: frame %lld", v->in.path, (long long)v->at);
}

/* ---- decoding -------------------------------------------------------------------------------- */

/* FFV1's decoder puts the picture before in place of what its checksums find damaged, and says so
 * nowhere but in the log, which is this thread's as long as it decodes alone. */
static bool tells_in_log(const video *v) { return v->in.codec->id == AV_CODEC_ID_FFV1; }

static cf_status open_decoder(video *v)
{
    avcodec_free_context(&v->decoder);
    AVCodecContext *c = v->decoder = avcodec_alloc_context3(v->in.codec);
    if (!c) return CF_FAIL(CF_ENOMEM, "%s: FFmpeg: no memory", v->in.path);
    int code = avcodec_parameters_to_context(c, v->in.stream->codecpar);
    c->pkt_timebase = v->in.stream->time_base;
    c->thread_count = tells_in_log(v) ? 1 : v->media->threads;
    c->err_recognition = AV_EF_CRCCHECK;
    c->flags |= AV_CODEC_FLAG_UNALIGNED; /* else a crop at the left is moved to an even address */
    c->max_pixels = MOST_PIXELS;
    if (code >= 0) code = avcodec_open2(c, v->in.codec, NULL);
    if (code < 0) return media_fail(code, "%s: decoder %s", v->in.path, v->in.codec->name);
    return CF_OK;
}

/* The next packet to the decoder, or the word that there are no more. */
static cf_status feed(video *v)
{
    int code = media_input_next(&v->in, v->packet);
    v->ended = code == AVERROR_EOF;
    if (code < 0 && !v->ended)
        return media_fail(code, "%s: the file is cut or damaged after %lld frames", v->in.path,
                          (long long)v->at);
    code = avcodec_send_packet(v->decoder, v->ended ? NULL : v->packet);
    return code < 0 && code != AVERROR_EOF ? broken(v, code) : CF_OK;
}

/* v->frame = the next frame; *got false after the last. */
static cf_status next_frame(video *v, bool *got)
{
    for (;;) {
        int code = avcodec_receive_frame(v->decoder, v->frame);
        *got = code >= 0;
        if (code >= 0) break;
        if (code == AVERROR_EOF) return CF_OK;
        if (code != AVERROR(EAGAIN)) return broken(v, code);
        if (v->ended) return CF_OK;
        CF_TRY(feed(v));
    }
    const AVFrame *f = v->frame;
    if (f->decode_error_flags || (f->flags & AV_FRAME_FLAG_CORRUPT) ||
        (tells_in_log(v) && media_decoder_complained()))
        return broken(v, AVERROR_INVALIDDATA);
    if (f->width < 1 || f->height < 1 || f->width > MOST_SIDE || f->height > MOST_SIDE ||
        (int64_t)f->width * f->height > MOST_PIXELS)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: frame %lld of %d x %d pixels", v->in.path,
                       (long long)v->at, f->height, f->width);
    if (v->at > 0 && (f->width != v->width || f->height != v->height))
        return CF_FAIL(CF_EUNSUPPORTED, "%s: frame %lld is %d x %d, those before it %d x %d",
                       v->in.path, (long long)v->at, f->height, f->width, v->height, v->width);
    v->height = f->height, v->width = f->width;
    return CF_OK;
}

/* ---- pictures -------------------------------------------------------------------------------- */

static int new_rgb(video *v)
{
    av_frame_unref(v->rgb);
    v->rgb->format = AV_PIX_FMT_RGB24;
    v->rgb->width = v->width;
    v->rgb->height = v->height;
    return av_frame_get_buffer(v->rgb, 0);
}

/* Matrix and range of the frame's own tags; where they say nothing, what swscale takes by itself:
 * BT.601, and the range that the pixel format stands for. */
static void set_colours(video *v)
{
    const AVFrame *f = v->frame;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
    int *from, *to, range, to_range, brightness, contrast, saturation;
    if (!d || (d->flags & AV_PIX_FMT_FLAG_RGB) ||
        sws_getColorspaceDetails(v->sws, &from, &range, &to, &to_range, &brightness, &contrast,
                                 &saturation) < 0)
        return;
    if (f->color_range != AVCOL_RANGE_UNSPECIFIED) range = f->color_range == AVCOL_RANGE_JPEG;
    int matrix = f->colorspace;
    if (matrix == AVCOL_SPC_UNSPECIFIED || matrix == AVCOL_SPC_RGB) matrix = SWS_CS_DEFAULT;
    sws_setColorspaceDetails(v->sws, sws_getCoefficients(matrix), range, to, to_range, brightness,
                             contrast, saturation);
}

static int frame_orientation(const video *v)
{
    const AVFrameSideData *own = av_frame_get_side_data(v->frame, AV_FRAME_DATA_DISPLAYMATRIX);
    if (own && own->size >= 9 * sizeof(int32_t))
        return media_matrix_orientation((const int32_t *)(const void *)own->data);
    return media_input_orientation(&v->in);
}

/* By way of a buffer of swscale's liking: it writes beyond the end of short rows. */
static cf_status convert(video *v)
{
    AVFrame *f = v->frame;
    int code = v->rgb->width == v->width && v->rgb->height == v->height ? 0 : new_rgb(v);
    if (code < 0) return broken(v, code);
    v->sws = sws_getCachedContext(v->sws, f->width, f->height, f->format, f->width, f->height,
                                  AV_PIX_FMT_RGB24, CONVERSION, NULL, NULL, NULL);
    if (!v->sws) return broken(v, AVERROR(EINVAL));
    set_colours(v);
    code = sws_scale(v->sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height,
                     v->rgb->data, v->rgb->linesize);
    if (code < 0) return broken(v, code);
    return picture_orient(&v->picture, v->rgb->data[0], (size_t)v->height, (size_t)v->width,
                          (size_t)v->rgb->linesize[0], frame_orientation(v));
}

static cf_status start(video *v)
{
    if (v->used) CF_TRY(media_input_rewind(&v->in));
    v->used = true;
    v->ended = false;
    v->at = 0;
    media_log_forget();
    return open_decoder(v);
}

static cf_status walk(void *source, const media_wish *wish, int64_t *n_frames)
{
    video *v = source;
    CF_TRY(start(v));
    size_t done = 0;
    for (bool got = true;; v->at++) {
        CF_TRY(next_frame(v, &got));
        if (!got) break;
        if (!wish->fn || (wish->frame && wish->frame[done] != v->at)) continue;
        CF_TRY(convert(v));
        CF_TRY(wish->fn(wish->user, v->at, &v->picture));
        if (wish->frame && ++done == wish->n) return CF_OK;
    }
    if (v->at == 0) return media_fail(AVERROR_INVALIDDATA, "%s: no frame in it", v->in.path);
    *n_frames = v->at;
    return CF_OK;
}

/* ---- open ------------------------------------------------------------------------------------ */

static void close_video(void *source)
{
    video *v = source;
    avcodec_free_context(&v->decoder);
    av_packet_free(&v->packet);
    av_frame_free(&v->frame);
    av_frame_free(&v->rgb);
    sws_freeContext(v->sws);
    media_input_close(&v->in);
    cf_picture_fini(&v->picture);
    cf_free(v);
}

static const media_kind kind = { walk, close_video };

cf_status media_open_video(cf_media *m, const uint8_t *bytes, size_t n)
{
    video *v;
    CF_TRY(cf_alloc_zero(&v, 1, sizeof *v));
    v->media = m;
    v->in.descriptor = -1;
    m->kind = &kind;
    m->source = v;
    v->packet = av_packet_alloc();
    v->frame = av_frame_alloc();
    v->rgb = av_frame_alloc();
    if (!v->packet || !v->frame || !v->rgb)
        return CF_FAIL(CF_ENOMEM, "%s: FFmpeg: no memory", m->path);
    CF_TRY(media_input_open(&v->in, m->path, bytes, n));
    AVRational rate = v->in.stream->avg_frame_rate;
    if (rate.num <= 0 || rate.den <= 0) rate = v->in.stream->r_frame_rate;
    if (rate.num > 0 && rate.den > 0) m->fps = av_q2d(rate);
    return CF_OK;
}

static char libraries[80];

static void name_libraries(void)
{
    unsigned c = avcodec_version();
    snprintf(libraries, sizeof libraries, "FFmpeg %.40s (libavcodec %u.%u)", av_version_info(),
             AV_VERSION_MAJOR(c), AV_VERSION_MINOR(c));
}

const char *cf_media_libraries(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, name_libraries);
    return libraries;
}

#else

#include "data/media_parts.h"

cf_status media_open_video(cf_media *m, const uint8_t *bytes, size_t n)
{
    (void)bytes, (void)n;
    return CF_FAIL(CF_EUNSUPPORTED,
                   "%s: neither PNG nor JPEG, and this build has no FFmpeg to decode video files",
                   m->path);
}

const char *cf_media_libraries(void) { return "without FFmpeg"; }

#endif
