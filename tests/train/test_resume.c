/* Stopped at any step and gone on with, a run ends with the bits of one that never stopped:
 * weights, moments, log. */
#include "micro.h"

#include <signal.h>

/* Runs NAME stopped after each of `stops` in turn, then to the end. */
static void train_in_parts(const char *folder, const char *name, const char *const *more,
                           const int64_t *stops, size_t n_stops)
{
    char *last;
    assert_ok(cf_format(&last, "%s/%s/last.safetensors", folder, name));
    for (size_t i = 0; i <= n_stops; i++) {
        cf_config *c = micro_config(folder, name, more);
        if (i > 0) assert_ok(cf_config_set_plain(c, "MODEL.RESUME", last, "--resume"));
        if (i < n_stops)
            assert_fails(micro_train(c, stops[i]), CF_EINTERRUPTED, "--resume");
        else
            assert_ok(micro_train(c, 0));
    }
    cf_free(last);
}

static void assert_same_runs(const char *folder, const char *a, const char *b)
{
    static const char *const files[] = { "last.safetensors", "best.safetensors", "log.jsonl" };
    for (size_t i = 0; i < 3; i++) {
        char *x, *y;
        assert_ok(cf_format(&x, "%s/%s/%s", folder, a, files[i]));
        assert_ok(cf_format(&y, "%s/%s/%s", folder, b, files[i]));
        if (i < 2)
            assert_same_tensors(x, y);
        else
            assert_same_log(x, y);
        cf_free(x);
        cf_free(y);
    }
}

static void every_step_resumes(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    micro_train_whole(folder, "whole", NULL);
    for (int64_t k = 1; k <= 2 * MICRO_STEPS; k++) {
        char name[32];
        snprintf(name, sizeof name, "parts-%d", (int)k);
        train_in_parts(folder, name, NULL, &k, 1);
        assert_same_runs(folder, "whole", name);
    }
    test_folder_remove(folder);
}

static void trained_text_and_families_resume(void **state)
{
    (void)state;
    char *folder = micro_folder(true);
    const char *const more[] = { "MODEL.FIX_TEXT=False", "TEST.NUM_CLIP=2", NULL };
    const int64_t stops[] = { 2, 5, 6, 11 };
    micro_train_whole(folder, "whole", more);
    train_in_parts(folder, "parts", more, stops, 4);
    assert_same_runs(folder, "whole", "parts");
    test_folder_remove(folder);
}

/* What is frozen comes from the checkpoint: it has the moments of nothing else. */
static void frozen_parts_resume(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    const char *const more[] = { "MODEL.FIX_VISUAL=True", "MODEL.FIX_LOGIT_SCALE=False", NULL };
    const int64_t stop = 4;
    micro_train_whole(folder, "whole", more);
    train_in_parts(folder, "parts", more, &stop, 1);
    assert_same_runs(folder, "whole", "parts");
    assert_fails(micro_train(micro_config(folder, "other", more), stop), CF_EINTERRUPTED, "step 4");
    char *last = test_path(folder, "other/last.safetensors");
    cf_config *c = micro_config(folder, "other", NULL);
    assert_ok(cf_config_set_plain(c, "MODEL.RESUME", last, "--resume"));
    assert_ok(micro_train(c, 0));
    assert_same_runs(folder, "whole", "other");
    cf_free(last);
    test_folder_remove(folder);
}

static void vectors_resume(void **state)
{
    (void)state;
    char *folder = micro_folder(true);
    const char *const more[] = { "MODEL.PROMPT=vectors", "MODEL.PROMPT_VECTORS=2", NULL };
    const int64_t stops[] = { 2, 7 };
    micro_train_whole(folder, "whole", more);
    train_in_parts(folder, "parts", more, stops, 2);
    assert_same_runs(folder, "whole", "parts");
    test_folder_remove(folder);
}

/* A template is drawn from the number of the micro-batch, so that the drawing goes on, too. */
static void ensembles_resume(void **state)
{
    (void)state;
    char *folder = micro_folder(true), *file = test_path(folder, "templates.txt"), *templates;
    static const char text[] = "{}\n{} red\nblue {}\n";
    const int64_t stops[] = { 1, 5, 7 };
    assert_ok(cf_file_write(file, text, strlen(text)));
    assert_ok(cf_format(&templates, "MODEL.PROMPT_TEMPLATES=%s", file));
    for (int trained = 0; trained < 2; trained++) {
        const char *const more[] = { "MODEL.PROMPT=ensemble", templates,
                                     trained ? "MODEL.FIX_TEXT=False" : "MODEL.FIX_TEXT=True",
                                     NULL };
        micro_train_whole(folder, "whole", more);
        train_in_parts(folder, "parts", more, stops, 3);
        assert_same_runs(folder, "whole", "parts");
    }
    cf_free(templates);
    cf_free(file);
    test_folder_remove(folder);
}

/* ---- stopped in a test ----------------------------------------------------------------------- */

typedef struct {
    volatile sig_atomic_t stop;
    int tests, stop_in; /* which test */
} stopper;

