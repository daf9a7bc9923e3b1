/* Packing: pixels of raw and png packs against the pictures and against decoded videos, thinning,
 * shards and splits, older HDF5 layouts, the journal record by record, and every allocation
 * failing. */
#include "../test_in_folder.h"

#include "../../src/data/pack_journal.h"
#include "../../src/data/transform.h"
#include "crossframe/packing.h"

#include <hdf5.h>

static const char *const classes[] = { "walk", "run", "jump" };
static const char list_text[] = "a 7 0\nb 5 1\nc 9 2\nd 3 0\n";
static const size_t lengths[] = { 7, 5, 9, 3 };
static const size_t sides[][2] = { { 24, 40 }, { 33, 21 }, { 20, 20 }, { 50, 31 } };
static char *root, *list_path, *out_path;

static void fill(uint8_t *pixels, size_t n, unsigned video, unsigned frame)
{
    for (size_t i = 0; i < n; i++) pixels[i] = (uint8_t)((i * (3 + video) + frame * 37) ^ (i / 50));
}

static size_t video_bytes(size_t v) { return 3 * sides[v][0] * sides[v][1]; }

/* Folders of PNG files, a list of them. */
static void make_source(void)
{
    uint8_t pixels[3 * 50 * 50];
    root = test_path(folder, "frames");
    list_path = test_path(folder, "list.txt");
    out_path = test_path(folder, "out.h5");
    for (unsigned v = 0; v < 4; v++) {
        char *at, *file;
        assert_ok(cf_format(&at, "%s/%c", root, 'a' + (int)v));
        assert_ok(cf_make_folders(at));
        for (unsigned f = 0; f < lengths[v]; f++) {
            fill(pixels, video_bytes(v), v, f);
            assert_ok(cf_format(&file, "%s/img_%u.png", at, f));
            assert_ok(cf_png_write(file, pixels, sides[v][0], sides[v][1]));
            cf_free(file);
        }
        cf_free(at);
    }
    assert_ok(cf_file_write(list_path, list_text, strlen(list_text)));
}

static int setup(void **state)
{
    folder_setup(state);
    make_source();
    return 0;
}

static int teardown(void **state)
{
    cf_free(root);
    cf_free(list_path);
    cf_free(out_path);
    return folder_teardown(state);
}

static const cf_packing_list *one_list(void)
{
    static cf_packing_list list;
    list = (cf_packing_list){ .path = list_path };
    return &list;
}

static cf_packing_options options(cf_encoding encoding)
{
    cf_packing_options o = cf_packing_defaults();
    o.root = root;
    o.lists = one_list();
    o.n_lists = 1;
    o.class_name = classes;
    o.n_classes = 3;
    o.out = out_path;
    o.encoding = encoding;
    o.short_side = 0;
    o.workers = 3;
    return o;
}

static cf_pack *pack_with(const cf_packing_options *o)
{
    cf_packing_count n;
    cf_pack *p;
    assert_ok(cf_packing_run(&n, o));
    assert_int_equal(n.videos, 4);
    assert_ok(cf_pack_open(&p, out_path));
    assert_true(cf_pack_is_direct(p));
    assert_int_equal(cf_pack_n_frames(p), n.frames);
    return p;
}

static void assert_frame(const cf_pack *p, size_t row, int64_t frame, const uint8_t *pixels,
                         size_t n)
{
    cf_picture picture = { 0 };
    cf_bytes scratch = { 0 };
    assert_ok(cf_pack_read_frame(&picture, &scratch, p, row, frame));
    assert_int_equal(3 * picture.height * picture.width, n);
    assert_memory_equal(picture.pixels, pixels, n);
    cf_picture_fini(&picture);
    cf_bytes_fini(&scratch);
}

static void raw_and_png_packs_hold_the_pixels(void **state)
{
    (void)state;
    uint8_t pixels[3 * 50 * 50];
    for (int e = CF_ENCODING_RAW; e <= CF_ENCODING_PNG; e++) {
        cf_packing_options o = options((cf_encoding)e);
        cf_pack *p = pack_with(&o);
        for (unsigned v = 0; v < 4; v++) {
            cf_pack_video video = cf_pack_video_get(p, v);
            assert_int_equal(video.n_frames, lengths[v]);
            assert_int_equal(video.source_frames, lengths[v]);
            assert_int_equal(video.name[0], 'a' + v);
            assert_int_equal(video.label, v % 3);
            for (unsigned f = 0; f < lengths[v]; f++) {
                fill(pixels, video_bytes(v), v, f);
                assert_frame(p, v, f, pixels, video_bytes(v));
            }
        }
        cf_pack_free(p);
    }
}

