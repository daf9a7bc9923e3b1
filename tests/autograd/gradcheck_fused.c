/* Gradient cases of the fused operations. */
#include "gradcheck.h"
#include "autograd/ops/ops_internal.h"

/* ---- linear: option 0 flags, option 1 rows per scale (0: none) ------------------------------- */

enum { GELU_IN = 1, IN_OUT = 2 };

static const cf_real row_scales[] = { (cf_real)1.25, 0, 2, (cf_real)0.5, -1, 1, 3, (cf_real)0.75 };

static cf_tensor *build_linear(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    cf_linear_options o = { .gelu_in = (c->option[0] & GELU_IN) != 0,
                            .in_out = (c->option[0] & IN_OUT) != 0 };
    if (c->option[1]) {
        o.row_scale = row_scales;
        o.rows_per_scale = (size_t)c->option[1];
    }
    return cf_linear(t, in[0], in[1], in[2], in[3], &o);
}

static cf_tensor *build_linear_defaults(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_linear(t, in[0], in[1], in[2], in[3], NULL);
}

/* y = x + x W^T: the residual is x itself, as in a block. */
static cf_tensor *build_linear_own_residual(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    cf_linear_options o = { .gelu_in = (c->option[0] & GELU_IN) != 0 };
    return cf_linear(t, in[0], in[1], NULL, in[0], &o);
}

/* One matrix is rows and weight. */
static cf_tensor *build_linear_same(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    cf_linear_options o = { .gelu_in = (c->option[0] & GELU_IN) != 0,
                            .in_out = (c->option[0] & IN_OUT) != 0 };
    return cf_linear(t, in[0], in[0], NULL, NULL, &o);
}

/* ---- the others ------------------------------------------------------------------------------ */

static cf_tensor *build_layer_norm(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_layer_norm(t, in[0], in[1], in[2], (cf_real)c->real);
}

static cf_tensor *build_norm_linear(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_norm_linear(t, in[0], in[1], in[2], in[3], in[4], (cf_real)c->real);
}

/* One vector is the row, the scale, the shift and the bias. */
static cf_tensor *build_norm_linear_same(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_norm_linear(t, in[0], in[0], in[0], in[1], in[0], (cf_real)c->real);
}

/* One vector is the row, the scale and the shift. */
static cf_tensor *build_layer_norm_same(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_layer_norm(t, in[0], in[0], in[0], (cf_real)c->real);
}

/* option 0 heads, option 1 causal */
static cf_tensor *build_self(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_self_attention(t, in[0], in[1], (size_t)c->option[0], c->option[1] != 0);
}

static cf_tensor *build_cross(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_cross_attention(t, in[0], in[1], in[2], (size_t)c->option[0]);
}

static cf_tensor *build_cross_same(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    const grad_case *c = ctx;
    return cf_cross_attention(t, in[0], in[0], in[0], (size_t)c->option[0]);
}

static cf_tensor *build_patch(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_patch_embed(t, in[0], in[1], in[2], in[3]);
}

static cf_tensor *build_join(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_join_frames(t, in[0], in[1]);
}

static cf_tensor *build_l2(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_l2_normalize(t, in[0]);
}

static cf_tensor *build_cosine(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_cosine_scores(t, in[0], in[1], in[2]);
}

static cf_tensor *build_cosine_same(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_cosine_scores(t, in[0], in[0], in[1]);
}

static cf_tensor *build_loss(cf_tape *t, const void *ctx, cf_tensor *const in[])
{
    (void)ctx;
    return cf_soft_cross_entropy(t, in[0], in[1]);
}

#define LINEAR(name, flags, per_scale, ...)                                                        \
    {                                                                                              \
        .op = &cf_op_linear, .what = "linear " name, .build = build_linear,                        \
        .option = { (flags), (per_scale) }, .in = { __VA_ARGS__ }, .n_in = 4                       \
    }
#define NORM_LINEAR(name, count, ...)                                                              \
    {                                                                                              \
        .op = &cf_op_norm_linear, .what = "norm_linear " name, .build = build_norm_linear,         \
        .real = 1e-5, .in = { __VA_ARGS__ }, .n_in = 5, .samples = (count)                         \
    }
#define NORM(name, epsilon, count, ...)                                                            \
    {                                                                                              \
        .op = &cf_op_layer_norm, .what = "layer_norm " name, .build = build_layer_norm,            \
        .real = (epsilon), .in = { __VA_ARGS__ }, .n_in = 3, .samples = (count)                    \
    }
