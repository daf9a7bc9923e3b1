/* Gradient cases of the primitives. */
#include "gradcheck.h"
#include "autograd/ops/ops_internal.h"

static cf_tensor *build_add(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_add(t, in[0], in[1]);
}

static cf_tensor *build_add_same(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_add(t, in[0], in[0]);
}

static cf_tensor *build_mul(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_mul(t, in[0], in[1]);
}

static cf_tensor *build_mul_same(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_mul(t, in[0], in[0]);
}

/* Two views of one tensor: rows [0, n) and [1, n + 1), which overlap. */
static cf_tensor *build_mul_views(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    if (!in[0]) return NULL;
    size_t n = in[0]->shape.dim[0] - 1;
    return cf_mul(t, cf_rows(t, in[0], 0, n), cf_rows(t, in[0], 1, n));
}

static cf_tensor *build_scale(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_scale(t, in[0], (cf_real)c->real);
}

static cf_tensor *build_exp(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_exp(t, in[0]);
}

static cf_tensor *build_gelu(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_quick_gelu(t, in[0]);
}

static cf_tensor *build_matmul(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_matmul(t, in[0], in[1], c->option[0] != 0, c->option[1] != 0);
}

static cf_tensor *build_matmul_same(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_matmul(t, in[0], in[0], c->option[0] != 0, c->option[1] != 0);
}

static cf_tensor *build_sum(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_sum(t, in[0], c->option[0]);
}

static cf_tensor *build_mean(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_mean(t, in[0], c->option[0]);
}

static cf_tensor *build_softmax(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_softmax(t, in[0]);
}

static cf_tensor *build_reshape(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_reshape(t, in[0], cf_shape_of((size_t)c->option[0], (size_t)c->option[1]));
}

static cf_tensor *build_reshape_number(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_reshape(t, in[0], (cf_shape){ .rank = 0 });
}

static cf_tensor *build_rows(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_rows(t, in[0], (size_t)c->option[0], (size_t)c->option[1]);
}

/* A view of a view of a view. */
static cf_tensor *build_rows_nested(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    cf_tensor *inner = cf_reshape(t, cf_rows(t, in[0], 1, 3), cf_shape_of(6, 2));
    return cf_rows(t, inner, 2, 3);
}

static cf_tensor *build_transpose(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_transpose(t, in[0], c->option[0], c->option[1]);
}

static cf_tensor *build_slice(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_slice(t, in[0], c->option[0], (size_t)c->option[1], (size_t)c->option[2]);
}

static cf_tensor *build_concat(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_concat(t, in[0], in[1], c->option[0]);
}

static cf_tensor *build_concat_same(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_concat(t, in[0], in[0], c->option[0]);
}

static const int32_t words[] = { 2, 0, 2, 3, 3, 1, 2, 0 };
#define N_WORDS (sizeof words / sizeof *words)

/* The list of words, option 0 times over. */
static cf_tensor *build_embedding(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    size_t n = N_WORDS * (size_t)c->option[0];
    int32_t *index = cf_tape_push(t, n, sizeof *index);
    if (!index) return NULL;
    for (size_t i = 0; i < n; i++) index[i] = words[i % N_WORDS];
    return cf_embedding(t, in[0], index, n);
}

