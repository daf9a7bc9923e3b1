/* Two generations of last.safetensors: whichever is damaged, whatever fails while one is written,
 * a run goes on from a whole one and says so. Kept epochs, the averaged weights, the lock. */
#include "micro.h"

#include <sys/resource.h>
#include <sys/stat.h>

typedef struct {
    char *folder, *last, *previous;
} world;

static char log_text[16384];
static void keep_log(void *user, cf_log_level level, const char *line)
{
    (void)user, (void)level;
    size_t n = strlen(log_text);
    snprintf(log_text + n, sizeof log_text - n, "%s\n", line);
}

static const char *const automatic[] = { "TRAIN.AUTO_RESUME=True", "TRAIN.EMA=0.9", NULL };

/* Stopped after steps 2 and 3: last is step 3, previous is step 2. */
static world stopped_twice(void)
{
    world w = { .folder = micro_folder(false) };
    w.last = test_path(w.folder, "run/last.safetensors");
    w.previous = test_path(w.folder, "run/last.previous.safetensors");
    for (int64_t k = 2; k < 4; k++)
        assert_fails(micro_train(micro_config(w.folder, "run", automatic), k), CF_EINTERRUPTED,
                     "step");
    return w;
}

static void world_end(world w)
{
    cf_free(w.last);
    cf_free(w.previous);
    test_folder_remove(w.folder);
}

static void assert_step(const char *path, const char *step)
{
    cf_st_file *f;
    assert_ok(cf_st_check(NULL, path));
    assert_ok(cf_st_open(&f, path));
    assert_string_equal(cf_st_metadata(f, "step"), step);
    cf_st_close(f);
}

enum { TRUNCATED, FLIPPED, EMPTY, MISSING, DAMAGES };

static void damage(const char *path, int how)
{
    char *bytes;
    size_t n;
    assert_ok(cf_file_read(&bytes, &n, path));
    if (how == FLIPPED) bytes[n - 5] ^= 4;
    unlink(path); /* it may have another name */
    if (how != MISSING)
        assert_ok(cf_file_write(path, bytes, how == TRUNCATED ? n / 2 : how == EMPTY ? 0 : n));
    cf_free(bytes);
}

