/* The gradient pool: blocks never overlap, the arena ends where the highest one in use ends, every
 * step finds the same addresses, a dry pool counts the same; and layers with a residual take little
 * more than what is in use at once. */
#include "test.h"

#include "crossframe/ops.h"
#include "autograd/tape.h"

enum { HEAD = CF_ALIGN };

static void open_pool(cf_pool *p, bool dry)
{
    *p = (cf_pool){ 0 };
    if (!dry) {
        assert_ok(cf_arena_new(&p->arena, "gradient", 1 << 24));
        return;
    }
    assert_ok(cf_arena_new_counting(&p->arena, "gradient"));
    assert_ok(cf_arena_new(&p->dry, "plan", 1 << 20));
}

static void close_pool(cf_pool *p)
{
    cf_arena_free(p->arena);
    cf_arena_free(p->dry);
}

static size_t block_bytes(size_t n)
{
    return HEAD + (n * sizeof(cf_real) + CF_ALIGN - 1) / CF_ALIGN * CF_ALIGN;
}

static void the_top_is_given_back(void **state)
{
    (void)state;
    for (int dry = 0; dry < 2; dry++) {
        cf_pool p;
        cf_real *a, *b, *c, *again;
        open_pool(&p, dry);
        assert_ok(cf_pool_get(&a, &p, 100));
        assert_ok(cf_pool_get(&b, &p, 300));
        assert_ok(cf_pool_get(&c, &p, 200));
        size_t all = block_bytes(100) + block_bytes(300) + block_bytes(200);
        assert_int_equal(cf_arena_used(p.arena), all);
        cf_pool_put(&p, b);
        assert_int_equal(cf_arena_used(p.arena), all); /* c is above it */
        cf_pool_put(&p, c);
        assert_int_equal(cf_arena_used(p.arena), block_bytes(100));
        assert_ok(cf_pool_get(&b, &p, 501)); /* as large as both */
        assert_ok(cf_pool_get(&c, &p, 1));
        cf_pool_put(&p, a);
        assert_ok(cf_pool_get(&again, &p, 3)); /* the one hole, however large */
        assert_true(again == a);
        assert_int_equal(cf_arena_used(p.arena),
                         block_bytes(100) + block_bytes(501) + block_bytes(1));
        cf_pool_reset(&p);
        assert_int_equal(cf_arena_used(p.arena), 0);
        close_pool(&p);
    }
}

static void the_smallest_hole_that_fits(void **state)
{
    (void)state;
    const size_t size[] = { 400, 1, 100, 1, 200, 1 };
    cf_real *block[6], *x;
    cf_pool p;
    open_pool(&p, false);
    for (int i = 0; i < 6; i++) assert_ok(cf_pool_get(&block[i], &p, size[i]));
    for (int i = 0; i < 6; i += 2) cf_pool_put(&p, block[i]);
    assert_ok(cf_pool_get(&x, &p, 150));
    assert_true(x == block[4]);
    assert_ok(cf_pool_get(&x, &p, 100));
    assert_true(x == block[2]);
    assert_ok(cf_pool_get(&x, &p, 100));
    assert_true(x == block[0]);
    size_t before = cf_arena_used(p.arena);
    assert_ok(cf_pool_get(&x, &p, 1));
    assert_int_equal(cf_arena_used(p.arena), before + block_bytes(1));
    close_pool(&p);
}

enum { REQUESTS = 2000, MOST = 12 };

typedef struct {
    cf_real *at;
    size_t n;
} held;

static void is_filled(const held *h, cf_real with)
{
    for (size_t i = 0; i < h->n; i++) assert_true(h->at[i] == with);
}

