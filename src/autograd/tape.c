/* The tape: runs operations as they are called, remembers what backward needs, and walks back.
 *
 * Memory of one operation in the value arena: the output tensor, its data, the kept values and the
 * node stay until reset (or until the surrounding segment ends); scratch is given back at once.
 * Gradients of intermediates live in the gradient arena, see pool.c, or over the values of their
 * tensor, if the one operation that reads those can write there (n->over) and the one that made
 * them has no use for them any more (forgets_out).
 *
 * Gradients of parameters may lie over the values (cf_tape_share). Backward then gives a node's
 * values back as it goes on, so the arena shrinks while the block fills from its end, and whatever
 * is pushed goes through push_value, which moves the block out of the way where it must.
 *
 * A dry tape takes the same way, so that its peaks are those of a real one: it pushes, marks and
 * rewinds on arenas that only count, and leaves out what would touch a number. Of an operation it
 * needs infer alone: which gradients backward asks for, and in which order, is the same for all. */
#include <string.h>

#include "ops/ops_internal.h"
#include "tape.h"

/* ---- life ------------------------------------------------------------------------------------ */

#define DRY_BYTES ((size_t)1 << 30) /* most of a dry step's nodes and lists */

cf_status cf_tape_new(cf_tape **out, const cf_tape_options *options)
{
    static const cf_tape_options standard;
    const cf_tape_options *o = options ? options : &standard;
    cf_status status = CF_OK;
    cf_tape *t = NULL;
    CF_TRY(cf_alloc_zero(&t, 1, sizeof *t));
    t->record = true;
    if (o->dry) {
        CF_GO(cf_arena_new(&t->dry, "plan", DRY_BYTES));
        CF_GO(cf_arena_new_counting(&t->values, "activation"));
        CF_GO(cf_arena_new_counting(&t->pool.arena, "gradient"));
        t->pool.dry = t->dry;
    } else {
        CF_GO(cf_arena_new(&t->values, "activation", o->limit_bytes));
        CF_GO(cf_arena_new(&t->pool.arena, "gradient", o->limit_bytes));
    }
    *out = t;
    return CF_OK;
done:
    cf_tape_free(t);
    return status;
}

void cf_tape_free(cf_tape *t)
{
    if (!t) return;
    cf_arena_free(t->values);
    cf_arena_free(t->pool.arena);
    cf_arena_free(t->dry);
    cf_free(t);
}

void cf_tape_reset(cf_tape *t)
{
    cf_arena_rewind(t->values, 0);
    cf_pool_reset(&t->pool);
    if (t->dry) cf_arena_rewind(t->dry, 0);
    t->last = NULL;
    t->status = CF_OK;
    t->flop = 0;
}

cf_status cf_tape_status(const cf_tape *t) { return t->status; }

bool cf_tape_record(cf_tape *t, bool on)
{
    bool before = t->record;
    t->record = on;
    return before;
}

bool cf_tape_recording(const cf_tape *t) { return t->record; }

bool cf_tape_is_dry(const cf_tape *t) { return t->dry != NULL; }

cf_tape_stats cf_tape_stats_get(const cf_tape *t)
{
    size_t peak = cf_arena_peak(t->values), end = t->grads_at + t->grads_bytes;
    return (cf_tape_stats){ .activation_peak = peak,
                            .gradient_peak = cf_arena_peak(t->pool.arena),
                            .gradients_at = t->grads_at,
                            .shared_bytes = end > peak ? end : peak,
                            .flop = t->flop };
}

/* ---- profile --------------------------------------------------------------------------------- */

void cf_tape_profile(cf_tape *t, bool on)
{
    t->profiling = on;
    if (on) t->n_profile = 0;
}

size_t cf_tape_profile_get(const cf_tape *t, cf_tape_profile_row *rows, size_t max)
{
    for (size_t i = 0; i < t->n_profile && i < max; i++) rows[i] = t->profile[i];
    return t->n_profile;
}

static cf_tape_profile_row *profile_row(cf_tape *t, const char *family)
{
    for (size_t i = 0; i < t->n_profile; i++)
        if (strcmp(t->profile[i].family, family) == 0) return &t->profile[i];
    CF_ASSERT(t->n_profile < CF_PROFILE_ROWS);
    cf_tape_profile_row *row = &t->profile[t->n_profile++];
    *row = (cf_tape_profile_row){ .family = family };
    return row;
}

