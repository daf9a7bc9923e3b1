/* What single values cannot tell: choices not implemented, values that contradict each other, and
 * log lines for what is accepted without effect or is probably not meant. Every message names the
 * key, its value and where the value came from. */
#include "config_internal.h"

#include <stdio.h>
#include <string.h>

static const char *where(const cf_config *c, const char *key)
{
    size_t index;
    CF_ASSERT(cf_config_find(&index, key) != NULL);
    return c->origin[index] ? c->origin[index] : "default";
}

static bool is_given(const cf_config *c, const char *key)
{
    size_t index;
    CF_ASSERT(cf_config_find(&index, key) != NULL);
    return c->origin[index] != NULL;
}

static cf_status check_sizes(const cf_config *c)
{
    static const struct {
        const char *key;
        size_t offset;
        int multiple;
        bool text;
    } sizes[] = {
        { "MODEL.PATCH_SIZE", offsetof(cf_config, model.patch_size), 1, false },
        { "MODEL.VISION_WIDTH", offsetof(cf_config, model.vision_width), 64, false },
        { "MODEL.VISION_LAYERS", offsetof(cf_config, model.vision_layers), 1, false },
        { "MODEL.EMBED_DIM", offsetof(cf_config, model.embed_dim), 64, false },
        { "MODEL.TEXT_WIDTH", offsetof(cf_config, model.text_width), 64, true },
        { "MODEL.TEXT_LAYERS", offsetof(cf_config, model.text_layers), 1, true },
    };
    bool custom = strcmp(c->model.arch, "custom") == 0;
    bool start = *c->model.pretrained && strcmp(c->model.pretrained, "scratch") != 0;
    bool weights = start || *c->model.resume || c->train.auto_resume;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int value = *(const int *)((const char *)c + sizes[i].offset);
        if (!custom && value != 0)
            return CF_FAIL(CF_EINVAL, "configuration: %s %d is for MODEL.ARCH custom, not %s (%s)",
                           sizes[i].key, value, c->model.arch, where(c, sizes[i].key));
        bool idle = sizes[i].text && c->model.head == CF_HEAD_FC;
        if (custom && value == 0 && !weights && !idle)
            return CF_FAIL(CF_EINVAL,
                           "configuration: MODEL.ARCH custom without weights needs %s (%s)",
                           sizes[i].key, where(c, "MODEL.ARCH"));
        if (value % sizes[i].multiple != 0)
            return CF_FAIL(CF_EINVAL,
                           "configuration: %s %d is no multiple of %d, the width of a head (%s)",
                           sizes[i].key, value, sizes[i].multiple, where(c, sizes[i].key));
    }
    if (c->model.patch_size > 0 && c->data.input_size % c->model.patch_size != 0)
        return CF_FAIL(
            CF_EINVAL,
            "configuration: DATA.INPUT_SIZE %d is no multiple of MODEL.PATCH_SIZE %d (%s)",
            c->data.input_size, c->model.patch_size, where(c, "DATA.INPUT_SIZE"));
    return CF_OK;
}

static cf_status check_resolution(const cf_config *c)
{
    if (strcmp(c->model.arch, "custom") == 0) return CF_OK;
    if (c->model.visual_position != CF_PICTURES_REFUSE) return CF_OK; /* the weights are resized */
    int size = strstr(c->model.arch, "@336") ? 336 : 224;
    if (c->data.input_size == size) return CF_OK;
    return CF_FAIL(CF_EINVAL, "configuration: MODEL.ARCH %s needs DATA.INPUT_SIZE %d, not %d (%s)",
                   c->model.arch, size, c->data.input_size, where(c, "DATA.INPUT_SIZE"));
}

static void log_unused(const cf_config *c)
{
    if (is_given(c, "MODEL.FIX_TEXT") && c->model.head == CF_HEAD_FC)
        cf_log(CF_LOG_INFO,
               "configuration: MODEL.FIX_TEXT has no effect: MODEL.HEAD fc has no "
               "text side (%s)",
               where(c, "MODEL.FIX_TEXT"));
    if (is_given(c, "TRAIN.OPT_LEVEL") && strcmp(c->train.opt_level, "O0") != 0)
        cf_log(CF_LOG_INFO,
               "configuration: TRAIN.OPT_LEVEL %s has no effect: everything is computed in float32",
               c->train.opt_level);
    if (strcmp(c->train.lr_scheduler, "cosine") != 0)
        cf_log(CF_LOG_WARNING,
               "configuration: TRAIN.LR_SCHEDULER %s has no effect: the schedule is cosine (%s)",
               c->train.lr_scheduler, where(c, "TRAIN.LR_SCHEDULER"));
    if (strcmp(c->train.optimizer, "adamw") != 0)
        cf_log(CF_LOG_WARNING,
               "configuration: TRAIN.OPTIMIZER %s has no effect: the optimiser is AdamW (%s)",
               c->train.optimizer, where(c, "TRAIN.OPTIMIZER"));
}

