/* The motion dataset: texts, IDX files, same bytes whatever the threads, a trajectory and its
 * reverse holding the same frames, balance, refusals; and the report's arithmetic on made-up
 * scores. */
#include "test_in_folder.h"

#include "crossframe/motion.h"
#include "data/motion_parts.h"

#include <omp.h>
#include <zlib.h>

/* ---- texts ----------------------------------------------------------------------------------- */

static void texts(void **state)
{
    (void)state;
    static const struct {
        size_t id;
        const char *text;
    } classes[] = {
        { 0, "a t-shirt moving left" },
        { 1, "a t-shirt moving right" },
        { 8 + 2, "trousers moving up" },
        { 16 + 3, "a pullover moving down" },
        { 24 + 4, "a dress growing" },
        { 32 + 5, "a coat shrinking" },
        { 40 + 6, "a sandal turning clockwise" },
        { 48 + 7, "a shirt turning anticlockwise" },
        { 56, "a sneaker moving left" },
        { 64, "a bag moving left" },
        { 72, "an ankle boot moving left" },
    };
    static const struct {
        size_t id;
        const char *text;
    } captions[] = {
        { 0, "a t-shirt" },
        { 1, "trousers" },
        { 9, "an ankle boot" },
        { 10, "a t-shirt on the left" },
        { 10 + 7, "trousers at the bottom" },
        { 50 + 4, "small dark trousers" },
        { 50 + 39, "a large bright ankle boot" },
        { 90 + 5, "a t-shirt shrinking" },
        { 169, "an ankle boot turning anticlockwise" },
    };
    char text[CF_MOTION_TEXT_MAX];
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        cf_motion_class_text(text, CF_MOTION_FASHION, classes[i].id);
        assert_string_equal(text, classes[i].text);
    }
    for (size_t i = 0; i < sizeof captions / sizeof *captions; i++) {
        cf_motion_caption_text(text, CF_MOTION_FASHION, captions[i].id);
        assert_string_equal(text, captions[i].text);
    }
    assert_int_equal(cf_motion_n_captions(), 170);
}

static void texts_are_distinct_and_their_words_are_captioned(void **state)
{
    (void)state;
    char a[CF_MOTION_TEXT_MAX], b[CF_MOTION_TEXT_MAX];
    for (int set = 0; set < 2; set++) {
        for (size_t i = 0; i < cf_motion_n_captions(); i++)
            for (size_t j = 0; j < i; j++) {
                cf_motion_caption_text(a, (cf_motion_set)set, i);
                cf_motion_caption_text(b, (cf_motion_set)set, j);
                assert_string_not_equal(a, b);
            }
        for (size_t i = 0; i < CF_MOTION_CLASSES; i++) { /* the class texts are a family */
            cf_motion_class_text(a, (cf_motion_set)set, i);
            assert_int_equal(cf_motion_caption_text(b, (cf_motion_set)set, 90 + i),
                             CF_MOTION_FAMILY_MOTION);
            assert_string_equal(a, b);
        }
    }
}

/* ---- IDX ------------------------------------------------------------------------------------- */

static void write_file(const char *name, const void *bytes, size_t n)
{
    char *path = test_path(folder, name);
    assert_ok(cf_file_write(path, bytes, n));
    cf_free(path);
}

static cf_status read_idx(cf_idx_pictures *out, const char *images, const char *labels)
{
    char *a = test_path(folder, images), *b = test_path(folder, labels);
    cf_status status = cf_idx_read(out, a, b);
    cf_free(a);
    cf_free(b);
    return status;
}

static const uint8_t good_images[] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0,
                                       1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6 };
static const uint8_t good_labels[] = { 0, 0, 8, 1, 0, 0, 0, 2, 9, 4 };

static void idx_good(void **state)
{
    (void)state;
    cf_idx_pictures p;
    char *path = test_path(folder, "images.gz");
    gzFile gz = gzopen(path, "wb");
    gzwrite(gz, good_images, sizeof good_images);
    gzclose(gz);
    cf_free(path);
    write_file("labels", good_labels, sizeof good_labels);
    assert_ok(read_idx(&p, "images.gz", "labels"));
    assert_int_equal(p.n, 2);
    assert_int_equal(p.height, 1);
    assert_int_equal(p.width, 3);
    assert_memory_equal(p.pixels, good_images + 16, 6);
    assert_memory_equal(p.labels, good_labels + 8, 2);
    cf_idx_fini(&p);
}