void cf_tape_watch(cf_tape *t, cf_tape_watcher *watch, void *user)
{
    t->watch = watch;
    t->watch_user = user;
}

/* What began at `start_s` has just ended. */
static void profile_node(cf_tape *t, const cf_node *n, bool backward, double start_s)
{
    cf_tape_event e = { .name = n->op->name,
                        .family = n->op->family,
                        .backward = backward,
                        .start_s = start_s,
                        .seconds = cf_seconds() - start_s,
                        .flop = backward ? n->flop_backward : n->flop_forward,
                        .out = &n->out->shape };
    cf_tape_profile_row *row = profile_row(t, e.family);
    *(backward ? &row->backward_s : &row->forward_s) += e.seconds;
    row->flop += e.flop;
    if (t->watch) t->watch(t->watch_user, &e);
}

static const cf_tensor *root_of(const cf_tensor *x)
{
    while (x->base) x = x->base;
    return x;
}

/* ---- gradients of parameters over the values ------------------------------------------------- */

static cf_status move_grads(cf_tape *t, size_t at)
{
    cf_real *to;
    CF_TRY(cf_arena_range(t->values, &to, at, t->grads_bytes));
    t->grads_at = at;
    if (to == t->grads) return CF_OK;
    if (t->held < t->grads_bytes)
        memmove((char *)to + t->held, (char *)t->grads + t->held, t->grads_bytes - t->held);
    t->grads = to;
    cf_params_put_grads(t->shared, to, t);
    return CF_OK;
}

cf_status cf_tape_share(cf_tape *t, cf_params *p, size_t offset)
{
    CF_ASSERT(!t->shared);
    t->grads_bytes = cf_params_block(p, true) * sizeof(cf_real);
    t->held = t->grads_bytes;
    t->shared = p;
    cf_status status = move_grads(t, offset);
    if (status != CF_OK) {
        t->shared = NULL;
        t->grads_bytes = 0;
        return status;
    }
    cf_params_zero_grads(p);
    return CF_OK;
}

/* A move may be of all gradients, so each goes a part of the way more than it must: a few moves, in
 * the first step, lead to where nothing moves any more. */
enum { MOST_MOVES = 32 };

static void make_room(cf_tape *t)
{
    size_t used = cf_arena_used(t->values), at = t->grads_at;
    if (t->held == t->grads_bytes || at + t->held >= used) return;
    size_t needed = used - t->held, ahead = at + t->grads_bytes / MOST_MOVES / CF_ALIGN * CF_ALIGN;
    t->status = move_grads(t, needed < ahead && !t->dry ? ahead : needed);
}

/* What node n is about to write is held from here on. All at once: its backward must not see any of
 * them move. */
static void hold_grads(cf_tape *t, const cf_node *n)
{
    for (int i = 0; i < n->op->arity; i++) {
        if (!n->in[i] || !n->in[i]->needs_grad) continue;
        const cf_tensor *root = root_of(n->in[i]);
        size_t at = (size_t)((uintptr_t)root->grad - (uintptr_t)t->grads);
        if (root->grad_empty && at < t->held) t->held = at;
    }
}

/* ---- tensors --------------------------------------------------------------------------------- */

static void *push_value(cf_tape *t, size_t count, size_t size)
{
    void *p = NULL;
    if (t->status != CF_OK) return NULL;
    t->status = cf_arena_push(t->values, &p, count, size);
    if (t->status == CF_OK) make_room(t);
    return t->status == CF_OK ? p : NULL;
}

void *cf_tape_push(cf_tape *t, size_t count, size_t size)
{
    void *p = push_value(t, count, size);
    if (t->dry && t->status == CF_OK) t->status = cf_arena_push(t->dry, &p, count, size);
    return t->status == CF_OK ? p : NULL;
}

/* Memory that only operations touch: a dry tape has none. */
static cf_real *push_numbers(cf_tape *t, size_t n) { return push_value(t, n, sizeof(cf_real)); }

cf_tensor *cf_tensor_new(cf_tape *t, cf_shape shape)
{
    cf_tensor *x = cf_tape_push(t, 1, sizeof *x);
    if (!x) return NULL;
    *x = (cf_tensor){ .shape = shape, .n = cf_shape_count(&shape), .is_leaf = true };
    x->data = push_numbers(t, x->n);
    return x->data ? x : NULL;
}

