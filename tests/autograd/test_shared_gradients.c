/* Gradients over activations (cf_tape_share) against gradients in a block of their own: the same
 * bits after some steps, wherever they begin, and without a move where a dry tape has said so. */
#include "test.h"

#include "crossframe/ops.h"

enum { LAYERS = 6, ROWS = 40, WIDTH = 24, STEPS = 3 };

typedef struct {
    bool segments, backwards; /* recomputed; declared last layer first */
    bool read;                /* after each micro-batch, as a norm of the gradients does */
    size_t micro_batches;     /* of a step */
} way;

typedef struct {
    cf_tensor *scale, *shift, *weight, *bias;
} layer;

typedef struct {
    way how;
    cf_params *params;
    cf_tape *tape;
    layer layers[LAYERS];
    cf_tensor *tied, *unused;
} net;

static void add(cf_tensor **out, net *m, cf_shape shape, const char *name, int i)
{
    assert_ok(
        cf_params_add(out, m->params, (cf_init){ CF_INIT_NORMAL, 0.3 }, shape, "%s.%d", name, i));
}

static void declare(net *m, way how)
{
    *m = (net){ .how = how };
    assert_ok(cf_params_new(&m->params));
    for (int k = 0; k < LAYERS; k++) {
        int i = how.backwards ? LAYERS - 1 - k : k;
        layer *l = &m->layers[i];
        add(&l->scale, m, cf_shape_of(WIDTH), "scale", i);
        add(&l->shift, m, cf_shape_of(WIDTH), "shift", i);
        add(&l->weight, m, cf_shape_of(WIDTH, WIDTH), "weight", i);
        add(&l->bias, m, cf_shape_of(WIDTH), "bias", i);
        if (k == 2) add(&m->unused, m, cf_shape_of(3), "unused", 0);
    }
    add(&m->tied, m, cf_shape_of(WIDTH, WIDTH), "tied", 0);
}

static cf_tensor *run_layer(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const layer *l = ctx;
    cf_tensor *x = cf_norm_linear(t, in[0], l->scale, l->shift, l->weight, l->bias, (cf_real)1e-5);
    const cf_linear_options gelu = { .gelu_in = true };
    return cf_linear(t, x, l->weight, NULL, in[0], &gelu);
}

/* One micro-batch: its gradients are added. */
static void learn(net *m, size_t batch)
{
    static cf_real x[ROWS * WIDTH];
    cf_tape *t = m->tape;
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        x[i] = (cf_real)(0.02 * (double)((i * 37 + batch * 11) % 101) - 1);
    cf_tape_reset(t);
    cf_tensor *h = cf_tensor_input(t, cf_shape_of(ROWS, WIDTH), x, false);
    h = cf_linear(t, h, m->tied, NULL, NULL, NULL);
    for (int i = 0; i < LAYERS; i++)
        h = m->how.segments ? cf_segment(t, run_layer, &m->layers[i], sizeof(layer), &h, 1)
                            : run_layer(t, &m->layers[i], &h);
    h = cf_linear(t, h, m->tied, NULL, NULL, NULL);
    h = cf_mul(t, h, h);
    assert_ok(cf_tape_backward(t, cf_sum(t, cf_reshape(t, h, cf_shape_of(h->n)), 0), 1));
}

static void step(net *m, size_t number)
{
    size_t n;
    cf_real *weights = cf_params_weights(m->params, &n);
    for (size_t i = 0; i < m->how.micro_batches; i++) {
        learn(m, 10 * number + i);
        if (m->how.read && !cf_tape_is_dry(m->tape)) cf_params_grads(m->params);
    }
    if (cf_tape_is_dry(m->tape)) return;
    const cf_real *grads = cf_params_grads(m->params);
    for (size_t i = 0; i < n; i++) weights[i] -= (cf_real)1e-5 * grads[i];
    cf_params_zero_grads(m->params);
}

static cf_tape_stats close_net(net *m)
{
    cf_tape_stats stats = cf_tape_stats_get(m->tape);
    cf_tape_free(m->tape);
    cf_params_free(m->params);
    return stats;
}

