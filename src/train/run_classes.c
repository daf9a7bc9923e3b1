/* The classes of a run: names, token table, and whether they fit the data.
 *
 * Names come from DATA.LABEL_LIST, a CSV `id,name` with a header row, or where that is '' from the
 * pack. K must be the same in names, DATA.NUM_CLASSES and the packs (Q35); where NUM_CLASSES was
 * not given and the names are the pack's, it is the pack's. */
#include "train/run.h"

#include "crossframe/predict.h"

#include <math.h>
#include <string.h>

static cf_status read_list(cf_run *r)
{
    cf_labels l;
    char *path;
    CF_TRY(cf_label_list_find(&path, r->config, r->options.share));
    cf_status status = cf_labels_read_csv(&l, path);
    cf_free(path);
    if (status != CF_OK) return cf_fail_context(status, "DATA.LABEL_LIST"), status;
    r->classes.name = l.name;
    r->classes.n = l.n;
    return CF_OK;
}

void cf_classes_fini(cf_classes *c)
{
    cf_labels names = { c->name, c->n };
    cf_labels_fini(&names);
    cf_free(c->tokens);
    cf_free(c->gathered);
    *c = (cf_classes){ 0 };
}

/* ---- from the pack, and against it ----------------------------------------------------------- */

static bool has_names(const cf_dataset *d) { return *cf_dataset_class_name(d, 0) != 0; }

static cf_status take_names(cf_classes *c, const cf_dataset *d)
{
    if (!has_names(d))
        return CF_FAIL(CF_EINVAL, "%s holds no class names; set DATA.LABEL_LIST",
                       cf_dataset_path(d));
    size_t n = cf_dataset_n_classes(d);
    CF_TRY(cf_alloc_zero(&c->name, n, sizeof *c->name));
    c->n = n;
    for (size_t i = 0; i < c->n; i++) CF_TRY(cf_strdup(&c->name[i], cf_dataset_class_name(d, i)));
    return CF_OK;
}

/* A list of some of a pack's classes under numbers of its own, those of DATA.LABEL_LIST: the
 * classes of a few kinds of training, or of a zero-shot set. */
static cf_status check_list(const cf_classes *c, const cf_dataset *d)
{
    for (size_t i = 0; i < cf_dataset_size(d); i++) {
        int32_t label = cf_dataset_label(d, i);
        if (label >= 0 && (size_t)label >= c->n)
            return CF_FAIL(CF_EINVAL,
                           "%s: video %s has label %d, but there are %zu class names in "
                           "DATA.LABEL_LIST",
                           cf_dataset_path(d), cf_dataset_name(d, i), (int)label, c->n);
    }
    return CF_OK;
}

/* The pack's own names, or the largest label of a list. */
static cf_status check_dataset(const cf_classes *c, const cf_dataset *d)
{
    size_t n = cf_dataset_n_classes(d);
    if (c->chosen && cf_dataset_is_list(d) && n != c->n) return check_list(c, d);
    if (has_names(d) ? n != c->n : n > c->n)
        return CF_FAIL(CF_EINVAL, "%s has %zu classes, but there are %zu class names%s",
                       cf_dataset_path(d), n, c->n,
                       c->chosen ? " in DATA.LABEL_LIST" : " in the training data");
    for (size_t i = 0; has_names(d) && i < n; i++) {
        if (strcmp(c->name[i], cf_dataset_class_name(d, i)) == 0) continue;
        cf_log(CF_LOG_WARNING, "%s calls class %zu \"%s\"; \"%s\" is used", cf_dataset_path(d), i,
               cf_dataset_class_name(d, i), c->name[i]);
        break;
    }
    return CF_OK;
}