cf_tensor *cf_tensor_input(cf_tape *t, cf_shape shape, const cf_real *data, bool needs_grad)
{
    cf_tensor *x = cf_tape_push(t, 1, sizeof *x);
    if (!x) return NULL;
    *x = (cf_tensor){ .shape = shape,
                      .n = cf_shape_count(&shape),
                      .data = (cf_real *)(uintptr_t)data, /* operations never write their inputs */
                      .needs_grad = needs_grad,
                      .is_leaf = true };
    return x;
}

cf_tensor *cf_tensor_input_f32(cf_tape *t, cf_shape shape, const float *data)
{
#if CF_REAL_IS_DOUBLE
    cf_tensor *x = cf_tensor_new(t, shape);
    if (!x) return NULL;
    for (size_t i = 0; !t->dry && i < x->n; i++) x->data[i] = data[i];
    return x;
#else
    return cf_tensor_input(t, shape, data, false);
#endif
}

cf_status cf_tensor_copy(cf_real *out, const cf_tensor *x)
{
    if (!x) return CF_FAIL(CF_EINVAL, "there is no tensor to copy");
    memcpy(out, x->data, x->n * sizeof *out);
    return CF_OK;
}

/* ---- running an operation -------------------------------------------------------------------- */

void cf_out_shape(cf_node *n, cf_shape shape)
{
    n->out->shape = shape;
    n->out->n = cf_shape_count(&shape);
}

void cf_out_view(cf_node *n, cf_shape shape, size_t start)
{
    cf_out_shape(n, shape);
    n->out->base = n->in[0];
    n->out->base_start = start;
    n->out->data = n->in[0]->data + start;
    CF_ASSERT(start + n->out->n <= n->in[0]->n);
}

/* Memory for everything the operation asked for; `node` moves to the arena when it is to be
 * kept. */
static cf_node *place(cf_tape *t, cf_node *n, bool kept, cf_arena_mark_t *scratch_mark)
{
    if (!n->out->base) n->out->data = push_numbers(t, n->out->n);
    cf_node *stays = n;
    if (kept) {
        n->keep = push_numbers(t, n->n_keep);
        void *param = cf_tape_push(t, n->op->param_size, 1);
        stays = cf_tape_push(t, 1, sizeof *stays);
        if (!stays) return NULL;
        if (n->op->param_size) memcpy(param, n->param, n->op->param_size);
        n->param = param;
        n->end = cf_arena_mark(t->values);
        *stays = *n;
    }
    *scratch_mark = cf_arena_mark(t->values);
    if (!kept) stays->keep = push_numbers(t, n->n_keep);
    stays->scratch = push_numbers(t, n->n_scratch_forward);
    return t->status == CF_OK ? stays : NULL;
}

static void run_forward(cf_tape *t, const cf_node *n)
{
    t->flop += n->flop_forward;
    if (!n->op->forward || t->dry) return;
    if (!t->profiling) {
        n->op->forward(n);
        return;
    }
    double start = cf_seconds();
    n->op->forward(n);
    profile_node(t, n, false, start);
}

static void count_readers(const cf_node *n)
{
    for (int i = 0; i < n->op->arity; i++) {
        cf_tensor *x = n->in[i];
        while (x && x->base) x = x->base;
        if (x && !x->is_leaf) x->readers++;
    }
}

cf_tensor *cf_apply(cf_tape *t, const cf_op *op, cf_tensor *const in[], const void *param)
{
    if (t->status != CF_OK) return NULL;
    cf_node node = { .op = op, .tape = t, .previous = t->last, .param = param };
    cf_tensor *out = cf_tape_push(t, 1, sizeof *out);
    if (!out) return NULL;
    *out = (cf_tensor){ 0 };
    node.out = out;
    out->spare = op->forgets_out;
    for (int i = 0; i < op->arity; i++) {
        node.in[i] = in[i];
        if (in[i] && in[i]->needs_grad) out->needs_grad = true;
        if (in[i] && !in[i]->data && in[i]->n > 0 && !t->dry)
            t->status = CF_FAIL(CF_EINVAL, "%s: %s was set aside", op->name,
                                in[i]->name ? in[i]->name : "an input");
    }
    if (t->status == CF_OK) t->status = op->infer(&node);
    if (t->status != CF_OK) return NULL;

    bool kept = t->record && out->needs_grad && op->backward;
    if (kept || out->base) count_readers(&node);
    cf_arena_mark_t mark;
    cf_node *n = place(t, &node, kept, &mark);
    if (!n) return NULL;
    run_forward(t, n);
    cf_arena_rewind(t->values, mark);
    if (kept) t->last = n;
    return out;
}

