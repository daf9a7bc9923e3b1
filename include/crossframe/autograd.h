/* autograd: tensors with gradients, the tape, parameters.
 *
 * Design
 *  - Define-by-run: an operation runs when it is called; when a gradient is wanted it also leaves a
 *    node with what its backward needs. Nodes stand in evaluation order, so cf_tape_backward walks
 *    them once, backwards, in a loop.
 *  - Outputs and kept values are bumped from the tape's arena, which cf_tape_reset empties.
 *    Gradients of intermediates come from a second arena and go back to it: a node's output
 *    gradient is returned as soon as its backward has run, so the next nodes reuse it. Or they lie
 *    over the values of their tensor (cf_node.over): after backward those may be gone.
 *  - An operation is one constant cf_op: infer (shapes, kept sizes; the only part that can fail),
 *    forward, backward (ADDS into input gradients). See src/autograd/ops/.
 *  - Errors while building: the operation returns NULL, the tape keeps the first failure, later
 *    operations do nothing; ask cf_tape_status once.
 *  - Recomputation: cf_segment runs a function unrecorded, keeps its output only, and runs it
 *    again, recorded, when backward arrives. Same kernels, same order, so the same bits. */
#ifndef CROSSFRAME_AUTOGRAD_H
#define CROSSFRAME_AUTOGRAD_H

#include "crossframe/tensor.h"

typedef struct cf_tensor cf_tensor;
typedef struct cf_tape cf_tape;
typedef struct cf_node cf_node;
typedef struct cf_op cf_op;
/* Named tensors of a model. Two aligned blocks: trainable ones (weights and gradients) and frozen
 * ones. */
typedef struct cf_params cf_params;

struct cf_tensor {
    cf_shape shape;
    size_t n; /* number of elements */
    cf_real *data;
    cf_real *grad;     /* NULL until backward reaches it; parameters: permanent */
    cf_tensor *base;   /* a view's origin: data and gradient lie inside it */
    size_t base_start; /* first element in base */
    bool needs_grad;
    bool is_leaf;     /* memory is not the tape's: a parameter or an input */
    bool grad_empty;  /* parameters: .grad holds nothing yet, its first writer stores */
    bool spare;       /* the backward of its operation does not read .data */
    unsigned readers; /* recorded operations that take it, or a view of it */
    const char *name;
};

#define CF_MAX_IN 6

struct cf_op {
    const char *name;
    const char *family; /* "gemm", "attention", "norm", "elementwise", "other": for profiles */
    int arity;          /* inputs; trailing or documented optional ones may be NULL */
    size_t param_size;
    cf_status (*infer)(cf_node *n);
    void (*forward)(const cf_node *n); /* fills the output; allocates nothing */
    /* NULL for views. Asks for the gradients of its inputs in their order, n->pass last. */
    void (*backward)(const cf_node *n);
    unsigned without_grad; /* bit i: input i gets none, even if it wants one */
    bool forgets_out;      /* backward does not read the output's values */
};

struct cf_node {
    const cf_op *op;
    cf_tape *tape;
    cf_node *previous;
    cf_tensor *in[CF_MAX_IN];
    cf_tensor *out;
    const void *param;
    cf_real *keep;    /* from forward to backward */
    cf_real *scratch; /* during one call of forward or backward */
    /* filled in by infer: */
    size_t n_keep, n_scratch_forward, n_scratch_backward; /* elements */
    double flop_forward, flop_backward; /* of matrix products, 2 per multiply-add */
    size_t end;                         /* of what the tape's arena held with this node in it */
    /* Bit i: backward can write input i's gradient over its values. Where it is the only reader,
     * cf_grad_fresh then gives those: the values are gone, and no memory is needed. */
    unsigned over;
    int pass; /* 1 + the input that cf_grad_pass hands the output's gradient to; 0: none */
};

/* ---- the tape -------------------------------------------------------------------------------- */