static void the_short_side_is_that_of_the_recipe(void **state)
{
    (void)state;
    uint8_t pixels[3 * 50 * 50];
    cf_packing_options o = options(CF_ENCODING_RAW);
    o.short_side = 16;
    cf_pack *p = pack_with(&o);
    for (unsigned v = 0; v < 4; v++) {
        size_t height = sides[v][0], width = sides[v][1];
        uint8_t *small;
        cf_resize_scratch scratch = { 0 };
        cf_resize_short_side(&width, &height, 16);
        assert_int_equal(cf_pack_video_get(p, v).height, height);
        assert_int_equal(cf_pack_video_get(p, v).width, width);
        assert_ok(cf_alloc(&small, 3 * height, width));
        assert_ok(cf_resize_reserve(&scratch, width));
        fill(pixels, video_bytes(v), v, 1);
        cf_resize(small, (cf_view){ pixels, sides[v][1], sides[v][0], 3 * sides[v][1] }, width,
                  height, (cf_rect){ 0, 0, width, height }, &scratch);
        assert_frame(p, v, 1, small, 3 * height * width);
        cf_resize_fini(&scratch);
        cf_free(small);
    }
    cf_pack_free(p);
}

/* Frame k of what is kept is number `source` of the original, told by the nearest stored frame. */
static void thinning_keeps_what_it_says(void **state)
{
    (void)state;
    static const struct {
        int stride, most;
        size_t n;
        int64_t source[9];
    } cases[] = {
        /* of 9 frames floor((2k + 1) 9 / 8); of 0, 2, 4, 6, 8 the numbers 0, 2, 4 */
        { 1, 4, 4, { 1, 3, 5, 7 } }, { 2, 0, 5, { 0, 2, 4, 6, 8 } },
        { 2, 3, 3, { 0, 4, 8 } },    { 4, 9, 3, { 0, 4, 8 } },
        { 1, 1, 1, { 4 } },          { 100, 0, 1, { 0 } },
    };
    uint8_t pixels[3 * 50 * 50];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cf_packing_options o = options(i % 2 ? CF_ENCODING_PNG : CF_ENCODING_RAW);
        o.stride = cases[i].stride;
        o.max_frames = cases[i].most;
        cf_pack *p = pack_with(&o);
        assert_int_equal(cf_pack_video_get(p, 2).source_frames, 9);
        assert_int_equal(cf_pack_video_get(p, 2).n_frames, cases[i].n);
        for (size_t k = 0; k < cases[i].n; k++) {
            assert_int_equal(cf_pack_stored_frame(p, 2, cases[i].source[k]), k);
            fill(pixels, video_bytes(2), 2, (unsigned)cases[i].source[k]);
            assert_frame(p, 2, (int64_t)k, pixels, video_bytes(2));
        }
        cf_pack_free(p);
    }
}

static void shards_have_every_split(void **state)
{
    (void)state;
    static const char val_text[] = "d 3 0\nb 5 1\n";
    char *val = test_path(folder, "val.txt");
    assert_ok(cf_file_write(val, val_text, strlen(val_text)));
    const cf_packing_list lists[] = { { "train", list_path }, { "val", val } };
    cf_packing_options o = options(CF_ENCODING_RAW);
    cf_packing_count n;
    o.lists = lists;
    o.n_lists = 2;
    o.shards = 2;
    assert_ok(cf_packing_run(&n, &o));
    assert_int_equal(n.total, 4);
    assert_false(cf_file_exists(out_path));
    for (int s = 0; s < 2; s++) {
        char *name;
        cf_pack *p;
        const int64_t *rows;
        size_t n_rows;
        assert_ok(cf_format(&name, "%s/out-0000%d-of-00002.h5", folder, s));
        assert_ok(cf_pack_open(&p, name));
        assert_int_equal(cf_pack_n_videos(p), 2);
        assert_ok(cf_pack_split(&rows, &n_rows, p, "train"));
        assert_int_equal(n_rows, 2);
        assert_ok(cf_pack_split(&rows, &n_rows, p, "val"));
        assert_int_equal(n_rows, 1);
        assert_int_equal(rows[0], 1); /* b is row 1 of the first, d of the second */
        cf_pack_free(p);
        cf_free(name);
    }
    o.shards = 5;
    assert_fails(cf_packing_run(&n, &o), CF_EINVAL, "5 shards of 4 videos");
    cf_free(val);
}

