/* Videos out of folders and tars: the same bits as from packs of them, for any number of threads,
 * place of resuming and process; few handles; what is missing or damaged. Videos are made by the
 * ffmpeg program where there is one, the rest are folders of pictures. */
#include "loader_help.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const struct {
    const char *name, *arguments;
} videos[] = {
    { "one/a.mp4", "-f lavfi -i testsrc2=s=64x48:r=25:d=1.2 -c:v mpeg4 -g 9 -bf 2" },
    { "one/b c.avi", "-f lavfi -i mandelbrot=s=50x62:r=10 -t 0.7 -c:v mjpeg" },
    { "two/c.mkv", "-f lavfi -i testsrc=s=40x40:r=12:d=0.5 -c:v ffv1" },
    { "two/d.gif", "-f lavfi -i rgbtestsrc=s=32x24:r=5:d=0.2" },
    { "one/e.mp4", "-f lavfi -i testsrc=s=48x64:r=30:d=0.4 -c:v mpeg4" },
    { "f.mkv", "-f lavfi -i testsrc2=s=36x36:r=25:d=2 -c:v mpeg4 -bf 1" },
};
enum { MADE = sizeof videos / sizeof *videos };
static bool made; /* the videos are there */
static char *root;

static int shell(const char *format, ...)
{
    char command[2000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    return system(command);
}

static char *in_root(const char *name) { return test_path(root, name); }

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    fclose(f);
}

/* ROOT/name: a picture, which is a video of one frame. */
static void make_picture(const char *name, uint8_t value, size_t side)
{
    char *path = in_root(name);
    uint8_t *pixels = test_malloc(side * side * 3), *png;
    size_t n;
    memset(pixels, value, side * side * 3);
    assert_ok(cf_png_encode(&png, &n, pixels, side, side, 1));
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(png, 1, n, f), n);
    fclose(f);
    cf_free(png);
    cf_free(path);
    test_free(pixels);
}

static int sources_setup(void **state)
{
    setup(state);
    root = test_path(folder, "videos");
    assert_int_equal(shell("mkdir -p %s/one %s/two %s/frames", root, root, root), 0);
    for (int i = 0; i < 5; i++) {
        char name[40];
        snprintf(name, sizeof name, "frames/img_%05d.png", i + 1);
        make_picture(name, (uint8_t)(40 * i), 20);
    }
    made = strcmp(cf_media_libraries(), "without FFmpeg") != 0 &&
           system("ffmpeg -version >/dev/null 2>&1") == 0;
    for (size_t i = 0; made && i < MADE; i++)
        assert_int_equal(shell("cd %s && ffmpeg -nostdin -v error -y %s '%s' >&2", root,
                               videos[i].arguments, videos[i].name),
                         0);
    return 0;
}

static int sources_teardown(void **state)
{
    cf_free(root);
    return teardown(state);
}

static void need_videos(void)
{
    if (made) return;
    print_message("no ffmpeg program, or a build without FFmpeg: not tested\n");
    skip();
}

/* ---- the same bits --------------------------------------------------------------------------- */

typedef struct {
    cf_pack_writer *w;
    uint8_t *pixels;
    size_t n, height, width;
} packing;

static cf_status keep_frame(void *user, int64_t frame, const cf_picture *p)
{
    packing *k = user;
    size_t size = p->height * p->width * 3;
    assert_int_equal(frame, k->n);
    k->pixels = realloc(k->pixels, (k->n + 1) * size);
    memcpy(k->pixels + k->n++ * size, p->pixels, size);
    k->height = p->height;
    k->width = p->width;
    return CF_OK;
}

static void pack_videos(const char *path, cf_encoding encoding, size_t first, size_t end)
{
    static const char *const classes[] = { "x", "y" };
    const cf_pack_options o = { .encoding = encoding, .class_name = classes, .n_classes = 2 };
    packing k = { 0 };
    assert_ok(cf_pack_writer_new(&k.w, path, &o));
    for (size_t i = first; i < end; i++) {
        cf_media *m;
        char *video = in_root(videos[i].name);
        k.n = 0;
        assert_ok(cf_media_open(&m, video));
        assert_ok(cf_media_read(m, NULL, 0, keep_frame, &k));
        assert_ok(cf_pack_writer_add(k.w, videos[i].name, (int32_t)(i % 2), 25, k.pixels, k.n,
                                     k.height, k.width));
        cf_media_close(m);
        cf_free(video);
    }
    assert_ok(cf_pack_writer_commit(k.w));
    free(k.pixels);
}