/* Each block in use is filled with its number; `where` takes the addresses. */
static void requests(cf_pool *p, const cf_real **where)
{
    held block[MOST] = { 0 };
    cf_rng rng = cf_rng_make(7, CF_RNG_TEST, 0, 0);
    cf_pool_reset(p);
    for (int r = 0; r < REQUESTS; r++) {
        uint32_t i = cf_rng_below(&rng, MOST);
        held *h = &block[i];
        where[r] = NULL;
        if (h->at) {
            if (!p->dry) is_filled(h, (cf_real)i);
            cf_pool_put(p, h->at);
            h->at = NULL;
        } else {
            h->n = cf_rng_below(&rng, 5000);
            assert_ok(cf_pool_get(&h->at, p, h->n));
            for (size_t j = 0; !p->dry && j < h->n; j++) h->at[j] = (cf_real)i;
            where[r] = h->at;
        }
    }
    for (int i = 0; i < MOST; i++)
        if (block[i].at) cf_pool_put(p, block[i].at);
    assert_int_equal(cf_arena_used(p->arena), 0);
}

static void every_step_is_the_same(void **state)
{
    (void)state;
    static const cf_real *first[REQUESTS], *second[REQUESTS], *none[REQUESTS];
    cf_pool p, dry;
    open_pool(&p, false);
    open_pool(&dry, true);
    requests(&p, first);
    size_t peak = cf_arena_peak(p.arena);
    requests(&p, second);
    requests(&dry, none);
    assert_int_equal(cf_arena_peak(p.arena), peak);
    assert_int_equal(cf_arena_peak(dry.arena), peak);
#if !defined(CF_ARENA_MALLOC)
    assert_memory_equal(first, second, sizeof first);
#endif
    close_pool(&p);
    close_pool(&dry);
}

enum { ROWS = 64, WIDTH = 32, LAYERS = 5 };

static cf_tensor *matrix(cf_tape *t, size_t out, size_t in, const cf_real *from)
{
    return cf_tensor_input(t, cf_shape_of(out, in), from, false);
}

/* Layers as a transformer's: at most a row's gradient of width at once, and one of 4 width where
 * products do not do the activation; other gradients lie over values. */
static void layers_take_what_is_in_use(void **state)
{
    (void)state;
    static cf_real numbers[4 * WIDTH * WIDTH + ROWS * WIDTH];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        numbers[i] = (cf_real)(0.01 * (double)(i % 31) - 0.15);
    const cf_linear_options gelu = { .gelu_in = true };
    cf_tape *t;
    assert_ok(cf_tape_new(&t, NULL));
    cf_tensor *x = cf_tensor_input(t, cf_shape_of(ROWS, WIDTH), numbers, true);
    cf_tensor *one = cf_tensor_input(t, cf_shape_of(WIDTH), numbers, false);
    for (int i = 0; i < LAYERS; i++) {
        cf_tensor *part =
            cf_norm_linear(t, x, one, one, matrix(t, WIDTH, WIDTH, numbers), NULL, (cf_real)1e-5);
        x = cf_linear(t, part, matrix(t, WIDTH, WIDTH, numbers), NULL, x, NULL);
        part = cf_norm_linear(t, x, one, one, matrix(t, 4 * WIDTH, WIDTH, numbers), NULL,
                              (cf_real)1e-5);
        x = cf_linear(t, part, matrix(t, WIDTH, 4 * WIDTH, numbers), NULL, x, &gelu);
    }
    x = cf_layer_norm(t, x, one, one,
                      (cf_real)1e-5); /* its gradient turns into the next in place */
    cf_tensor *loss = cf_sum(t, cf_reshape(t, x, cf_shape_of(x->n)), 0);
    assert_ok(cf_tape_backward(t, loss, 1));
    bool fused;
    assert_ok(cf_gemm_fuses(&fused));
    size_t wide = fused ? 0 : block_bytes(4 * ROWS * WIDTH);
    assert_int_equal(cf_tape_stats_get(t).gradient_peak,
                     block_bytes(1) + block_bytes(ROWS * WIDTH) + wide);
    cf_tape_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_top_is_given_back),
        cmocka_unit_test(the_smallest_hole_that_fits),
        cmocka_unit_test(every_step_is_the_same),
        cmocka_unit_test(layers_take_what_is_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
