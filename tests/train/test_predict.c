/* crossframe predict from outside, on a micro X-CLIP that was trained here, and the reader and the
 * predictor from inside. */
#include "micro.h"
#include "xclip_cost.h"

#include "crossframe/h5.h"
#include "crossframe/predict.h"

#include <cjson/cJSON.h>
#include <fcntl.h>

static char *folder, *checkpoint, *pack;

/* ---- the program ----------------------------------------------------------------------------- */

typedef struct {
    int status; /* exit status, or 1000 + signal */
    char *out, *err;
} outcome;
static outcome got;

static void forget(void)
{
    cf_free(got.out);
    cf_free(got.err);
    got = (outcome){ 0 };
}

static void run_in_child(const char *const *argv, const char *in, const char *out, const char *err)
{
    const char *all[48] = { test_program() };
    size_t n = 1;
    for (size_t i = 0; argv[i]; i++) all[n++] = argv[i];
    const char *const paths[] = { in, out, err };
    for (int fd = 0; fd < 3; fd++) {
        int file = open(paths[fd], fd ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY, 0600);
        if (file < 0 || dup2(file, fd) < 0) _exit(127);
    }
    execv(all[0], (char *const *)all);
    _exit(127);
}

/* Runs `crossframe ARGV...` with the file `in` as stdin; the outcome in `got`. */
static void run(const char *in, const char *const *argv)
{
    char *out = test_path(folder, "stdout"), *err = test_path(folder, "stderr");
    int status;
    size_t n;
    forget();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) run_in_child(argv, in, out, err);
    assert_int_equal(waitpid(child, &status, 0), child);
    got.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    assert_ok(cf_file_read(&got.out, &n, out));
    assert_ok(cf_file_read(&got.err, &n, err));
    cf_free(out);
    cf_free(err);
}
#define PREDICT(...)                                                                               \
    run("/dev/null",                                                                               \
        (const char *const[]){ "predict", "--checkpoint", checkpoint, __VA_ARGS__, NULL })