#define SELF(name, heads, causal, count, ...)                                                      \
    {                                                                                              \
        .op = &cf_op_self_attention, .what = "self_attention " name, .build = build_self,          \
        .option = { (heads), (causal) }, .in = { __VA_ARGS__ }, .n_in = 2, .samples = (count)      \
    }
#define CROSS(name, heads, count, ...)                                                             \
    {                                                                                              \
        .op = &cf_op_cross_attention, .what = "cross_attention " name, .build = build_cross,       \
        .option = { (heads) }, .in = { __VA_ARGS__ }, .n_in = 3, .samples = (count)                \
    }
#define PATCH(name, count, ...)                                                                    \
    {                                                                                              \
        .op = &cf_op_patch_embed, .what = "patch_embed " name, .build = build_patch,               \
        .in = { __VA_ARGS__ }, .n_in = 4, .samples = (count)                                       \
    }
#define JOIN(name, count, ...)                                                                     \
    {                                                                                              \
        .op = &cf_op_join_frames, .what = "join_frames " name, .build = build_join,                \
        .in = { __VA_ARGS__ }, .n_in = 2, .samples = (count)                                       \
    }
#define L2(name, count, ...)                                                                       \
    {                                                                                              \
        .op = &cf_op_l2_normalize, .what = "l2_normalize " name, .build = build_l2,                \
        .in = { __VA_ARGS__ }, .n_in = 1, .samples = (count)                                       \
    }
#define COSINE(name, count, ...)                                                                   \
    {                                                                                              \
        .op = &cf_op_cosine_scores, .what = "cosine_scores " name, .build = build_cosine,          \
        .in = { __VA_ARGS__ }, .n_in = 3, .samples = (count)                                       \
    }
#define LOSS(name, count, ...)                                                                     \
    {                                                                                              \
        .op = &cf_op_soft_cross_entropy, .what = "soft_cross_entropy " name, .build = build_loss,  \
        .in = { __VA_ARGS__ }, .n_in = 2, .samples = (count)                                       \
    }