cf_status cf_run_read_classes(cf_run *r)
{
    cf_config *c = r->config;
    cf_classes *classes = &r->classes;
    classes->chosen = *c->data.label_list != 0;
    if (classes->chosen)
        CF_TRY(read_list(r));
    else
        CF_TRY(take_names(classes, r->train ? r->train : r->test));
    if (!classes->chosen && !cf_config_given(c, "DATA.NUM_CLASSES"))
        c->data.num_classes = (int)classes->n;
    if ((size_t)c->data.num_classes != classes->n)
        return CF_FAIL(
            CF_EINVAL,
            "configuration: DATA.NUM_CLASSES is %d, but there are %zu class names in %s (%s)",
            c->data.num_classes, classes->n,
            classes->chosen ? c->data.label_list : cf_dataset_path(r->train ? r->train : r->test),
            cf_config_origin(c, "DATA.NUM_CLASSES"));
    if (r->train) CF_TRY(check_dataset(classes, r->train));
    if (r->test) CF_TRY(check_dataset(classes, r->test));
    return CF_OK;
}

/* The token rows of one template. What does not fit is refused with its text. */
static cf_status tokenize(int32_t *rows, const cf_run *r, const char *template, size_t room)
{
    const cf_classes *c = &r->classes;
    for (size_t k = 0; k < c->n; k++) {
        char *text;
        int32_t *row = rows + k * c->context;
        size_t n = 0;
        CF_TRY(cf_template_fill(&text, template, c->name[k]));
        cf_status status = cf_tokenize(row, &n, room, r->tokenizer, text);
        cf_free(text);
        CF_TRY(status);
        memset(row + n, 0, (c->context - n) * sizeof *row);
    }
    return CF_OK;
}

static cf_status does_not_fit(const cf_run *r, size_t vectors)
{
    if (vectors > 0)
        return CF_FAIL(CF_EINVAL,
                       "MODEL.PROMPT vectors: %s; the context of %zu tokens holds the %zu vectors "
                       "of MODEL.PROMPT_VECTORS, too",
                       cf_error(), r->classes.context, vectors);
    return CF_FAIL(CF_EINVAL,
                   "MODEL.PROMPT ensemble: %s; MODEL.PROMPT_TEMPLATES may name shorter texts",
                   cf_error());
}

cf_status cf_run_tokenize_classes(cf_run *r)
{
    cf_classes *c = &r->classes;
    cf_templates t = { 0 };
    cf_status status = CF_OK;
    size_t n, all;
    size_t vectors = cf_xclip_config_get(r->model)->prompt_vectors;
    c->context = cf_xclip_config_get(r->model)->context;
    CF_TRY(cf_templates_open(&t, r->config));
    CF_GO(cf_mul_size(&n, c->n, c->context));
    CF_GO(cf_mul_size(&all, n, t.n));
    CF_GO(cf_alloc(&c->tokens, all, sizeof *c->tokens));
    CF_GO(cf_alloc(&c->gathered, n, sizeof *c->gathered));
    for (size_t i = 0; i < t.n && status == CF_OK; i++)
        status = tokenize(c->tokens + i * n, r, t.text[i], c->context - vectors);
    if (status == CF_EINVAL && (vectors > 0 || t.n > 1)) status = does_not_fit(r, vectors);
    c->templates = t.n;
done:
    cf_templates_fini(&t);
    return status;
}

cf_status cf_run_class_likeness(double *cosine, size_t pair[2], cf_run *r)
{
    size_t e = cf_xclip_config_get(r->model)->embed, K = r->classes.n;
    double *unit, most = -1;
    CF_TRY(cf_run_text_features(r));
    CF_TRY(cf_alloc(&unit, K * e, sizeof *unit));
    for (size_t k = 0; k < K; k++) {
        const cf_real *c = r->text.features + k * e;
        double norm = sqrt(cf_vec_sum_squares(c, e));
        for (size_t j = 0; j < e; j++) unit[k * e + j] = (double)c[j] / norm;
    }
    for (size_t a = 1; a < K; a++)
        for (size_t b = 0; b < a; b++) {
            double dot = 0;
            for (size_t j = 0; j < e; j++) dot += unit[a * e + j] * unit[b * e + j];
            if (dot <= most) continue;
            most = dot;
            pair[0] = b;
            pair[1] = a;
        }
    cf_free(unit);
    *cosine = most;
    return CF_OK;
}