/* ---- video files ----------------------------------------------------------------------------- */

typedef struct {
    const cf_pack *pack;
    size_t row, n;
} comparison;

static cf_status compare_frame(void *user, int64_t frame, const cf_picture *p)
{
    comparison *c = user;
    assert_frame(c->pack, c->row, frame, p->pixels, 3 * p->height * p->width);
    c->n++;
    return CF_OK;
}

/* H.264 with B frames, odd sizes, a GIF: as cf_media decodes them. */
static void packs_of_videos_hold_what_is_decoded(void **state)
{
    (void)state;
    static const char *const made[] = { "a.mp4", "b.mkv", "c.gif" };
    static const char *const how[] = { "-c:v libx264 -pix_fmt yuv420p -bf 3",
                                       "-c:v ffv1 -pix_fmt yuv444p", "" };
    static const char text[] = "a.mp4 0\nb.mkv 1\nc.gif 2\n";
    for (int i = 0; i < 3; i++) {
        char *command;
        assert_ok(cf_format(&command,
                            "ffmpeg -v error -nostdin -f lavfi -i "
                            "testsrc2=size=%s:rate=10:duration=1 %s %s/%s >/dev/null 2>&1",
                            i == 1 ? "57x43" : "64x48", how[i], root, made[i]));
        int status = system(command);
        cf_free(command);
        if (status != 0 || strncmp(cf_media_libraries(), "FFmpeg", 6) != 0) skip();
    }
    assert_ok(cf_file_write(list_path, text, strlen(text)));
    for (int e = CF_ENCODING_RAW; e <= CF_ENCODING_PNG; e++) {
        cf_packing_options o = options((cf_encoding)e);
        cf_packing_count n;
        cf_pack *p;
        assert_ok(cf_packing_run(&n, &o));
        assert_int_equal(n.videos, 3);
        assert_ok(cf_pack_open(&p, out_path));
        for (size_t v = 0; v < 3; v++) {
            comparison c = { p, v, 0 };
            cf_media *m;
            char *path = test_path(root, made[v]);
            assert_ok(cf_media_open(&m, path));
            assert_ok(cf_media_read(m, NULL, 0, compare_frame, &c));
            assert_int_equal(c.n, cf_pack_video_get(p, v).n_frames);
            assert_int_equal(c.n, 10);
            cf_media_close(m);
            cf_free(path);
        }
        cf_pack_free(p);
    }
}

/* ---- older HDF5 layouts ---------------------------------------------------------------------- */