static void idx_truncated_or_foreign(void **state)
{
    (void)state;
    cf_idx_pictures p;
    size_t before = cf_memory_stats_get().bytes_now;
    write_file("labels", good_labels, sizeof good_labels);
    for (size_t n = 0; n < sizeof good_images; n++) {
        write_file("images", good_images, n);
        assert_fails(read_idx(&p, "images", "labels"), CF_EFORMAT, "images");
    }
    write_file("images", good_images, sizeof good_images);
    for (size_t n = 0; n < sizeof good_labels; n++) {
        write_file("labels", good_labels, n);
        assert_fails(read_idx(&p, "images", "labels"), CF_EFORMAT, "labels");
    }
    uint8_t bytes[sizeof good_images + 1] = { 0 };
    memcpy(bytes, good_images, sizeof good_images);
    write_file("labels", good_labels, sizeof good_labels);
    write_file("images", bytes, sizeof bytes);
    assert_fails(read_idx(&p, "images", "labels"), CF_EFORMAT, "7 bytes after the header");
    bytes[2] = 0xd; /* floats */
    write_file("images", bytes, sizeof good_images);
    assert_fails(read_idx(&p, "images", "labels"), CF_EFORMAT, "not an IDX file");
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, good_images, 4);
    write_file("images", bytes, 16);
    assert_fails(read_idx(&p, "images", "labels"), CF_EFORMAT, "2 labels for the 0 pictures");
    memset(bytes + 4, 0xff, 12);
    write_file("images", bytes, 16);
    assert_int_not_equal(read_idx(&p, "images", "labels"), CF_OK);
    assert_int_equal(cf_memory_stats_get().bytes_now, before);
}

static void idx_truncated_gzip(void **state)
{
    (void)state;
    cf_idx_pictures p;
    char *path = test_path(folder, "images.gz"), *bytes = NULL;
    size_t n = 0;
    write_file("labels", good_labels, sizeof good_labels);
    gzFile gz = gzopen(path, "wb");
    gzwrite(gz, good_images, sizeof good_images);
    gzclose(gz);
    assert_ok(cf_file_read(&bytes, &n, path));
    for (size_t k = 0; k < n; k++) {
        write_file("images.gz", bytes, k);
        assert_int_not_equal(read_idx(&p, "images.gz", "labels"), CF_OK);
    }
    cf_free(bytes);
    cf_free(path);
}

/* ---- making ---------------------------------------------------------------------------------- */

static const char *const outputs[] = { "train.h5",       "test.h5",    "stills.h5",
                                       "stills_test.h5", "labels.csv", "merges.txt" };

static cf_motion_options small(const char *out)
{
    cf_motion_options o = cf_motion_defaults();
    o.out = out;
    o.own_shapes = true;
    o.train_videos = 400;
    o.test_trajectories = 45;
    o.stills = 340;
    o.test_stills = 24;
    return o;
}

static uint64_t hash_of(const char *where, const char *name)
{
    char *path = test_path(where, name), *bytes = NULL;
    size_t n = 0;
    assert_ok(cf_file_read(&bytes, &n, path));
    uint64_t h = cf_hash64(bytes, n);
    cf_free(bytes);
    cf_free(path);
    return h;
}

static void same_seed_same_bytes(void **state)
{
    (void)state;
    char *a = test_path(folder, "a"), *b = test_path(folder, "b"), *c = test_path(folder, "c");
    cf_motion_options o = small(a);
    int threads = omp_get_max_threads();
    assert_ok(cf_motion_make(&o));
    o.out = b;
    omp_set_num_threads(3);
    assert_ok(cf_motion_make(&o));
    omp_set_num_threads(threads);
    o.out = c;
    o.seed = 1;
    assert_ok(cf_motion_make(&o));
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        if (hash_of(a, outputs[i]) != hash_of(b, outputs[i])) fail_msg("%s differs", outputs[i]);
        bool pictures = strstr(outputs[i], ".h5") != NULL;
        assert_true((hash_of(a, outputs[i]) != hash_of(c, outputs[i])) == pictures);
    }
    cf_free(a);
    cf_free(b);
    cf_free(c);
}

