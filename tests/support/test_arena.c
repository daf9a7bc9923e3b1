/* The step arena: alignment, marks, peak, limit. */
#include "test.h"

static void marks_nest(void **state)
{
    (void)state;
    cf_arena *a;
    assert_ok(cf_arena_new(&a, "test", 1 << 20));
    float *x, *y, *z;
    assert_ok(cf_arena_push(a, &x, 10, sizeof *x));
    cf_arena_mark_t outer = cf_arena_mark(a);
    assert_ok(cf_arena_push(a, &y, 100, sizeof *y));
    cf_arena_mark_t inner = cf_arena_mark(a);
    assert_ok(cf_arena_push(a, &z, 1000, sizeof *z));
    assert_int_equal((uintptr_t)x % CF_ALIGN, 0);
    assert_int_equal((uintptr_t)y % CF_ALIGN, 0);
    assert_int_equal((uintptr_t)z % CF_ALIGN, 0);
    for (int i = 0; i < 10; i++) x[i] = 1;
    for (int i = 0; i < 100; i++) y[i] = 2;
    for (int i = 0; i < 1000; i++) z[i] = 3;
    assert_int_equal(cf_arena_used(a), 64 + 448 + 4032);
    cf_arena_rewind(a, inner);
    assert_true(y[99] == 2);
    assert_int_equal(cf_arena_used(a), 64 + 448);
    cf_arena_rewind(a, outer);
    assert_true(x[9] == 1);
    assert_ok(cf_arena_push(a, &y, 1, 1));
    assert_int_equal(cf_arena_used(a), 128);
    assert_int_equal(cf_arena_peak(a), 64 + 448 + 4032);
    cf_arena_free(a);
}

static void empty_blocks_are_fine(void **state)
{
    (void)state;
    cf_arena *a;
    assert_ok(cf_arena_new(&a, "test", 1024));
    cf_arena_mark_t mark = cf_arena_mark(a);
    void *p = NULL, *q;
    assert_ok(cf_arena_push(a, &p, 0, 8));
    assert_non_null(p);
    assert_ok(cf_arena_push(a, &q, 1024, 1));
    assert_ok(cf_arena_push(a, &p, 8, 0));
    cf_arena_rewind(a, mark);
    assert_int_equal(cf_arena_used(a), 0);
    cf_arena_free(a);
}

static void the_limit_holds_and_is_told(void **state)
{
    (void)state;
    cf_arena *a;
    assert_ok(cf_arena_new(&a, "step", 1000)); /* rounded up to 1024 */
    char *p, *q = NULL;
    assert_ok(cf_arena_push(a, &p, 100, 1));
    assert_fails(cf_arena_push(a, &q, 897, 1), CF_ENOMEM,
                 "step arena is full: 897 bytes wanted, 128 of 1024 in use");
    assert_fails(cf_arena_push(a, &q, SIZE_MAX, 1), CF_ENOMEM, "step arena is full");
    assert_fails(cf_arena_push(a, &q, SIZE_MAX, 2), CF_ENOMEM, "step arena: ");
    assert_null(q);
    assert_int_equal(cf_arena_used(a), 128);
    assert_ok(cf_arena_push(a, &q, 896, 1));
    memset(q, 1, 896);
    assert_int_equal(cf_arena_used(a), 1024);
    cf_arena_free(a);
    cf_arena_free(NULL);
}

static void no_limit_is_the_machine(void **state)
{
    (void)state;
    cf_arena *a;
    assert_ok(cf_arena_new(&a, "test", 0));
    char *p;
    assert_ok(cf_arena_push(a, &p, 1 << 20, 1));
    p[0] = p[(1 << 20) - 1] = 1;
    assert_fails(cf_arena_push(a, &p, cf_physical_memory(), 1), CF_ENOMEM, "test arena");
    cf_arena_free(a);
    assert_ok(
        cf_arena_new(&a, "test", SIZE_MAX)); /* more than the system reserves: what it gives */
    assert_ok(cf_arena_push(a, &p, 1 << 20, 1));
    cf_arena_free(a);
}

