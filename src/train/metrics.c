/* What a test counts, video by video.
 *
 * The candidates of a video are the classes of its label's family; where the data have no families,
 * or the video no label, all of them. By falling score, of equal scores the lower class first
 * (the published program leaves ties open), they are its predictions, of which k = min(5, K) are
 * kept (Q20). From these alone follow all numbers: top-1 and top-5 are the labelled videos whose
 * label is the first, or one, of the predictions; the confusion matrix counts them by label and
 * first prediction, so that a class's own videos and hits are its row's sum and diagonal; mean
 * class accuracy is the mean of the classes' own top-1, over classes with videos. Videos without a
 * label have predictions and are not counted. */
#include "train/run.h"

#include <math.h>
#include <string.h>

static size_t at_most_5(size_t K) { return K < 5 ? K : 5; }

cf_status cf_metrics_new(cf_metrics *out, size_t n, size_t K)
{
    cf_metrics m = { .n = n, .K = K, .k = at_most_5(K) };
    cf_status status = CF_OK;
    size_t ranked, pairs;
    CF_TRY(cf_mul_size(&ranked, n, m.k));
    CF_TRY(cf_mul_size(&pairs, K, K));
    CF_GO(cf_alloc(&m.label, n, sizeof *m.label));
    CF_GO(cf_alloc(&m.prediction, ranked, sizeof *m.prediction));
    CF_GO(cf_alloc(&m.score, ranked, sizeof *m.score));
    CF_GO(cf_alloc_zero(&m.confusion, pairs, sizeof *m.confusion));
    CF_GO(cf_alloc_zero(&m.family, K, sizeof *m.family));
    CF_GO(cf_alloc_zero(&m.seen, n, sizeof *m.seen));
    for (size_t i = 0; i < n; i++) m.label[i] = -1;
    for (size_t i = 0; i < ranked; i++) {
        m.prediction[i] = -1;
        m.score[i] = NAN;
    }
    *out = m;
    return CF_OK;
done:
    cf_metrics_fini(&m);
    return status;
}

void cf_metrics_fini(cf_metrics *m)
{
    cf_free(m->label);
    cf_free(m->prediction);
    cf_free(m->score);
    cf_free(m->confusion);
    cf_free(m->family);
    cf_free(m->seen);
    *m = (cf_metrics){ 0 };
}

/* The k best candidates, kept in order while they are found. */
static void rank_classes(int32_t *best, const cf_metrics *m, int32_t label, const float *sum)
{
    size_t n = 0;
    for (size_t c = 0; c < m->K; c++) {
        if (label >= 0 && m->family[c] != m->family[label]) continue;
        size_t at = n;
        while (at > 0 && sum[c] > sum[best[at - 1]]) at--;
        if (at == m->k) continue;
        if (n < m->k) n++;
        memmove(best + at + 1, best + at, (n - 1 - at) * sizeof *best);
        best[at] = (int32_t)c;
    }
}

void cf_metrics_add(cf_metrics *m, size_t row, const float *sum, size_t views)
{
    CF_ASSERT(row < m->n && !m->seen[row]); /* every video is scored once */
    m->seen[row] = true;
    m->scored++;
    int32_t label = m->label[row], *best = m->prediction + row * m->k;
    CF_ASSERT(label < (int32_t)m->K);
    rank_classes(best, m, label, sum);
    for (size_t i = 0; i < m->k && best[i] >= 0; i++)
        m->score[row * m->k + i] = (float)((double)sum[best[i]] / (double)views);
    if (label < 0) return;
    m->videos++;
    m->top1 += best[0] == label;
    for (size_t i = 0; i < m->k; i++) m->top5 += best[i] == label;
    m->confusion[(size_t)label * m->K + (size_t)best[0]]++;
}

cf_class_metrics cf_metrics_of_class(const cf_metrics *m, size_t label)
{
    const int32_t *row = m->confusion + label * m->K;
    cf_class_metrics c = { .hits = row[label], .wrong = -1 };
    for (size_t k = 0; k < m->K; k++) {
        c.videos += row[k];
        if (k == label || row[k] == 0) continue;
        if (c.wrong < 0 || row[k] > row[c.wrong]) c.wrong = (int32_t)k;
    }
    return c;
}

double cf_percent(int64_t hits, int64_t videos)
{
    return videos > 0 ? 100.0 * (double)hits / (double)videos : NAN;
}

double cf_metrics_mean_class(const cf_metrics *m)
{
    double sum = 0;
    size_t classes = 0;
    for (size_t k = 0; k < m->K; k++) {
        cf_class_metrics c = cf_metrics_of_class(m, k);
        if (c.videos == 0) continue;
        sum += cf_percent(c.hits, c.videos);
        classes++;
    }
    return classes > 0 ? sum / (double)classes : NAN;
}
