/* A dry run: opens what is there, lists what is not, and tells the plan.
 *
 * What a run would not find (data, class names, weights, the vocabulary, OUTPUT) is a line of the
 * plan and no failure; the configuration's own faults, and files that contradict it, are the errors
 * they are in a run. Without data the number of videos comes from their lists, if those are there;
 * without vocabulary the class texts are taken as long as their letters let expect. */
#include "train/run.h"

#include "crossframe/list.h"

#include <string.h>

typedef struct {
    cf_run *run;
    char **missing;
    size_t n, capacity;
    size_t train_videos, test_videos; /* by the lists, where the videos are not there */
    bool no_weights;                  /* they are missing */
} dry;

/* Takes over `line`. */
static cf_status add(dry *d, char *line)
{
    cf_status status = cf_grow(&d->missing, &d->capacity, d->n + 1, sizeof *d->missing);
    if (status != CF_OK) {
        cf_free(line);
        return status;
    }
    d->missing[d->n++] = line;
    return CF_OK;
}

static cf_status add_unset(dry *d, const char *key, const char *remedy)
{
    char *line;
    CF_TRY(cf_format(&line, "%s: not set (%s)", key, remedy));
    return add(d, line);
}

/* Of a failure: what was not found or cannot be read is missing, the rest stays one. */
static cf_status add_failed(dry *d, cf_status failure, const char *key, const char *value,
                            const char *remedy)
{
    char *line;
    const char *error = cf_error();
    if (failure != CF_ENOTFOUND && failure != CF_EIO) return failure;
    if (strncmp(error, key, strlen(key)) == 0)
        CF_TRY(cf_format(&line, "%s (%s)", error, remedy));
    else
        CF_TRY(cf_format(&line, "%s%s%s: %s (%s)", key, *value ? " " : "", value, error, remedy));
    return add(d, line);
}

/* ---- data ------------------------------------------------------------------------------------ */

/* Videos of a list whose videos are not there; 0: there is no list either. */
static cf_status count_listed(size_t *out, const char *file)
{
    cf_list *l;
    *out = 0;
    if (!cf_file_exists(file) || cf_path_is_pack(file)) return CF_OK;
    CF_TRY(cf_list_open(&l, file, 0, NULL, NULL));
    *out = cf_list_size(l);
    cf_list_free(l);
    return CF_OK;
}

static cf_status open_dataset(cf_dataset **out, size_t *listed, dry *d, const char *key,
                              const char *file)
{
    static const char remedy[] = "a list of `path label` lines with its videos in DATA.ROOT, or a "
                                 "pack: crossframe splits, crossframe pack";
    const cf_config *c = d->run->config;
    if (!*file) return add_unset(d, key, remedy);
    cf_status status = cf_dataset_open(out, file, c->data.root);
    if (status == CF_OK) return CF_OK;
    bool is_there = cf_file_exists(file), no_root = status == CF_EINVAL && !*c->data.root;
    if (no_root) status = CF_ENOTFOUND;
    CF_TRY(add_failed(d, status, key, file, is_there ? "DATA.ROOT is where they are" : remedy));
    return count_listed(listed, file);
}

static cf_status open_data(dry *d)
{
    cf_run *r = d->run;
    const cf_config *c = r->config;
    if (!r->options.only_test)
        CF_TRY(open_dataset(&r->train, &d->train_videos, d, "DATA.TRAIN_FILE", c->data.train_file));
    if (*c->data.val_file || r->options.only_test)
        CF_TRY(open_dataset(&r->test, &d->test_videos, d, "DATA.VAL_FILE", c->data.val_file));
    return CF_OK;
}

static cf_status read_classes(dry *d)
{
    cf_run *r = d->run;
    const cf_config *c = r->config;
    cf_status status = CF_OK;
    if (*c->data.label_list || r->train || r->test) {
        status = cf_run_read_classes(r);
        if (status == CF_OK) return CF_OK;
        CF_TRY(add_failed(d, status, "DATA.LABEL_LIST", c->data.label_list,
                          "DATA.NUM_CLASSES is taken; DATA.LABEL_LIST or the data must name them"));
    } else {
        CF_TRY(add_unset(d, "DATA.LABEL_LIST",
                         "the data that could name the classes are missing; DATA.NUM_CLASSES is "
                         "taken"));
    }
    cf_classes_fini(&r->classes);
    r->classes.n = (size_t)c->data.num_classes;
    return CF_OK;
}

/* ---- model ----------------------------------------------------------------------------------- */

static cf_status open_weights(cf_weights **out, dry *d)
{
    cf_run *r = d->run;
    cf_config *c = r->config;
    if (*c->output) {
        CF_TRY(cf_path_join(&r->last_path, c->output, "last.safetensors"));
        CF_TRY(cf_path_join(&r->previous_path, c->output, "last.previous.safetensors"));
    }
    cf_status status = cf_run_choose_weights(r);
    if (status == CF_OK && *r->weights) status = cf_model_open_weights(out, c, r->weights);
    if (status == CF_OK) return CF_OK;
    bool resume = r->resuming || *c->model.resume;
    const char *key = resume ? "MODEL.RESUME" : "MODEL.PRETRAINED";
    const char *value = resume ? c->model.resume : c->model.pretrained;
    d->no_weights = true;
    CF_TRY(add_failed(d, status, key, value, "until then the sizes are those of MODEL.ARCH"));
    return r->weights ? CF_OK : cf_strdup(&r->weights, "");
}

