/* Contact sheets: pixels that come back exactly, sizes, which video is meant, failures. */
#include "synthetic.h"

#include "crossframe/browse.h"

#define FOLDER_FILE "browse.h5"
#include "test_in_folder.h"

enum { T = 3, S = 120, VIDEOS = 6, ROW = S + 2 * 24 + 10 };
static const char *const classes[] = { "one", "two" };

static uint8_t pixel(size_t video, size_t frame, size_t i)
{
    return (uint8_t)((video * 40503u + frame * 977u + i * 2654435761u) >> 9);
}

static cf_dataset *new_dataset(void)
{
    static uint8_t pixels[T * S * S * 3];
    static const char *const names[VIDEOS] = { "a/x.mp4", "b/x.mp4", "a/y.mp4", "3", "y.mp4", "z" };
    cf_pack_options o = { .encoding = CF_ENCODING_RAW, .class_name = classes, .n_classes = 2 };
    cf_pack_writer *w;
    cf_dataset *d;
    assert_ok(cf_pack_writer_new(&w, path, &o));
    for (size_t v = 0; v < VIDEOS; v++) {
        for (size_t i = 0; i < sizeof pixels; i++)
            pixels[i] = pixel(v, i / (S * S * 3), i % (S * S * 3));
        assert_ok(
            cf_pack_writer_add(w, names[v], v == 5 ? -1 : (int32_t)(v % 2), 25, pixels, T, S, S));
    }
    static const int64_t labelled[] = { 0, 1, 2, 3, 4 };
    assert_ok(cf_pack_writer_split(w, "train", labelled, 5));
    assert_ok(cf_pack_writer_commit(w));
    assert_ok(cf_dataset_open(&d, path, ""));
    return d;
}

static cf_dataset *training_part(void)
{
    cf_dataset *d;
    char *name;
    assert_ok(cf_format(&name, "%s#train", path));
    assert_ok(cf_dataset_open(&d, name, ""));
    cf_free(name);
    return d;
}

static cf_loader_options options(bool training)
{
    return (cf_loader_options){ .T = T,
                                .batch = 2,
                                .augment = { .size = S },
                                .training = training,
                                .clips = 2,
                                .crops = 3,
                                .workers = 1,
                                .n_classes = 2 };
}

static char *sheet_path(void) { return test_path(folder, "sheet.png"); }

static cf_picture read_sheet(void)
{
    cf_picture p = { 0 };
    char *file = sheet_path(), *bytes;
    size_t n;
    assert_ok(cf_file_read(&bytes, &n, file));
    assert_ok(cf_png_decode(&p, (const uint8_t *)bytes, n, "sheet"));
    cf_free(bytes);
    cf_free(file);
    return p;
}

/* The row of frames `row` is these frames of the video, pixel by pixel. */
static void assert_row(const cf_picture *sheet, size_t row, size_t video)
{
    for (size_t t = 0; t < T; t++)
        for (size_t y = 0; y < S; y++) {
            size_t top = 10 + 24 + 5 + row * ROW, left = 10 + t * (S + 2);
            const uint8_t *at = sheet->pixels + 3 * ((top + y) * sheet->width + left);
            for (size_t i = 0; i < 3 * S; i++)
                if (at[i] != pixel(video, t, y * S * 3 + i))
                    fail_msg("row %zu, frame %zu, line %zu, byte %zu", row, t, y, i);
        }
}

static void clips_are_shown_exactly(void **state)
{
    (void)state;
    cf_dataset_free(new_dataset());
    cf_dataset *d = training_part();
    cf_loader_options o = options(true); /* neither shuffled nor changed */
    char *file = sheet_path();
    assert_ok(cf_browse_clips(file, d, &o, classes, 0, 3));
    cf_picture p = read_sheet();
    for (size_t row = 0; row < 3; row++) assert_row(&p, row, row);
    cf_picture_fini(&p);
    assert_ok(cf_browse_clips(file, d, &o, classes, 7, 100)); /* two whole batches */
    p = read_sheet();
    assert_int_equal(p.height, 30 + 24 + 4 * ROW);
    assert_row(&p, 3, 3);
    cf_picture_fini(&p);
    cf_free(file);
    cf_dataset_free(d);
}

