/* Every operation of cf_op_table against central differences; see gradcheck.h. CF_TEST_VERBOSE=1 in
 * the environment prints the worst error of each case. */
#include "test.h"

#include <omp.h>

#include "gradcheck.h"
#include "autograd/ops/ops_internal.h"

static cf_tape *new_tape(void)
{
    cf_tape *t;
    assert_ok(cf_tape_new(&t, NULL));
    return t;
}

static void run_cases(const grad_case *cases)
{
    cf_tape *t = new_tape();
    size_t n_bad = 0;
    for (const grad_case *c = cases; c->op; c++) {
        double start = cf_seconds();
        grad_report r = gradcheck(t, c);
        if (!r.ok) print_error("%s: %.3g: %s\n", c->what, r.worst, r.where);
        if (getenv("CF_TEST_VERBOSE"))
            print_message("%-20s %8.1e  %6.3f s  %s\n", c->op->name, r.worst, cf_seconds() - start,
                          c->what);
        n_bad += !r.ok;
    }
    cf_tape_free(t);
    if (n_bad) fail_msg("%zu cases failed", n_bad);
}

static void fused_gradients(void **state)
{
    (void)state;
    run_cases(grad_cases_fused);
}

static void primitive_gradients(void **state)
{
    (void)state;
    run_cases(grad_cases_primitive);
}

/* The same bits from one thread as from several would be more than is promised; a gradient that is
 * right with an odd number of threads is not. */
static void gradients_with_three_threads(void **state)
{
    (void)state;
    int before = omp_get_max_threads();
    omp_set_num_threads(3);
    cf_tape *t = new_tape();
    for (size_t l = 0; grad_case_lists[l]; l++)
        for (const grad_case *c = grad_case_lists[l]; c->op; c++) {
            if (c->samples == 0) continue; /* small ones run on one thread */
            grad_case few = *c;
            few.samples = 1;
            few.quick = true;
            grad_report r = gradcheck(t, &few);
            if (!r.ok) fail_msg("%s: %.3g: %s", c->what, r.worst, r.where);
        }
    cf_tape_free(t);
    omp_set_num_threads(before);
}

static bool has_case(const cf_op *op)
{
    for (size_t l = 0; grad_case_lists[l]; l++)
        for (const grad_case *c = grad_case_lists[l]; c->op; c++)
            if (c->op == op) return true;
    return false;
}

static void every_operation_has_a_case(void **state)
{
    (void)state;
    for (size_t i = 0; cf_op_table[i]; i++) {
        const cf_op *op = cf_op_table[i];
        if (!has_case(op)) fail_msg("operation %s has no gradient case", op->name);
        assert_non_null(op->infer);
        assert_non_null(op->family);
        for (size_t j = 0; j < i; j++) assert_string_not_equal(op->name, cf_op_table[j]->name);
    }
    for (size_t l = 0; grad_case_lists[l]; l++)
        for (const grad_case *c = grad_case_lists[l]; c->op; c++) {
            size_t i = 0;
            while (cf_op_table[i] && cf_op_table[i] != c->op) i++;
            if (!cf_op_table[i]) fail_msg("%s is not in the table", c->what);
        }
}

/* ---- errors that must be found --------------------------------------------------------------- */

/* Softmax with one sign wrong: dx = y (dy + y . dy). */
static void softmax_wrong_sign(const cf_node *n)
{
    size_t width = cf_shape_last(&n->out->shape);
    cf_real *dx = cf_grad(n, 0);
    for (size_t at = 0; dx && at < n->out->n; at += width) {
        const cf_real *y = n->out->data + at, *dy = n->out->grad + at;
        cf_real along = 0;
        for (size_t j = 0; j < width; j++) along += y[j] * dy[j];
        for (size_t j = 0; j < width; j++) dx[at + j] += y[j] * (dy[j] + along);
    }
}

/* exp that overwrites a gradient instead of adding to it. */
static void exp_overwrites(const cf_node *n)
{
    cf_real *dx = cf_grad(n, 0);
    for (size_t j = 0; dx && j < n->out->n; j++) dx[j] = n->out->grad[j] * n->out->data[j];
}

/* mul that forgets that b wants a gradient when a does not. */
static void mul_both_or_none(const cf_node *n)
{
    if (n->in[0]->needs_grad) cf_op_mul.backward(n);
}

/* exp that is off by one part in ten thousand: five times less than the limit in float. */
static void exp_slightly_off(const cf_node *n)
{
    cf_real *dx = cf_grad(n, 0);
    for (size_t j = 0; dx && j < n->out->n; j++)
        dx[j] += n->out->grad[j] * n->out->data[j] * (cf_real)1.0001;
}

static cf_op wrong_op; /* a copy with another backward */

static cf_tensor *build_wrong(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_apply(t, &wrong_op, in, NULL);
}

static grad_report check_wrong(const cf_op *op, void (*backward)(const cf_node *), int n_in)
{
    grad_case c = { .op = op,
                    .what = "planted",
                    .build = build_wrong,
                    .n_in = n_in,
                    .in = { IN(3, 5), IN(3, 5) } };
    cf_tape *t = new_tape();
    wrong_op = *op;
    if (backward) wrong_op.backward = backward;
    grad_report r = gradcheck(t, &c);
    cf_tape_free(t);
    return r;
}

static void planted_errors_are_caught(void **state)
{
    (void)state;
    assert_true(check_wrong(&cf_op_softmax, NULL, 1).ok);
    assert_true(check_wrong(&cf_op_mul, NULL, 2).ok);
    assert_false(check_wrong(&cf_op_softmax, softmax_wrong_sign, 1).ok);
    grad_report overwrites = check_wrong(&cf_op_exp, exp_overwrites, 1);
    assert_false(overwrites.ok);
    assert_non_null(strstr(overwrites.where, "pre-filled"));
    grad_report forgets = check_wrong(&cf_op_mul, mul_both_or_none, 2);
    assert_false(forgets.ok);
    assert_non_null(strstr(forgets.where, "alone, input 1"));
    if (CF_REAL_IS_DOUBLE) assert_false(check_wrong(&cf_op_exp, exp_slightly_off, 1).ok);
}

/* A backward that gives NaN must fail, although NaN > limit is false. */
static void exp_nan(const cf_node *n)
{
    cf_real *dx = cf_grad(n, 0);
    for (size_t j = 0; dx && j < n->out->n; j++) dx[j] += (cf_real)NAN;
}

static void nan_is_caught(void **state)
{
    (void)state;
    assert_false(check_wrong(&cf_op_exp, exp_nan, 1).ok);
}

TESTS(TEST(every_operation_has_a_case), TEST(fused_gradients), TEST(primitive_gradients),
      TEST(gradients_with_three_threads), TEST(planted_errors_are_caught), TEST(nan_is_caught))