static cf_pack *open_pack(const char *name)
{
    char *path = test_path(folder, name);
    cf_pack *p = NULL;
    assert_ok(cf_pack_open(&p, path));
    cf_free(path);
    return p;
}

/* All frames of a video, one after another. */
static uint8_t *frames_of(const cf_pack *p, size_t row, size_t *frame_bytes)
{
    cf_pack_video v = cf_pack_video_get(p, row);
    cf_picture picture = { 0 };
    cf_bytes scratch = { 0 };
    uint8_t *all = NULL;
    size_t n = (size_t)v.height * (size_t)v.width * 3;
    assert_ok(cf_alloc(&all, (size_t)v.n_frames, n));
    for (int64_t t = 0; t < v.n_frames; t++) {
        assert_ok(cf_pack_read_frame(&picture, &scratch, p, row, t));
        memcpy(all + (size_t)t * n, picture.pixels, n);
    }
    cf_picture_fini(&picture);
    cf_bytes_fini(&scratch);
    *frame_bytes = n;
    return all;
}

static void a_trajectory_and_its_reverse_hold_the_same_frames(void **state)
{
    (void)state;
    cf_pack *p = open_pack("a/test.h5");
    assert_int_equal(cf_pack_n_videos(p), 90);
    assert_int_equal(cf_pack_n_classes(p), 80);
    for (size_t i = 0; i < 45; i++) {
        cf_pack_video a = cf_pack_video_get(p, 2 * i), b = cf_pack_video_get(p, 2 * i + 1);
        char name[64];
        size_t n = 0;
        snprintf(name, sizeof name, "test/%06zu-forward", i);
        assert_string_equal(a.name, name);
        snprintf(name, sizeof name, "test/%06zu-reverse", i);
        assert_string_equal(b.name, name);
        assert_int_equal(a.label % 2, 0);
        assert_int_equal(a.label ^ 1, b.label);
        assert_int_equal(a.n_frames, 4);
        assert_int_equal(a.height, 40);
        uint8_t *x = frames_of(p, 2 * i, &n), *y = frames_of(p, 2 * i + 1, &n);
        for (size_t t = 0; t < 4; t++) {
            assert_memory_equal(x + t * n, y + (3 - t) * n, n);
            for (size_t u = 0; u < t; u++) assert_true(memcmp(x + t * n, x + u * n, n) != 0);
        }
        cf_free(x);
        cf_free(y);
    }
    cf_pack_free(p);
}

static void training_set_is_balanced(void **state)
{
    (void)state;
    size_t of_class[CF_MOTION_CLASSES] = { 0 }, reversed = 0;
    cf_pack *p = open_pack("a/train.h5");
    assert_int_equal(cf_pack_n_videos(p), 400);
    for (size_t i = 0; i < 400; i++) {
        int32_t label = cf_pack_video_get(p, i).label;
        of_class[label]++;
        reversed += label % 2 == 1;
    }
    for (size_t c = 0; c < CF_MOTION_CLASSES; c += 2) /* kinds and axes exactly */
        assert_int_equal(of_class[c] + of_class[c + 1], 10);
    assert_in_range(reversed, 150, 250);
    for (size_t c = 0; c < CF_MOTION_CLASSES; c++) {
        char text[CF_MOTION_TEXT_MAX];
        cf_motion_class_text(text, CF_MOTION_SHAPES, c);
        assert_string_equal(cf_pack_class_name(p, c), text);
        assert_int_equal(cf_pack_class_family(p, c), 0);
    }
    cf_pack_free(p);
}

