/* Video files of many kinds, made by the ffmpeg program: lossless ones equal their source, others
 * what ffmpeg itself decodes; rotation, uneven rates, threads, frames picked. */
#include "media_help.h"
#include "test_in_folder.h"

#include <pthread.h>

/* 31 frames whose rows are not a multiple of anything. */
#define SOURCE "-f lavfi -i testsrc2=size=70x46:rate=25:duration=1.24"

static bool made;

static int setup(void **state)
{
    folder_setup(state);
    made = have_ffmpeg();
    if (!made) print_message("# no ffmpeg program or library: videos are not tested\n");
    if (!made) return 0;
    ffmpeg(folder, SOURCE " -f rawvideo -pix_fmt rgb24 source.raw");
    assert_int_equal(shell("ffmpeg -v error -encoders >%s/encoders", folder), 0);
    return 0;
}

static void make_video(const char *name, const char *how)
{
    char arguments[600];
    snprintf(arguments, sizeof arguments,
             "-f rawvideo -pix_fmt rgb24 -s 70x46 -r 25 -i source.raw %s %s", how, name);
    ffmpeg(folder, arguments);
}

static void lossless_videos_equal_their_source(void **state)
{
    (void)state;
    if (!made) skip();
    static const struct {
        const char *name, *how;
    } videos[] = {
        { "ffv1.mkv", "-c:v ffv1 -pix_fmt gbrp" },
        { "ffv1.avi", "-c:v ffv1 -pix_fmt bgr0" },
        { "png.mkv", "-c:v png" },
        { "png.mov", "-c:v png -pix_fmt rgba" },
        { "raw.avi", "-c:v rawvideo -pix_fmt bgr24" },
    };
    for (size_t i = 0; i < sizeof videos / sizeof *videos; i++) {
        make_video(videos[i].name, videos[i].how);
        collected c = read_media(folder, videos[i].name);
        assert_int_equal(c.n_frames, 31);
        expect_file(&c, folder, "source.raw", videos[i].name);
        collected_fini(&c);
    }
}

static void expect_count_of_ffprobe(const char *name, int64_t n)
{
    char *path = test_path(folder, "count"), *text;
    size_t length;
    assert_int_equal(
        shell("cd %s && ffprobe -v error -select_streams v:0 -count_frames -show_entries "
              "stream=nb_read_frames -of csv=p=0 %s | head -n 1 | tr -d , >count",
              folder, name),
        0);
    assert_ok(cf_file_read(&text, &length, path));
    if (atoi(text) != n) fail_msg("%s: ffprobe counts %s frames, we %d", name, text, (int)n);
    cf_free(text);
    cf_free(path);
}

/* Frames as the program decodes and converts them. */
static void expect_as_ffmpeg(const char *name, int n_frames)
{
    char arguments[600], *path = test_path(folder, name);
    cf_media *m;
    int64_t n;
    snprintf(
        arguments, sizeof arguments,
        "-noautorotate -i %s -map 0:v:0 -vsync passthrough -f rawvideo -pix_fmt rgb24 " CONVERSION
        " ref.raw",
        name);
    ffmpeg(folder, arguments);
    collected c = read_media(folder, name);
    expect_file(&c, folder, "ref.raw", name);
    assert_ok(cf_media_open(&m, path));
    assert_ok(cf_media_count(&n, m));
    if (n != n_frames || c.n_frames != n) fail_msg("%s: %d frames", name, (int)n);
    cf_media_close(m);
    cf_free(path);
    collected_fini(&c);
}

