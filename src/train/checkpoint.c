/* Checkpoints: where a run stands, in one safetensors file.
 *
 * Tensors: the model's under their native names, and for each trained one optimizer.m.NAME and
 * optimizer.v.NAME, with TRAIN.EMA also optimizer.ema.NAME and optimizer.ema_rest.NAME (the
 * average is their sum). Metadata, decimal texts: the position (epoch, micro_batch, step,
 * previous_update, adamw_steps), best_top1, log_evals (eval lines the log had), micro_batches and
 * accumulation (what an epoch and a step were), seed, kept_epochs (numbers of the epoch_NNN files),
 * classes (a JSON array of names), and config, the whole configuration as YAML; and the checksum of
 * safetensors.h.
 * A file is written between two steps only, beside the old one and renamed over it, so a reader
 * finds the old or the new one whole.
 *
 * A run goes on as it was planned: what decides the schedule and the random numbers comes from the
 * checkpoint (Q25), and each difference to the present configuration is told. What would make the
 * position meaningless, another number of micro-batches in an epoch or a step, is refused. */
#include "train/run.h"

#include "crossframe/predict.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBERS = 11, NUMBER = 32, BLOCKS = 4 };

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct {
    cf_st_tensor *tensors;
    char (*names)[BLOCKS][320]; /* of the optimiser's blocks */
    size_t n;
    char text[NUMBERS][NUMBER];
    cf_st_pair metadata[NUMBERS + 4];
    size_t n_metadata;
} content;

static const char *const kinds[BLOCKS] = { "m", "v", "ema", "ema_rest" };

/* Blocks laid out like the trainable one, by kind; how many there are. */
static size_t optimizer_blocks(cf_real *out[BLOCKS], const cf_run *r)
{
    out[0] = cf_adamw_m(r->adamw, NULL);
    out[1] = cf_adamw_v(r->adamw, NULL);
    if (!r->ema) return 2;
    out[2] = cf_ema_mean(r->ema, NULL);
    out[3] = cf_ema_rest(r->ema, NULL);
    return 4;
}

static void add_tensors(content *c, const cf_run *r, bool full)
{
    const cf_params *params = cf_xclip_params(r->model);
    size_t count = cf_params_count(params);
    for (size_t i = 0; i < count; i++) {
        const cf_param *p = cf_params_get(params, i);
        c->tensors[c->n++] = cf_param_as_st(p, p->tensor.name, p->tensor.data);
    }
    cf_real *blocks[BLOCKS];
    size_t n = full ? optimizer_blocks(blocks, r) : 0;
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < count; i++) {
            const cf_param *p = cf_params_get(params, i);
            if (!p->trainable) continue;
            char *name = c->names[i][k];
            snprintf(name, sizeof c->names[i][k], "optimizer.%s.%s", kinds[k], p->tensor.name);
            c->tensors[c->n++] = cf_param_as_st(p, name, blocks[k] + p->start);
        }
    }
}

static void add_number(content *c, const char *key, int64_t value)
{
    char *text = c->text[c->n_metadata];
    snprintf(text, NUMBER, "%" PRId64, value);
    c->metadata[c->n_metadata++] = (cf_st_pair){ key, text };
}

static void add_metadata(content *c, const cf_run *r, const char *kept, const char *classes,
                         const char *config)
{
    const cf_position *at = &r->at;
    add_number(c, "epoch", at->epoch);
    add_number(c, "micro_batch", at->micro);
    add_number(c, "step", at->step);
    add_number(c, "previous_update", at->previous);
    add_number(c, "adamw_steps", (int64_t)cf_adamw_steps(r->adamw));
    add_number(c, "log_evals", (int64_t)cf_run_log_evals(r->log));
    add_number(c, "micro_batches", (int64_t)r->micro_batches);
    add_number(c, "accumulation", (int64_t)r->accumulation);
    add_number(c, "seed", r->config->seed);
    char *best = c->text[c->n_metadata];
    snprintf(best, NUMBER, "%.17g", at->best_top1);
    c->metadata[c->n_metadata++] = (cf_st_pair){ "best_top1", best };
    c->metadata[c->n_metadata++] = (cf_st_pair){ "crossframe", CF_VERSION };
    c->metadata[c->n_metadata++] = (cf_st_pair){ "kept_epochs", kept };
    c->metadata[c->n_metadata++] = (cf_st_pair){ "classes", classes };
    c->metadata[c->n_metadata++] = (cf_st_pair){ "config", config };
}

/* "3 4 5"; free with cf_free. */
static cf_status kept_text(char **out, const cf_run *r)
{
    char *text;
    size_t n = 0;
    CF_TRY(cf_alloc(&text, r->n_kept + 1, 24));
    *text = 0;
    for (size_t i = 0; i < r->n_kept; i++)
        n += (size_t)snprintf(text + n, 24, "%s%" PRId64, i > 0 ? " " : "", r->kept[i]);
    *out = text;
    return CF_OK;
}

