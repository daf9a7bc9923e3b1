/* Packed datasets: what is written is read, by every layout of the file, by many threads; what
 * the writer refuses; and that nothing is left behind when the disk is full. */
#include "pack_help.h"
#define FOLDER_FILE "a.h5"
#include "test_in_folder.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

static size_t n_files(void)
{
    DIR *d = opendir(folder);
    size_t n = 0;
    while (readdir(d)) n++;
    closedir(d);
    return n - 2;
}

static void check_content(const cf_pack *p, cf_encoding encoding)
{
    assert_string_equal(cf_pack_path(p), path);
    assert_int_equal(cf_pack_encoding(p), encoding);
    assert_int_equal(cf_pack_n_videos(p), VIDEOS);
    assert_int_equal(cf_pack_n_classes(p), 3);
    size_t first = 0;
    for (size_t v = 0; v < VIDEOS; v++) {
        cf_pack_video got = cf_pack_video_get(p, v);
        char name[40];
        snprintf(name, sizeof name, "klasse \xe4\xb8\x80/video %zu.mp4", v);
        assert_string_equal(got.name, name);
        assert_int_equal(got.first_frame, first);
        assert_int_equal(got.n_frames, frames_of(v));
        assert_int_equal(got.source_frames, frames_of(v));
        assert_int_equal(got.label, labels[v]);
        assert_int_equal(got.height, height_of(v));
        assert_int_equal(got.width, width_of(v));
        assert_near(got.fps, 12.5 + (double)v, 0);
        first += frames_of(v);
    }
    assert_int_equal(cf_pack_n_frames(p), first);
    for (size_t c = 0; c < 3; c++) {
        assert_string_equal(cf_pack_class_name(p, c), class_names[c]);
        assert_int_equal(cf_pack_class_family(p, c), families[c]);
    }
    const int64_t *rows;
    size_t n;
    assert_int_equal(cf_pack_n_splits(p), 2);
    assert_string_equal(cf_pack_split_name(p, 0), "empty");
    assert_ok(cf_pack_split(&rows, &n, p, "train"));
    assert_int_equal(n, 3);
    assert_int_equal(rows[2], 4);
    assert_ok(cf_pack_split(&rows, &n, p, "empty"));
    assert_int_equal(n, 0);
    assert_fails(cf_pack_split(&rows, &n, p, "val"), CF_ENOTFOUND, "'val'; it has: empty, train");
}

static void round_trip(cf_encoding encoding)
{
    cf_pack *p;
    assert_ok(write_pack(path, encoding));
    assert_int_equal(n_files(), 1);
    assert_ok(cf_pack_open(&p, path));
    assert_true(cf_pack_is_direct(p));
    check_content(p, encoding);
    const char *wrong = read_all(p);
    if (wrong) fail_msg("%s", wrong);
    cf_picture picture = { 0 };
    cf_bytes scratch = { 0 };
    assert_fails(cf_pack_read_frame(&picture, &scratch, p, 0, 1), CF_EINVAL, "has 1 frames, asked");
    assert_fails(cf_pack_read_frame(&picture, &scratch, p, 0, -1), CF_EINVAL, "frame -1");
    assert_int_equal(cf_pack_stored_frame(p, 1, 3), 3);
    cf_pack_free(p);
}

static void raw_round_trip(void **state)
{
    (void)state;
    round_trip(CF_ENCODING_RAW);
}

static void png_round_trip(void **state)
{
    (void)state;
    round_trip(CF_ENCODING_PNG);
}

