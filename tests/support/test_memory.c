/* Heap blocks: alignment, counting, failure on demand; strings. */
#include "test.h"

static void blocks_are_aligned_and_counted(void **state)
{
    (void)state;
    cf_memory_stats before = cf_memory_stats_get();
    char *a;
    double *b;
    assert_ok(cf_alloc(&a, 3, 7));
    assert_ok(cf_alloc_zero(&b, 100, sizeof *b));
    assert_int_equal((uintptr_t)a % CF_ALIGN, 0);
    assert_int_equal((uintptr_t)b % CF_ALIGN, 0);
    for (int i = 0; i < 100; i++) assert_true(b[i] == 0);
    cf_memory_stats during = cf_memory_stats_get();
    assert_int_equal(during.allocations - before.allocations, 2);
    assert_int_equal(during.bytes_now - before.bytes_now, 21 + 800);
    assert_true(during.bytes_peak >= during.bytes_now);
    cf_free(a);
    cf_free(b);
    cf_free(NULL);
    cf_memory_stats after = cf_memory_stats_get();
    assert_int_equal(after.bytes_now, before.bytes_now);
    assert_int_equal(after.bytes_peak, during.bytes_peak);
}

static void size_zero_is_a_block(void **state)
{
    (void)state;
    char *a = NULL, *b = NULL;
    assert_ok(cf_alloc(&a, 0, 8));
    assert_ok(cf_alloc_zero(&b, 8, 0));
    assert_non_null(a);
    assert_non_null(b);
    cf_free(a);
    cf_free(b);
}

static void realloc_keeps_the_smaller_part(void **state)
{
    (void)state;
    size_t before = cf_memory_stats_get().bytes_now;
    int *p = NULL;
    assert_ok(cf_realloc(&p, 3, sizeof *p));
    for (int i = 0; i < 3; i++) p[i] = i + 10;
    assert_ok(cf_realloc(&p, 1000, sizeof *p));
    for (int i = 0; i < 3; i++) assert_int_equal(p[i], i + 10);
    assert_ok(cf_realloc(&p, 2, sizeof *p));
    assert_int_equal(p[1], 11);
    assert_int_equal(cf_memory_stats_get().bytes_now - before, 2 * sizeof *p);
    cf_free(p);
}

static void failure_leaves_the_pointer_alone(void **state)
{
    (void)state;
    int *p = NULL;
    assert_ok(cf_alloc(&p, 4, sizeof *p));
    int *old = p;
    cf_memory_fail_at(1);
    assert_fails(cf_realloc(&p, 8, sizeof *p), CF_ENOMEM, "32 bytes");
    assert_ptr_equal(p, old);
    assert_fails(cf_alloc(&p, SIZE_MAX / 2, 4), CF_ENOMEM, "more than can be addressed");
    assert_fails(cf_alloc(&p, SIZE_MAX - 3, 1), CF_ENOMEM, "out of memory");
    assert_fails(cf_alloc(&p, SIZE_MAX / 4, 1), CF_ENOMEM, "out of memory");
    assert_ptr_equal(p, old);
    cf_free(p);
}

static void the_nth_allocation_fails_once(void **state)
{
    (void)state;
    void *p[3] = { 0 };
    cf_memory_fail_at(3);
    assert_ok(cf_alloc(&p[0], 1, 1));
    assert_ok(cf_alloc(&p[1], 1, 1));
    assert_fails(cf_alloc(&p[2], 1, 1), CF_ENOMEM, "out of memory for 1 bytes");
    assert_null(p[2]);
    assert_ok(cf_alloc(&p[2], 1, 1));
    for (int i = 0; i < 3; i++) cf_free(p[i]);
    cf_memory_fail_at(1);
    cf_memory_fail_at(0);
    assert_ok(cf_alloc(&p[0], 1, 1));
    cf_free(p[0]);
}

static void products_are_checked(void **state)
{
    (void)state;
    size_t n = 5;
    assert_ok(cf_mul_size(&n, 1 << 20, 1 << 20));
    assert_int_equal(n, (size_t)1 << 40);
    assert_fails(cf_mul_size(&n, (size_t)1 << 32, (size_t)1 << 32), CF_ENOMEM, "times");
    assert_ok(cf_mul_size(&n, 0, SIZE_MAX));
    assert_int_equal(n, 0);
}

static void strings_are_copied(void **state)
{
    (void)state;
    char *a, *b, long_text[3000];
    memset(long_text, 'y', sizeof long_text);
    long_text[sizeof long_text - 1] = 0;
    assert_ok(cf_strdup(&a, "abc"));
    assert_string_equal(a, "abc");
    assert_ok(cf_format(&b, "%s-%d-%s", a, 42, long_text));
    assert_memory_equal(b, "abc-42-yyy", 10);
    assert_int_equal(strlen(b), 7 + sizeof long_text - 1);
    cf_free(a);
    cf_free(b);
    b = NULL;
    cf_memory_fail_at(1);
    assert_fails(cf_format(&b, "%d", 1), CF_ENOMEM, "");
    assert_null(b);
}

static void threads_count_together(void **state)
{
    (void)state;
    cf_memory_stats before = cf_memory_stats_get();
    int failures = 0;
    cf_memory_fail_at(500);
#pragma omp parallel for num_threads(4) reduction(+ : failures)
    for (int i = 0; i < 1000; i++) {
        void *p = NULL;
        failures += cf_alloc(&p, 10, 1) != CF_OK;
        cf_free(p);
    }
    cf_memory_stats after = cf_memory_stats_get();
    assert_int_equal(failures, 1);
    assert_int_equal(after.allocations - before.allocations, 999);
    assert_int_equal(after.bytes_now, before.bytes_now);
}

TESTS(TEST(blocks_are_aligned_and_counted), TEST(size_zero_is_a_block),
      TEST(realloc_keeps_the_smaller_part), TEST(failure_leaves_the_pointer_alone),
      TEST(the_nth_allocation_fails_once), TEST(products_are_checked), TEST(strings_are_copied),
      TEST(threads_count_together))
