/* Folders of pictures and single pictures as media: the order people count in, what is left out,
 * sizes that differ, files kept as they are, and what holds no pictures. */
#include "media_help.h"
#include "test_in_folder.h"

#include <sys/stat.h>

enum { H = 6, W = 9 };

/* A picture of one grey, by which it is known again. */
static void put(const char *name, int grey, size_t height, size_t width)
{
    static uint8_t pixels[64 * 64 * 3];
    uint8_t *bytes;
    size_t n;
    char *path = test_path(folder, name);
    memset(pixels, grey, sizeof pixels);
    const char *dot = strrchr(name, '.');
    if (dot[1] == 'p' || dot[1] == 'P')
        assert_ok(cf_png_encode(&bytes, &n, pixels, height, width, 1));
    else
        assert_ok(cf_jpeg_encode(&bytes, &n, pixels, height, width, 95));
    assert_ok(cf_file_write(path, bytes, n));
    cf_free(bytes);
    cf_free(path);
}

static void put_text(const char *name, const char *text)
{
    char *path = test_path(folder, name);
    assert_ok(cf_file_write(path, text, strlen(text)));
    cf_free(path);
}

static void expect_greys(const int *grey, size_t n)
{
    cf_media *m;
    collected c = { 0 };
    int64_t count;
    assert_ok(cf_media_open(&m, folder));
    assert_ok(cf_media_count(&count, m));
    assert_int_equal(count, n);
    assert_near(cf_media_fps(m), 0, 0);
    assert_ok(cf_media_read(m, NULL, 0, collect, &c));
    assert_int_equal(c.n_frames, n);
    for (size_t i = 0; i < n; i++) assert_near(c.bytes[i * c.n / n], grey[i], 2);
    cf_media_close(m);
    collected_fini(&c);
}

static void frames_come_in_the_order_people_count(void **state)
{
    (void)state;
    put("f10.png", 100, H, W);
    put("f9.jpg", 90, H, W);
    put("f009b.JPEG", 95, H, W);
    put("f2.PNG", 20, H, W);
    put("e3.jpeg", 3, H, W);
    put("f123456789012345678901234567890.png", 250, H, W);
    put("f99999999999999999999.png", 240, H, W);
    put("f02.png", 22, H, W);
    put("f02a1.png", 24, H, W);
    put_text("readme.txt", "not a frame");
    put_text(".hidden.png", "not a frame");
    char *sub = test_path(folder, "sub.png");
    assert_int_equal(mkdir(sub, 0777), 0);
    cf_free(sub);
    expect_greys((const int[]){ 3, 20, 22, 24, 90, 95, 100, 240, 250 }, 9);
}

static void img_numbers_are_the_frames_where_there_are_any(void **state)
{
    (void)state;
    put("flow_x_00001.jpg", 1, H, W);
    put("flow_y_00001.jpg", 2, H, W);
    put("img_00002.jpg", 20, H, W);
    put("img_00010.jpg", 100, H, W);
    put("img_00001.jpg", 10, H, W);
    put("img_preview.jpg", 5, 3, 3);
    expect_greys((const int[]){ 10, 20, 100 }, 3);
}

static void a_single_picture_is_a_video_of_one_frame(void **state)
{
    (void)state;
    static const char *const names[] = { "one.png", "one.jpg" };
    for (int i = 0; i < 2; i++) {
        put(names[i], 77, H, W);
        char *path = test_path(folder, names[i]), *bytes;
        size_t size;
        int64_t n;
        cf_media *m;
        assert_ok(cf_media_open(&m, path));
        assert_ok(cf_media_count(&n, m));
        assert_int_equal(n, 1);
        cf_media_close(m);
        assert_ok(cf_file_read(&bytes, &size, path));
        assert_ok(cf_media_open_memory(&m, (uint8_t *)bytes, size, "member"));
        collected c = { 0 };
        int64_t frame = 0, beyond = 1;
        assert_ok(cf_media_read(m, &frame, 1, collect, &c));
        assert_int_equal(c.n, H * W * 3);
        assert_near(c.bytes[5], 77, 1);
        assert_fails(cf_media_read(m, &beyond, 1, collect, &c), CF_EINVAL, "has 1 frames");
        cf_media_close(m);
        collected_fini(&c);
        cf_free(bytes);
        cf_free(path);
    }
}

static void a_frame_of_another_size_or_none_is_named(void **state)
{
    (void)state;
    cf_media *m;
    collected c = { 0 };
    int64_t last = 2;
    put("1.png", 10, H, W);
    put("2.png", 20, H, W + 1);
    put_text("3.png", "this is no picture");
    assert_ok(cf_media_open(&m, folder));
    assert_fails(cf_media_read(m, NULL, 0, collect, &c), CF_EFORMAT,
                 "/2.png is 6 x 10, the pictures before it 6 x 9");
    assert_int_equal(c.n_frames, 1);
    assert_fails(cf_media_read(m, &last, 1, collect, &c), CF_EFORMAT,
                 "/3.png: neither PNG nor JPEG (18 bytes)");
    char *path = test_path(folder, "3.png");
    unlink(path);
    assert_fails(cf_media_read(m, &last, 1, collect, &c), CF_ENOTFOUND, path);
    cf_media_close(m);
    cf_free(path);
    collected_fini(&c);
}

