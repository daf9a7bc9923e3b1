/* Charts as SVG: thinning and smoothing of curves, axes, lines. */
#include "chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LEFT = 60, RIGHT = 14, TOP = 12, BOTTOM = 44, TICKS = 5 };
static const double PLOT_WIDTH = CHART_WIDTH - LEFT - RIGHT,
                    PLOT_HEIGHT = CHART_HEIGHT - TOP - BOTTOM;

/* ---- curves ---------------------------------------------------------------------------------- */

static size_t column_of(double x, double x0, double x1, size_t columns)
{
    double at = x1 > x0 ? (x - x0) / (x1 - x0) * (double)columns : 0;
    return at < 0 ? 0 : at >= (double)columns ? columns - 1 : (size_t)at;
}

/* What is kept of a column: its least and greatest value, in the order they came. */
static size_t keep_column(chart_point *out, size_t kept, const chart_point *least,
                          const chart_point *greatest)
{
    bool swap = least->x > greatest->x;
    out[kept++] = swap ? *greatest : *least;
    if (least->x != greatest->x) out[kept++] = swap ? *least : *greatest;
    return kept;
}

size_t chart_thin(chart_point *out, const chart_point *in, size_t n, double x0, double x1,
                  size_t columns)
{
    size_t kept = 0, column = SIZE_MAX;
    chart_point first = { 0 }, last = { 0 }, least = { 0 }, greatest = { 0 };
    bool any = false;
    if (n <= 2 * columns) columns = SIZE_MAX; /* few: all of them */
    for (size_t i = 0; i < n; i++) {
        chart_point p = in[i];
        if (!isfinite(p.x) || !isfinite(p.y)) continue;
        last = p;
        if (columns == SIZE_MAX) {
            out[kept++] = p;
            continue;
        }
        size_t c = column_of(p.x, x0, x1, columns);
        if (!any) first = p;
        if (any && c == column) {
            if (p.y < least.y) least = p;
            if (p.y > greatest.y) greatest = p;
            continue;
        }
        if (any) kept = keep_column(out, kept, &least, &greatest);
        any = true;
        column = c;
        least = greatest = p;
    }
    if (!any) return kept;
    kept = keep_column(out, kept, &least, &greatest);
    if (out[kept - 1].x < last.x) out[kept++] = last;
    if (out[0].x > first.x) {
        memmove(out + 1, out, kept++ * sizeof *out);
        out[0] = first;
    }
    return kept;
}

typedef struct {
    double x, y;
    size_t n;
} column_sum;

cf_status chart_smooth(chart_point *out, size_t *n_out, const chart_point *in, size_t n, double x0,
                       double x1, size_t columns)
{
    enum { REACH = 6 };
    column_sum *sum;
    CF_TRY(cf_alloc_zero(&sum, columns, sizeof *sum));
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(in[i].x) || !isfinite(in[i].y)) continue;
        column_sum *s = &sum[column_of(in[i].x, x0, x1, columns)];
        s->x += in[i].x;
        s->y += in[i].y;
        s->n++;
    }
    *n_out = 0;
    for (size_t c = 0; c < columns; c++) {
        double weights = 0, y = 0;
        if (sum[c].n == 0) continue;
        for (size_t k = c > REACH ? c - REACH : 0; k < columns && k <= c + REACH; k++) {
            double away = (double)k - (double)c, w = exp(-away * away / 8);
            weights += w * (double)sum[k].n;
            y += w * sum[k].y;
        }
        out[(*n_out)++] = (chart_point){ sum[c].x / (double)sum[c].n, y / weights };
    }
    cf_free(sum);
    return CF_OK;
}

cf_status chart_add(chart *c, const char *name, const chart_line *line)
{
    CF_TRY(cf_grow(&c->lines, &c->capacity, c->n + 1, sizeof *c->lines));
    chart_line added = *line;
    CF_TRY(cf_strdup(&added.name, name));
    c->lines[c->n++] = added;
    return CF_OK;
}

void chart_fini(chart *c)
{
    for (size_t i = 0; i < c->n; i++) {
        cf_free(c->lines[i].name);
        cf_free(c->lines[i].points);
    }
    cf_free(c->lines);
    c->lines = NULL;
    c->n = c->capacity = 0;
}

