/* Charts as SVG: lines over one axis, for a page or as pictures of their own.
 *
 * Units: a chart is CHART_WIDTH x CHART_HEIGHT units of its view box. In a page its colours and
 * sizes come from the page's style, by class: s0 .. s7 a line's colour, and alone from a style of
 * its own. The axes' ranges stand in data-x and data-y, so a script can read values off paths. */
#ifndef CROSSFRAME_TRAIN_CHART_H
#define CROSSFRAME_TRAIN_CHART_H

#include "markup.h"

enum {
    CHART_WIDTH = 560,
    CHART_HEIGHT = 300,
    CHART_HEAD = 34,
    CHART_COLUMNS = 240,
    CHART_COLOURS = 8
};

typedef struct {
    double x, y;
} chart_point;

typedef struct {
    char *name;      /* of the run */
    const char *sub; /* what of it, "" if the chart has one line a run */
    size_t colour;   /* number of the run; its colour is that modulo CHART_COLOURS */
    bool dashed, faint, dots;
    chart_point *points; /* x rises; all finite */
    size_t n;
} chart_line;

typedef struct {
    const char *id, *title, *unit, *x_title;
    const char *note; /* how its lines are told apart; "" for none */
    bool zero;        /* the axis starts at 0 */
    bool log;         /* logarithmic; only positive values are drawn */
    chart_line *lines;
    size_t n, capacity;
} chart;

/* The least and greatest y of each of `columns` equal parts of [x0, x1], in the order they come,
 * and the first and last point; at most 2 * columns + 2 points. NaN and infinite values are passed
 * over. x rises. out may be the input. Returns how many. */
size_t chart_thin(chart_point *out, const chart_point *in, size_t n, double x0, double x1,
                  size_t columns);
/* A smooth line: means of the columns, weighted by a Gaussian over neighbouring columns (standard
 * deviation 2 columns) and by how many points they have. At most `columns` points. */
cf_status chart_smooth(chart_point *out, size_t *n_out, const chart_point *in, size_t n, double x0,
                       double x1, size_t columns);

/* A line of `n` points, taken over. */
cf_status chart_add(chart *c, const char *name, const chart_line *line);
void chart_fini(chart *c);
/* Whether there is anything to draw. */
bool chart_has_points(const chart *c);

/* Between the ticks of an axis that is `span` long: 1, 2 or 5 times a power of ten, for about 5. */
double chart_tick_step(double span);

/* Inside a page. `suffix` makes the id one of its own. */
void chart_draw(markup *m, const chart *c, const char *suffix);
/* The same with title and names, at (x, y) of a picture that chart_picture_begin started. Its size
 * is CHART_WIDTH x (CHART_HEIGHT + CHART_HEAD). */
void chart_draw_at(markup *m, const chart *c, double x, double y);
void chart_picture_begin(markup *m, double width, double height);
void chart_picture_end(markup *m);

#endif
