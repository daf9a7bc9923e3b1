/* What every test shares. A test program is cmocka: TESTS(...) makes its main. */
#ifndef CROSSFRAME_TEST_H
#define CROSSFRAME_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "crossframe/support.h"

#define TEST(function) cmocka_unit_test(function)
/* int main: TESTS(TEST(this), TEST(that)) */
#define TESTS(...)                                                                                 \
    int main(void)                                                                                 \
    {                                                                                              \
        const struct CMUnitTest tests[] = { __VA_ARGS__ };                                         \
        return cmocka_run_group_tests(tests, NULL, NULL) != 0;                                     \
    }

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        cf_status got_ = (call);                                                                   \
        if (got_ != CF_OK) fail_msg("%s: status %d: %s", #call, (int)got_, cf_error());            \
    } while (0)

/* Fails with this code, and with an error line that holds `text`. */
#define assert_fails(call, code, text)                                                             \
    do {                                                                                           \
        cf_status got_ = (call);                                                                   \
        if (got_ != (code)) fail_msg("%s: status %d, expected %s", #call, (int)got_, #code);       \
        if (!strstr(cf_error(), (text)))                                                           \
            fail_msg("%s: \"%s\" does not say \"%s\"", #call, cf_error(), (text));                 \
    } while (0)

/* |a - b| <= tolerance; written so that NaN fails. */
#define assert_near(a, b, tolerance)                                                               \
    do {                                                                                           \
        double a_ = (double)(a), b_ = (double)(b), tolerance_ = (double)(tolerance);               \
        if (!(fabs(a_ - b_) <= tolerance_))                                                        \
            fail_msg("%s = %.9g, expected %.9g within %.2g", #a, a_, b_, tolerance_);              \
    } while (0)

/* The worst |a[i] - b[i]| over n values is within tolerance, else its index is told. */
#define assert_all_near(a, b, n, tolerance)                                                        \
    do {                                                                                           \
        size_t worst_ = 0;                                                                         \
        double most_ = -1;                                                                         \
        for (size_t i_ = 0; i_ < (size_t)(n); i_++) {                                              \
            double off_ = fabs((double)(a)[i_] - (double)(b)[i_]);                                 \
            if (!(off_ <= most_) && !isnan(most_)) most_ = off_, worst_ = i_;                      \
        }                                                                                          \
        if (!(most_ <= (double)(tolerance)))                                                       \
            fail_msg("%s[%zu] = %.9g, %s[%zu] = %.9g: off by %.3g, allowed %.3g", #a, worst_,      \
                     (double)(a)[worst_], #b, worst_, (double)(b)[worst_], most_,                  \
                     (double)(tolerance));                                                         \
    } while (0)

/* A new empty folder. The caller gives it to test_folder_remove. */
static inline char *test_folder_new(void)
{
    const char *base = getenv("TMPDIR");
    char *path;
    assert_ok(cf_format(&path, "%s/crossframe-test-XXXXXX", base && *base ? base : "/tmp"));
    if (!mkdtemp(path)) fail_msg("cannot make a folder like %s", path);
    return path;
}

/* Removes the folder and all in it, and frees the name. */
static inline void test_folder_remove(char *path)
{
    assert_non_null(strstr(path, "crossframe-test-"));
    char *const argv[] = { "rm", "-rf", "--", path, NULL };
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execvp("rm", argv);
        _exit(127);
    }
    waitpid(child, NULL, 0);
    cf_free(path);
}

/* folder/name; free with cf_free. */
static inline char *test_path(const char *folder, const char *name)
{
    char *path;
    assert_ok(cf_path_join(&path, folder, name));
    return path;
}

/* True under `make test-full`: tests may then take minutes. */
static inline bool test_full(void) { return getenv("CF_TEST_FULL") != NULL; }

/* The program under test, for the tests of the command line. */
static inline const char *test_program(void)
{
    const char *path = getenv("CROSSFRAME");
    return path ? path : "build/release/crossframe";
}

#endif
