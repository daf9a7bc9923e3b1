/* The published schedule of the rate: linear warm-up, then a cosine, counted in micro-batches.
 *
 * The cosine is not restarted after the warm-up: at t = warmup the rate drops to the value the
 * cosine has there. That, the lag of one update and the common lowest rate are the recipe's, not
 * slips. */
#include "crossframe/optim.h"

#include <math.h>

double cf_schedule_at(const cf_schedule *s, double L, uint64_t t)
{
    if (t < s->warmup) return (double)t * (L / (double)s->warmup);
    if (t >= s->total) return s->min_lr;
    return s->min_lr +
           0.5 * (L - s->min_lr) * (1 + cos(3.14159265358979323846 * (double)t / (double)s->total));
}

void cf_schedule_rates(double lr[2], const cf_schedule *s, bool first, uint64_t previous)
{
    for (int i = 0; i < 2; i++) {
        double L = i ? s->lr * s->new_factor : s->lr;
        if (first)
            lr[i] = s->warmup ? 0 : L;
        else
            lr[i] = cf_schedule_at(s, L, previous);
    }
}
