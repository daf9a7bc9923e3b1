/* Operations that cannot run: shapes that do not fit are told through the tape, and the n-th
 * allocation may fail for every n, forward and backward. */
#include "test.h"

#include <omp.h>

#include "gradcheck.h"
#include "autograd/ops/ops_internal.h"

static cf_tape *tape;

static int set_up(void **state)
{
    (void)state;
    omp_set_num_threads(1); /* thousands of tiny runs: threads would only wait for each other */
    return cf_tape_new(&tape, NULL) != CF_OK;
}

static int tear_down(void **state)
{
    (void)state;
    cf_memory_fail_at(0);
    cf_tape_free(tape);
    return 0;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

typedef struct {
    const cf_op *op;
    const char *text; /* part of the message, beside the operation's name */
    cf_status code;
    int option[4];
    double real;
    grad_input in[CF_MAX_IN];
} bad_case;

#define SHAPE_OF(which, says, ...)                                                                 \
    {                                                                                              \
        .op = &cf_op_##which, .text = (says), .code = CF_ESHAPE, .in = { __VA_ARGS__ }             \
    }
#define SHAPE_WITH(which, says, o0, o1, o2, ...)                                                   \
    {                                                                                              \
        .op = &cf_op_##which, .text = (says), .code = CF_ESHAPE, .option = { o0, o1, o2 }, .in = { \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define VALUE_WITH(which, says, o0, o1, o2, ...)                                                   \
    {                                                                                              \
        .op = &cf_op_##which, .text = (says), .code = CF_EINVAL, .option = { o0, o1, o2 }, .in = { \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

/* clang-format off */
static const bad_case bad_cases[] = {
    SHAPE_OF(linear, "[3, 5]", IN(3, 5), IN(4, 6), NO_INPUT, NO_INPUT),
    SHAPE_OF(linear, "[4, 5, 1]", IN(3, 5), IN(4, 5, 1), NO_INPUT, NO_INPUT),
    SHAPE_OF(linear, "[]", IN_SCALAR, IN(4, 1), NO_INPUT, NO_INPUT),
    SHAPE_OF(linear, "[5]", IN(3, 5), IN(4, 5), IN(5), NO_INPUT),
    SHAPE_OF(linear, "[3, 5]", IN(3, 5), IN(4, 5), IN(4), IN(3, 5)),
    SHAPE_OF(linear, "[2, 4]", IN(3, 5), IN(4, 5), NO_INPUT, IN(2, 4)),
    SHAPE_OF(linear, "[6, 4]", IN(3, 5), IN(4, 5), NO_INPUT, IN(6, 4)),
    SHAPE_WITH(linear, "[4, 5]", 2, 0, 0, IN(3, 5), IN(4, 5), NO_INPUT, NO_INPUT),
    { .op = &cf_op_norm_linear, .text = "[4, 6]", .code = CF_ESHAPE, .real = 1e-5,
      .in = { IN(2, 5), IN(5), IN(5), IN(4, 6), IN(4) } },
    { .op = &cf_op_norm_linear, .text = "shift is [3]", .code = CF_ESHAPE, .real = 1e-5,
      .in = { IN(2, 5), IN(5), IN(3), IN(4, 5), IN(4) } },
    { .op = &cf_op_norm_linear, .text = "bias is [5]", .code = CF_ESHAPE, .real = 1e-5,
      .in = { IN(2, 5), IN(5), IN(5), IN(4, 5), IN(5) } },
    { .op = &cf_op_norm_linear, .text = "eps", .code = CF_EINVAL, .real = 0,
      .in = { IN(2, 5), IN(5), IN(5), IN(4, 5), IN(4) } },
    { .op = &cf_op_layer_norm, .text = "[3]", .code = CF_ESHAPE, .real = 1e-5,
      .in = { IN(2, 5), IN(3), IN(5) } },
    { .op = &cf_op_layer_norm, .text = "[1, 5]", .code = CF_ESHAPE, .real = 1e-5,
      .in = { IN(2, 5), IN(5), IN(1, 5) } },
    { .op = &cf_op_layer_norm, .text = "[]", .code = CF_ESHAPE, .real = 1e-5,
      .in = { IN_SCALAR, IN(1), IN(1) } },
    { .op = &cf_op_layer_norm, .text = "eps", .code = CF_EINVAL, .real = 0,
      .in = { IN(2, 5), IN(5), IN(5) } },
    SHAPE_WITH(self_attention, "[2, 5, 10]", 1, 0, 0, IN(2, 5, 10), NO_INPUT),
    SHAPE_WITH(self_attention, "[5, 9]", 1, 0, 0, IN(5, 9), NO_INPUT),
    SHAPE_WITH(self_attention, "[2, 7]", 1, 0, 0, IN(2, 5, 9), IN(2, 7)),
    SHAPE_WITH(self_attention, "[3, 6]", 1, 0, 0, IN(2, 5, 9), IN(3, 6)),
    VALUE_WITH(self_attention, "2 heads", 2, 0, 0, IN(2, 5, 9), NO_INPUT),
    VALUE_WITH(self_attention, "0 heads", 0, 0, 0, IN(2, 5, 9), NO_INPUT),
    VALUE_WITH(self_attention, "causal", 1, 1, 0, IN(2, 5, 9), IN(2, 6)),
    SHAPE_WITH(cross_attention, "[2, 3, 4]", 1, 0, 0, IN(2, 3, 4), IN(2, 5, 8), IN(2, 5, 8)),
    SHAPE_WITH(cross_attention, "[2, 6, 8]", 1, 0, 0, IN(2, 3, 8), IN(2, 5, 8), IN(2, 6, 8)),
    SHAPE_WITH(cross_attention, "[3, 3, 8]", 1, 0, 0, IN(3, 3, 8), IN(2, 5, 8), IN(2, 5, 8)),
    SHAPE_WITH(cross_attention, "[8]", 1, 0, 0, IN(8), IN(2, 5, 8), IN(2, 5, 8)),
    VALUE_WITH(cross_attention, "3 heads", 3, 0, 0, IN(3, 8), IN(2, 5, 8), IN(2, 5, 8)),
    SHAPE_OF(patch_embed, "[2, 1, 4, 4]", IN(2, 1, 4, 4), IN(5, 3, 2, 2), IN(5), IN(5, 5)),
    SHAPE_OF(patch_embed, "[2, 3, 4, 6]", IN(2, 3, 4, 6), IN(5, 3, 2, 2), IN(5), IN(5, 5)),
    SHAPE_OF(patch_embed, "[5, 3, 2]", IN(2, 3, 4, 4), IN(5, 3, 2), IN(5), IN(5, 5)),
    SHAPE_OF(patch_embed, "patches of 3", IN(2, 3, 4, 4), IN(5, 3, 3, 3), IN(5), IN(5, 5)),
    SHAPE_OF(patch_embed, "class embedding is [4]", IN(2, 3, 4, 4), IN(5, 3, 2, 2), IN(4),
             IN(5, 5)),
    SHAPE_OF(patch_embed, "not [5, 5]", IN(2, 3, 4, 4), IN(5, 3, 2, 2), IN(5), IN(4, 5)),
    SHAPE_OF(patch_embed, "[0, 3, 2, 2]", IN(2, 3, 4, 4), IN(0, 3, 2, 2), IN(5), IN(5, 5)),
    VALUE_WITH(patch_embed, "input 3 is missing", 0, 0, 0, IN(2, 3, 4, 4), IN(5, 3, 2, 2), IN(5),
               NO_INPUT),
    SHAPE_OF(join_frames, "[6, 4]", IN(6, 4), IN(3, 4)),
    SHAPE_OF(join_frames, "[0, 3, 4]", IN(0, 3, 4), IN(3, 4)),
    SHAPE_OF(join_frames, "temporal is [4, 4]", IN(6, 3, 4), IN(4, 4)),
    SHAPE_OF(join_frames, "temporal is [3, 5]", IN(6, 3, 4), IN(3, 5)),
    SHAPE_OF(join_frames, "temporal is [0, 4]", IN(6, 3, 4), IN(0, 4)),
    SHAPE_OF(join_frames, "temporal is [4]", IN(6, 3, 4), IN(4)),
    SHAPE_OF(l2_normalize, "[]", IN_SCALAR),
    SHAPE_OF(l2_normalize, "[2, 0]", IN(2, 0)),
    SHAPE_OF(cosine_scores, "[7]", IN(7), IN(3, 7), IN_SCALAR),
    SHAPE_OF(cosine_scores, "[2, 4, 6]", IN(2, 7), IN(2, 4, 6), IN_SCALAR),
    SHAPE_OF(cosine_scores, "[3, 4, 7]", IN(2, 7), IN(3, 4, 7), IN_SCALAR),
    SHAPE_OF(cosine_scores, "[0, 7]", IN(2, 7), IN(0, 7), IN_SCALAR),
    SHAPE_OF(cosine_scores, "logit_scale is [2]", IN(2, 7), IN(4, 7), IN(2)),
    SHAPE_OF(soft_cross_entropy, "[3, 4]", IN(3, 5), IN(3, 4)),
    SHAPE_OF(soft_cross_entropy, "[5]", IN(5), IN(5)),
    SHAPE_OF(soft_cross_entropy, "[0, 5]", IN(0, 5), IN(0, 5)),
    SHAPE_OF(add, "[2]", IN(3, 5), IN(2)),
    SHAPE_OF(add, "[2, 3, 5]", IN(3, 5), IN(2, 3, 5)),
    SHAPE_OF(add, "[3, 1]", IN(3, 5), IN(3, 1)),
    SHAPE_OF(mul, "[3]", IN(3, 5), IN(3)),
    VALUE_WITH(mul, "input 1 is missing", 0, 0, 0, IN(3, 5), NO_INPUT),
    VALUE_WITH(scale, "input 0 is missing", 0, 0, 0, NO_INPUT),
    VALUE_WITH(exp, "input 0 is missing", 0, 0, 0, NO_INPUT),
    VALUE_WITH(quick_gelu, "input 0 is missing", 0, 0, 0, NO_INPUT),
    SHAPE_WITH(matmul, "[4, 2]", 0, 0, 0, IN(3, 5), IN(4, 2)),
    SHAPE_WITH(matmul, "transposed", 1, 0, 0, IN(3, 5), IN(5, 2)),
    SHAPE_WITH(matmul, "[2, 5] transposed", 0, 1, 0, IN(3, 4), IN(2, 5)),
    SHAPE_WITH(matmul, "[3, 5, 4]", 0, 0, 0, IN(2, 3, 5), IN(3, 5, 4)),
    SHAPE_WITH(matmul, "[2, 5, 4]", 0, 0, 0, IN(3, 5), IN(2, 5, 4)),
    SHAPE_WITH(matmul, "[5]", 0, 0, 0, IN(3, 5), IN(5)),
    SHAPE_WITH(matmul, "[3, 0]", 0, 0, 0, IN(3, 0), IN(0, 2)),
    VALUE_WITH(sum, "no axis 2", 2, 0, 0, IN(3, 5)),
    VALUE_WITH(sum, "no axis -1", -1, 0, 0, IN(3, 5)),
    VALUE_WITH(mean, "no axis 0 in []", 0, 0, 0, IN_SCALAR),
    SHAPE_WITH(mean, "axis 0 of [0, 5]", 0, 0, 0, IN(0, 5)),
    SHAPE_OF(softmax, "[]", IN_SCALAR),
    SHAPE_OF(softmax, "[3, 0]", IN(3, 0)),
    SHAPE_WITH(reshape, "[3, 4]", 3, 4, 0, IN(3, 5)),
    SHAPE_WITH(rows, "3 from 2", 2, 3, 0, IN(4, 3)),
    SHAPE_WITH(rows, "1 from 5", 5, 1, 0, IN(4, 3)),
    VALUE_WITH(rows, "[]", 0, 1, 0, IN_SCALAR),
    VALUE_WITH(transpose, "no axis 2", 0, 2, 0, IN(3, 5)),
    VALUE_WITH(transpose, "no axis -1", -1, 1, 0, IN(3, 5)),
    SHAPE_WITH(slice, "3 from 3 on axis 1", 1, 3, 3, IN(2, 5)),
    VALUE_WITH(slice, "no axis 5", 5, 0, 1, IN(2, 5)),
    SHAPE_WITH(concat, "[3, 4]", 0, 0, 0, IN(3, 5), IN(3, 4)),
    SHAPE_WITH(concat, "[5]", 0, 0, 0, IN(3, 5), IN(5)),
    VALUE_WITH(concat, "no axis 2", 2, 0, 0, IN(3, 5), IN(3, 5)),
    SHAPE_WITH(embedding, "[7]", 1, 0, 0, IN(7)),
    VALUE_WITH(embedding, "is 3, the table has 3 rows", 1, 0, 0, IN(3, 2)),
};
/* clang-format on */

/* The first case of an operation calls it in the plain way. */
static cf_segment_fn *builder_of(const cf_op *op)
{
    for (size_t l = 0; grad_case_lists[l]; l++)
        for (const grad_case *c = grad_case_lists[l]; c->op; c++)
            if (c->op == op) return c->build;
    fail_msg("%s has no case", op->name);
    return NULL;
}

static void check_bad(const bad_case *bad)
{
    grad_case c = { .op = bad->op, .what = "bad", .real = bad->real, .n_in = bad->op->arity };
    memcpy(c.option, bad->option, sizeof c.option);
    memcpy(c.in, bad->in, sizeof c.in);
    cf_real *data[CF_MAX_IN];
    cf_tensor *in[CF_MAX_IN];
    grad_data_new(data, &c);
    cf_tape_reset(tape);
    grad_inputs(in, tape, &c, data);
    assert_ok(cf_tape_status(tape));
    const cf_tensor *y = builder_of(bad->op)(tape, &c, in);
    if (y) fail_msg("%s accepts what should say \"%s\"", bad->op->name, bad->text);
    assert_fails(cf_tape_status(tape), bad->code, bad->text);
    if (!strstr(cf_error(), bad->op->name))
        fail_msg("\"%s\" does not name %s", cf_error(), bad->op->name);
    /* The tape keeps this failure; later operations do nothing, with whatever they get. */
    assert_null(cf_exp(tape, in[0]));
    assert_null(cf_add(tape, NULL, NULL));
    assert_int_equal(cf_tape_status(tape), bad->code);
    assert_int_equal(cf_tape_backward(tape, NULL, 1), bad->code);
    grad_data_free(data);
}

static void bad_shapes_are_told(void **state)
{
    (void)state;
    size_t n = sizeof bad_cases / sizeof *bad_cases;
    for (size_t i = 0; i < n; i++) check_bad(&bad_cases[i]);
    for (size_t i = 0; cf_op_table[i]; i++) {
        size_t j = 0;
        while (j < n && bad_cases[j].op != cf_op_table[i]) j++;
        if (j == n) fail_msg("%s has no case of bad shapes", cf_op_table[i]->name);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Forward and backward of a case; the loss, or NaN after a failure. */
static double run_case(const grad_case *c, cf_real *const data[], const cf_real *w)
{
    cf_tensor *in[CF_MAX_IN];
    cf_tape_reset(tape);
    grad_inputs(in, tape, c, data);
    cf_tensor *loss = grad_loss(tape, c->build(tape, c, in), w);
    if (!loss || cf_tape_backward(tape, loss, 1) != CF_OK) return NAN;
    return (double)loss->data[0];
}

#define MAX_OUT 4096

static void fail_each_allocation(const grad_case *c, const cf_real *w)
{
    cf_real *data[CF_MAX_IN];
    grad_data_new(data, c);
    double expected = run_case(c, data, w);
    assert_false(isnan(expected));
    size_t before = cf_memory_stats_get().allocations;
    for (size_t n = 1;; n++) {
        cf_memory_fail_at(n);
        double loss = run_case(c, data, w);
        cf_memory_fail_at(0);
        if (!isnan(loss)) {
            if (n < 8) fail_msg("%s: only %zu allocations?", c->what, n - 1);
            break;
        }
        if (n > 200) fail_msg("%s: allocation %zu still fails", c->what, n);
        assert_fails(cf_tape_status(tape), CF_ENOMEM, "out of memory");
    }
    /* After any failure the tape is as good as new, and no run took memory from the system. */
    assert_true(run_case(c, data, w) == expected);
    assert_int_equal(cf_memory_stats_get().allocations, before);
    grad_data_free(data);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    static cf_real w[MAX_OUT];
    for (size_t i = 0; i < MAX_OUT; i++) w[i] = (cf_real)(i % 7) - 3;
    for (size_t l = 0; grad_case_lists[l]; l++)
        for (const grad_case *c = grad_case_lists[l]; c->op; c++)
            if (c->samples == 0) fail_each_allocation(c, w);
}

static void a_new_tape_may_fail(void **state)
{
    (void)state;
    cf_tape *t = NULL;
    size_t n = 1;
    for (;; n++) {
        cf_memory_fail_at(n);
        cf_status status = cf_tape_new(&t, NULL);
        cf_memory_fail_at(0);
        if (status == CF_OK) break;
        assert_int_equal(status, CF_ENOMEM);
        assert_null(t);
    }
    assert_in_range(n, 2, 20);
    cf_tape_free(t);
}

/* An arena that is too small fails as cleanly as memory does. */
static void a_small_arena_is_full(void **state)
{
    (void)state;
    cf_tape *t;
    static cf_real x[10000];
    assert_ok(cf_tape_new(&t, &(cf_tape_options){ .limit_bytes = 20000 }));
    cf_tensor *in = cf_tensor_input(t, cf_shape_of(100, 100), x, true);
    assert_non_null(in);
    assert_null(cf_exp(t, in));
    assert_fails(cf_tape_status(t), CF_ENOMEM, "activation arena is full");
    cf_tape_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { TEST(bad_shapes_are_told), TEST(every_allocation_may_fail),
                                        TEST(a_new_tape_may_fail), TEST(a_small_arena_is_full) };
    return cmocka_run_group_tests(tests, set_up, tear_down) != 0;
}
