/* The charts of a report as PNG pictures: the same SVG as on the page, rasterised by librsvg.
 *
 * librsvg writes text with the system's fonts and says nothing where there are none: fontconfig is
 * asked first, and a chart without text refused. */
#include "report_parts.h"

#include "crossframe/data.h"

#include <math.h>
#include <string.h>

#ifdef CF_HAVE_RSVG

#include <cairo.h>
#include <fontconfig/fontconfig.h>
#include <librsvg/rsvg.h>

const char *cf_report_libraries(void) { return "librsvg " LIBRSVG_VERSION; }

static cf_status check_fonts(void)
{
    FcPattern *any = FcPatternCreate();
    FcObjectSet *what = FcObjectSetBuild(FC_FAMILY, (char *)NULL);
    FcFontSet *found = any && what ? FcFontList(NULL, any, what) : NULL;
    int n = found ? found->nfont : 0;
    if (found) FcFontSetDestroy(found);
    if (what) FcObjectSetDestroy(what);
    if (any) FcPatternDestroy(any);
    if (n > 0) return CF_OK;
    return CF_FAIL(CF_EUNSUPPORTED, "report: there is no font here to label pictures with; install "
                                    "one (Debian: fonts-dejavu-core)");
}

static cf_status draw(cairo_surface_t *surface, const char *svg, size_t n, double width,
                      double height)
{
    GError *error = NULL;
    RsvgHandle *handle = rsvg_handle_new_from_data((const guint8 *)svg, n, &error);
    bool drawn = false;
    if (handle) {
        cairo_t *cairo = cairo_create(surface);
        const RsvgRectangle all = { 0, 0, width, height };
        drawn = rsvg_handle_render_document(handle, cairo, &all, &error) &&
                cairo_status(cairo) == CAIRO_STATUS_SUCCESS;
        cairo_destroy(cairo);
        g_object_unref(handle);
    }
    cairo_surface_flush(surface);
    if (drawn) return CF_OK;
    cf_status status = CF_FAIL(CF_EIO, "report: librsvg: %s", error ? error->message : "no memory");
    if (error) g_error_free(error);
    return status;
}

/* cairo's pixels are native 32-bit words 0xXXRRGGBB. */
static cf_status write_pixels(const char *path, cairo_surface_t *surface, size_t width,
                              size_t height)
{
    const unsigned char *from = cairo_image_surface_get_data(surface);
    size_t stride = (size_t)cairo_image_surface_get_stride(surface);
    uint8_t *rgb;
    CF_TRY(cf_alloc(&rgb, width * height, 3));
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            uint32_t word;
            memcpy(&word, from + y * stride + 4 * x, 4);
            uint8_t *to = rgb + 3 * (y * width + x);
            to[0] = (uint8_t)(word >> 16);
            to[1] = (uint8_t)(word >> 8);
            to[2] = (uint8_t)word;
        }
    cf_status status = cf_png_write(path, rgb, height, width);
    cf_free(rgb);
    return status;
}

/* Two pixels a unit; fewer for what would be larger than cairo's pictures. */
static cf_status rasterise(const char *path, const char *svg, size_t n, drawing_size size)
{
    double scale = fmin(2, 16000 / fmax(size.width, size.height));
    int width = (int)ceil(size.width * scale), height = (int)ceil(size.height * scale);
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    cf_status status = CF_OK;
    if (cairo_surface_status(surface) != CAIRO_STATUS_SUCCESS)
        status = CF_FAIL(CF_ENOMEM, "report: no memory for a picture of %d x %d", width, height);
    else
        status = draw(surface, svg, n, width, height);
    if (status == CF_OK) status = write_pixels(path, surface, (size_t)width, (size_t)height);
    cairo_surface_destroy(surface);
    return status;
}

#else

const char *cf_report_libraries(void) { return "without librsvg"; }

static cf_status check_fonts(void)
{
    return CF_FAIL(CF_EUNSUPPORTED,
                   "report: this program was built without librsvg and cannot draw "
                   "pictures (Debian: librsvg2-dev, then build again)");
}

static cf_status rasterise(const char *path, const char *svg, size_t n, drawing_size size)
{
    (void)svg, (void)n, (void)size;
    return CF_FAIL(CF_EUNSUPPORTED, "%s: no librsvg", path);
}

#endif

cf_status report_write_picture(const char *path, const char *svg, size_t n, drawing_size size)
{
    CF_TRY(check_fonts());
    return rasterise(path, svg, n, size);
}

