/* gradcheck: see gradcheck.h. */
#include "gradcheck.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

const grad_case *const grad_case_lists[] = { grad_cases_fused, grad_cases_primitive, NULL };

#define STEP (CF_REAL_IS_DOUBLE ? 1e-5 : 1e-2)
#define LIMIT (CF_REAL_IS_DOUBLE ? 1e-7 : 1e-3)
#define SAME_LIMIT (CF_REAL_IS_DOUBLE ? 1e-12 : 2e-5) /* other order of the same sums */
#define ALL_ELEMENTS ((size_t)64)
#define N_DIRECTIONS 2
#define PAD ((size_t)3) /* elements before and after an input that is a view */

typedef struct {
    cf_tape *t;
    const grad_case *c;
    cf_real *data[CF_MAX_IN], *grad[CF_MAX_IN], *again[CF_MAX_IN];
    size_t n[CF_MAX_IN], n_out;
    cf_real *w;
    grad_report report;
} check;

/* ---- values ---------------------------------------------------------------------------------- */

static void *allocated(size_t count, size_t size)
{
    void *p = NULL;
    cf_status status = cf_alloc_zero(&p, count, size);
    CF_ASSERT(status == CF_OK);
    return p;
}

static cf_rng stream(const grad_case *c, uint64_t what)
{
    return cf_rng_make(cf_hash64(c->what, strlen(c->what)), CF_RNG_TEST, 0, what);
}

static void fill(cf_real *x, size_t n, cf_rng r, double offset, double scale)
{
    for (size_t i = 0; i < n; i++) x[i] = (cf_real)(offset + scale * (2 * cf_rng_uniform(&r) - 1));
}

static size_t input_count(const grad_input *in)
{
    return in->kind == GRAD_ABSENT ? 0 : cf_shape_count(&in->shape);
}

static bool wanted(const grad_case *c, int i)
{
    return i < c->n_in && c->in[i].kind == GRAD_WANTED;
}

void grad_data_new(cf_real *data[CF_MAX_IN], const grad_case *c)
{
    for (int i = 0; i < CF_MAX_IN; i++) data[i] = NULL;
    for (int i = 0; i < c->n_in; i++) {
        size_t n = input_count(&c->in[i]);
        data[i] = allocated(n, sizeof **data);
        fill(data[i], n, stream(c, (uint64_t)i), c->in[i].offset,
             c->in[i].scale != 0 ? c->in[i].scale : 1);
    }
}

void grad_data_free(cf_real *data[CF_MAX_IN])
{
    for (int i = 0; i < CF_MAX_IN; i++) cf_free(data[i]);
}

void grad_inputs(cf_tensor *in[CF_MAX_IN], cf_tape *t, const grad_case *c, cf_real *const data[])
{
    for (int i = 0; i < CF_MAX_IN; i++) {
        in[i] = NULL;
        if (i < c->n_in && c->in[i].kind != GRAD_ABSENT)
            in[i] = cf_tensor_input(t, c->in[i].shape, data[i], wanted(c, i));
    }
}

cf_tensor *grad_loss(cf_tape *t, cf_tensor *y, const cf_real *w)
{
    if (!y) return NULL;
    cf_shape flat = cf_shape_of(y->n);
    return cf_sum(t, cf_mul(t, cf_reshape(t, y, flat), cf_tensor_input(t, flat, w, false)), 0);
}

/* ---- forward --------------------------------------------------------------------------------- */

/* sum(w * y) in double; NaN if the operation fails. */
static double loss_of(check *k)
{
    cf_tensor *in[CF_MAX_IN];
    cf_tape_reset(k->t);
    cf_tape_record(k->t, false);
    grad_inputs(in, k->t, k->c, k->data);
    const cf_tensor *y = k->c->build(k->t, k->c, in);
    cf_tape_record(k->t, true);
    double sum = 0;
    for (size_t i = 0; y && i < y->n; i++) sum += (double)k->w[i] * (double)y->data[i];
    return y ? sum : NAN;
}

/* ---- backward, in several ways --------------------------------------------------------------- */

typedef struct {
    const char *name;
    bool prefilled, view, part, segment;
    bool empty; /* a gradient's memory is there and holds NaN, which must be written over */
    int only;   /* the one input that wants a gradient; -1: all */
} way;

typedef struct {
    cf_tensor *leaf; /* who gets the gradient: the input, or the tensor it is a view of */
    size_t before;   /* elements of leaf before the input */
    cf_real *memory, *filled;
} placed;

static void make_empty(cf_tensor *x)
{
    x->grad = allocated(x->n, sizeof *x->grad);
    x->grad_empty = true;
    for (size_t i = 0; i < x->n; i++) x->grad[i] = (cf_real)NAN;
}

