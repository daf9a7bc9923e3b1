/* A linear layer's scratch: with kernels of our own the activation needs none on the way forward
 * and little on the way back, and an x with two readers has the right gradient all the same. */
#include "test.h"

#include <math.h>

#include "crossframe/ops.h"

enum { ROWS = 700, IN = 1024, OUT = 4 }; /* x: several thin panels */

static cf_real numbers[ROWS * IN];

static cf_tensor *weight(cf_tape *t, size_t from)
{
    return cf_tensor_input(t, cf_shape_of(OUT, IN), numbers + from, false);
}

static cf_tensor *layer(cf_tape *t, cf_tensor *x, size_t from)
{
    return cf_linear(t, x, weight(t, from), NULL, NULL, &(cf_linear_options){ .gelu_in = true });
}

static void open_tape(cf_tape **t, cf_tensor **x, bool dry)
{
    for (size_t i = 0; i < ROWS * IN; i++)
        numbers[i] = (cf_real)(0.01 * (double)(i * 7919 % 401) - 2);
    assert_ok(cf_tape_new(t, &(cf_tape_options){ .dry = dry }));
    *x = cf_tensor_input(*t, cf_shape_of(ROWS, IN), numbers, true);
}

static void backward_of(cf_tape *t, cf_tensor *y)
{
    cf_tensor *loss = cf_sum(t, cf_reshape(t, y, cf_shape_of(y->n)), 0);
    assert_ok(cf_tape_backward(t, loss, 1));
}

static void takes_what_it_uses(void **state)
{
    (void)state;
    bool here;
    assert_ok(cf_gemm_fuses(&here));
    const size_t panel =
        8 << 20 < ROWS * IN * sizeof(cf_real) ? 8 << 20 : ROWS * IN * sizeof(cf_real);
    for (int dry = 0; dry < 2; dry++) {
        cf_tape *t;
        cf_tensor *x;
        open_tape(&t, &x, dry);
        cf_tensor *y = layer(t, x, 0);
        size_t forward = cf_tape_stats_get(t).activation_peak;
        backward_of(t, y);
        size_t both = cf_tape_stats_get(t).activation_peak;
        if (here) {
            assert_in_range(forward, 1, ROWS * OUT * sizeof(cf_real) + 4096);
            assert_in_range(both, 1, forward + (1 << 20));
        } else {
            assert_in_range(forward, panel * 9 / 10, 2 * panel);
        }
        cf_tape_free(t);
    }
}

static void two_readers(void **state)
{
    (void)state;
    static cf_real sum[ROWS * IN];
    cf_tape *t;
    cf_tensor *x;
    for (size_t from = 0; from < 20; from += 10) {
        open_tape(&t, &x, false);
        backward_of(t, layer(t, x, from));
        for (size_t i = 0; i < ROWS * IN; i++) sum[i] = (from ? sum[i] : 0) + x->grad[i];
        cf_tape_free(t);
    }
    open_tape(&t, &x, false);
    backward_of(t, cf_add(t, layer(t, x, 0), layer(t, x, 10)));
    for (size_t i = 0; i < ROWS * IN; i++)
        if (!(fabs((double)(x->grad[i] - sum[i])) <=
              (CF_REAL_IS_DOUBLE ? 1e-12 : 1e-5) * (1 + fabs((double)sum[i]))))
            fail_msg("element %zu is %g, not %g", i, (double)x->grad[i], (double)sum[i]);
    cf_tape_free(t);
}

/* Weights without elements are refused, not divided by. */
static void empty_weights(void **state)
{
    (void)state;
    static const size_t shape[][2] = { { 0, 0 }, { 0, 4 } };
    for (int i = 0; i < 2; i++) {
        cf_tape *t;
        assert_ok(cf_tape_new(&t, NULL));
        cf_tensor *x = cf_tensor_input(t, cf_shape_of(3, shape[i][1]), numbers, true);
        cf_tensor *w = cf_tensor_input(t, cf_shape_of(shape[i][0], shape[i][1]), numbers, false);
        cf_tensor *residual = cf_tensor_input(t, cf_shape_of(3, 4), numbers, false);
        cf_linear(t, x, w, NULL, residual, &(cf_linear_options){ .gelu_in = true });
        assert_fails(cf_tape_status(t), CF_ESHAPE, "linear");
        cf_tape_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_it_uses),
        cmocka_unit_test(two_readers),
        cmocka_unit_test(empty_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