cf_status cf_checkpoint_write(const cf_run *r, const char *path, bool full)
{
    CF_ASSERT(!(full && r->averaged));
    cf_status status = CF_OK;
    size_t count = cf_params_count(cf_xclip_params(r->model));
    char *config = NULL, *classes = NULL, *kept = NULL;
    content *c = NULL;
    CF_TRY(cf_alloc_zero(&c, 1, sizeof *c));
    CF_GO(cf_alloc(&c->tensors, (1 + BLOCKS) * count, sizeof *c->tensors));
    CF_GO(cf_alloc(&c->names, count, sizeof *c->names));
    CF_GO(cf_config_text(&config, r->config));
    add_tensors(c, r, full);
    CF_GO(cf_labels_to_json(&classes, (const char *const *)r->classes.name, r->classes.n));
    CF_GO(kept_text(&kept, r));
    add_metadata(c, r, kept, classes, config);
    CF_GO(cf_run_log_sync(r->log));
    CF_GO(cf_st_write_checked(path, c->tensors, c->n, c->metadata, c->n_metadata));
done:
    cf_free(c->tensors);
    cf_free(c->names);
    cf_free(c);
    cf_free(config);
    cf_free(classes);
    cf_free(kept);
    return status;
}

/* ---- reading --------------------------------------------------------------------------------- */

bool cf_checkpoint_has_optimizer(const cf_weights *f)
{
    for (size_t i = 0; i < cf_weights_count(f); i++)
        if (strncmp(cf_weights_at(f, i)->name, "optimizer.", 10) == 0) return true;
    return false;
}

static cf_status get_text(const char **out, const cf_weights *f, const char *key)
{
    const char *text = cf_weights_metadata(f, key);
    if (!text)
        return CF_FAIL(CF_EFORMAT, "%s: not a checkpoint of a run: its metadata has no %s",
                       cf_weights_path(f), key);
    *out = text;
    return CF_OK;
}

static cf_status get_number(int64_t *out, const cf_weights *f, const char *key, int64_t least)
{
    const char *text;
    char *end;
    CF_TRY(get_text(&text, f, key));
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < least)
        return CF_FAIL(CF_EFORMAT, "%s: metadata %s is '%.40s'", cf_weights_path(f), key, text);
    *out = value;
    return CF_OK;
}

static cf_status read_position(cf_position *out, int64_t *adamw_steps, const cf_weights *f)
{
    cf_position p;
    const char *text;
    char *end;
    CF_TRY(get_number(&p.epoch, f, "epoch", 0));
    CF_TRY(get_number(&p.micro, f, "micro_batch", 0));
    CF_TRY(get_number(&p.step, f, "step", 0));
    CF_TRY(get_number(&p.previous, f, "previous_update", -1));
    CF_TRY(get_number(&p.log_evals, f, "log_evals", 0));
    CF_TRY(get_number(adamw_steps, f, "adamw_steps", 0));
    CF_TRY(get_text(&text, f, "best_top1"));
    p.best_top1 = strtod(text, &end);
    if (end == text || *end || !isfinite(p.best_top1))
        return CF_FAIL(CF_EFORMAT, "%s: metadata best_top1 is '%.40s'", cf_weights_path(f), text);
    *out = p;
    return CF_OK;
}

static cf_status check_counts(const cf_run *r, const cf_position *p, const cf_weights *f)
{
    int64_t micro_batches, accumulation;
    CF_TRY(get_number(&micro_batches, f, "micro_batches", 1));
    CF_TRY(get_number(&accumulation, f, "accumulation", 1));
    if (micro_batches != (int64_t)r->micro_batches || accumulation != (int64_t)r->accumulation)
        return CF_FAIL(
            CF_EINVAL,
            "%s cannot be gone on with: its run had epochs of %" PRId64 " micro-batches, %" PRId64
            " a step, this one has %zu and %zu (data, TRAIN.BATCH_SIZE, "
            "TRAIN.ACCUMULATION_STEPS); to start anew from its weights use --pretrained",
            cf_weights_path(f), micro_batches, accumulation, r->micro_batches, r->accumulation);
    bool whole = p->micro % accumulation == 0 && p->micro <= micro_batches &&
                 p->epoch <= r->config->train.epochs;
    if (!whole)
        return CF_FAIL(CF_EFORMAT, "%s: no step ends at epoch %" PRId64 ", micro-batch %" PRId64,
                       cf_weights_path(f), p->epoch, p->micro);
    return CF_OK;
}

static cf_status read_kept(cf_run *r, const cf_weights *f)
{
    const char *text = cf_weights_metadata(f, "kept_epochs");
    while (text && *text) { /* without it: written before there were any */
        char *end;
        errno = 0;
        long long epoch = strtoll(text, &end, 10);
        if (end == text || (*end && *end != ' ') || errno || epoch < 0)
            return CF_FAIL(CF_EFORMAT, "%s: metadata kept_epochs: '%.40s'", cf_weights_path(f),
                           text);
        CF_TRY(cf_grow(&r->kept, &r->kept_capacity, r->n_kept + 1, sizeof *r->kept));
        r->kept[r->n_kept++] = epoch;
        text = *end ? end + 1 : end;
    }
    return CF_OK;
}

