/* media_input: a video file as libavformat sees it.
 *
 * A file is not trusted. libavformat reads through our own callbacks, from one descriptor or from
 * memory, and every further file or address that a demuxer asks for (playlists, references to
 * other files) is refused; demuxers that live of other files or make pictures of text are not
 * used at all. The kind of file is told by content alone. */
#include "data/media_video.h"

#ifdef CF_HAVE_FFMPEG

#include <errno.h>
#include <fcntl.h>
#include <libavcodec/avcodec.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IO_BYTES (1 << 16)

/* ---- FFmpeg's words -------------------------------------------------------------------------- */

static _Thread_local char first_line[160];
static _Thread_local bool demuxer_complains, decoder_complains;

static void keep_line(void *object, int level, const char *format, va_list arguments)
{
    if (level > AV_LOG_ERROR) return;
    const AVClass *class = object ? *(const AVClass **)object : NULL;
    if (class && class->get_category && class->get_category(object) == AV_CLASS_CATEGORY_DEMUXER)
        demuxer_complains = true;
    if (class == avcodec_get_class()) decoder_complains = true;
    if (first_line[0]) return;
    const char *name = class && class->item_name ? class->item_name(object) : NULL;
    bool named = name && strcmp(name, "NULL") != 0; /* what parsers without a context say */
    int n = snprintf(first_line, sizeof first_line, "%s%s", named ? name : "", named ? ": " : "");
    if (n < 0 || (size_t)n >= sizeof first_line) return;
    vsnprintf(first_line + n, sizeof first_line - (size_t)n, format, arguments);
    for (char *c = first_line; *c; c++)
        if ((unsigned char)*c < ' ') *c = c[1] ? ' ' : 0;
}

static void take_log(void) { av_log_set_callback(keep_line); }

void media_log_forget(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, take_log);
    first_line[0] = 0;
    decoder_complains = false;
}

bool media_decoder_complained(void) { return decoder_complains; }

cf_status media_fail(int code, const char *format, ...)
{
    char what[600], why[AV_ERROR_MAX_STRING_SIZE] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    av_strerror(code, why, sizeof why);
    cf_status status = code == AVERROR(ENOMEM) ? CF_ENOMEM
                       : code == AVERROR(EIO)  ? CF_EIO
                                               : CF_EFORMAT;
    return CF_FAIL(status, first_line[0] ? "%s: %s (%s)" : "%s: %s", what, why, first_line);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static int give_bytes(void *user, uint8_t *to, int n)
{
    media_input *in = user;
    if (in->at >= in->size || n <= 0) return AVERROR_EOF;
    if (n > in->size - in->at) n = (int)(in->size - in->at);
    if (in->bytes) {
        memcpy(to, in->bytes + in->at, (size_t)n);
    } else {
        ssize_t got;
        do got = pread(in->descriptor, to, (size_t)n, (off_t)in->at);
        while (got < 0 && errno == EINTR);
        if (got < 0) return AVERROR(EIO);
        if (got == 0) return AVERROR_EOF;
        n = (int)got;
    }
    in->at += n;
    return n;
}

static int64_t seek(void *user, int64_t to, int whence)
{
    media_input *in = user;
    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE) return in->size;
    if (whence == SEEK_CUR) to += in->at;
    if (whence == SEEK_END) to += in->size;
    if (to < 0) return AVERROR(EINVAL);
    return in->at = to;
}

static int refuse_other_files(AVFormatContext *f, AVIOContext **io, const char *url, int flags,
                              AVDictionary **options)
{
    (void)io, (void)flags, (void)options;
    av_log(f, AV_LOG_ERROR, "it asks for another file, '%.60s'", url);
    return AVERROR(EPERM);
}

static cf_status open_descriptor(media_input *in)
{
    in->descriptor = open(in->path, O_RDONLY | O_CLOEXEC);
    if (in->descriptor < 0)
        return CF_FAIL(errno == ENOENT || errno == ENOTDIR ? CF_ENOTFOUND : CF_EIO,
                       "cannot open %s: %s", in->path, strerror(errno));
    struct stat info;
    if (fstat(in->descriptor, &info) != 0)
        return CF_FAIL(CF_EIO, "cannot look at %s: %s", in->path, strerror(errno));
    in->size = info.st_size;
    return CF_OK;
}