static cf_status go_on(const world *w, bool named, int64_t stop_after)
{
    cf_config *c = micro_config(w->folder, "run", automatic + named); /* named: no AUTO_RESUME */
    if (named) assert_ok(cf_config_set_plain(c, "MODEL.RESUME", w->last, "--resume"));
    log_text[0] = 0;
    cf_log_set(keep_log, NULL);
    cf_status status = micro_train(c, stop_after);
    cf_log_set(NULL, NULL);
    return status;
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void a_damaged_last_falls_back(void **state)
{
    (void)state;
    static const char *const says[DAMAGES] = { "is cut off", "is damaged: the CRC-32", "0 bytes",
                                               "cannot open" };
    for (int how = 0; how < DAMAGES; how++) {
        world w = stopped_twice();
        damage(w.last, how);
        assert_fails(go_on(&w, how % 2, 4), CF_EINTERRUPTED, "step 4");
        const char *line = strstr(log_text, says[how]);
        if (!line || !strstr(log_text, w.last) || !strstr(line, "; goes on from ") ||
            !strstr(line, w.previous))
            fail_msg("%s", log_text);
        assert_step(w.last, "4");
        assert_step(w.previous, "2"); /* the damaged one has not taken its place */
        assert_ok(go_on(&w, how % 2, 0));
        if (how == FLIPPED) {
            char *whole = test_path(w.folder, "whole/last.safetensors");
            micro_train_whole(w.folder, "whole", automatic);
            assert_same_tensors(w.last, whole);
            cf_free(whole);
        }
        world_end(w);
    }
}

static void two_damaged_ones_are_an_error(void **state)
{
    (void)state;
    world w = stopped_twice();
    damage(w.last, FLIPPED);
    damage(w.previous, TRUNCATED);
    for (int named = 0; named < 2; named++) {
        assert_fails(go_on(&w, named, 0), CF_EFORMAT, w.last);
        assert_non_null(strstr(cf_error(), w.previous));
        assert_int_equal(micro_lines(cf_error()), 1);
    }
    world_end(w);
}

static void another_damaged_file_is_an_error(void **state)
{
    (void)state;
    world w = stopped_twice();
    char *copy = test_path(w.folder, "copy.safetensors");
    assert_ok(cf_file_copy(copy, w.last));
    damage(copy, FLIPPED);
    cf_config *c = micro_config(w.folder, "run", NULL);
    assert_ok(cf_config_set_plain(c, "MODEL.RESUME", copy, "--resume"));
    assert_fails(micro_train(c, 0), CF_EFORMAT, "copy.safetensors is damaged");
    c = micro_config(w.folder, "run", (const char *const[]){ "TEST.ONLY_TEST=True", NULL });
    assert_ok(cf_config_set_plain(c, "MODEL.RESUME", copy, "--resume"));
    cf_run *r;
    assert_fails(cf_run_new(&r, c, NULL), CF_EFORMAT, "copy.safetensors is damaged");
    cf_config_free(c);
    assert_step(w.last, "3");
    cf_free(copy);
    world_end(w);
}

static void any_flipped_bit_of_a_checkpoint_is_seen(void **state)
{
    (void)state;
    world w = stopped_twice();
    char *bytes;
    size_t n;
    cf_rng rng = cf_rng_make(5, CF_RNG_TEST, 0, 0);
    assert_ok(cf_file_read(&bytes, &n, w.last));
    for (int i = 0; i < 1000; i++) {
        /* every fourth in the header, which is a small part */
        size_t at = cf_rng_below(&rng, i % 4 ? (uint32_t)n : 20000);
        char bit = (char)(1 << cf_rng_below(&rng, 8));
        bytes[at] ^= bit;
        if (cf_st_check_memory(NULL, bytes, n, "x") == CF_OK) fail_msg("byte %zu, %d", at, bit);
        bytes[at] ^= bit;
    }
    assert_ok(cf_st_check_memory(NULL, bytes, n, "x"));
    cf_free(bytes);
    world_end(w);
}

/* ---- a full disk ----------------------------------------------------------------------------- */

static rlim_t largest_file;
static void limit_file_size(void)
{
    const struct rlimit limit = { largest_file, largest_file };
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void a_full_disk_leaves_both_generations(void **state)
{
    (void)state;
    micro_need_program();
    world w = stopped_twice();
    char *err, *yaml = test_path(w.folder, "run.yaml"), *kept[2], *now;
    char *fresh = test_path(w.folder, "run/last.safetensors.new");
    char *half = test_path(w.folder, "run/last.safetensors.new.tmp");
    const char *const paths[] = { w.last, w.previous };
    size_t n[2], m;
    for (size_t i = 0; i < 2; i++) assert_ok(cf_file_read(&kept[i], &n[i], paths[i]));
    largest_file = n[0] - n[0] / 8; /* room for best, but not for last */
    const char *const argv[] = { "train", "-c", yaml, NULL };
    assert_int_equal(micro_program(&err, argv, limit_file_size, NULL), 1);
    if (!strstr(err, "crossframe: cannot write ")) fail_msg("%s", err);
    cf_free(err);
    for (size_t i = 0; i < 2; i++) {
        assert_ok(cf_file_read(&now, &m, paths[i]));
        assert_true(m == n[i] && memcmp(now, kept[i], m) == 0);
        cf_free(now);
        cf_free(kept[i]);
    }
    assert_false(cf_file_exists(fresh) || cf_file_exists(half));
    assert_ok(cf_file_write(half, "left by a killed run", 20));
    assert_int_equal(micro_program(&err, argv, NULL, NULL), 0);
    cf_free(err);
    assert_step(w.last, "12");
    assert_false(cf_file_exists(half));
    cf_free(half);
    cf_free(fresh);
    cf_free(yaml);
    world_end(w);
}

/* ---- kept epochs, the average, the lock ------------------------------------------------------ */

static void the_last_k_epochs_are_kept(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *run = test_path(folder, "run");
    char *foreign = test_path(folder, "run/epoch_000x.safetensors");
    const char *const more[] = { "TRAIN.EPOCHS=5", "SAVE_KEEP=2", NULL };
    micro_train_whole(folder, "run", (const char *const[]){ "TRAIN.EPOCHS=1", NULL });
    assert_ok(cf_file_write(foreign, "not ours", 8));
    micro_train_whole(folder, "run", more);
    for (int e = 0; e < 5; e++) {
        char name[40], epoch[4];
        snprintf(name, sizeof name, "epoch_%03d.safetensors", e);
        snprintf(epoch, sizeof epoch, "%d", e + 1);
        char *path = test_path(run, name);
        assert_int_equal(cf_file_exists(path), e >= 3);
        if (e >= 3) {
            cf_st_file *f;
            assert_ok(cf_st_check(NULL, path));
            assert_ok(cf_st_open(&f, path));
            assert_string_equal(cf_st_metadata(f, "epoch"), epoch);
            cf_st_close(f);
        }
        cf_free(path);
    }
    assert_true(cf_file_exists(foreign));
    cf_free(foreign);
    cf_free(run);
    test_folder_remove(folder);
}

static void best_and_tests_have_the_average(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *last = test_path(folder, "run/last.safetensors");
    char *best = test_path(folder, "run/best.safetensors"), *text;
    char *log = test_path(folder, "run/log.jsonl");
    const char *const more[] = { "TRAIN.EPOCHS=1", "TRAIN.EMA=0.5", NULL };
    size_t n;
    cf_st_file *f, *g;
    micro_train_whole(folder, "run", more);
    assert_ok(cf_st_open(&f, last));
    assert_ok(cf_st_open(&g, best));
    const cf_st_tensor *now = cf_st_find(f, "visual.proj"), *mean = cf_st_find(g, "visual.proj");
    const cf_st_tensor *ema = cf_st_find(f, "optimizer.ema.visual.proj");
    size_t bytes = now->n * cf_st_dtype_bytes(now->dtype);
    assert_memory_equal(mean->data, ema->data, bytes);
    assert_memory_not_equal(mean->data, now->data, bytes);
    assert_ok(cf_file_read(&text, &n, log));
    assert_non_null(strstr(text, "\"weights\":\"ema\""));
    double logged = strtod(strstr(text, "\"top1\":") + 7, NULL);
    cf_st_close(f);
    cf_st_close(g);
    cf_config *c = micro_config(
        folder, "run", (const char *const[]){ "TEST.ONLY_TEST=True", "TRAIN.EMA=0.5", NULL });
    assert_ok(cf_config_set_plain(c, "MODEL.RESUME", last, "--resume"));
    cf_run *r;
    cf_eval_record e;
    assert_ok(cf_run_new(&r, c, NULL));
    assert_ok(cf_run_test(&e, r));
    assert_near(e.top1, logged, 1e-6);
    cf_run_free(r);
    cf_config_free(c);
    cf_free(text);
    cf_free(log);
    cf_free(best);
    cf_free(last);
    test_folder_remove(folder);
}

static void two_runs_in_one_folder_are_refused(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    cf_config *a = micro_config(folder, "run", NULL), *b = micro_config(folder, "run", NULL);
    cf_run *r, *s;
    assert_ok(cf_run_new(&r, a, NULL));
    assert_fails(cf_run_new(&s, b, NULL), CF_EINVAL, "is in use");
    cf_run_free(r);
    assert_ok(cf_run_new(&s, b, NULL));
    cf_run_free(s);
    cf_config_free(a);
    cf_config_free(b);
    test_folder_remove(folder);
}

static void without_a_checkpoint_it_starts_anew(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *last = test_path(folder, "run/last.safetensors");
    char *log = test_path(folder, "run/log.jsonl"), *whole = test_path(folder, "whole/log.jsonl");
    micro_train_whole(folder, "whole", automatic);
    world w = { folder, last, NULL };
    assert_fails(go_on(&w, false, 3), CF_EINTERRUPTED, "step 3");
    assert_non_null(strstr(log_text, "has no checkpoint yet: starts from the beginning"));
    unlink(last); /* as if killed before it was written */
    assert_ok(go_on(&w, false, 0));
    assert_same_log(log, whole);
    cf_free(whole);
    cf_free(log);
    cf_free(last);
    test_folder_remove(folder);
}

TESTS(TEST(a_damaged_last_falls_back), TEST(two_damaged_ones_are_an_error),
      TEST(another_damaged_file_is_an_error), TEST(any_flipped_bit_of_a_checkpoint_is_seen),
      TEST(a_full_disk_leaves_both_generations), TEST(the_last_k_epochs_are_kept),
      TEST(best_and_tests_have_the_average), TEST(two_runs_in_one_folder_are_refused),
      TEST(without_a_checkpoint_it_starts_anew))
