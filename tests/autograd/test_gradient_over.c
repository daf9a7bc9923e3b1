/* A gradient that is written over its tensor's values, where one operation alone reads them, is the
 * gradient that memory of its own would hold. */
#include "test.h"

#include "crossframe/ops.h"

enum {
    GROUPS = 3,
    TOKENS = 70, /* two blocks of queries */
    WIDTH = 24,
    HEADS = 2,
    PARAMS = 6
};

/* Readers that add nothing to the loss: with one, a gradient must not lie over these values. */
typedef enum { NOBODY, OF_QKV = 1, OF_ATTENDED = 2, OF_HIDDEN = 4, ALL = 7 } reader;

typedef struct {
    cf_params *params;
    cf_tensor *weight[PARAMS];
} net;

typedef struct {
    const net *m;
    reader readers;
} block;

static void declare(net *m)
{
    static const size_t rows[PARAMS] = { WIDTH, WIDTH, 3 * WIDTH, WIDTH, 4 * WIDTH, WIDTH };
    static const size_t columns[PARAMS] = { 1, 1, WIDTH, WIDTH, WIDTH, 4 * WIDTH };
    assert_ok(cf_params_new(&m->params));
    for (int i = 0; i < PARAMS; i++) {
        cf_shape shape = columns[i] > 1 ? cf_shape_of(rows[i], columns[i]) : cf_shape_of(rows[i]);
        assert_ok(cf_params_add(&m->weight[i], m->params, (cf_init){ CF_INIT_NORMAL, 0.3 }, shape,
                                "weight.%d", i));
    }
    assert_ok(cf_params_alloc(m->params, NULL, NULL));
    cf_params_init(m->params, 3);
}

/* Nothing: 0 times x, as a number. */
static cf_tensor *nothing_of(cf_tape *t, cf_tensor *x)
{
    return cf_scale(t, cf_sum(t, cf_reshape(t, x, cf_shape_of(x->n)), 0), 0);
}

static cf_tensor *read_too(cf_tape *t, cf_tensor *rest, cf_tensor *x, bool wanted)
{
    if (!wanted) return rest;
    cf_tensor *none = nothing_of(t, x);
    return rest ? cf_add(t, rest, none) : none;
}

/* A transformer's block and what reads besides, as one number. */
static cf_tensor *run_block(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const block *b = ctx;
    cf_tensor *const *w = b->m->weight, *rest = NULL;
    const cf_real eps = (cf_real)1e-5;
    cf_tensor *qkv = cf_norm_linear(t, in[0], w[0], w[1], w[2], NULL, eps);
    rest = read_too(t, rest, qkv, (b->readers & OF_QKV) != 0);
    cf_tensor *attended = cf_self_attention(t, qkv, NULL, HEADS, false);
    rest = read_too(t, rest, attended, (b->readers & OF_ATTENDED) != 0);
    cf_tensor *x = cf_linear(t, attended, w[3], NULL, in[0], NULL);
    cf_tensor *hidden = cf_norm_linear(t, x, w[0], w[1], w[4], NULL, eps);
    rest = read_too(t, rest, hidden, (b->readers & OF_HIDDEN) != 0);
    x = cf_linear(t, hidden, w[5], NULL, x, &(cf_linear_options){ .gelu_in = true });
    x = cf_mul(t, x, x);
    x = cf_sum(t, cf_reshape(t, x, cf_shape_of(x->n)), 0);
    return rest ? cf_add(t, x, rest) : x;
}