#define CASE(which, name, function, inputs, ...)                                                   \
    {                                                                                              \
        .op = &cf_op_##which, .what = #which " " name, .build = function, .n_in = inputs, .in = {  \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define BIG(which, name, function, inputs, ...)                                                    \
    {                                                                                              \
        .op = &cf_op_##which, .what = #which " " name, .build = function, .n_in = inputs,          \
        .samples = 6, .in = {                                                                      \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define WITH(which, name, function, o0, o1, o2, inputs, ...)                                       \
    {                                                                                              \
        .op = &cf_op_##which, .what = #which " " name, .build = function, .n_in = inputs,          \
        .option = { o0, o1, o2 }, .in = {                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define BIG_WITH(which, name, function, o0, o1, o2, inputs, ...)                                   \
    {                                                                                              \
        .op = &cf_op_##which, .what = #which " " name, .build = function, .n_in = inputs,          \
        .samples = 6, .option = { o0, o1, o2 }, .in = {                                            \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

/* clang-format off */
const grad_case grad_cases_primitive[] = {
    CASE(add, "same shape", build_add, 2, IN(3, 5), IN(3, 5)),
    CASE(add, "trailing part", build_add, 2, IN(2, 3, 5), IN(3, 5)),
    CASE(add, "last axis", build_add, 2, IN(2, 3, 5), IN(5)),
    CASE(add, "leading 1s", build_add, 2, IN(4, 3), IN(1, 1, 3)),
    CASE(add, "one element", build_add, 2, IN(4, 3), IN_SCALAR),
    CASE(add, "[1] to [5, 1]", build_add, 2, IN(5, 1), IN(1)),
    CASE(add, "numbers", build_add, 2, IN_SCALAR, IN_SCALAR),
    CASE(add, "b alone", build_add, 2, IN_FIXED(3, 5), IN(3, 5)),
    CASE(add, "broadcast b alone", build_add, 2, IN_FIXED(3, 5), IN(5)),
    CASE(add, "other rank, same count", build_add, 2, IN(1, 5), IN(5)),
    CASE(add, "a is b", build_add_same, 1, IN(3, 5)),
    BIG(add, "same shape of some size", build_add, 2, IN(70, 301), IN(70, 301)),
    BIG(add, "last axis of some size", build_add, 2, IN(70, 301), IN(301)),
    BIG(add, "wide rows", build_add, 2, IN(3, 9001), IN(9001)),
    BIG(add, "narrow rows", build_add, 2, IN(9001, 3), IN(3)),
    BIG(add, "one element to many", build_add, 2, IN(70, 301), IN(1)),

    CASE(mul, "same shape", build_mul, 2, IN(3, 5), IN(3, 5)),
    CASE(mul, "trailing part", build_mul, 2, IN(2, 3, 5), IN(3, 5)),
    CASE(mul, "last axis", build_mul, 2, IN(2, 3, 5), IN(5)),
    CASE(mul, "leading 1s", build_mul, 2, IN(4, 3), IN(1, 3)),
    CASE(mul, "one element", build_mul, 2, IN(4, 3), IN_SCALAR),
    CASE(mul, "b alone", build_mul, 2, IN_FIXED(3, 5), IN(5)),
    CASE(mul, "numbers", build_mul, 2, IN_SCALAR, IN_SCALAR),
    CASE(mul, "a is b", build_mul_same, 1, IN(3, 5)),
    CASE(mul, "overlapping views", build_mul_views, 1, IN(4, 3)),
    BIG(mul, "same shape of some size", build_mul, 2, IN(70, 301), IN(70, 301)),
    BIG(mul, "last axis of some size", build_mul, 2, IN(70, 301), IN(301)),
    BIG(mul, "wide rows", build_mul, 2, IN(3, 9001), IN(9001)),
    BIG(mul, "one element to many", build_mul, 2, IN(70, 301), IN(1)),

    { .op = &cf_op_scale, .what = "scale 2.5", .build = build_scale, .real = 2.5,
      .in = { IN(3, 5) }, .n_in = 1 },
    { .op = &cf_op_scale, .what = "scale of a number", .build = build_scale, .real = -0.75,
      .in = { IN_SCALAR }, .n_in = 1 },
    { .op = &cf_op_scale, .what = "scale 0", .build = build_scale, .real = 0, .in = { IN(3) },
      .n_in = 1 },
    { .op = &cf_op_scale, .what = "scale of some size", .build = build_scale, .real = 1.5,
      .samples = 6, .in = { IN(3, 9001) }, .n_in = 1 },

    CASE(exp, "3 by 5", build_exp, 1, IN(3, 5)),
    CASE(exp, "number", build_exp, 1, IN_SCALAR),
    BIG(exp, "of some size", build_exp, 1, IN(70, 301)),

    CASE(quick_gelu, "3 by 5", build_gelu, 1, IN_AROUND(0, 3, 3, 5)),
    CASE(quick_gelu, "number", build_gelu, 1, IN_SCALAR),
    CASE(quick_gelu, "tails", build_gelu, 1, IN_AROUND(0, 40, 17)),
    BIG(quick_gelu, "of some size", build_gelu, 1, IN_AROUND(0, 3, 70, 301)),

    WITH(matmul, "2 axes", build_matmul, 0, 0, 0, 2, IN(3, 5), IN(5, 4)),
    WITH(matmul, "ta", build_matmul, 1, 0, 0, 2, IN(5, 3), IN(5, 4)),
    WITH(matmul, "tb", build_matmul, 0, 1, 0, 2, IN(3, 5), IN(4, 5)),
    WITH(matmul, "ta, tb", build_matmul, 1, 1, 0, 2, IN(5, 3), IN(4, 5)),
    WITH(matmul, "batch", build_matmul, 0, 0, 0, 2, IN(2, 3, 5), IN(2, 5, 4)),
    WITH(matmul, "batch, ta", build_matmul, 1, 0, 0, 2, IN(2, 5, 3), IN(2, 5, 4)),
    WITH(matmul, "batch, tb", build_matmul, 0, 1, 0, 2, IN(2, 3, 5), IN(2, 4, 5)),
    WITH(matmul, "two leading axes, ta, tb", build_matmul, 1, 1, 0, 2, IN(2, 3, 5, 1),
         IN(2, 3, 2, 5)),
    WITH(matmul, "b shared", build_matmul, 0, 0, 0, 2, IN(3, 2, 5), IN(5, 4)),
    WITH(matmul, "b shared, ta", build_matmul, 1, 0, 0, 2, IN(3, 5, 2), IN(5, 4)),
    WITH(matmul, "b shared, tb", build_matmul, 0, 1, 0, 2, IN(3, 2, 5), IN(4, 5)),
    WITH(matmul, "b shared, ta, tb", build_matmul, 1, 1, 0, 2, IN(2, 3, 5, 2), IN(4, 5)),
    WITH(matmul, "1 by 1", build_matmul, 0, 0, 0, 2, IN(1, 1), IN(1, 1)),
    WITH(matmul, "inner size 1", build_matmul, 0, 1, 0, 2, IN(2, 3, 1), IN(2, 4, 1)),
    WITH(matmul, "a alone", build_matmul, 1, 0, 0, 2, IN(2, 5, 3), IN_FIXED(5, 4)),
    WITH(matmul, "b alone", build_matmul, 0, 1, 0, 2, IN_FIXED(2, 3, 5), IN(4, 5)),
    WITH(matmul, "a a", build_matmul_same, 0, 0, 0, 1, IN(2, 4, 4)),
    WITH(matmul, "a^T a", build_matmul_same, 1, 0, 0, 1, IN(2, 3, 4)),
    WITH(matmul, "a a^T", build_matmul_same, 0, 1, 0, 1, IN(3, 4)),
    BIG_WITH(matmul, "of some size", build_matmul, 0, 1, 0, 2, IN(3, 65, 70), IN(3, 67, 70)),
    BIG_WITH(matmul, "of some size, b shared, ta", build_matmul, 1, 0, 0, 2, IN(3, 65, 70),
             IN(65, 67)),

    WITH(sum, "first axis", build_sum, 0, 0, 0, 1, IN(3, 4, 5)),
    WITH(sum, "middle axis", build_sum, 1, 0, 0, 1, IN(3, 4, 5)),
    WITH(sum, "last axis", build_sum, 2, 0, 0, 1, IN(3, 4, 5)),
    WITH(sum, "only axis", build_sum, 0, 0, 0, 1, IN(7)),
    WITH(sum, "axis of 1", build_sum, 1, 0, 0, 1, IN(3, 1, 5)),
    BIG_WITH(sum, "last axis of some size", build_sum, 1, 0, 0, 1, IN(7, 5001)),
    BIG_WITH(sum, "first axis of some size", build_sum, 0, 0, 0, 1, IN(70, 301)),

    WITH(mean, "first axis", build_mean, 0, 0, 0, 1, IN(3, 4, 5)),
    WITH(mean, "middle axis", build_mean, 1, 0, 0, 1, IN(3, 4, 5)),
    WITH(mean, "last axis", build_mean, 2, 0, 0, 1, IN(3, 4, 5)),
    WITH(mean, "only axis", build_mean, 0, 0, 0, 1, IN(7)),
    WITH(mean, "axis of 1", build_mean, 1, 0, 0, 1, IN(3, 1, 5)),
    BIG_WITH(mean, "middle axis of some size", build_mean, 1, 0, 0, 1, IN(3, 8, 1300)),

    CASE(softmax, "3 by 5", build_softmax, 1, IN(3, 5)),
    CASE(softmax, "one row", build_softmax, 1, IN(7)),
    CASE(softmax, "width 1", build_softmax, 1, IN(3, 1)),
    CASE(softmax, "large", build_softmax, 1, IN_AROUND(300, 4, 2, 3, 5)),
    BIG(softmax, "of some size", build_softmax, 1, IN(50, 401)),

    WITH(reshape, "to 2 axes", build_reshape, 3, 4, 0, 1, IN(2, 6)),
    WITH(reshape, "from 5 axes", build_reshape, 4, 3, 0, 1, IN(1, 2, 1, 3, 2)),
    CASE(reshape, "to a number", build_reshape_number, 1, IN(1, 1)),
    WITH(rows, "middle", build_rows, 1, 2, 0, 1, IN(4, 3)),
    WITH(rows, "all", build_rows, 0, 3, 0, 1, IN(3, 2, 2)),
    WITH(rows, "one", build_rows, 4, 1, 0, 1, IN(5)),
    CASE(rows, "view of a view", build_rows_nested, 1, IN(5, 4)),

    WITH(transpose, "2 axes", build_transpose, 0, 1, 0, 1, IN(3, 5)),
    WITH(transpose, "outer axes", build_transpose, 0, 1, 0, 1, IN(2, 3, 4)),
    WITH(transpose, "last two", build_transpose, 1, 2, 0, 1, IN(2, 3, 4)),
    WITH(transpose, "ends", build_transpose, 2, 0, 0, 1, IN(2, 3, 4)),
    WITH(transpose, "5 axes", build_transpose, 3, 1, 0, 1, IN(2, 3, 2, 2, 2)),
    WITH(transpose, "axis with itself", build_transpose, 1, 1, 0, 1, IN(3, 5)),
    WITH(transpose, "axis of 1", build_transpose, 0, 1, 0, 1, IN(1, 5)),
    BIG_WITH(transpose, "of some size", build_transpose, 0, 1, 0, 1, IN(130, 131)),

    WITH(slice, "first axis", build_slice, 0, 1, 2, 1, IN(4, 3)),
    WITH(slice, "middle axis", build_slice, 1, 1, 2, 1, IN(2, 4, 3)),
    WITH(slice, "last axis", build_slice, 2, 0, 1, 1, IN(2, 4, 3)),
    WITH(slice, "all", build_slice, 1, 0, 5, 1, IN(3, 5)),
    BIG_WITH(slice, "of some size", build_slice, 1, 7, 300, 1, IN(70, 501)),

    WITH(concat, "first axis", build_concat, 0, 0, 0, 2, IN(2, 3), IN(1, 3)),
    WITH(concat, "middle axis", build_concat, 1, 0, 0, 2, IN(2, 1, 3), IN(2, 4, 3)),
    WITH(concat, "last axis", build_concat, 2, 0, 0, 2, IN(2, 2, 3), IN(2, 2, 1)),
    WITH(concat, "only axis", build_concat, 0, 0, 0, 2, IN(3), IN(2)),
    WITH(concat, "b alone", build_concat, 1, 0, 0, 2, IN_FIXED(2, 3), IN(2, 2)),
    WITH(concat, "a is b", build_concat_same, 1, 0, 0, 1, IN(2, 3)),
    BIG_WITH(concat, "of some size", build_concat, 1, 0, 0, 2, IN(70, 301), IN(70, 17)),

    WITH(embedding, "8 of 4", build_embedding, 1, 0, 0, 1, IN(4, 3)),
    WITH(embedding, "width 1", build_embedding, 1, 0, 0, 1, IN(5, 1)),
    BIG_WITH(embedding, "of some size", build_embedding, 10, 0, 0, 1, IN(9, 301)),
    { 0 },
};
