/* How many optimiser steps a run has, and at which rates (spec of the recipe, 7.4 and 7.5).
 *
 * The schedule counts micro-batches, and published runs count those of one of their R processes.
 * TRAIN.RANKS repeats such a run on one machine: a step takes the R processes' micro-batches one
 * after the other, ACCUMULATION_STEPS in all, and R of them are one for the schedule. Then each
 * step has the published rate. The published sampler repeats up to R - 1 videos, so that each
 * process has as many; here they are not repeated but counted, for its schedule knows them. With a
 * larger BATCH_SIZE a step may have fewer micro-batches than R: it is then what so many fewer
 * processes with larger batches would have computed. */
#include "train/run.h"

static size_t common_divisor(size_t a, size_t b)
{
    while (b) {
        size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Micro-batches of an epoch as the schedule counts them. Where a batch takes its videos from one
 * family of classes, which no published run does, they are just shared out. */
static size_t counted_batches(const cf_run *r, size_t videos)
{
    size_t batch = (size_t)r->config->train.batch_size;
    if (r->micro_batches != videos / batch) return r->micro_batches / r->ranks;
    return (videos + r->ranks - 1) / r->ranks / batch;
}

cf_status cf_run_plan_steps(cf_run *r, size_t videos)
{
    const cf_config *c = r->config;
    size_t ranks = (size_t)c->train.ranks;
    r->accumulation = (size_t)c->train.accumulation_steps;
    if (r->micro_batches < r->accumulation)
        return CF_FAIL(
            CF_EINVAL,
            "configuration: TRAIN.ACCUMULATION_STEPS %zu, but an epoch has %zu micro-batches "
            "(%s)",
            r->accumulation, r->micro_batches, cf_config_origin(c, "TRAIN.ACCUMULATION_STEPS"));
    r->ranks = common_divisor(r->accumulation, ranks);
    if (r->ranks != ranks)
        cf_log(CF_LOG_INFO,
               "configuration: TRAIN.RANKS %zu of %zu micro-batches a step: the schedule is that "
               "of %zu processes (%s)",
               ranks, r->accumulation, r->ranks, cf_config_origin(c, "TRAIN.RANKS"));
    r->counted = counted_batches(r, videos);
    r->steps = c->train.epochs * (int64_t)(r->micro_batches / r->accumulation);
    r->schedule = (cf_schedule){
        .lr = c->train.lr,
        .new_factor = c->train.new_lr_factor,
        .min_lr = c->train.lr / 100,
        .warmup = (uint64_t)(c->train.warmup_epochs * (double)r->counted),
        .total = (uint64_t)c->train.epochs * r->counted,
    };
    return CF_OK;
}

int64_t cf_run_tick(const cf_run *r)
{
    return r->at.epoch * (int64_t)r->counted + r->at.micro / (int64_t)r->ranks - 1;
}
