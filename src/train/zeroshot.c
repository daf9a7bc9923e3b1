/* The zero-shot protocol: one checkpoint on classes it was not trained on, several test sets of
 * them (the three splits of UCF101 and HMDB51, three draws of Kinetics-600's new classes). */
#include "train/protocol.h"

#include "crossframe/predict.h"
#include "crossframe/splits.h"
#include "train/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct {
    char *name, *videos, *labels; /* labels "": as DATA.LABEL_LIST says */
    char *weights;                /* {set} replaced */
    char *of;                     /* what its result is of */
    cf_labels trained;            /* classes of the checkpoint; n 0: it does not tell */
} set;

typedef struct {
    cf_protocol *p;
    const cf_config *config;
    const cf_protocol_options *options;
    set *sets;
    size_t n;
} zero;

/* ---- sets ------------------------------------------------------------------------------------ */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcasecmp(text + n - m, end) == 0;
}

/* X.csv for X.txt, where it is there; else "". */
static cf_status labels_beside(char **out, const char *videos)
{
    char *path = NULL;
    if (ends_with(videos, ".txt")) {
        CF_TRY(cf_format(&path, "%.*s.csv", (int)strlen(videos) - 4, videos));
        if (cf_file_exists(path)) {
            *out = path;
            return CF_OK;
        }
    }
    cf_free(path);
    return cf_strdup(out, "");
}

/* The file's name without folder and ending; a split's '#' becomes '_'. */
static cf_status name_of(char **out, const char *videos)
{
    const char *slash = strrchr(videos, '/');
    CF_TRY(cf_strdup(out, slash ? slash + 1 : videos));
    char *dot = strrchr(*out, '.'), *hash = strchr(*out, '#');
    if (dot && hash && hash > dot)
        memmove(dot, hash, strlen(hash) + 1), *dot = '_';
    else if (dot)
        *dot = 0;
    return CF_OK;
}

static cf_status parse_set(set *s, const char *text)
{
    const char *equals = strchr(text, '='), *slash = strchr(text, '/');
    if (equals && (equals == text || (slash && slash < equals) || cf_file_exists(text)))
        equals = NULL;
    if (equals) CF_TRY(cf_format(&s->name, "%.*s", (int)(equals - text), text));
    CF_TRY(cf_strdup(&s->videos, equals ? equals + 1 : text));
    char *comma = cf_file_exists(s->videos) ? NULL : strrchr(s->videos, ',');
    if (comma && ends_with(comma, ".csv")) {
        CF_TRY(cf_strdup(&s->labels, comma + 1));
        *comma = 0;
    } else {
        CF_TRY(labels_beside(&s->labels, s->videos));
    }
    if (!s->name) CF_TRY(name_of(&s->name, s->videos));
    if (!*s->name || !*s->videos)
        return CF_FAIL(CF_EINVAL, "\"%s\" is no set: [NAME=]VIDEOS[,LABELS.csv]", text);
    return CF_OK;
}

/* MODEL.RESUME, else MODEL.PRETRAINED, with the set's name for {set}, as a file. */
static cf_status choose_weights(set *s, const zero *z)
{
    const cf_config *c = z->config;
    const char *text = *c->model.resume ? c->model.resume : c->model.pretrained;
    const char *place = strstr(text, "{set}");
    char *path;
    if (!*text)
        return CF_FAIL(CF_EINVAL, "there are no weights to test; name them with --resume FILE");
    if (place)
        CF_TRY(cf_format(&path, "%.*s%s%s", (int)(place - text), text, s->name, place + 5));
    else
        CF_TRY(cf_strdup(&path, text));
    cf_status status = cf_weights_locate(&s->weights, path, z->options->run.cache);
    cf_free(path);
    return status;
}

