/* The plan of a run in words: for train and test before the first step, for train --dry-run, and
 * for inspect of a configuration; and how long the run will take, once some steps tell. */
#ifndef CROSSFRAME_CLI_PLAN_PRINT_H
#define CROSSFRAME_CLI_PLAN_PRINT_H

#include "crossframe/train.h"

#include <stdio.h>

/* Each line after `prefix`. */
void plan_print(FILE *to, const char *prefix, const cf_run_plan *p);
/* Of it, the warning where the run needs more memory than there is. */
void plan_warn(FILE *to, const char *prefix, const cf_run_plan *p);

/* Times of the first steps of this process, and what they are to be multiplied by. */
typedef struct {
    int seen;
    double seconds; /* of steps 2 and 3 */
    double gflop_step, gflop_tests,
        gflop_end; /* a step; tests between epochs; the one at the end */
    size_t tests, views;
} plan_rate;
void plan_rate_start(plan_rate *r, const cf_run_plan *p);
/* True once, after the third step: *out is the line. */
bool plan_rate_step(char out[256], plan_rate *r, const cf_run_progress *s);

#endif
