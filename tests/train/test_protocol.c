/* Few-shot and zero-shot on the micro model: draws, results, going on after a stop, refusals. */
#include "micro.h"

#include "crossframe/predict.h"
#include "crossframe/protocol.h"

static const size_t shots[] = { 1, 2 };

static char *read_at(const char *folder, const char *name)
{
    char *path = test_path(folder, name), *text;
    size_t n;
    assert_ok(cf_file_read(&text, &n, path));
    cf_free(path);
    return text;
}

static void assert_same_text(const char *folder, const char *a, const char *b)
{
    char *x = read_at(folder, a), *y = read_at(folder, b);
    assert_string_equal(x, y);
    cf_free(x);
    cf_free(y);
}

/* Runs the few-shot protocol in FOLDER/NAME. */
static cf_status fewshot(const char *folder, const char *name, const char *const *more,
                         int64_t stop_after, bool dry_run)
{
    cf_protocol p;
    cf_config *c = micro_config(folder, name, more);
    const cf_protocol_options o = { .run = { .stop_after = stop_after }, .dry_run = dry_run };
    cf_status status = cf_fewshot(&p, c, shots, 2, 2, &o);
    cf_protocol_fini(&p);
    cf_config_free(c);
    return status;
}

static void spread_is_of_the_sample(void **state)
{
    (void)state;
    const double x[] = { 2, 4, 4, 4, 5, 5, 7, 9 };
    cf_spread s = cf_spread_of(x, 8);
    assert_near(s.mean, 5, 1e-12);
    assert_near(s.std, sqrt(32.0 / 7), 1e-12);
    assert_true(isnan(cf_spread_of(x, 1).std));
    assert_true(isnan(cf_spread_of(x, 0).mean));
}

static void stopped_few_shots_go_on(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    assert_ok(fewshot(folder, "whole", NULL, 0, false));
    assert_fails(fewshot(folder, "parts", NULL, 1, false), CF_EINTERRUPTED, "k01_seed1");
    assert_fails(fewshot(folder, "parts", NULL, 3, false), CF_EINTERRUPTED, "k02_seed1");
    assert_ok(fewshot(folder, "parts", NULL, 0, false));
    assert_same_text(folder, "whole/table.md", "parts/table.md");
    assert_same_text(folder, "whole/table.csv", "parts/table.csv");
    assert_same_text(folder, "whole/runs.csv", "parts/runs.csv");
    char *text = read_at(folder, "whole/runs.csv");
    assert_int_equal(micro_lines(text), 5);
    cf_free(text);
    /* A draw of one is part of the draw of two; seeds differ. */
    char *one = read_at(folder, "whole/k01_seed1/train.txt");
    char *two = read_at(folder, "whole/k02_seed1/train.txt");
    char *other = read_at(folder, "whole/k02_seed2/train.txt");
    assert_int_equal(micro_lines(one), MICRO_CLASSES);
    assert_int_equal(micro_lines(two), 2 * MICRO_CLASSES);
    for (char *line = strtok(one, "\n"); line; line = strtok(NULL, "\n"))
        assert_non_null(strstr(two, line));
    assert_string_not_equal(two, other);
    cf_free(one);
    cf_free(two);
    cf_free(other);
    test_folder_remove(folder);
}

/* What a run's own configuration says, trained by plain `train`, gives the same weights. */
static void a_run_can_be_repeated_alone(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *yaml, *output, *a, *b;
    cf_config *c;
    assert_ok(fewshot(folder, "few", NULL, 0, false));
    yaml = test_path(folder, "few/k02_seed2/config.yaml");
    output = test_path(folder, "again");
    assert_ok(cf_config_load(&c, yaml, NULL, 0));
    assert_ok(cf_config_set_plain(c, "OUTPUT", output, "test"));
    assert_ok(micro_train(c, 0));
    a = test_path(folder, "few/k02_seed2/last.safetensors");
    b = test_path(folder, "again/last.safetensors");
    assert_same_tensors(a, b);
    char *texts[] = { yaml, output, a, b };
    for (size_t i = 0; i < 4; i++) cf_free(texts[i]);
    test_folder_remove(folder);
}