static cf_tensor *place_input(placed *p, check *k, int i, const way *how)
{
    const grad_input *in = &k->c->in[i];
    bool needs = wanted(k->c, i) && (how->only < 0 || how->only == i);
    size_t n = k->n[i];
    *p = (placed){ .before = how->part ? PAD : 0 };
    size_t whole = n + 2 * p->before;
    if (how->view) {
        p->memory = allocated(whole, sizeof *p->memory);
        memcpy(p->memory + p->before, k->data[i], n * sizeof *p->memory);
        p->leaf = cf_tensor_input(k->t, cf_shape_of(whole), p->memory, needs);
        if (how->empty && needs) make_empty(p->leaf);
        cf_tensor *rows = how->part ? cf_rows(k->t, p->leaf, p->before, n) : p->leaf;
        return cf_reshape(k->t, rows, in->shape);
    }
    p->leaf = cf_tensor_input(k->t, in->shape, k->data[i], needs);
    if (how->empty && needs) make_empty(p->leaf);
    if (how->prefilled && needs) {
        p->filled = allocated(n, sizeof *p->filled);
        fill(p->filled, n, stream(k->c, 200 + (uint64_t)i), 0, 1);
        p->leaf->grad = allocated(n, sizeof *p->filled);
        memcpy(p->leaf->grad, p->filled, n * sizeof *p->filled);
    }
    return p->leaf;
}

static void failed(check *k, const char *what, const char *how, int input, size_t at)
{
    if (!k->report.ok) return;
    k->report.ok = false;
    k->report.worst = INFINITY;
    char place[64] = "";
    if (input >= 0) snprintf(place, sizeof place, ", input %d, element %zu", input, at);
    snprintf(k->report.where, sizeof k->report.where, "%.120s (%s%s)", what, how, place);
}

static void read_gradient(cf_real *to, check *k, int i, const placed *p, const way *how)
{
    const cf_real *g = p->leaf->grad;
    if (!g) {
        failed(k, "no gradient arrived", how->name, i, 0);
        return;
    }
    for (size_t j = 0; j < k->n[i]; j++) to[j] = g[p->before + j] - (p->filled ? p->filled[j] : 0);
    for (size_t j = 0; j < p->before; j++)
        if (g[j] != 0 || g[p->before + k->n[i] + j] != 0)
            failed(k, "a gradient outside the view", how->name, i, j);
}

/* The gradient of each wanted input into grads. */
static void backward_of(cf_real *const grads[], check *k, const way *how)
{
    placed p[CF_MAX_IN] = { { 0 } };
    cf_tensor *in[CF_MAX_IN] = { NULL };
    cf_tape_reset(k->t);
    for (int i = 0; i < k->c->n_in; i++)
        if (k->c->in[i].kind != GRAD_ABSENT) in[i] = place_input(&p[i], k, i, how);
    cf_tensor *y = how->segment ? cf_segment(k->t, k->c->build, k->c, sizeof *k->c, in, k->c->n_in)
                                : k->c->build(k->t, k->c, in);
    cf_tensor *loss = grad_loss(k->t, y, k->w);
    if (!loss || cf_tape_backward(k->t, loss, 1) != CF_OK) failed(k, cf_error(), how->name, -1, 0);
    for (int i = 0; i < k->c->n_in; i++) {
        bool read = wanted(k->c, i) && (how->only < 0 || how->only == i);
        if (read && k->report.ok) read_gradient(grads[i], k, i, &p[i], how);
        if ((how->prefilled || how->empty) && p[i].leaf) cf_free(p[i].leaf->grad);
        cf_free(p[i].memory);
        cf_free(p[i].filled);
    }
    cf_tape_reset(k->t);
}

static double error_of(double a, double b)
{
    double size = fmax(1, fmax(fabs(a), fabs(b)));
    return fabs(a - b) / size;
}

/* The same gradient again, another way: within `limit`, or bit for bit when it is 0. */
static void compare_way(check *k, way how, double limit)
{
    if (!k->report.ok) return;
    backward_of(k->again, k, &how);
    for (int i = 0; i < k->c->n_in && k->report.ok; i++) {
        if (!wanted(k->c, i) || (how.only >= 0 && how.only != i)) continue;
        for (size_t j = 0; j < k->n[i]; j++)
            if (!(error_of((double)k->again[i][j], (double)k->grad[i][j]) <= limit))
                failed(k, "another gradient", how.name, i, j);
    }
}

/* Repetition and recomputation give the same bits. */
static void compare_bits(check *k)
{
    compare_way(k, (way){ .name = "once more", .only = -1 }, 0);
    if (k->c->op->backward && !k->c->quick)
        compare_way(k, (way){ .name = "segment", .segment = true, .only = -1 }, 0);
}

/* The others may sum in another order. */
static void compare_ways(check *k)
{
    int n_wanted = 0;
    for (int i = 0; i < k->c->n_in; i++) n_wanted += wanted(k->c, i);
    if (k->c->quick) return;
    compare_way(k, (way){ .name = "pre-filled", .prefilled = true, .only = -1 }, SAME_LIMIT);
    compare_way(k, (way){ .name = "whole view", .view = true, .only = -1 }, SAME_LIMIT);
    compare_way(k, (way){ .name = "view of a part", .view = true, .part = true, .only = -1 },
                SAME_LIMIT);
    compare_way(k, (way){ .name = "empty", .empty = true, .only = -1 }, SAME_LIMIT);
    compare_way(k, (way){ .name = "view of empty", .empty = true, .view = true, .only = -1 },
                SAME_LIMIT);
    compare_way(
        k, (way){ .name = "part of empty", .empty = true, .view = true, .part = true, .only = -1 },
        SAME_LIMIT);
    for (int i = 0; i < k->c->n_in && n_wanted > 1; i++)
        if (wanted(k->c, i)) compare_way(k, (way){ .name = "alone", .only = i }, SAME_LIMIT);
}

