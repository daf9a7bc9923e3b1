/* Patch embedding of a vision transformer: a convolution whose stride is its kernel, as a product.
 *   y[f, 0] = class + position[0];  y[f, 1 + i] = W patch_i(x_f) + position[1 + i]
 *   x [f, 3, S, S]; W [d, 3, p, p]; class [d]; position [N + 1, d]; y [f, N + 1, d]; N = (S / p)^2,
 *   patches in order y, then x; their columns in order channel, y, x
 *   keeps  nothing: backward cuts the patches again
 *   errors CF_ESHAPE: sizes that do not fit, S not a multiple of p
 *   source Dosovitskiy et al. 2021, arXiv:2010.11929, eq. 1
 * Frames go through scratch a panel at a time. A panel row of zeros stands before each frame's
 * patches, in the place of the class row: so one product covers all rows of several frames, y and
 * dy are used where they lie, and the class row adds nothing to dW. */
#include "ops_internal.h"

typedef struct {
    size_t frames, size, patch, rows, width, d; /* rows N + 1 of one frame; width 3 p p */
    size_t panel;                               /* frames in scratch at a time */
} sizes;

static sizes sizes_of(const cf_node *n)
{
    const cf_tensor *x = n->in[0], *w = n->in[1];
    sizes s = { .frames = x->shape.dim[0],
                .size = x->shape.dim[2],
                .patch = w->shape.dim[2],
                .d = w->shape.dim[0] };
    size_t g = s.size / s.patch;
    s.rows = g * g + 1;
    s.width = 3 * s.patch * s.patch;
    s.panel = CF_PANEL_BYTES / (s.rows * s.width * sizeof(cf_real));
    if (s.panel < 1) s.panel = 1;
    if (s.panel > s.frames) s.panel = s.frames;
    return s;
}

static cf_status patch_infer(cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 4));
    const cf_shape *x = &n->in[0]->shape, *w = &n->in[1]->shape, *c = &n->in[2]->shape,
                   *p = &n->in[3]->shape;
    if (x->rank != 4 || x->dim[1] != 3 || x->dim[2] != x->dim[3] || n->in[0]->n == 0)
        return CF_FAIL(CF_ESHAPE, "patch_embed: pictures are %s, not [frames, 3, S, S]",
                       CF_SHAPE_TEXT(*x));
    if (w->rank != 4 || w->dim[1] != 3 || w->dim[2] != w->dim[3] || n->in[1]->n == 0)
        return CF_FAIL(CF_ESHAPE, "patch_embed: weight is %s, not [d, 3, p, p]", CF_SHAPE_TEXT(*w));
    if (x->dim[2] % w->dim[2] != 0)
        return CF_FAIL(CF_ESHAPE, "patch_embed: pictures of %zu pixels in patches of %zu",
                       x->dim[2], w->dim[2]);
    sizes s = sizes_of(n);
    if (c->rank != 1 || c->dim[0] != s.d)
        return CF_FAIL(CF_ESHAPE, "patch_embed: class embedding is %s, not [%zu]",
                       CF_SHAPE_TEXT(*c), s.d);
    if (p->rank != 2 || p->dim[0] != s.rows || p->dim[1] != s.d)
        return CF_FAIL(CF_ESHAPE, "patch_embed: position is %s, not [%zu, %zu]", CF_SHAPE_TEXT(*p),
                       s.rows, s.d);
    cf_out_shape(n, cf_shape_of(s.frames, s.rows, s.d));
    size_t sums = cf_col_sum_scratch(s.rows * s.d), class_sums = cf_col_sum_scratch(s.d);
    n->n_scratch_forward = s.panel * s.rows * s.width;
    n->n_scratch_backward = n->n_scratch_forward;
    if (n->n_scratch_backward < sums) n->n_scratch_backward = sums;
    if (n->n_scratch_backward < class_sums) n->n_scratch_backward = class_sums;
    double flop = 2.0 * (double)(s.frames * (s.rows - 1)) * (double)s.width * (double)s.d;
    n->flop_forward = flop;
    n->flop_backward = flop * (n->in[0]->needs_grad + n->in[1]->needs_grad);
    return CF_OK;
}

/* Panel rows of `count` frames from `first` on. */
static void cut_patches(cf_real *panel, const cf_node *n, const sizes *s, size_t first,
                        size_t count)
{
    size_t pitch = s->rows * s->width;
    for (size_t f = 0; f < count; f++) memset(panel + f * pitch, 0, s->width * sizeof *panel);
    cf_im2col(panel + s->width, pitch, n->in[0]->data + first * 3 * s->size * s->size, count,
              s->size, s->patch);
}

CF_KERNEL static void start_rows(cf_real *y, const cf_real *class_row, const cf_real *position,
                                 size_t rows, size_t d)
{
    memcpy(y, position, rows * d * sizeof *y);
#pragma omp simd
    for (size_t j = 0; j < d; j++) y[j] += class_row[j];
}

static void patch_forward(const cf_node *n)
{
    sizes s = sizes_of(n);
    cf_real *y = n->out->data;
#pragma omp parallel for schedule(static)
    for (size_t f = 0; f < s.frames; f++)
        start_rows(y + f * s.rows * s.d, n->in[2]->data, n->in[3]->data, s.rows, s.d);
    for (size_t f = 0; f < s.frames; f += s.panel) {
        size_t count = s.frames - f < s.panel ? s.frames - f : s.panel;
        cut_patches(n->scratch, n, &s, f, count);
        cf_gemm(false, true, count * s.rows, s.d, s.width, 1, n->scratch, s.width, n->in[1]->data,
                s.width, 1, y + f * s.rows * s.d, s.d);
    }
}

static void patch_backward(const cf_node *n)
{
    sizes s = sizes_of(n);
    const cf_real *dy = n->out->grad;
    bool stores;
    cf_real *dx = cf_grad(n, 0), *dw = cf_grad_fresh(n, 1, &stores), *dclass = cf_grad(n, 2),
            *dposition = cf_grad(n, 3);
    if (dposition) cf_col_sum(dposition, dy, s.frames, s.rows * s.d, s.rows * s.d, n->scratch);
    if (dclass) cf_col_sum(dclass, dy, s.frames, s.d, s.rows * s.d, n->scratch);
    for (size_t f = 0; f < s.frames && (dw || dx); f += s.panel) {
        size_t count = s.frames - f < s.panel ? s.frames - f : s.panel;
        const cf_real *dy_panel = dy + f * s.rows * s.d;
        if (dw) {
            cut_patches(n->scratch, n, &s, f, count);
            cf_gemm(true, false, s.d, s.width, count * s.rows, 1, dy_panel, s.d, n->scratch,
                    s.width, stores && f == 0 ? 0 : 1, dw, s.width);
        }
        if (!dx) continue;
        cf_gemm(false, false, count * s.rows, s.width, s.d, 1, dy_panel, s.d, n->in[1]->data,
                s.width, 0, n->scratch, s.width);
        cf_col2im_add(dx + f * 3 * s.size * s.size, n->scratch + s.width, s.rows * s.width, count,
                      s.size, s.patch);
    }
}

const cf_op cf_op_patch_embed = {
    .name = "patch_embed",
    .family = "gemm",
    .arity = 4,
    .infer = patch_infer,
    .forward = patch_forward,
    .backward = patch_backward,
};

cf_tensor *cf_patch_embed(cf_tape *t, cf_tensor *pictures, cf_tensor *weight,
                          cf_tensor *class_embedding, cf_tensor *position)
{
    cf_tensor *const in[] = { pictures, weight, class_embedding, position };
    return cf_apply(t, &cf_op_patch_embed, in, NULL);
}
