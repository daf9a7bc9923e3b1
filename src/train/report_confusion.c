/* The confusion matrix as SVG: labels down, predictions across. A cell's strength is the share of
 * its row's videos; right ones and mistakes differ in colour. Empty cells are not drawn. */
#include "report_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LABELS_LEFT = 168, LABELS_TOP = 168, HEAD = 48, MARGIN = 12, NAME_CHARACTERS = 34 };

/* Classes as rows and columns; the last is all others together where not all fit. */
typedef struct {
    size_t *class_id; /* [n] */
    size_t n, size;   /* size: with the others */
    int64_t *count;   /* [size, size] */
    double cell;
} map;

typedef struct {
    int64_t mistakes;
    size_t id;
} class_mistakes;

static int by_mistakes(const void *a, const void *b)
{
    const class_mistakes *x = a, *y = b;
    if (x->mistakes != y->mistakes) return x->mistakes < y->mistakes ? 1 : -1;
    return x->id > y->id ? 1 : -1;
}

static int by_id(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* The classes with most mistakes, made of them and for them, in their own order. */
static cf_status choose(map *o, const test_record *t)
{
    class_mistakes *all;
    o->n = t->K <= CONFUSION_WHOLE ? t->K : CONFUSION_PART;
    o->size = o->n + (t->K > o->n);
    CF_TRY(cf_alloc(&o->class_id, t->K, sizeof *o->class_id));
    CF_TRY(cf_alloc_zero(&all, t->K, sizeof *all));
    for (size_t i = 0; i < t->K; i++) {
        all[i].id = i;
        for (size_t j = 0; j < t->K; j++)
            if (i != j) all[i].mistakes += t->confusion[i * t->K + j] + t->confusion[j * t->K + i];
    }
    if (t->K > o->n) qsort(all, t->K, sizeof *all, by_mistakes);
    for (size_t i = 0; i < o->n; i++) o->class_id[i] = all[i].id;
    qsort(o->class_id, o->n, sizeof *o->class_id, by_id);
    cf_free(all);
    return CF_OK;
}

static cf_status count(map *o, const test_record *t)
{
    size_t *place;
    CF_TRY(cf_alloc_zero(&o->count, o->size * o->size, sizeof *o->count));
    CF_TRY(cf_alloc(&place, t->K, sizeof *place));
    for (size_t i = 0; i < t->K; i++) place[i] = o->n;
    for (size_t i = 0; i < o->n; i++) place[o->class_id[i]] = i;
    for (size_t i = 0; i < t->K; i++)
        for (size_t j = 0; j < t->K; j++)
            o->count[place[i] * o->size + place[j]] += t->confusion[i * t->K + j];
    cf_free(place);
    return CF_OK;
}

static const char *class_at(const map *o, const test_record *t, size_t i)
{
    return i < o->n ? t->class_name[o->class_id[i]] : "all other classes";
}

static void put_labels(markup *m, const map *o, const test_record *t)
{
    for (size_t i = 0; i < o->size; i++) {
        double middle = ((double)i + 0.5) * o->cell;
        markup_put(m, "<text class=\"label end\" x=\"%d\" y=\"%.1f\">", LABELS_LEFT - 5,
                   LABELS_TOP + middle + 3);
        markup_text_cut(m, class_at(o, t, i), NAME_CHARACTERS);
        markup_put(m, "</text><text class=\"label\" transform=\"translate(%.1f,%d) rotate(-90)\">",
                   LABELS_LEFT + middle + 3, LABELS_TOP - 5);
        markup_text_cut(m, class_at(o, t, i), NAME_CHARACTERS);
        markup_raw(m, "</text>\n");
    }
}

static void put_cell(markup *m, const map *o, const test_record *t, size_t i, size_t j, int64_t all)
{
    int64_t n = o->count[i * o->size + j];
    double part = (double)n / (double)all, x = LABELS_LEFT + (double)j * o->cell,
           y = LABELS_TOP + (double)i * o->cell;
    /* What others do among themselves is neither right nor wrong. */
    const char *class = i == o->n && j == o->n ? "others" : i == j ? "right" : "wrong";
    markup_put(m,
               "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
               "fill-opacity=\"%.2f\"><title>",
               class, x, y, o->cell - 0.6, o->cell - 0.6, 0.1 + 0.9 * part);
    markup_text(m, class_at(o, t, i));
    markup_raw(m, " \xe2\x86\x92 ");
    markup_text(m, class_at(o, t, j));
    markup_put(m, ": %lld of %lld</title></rect>", (long long)n, (long long)all);
    if (o->cell >= 20)
        markup_put(m, "<text class=\"count%s\" x=\"%.1f\" y=\"%.1f\">%lld</text>",
                   part > 0.5 ? " light" : "", x + o->cell / 2, y + o->cell / 2 + 3, (long long)n);
    markup_raw(m, "\n");
}

static void put_cells(markup *m, const map *o, const test_record *t)
{
    double side = (double)o->size * o->cell;
    for (size_t i = 0; i < o->size; i++) {
        int64_t all = 0;
        for (size_t j = 0; j < o->size; j++) all += o->count[i * o->size + j];
        for (size_t j = 0; j < o->size; j++)
            if (o->count[i * o->size + j] > 0) put_cell(m, o, t, i, j, all);
    }
    markup_put(m, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%.1f\"/>\n",
               LABELS_LEFT, LABELS_TOP, side, side);
}

static void put_svg(markup *m, const map *o, const test_record *t, const char *title, bool alone,
                    drawing_size *size)
{
    double side = (double)o->size * o->cell;
    *size = (drawing_size){ fmax(LABELS_LEFT + side + MARGIN, 420),
                            LABELS_TOP + side + MARGIN + (alone ? HEAD : 0) };
    if (alone) {
        markup_put(m, "<g transform=\"translate(0,%d)\"><text class=\"title\" x=\"%d\" y=\"-28\">",
                   HEAD, MARGIN);
        markup_text(m, title);
        markup_put(m, "</text><text x=\"%d\" y=\"-10\">rows: labels; columns: predictions</text>\n",
                   MARGIN);
    } else {
        markup_put(m,
                   "<svg class=\"confusion\" viewBox=\"0 0 %.0f %.0f\" style=\"max-width:%.0fpx\" "
                   "role=\"img\" aria-label=\"",
                   size->width, size->height, size->width * 1.25);
        markup_text(m, title);
        markup_raw(m, ": rows are labels, columns predictions\">\n");
    }
    put_labels(m, o, t);
    put_cells(m, o, t);
    markup_raw(m, alone ? "</g>\n" : "</svg>\n");
}

cf_status report_confusion(markup *m, const test_record *t, const char *title, bool alone,
                           drawing_size *size)
{
    map o = { 0 };
    cf_status status = CF_OK;
    CF_GO(choose(&o, t));
    CF_GO(count(&o, t));
    o.cell = fmin(34, fmax(11.5, 480 / (double)o.size));
    put_svg(m, &o, t, title, alone, size);
done:
    cf_free(o.class_id);
    cf_free(o.count);
    return status;
}
