/* Inside of the tape: its state and the gradient pool. */
#ifndef CROSSFRAME_AUTOGRAD_TAPE_H
#define CROSSFRAME_AUTOGRAD_TAPE_H

#include "crossframe/autograd.h"

#define CF_PROFILE_ROWS 12

/* Gradient memory: see pool.c. */
typedef struct cf_pool_block cf_pool_block;
typedef struct {
    cf_arena *arena;
    cf_arena *dry; /* of the tape */
    cf_pool_block *top;
} cf_pool;

cf_status cf_pool_get(cf_real **out, cf_pool *p, size_t n);
void cf_pool_put(cf_pool *p, cf_real *grad);
void cf_pool_reset(cf_pool *p);

struct cf_tape {
    cf_arena *values;
    /* NULL: an ordinary tape. Else the arenas only count, and this one has the memory of what is
     * written all the same: nodes, tensors, index lists, heads of gradient blocks. */
    cf_arena *dry;
    cf_pool pool;
    /* cf_tape_share: whose gradients lie in `values`, NULL: nobody's; their block, where it begins
     * there, its size; from which of its bytes on gradients may hold something. */
    cf_params *shared;
    cf_real *grads;
    size_t grads_at, grads_bytes, held;
    cf_node *last;
    cf_status status;
    bool record, profiling;
    double flop;
    cf_tape_profile_row profile[CF_PROFILE_ROWS];
    size_t n_profile;
    cf_tape_watcher *watch;
    void *watch_user;
};

extern const cf_op cf_op_segment;

/* The gradients' block is `to` from now on, and not p's; `owner` hears when nothing is in it. */
void cf_params_put_grads(cf_params *p, cf_real *to, cf_tape *owner);

#endif