/* Weights after some steps; shared: with gradients from byte `offset` of the activations on. */
static cf_tape_stats train(cf_real **weights, size_t *n, way how, bool shared, size_t offset)
{
    net m;
    declare(&m, how);
    assert_ok(cf_tape_new(&m.tape, NULL));
    assert_ok(cf_params_alloc(m.params, NULL, NULL));
    cf_params_init(m.params, 5);
    if (shared) assert_ok(cf_tape_share(m.tape, m.params, offset));
    for (size_t i = 0; i < STEPS; i++) step(&m, i);
    const cf_real *w = cf_params_weights(m.params, n);
    assert_ok(cf_alloc(weights, *n, sizeof **weights));
    memcpy(*weights, w, *n * sizeof **weights);
    return close_net(&m);
}

static cf_tape_stats plan(way how)
{
    net m;
    declare(&m, how);
    assert_ok(cf_tape_new(&m.tape, &(cf_tape_options){ .dry = true }));
    cf_params_plan(m.params, NULL, NULL);
    assert_ok(cf_tape_share(m.tape, m.params, 0));
    step(&m, 0);
    return close_net(&m);
}

static void check(way how)
{
    cf_real *apart, *over;
    size_t n, again;
    cf_tape_stats planned = plan(how), own = train(&apart, &n, how, false, 0);
    const size_t bytes = n * sizeof(cf_real), offset[] = { 0, 640, planned.gradients_at, 1 << 20 };
    assert_int_equal(own.gradients_at, 0);
    assert_int_equal(own.shared_bytes, own.activation_peak);
    for (size_t i = 0; i < sizeof offset / sizeof *offset; i++) {
        cf_tape_stats s = train(&over, &again, how, true, offset[i]);
        assert_int_equal(again, n);
        assert_memory_equal(over, apart, bytes);
        assert_int_equal(s.activation_peak, planned.activation_peak);
        assert_int_equal(s.gradient_peak, planned.gradient_peak);
        size_t end = s.gradients_at + bytes;
        assert_int_equal(s.shared_bytes, end > s.activation_peak ? end : s.activation_peak);
        if (offset[i] >= planned.gradients_at)
            assert_int_equal(s.gradients_at, offset[i]); /* nothing moved */
        else
            assert_true(s.gradients_at >= planned.gradients_at &&
                        s.gradients_at <= planned.gradients_at + bytes / 32);
        cf_free(over);
    }
    cf_free(apart);
}

static void one_micro_batch(void **state)
{
    (void)state;
    check((way){ .micro_batches = 1 });
    check((way){ .micro_batches = 1, .segments = true });
    cf_tape_stats s = plan((way){ .micro_batches = 1 });
    cf_tape_stats worse = plan((way){ .micro_batches = 1, .backwards = true });
    assert_true(s.shared_bytes < worse.shared_bytes);
}

/* Gradients outlive a forward pass: they lie behind all of it. */
static void several_micro_batches(void **state)
{
    (void)state;
    check((way){ .micro_batches = 3 });
    check((way){ .micro_batches = 3, .segments = true });
    check((way){ .micro_batches = 3, .read = true });
    check((way){ .micro_batches = 2, .read = true, .backwards = true });
    cf_tape_stats s = plan((way){ .micro_batches = 2 });
    assert_true(s.gradients_at >= plan((way){ .micro_batches = 1 }).gradients_at);
    assert_int_equal(s.gradients_at, s.activation_peak);
}

static void declared_in_any_order(void **state)
{
    (void)state;
    check((way){ .micro_batches = 1, .backwards = true });
    check((way){ .micro_batches = 2, .backwards = true, .segments = true });
}

static void beyond_the_limit(void **state)
{
    (void)state;
    net m;
    declare(&m, (way){ .micro_batches = 1 });
    assert_ok(cf_tape_new(&m.tape, &(cf_tape_options){ .limit_bytes = 1 << 16 }));
    assert_ok(cf_params_alloc(m.params, NULL, NULL));
    assert_fails(cf_tape_share(m.tape, m.params, 1 << 16), CF_ENOMEM, "no room for");
    cf_params_init(m.params, 5);
    cf_tape_reset(m.tape); /* each has its own memory still */
    cf_tensor *x = cf_linear(m.tape, m.tied, m.tied, NULL, NULL, NULL);
    assert_ok(
        cf_tape_backward(m.tape, cf_sum(m.tape, cf_reshape(m.tape, x, cf_shape_of(x->n)), 0), 1));
    assert_true(m.layers[0].scale->grad == cf_params_grads(m.params));
    close_net(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_micro_batch),
        cmocka_unit_test(several_micro_batches),
        cmocka_unit_test(declared_in_any_order),
        cmocka_unit_test(beyond_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