/* What tells one checkpoint from another without reading it: all its metadata and names. */
static uint64_t mark_of(const cf_weights *w)
{
    uint64_t mark = cf_weights_count(w);
    for (size_t i = 0; i < cf_weights_count(w); i++) {
        const char *name = cf_weights_at(w, i)->name;
        mark = mark * 31 + cf_hash64(name, strlen(name));
    }
    static const char *const keys[] = { "step", "epoch", "best_top1", "classes", "config" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = cf_weights_metadata(w, keys[i]);
        mark = mark * 31 + (value ? cf_hash64(value, strlen(value)) : 0);
    }
    return mark;
}

static cf_status look_at_weights(set *s)
{
    cf_weights *w;
    CF_TRY(cf_weights_open(&w, s->weights));
    const char *classes = cf_weights_metadata(w, "classes");
    cf_status status = CF_OK;
    if (cf_xclip_file_head(w) > 0)
        CF_GO(CF_FAIL(CF_EINVAL,
                      "%s has a fully connected head: it knows the %zu classes it was trained on "
                      "only, and no others by their texts; crossframe test scores those",
                      s->weights, cf_xclip_file_head(w)));
    if (classes) CF_GO(cf_labels_from_json(&s->trained, classes));
    CF_GO(cf_format(&s->of, "%s%s%s, weights %s (%016" PRIx64 ")", s->videos,
                    *s->labels ? ", classes " : "", s->labels, s->weights, mark_of(w)));
done:
    cf_weights_close(w);
    return status;
}

static cf_status plan(zero *z, const char *const *texts)
{
    cf_protocol *p = z->p;
    CF_TRY(cf_alloc_zero(&z->sets, z->n, sizeof *z->sets));
    CF_TRY(cf_alloc_zero(&p->run, z->n, sizeof *p->run));
    for (size_t i = 0; i < z->n; i++) {
        set *s = &z->sets[i];
        char *name;
        CF_TRY(parse_set(s, texts[i]));
        for (size_t k = 0; k < i; k++)
            if (strcmp(s->name, z->sets[k].name) == 0)
                return CF_FAIL(CF_EINVAL, "two sets are called %s; give names: NAME=%s", s->name,
                               s->videos);
        CF_TRY(choose_weights(s, z));
        CF_TRY_CTX(look_at_weights(s), "set %s", s->name);
        CF_TRY(cf_strdup(&name, s->name));
        p->run[p->n++] = (cf_protocol_run){ .name = name, .classes = -1, .seen = -1 };
        CF_TRY(protocol_read_result(&p->run[i], z->config, s->of));
    }
    return CF_OK;
}

/* ---- a test ---------------------------------------------------------------------------------- */

static cf_status make_config(cf_config **out, const zero *z, const set *s)
{
    cf_config *c;
    cf_labels names = { 0 };
    char number[32], *path = NULL;
    size_t index;
    cf_status status = CF_OK;
    CF_TRY(cf_config_copy(&c, z->config));
    CF_ASSERT(cf_config_find(&index, "DATA.NUM_CLASSES") != NULL);
    CF_GO(cf_config_set_plain(c, "DATA.VAL_FILE", s->videos, s->name));
    CF_GO(cf_config_set_plain(c, *c->model.resume ? "MODEL.RESUME" : "MODEL.PRETRAINED", s->weights,
                              s->name));
    if (*s->labels) CF_GO(cf_config_set_plain(c, "DATA.LABEL_LIST", s->labels, s->name));
    if (*c->data.label_list) {
        CF_GO(cf_label_list_find(&path, c, z->options->run.share));
        CF_GO(cf_labels_read_csv(&names, path));
        snprintf(number, sizeof number, "%zu", names.n);
        CF_GO(cf_config_set_plain(c, "DATA.NUM_CLASSES", number, path));
    } else { /* as many as the pack has */
        cf_free(c->origin[index]);
        c->origin[index] = NULL;
    }
    c->train.auto_resume = false;
    *out = c;
    c = NULL;
done:
    cf_free(path);
    cf_config_free(c);
    cf_labels_fini(&names);
    return status;
}

