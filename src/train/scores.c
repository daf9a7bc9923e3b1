/* The scores of a test as HDF5: logits [n, views, K], scores [n, K] (sum of softmax over the
 * views), label [n], name [n], in the order of the dataset. A video that could not be read has
 * NaN. */
#include "train/run.h"

#include "crossframe/h5.h"

#include <math.h>

cf_status cf_scores_new(cf_scores *out, size_t n, size_t views, size_t K)
{
    cf_scores s = { .n = n, .views = views, .K = K };
    size_t n_scores, n_logits;
    CF_TRY(cf_mul_size(&n_scores, n, K));
    CF_TRY(cf_mul_size(&n_logits, n_scores, views));
    CF_TRY(cf_alloc(&s.scores, n_scores, sizeof *s.scores));
    cf_status status = cf_alloc(&s.logits, n_logits, sizeof *s.logits);
    if (status != CF_OK) {
        cf_scores_fini(&s);
        return status;
    }
    for (size_t i = 0; i < n_scores; i++) s.scores[i] = NAN;
    for (size_t i = 0; i < n_logits; i++) s.logits[i] = NAN;
    *out = s;
    return CF_OK;
}

void cf_scores_fini(cf_scores *s)
{
    cf_free(s->scores);
    cf_free(s->logits);
    *s = (cf_scores){ 0 };
}

cf_status cf_scores_write(const cf_scores *s, const cf_dataset *d, const char *path)
{
    cf_status status = CF_OK;
    cf_h5 *f = NULL;
    int32_t *label = NULL;
    const char **name = NULL;
    const size_t logits[] = { s->n, s->views, s->K }, scores[] = { s->n, s->K };
    CF_TRY(cf_h5_create(&f, path));
    CF_GO(cf_alloc(&label, s->n, sizeof *label));
    CF_GO(cf_alloc(&name, s->n, sizeof *name));
    for (size_t i = 0; i < s->n; i++) {
        label[i] = cf_dataset_label(d, i);
        name[i] = cf_dataset_name(d, i);
    }
    CF_GO(cf_h5_write_f32(f, "/logits", s->logits, 3, logits));
    CF_GO(cf_h5_write_f32(f, "/scores", s->scores, 2, scores));
    CF_GO(cf_h5_write_i32(f, "/label", label, 1, &s->n));
    CF_GO(cf_h5_write_strings(f, "/name", name, s->n));
    cf_h5 *whole = f;
    f = NULL;
    CF_GO(cf_h5_commit(whole));
done:
    cf_h5_close(f);
    cf_free(label);
    cf_free(name);
    return status;
}
