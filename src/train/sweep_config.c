/* Setting and seed into a configuration, and which videos it means.
 *
 * Values of the sweep's file are set as if they stood in it: a DATA.LABEL_LIST is looked for beside
 * it, too. Where one is found it is written into given.yaml, since that file stands elsewhere. */
#include "train/sweep_parts.h"

#include "train/config_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEAD "# Written by crossframe sweep."

/* ---- paths ----------------------------------------------------------------------------------- */

cf_status sweep_path(char **out, const sweep_run *r, const char *name)
{
    return cf_path_join(out, r->folder, name);
}

cf_status sweep_test_path(char **out, const cf_sweep *s, const sweep_run *r, size_t i,
                          const char *ending)
{
    return cf_format(out, "%s/tests/%s%s", r->folder, s->tests[i].name, ending);
}

cf_status sweep_weights(char **out, const sweep_run *r, const cf_config *run)
{
    return sweep_path(out, r,
                      run->test.final == CF_FINAL_BEST ? "best.safetensors" : "last.safetensors");
}

/* ---- values ---------------------------------------------------------------------------------- */

/* `text` with the seed in the place of each {seed}. */
static cf_status fill_seed(char **out, const char *text, size_t seed)
{
    static const char mark[] = "{seed}";
    char *done, *longer;
    CF_TRY(cf_strdup(&done, ""));
    for (const char *at; (at = strstr(text, mark)); text = at + sizeof mark - 1) {
        cf_status status = cf_format(&longer, "%s%.*s%zu", done, (int)(at - text), text, seed);
        cf_free(done);
        CF_TRY(status);
        done = longer;
    }
    cf_status status = cf_format(out, "%s%s", done, text);
    cf_free(done);
    return status;
}

static cf_status set_opts(cf_config *c, const cf_sweep *s, const sweep_row *row, size_t seed)
{
    for (size_t i = 0; i < row->n_opts; i++) {
        const sweep_opt *o = &row->opts[i];
        char *text = NULL, *origin = NULL;
        cf_status status = CF_OK;
        CF_GO(fill_seed(&text, o->text, seed));
        CF_GO(cf_format(&origin, "%s:%zu", s->path, o->line));
        const cf_config_scalar scalar = { text, strlen(text), o->quoted };
        status = cf_config_store(c, o->key, &scalar, origin);
        if (status != CF_OK && status != CF_ENOMEM)
            status = sweep_failed(s, o->line, "%s: %s", row->name, cf_error());
    done:
        cf_free(text);
        cf_free(origin);
        CF_TRY(status);
    }
    return CF_OK;
}

/* One that is not there stays as it is, for the plan to tell. */
static cf_status find_labels(cf_config *c, const cf_sweep *s)
{
    char *path;
    if (!*c->data.label_list) return CF_OK;
    cf_status status = cf_label_list_find(&path, c, s->options->share);
    if (status == CF_OK) cf_free(path);
    return status == CF_ENOTFOUND ? CF_OK : status;
}

static cf_status set(cf_config *c, const char *key, const char *value)
{
    return cf_config_set_plain(c, key, value, "sweep");
}

static cf_status run_config(cf_config **out, const cf_sweep *s, const sweep_run *r)
{
    cf_config *c = NULL;
    char seed[32];
    size_t freq;
    cf_status status = CF_OK;
    CF_TRY(cf_config_load(&c, s->config, NULL, 0));
    snprintf(seed, sizeof seed, "%zu", r->seed);
    CF_GO(set_opts(c, s, &s->settings[r->setting], r->seed));
    CF_GO(cf_config_set_opts(c, s->options->opts, s->options->n_opts));
    CF_GO(find_labels(c, s));
    CF_GO(set(c, "OUTPUT", r->folder));
    CF_GO(set(c, "SEED", seed));
    CF_GO(set(c, "TRAIN.AUTO_RESUME", "True"));
    CF_GO(set(c, "TEST.ONLY_TEST", "False"));
    CF_ASSERT(cf_config_find(&freq, "TEST.FREQ") != NULL);
    if (!c->origin[freq]) CF_GO(set(c, "TEST.FREQ", "0"));
    *out = c;
    c = NULL;
done:
    cf_config_free(c);
    return status;
}

