/* Video files that are not whole, or not videos: a cut or damaged file is an error with the place,
 * never a shorter video; playlists open nothing; no input crashes, hangs or leaks. */
#include "media_help.h"
#include "test_in_folder.h"

#define SOURCE "-f lavfi -i testsrc2=size=70x46:rate=25:duration=1.24 "
enum { FRAMES = 31 };
static bool made;
static char *bytes;
static size_t n_bytes;

static int setup(void **state)
{
    folder_setup(state);
    made = have_ffmpeg();
    if (!made) print_message("# no ffmpeg program or library: damage of videos is not tested\n");
    return 0;
}

static void make_video(const char *how)
{
    char arguments[400];
    snprintf(arguments, sizeof arguments, SOURCE "%s", how);
    ffmpeg(folder, arguments);
    char *path = test_path(folder, strrchr(how, ' ') + 1);
    cf_free(bytes);
    bytes = NULL;
    assert_ok(cf_file_read(&bytes, &n_bytes, path));
    cf_free(path);
}

/* One number of all pixels of all frames. */
typedef struct {
    int64_t frames;
    uint64_t pixels;
} summary;

static cf_status sum_up(void *user, int64_t frame, const cf_picture *p)
{
    summary *s = user;
    s->frames = frame + 1;
    s->pixels = 31 * s->pixels + cf_hash64(p->pixels, p->height * p->width * 3);
    return CF_OK;
}

/* frames -1: an error, that names the file. */
static summary summary_of(const void *data, size_t n)
{
    cf_media *m = NULL;
    summary s = { 0 };
    int64_t count = -1;
    uint8_t *exact = test_malloc(n ? n : 1); /* so that reading beyond it is seen */
    memcpy(exact, data, n);
    cf_status status = cf_media_open_memory(&m, exact, n, "some.name");
    if (status == CF_OK) status = cf_media_count(&count, m);
    if (status == CF_OK) status = cf_media_read(m, NULL, 0, sum_up, &s);
    if (status == CF_OK)
        assert_int_equal(s.frames, count);
    else if (strncmp(cf_error(), "some.name", 9) != 0)
        fail_msg("'%s' does not begin with the name", cf_error());
    cf_media_close(m);
    test_free(exact);
    if (status != CF_OK) s.frames = -1;
    return s;
}

static void a_cut_file_is_never_a_shorter_video(void **state)
{
    (void)state;
    if (!made) skip();
    static const char *const how[] = {
        "-c:v mpeg4 -bf 2 cut.mp4",
        "-c:v mpeg4 -movflags +faststart cut.mp4",
        "-c:v mpeg4 cut.avi",
        "-c:v mpeg4 -bf 2 cut.mkv",
        "-an cut.gif",
        "-c:v mjpeg cut.mov",
    };
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        make_video(how[i]);
        assert_int_equal(summary_of(bytes, n_bytes).frames, FRAMES);
        size_t errors = 0;
        for (size_t k = 0; k < 60; k++) {
            size_t n = n_bytes * k / 60 + k % 3;
            int64_t frames = summary_of(bytes, n).frames;
            if (frames >= 0 && frames != FRAMES)
                fail_msg("%s: %zu of %zu bytes are %d frames", how[i], n, n_bytes, (int)frames);
            errors += frames < 0;
        }
        if (errors < 45) fail_msg("%s: %zu errors", how[i], errors);
    }
}

/* ffv1 has a checksum in every slice: no damage may become a wrong pixel. (A damaged time stamp of
 * the container is none of the pixels'.) */
static void damage_of_checked_data_is_always_seen(void **state)
{
    (void)state;
    if (!made) skip();
    make_video("-c:v ffv1 -level 3 -slicecrc 1 -g 1 bad.mkv");
    summary whole = summary_of(bytes, n_bytes);
    size_t errors = 0;
    for (size_t k = 1; k < 40; k++) {
        size_t at = n_bytes / 10 + (n_bytes * 8 / 10) * k / 40;
        bytes[at] = (char)(bytes[at] ^ 0x55);
        summary got = summary_of(bytes, n_bytes);
        bytes[at] = (char)(bytes[at] ^ 0x55);
        if (got.frames >= 0 && got.pixels != whole.pixels)
            fail_msg("byte %zu of %zu is damaged, and %d frames are read", at, n_bytes,
                     (int)got.frames);
        errors += got.frames < 0;
    }
    assert_true(errors > 30);
}

static void any_damage_is_survived(void **state)
{
    (void)state;
    if (!made) skip();
    static const char *const how[] = { "-c:v mpeg4 -bf 2 bad.mp4", "-c:v mjpeg bad.avi",
                                       "-c:v mpeg4 bad.mkv", "-an bad.gif",
                                       "-c:v mpeg2video bad.ts" };
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        make_video(how[i]);
        cf_rng r = cf_rng_make(5, CF_RNG_TEST, 0, i);
        for (int k = 0; k < 60; k++) {
            char *copy = test_malloc(n_bytes);
            memcpy(copy, bytes, n_bytes);
            for (uint32_t edits = 1 + cf_rng_below(&r, 8); edits > 0; edits--) {
                /* Half of them in the first kilobyte, where the structure is. */
                size_t most = k % 2 && n_bytes > 1024 ? 1024 : n_bytes;
                copy[cf_rng_below(&r, (uint32_t)most)] = (char)cf_rng_u32(&r);
            }
            summary_of(copy, n_bytes);
            test_free(copy);
        }
    }
}