static void log_suspicious(const cf_config *c)
{
    if (*c->model.prompt_templates && c->model.prompt != CF_PROMPT_ENSEMBLE)
        cf_log(CF_LOG_WARNING,
               "configuration: MODEL.PROMPT_TEMPLATES has no effect: MODEL.PROMPT is no ensemble "
               "(%s)",
               where(c, "MODEL.PROMPT_TEMPLATES"));
    if (is_given(c, "MODEL.PROMPT_VECTORS") && c->model.prompt != CF_PROMPT_VECTORS)
        cf_log(
            CF_LOG_WARNING,
            "configuration: MODEL.PROMPT_VECTORS has no effect: MODEL.PROMPT is not vectors (%s)",
            where(c, "MODEL.PROMPT_VECTORS"));
    if (c->aug.mixup <= 0 && is_given(c, "AUG.MIXUP") && c->aug.cutmix > 0)
        cf_log(CF_LOG_WARNING, "configuration: AUG.MIXUP 0 switches cutmix off too (%s)",
               where(c, "AUG.MIXUP"));
    if (c->aug.mixup > 0 && c->train.batch_size == 1 && !c->test.only_test)
        cf_log(CF_LOG_WARNING,
               "configuration: TRAIN.BATCH_SIZE 1 mixes every video with itself: no mixup (%s)",
               where(c, "TRAIN.BATCH_SIZE"));
    if (c->train.warmup_epochs >= c->train.epochs)
        cf_log(CF_LOG_WARNING,
               "configuration: TRAIN.WARMUP_EPOCHS %g of TRAIN.EPOCHS %d: the learning rate only "
               "rises (%s)",
               c->train.warmup_epochs, c->train.epochs, where(c, "TRAIN.EPOCHS"));
}

/* ---- what follows from other keys ------------------------------------------------------------ */

/* " 1, 2, 4, 8": what divides `total`, from the small end. */
static void list_divisors(char *out, size_t size, int total)
{
    size_t n = 0;
    out[0] = 0;
    for (int i = 1; i <= total && n + 24 < size; i++) {
        if (total % i != 0) continue;
        n += (size_t)snprintf(out + n, size - n, "%s%d", n ? ", " : "", i);
    }
}

static bool of_command_line(const cf_config *c, const char *key)
{
    return strncmp(where(c, key), "--", 2) == 0;
}

cf_status cf_config_settle(cf_config *c)
{
    static const char steps_key[] = "TRAIN.ACCUMULATION_STEPS";
    int total = c->train.global_batch, batch = c->train.batch_size;
    int given = c->train.accumulation_steps;
    char text[128];
    if (total == 0) return CF_OK;
    if (total % batch != 0) {
        list_divisors(text, sizeof text, total);
        return CF_FAIL(CF_EINVAL,
                       "configuration: TRAIN.BATCH_SIZE %d (%s) does not divide TRAIN.GLOBAL_BATCH "
                       "%d; these do: %s (%s)",
                       batch, where(c, "TRAIN.BATCH_SIZE"), total, text,
                       where(c, "TRAIN.GLOBAL_BATCH"));
    }
    if (is_given(c, steps_key) && given == total / batch) return CF_OK;
    bool later = !of_command_line(c, steps_key) && (of_command_line(c, "TRAIN.GLOBAL_BATCH") ||
                                                    of_command_line(c, "TRAIN.BATCH_SIZE"));
    if (is_given(c, steps_key) && !later)
        return CF_FAIL(CF_EINVAL,
                       "configuration: %s %d (%s) x TRAIN.BATCH_SIZE %d is not "
                       "TRAIN.GLOBAL_BATCH %d (%s); give one of them, GLOBAL_BATCH 0 is none",
                       steps_key, given, where(c, steps_key), batch, total,
                       where(c, "TRAIN.GLOBAL_BATCH"));
    if (is_given(c, steps_key))
        cf_log(CF_LOG_INFO, "configuration: %s %d (%s) gives way to %d: TRAIN.GLOBAL_BATCH %d",
               steps_key, given, where(c, steps_key), total / batch, total);
    snprintf(text, sizeof text, "%d", total / batch);
    return cf_config_set_plain(c, steps_key, text, "GLOBAL_BATCH / BATCH_SIZE");
}

cf_status cf_config_check(const cf_config *c)
{
    CF_TRY(cf_config_check_variant(c));
    if (c->test.num_crop != 1 && c->test.num_crop != 3)
        return CF_FAIL(CF_EINVAL, "configuration: TEST.NUM_CROP must be 1 or 3, not %d (%s)",
                       c->test.num_crop, where(c, "TEST.NUM_CROP"));
    if (c->test.final == CF_FINAL_BEST && c->test.freq == 0)
        return CF_FAIL(CF_EINVAL,
                       "configuration: TEST.FINAL best needs tests that find it, but TEST.FREQ is "
                       "0 (%s)",
                       where(c, "TEST.FINAL"));
    bool cutmix = c->aug.mixup > 0 && c->aug.mixup_switch_prob > 0;
    if (cutmix && c->aug.cutmix <= 0)
        return CF_FAIL(CF_EINVAL,
                       "configuration: AUG.CUTMIX 0 needs AUG.MIXUP_SWITCH_PROB 0, not %g (%s)",
                       c->aug.mixup_switch_prob, where(c, "AUG.CUTMIX"));
    CF_TRY(check_sizes(c));
    CF_TRY(check_resolution(c));
    log_unused(c);
    log_suspicious(c);
    return CF_OK;
}
