/* Packs written frame by frame: JPEG frames, files kept byte for byte, thinned videos, and what is
 * refused on the way without harm to what is there. */
#include "pack_help.h"
#define FOLDER_FILE "a.h5"
#include "test_in_folder.h"

enum { H = 24, W = 40, BYTES = H * W * 3 };
static uint8_t frames[6][BYTES];
static cf_pack_writer *w;

static int setup(void **state)
{
    folder_setup(state);
    for (size_t f = 0; f < 6; f++)
        for (size_t i = 0; i < BYTES; i++)
            frames[f][i] = (uint8_t)(i / 3 % W * 4 + 20 * f + 30 * (i % 3));
    return 0;
}

static void begin_pack(cf_encoding encoding, int quality)
{
    cf_pack_options options = test_options(encoding);
    options.quality = quality;
    assert_ok(cf_pack_writer_new(&w, path, &options));
}

static void expect_frame(const cf_pack *p, size_t row, int64_t frame, const uint8_t *want)
{
    cf_picture picture = { 0 };
    cf_bytes scratch = { 0 };
    assert_ok(cf_pack_read_frame(&picture, &scratch, p, row, frame));
    assert_int_equal(picture.height, H);
    assert_int_equal(picture.width, W);
    assert_memory_equal(picture.pixels, want, BYTES);
    cf_picture_fini(&picture);
    cf_bytes_fini(&scratch);
}

/* What cf_jpeg_decode makes of these bytes is what the pack gives; the bytes are in the file. */
static void expect_coded(const cf_pack *p, size_t row, int64_t frame, const uint8_t *coded,
                         size_t n)
{
    cf_picture want = { 0 };
    assert_ok(cf_picture_decode(&want, coded, n, "it"));
    expect_frame(p, row, frame, want.pixels);
    cf_picture_fini(&want);
    char *file;
    size_t size;
    assert_ok(cf_file_read(&file, &size, path));
    assert_non_null(memmem(file, size, coded, n));
    cf_free(file);
}

static void jpeg_frames_are_encoded_or_kept(void **state)
{
    (void)state;
    uint8_t *ours, *other;
    size_t n_ours, n_other;
    assert_ok(cf_jpeg_encode(&ours, &n_ours, frames[0], H, W, 80));
    assert_ok(cf_jpeg_encode(&other, &n_other, frames[1], H, W, 33));
    begin_pack(CF_ENCODING_JPEG, 80);
    assert_ok(cf_pack_writer_begin(w, "v", 1, 25));
    assert_ok(cf_pack_writer_frame(w, frames[0], H, W, 0));
    assert_ok(cf_pack_writer_coded(w, other, n_other, H, W, 1));
    assert_ok(cf_pack_writer_end(w, 2));
    assert_ok(cf_pack_writer_add(w, "whole", 0, 0, frames[0], 6, H, W));
    assert_ok(cf_pack_writer_commit(w));
    cf_pack *p;
    cf_h5 *h;
    int64_t quality;
    assert_ok(cf_pack_open(&p, path));
    assert_int_equal(cf_pack_encoding(p), CF_ENCODING_JPEG);
    assert_int_equal(cf_pack_n_frames(p), 8);
    expect_coded(p, 0, 0, ours, n_ours);
    expect_coded(p, 0, 1, other, n_other);
    expect_coded(p, 1, 0, ours, n_ours);
    cf_pack_free(p);
    assert_ok(cf_h5_open(&h, path));
    assert_ok(cf_h5_attr_i64(&quality, h, "/", "quality"));
    assert_int_equal(quality, 80);
    assert_false(cf_h5_exists(h, "/frames/source"));
    cf_h5_close(h);
    cf_free(ours);
    cf_free(other);
}