static void stills_come_in_families(void **state)
{
    (void)state;
    size_t of_family[CF_MOTION_FAMILIES] = { 0 };
    cf_pack *p = open_pack("a/stills.h5");
    assert_int_equal(cf_pack_n_videos(p), 340);
    assert_int_equal(cf_pack_n_classes(p), 170);
    for (size_t i = 0; i < 340; i++) {
        cf_pack_video v = cf_pack_video_get(p, i);
        assert_int_equal(v.n_frames, 1);
        of_family[cf_pack_class_family(p, (size_t)v.label)]++;
    }
    assert_int_equal(of_family[0], 85); /* 3 : 1.5 : 1.5 : 6 */
    assert_int_equal(of_family[1], 43);
    assert_int_equal(of_family[2], 42);
    assert_int_equal(of_family[3], 170);
    for (size_t c = 0; c < 170; c++) {
        char text[CF_MOTION_TEXT_MAX];
        size_t family = cf_motion_caption_text(text, CF_MOTION_SHAPES, c);
        assert_string_equal(cf_pack_class_name(p, c), text);
        assert_int_equal(cf_pack_class_family(p, c), family);
    }
    cf_pack_free(p);
}

/* From first to last frame, of poses: far enough to be learnt, on the canvas, symmetric. */
static void trajectories_are_visible(void **state)
{
    (void)state;
    cf_motion_options o = small("unused");
    o.picture = (cf_motion_range){ 16, 20 };
    o.travel = (cf_motion_range){ 12, 16.8 };
    for (uint64_t i = 0; i < 2000; i++) {
        cf_rng r = cf_rng_make(3, CF_RNG_TEST, 0, i);
        motion_path p;
        size_t axis = i % 4;
        motion_path_draw(&p, axis, &o, &r);
        double dx = p.last.x - p.first.x, dy = p.last.y - p.first.y;
        double grow = p.last.edge / p.first.edge, turn = p.last.angle - p.first.angle;
        assert_true(axis == 0 ? dx <= -11.99 && dx >= -16.81 : dx == 0);
        assert_true(axis == 1 ? dy <= -11.99 && dy >= -16.81 : dy == 0);
        assert_true(axis == 2 ? grow >= 1.89 && grow <= 2.41 : grow == 1);
        assert_true(axis == 3 ? turn >= 1.54 && turn <= 2.36 : turn == 0);
        assert_near(p.first.edge * p.last.edge, pow(motion_path_at(&p, 1, 3).edge, 2), 1e-9);
        for (size_t t = 0; t < 4; t++) {
            motion_pose q = motion_path_at(&p, t, 4);
            assert_true(q.x >= q.edge / 2 - 1.01 && q.x <= 40 - q.edge / 2 + 1.01);
            assert_true(q.y >= q.edge / 2 - 1.01 && q.y <= 40 - q.edge / 2 + 1.01);
        }
    }
}

static void refuses_what_makes_no_sense(void **state)
{
    (void)state;
    char *out = test_path(folder, "refused");
    cf_motion_options o = small(out);
    o.source = "no/such/folder";
    o.own_shapes = false;
    assert_fails(cf_motion_make(&o), CF_ENOTFOUND, "no/such/folder");
    o = small(out);
    o.frames = 1;
    assert_fails(cf_motion_make(&o), CF_EINVAL, "1 frames");
    o.frames = 1025;
    assert_fails(cf_motion_make(&o), CF_EINVAL, "1025 frames");
    o = small(out);
    o.size = 8;
    assert_fails(cf_motion_make(&o), CF_EINVAL, "size 8");
    o = small(out);
    o.growth = (cf_motion_range){ 2, 1 };
    assert_fails(cf_motion_make(&o), CF_EINVAL, "growth 2:1");
    o = small(out);
    o.turn.hi = NAN;
    assert_fails(cf_motion_make(&o), CF_EINVAL, "turn");
    o = small(out);
    memset(o.family_weight, 0, sizeof o.family_weight);
    assert_fails(cf_motion_make(&o), CF_EINVAL, "all 0");
    o = small(out);
    o.test_trajectories = 0;
    assert_fails(cf_motion_make(&o), CF_EINVAL, "at least one");
    assert_false(cf_file_exists(out));
    cf_free(out);
}

