/* A run: opens and checks everything, then trains epoch after epoch, or tests.
 *
 * After each epoch (TEST.FREQ) the test set is scored with one view a video,
 * OUTPUT/best.safetensors is written if that is the best so far and OUTPUT/last.safetensors every
 * SAVE_FREQ epochs and at the end (a deviation: the published program writes best only together
 * with last, Q23), and within an epoch every SAVE_MINUTES. With TRAIN.EMA tests and best have the
 * averaged weights. The configured multi-view test, when it has more than one view, comes once
 * after the last epoch with the last weights or, with TEST.FINAL best, those of best.safetensors
 * (Q19); the published program always takes 4 x 3 views there, here TEST.NUM_CLIP and NUM_CROP say
 * so. Asked to stop, the run finishes its step, writes last, and returns CF_EINTERRUPTED; a test
 * that is stopped is made again from its start by the resumed run, because the position saved is
 * before it. */
#include "train/run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

cf_tape *cf_run_tape(const cf_run *r) { return r->tape; }

cf_loader_options cf_config_loader(const cf_config *c, bool training, size_t n_classes)
{
    return (cf_loader_options){
        .T = (size_t)c->data.num_frames,
        .batch = (size_t)c->train.batch_size,
        .augment = { .size = (size_t)c->data.input_size,
                     .multi_scale_crop = c->aug.multi_scale_crop,
                     .flip = c->aug.flip,
                     .color_jitter = c->aug.color_jitter,
                     .gray_scale = c->aug.gray_scale },
        .sampling = training ? c->data.sampling : c->test.sampling,
        .view_sampling = c->test.view_sampling,
        .short_videos = c->data.short_videos,
        .training = training,
        .shuffle = c->data.shuffle,
        .label_smooth = c->aug.label_smooth,
        .mixup = c->aug.mixup,
        .cutmix = c->aug.cutmix,
        .mix_switch = c->aug.mixup_switch_prob,
        .clips = (size_t)c->test.num_clip,
        .crops = (size_t)c->test.num_crop,
        .seed = (uint64_t)c->seed,
        .workers = c->data.workers,
        .n_classes = n_classes,
        .on_error = c->data.on_error,
    };
}

/* ---- opening --------------------------------------------------------------------------------- */

static cf_status open_dataset(cf_dataset **out, const cf_config *c, const char *file)
{
    return c->data.on_error == CF_ON_ERROR_SKIP ? cf_dataset_open_partial(out, file, c->data.root)
                                                : cf_dataset_open(out, file, c->data.root);
}

static cf_status open_data(cf_run *r)
{
    const cf_config *c = r->config;
    if (!r->options.only_test) {
        if (!*c->data.train_file)
            return CF_FAIL(CF_EINVAL, "configuration: DATA.TRAIN_FILE is not set");
        CF_TRY_CTX(open_dataset(&r->train, c, c->data.train_file), "DATA.TRAIN_FILE");
    }
    if (*c->data.val_file)
        CF_TRY_CTX(open_dataset(&r->test, c, c->data.val_file), "DATA.VAL_FILE");
    else if (r->options.only_test)
        return CF_FAIL(CF_EINVAL,
                       "configuration: DATA.VAL_FILE is not set: there is nothing to test");
    else
        cf_log(CF_LOG_WARNING, "DATA.VAL_FILE is not set: nothing is tested, no best is kept");
    return cf_run_read_classes(r);
}

static cf_status open_model(cf_run *r, cf_weights *file)
{
    bool resumes = r->resuming && file && cf_checkpoint_has_optimizer(file);
    CF_TRY(cf_model_decide_head(r->config, file));
    if (resumes && !r->options.only_test) CF_TRY(cf_checkpoint_adopt(r->config, file));
    if (cf_run_has_text(r)) CF_TRY(cf_run_open_tokenizer(r));
    CF_TRY(cf_run_build_model(r, file));
    if (cf_run_has_text(r)) CF_TRY(cf_run_tokenize_classes(r));
    return cf_tape_new(&r->tape, NULL);
}

