/* optim: AdamW over the trainable block, parameter groups by name, the published schedule,
 * clipping, an average of the weights. Formulas and numbers: spec of the recipe (7.2 groups, 7.3
 * AdamW, 7.4 schedule). */
#ifndef CROSSFRAME_OPTIM_H
#define CROSSFRAME_OPTIM_H

#include "crossframe/autograd.h"

/* ---- groups ---------------------------------------------------------------------------------- */

typedef struct {
    double lr_factor; /* 1, or new_factor for new modules */
    bool decay;
    bool is_new; /* which of the two rates; also told apart when new_factor is 1 */
} cf_param_group;
/* Rule of the recipe: new modules (message_, mit, prompts) have `new_factor` times the rate; no
 * decay for tensors of exactly one dimension, names ending in .bias or containing
 * positional_embedding, and zero-dimensional ones unless decay_scalars (the published program
 * decays logit_scale). */
typedef struct {
    double new_factor;
    bool decay_scalars;
    bool (*is_new)(const char *name); /* NULL: no module is new */
} cf_group_rule;
cf_param_group cf_param_group_of(const cf_group_rule *rule, const cf_param *p);

/* ---- AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101, decoupled decay) --------------------- */

typedef struct {
    double beta1, beta2, eps, weight_decay;
} cf_adamw_options; /* published: 0.9, 0.98, 1e-8, 0.001 */

typedef struct cf_adamw cf_adamw;
/* Moments m and v: one block each, laid out like the parameters' trainable block. params must have
 * its blocks (cf_params_alloc) and outlive *out; options and rule are copied.
 * CF_EINVAL: a beta outside [0, 1), eps not above 0 as a cf_real, a negative decay. */
cf_status cf_adamw_new(cf_adamw **out, cf_params *params, const cf_adamw_options *options,
                       const cf_group_rule *rule);
void cf_adamw_free(cf_adamw *o);
/* One update of everything trained, one pass over memory:
 *   p <- p (1 - lr wd);  m, v <- moments;  p <- p - lr / (1 - b1^s) m / (sqrt(v) / sqrt(1 - b2^s) +
 *   eps)
 * lr[0]: base rate of old tensors, lr[1]: of new modules. grad_scale multiplies gradients on the
 * way in (clipping). Advances the step counter s, also at rate 0. Allocates nothing; the result
 * does not depend on the number of threads; padding is not touched. */
void cf_adamw_update(cf_adamw *o, const double lr[2], double grad_scale);
uint64_t cf_adamw_steps(const cf_adamw *o);
void cf_adamw_set_steps(cf_adamw *o, uint64_t steps);
/* Blocks of moments (n elements with padding; n may be NULL), for saving and loading. */
cf_real *cf_adamw_m(const cf_adamw *o, size_t *n);
cf_real *cf_adamw_v(const cf_adamw *o, size_t *n);

/* L2 norm of all gradients, in double, fixed order. */
double cf_grad_norm(const cf_params *params);
/* Factor that brings `norm` down to `limit`; 1 if it is not above or limit is 0 (off). A norm that
 * is not finite is the caller's to notice: no factor mends it. */
double cf_clip_factor(double norm, double limit);

/* ---- average of the weights ------------------------------------------------------------------ */

/* Exponential moving average a of the trained weights w. It starts as a copy of them, and after
 * optimiser step s (from 1)
 *   a <- a + (1 - d) (w - a),  d = min(decay, (1 + s) / (10 + s))
 * The decay rises like this, so that a run's start values, of which d^s would be left otherwise,
 * are forgotten at once: after 1, 10, 100 steps 0.18, 0.55, 0.92. No division by 1 - d^s is needed.
 * Kept in two blocks like the trainable one, together accurate to about twice a cf_real's
 * digits. */
typedef struct cf_ema cf_ema;
/* params must have values and outlive *out. CF_EINVAL: decay outside [0, 1). */
cf_status cf_ema_new(cf_ema **out, cf_params *params, double decay);
void cf_ema_free(cf_ema *e);                      /* NULL is fine */
double cf_ema_decay(double decay, uint64_t step); /* d of this step */
/* After optimiser step `step`. One pass over memory; allocates nothing, and the result does not
 * depend on the number of threads. */
void cf_ema_update(cf_ema *e, uint64_t step);
/* Exchanges the model's weights and the average; a second call exchanges them back, with the same
 * bits. No update while they are exchanged. */
void cf_ema_swap(cf_ema *e);
/* The blocks (n elements with padding; n may be NULL), for saving and loading: the average,
 * rounded, and what rounding took from it. */
cf_real *cf_ema_mean(const cf_ema *e, size_t *n);
cf_real *cf_ema_rest(const cf_ema *e, size_t *n);

/* ---- schedule -------------------------------------------------------------------------------- */

typedef struct {
    double lr;              /* TRAIN.LR */
    double new_factor;      /* 10 */
    double min_lr;          /* lr / 100, the same for every group */
    uint64_t warmup, total; /* in micro-batches: epochs times micro-batches of an epoch */
} cf_schedule;
/* f(t) for a group of base rate L (recipe 7.4): linear warm-up, then a cosine that starts at t =
 * 0. */
double cf_schedule_at(const cf_schedule *s, double L, uint64_t t);
/* The rates the update at the end of micro-batch t uses: the schedule lags one update behind.
 * previous: micro-batch index of the update before; first: there was none. lr[0] old, lr[1] new. */
void cf_schedule_rates(double lr[2], const cf_schedule *s, bool first, uint64_t previous);

#endif