bool chart_has_points(const chart *c)
{
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < c->lines[i].n; k++)
            if (!c->log || c->lines[i].points[k].y > 0) return true;
    return false;
}

/* ---- axes ------------------------------------------------------------------------------------ */

typedef struct {
    double lo, hi;
    bool log;
} axis;

double chart_tick_step(double span)
{
    double power = pow(10, floor(log10(span / TICKS))), lead = span / TICKS / power;
    return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

static void widen(axis *a, bool zero)
{
    const double widest = 1e6; /* of a logarithmic axis: what is lower leaves the chart */
    if (a->log) {
        if (a->lo < a->hi / widest) a->lo = a->hi / widest;
        double room = a->hi > a->lo ? pow(a->hi / a->lo, 0.04) : 1.2;
        a->lo /= room;
        a->hi *= room;
        return;
    }
    if (zero && a->lo > 0) a->lo = 0;
    if (!(a->hi > a->lo)) {
        double room = a->hi != 0 ? fabs(a->hi) * 0.1 : 1;
        a->hi += room;
        if (!(zero && a->lo == 0)) a->lo -= room;
    }
    double room = (a->hi - a->lo) * 0.04;
    a->hi += room;
    if (!(zero && a->lo == 0)) a->lo -= room;
}

static void find_axes(axis *x, axis *y, const chart *c)
{
    *x = (axis){ INFINITY, -INFINITY, false };
    *y = (axis){ INFINITY, -INFINITY, c->log };
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < c->lines[i].n; k++) {
            chart_point p = c->lines[i].points[k];
            if (c->log && p.y <= 0) continue;
            x->lo = fmin(x->lo, p.x);
            x->hi = fmax(x->hi, p.x);
            y->lo = fmin(y->lo, p.y);
            y->hi = fmax(y->hi, p.y);
        }
    if (!(x->hi >= x->lo)) *x = (axis){ 0, 1, false }, *y = (axis){ 0.1, 1, c->log };
    x->lo = fmin(x->lo, 0);
    if (!(x->hi > x->lo)) x->hi = x->lo + 1;
    widen(y, c->zero);
}

static double share(const axis *a, double v)
{
    return a->log ? log(v / a->lo) / log(a->hi / a->lo) : (v - a->lo) / (a->hi - a->lo);
}
static double at_x(const axis *x, double v) { return LEFT + PLOT_WIDTH * share(x, v); }
static double at_y(const axis *y, double v) { return TOP + PLOT_HEIGHT * (1 - share(y, v)); }

static const char *tick_text(char out[32], double v, double step)
{
    if (fabs(v) < step / 1e6) v = 0;
    if (v != 0 && fabs(v) < 1e-3) {
        int e = (int)floor(log10(fabs(v)) + 1e-9);
        snprintf(out, 32, "%.3ge%d", v / pow(10, e), e);
        return out;
    }
    double big = fabs(v) >= 1e6 || step >= 1e6 ? 1e6 : fabs(v) >= 1e4 ? 1e3 : 1;
    snprintf(out, 32, "%.6g%s", v / big, big == 1e6 ? "M" : big == 1e3 ? "k" : "");
    return out;
}

static void tick_y(markup *m, const axis *y, double v, double step)
{
    char text[32];
    double at = at_y(y, v);
    markup_put(m,
               "<path class=\"grid\" d=\"M%d %.1fh%.0f\"/><text x=\"%d\" y=\"%.1f\" "
               "class=\"end\">%s</text>\n",
               LEFT, at, PLOT_WIDTH, LEFT - 6, at + 4, tick_text(text, v, step));
}

/* Decades; where there are fewer than two, also 2 and 5 times them. */
static void ticks_log(markup *m, const axis *y)
{
    static const double leads[] = { 1, 2, 5 };
    double decades = log10(y->hi / y->lo);
    int every = decades > 8 ? 2 : 1;
    for (int e = (int)floor(log10(y->lo)); e <= (int)floor(log10(y->hi)); e++)
        for (size_t k = 0; k < (decades < 2.2 ? 3 : 1); k++) {
            double v = leads[k] * pow(10, e);
            if (v < y->lo || v > y->hi || (every == 2 && e % 2 != 0)) continue;
            tick_y(m, y, v, v);
        }
}

