/* The plot of a sweep: mean and standard deviation of each row, each seed's value faintly behind,
 * the published figure as a hollow diamond. Settings that are numbers (SHOTS, or such labels) make
 * a curve over them, others a row each. */
#include "train/sweep_parts.h"

#include "train/chart.h"
#include "train/report_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 760, LEFT = 250, RIGHT = 24, TOP = 64, BOTTOM = 48, LANE = 13, ROW_GAP = 11 };
enum { CURVE_LEFT = 60, CURVE_HEIGHT = 300, LABEL_CHARACTERS = 34 };

/* From values to places. */
typedef struct {
    double lo, hi, from, to;
    bool log;
} scale;

static double place(const scale *s, double v)
{
    double share = s->log ? log(v / s->lo) / log(s->hi / s->lo) : (v - s->lo) / (s->hi - s->lo);
    return s->from + share * (s->to - s->from);
}

/* The published figure as a number; NaN: none. */
static double paper_value(const cf_sweep *s, size_t setting, size_t slot, size_t metric)
{
    const char *text = sweep_paper(s, setting, slot, metric);
    char *end;
    double value = strtod(text, &end);
    return end == text ? NAN : value;
}

static void widen(scale *x, double value)
{
    if (!isfinite(value)) return;
    x->lo = fmin(x->lo, value);
    x->hi = fmax(x->hi, value);
}

/* All values of the plot, and some room, between 0 and 100. */
static scale value_scale(const cf_sweep *s, double from, double to)
{
    scale x = { INFINITY, -INFINITY, from, to, false };
    for (size_t i = 0; i < s->n_settings; i++)
        for (size_t t = 0; t < sweep_slots(s); t++)
            for (size_t k = 0; k < s->n_metrics; k++) {
                cf_spread v = sweep_spread(s, i, t, k);
                widen(&x, v.mean);
                widen(&x, v.mean - v.std);
                widen(&x, v.mean + v.std);
                widen(&x, paper_value(s, i, t, k));
            }
    for (size_t i = 0; i < s->n_runs; i++)
        for (size_t t = 0; t < sweep_slots(s); t++)
            for (size_t k = 0; s->runs[i].result[t].done && k < s->n_metrics; k++)
                widen(&x, s->runs[i].result[t].value[k]);
    if (!(x.hi >= x.lo)) x.lo = 0, x.hi = 100;
    double room = fmax(0.05 * (x.hi - x.lo), 1);
    x.lo = fmax(0, x.lo - room);
    x.hi = fmin(100, x.hi + room);
    return x;
}

/* ---- marks ----------------------------------------------------------------------------------- */

/* Where the mark of a value stands: rows have values along x, curves along y. */
typedef struct {
    markup *m;
    const cf_sweep *s;
    scale value;
    bool upright;
} canvas;

static void put_point(const canvas *c, double value, double across, double r, size_t colour,
                      const char *more)
{
    double at = place(&c->value, value);
    markup_put(c->m, "<circle class=\"k%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"%s/>\n",
               colour % CHART_COLOURS, c->upright ? across : at, c->upright ? at : across, r, more);
}

static void put_bar(const canvas *c, cf_spread v, double across, size_t colour)
{
    if (!isfinite(v.std)) return;
    double a = place(&c->value, fmax(c->value.lo, v.mean - v.std));
    double b = place(&c->value, fmin(c->value.hi, v.mean + v.std));
    markup_put(c->m, "<path class=\"line s%zu\" d=\"", colour % CHART_COLOURS);
    if (c->upright)
        markup_put(c->m, "M%.1f %.1fV%.1fM%.1f %.1fh8M%.1f %.1fh8", across, a, b, across - 4, a,
                   across - 4, b);
    else
        markup_put(c->m, "M%.1f %.1fH%.1fM%.1f %.1fv8M%.1f %.1fv8", a, across, b, a, across - 4, b,
                   across - 4);
    markup_raw(c->m, "\"/>\n");
}

static void put_diamond(markup *m, double x, double y, size_t colour)
{
    markup_put(m, "<path class=\"line s%zu paper\" d=\"M%.1f %.1fl5 5l-5 5l-5 -5z\"/>\n",
               colour % CHART_COLOURS, x, y - 5);
}