static void lossy_videos_equal_what_ffmpeg_gives(void **state)
{
    (void)state;
    if (!made) skip();
    static const struct {
        const char *name, *how, *encoder;
        int n; /* negative: ffprobe counts too */
    } videos[] = {
        { "b.mp4", "-c:v libx264 -bf 3 -pix_fmt yuv420p", "libx264", -31 },
        { "ten.mkv", "-c:v libx264 -pix_fmt yuv420p10le", "libx264", 31 },
        { "444.mp4", "-c:v libx264 -pix_fmt yuv444p", "libx264", 31 },
        { "gray.mp4", "-c:v libx264 -pix_fmt gray", "libx264", 31 },
        { "full.mp4", "-c:v libx264 -pix_fmt yuv420p -color_range pc", "libx264", 31 },
        { "bt709.mp4", "-c:v libx264 -pix_fmt yuv420p -colorspace bt709", "libx264", 31 },
        { "x265.mp4", "-c:v libx265 -x265-params log-level=none", "libx265", 31 },
        { "x.ts", "-c:v libx264 -pix_fmt yuv420p", "libx264", -31 },
        { "x.264", "-c:v libx264 -pix_fmt yuv420p", "libx264", 31 },
        { "odd.mp4", "-vf crop=33:17 -c:v libx264 -pix_fmt yuv444p", "libx264", 31 },
        { "mpeg4.avi", "-c:v mpeg4 -bf 2 -q:v 4", "mpeg4", -31 },
        { "odd.avi", "-vf crop=33:17 -c:v mpeg4", "mpeg4", 31 },
        { "mjpeg.avi", "-c:v mjpeg", "mjpeg", 31 },
        { "stream.mjpeg", "-c:v mjpeg", "mjpeg", 31 },
        { "mpeg2.mpg", "-c:v mpeg2video -bf 2", "mpeg2video", 31 },
        { "vp8.webm", "-c:v libvpx -deadline realtime -cpu-used 8", "libvpx", 31 },
        { "vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8", "libvpx-vp9", -31 },
        { "alpha.webm", "-pix_fmt yuva420p -c:v libvpx -deadline realtime -auto-alt-ref 0",
          "libvpx", 31 },
        { "a.gif", "", "gif", -31 },
        { "one.mp4", "-frames:v 1 -c:v mpeg4", "mpeg4", -1 },
        { "woven.mpg", "-vf interlace -c:v mpeg2video -flags +ildct+ilme", "mpeg2video", -15 },
        /* Gaps of one to four twenty-fifths of a second. */
        { "vfr.mp4", "-vf select='not(mod(n\\,3))+not(mod(n\\,7))' -vsync vfr -c:v mpeg4", "mpeg4",
          14 },
        { "sound.mkv", "-f lavfi -i sine=d=1 -c:v mpeg4 -c:a pcm_s16le", "mpeg4", 31 },
    };
    for (size_t i = 0; i < sizeof videos / sizeof *videos; i++) {
        if (shell("grep -q ' %s ' %s/encoders", videos[i].encoder, folder) != 0) {
            print_message("# no encoder %s: %s is left out\n", videos[i].encoder, videos[i].name);
            continue;
        }
        make_video(videos[i].name, videos[i].how);
        expect_as_ffmpeg(videos[i].name, abs(videos[i].n));
        if (videos[i].n < 0) expect_count_of_ffprobe(videos[i].name, -videos[i].n);
    }
}

/* The conversion has the same bits without any of the machine's vector instructions. */
/* Cut without re-encoding out of open groups of pictures: the stream names references that are
 * gone, for pictures nobody shows. */
static void videos_cut_by_copying_are_read(void **state)
{
    (void)state;
    if (!made) skip();
    if (shell("grep -q libx264 %s/encoders", folder) != 0) skip();
    ffmpeg(folder, "-f lavfi -i testsrc2=size=96x64:rate=25:duration=6 -c:v libx264 -x264opts "
                   "open_gop=1:keyint=24:bframes=3 whole.mp4");
    static const char *const cuts[] = { "cut.mp4", "cut.mkv", "cut.avi" };
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        char arguments[200];
        snprintf(arguments, sizeof arguments, "-ss 2.3 -i whole.mp4 -c copy -t 2 %s", cuts[i]);
        ffmpeg(folder, arguments);
        collected c = read_media(folder, cuts[i]);
        expect_count_of_ffprobe(cuts[i], c.n_frames);
        assert_true(c.n_frames >= 40);
        collected_fini(&c);
    }
}

