/* Tests of a model: every video once for any batch size and threads, sums of softmax, hits within a
 * family, the files a test writes, which weights the last test of a run takes. */
#include "micro.h"

#include <omp.h>

#include "crossframe/h5.h"

typedef struct {
    cf_eval_record record;
    float *logits, *scores, *score; /* score, prediction, confusion: of the result file */
    int32_t *label, *prediction, *confusion;
    char **name;
    size_t n, views;
} result;

static void read_result(result *r, const char *path)
{
    cf_h5 *f;
    cf_h5_info info;
    size_t n;
    assert_ok(cf_h5_open(&f, path));
    assert_ok(cf_h5_dataset_info(&info, f, "/logits"));
    assert_int_equal(info.rank, 3);
    assert_int_equal(info.dim[2], MICRO_CLASSES);
    r->n = info.dim[0];
    r->views = info.dim[1];
    assert_ok(cf_h5_read_f32(&r->logits, &n, f, "/logits"));
    assert_ok(cf_h5_read_f32(&r->scores, &n, f, "/scores"));
    assert_int_equal(n, r->n * MICRO_CLASSES);
    assert_ok(cf_h5_read_i32(&r->label, &n, f, "/label"));
    assert_int_equal(n, r->n);
    assert_ok(cf_h5_read_strings(&r->name, &n, f, "/name"));
    assert_int_equal(n, r->n);
    cf_h5_close(f);
}

static int32_t one_number(cf_h5 *f, const char *path)
{
    int32_t *value, first;
    size_t n;
    assert_ok(cf_h5_read_i32(&value, &n, f, path));
    assert_int_equal(n, 1);
    first = *value;
    cf_free(value);
    return first;
}

/* The result file; r->record is what was returned, whose numbers it must hold. */
static void read_found(result *r, const char *path, const char *weights)
{
    const cf_eval_record *e = &r->record;
    int32_t *label;
    char **text;
    cf_h5 *f;
    size_t n;
    assert_ok(cf_h5_open(&f, path));
    assert_ok(cf_h5_read_i32(&r->prediction, &n, f, "/prediction"));
    assert_int_equal(n, r->n * MICRO_CLASSES);
    assert_ok(cf_h5_read_f32(&r->score, &n, f, "/score"));
    assert_int_equal(n, r->n * MICRO_CLASSES);
    assert_ok(cf_h5_read_i32(&r->confusion, &n, f, "/confusion"));
    assert_int_equal(n, MICRO_CLASSES * MICRO_CLASSES);
    assert_ok(cf_h5_read_i32(&label, &n, f, "/label"));
    assert_int_equal(n, r->n);
    assert_memory_equal(label, r->label, n * sizeof *label);
    cf_free(label);
    assert_ok(cf_h5_read_strings(&text, &n, f, "/name"));
    assert_int_equal(n, r->n);
    for (size_t i = 0; i < n; i++) assert_string_equal(text[i], r->name[i]);
    cf_free(text);
    assert_ok(cf_h5_read_strings(&text, &n, f, "/class"));
    assert_int_equal(n, MICRO_CLASSES);
    assert_string_equal(text[2], micro_class[2]);
    cf_free(text);
    assert_ok(cf_h5_read_strings(&text, &n, f, "/weights"));
    assert_non_null(strstr(text[0], weights));
    cf_free(text);
    assert_int_equal(one_number(f, "/epoch"), e->epoch);
    assert_int_equal(one_number(f, "/step"), e->step);
    assert_int_equal(one_number(f, "/views"), e->views);
    assert_int_equal(one_number(f, "/frames"), e->frames);
    cf_h5_close(f);
}

/* FOLDER/run/NAME. */
static result test_weights(const char *folder, const char *name, const char *const *more)
{
    result r;
    char *run_folder = test_path(folder, "run"), *scores = test_path(folder, "scores.h5"),
         *last = test_path(run_folder, name), *found = test_path(folder, "result.h5");
    cf_config *c = micro_config(folder, "test", more);
    const cf_run_options o = { .only_test = true, .scores = scores, .result = found };
    cf_run *run;
    assert_ok(cf_config_set_plain(c, "MODEL.RESUME", last, "--resume"));
    assert_ok(cf_run_new(&run, c, &o));
    assert_ok(cf_run_test(&r.record, run));
    assert_fails(cf_run_train(run), CF_EINVAL, "testing only");
    assert_string_equal(r.record.weights, last);
    cf_run_free(run);
    cf_config_free(c);
    read_result(&r, scores);
    read_found(&r, found, name);
    char *const paths[] = { run_folder, scores, last, found };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) cf_free(paths[i]);
    return r;
}

static result test_model(const char *folder, const char *const *more)
{
    return test_weights(folder, "last.safetensors", more);
}

