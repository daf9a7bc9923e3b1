/* What a run will cost, before it does any of it: numbers of each part of the model, flop of a
 * video, bytes of memory.
 *
 * Activations, gradient buffers and flop come from one training step, one test batch and the class
 * texts on a dry tape: the very calls the run makes, with nothing computed. The rest of the memory
 * is a handful of blocks whose sizes are known. */
#include "train/run.h"

#include <string.h>

/* ---- parts ----------------------------------------------------------------------------------- */

/* Joint attention's temporal embedding stands in the place of the messages. */
enum { TRUNK, MESSAGES, MIT, PROMPTS, TEXT, LOGIT_SCALE, HEAD };

static int part_of(const char *name)
{
    if (strstr(name, "message_") || strstr(name, "temporal_embedding")) return MESSAGES;
    if (strstr(name, "visual.")) return TRUNK;
    if (strstr(name, "prompts")) return PROMPTS;
    if (strstr(name, "mit")) return MIT;
    if (strncmp(name, "head.", 5) == 0) return HEAD;
    return strcmp(name, "logit_scale") == 0 ? LOGIT_SCALE : TEXT;
}

static void count_parts(cf_run_plan *p, const cf_params *params)
{
    static const char *const names[CF_PLAN_PARTS] = { "vision trunk", "messages",   "MIT",
                                                      "prompts",      "text tower", "logit scale",
                                                      "head" };
    for (int i = 0; i < CF_PLAN_PARTS; i++) p->parts[i] = (cf_plan_part){ .name = names[i] };
    for (size_t i = 0; i < cf_params_count(params); i++) {
        const cf_param *q = cf_params_get(params, i);
        cf_plan_part *part = &p->parts[part_of(q->tensor.name)];
        part->numbers += q->tensor.n;
        if (q->trainable) part->trained += q->tensor.n;
    }
    if (cf_params_find(params, "visual.temporal_embedding"))
        p->parts[MESSAGES].name = "temporal embedding";
    p->parameters = cf_params_numbers(params, false);
    p->trained = cf_params_numbers(params, true);
}

/* ---- a dry run of one step ------------------------------------------------------------------- */

typedef struct {
    size_t activations, buffers;
    size_t gradients, gradients_at, region; /* region: activations and gradients together */
    size_t text_activations;
    double train, view, text; /* flop: of a micro-batch, of one clip, of all texts */
} counts;

/* All class texts, once; scores of the clips of a test. */
static cf_status dry_text(counts *out, cf_run *dry)
{
    const cf_classes *c = &dry->classes;
    cf_tape_record(dry->tape, false);
    for (size_t i = 0; i < c->templates; i++) {
        cf_tape_reset(dry->tape);
        cf_xclip_text(dry->model, dry->tape, c->tokens + i * c->n * c->context, c->n);
        CF_TRY(cf_tape_status(dry->tape));
        out->text += cf_tape_stats_get(dry->tape).flop;
    }
    out->text_activations = cf_tape_stats_get(dry->tape).activation_peak;
    cf_tape_record(dry->tape, true);
    return CF_OK;
}

static cf_status dry_test(double *flop, cf_run *dry, size_t clips)
{
    const cf_xclip_config *m = cf_xclip_config_get(dry->model);
    const cf_xclip_run mode = { .training = false };
    cf_xclip_outputs out;
    cf_tape *t = dry->tape;
    cf_tape_reset(t);
    cf_tape_record(t, false);
    cf_tensor *pictures =
        cf_tensor_input_f32(t, cf_shape_of(clips, m->frames, 3, m->image, m->image), NULL);
    CF_TRY(cf_xclip_video(&out, dry->model, t, pictures, &mode, NULL, NULL));
    cf_tensor *text = NULL;
    if (cf_run_has_text(dry))
        text = cf_tensor_input(t, cf_shape_of(dry->classes.n, m->embed), NULL, false);
    CF_TRY(cf_xclip_scores(&out, dry->model, t, text, NULL, NULL));
    *flop = cf_tape_stats_get(t).flop;
    cf_tape_record(t, true);
    return CF_OK;
}

/* Texts of other lengths take other steps: the largest counts for memory, the mean for time. Where
 * micro-batches add up, each meets the gradients of those before it, the first one at last too. */
