/* What the tests of media share: videos made by the ffmpeg program, and what it decodes of them. */
#ifndef CROSSFRAME_MEDIA_HELP_H
#define CROSSFRAME_MEDIA_HELP_H

#include "test.h"

#include "crossframe/data.h"

/* The conversion of media_video.c in the program's words. */
#define CONVERSION "-sws_flags accurate_rnd+full_chroma_int+bitexact+bilinear"

static inline int shell(const char *format, ...)
{
    char command[4000];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    assert_true(n > 0 && (size_t)n < sizeof command);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* "ffmpeg ARGUMENTS" in the folder; false if this ffmpeg cannot. */
static inline bool ffmpeg_can(const char *folder, const char *arguments)
{
    return shell("cd %s && ffmpeg -nostdin -v fatal -y %s >/dev/null 2>&1", folder, arguments) == 0;
}

static inline void ffmpeg(const char *folder, const char *arguments)
{
    if (!ffmpeg_can(folder, arguments)) fail_msg("ffmpeg %s", arguments);
}

static inline bool media_decodes_video(void)
{
    return strcmp(cf_media_libraries(), "without FFmpeg") != 0;
}

static inline bool have_ffmpeg(void)
{
    return media_decodes_video() && system("ffmpeg -version >/dev/null 2>&1") == 0;
}

/* Frames one behind the other, as -f rawvideo has them. */
typedef struct {
    uint8_t *bytes;
    size_t n, capacity, height, width;
    int64_t n_frames, last;
} collected;

static inline cf_status collect(void *user, int64_t frame, const cf_picture *p)
{
    collected *c = user;
    size_t size = p->height * p->width * 3;
    if (c->n + size > c->capacity) {
        c->capacity = 2 * (c->n + size);
        c->bytes = realloc(c->bytes, c->capacity);
        CF_ASSERT(c->bytes);
    }
    memcpy(c->bytes + c->n, p->pixels, size);
    c->n += size;
    c->height = p->height, c->width = p->width;
    c->n_frames++;
    c->last = frame;
    return CF_OK;
}

static inline void collected_fini(collected *c)
{
    free(c->bytes);
    *c = (collected){ 0 };
}

/* All frames of a file; fails the test if there is an error. */
static inline collected read_media(const char *folder, const char *name)
{
    collected c = { 0 };
    cf_media *m;
    char *path = test_path(folder, name);
    assert_ok(cf_media_open(&m, path));
    assert_ok(cf_media_read(m, NULL, 0, collect, &c));
    cf_media_close(m);
    cf_free(path);
    return c;
}

static inline void expect_bytes(const collected *c, const void *want, size_t n, const char *name)
{
    if (c->n != n) fail_msg("%s: %zu bytes of frames, expected %zu", name, c->n, n);
    for (size_t i = 0; i < n; i++)
        if (c->bytes[i] != ((const uint8_t *)want)[i])
            fail_msg("%s: byte %zu of frame %zu is %d, expected %d", name,
                     i % (c->height * c->width * 3), i / (c->height * c->width * 3), c->bytes[i],
                     ((const uint8_t *)want)[i]);
}

static inline void expect_file(const collected *c, const char *folder, const char *raw,
                               const char *name)
{
    char *path = test_path(folder, raw), *want;
    size_t n;
    assert_ok(cf_file_read(&want, &n, path));
    expect_bytes(c, want, n, name);
    cf_free(want);
    cf_free(path);
}

#endif