/* ---- backward -------------------------------------------------------------------------------- */

static cf_real *grad_of(cf_tape *t, cf_tensor *x, bool *fresh)
{
    if (x->base) {
        bool empty;
        cf_real *g = grad_of(t, x->base, &empty);
        if (!g) return NULL;
        if (empty && x->n != x->base->n) {
            if (!t->dry) cf_vec_zero(g, x->base->n);
            empty = false;
        }
        *fresh = empty;
        return g + x->base_start;
    }
    *fresh = x->grad == NULL || x->grad_empty;
    if (!x->grad && t->status == CF_OK) t->status = cf_pool_get(&x->grad, &t->pool, x->n);
    x->grad_empty = false;
    return x->grad;
}

/* Another input of the node is, or is part of, the same tensor. */
static bool is_met_twice(const cf_node *n, int i)
{
    const cf_tensor *root = root_of(n->in[i]);
    for (int j = 0; j < n->op->arity; j++)
        if (j != i && n->in[j] && root_of(n->in[j]) == root) return true;
    return false;
}

static bool lies_over(const cf_tensor *x) { return x->grad && x->grad == x->data; }

static bool can_lie_over(const cf_node *n, int i)
{
    const cf_tensor *x = n->in[i];
    return (n->over >> i & 1) && x->spare && x->readers == 1 && !x->base && !x->grad;
}

cf_real *cf_grad_fresh(const cf_node *n, int i, bool *fresh)
{
    *fresh = false;
    if (!n->in[i] || !n->in[i]->needs_grad) return NULL;
    if (can_lie_over(n, i)) {
        *fresh = true;
        return n->in[i]->grad = n->in[i]->data;
    }
    cf_real *g = grad_of(n->tape, n->in[i], fresh);
    if (g && *fresh && is_met_twice(n, i)) {
        if (!n->tape->dry) cf_vec_zero(g, n->in[i]->n);
        *fresh = false;
    }
    return g;
}

cf_real *cf_grad(const cf_node *n, int i)
{
    bool fresh;
    cf_real *g = cf_grad_fresh(n, i, &fresh);
    if (g && fresh && !n->tape->dry) cf_vec_zero(g, n->in[i]->n);
    return g;
}

/* The output's gradient becomes that of input n->pass - 1, if that one wants one and has none. */
static bool move_grad(const cf_node *n)
{
    cf_tensor *root = n->in[n->pass - 1];
    if (!root || !root->needs_grad || lies_over(n->out)) return false;
    while (root->base && root->n == root->base->n) root = root->base;
    if (root->base || root->grad) return false;
    root->grad = n->out->grad;
    n->out->grad = NULL;
    return true;
}

void cf_grad_pass(const cf_node *n)
{
    if (move_grad(n)) return;
    cf_real *dx = cf_grad(n, n->pass - 1);
    if (dx && !n->tape->dry) cf_vec_add(dx, n->out->grad, n->out->n);
}

cf_real *cf_grad_over(const cf_node *n, bool *fresh)
{
    cf_real *over = n->out->grad;
    *fresh = move_grad(n);
    return *fresh ? over : cf_grad_fresh(n, n->pass - 1, fresh);
}

/* What backward asks for; segments run theirs, which compute nothing here either. */
static void dry_backward(const cf_node *n)
{
    if (n->op == &cf_op_segment) {
        n->op->backward(n);
        return;
    }
    for (int i = 0; i < n->op->arity; i++)
        if (i != n->pass - 1 && !(n->op->without_grad >> i & 1)) cf_grad(n, i);
    if (n->pass > 0) cf_grad_pass(n);
}

static void run_backward(cf_tape *t, cf_node *n)
{
    cf_arena_mark_t mark = cf_arena_mark(t->values);
    if (t->shared) hold_grads(t, n);
    n->scratch = push_numbers(t, n->n_scratch_backward);
    if (t->status != CF_OK) return;
    t->flop += n->flop_backward;
    double start = t->profiling ? cf_seconds() : 0;
    if (t->dry)
        dry_backward(n);
    else
        n->op->backward(n);
    if (t->profiling && n->op != &cf_op_segment) profile_node(t, n, true, start);
    cf_arena_rewind(t->values, mark);
}