static cf_status open_optimizer(cf_run *r)
{
    const cf_config *c = r->config;
    const cf_loader_options o = cf_config_loader(r->config, true, r->classes.n);
    const cf_adamw_options options = { 0.9, 0.98, 1e-8, c->train.weight_decay };
    const cf_group_rule rule = { .new_factor = c->train.new_lr_factor,
                                 .is_new = cf_xclip_is_new_module };
    CF_TRY(cf_loader_new(&r->loader, r->train, &o));
    CF_TRY(cf_adamw_new(&r->adamw, cf_xclip_params(r->model), &options, &rule));
    if (c->train.ema > 0) CF_TRY(cf_ema_new(&r->ema, cf_xclip_params(r->model), c->train.ema));
    r->micro_batches = cf_loader_batches(r->loader);
    return cf_run_plan_steps(r, cf_dataset_size(r->train));
}

static cf_status open_position(cf_run *r, const cf_weights *file)
{
    r->at = (cf_position){ .previous = -1, .best_top1 = -1 };
    if (!r->resuming) return CF_OK;
    if (cf_checkpoint_has_optimizer(file)) {
        CF_TRY(cf_checkpoint_read(r, file));
        return cf_run_resume_kept(r);
    }
    cf_log(CF_LOG_INFO,
           "%s has weights but no optimiser state: training starts at epoch 0 from them",
           cf_weights_path(file));
    return CF_OK;
}

static cf_status open_log(cf_run *r)
{
    char *path = NULL;
    cf_status status = CF_OK;
    if (!r->resuming && cf_file_exists(r->last_path))
        cf_log(CF_LOG_WARNING, "%s holds an earlier run: it is overwritten", r->config->output);
    CF_GO(cf_path_join(&path, r->config->output, "config.yaml"));
    CF_GO(cf_config_write(r->config, path));
    cf_free(path);
    path = NULL;
    CF_GO(cf_path_join(&path, r->config->output, "log.jsonl"));
    CF_GO(cf_run_log_open(&r->log, path, r->at.step, (size_t)r->at.log_evals));
    if (r->config->tensorboard) CF_GO(cf_events_open(&r->events, r->config->output, path));
done:
    cf_free(path);
    return status;
}

/* Classes beyond which their likeness is not computed: it takes time with the square. */
#define MOST_ALIKE_CLASSES 4000

static cf_status make_plan(cf_run *r)
{
    if (!r->options.planned && !r->log && !r->adamw) return CF_OK;
    cf_run_plan plan = cf_run_plan_of(r);
    bool to_train = cf_run_text_is_trained(r) && !r->options.only_test;
    size_t pair[2] = { 0, 0 };
    if (r->options.planned && cf_run_has_text(r) && !to_train && r->classes.n <= MOST_ALIKE_CLASSES)
        CF_TRY(cf_run_class_likeness(&plan.cosine, pair, r));
    for (int i = 0; i < 2; i++) plan.alike[i] = pair[1] ? r->classes.name[pair[i]] : NULL;
    CF_TRY(cf_run_plan_costs(&plan, r));
    if (r->adamw)
        CF_TRY(cf_tape_share(r->tape, cf_xclip_params(r->model), plan.memory.gradients_at));
    if (r->log) CF_TRY(cf_run_info_write(r, &plan));
    if (r->options.planned) r->options.planned(r->options.user, &plan);
    return CF_OK;
}

/* A number of the weights' metadata, of which a test only tells; -1: there is none. */
static int64_t told_by(const cf_weights *f, const char *key)
{
    const char *text = f ? cf_weights_metadata(f, key) : NULL;
    char *end;
    if (!text) return -1;
    long long value = strtoll(text, &end, 10);
    return end != text && *end == 0 && value >= 0 && value <= INT32_MAX ? value : -1;
}

/* A published configuration says nothing of the test at the end, which its program makes anyway. */
static void log_last_test(const cf_run *r)
{
    const cf_config *c = r->config;
    bool given = cf_config_given(c, "TEST.NUM_CLIP") || cf_config_given(c, "TEST.NUM_CROP");
    if (given || !r->test || r->options.only_test || strcmp(c->model.arch, "custom") == 0) return;
    cf_log(CF_LOG_INFO, "TEST.NUM_CLIP and NUM_CROP are not given: the last test takes one view, "
                        "the published program's takes 4 x 3");
}

