/* See plan_print.h. */
#include "plan_print.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "run_print.h"

#define GB(bytes) ((double)(bytes) / 1e9)

/* ---- model ----------------------------------------------------------------------------------- */

static void print_parts(FILE *to, const cf_run_plan *p, bool trained)
{
    const char *before = trained ? "trained  " : "frozen   ";
    for (int i = 0; i < CF_PLAN_PARTS; i++) {
        const cf_plan_part *part = &p->parts[i];
        if (part->numbers == 0 || (part->trained > 0) != trained) continue;
        if (part->numbers == 1)
            fprintf(to, "%s%s", before, part->name);
        else
            fprintf(to, "%s%s %.3f M", before, part->name, (double)part->numbers / 1e6);
        before = ", ";
    }
    if (*before == ',') fprintf(to, "\n");
}

static void print_model(FILE *to, const char *prefix, const cf_run_plan *p)
{
    const cf_xclip_config *m = p->model;
    fprintf(to, "%smodel    %s, %zu px in patches of %zu, %zu blocks of width %zu, %s", prefix,
            p->config->model.arch, m->image, m->patch, m->vision_layers, m->vision_width,
            cf_video_encoder_text(m->video));
    fprintf(to, ", MIT %zu, ", m->mit_layers);
    if (p->templates > 1)
        fprintf(to, "texts in %zu templates\n", p->templates);
    else if (m->prompt_vectors > 0)
        fprintf(to, "%zu vectors before the names\n", m->prompt_vectors);
    else if (m->head_classes > 0)
        fprintf(to, "fully connected head\n");
    else
        fprintf(to, "prompts %zu\n", m->prompt_layers);
    fprintf(to, "%s         %.3f M numbers, %.3f M trained%s; from %s\n", prefix,
            (double)p->parameters / 1e6, (double)p->trained / 1e6,
            m->train_text ? ", the text side too" : "",
            !p->weights   ? "weights that are missing"
            : *p->weights ? p->weights
                          : "start values");
    for (int trained = 1; trained >= 0; trained--) {
        bool any = false;
        for (int i = 0; i < CF_PLAN_PARTS; i++)
            any = any || (p->parts[i].numbers > 0 && (p->parts[i].trained > 0) == (trained != 0));
        if (any) fprintf(to, "%s         ", prefix);
        print_parts(to, p, trained != 0);
    }
    if (m->head_classes > 0)
        fprintf(to, "%sclasses  %zu, without texts\n", prefix, p->classes);
    else
        fprintf(to, "%sclasses  %zu, vocabulary %s\n", prefix, p->classes,
                p->vocabulary ? p->vocabulary : "missing");
    if (!p->alike[0]) return;
    fprintf(to, "%s         most alike for the text tower: \"%s\" and \"%s\", cosine %.3f\n",
            prefix, p->alike[0], p->alike[1], p->cosine);
    if (p->cosine > 0.99)
        fprintf(to, "%swarning: these two classes can hardly be told apart by their texts\n",
                prefix);
}

/* ---- cost ------------------------------------------------------------------------------------ */

static void print_flop(FILE *to, const char *prefix, const cf_run_plan *p)
{
    fprintf(to, "%scost     %.1f GFLOP a view", prefix, p->gflop_forward);
    if (!p->only_test)
        fprintf(to, ", %.1f a training video, both ways%s", p->gflop_train,
                p->model->recompute ? " and what is computed again" : "");
    if (cf_xclip_trains_text(p->model) && !p->only_test)
        fprintf(to, ", the text tower's part included");
    else if (p->model->head_classes == 0)
        fprintf(to, "; class texts %.1f, once", p->gflop_text);
    fprintf(to, "\n%s         (matrix products, 2 for a multiply and add)\n", prefix);
}

static void print_memory(FILE *to, const char *prefix, const cf_run_plan *p)
{
    const cf_plan_memory *m = &p->memory;
    const struct {
        const char *name;
        size_t bytes;
    } kind[] = {
        { "weights", m->weights },         { "gradients", m->gradients },
        { "moments", m->moments },         { "average", m->average },
        { "activations", m->activations }, { "their gradients", m->buffers },
        { "pictures", m->batches },        { "class texts", m->text },
        { "program", m->process },
    };
    fprintf(to, "%smemory   %.2f GB:", prefix, GB(m->total));
    const char *before = " ";
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        if (kind[i].bytes < 5000000) continue;
        fprintf(to, "%s%s %.2f", before, kind[i].name, GB(kind[i].bytes));
        before = ", ";
    }
    if (m->shared >= 5000000)
        fprintf(to, ", less %.2f of activations under the gradients", GB(m->shared));
    fprintf(to, "\n");
    if (p->only_test) return;
    fprintf(to, "%s         with TRAIN.USE_CHECKPOINT %s %.2f GB, %.1f GFLOP a training video\n",
            prefix, p->model->recompute ? "False" : "True", GB(p->other_memory.total),
            p->other_gflop_train);
}

