/* The training loop: one optimiser step, and an epoch of them (spec of the recipe, section 7).
 *
 * A step is A micro-batches: each its own forward and backward with the loss divided by A,
 * gradients adding up; then clipping, the update with the rates that lag one update behind, and the
 * log line, whose loss is the undivided mean. Micro-batches left over at the end of an epoch are
 * not read at all: the published program computes and then discards them (Q18), which changes no
 * bit of what follows. A loss or gradient that is not finite ends the run before the update, so the
 * weights of the last checkpoint stay the last good ones. From the second step on nothing is
 * allocated: the tape's arena, the loader's slots and the tables of class tokens are all there. */
#include "train/run.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- text features of a batch's classes ------------------------------------------------------ */

static bool is_every_class(const cf_run *r, const cf_batch *b)
{
    if (b->n_columns != r->classes.n) return false;
    for (size_t i = 0; i < b->n_columns; i++)
        if (b->class_id[i] != (int32_t)i) return false;
    return true;
}

/* Rows of `from` [K, row_bytes] in the batch's order. */
static void gather(void *to, const void *from, size_t row_bytes, const cf_batch *b)
{
    for (size_t i = 0; i < b->n_columns; i++)
        memcpy((char *)to + i * row_bytes, (const char *)from + (size_t)b->class_id[i] * row_bytes,
               row_bytes);
}

bool cf_run_text_is_trained(const cf_run *r)
{
    return cf_xclip_trains_text(cf_xclip_config_get(r->model));
}

static cf_tensor *frozen_features(cf_run *r, const cf_batch *b, size_t template)
{
    size_t e = cf_xclip_config_get(r->model)->embed;
    bool dry = cf_tape_is_dry(r->tape);
    const cf_real *features = dry ? NULL : r->text.each + template * r->classes.n * e;
    if (!is_every_class(r, b)) {
        cf_real *rows = cf_tape_push(r->tape, b->n_columns * e, sizeof *rows);
        if (!rows) return NULL;
        if (!dry) gather(rows, features, e * sizeof *rows, b);
        features = rows;
    }
    return cf_tensor_input(r->tape, cf_shape_of(b->n_columns, e), features, false);
}

static cf_tensor *trained_features(cf_run *r, const cf_batch *b, size_t template)
{
    const cf_classes *c = &r->classes;
    const int32_t *tokens = c->tokens + template * c->n * c->context;
    if (!is_every_class(r, b)) {
        gather(c->gathered, tokens, c->context * sizeof *c->tokens, b);
        tokens = c->gathered;
    }
    return cf_xclip_text(r->model, r->tape, tokens, b->n_columns);
}

/* ---- one micro-batch ------------------------------------------------------------------------- */

/* The logits of the batch's classes. */
static cf_status score(cf_xclip_outputs *io, cf_run *r, const cf_batch *b, size_t template)
{
    if (!cf_run_has_text(r)) {
        const int32_t *some = is_every_class(r, b) ? NULL : b->class_id;
        return cf_xclip_head_scores(io, r->model, r->tape, some, b->n_columns);
    }
    cf_tensor *text = cf_run_text_is_trained(r) ? trained_features(r, b, template)
                                                : frozen_features(r, b, template);
    CF_TRY(cf_tape_status(r->tape));
    return cf_xclip_scores(io, r->model, r->tape, text, NULL, NULL);
}

cf_status cf_run_loss(cf_tensor **loss, cf_run *r, const cf_batch *b, uint64_t t, size_t template)
{
    cf_xclip_outputs out;
    const cf_xclip_run mode = { .training = true, .seed = (uint64_t)r->config->seed, .step = t };
    cf_tape_reset(r->tape);
    cf_tensor *video =
        cf_tensor_input_f32(r->tape, cf_shape_of(b->n, b->T, 3, b->size, b->size), b->video);
    CF_TRY(cf_xclip_video(&out, r->model, r->tape, video, &mode, NULL, NULL));
    CF_TRY(score(&out, r, b, template));
    cf_tensor *target = cf_tensor_input_f32(r->tape, cf_shape_of(b->n, b->n_columns), b->target);
    *loss = cf_soft_cross_entropy(r->tape, out.logits, target);
    return cf_tape_status(r->tape);
}

static cf_status not_finite(const cf_run *r, const char *what, double value)
{
    return CF_FAIL(
        CF_ENUMERIC,
        "the %s is %g at epoch %" PRId64 ", step %" PRId64 ": stopped before the update; %s%s%s",
        what, value, r->at.epoch, r->at.step,
        cf_file_exists(r->last_path) ? "the last checkpoint is " : "there is no checkpoint yet",
        cf_file_exists(r->last_path) ? r->last_path : "",
        r->config->train.clip_grad > 0 ? "" : " (a lower TRAIN.LR or TRAIN.CLIP_GRAD helps)");
}

/* What the micro-batches of a step add up to. */
typedef struct {
    double loss; /* undivided */
    double forward_s, backward_s, flop;
} step_sums;

