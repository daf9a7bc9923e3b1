/* media_video, inside: the open file (media_input.c) and its frames (media_video.c). */
#ifndef CF_DATA_MEDIA_VIDEO_H
#define CF_DATA_MEDIA_VIDEO_H

#ifdef CF_HAVE_FFMPEG

#include "data/media_parts.h"

#include <libavformat/avformat.h>

typedef struct {
    const char *path;
    const uint8_t *bytes; /* NULL: a file */
    int64_t size, at;
    int descriptor; /* -1: memory */
    AVIOContext *io;
    AVFormatContext *format;
    AVStream *stream; /* the pictures */
    const AVCodec *codec;
} media_input;

/* bytes NULL: the file at path. Finds the video stream and its decoder, or says why not. */
cf_status media_input_open(media_input *in, const char *path, const uint8_t *bytes, size_t n);
cf_status media_input_rewind(media_input *in); /* back to the start, by opening anew */
void media_input_close(media_input *in);       /* also one that is zeroed */
/* The next packet of the pictures: 0, AVERROR_EOF behind the last, else why the file is broken. */
int media_input_next(media_input *in, AVPacket *packet);
int media_input_orientation(const media_input *in); /* EXIF's 1 .. 8 */
int media_matrix_orientation(const int32_t matrix[9]);

/* FFmpeg's lines are kept, not printed: the first error line of this thread since the last forget
 * stands in media_fail's message behind the reason that `code` has. */
void media_log_forget(void);
/* A decoder has written an error in this thread since. */
bool media_decoder_complained(void);
cf_status media_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
#endif