static void the_layout_is_the_one_told(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        cf_h5_class class;
        size_t item_bytes, n;
    } told[] = {
        { "/frames/data", CF_H5_INTEGER, 1, 4014 },
        { "/frames/offset", CF_H5_INTEGER, 8, 12 },
        { "/videos/first_frame", CF_H5_INTEGER, 8, 6 },
        { "/videos/label", CF_H5_INTEGER, 4, 5 },
        { "/videos/name", CF_H5_STRING, 0, 5 },
        { "/videos/fps", CF_H5_FLOAT, 4, 5 },
        { "/videos/height", CF_H5_INTEGER, 4, 5 },
        { "/videos/width", CF_H5_INTEGER, 4, 5 },
        { "/videos/source_frames", CF_H5_INTEGER, 4, 5 },
        { "/classes/name", CF_H5_STRING, 0, 3 },
        { "/classes/family", CF_H5_INTEGER, 4, 3 },
        { "/splits/train", CF_H5_INTEGER, 8, 3 },
    };
    size_t bytes = 0, frames = 0;
    for (size_t v = 0; v < VIDEOS; v++) {
        frames += frames_of(v);
        bytes += frames_of(v) * height_of(v) * width_of(v) * 3;
    }
    assert_ok(write_pack(path, CF_ENCODING_RAW));
    cf_h5 *h;
    cf_h5_info info;
    assert_ok(cf_h5_open(&h, path));
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        assert_ok(cf_h5_dataset_info(&info, h, told[i].path));
        assert_int_equal(info.class, told[i].class);
        assert_int_equal(info.item_bytes, told[i].item_bytes);
        assert_int_equal(info.rank, 1);
        assert_int_equal(info.n, i == 0 ? bytes : i == 1 ? frames + 1 : told[i].n);
    }
    int64_t *offset, version, side;
    size_t n;
    char *text;
    assert_ok(cf_h5_read_i64(&offset, &n, h, "/frames/offset"));
    assert_int_equal(offset[0], 0);
    assert_int_equal(offset[1], 9 * 14 * 3);
    cf_free(offset);
    assert_ok(cf_h5_attr_i64(&version, h, "/", "version"));
    assert_int_equal(version, 1);
    assert_ok(cf_h5_attr_i64(&side, h, "/", "short_side"));
    assert_int_equal(side, 9);
    assert_ok(cf_h5_attr_string(&text, h, "/", "encoding"));
    assert_string_equal(text, "raw");
    cf_free(text);
    cf_h5_close(h);
}

static void the_same_content_is_the_same_bytes_in_the_oldest_format(void **state)
{
    (void)state;
    char *a, *b;
    size_t n, m;
    assert_ok(write_pack(path, CF_ENCODING_PNG));
    assert_ok(cf_file_read(&a, &n, path));
    sleep(1); /* a time stamp would differ */
    assert_ok(write_pack(path, CF_ENCODING_PNG));
    assert_ok(cf_file_read(&b, &m, path));
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    assert_int_equal(a[8], 0); /* version of the superblock */
    cf_free(a);
    cf_free(b);
}

/* What is changed in the file under an open pack is seen: nothing but pread stands between. */
static void contiguous_frames_are_read_from_the_file_itself(void **state)
{
    (void)state;
    assert_ok(write_pack(path, CF_ENCODING_RAW));
    cf_h5 *h;
    cf_h5_info info;
    assert_ok(cf_h5_open(&h, path));
    assert_ok(cf_h5_dataset_info(&info, h, "/frames/data"));
    cf_h5_close(h);
    cf_pack *p;
    assert_ok(cf_pack_open(&p, path));
    const char *wrong = read_all(p);
    if (wrong) fail_msg("%s", wrong);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "\x5a\xa5", 2, info.offset + 3), 2);
    cf_picture picture = { 0 };
    cf_bytes scratch = { 0 };
    assert_ok(cf_pack_read_frame(&picture, &scratch, p, 0, 0));
    assert_int_equal(picture.pixels[3], 0x5a);
    assert_int_equal(picture.pixels[4], 0xa5);
    assert_int_equal(ftruncate(fd, info.offset + 5), 0);
    assert_fails(cf_pack_read_frame(&picture, &scratch, p, 0, 0), CF_EIO, "shorter");
    close(fd);
    cf_picture_fini(&picture);
    cf_pack_free(p);
}

typedef struct {
    const cf_pack *pack;
    uint64_t seed;
    const char *wrong;
} reading;

static void *read_at_random(void *argument)
{
    reading *r = argument;
    cf_rng rng = cf_rng_make(r->seed, CF_RNG_TEST, 0, 0);
    cf_picture picture = { 0 };
    cf_bytes scratch = { 0 };
    for (int i = 0; i < 1500 && !r->wrong; i++) {
        size_t v = cf_rng_below(&rng, VIDEOS), f = cf_rng_below(&rng, (uint32_t)frames_of(v));
        if (cf_pack_read_frame(&picture, &scratch, r->pack, v, (int64_t)f) != CF_OK)
            r->wrong = "a read failed";
        else if (!frame_is_right(&picture, v, f))
            r->wrong = "wrong pixels";
    }
    cf_picture_fini(&picture);
    cf_bytes_fini(&scratch);
    return NULL;
}