/* ---- container ------------------------------------------------------------------------------- */

static const char *const refused[] = { "concat", "dash", "hls", "imf", "rtp",
                                       "rtsp",   "sdp",  "tty", "sap", "webm_dash_manifest" };

static cf_status probe(const AVInputFormat **found, media_input *in)
{
    int code = av_probe_input_buffer2(in->io, found, "", NULL, 0, 0);
    if (code < 0) return media_fail(code, "%s: not a video FFmpeg knows", in->path);
    bool no = (*found)->flags & AVFMT_NOFILE;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (strcmp((*found)->name, refused[i]) == 0) no = true;
    if (no)
        return CF_FAIL(CF_EFORMAT, "%s: not a video (FFmpeg takes it for %s, which is not read)",
                       in->path, (*found)->name);
    return CF_OK;
}

static cf_status demuxer(media_input *in)
{
    uint8_t *buffer = av_malloc(IO_BYTES);
    in->io = buffer ? avio_alloc_context(buffer, IO_BYTES, 0, in, give_bytes, NULL, seek) : NULL;
    if (!in->io) av_free(buffer);
    in->format = in->io ? avformat_alloc_context() : NULL;
    if (!in->format) return CF_FAIL(CF_ENOMEM, "%s: FFmpeg: no memory", in->path);
    in->format->pb = in->io;
    in->format->flags |= AVFMT_FLAG_CUSTOM_IO; /* also when closed unopened: the io is ours */
    in->format->io_open = refuse_other_files;
    const AVInputFormat *found = NULL;
    CF_TRY(probe(&found, in));
    AVDictionary *options = NULL;
    av_dict_set(&options, "protocol_whitelist", "none", 0); /* no protocol has this name */
    int code = avformat_open_input(&in->format, "", found, &options);
    av_dict_free(&options);
    if (code >= 0) code = avformat_find_stream_info(in->format, NULL);
    if (code < 0) return media_fail(code, "%s: cannot be read as %s", in->path, found->long_name);
    return CF_OK;
}

