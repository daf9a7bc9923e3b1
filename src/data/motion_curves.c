/* Training curves of the motion report as one self-contained SVG: the loss over optimiser steps on
 * the left, top-1 of the tests on the right, a line a run.
 *
 * Read from log.jsonl (design.md): lines of kind "step" with a loss, of kind "eval" with top1 in
 * percent. A test stands at the step it was made after. Losses are averaged over runs of steps, so
 * that a line has at most POINTS points. Values that are not finite are left out. */
#include "motion_parts.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    POINTS = 150,
    WIDTH = 980,
    HEIGHT = 360,
    LEFT = 60,
    TOP = 40,
    PANEL = 390,
    TALL = 260,
    APART = 490
};
static const char *const colours[] = { "#1f6fb4", "#d9691e", "#2c8f3e", "#a03c9c", "#7a5c3a" };

typedef struct {
    double *x, *y;
    size_t n, capacity;
} curve;

typedef struct {
    curve loss, top1;
    double steps;
} run_curves;

typedef struct {
    char *s;
    size_t n, capacity;
} text;

static cf_status curve_put(curve *c, double x, double y)
{
    if (!isfinite(y)) return CF_OK;
    if (c->n == c->capacity) {
        size_t capacity = 2 * c->capacity + 256;
        CF_TRY(cf_realloc(&c->x, capacity, sizeof *c->x));
        CF_TRY(cf_realloc(&c->y, capacity, sizeof *c->y));
        c->capacity = capacity;
    }
    c->x[c->n] = x;
    c->y[c->n++] = y;
    return CF_OK;
}

static cf_status text_put(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static cf_status text_put(text *t, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    size_t length = n < (int)sizeof line ? (size_t)n : sizeof line - 1;
    if (t->capacity - t->n < length + 1) {
        size_t capacity = 2 * t->capacity + 4096;
        CF_TRY(cf_realloc(&t->s, capacity, 1));
        t->capacity = capacity;
    }
    memcpy(t->s + t->n, line, length + 1);
    t->n += length;
    return CF_OK;
}

static cf_status read_line(run_curves *out, const char *line, size_t n)
{
    cJSON *o = cJSON_ParseWithLength(line, n);
    const char *kind = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "kind"));
    const cJSON *loss = cJSON_GetObjectItemCaseSensitive(o, "loss");
    const cJSON *top1 = cJSON_GetObjectItemCaseSensitive(o, "top1");
    cf_status status = CF_OK;
    if (o == NULL || kind == NULL)
        status = CF_FAIL(CF_EFORMAT, "not a JSON object with \"kind\"");
    else if (strcmp(kind, "step") == 0 && cJSON_IsNumber(loss))
        status = curve_put(&out->loss, ++out->steps, loss->valuedouble);
    else if (strcmp(kind, "eval") == 0 && cJSON_IsNumber(top1))
        status = curve_put(&out->top1, out->steps, top1->valuedouble);
    cJSON_Delete(o);
    return status;
}

/* Averages neighbours until at most POINTS are left. */
static void thin_out(curve *c)
{
    size_t each = (c->n + POINTS - 1) / POINTS, kept = 0;
    for (size_t i = 0; each > 1 && i < c->n; i += each) {
        size_t n = c->n - i < each ? c->n - i : each;
        double x = 0, y = 0;
        for (size_t k = i; k < i + n; k++) {
            x += c->x[k] / (double)n;
            y += c->y[k] / (double)n;
        }
        c->x[kept] = x;
        c->y[kept++] = y;
    }
    if (each > 1) c->n = kept;
}

static cf_status read_log(run_curves *out, const char *path)
{
    char *bytes = NULL;
    size_t n = 0, number = 1;
    cf_status status = CF_OK;
    CF_TRY(cf_file_read(&bytes, &n, path));
    for (const char *at = bytes, *end = bytes + n; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop != NULL ? stop : end) - at);
        if (length > 0 && (status = read_line(out, at, length)) != CF_OK) {
            cf_fail_context(status, "%s: line %zu", path, number);
            goto done;
        }
        at += length + 1;
    }
    thin_out(&out->loss);
done:
    cf_free(bytes);
    return status;
}

typedef struct {
    double left, x_max, y_max;
    const char *title;
} panel;