static char *write_list(const char *name)
{
    char *path = test_path(folder, name), text[400] = "";
    for (size_t i = 0; i < MADE; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s %d\n", videos[i].name,
                 (int)(i % 2));
    write_text(path, text);
    return path;
}

enum { BATCHES = 3 };

/* Fingerprints of a training epoch and of a test of 2 x 3 views, resumed in the middle. */
static void read_all(uint64_t *prints, const char *list, const char *from, int workers)
{
    cf_dataset *d;
    cf_loader *l;
    const cf_batch *b;
    cf_loader_options o = training(2, workers), t = testing(2, 2, 3);
    assert_ok(cf_dataset_open(&d, list, from));
    t.workers = workers;
    assert_ok(cf_loader_new(&l, d, &o));
    for (uint32_t epoch = 0; epoch < 2; epoch++) {
        assert_ok(cf_loader_start(l, epoch, 0));
        assert_int_equal(read_epoch(prints + epoch * BATCHES, l), BATCHES);
    }
    assert_ok(cf_loader_start(l, 0, 1)); /* resumed */
    assert_ok(cf_loader_next(&b, l));
    assert_int_equal(fingerprint(b), prints[1]);
    cf_loader_free(l);
    assert_ok(cf_loader_new(&l, d, &t));
    assert_ok(cf_loader_start(l, 0, 0));
    assert_int_equal(read_epoch(prints + 2 * BATCHES, l), BATCHES);
    cf_loader_free(l);
    assert_ok(cf_loader_new(&l, d, &o)); /* resumed before anything was read */
    assert_ok(cf_loader_start(l, 1, 2));
    assert_ok(cf_loader_next(&b, l));
    assert_int_equal(fingerprint(b), prints[BATCHES + 2]);
    cf_loader_free(l);
    cf_dataset_free(d);
}

static void every_source_gives_the_same_bits(void **state)
{
    (void)state;
    need_videos();
    char *list = write_list("list.txt"), *tar = test_path(folder, "videos.tar");
    char *png = test_path(folder, "all.h5"), *shards = test_path(folder, "shards");
    char *first = test_path(folder, "shards/0.h5"), *second = test_path(folder, "shards/1.h5");
    uint64_t expected[3 * BATCHES], got[3 * BATCHES];
    assert_int_equal(shell("cd %s && tar cf %s .", root, tar), 0);
    assert_ok(cf_make_folders(shards));
    pack_videos(png, CF_ENCODING_PNG, 0, MADE);
    pack_videos(first, CF_ENCODING_RAW, 0, 4);
    pack_videos(second, CF_ENCODING_PNG, 4, MADE);
    read_all(expected, list, png, 1);
    const char *const from[] = { png, shards, root, tar };
    for (size_t i = 0; i < 4; i++)
        for (int workers = 1; workers <= 3; workers += 2) {
            read_all(got, list, from[i], workers);
            for (size_t k = 0; k < 3 * BATCHES; k++)
                if (got[k] != expected[k])
                    fail_msg("%s, %d threads: batch %zu differs", from[i], workers, k);
        }
    char *const paths[] = { list, tar, png, shards, first, second };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) cf_free(paths[i]);
}

/* A dataset that was opened before a fork is read by both processes at once. */
static void forked_readers_do_not_meet(void **state)
{
    (void)state;
    need_videos();
    char *list = write_list("list.txt"), *tar = test_path(folder, "forked.tar");
    assert_int_equal(shell("cd %s && tar cf %s .", root, tar), 0);
    const char *const from[] = { root, tar };
    for (size_t i = 0; i < 2; i++) {
        cf_dataset *d;
        int ends[2];
        uint64_t mine[40], other[40];
        size_t n = 0;
        assert_ok(cf_dataset_open(&d, list, from[i]));
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        for (uint32_t epoch = 0; epoch < 10; epoch++) {
            cf_loader *l;
            cf_loader_options o = training(2, 2);
            assert_ok(cf_loader_new(&l, d, &o));
            assert_ok(cf_loader_start(l, epoch, 0));
            n += read_epoch(mine + n, l);
            cf_loader_free(l);
        }
        if (child == 0)
            _exit(write(ends[1], mine, n * sizeof *mine) != (ssize_t)(n * sizeof *mine));
        close(ends[1]);
        assert_int_equal(n, 10 * BATCHES);
        assert_int_equal(read(ends[0], other, n * sizeof *other), n * sizeof *other);
        assert_memory_equal(mine, other, n * sizeof *mine);
        close(ends[0]);
        waitpid(child, NULL, 0);
        cf_dataset_free(d);
    }
    cf_free(list);
    cf_free(tar);
}