typedef struct {
    size_t limit_bytes; /* most bytes of either arena; 0 = physical memory */
    /* Nothing is computed: operations infer their shapes, memory and flop are counted exactly as in
     * a real step, forward and backward, but there are no numbers behind any tensor (.data and
     * .grad must not be touched) and no limit. Parameters: cf_params_plan. */
    bool dry;
} cf_tape_options;
cf_status cf_tape_new(cf_tape **out, const cf_tape_options *options); /* options NULL: defaults */
void cf_tape_free(cf_tape *t);
/* Forgets all nodes and tensors of the step, and a failure; memory is kept for the next step. */
void cf_tape_reset(cf_tape *t);
cf_status
cf_tape_status(const cf_tape *t); /* the first failure since reset; cf_error() has its line */
/* Off: operations leave no node (inference). Returns the previous setting; on after cf_tape_new. */
bool cf_tape_record(cf_tape *t, bool on);
bool cf_tape_recording(const cf_tape *t);
/* Gradients of `loss` (one element) times `scale` are ADDED into every tensor that needs one. */
cf_status cf_tape_backward(cf_tape *t, cf_tensor *loss, cf_real scale);

typedef struct {
    size_t activation_peak, gradient_peak; /* bytes */
    /* cf_tape_share: where the block of gradients begins in the activations' memory, and what both
     * take together. */
    size_t gradients_at, shared_bytes;
    double flop; /* matrix-product operations since reset, both ways */
} cf_tape_stats;
cf_tape_stats cf_tape_stats_get(const cf_tape *t);
/* The gradients of p, all empty after this, lie over t's activations from now on. Backward has no
 * use for an activation above the node it is at, and what the last layers need is written first, so
 * gradients follow as the activations go: their block begins at byte `offset` of the arena, and
 * moves up whenever something would be pushed where a gradient is. So any offset is right, also
 * where gradients outlive a forward pass; the one a dry tape ends up with (gradients_at, from 0)
 * makes the same steps without a move. Parameters should be declared in the order of their use.
 * After backward the tensors of the step are gone. p and t stay together until both are freed. */
cf_status cf_tape_share(cf_tape *t, cf_params *p, size_t offset);
bool cf_tape_is_dry(const cf_tape *t);
/* Time spent in each op family since switched on; for profiles. */
typedef struct {
    const char *family;
    double forward_s, backward_s, flop;
} cf_tape_profile_row;
void cf_tape_profile(cf_tape *t, bool on); /* switching on clears it */
size_t cf_tape_profile_get(const cf_tape *t, cf_tape_profile_row *rows, size_t max);
/* Told of each operation that was run while the profile is on. watch NULL: nobody. */
typedef struct {
    const char *name, *family;
    bool backward;
    double start_s, seconds; /* cf_seconds() */
    double flop;
    const cf_shape *out; /* shape of its output */
} cf_tape_event;
typedef void cf_tape_watcher(void *user, const cf_tape_event *e);
void cf_tape_watch(cf_tape *t, cf_tape_watcher *watch, void *user);

/* A tensor in the step arena. Borrowed: gone at cf_tape_reset. cf_tensor_copy to keep values. */
cf_tensor *cf_tensor_new(cf_tape *t, cf_shape shape);
/* The caller's memory as an input; it must outlive the step. needs_grad: ask .grad after
 * backward. */
cf_tensor *cf_tensor_input(cf_tape *t, cf_shape shape, const cf_real *data, bool needs_grad);
/* float32 data as an input: the memory itself (float build) or a converted copy (f64 build). */
cf_tensor *cf_tensor_input_f32(cf_tape *t, cf_shape shape, const float *data);
/* Step memory for a caller's own use (index lists, masks); NULL after failing the tape. */
void *cf_tape_push(cf_tape *t, size_t count, size_t size);
cf_status cf_tensor_copy(cf_real *out, const cf_tensor *x); /* x->n elements; CF_EINVAL if x NULL */

/* Runs fn(tape, ctx, in) as one step of the tape whose inner values are not kept: unrecorded now
 * and once more, recorded, in backward. ctx (ctx_size bytes) is copied; parameters are reached
 * through it. With recording off it is the same call with inner memory released at its end. */
typedef cf_tensor *cf_segment_fn(cf_tape *t, const void *ctx, cf_tensor *const in[]);
cf_tensor *cf_segment(cf_tape *t, cf_segment_fn *fn, const void *ctx, size_t ctx_size,
                      cf_tensor *const in[], int n_in);

/* ---- for operations (src/autograd/ops) ------------------------------------------------------- */

cf_tensor *cf_apply(cf_tape *t, const cf_op *op, cf_tensor *const in[], const void *param);
/* Sets the output's shape; in infer. */
void cf_out_shape(cf_node *n, cf_shape shape);
/* Makes the output a view of in[0] starting at element `start`; in infer. */
void cf_out_view(cf_node *n, cf_shape shape, size_t start);
/* Gradient of input i, ready to be added to (zero-filled when nobody was there before); NULL:
 * unwanted. */
