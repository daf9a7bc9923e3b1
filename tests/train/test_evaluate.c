/* Tests of a model: every video once for any batch size, sums of softmax, hits within a family. */
#include "micro.h"

#include "crossframe/h5.h"

typedef struct {
    cf_eval_record record;
    float *logits, *scores;
    int32_t *label;
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

static result test_model(const char *folder, const char *const *more)
{
    result r;
    char *scores = test_path(folder, "scores.h5"),
         *last = test_path(folder, "run/last.safetensors");
    cf_config *c = micro_config(folder, "test", more);
    const cf_run_options o = { .only_test = true, .scores = scores };
    cf_run *run;
    assert_ok(cf_config_set_plain(c, "MODEL.RESUME", last, "--resume"));
    assert_ok(cf_run_new(&run, c, &o));
    assert_ok(cf_run_test(&r.record, run));
    assert_fails(cf_run_train(run), CF_EINVAL, "testing only");
    cf_run_free(run);
    cf_config_free(c);
    read_result(&r, scores);
    cf_free(scores);
    cf_free(last);
    return r;
}

static void result_fini(result *r)
{
    cf_free(r->logits);
    cf_free(r->scores);
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
    snprintf(line, sizeof line, "\"epoch\":1,\"step\":12,\"top1\":%.9g,", r.record.top1);
    if (!strstr(text, line)) fail_msg("no %s in\n%s", line, text);
    cf_free(text);
    cf_free(path);
    result_fini(&r);
    test_folder_remove(folder);
}

TESTS(TEST(batch_size_does_not_matter), TEST(views_are_summed),
      TEST(families_are_told_apart_inside), TEST(a_split_is_tested),
      TEST(test_repeats_what_training_found))
