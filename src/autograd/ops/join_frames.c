/* The tokens of a video's frames as one sequence, with one class token and a place in time.
 *   y[v, 0] = x[v T, 0];  y[v, 1 + t N + i] = x[v T + t, 1 + i] + temporal[t]
 *   x [F, N + 1, d], row 0 of each frame its class token; temporal [T, d]; y [F / T, 1 + T N, d]
 *   keeps  nothing
 *   errors CF_ESHAPE: x is not [F, N + 1, d], temporal not [T, d], T does not divide F
 * The frames' class tokens are equal before the first block (they have no place in time), so the
 * first one stands for all, and only it has a gradient. */
#include "ops_internal.h"

typedef struct {
    size_t videos, T, patches, d;
    size_t in_rows, out_rows; /* of a frame, of a video */
} sizes;

static sizes sizes_of(const cf_node *n)
{
    const size_t *x = n->in[0]->shape.dim;
    sizes s = { .T = n->in[1]->shape.dim[0], .in_rows = x[1], .d = x[2] };
    s.videos = x[0] / s.T;
    s.patches = s.in_rows - 1;
    s.out_rows = 1 + s.T * s.patches;
    return s;
}

static cf_status join_infer(cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 2));
    const cf_shape *x = &n->in[0]->shape, *t = &n->in[1]->shape;
    if (x->rank != 3 || n->in[0]->n == 0)
        return CF_FAIL(CF_ESHAPE, "join_frames: tokens are %s, not [frames, N + 1, d]",
                       CF_SHAPE_TEXT(*x));
    if (t->rank != 2 || t->dim[0] == 0 || t->dim[1] != x->dim[2] || x->dim[0] % t->dim[0] != 0)
        return CF_FAIL(CF_ESHAPE, "join_frames: temporal is %s, which does not fit tokens %s",
                       CF_SHAPE_TEXT(*t), CF_SHAPE_TEXT(*x));
    sizes s = sizes_of(n);
    cf_out_shape(n, cf_shape_of(s.videos, s.out_rows, s.d));
    n->n_scratch_backward = cf_col_sum_scratch(s.d);
    return CF_OK;
}

/* y += x, or y = x + place where place is not NULL */
CF_KERNEL static void join_rows(cf_real *y, const cf_real *x, const cf_real *place, size_t rows,
                                size_t d)
{
    if (!place) {
#pragma omp simd
        for (size_t j = 0; j < rows * d; j++) y[j] += x[j];
        return;
    }
    for (size_t i = 0; i < rows; i++) {
#pragma omp simd
        for (size_t j = 0; j < d; j++) y[i * d + j] = x[i * d + j] + place[j];
    }
}

static void join_forward(const cf_node *n)
{
    sizes s = sizes_of(n);
    const cf_real *x = n->in[0]->data, *temporal = n->in[1]->data;
    cf_real *y = n->out->data;
#pragma omp parallel for schedule(static) if (n->out->n >= CF_PARALLEL_MIN)
    for (size_t f = 0; f < s.videos * s.T; f++) {
        size_t v = f / s.T, t = f % s.T;
        const cf_real *frame = x + f * s.in_rows * s.d;
        cf_real *video = y + v * s.out_rows * s.d;
        if (t == 0) memcpy(video, frame, s.d * sizeof *y);
        join_rows(video + (1 + t * s.patches) * s.d, frame + s.d, temporal + t * s.d, s.patches,
                  s.d);
    }
}

static void join_backward(const cf_node *n)
{
    sizes s = sizes_of(n);
    const cf_real *dy = n->out->grad;
    cf_real *dx = cf_grad(n, 0), *dtemporal = cf_grad(n, 1);
#pragma omp parallel for schedule(static) if (n->out->n >= CF_PARALLEL_MIN)
    for (size_t f = 0; f < (dx ? s.videos * s.T : 0); f++) {
        size_t v = f / s.T, t = f % s.T;
        const cf_real *video = dy + v * s.out_rows * s.d;
        cf_real *frame = dx + f * s.in_rows * s.d;
        if (t == 0) join_rows(frame, video, NULL, 1, s.d);
        join_rows(frame + s.d, video + (1 + t * s.patches) * s.d, NULL, s.patches, s.d);
    }
    for (size_t v = 0; dtemporal && v < s.videos; v++)
        for (size_t t = 0; t < s.T; t++)
            cf_col_sum(dtemporal + t * s.d, dy + (v * s.out_rows + 1 + t * s.patches) * s.d,
                       s.patches, s.d, s.d, n->scratch);
}

const cf_op cf_op_join_frames = {
    .name = "join_frames",
    .family = "other",
    .arity = 2,
    .infer = join_infer,
    .forward = join_forward,
    .backward = join_backward,
};

cf_tensor *cf_join_frames(cf_tape *t, cf_tensor *x, cf_tensor *temporal)
{
    cf_tensor *const in[] = { x, temporal };
    return cf_apply(t, &cf_op_join_frames, in, NULL);
}