static cf_status dry_train(counts *out, cf_run *dry, size_t batch, size_t columns)
{
    const cf_xclip_config *m = cf_xclip_config_get(dry->model);
    int32_t *class_id;
    cf_tensor *loss;
    CF_TRY(cf_alloc(&class_id, columns, sizeof *class_id));
    for (size_t i = 0; i < columns; i++) class_id[i] = (int32_t)i;
    const cf_batch b = { .class_id = class_id,
                         .n_columns = columns,
                         .n = batch,
                         .views = 1,
                         .T = m->frames,
                         .size = m->image };
    size_t n = cf_run_text_is_trained(dry) ? dry->classes.templates : 1;
    bool adds_up = dry->accumulation > 1;
    cf_params *params = cf_xclip_params(dry->model);
    cf_status status = cf_tape_share(dry->tape, params, 0);
    for (size_t i = 0; i < n + adds_up && status == CF_OK; i++) {
        status = cf_run_loss(&loss, dry, &b, 0, i % n);
        if (status == CF_OK) status = cf_tape_backward(dry->tape, loss, 1);
        if (i < n) out->train += cf_tape_stats_get(dry->tape).flop / (double)n;
        if (!adds_up) cf_params_zero_grads(params);
    }
    cf_free(class_id);
    return status;
}

