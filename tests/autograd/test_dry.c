/* A dry tape counts what a real one uses: the same peaks to the byte and the same flop for every
 * operation, forward and backward, plain, recomputed and unrecorded; the gradients are asked for in
 * the same order. */
#include "test.h"

#include "gradcheck.h"
#include "autograd/ops/ops_internal.h"

typedef struct {
    bool segment, recorded;
    bool inner; /* the inputs are computed too, so that their gradients go back to the pool */
    int only;   /* the one input that wants a gradient; -1: all that can */
} way;

typedef struct {
    cf_tape_stats stats;
    const cf_real *grad[CF_MAX_IN]; /* where; NULL: none arrived */
} outcome;

static outcome run(const grad_case *c, way how, cf_real *const data[], bool dry)
{
    outcome out = { 0 };
    cf_tape *t;
    cf_tensor *leaf[CF_MAX_IN] = { NULL }, *in[CF_MAX_IN] = { NULL };
    assert_ok(cf_tape_new(&t, &(cf_tape_options){ .dry = dry }));
    assert_int_equal(cf_tape_is_dry(t), dry);
    cf_tape_record(t, how.recorded);
    for (int i = 0; i < c->n_in; i++) {
        if (c->in[i].kind == GRAD_ABSENT) continue;
        bool wants = how.only < 0 ? c->in[i].kind == GRAD_WANTED : how.only == i;
        leaf[i] = in[i] = cf_tensor_input(t, c->in[i].shape, data[i], wants);
        if (how.inner) in[i] = cf_scale(t, in[i], 1);
    }
    cf_tensor *y =
        how.segment ? cf_segment(t, c->build, c, sizeof *c, in, c->n_in) : c->build(t, c, in);
    assert_ok(cf_tape_status(t));
    cf_tensor *ones = cf_tensor_new(t, cf_shape_of(y->n));
    if (!dry)
        for (size_t i = 0; i < ones->n; i++) ones->data[i] = 1;
    cf_tensor *loss = cf_sum(t, cf_mul(t, cf_reshape(t, y, ones->shape), ones), 0);
    assert_ok(cf_tape_status(t));
    if (how.recorded && loss->needs_grad) assert_ok(cf_tape_backward(t, loss, 1));
    for (int i = 0; i < c->n_in; i++) out.grad[i] = leaf[i] ? leaf[i]->grad : NULL;
    out.stats = cf_tape_stats_get(t);
    cf_tape_free(t);
    return out;
}

static int order_of(const cf_real *a, const cf_real *b) { return (a > b) - (a < b); }

static void compare(const grad_case *c, way how, cf_real *const data[])
{
    outcome real = run(c, how, data, false), dry = run(c, how, data, true);
    const cf_tape_stats *r = &real.stats, *d = &dry.stats;
    if (r->activation_peak != d->activation_peak || r->gradient_peak != d->gradient_peak ||
        r->flop != d->flop)
        fail_msg("%s (segment %d, recorded %d, inner %d, only %d): dry %zu + %zu bytes, %g flop, "
                 "really %zu + %zu, %g",
                 c->what, how.segment, how.recorded, how.inner, how.only, d->activation_peak,
                 d->gradient_peak, d->flop, r->activation_peak, r->gradient_peak, r->flop);
    for (int i = 0; i < c->n_in; i++) {
        assert_int_equal(real.grad[i] == NULL, dry.grad[i] == NULL);
#if !defined(CF_ARENA_MALLOC) /* blocks of malloc stand in no order */
        for (int j = 0; j < i; j++)
            if (order_of(real.grad[i], real.grad[j]) != order_of(dry.grad[i], dry.grad[j]))
                fail_msg("%s: the gradients of inputs %d and %d come in another order", c->what, j,
                         i);
#endif
    }
}

static void compare_ways(const grad_case *c)
{
    cf_real *data[CF_MAX_IN] = { NULL };
    grad_data_new(data, c);
    compare(c, (way){ .only = -1 }, data);
    for (int only = -1; only < c->n_in; only++) {
        if (only >= 0 && c->in[only].kind == GRAD_ABSENT) continue;
        if (only >= 0 && c->op == &cf_op_soft_cross_entropy && only != 0) continue; /* gets none */
        compare(c, (way){ .recorded = true, .only = only }, data);
        compare(c, (way){ .recorded = true, .inner = true, .only = only }, data);
        if (c->op->backward)
            compare(c, (way){ .recorded = true, .segment = true, .inner = true, .only = only },
                    data);
    }
    grad_data_free(data);
}

static void every_operation(void **state)
{
    (void)state;
    for (size_t i = 0; cf_op_table[i]; i++) {
        size_t n = 0;
        for (size_t l = 0; grad_case_lists[l]; l++)
            for (const grad_case *c = grad_case_lists[l]; c->op; c++) {
                if (c->op != cf_op_table[i]) continue;
                compare_ways(c);
                n++;
            }
        if (n == 0) fail_msg("operation %s was not compared", cf_op_table[i]->name);
    }
}

/* An operation that asks in another order than a dry tape believes must be seen above. */
static cf_status backwards_infer(cf_node *n)
{
    cf_out_shape(n, cf_shape_of(1));
    return CF_OK;
}

static void backwards_forward(const cf_node *n) { cf_vec_zero(n->out->data, n->out->n); }

static void backwards_backward(const cf_node *n)
{
    cf_grad(n, 1);
    cf_grad(n, 0);
}

static const cf_op backwards = { .name = "backwards",
                                 .family = "other",
                                 .arity = 2,
                                 .infer = backwards_infer,
                                 .forward = backwards_forward,
                                 .backward = backwards_backward };

static cf_tensor *build_backwards(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_apply(t, &backwards, in, NULL);
}

static void another_order_is_seen(void **state)
{
    (void)state;
#if defined(CF_ARENA_MALLOC)
    skip();
#endif
    const grad_case c = { .op = &backwards,
                          .what = "backwards",
                          .build = build_backwards,
                          .in = { IN(3, 5), IN(7, 9) },
                          .n_in = 2 };
    cf_real *data[CF_MAX_IN] = { NULL };
    grad_data_new(data, &c);
    outcome real = run(&c, (way){ .recorded = true, .only = -1 }, data, false);
    outcome dry = run(&c, (way){ .recorded = true, .only = -1 }, data, true);
    assert_int_not_equal(order_of(real.grad[0], real.grad[1]), order_of(dry.grad[0], dry.grad[1]));
    grad_data_free(data);
}

/* Terabytes cost nothing: no memory stands behind the numbers. */
static void larger_than_the_machine(void **state)
{
    (void)state;
    cf_tape *t;
    size_t n = (size_t)1 << 40;
    assert_ok(cf_tape_new(&t, &(cf_tape_options){ .dry = true }));
    cf_tensor *x = cf_tensor_input(t, cf_shape_of(n), NULL, true);
    assert_ok(cf_tape_backward(t, cf_sum(t, cf_exp(t, x), 0), 1));
    cf_tape_stats s = cf_tape_stats_get(t);
    assert_true(s.activation_peak > n * sizeof(cf_real));
    assert_true(s.gradient_peak > n * sizeof(cf_real));
    cf_tape_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation),
        cmocka_unit_test(another_order_is_seen),
        cmocka_unit_test(larger_than_the_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