/* clang-format off */
const grad_case grad_cases_fused[] = {
    LINEAR("bare", 0, 0, IN(3, 5), IN(4, 5), NO_INPUT, NO_INPUT),
    LINEAR("bias", 0, 0, IN(2, 3, 5), IN(4, 5), IN(4), NO_INPUT),
    LINEAR("residual", 0, 0, IN(3, 5), IN(4, 5), NO_INPUT, IN(3, 4)),
    LINEAR("bias, residual", 0, 0, IN(2, 3, 5), IN(7, 5), IN(7), IN(2, 3, 7)),
    LINEAR("residual that repeats", 0, 0, IN(4, 3, 5), IN(2, 5), IN(2), IN(3, 2)),
    LINEAR("residual of one row", 0, 0, IN(4, 5), IN(3, 5), NO_INPUT, IN(3)),
    LINEAR("gelu_in", GELU_IN, 0, IN(3, 5), IN(4, 5), NO_INPUT, NO_INPUT),
    LINEAR("gelu_in, bias, residual", GELU_IN, 0, IN(2, 3, 5), IN(4, 5), IN(4), IN(2, 3, 4)),
    LINEAR("gelu_in, large x", GELU_IN, 0, IN_AROUND(0, 4, 5, 3), IN(4, 3), IN(4), NO_INPUT),
    LINEAR("in_out", IN_OUT, 0, IN(3, 5), IN(5, 4), NO_INPUT, NO_INPUT),
    LINEAR("in_out, bias, residual", IN_OUT, 0, IN(3, 5), IN(5, 4), IN(4), IN(3, 4)),
    LINEAR("in_out, gelu_in, residual that repeats", IN_OUT | GELU_IN, 0, IN(6, 5), IN(5, 4),
           NO_INPUT, IN(2, 4)),
    LINEAR("row_scale", 0, 1, IN(5, 3), IN(4, 3), NO_INPUT, NO_INPUT),
    LINEAR("row_scale of 3 rows, bias, residual", 0, 3, IN(7, 5), IN(4, 5), IN(4), IN(7, 4)),
    LINEAR("row_scale, gelu_in, bias, residual", GELU_IN, 2, IN(2, 4, 5), IN(3, 5), IN(3),
           IN(2, 4, 3)),
    LINEAR("row_scale, residual that repeats", 0, 2, IN(6, 5), IN(4, 5), IN(4), IN(3, 4)),
    LINEAR("row_scale, in_out, gelu_in", IN_OUT | GELU_IN, 4, IN(8, 3), IN(3, 5), IN(5), IN(8, 5)),
    LINEAR("1 by 1", 0, 0, IN(1, 1), IN(1, 1), IN(1), IN(1, 1)),
    LINEAR("one row", GELU_IN, 1, IN(7), IN(3, 7), IN(3), IN(3)),
    LINEAR("weight alone", 0, 0, IN_FIXED(3, 5), IN(4, 5), IN(4), IN_FIXED(3, 4)),
    LINEAR("x alone", GELU_IN, 0, IN(3, 5), IN_FIXED(4, 5), IN_FIXED(4), NO_INPUT),
    { .op = &cf_op_linear, .what = "linear no options", .build = build_linear_defaults,
      .in = { IN(3, 2), IN(4, 2), IN(4), IN(3, 4) }, .n_in = 4 },
    { .op = &cf_op_linear, .what = "linear residual is x", .build = build_linear_own_residual,
      .in = { IN(3, 5), IN(5, 5) }, .n_in = 2 },
    { .op = &cf_op_linear, .what = "linear residual is x, gelu_in",
      .build = build_linear_own_residual, .option = { GELU_IN }, .in = { IN(3, 5), IN(5, 5) },
      .n_in = 2 },
    { .op = &cf_op_linear, .what = "linear x is weight", .build = build_linear_same,
      .in = { IN(5, 5) }, .n_in = 1 },
    { .op = &cf_op_linear, .what = "linear x is weight, gelu_in, in_out",
      .build = build_linear_same, .option = { GELU_IN | IN_OUT }, .in = { IN(5, 5) }, .n_in = 1 },
    { .op = &cf_op_linear, .what = "linear of some size", .build = build_linear,
      .option = { GELU_IN, 40 }, .samples = 8,
      .in = { IN(5, 61, 130), IN_AROUND(0, 0.1, 67, 130), IN(67), IN(5, 61, 67) }, .n_in = 4 },
    { .op = &cf_op_linear, .what = "linear of some size, in_out", .build = build_linear,
      .option = { IN_OUT, 0 }, .samples = 8,
      .in = { IN(301, 65), IN_AROUND(0, 0.1, 65, 70), IN(70), IN(7, 70) }, .n_in = 4 },

    NORM("2 by 5", 1e-5, 0, IN(2, 5), IN(5), IN(5)),
    NORM("three axes", 1e-5, 0, IN(3, 1, 7), IN(7), IN(7)),
    NORM("width 2", 1e-2, 0, IN_AROUND(0, 4, 5, 2), IN(2), IN(2)),
    NORM("width 1", 1e-2, 0, IN(3, 1), IN(1), IN(1)),
    NORM("one row", 1e-5, 0, IN(9), IN(9), IN(9)),
    NORM("width 33", 1e-5, 0, IN(4, 33), IN(33), IN(33)),
    NORM("far from zero", 1e-5, 0, IN_AROUND(10, 2, 3, 17), IN(17), IN(17)),
    NORM("scale alone", 1e-5, 0, IN_FIXED(4, 6), IN(6), IN_FIXED(6)),
    NORM("x alone", 1e-5, 0, IN(4, 6), IN_FIXED(6), IN_FIXED(6)),
    NORM("of some size", 1e-5, 8, IN(150, 131), IN(131), IN(131)),
    { .op = &cf_op_layer_norm, .what = "layer_norm x is scale and shift",
      .build = build_layer_norm_same, .real = 1e-2, .in = { IN(7) }, .n_in = 1 },

    NORM_LINEAR("bias", 0, IN(3, 5), IN(5), IN(5), IN(4, 5), IN(4)),
    NORM_LINEAR("no bias, three axes", 0, IN(2, 3, 7), IN(7), IN(7), IN(5, 7), NO_INPUT),
    NORM_LINEAR("one row", 0, IN(9), IN(9), IN(9), IN(2, 9), IN(2)),
    NORM_LINEAR("one output", 0, IN(3, 4), IN(4), IN(4), IN(1, 4), IN(1)),
    NORM_LINEAR("weight alone", 0, IN_FIXED(3, 5), IN_FIXED(5), IN_FIXED(5), IN(4, 5), IN_FIXED(4)),
    NORM_LINEAR("scale alone", 0, IN_FIXED(3, 5), IN(5), IN_FIXED(5), IN_FIXED(4, 5), NO_INPUT),
    NORM_LINEAR("x alone", 0, IN(3, 5), IN_FIXED(5), IN_FIXED(5), IN_FIXED(4, 5), IN_FIXED(4)),
    NORM_LINEAR("of some size", 8, IN(5, 61, 130), IN(130), IN(130), IN_AROUND(0, 0.1, 67, 130),
                IN(67)),
    NORM_LINEAR("of several panels", 2, IN(CF_REAL_IS_DOUBLE ? 8300 : 16600, 131), IN(131), IN(131),
                IN_AROUND(0, 0.1, 3, 131), IN(3)),
    { .op = &cf_op_norm_linear, .what = "norm_linear x is scale, shift and bias",
      .build = build_norm_linear_same, .real = 1e-2, .in = { IN(5), IN(5, 5) }, .n_in = 2 },

    SELF("1 token", 1, 0, 0, IN(2, 1, 9), NO_INPUT),
    SELF("5 tokens, 2 heads of 5", 2, 0, 0, IN(2, 5, 30), NO_INPUT),
    SELF("5 tokens, causal", 2, 1, 0, IN(2, 5, 30), NO_INPUT),
    SELF("1 token, causal", 1, 1, 0, IN(3, 1, 24), NO_INPUT),
    SELF("heads of width 1", 3, 0, 0, IN(1, 4, 9), NO_INPUT),
    SELF("extra, 1 token", 1, 0, 0, IN(2, 1, 15), IN(2, 10)),
    SELF("extra, 5 tokens, heads of 8", 2, 0, 0, IN(2, 5, 48), IN(2, 32)),
    SELF("extra alone", 1, 0, 0, IN_FIXED(2, 5, 24), IN(2, 16)),
    SELF("17 tokens, heads of 8", 3, 0, 24, IN(2, 17, 72), NO_INPUT),
    SELF("17 tokens, heads of 8, causal", 3, 1, 24, IN(2, 17, 72), NO_INPUT),
    SELF("17 tokens, heads of 5, extra", 2, 0, 24, IN(2, 17, 30), IN(2, 20)),
    SELF("33 tokens, heads of 64", 2, 0, 12, IN(1, 33, 384), NO_INPUT),
    SELF("33 tokens, heads of 64, extra", 1, 0, 12, IN(2, 33, 192), IN(2, 128)),
    SELF("33 tokens, heads of 64, causal", 1, 1, 12, IN(2, 33, 192), NO_INPUT),
    SELF("50 tokens, heads of 64, extra", 2, 0, 8, IN(3, 50, 384), IN(3, 256)),
    SELF("77 tokens, heads of 64, causal", 2, 1, 8, IN(1, 77, 384), NO_INPUT),
    SELF("130 tokens, heads of 20", 1, 0, 8, IN(1, 130, 60), NO_INPUT),
    SELF("large scores", 1, 0, 0, IN_AROUND(0, 2, 1, 5, 24), NO_INPUT),

    CROSS("5 to 5", 1, 0, IN(2, 5, 8), IN(2, 5, 8), IN(2, 5, 8)),
    CROSS("1 to 1", 1, 0, IN(2, 1, 5), IN(2, 1, 5), IN(2, 1, 5)),
    CROSS("1 to 17, heads of 5", 2, 24, IN(2, 1, 10), IN(2, 17, 10), IN(2, 17, 10)),
    CROSS("33 to 1", 2, 24, IN(2, 33, 16), IN(2, 1, 16), IN(2, 1, 16)),
    CROSS("5 to 33, heads of 64", 1, 12, IN(2, 5, 64), IN(2, 33, 64), IN(2, 33, 64)),
    CROSS("q shared", 2, 0, IN(3, 8), IN(3, 5, 8), IN(3, 5, 8)),
    CROSS("q shared, 17 to 5, heads of 64", 2, 12, IN(17, 128), IN(2, 5, 128), IN(2, 5, 128)),
    CROSS("q shared by one", 1, 0, IN(3, 5), IN(1, 4, 5), IN(1, 4, 5)),
    CROSS("q alone", 1, 0, IN(2, 3, 8), IN_FIXED(2, 5, 8), IN_FIXED(2, 5, 8)),
    CROSS("k alone", 1, 0, IN_FIXED(2, 3, 8), IN(2, 5, 8), IN_FIXED(2, 5, 8)),
    CROSS("v alone", 1, 0, IN_FIXED(3, 8), IN_FIXED(2, 5, 8), IN(2, 5, 8)),
    CROSS("70 to 49, heads of 64", 2, 6, IN(2, 70, 128), IN(2, 49, 128), IN(2, 49, 128)),
    { .op = &cf_op_cross_attention, .what = "cross_attention q is k is v",
      .build = build_cross_same, .option = { 2 }, .in = { IN(2, 5, 10) }, .n_in = 1 },

    PATCH("9 patches", 24, IN(2, 3, 6, 6), IN(5, 3, 2, 2), IN(5), IN(10, 5)),
    PATCH("one patch", 24, IN(3, 3, 4, 4), IN(1, 3, 4, 4), IN(1), IN(2, 1)),
    PATCH("patches of one pixel", 24, IN(1, 3, 3, 3), IN(4, 3, 1, 1), IN(4), IN(10, 4)),
    PATCH("pictures not wanted", 24, IN_FIXED(3, 3, 10, 10), IN(3, 3, 5, 5), IN(3), IN(5, 3)),
    PATCH("several panels", 1, IN(CF_REAL_IS_DOUBLE ? 8 : 14, 3, 224, 224),
          IN_AROUND(0, 0.02, 3, 3, 32, 32), IN(3), IN(50, 3)),

    JOIN("2 videos of 3 frames", 0, IN(6, 3, 2), IN(3, 2)),
    JOIN("1 frame", 0, IN(2, 3, 2), IN(1, 2)),
    JOIN("no patches", 0, IN(4, 1, 3), IN(2, 3)),
    JOIN("temporal alone", 0, IN_FIXED(4, 3, 2), IN(2, 2)),
    JOIN("tokens alone", 0, IN(4, 3, 2), IN_FIXED(2, 2)),
    JOIN("of some size", 6, IN(6, 18, 301), IN(3, 301)),
    L2("3 by 5", 0, IN(3, 5)),
    L2("one row", 0, IN(7)),
    L2("width 1", 0, IN_AROUND(2, 1, 3, 1)),
    L2("three axes", 0, IN_AROUND(0, 3, 2, 3, 4)),
    L2("of some size", 12, IN(160, 129)),

    COSINE("c of each", 0, IN(2, 7), IN(2, 3, 7), IN_SCALAR),
    COSINE("c shared", 0, IN(3, 7), IN(4, 7), IN_SCALAR),
    COSINE("c not wanted", 0, IN(2, 5), IN_FIXED(2, 3, 5), IN(1)),
    COSINE("shared c not wanted", 0, IN(2, 5), IN_FIXED(3, 5), IN_FIXED(1)),
    COSINE("one class", 0, IN(2, 5), IN(2, 1, 5), IN_SCALAR),
    COSINE("one video", 0, IN(1, 5), IN(1, 4, 5), IN_SCALAR),
    COSINE("width 1", 0, IN_AROUND(2, 1, 2, 1), IN_AROUND(2, 1, 3, 1), IN_SCALAR),
    COSINE("scale as trained", 0, IN(2, 9), IN(2, 3, 9), IN_AROUND(2, 0, 1)),
    COSINE("of some size", 8, IN(3, 130), IN(3, 60, 130), IN_SCALAR),
    COSINE("of some size, shared", 8, IN(5, 130), IN(60, 130), IN_SCALAR),
    { .op = &cf_op_cosine_scores, .what = "cosine_scores v is c", .build = build_cosine_same,
      .in = { IN(4, 5), IN_SCALAR }, .n_in = 2 },

    LOSS("3 by 5", 0, IN(3, 5), { .shape = GRAD_SHAPE(3, 5), .kind = GRAD_NONE, .offset = 0.3,
                                  .scale = 0.3 }),
    LOSS("targets of any sign", 0, IN_AROUND(0, 3, 2, 7), IN_FIXED(2, 7)),
    LOSS("one class", 0, IN(3, 1), IN_FIXED(3, 1)),
    LOSS("one row", 0, IN(1, 9), IN_FIXED(1, 9)),
    LOSS("large scores", 0, IN_AROUND(500, 5, 2, 5), IN_FIXED(2, 5)),
    LOSS("of some size", 12, IN_AROUND(0, 5, 9, 400), IN_FIXED(9, 400)),
    { 0 },
};
