/* The few-shot protocol: K videos of each class, from CLIP, tested on the whole test set.
 *
 * The published protocol is one run for each K, on fixed lists; here seed 1 is that single run, and
 * the others tell how much a draw decides. All runs of seed 1 come first. */
#include "train/protocol.h"
#include "train/shots.h"

#include "crossframe/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    cf_protocol *p;
    const cf_config *config;
    const cf_protocol_options *options;
    const size_t *shots;
    size_t n_shots, seeds;
    shots_source source;
    char **list; /* [p->n] texts of the drawn lists */
    char **of;   /* [p->n] what each result is of */
} few;

/* ---- draws ----------------------------------------------------------------------------------- */

static cf_status draw(few *f, size_t i)
{
    cf_protocol_run *r = &f->p->run[i];
    CF_TRY(shots_draw(&f->list[i], &r->train_videos, &f->source, r->shots, r->seed));
    return cf_format(&f->of[i], "%zu shots, seed %zu, %zu videos, list %016" PRIx64, r->shots,
                     r->seed, r->train_videos, cf_hash64(f->list[i], strlen(f->list[i])));
}

static cf_status plan(few *f)
{
    cf_protocol *p = f->p;
    CF_TRY(cf_alloc_zero(&p->run, f->n_shots * f->seeds, sizeof *p->run));
    CF_TRY(cf_alloc_zero(&f->list, f->n_shots * f->seeds, sizeof *f->list));
    CF_TRY(cf_alloc_zero(&f->of, f->n_shots * f->seeds, sizeof *f->of));
    for (size_t i = 0; i < f->n_shots * f->seeds; i++) {
        cf_protocol_run *r = &p->run[i];
        char *name;
        *r = (cf_protocol_run){
            .shots = f->shots[i % f->n_shots], .seed = i / f->n_shots + 1, .classes = -1, .seen = -1
        };
        CF_TRY(cf_format(&name, "k%02zu_seed%zu", r->shots, r->seed));
        r->name = name;
        p->n++;
        CF_TRY(draw(f, i));
        CF_TRY(protocol_read_result(r, f->config, f->of[i]));
    }
    return CF_OK;
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* OUTPUT/NAME/train.txt; one that is there already must be the same. */
static cf_status write_list(char **path, const few *f, size_t i)
{
    const char *name = f->p->run[i].name;
    char *folder = NULL, *old = NULL;
    size_t n;
    cf_status status = CF_OK;
    CF_GO(protocol_path(&folder, f->config, name, ""));
    CF_GO(cf_make_folders(folder));
    CF_GO(cf_path_join(path, folder, "train.txt"));
    if (!cf_file_exists(*path)) {
        CF_GO(cf_file_write(*path, f->list[i], strlen(f->list[i])));
        goto done;
    }
    CF_GO(cf_file_read(&old, &n, *path));
    if (strcmp(old, f->list[i]) != 0)
        CF_GO(CF_FAIL(CF_EINVAL, "%s is not what is drawn from %s now; give another --output",
                      *path, f->config->data.train_file));
done:
    cf_free(folder);
    cf_free(old);
    return status;
}

static cf_status make_config(cf_config **out, const few *f, size_t i)
{
    const cf_protocol_run *r = &f->p->run[i];
    cf_config *c = NULL;
    char *list = NULL, *folder = NULL, seed[32];
    cf_status status = CF_OK;
    size_t freq;
    CF_GO(write_list(&list, f, i));
    CF_GO(cf_format(&folder, "%s/%s", f->config->output, r->name));
    CF_GO(cf_config_copy(&c, f->config));
    snprintf(seed, sizeof seed, "%zu", r->seed);
    CF_GO(cf_config_set_plain(c, "OUTPUT", folder, "fewshot"));
    CF_GO(cf_config_set_plain(c, "DATA.TRAIN_FILE", list, "fewshot"));
    CF_GO(cf_config_set_plain(c, "DATA.ROOT", f->source.root, "fewshot"));
    CF_GO(cf_config_set_plain(c, "SEED", seed, "fewshot"));
    CF_ASSERT(cf_config_find(&freq, "TEST.FREQ") != NULL);
    if (!c->origin[freq]) CF_GO(cf_config_set_plain(c, "TEST.FREQ", "0", "fewshot"));
    c->train.auto_resume = true;
    c->test.only_test = false;
    *out = c;
    c = NULL;
done:
    cf_config_free(c);
    cf_free(list);
    cf_free(folder);
    return status;
}

/* The last eval line of the run's log, which is the result. */
static cf_status read_log(cf_protocol_run *r, const cf_config *run)
{
    char *path = NULL, *text = NULL;
    size_t n;
    cf_status status = CF_OK;
    bool found = false;
    CF_GO(cf_path_join(&path, run->output, "log.jsonl"));
    CF_GO(cf_file_read(&text, &n, path));
    for (char *line = text, *next; line && *line; line = next) {
        if ((next = strchr(line, '\n'))) *next++ = 0;
        if (!strstr(line, "\"kind\":\"eval\"")) continue;
        cJSON *o = cJSON_Parse(line);
        const cJSON *missing = cJSON_GetObjectItemCaseSensitive(o, "missing");
        r->top1 = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(o, "top1"));
        r->top5 = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(o, "top5"));
        r->videos = (int64_t)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(o, "videos"));
        r->views = (int)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(o, "views"));
        r->missing = missing ? (int64_t)missing->valuedouble : 0;
        found = true;
        cJSON_Delete(o);
    }
    if (!found) CF_GO(CF_FAIL(CF_EFORMAT, "%s has no test in it", path));