static void pushes_can_fail_but_are_no_allocations(void **state)
{
    (void)state;
    cf_arena *a;
    assert_ok(cf_arena_new(&a, "test", 1 << 20));
    size_t before = cf_memory_stats_get().allocations;
    char *p = NULL, *q = NULL;
    cf_memory_fail_at(2);
    assert_ok(cf_arena_push(a, &p, 10, 1));
    assert_fails(cf_arena_push(a, &q, 10, 1), CF_ENOMEM, "test arena: out of memory");
    assert_null(q);
    assert_int_equal(cf_arena_used(a), 64);
    assert_int_equal(cf_memory_stats_get().allocations, before);
    cf_arena_free(a);
    a = NULL;
    cf_memory_fail_at(1);
    assert_fails(cf_arena_new(&a, "test", 1 << 20), CF_ENOMEM, "");
    assert_null(a);
}

static void a_range_inside_the_limit(void **state)
{
    (void)state;
    cf_arena *a;
    char *pushed, *low, *high, *none = NULL;
    assert_ok(cf_arena_new(&a, "test", 1024));
    assert_ok(cf_arena_push(a, &pushed, 64, 1));
    assert_ok(cf_arena_range(a, &low, 0, 640));
    assert_ok(cf_arena_range(a, &high, 384, 640));
#ifdef CF_ARENA_MALLOC
    assert_true(low == high && low != pushed);
#else
    assert_true(low == pushed && high == pushed + 384);
#endif
    memset(high, 1, 640);
    assert_fails(cf_arena_range(a, &none, 448, 640), CF_ENOMEM, "no room for 640 bytes at 448");
    assert_fails(cf_arena_range(a, &none, 2048, 0), CF_ENOMEM, "no room");
    assert_null(none);
    assert_true(cf_arena_used(a) == 64 && cf_arena_peak(a) == 64);
    cf_arena_free(a);
}

static void a_kept_block_moves_to_the_mark(void **state)
{
    (void)state;
    cf_arena *a;
    assert_ok(cf_arena_new(&a, "test", 1 << 20));
    char *before, *inner, *kept;
    assert_ok(cf_arena_push(a, &before, 64, 1));
    cf_arena_mark_t mark = cf_arena_mark(a);
    assert_ok(cf_arena_push(a, &inner, 70, 1)); /* overlaps the kept block's new place */
    assert_ok(cf_arena_push(a, &kept, 1000, 1));
    memset(before, 1, 64);
    for (int i = 0; i < 1000; i++) kept[i] = (char)i;
    kept = cf_arena_keep(a, mark, kept, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(kept[i], (char)i);
    assert_int_equal(before[63], 1);
    assert_int_equal((uintptr_t)kept % CF_ALIGN, 0);
    assert_int_equal(cf_arena_used(a), 64 + 1024);
    assert_ok(cf_arena_push(a, &inner, 70, 1));
    memset(inner, 2, 70);
    assert_int_equal(kept[999], (char)999);
    cf_arena_rewind(a, mark);
    assert_int_equal(cf_arena_used(a), 64);
    cf_arena_free(a);
}

static void the_asan_build_sees_use_after_rewind(void **state)
{
    (void)state;
#ifndef CF_ARENA_MALLOC
    return;
#endif
    cf_arena *a;
    char *volatile p;
    assert_ok(cf_arena_new(&a, "test", 1 << 20));
    assert_ok(cf_arena_push(a, (void *)&p, 10, 1));
    cf_arena_rewind(a, 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(0);
        p[9] = 1;
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_not_equal(status, 0);
    cf_arena_free(a);
}

static void the_same_steps_get_the_same_places(void **state)
{
    (void)state;
#ifdef CF_ARENA_MALLOC
    return;
#endif
    cf_arena *a;
    assert_ok(cf_arena_new(&a, "test", 1 << 20));
    char *first[20], *p;
    for (int step = 0; step < 2; step++) {
        for (int i = 0; i < 20; i++) {
            assert_ok(cf_arena_push(a, &p, (size_t)i * 37, 1));
            if (step == 0) first[i] = p;
            assert_ptr_equal(p, first[i]);
        }
        cf_arena_rewind(a, 0);
    }
    cf_arena_free(a);
}

TESTS(TEST(marks_nest), TEST(empty_blocks_are_fine), TEST(the_limit_holds_and_is_told),
      TEST(no_limit_is_the_machine), TEST(pushes_can_fail_but_are_no_allocations),
      TEST(the_same_steps_get_the_same_places), TEST(a_kept_block_moves_to_the_mark),
      TEST(a_range_inside_the_limit), TEST(the_asan_build_sees_use_after_rewind))