static void read_by_threads(bool direct)
{
    enum { THREADS = 4 };
    cf_pack *p;
    assert_ok(cf_pack_open(&p, path));
    assert_int_equal(cf_pack_is_direct(p), direct);
    check_content(p, cf_pack_encoding(p));
    pthread_t thread[THREADS];
    reading r[THREADS];
    for (int i = 0; i < THREADS; i++) {
        r[i] = (reading){ p, (uint64_t)i, NULL };
        assert_int_equal(pthread_create(&thread[i], NULL, read_at_random, &r[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < THREADS; i++)
        if (r[i].wrong) fail_msg("thread %d: %s", i, r[i].wrong);
    cf_pack_free(p);
}

static void threads_read_every_layout(void **state)
{
    (void)state;
    static const struct {
        hsize_t chunk;
        unsigned level;
    } layout[] = { { 0, 0 }, { 100, 0 }, { 1 << 20, 0 }, { 1000, 6 } };
    for (cf_encoding e = CF_ENCODING_RAW; e <= CF_ENCODING_PNG; e++)
        for (size_t i = 0; i < 4; i++) {
            assert_ok(write_pack(path, e));
            if (layout[i].chunk) make_chunked(path, layout[i].chunk, layout[i].level);
            read_by_threads(layout[i].chunk == 0);
        }
}

/* Kept frames of a longer original: the nearest, of two as near the earlier. */
static void a_thinned_pack_tells_the_nearest_stored_frame(void **state)
{
    (void)state;
    int32_t source[11] = { 0, 0, 3, 5, 6 };
    size_t f = 5;
    for (size_t v = 2; v < VIDEOS; v++)
        for (size_t i = 0; i < frames_of(v); i++) source[f++] = (int32_t)i;
    hsize_t n = f;
    assert_ok(write_pack(path, CF_ENCODING_RAW));
    replace(path, "/frames/source", H5T_NATIVE_INT32, 1, &n, source);
    set_row(path, "/videos/source_frames", 1, 9);
    cf_pack *p;
    assert_ok(cf_pack_open(&p, path));
    static const int nearest[9] = { 0, 0, 1, 1, 1, 2, 3, 3, 3 };
    for (int i = 0; i < 9; i++) assert_int_equal(cf_pack_stored_frame(p, 1, i), nearest[i]);
    assert_int_equal(cf_pack_stored_frame(p, 0, 0), 0);
    cf_pack_free(p);
}

static void a_pack_of_no_videos_can_be_read(void **state)
{
    (void)state;
    cf_pack_options options = { .encoding = CF_ENCODING_RAW };
    cf_pack_writer *w;
    assert_ok(cf_pack_writer_new(&w, path, &options));
    assert_ok(cf_pack_writer_commit(w));
    cf_pack *p;
    assert_ok(cf_pack_open(&p, path));
    assert_int_equal(cf_pack_n_videos(p), 0);
    assert_int_equal(cf_pack_n_classes(p), 0);
    assert_int_equal(cf_pack_n_splits(p), 0);
    cf_pack_free(p);
}

static void the_writer_refuses(void **state)
{
    (void)state;
    uint8_t pixels[27] = { 0 };
    int64_t row = 1;
    cf_pack_writer *w;
    cf_pack_options options = test_options(CF_ENCODING_JPEG);
    options.quality = 101;
    assert_fails(cf_pack_writer_new(&w, path, &options), CF_EINVAL, "quality 101");
    options.encoding = (cf_encoding)7;
    assert_fails(cf_pack_writer_new(&w, path, &options), CF_EINVAL, "encoding 7");
    options = test_options(CF_ENCODING_PNG);
    options.png_level = 10;
    assert_fails(cf_pack_writer_new(&w, path, &options), CF_EINVAL, "level 10");
    options.png_level = 1;
    assert_fails(cf_pack_writer_new(&w, "/nonexistent/a.h5", &options), CF_ENOTFOUND,
                 "/nonexistent/a");
    assert_ok(cf_pack_writer_new(&w, path, &options));
    assert_fails(cf_pack_writer_add(w, "x", 3, 0, pixels, 1, 3, 3), CF_EINVAL,
                 "x has label 3, there are 3");
    assert_fails(cf_pack_writer_add(w, "x", -2, 0, pixels, 1, 3, 3), CF_EINVAL, "label -2");
    assert_fails(cf_pack_writer_add(w, "x", 0, NAN, pixels, 1, 3, 3), CF_EINVAL,
                 "frames per second");
    assert_fails(cf_pack_writer_add(w, "x", 0, -1, pixels, 1, 3, 3), CF_EINVAL,
                 "frames per second");
    assert_fails(cf_pack_writer_add(w, "x", 0, 0, pixels, 0, 3, 3), CF_EINVAL, "0 frames");
    assert_fails(cf_pack_writer_add(w, "x", 0, 0, pixels, 1, 0, 3), CF_EINVAL, "0 x 3");
    assert_fails(cf_pack_writer_add(w, "x", 0, 0, pixels, 1, 3, 70000), CF_EINVAL, "3 x 70000");
    assert_fails(cf_pack_writer_split(w, "a/b", &row, 1), CF_EINVAL, "'a/b'");
    assert_fails(cf_pack_writer_split(w, "", &row, 1), CF_EINVAL, "''");
    assert_ok(cf_pack_writer_add(w, "x", 0, 0, pixels, 1, 3, 3));
    assert_ok(cf_pack_writer_split(w, "s", &row, 1));
    assert_fails(cf_pack_writer_split(w, "s", &row, 1), CF_EINVAL, "already");
    assert_fails(cf_pack_writer_commit(w), CF_EINVAL, "split s has row 1, there are 1 videos");
    assert_int_equal(n_files(), 0);
}

static void an_abandoned_pack_leaves_the_old_one(void **state)
{
    (void)state;
    assert_ok(cf_file_write(path, "old", 3));
    cf_pack_options options = test_options(CF_ENCODING_PNG);
    cf_pack_writer *w;
    assert_ok(cf_pack_writer_new(&w, path, &options));
    assert_ok(add_video(w, 0));
    assert_int_equal(file_size(path), 3);
    cf_pack_writer_abort(w);
    cf_pack_writer_abort(NULL);
    assert_int_equal(n_files(), 1);
    assert_int_equal(file_size(path), 3);
}

static void a_full_disk_leaves_nothing_behind(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    assert_ok(write_pack(path, CF_ENCODING_RAW));
    size_t size = file_size(path), failures = 0;
    unlink(path);
    size_t before = cf_memory_stats_get().bytes_now;
    for (size_t most = 0; most < size; most += 97) {
        limit = old;
        limit.rlim_cur = most;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        cf_status status = write_pack(path, CF_ENCODING_RAW);
        setrlimit(RLIMIT_FSIZE, &old);
        if (status != CF_EIO) fail_msg("%zu of %zu bytes: status %d", most, size, (int)status);
        if (!strstr(cf_error(), path)) fail_msg("%zu bytes: '%s'", most, cf_error());
        assert_int_equal(n_files(), 0);
        failures++;
    }
    assert_true(failures > 50);
    assert_int_equal(cf_memory_stats_get().bytes_now, before);
    assert_ok(write_pack(path, CF_ENCODING_RAW)); /* HDF5 is none the worse for it */
    cf_pack *p;
    assert_ok(cf_pack_open(&p, path));
    assert_null(read_all(p));
    cf_pack_free(p);
}

/* Each allocation fails once, of writing, opening and reading. */
static void no_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    size_t before = cf_memory_stats_get().bytes_now, n = 1;
    cf_status status = CF_ENOMEM;
    for (; status != CF_OK; n++) {
        cf_memory_fail_at(n);
        status = write_pack(path, CF_ENCODING_PNG);
        cf_memory_fail_at(0);
        if (status != CF_OK && status != CF_ENOMEM) fail_msg("allocation %zu: %s", n, cf_error());
        if (status != CF_OK) assert_int_equal(n_files(), 0);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
    assert_true(n > 20);
    status = CF_ENOMEM;
    for (n = 1; status != CF_OK; n++) {
        cf_pack *p = NULL;
        cf_memory_fail_at(n);
        status = cf_pack_open(&p, path);
        bool right = status == CF_OK && !read_all(p);
        cf_memory_fail_at(0);
        if (status == CF_OK && !right) status = CF_ENOMEM; /* it was a read that failed */
        cf_pack_free(p);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
    assert_true(n > 20);
}

#define PACK(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
TESTS(PACK(raw_round_trip), PACK(png_round_trip), PACK(the_layout_is_the_one_told),
      PACK(the_same_content_is_the_same_bytes_in_the_oldest_format),
      PACK(contiguous_frames_are_read_from_the_file_itself), PACK(threads_read_every_layout),
      PACK(a_thinned_pack_tells_the_nearest_stored_frame), PACK(a_pack_of_no_videos_can_be_read),
      PACK(the_writer_refuses), PACK(an_abandoned_pack_leaves_the_old_one),
      PACK(a_full_disk_leaves_nothing_behind), PACK(no_memory_is_an_error_and_no_leak))