typedef struct {
    cf_media *media;
    size_t kept;
} keeper;

/* The bytes given are a file's own, and decode to the picture. */
static cf_status keep(void *user, int64_t frame, const cf_picture *p)
{
    keeper *k = user;
    const uint8_t *bytes;
    size_t n;
    cf_encoding encoding;
    cf_picture again = { 0 };
    if (!cf_media_coded(&bytes, &n, &encoding, k->media)) return CF_OK;
    assert_int_equal(encoding, frame == 0 ? CF_ENCODING_PNG : CF_ENCODING_JPEG);
    assert_ok(cf_picture_decode(&again, bytes, n, "coded"));
    assert_memory_equal(again.pixels, p->pixels, H * W * 3);
    k->kept++;
    cf_picture_fini(&again);
    return CF_OK;
}

static void the_files_bytes_are_to_be_had(void **state)
{
    (void)state;
    static const uint8_t turn[] = { 0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0,    'M', 'M',
                                    0,    42,   0, 0,  0,   8,   0,   1,   1, 0x12, 0,   3,
                                    0,    0,    0, 1,  0,   3,   0,   0,   0, 0,    0,   0 };
    put("1.png", 10, H, W);
    put("2.jpg", 20, H, W);
    keeper k = { 0 };
    assert_ok(cf_media_open(&k.media, folder));
    assert_ok(cf_media_read(k.media, NULL, 0, keep, &k));
    assert_int_equal(k.kept, 2);
    const uint8_t *bytes;
    cf_encoding encoding;
    size_t n;
    assert_false(cf_media_coded(&bytes, &n, &encoding, k.media));
    /* A picture that was turned is not the one its file shows to others. */
    char *path = test_path(folder, "2.jpg"), *plain, turned[4000];
    assert_ok(cf_file_read(&plain, &n, path));
    memcpy(turned, plain, 2);
    memcpy(turned + 2, turn, sizeof turn);
    memcpy(turned + 2 + sizeof turn, plain + 2, n - 2);
    assert_ok(cf_file_write(path, turned, n + sizeof turn));
    k.kept = 0;
    assert_ok(cf_media_read(k.media, NULL, 0, keep, &k));
    assert_int_equal(k.kept, 1);
    cf_media_close(k.media);
    cf_free(plain);
    cf_free(path);
}

static void what_has_no_pictures_is_refused(void **state)
{
    (void)state;
    cf_media *m;
    assert_fails(cf_media_open(&m, folder), CF_EFORMAT, "no pictures (.png, .jpg, .jpeg)");
    assert_fails(cf_media_open(&m, "/nonexistent/x"), CF_ENOTFOUND, "/nonexistent/x");
    assert_fails(cf_media_open(&m, "/dev/zero"), CF_EUNSUPPORTED, "neither a file nor a folder");
    char *path = test_path(folder, "a.mp4");
    put_text("a.mp4", "");
    assert_fails(cf_media_open(&m, path), CF_EFORMAT, "is empty");
    assert_fails(cf_media_open_memory(&m, NULL, 0, "member"), CF_EFORMAT, "member is empty");
    if (!media_decodes_video()) {
        put_text("a.mp4", "any bytes");
        assert_fails(cf_media_open(&m, path), CF_EUNSUPPORTED, "this build has no FFmpeg");
    }
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_fails(cf_media_open(&m, path), CF_EUNSUPPORTED, "neither a file nor a folder");
    cf_free(path);
}

static void no_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    put("1.png", 10, H, W);
    put("2.jpg", 20, H, W);
    char *single = test_path(folder, "1.png");
    const char *const paths[] = { folder, single };
    size_t before = cf_memory_stats_get().bytes_now;
    for (int i = 0; i < 2; i++) {
        size_t n = 1;
        for (cf_status status = CF_ENOMEM; status != CF_OK; n++) {
            cf_media *m = NULL;
            collected c = { 0 };
            cf_memory_fail_at(n);
            status = cf_media_open(&m, paths[i]);
            if (status == CF_OK) status = cf_media_read(m, NULL, 0, collect, &c);
            cf_memory_fail_at(0);
            if (status != CF_OK) assert_int_equal(status, CF_ENOMEM);
            cf_media_close(m);
            collected_fini(&c);
            assert_int_equal(cf_memory_stats_get().bytes_now, before);
        }
        assert_true(n > 4);
    }
    cf_free(single);
}

#define FOLDER(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
TESTS(FOLDER(frames_come_in_the_order_people_count),
      FOLDER(img_numbers_are_the_frames_where_there_are_any),
      FOLDER(a_single_picture_is_a_video_of_one_frame),
      FOLDER(a_frame_of_another_size_or_none_is_named), FOLDER(the_files_bytes_are_to_be_had),
      FOLDER(what_has_no_pictures_is_refused), FOLDER(no_memory_is_an_error_and_no_leak))