static cf_status open_all(cf_run *r)
{
    cf_status status = CF_OK;
    cf_weights *file = NULL;
    if (!r->options.only_test) CF_TRY(cf_config_settle(r->config));
    CF_TRY(cf_config_settle_model(r->config));
    CF_TRY(cf_config_check(r->config));
    CF_TRY(cf_run_open_output(r));
    CF_TRY(open_data(r));
    log_last_test(r);
    CF_TRY(cf_run_choose_weights(r));
    if (*r->weights) CF_TRY(cf_model_open_weights(&file, r->config, r->weights));
    CF_GO(open_model(r, file));
    if (r->options.only_test) {
        r->at = (cf_position){ .epoch = told_by(file, "epoch"),
                               .micro = told_by(file, "micro_batch"),
                               .step = told_by(file, "step") };
        if (r->resuming && r->config->train.ema > 0) CF_GO(cf_checkpoint_use_average(r, file));
        goto done;
    }
    CF_GO(open_optimizer(r));
    CF_GO(open_position(r, file));
    CF_GO(open_log(r));
done:
    cf_weights_close(file);
    return status;
}

cf_status cf_run_new(cf_run **out, cf_config *c, const cf_run_options *o)
{
    cf_run *r;
    CF_TRY(cf_alloc_zero(&r, 1, sizeof *r));
    r->config = c;
    r->lock = -1;
    if (o) r->options = *o;
    if (c->test.only_test) r->options.only_test = true;
    cf_status status = open_all(r);
    if (status == CF_OK) status = make_plan(r);
    if (status != CF_OK) {
        cf_run_free(r);
        return status;
    }
    *out = r;
    return CF_OK;
}

void cf_run_free(cf_run *r)
{
    if (!r) return;
    cf_loader_free(r->loader);
    cf_run_log_close(r->log);
    cf_events_close(r->events);
    cf_adamw_free(r->adamw);
    cf_ema_free(r->ema);
    cf_text_cache_fini(&r->text);
    cf_tape_free(r->tape);
    cf_xclip_free(r->model);
    cf_tokenizer_free(r->tokenizer);
    cf_classes_fini(&r->classes);
    cf_dataset_free(r->train);
    cf_dataset_free(r->test);
    cf_free(r->weights);
    cf_free(r->vocabulary);
    cf_free(r->last_path);
    cf_free(r->previous_path);
    cf_free(r->best_path);
    cf_free(r->kept);
    if (r->lock >= 0) close(r->lock);
    cf_free(r);
}

/* ---- training -------------------------------------------------------------------------------- */

/* weights: what the record calls them. */
static cf_status test_and_log(cf_run *r, size_t clips, size_t crops, const char *weights)
{
    cf_eval_record record;
    cf_metrics metrics;
    cf_status status = CF_OK;
    char *path = NULL;
    CF_TRY(cf_run_evaluate(&record, &metrics, r, clips, crops, NULL));
    record.weights = weights;
    CF_GO(cf_path_join(&path, r->config->output, "test.h5"));
    CF_GO(cf_result_write(&metrics, r, &record, path));
    CF_GO(cf_run_log_eval(r->log, &record));
    CF_GO(cf_events_eval(r->events, &record));
    bool best = clips * crops == 1 && record.top1 > r->at.best_top1;
    if (best) r->at.best_top1 = record.top1;
    if (r->options.tested) r->options.tested(r->options.user, &record, r->at.best_top1);
done:
    cf_metrics_fini(&metrics);
    cf_free(path);
    return status;
}

/* TEST.FREQ 0 leaves it to the multi-view test at the end, where there is one. */
bool cf_run_test_is_due(const cf_run *r, int64_t epoch)
{
    int freq = r->config->test.freq;
    bool last = epoch + 1 == r->config->train.epochs;
    if (!*r->config->data.val_file) return false;
    return freq > 0 ? last || (epoch + 1) % freq == 0 : last && cf_run_views(r) == 1;
}

/* The test after an epoch; then the run stands before the next one. */
static cf_status end_epoch(cf_run *r)
{
    double best = r->at.best_top1;
    if (cf_run_test_is_due(r, r->at.epoch)) CF_TRY(test_and_log(r, 1, 1, r->ema ? "ema" : "last"));
    r->at.epoch++;
    r->at.micro = 0;
    return r->at.best_top1 > best ? cf_run_save_best(r) : CF_OK;
}

static cf_status run_one_epoch(cf_run *r)
{
    int64_t epoch = r->at.epoch;
    CF_TRY(cf_run_epoch(r));
    cf_run_average(r, true);
    cf_status status = end_epoch(r);
    cf_run_average(r, false);
    CF_TRY(status);
    bool due = epoch % r->config->save_freq == 0 || r->at.epoch == r->config->train.epochs;
    return due ? cf_run_save_epoch(r) : CF_OK;
}

