/* Rearranging: reshape and rows are views (no memory, no backward: the gradient lies inside the
 * base's); transpose, slice and concat copy. */
#include "ops_internal.h"

/* ---- reshape -----------------------------------------------------------------------------------
 *   the same elements in order, as another shape
 *   errors CF_ESHAPE: the counts differ */
typedef struct {
    cf_shape shape;
} reshape_param;

static cf_status reshape_infer(cf_node *n)
{
    const reshape_param *p = n->param;
    CF_TRY(cf_need_inputs(n, 1));
    if (cf_shape_count(&p->shape) != n->in[0]->n)
        return CF_FAIL(CF_ESHAPE, "reshape: %s does not hold the elements of %s",
                       CF_SHAPE_TEXT(p->shape), CF_SHAPE_TEXT(n->in[0]->shape));
    cf_out_view(n, p->shape, 0);
    return CF_OK;
}

const cf_op cf_op_reshape = {
    .name = "reshape",
    .family = "other",
    .arity = 1,
    .param_size = sizeof(reshape_param),
    .infer = reshape_infer,
};

cf_tensor *cf_reshape(cf_tape *t, cf_tensor *a, cf_shape shape)
{
    cf_tensor *const in[] = { a };
    return cf_apply(t, &cf_op_reshape, in, &(reshape_param){ shape });
}

/* ---- rows --------------------------------------------------------------------------------------
 *   y = a[start .. start + count) on axis 0
 *   errors CF_ESHAPE: a is one number, or has fewer rows */
typedef struct {
    int axis; /* 0 for rows */
    size_t start, count;
} range_param;

static cf_status range_check(const cf_node *n)
{
    const range_param *p = n->param;
    CF_TRY(cf_need_inputs(n, 1));
    CF_TRY(cf_need_axis(n, n->in[0], p->axis));
    size_t len = n->in[0]->shape.dim[p->axis];
    if (p->start > len || p->count > len - p->start)
        return CF_FAIL(CF_ESHAPE, "%s: %zu from %zu on axis %d of %s", n->op->name, p->count,
                       p->start, p->axis, CF_SHAPE_TEXT(n->in[0]->shape));
    return CF_OK;
}

static cf_status rows_infer(cf_node *n)
{
    const range_param *p = n->param;
    CF_TRY(range_check(n));
    cf_shape y = n->in[0]->shape;
    y.dim[0] = p->count;
    cf_out_view(n, y, p->start * cf_split_at(&y, 0).inner);
    return CF_OK;
}

const cf_op cf_op_rows = {
    .name = "rows",
    .family = "other",
    .arity = 1,
    .param_size = sizeof(range_param),
    .infer = rows_infer,
};

cf_tensor *cf_rows(cf_tape *t, cf_tensor *a, size_t start, size_t count)
{
    cf_tensor *const in[] = { a };
    return cf_apply(t, &cf_op_rows, in, &(range_param){ 0, start, count });
}

/* ---- blocks: what slice and concat are made of --------------------------------------------------
 * `blocks` runs of `len` elements, read `from_step` and written `to_step` elements apart. */
CF_KERNEL static void move_block(cf_real *to, const cf_real *from, size_t len, bool add)
{
    if (!add) {
        memcpy(to, from, len * sizeof *to);
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < len; i++) to[i] += from[i];
}

static void move_blocks(cf_real *to, size_t to_step, const cf_real *from, size_t from_step,
                        size_t blocks, size_t len, bool add)
{
    if (blocks == 1) {
        (add ? cf_vec_add : cf_vec_copy)(to, from, len);
        return;
    }
#pragma omp parallel for schedule(static) if (blocks * len >= CF_PARALLEL_MIN)
    for (size_t i = 0; i < blocks; i++)
        move_block(to + i * to_step, from + i * from_step, len, add);
}

/* ---- slice -------------------------------------------------------------------------------------
 *   y = a[..., start .. start + count, ...] on any axis, copied;  da: dy in that range
 *   keeps  nothing
 *   errors CF_EINVAL: no such axis.  CF_ESHAPE: the axis is shorter */