cf_status sweep_test_config(cf_config **out, const cf_sweep *s, const sweep_run *r,
                            const cf_config *run, size_t i, const char *weights)
{
    cf_config *c = NULL;
    cf_status status = CF_OK;
    CF_TRY(cf_config_copy(&c, run));
    CF_GO(set_opts(c, s, &s->tests[i], r->seed));
    CF_GO(find_labels(c, s));
    if (weights) CF_GO(set(c, "MODEL.RESUME", weights));
    *out = c;
    c = NULL;
done:
    cf_config_free(c);
    return status;
}

/* ---- videos ---------------------------------------------------------------------------------- */

static cf_status open_videos(sweep_videos *v, const cf_config *c)
{
    cf_dataset *d;
    cf_split all = { 0 };
    char *text = NULL;
    cf_status status = v->partial ? cf_dataset_open_partial(&d, v->file, c->data.root)
                                  : cf_dataset_open(&d, v->file, c->data.root);
    if (status != CF_OK) return status == CF_ENOMEM ? status : CF_OK;
    CF_GO(cf_split_dataset(&all, d));
    CF_GO(cf_split_text(&text, &all));
    v->n = all.n;
    v->hash = cf_hash64(text, strlen(text));
    v->opened = true;
done:
    cf_free(text);
    cf_split_fini(&all);
    cf_dataset_free(d);
    return status;
}

/* The same file is read once for all runs. A list that was drawn is known by its text. */
static cf_status find_videos(const sweep_videos **out, cf_sweep *s, const cf_config *c,
                             const char *file)
{
    bool partial = c->data.on_error == CF_ON_ERROR_SKIP;
    for (size_t i = 0; i < s->n_videos; i++) {
        const sweep_videos *v = &s->videos[i];
        if (v->partial != partial || strcmp(v->file, file) || strcmp(v->root, c->data.root))
            continue;
        *out = v;
        return CF_OK;
    }
    CF_TRY(cf_grow(&s->videos, &s->videos_capacity, s->n_videos + 1, sizeof *s->videos));
    sweep_videos v = { .partial = partial };
    cf_status status = cf_strdup(&v.file, file);
    if (status == CF_OK) status = cf_strdup(&v.root, c->data.root);
    if (status == CF_OK) status = open_videos(&v, c);
    s->videos[s->n_videos++] = v;
    *out = &s->videos[s->n_videos - 1];
    return status;
}

static cf_status append_videos(char **line, bool *known, cf_sweep *s, const cf_config *c,
                               const char *what, const char *file)
{
    const sweep_videos *v;
    if (!*file) return protocol_append(line, " %s: none.", what);
    CF_TRY(find_videos(&v, s, c, file));
    *known = *known && v->opened;
    return protocol_append(line, " %s: %zu videos, list %016" PRIx64 ".", what, v->n, v->hash);
}

/* *out stays NULL where a file is not there or cannot be read. drawn: the list of a training. */
static cf_status videos_line(char **out, cf_sweep *s, const cf_config *c, bool training,
                             const char *drawn)
{
    char *line = NULL;
    bool known = true;
    cf_status status = CF_OK;
    CF_GO(protocol_append(&line, HEAD));
    if (drawn)
        CF_GO(protocol_append(&line, " Training: list %016" PRIx64 ".",
                              cf_hash64(drawn, strlen(drawn))));
    else if (training)
        CF_GO(append_videos(&line, &known, s, c, "Training", c->data.train_file));
    CF_GO(append_videos(&line, &known, s, c, "Test", c->data.val_file));
    if (known) {
        *out = line;
        line = NULL;
    }
done:
    cf_free(line);
    return status;
}

cf_status sweep_test_videos(char **out, cf_sweep *s, const cf_config *c)
{
    return videos_line(out, s, c, false, NULL);
}

/* ---- shots ----------------------------------------------------------------------------------- */