static void stop_testing(void *user, size_t done, size_t videos)
{
    stopper *s = user;
    if (s->tests == s->stop_in && done > videos / 2) s->stop = 1;
}

static void count_tests(void *user, const cf_eval_record *r, double best)
{
    (void)r, (void)best;
    ((stopper *)user)->tests++;
}

static void a_stopped_test_is_made_again(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *last = test_path(folder, "parts/last.safetensors");
    const char *const more[] = { "TEST.NUM_CLIP=2", NULL };
    micro_train_whole(folder, "whole", more);
    for (int in = 0; in < 3; in++) { /* after epoch 0, after epoch 1, with all views at the end */
        stopper s = { .stop_in = in };
        const cf_run_options o = {
            .user = &s, .testing = stop_testing, .tested = count_tests, .stop = &s.stop
        };
        cf_config *c = micro_config(folder, "parts", more);
        cf_run *r;
        assert_ok(cf_run_new(&r, c, &o));
        assert_fails(cf_run_train(r), CF_EINTERRUPTED, "stopped at epoch");
        cf_run_free(r);
        cf_config_free(c);
        c = micro_config(folder, "parts", more);
        assert_ok(cf_config_set_plain(c, "MODEL.RESUME", last, "--resume"));
        assert_ok(micro_train(c, 0));
        assert_same_runs(folder, "whole", "parts");
    }
    cf_free(last);
    test_folder_remove(folder);
}

/* ---- what decides ---------------------------------------------------------------------------- */

static char log_text[8192];
static void keep_log(void *user, cf_log_level level, const char *line)
{
    (void)user, (void)level;
    size_t n = strlen(log_text);
    snprintf(log_text + n, sizeof log_text - n, "%s\n", line);
}

static void the_checkpoint_decides_the_schedule(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *last = test_path(folder, "parts/last.safetensors");
    micro_train_whole(folder, "whole", NULL);
    assert_fails(micro_train(micro_config(folder, "parts", NULL), 3), CF_EINTERRUPTED, "step 3");
    const char *const other[] = { "TRAIN.LR=1.0e-2", "SEED=5", "TRAIN.EPOCHS=3", NULL };
    cf_config *c = micro_config(folder, "parts", other);
    assert_ok(cf_config_set_plain(c, "MODEL.RESUME", last, "--resume"));
    log_text[0] = 0;
    cf_log_set(keep_log, NULL);
    assert_ok(micro_train(c, 0));
    cf_log_set(NULL, NULL);
    assert_same_runs(folder, "whole", "parts");
    assert_non_null(strstr(log_text, "goes on with TRAIN.LR 0.001, not 0.01"));
    assert_non_null(strstr(log_text, "goes on with SEED 1024, not 5"));
    cf_free(last);
    test_folder_remove(folder);
}

static void auto_resume_finds_last(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    const char *const more[] = { "TRAIN.AUTO_RESUME=True", NULL };
    micro_train_whole(folder, "whole", NULL);
    assert_fails(micro_train(micro_config(folder, "parts", more), 7), CF_EINTERRUPTED, "step 7");
    assert_ok(micro_train(micro_config(folder, "parts", more), 0));
    assert_same_runs(folder, "whole", "parts");
    test_folder_remove(folder);
}

static void weights_alone_start_at_epoch_0(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *best = test_path(folder, "whole/best.safetensors");
    micro_train_whole(folder, "whole", NULL);
    cf_config *c = micro_config(folder, "new", NULL);
    assert_ok(cf_config_set_plain(c, "MODEL.RESUME", best, "--resume"));
    log_text[0] = 0;
    cf_log_set(keep_log, NULL);
    assert_fails(micro_train(c, 1), CF_EINTERRUPTED, "epoch 0, step 1");
    cf_log_set(NULL, NULL);
    assert_non_null(strstr(log_text, "no optimiser state: training starts at epoch 0"));
    cf_free(best);
    test_folder_remove(folder);
}

static void another_epoch_length_is_refused(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *last = test_path(folder, "run/last.safetensors");
    assert_fails(micro_train(micro_config(folder, "run", NULL), 3), CF_EINTERRUPTED, "step 3");
    static const char *const other[] = { "TRAIN.BATCH_SIZE=3", "TRAIN.ACCUMULATION_STEPS=1" };
    for (size_t i = 0; i < 2; i++) {
        const char *const more[] = { other[i], NULL };
        cf_config *c = micro_config(folder, "run", more);
        assert_ok(cf_config_set_plain(c, "MODEL.RESUME", last, "--resume"));
        assert_fails(micro_train(c, 0), CF_EINVAL, "cannot be gone on with");
    }
    cf_free(last);
    test_folder_remove(folder);
}

TESTS(TEST(every_step_resumes), TEST(trained_text_and_families_resume), TEST(frozen_parts_resume),
      TEST(ensembles_resume), TEST(vectors_resume), TEST(a_stopped_test_is_made_again),
      TEST(the_checkpoint_decides_the_schedule), TEST(auto_resume_finds_last),
      TEST(weights_alone_start_at_epoch_0), TEST(another_epoch_length_is_refused))