static void result_fini(result *r)
{
    cf_free(r->logits);
    cf_free(r->scores);
    cf_free(r->score);
    cf_free(r->prediction);
    cf_free(r->confusion);
    cf_free(r->label);
    cf_free(r->name);
}

/* What the scores file says must be what was counted. */
static void assert_consistent(const result *r, bool families)
{
    double hits = 0;
    for (size_t i = 0; i < r->n; i++) {
        const float *score = r->scores + i * MICRO_CLASSES;
        double sum[MICRO_CLASSES] = { 0 };
        for (size_t v = 0; v < r->views; v++) {
            const float *logits = r->logits + (i * r->views + v) * MICRO_CLASSES;
            double total = 0;
            for (size_t k = 0; k < MICRO_CLASSES; k++) total += exp((double)logits[k]);
            for (size_t k = 0; k < MICRO_CLASSES; k++) sum[k] += exp((double)logits[k]) / total;
        }
        assert_all_near(score, sum, MICRO_CLASSES, 1e-5);
        size_t label = (size_t)r->label[i], best = label;
        assert_int_equal(label, i % MICRO_CLASSES);
        for (size_t k = MICRO_CLASSES; k-- > 0;)
            if (score[k] >= score[best] && (!families || k / 2 == label / 2)) best = k;
        hits += best == label;
        assert_int_equal(r->prediction[i * MICRO_CLASSES], best);
        assert_near(r->score[i * MICRO_CLASSES], score[best] / (float)r->views, 1e-6);
        /* Two classes of a family leave two places. */
        assert_true((r->prediction[i * MICRO_CLASSES + 2] == -1) == families);
    }
    assert_int_equal(r->record.videos, r->n);
    assert_int_equal(r->record.views, r->views);
    assert_near(r->record.top1, 100 * hits / (double)r->n, 1e-9);
    assert_near(r->record.top5, 100, 0); /* 4 classes: min(5, K) */
}

static void batch_size_does_not_matter(void **state)
{
    (void)state;
    static const char *const sizes[] = { "TRAIN.BATCH_SIZE=1", "TRAIN.BATCH_SIZE=2",
                                         "TRAIN.BATCH_SIZE=7" };
    char *folder = micro_folder(false);
    micro_train_whole(folder, "run", (const char *const[]){ "TRAIN.EPOCHS=1", NULL });
    result r[3];
    for (size_t i = 0; i < 3; i++) {
        r[i] = test_model(folder, (const char *const[]){ sizes[i], NULL });
        assert_int_equal(r[i].n, MICRO_TEST);
        assert_consistent(&r[i], false);
        assert_all_near(r[i].scores, r[0].scores, r[0].n * MICRO_CLASSES, 1e-6);
        assert_true(r[i].record.top1 == r[0].record.top1);
        assert_string_equal(r[i].name[8], "video 8");
    }
    for (size_t i = 0; i < 3; i++) result_fini(&r[i]);
    test_folder_remove(folder);
}

static void views_are_summed(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    micro_train_whole(folder, "run", (const char *const[]){ "TRAIN.EPOCHS=1", NULL });
    const char *const more[] = { "TEST.NUM_CLIP=2", "TEST.NUM_CROP=3", NULL };
    result r = test_model(folder, more);
    assert_int_equal(r.views, 6);
    assert_consistent(&r, false);
    result_fini(&r);
    test_folder_remove(folder);
}

static void families_are_told_apart_inside(void **state)
{
    (void)state;
    char *folder = micro_folder(true);
    micro_train_whole(folder, "run", (const char *const[]){ "TRAIN.EPOCHS=1", NULL });
    result r = test_model(folder, NULL);
    assert_consistent(&r, true);
    result_fini(&r);
    test_folder_remove(folder);
}

static void a_split_is_tested(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *file, *key;
    micro_train_whole(folder, "run", (const char *const[]){ "TRAIN.EPOCHS=1", NULL });
    file = test_path(folder, "test.h5#some");
    assert_ok(cf_format(&key, "DATA.VAL_FILE='%s'", file));
    result r = test_model(folder, (const char *const[]){ key, NULL });
    assert_int_equal(r.n, 3);
    result_fini(&r);
    cf_free(file);
    cf_free(key);
    test_folder_remove(folder);
}