static void a_damaged_jpeg_frame_is_named(void **state)
{
    (void)state;
    uint8_t *coded;
    size_t n;
    cf_picture picture = { 0 };
    cf_bytes scratch = { 0 };
    assert_ok(cf_jpeg_encode(&coded, &n, frames[0], H, W, 80));
    begin_pack(CF_ENCODING_JPEG, 0);
    assert_ok(cf_pack_writer_begin(w, "v", 1, 25));
    assert_fails(cf_pack_writer_frame(w, frames[0], H, W, 0), CF_EINVAL, "quality 0");
    assert_fails(cf_pack_writer_coded(w, coded, n - 2, H, W, 0), CF_EFORMAT, "v: damaged JPEG");
    assert_ok(cf_pack_writer_coded(w, coded, n, H, W, 0));
    for (size_t i = n - 12; i < n - 2; i++) coded[i] = 0;
    assert_ok(cf_pack_writer_coded(w, coded, n, H, W, 1));
    assert_ok(cf_pack_writer_end(w, 2));
    assert_ok(cf_pack_writer_commit(w));
    cf_pack *p;
    assert_ok(cf_pack_open(&p, path));
    assert_ok(cf_pack_read_frame(&picture, &scratch, p, 0, 0));
    assert_fails(cf_pack_read_frame(&picture, &scratch, p, 0, 1), CF_EFORMAT,
                 "frame 1 of v: damaged JPEG");
    cf_pack_free(p);
    cf_picture_fini(&picture);
    cf_bytes_fini(&scratch);
    cf_free(coded);
}

static void png_files_are_kept_too(void **state)
{
    (void)state;
    uint8_t *coded, *jpeg;
    size_t n, m;
    assert_ok(cf_png_encode(&coded, &n, frames[2], H, W, 0));
    assert_ok(cf_jpeg_encode(&jpeg, &m, frames[2], H, W, 90));
    begin_pack(CF_ENCODING_PNG, 0);
    assert_ok(cf_pack_writer_begin(w, "v", 1, 25));
    assert_fails(cf_pack_writer_coded(w, jpeg, m, H, W, 0), CF_EINVAL, "bytes are not png");
    assert_fails(cf_pack_writer_coded(w, coded, 20, H, W, 0), CF_EINVAL, "bytes are not png");
    assert_fails(cf_pack_writer_coded(w, coded, n, W, H, 0), CF_EINVAL,
                 "24 x 40 by its bytes, not 40 x 24");
    assert_ok(cf_pack_writer_coded(w, coded, n, H, W, 0));
    assert_ok(cf_pack_writer_end(w, 1));
    assert_ok(cf_pack_writer_commit(w));
    cf_pack *p;
    assert_ok(cf_pack_open(&p, path));
    expect_coded(p, 0, 0, coded, n);
    cf_pack_free(p);
    cf_free(coded);
    cf_free(jpeg);
}

static void thinned_videos_keep_their_frames_numbers(void **state)
{
    (void)state;
    begin_pack(CF_ENCODING_RAW, 0);
    assert_ok(cf_pack_writer_add(w, "all", 0, 25, frames[0], 3, H, W));
    assert_ok(cf_pack_writer_begin(w, "few", 1, 5));
    for (int i = 0; i < 3; i++) assert_ok(cf_pack_writer_frame(w, frames[i + 3], H, W, 5 * i));
    assert_ok(cf_pack_writer_end(w, 14));
    assert_ok(cf_pack_writer_commit(w));
    cf_pack *p;
    assert_ok(cf_pack_open(&p, path));
    assert_int_equal(cf_pack_video_get(p, 0).source_frames, 3);
    assert_int_equal(cf_pack_video_get(p, 1).source_frames, 14);
    assert_int_equal(cf_pack_video_get(p, 1).n_frames, 3);
    for (int i = 0; i < 3; i++) assert_int_equal(cf_pack_stored_frame(p, 0, i), i);
    for (int i = 0; i < 14; i++)
        assert_int_equal(cf_pack_stored_frame(p, 1, i), i < 3 ? 0 : i < 8 ? 1 : 2);
    expect_frame(p, 1, 2, frames[5]);
    cf_pack_free(p);
}