static cf_status slice_infer(cf_node *n)
{
    const range_param *p = n->param;
    CF_TRY(range_check(n));
    cf_shape y = n->in[0]->shape;
    y.dim[p->axis] = p->count;
    cf_out_shape(n, y);
    return CF_OK;
}

static void slice_forward(const cf_node *n)
{
    const range_param *p = n->param;
    cf_axis_split s = cf_split_at(&n->in[0]->shape, p->axis);
    move_blocks(n->out->data, p->count * s.inner, n->in[0]->data + p->start * s.inner,
                s.len * s.inner, s.outer, p->count * s.inner, false);
}

static void slice_backward(const cf_node *n)
{
    const range_param *p = n->param;
    cf_axis_split s = cf_split_at(&n->in[0]->shape, p->axis);
    cf_real *da = cf_grad(n, 0);
    if (da)
        move_blocks(da + p->start * s.inner, s.len * s.inner, n->out->grad, p->count * s.inner,
                    s.outer, p->count * s.inner, true);
}

const cf_op cf_op_slice = {
    .name = "slice",
    .family = "other",
    .arity = 1,
    .param_size = sizeof(range_param),
    .infer = slice_infer,
    .forward = slice_forward,
    .backward = slice_backward,
};

cf_tensor *cf_slice(cf_tape *t, cf_tensor *a, int axis, size_t start, size_t count)
{
    cf_tensor *const in[] = { a };
    return cf_apply(t, &cf_op_slice, in, &(range_param){ axis, start, count });
}

/* ---- concat ------------------------------------------------------------------------------------
 *   y = a and then b on one axis, copied;  da, db: their parts of dy
 *   keeps  nothing
 *   errors CF_EINVAL: no such axis.  CF_ESHAPE: another axis differs */
typedef struct {
    int axis;
} axis_param;

static cf_status concat_infer(cf_node *n)
{
    const axis_param *p = n->param;
    CF_TRY(cf_need_inputs(n, 2));
    CF_TRY(cf_need_axis(n, n->in[0], p->axis));
    const cf_shape *a = &n->in[0]->shape, *b = &n->in[1]->shape;
    bool fits = a->rank == b->rank;
    for (int i = 0; fits && i < a->rank; i++) fits = i == p->axis || a->dim[i] == b->dim[i];
    if (!fits)
        return CF_FAIL(CF_ESHAPE, "concat: a is %s, b is %s, on axis %d", CF_SHAPE_TEXT(*a),
                       CF_SHAPE_TEXT(*b), p->axis);
    cf_shape y = *a;
    y.dim[p->axis] += b->dim[p->axis];
    cf_out_shape(n, y);
    return CF_OK;
}

static void concat_forward(const cf_node *n)
{
    const axis_param *p = n->param;
    cf_axis_split a = cf_split_at(&n->in[0]->shape, p->axis);
    cf_axis_split b = cf_split_at(&n->in[1]->shape, p->axis);
    size_t from_a = a.len * a.inner, from_b = b.len * b.inner, step = from_a + from_b;
    move_blocks(n->out->data, step, n->in[0]->data, from_a, a.outer, from_a, false);
    move_blocks(n->out->data + from_a, step, n->in[1]->data, from_b, b.outer, from_b, false);
}

static void concat_backward(const cf_node *n)
{
    const axis_param *p = n->param;
    cf_axis_split a = cf_split_at(&n->in[0]->shape, p->axis);
    cf_axis_split b = cf_split_at(&n->in[1]->shape, p->axis);
    size_t from_a = a.len * a.inner, from_b = b.len * b.inner, step = from_a + from_b;
    bool fresh;
    cf_real *da = cf_grad_fresh(n, 0, &fresh);
    if (da) move_blocks(da, from_a, n->out->grad, step, a.outer, from_a, !fresh);
    cf_real *db = cf_grad_fresh(n, 1, &fresh);
    if (db) move_blocks(db, from_b, n->out->grad + from_a, step, b.outer, from_b, !fresh);
}

const cf_op cf_op_concat = {
    .name = "concat",
    .family = "other",
    .arity = 2,
    .param_size = sizeof(axis_param),
    .infer = concat_infer,
    .forward = concat_forward,
    .backward = concat_backward,
};