/* 1, 2 or 5 times a power of ten, about a fifth of v. */
static double round_step(double v)
{
    double power = pow(10, floor(log10(v / 5))), lead = v / 5 / power;
    return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

static double place_y(const panel *p, double y) { return TOP + TALL * (1 - y / p->y_max); }

static cf_status draw_axes(text *t, const panel *p)
{
    CF_TRY(text_put(t, "<text x=\"%g\" y=\"%d\" font-size=\"15\">%s</text>\n", p->left, TOP - 14,
                    p->title));
    for (double y = 0, step = round_step(p->y_max); y <= p->y_max * 1.0001; y += step) {
        CF_TRY(text_put(t, "<path d=\"M%g %.1fh%d\" stroke=\"#ddd\"/>", p->left, place_y(p, y),
                        PANEL));
        CF_TRY(text_put(t, "<text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", p->left - 6,
                        place_y(p, y) + 4, y));
    }
    for (double x = 0, step = round_step(p->x_max); x <= p->x_max * 1.0001; x += step)
        CF_TRY(text_put(t, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
                        p->left + PANEL * x / p->x_max, TOP + TALL + 18, x));
    return text_put(t, "<text x=\"%g\" y=\"%d\" text-anchor=\"middle\">optimiser steps</text>\n",
                    p->left + PANEL / 2.0, TOP + TALL + 36);
}

static cf_status draw_curve(text *t, const panel *p, const curve *c, const char *colour, bool dots)
{
    CF_TRY(text_put(t, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\" d=\"", colour));
    for (size_t i = 0; i < c->n; i++)
        CF_TRY(text_put(t, "%c%.1f %.1f", i == 0 ? 'M' : 'L', p->left + PANEL * c->x[i] / p->x_max,
                        place_y(p, c->y[i])));
    CF_TRY(text_put(t, "\"/>\n"));
    for (size_t i = 0; dots && i < c->n; i++)
        CF_TRY(text_put(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\" fill=\"%s\"/>\n",
                        p->left + PANEL * c->x[i] / p->x_max, place_y(p, c->y[i]), colour));
    return CF_OK;
}

static double largest(const double *v, size_t n, double most)
{
    for (size_t i = 0; i < n; i++) most = fmax(most, v[i]);
    return most;
}

/* Names come from the command line: keep what XML would read as markup out. */
static cf_status put_name(text *t, const char *name)
{
    for (; *name != 0; name++)
        CF_TRY(text_put(t, "%c", strchr("<>&\"", *name) != NULL ? '_' : *name));
    return CF_OK;
}

static cf_status draw_svg(text *t, const cf_motion_run *runs, const run_curves *c, size_t n)
{
    panel loss = { LEFT, 1, 1e-3, "training loss" },
          top1 = { LEFT + APART, 1, 100, "top-1 of the test, %" };
    for (size_t i = 0; i < n; i++) {
        loss.x_max = fmax(loss.x_max, c[i].steps);
        loss.y_max = largest(c[i].loss.y, c[i].loss.n, loss.y_max);
    }
    top1.x_max = loss.x_max;
    CF_TRY(text_put(t,
                    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
                    "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n"
                    "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
                    WIDTH, HEIGHT, WIDTH, HEIGHT));
    CF_TRY(draw_axes(t, &loss));
    CF_TRY(draw_axes(t, &top1));
    for (size_t i = 0, shown = 0; i < n; i++) {
        const char *colour = colours[shown % (sizeof colours / sizeof *colours)];
        if (runs[i].log_path == NULL) continue;
        CF_TRY(draw_curve(t, &loss, &c[i].loss, colour, false));
        CF_TRY(draw_curve(t, &top1, &c[i].top1, colour, true));
        CF_TRY(text_put(t, "<text x=\"%zu\" y=\"%d\" fill=\"%s\" font-weight=\"bold\">",
                        LEFT + 150 * shown, HEIGHT - 8, colour));
        CF_TRY(put_name(t, runs[i].name));
        CF_TRY(text_put(t, "</text>\n"));
        shown++;
    }
    return text_put(t, "</svg>\n");
}

cf_status motion_curves_write(const char *path, const cf_motion_run *runs, size_t n_runs)
{
    run_curves *c = NULL;
    text t = { 0 };
    cf_status status = CF_OK;
    CF_GO(cf_alloc_zero(&c, n_runs + 1, sizeof *c));
    for (size_t i = 0; i < n_runs; i++)
        if (runs[i].log_path != NULL) CF_GO(read_log(&c[i], runs[i].log_path));
    CF_GO(draw_svg(&t, runs, c, n_runs));
    CF_GO(cf_file_write(path, t.s, t.n));
done:
    for (size_t i = 0; c != NULL && i < n_runs; i++) {
        cf_free(c[i].loss.x);
        cf_free(c[i].loss.y);
        cf_free(c[i].top1.x);
        cf_free(c[i].top1.y);
    }
    cf_free(c);
    cf_free(t.s);
    return status;
}