/* A video that fails or is dropped leaves no trace. */
static void a_dropped_video_was_never_there(void **state)
{
    (void)state;
    char *kept, *dropped;
    size_t n, m;
    begin_pack(CF_ENCODING_JPEG, 70);
    assert_ok(cf_pack_writer_add(w, "a", 0, 25, frames[0], 3, H, W));
    assert_ok(cf_pack_writer_add(w, "b", 1, 25, frames[3], 2, H, W));
    assert_ok(cf_pack_writer_commit(w));
    assert_ok(cf_file_read(&kept, &n, path));

    begin_pack(CF_ENCODING_JPEG, 70);
    assert_ok(cf_pack_writer_add(w, "a", 0, 25, frames[0], 3, H, W));
    cf_pack_writer_drop(w);
    assert_ok(cf_pack_writer_begin(w, "c", 2, 9));
    for (int i = 0; i < 5; i++) assert_ok(cf_pack_writer_frame(w, frames[i], H, W, 7 * i));
    cf_pack_writer_drop(w);
    assert_ok(cf_pack_writer_begin(w, "d", 2, 9));
    assert_fails(cf_pack_writer_end(w, 3), CF_EINVAL, "d has 0 frames");
    assert_ok(cf_pack_writer_begin(w, "e", 2, 9));
    assert_ok(cf_pack_writer_frame(w, frames[0], H, W, 3));
    assert_fails(cf_pack_writer_end(w, 3), CF_EINVAL, "e has 3 frames and number 3 of them");
    assert_ok(cf_pack_writer_add(w, "b", 1, 25, frames[3], 2, H, W));
    assert_ok(cf_pack_writer_commit(w));
    assert_ok(cf_file_read(&dropped, &m, path));
    assert_int_equal(n, m);
    assert_memory_equal(kept, dropped, n);
    cf_free(kept);
    cf_free(dropped);
}

static void frames_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    begin_pack(CF_ENCODING_RAW, 0);
    assert_ok(cf_pack_writer_begin(w, "v", 1, 25));
    assert_fails(cf_pack_writer_frame(w, frames[0], H, 0, 0), CF_EINVAL, "24 x 0");
    assert_fails(cf_pack_writer_frame(w, frames[0], H, W, -1), CF_EINVAL, "number -1");
    assert_ok(cf_pack_writer_frame(w, frames[0], H, W, 4));
    assert_fails(cf_pack_writer_frame(w, frames[0], H, W, 4), CF_EINVAL, "expected 5 or more");
    assert_fails(cf_pack_writer_frame(w, frames[0], W, H, 5), CF_EINVAL,
                 "frame 1 of v is 40 x 24, those before it 24 x 40");
    assert_fails(cf_pack_writer_coded(w, frames[0], BYTES, H, W, 5), CF_EINVAL, "not raw");
    cf_pack_writer_abort(w); /* with a video begun */
}

static cf_status write_stream(void)
{
    cf_pack_options options = test_options(CF_ENCODING_JPEG);
    options.quality = 75;
    cf_pack_writer *one = NULL, *full;
    cf_status status = CF_OK;
    CF_GO(cf_pack_writer_new(&one, path, &options));
    CF_GO(cf_pack_writer_begin(one, "v", 1, 25));
    for (int i = 0; i < 6; i++) CF_GO(cf_pack_writer_frame(one, frames[i], H, W, 2 * i));
    CF_GO(cf_pack_writer_end(one, 20));
    full = one;
    one = NULL;
    CF_GO(cf_pack_writer_commit(full));
done:
    cf_pack_writer_abort(one);
    return status;
}

static void no_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    size_t before = cf_memory_stats_get().bytes_now, n = 1;
    for (cf_status status = CF_ENOMEM; status != CF_OK; n++) {
        cf_memory_fail_at(n);
        status = write_stream();
        cf_memory_fail_at(0);
        if (status != CF_OK && status != CF_ENOMEM) fail_msg("allocation %zu: %s", n, cf_error());
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
    assert_true(n > 20);
}

#define STREAM(f) cmocka_unit_test_setup_teardown(f, setup, folder_teardown)
TESTS(STREAM(jpeg_frames_are_encoded_or_kept), STREAM(a_damaged_jpeg_frame_is_named),
      STREAM(png_files_are_kept_too), STREAM(thinned_videos_keep_their_frames_numbers),
      STREAM(a_dropped_video_was_never_there), STREAM(frames_that_do_not_fit_are_refused),
      STREAM(no_memory_is_an_error_and_no_leak))
