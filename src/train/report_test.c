/* Reads test.h5 (docs/runs.md) and counts from it: classes, confusions, mistakes. */
#include "report_parts.h"

#include "crossframe/h5.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static cf_status read_one(int32_t *out, cf_h5 *f, const char *path)
{
    int32_t *v;
    size_t n;
    if (!cf_h5_exists(f, path)) return CF_OK;
    CF_TRY(cf_h5_read_i32(&v, &n, f, path));
    if (n > 0) *out = v[0];
    cf_free(v);
    return CF_OK;
}

static cf_status refuse(const cf_h5 *f, const char *what, size_t at)
{
    return CF_FAIL(CF_EFORMAT, "%s: %s %zu does not fit the others", cf_h5_path(f), what, at);
}

static cf_status check(const test_record *t, const cf_h5 *f)
{
    int64_t K = (int64_t)t->K;
    for (size_t i = 0; i < t->n; i++)
        if (t->label[i] < -1 || t->label[i] >= K) return refuse(f, "the label of row", i);
    for (size_t i = 0; i < t->n * t->k; i++)
        if (t->prediction[i] < -1 || t->prediction[i] >= K)
            return refuse(f, "the prediction of row", i / t->k);
    for (size_t i = 0; i < t->K * t->K; i++)
        if (t->confusion[i] < 0) return refuse(f, "the confusion of class", i / t->K);
    return CF_OK;
}

static cf_status read_all(test_record *t, cf_h5 *f)
{
    size_t n, predictions, scores, cells;
    CF_TRY(cf_h5_read_strings(&t->name, &t->n, f, "/name"));
    CF_TRY(cf_h5_read_strings(&t->class_name, &t->K, f, "/class"));
    CF_TRY(cf_h5_read_i32(&t->label, &n, f, "/label"));
    CF_TRY(cf_h5_read_i32(&t->prediction, &predictions, f, "/prediction"));
    CF_TRY(cf_h5_read_f32(&t->score, &scores, f, "/score"));
    CF_TRY(cf_h5_read_i32(&t->confusion, &cells, f, "/confusion"));
    t->k = t->n > 0 ? predictions / t->n : 1;
    if (n != t->n || scores != predictions || t->k < 1 || predictions != t->n * t->k ||
        cells != t->K * t->K || t->K < 1)
        return CF_FAIL(CF_EFORMAT,
                       "%s: %zu names, %zu labels, %zu predictions, %zu scores, %zu confusions and "
                       "%zu classes do not fit together",
                       cf_h5_path(f), t->n, n, predictions, scores, cells, t->K);
    CF_TRY(read_one(&t->epoch, f, "/epoch"));
    CF_TRY(read_one(&t->step, f, "/step"));
    CF_TRY(read_one(&t->views, f, "/views"));
    CF_TRY(read_one(&t->frames, f, "/frames"));
    if (cf_h5_exists(f, "/weights")) CF_TRY(cf_h5_read_strings(&t->weights, &n, f, "/weights"));
    if (t->weights && n != 1) return refuse(f, "the number of weights,", n);
    CF_TRY(check(t, f));
    CF_TRY(cf_alloc_zero(&t->videos, t->K, sizeof *t->videos));
    CF_TRY(cf_alloc_zero(&t->right, t->K, sizeof *t->right));
    for (size_t i = 0; i < t->K; i++) {
        t->right[i] = t->confusion[i * t->K + i];
        for (size_t j = 0; j < t->K; j++) t->videos[i] += t->confusion[i * t->K + j];
    }
    return CF_OK;
}

cf_status test_record_read(test_record *out, const char *path)
{
    test_record t = { .epoch = -1, .step = -1, .views = -1, .frames = -1 };
    cf_h5 *f;
    CF_TRY(cf_h5_open(&f, path));
    cf_status status = read_all(&t, f);
    cf_h5_close(f);
    if (status != CF_OK) {
        test_record_fini(&t);
        return status;
    }
    *out = t;
    return CF_OK;
}

void test_record_fini(test_record *t)
{
    cf_free(t->name);
    cf_free(t->class_name);
    cf_free(t->weights);
    cf_free(t->label);
    cf_free(t->prediction);
    cf_free(t->confusion);
    cf_free(t->score);
    cf_free(t->videos);
    cf_free(t->right);
    *t = (test_record){ 0 };
}

/* Falling keys; of equal ones the smaller id first, so that the order is one. */
typedef struct {
    double key, second;
    size_t id;
} ranked;

static int by_rank(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? 1 : -1;
    if (x->second != y->second) return x->second < y->second ? 1 : -1;
    return x->id > y->id ? 1 : x->id < y->id ? -1 : 0;
}

cf_status test_confused(confused_pair *out, size_t *n, const test_record *t, size_t most)
{
    ranked *all;
    size_t found = 0;
    CF_TRY(cf_alloc(&all, t->K * t->K, sizeof *all));
    for (size_t i = 0; i < t->K * t->K; i++) {
        size_t label = i / t->K;
        if (label == i % t->K || t->confusion[i] == 0) continue;
        all[found++] = (ranked){ t->confusion[i], t->confusion[i] / (double)t->videos[label], i };
    }
    qsort(all, found, sizeof *all, by_rank);
    *n = found < most ? found : most;
    for (size_t i = 0; i < *n; i++)
        out[i] = (confused_pair){ all[i].id / t->K, all[i].id % t->K, (int64_t)all[i].key };
    cf_free(all);
    return CF_OK;
}

cf_status test_mistakes(size_t *out, size_t *n, const test_record *t, size_t most)
{
    ranked *all;
    size_t found = 0;
    CF_TRY(cf_alloc(&all, t->n, sizeof *all));
    for (size_t i = 0; i < t->n; i++) {
        int32_t first = t->prediction[i * t->k];
        double score = t->score[i * t->k];
        if (t->label[i] < 0 || first < 0 || first == t->label[i] || !isfinite(score)) continue;
        all[found++] = (ranked){ score, 0, i };
    }
    qsort(all, found, sizeof *all, by_rank);
    *n = found < most ? found : most;
    for (size_t i = 0; i < *n; i++) out[i] = all[i].id;
    cf_free(all);
    return CF_OK;
}

cf_status test_ranking(size_t *out, size_t *n, const test_record *t)
{
    ranked *all;
    *n = 0;
    CF_TRY(cf_alloc(&all, t->K, sizeof *all));
    for (size_t i = 0; i < t->K; i++)
        if (t->videos[i] > 0)
            all[(*n)++] = (ranked){ (double)t->right[i] / (double)t->videos[i], 0, i };
    qsort(all, *n, sizeof *all, by_rank);
    for (size_t i = 0; i < *n; i++) out[i] = all[i].id;
    cf_free(all);
    return CF_OK;
}
