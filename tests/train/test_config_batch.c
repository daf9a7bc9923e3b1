/* TRAIN.GLOBAL_BATCH: what it derives, which of several says gives way, what is refused. */
#include "../test.h"

#include "crossframe/train.h"

static char logged[1024];
static void remember(void *user, cf_log_level level, const char *line)
{
    (void)user;
    (void)level;
    snprintf(logged, sizeof logged, "%s", line);
}

/* The steps derived from a file's text and the command line's words; < 0: -status. */
static int derived(const char *text, const char *const *opts, size_t n)
{
    cf_config *c;
    *logged = 0;
    assert_ok(cf_config_parse(&c, text, strlen(text), "x.yaml"));
    assert_ok(cf_config_set_opts(c, opts, n));
    int before = c->train.accumulation_steps;
    cf_log_set(remember, NULL);
    cf_status status = cf_config_settle(c);
    cf_log_set(NULL, NULL);
    int steps = c->train.accumulation_steps;
    if (status != CF_OK) assert_int_equal(steps, before);
    cf_config_free(c);
    return status == CF_OK ? steps : -(int)status;
}
#define DERIVED(text, ...)                                                                         \
    derived(text, (const char *const[]){ __VA_ARGS__ },                                            \
            sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static void derives_the_steps(void **state)
{
    (void)state;
    assert_int_equal(derived("TRAIN: {BATCH_SIZE: 8}\n", NULL, 0), 1);
    assert_int_equal(derived("TRAIN: {BATCH_SIZE: 8, GLOBAL_BATCH: 256}\n", NULL, 0), 32);
    assert_int_equal(derived("TRAIN: {BATCH_SIZE: 256, GLOBAL_BATCH: 256}\n", NULL, 0), 1);
    assert_int_equal(DERIVED("TRAIN: {GLOBAL_BATCH: 256}\n", "TRAIN.BATCH_SIZE=2"), 128);
    assert_string_equal(logged, "");
    assert_int_equal(
        derived("TRAIN: {BATCH_SIZE: 8, GLOBAL_BATCH: 256, ACCUMULATION_STEPS: 32}\n", NULL, 0),
        32);
}

static void the_command_line_wins(void **state)
{
    (void)state;
    const char *published = "TRAIN:\n  BATCH_SIZE: 8\n  ACCUMULATION_STEPS: 4\n";
    assert_int_equal(DERIVED(published, "TRAIN.GLOBAL_BATCH=256"), 32);
    assert_string_equal(logged, "configuration: TRAIN.ACCUMULATION_STEPS 4 (x.yaml:3) gives way to "
                                "32: TRAIN.GLOBAL_BATCH 256");
    /* config.yaml of an earlier run, with another micro-batch */
    const char *resolved = "TRAIN: {BATCH_SIZE: 8, GLOBAL_BATCH: 64, ACCUMULATION_STEPS: 8}\n";
    assert_int_equal(DERIVED(resolved, "TRAIN.BATCH_SIZE=16"), 4);
    assert_int_equal(DERIVED(resolved, "TRAIN.GLOBAL_BATCH=0", "TRAIN.BATCH_SIZE=16"), 8);
}

static void contradictions(void **state)
{
    (void)state;
    assert_true(derived("TRAIN:\n  GLOBAL_BATCH: 60\n", NULL, 0) == -(int)CF_EINVAL);
    assert_string_equal(cf_error(),
                        "configuration: TRAIN.BATCH_SIZE 8 (default) does not divide "
                        "TRAIN.GLOBAL_BATCH 60; these do: 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, "
                        "60 (x.yaml:2)");
    assert_true(derived("TRAIN:\n  GLOBAL_BATCH: 64\n  ACCUMULATION_STEPS: 4\n", NULL, 0) < 0);
    assert_string_equal(cf_error(),
                        "configuration: TRAIN.ACCUMULATION_STEPS 4 (x.yaml:3) x TRAIN.BATCH_SIZE 8 "
                        "is not TRAIN.GLOBAL_BATCH 64 (x.yaml:2); give one of them, GLOBAL_BATCH 0 "
                        "is none");
    assert_true(DERIVED("TRAIN: {GLOBAL_BATCH: 64}\n", "TRAIN.ACCUMULATION_STEPS=4") < 0);
    assert_true(DERIVED("", "TRAIN.GLOBAL_BATCH=64", "TRAIN.ACCUMULATION_STEPS=4") < 0);
    assert_true(DERIVED("", "TRAIN.GLOBAL_BATCH=1000000000", "TRAIN.BATCH_SIZE=7") < 0);
}

TESTS(TEST(derives_the_steps), TEST(the_command_line_wins), TEST(contradictions))
