/* What a test found as files: all of it as HDF5 (docs/runs.md), a line a class and the confusion
 * matrix as CSV. */
#include "train/run.h"

#include "crossframe/h5.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static cf_status write_numbers(cf_h5 *f, const cf_eval_record *e)
{
    const struct {
        const char *path;
        int64_t value;
    } numbers[] = { { "/epoch", e->epoch },
                    { "/step", e->step },
                    { "/views", e->views },
                    { "/frames", e->frames } };
    const size_t one = 1;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const int32_t value = (int32_t)numbers[i].value;
        CF_TRY(cf_h5_write_i32(f, numbers[i].path, &value, 1, &one));
    }
    return cf_h5_write_strings(f, "/weights", &e->weights, 1);
}

cf_status cf_result_write(const cf_metrics *m, const cf_run *r, const cf_eval_record *e,
                          const char *path)
{
    cf_status status = CF_OK;
    cf_h5 *f = NULL;
    const char **name = NULL;
    const size_t ranked[] = { m->n, m->k }, pairs[] = { m->K, m->K };
    CF_TRY(cf_h5_create(&f, path));
    CF_GO(cf_alloc(&name, m->n, sizeof *name));
    for (size_t i = 0; i < m->n; i++) name[i] = cf_dataset_name(r->test, i);
    CF_GO(cf_h5_write_strings(f, "/name", name, m->n));
    CF_GO(cf_h5_write_i32(f, "/label", m->label, 1, &m->n));
    CF_GO(cf_h5_write_i32(f, "/prediction", m->prediction, 2, ranked));
    CF_GO(cf_h5_write_f32(f, "/score", m->score, 2, ranked));
    CF_GO(cf_h5_write_i32(f, "/confusion", m->confusion, 2, pairs));
    CF_GO(cf_h5_write_strings(f, "/class", (const char *const *)r->classes.name, m->K));
    CF_GO(write_numbers(f, e));
    cf_h5 *whole = f;
    f = NULL;
    CF_GO(cf_h5_commit(whole));
done:
    cf_h5_close(f);
    cf_free(name);
    return status;
}

/* ---- CSV ------------------------------------------------------------------------------------- */

typedef struct {
    cf_writer *to;
    char *field; /* room for the longest class name, quoted */
} csv;

static cf_status put_name(const csv *c, const char *name)
{
    return cf_writer_put(c->to, c->field, cf_csv_field(c->field, name));
}

static cf_status per_class(const csv *c, const cf_metrics *m, char *const *name)
{
    static const char head[] = "class,videos,right,top-1 %,most frequent wrong class\n";
    CF_TRY(cf_writer_put(c->to, head, sizeof head - 1));
    for (size_t k = 0; k < m->K; k++) {
        char numbers[96];
        cf_class_metrics one = cf_metrics_of_class(m, k);
        int n =
            snprintf(numbers, sizeof numbers, ",%" PRId64 ",%" PRId64 ",", one.videos, one.hits);
        if (one.videos > 0)
            n += snprintf(numbers + n, sizeof numbers - (size_t)n, "%.2f",
                          cf_percent(one.hits, one.videos));
        CF_TRY(put_name(c, name[k]));
        CF_TRY(cf_writer_put(c->to, numbers, (size_t)n));
        CF_TRY(cf_writer_put(c->to, ",", 1));
        if (one.wrong >= 0) CF_TRY(put_name(c, name[one.wrong]));
        CF_TRY(cf_writer_put(c->to, "\n", 1));
    }
    return CF_OK;
}

static cf_status confusion(const csv *c, const cf_metrics *m, char *const *name)
{
    CF_TRY(cf_writer_put(c->to, "label", 5));
    for (size_t k = 0; k < m->K; k++) {
        CF_TRY(cf_writer_put(c->to, ",", 1));
        CF_TRY(put_name(c, name[k]));
    }
    for (size_t label = 0; label < m->K; label++) {
        CF_TRY(cf_writer_put(c->to, "\n", 1));
        CF_TRY(put_name(c, name[label]));
        for (size_t k = 0; k < m->K; k++) {
            char number[16];
            int n = snprintf(number, sizeof number, ",%" PRId32, m->confusion[label * m->K + k]);
            CF_TRY(cf_writer_put(c->to, number, (size_t)n));
        }
    }
    return cf_writer_put(c->to, "\n", 1);
}

static cf_status write_csv(const cf_metrics *m, const cf_classes *classes, const char *path,
                           cf_status (*body)(const csv *, const cf_metrics *, char *const *))
{
    csv c = { 0 };
    size_t longest = 0;
    for (size_t k = 0; k < m->K; k++)
        if (strlen(classes->name[k]) > longest) longest = strlen(classes->name[k]);
    CF_TRY(cf_alloc(&c.field, 2 * longest + 2, 1));
    cf_status status = CF_OK;
    CF_GO(cf_writer_new(&c.to, path));
    CF_GO(body(&c, m, classes->name));
    cf_writer *whole = c.to;
    c.to = NULL;
    CF_GO(cf_writer_commit(whole));
done:
    cf_writer_abort(c.to);
    cf_free(c.field);
    return status;
}

cf_status cf_result_write_classes(const cf_metrics *m, const cf_classes *c, const char *path)
{
    return write_csv(m, c, path, per_class);
}

cf_status cf_result_write_confusion(const cf_metrics *m, const cf_classes *c, const char *path)
{
    return write_csv(m, c, path, confusion);
}