void plan_warn(FILE *to, const char *prefix, const cf_run_plan *p)
{
    if (p->memory.total <= p->machine_memory) return;
    fprintf(to, "%swarning: this machine has %.2f GB of memory, the run needs %.2f GB", prefix,
            GB(p->machine_memory), GB(p->memory.total));
    if (p->only_test) {
        fprintf(to, "; a smaller TRAIN.BATCH_SIZE helps\n");
        return;
    }
    if (p->fitting.batch == 0) {
        fprintf(to, ", and no TRAIN.BATCH_SIZE fits\n");
        return;
    }
    fprintf(to, "; %.2f GB with", GB(p->fitting.total));
    if (!p->model->recompute) fprintf(to, " TRAIN.USE_CHECKPOINT True");
    if (p->fitting.batch != (size_t)p->config->train.batch_size)
        fprintf(to, "%s TRAIN.BATCH_SIZE %zu and TRAIN.ACCUMULATION_STEPS %zu",
                p->model->recompute ? "" : ",", p->fitting.batch, p->fitting.accumulation);
    fprintf(to, "\n");
}

/* ---- data and steps -------------------------------------------------------------------------- */

static void print_train(FILE *to, const char *prefix, const cf_run_plan *p)
{
    const cf_config *c = p->config;
    fprintf(to, "%strain    ", prefix);
    if (p->train_videos > 0)
        fprintf(to, "%zu videos", p->train_videos);
    else
        fprintf(to, "videos, it is not known how many,");
    fprintf(to, " of %d frames, %d epochs of ", c->data.num_frames, c->train.epochs);
    if (p->micro_batches > 0) fprintf(to, "%zu ", p->micro_batches);
    fprintf(to, "micro-batches of %d, %d a step", c->train.batch_size, c->train.accumulation_steps);
    if (p->steps > 0) fprintf(to, ": %" PRId64 " steps", p->steps);
    if (p->first_step > 0) fprintf(to, ", %" PRId64 " of them done", p->first_step);
    fprintf(to, "\n");
    if (*p->train_source) fprintf(to, "%s         videos from %s\n", prefix, p->train_source);
}

static void print_test(FILE *to, const char *prefix, const cf_run_plan *p)
{
    if (!*p->config->data.val_file) return;
    fprintf(to, "%stest     ", prefix);
    if (p->test_videos > 0)
        fprintf(to, "%zu videos", p->test_videos);
    else
        fprintf(to, "videos, it is not known how many");
    fprintf(to, ", %zu view%s", p->views, p->views == 1 ? "" : p->only_test ? "s" : "s at the end");
    if (*p->test_source) fprintf(to, ", from %s", p->test_source);
    fprintf(to, "\n");
}

void plan_print(FILE *to, const char *prefix, const cf_run_plan *p)
{
    const char *warning = cf_blas_warning();
    if (p->model) {
        print_model(to, prefix, p);
        print_flop(to, prefix, p);
        print_memory(to, prefix, p);
    } else {
        fprintf(to, "%smodel    %s: its sizes come with the weights\n", prefix,
                p->config->model.arch);
    }
    if (!p->only_test) print_train(to, prefix, p);
    print_test(to, prefix, p);
    fprintf(to, "%smachine  %d threads, %.2f GB, %s\n", prefix, cf_threads(), GB(p->machine_memory),
            cf_blas_config());
    if (warning) fprintf(to, "%swarning: %s\n", prefix, warning);
    plan_warn(to, prefix, p);
    for (size_t i = 0; i < p->n_missing; i++) fprintf(to, "%smissing  %s\n", prefix, p->missing[i]);
}

/* ---- how long it will take ------------------------------------------------------------------- */

enum { FIRST_STEPS = 3 };

void plan_rate_start(plan_rate *r, const cf_run_plan *p)
{
    const cf_config *c = p->config;
    double videos = (double)c->train.batch_size * (double)c->train.accumulation_steps;
    double text = cf_xclip_trains_text(p->model) ? p->gflop_text : 0;
    double view = (double)p->test_videos * p->gflop_forward;
    *r = (plan_rate){ .gflop_step = videos * p->gflop_train,
                      .gflop_tests = (double)p->tests * (view + text),
                      .tests = p->tests };
    if (p->views == 1 || p->test_videos == 0) return;
    r->views = p->views;
    r->gflop_end = (double)p->views * view + text;
}

/* "14:32", "Tue 14:32", "12 March 14:32" */
static void print_moment(char out[48], double seconds_ahead)
{
    time_t now = time(NULL), then = now + (time_t)seconds_ahead;
    struct tm a, b;
    localtime_r(&now, &a);
    localtime_r(&then, &b);
    bool same_day = a.tm_yday == b.tm_yday && a.tm_year == b.tm_year;
    strftime(out, 48,
             same_day                    ? "%H:%M"
             : seconds_ahead < 6 * 86400 ? "%a %H:%M"
                                         : "%d %B %H:%M",
             &b);
}

bool plan_rate_step(char out[256], plan_rate *r, const cf_run_progress *s)
{
    char training[32], tests[32] = "", when[48], test_text[96] = "";
    if (r->seen >= FIRST_STEPS) return false;
    if (r->seen++ > 0) r->seconds += s->record.seconds;
    if (r->seen < FIRST_STEPS) return false;
    double step = r->seconds / (FIRST_STEPS - 1);
    double train_s = (double)(s->steps - s->record.step - 1) * step;
    double test_s = (r->gflop_tests + r->gflop_end) * step / r->gflop_step;
    print_time(training, train_s);
    if (r->tests > 0 || r->views > 0) {
        print_time(tests, test_s);
        snprintf(test_text, sizeof test_text, ", %s for %zu test%s", tests,
                 r->tests + (r->views > 0), r->tests + (r->views > 0) == 1 ? "" : "s");
    }
    print_moment(when, train_s + test_s);
    snprintf(out, 256, "at this rate %s for training%s; done at about %s", training, test_text,
             when);
    return true;
}