done:
    cf_free(path);
    cf_free(text);
    return status;
}

static cf_status train(few *f, size_t i, bool first)
{
    cf_protocol_run *r = &f->p->run[i];
    cf_run_options options = f->options->run;
    cf_config *c = NULL;
    cf_run *run = NULL;
    cf_status status = CF_OK;
    if (!first) options.planned = NULL;
    CF_GO(make_config(&c, f, i));
    CF_GO(cf_run_new(&run, c, &options));
    CF_GO(cf_run_train(run));
    CF_GO(read_log(r, c));
    CF_GO(protocol_write_result(r, f->config, f->of[i]));
done:
    cf_run_free(run);
    cf_config_free(c);
    if (status == CF_EINTERRUPTED)
        return CF_FAIL(CF_EINTERRUPTED, "stopped in %s; the same command goes on", r->name);
    if (status != CF_OK) cf_fail_context(status, "%s", r->name);
    return status;
}

/* ---- tables ---------------------------------------------------------------------------------- */

typedef struct {
    cf_spread top1, top5;
    double single; /* of seed 1; NaN: not done */
    double paper;  /* 0: none */
} row;

static row make_row(const few *f, size_t shots)
{
    enum { MOST = 1000 };
    double top1[MOST], top5[MOST];
    size_t n = 0;
    row r = { .single = NAN };
    for (size_t i = 0; i < f->p->n; i++) {
        const cf_protocol_run *run = &f->p->run[i];
        if (!run->done || run->shots != shots || n == MOST) continue;
        if (run->seed == 1) r.single = run->top1;
        top1[n] = run->top1;
        top5[n++] = run->top5;
    }
    r.top1 = cf_spread_of(top1, n);
    r.top5 = cf_spread_of(top5, n);
    const protocol_paper *paper = protocol_paper_of(f->config);
    for (size_t k = 0; paper && k < 4; k++)
        if (shots == (size_t)2 << k) r.paper = paper->few[k];
    return r;
}

static const char *percent(char out[24], double value, const char *none)
{
    if (isfinite(value) && value > 0)
        snprintf(out, 24, "%.2f", value);
    else if (value == 0)
        snprintf(out, 24, "0.00");
    else
        snprintf(out, 24, "%s", none);
    return out;
}

static cf_status append_notes(char **text, const few *f)
{
    const cf_protocol_run *last = NULL;
    for (size_t i = 0; i < f->p->n; i++)
        if (f->p->run[i].done) last = &f->p->run[i];
    CF_TRY(protocol_append(text, "\nPercent right"));
    if (last)
        CF_TRY(protocol_append(text, " of %" PRId64 " test videos, %d view%s each", last->videos,
                               last->views, last->views == 1 ? "" : "s"));
    CF_TRY(protocol_append(text,
                           ". ± is the sample standard deviation over n seeds; a seed draws the "
                           "videos and is\nthe run's SEED."));
    if (protocol_paper_of(f->config))
        CF_TRY(protocol_append(text, " Paper: X-CLIP-B/16, 32 frames, a single run "
                                     "(arXiv:2208.02816)."));
    return protocol_append(text, "\n");
}