/* Gradients of two blocks' losses, one after the other over the same parameters. */
static cf_tape_stats gradients(cf_real **out, size_t *n, reader readers, bool segment)
{
    static cf_real numbers[GROUPS * TOKENS * WIDTH];
    net m;
    cf_tape *t;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        numbers[i] = (cf_real)(0.02 * (double)((i * 37) % 101) - 1);
    declare(&m);
    assert_ok(cf_tape_new(&t, NULL));
    cf_tensor *x = cf_tensor_input(t, cf_shape_of(GROUPS, TOKENS, WIDTH), numbers, false);
    const block b = { &m, readers };
    cf_tensor *one = segment ? cf_segment(t, run_block, &b, sizeof b, &x, 1) : run_block(t, &b, &x);
    cf_tensor *two = segment ? cf_segment(t, run_block, &b, sizeof b, &x, 1) : run_block(t, &b, &x);
    assert_ok(cf_tape_backward(t, cf_add(t, one, two), 1));
    const cf_real *grads = cf_params_grads(m.params);
    cf_params_weights(m.params, n);
    assert_ok(cf_alloc(out, *n, sizeof **out));
    memcpy(*out, grads, *n * sizeof **out);
    cf_tape_stats stats = cf_tape_stats_get(t);
    cf_tape_free(t);
    cf_params_free(m.params);
    return stats;
}

static void the_same_numbers(void **state)
{
    (void)state;
    cf_real *want, *got;
    size_t n, again;
    for (int segment = 0; segment < 2; segment++) {
        size_t apart = gradients(&want, &n, ALL, segment != 0).gradient_peak, least = apart;
        for (int readers = NOBODY; readers < ALL; readers++) {
            size_t peak = gradients(&got, &again, (reader)readers, segment != 0).gradient_peak;
            assert_int_equal(again, n);
            for (size_t i = 0; i < n; i++) assert_true(got[i] == want[i]);
            least = peak < least ? peak : least;
            cf_free(got);
        }
        bool fused; /* else the widest needs memory of its own anyway */
        assert_ok(cf_gemm_fuses(&fused));
        size_t wide = GROUPS * TOKENS * 3 * WIDTH * sizeof(cf_real);
        assert_true(least + (fused ? wide : 0) <= apart);
        cf_free(want);
    }
}

/* A segment's output may be read by one operation alone, and its gradient becomes the gradient of
 * what is made again. */
static cf_tensor *only_linear(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const net *m = *(const net *const *)ctx;
    return cf_linear(t, in[0], m->weight[3], NULL, NULL, NULL);
}

static void segments_keep_theirs(void **state)
{
    (void)state;
    static cf_real numbers[TOKENS * WIDTH];
    cf_real *got[2];
    size_t n = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        numbers[i] = (cf_real)(0.1 * (double)(i % 9) - 0.4);
    for (int segment = 0; segment < 2; segment++) {
        net m;
        cf_tape *t;
        declare(&m);
        assert_ok(cf_tape_new(&t, NULL));
        const net *ctx = &m;
        cf_tensor *x = cf_tensor_input(t, cf_shape_of(TOKENS, WIDTH), numbers, false);
        for (int i = 0; i < 3; i++)
            x = segment ? cf_segment(t, only_linear, &ctx, sizeof ctx, &x, 1)
                        : only_linear(t, &ctx, &x);
        cf_tensor *first = only_linear(t, &ctx, &x); /* read by a segment, then by an operation */
        cf_tensor *again = segment ? cf_segment(t, only_linear, &ctx, sizeof ctx, &first, 1)
                                   : only_linear(t, &ctx, &first);
        x = cf_add(t, again, cf_linear(t, first, m.weight[3], NULL, NULL, NULL));
        x = cf_linear(t, x, m.weight[4], NULL, NULL, NULL);
        x = cf_sum(t, cf_reshape(t, x, cf_shape_of(x->n)), 0);
        assert_ok(cf_tape_backward(t, x, 1));
        const cf_real *grads = cf_params_grads(m.params);
        cf_params_weights(m.params, &n);
        assert_ok(cf_alloc(&got[segment], n, sizeof **got));
        memcpy(got[segment], grads, n * sizeof **got);
        cf_tape_free(t);
        cf_params_free(m.params);
    }
    assert_memory_equal(got[0], got[1], n * sizeof **got);
    cf_free(got[0]);
    cf_free(got[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_numbers),
        cmocka_unit_test(segments_keep_theirs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
