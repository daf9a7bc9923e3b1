/* Element by element: add, mul (with broadcasting), scale, exp, quick_gelu.
 *
 * Broadcasting: b has a's shape, or a trailing part of it (leading 1s dropped), or one element. So
 * a is [rows, cols] and b [cols] on flat memory, cols = b's count; the gradient of b sums over the
 * rows. Loops run over tiles: some rows of some columns, one thread each. */
#include "ops_internal.h"

#define TILE ((size_t)4096)

typedef struct {
    size_t rows, cols, row_step, tiles_across, tiles;
} grid;

static grid grid_of(size_t rows, size_t cols)
{
    grid g = { .rows = rows, .cols = cols };
    g.row_step = cols >= TILE ? 1 : TILE / (cols ? cols : 1);
    g.tiles_across = cols == 0 ? 0 : (cols + TILE - 1) / TILE;
    g.tiles = (rows + g.row_step - 1) / g.row_step * g.tiles_across;
    return g;
}

typedef struct {
    size_t at, column, rows, cols; /* first element of a, of b; size */
} tile;

static tile tile_of(const grid *g, size_t i)
{
    size_t row = i / g->tiles_across * g->row_step, column = i % g->tiles_across * TILE;
    return (tile){ .at = row * g->cols + column,
                   .column = column,
                   .rows = g->rows - row < g->row_step ? g->rows - row : g->row_step,
                   .cols = g->cols - column < TILE ? g->cols - column : TILE };
}

static cf_status broadcast_infer(cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 2));
    const cf_shape *a = &n->in[0]->shape, *b = &n->in[1]->shape;
    int skip = 0;
    while (skip < b->rank && b->dim[skip] == 1) skip++;
    int rank = b->rank - skip, lead = a->rank - rank;
    bool fits = lead >= 0;
    for (int i = 0; fits && i < rank; i++) fits = b->dim[skip + i] == a->dim[lead + i];
    if (!fits)
        return CF_FAIL(CF_ESHAPE, "%s: b is %s, which is no trailing part of a, %s", n->op->name,
                       CF_SHAPE_TEXT(*b), CF_SHAPE_TEXT(*a));
    cf_out_shape(n, *a);
    return CF_OK;
}

static grid broadcast_grid(const cf_node *n)
{
    size_t cols = n->in[1]->n;
    return grid_of(cols ? n->in[0]->n / cols : 0, cols);
}

/* A fixed number of parts, so that the result does not depend on the number of threads. */
#define SUM_PARTS ((size_t)64)

CF_KERNEL static double sum_range(const cf_real *x, size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += (double)x[i];
    return sum;
}

