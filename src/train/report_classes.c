/* The classes of the newest test: confusion matrix, pairs confused most, best and worst. */
#include "report_parts.h"

#include <math.h>
#include <stdio.h>

enum { PAIRS = 15, ENDS = 10, ALL_CLASSES = 24 };

static void put_class(markup *m, const test_record *t, size_t id)
{
    size_t taken = t->K;
    for (size_t j = 0; j < t->K; j++)
        if (j != id && t->confusion[id * t->K + j] > 0 &&
            (taken == t->K || t->confusion[id * t->K + j] > t->confusion[id * t->K + taken]))
            taken = j;
    markup_raw(m, "<tr><th scope=\"row\">");
    markup_text(m, t->class_name[id]);
    markup_put(m, "</th><td>%.1f</td><td>%lld of %lld</td><td class=\"text\">",
               100 * (double)t->right[id] / (double)t->videos[id], (long long)t->right[id],
               (long long)t->videos[id]);
    if (taken < t->K) {
        markup_text(m, t->class_name[taken]);
        markup_put(m, " <small>%d</small>", t->confusion[id * t->K + taken]);
    }
    markup_raw(m, "</td></tr>\n");
}

static void put_some(markup *m, const test_record *t, const char *caption, const size_t *id,
                     size_t n, bool from_end)
{
    markup_put(
        m,
        "<div class=\"wide\"><table class=\"numbers\"><caption>%s</caption><thead><tr>"
        "<th scope=\"col\">class</th><th scope=\"col\">right %%</th><th scope=\"col\">videos</th>"
        "<th scope=\"col\" class=\"text\">most often taken for</th></tr></thead><tbody>\n",
        caption);
    for (size_t i = 0; i < n; i++) put_class(m, t, from_end ? *(id - i) : id[i]);
    markup_raw(m, "</tbody></table></div>\n");
}

static cf_status put_ranking(markup *m, const test_record *t)
{
    size_t *id, n;
    CF_TRY(cf_alloc(&id, t->K, sizeof *id));
    cf_status status = test_ranking(id, &n, t);
    if (status == CF_OK && n > 0) {
        if (n <= ALL_CLASSES) {
            put_some(m, t, "Classes, best first", id, n, false);
        } else {
            put_some(m, t, "Best classes", id, ENDS, false);
            put_some(m, t, "Worst classes, worst first", id + n - 1, ENDS, true);
        }
    }
    cf_free(id);
    return status;
}

static cf_status put_pairs(markup *m, const test_record *t)
{
    confused_pair pair[PAIRS];
    size_t n;
    CF_TRY(test_confused(pair, &n, t, PAIRS));
    if (n == 0) return CF_OK;
    markup_raw(m, "<div class=\"wide\"><table class=\"numbers\"><caption>Pairs confused "
                  "most</caption><thead><tr>"
                  "<th scope=\"col\">label</th><th scope=\"col\" class=\"text\">taken for</th>"
                  "<th scope=\"col\">videos</th><th scope=\"col\">of its videos "
                  "%</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < n; i++) {
        markup_raw(m, "<tr><th scope=\"row\">");
        markup_text(m, t->class_name[pair[i].label]);
        markup_raw(m, "</th><td class=\"text\">");
        markup_text(m, t->class_name[pair[i].prediction]);
        markup_put(m, "</td><td>%lld</td><td>%.1f</td></tr>\n", (long long)pair[i].count,
                   100 * (double)pair[i].count / (double)t->videos[pair[i].label]);
    }
    markup_raw(m, "</tbody></table></div>\n");
    return CF_OK;
}

static void put_facts(markup *m, const test_record *t)
{
    int64_t videos = 0, right = 0;
    double share = 0;
    size_t classes = 0;
    for (size_t i = 0; i < t->K; i++) {
        videos += t->videos[i];
        right += t->right[i];
        if (t->videos[i] > 0) share += (double)t->right[i] / (double)t->videos[i], classes++;
    }
    markup_put(m, "<p>%lld videos of %zu classes, %lld right", (long long)videos, classes,
               (long long)right);
    if (videos > 0)
        markup_put(m, ": top-1 %.2f %%, mean over classes %.2f %%",
                   100 * (double)right / (double)videos, 100 * share / (double)classes);
    if (t->weights) {
        markup_raw(m, "; weights: ");
        markup_text(m, t->weights[0]);
    }
    if (t->epoch >= 0) markup_put(m, "; tested after epoch %d", t->epoch + 1);
    if (t->step >= 0) markup_put(m, ", step %d", t->step);
    if (t->views >= 1)
        markup_put(m, "; %d view%s of each video", t->views, t->views == 1 ? "" : "s");
    if (t->frames >= 1) markup_put(m, ", %d frames a view", t->frames);
    markup_raw(m, ".</p>\n");
}

cf_status report_put_classes(markup *m, const report_run *r)
{
    const test_record *t = &r->test;
    drawing_size size;
    put_facts(m, t);
    if (t->K > CONFUSION_WHOLE)
        markup_put(m,
                   "<p>The map has the %d classes with most mistakes, and all others as one.</p>\n",
                   CONFUSION_PART);
    markup_raw(m,
               "<figure><figcaption>Confusion matrix <small>rows: labels; columns: predictions; "
               "<span class=\"key right\"></span> right, <span class=\"key wrong\"></span> wrong, "
               "the stronger the larger the share of the row</small></figcaption>\n<div "
               "class=\"wide\">\n");
    CF_TRY(report_confusion(m, t, "Confusion matrix", false, &size));
    markup_raw(m, "</div></figure>\n");
    markup_raw(m, "<div class=\"pair\">\n");
    CF_TRY(put_ranking(m, t));
    CF_TRY(put_pairs(m, t));
    markup_raw(m, "</div>\n");
    return CF_OK;
}