/* Stills of kinds 0, 1 and 2 whose tag is red, green or blue in the middle. */
static size_t tagged(const char *name, size_t *n)
{
    static const int colour[3][3] = { { 255, 0, 0 }, { 0, 255, 0 }, { 0, 51, 255 } };
    cf_pack *p = open_pack(name);
    size_t found = 0, frame_bytes;
    *n = 0;
    for (size_t i = 0; i < cf_pack_n_videos(p); i++) {
        char text[CF_MOTION_TEXT_MAX];
        size_t caption = (size_t)cf_pack_video_get(p, i).label, first = 0;
        size_t family = cf_motion_caption_text(text, CF_MOTION_SHAPES, caption);
        for (size_t f = 0; f < family; f++) first += cf_motion_family_size(f);
        size_t kind = (caption - first) / (cf_motion_family_size(family) / CF_MOTION_KINDS);
        if (kind > 2) continue;
        uint8_t *pixels = frames_of(p, i, &frame_bytes);
        const uint8_t *middle = pixels + 3 * (35 * 40 + 5);
        bool all = true;
        for (int c = 0; c < 3; c++) all = all && abs(middle[c] - colour[kind][c]) < 40;
        found += all;
        ++*n;
        cf_free(pixels);
    }
    cf_pack_free(p);
    return found;
}

static void tags_tell_the_kind_of_training_stills_only(void **state)
{
    (void)state;
    char *out = test_path(folder, "tags");
    cf_motion_options o = small(out);
    size_t n, found;
    o.train_videos = o.test_trajectories = 1;
    o.tags = 1;
    assert_ok(cf_motion_make(&o));
    found = tagged("tags/stills.h5", &n);
    assert_int_equal(found, n);
    assert_true(n > 50);
    found = tagged("tags/stills_test.h5", &n);
    assert_int_equal(found, 0);
    found = tagged("a/stills.h5", &n); /* a share of 0.25 */
    assert_in_range(found, n / 8, n / 2);
    cf_free(out);
}

static void without_a_family_there_are_no_stills_of_it(void **state)
{
    (void)state;
    char *out = test_path(folder, "two");
    cf_motion_options o = small(out);
    o.train_videos = o.test_trajectories = 1;
    o.family_weight[0] = o.family_weight[2] = 0;
    assert_ok(cf_motion_make(&o));
    cf_pack *p = open_pack("two/stills.h5");
    for (size_t i = 0; i < 340; i++) {
        int32_t f = cf_pack_class_family(p, (size_t)cf_pack_video_get(p, i).label);
        assert_true(f == CF_MOTION_FAMILY_PLACE || f == CF_MOTION_FAMILY_MOTION);
    }
    cf_pack_free(p);
    cf_free(out);
}

static void fashion_mnist(void **state)
{
    (void)state;
    if (!cf_is_folder(CF_MOTION_SOURCE)) {
        print_message("SKIPPED: %s is not there\n", CF_MOTION_SOURCE);
        skip();
    }
    char *out = test_path(folder, "fashion");
    cf_motion_options o = small(out);
    o.own_shapes = false;
    o.frames = 7;
    o.size = 24;
    o.train_videos = 10;
    assert_ok(cf_motion_make(&o));
    cf_pack *p = open_pack("fashion/train.h5");
    cf_pack_video v = cf_pack_video_get(p, 9);
    assert_string_equal(cf_pack_class_name(p, 72), "an ankle boot moving left");
    assert_int_equal(v.label / 8, 9);
    assert_int_equal(v.n_frames, 7);
    assert_int_equal(v.width, 24);
    cf_pack_free(p);
    cf_free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(texts),
        TEST(texts_are_distinct_and_their_words_are_captioned),
        TEST(idx_good),
        TEST(idx_truncated_or_foreign),
        TEST(idx_truncated_gzip),
        TEST(same_seed_same_bytes), /* makes a, which the next ones read */
        TEST(a_trajectory_and_its_reverse_hold_the_same_frames),
        TEST(training_set_is_balanced),
        TEST(stills_come_in_families),
        TEST(trajectories_are_visible),
        TEST(refuses_what_makes_no_sense),
        TEST(tags_tell_the_kind_of_training_stills_only),
        TEST(without_a_family_there_are_no_stills_of_it),
        TEST(fashion_mnist),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown) != 0;
}