static cf_status find_stream(media_input *in)
{
    in->codec = NULL;
    int i = av_find_best_stream(in->format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (i < 0 || (in->format->streams[i]->disposition & AV_DISPOSITION_ATTACHED_PIC))
        return CF_FAIL(CF_EFORMAT, "%s: no video in it (%s, streams: %u)", in->path,
                       in->format->iformat->long_name, in->format->nb_streams);
    in->stream = in->format->streams[i];
    in->codec = avcodec_find_decoder(in->stream->codecpar->codec_id);
    if (!in->codec)
        return CF_FAIL(CF_EUNSUPPORTED, "%s: this FFmpeg has no decoder for %s", in->path,
                       avcodec_get_name(in->stream->codecpar->codec_id));
    for (unsigned s = 0; s < in->format->nb_streams; s++)
        if ((int)s != i) in->format->streams[s]->discard = AVDISCARD_ALL;
    return CF_OK;
}

static void close_demuxer(media_input *in)
{
    avformat_close_input(&in->format);
    if (in->io) av_freep(&in->io->buffer);
    avio_context_free(&in->io);
    in->stream = NULL;
}

static cf_status open_all(media_input *in)
{
    media_log_forget();
    in->at = 0;
    CF_TRY(demuxer(in));
    return find_stream(in);
}

cf_status media_input_open(media_input *in, const char *path, const uint8_t *bytes, size_t n)
{
    *in = (media_input){ .path = path, .bytes = bytes, .size = (int64_t)n, .descriptor = -1 };
    if (!bytes) CF_TRY(open_descriptor(in));
    return open_all(in);
}

cf_status media_input_rewind(media_input *in)
{
    close_demuxer(in);
    return open_all(in);
}

void media_input_close(media_input *in)
{
    close_demuxer(in);
    if (in->descriptor >= 0) close(in->descriptor);
    in->descriptor = -1;
}

/* ---- packets --------------------------------------------------------------------------------- */

/* `n` bytes at `at`, beside the demuxer's reading. */
static bool peek(uint8_t *to, int n, const media_input *in, int64_t at)
{
    media_input other = *in;
    other.at = at;
    return at >= 0 && give_bytes(&other, to, n) == n;
}

static int64_t little32(const uint8_t *p)
{
    return (int64_t)((uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0]);
}

/* A list of frames that goes beyond the end of the file. Size 0: its writer was stopped before it
 * knew. */
static bool avi_is_cut(const media_input *in)
{
    uint8_t h[12];
    for (int64_t at = 0; peek(h, 12, in, at);) {
        int64_t size = little32(h + 4), end = at + 8 + size + size % 2;
        bool list = memcmp(h, "LIST", 4) == 0;
        if (list && memcmp(h + 8, "movi", 4) == 0 && end > in->size && size != UINT32_MAX)
            return true;
        at = memcmp(h, "RIFF", 4) == 0 ? at + 12 : end;
    }
    return false;
}

/* An EBML number of 1 to 8 bytes; -1: unknown, or none. */
static int64_t ebml_size(int *length, const uint8_t *p)
{
    int n = 1;
    while (n <= 8 && !(p[0] >> (8 - n))) n++;
    *length = n;
    int64_t v = n <= 8 ? p[0] & (0xff >> n) : 0, ones = n <= 8 ? 0xff >> n : 0;
    for (int i = 1; i < n && i < 8; i++) v = v << 8 | p[i], ones = ones << 8 | 0xff;
    return n > 8 || v == ones ? -1 : v;
}

/* The segment behind the head goes beyond the end of the file. */
static bool matroska_is_cut(const media_input *in)
{
    uint8_t h[12];
    int length;
    if (!peek(h, 12, in, 0)) return true;
    int64_t at = 4 + ebml_size(&length, h + 4) + length;
    if (!peek(h, 12, in, at) || memcmp(h, "\x18\x53\x80\x67", 4) != 0) return false;
    int64_t size = ebml_size(&length, h + 4);
    return size >= 0 && size > in->size - at - 4 - length;
}

/* Cut between two pictures, of which the demuxers say nothing, or only in the log. A whole GIF ends
 * with the trailer that the demuxer stopped at. */
static bool is_cut(const media_input *in)
{
    uint8_t byte;
    const char *name = in->format->iformat->name;
    if (demuxer_complains) return true;
    if (strcmp(name, "avi") == 0) return avi_is_cut(in);
    if (strncmp(name, "matroska", 8) == 0) return matroska_is_cut(in);
    if (strcmp(name, "gif") == 0) return !peek(&byte, 1, in, avio_tell(in->io) - 1) || byte != ';';
    return false;
}

int media_input_next(media_input *in, AVPacket *packet)
{
    for (;;) {
        av_packet_unref(packet);
        demuxer_complains = false;
        int code = av_read_frame(in->format, packet);
        if (code == AVERROR_EOF && in->io->error < 0) return in->io->error;
        if (code == AVERROR_EOF && is_cut(in)) return AVERROR_INVALIDDATA;
        if (code < 0) return code;
        if (packet->stream_index != in->stream->index) continue;
        if (packet->flags & AV_PKT_FLAG_CORRUPT) return AVERROR_INVALIDDATA;
        if (packet->size > 0) return 0; /* an empty one would tell the decoder of the end */
    }
}

/* ---- as shown -------------------------------------------------------------------------------- */

/* x' = m[0] x + m[3] y, y' = m[1] x + m[4] y, to the nearest of the eight ways without a slant. */
int media_matrix_orientation(const int32_t m[9])
{
    double straight = fabs((double)m[0]) + fabs((double)m[4]);
    double turned = fabs((double)m[1]) + fabs((double)m[3]);
    if (turned > straight) return m[3] > 0 ? (m[1] > 0 ? 5 : 8) : (m[1] > 0 ? 6 : 7);
    return m[0] < 0 ? (m[4] < 0 ? 3 : 2) : (m[4] < 0 ? 4 : 1);
}

int media_input_orientation(const media_input *in)
{
    size_t n = 0;
    const uint8_t *matrix = NULL;
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
    const AVCodecParameters *c = in->stream->codecpar;
    const AVPacketSideData *side = av_packet_side_data_get(
        c->coded_side_data, c->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    if (side) matrix = side->data, n = side->size;
#else
    matrix = av_stream_get_side_data(in->stream, AV_PKT_DATA_DISPLAYMATRIX, &n);
#endif
    if (!matrix || n < 9 * sizeof(int32_t)) return 1;
    return media_matrix_orientation((const int32_t *)(const void *)matrix);
}

#endif