/* ---- what cannot be read --------------------------------------------------------------------- */

static void damaged_videos(void **state)
{
    (void)state;
    need_videos();
    char *list = write_list("list.txt"), *copy = test_path(folder, "damaged"), *text;
    cf_dataset *d;
    cf_loader *l;
    const cf_batch *b;
    /* Cut in the middle: of two videos of class 0 one is left. */
    assert_int_equal(shell("cp -r %s %s && cd %s && for f in one/a.mp4 one/e.mp4; do "
                           "truncate -s $(($(stat -c %%s $f) / 2)) $f; done && : >two/d.gif",
                           root, copy, copy),
                     0);
    assert_ok(cf_dataset_open(&d, list, copy));
    for (int workers = 1; workers <= 3; workers += 2) {
        cf_loader_options o = training(1, workers);
        size_t failed = 0, skipped = 0, shown = 0;
        assert_ok(cf_loader_new(&l, d, &o));
        assert_ok(cf_loader_start(l, 0, 0));
        for (size_t k = 0; k < MADE; k++) {
            if (cf_loader_next(&b, l) == CF_OK) continue;
            failed++;
            assert_non_null(strstr(cf_error(), "video "));
        }
        assert_int_equal(failed, 3);
        cf_loader_free(l);
        o.on_error = CF_ON_ERROR_SKIP;
        assert_ok(cf_loader_new(&l, d, &o));
        assert_ok(cf_loader_start(l, 0, 0));
        for (size_t k = 0; k < MADE; k++) {
            assert_ok(cf_loader_next(&b, l));
            assert_int_equal(b->index[0] % 2, b->place[0] % 2);
            assert_true(b->index[0] != 0 && b->index[0] != 4 && b->index[0] != 3);
        }
        assert_int_equal(cf_loader_skipped(l), 3);
        cf_loader_free(l);
        cf_loader_options t = testing(2, 1, 1);
        t.workers = workers;
        t.on_error = CF_ON_ERROR_SKIP;
        assert_ok(cf_loader_new(&l, d, &t));
        assert_ok(cf_loader_start(l, 0, 0));
        for (;; shown += b->n) {
            assert_ok(cf_loader_next(&b, l));
            skipped += cf_loader_skipped(l);
            if (!b) break;
        }
        assert_int_equal(skipped, 3);
        assert_int_equal(shown, MADE - 3);
        cf_loader_free(l);
    }
    cf_dataset_free(d);
    assert_ok(cf_format(&text, "one/a.mp4 0\nnone.mp4 1\nframes 1\nnot/there 0\n"));
    write_text(list, text);
    assert_fails(cf_dataset_open(&d, list, copy), CF_ENOTFOUND,
                 "damaged holds no video 'none.mp4', also 'not/there'; missing in all: 2 of 4");
    cf_free(text);
    cf_free(list);
    cf_free(copy);
}

static void hostile_tars(void **state)
{
    (void)state;
    char *tar = test_path(folder, "bad.tar"), *list = test_path(folder, "tar.txt");
    char *good = test_path(folder, "good.tar"), *bytes;
    size_t n;
    cf_dataset *d = NULL;
    assert_int_equal(shell("cd %s/frames && tar cf %s img_00001.png img_00002.png", root, good), 0);
    write_text(list, "img_00001.png 0\n./img_00002.png 1\nany/img_00002.png 1\n");
    assert_ok(cf_dataset_open(&d, list, good));
    for (size_t i = 0; i < 3; i++) {
        cf_picture p = { 0 };
        assert_int_equal(read_frame(&p, d, i, 0), 1);
        assert_int_equal(p.pixels[0], i ? 40 : 0);
        cf_picture_fini(&p);
    }
    cf_dataset_free(d);
    d = NULL;
    assert_ok(cf_file_read(&bytes, &n, good));
    memset(bytes + 100, 0xff, 60);
    assert_ok(cf_file_write(tar, bytes, n));
    assert_fails(cf_dataset_open(&d, list, tar), CF_EFORMAT, "bad.tar");
    write_text(tar, "");
    assert_fails(cf_dataset_open(&d, list, tar), CF_EFORMAT, "bad.tar");
    write_text(list, "img_00009.png 0\n");
    assert_fails(cf_dataset_open(&d, list, good), CF_ENOTFOUND, "line 1");
    assert_null(d);
    cf_free(bytes);
    cf_free(tar);
    cf_free(list);
    cf_free(good);
}

/* ---- folders --------------------------------------------------------------------------------- */

