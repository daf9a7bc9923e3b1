/* crossframe predict: probabilities of labels for videos, answers to stdout as they come.
 *
 * Weights and text features are made once; the reader decodes the next input while one is scored,
 * and the first one while the weights are read. An input that cannot be read costs one line on
 * stderr and the exit status, nothing else. */
#include "cli.h"

#include "crossframe/json.h"
#include "crossframe/predict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

typedef struct {
    const char *checkpoint, *labels, *views, *template, *bpe;
    int top, frames;
    bool json, times;
} call;

/* The names of the inputs: positional arguments, and lines of stdin for "-". */
typedef struct {
    const cli_args *args;
    size_t at;
    char *line; /* getline's */
    size_t capacity;
} name_list;

typedef struct {
    const call *call;
    cf_predictor *predictor;
    cf_labels labels;
    cf_input_reader *reader;
    float *probability; /* [K] */
    size_t *order;      /* [K] */
    size_t answered, failed;
    double begin_s, open_s, ready_s, first_s, read_s, score_s; /* moments and sums */
} session;

static bool asks_stdin(const cli_args *args)
{
    for (size_t i = 0; i < args->n_positional; i++)
        if (strcmp(args->positional[i], "-") == 0) return true;
    return false;
}

static cf_status next_name(void *user, const char **out)
{
    name_list *l = user;
    *out = NULL;
    while (l->at < l->args->n_positional) {
        const char *name = l->args->positional[l->at];
        if (strcmp(name, "-") != 0) {
            l->at++;
            *out = name;
            return CF_OK;
        }
        ssize_t n = getline(&l->line, &l->capacity, stdin);
        if (n < 0) {
            l->at++;
            continue;
        }
        while (n > 0 && (l->line[n - 1] == '\n' || l->line[n - 1] == '\r')) l->line[--n] = 0;
        if (n == 0) continue;
        *out = l->line;
        return CF_OK;
    }
    return CF_OK;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* order[0 .. top): the labels with the highest probability; of equals the earlier one first. */
static void rank(session *s, size_t top)
{
    size_t K = s->labels.n, n = 0;
    for (size_t k = 0; k < K; k++) {
        size_t at = n < top ? n++ : top;
        while (at > 0 && s->probability[s->order[at - 1]] < s->probability[k]) at--;
        if (at == top) continue;
        memmove(s->order + at + 1, s->order + at, (n - 1 - at) * sizeof *s->order);
        s->order[at] = k;
    }
}

static void print_table(const session *s, const cf_input *in, size_t top)
{
    printf("%s%s%s%s\n", in->input, in->name ? " (" : "", in->name ? in->name : "",
           in->name ? ")" : "");
    for (size_t i = 0; i < top; i++)
        printf("  %6.2f %%  %s\n", 100.0 * (double)s->probability[s->order[i]],
               s->labels.name[s->order[i]]);
}

static bool add_scores(cJSON *to, const session *s, size_t top)
{
    cJSON *scores = cJSON_AddArrayToObject(to, "scores");
    for (size_t i = 0; i < top; i++) {
        size_t k = s->order[i];
        char number[32];
        cJSON *one = cJSON_CreateObject();
        snprintf(number, sizeof number, "%.9g", (double)s->probability[k]);
        if (!cJSON_AddItemToArray(scores, one)) {
            cJSON_Delete(one);
            return false;
        }
        if (!cJSON_AddNumberToObject(one, "id", (double)k) ||
            !cf_json_add_text(one, "label", s->labels.name[k]) ||
            !cJSON_AddRawToObject(one, "probability", number))
            return false;
    }
    return true;
}

/* error NULL: the scores. */
static cf_status print_json(const session *s, const cf_input *in, size_t top, const char *error)
{
    const cf_view_options *v = cf_predictor_views(s->predictor);
    cJSON *o = cJSON_CreateObject();
    bool done = cf_json_add_text(o, "input", in->input) &&
                (!in->name || cf_json_add_text(o, "name", in->name));
    if (done && error)
        done = cf_json_add_text(o, "error", error);
    else if (done)
        done = cJSON_AddNumberToObject(o, "frames", (double)v->T) &&
               cJSON_AddNumberToObject(o, "views", (double)(v->clips * v->crops)) &&
               add_scores(o, s, top);
    char *text = done ? cJSON_PrintUnformatted(o) : NULL;
    cJSON_Delete(o);
    if (!text) return CF_FAIL(CF_ENOMEM, "out of memory for an answer");
    puts(text);
    cJSON_free(text);
    return CF_OK;
}

static cf_status complain(session *s, const cf_input *in, const char *error)
{
    fprintf(stderr, "crossframe: %s\n", error);
    s->failed++;
    return s->call->json ? print_json(s, in, 0, error) : CF_OK;
}

static cf_status answer(session *s, const cf_input *in)
{
    size_t top = (size_t)s->call->top < s->labels.n ? (size_t)s->call->top : s->labels.n;
    if (in->status != CF_OK) return complain(s, in, in->error);
    double begin = cf_seconds();
    if (cf_predictor_score(s->probability, s->predictor, in->views) != CF_OK) {
        cf_fail_context(CF_ENUMERIC, "%s", in->input);
        return complain(s, in, cf_error());
    }
    s->score_s += cf_seconds() - begin;
    s->read_s += in->seconds;
    rank(s, top);
    if (s->call->json)
        CF_TRY(print_json(s, in, top, NULL));
    else
        print_table(s, in, top);
    fflush(stdout);
    if (s->answered++ == 0) s->first_s = cf_seconds();
    return CF_OK;
}

/* ---- the session ----------------------------------------------------------------------------- */

/* "4x3", or "4" for 4x1. False: neither. */
static bool parse_views(size_t *clips, size_t *crops, const char *text)
{
    unsigned c, r = 1;
    int n = 0, m = 0;
    if (!text) return *clips = *crops = 1, true;
    bool one = sscanf(text, "%4u%n", &c, &n) == 1 && text[n] == 0;
    bool two = sscanf(text, "%4ux%4u%n", &c, &r, &m) == 2 && text[m] == 0;
    if (!(one || two) || c < 1 || c > 1000 || (r != 1 && r != 3)) return false;
    *clips = c;
    *crops = r;
    return true;
}

static cf_status get_labels(session *s)
{
    if (s->call->labels) return cf_labels_get(&s->labels, s->call->labels);
    CF_TRY_CTX(cf_predictor_own_labels(&s->labels, s->predictor), "--labels is missing");
    return CF_OK;
}

static cf_status open_session(session *s, name_list *names, const cf_predictor_options *o)
{
    bool slow = asks_stdin(names->args); /* then a failure must not wait for its end */
    CF_TRY(cf_predictor_new(&s->predictor, o));
    CF_TRY(get_labels(s));
    s->open_s = cf_seconds();
    const cf_view_options *v = cf_predictor_views(s->predictor);
    if (!slow) CF_TRY(cf_input_reader_new(&s->reader, v, next_name, names));
    CF_TRY(cf_alloc(&s->probability, s->labels.n, sizeof *s->probability));
    CF_TRY(cf_alloc(&s->order, s->labels.n + 1, sizeof *s->order));
    CF_TRY(cf_predictor_set_labels(s->predictor, &s->labels, s->call->template));
    s->ready_s = cf_seconds();
    return slow ? cf_input_reader_new(&s->reader, v, next_name, names) : CF_OK;
}

static cf_status run(session *s)
{
    const cf_input *in;
    for (;;) {
        CF_TRY(cf_input_reader_next(&in, s->reader));
        if (!in) return CF_OK;
        CF_TRY(answer(s, in));
    }
}

static void print_times(const session *s)
{
    double n = s->answered > 0 ? (double)s->answered : 1;
    fprintf(stderr,
            "times    opening %.3f s, weights and %zu labels %.3f s, first answer after %.3f s;\n"
            "         each of %zu inputs: reading %.3f s, scoring %.3f s\n",
            s->open_s - s->begin_s, s->labels.n, s->ready_s - s->open_s, s->first_s - s->begin_s,
            s->answered, s->read_s / n, s->score_s / n);
}

static int predict(const call *c, const cli_args *args)
{
    session s = { .call = c, .begin_s = cf_seconds() };
    name_list names = { .args = args };
    cf_predictor_options o = { .checkpoint = c->checkpoint,
                               .vocabulary = c->bpe,
                               .cache = cli_cache(),
                               .frames = (size_t)c->frames };
    o.opts = args->opts;
    o.n_opts = args->n_opts;
    if (!c->checkpoint) return cli_misused("predict", "--checkpoint FILE is missing");
    if (!parse_views(&o.clips, &o.crops, c->views))
        return cli_misused("predict", "--views takes CLIPSxCROPS, crops 1 or 3, not '%s'",
                           c->views);
    if (c->template && !strstr(c->template, "{}"))
        return cli_misused("predict", "--template '%s' has no {} for the label", c->template);
    cf_status status = open_session(&s, &names, &o);
    if (status == CF_OK) status = run(&s);
    int exit_status = status == CF_OK ? s.failed > 0 : cli_failed();
    if (status == CF_OK && c->times && s.answered > 0) print_times(&s);
    cf_input_reader_free(s.reader);
    cf_predictor_free(s.predictor);
    cf_labels_fini(&s.labels);
    cf_free(s.probability);
    cf_free(s.order);
    free(names.line);
    return exit_status;
}

int cmd_predict(int argc, char **argv)
{
    call c = { .top = 5 };
    const cli_option options[] = {
        { "checkpoint", 0, CLI_TEXT, &c.checkpoint, "FILE",
          "weights of X-CLIP or of a CLIP: a path, or a published name", 0, 0 },
        { "labels", 0, CLI_TEXT, &c.labels, "LABELS",
          "\"a,b,c\", or a file: CSV `id,name`, or one a line", 0, 0 },
        { "top", 0, CLI_INT, &c.top, "K", "how many labels of each answer (5)", 1, 1e9 },
        { "json", 0, CLI_FLAG, &c.json, NULL, "one JSON object a line", 0, 0 },
        { "views", 0, CLI_TEXT, &c.views, "CLIPSxCROPS",
          "views of each video whose mean counts (1x1); published: 4x3", 0, 0 },
        { "template", 0, CLI_TEXT, &c.template, "TEXT",
          "text of a label, {} stands for it: \"a video of {}\"", 0, 0 },
        { "bpe", 0, CLI_TEXT, &c.bpe, "FILE", "vocabulary, when not beside the weights", 0, 0 },
        { "frames", 0, CLI_INT, &c.frames, "T", "frames of a view, when the weights do not tell", 1,
          1024 },
        { "opts", 0, CLI_OPTS, NULL, "KEY VALUE ...",
          "sets keys of the configuration (MODEL.MIT_POSITION, TEST.SAMPLING ...)", 0, 0 },
        { "times", 0, CLI_FLAG, &c.times, NULL, "tells where the time went, on stderr", 0, 0 },
    };
    const cli_command command = {
        .name = "predict",
        .usage = "INPUT... --checkpoint FILE --labels LABELS [options]",
        .summary = "scores videos against labels that are told in words",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .least = 1,
        .most = SIZE_MAX,
        .notes = "An INPUT is a video file, a folder of pictures, a picture, a packed dataset, or "
                 "of one a\n"
                 "row (PACK.h5#3), a video (PACK.h5#NAME) or a split (PACK.h5#SPLIT); - reads a "
                 "list from\n"
                 "stdin, one a line. Without --labels the classes the checkpoint was trained on "
                 "are taken.",
    };
    cli_args args;
    int status = 0;
    if (!cli_parse(&args, &status, &command, argc, argv)) return status;
    status = predict(&c, &args);
    cli_args_free(&args);
    return status;
}