static void expect_refusal(const char *name, cf_status code, const char *why)
{
    cf_media *m = NULL;
    int64_t n;
    char *path = test_path(folder, name);
    cf_status status = cf_media_open(&m, path);
    if (status == CF_OK) status = cf_media_count(&n, m);
    if (status != code || !strstr(cf_error(), why) || !strstr(cf_error(), path))
        fail_msg("%s: status %d, '%s', expected '%s'", name, (int)status, cf_error(), why);
    cf_media_close(m);
    cf_free(path);
}

static void write_text(const char *name, const char *text)
{
    char *path = test_path(folder, name);
    assert_ok(cf_file_write(path, text, strlen(text)));
    cf_free(path);
}

static void what_is_no_video_is_refused(void **state)
{
    (void)state;
    if (!made) skip();
    static char noise[70000];
    cf_rng r = cf_rng_make(6, CF_RNG_TEST, 0, 0);
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (char)cf_rng_u32(&r);
    char *path = test_path(folder, "noise.mp4");
    assert_ok(cf_file_write(path, noise, sizeof noise));
    cf_free(path);
    expect_refusal("noise.mp4", CF_EFORMAT, "not a video FFmpeg knows");
    write_text("text.mp4", "Some words that are no video.\n");
    expect_refusal("text.mp4", CF_EFORMAT, "not a video");
    ffmpeg(folder, "-f lavfi -i sine=d=0.2 sound.wav");
    expect_refusal("sound.wav", CF_EFORMAT, "no video in it");
    ffmpeg(folder, SOURCE "-frames:v 1 cover.png");
    if (ffmpeg_can(folder, "-i sound.wav -i cover.png -map 0 -map 1 -c:v copy -c:a flac "
                           "-disposition:v attached_pic cover.flac"))
        expect_refusal("cover.flac", CF_EFORMAT, "no video in it");
}

/* Names a second, whole video beside it in each way that FFmpeg's demuxers follow. */
static void a_video_file_opens_no_other_file(void **state)
{
    (void)state;
    if (!made) skip();
    make_video("-c:v mpeg2video other.ts");
    assert_int_equal(summary_of(bytes, n_bytes).frames, FRAMES);
    static const struct {
        const char *name, *text;
    } lists[] = {
        { "list.m3u8",
          "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n%s/other.ts\n"
          "#EXT-X-ENDLIST\n" },
        { "list.ffconcat", "ffconcat version 1.0\nfile '%s/other.ts'\n" },
        { "list.mpd",
          "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
          "type=\"static\"><Period><AdaptationSet mimeType=\"video/mp2t\"><Representation "
          "id=\"0\"><BaseURL>%s/other.ts</BaseURL></Representation></AdaptationSet>"
          "</Period></MPD>" },
        { "list.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=%s\nc=IN IP4 127.0.0.1\nt=0 0\n"
                      "m=video 5004 RTP/AVP 33\n" },
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char text[1000];
        snprintf(text, sizeof text, lists[i].text, folder);
        write_text(lists[i].name, text);
        /* Not why: a G in the folder's name makes FFmpeg take so short a text for MPEG-TS. */
        expect_refusal(lists[i].name, CF_EFORMAT, "");
    }
}

/* Two streams of elementary pictures, one behind the other. */
static void a_change_of_size_is_refused_with_the_frame(void **state)
{
    (void)state;
    if (!made) skip();
    ffmpeg(folder, SOURCE "-c:v mpeg2video -g 1 a.m2v");
    ffmpeg(folder, SOURCE "-vf scale=96:64 -c:v mpeg2video -g 1 b.m2v");
    assert_int_equal(shell("cd %s && cat a.m2v b.m2v >ab.m2v", folder), 0);
    expect_refusal("ab.m2v", CF_EUNSUPPORTED, "is 64 x 96, those before it 46 x 70");
}

static void no_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    if (!made) skip();
    make_video("-c:v mpeg4 mem.avi");
    char *path = test_path(folder, "mem.avi");
    size_t before = cf_memory_stats_get().bytes_now, n = 1;
    for (cf_status status = CF_ENOMEM; status != CF_OK; n++) {
        cf_media *m = NULL;
        summary s = { 0 };
        cf_memory_fail_at(n);
        status = cf_media_open(&m, path);
        if (status == CF_OK) status = cf_media_read(m, NULL, 0, sum_up, &s);
        cf_memory_fail_at(0);
        if (status != CF_OK) assert_int_equal(status, CF_ENOMEM);
        cf_media_close(m);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
    assert_true(n > 3);
    cf_free(path);
}

static int teardown(void **state)
{
    cf_free(bytes);
    return folder_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_cut_file_is_never_a_shorter_video),
        TEST(damage_of_checked_data_is_always_seen),
        TEST(any_damage_is_survived),
        TEST(what_is_no_video_is_refused),
        TEST(a_video_file_opens_no_other_file),
        TEST(a_change_of_size_is_refused_with_the_frame),
        TEST(no_memory_is_an_error_and_no_leak),
    };
    return cmocka_run_group_tests(tests, setup, teardown) != 0;
}
