/* Clock, threads, memory, BLAS. */
#include "test.h"

static void the_machine_is_known(void **state)
{
    (void)state;
    double t = cf_seconds();
    assert_true(cf_seconds() >= t);
    assert_true(cf_threads() >= 1);
    assert_true(cf_physical_memory() > (size_t)64 << 20);
    assert_true(strlen(cf_cpu_name()) > 2);
}

static void blas_is_the_openmp_build(void **state)
{
    (void)state;
    assert_non_null(strstr(cf_blas_config(), "OpenBLAS"));
    const char *warning = cf_blas_warning(), *core = cf_blas_better_core();
    if (warning) assert_null(strchr(warning, '\n'));
    if (warning && !core) fail_msg("%s", warning);
    assert_int_equal(warning != NULL, core != NULL);
}

TESTS(TEST(the_machine_is_known), TEST(blas_is_the_openmp_build))