static void names_in_folders(void **state)
{
    (void)state;
    char *list = test_path(folder, "names.txt"), *absolute = in_root("frames/img_00003.png"), *text;
    cf_dataset *d;
    cf_picture p = { 0 };
    assert_ok(cf_format(&text, "frames 3\n%s 1\n./frames/../frames/img_00002.png 0\n", absolute));
    write_text(list, text);
    assert_ok(cf_dataset_open(&d, list, root));
    assert_int_equal(cf_dataset_n_classes(d), 4);
    assert_string_equal(cf_dataset_class_name(d, 0), "");
    assert_false(cf_dataset_is_packed(d));
    assert_int_equal(read_frame(&p, d, 0, 3), 5);
    assert_int_equal(p.pixels[0], 120);
    assert_int_equal(read_frame(&p, d, 1, 0), 1);
    assert_int_equal(p.pixels[0], 80);
    assert_int_equal(read_frame(&p, d, 2, 0), 1);
    assert_int_equal(p.pixels[0], 40);
    cf_dataset_free(d);
    cf_picture_fini(&p);
    cf_free(list);
    cf_free(absolute);
    cf_free(text);
}

/* The folder of the two packs is a source of packs, or of files, as the list has it. */
static void packs_beside_videos(void **state)
{
    (void)state;
    char *list = test_path(folder, "beside.txt");
    cf_dataset *d;
    write_text(list, "videos/frames 3\n");
    assert_ok(cf_dataset_open(&d, list, folder));
    assert_false(cf_dataset_is_packed(d));
    cf_dataset_free(d);
    cf_free(list);
}

/* More videos than a process may have files open. */
static void thousands_of_files(void **state)
{
    (void)state;
    enum { FILES = 2000 };
    char *list = test_path(folder, "many.txt");
    FILE *f = fopen(list, "wb");
    cf_dataset *d;
    cf_loader *l;
    cf_loader_options o = training(50, 3);
    struct rlimit limit, few;
    size_t n = 0;
    assert_int_equal(shell("mkdir %s/many", root), 0);
    for (int i = 0; i < FILES; i++) {
        char name[40];
        snprintf(name, sizeof name, "many/%d.png", i);
        make_picture(name, (uint8_t)i, 4);
        fprintf(f, "%s %d\n", name, i % N_CLASSES);
    }
    fclose(f);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = 40;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    o.augment = (cf_augment){ .size = 4 };
    o.mixup = 0;
    assert_ok(cf_dataset_open(&d, list, root));
    assert_ok(cf_loader_new(&l, d, &o));
    assert_ok(cf_loader_start(l, 0, 0));
    for (const cf_batch *b;; n += b->n) {
        assert_ok(cf_loader_next(&b, l));
        if (!b) break;
    }
    assert_int_equal(n, FILES);
    cf_loader_free(l);
    cf_dataset_free(d);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cf_free(list);
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    char *list = test_path(folder, "memory.txt"), *tar = test_path(folder, "memory.tar");
    assert_int_equal(shell("cd %s/frames && tar cf %s *", root, tar), 0);
    for (int i = 0; i < 2; i++) {
        size_t before = cf_memory_stats_get().bytes_now, n = 1;
        write_text(list, i ? "img_00003.png 0\nimg_00001.png 1\n" : "frames 0\n");
        for (;; n++) {
            cf_dataset *d = NULL;
            cf_video_reader *r = NULL;
            cf_picture p = { 0 };
            int64_t frames;
            cf_memory_fail_at(n);
            cf_status status = cf_dataset_open(&d, list, i ? tar : root);
            if (status == CF_OK) status = cf_video_reader_new(&r, d);
            if (status == CF_OK) status = cf_video_reader_open(&frames, r, 0);
            if (status == CF_OK)
                status = cf_video_reader_read(r, &(int64_t){ 0 }, 1, keep_picture, &p);
            cf_memory_fail_at(0);
            cf_picture_fini(&p);
            cf_video_reader_free(r);
            cf_dataset_free(d);
            assert_int_equal(cf_memory_stats_get().bytes_now, before);
            if (status == CF_OK) break;
            assert_int_equal(status, CF_ENOMEM);
        }
        assert_true(n > 15);
    }
    cf_free(list);
    cf_free(tar);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_source_gives_the_same_bits),
        TEST(forked_readers_do_not_meet),
        TEST(damaged_videos),
        TEST(hostile_tars),
        TEST(names_in_folders),
        TEST(packs_beside_videos),
        TEST(thousands_of_files),
        TEST(every_failed_allocation_is_clean),
    };
    return cmocka_run_group_tests(tests, sources_setup, sources_teardown) != 0;
}