/* ---- pictures -------------------------------------------------------------------------------- */

static const double CHART_TALL = CHART_HEIGHT + CHART_HEAD, GAP = 16;

/* Frames the body, which is taken over, and writes it. */
static cf_status finish(markup *body, drawing_size size, const char *path)
{
    markup whole = { 0 };
    char *text = NULL, *inside = NULL;
    size_t n;
    cf_status status = CF_OK;
    CF_GO(markup_done(&inside, &n, body));
    chart_picture_begin(&whole, size.width, size.height);
    markup_raw(&whole, inside);
    chart_picture_end(&whole);
    CF_GO(markup_done(&text, &n, &whole));
    CF_GO(rasterise(path, text, n, size));
done:
    cf_free(inside);
    cf_free(text);
    return status;
}

static cf_status put_confusion(markup *m, const cf_report *r, size_t i, drawing_size *size)
{
    char *title;
    CF_TRY(
        cf_format(&title, r->n > 1 ? "confusion matrix: %s" : "confusion matrix", r->runs[i].name));
    cf_status status = report_confusion(m, &r->runs[i].test, title, true, size);
    cf_free(title);
    return status;
}

/* Everything on one picture: charts in two columns, then the matrices below each other. */
static cf_status write_sheet(const cf_report *r, const chart_set *set, const char *path)
{
    markup m = { 0 };
    const double column = CHART_WIDTH + GAP;
    drawing_size all = { column + CHART_WIDTH, 0 };
    for (size_t i = 0; i < set->n; i++)
        chart_draw_at(&m, &set->charts[i], column * (double)(i % 2),
                      (CHART_TALL + GAP) * floor((double)i / 2));
    all.height = (CHART_TALL + GAP) * ceil((double)set->n / 2);
    for (size_t i = 0; i < r->n; i++) {
        drawing_size size;
        if (!r->runs[i].has_test) continue;
        markup_put(&m, "<g transform=\"translate(0,%.0f)\">", all.height);
        cf_status status = put_confusion(&m, r, i, &size);
        if (status != CF_OK) {
            markup_fini(&m);
            return status;
        }
        markup_raw(&m, "</g>\n");
        all.height += size.height + GAP;
        all.width = fmax(all.width, size.width);
    }
    return finish(&m, all, path);
}

static cf_status write_chart(const chart *c, const char *folder)
{
    char *path;
    markup m = { 0 };
    CF_TRY(cf_format(&path, "%s/%s.png", folder, c->id));
    chart_draw_at(&m, c, 0, 0);
    cf_status status = finish(&m, (drawing_size){ CHART_WIDTH, CHART_TALL }, path);
    cf_free(path);
    return status;
}

/* confusion.png, or with several runs confusion_1.png ... by their order. */
static cf_status write_confusion(const cf_report *r, size_t i, const char *folder)
{
    char *path = NULL;
    markup m = { 0 };
    drawing_size size;
    cf_status status = CF_OK;
    if (r->n > 1)
        CF_GO(cf_format(&path, "%s/confusion_%zu.png", folder, i + 1));
    else
        CF_GO(cf_format(&path, "%s/confusion.png", folder));
    CF_GO(put_confusion(&m, r, i, &size));
    CF_GO(finish(&m, size, path));
done:
    markup_fini(&m);
    cf_free(path);
    return status;
}

static cf_status write_folder(const cf_report *r, const chart_set *set, const char *folder)
{
    CF_TRY(cf_make_folders(folder));
    for (size_t i = 0; i < set->n; i++) CF_TRY(write_chart(&set->charts[i], folder));
    for (size_t i = 0; i < r->n; i++)
        if (r->runs[i].has_test) CF_TRY(write_confusion(r, i, folder));
    return CF_OK;
}

cf_status cf_report_write_png(const cf_report *r, const char *path)
{
    chart_set set;
    size_t n = strlen(path);
    bool one = n > 4 && strcmp(path + n - 4, ".png") == 0 && !cf_is_folder(path);
    bool tested = false;
    CF_TRY(check_fonts());
    CF_TRY(report_charts(&set, r, false));
    for (size_t i = 0; i < r->n; i++) tested = tested || r->runs[i].has_test;
    cf_status status = CF_OK;
    if (set.n == 0 && !tested)
        status =
            CF_FAIL(CF_EINVAL, "report: there is nothing to draw yet in %s", r->runs[0].folder);
    else
        status = one ? write_sheet(r, &set, path) : write_folder(r, &set, path);
    chart_set_fini(&set);
    return status;
}