static cf_status make_tables(few *f)
{
    bool paper = protocol_paper_of(f->config) && protocol_paper_of(f->config)->few[0] > 0;
    char *csv = NULL, *text = NULL, a[48], b[48], single[24], published[24];
    cf_status status = CF_OK;
    CF_GO(protocol_append(&text,
                          "| K | top-1 | top-5 | n | seed 1 alone |%s\n|--:|--|--|--:|--:|%s\n",
                          paper ? " paper |" : "", paper ? "--:|" : ""));
    CF_GO(protocol_append(&csv, "shots,n,top1_mean,top1_std,top5_mean,top5_std,top1_seed1,"
                                "top1_paper\n"));
    for (size_t k = 0; k < f->n_shots; k++) {
        row r = make_row(f, f->shots[k]);
        double none = r.paper > 0 ? r.paper : NAN;
        CF_GO(protocol_append(&text, "| %zu | %s | %s | %zu | %s |", f->shots[k],
                              protocol_spread_text(a, r.top1), protocol_spread_text(b, r.top5),
                              r.top1.n, percent(single, r.single, "-")));
        if (paper) CF_GO(protocol_append(&text, " %s |", percent(published, none, "-")));
        CF_GO(protocol_append(&text, "\n"));
        if (r.top1.n == 0) continue;
        CF_GO(protocol_append(&csv, "%zu,%zu,%.4f,%s,%.4f,%s,%s,%s\n", f->shots[k], r.top1.n,
                              r.top1.mean, percent(a, r.top1.std, ""), r.top5.mean,
                              percent(b, r.top5.std, ""), percent(single, r.single, ""),
                              percent(published, none, "")));
    }
    CF_GO(append_notes(&text, f));
    if (!f->options->dry_run) {
        CF_GO(protocol_write(f->config, "table.md", text));
        CF_GO(protocol_write(f->config, "table.csv", csv));
        CF_GO(protocol_write_runs(f->p, f->config, true));
    }
    cf_free(f->p->markdown);
    f->p->markdown = text;
    text = NULL;
done:
    cf_free(text);
    cf_free(csv);
    return status;
}

/* ---- the protocol ---------------------------------------------------------------------------- */

static cf_status run_all(few *f)
{
    const cf_protocol_options *o = f->options;
    cf_protocol *p = f->p;
    bool first = true;
    for (size_t i = 0; i < p->n; i++) {
        if (o->begins) o->begins(o->run.user, &p->run[i], i + 1, p->n);
        if (p->run[i].done || o->dry_run) continue;
        CF_TRY(train(f, i, first));
        first = false;
        if (o->ends) o->ends(o->run.user, &p->run[i], i + 1, p->n);
        CF_TRY(make_tables(f));
    }
    return make_tables(f);
}

cf_status cf_fewshot(cf_protocol *out, const cf_config *c, const size_t *shots, size_t n_shots,
                     size_t seeds, const cf_protocol_options *o)
{
    few f = {
        .p = out, .config = c, .options = o, .shots = shots, .n_shots = n_shots, .seeds = seeds
    };
    cf_status status = CF_OK;
    *out = (cf_protocol){ 0 };
    CF_GO(cf_config_check(c));
    CF_GO(shots_open(&f.source, c));
    CF_GO(protocol_claim(c, true));
    CF_GO(plan(&f));
    CF_GO(protocol_claim(c, o->dry_run));
    CF_GO(run_all(&f));
done:
    for (size_t i = 0; f.list && i < n_shots * seeds; i++) cf_free(f.list[i]);
    for (size_t i = 0; f.of && i < n_shots * seeds; i++) cf_free(f.of[i]);
    cf_free(f.list);
    cf_free(f.of);
    shots_close(&f.source);
    return status;
}
