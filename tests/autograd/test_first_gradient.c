/* The first gradient of a parameter is stored over whatever its memory holds, later ones are added,
 * and what nothing wrote is zero, padding too: the same numbers as adding to zeros. */
#include "test.h"

#include <math.h>

#include "crossframe/ops.h"

enum { ROWS = 6, WIDTH = 5 };

typedef struct {
    cf_params *params;
    cf_tensor *twice, *once, *part, *unused;
    cf_real *grads;
    size_t n;
} net;

static net make(void)
{
    net m = { 0 };
    const cf_init normal = { CF_INIT_NORMAL, 0.5 };
    const cf_shape square = cf_shape_of(WIDTH, WIDTH);
    assert_ok(cf_params_new(&m.params));
    assert_ok(cf_params_add(&m.twice, m.params, normal, square, "twice"));
    assert_ok(cf_params_add(&m.unused, m.params, normal, cf_shape_of(3), "unused"));
    assert_ok(cf_params_add(&m.once, m.params, normal, square, "once"));
    assert_ok(cf_params_add(&m.part, m.params, normal, cf_shape_of(2 * WIDTH, WIDTH), "part"));
    assert_ok(cf_params_alloc(m.params, NULL, NULL));
    cf_params_init(m.params, 7);
    m.grads = cf_params_grads(m.params);
    cf_params_weights(m.params, &m.n);
    return m;
}

/* Nothing may be left of what was there before. */
static void empty(net *m)
{
    cf_params_zero_grads(m->params);
    for (size_t i = 0; i < m->n; i++) m->grads[i] = (cf_real)NAN;
}

typedef struct {
    const net *m;
    bool all; /* or without `once` and `part` */
} layers;

static cf_tensor *build(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const layers *l = ctx;
    const net *m = l->m;
    cf_tensor *x = cf_linear(t, in[0], m->twice, NULL, NULL, NULL);
    if (l->all) {
        x = cf_linear(t, x, m->once, NULL, NULL, NULL);
        x = cf_linear(t, x, cf_rows(t, m->part, WIDTH, WIDTH), NULL, NULL, NULL);
    }
    return cf_linear(t, cf_exp(t, x), m->twice, NULL, NULL, NULL);
}

static void add_gradients(const net *m, cf_tape *t, bool all, bool segment)
{
    cf_real x[ROWS * WIDTH];
    const layers l = { m, all };
    for (size_t i = 0; i < ROWS * WIDTH; i++) x[i] = (cf_real)(0.1 * (double)(i % 7) - 0.2);
    cf_tape_reset(t);
    cf_tensor *in[] = { cf_tensor_input(t, cf_shape_of(ROWS, WIDTH), x, false) };
    cf_tensor *y = segment ? cf_segment(t, build, &l, sizeof l, in, 1) : build(t, &l, in);
    cf_tensor *loss = cf_sum(t, cf_reshape(t, y, cf_shape_of(y->n)), 0);
    assert_ok(cf_tape_backward(t, loss, 1));
}

/* Two micro-batches, the first without two of the parameters; both with a segment or none. */
static void run(bool segment, size_t micro_batches)
{
    net plain = make(), m = make();
    cf_tape *t;
    assert_ok(cf_tape_new(&t, NULL));
    empty(&m);
    for (size_t i = 0; i < micro_batches; i++) {
        add_gradients(&plain, t, i > 0, segment);
        add_gradients(&m, t, i > 0, segment);
    }
    const cf_real *g = cf_params_grads(m.params);
    bool some = false;
    for (size_t i = 0; i < m.n; i++) {
        some |= plain.grads[i] != 0;
        if (!(g[i] == plain.grads[i]))
            fail_msg("element %zu is %g, not %g", i, (double)g[i], (double)plain.grads[i]);
    }
    assert_true(some);
    cf_params_free(plain.params);
    cf_params_free(m.params);
    cf_tape_free(t);
}

static void twice_in_a_step(void **state)
{
    (void)state;
    run(false, 1);
    run(true, 1);
}

static void over_micro_batches(void **state)
{
    (void)state;
    run(false, 3);
    run(true, 3);
}

/* The tensor itself shows whether something is there. */
static void told_by_the_tensor(void **state)
{
    (void)state;
    net m = make();
    cf_tape *t;
    assert_ok(cf_tape_new(&t, NULL));
    assert_false(m.once->grad_empty);
    empty(&m);
    add_gradients(&m, t, false, false);
    assert_false(m.twice->grad_empty);
    assert_true(m.once->grad_empty && m.unused->grad_empty);
    cf_params_grads(m.params);
    assert_false(m.once->grad_empty || m.unused->grad_empty);
    cf_params_free(m.params);
    cf_tape_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twice_in_a_step),
        cmocka_unit_test(over_micro_batches),
        cmocka_unit_test(told_by_the_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