/* Mixing changes the picture, and the sheet says so: another text below it. */
static void mixed_clips_are_told(void **state)
{
    (void)state;
    cf_dataset_free(new_dataset());
    cf_dataset *d = training_part();
    char *file = sheet_path();
    size_t differ[2] = { 0 };
    cf_picture plain, mixed;
    for (uint32_t epoch = 0; epoch < 8; epoch++) {
        cf_loader_options o = options(true);
        assert_ok(cf_browse_clips(file, d, &o, classes, epoch, 2));
        plain = read_sheet();
        o.mixup = o.cutmix = 1;
        o.mix_switch = .5;
        o.label_smooth = .1;
        assert_ok(cf_browse_clips(file, d, &o, classes, epoch, 2));
        mixed = read_sheet();
        size_t row = plain.width * 3, frames = 39 * row, text = (39 + S + 4) * row;
        differ[0] += memcmp(plain.pixels + frames, mixed.pixels + frames, S * row) != 0;
        differ[1] += memcmp(plain.pixels + text, mixed.pixels + text, 40 * row) != 0;
        cf_picture_fini(&plain);
        cf_picture_fini(&mixed);
    }
    assert_in_range(differ[0], 1, 7); /* a clip may also be its own partner */
    assert_in_range(differ[1], differ[0], 8);
    cf_free(file);
    cf_dataset_free(d);
}

static void views_and_small_frames(void **state)
{
    (void)state;
    cf_dataset *d = new_dataset();
    cf_loader_options o = options(false);
    char *file = sheet_path();
    assert_ok(cf_browse_views(file, d, &o, classes, 5));
    cf_picture p = read_sheet();
    assert_int_equal(p.height, 30 + 24 + 6 * ROW);
    for (size_t row = 0; row < 6; row++) assert_row(&p, row, 5); /* all frames, whole squares */
    cf_picture_fini(&p);
    o.augment.size = 28;
    o.crops = 1;
    assert_ok(cf_browse_views(file, d, &o, classes, 0)); /* enlarged four times */
    p = read_sheet();
    assert_int_equal(p.height, 30 + 24 + 2 * (4 * 28 + 48 + 10));
    for (size_t i = 0; i < 4; i++)
        assert_memory_equal(p.pixels + 3 * (39 * p.width + 10),
                            p.pixels + 3 * ((39 + i) * p.width + 10 + i), 3);
    cf_picture_fini(&p);
    o.augment.size = 600;
    o.T = 9;
    assert_ok(cf_browse_views(file, d, &o, classes, 0)); /* 9 * 602 is too wide: by three */
    p = read_sheet();
    assert_int_equal(p.width, 20 + 9 * 202);
    cf_picture_fini(&p);
    cf_free(file);
    cf_dataset_free(d);
}

static void videos_by_name_or_number(void **state)
{
    (void)state;
    cf_dataset *d = new_dataset();
    static const struct {
        const char *name;
        size_t video;
    } found[] = { { "a/x.mp4", 0 }, { "b/x.mp4", 1 }, { "y.mp4", 4 }, { "3", 3 },
                  { "z", 5 },       { "0", 0 },       { "5", 5 } };
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        size_t video = 99;
        assert_ok(cf_browse_find(&video, d, found[i].name));
        assert_int_equal(video, found[i].video);
    }
    size_t video = 99;
    assert_fails(cf_browse_find(&video, d, "x.mp4"), CF_EINVAL, "2 videos end in x.mp4");
    assert_fails(cf_browse_find(&video, d, "6"), CF_ENOTFOUND, "no video 6 among its 6");
    assert_fails(cf_browse_find(&video, d, "mp4"), CF_ENOTFOUND, "mp4");
    assert_fails(cf_browse_find(&video, d, ""), CF_ENOTFOUND, "no video");
    assert_fails(cf_browse_find(&video, d, "-1"), CF_ENOTFOUND, "no video -1");
    assert_int_equal(video, 99);
    cf_dataset_free(d);
}

static void failures_are_clean(void **state)
{
    (void)state;
    cf_dataset *d = new_dataset();
    cf_loader_options o = options(false), training = options(true);
    char *file = sheet_path();
    assert_fails(cf_browse_views("/nowhere/at/all.png", d, &o, classes, 0), CF_ENOTFOUND,
                 "/nowhere");
    assert_fails(cf_browse_clips(file, d, &training, classes, 0, 3), CF_EINVAL, "no label");
    assert_false(cf_file_exists(file));
    size_t before = cf_memory_stats_get().bytes_now, n = 1;
    for (;; n++) {
        cf_memory_fail_at(n);
        cf_status status = cf_browse_views(file, d, &o, classes, 1);
        cf_memory_fail_at(0);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
        if (status == CF_OK) break;
        assert_int_equal(status, CF_ENOMEM);
        assert_false(cf_file_exists(file));
    }
    assert_true(n > 20);
    cf_free(file);
    cf_dataset_free(d);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
TESTS(IN_FOLDER(clips_are_shown_exactly), IN_FOLDER(mixed_clips_are_told),
      IN_FOLDER(views_and_small_frames), IN_FOLDER(videos_by_name_or_number),
      IN_FOLDER(failures_are_clean))