static void draw_axes(markup *m, const chart *c, const axis *x, const axis *y)
{
    char text[32];
    double step = chart_tick_step(y->hi - y->lo);
    if (y->log && y->hi / y->lo > 3)
        ticks_log(m, y);
    else
        for (double v = ceil(y->lo / step) * step; v <= y->hi; v += step) tick_y(m, y, v, step);
    step = chart_tick_step(x->hi - x->lo);
    for (double v = ceil(x->lo / step) * step; v <= x->hi + step * 1e-6; v += step)
        markup_put(m,
                   "<path class=\"tick\" d=\"M%.1f %.0fv4\"/><text x=\"%.1f\" y=\"%.0f\" "
                   "class=\"mid\">%s</text>\n",
                   at_x(x, v), TOP + PLOT_HEIGHT, at_x(x, v), TOP + PLOT_HEIGHT + 17,
                   tick_text(text, v, step));
    markup_put(m, "<path class=\"axis\" d=\"M%d %dv%.0fh%.0f\"/>", LEFT, TOP, PLOT_HEIGHT,
               PLOT_WIDTH);
    markup_put(m, "<text x=\"%.0f\" y=\"%d\" class=\"mid\">", LEFT + PLOT_WIDTH / 2,
               CHART_HEIGHT - 8);
    markup_text(m, c->x_title);
    markup_raw(m, "</text>\n");
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* A value beyond a logarithmic axis is drawn at its edge, one that has no place there leaves a
 * gap. */
static void draw_line(markup *m, const chart_line *l, const axis *x, const axis *y)
{
    bool pen = false;
    markup_put(m, "<path class=\"line s%zu%s%s\" data-run=\"%zu\" data-name=\"",
               l->colour % CHART_COLOURS, l->faint ? " faint" : "", l->dashed ? " dashed" : "",
               l->colour);
    markup_text(m, l->name);
    if (*l->sub) {
        markup_raw(m, ", ");
        markup_text(m, l->sub);
    }
    markup_raw(m, "\" d=\"");
    for (size_t i = 0; i < l->n; i++) {
        chart_point p = l->points[i];
        bool placed = !y->log || p.y > 0;
        if (placed)
            markup_put(m, "%c%.2f %.2f", pen ? 'L' : 'M', at_x(x, p.x), at_y(y, fmax(p.y, y->lo)));
        pen = placed;
    }
    markup_raw(m, "\"/>\n");
    for (size_t i = 0; l->dots && i < l->n; i++)
        if (!y->log || l->points[i].y > 0)
            markup_put(
                m,
                "<circle class=\"s%zu dot%s\" data-run=\"%zu\" cx=\"%.2f\" cy=\"%.2f\" r=\"3\"/>",
                l->colour % CHART_COLOURS, l->dashed ? " hollow" : "", l->colour,
                at_x(x, l->points[i].x), at_y(y, fmax(l->points[i].y, y->lo)));
    if (l->dots) markup_raw(m, "\n");
}

static void draw_body(markup *m, const chart *c, const axis *x, const axis *y)
{
    draw_axes(m, c, x, y);
    for (int faint = 1; faint >= 0; faint--)
        for (size_t i = 0; i < c->n; i++)
            if (c->lines[i].faint == faint && c->lines[i].n > 0) draw_line(m, &c->lines[i], x, y);
}

/* For those who hear the page: where the lines end. */
static void describe(markup *m, const chart *c)
{
    markup_text(m, c->title);
    if (*c->unit) {
        markup_raw(m, ", ");
        markup_text(m, c->unit);
    }
    markup_raw(m, ", over ");
    markup_text(m, c->x_title);
    for (size_t i = 0; i < c->n; i++) {
        const chart_line *l = &c->lines[i];
        if (l->faint || l->n == 0) continue;
        markup_raw(m, "; ");
        markup_text(m, l->name);
        markup_put(m, " %s%sends at %.6g", l->sub, *l->sub ? " " : "", l->points[l->n - 1].y);
    }
}

void chart_draw(markup *m, const chart *c, const char *suffix)
{
    axis x, y;
    find_axes(&x, &y, c);
    markup_put(m,
               "<svg class=\"chart\" id=\"%s%s\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"",
               c->id, suffix, CHART_WIDTH, CHART_HEIGHT);
    describe(m, c);
    markup_put(m,
               "\" data-box=\"%d %d %.0f %.0f\" data-x=\"%.17g %.17g\" data-y=\"%.17g %.17g\" "
               "data-log=\"%d\">\n",
               LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT, x.lo, x.hi, y.lo, y.hi, y.log);
    draw_body(m, c, &x, &y);
    markup_raw(m, "</svg>\n");
}

static const char picture_style[] =
    "<style>text{font:12px 'DejaVu "
    "Sans',sans-serif;fill:#4a4f57}.title{font-size:14px;fill:#16181d}"
    ".mid{text-anchor:middle}.end{text-anchor:end}.line{fill:none;stroke-width:1.8;stroke-linejoin:"
    "round}"
    ".faint{stroke-width:1;stroke-opacity:.3}.dashed{stroke-dasharray:6 "
    "4}.grid{stroke:#e3e6ea;fill:none}"
    ".axis,.tick{stroke:#9aa1ab;fill:none}.hollow{fill:#fff}"
    ".s0{stroke:#0072b2}.s1{stroke:#d55e00}.s2{stroke:#009e73}.s3{stroke:#b8558f}"
    ".s4{stroke:#a07800}.s5{stroke:#3a9bd4}.s6{stroke:#6a4fb3}.s7{stroke:#5a5f66}"
    ".k0,.s0.dot{fill:#0072b2}.k1,.s1.dot{fill:#d55e00}.k2,.s2.dot{fill:#009e73}.k3,.s3.dot{fill:#"
    "b8558f}"
    ".k4,.s4.dot{fill:#a07800}.k5,.s5.dot{fill:#3a9bd4}.k6,.s6.dot{fill:#6a4fb3}.k7,.s7.dot{fill:#"
    "5a5f66}"
    ".dot.hollow{fill:#fff;stroke-width:1.5}"
    ".right{fill:#0072b2}.wrong{fill:#d55e00}.others{fill:#9aa1ab}.frame{fill:none;stroke:#9aa1ab}"
    ".label{font-size:9px}.count{font-size:8px;text-anchor:middle}.light{fill:#fff}</style>\n";

void chart_picture_begin(markup *m, double width, double height)
{
    markup_put(m,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
               "viewBox=\"0 0 %.0f %.0f\">\n",
               width, height, width, height);
    markup_raw(m, picture_style);
    markup_raw(m, "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n");
}

void chart_picture_end(markup *m) { markup_raw(m, "</svg>\n"); }

/* One name a colour, as many as have room. */
static void draw_names(markup *m, const chart *c)
{
    double at = LEFT;
    for (size_t i = 0; i < c->n; i++) {
        const chart_line *l = &c->lines[i];
        if (i > 0 && strcmp(c->lines[i - 1].name, l->name) == 0) continue;
        size_t shown = strlen(l->name) < 24 ? strlen(l->name) : 24;
        if (at + 8 * (double)shown + 18 > CHART_WIDTH) break;
        markup_put(m,
                   "<rect class=\"k%zu\" x=\"%.0f\" y=\"25\" width=\"10\" height=\"10\"/><text "
                   "x=\"%.0f\" y=\"34\">",
                   l->colour % CHART_COLOURS, at, at + 14);
        markup_text_cut(m, l->name, 24);
        markup_raw(m, "</text>\n");
        at += 8 * (double)shown + 30;
    }
}

void chart_draw_at(markup *m, const chart *c, double left, double top)
{
    axis x, y;
    find_axes(&x, &y, c);
    markup_put(m, "<g transform=\"translate(%.0f,%.0f)\"><text class=\"title\" x=\"%d\" y=\"16\">",
               left, top, LEFT);
    markup_text(m, c->title);
    markup_raw(m, "</text>");
    markup_put(m, "<text class=\"end\" x=\"%d\" y=\"16\">", CHART_WIDTH - RIGHT);
    markup_text(m, *c->note ? c->note : c->unit);
    markup_raw(m, "</text>\n");
    draw_names(m, c);
    markup_put(m, "<g transform=\"translate(0,%d)\">\n", CHART_HEAD);
    draw_body(m, c, &x, &y);
    markup_raw(m, "</g></g>\n");
}
