/* Clipping by the norm of all gradients together: the norm, and the factor the update applies. */
#include "crossframe/optim.h"

#include <math.h>

double cf_grad_norm(const cf_params *params)
{
    size_t n;
    cf_params_weights(params, &n);
    return sqrt(cf_vec_sum_squares(cf_params_grads(params), n)); /* padding is zero */
}

double cf_clip_factor(double norm, double limit)
{
    return limit > 0 && norm > limit ? limit / norm : 1;
}