cf_real *cf_grad(const cf_node *n, int i);
/* The same for operations that can overwrite: *fresh = true means the buffer holds nothing yet, is
 * no other input's too, and must be written in full; false means add. */
cf_real *cf_grad_fresh(const cf_node *n, int i, bool *fresh);
/* Hands the output's gradient on as (part of) that of input n->pass - 1, which infer chose: moved
 * when possible, added otherwise. To be called last in backward: n->out->grad may be gone
 * afterwards. Same element count. */
void cf_grad_pass(const cf_node *n);

/* All operations, for tests and tools; NULL-terminated. */
extern const cf_op *const cf_op_table[];

/* ---- parameters ------------------------------------------------------------------------------ */

typedef enum { CF_INIT_CONSTANT, CF_INIT_NORMAL, CF_INIT_UNIFORM } cf_init_kind;
typedef struct {
    cf_init_kind kind;
    double value; /* the constant; the standard deviation; the bound of (-bound, bound) */
} cf_init;

/* Where the weights of a frozen parameter are: cf_params_set_aside. */
typedef enum { CF_ASIDE_NOT, CF_ASIDE_FILE, CF_ASIDE_GONE } cf_aside;

typedef struct {
    cf_tensor tensor; /* .name is owned by the set */
    cf_init init;
    size_t start; /* first element in its block */
    bool trainable;
    cf_aside aside;
    int file; /* CF_ASIDE_FILE: open, the set's; its weights start at byte file_at */
    int64_t file_at;
} cf_param;

cf_status cf_params_new(cf_params **out);
void cf_params_free(cf_params *p);
/* Declares a parameter; *out is stable, its memory comes with cf_params_alloc. Duplicate name: our
 * bug. */
cf_status cf_params_add(cf_tensor **out, cf_params *p, cf_init init, cf_shape shape,
                        const char *name_format, ...) __attribute__((format(printf, 5, 6)));
typedef bool cf_param_filter(const char *name, const void *user);
/* Obtains the blocks; `trainable` NULL: all. Every tensor is padded to 64 bytes (padding is zero);
 * the weights have no values yet. */
cf_status cf_params_alloc(cf_params *p, cf_param_filter *trainable, const void *user);
/* The same for a dry tape: no memory, no values; weights and gradients must not be touched. */
void cf_params_plan(cf_params *p, cf_param_filter *trainable, const void *user);
/* Takes the weights of the frozen parameters that `which` names out of memory, for when nothing
 * will be computed with them any more: tensor.data is NULL from then on. They go into a file
 * without a name in `folder`, from which checkpoints are written (cf_param_as_st); folder NULL:
 * they are gone. On failure (CF_EIO: no room there) nothing has changed. Once for a set. */
cf_status cf_params_set_aside(cf_params *p, cf_param_filter *which, const void *user,
                              const char *folder);
/* Start values: each parameter from its own stream, keyed by (seed, name), so that they are the
 * same whether all are drawn or only those that the filter names. */
void cf_params_init(cf_params *p, uint64_t seed);
void cf_params_init_those(cf_params *p, cf_param_filter *which, const void *user, uint64_t seed);
void cf_params_init_one(cf_param *q, uint64_t seed);
size_t cf_params_count(const cf_params *p); /* parameters, in order of declaration */
cf_param *cf_params_get(const cf_params *p, size_t i);
cf_param *cf_params_find(const cf_params *p, const char *name); /* NULL if there is none */
/* The trainable block: weights and gradients, n elements with padding. */
cf_real *cf_params_weights(const cf_params *p, size_t *n);
/* All gradients: those that nothing has written since cf_params_zero_grads become zero now. */
cf_real *cf_params_grads(const cf_params *p);
/* To be called after an update. Touches no number: who writes a gradient next stores it, and a
 * tensor's own .grad may be read once that is done or cf_params_grads was called. */
void cf_params_zero_grads(cf_params *p);
size_t cf_params_numbers(const cf_params *p, bool trainable_only); /* without padding */
/* Of the block of what is trained, or of the frozen one: elements, with padding. */
size_t cf_params_block(const cf_params *p, bool trainable);

#endif