/* What a run with this model and `accumulation` micro-batches of `batch` takes. */
static cf_status dry_run(counts *out, cf_run_plan *p, const cf_run *r, const cf_xclip_config *m,
                         size_t batch, size_t accumulation, size_t columns)
{
    cf_status status = CF_OK;
    *out = (counts){ 0 };
    cf_run dry = { .config = r->config, .classes = r->classes, .accumulation = accumulation };
    double flop;
    CF_GO(cf_xclip_plan(&dry.model, m));
    CF_GO(cf_tape_new(&dry.tape, &(cf_tape_options){ .dry = true }));
    CF_GO(dry_text(out, &dry));
    CF_GO(dry_test(&out->view, &dry, 1));
    if (r->options.only_test || r->test) CF_GO(dry_test(&flop, &dry, batch));
    if (!r->options.only_test) CF_GO(dry_train(out, &dry, batch, columns));
    cf_tape_stats peak = cf_tape_stats_get(dry.tape);
    out->activations = peak.activation_peak;
    out->buffers = peak.gradient_peak;
    out->gradients = cf_params_block(cf_xclip_params(dry.model), true) * sizeof(cf_real);
    out->gradients_at = peak.gradients_at;
    out->region = peak.shared_bytes;
    if (p) count_parts(p, cf_xclip_params(dry.model));
done:
    cf_tape_free(dry.tape);
    cf_xclip_free(dry.model);
    return status;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Program, HDF5, OpenBLAS with its packing buffers, OpenMP: on x86-64 the largest resident set of
 * runs of a small model and of ViT-B/32, with 1 and 2 threads, was 44 to 54 MB above the rest. */
#define PROCESS_BYTES ((size_t)44 << 20)
#define THREAD_BYTES ((size_t)1 << 20)

static cf_status add_batches(size_t *bytes, const cf_run *r, size_t batch)
{
    cf_loader_size size;
    cf_loader_options o = cf_config_loader(r->config, true, r->classes.n);
    o.batch = batch;
    *bytes = 0;
    if (!r->options.only_test) {
        CF_TRY(cf_loader_measure(&size, NULL, &o));
        *bytes += size.bytes;
    }
    if (!r->options.only_test && !*r->config->data.val_file) return CF_OK;
    /* Between the epochs of one view, at last of all of them. */
    const size_t views[] = { 1, cf_run_views(r) };
    size_t most = 0;
    for (int i = r->options.only_test; i < 2; i++) {
        o = cf_config_loader(r->config, false, r->classes.n);
        if (i == 0) o.clips = o.crops = 1;
        o.batch = cf_run_test_videos(batch, views[i]);
        CF_TRY(cf_loader_measure(&size, NULL, &o));
        if (size.bytes > most) most = size.bytes;
    }
    *bytes += most;
    return CF_OK;
}

static cf_status measure(cf_plan_memory *out, const cf_run *r, const cf_run_plan *p,
                         const cf_xclip_config *m, const counts *c, size_t batch)
{
    size_t trained = c->gradients, K = r->classes.n, n = r->classes.templates;
    size_t weights = p->parameters * sizeof(cf_real);
    size_t tower = cf_xclip_trains_text(m) ? 0 : p->parts[TEXT].numbers * sizeof(cf_real);
    cf_plan_memory y = { .weights = weights - tower,
                         .activations = c->activations,
                         .buffers = c->buffers,
                         .text = K * ((n + (n > 1)) * m->embed * sizeof(cf_real) +
                                      (n + 1) * m->context * sizeof(int32_t)),
                         .process = PROCESS_BYTES + (size_t)cf_threads() * THREAD_BYTES };
    if (!r->options.only_test) {
        y.gradients = trained;
        y.shared = trained + c->activations - c->region;
        y.gradients_at = c->gradients_at;
        y.moments = 2 * trained;
        if (r->config->train.ema > 0) y.average = 2 * trained;
    }
    CF_TRY(add_batches(&y.batches, r, batch));
    y.total = y.weights + y.gradients + y.moments + y.average + y.activations - y.shared +
              y.buffers + y.batches + y.text + y.process;
    y.start = weights + c->text_activations + y.text + y.process;
    if (y.total < y.start) y.total = y.start;
    *out = y;
    return CF_OK;
}

/* The largest micro-batch that fits, and whether by recomputing. */
static cf_status find_fitting(cf_run_plan *p, const cf_run *r, size_t columns)
{
    size_t batch = (size_t)r->config->train.batch_size,
           videos = batch * (size_t)r->config->train.accumulation_steps;
    cf_xclip_config m = *p->model;
    cf_plan_memory memory;
    counts c;
    if (p->memory.total <= p->machine_memory || r->options.only_test) return CF_OK;
    m.recompute = true;
    for (size_t b = batch; b > 0; b--) {
        if (videos % b != 0) continue;
        CF_TRY(dry_run(&c, NULL, r, &m, b, videos / b, columns));
        CF_TRY(measure(&memory, r, p, &m, &c, b));
        if (memory.total > p->machine_memory) continue;
        p->fitting.batch = b;
        p->fitting.accumulation = videos / b;
        p->fitting.total = memory.total;
        p->fitting.use_checkpoint = true;
        return CF_OK;
    }
    return CF_OK;
}

/* ---- all of it ------------------------------------------------------------------------------- */

cf_run_plan cf_run_plan_of(const cf_run *r)
{
    size_t tests = 0;
    for (int64_t e = r->at.epoch; !r->options.only_test && e < r->config->train.epochs; e++)
        tests += cf_run_test_is_due(r, e);
    return (cf_run_plan){
        .config = r->config,
        .model = r->model ? cf_xclip_config_get(r->model) : NULL,
        .weights = r->weights,
        .vocabulary = r->vocabulary,
        .train_videos = r->train ? cf_dataset_size(r->train) : 0,
        .test_videos = r->test ? cf_dataset_size(r->test) : 0,
        .train_source = r->train ? cf_dataset_source(r->train) : "",
        .test_source = r->test ? cf_dataset_source(r->test) : "",
        .classes = r->classes.n,
        .templates = r->classes.templates,
        .micro_batches = r->micro_batches,
        .views = cf_run_views(r),
        .steps = r->steps,
        .first_step = r->at.step,
        .tests = tests,
        .only_test = r->options.only_test,
        .cosine = -1,
        .machine_memory = cf_physical_memory(),
    };
}

cf_status cf_run_plan_costs(cf_run_plan *p, const cf_run *r)
{
    const cf_config *config = r->config;
    size_t batch = (size_t)config->train.batch_size, columns = r->classes.n;
    size_t accumulation = (size_t)config->train.accumulation_steps;
    double clips = 1e9 * (double)batch;
    cf_loader_options o = cf_config_loader(config, true, r->classes.n);
    cf_loader_size size;
    cf_xclip_config m = *p->model;
    counts c = { 0 };
    if (r->train) {
        CF_TRY(cf_loader_measure(&size, r->train, &o));
        columns = size.columns;
    }
    CF_TRY(dry_run(&c, p, r, &m, batch, accumulation, columns));
    CF_TRY(measure(&p->memory, r, p, &m, &c, batch));
    p->gflop_forward = c.view / 1e9;
    p->gflop_train = c.train / clips;
    p->gflop_text = c.text / 1e9;
    m.recompute = !m.recompute;
    CF_TRY(dry_run(&c, NULL, r, &m, batch, accumulation, columns));
    CF_TRY(measure(&p->other_memory, r, p, &m, &c, batch));
    p->other_gflop_train = c.train / clips;
    return find_fitting(p, r, columns);
}