static void conversion_does_not_depend_on_the_machine(void **state)
{
    (void)state;
    if (!made) skip();
    static const char *const formats[] = { "yuv420p", "yuvj422p", "yuv444p10le", "gray" };
    char arguments[300];
    for (size_t i = 0; i < 4; i++) {
        snprintf(arguments, sizeof arguments, "-c:v ffv1 -strict -1 -pix_fmt %s", formats[i]);
        make_video("plain.mkv", arguments);
        ffmpeg(folder,
               "-cpuflags 0 -i plain.mkv -f rawvideo -pix_fmt rgb24 " CONVERSION " plain.raw");
        collected c = read_media(folder, "plain.mkv");
        expect_file(&c, folder, "plain.raw", formats[i]);
        collected_fini(&c);
    }
}

/* Where pixel (y, x) of a picture turned by so many degrees against the clock is in the plain
 * one. */
static size_t plain_at(int turn, size_t y, size_t x, size_t h, size_t w)
{
    switch (turn) {
    case 90: return x * w + (w - 1 - y);
    case 180: return (h - 1 - y) * w + (w - 1 - x);
    case 270: return (h - 1 - x) * w + y;
    default: return y * w + x;
    }
}

static void videos_are_turned_as_they_ask(void **state)
{
    (void)state;
    if (!made) skip();
    make_video("plain.mov", "-c:v png");
    collected plain = read_media(folder, "plain.mov");
    size_t h = plain.height, w = plain.width;
    for (int turn = 0; turn < 360; turn += 90) {
        char arguments[200];
        /* ffprobe shows this tag as a rotation of as many degrees against the clock. */
        snprintf(arguments, sizeof arguments,
                 "-i plain.mov -c copy -metadata:s:v:0 rotate=%d turned.mov", turn);
        ffmpeg(folder, arguments);
        collected turned = read_media(folder, "turned.mov");
        assert_int_equal(turned.n_frames, 31);
        assert_int_equal(turned.height, turn % 180 ? w : h);
        assert_int_equal(turned.width, turn % 180 ? h : w);
        for (size_t f = 0; f < 31; f += 30)
            for (size_t y = 0; y < turned.height; y++)
                for (size_t x = 0; x < turned.width; x++) {
                    size_t at = f * h * w + y * turned.width + x;
                    size_t from = f * h * w + plain_at(turn, y, x, h, w);
                    if (memcmp(turned.bytes + 3 * at, plain.bytes + 3 * from, 3) != 0)
                        fail_msg("turned by %d: pixel %zu, %zu", turn, y, x);
                }
        collected_fini(&turned);
    }
    collected_fini(&plain);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static cf_status stop_at_two(void *user, int64_t frame, const cf_picture *p)
{
    (void)p;
    ++*(int *)user;
    return frame == 2 ? CF_FAIL(CF_EINTERRUPTED, "enough") : CF_OK;
}

static void any_frames_may_be_picked(void **state)
{
    (void)state;
    if (!made) skip();
    make_video("pick.avi", "-c:v mpeg4 -bf 2");
    char *path = test_path(folder, "pick.avi");
    collected all = read_media(folder, "pick.avi");
    size_t size = all.height * all.width * 3;
    cf_media *m;
    int calls = 0;
    int64_t n, falling[] = { 3, 3 }, beyond[] = { 2, 31 }, negative = -1;
    assert_ok(cf_media_open(&m, path));
    assert_string_equal(cf_media_path(m), path);
    assert_near(cf_media_fps(m), 25, 1e-6);
    for (int step = 1; step < 40; step += 6) {
        collected some = { 0 };
        int64_t frame[31];
        size_t k = 0;
        for (int f = step / 2; f < 31; f += step) frame[k++] = f;
        assert_ok(cf_media_read(m, frame, k, collect, &some));
        assert_int_equal(some.n_frames, k);
        for (size_t i = 0; i < k; i++)
            assert_memory_equal(some.bytes + i * size, all.bytes + (size_t)frame[i] * size, size);
        collected_fini(&some);
    }
    collected none = { 0 };
    assert_ok(cf_media_read(m, falling, 0, collect, &none));
    assert_int_equal(none.n_frames, 0);
    assert_fails(cf_media_read(m, falling, 2, collect, &none), CF_EINVAL, "rising order");
    assert_fails(cf_media_read(m, &negative, 1, collect, &none), CF_EINVAL, "rising order");
    for (int i = 0; i < 2; i++) /* not knowing how many there are, then knowing */
        assert_fails(cf_media_read(m, beyond, 2, collect, &none), CF_EINVAL,
                     "has 31 frames, asked for frame 31");
    assert_fails(cf_media_read(m, NULL, 0, stop_at_two, &calls), CF_EINTERRUPTED, "enough");
    assert_int_equal(calls, 3);
    assert_ok(cf_media_count(&n, m));
    assert_int_equal(n, 31);
    cf_media_close(m);
    cf_media_close(NULL);
    collected_fini(&none);
    collected_fini(&all);
    cf_free(path);
}

static void threads_and_memory_give_the_same_frames(void **state)
{
    (void)state;
    if (!made) skip();
    make_video("same.mkv", "-c:v mpeg4 -bf 2");
    char *path = test_path(folder, "same.mkv"), *bytes;
    collected all = read_media(folder, "same.mkv");
    size_t n;
    assert_ok(cf_file_read(&bytes, &n, path));
    for (int threads = 0; threads < 5; threads++) {
        cf_media *m;
        assert_ok(cf_media_open_memory(&m, (uint8_t *)bytes, n, "member"));
        assert_string_equal(cf_media_path(m), "member");
        cf_media_set_threads(m, threads);
        for (int again = 0; again < 2; again++) {
            collected c = { 0 };
            assert_ok(cf_media_read(m, NULL, 0, collect, &c));
            expect_bytes(&c, all.bytes, all.n, "member");
            collected_fini(&c);
        }
        cf_media_close(m);
    }
    collected_fini(&all);
    cf_free(bytes);
    cf_free(path);
}

typedef struct {
    char *path;
    const collected *want;
    bool right;
} reader;

static void *read_again(void *user)
{
    reader *r = user;
    r->right = true;
    for (int i = 0; i < 3 && r->right; i++) {
        collected c = { 0 };
        cf_media *m = NULL;
        r->right = cf_media_open(&m, r->path) == CF_OK &&
                   cf_media_read(m, NULL, 0, collect, &c) == CF_OK && c.n == r->want->n &&
                   memcmp(c.bytes, r->want->bytes, c.n) == 0;
        cf_media_close(m);
        collected_fini(&c);
    }
    return NULL;
}

static void many_threads_read_many_media(void **state)
{
    (void)state;
    if (!made) skip();
    make_video("many.avi", "-c:v mpeg4");
    collected all = read_media(folder, "many.avi");
    char *path = test_path(folder, "many.avi");
    pthread_t thread[4];
    reader readers[4];
    for (int i = 0; i < 4; i++) {
        readers[i] = (reader){ path, &all, false };
        assert_int_equal(pthread_create(&thread[i], NULL, read_again, &readers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        assert_true(readers[i].right);
    }
    cf_free(path);
    collected_fini(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lossless_videos_equal_their_source),
        TEST(lossy_videos_equal_what_ffmpeg_gives),
        TEST(videos_cut_by_copying_are_read),
        TEST(conversion_does_not_depend_on_the_machine),
        TEST(videos_are_turned_as_they_ask),
        TEST(any_frames_may_be_picked),
        TEST(threads_and_memory_give_the_same_frames),
        TEST(many_threads_read_many_media),
    };
    return cmocka_run_group_tests(tests, setup, folder_teardown) != 0;
}