cf_tensor *cf_concat(cf_tape *t, cf_tensor *a, cf_tensor *b, int axis)
{
    cf_tensor *const in[] = { a, b };
    return cf_apply(t, &cf_op_concat, in, &(axis_param){ axis });
}

/* ---- transpose ---------------------------------------------------------------------------------
 *   two axes change places, copied;  da: the same exchange on dy
 *   keeps  nothing
 *   errors CF_EINVAL: no such axis */
typedef struct {
    int first, second; /* first <= second */
} transpose_param;

static cf_status transpose_infer(cf_node *n)
{
    const transpose_param *p = n->param;
    CF_TRY(cf_need_inputs(n, 1));
    CF_TRY(cf_need_axis(n, n->in[0], p->first));
    CF_TRY(cf_need_axis(n, n->in[0], p->second));
    cf_shape y = n->in[0]->shape;
    y.dim[p->first] = n->in[0]->shape.dim[p->second];
    y.dim[p->second] = n->in[0]->shape.dim[p->first];
    cf_out_shape(n, y);
    if (p->first == p->second) n->pass = 1;
    return CF_OK;
}

/* Dense [outer, a, middle, b, inner]. */
typedef struct {
    size_t outer, a, middle, b, inner;
} five;

static five five_of(const cf_shape *s, const transpose_param *p)
{
    five f = { 1, s->dim[p->first], 1, s->dim[p->second], 1 };
    for (int i = 0; i < p->first; i++) f.outer *= s->dim[i];
    for (int i = p->first + 1; i < p->second; i++) f.middle *= s->dim[i];
    for (int i = p->second + 1; i < s->rank; i++) f.inner *= s->dim[i];
    return f;
}

/* One run of the output, [b's place: a of them, inner], from a elements `step` apart. */
CF_KERNEL static void gather_run(cf_real *to, const cf_real *from, size_t count, size_t inner,
                                 size_t step, bool add)
{
    if (add)
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < inner; j++) to[i * inner + j] += from[i * step + j];
    else
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < inner; j++) to[i * inner + j] = from[i * step + j];
}

/* to [outer, b, middle, a, inner] = or += from [outer, a, middle, b, inner] */
static void exchange(cf_real *to, const cf_real *from, five f, bool add)
{
    size_t runs = f.outer * f.b * f.middle, step = f.middle * f.b * f.inner;
#pragma omp parallel for schedule(static) if (runs * f.a * f.inner >= CF_PARALLEL_MIN)
    for (size_t run = 0; run < runs; run++) {
        size_t o = run / (f.b * f.middle), b = run / f.middle % f.b, m = run % f.middle;
        const cf_real *source = from + (((o * f.a * f.middle) + m) * f.b + b) * f.inner;
        gather_run(to + run * f.a * f.inner, source, f.a, f.inner, step, add);
    }
}

static void transpose_forward(const cf_node *n)
{
    const transpose_param *p = n->param;
    five f = five_of(&n->in[0]->shape, p);
    if (p->first == p->second)
        cf_vec_copy(n->out->data, n->in[0]->data, n->out->n);
    else
        exchange(n->out->data, n->in[0]->data, f, false);
}

static void transpose_backward(const cf_node *n)
{
    const transpose_param *p = n->param;
    if (n->pass) {
        cf_grad_pass(n);
        return;
    }
    bool fresh;
    cf_real *da = cf_grad_fresh(n, 0, &fresh);
    if (da) exchange(da, n->out->grad, five_of(&n->out->shape, p), !fresh);
}

const cf_op cf_op_transpose = {
    .name = "transpose",
    .family = "other",
    .arity = 1,
    .param_size = sizeof(transpose_param),
    .infer = transpose_infer,
    .forward = transpose_forward,
    .backward = transpose_backward,
};

cf_tensor *cf_transpose(cf_tape *t, cf_tensor *a, int axis_a, int axis_b)
{
    cf_tensor *const in[] = { a };
    transpose_param p = { axis_a < axis_b ? axis_a : axis_b, axis_a < axis_b ? axis_b : axis_a };
    return cf_apply(t, &cf_op_transpose, in, &p);
}