/* How many of the run's classes the checkpoint was trained on. */
static cf_status count_seen(cf_protocol_run *r, const set *s, const cf_run *run)
{
    const cf_split_classes classes = { (const char *const *)run->classes.name, run->classes.n };
    const cf_split_classes trained = { (const char *const *)s->trained.name, s->trained.n };
    size_t *unseen, n;
    r->classes = (int64_t)classes.n;
    if (trained.n == 0) return CF_OK;
    CF_TRY(cf_split_unseen(&unseen, &n, &classes, &trained));
    cf_free(unseen);
    r->seen = (int64_t)(classes.n - n);
    return CF_OK;
}

static cf_status make_folder(const zero *z, const char *name)
{
    char *folder;
    CF_TRY(protocol_path(&folder, z->config, name, ""));
    cf_status status = cf_make_folders(folder);
    cf_free(folder);
    return status;
}

static cf_status test(zero *z, size_t i, bool first)
{
    cf_protocol_run *r = &z->p->run[i];
    const set *s = &z->sets[i];
    cf_run_options options = z->options->run;
    cf_config *c = NULL;
    cf_run *run = NULL;
    cf_eval_record e;
    cf_status status = CF_OK;
    char *result = NULL;
    options.only_test = true;
    if (!first) options.planned = NULL;
    CF_GO(make_config(&c, z, s));
    CF_GO(make_folder(z, s->name));
    CF_GO(protocol_path(&result, z->config, s->name, "test.h5"));
    options.result = result;
    CF_GO(cf_run_new(&run, c, &options));
    CF_GO(cf_run_test(&e, run));
    CF_GO(count_seen(r, s, run));
    r->top1 = e.top1;
    r->top5 = e.top5;
    r->videos = e.videos;
    r->missing = e.missing;
    r->views = e.views;
    CF_GO(protocol_write_result(r, z->config, s->of));
done:
    cf_run_free(run);
    cf_config_free(c);
    cf_free(result);
    if (status == CF_EINTERRUPTED)
        return CF_FAIL(CF_EINTERRUPTED, "stopped in set %s; the same command goes on", s->name);
    if (status != CF_OK) cf_fail_context(status, "set %s", s->name);
    return status;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static cf_status append_set(char **text, const cf_protocol_run *r)
{
    CF_TRY(protocol_append(text, "| %s |", r->name));
    if (!r->done) return protocol_append(text, " - | - | | | |\n");
    CF_TRY(protocol_append(text, " %.2f | %.2f | %" PRId64 " | %" PRId64 " |", r->top1, r->top5,
                           r->videos, r->classes));
    return r->seen < 0 ? protocol_append(text, " not known |\n")
                       : protocol_append(text, " %" PRId64 " |\n", r->seen);
}

static cf_status append_paper(char **text, char **csv, const protocol_paper *p)
{
    if (!p) return CF_OK;
    CF_TRY(protocol_append(text, "| paper | %.1f ± %.1f |", p->zero, p->zero_std));
    if (p->zero_top5 > 0)
        CF_TRY(protocol_append(text, " %.1f ± %.1f", p->zero_top5, p->zero_top5_std));
    else
        CF_TRY(protocol_append(text, " -"));
    CF_TRY(protocol_append(text, " | | | |\n"));
    CF_TRY(protocol_append(csv, "paper,,%.1f,%.1f,", p->zero, p->zero_std));
    return p->zero_top5 > 0 ? protocol_append(csv, "%.1f,%.1f\n", p->zero_top5, p->zero_top5_std)
                            : protocol_append(csv, ",\n");
}

static cf_status append_means(char **text, char **csv, const cf_protocol *p)
{
    double *top1, *top5;
    char a[48], b[48];
    size_t n = 0;
    cf_status status = CF_OK;
    CF_TRY(cf_alloc(&top1, 2 * p->n, sizeof *top1));
    top5 = top1 + p->n;
    for (size_t i = 0; i < p->n; i++) {
        if (!p->run[i].done) continue;
        top1[n] = p->run[i].top1;
        top5[n++] = p->run[i].top5;
    }
    cf_spread one = cf_spread_of(top1, n), five = cf_spread_of(top5, n);
    CF_GO(protocol_append(text, "| **mean** (n = %zu) | %s | %s | | | |\n", n,
                          protocol_spread_text(a, one), protocol_spread_text(b, five)));
    if (n == 0) goto done;
    CF_GO(protocol_append(csv, "mean,%zu,%.4f,", n, one.mean));
    if (n > 1) CF_GO(protocol_append(csv, "%.4f", one.std));
    CF_GO(protocol_append(csv, ",%.4f,", five.mean));
    if (n > 1) CF_GO(protocol_append(csv, "%.4f", five.std));
    CF_GO(protocol_append(csv, "\n"));
done:
    cf_free(top1);
    return status;
}

static cf_status make_tables(zero *z)
{
    const protocol_paper *paper = protocol_paper_of(z->config);
    char *text = NULL, *csv = NULL;
    cf_status status = CF_OK;
    CF_GO(protocol_append(&text, "| set | top-1 | top-5 | videos | classes | of them trained on |\n"
                                 "|--|--|--|--:|--:|--:|\n"));
    CF_GO(protocol_append(&csv, "what,n,top1_mean,top1_std,top5_mean,top5_std\n"));
    for (size_t i = 0; i < z->p->n; i++) CF_GO(append_set(&text, &z->p->run[i]));
    CF_GO(append_means(&text, &csv, z->p));
    CF_GO(append_paper(&text, &csv, paper));
    CF_GO(protocol_append(&text,
                          "\nPercent right; ± is the sample standard deviation over the "
                          "sets. Classes trained on: of the same name (letters\nand digits)."));
    if (paper)
        CF_GO(protocol_append(&text, " Paper: X-CLIP-B/16, 32 frames, trained on Kinetics-400 "
                                     "(arXiv:2208.02816)."));
    CF_GO(protocol_append(&text, "\n"));
    if (!z->options->dry_run) {
        CF_GO(protocol_write(z->config, "table.md", text));
        CF_GO(protocol_write(z->config, "table.csv", csv));
        CF_GO(protocol_write_runs(z->p, z->config, false));
    }
    cf_free(z->p->markdown);
    z->p->markdown = text;
    text = NULL;
done:
    cf_free(text);
    cf_free(csv);
    return status;
}

/* ---- the protocol ---------------------------------------------------------------------------- */

static cf_status test_all(zero *z)
{
    const cf_protocol_options *o = z->options;
    cf_protocol *p = z->p;
    bool first = true;
    for (size_t i = 0; i < p->n; i++) {
        if (o->begins) o->begins(o->run.user, &p->run[i], i + 1, p->n);
        if (p->run[i].done || o->dry_run) continue;
        CF_TRY(test(z, i, first));
        first = false;
        if (o->ends) o->ends(o->run.user, &p->run[i], i + 1, p->n);
        CF_TRY(make_tables(z));
    }
    return make_tables(z);
}

static void free_sets(zero *z)
{
    for (size_t i = 0; z->sets && i < z->n; i++) {
        set *s = &z->sets[i];
        char *texts[] = { s->name, s->videos, s->labels, s->weights, s->of };
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) cf_free(texts[k]);
        cf_labels_fini(&s->trained);
    }
    cf_free(z->sets);
}

cf_status cf_zeroshot(cf_protocol *out, const cf_config *c, const char *const *sets, size_t n_sets,
                      const cf_protocol_options *o)
{
    zero z = { .p = out, .config = c, .options = o, .n = n_sets };
    cf_status status = CF_OK;
    *out = (cf_protocol){ 0 };
    CF_GO(cf_config_check(c));
    CF_GO(protocol_claim(c, true));
    CF_GO(plan(&z, sets));
    CF_GO(protocol_claim(c, o->dry_run));
    CF_GO(test_all(&z));
done:
    free_sets(&z);
    return status;
}