/* The last eval line of training and the test command's result are of the same weights. */
static void test_repeats_what_training_found(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *path = test_path(folder, "run/log.jsonl"), *text, line[64];
    size_t n;
    micro_train_whole(folder, "run", NULL);
    result r = test_model(folder, NULL);
    assert_ok(cf_file_read(&text, &n, path));
    assert_int_equal(r.record.epoch, 1);
    assert_int_equal(r.record.step, 12);
    snprintf(line, sizeof line, "\"epoch\":1,\"step\":12,\"top1\":%.9g,", r.record.top1);
    if (!strstr(text, line)) fail_msg("no %s in\n%s", line, text);
    result again = r; /* and so are the two files */
    char *found = test_path(folder, "run/test.h5");
    read_found(&again, found, "last");
    assert_memory_equal(again.prediction, r.prediction, r.n * MICRO_CLASSES * sizeof(int32_t));
    assert_all_near(again.score, r.score, r.n * MICRO_CLASSES, 0);
    cf_free(again.prediction);
    cf_free(again.score);
    cf_free(again.confusion);
    cf_free(found);
    cf_free(text);
    cf_free(path);
    result_fini(&r);
    test_folder_remove(folder);
}

/* ---- any batch size, threads and workers ----------------------------------------------------- */

/* FOLDER/part.h5: 7 videos of noise, some without a label; FOLDER/list.txt: the pack test.h5 with
 * videos that it does not hold before, between and behind its own. */
enum { PART = 7, NAMED = 11, GONE = 4 };

static void write_sources(const char *folder)
{
    static uint8_t pixels[4 * 30 * 24 * 3];
    const cf_pack_options options = { .encoding = CF_ENCODING_RAW,
                                      .class_name = micro_class,
                                      .n_classes = MICRO_CLASSES };
    char *path = test_path(folder, "part.h5"), name[32], text[600] = "";
    cf_pack_writer *w;
    assert_ok(cf_pack_writer_new(&w, path, &options));
    for (size_t i = 0; i < PART; i++) {
        cf_rng rng = cf_rng_make(11, CF_RNG_TEST, 0, i);
        for (size_t j = 0; j < sizeof pixels; j++)
            pixels[j] = (uint8_t)(cf_rng_below(&rng, 120) + (j / 37 % 5) * 20 * (i % 3));
        snprintf(name, sizeof name, "part %zu", i);
        assert_ok(cf_pack_writer_add(w, name, i % 5 == 4 ? -1 : (int32_t)(i % MICRO_CLASSES), 8,
                                     pixels, 4, 30, 24));
    }
    assert_ok(cf_pack_writer_commit(w));
    cf_free(path);
    path = test_path(folder, "list.txt");
    for (int i = 0; i < NAMED; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s %d%s %d\n",
                 i % 3 == 0 ? "gone" : "video", i % 3 == 0 ? i : i - i / 3 - 1,
                 i % 3 == 0 ? ".mp4" : "", i % MICRO_CLASSES);
    assert_ok(cf_file_write(path, text, strlen(text)));
    cf_free(path);
}

#define WIDE                                                                                       \
    "MODEL.PATCH_SIZE=5", "MODEL.VISION_WIDTH=128", "MODEL.VISION_LAYERS=2", "MODEL.EMBED_DIM=128"

/* The same test in every way of doing it; `more` beside WIDE. Gives the first one's result. */
static result in_every_way(const char *folder, const char *val, const char *a, const char *b)
{
    static const char *const batch[] = { "TRAIN.BATCH_SIZE=1", "TRAIN.BATCH_SIZE=2",
                                         "TRAIN.BATCH_SIZE=7", "TRAIN.BATCH_SIZE=7" };
    static const char *const workers[] = { "DATA.WORKERS=1", "DATA.WORKERS=3" };
    static const int n_threads[] = { 1, 1, 1, 2 };
    int threads = omp_get_max_threads();
    result first = { 0 };
    for (int way = 0; way < 4; way++) {
        const char *const more[] = { WIDE, batch[way], workers[way % 2], val, a, b, NULL };
        omp_set_num_threads(n_threads[way]);
        result r = test_model(folder, more);
        if (way == 0) {
            first = r;
            continue;
        }
        size_t n = r.n * MICRO_CLASSES;
        assert_int_equal(r.n, first.n);
        assert_memory_equal(r.prediction, first.prediction, n * sizeof *r.prediction);
        assert_memory_equal(r.confusion, first.confusion,
                            MICRO_CLASSES * MICRO_CLASSES * sizeof *r.confusion);
        for (size_t i = 0; i < n; i++) { /* scores: sums over the views; score: means */
            assert_true(isnan(r.scores[i]) == isnan(first.scores[i]));
            assert_true(isnan(r.score[i]) == isnan(first.score[i]));
            if (!isnan(r.score[i])) assert_near(r.score[i], first.score[i], 1e-6);
            if (!isnan(r.scores[i]))
                assert_near(r.scores[i] / (float)r.views, first.scores[i] / (float)r.views, 1e-6);
        }
        assert_true(r.record.top1 == first.record.top1 && r.record.top5 == first.record.top5);
        assert_true(r.record.mean_class == first.record.mean_class);
        assert_int_equal(r.record.videos, first.record.videos);
        assert_int_equal(r.record.missing, first.record.missing);
        result_fini(&r);
    }
    omp_set_num_threads(threads);
    return first;
}