/* ---- differences ----------------------------------------------------------------------------- */

static void note(check *k, double analytic, double numeric, int input, const char *kind, size_t at)
{
    double error = error_of(analytic, numeric);
    if (error <= k->report.worst) return;
    k->report.worst = isnan(error) ? INFINITY : error;
    snprintf(k->report.where, sizeof k->report.where,
             "input %d, %s %zu: backward says %.9g, differences say %.9g", input, kind, at,
             analytic, numeric);
}

static void check_element(check *k, int i, size_t at)
{
    cf_real *x = k->data[i] + at, before = *x;
    volatile cf_real high = (cf_real)((double)before + STEP),
                     low = (cf_real)((double)before - STEP);
    *x = high;
    double up = loss_of(k);
    *x = low;
    double down = loss_of(k);
    *x = before;
    note(k, (double)k->grad[i][at], (up - down) / ((double)high - (double)low), i, "element", at);
}

/* All elements move by +-step at once: analytic and numeric change per step. */
static void check_direction(check *k, int i, uint64_t which)
{
    size_t n = k->n[i];
    cf_rng r = stream(k->c, 300 + 10 * (uint64_t)i + which);
    cf_real *before = k->data[i], *high = k->again[i], *low = allocated(n, sizeof *low);
    double analytic = 0;
    for (size_t j = 0; j < n; j++) {
        double step = cf_rng_u32(&r) & 1 ? STEP : -STEP;
        high[j] = (cf_real)((double)before[j] + step);
        low[j] = (cf_real)((double)before[j] - step);
        analytic += (double)k->grad[i][j] * ((double)high[j] - (double)low[j]);
    }
    k->data[i] = high;
    double up = loss_of(k);
    k->data[i] = low;
    double down = loss_of(k);
    k->data[i] = before;
    cf_free(low);
    note(k, analytic / (2 * STEP), (up - down) / (2 * STEP), i, "direction", (size_t)which);
}

static void check_input(check *k, int i)
{
    size_t n = k->n[i], samples = k->c->samples ? (size_t)k->c->samples : 48;
    bool all = n <= ALL_ELEMENTS && (k->c->samples == 0 || n <= samples);
    cf_rng r = stream(k->c, 100 + (uint64_t)i);
    for (size_t s = 0; s < (all ? n : samples); s++) {
        size_t at = all ? s : s == 0 ? 0 : s == 1 ? n - 1 : cf_rng_below(&r, (uint32_t)n);
        check_element(k, i, at);
    }
    for (uint64_t d = 0; !all && d < N_DIRECTIONS; d++) check_direction(k, i, d);
}

/* ---- one case -------------------------------------------------------------------------------- */

static bool prepare(check *k)
{
    cf_tensor *in[CF_MAX_IN];
    grad_data_new(k->data, k->c);
    for (int i = 0; i < k->c->n_in; i++) {
        k->n[i] = input_count(&k->c->in[i]);
        k->grad[i] = allocated(k->n[i], sizeof **k->grad);
        k->again[i] = allocated(k->n[i], sizeof **k->again);
    }
    cf_tape_reset(k->t);
    grad_inputs(in, k->t, k->c, k->data);
    const cf_tensor *y = k->c->build(k->t, k->c, in);
    if (!y) {
        failed(k, cf_error(), "forward", -1, 0);
        return false;
    }
    k->n_out = y->n;
    k->w = allocated(k->n_out, sizeof *k->w);
    fill(k->w, k->n_out, stream(k->c, 400), 0, 1);
    return true;
}

grad_report gradcheck(cf_tape *t, const grad_case *c)
{
    check k = { .t = t, .c = c, .report = { .ok = true, .worst = -1 } };
    if (prepare(&k)) {
        /* In thousands of tiny runs threads would only wait for each other. */
        int threads = omp_get_max_threads();
        if (c->samples == 0) omp_set_num_threads(1);
        backward_of(k.grad, &k, &(way){ .name = "plain", .only = -1 });
        compare_bits(&k);
        omp_set_num_threads(1);
        compare_ways(&k);
        for (int i = 0; i < c->n_in && k.report.ok; i++)
            if (wanted(c, i)) check_input(&k, i);
        omp_set_num_threads(threads);
        if (!(k.report.worst <= LIMIT)) k.report.ok = false;
    }
    grad_data_free(k.data);
    grad_data_free(k.grad);
    grad_data_free(k.again);
    cf_free(k.w);
    return k.report;
}