/* From the newest node back to, and without, `stop`. Each output gradient is complete when its node
 * is met, and nobody reads it afterwards; nor what was pushed after the node. */
static void walk_back(cf_tape *t, const cf_node *stop)
{
    for (cf_node *n = t->last; n != stop && t->status == CF_OK; n = n->previous) {
        if (t->shared) cf_arena_rewind(t->values, n->end);
        if (!n->out->grad) continue; /* nothing downstream depends on it */
        run_backward(t, n);
        if (n->out->grad && !lies_over(n->out)) cf_pool_put(&t->pool, n->out->grad);
        n->out->grad = NULL;
    }
}

cf_status cf_tape_backward(cf_tape *t, cf_tensor *loss, cf_real scale)
{
    if (t->status != CF_OK) return t->status;
    CF_ASSERT(loss && loss->n == 1 && !loss->base);
    if (!loss->needs_grad)
        return t->status = CF_FAIL(CF_EINVAL, "the loss depends on nothing that is trained");
    CF_TRY(t->status = cf_pool_get(&loss->grad, &t->pool, 1));
    if (!t->dry) loss->grad[0] = scale;
    walk_back(t, NULL);
    t->last = NULL;
    return t->status;
}

/* ---- segments -------------------------------------------------------------------------------- */

typedef struct {
    cf_segment_fn *fn;
    const void *ctx;
} segment_param;

static cf_status segment_infer(cf_node *n)
{
    (void)n;
    return CF_OK;
}

static void segment_backward(const cf_node *n)
{
    const segment_param *p = n->param;
    cf_tape *t = n->tape;
    cf_node *outer = t->last;
    cf_node *here = (cf_node *)(uintptr_t)n; /* the inner nodes are linked on top of this one */
    cf_arena_mark_t mark = cf_arena_mark(t->values);
    t->last = here;
    bool before = cf_tape_record(t, true);
    cf_tensor *again = p->fn(t, p->ctx, n->in);
    if (again) {
        again->grad = n->out->grad;
        n->out->grad = NULL;
        walk_back(t, here);
    }
    cf_tape_record(t, before);
    t->last = outer;
    cf_arena_rewind(t->values, mark);
}

const cf_op cf_op_segment = {
    .name = "segment",
    .family = "other",
    .arity = CF_MAX_IN,
    .param_size = sizeof(segment_param),
    .infer = segment_infer,
    .backward = segment_backward,
};

static void record_segment(cf_tape *t, segment_param param, size_t ctx_size, cf_tensor *out,
                           cf_tensor *const in[], int n_in)
{
    cf_node *n = cf_tape_push(t, 1, sizeof *n);
    segment_param *p = cf_tape_push(t, 1, sizeof *p);
    void *ctx = cf_tape_push(t, ctx_size, 1);
    if (!n || !p || !ctx) return;
    memcpy(ctx, param.ctx, ctx_size);
    *p = (segment_param){ .fn = param.fn, .ctx = ctx };
    *n = (cf_node){ .op = &cf_op_segment, .tape = t, .previous = t->last, .out = out, .param = p };
    for (int i = 0; i < n_in; i++) n->in[i] = in[i];
    count_readers(n);
    n->end = cf_arena_mark(t->values);
    t->last = n;
}

cf_tensor *cf_segment(cf_tape *t, cf_segment_fn *fn, const void *ctx, size_t ctx_size,
                      cf_tensor *const in[], int n_in)
{
    CF_ASSERT(n_in <= CF_MAX_IN);
    cf_tensor *out = cf_tape_push(t, 1, sizeof *out);
    if (!out) return NULL;
    cf_arena_mark_t mark = cf_arena_mark(t->values);
    bool record = cf_tape_record(t, false);
    cf_tensor *result = fn(t, ctx, in);
    cf_tape_record(t, record);
    if (!result) return NULL;
    CF_ASSERT(!result->base && !result->is_leaf); /* its memory is one block of its own */
    *out = *result;
    out->spare = false; /* its gradient becomes that of another tensor, made again */
    out->readers = 0;
    out->data = cf_arena_keep(t->values, mark, out->data, out->n * sizeof(cf_real));
    if (record && out->needs_grad)
        record_segment(t, (segment_param){ .fn = fn, .ctx = ctx }, ctx_size, out, in, n_in);
    return t->status == CF_OK ? out : NULL;
}
