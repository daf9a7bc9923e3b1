/* Charts: how curves are thinned and smoothed, what is drawn of odd values. */
#include "train/chart.h"
#include "xml.h"

static void thinning_keeps_extremes(void **state)
{
    (void)state;
    enum { N = 10007, COLUMNS = 50 };
    static chart_point in[N], out[N];
    for (size_t i = 0; i < N; i++) in[i] = (chart_point){ (double)i, sin((double)i * 0.01) };
    in[777].y = 50;
    in[5001].y = -60;
    in[3].y = NAN;
    in[4].y = INFINITY;
    size_t n = chart_thin(out, in, N, 0, N - 1, COLUMNS);
    assert_true(n <= 2 * COLUMNS + 2 && n > COLUMNS);
    bool peak = false, valley = false;
    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(out[i].y));
        if (i > 0) assert_true(out[i].x > out[i - 1].x);
        peak = peak || (out[i].x == 777 && out[i].y == 50);
        valley = valley || (out[i].x == 5001 && out[i].y == -60);
    }
    assert_true(peak && valley);
    assert_near(out[0].x, 0, 0);
    assert_near(out[n - 1].x, N - 1, 0);
    assert_int_equal(chart_thin(out, in, 10, 0, 9, COLUMNS), 8);   /* few: all that are finite */
    assert_int_equal(chart_thin(in, in, N, 0, N - 1, COLUMNS), n); /* in place */
    assert_int_equal(chart_thin(out, in, 0, 0, 0, COLUMNS), 0);
}

static void smoothing_is_a_mean(void **state)
{
    (void)state;
    enum { N = 5000, COLUMNS = 100 };
    static chart_point in[N], out[N];
    size_t n;
    for (size_t i = 0; i < N; i++)
        in[i] = (chart_point){ (double)i, 3 + (i % 2 ? 1 : -1) * (i % 7 == 0 ? 0 : 1.0) };
    in[10].y = NAN;
    assert_ok(chart_smooth(out, &n, in, N, 0, N - 1, COLUMNS));
    assert_int_equal(n, COLUMNS);
    for (size_t i = 0; i < n; i++) assert_near(out[i].y, 3, 0.05);
    /* Few points far apart stay what they are. */
    for (size_t i = 0; i < 5; i++) in[i] = (chart_point){ (double)i * 20, (double)(i * i) };
    assert_ok(chart_smooth(out, &n, in, 5, 0, 80, COLUMNS));
    assert_int_equal(n, 5);
    for (size_t i = 0; i < n; i++) assert_near(out[i].y, (double)(i * i), 1e-12);
}

/* Ranges a chart must survive: one point, equal values, zeros and negative ones on a logarithm,
 * enormous ones. */
static void charts_of_odd_ranges(void **state)
{
    (void)state;
    static const double values[][3] = {
        { 1, 1, 1 },          { 0, 0, 0 },       { -5, 0, 5 },
        { 1e-300, 1, 1e300 }, { 0, 1e-9, 2e-9 }, { 7, 7, 7.0000001 }
    };
    for (size_t v = 0; v < sizeof values / sizeof *values; v++)
        for (int log = 0; log < 2; log++)
            for (size_t points = 1; points <= 3; points++) {
                chart c = { .id = "x",
                            .title = "a & b",
                            .unit = "<u>",
                            .x_title = "step",
                            .note = "",
                            .log = log };
                chart_line line = { .sub = "", .n = points };
                markup m = { 0 };
                char *text;
                size_t n;
                assert_ok(cf_alloc(&line.points, 3, sizeof *line.points));
                for (size_t i = 0; i < 3; i++)
                    line.points[i] = (chart_point){ (double)i, values[v][i] };
                assert_ok(chart_add(&c, "\"run\" <1>", &line));
                chart_draw(&m, &c, "-step");
                assert_ok(markup_done(&text, &n, &m));
                check_xml(text);
                assert_null(strstr(text, "nan"));
                assert_null(strstr(text, "inf"));
                assert_true(n < 20000);
                cf_free(text);
                chart_picture_begin(&m, CHART_WIDTH, CHART_HEIGHT + CHART_HEAD);
                chart_draw_at(&m, &c, 0, 0);
                chart_picture_end(&m);
                assert_ok(markup_done(&text, &n, &m));
                check_xml(text);
                cf_free(text);
                chart_fini(&c);
            }
}

TESTS(TEST(thinning_keeps_extremes), TEST(smoothing_is_a_mean), TEST(charts_of_odd_ranges))