CF_KERNEL static double dot_range(const cf_real *x, const cf_real *y, size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

/* sum x y; y NULL: sum x. */
static double sum_all(const cf_real *x, const cf_real *y, size_t n)
{
    double part[SUM_PARTS], sum = 0;
    size_t step = n / SUM_PARTS + 1;
#pragma omp parallel for schedule(static) if (n >= CF_PARALLEL_MIN)
    for (size_t p = 0; p < SUM_PARTS; p++) {
        size_t at = p * step < n ? p * step : n, count = n - at < step ? n - at : step;
        part[p] = y ? dot_range(x + at, y + at, count) : sum_range(x + at, count);
    }
    for (size_t p = 0; p < SUM_PARTS; p++) sum += part[p];
    return sum;
}

/* ---- add ---------------------------------------------------------------------------------------
 *   y = a + b;  da = dy;  db = dy summed over the repeated axes
 *   keeps  nothing
 *   errors CF_ESHAPE: b does not fit */
CF_KERNEL static void add_tile(cf_real *y, const cf_real *a, const cf_real *b, tile t, size_t ld)
{
    if (ld == 1) {
        cf_real one = *b;
#pragma omp simd
        for (size_t r = 0; r < t.rows; r++) y[r] = a[r] + one;
        return;
    }
    for (size_t r = 0; r < t.rows; r++, y += ld, a += ld) {
#pragma omp simd
        for (size_t j = 0; j < t.cols; j++) y[j] = a[j] + b[j];
    }
}

static cf_status add_infer(cf_node *n)
{
    CF_TRY(broadcast_infer(n));
    if (n->in[1]->n > 1 && n->in[1]->n < n->in[0]->n)
        n->n_scratch_backward = cf_col_sum_scratch(n->in[1]->n);
    n->pass = n->in[1]->n == n->out->n && !n->in[0]->needs_grad ? 2 : 1;
    return CF_OK;
}

static void add_forward(const cf_node *n)
{
    const cf_real *a = n->in[0]->data, *b = n->in[1]->data;
    cf_real *y = n->out->data;
    grid g = broadcast_grid(n);
#pragma omp parallel for schedule(static) if (n->out->n >= CF_PARALLEL_MIN)
    for (size_t i = 0; i < g.tiles; i++) {
        tile t = tile_of(&g, i);
        add_tile(y + t.at, a + t.at, b + t.column, t, g.cols);
    }
}

static void add_backward(const cf_node *n)
{
    const cf_real *dy = n->out->grad;
    size_t cols = n->in[1]->n;
    if (n->pass == 2) {
        cf_grad_pass(n);
        return;
    }
    bool fresh = false;
    cf_real *db = cols == n->out->n ? cf_grad_fresh(n, 1, &fresh) : cf_grad(n, 1);
    if (db && fresh)
        cf_vec_copy(db, dy, cols);
    else if (db && cols == n->out->n)
        cf_vec_add(db, dy, cols);
    else if (db && cols == 1)
        db[0] += (cf_real)sum_all(dy, NULL, n->out->n);
    else if (db)
        cf_col_sum(db, dy, n->out->n / cols, cols, cols, n->scratch);
    cf_grad_pass(n);
}

const cf_op cf_op_add = {
    .name = "add",
    .family = "elementwise",
    .arity = 2,
    .infer = add_infer,
    .forward = add_forward,
    .backward = add_backward,
};

cf_tensor *cf_add(cf_tape *t, cf_tensor *a, cf_tensor *b)
{
    cf_tensor *const in[] = { a, b };
    return cf_apply(t, &cf_op_add, in, NULL);
}

/* ---- mul ---------------------------------------------------------------------------------------
 *   y = a b;  da = dy b;  db = dy a summed over the repeated axes
 *   keeps  nothing
 *   errors CF_ESHAPE: b does not fit */
CF_KERNEL static void mul_tile(cf_real *y, const cf_real *a, const cf_real *b, tile t, size_t ld)
{
    if (ld == 1) {
        cf_real one = *b;
#pragma omp simd
        for (size_t r = 0; r < t.rows; r++) y[r] = a[r] * one;
        return;
    }
    for (size_t r = 0; r < t.rows; r++, y += ld, a += ld) {
#pragma omp simd
        for (size_t j = 0; j < t.cols; j++) y[j] = a[j] * b[j];
    }
}

CF_KERNEL static void mul_add_tile(cf_real *y, const cf_real *a, const cf_real *b, tile t,
                                   size_t ld)
{
    if (ld == 1) {
        cf_real one = *b;
#pragma omp simd
        for (size_t r = 0; r < t.rows; r++) y[r] += a[r] * one;
        return;
    }
    for (size_t r = 0; r < t.rows; r++, y += ld, a += ld) {
#pragma omp simd
        for (size_t j = 0; j < t.cols; j++) y[j] += a[j] * b[j];
    }
}

/* y [rows, cols] = or += a [rows, cols] * b [cols] */
static void multiply(cf_real *y, const cf_real *a, const cf_real *b, grid g, bool add)
{
#pragma omp parallel for schedule(static) if (g.rows * g.cols >= CF_PARALLEL_MIN)
    for (size_t i = 0; i < g.tiles; i++) {
        tile t = tile_of(&g, i);
        if (add)
            mul_add_tile(y + t.at, a + t.at, b + t.column, t, g.cols);
        else
            mul_tile(y + t.at, a + t.at, b + t.column, t, g.cols);
    }
}

static void mul_forward(const cf_node *n)
{
    multiply(n->out->data, n->in[0]->data, n->in[1]->data, broadcast_grid(n), false);
}

#define STRIPE ((size_t)64)

CF_KERNEL static void dot_columns(cf_real *db, const cf_real *dy, const cf_real *a, size_t rows,
                                  size_t width, size_t ld)
{
    double acc[STRIPE] = { 0 };
    for (size_t r = 0; r < rows; r++, dy += ld, a += ld) {
#pragma omp simd
        for (size_t j = 0; j < width; j++) acc[j] += (double)dy[j] * (double)a[j];
    }
    for (size_t j = 0; j < width; j++) db[j] = (cf_real)((double)db[j] + acc[j]);
}

static void mul_backward(const cf_node *n)
{
    const cf_real *dy = n->out->grad, *a = n->in[0]->data, *b = n->in[1]->data;
    size_t cols = n->in[1]->n, count = n->out->n;
    bool fresh;
    cf_real *da = cf_grad_fresh(n, 0, &fresh);
    if (da) multiply(da, dy, b, broadcast_grid(n), !fresh);
    if (cols == count) {
        cf_real *db = cf_grad_fresh(n, 1, &fresh);
        if (db) multiply(db, dy, a, broadcast_grid(n), !fresh);
        return;
    }
    cf_real *db = cf_grad(n, 1);
    if (db && cols == 1) db[0] += (cf_real)sum_all(dy, a, count);
    if (!db || cols == 1) return;
    size_t stripes = (cols + STRIPE - 1) / STRIPE;
#pragma omp parallel for schedule(static) if (count >= CF_PARALLEL_MIN)
    for (size_t s = 0; s < stripes; s++) {
        size_t at = s * STRIPE, width = cols - at < STRIPE ? cols - at : STRIPE;
        dot_columns(db + at, dy + at, a + at, count / cols, width, cols);
    }
}

const cf_op cf_op_mul = {
    .name = "mul",
    .family = "elementwise",
    .arity = 2,
    .infer = broadcast_infer,
    .forward = mul_forward,
    .backward = mul_backward,
};

cf_tensor *cf_mul(cf_tape *t, cf_tensor *a, cf_tensor *b)
{
    cf_tensor *const in[] = { a, b };
    return cf_apply(t, &cf_op_mul, in, NULL);
}

/* ---- scale -------------------------------------------------------------------------------------
 *   y = factor a;  da = factor dy
 *   keeps  nothing */
typedef struct {
    cf_real factor;
} scale_param;

static cf_status same_infer(cf_node *n)
{
    CF_TRY(cf_need_inputs(n, 1));
    cf_out_shape(n, n->in[0]->shape);
    return CF_OK;
}

static void scale_forward(const cf_node *n)
{
    const scale_param *p = n->param;
    multiply(n->out->data, n->in[0]->data, &p->factor, grid_of(n->out->n, 1), false);
}

static void scale_backward(const cf_node *n)
{
    const scale_param *p = n->param;
    bool fresh;
    cf_real *da = cf_grad_fresh(n, 0, &fresh);
    if (da) multiply(da, n->out->grad, &p->factor, grid_of(n->out->n, 1), !fresh);
}

const cf_op cf_op_scale = {
    .name = "scale",
    .family = "elementwise",
    .arity = 1,
    .param_size = sizeof(scale_param),
    .infer = same_infer,
    .forward = scale_forward,
    .backward = scale_backward,
};

cf_tensor *cf_scale(cf_tape *t, cf_tensor *a, cf_real factor)
{
    cf_tensor *const in[] = { a };
    return cf_apply(t, &cf_op_scale, in, &(scale_param){ factor });
}

/* ---- exp ---------------------------------------------------------------------------------------
 *   y = exp(a);  da = dy y
 *   keeps  nothing: y is there */
static void exp_forward(const cf_node *n)
{
    const cf_real *a = n->in[0]->data;
    cf_real *y = n->out->data;
    size_t count = n->out->n;
#pragma omp parallel for schedule(static) if (count >= CF_PARALLEL_MIN)
    for (size_t i = 0; i < count; i++) y[i] = (cf_real)exp((double)a[i]);
}

static void exp_backward(const cf_node *n)
{
    bool fresh;
    cf_real *da = cf_grad_fresh(n, 0, &fresh);
    if (da) multiply(da, n->out->grad, n->out->data, grid_of(1, n->out->n), !fresh);
}

const cf_op cf_op_exp = {
    .name = "exp",
    .family = "elementwise",
    .arity = 1,
    .infer = same_infer,
    .forward = exp_forward,
    .backward = exp_backward,
};

cf_tensor *cf_exp(cf_tape *t, cf_tensor *a)
{
    cf_tensor *const in[] = { a };
    return cf_apply(t, &cf_op_exp, in, NULL);
}

/* ---- quick_gelu --------------------------------------------------------------------------------
 *   y = a s, s = sigmoid(1.702 a);  da = dy (s + 1.702 a s (1 - s))
 *   keeps  nothing: a is there
 *   source Hendrycks, Gimpel 2016, arXiv:1606.08415, section 2 */
static void gelu_forward(const cf_node *n)
{
    cf_quick_gelu_forward(n->out->data, n->in[0]->data, n->out->n);
}

static void gelu_backward(const cf_node *n)
{
    bool fresh;
    cf_real *da = cf_grad_fresh(n, 0, &fresh);
    if (da) cf_quick_gelu_backward(da, n->out->grad, n->in[0]->data, n->out->n, !fresh);
}

const cf_op cf_op_quick_gelu = {
    .name = "quick_gelu",
    .family = "elementwise",
    .arity = 1,
    .infer = same_infer,
    .forward = gelu_forward,
    .backward = gelu_backward,
};

cf_tensor *cf_quick_gelu(cf_tape *t, cf_tensor *a)
{
    cf_tensor *const in[] = { a };
    return cf_apply(t, &cf_op_quick_gelu, in, NULL);
}