/* Frames of video v as JPEG files, the rows of a dataset. */
static void write_rows(const char *file, const char *dataset, unsigned v, const int32_t *labels)
{
    uint8_t pixels[3 * 50 * 50];
    hvl_t rows[9];
    hsize_t n = lengths[v];
    for (unsigned f = 0; f < n; f++) {
        fill(pixels, video_bytes(v), v, f);
        assert_ok(cf_jpeg_encode((uint8_t **)(void *)&rows[f].p, &rows[f].len, pixels, sides[v][0],
                                 sides[v][1], 95));
    }
    hid_t h5 = H5Fcreate(file, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t vlen = H5Tvlen_create(H5T_STD_U8LE), space = H5Screate_simple(1, &n, NULL);
    hid_t d = H5Dcreate2(h5, dataset, vlen, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(d, vlen, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) >= 0);
    H5Dclose(d);
    if (labels) {
        d = H5Dcreate2(h5, "labels", H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Dwrite(d, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, labels);
        H5Dclose(d);
    }
    H5Sclose(space);
    H5Tclose(vlen);
    H5Fclose(h5);
    for (unsigned f = 0; f < n; f++) cf_free(rows[f].p);
}

static void assert_jpeg_frame(const cf_pack *p, size_t row, int64_t frame, unsigned v, unsigned f)
{
    uint8_t pixels[3 * 50 * 50], *coded;
    size_t n;
    cf_picture picture = { 0 };
    fill(pixels, video_bytes(v), v, f);
    assert_ok(cf_jpeg_encode(&coded, &n, pixels, sides[v][0], sides[v][1], 95));
    assert_ok(cf_jpeg_decode(&picture, coded, n, "frame"));
    assert_frame(p, row, frame, picture.pixels, video_bytes(v));
    cf_picture_fini(&picture);
    cf_free(coded);
}

static void one_hdf5_file_a_video(void **state)
{
    (void)state;
    for (unsigned v = 0; v < 4; v++) {
        char *file;
        assert_ok(cf_format(&file, "%s/%c.hdf5", root, 'a' + (int)v));
        write_rows(file, "video", v, NULL);
        cf_free(file);
    }
    static const char text[] = "a.hdf5 7 0\nb.hdf5 5 1\nc.hdf5 9 2\nd.hdf5 3 0\n";
    assert_ok(cf_file_write(list_path, text, strlen(text)));
    cf_packing_options o = options(CF_ENCODING_JPEG);
    cf_pack *p = pack_with(&o);
    for (unsigned v = 0; v < 4; v++)
        for (unsigned f = 0; f < lengths[v]; f++) assert_jpeg_frame(p, v, f, v, f);
    cf_pack_free(p);
}

static void one_hdf5_file_of_images(void **state)
{
    (void)state;
    int32_t labels[] = { 2, 0, 1, 1, 0, 2, 2, 1, 0 };
    char *file = test_path(folder, "old.h5");
    cf_packing_count n;
    cf_pack *p;
    write_rows(file, "images", 2, labels);
    cf_packing_options o = options(CF_ENCODING_PNG);
    o.root = file;
    assert_fails(cf_packing_run(&n, &o), CF_EINVAL, "it takes no other");
    o.n_lists = 0;
    assert_ok(cf_packing_run(&n, &o));
    assert_ok(cf_pack_open(&p, out_path));
    assert_int_equal(cf_pack_n_videos(p), 9);
    for (unsigned i = 0; i < 9; i++) {
        assert_int_equal(cf_pack_video_get(p, i).label, labels[i]);
        assert_jpeg_frame(p, i, 0, 2, i);
    }
    cf_pack_free(p);
    labels[4] = 3;
    write_rows(file, "images", 2, labels);
    assert_fails(cf_packing_run(&n, &o), CF_EINVAL, "/labels row 4 is 3, outside 0 .. 2");
    write_rows(file, "pictures", 2, labels);
    assert_fails(cf_packing_run(&n, &o), CF_EFORMAT, "has datasets `images` and `labels`");
    o.root = out_path;
    assert_fails(cf_packing_run(&n, &o), CF_EINVAL, "is a packed dataset already");
    cf_free(file);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void no_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    cf_packing_options o = options(CF_ENCODING_JPEG);
    cf_packing_count n = { 0 };
    char *bytes, *again;
    size_t n_bytes, n_again;
    o.workers = 1;
    assert_ok(cf_packing_run(&n, &o));
    assert_ok(cf_file_read(&bytes, &n_bytes, out_path));
    for (size_t i = 1;; i += i < 200 ? 1 : 7) {
        cf_memory_fail_at(i);
        cf_status status = cf_packing_run(&n, &o);
        cf_memory_fail_at(0);
        if (status == CF_OK) break;
        if (status != CF_ENOMEM) fail_msg("allocation %zu: %d: %s", i, (int)status, cf_error());
    }
    assert_int_equal(n.videos, 4);
    assert_ok(cf_file_read(&again, &n_again, out_path));
    assert_int_equal(n_bytes, n_again);
    assert_memory_equal(bytes, again, n_bytes);
    cf_free(bytes);
    cf_free(again);
}

static bool stop_at_once(void *user, const cf_packing_count *n)
{
    (void)user;
    return n->done == 0;
}

/* ---- journal --------------------------------------------------------------------------------- */

typedef struct {
    size_t n;
    pack_record last;
    char why[20];
    int32_t source[3];
} seen;

static cf_status look(void *user, const pack_record *r)
{
    seen *s = user;
    s->n++;
    s->last = *r;
    if (r->kind == PACK_PROBLEM) snprintf(s->why, sizeof s->why, "%s", r->why);
    if (r->kind == PACK_VIDEO && r->source) memcpy(s->source, r->source, sizeof s->source);
    return CF_OK;
}

static void a_journal_is_read_up_to_where_it_is_torn(void **state)
{
    (void)state;
    char *path = test_path(folder, "j"), *bytes;
    const uint32_t size[3] = { 5, 6, 7 };
    const int32_t source[3] = { 0, 4, 8 };
    const pack_record records[] = {
        { .kind = PACK_VIDEO,
          .fps = 25,
          .height = 2,
          .width = 3,
          .source_frames = 9,
          .n_frames = 3,
          .size = size,
          .source = source },
        { .kind = PACK_PROBLEM, .why = "it is empty" },
        { .kind = PACK_SHARD },
    };
    pack_journal *j;
    seen s = { 0 };
    size_t n, length[4];
    assert_ok(pack_journal_open(&j, path, "a 1\nb 2\n", false, look, &s));
    for (size_t i = 0;; i++) {
        assert_ok(pack_journal_sync(j));
        assert_ok(cf_file_read(&bytes, &length[i], path));
        cf_free(bytes);
        if (i == 3) break;
        assert_ok(pack_journal_add(j, &records[i]));
        assert_true(pack_journal_pending(j));
    }
    pack_journal *second;
    assert_fails(pack_journal_open(&second, path, "a 1\nb 2\n", false, look, &s), CF_EIO,
                 "another process is writing this pack");
    pack_journal_close(j);
    assert_ok(cf_file_read(&bytes, &n, path));
    for (size_t cut = 0; cut <= n; cut++) {
        size_t whole = 0;
        while (whole < 3 && length[whole + 1] <= cut) whole++;
        assert_ok(cf_file_write(path, bytes, cut));
        s = (seen){ 0 };
        assert_ok(pack_journal_open(&j, path, "a 1\nb 2\n", false, look, &s));
        pack_journal_close(j);
        assert_int_equal(s.n, whole);
        if (whole >= 1) assert_memory_equal(s.source, source, sizeof source);
        if (whole >= 2) assert_string_equal(s.why, "it is empty");
    }
    assert_ok(cf_file_write(path, bytes, n));
    assert_fails(pack_journal_open(&j, path, "a 1\nb 3\n", false, look, &s), CF_EINVAL,
                 "had 'b 2', now it is 'b 3'");
    assert_fails(pack_journal_open(&j, path, "a 1\nb 2\nc 3\n", false, look, &s), CF_EINVAL,
                 "had '', now it is 'c 3'");
    assert_ok(pack_journal_open(&j, path, "c 1\n", true, look, &s));
    pack_journal_close(j);
    assert_ok(cf_file_write(path, "something else", 14));
    assert_fails(pack_journal_open(&j, path, "a", false, look, &s), CF_EFORMAT, "is no journal");
    cf_free(bytes);
    cf_free(path);
}

static void a_stopped_pack_goes_on(void **state)
{
    (void)state;
    cf_packing_options o = options(CF_ENCODING_PNG);
    cf_packing_count n = { 0 };
    char *journal, *temporary;
    assert_ok(cf_format(&journal, "%s.journal", out_path));
    assert_ok(cf_format(&temporary, "%s.tmp", out_path));
    o.progress = stop_at_once;
    cf_status status = cf_packing_run(&n, &o);
    if (status == CF_OK) skip(); /* done before it was asked */
    assert_int_equal(status, CF_EINTERRUPTED);
    assert_true(strstr(cf_error(), "the same call goes on"));
    o.progress = NULL;
    assert_ok(cf_packing_run(&n, &o));
    assert_int_equal(n.videos, 4);
    assert_false(cf_file_exists(journal) || cf_file_exists(temporary));
    cf_free(journal);
    cf_free(temporary);
}

#define PACK(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
TESTS(PACK(raw_and_png_packs_hold_the_pixels), PACK(the_short_side_is_that_of_the_recipe),
      PACK(thinning_keeps_what_it_says), PACK(shards_have_every_split),
      PACK(packs_of_videos_hold_what_is_decoded), PACK(one_hdf5_file_a_video),
      PACK(one_hdf5_file_of_images), PACK(no_memory_is_an_error_and_no_leak),
      PACK(a_journal_is_read_up_to_where_it_is_torn), PACK(a_stopped_pack_goes_on))