/* A name of n bytes has about n / 4 tokens beside its start and end. */
static cf_status guess_tokens(cf_classes *c, const cf_templates *t, size_t context, size_t room)
{
    enum { UNKNOWN = 32 };
    size_t n, all, longest = c->name ? 0 : UNKNOWN;
    for (size_t k = 0; c->name && k < c->n; k++)
        if (strlen(c->name[k]) > longest) longest = strlen(c->name[k]);
    c->context = context;
    c->templates = t->n;
    CF_TRY(cf_mul_size(&n, c->n, context));
    CF_TRY(cf_mul_size(&all, n, t->n));
    CF_TRY(cf_alloc_zero(&c->tokens, all, sizeof *c->tokens));
    CF_TRY(cf_alloc_zero(&c->gathered, n, sizeof *c->gathered));
    for (size_t i = 0; i < t->n; i++) {
        size_t length = 2 + (longest + strlen(t->text[i]) - strlen("{}") + 3) / 4;
        if (length > room) length = room;
        for (size_t k = 0; k < c->n; k++)
            c->tokens[i * n + k * context + length - 1] = 1; /* ends there */
    }
    return CF_OK;
}

/* ARCH custom leaves them to the weights. */
static bool sizes_are_given(const cf_config *c)
{
    return strcmp(c->model.arch, "custom") != 0 ||
           (c->model.patch_size > 0 && c->model.vision_width > 0 && c->model.vision_layers > 0 &&
            c->model.embed_dim > 0 &&
            (c->model.head == CF_HEAD_FC || (c->model.text_width > 0 && c->model.text_layers > 0)));
}

static cf_status open_vocabulary(dry *d)
{
    cf_run *r = d->run;
    if (!cf_run_has_text(r)) return CF_OK;
    cf_status opened = cf_run_open_tokenizer(r);
    if (opened == CF_OK) return CF_OK;
    return add_failed(d, opened, "MODEL.BPE", r->config->model.bpe,
                      "until then texts are taken as long as their letters let expect");
}

/* r->model stays NULL where nothing tells its sizes. */
static cf_status open_model(dry *d)
{
    cf_run *r = d->run;
    const cf_config *c = r->config;
    cf_weights *file = NULL;
    cf_xclip_config m;
    cf_templates templates = { 0 };
    cf_status status = CF_OK;
    CF_TRY(open_weights(&file, d));
    CF_GO(cf_model_decide_head(r->config, file));
    if (r->resuming && file && !r->options.only_test && cf_checkpoint_has_optimizer(file))
        CF_GO(cf_checkpoint_adopt(r->config, file));
    CF_GO(open_vocabulary(d));
    if (d->no_weights && !sizes_are_given(c)) goto done;
    CF_GO(cf_run_model_config(&m, r, file));
    CF_GO(cf_xclip_plan(&r->model, &m));
    CF_GO(cf_run_check_trained(r));
    if (!cf_run_has_text(r)) goto done;
    if (r->tokenizer && r->classes.name) {
        CF_GO(cf_run_tokenize_classes(r));
    } else {
        CF_GO(cf_templates_open(&templates, c));
        CF_GO(guess_tokens(&r->classes, &templates, m.context, m.context - m.prompt_vectors));
    }
done:
    cf_templates_fini(&templates);
    cf_weights_close(file);
    return status;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static cf_status count_steps(dry *d)
{
    cf_run *r = d->run;
    cf_loader_options o = cf_config_loader(r->config, true, r->classes.n);
    cf_loader_size size = { .batches = d->train_videos / o.batch };
    if (r->train) CF_TRY(cf_loader_measure(&size, r->train, &o));
    if (d->train_videos > 0 && size.batches == 0)
        return CF_FAIL(CF_EINVAL, "%s: %zu videos do not fill one batch of %zu",
                       r->config->data.train_file, d->train_videos, o.batch);
    if (size.batches == 0) return CF_OK;
    r->micro_batches = size.batches;
    return cf_run_plan_steps(r, r->train ? cf_dataset_size(r->train) : d->train_videos);
}

static cf_status tell(dry *d)
{
    cf_run *r = d->run;
    CF_TRY(cf_config_settle_model(r->config));
    CF_TRY(cf_config_check(r->config));
    CF_TRY(open_data(d));
    CF_TRY(read_classes(d));
    CF_TRY(open_model(d));
    if (!r->options.only_test) {
        CF_TRY(count_steps(d));
        if (!*r->config->output) CF_TRY(add_unset(d, "OUTPUT", "--output DIR"));
    }
    cf_run_plan plan = cf_run_plan_of(r);
    if (r->model) CF_TRY(cf_run_plan_costs(&plan, r));
    if (!r->train) plan.train_videos = d->train_videos;
    if (!r->test) plan.test_videos = d->test_videos;
    if (!r->tokenizer) plan.vocabulary = NULL;
    if (d->no_weights) plan.weights = NULL;
    plan.dry = true;
    plan.missing = (const char *const *)d->missing;
    plan.n_missing = d->n;
    if (r->options.planned) r->options.planned(r->options.user, &plan);
    return CF_OK;
}

cf_status cf_run_dry(cf_config *c, const cf_run_options *o)
{
    dry d = { .run = NULL };
    CF_TRY(cf_alloc_zero(&d.run, 1, sizeof *d.run));
    d.run->config = c;
    d.run->lock = -1;
    if (o) d.run->options = *o;
    if (c->test.only_test) d.run->options.only_test = true;
    cf_status status = tell(&d);
    cf_run_free(d.run);
    for (size_t i = 0; i < d.n; i++) cf_free(d.missing[i]);
    cf_free(d.missing);
    return status;
}