/* Of micro-batch t: from seed and number alone, so that a resumed run draws the same. */
static size_t draw_template(const cf_run *r, uint64_t t)
{
    if (r->classes.templates < 2) return 0;
    cf_rng rng = cf_rng_make((uint64_t)r->config->seed, CF_RNG_TEMPLATE, 0, t);
    return cf_rng_below(&rng, (uint32_t)r->classes.templates);
}

/* Adds its gradients and to *s. t: number of the micro-batch in the run. */
static cf_status run_micro_batch(step_sums *s, cf_run *r, const cf_batch *b, uint64_t t)
{
    cf_tensor *mean;
    double began = cf_seconds();
    CF_TRY(cf_run_loss(&mean, r, b, t, draw_template(r, t)));
    double loss = (double)mean->data[0], computed = cf_seconds();
    if (!isfinite(loss)) return not_finite(r, "loss", loss);
    CF_TRY(cf_tape_backward(r->tape, mean, (cf_real)(1.0 / (double)r->accumulation)));
    s->loss += loss;
    s->forward_s += computed - began;
    s->backward_s += cf_seconds() - computed;
    s->flop += cf_tape_stats_get(r->tape).flop;
    return CF_OK;
}

/* ---- one step -------------------------------------------------------------------------------- */

static cf_status accumulate(step_sums *s, cf_run *r)
{
    const cf_batch *b;
    *s = (step_sums){ 0 };
    for (size_t a = 0; a < r->accumulation; a++) {
        uint64_t t = (uint64_t)r->at.epoch * r->micro_batches + (uint64_t)r->at.micro + a;
        CF_TRY(cf_loader_next(&b, r->loader));
        CF_ASSERT(b != NULL);
        CF_TRY(run_micro_batch(s, r, b, t));
    }
    return CF_OK;
}

static cf_status report_step(cf_run *r, const cf_step_record *record)
{
    CF_TRY(cf_run_log_step(r->log, record));
    CF_TRY(cf_events_step(r->events, record));
    r->step_seconds += record->seconds;
    r->own_steps++;
    if (!r->options.stepped) return CF_OK;
    const cf_run_progress progress = {
        .record = *record,
        .steps = r->steps,
        .micro_batch = (size_t)r->at.micro,
        .epoch_step = (size_t)r->at.micro / r->accumulation,
        .epoch_steps = r->micro_batches / r->accumulation,
        .seconds_left = (double)(r->steps - r->at.step) * r->step_seconds / (double)r->own_steps,
    };
    r->options.stepped(r->options.user, &progress);
    return CF_OK;
}

/* What stands in the log but the times of the parts. */
static void fill_record(cf_step_record *record, const cf_run *r, const step_sums *s, double began)
{
    double videos = (double)r->accumulation * (double)r->config->train.batch_size;
    record->loss = s->loss / (double)r->accumulation;
    record->forward_seconds = s->forward_s;
    record->backward_seconds = s->backward_s;
    record->data_seconds = cf_loader_waited_s(r->loader);
    record->skipped = (int64_t)cf_loader_skipped(r->loader);
    record->memory_bytes = (int64_t)cf_resident_peak();
    record->time = cf_unix_time();
    record->seconds = cf_seconds() - began;
    if (!(record->seconds > 0)) return; /* the clock stood still: no rate */
    record->videos_per_second = videos / record->seconds;
    record->gflops = s->flop / record->seconds / 1e9;
}

static cf_status run_step(cf_run *r)
{
    cf_params *params = cf_xclip_params(r->model);
    double began = cf_seconds(), lr[2];
    step_sums sums;
    CF_TRY(accumulate(&sums, r));
    double computed = cf_seconds(), norm = cf_grad_norm(params);
    if (!isfinite(norm)) return not_finite(r, "gradient norm", norm);
    cf_schedule_rates(lr, &r->schedule, r->at.previous < 0, (uint64_t)r->at.previous);
    cf_adamw_update(r->adamw, lr, cf_clip_factor(norm, r->config->train.clip_grad));
    if (r->ema) cf_ema_update(r->ema, cf_adamw_steps(r->adamw));
    cf_params_zero_grads(params);
    r->at.micro += (int64_t)r->accumulation;
    r->at.previous = cf_run_tick(r);
    cf_step_record record = { .epoch = (int)r->at.epoch,
                              .step = r->at.step++,
                              .lr = lr[0],
                              .lr_new = lr[1],
                              .grad_norm = norm,
                              .update_seconds = cf_seconds() - computed };
    fill_record(&record, r, &sums, began);
    return report_step(r, &record);
}

cf_status cf_run_epoch(cf_run *r)
{
    int64_t end = (int64_t)(r->micro_batches / r->accumulation * r->accumulation);
    if (r->at.micro >= end) return CF_OK;
    CF_TRY(cf_loader_start(r->loader, (uint32_t)r->at.epoch, (size_t)r->at.micro));
    if (!cf_run_text_is_trained(r)) CF_TRY(cf_run_text_features(r));
    for (;;) {
        if (cf_run_stopped(r)) return CF_FAIL(CF_EINTERRUPTED, "stopped");
        if (r->at.micro >= end) break;
        CF_TRY(run_step(r));
        CF_TRY(cf_run_save_due(r)); /* its time is no step's */
    }
    return CF_OK;
}