static cf_status find_draws(const sweep_draws **out, cf_sweep *s, const cf_config *c)
{
    for (size_t i = 0; i < s->n_draws; i++) {
        const sweep_draws *d = &s->draws[i];
        if (strcmp(d->file, c->data.train_file) || strcmp(d->root, c->data.root) ||
            strcmp(d->test, c->data.val_file))
            continue;
        *out = d;
        return CF_OK;
    }
    CF_TRY(cf_grow(&s->draws, &s->draws_capacity, s->n_draws + 1, sizeof *s->draws));
    sweep_draws *d = &s->draws[s->n_draws];
    *d = (sweep_draws){ 0 };
    CF_TRY(shots_open(&d->source, c));
    s->n_draws++;
    CF_TRY(cf_strdup(&d->file, c->data.train_file));
    CF_TRY(cf_strdup(&d->root, c->data.root));
    CF_TRY(cf_strdup(&d->test, c->data.val_file));
    *out = d;
    return CF_OK;
}

/* job->config trains on the drawn list. */
static cf_status draw(sweep_job *job, cf_sweep *s, const sweep_run *r)
{
    const sweep_draws *d;
    const sweep_row *row = &s->settings[r->setting];
    cf_config *c = job->config;
    cf_status status = find_draws(&d, s, c);
    if (status == CF_ENOTFOUND || status == CF_EIO) return CF_OK; /* the plan tells */
    CF_TRY_CTX(status, "%s", row->name);
    CF_TRY_CTX(shots_draw(&job->drawn, &job->n_drawn, &d->source, row->shots, r->seed),
               "%s seed %zu", row->name, r->seed);
    CF_TRY(sweep_path(&job->list, r, "videos.txt"));
    CF_TRY(set(c, "DATA.TRAIN_FILE", job->list));
    return set(c, "DATA.ROOT", d->source.root);
}

cf_status sweep_job_make(sweep_job *out, cf_sweep *s, const sweep_run *r)
{
    sweep_job job = { 0 };
    cf_status status = CF_OK;
    bool shots = s->settings[r->setting].shots > 0;
    CF_GO(run_config(&job.config, s, r));
    if (shots) {
        CF_GO(cf_config_copy(&job.whole, job.config));
        CF_GO(draw(&job, s, r));
    }
    if (!shots || job.drawn) CF_GO(videos_line(&job.videos, s, job.config, true, job.drawn));
    *out = job;
    job = (sweep_job){ 0 };
done:
    sweep_job_fini(&job);
    return status;
}

void sweep_job_fini(sweep_job *job)
{
    cf_config_free(job->config);
    cf_config_free(job->whole);
    cf_free(job->drawn);
    cf_free(job->list);
    cf_free(job->videos);
    *job = (sweep_job){ 0 };
}

/* ---- whose folder it is ---------------------------------------------------------------------- */

/* The first line of the file that is there, against the one of now. */
static cf_status same_videos(const char *path, const char *now)
{
    char *text;
    size_t n;
    CF_TRY(cf_file_read(&text, &n, path));
    text[strcspn(text, "\n")] = 0;
    cf_status status = CF_OK;
    if (strncmp(text, HEAD, sizeof HEAD - 1) != 0)
        status = CF_FAIL(CF_EFORMAT, "%s does not tell its videos; no sweep wrote it", path);
    else if (strcmp(text, now) != 0)
        status = CF_FAIL(CF_EINVAL,
                         "%s is of other videos: it says \"%.120s\", now they are \"%.120s\"; give "
                         "other RUNS, or remove its folder",
                         path, text + sizeof HEAD, now + sizeof HEAD);
    cf_free(text);
    return status;
}

cf_status sweep_claim(const cf_config *c, const char *path, const char *videos_line,
                      const char *own_path, bool write)
{
    char *given = NULL, *text = NULL;
    cf_status status = CF_OK;
    if (cf_file_exists(path)) {
        CF_GO(protocol_same_config(c, path, "give other RUNS, or remove its folder", own_path));
        if (videos_line) CF_GO(same_videos(path, videos_line));
    } else if (write) {
        CF_ASSERT(videos_line != NULL);
        CF_GO(cf_config_given_text(&given, c));
        CF_GO(cf_format(&text, "%s\n%s", videos_line, given));
        CF_GO(cf_file_write(path, text, strlen(text)));
    }
done:
    cf_free(given);
    cf_free(text);
    return status;
}
