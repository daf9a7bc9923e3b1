/* Clock, threads, memory, BLAS. */
#include "test.h"

#include <time.h>

static void the_machine_is_known(void **state)
{
    (void)state;
    double t = cf_seconds();
    assert_true(cf_seconds() >= t);
    assert_true(cf_threads() >= 1);
    assert_true(cf_physical_memory() > (size_t)64 << 20);
    assert_true(strlen(cf_cpu_name()) > 2);
    assert_near(cf_unix_time(), time(NULL), 1.5);
}

static void the_peak_of_memory_grows_with_use(void **state)
{
    (void)state;
    enum { BYTES = 64 << 20 };
    size_t before = cf_resident_peak();
    char *block;
    assert_true(before > (size_t)1 << 20);
    assert_ok(cf_alloc(&block, BYTES, 1));
    memset(block, 1, BYTES);
    assert_int_equal(block[BYTES / 2], 1);
    cf_free(block);
    assert_true(cf_resident_peak() >= before + BYTES * 9 / 10);
    assert_true(cf_resident_peak() < cf_physical_memory());
}

static void blas_is_the_openmp_build(void **state)
{
    (void)state;
    assert_non_null(strstr(cf_blas_config(), "OpenBLAS"));
    const char *warning = cf_blas_warning();
    if (warning) fail_msg("%s", warning);
}

TESTS(TEST(the_machine_is_known), TEST(the_peak_of_memory_grows_with_use),
      TEST(blas_is_the_openmp_build))