static void other_few_shots_are_refused(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *list, *path;
    const char *const lr[] = { "TRAIN.LR=2.0e-3", NULL };
    const char *const none[] = { "DATA.VAL_FILE=''", NULL };
    static const size_t many[] = { 7 };
    assert_ok(fewshot(folder, "dry", NULL, 0, true));
    path = test_path(folder, "dry");
    assert_false(cf_is_folder(path));
    cf_free(path);
    assert_fails(fewshot(folder, "a", NULL, 1, false), CF_EINTERRUPTED, "the same command goes on");
    assert_fails(fewshot(folder, "a", lr, 0, false), CF_EINVAL, "TRAIN.LR");
    assert_fails(fewshot(folder, "b", none, 0, false), CF_EINVAL, "DATA.VAL_FILE is not set");
    list = test_path(folder, "a/k01_seed1/train.txt");
    assert_ok(cf_file_write(list, "video 1 1\n", 10));
    assert_fails(fewshot(folder, "a", NULL, 0, false), CF_EINVAL, "is not what is drawn");
    cf_free(list);
    cf_protocol p;
    cf_config *c = micro_config(folder, "c", NULL);
    const cf_protocol_options o = { .dry_run = false };
    assert_fails(cf_fewshot(&p, c, many, 1, 1, &o), CF_EINVAL, "7 are wanted");
    cf_protocol_fini(&p);
    cf_config_free(c);
    path = test_path(folder, "c");
    assert_false(cf_is_folder(path)); /* nothing half-made */
    cf_free(path);
    test_folder_remove(folder);
}

/* ---- zero-shot ------------------------------------------------------------------------------- */

static volatile sig_atomic_t stop;
static void stop_now(void *user, const cf_protocol_run *r, size_t number, size_t of)
{
    (void)user;
    (void)r;
    (void)of;
    stop = number == 1;
}

static cf_status zeroshot(cf_protocol *p, const char *folder, const char *name,
                          const char *const *sets, size_t n, bool stops)
{
    char *resume, *root;
    assert_ok(cf_format(&resume, "MODEL.RESUME=%s/run/last.safetensors", folder));
    assert_ok(cf_format(&root, "DATA.ROOT=%s/test.h5", folder));
    const char *const more[] = { resume, root, NULL };
    cf_config *c = micro_config(folder, name, more);
    stop = 0;
    cf_protocol_options o = { .run = { .stop = &stop }, .ends = stops ? stop_now : NULL };
    cf_status status = cf_zeroshot(p, c, sets, n, &o);
    cf_config_free(c);
    cf_free(resume);
    cf_free(root);
    return status;
}

static void sets_are_tested_and_go_on(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *pack, *part, *list, *csv;
    cf_protocol p;
    micro_train_whole(folder, "run", NULL);
    /* Two of the classes under numbers of their own, with other spelling; one is not known. */
    csv = test_path(folder, "two.csv");
    assert_ok(cf_file_write(csv, "id,name\n0,A blue thing moving right\n1,a green thing\n", 52));
    list = test_path(folder, "two.txt");
    assert_ok(cf_file_write(list, "video 3 0\nvideo 7 0\nvideo 0 1\n", 30));
    assert_ok(cf_format(&pack, "all=%s/test.h5", folder));
    assert_ok(cf_format(&part, "%s/test.h5#some", folder));
    const char *const sets[] = { pack, list, part };
    assert_ok(zeroshot(&p, folder, "whole", sets, 3, false));
    assert_int_equal(p.n, 3);
    assert_string_equal(p.run[1].name, "two");
    assert_string_equal(p.run[2].name, "test_some");
    assert_int_equal(p.run[0].seen, MICRO_CLASSES);
    assert_int_equal(p.run[1].classes, 2);
    assert_int_equal(p.run[1].seen, 1);
    assert_int_equal(p.run[0].videos, MICRO_TEST);
    assert_int_equal(p.run[1].videos, 3);
    cf_protocol_fini(&p);
    assert_fails(zeroshot(&p, folder, "parts", sets, 3, true), CF_EINTERRUPTED, "stopped in set");
    cf_protocol_fini(&p);
    assert_ok(zeroshot(&p, folder, "parts", sets, 3, false));
    cf_protocol_fini(&p);
    assert_same_text(folder, "whole/table.md", "parts/table.md");
    assert_same_text(folder, "whole/table.csv", "parts/table.csv");
    assert_same_text(folder, "whole/runs.csv", "parts/runs.csv");
    /* Another checkpoint in the same place is seen. */
    const char *const more[] = { "TRAIN.EPOCHS=1", NULL };
    micro_train_whole(folder, "run", more);
    assert_fails(zeroshot(&p, folder, "whole", sets, 3, false), CF_EINVAL, "another --output");
    cf_protocol_fini(&p);
    const char *const twice[] = { part, part };
    assert_fails(zeroshot(&p, folder, "twice", twice, 2, false), CF_EINVAL,
                 "two sets are called test_some");
    cf_protocol_fini(&p);
    char *texts[] = { pack, part, list, csv };
    for (size_t i = 0; i < 4; i++) cf_free(texts[i]);
    test_folder_remove(folder);
}

TESTS(TEST(spread_is_of_the_sample), TEST(stopped_few_shots_go_on),
      TEST(a_run_can_be_repeated_alone), TEST(other_few_shots_are_refused),
      TEST(sets_are_tested_and_go_on))