static cf_status stopped(cf_run *r)
{
    CF_TRY(cf_run_save_last(r));
    return CF_FAIL(CF_EINTERRUPTED,
                   "stopped at epoch %" PRId64 ", step %" PRId64 "; go on with --resume %s",
                   r->at.epoch, r->at.step, r->last_path);
}

/* What is trained takes best.safetensors' values; the rest is the same in all of a run's files. */
static cf_status load_best(cf_run *r)
{
    const cf_params *params = cf_xclip_params(r->model);
    cf_weights *f;
    cf_status status = CF_OK;
    CF_TRY_CTX(cf_weights_open(&f, r->best_path), "TEST.FINAL best");
    for (size_t i = 0; i < cf_params_count(params); i++) {
        const cf_param *p = cf_params_get(params, i);
        const cf_weight *t;
        if (!p->trainable) continue;
        CF_GO(cf_weights_get(&t, f, p->tensor.name));
        CF_GO(cf_weights_read(p->tensor.data, p->tensor.n, f, t));
    }
done:
    cf_weights_close(f);
    return status;
}

static cf_status test_final(cf_run *r)
{
    size_t clips = (size_t)r->config->test.num_clip, crops = (size_t)r->config->test.num_crop, n;
    if (r->config->test.final == CF_FINAL_LAST) {
        cf_run_average(r, true);
        cf_status tested = test_and_log(r, clips, crops, r->ema ? "ema" : "last");
        cf_run_average(r, false);
        return tested;
    }
    cf_real *now = cf_params_weights(cf_xclip_params(r->model), &n), *last;
    CF_TRY(cf_alloc(&last, n, sizeof *last));
    memcpy(last, now, n * sizeof *last);
    cf_status status = load_best(r);
    if (status == CF_OK) status = test_and_log(r, clips, crops, "best");
    memcpy(now, last, n * sizeof *last); /* what a stopped run saves */
    cf_free(last);
    return status;
}

cf_status cf_run_train(cf_run *r)
{
    if (r->options.only_test) return CF_FAIL(CF_EINVAL, "this run was opened for testing only");
    if (r->at.epoch >= r->config->train.epochs)
        cf_log(CF_LOG_INFO, "%s: its run is complete", r->weights);
    while (r->at.epoch < r->config->train.epochs) {
        cf_status status = run_one_epoch(r);
        if (status == CF_EINTERRUPTED) return stopped(r);
        CF_TRY(status);
    }
    if (!r->test || cf_run_views(r) == 1) return CF_OK;
    cf_status status = test_final(r);
    return status == CF_EINTERRUPTED ? stopped(r) : status;
}

static cf_status write_results(const cf_run *r, const cf_metrics *m, const cf_eval_record *e,
                               const cf_scores *scores)
{
    const cf_run_options *o = &r->options;
    if (o->scores) CF_TRY(cf_scores_write(scores, r->test, o->scores));
    if (o->result) CF_TRY(cf_result_write(m, r, e, o->result));
    if (o->per_class) CF_TRY(cf_result_write_classes(m, &r->classes, o->per_class));
    return o->confusion ? cf_result_write_confusion(m, &r->classes, o->confusion) : CF_OK;
}

cf_status cf_run_test(cf_eval_record *out, cf_run *r)
{
    size_t clips = (size_t)r->config->test.num_clip, crops = (size_t)r->config->test.num_crop;
    cf_scores scores = { 0 };
    cf_metrics metrics = { 0 };
    cf_status status = CF_OK;
    cf_eval_record record;
    if (!r->test) return CF_FAIL(CF_EINVAL, "configuration: DATA.VAL_FILE is not set");
    bool all = r->options.scores != NULL;
    if (all) CF_TRY(cf_scores_new(&scores, cf_dataset_size(r->test), clips * crops, r->classes.n));
    CF_GO(cf_run_evaluate(&record, &metrics, r, clips, crops, all ? &scores : NULL));
    record.weights = r->weights;
    CF_GO(write_results(r, &metrics, &record, &scores));
    *out = record;
done:
    cf_scores_fini(&scores);
    cf_metrics_fini(&metrics);
    return status;
}