/* Everything of one row and metric. */
static void put_values(const canvas *c, size_t setting, size_t slot, size_t metric, double across)
{
    const cf_sweep *s = c->s;
    cf_spread v = sweep_spread(s, setting, slot, metric);
    double paper = paper_value(s, setting, slot, metric);
    for (size_t i = 0; v.n > 1 && i < s->n_runs; i++) {
        const sweep_result *r = &s->runs[i].result[slot];
        if (s->runs[i].setting == setting && r->done)
            put_point(c, r->value[metric], across, 2, metric, " fill-opacity=\".35\"");
    }
    if (v.n > 0) {
        put_bar(c, v, across, metric);
        put_point(c, v.mean, across, 4, metric, "");
    }
    if (!isfinite(paper) || paper < 0 || paper > 100) return;
    double at = place(&c->value, paper);
    put_diamond(c->m, c->upright ? across : at, c->upright ? at : across, metric);
}

static bool any_paper(const cf_sweep *s)
{
    for (size_t i = 0; i < s->n_settings; i++)
        for (size_t t = 0; t < sweep_slots(s); t++)
            for (size_t k = 0; k < s->n_metrics; k++)
                if (isfinite(paper_value(s, i, t, k))) return true;
    return false;
}

static void put_head(markup *m, const cf_sweep *s)
{
    double at = 16;
    markup_put(m, "<text class=\"title\" x=\"16\" y=\"22\">");
    markup_text_cut(m, s->title ? s->title : "", 90);
    markup_raw(m, "</text>\n");
    for (size_t k = 0; k < s->n_metrics; k++) {
        const char *name = sweep_metric_name(&s->metrics[k]);
        markup_put(m, "<circle class=\"k%zu\" cx=\"%.0f\" cy=\"40\" r=\"4\"/>", k % CHART_COLOURS,
                   at + 4);
        markup_put(m, "<text x=\"%.0f\" y=\"44\">", at + 14);
        markup_text_cut(m, name, 24);
        markup_raw(m, "</text>\n");
        at += 40 + 7.5 * fmin(24, (double)strlen(name));
    }
    if (!any_paper(s)) return;
    put_diamond(m, at + 4, 40, CHART_COLOURS - 1);
    markup_put(m, "<text x=\"%.0f\" y=\"44\">paper</text>\n", at + 14);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static double row_height(const cf_sweep *s) { return ROW_GAP + LANE * (double)s->n_metrics; }

static void put_label(markup *m, const cf_sweep *s, size_t setting, size_t slot, double y)
{
    char *text = NULL;
    cf_status status = s->n_tests > 0
                           ? cf_format(&text, "%s, %s", sweep_label(&s->settings[setting]),
                                       sweep_label(&s->tests[slot]))
                           : cf_strdup(&text, sweep_label(&s->settings[setting]));
    if (status != CF_OK) {
        m->status = status;
        return;
    }
    markup_put(m, "<text class=\"end\" x=\"%d\" y=\"%.1f\">", LEFT - 10, y);
    markup_text_cut(m, text, LABEL_CHARACTERS);
    markup_raw(m, "</text>\n");
    cf_free(text);
}

static drawing_size put_rows(markup *m, const cf_sweep *s)
{
    canvas c = { m, s, value_scale(s, LEFT, WIDTH - RIGHT), false };
    size_t rows = s->n_settings * sweep_slots(s);
    double bottom = TOP + row_height(s) * (double)rows,
           step = chart_tick_step(c.value.hi - c.value.lo);
    for (double v = ceil(c.value.lo / step) * step; v <= c.value.hi + step * 1e-6; v += step)
        markup_put(m,
                   "<path class=\"grid\" d=\"M%.1f %dV%.1f\"/><text class=\"mid\" x=\"%.1f\" "
                   "y=\"%.1f\">%.4g</text>\n",
                   place(&c.value, v), TOP, bottom, place(&c.value, v), bottom + 17, v);
    for (size_t i = 0; i < rows; i++) {
        size_t setting = i / sweep_slots(s), slot = i % sweep_slots(s);
        double top = TOP + row_height(s) * (double)i;
        put_label(m, s, setting, slot, top + row_height(s) / 2 + 4);
        for (size_t k = 0; k < s->n_metrics; k++)
            put_values(&c, setting, slot, k, top + ROW_GAP / 2.0 + LANE * ((double)k + 0.5));
    }
    markup_put(m, "<path class=\"axis\" d=\"M%d %dV%.1fH%d\"/>", LEFT, TOP, bottom, WIDTH - RIGHT);
    markup_put(m, "<text class=\"mid\" x=\"%d\" y=\"%.1f\">percent right</text>\n",
               (LEFT + WIDTH - RIGHT) / 2, bottom + 38);
    return (drawing_size){ WIDTH, bottom + BOTTOM };
}

/* ---- a curve --------------------------------------------------------------------------------- */

/* The setting as a number; NaN: it is none. */
static double number_of(const sweep_row *row)
{
    const char *text = sweep_label(row);
    char *end;
    double value = strtod(text, &end);
    if (end != text && !*end && isfinite(value)) return value;
    return row->shots > 0 ? (double)row->shots : NAN;
}

/* Whether the settings are rising numbers. */
static bool is_series(const cf_sweep *s)
{
    if (s->n_settings < 2 || sweep_slots(s) > 1) return false;
    for (size_t i = 0; i < s->n_settings; i++) {
        double value = number_of(&s->settings[i]);
        if (!isfinite(value)) return false;
        if (i > 0 && !(value > number_of(&s->settings[i - 1]))) return false;
    }
    return true;
}

static void put_curve_line(const canvas *c, const scale *x, size_t metric)
{
    bool pen = false;
    markup_put(c->m, "<path class=\"line s%zu\" d=\"", metric % CHART_COLOURS);
    for (size_t i = 0; i < c->s->n_settings; i++) {
        cf_spread v = sweep_spread(c->s, i, 0, metric);
        if (v.n == 0) continue;
        markup_put(c->m, "%c%.1f %.1f", pen ? 'L' : 'M', place(x, number_of(&c->s->settings[i])),
                   place(&c->value, v.mean));
        pen = true;
    }
    markup_raw(c->m, "\"/>\n");
}

static drawing_size put_curve(markup *m, const cf_sweep *s)
{
    const double bottom = TOP + CURVE_HEIGHT, end = WIDTH - RIGHT;
    double least = number_of(&s->settings[0]), most = number_of(&s->settings[s->n_settings - 1]);
    scale x = { least, most, CURVE_LEFT + 30, end - 30, least > 0 && most >= 6 * least };
    canvas c = { m, s, value_scale(s, bottom, TOP), true };
    double step = chart_tick_step(c.value.hi - c.value.lo);
    for (double v = ceil(c.value.lo / step) * step; v <= c.value.hi + step * 1e-6; v += step)
        markup_put(m,
                   "<path class=\"grid\" d=\"M%d %.1fH%.1f\"/><text class=\"end\" x=\"%d\" "
                   "y=\"%.1f\">%.4g</text>\n",
                   CURVE_LEFT, place(&c.value, v), end, CURVE_LEFT - 6, place(&c.value, v) + 4, v);
    for (size_t i = 0; i < s->n_settings; i++) {
        markup_put(m, "<text class=\"mid\" x=\"%.1f\" y=\"%.1f\">",
                   place(&x, number_of(&s->settings[i])), bottom + 17);
        markup_text_cut(m, sweep_label(&s->settings[i]), 12);
        markup_raw(m, "</text>\n");
    }
    for (size_t k = 0; k < s->n_metrics; k++) {
        put_curve_line(&c, &x, k);
        for (size_t i = 0; i < s->n_settings; i++)
            put_values(&c, i, 0, k, place(&x, number_of(&s->settings[i])));
    }
    markup_put(m, "<path class=\"axis\" d=\"M%d %dV%.1fH%.1f\"/>", CURVE_LEFT, TOP, bottom, end);
    markup_put(m, "<text class=\"end\" x=\"%.1f\" y=\"%d\">percent right</text>\n", end, TOP - 8);
    return (drawing_size){ WIDTH, bottom + BOTTOM };
}

/* ---- files ----------------------------------------------------------------------------------- */

/* PNG where this build can draw it. */
static cf_status write_png(const cf_sweep *s, const char *svg, size_t n, drawing_size size)
{
    char *path;
    CF_TRY(cf_path_join(&path, s->output, "plot.png"));
    cf_status status = report_write_picture(path, svg, n, size);
    if (status == CF_EUNSUPPORTED) {
        cf_log(CF_LOG_INFO, "%s: not drawn: %s", path, cf_error());
        status = CF_OK;
    }
    cf_free(path);
    return status;
}

cf_status sweep_plot(const cf_sweep *s)
{
    markup body = { 0 }, whole = { 0 };
    char *inside = NULL, *text = NULL, *path = NULL;
    size_t n;
    cf_status status = CF_OK;
    put_head(&body, s);
    drawing_size size = is_series(s) ? put_curve(&body, s) : put_rows(&body, s);
    CF_GO(markup_done(&inside, &n, &body));
    chart_picture_begin(&whole, size.width, size.height);
    markup_raw(&whole, inside);
    chart_picture_end(&whole);
    CF_GO(markup_done(&text, &n, &whole));
    CF_GO(cf_path_join(&path, s->output, "plot.svg"));
    CF_GO(cf_file_write(path, text, n));
    CF_GO(write_png(s, text, n, size));
done:
    markup_fini(&body);
    markup_fini(&whole);
    cf_free(inside);
    cf_free(text);
    cf_free(path);
    return status;
}
