/* Status codes, error lines, contexts, and the log. */
#include "test.h"

static cf_status leaf(void) { return CF_FAIL(CF_EFORMAT, "bad header at byte %d", 7); }

static cf_status middle(void)
{
    CF_TRY_CTX(leaf(), "clip %zu of %s", (size_t)3, "a.h5");
    return CF_OK;
}

static cf_status top(int *cleaned)
{
    cf_status status = CF_OK;
    CF_GO(middle());
    fail_msg("not reached");
done:
    ++*cleaned;
    return status;
}

static void contexts_stand_before_the_line(void **state)
{
    (void)state;
    int cleaned = 0;
    assert_int_equal(top(&cleaned), CF_EFORMAT);
    assert_int_equal(cleaned, 1);
    assert_string_equal(cf_error(), "clip 3 of a.h5: bad header at byte 7");
}

static void a_line_may_quote_the_last_one(void **state)
{
    (void)state;
    cf_fail(CF_EIO, "first");
    assert_int_equal(cf_fail(CF_EINVAL, "second, after %s", cf_error()), CF_EINVAL);
    assert_string_equal(cf_error(), "second, after first");
    assert_int_equal(cf_fail_context(CF_EINVAL, "%s", cf_error()), CF_EINVAL);
    assert_string_equal(cf_error(), "second, after first: second, after first");
}

static void a_line_stays_one_line(void **state)
{
    (void)state;
    cf_fail(CF_EIO, "cannot open %s", "two\nlines\t\x7f");
    assert_string_equal(cf_error(), "cannot open two lines  ");
    cf_fail(CF_EIO, "%s", "caf\xc3\xa9");
    assert_string_equal(cf_error(), "caf\xc3\xa9");
}

static void a_long_line_is_cut_and_says_so(void **state)
{
    (void)state;
    char text[20000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    cf_fail(CF_EIO, "%s", text);
    size_t n = strlen(cf_error());
    assert_true(n > 500 && n < sizeof text);
    assert_string_equal(cf_error() + n - 3, "...");
    cf_fail_context(CF_EIO, "%s", text);
    cf_fail_context(CF_EIO, "where");
    assert_memory_equal(cf_error(), "where: xxx", 10);
    n = strlen(cf_error());
    assert_string_equal(cf_error() + n - 3, "...");
}

static void threads_have_their_own_line(void **state)
{
    (void)state;
    cf_fail(CF_EIO, "main");
    int wrong = 0;
#pragma omp parallel for num_threads(4) reduction(+ : wrong)
    for (int i = 0; i < 400; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "thread line %d", i);
        cf_fail(CF_EIO, "thread line %d", i);
        wrong += strcmp(cf_error(), expected) != 0;
    }
    assert_int_equal(wrong, 0);
}

static void a_failed_assertion_aborts(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(3);
        CF_ASSERT(1 + 1 == 3);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    CF_ASSERT(1 + 1 == 2);
}

typedef struct {
    cf_log_level level;
    char line[64];
    int count;
} heard;

static void hear(void *user, cf_log_level level, const char *line)
{
    heard *h = user;
    h->level = level;
    h->count++;
    snprintf(h->line, sizeof h->line, "%s", line);
}

static void log_lines_reach_the_callback(void **state)
{
    (void)state;
    heard h = { 0 };
    cf_log(CF_LOG_WARNING, "dropped: nobody listens");
    cf_log_set(hear, &h);
    cf_log(CF_LOG_WARNING, "%d threads", 3);
    cf_log_set(NULL, NULL);
    cf_log(CF_LOG_INFO, "dropped");
    assert_int_equal(h.count, 1);
    assert_int_equal(h.level, CF_LOG_WARNING);
    assert_string_equal(h.line, "3 threads");
}

TESTS(TEST(contexts_stand_before_the_line), TEST(a_line_may_quote_the_last_one),
      TEST(a_line_stays_one_line), TEST(a_long_line_is_cut_and_says_so),
      TEST(threads_have_their_own_line), TEST(a_failed_assertion_aborts),
      TEST(log_lines_reach_the_callback))