static void assert_exit(int status, const char *err)
{
    if (got.status != status || !strstr(got.err, err))
        fail_msg("exit %d, stderr \"%s\", stdout \"%s\"; expected exit %d and \"%s\"", got.status,
                 got.err, got.out, status, err);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* Line `index` of stdout; cJSON_Delete. */
static cJSON *json_line(size_t index)
{
    const char *line = got.out;
    while (index-- > 0) {
        line = strchr(line, '\n');
        assert_non_null(line);
        line++;
    }
    cJSON *o = cJSON_ParseWithLength(line, strcspn(line, "\n"));
    if (!cJSON_IsObject(o)) fail_msg("not a JSON object: %.200s", line);
    return o;
}

static const char *text_of(const cJSON *o, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsString(item) ? item->valuestring : "(none)";
}

/* probability[id] of a line that has all K labels; sorted, sum 1. */
static void probabilities(double *out, size_t K, size_t line)
{
    cJSON *o = json_line(line);
    const cJSON *scores = cJSON_GetObjectItemCaseSensitive(o, "scores"), *one;
    double before = INFINITY, sum = 0;
    assert_int_equal(cJSON_GetArraySize(scores), K);
    cJSON_ArrayForEach(one, scores)
    {
        double id = cJSON_GetObjectItemCaseSensitive(one, "id")->valuedouble;
        double p = cJSON_GetObjectItemCaseSensitive(one, "probability")->valuedouble;
        assert_true(id >= 0 && id < (double)K && p <= before && p >= 0);
        out[(size_t)id] = before = p;
        sum += p;
    }
    assert_near(sum, 1, 1e-6);
    cJSON_Delete(o);
}

/* ---- data ------------------------------------------------------------------------------------ */

static void png_of(const cf_pack *of, size_t video, int64_t frame, const char *path)
{
    cf_picture p = { 0 };
    cf_bytes scratch = { 0 };
    assert_ok(cf_pack_read_frame(&p, &scratch, of, video, frame));
    assert_ok(cf_png_write(path, p.pixels, p.height, p.width));
    cf_picture_fini(&p);
    cf_bytes_fini(&scratch);
}

/* FOLDER/frames5: the frames of the pack's video 5 as pictures; FOLDER/still.png: its first. */
static void write_pictures(void)
{
    cf_pack *d;
    char *frames = test_path(folder, "frames5"), *still = test_path(folder, "still.png");
    assert_ok(cf_pack_open(&d, pack));
    assert_ok(cf_make_folders(frames));
    for (int64_t i = 0; i < cf_pack_video_get(d, 5).n_frames; i++) {
        char name[32];
        snprintf(name, sizeof name, "frame%d.png", (int)i + 8); /* 8, 9, 10 */
        char *path = test_path(frames, name);
        png_of(d, 5, i, path);
        cf_free(path);
    }
    png_of(d, 5, 0, still);
    cf_pack_free(d);
    cf_free(frames);
    cf_free(still);
}

static int setup(void **state)
{
    (void)state;
    folder = micro_folder(false);
    pack = test_path(folder, "test.h5");
    micro_train_whole(folder, "run", NULL);
    checkpoint = test_path(folder, "run/last.safetensors");
    write_pictures();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    forget();
    cf_free(checkpoint);
    cf_free(pack);
    test_folder_remove(folder);
    return 0;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void same_as_test_says(void **state)
{
    (void)state;
    micro_need_program();
    char *config = test_path(folder, "run.yaml"), *scores = test_path(folder, "scores.h5");
    static const char *const views[] = { "1x1", "2x3" };
    for (size_t v = 0; v < 2; v++) {
        size_t n_views = v ? 6 : 1, n;
        float *expected;
        cf_h5 *f;
        run("/dev/null",
            (const char *const[]){ "test", "-c", config, "--resume", checkpoint, "--scores", scores,
                                   "--opts", "TEST.NUM_CLIP", v ? "2" : "1", "TEST.NUM_CROP",
                                   v ? "3" : "1", NULL });
        assert_exit(0, "");
        PREDICT(pack, "--json", "--views", views[v]);
        assert_exit(0, "");
        assert_int_equal(micro_lines(got.out), MICRO_TEST);
        assert_ok(cf_h5_open(&f, scores));
        assert_ok(cf_h5_read_f32(&expected, &n, f, "/scores"));
        cf_h5_close(f);
        assert_int_equal(n, MICRO_TEST * MICRO_CLASSES);
        for (size_t i = 0; i < MICRO_TEST; i++) {
            double p[MICRO_CLASSES];
            probabilities(p, MICRO_CLASSES, i);
            for (size_t k = 0; k < MICRO_CLASSES; k++)
                assert_near(p[k], expected[i * MICRO_CLASSES + k] / (double)n_views, 1e-6);
        }
        cf_free(expected);
    }
    cf_free(config);
    cf_free(scores);
}

/* The same video as a row, by its name, in a split, and as pictures: the same bits. */
static void every_kind_of_input(void **state)
{
    (void)state;
    micro_need_program();
    char *row, *name, *split, *frames = test_path(folder, "frames5");
    char *still = test_path(folder, "still.png"), *list = test_path(folder, "list"), *text;
    assert_ok(cf_format(&row, "%s#5", pack));
    assert_ok(cf_format(&name, "%s#video 5", pack));
    assert_ok(cf_format(&split, "%s#some", pack));
    assert_ok(cf_format(&text, "%s\r\n\n%s\n", frames, still));
    assert_ok(cf_file_write(list, text, strlen(text)));
    run(list, (const char *const[]){ "predict", row, name, "-", split, "--json", "--checkpoint",
                                     checkpoint, NULL });
    assert_exit(0, "");
    assert_int_equal(micro_lines(got.out), 4 + 3);
    double p[7][MICRO_CLASSES];
    for (size_t i = 0; i < 7; i++) probabilities(p[i], MICRO_CLASSES, i);
    assert_memory_equal(p[0], p[1], sizeof p[0]);
    assert_memory_equal(p[0], p[2], sizeof p[0]);
    assert_true(memcmp(p[0], p[3], sizeof p[0]) != 0); /* one frame is another video */
    cJSON *o = json_line(1);
    assert_string_equal(text_of(o, "input"), row);
    assert_string_equal(text_of(o, "name"), "video 5");
    cJSON_Delete(o);
    o = json_line(2);
    assert_string_equal(text_of(o, "input"), frames);
    assert_string_equal(text_of(o, "name"), "(none)");
    cJSON_Delete(o);
    o = json_line(6);
    assert_string_equal(text_of(o, "name"), "video 2");
    cJSON_Delete(o);
    cf_free(row);
    cf_free(name);
    cf_free(split);
    cf_free(frames);
    cf_free(still);
    cf_free(list);
    cf_free(text);
}

/* Views of a media are those of the same video in a pack, in every sampling. */
static void views_of_media_and_pack_are_equal(void **state)
{
    (void)state;
    char *frames = test_path(folder, "frames5");
    cf_dataset *d;
    cf_media *m;
    assert_ok(cf_dataset_open(&d, pack, NULL));
    assert_ok(cf_media_open(&m, frames));
    for (size_t i = 0; i < 8; i++) {
        const cf_view_options o = { .T = i & 1 ? 2 : 8,
                                    .size = 12,
                                    .clips = i & 2 ? 3 : 1,
                                    .crops = i & 2 ? 3 : 1,
                                    .sampling = i & 4 ? CF_SAMPLING_DENSE : CF_SAMPLING_SPARSE,
                                    .multi_scale_crop = true };
        cf_viewer *v;
        float *a, *b;
        assert_ok(cf_viewer_new(&v, &o));
        size_t n = cf_viewer_floats(v);
        assert_int_equal(n, o.T * o.clips * o.crops * 3 * 12 * 12);
        assert_ok(cf_alloc(&a, n, sizeof *a));
        assert_ok(cf_alloc_zero(&b, n, sizeof *b));
        assert_ok(cf_viewer_dataset(a, v, d, 5));
        assert_ok(cf_viewer_media(b, v, m));
        assert_memory_equal(a, b, n * sizeof *a);
        cf_free(a);
        cf_free(b);
        cf_viewer_free(v);
    }
    cf_media_close(m);
    cf_dataset_free(d);
    cf_free(frames);
}

typedef struct {
    uint8_t *pixels;
    size_t n, height, width;
} film;

static cf_status keep_frame(void *user, int64_t frame, const cf_picture *p)
{
    film *f = user;
    size_t bytes = p->height * p->width * 3;
    if (frame == 0) *f = (film){ .height = p->height, .width = p->width };
    CF_TRY(cf_realloc(&f->pixels, f->n + 1, bytes));
    memcpy(f->pixels + f->n++ * bytes, p->pixels, bytes);
    return CF_OK;
}

/* A video file, and the same packed as PNG: the same bits. */
static void a_video_file(void **state)
{
    (void)state;
    micro_need_program();
    char *mp4 = test_path(folder, "film.mp4"), *packed = test_path(folder, "film.h5"), *command;
    const cf_pack_options png = { .encoding = CF_ENCODING_PNG, .png_level = 1 };
    cf_media *m;
    cf_pack_writer *w;
    film f = { 0 };
    assert_ok(cf_format(&command,
                        "ffmpeg -v error -f lavfi -i testsrc2=size=64x48:rate=25:duration=2 "
                        "-pix_fmt yuv420p %s </dev/null 2>/dev/null",
                        mp4));
    if (strstr(cf_media_libraries(), "without") || system(command) != 0) {
        print_message("no FFmpeg: no video file is tried\n");
        skip();
    }
    assert_ok(cf_media_open(&m, mp4));
    assert_ok(cf_media_read(m, NULL, 0, keep_frame, &f));
    cf_media_close(m);
    assert_int_equal(f.n, 50);
    assert_ok(cf_pack_writer_new(&w, packed, &png));
    assert_ok(cf_pack_writer_add(w, "film", -1, 25, f.pixels, f.n, f.height, f.width));
    assert_ok(cf_pack_writer_commit(w));
    PREDICT(mp4, packed, "--json", "--views", "4x3");
    assert_exit(0, "");
    double a[MICRO_CLASSES], b[MICRO_CLASSES];
    probabilities(a, MICRO_CLASSES, 0);
    probabilities(b, MICRO_CLASSES, 1);
    assert_memory_equal(a, b, sizeof a);
    cf_free(f.pixels);
    cf_free(mp4);
    cf_free(packed);
    cf_free(command);
}

static void tables_and_labels(void **state)
{
    (void)state;
    micro_need_program();
    char *row, *file = test_path(folder, "labels"), *still = test_path(folder, "still.png");
    static const char *const lists[] = { "id,name\n1,\"a, b\"\n0,a red thing\n",
                                         "a red thing\r\n\n  a, b \n" };
    assert_ok(cf_format(&row, "%s#0", pack));
    PREDICT(row, "--top", "2");
    assert_exit(0, "");
    assert_int_equal(micro_lines(got.out), 3);
    assert_true(strncmp(got.out, row, strlen(row)) == 0);
    assert_non_null(strstr(got.out, "#0 (video 0)\n"));
    assert_non_null(strstr(got.out, " %  a "));
    double by_comma[2], by_file[2];
    PREDICT(still, "--labels", "a red thing , a b", "--json");
    assert_exit(0, "");
    probabilities(by_comma, 2, 0);
    for (size_t i = 0; i < 2; i++) {
        assert_ok(cf_file_write(file, lists[i], strlen(lists[i])));
        PREDICT(still, "--labels", file, "--json");
        assert_exit(0, "");
        assert_non_null(strstr(got.out, "\"id\":1,\"label\":\"a, b\""));
        probabilities(by_file, 2, 0);
        assert_true(by_file[0] != by_comma[0]);
    }
    /* a template that spells the other labels out gives their probabilities */
    PREDICT(still, "--labels", "red,blue", "--template", "a {} thing moving left", "--json");
    assert_exit(0, "");
    probabilities(by_file, 2, 0);
    PREDICT(still, "--labels", "a red thing moving left,a blue thing moving left", "--json");
    probabilities(by_comma, 2, 0);
    assert_memory_equal(by_file, by_comma, sizeof by_comma);
    cf_free(row);
    cf_free(file);
    cf_free(still);
}

/* A bad input costs one line and the exit status; the others are answered. */
static void bad_inputs(void **state)
{
    (void)state;
    micro_need_program();
    char *row, *beyond, *nobody, *text = test_path(folder, "run.yaml");
    char *none = test_path(folder, "none.mp4"), *empty = test_path(folder, "empty");
    assert_ok(cf_make_folders(empty));
    assert_ok(cf_format(&row, "%s#1", pack));
    assert_ok(cf_format(&beyond, "%s#99", pack));
    assert_ok(cf_format(&nobody, "%s#nobody", pack));
    const char *const bad[] = { none, beyond, nobody, text, empty };
    for (size_t i = 0; i < 5; i++) {
        PREDICT(row, bad[i], row, "--json");
        assert_exit(1, i == 1 ? "there is no row 99" : i == 2 ? "no video is called" : bad[i]);
        assert_int_equal(micro_lines(got.err), 1);
        assert_int_equal(micro_lines(got.out), 3);
        double p[2][MICRO_CLASSES];
        probabilities(p[0], MICRO_CLASSES, 0);
        probabilities(p[1], MICRO_CLASSES, 2);
        assert_memory_equal(p[0], p[1], sizeof p[0]);
        cJSON *o = json_line(1);
        assert_string_equal(text_of(o, "input"), bad[i]);
        assert_true(strlen(text_of(o, "error")) > 10);
        cJSON_Delete(o);
    }
    PREDICT(none);
    assert_exit(1, none);
    assert_int_equal(micro_lines(got.out), 0);
    cf_free(row);
    cf_free(beyond);
    cf_free(nobody);
    cf_free(text);
    cf_free(none);
    cf_free(empty);
}

static void refusals(void **state)
{
    (void)state;
    micro_need_program();
    char *none = test_path(folder, "none");
    static const char *const views[] = { "4x2", "0", "4x", "x3", "4x3x1", "-1", "" };
    PREDICT(pack, "--labels", "running");
    assert_exit(1, "no such file of labels");
    PREDICT(pack, "--labels", "a,,b");
    assert_exit(1, "label 2 is empty");
    PREDICT(pack, "--template", "a video");
    assert_exit(2, "has no {}");
    PREDICT(pack, "--frames", "4");
    assert_exit(1, "DATA.NUM_FRAMES 4");
    PREDICT(pack, "--bpe", none);
    assert_exit(1, none);
    PREDICT(pack, "--labels", "a,one two three four five six seven eight nine ten eleven");
    assert_exit(1, "one two three");
    PREDICT("--json");
    assert_exit(2, "usage");
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        PREDICT(pack, "--views", views[i]);
        assert_exit(2, "--views");
    }
    run("/dev/null", (const char *const[]){ "predict", pack, NULL });
    assert_exit(2, "--checkpoint");
    run("/dev/null", (const char *const[]){ "predict", pack, "--checkpoint", none, NULL });
    assert_exit(1, none);
    cf_free(none);
}

/* Only CLIP's tensors, without a word of what made them. */
static void write_clip(const char *path)
{
    cf_st_file *f;
    cf_st_tensor tensors[512];
    size_t n = 0;
    assert_ok(cf_st_open(&f, checkpoint));
    for (size_t i = 0; i < cf_st_n_tensors(f); i++) {
        const cf_st_tensor *t = cf_st_tensor_at(f, i);
        if (!cf_xclip_is_new_module(t->name) && strncmp(t->name, "optimizer.", 10) != 0)
            tensors[n++] = *t;
    }
    assert_ok(cf_st_write(path, tensors, n, NULL, 0));
    cf_st_close(f);
}

static void a_clip_is_clip_mean(void **state)
{
    (void)state;
    micro_need_program();
    char *clip = test_path(folder, "clip.safetensors"), *frames = test_path(folder, "frames5");
    char *row;
    assert_ok(cf_format(&row, "%s#5", pack));
    write_clip(clip);
    run("/dev/null", (const char *const[]){ "predict", frames, "--checkpoint", clip, NULL });
    assert_exit(1, "name the labels");
    run("/dev/null", (const char *const[]){ "predict", frames, row, "--checkpoint", clip, "--json",
                                            "--labels", "red,blue", "--frames", "2", NULL });
    assert_exit(0, "the mean over 2 frames is scored (CLIP-Mean)");
    double a[2], b[2];
    probabilities(a, 2, 0);
    probabilities(b, 2, 1);
    assert_memory_equal(a, b, sizeof a);
    cf_free(clip);
    cf_free(frames);
    cf_free(row);
}

/* A published name is looked up in the cache, and the vocabulary too. */
static void a_name_in_the_cache(void **state)
{
    (void)state;
    micro_need_program();
    char *cache = test_path(folder, "cache/crossframe"), *merges = test_path(folder, "merges.txt");
    char *to = test_path(cache, "few_ucf_2.pth"), *row;
    char *vocabulary = test_path(cache, "merges.txt"), *away = test_path(folder, "away");
    char *home = test_path(folder, "cache"), *before = getenv("XDG_CACHE_HOME");
    assert_ok(cf_format(&row, "%s#0", pack));
    if (before) assert_ok(cf_strdup(&before, before));
    setenv("XDG_CACHE_HOME", home, 1);
    const char *const argv[] = { "predict", row, "--checkpoint", "few_ucf_2", NULL };
    run("/dev/null", argv);
    assert_exit(1, "get it: scripts/get-weights few_ucf_2");
    assert_ok(cf_make_folders(cache));
    assert_int_equal(link(checkpoint, to), 0);
    run("/dev/null", argv);
    assert_exit(0, "");
    assert_int_equal(rename(merges, away), 0);
    run("/dev/null", argv);
    assert_exit(1, "get it: scripts/get-weights bpe");
    assert_int_equal(rename(away, vocabulary), 0);
    run("/dev/null", argv);
    assert_exit(0, "");
    assert_int_equal(rename(vocabulary, merges), 0);
    if (before)
        setenv("XDG_CACHE_HOME", before, 1);
    else
        unsetenv("XDG_CACHE_HOME");
    cf_free(before);
    cf_free(cache);
    cf_free(merges);
    cf_free(to);
    cf_free(row);
    cf_free(vocabulary);
    cf_free(away);
    cf_free(home);
}

/* ---- from inside ----------------------------------------------------------------------------- */

static cf_status count_down(void *user, const char **out)
{
    int *left = user;
    *out = (*left)-- > 0 ? pack : NULL;
    return CF_OK;
}

/* A predictor needs the weights once and nothing of training; the reader can be left early. */
static void memory_of_inference(void **state)
{
    (void)state;
    const cf_predictor_options o = { .checkpoint = checkpoint, .clips = 1, .crops = 1 };
    cf_predictor *p;
    cf_labels labels = { 0 };
    cf_input_reader *r;
    const cf_input *in;
    float probability[MICRO_CLASSES];
    int left = 1000;
    size_t before = cf_memory_stats_get().bytes_now;
    assert_ok(cf_predictor_new(&p, &o));
    assert_ok(cf_predictor_own_labels(&labels, p));
    assert_int_equal(labels.n, MICRO_CLASSES);
    for (size_t k = 0; k < MICRO_CLASSES; k++) assert_string_equal(labels.name[k], micro_class[k]);
    assert_ok(cf_predictor_set_labels(p, &labels, NULL));
    xclip_cost cost = xclip_cost_of(cf_predictor_model(p), 0);
    double model =
        sizeof(cf_real) * (cost.text + cost.visual + cost.message + cost.mit + cost.prompts);
    assert_true((double)(cf_memory_stats_get().bytes_now - before) < model + 1e6);
    assert_ok(cf_input_reader_new(&r, cf_predictor_views(p), count_down, &left));
    size_t steady = 0;
    for (size_t i = 0; i < 100; i++) {
        assert_ok(cf_input_reader_next(&in, r));
        assert_ok(in->status);
        assert_ok(cf_predictor_score(probability, p, in->views));
        size_t now = cf_memory_stats_get().bytes_now;
        if (i == 20) steady = now;
        if (i > 20) assert_true(now < steady + 4096);
    }
    /* Labels after a score: the tower is read again. */
    float again[MICRO_CLASSES];
    assert_ok(cf_predictor_set_labels(p, &labels, NULL));
    assert_ok(cf_predictor_score(again, p, in->views));
    assert_memory_equal(again, probability, sizeof again);
    cf_input_reader_free(r);
    cf_labels_fini(&labels);
    cf_predictor_free(p);
    assert_int_equal(cf_memory_stats_get().bytes_now, before);
}

static void memory_failures_are_clean(void **state)
{
    (void)state;
    const cf_predictor_options o = { .checkpoint = checkpoint, .clips = 1, .crops = 1 };
    size_t before = cf_memory_stats_get().bytes_now, n = 0;
    for (bool done = false; !done; n++) {
        cf_predictor *p = NULL;
        cf_labels labels = { 0 };
        cf_memory_fail_at(n + 1);
        cf_status status = cf_predictor_new(&p, &o);
        if (status == CF_OK) status = cf_predictor_own_labels(&labels, p);
        if (status == CF_OK) status = cf_predictor_set_labels(p, &labels, "a {}");
        cf_memory_fail_at(0);
        done = status == CF_OK;
        if (!done) assert_int_equal(status, CF_ENOMEM);
        cf_labels_fini(&labels);
        cf_predictor_free(p);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
    assert_true(n > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = { TEST(same_as_test_says),
                                        TEST(every_kind_of_input),
                                        TEST(views_of_media_and_pack_are_equal),
                                        TEST(a_video_file),
                                        TEST(tables_and_labels),
                                        TEST(bad_inputs),
                                        TEST(refusals),
                                        TEST(a_clip_is_clip_mean),
                                        TEST(a_name_in_the_cache),
                                        TEST(memory_of_inference),
                                        TEST(memory_failures_are_clean) };
    return cmocka_run_group_tests(tests, setup, teardown) != 0;
}