static cf_status read_block(cf_real *block, const cf_run *r, const char *kind, const cf_weights *f)
{
    const cf_params *params = cf_xclip_params(r->model);
    for (size_t i = 0; i < cf_params_count(params); i++) {
        const cf_param *p = cf_params_get(params, i);
        char name[320];
        const cf_weight *t;
        if (!p->trainable) continue;
        snprintf(name, sizeof name, "optimizer.%s.%s", kind, p->tensor.name);
        CF_TRY(cf_weights_get(&t, f, name));
        CF_TRY(cf_weights_read(block + p->start, p->tensor.n, f, t));
    }
    return CF_OK;
}

cf_status cf_checkpoint_read(cf_run *r, const cf_weights *f)
{
    cf_position position;
    int64_t adamw_steps;
    cf_real *blocks[BLOCKS];
    CF_TRY(read_position(&position, &adamw_steps, f));
    CF_TRY(check_counts(r, &position, f));
    CF_TRY(read_kept(r, f));
    size_t n = optimizer_blocks(blocks, r);
    for (size_t k = 0; k < n; k++) CF_TRY(read_block(blocks[k], r, kinds[k], f));
    cf_adamw_set_steps(r->adamw, (uint64_t)adamw_steps);
    r->at = position;
    return CF_OK;
}

cf_status cf_checkpoint_use_average(cf_run *r, const cf_weights *f)
{
    bool has = false;
    for (size_t i = 0; i < cf_weights_count(f) && !has; i++)
        has = strncmp(cf_weights_at(f, i)->name, "optimizer.ema.", 14) == 0;
    if (!has) return CF_OK;
    cf_log(CF_LOG_INFO, "%s: the averaged weights (TRAIN.EMA)", cf_weights_path(f));
    return read_block(cf_params_weights(cf_xclip_params(r->model), NULL), r, "ema", f);
}

/* ---- configuration of the run that is gone on with ------------------------------------------- */

static bool starts_with(const char *s, const char *start)
{
    return strncmp(s, start, strlen(start)) == 0;
}

static bool is_one_of(const char *key, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return false;
}

static cf_status adopt_key(cf_config *c, const cf_config *old, size_t i, const char *path)
{
    static const char *const taken[] = { "TRAIN.LR",
                                         "TRAIN.NEW_LR_FACTOR",
                                         "TRAIN.EPOCHS",
                                         "TRAIN.WARMUP_EPOCHS",
                                         "TRAIN.WEIGHT_DECAY",
                                         "TRAIN.CLIP_GRAD",
                                         "TRAIN.RANKS",
                                         "TRAIN.EMA",
                                         "MODEL.FIX_TEXT",
                                         "MODEL.FIX_VISUAL",
                                         "MODEL.FIX_LOGIT_SCALE",
                                         "MODEL.PROMPT",
                                         "MODEL.PROMPT_TEMPLATES",
                                         "SEED" };
    /* What the run began with, and config.yaml repeats. */
    static const char *const began[] = { "MODEL.RESUME", "MODEL.PRETRAINED" };
    static const char *const told[] = { "DATA.NUM_FRAMES", "DATA.SHUFFLE", "DATA.SAMPLING",
                                        "MODEL.DROP_PATH_RATE" };
    const char *key = cf_config_key_at(i)->name;
    char *now = NULL, *before = NULL;
    cf_status status = CF_OK;
    CF_GO(cf_config_get(&now, c, i));
    CF_GO(cf_config_get(&before, old, i));
    if (strcmp(now, before) == 0) goto done;
    if (is_one_of(key, began, sizeof began / sizeof *began)) {
        CF_GO(cf_config_set(c, key, before, path));
    } else if (is_one_of(key, taken, sizeof taken / sizeof *taken)) {
        cf_log(CF_LOG_WARNING, "%s goes on with %s %s, not %s", path, key, before, now);
        CF_GO(cf_config_set(c, key, before, path));
    } else if (starts_with(key, "AUG.") || is_one_of(key, told, sizeof told / sizeof *told)) {
        cf_log(CF_LOG_WARNING, "%s was trained with %s %s, now %s", path, key, before, now);
    }
done:
    cf_free(now);
    cf_free(before);
    return status;
}

cf_status cf_checkpoint_adopt(cf_config *c, const cf_weights *f)
{
    const char *text;
    cf_config *old;
    CF_TRY(get_text(&text, f, "config"));
    CF_TRY_CTX(cf_config_parse(&old, text, strlen(text), "config"), "%s: metadata",
               cf_weights_path(f));
    cf_status status = CF_OK;
    for (size_t i = 0; i < cf_config_n_keys() && status == CF_OK; i++)
        status = adopt_key(c, old, i, cf_weights_path(f));
    cf_config_free(old);
    return status;
}