static void no_way_of_testing_matters(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *part, *list, *root;
    micro_train_whole(folder, "run", (const char *const[]){ "TRAIN.EPOCHS=1", WIDE, NULL });
    write_sources(folder);
    assert_ok(cf_format(&part, "DATA.VAL_FILE='%s/part.h5'", folder));
    assert_ok(cf_format(&list, "DATA.VAL_FILE='%s/list.txt'", folder));
    assert_ok(cf_format(&root, "DATA.ROOT='%s/test.h5'", folder));

    result r = in_every_way(folder, part, "TEST.NUM_CLIP=3", "TEST.NUM_CROP=3");
    assert_int_equal(r.record.views, 9);
    assert_int_equal(r.record.clips, 3);
    assert_int_equal(r.record.crops, 3);
    assert_int_equal(r.record.frames, 3);
    assert_int_equal(r.record.videos, PART - 1); /* number 4 has no label */
    assert_int_equal(r.record.unlabelled, 1);
    assert_int_equal(r.record.missing, 0);
    for (size_t i = 0; i < r.n; i++) assert_in_range(r.prediction[4 * i], 0, MICRO_CLASSES - 1);
    result_fini(&r);

    r = in_every_way(folder, list, root, "DATA.ON_ERROR=skip");
    assert_int_equal(r.n, NAMED);
    assert_int_equal(r.record.missing, GONE);
    assert_int_equal(r.record.videos, NAMED - GONE);
    for (size_t i = 0; i < r.n; i++) assert_true((r.prediction[4 * i] == -1) == (i % 3 == 0));
    result_fini(&r);
    char *const texts[] = { part, list, root };
    for (size_t i = 0; i < 3; i++) cf_free(texts[i]);
    test_folder_remove(folder);
}

/* ---- the last test of a run ------------------------------------------------------------------ */

#define FINAL "TRAIN.EPOCHS=3", "TRAIN.LR=0.01", "TEST.NUM_CLIP=2"

static void final_takes_the_weights_named(void **state)
{
    (void)state;
    static const char *const names[] = { "last", "best" };
    char *folder = micro_folder(false), *found = test_path(folder, "run/test.h5"),
         *log = test_path(folder, "run/log.jsonl"), *text;
    const char *const views[] = { "TEST.NUM_CLIP=2", NULL };
    size_t n;
    result r[2];
    for (int best = 0; best < 2; best++) {
        const char *const more[] = { FINAL, best ? "TEST.FINAL=best" : "TEST.FINAL=last", NULL };
        micro_train_whole(folder, "run", more);
        for (int i = 0; i < 2; i++)
            r[i] = test_weights(folder, i ? "best.safetensors" : "last.safetensors", views);
        assert_int_equal(r[0].record.epoch, 2);
        if (r[1].record.epoch == 2) fail_msg("the best test is the last: this shows nothing");
        result final = r[best];
        final.record.epoch = 2; /* the run's, whatever weights */
        final.record.step = 18;
        read_found(&final, found, names[best]);
        assert_all_near(final.score, r[best].score, r[0].n * MICRO_CLASSES, 0);
        double apart = 0;
        for (size_t i = 0; i < r[0].n * MICRO_CLASSES; i++)
            apart = fmax(apart, fabs((double)(r[1 - best].scores[i] - r[best].scores[i])));
        assert_true(apart > 1e-3);
        assert_ok(cf_file_read(&text, &n, log));
        assert_non_null(strstr(text, best ? "\"views\":2,\"frames\":3,\"weights\":\"best\""
                                          : "\"views\":2,\"frames\":3,\"weights\":\"last\""));
        cf_free(text);
        cf_free(final.prediction);
        cf_free(final.score);
        cf_free(final.confusion);
        for (int i = 0; i < 2; i++) result_fini(&r[i]);
    }
    cf_free(found);
    cf_free(log);
    test_folder_remove(folder);
}

static void final_best_needs_a_best(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    const char *const more[] = { FINAL, "TEST.FINAL=best", "TEST.FREQ=0", NULL };
    assert_fails(micro_train(micro_config(folder, "run", more), 0), CF_EINVAL,
                 "TEST.FINAL best needs tests that find it");
    test_folder_remove(folder);
}

TESTS(TEST(no_way_of_testing_matters), TEST(final_takes_the_weights_named),
      TEST(final_best_needs_a_best), TEST(batch_size_does_not_matter), TEST(views_are_summed),
      TEST(families_are_told_apart_inside), TEST(a_split_is_tested),
      TEST(test_repeats_what_training_found))
