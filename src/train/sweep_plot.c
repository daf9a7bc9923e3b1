/* The plot of a sweep. */
#include "train/sweep_parts.h"

cf_status sweep_plot(const cf_sweep *s)
{
    (void)s;
    return CF_OK;
}
