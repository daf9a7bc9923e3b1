/* report: what runs have done, as one HTML page, pictures and tables.
 *
 * Design
 *  - The input is the folders that `train` writes (docs/runs.md). Only log.jsonl must be there: a
 *    field or file that an older run lacks, or that is damaged, is left out and told on the page.
 *    A run may be going on meanwhile: its half-written last line is not read.
 *  - The page stands by itself: styles, script, curves (SVG) and pictures are inside, nothing is
 *    fetched. It reads without the script, which only adds values under the pointer. Whatever comes
 *    from a run (names, classes, paths) is escaped. It is well-formed XML too, so tests can hold
 *    it.
 *  - One drawing code: the charts are written as SVG; the PNG pictures are these, rasterised by
 *    librsvg where the build has it.
 *  - A curve is cut into columns of the chart; of each its least and greatest value are drawn, so
 *    the page's size does not depend on the number of steps and no peak is lost. */
#ifndef CROSSFRAME_REPORT_H
#define CROSSFRAME_REPORT_H

#include "crossframe/support.h"

typedef struct cf_report cf_report;

/* Reads the runs. CF_ENOTFOUND: a folder without log.jsonl; CF_EFORMAT: that is no run's log. What
 * else cannot be read is told on the page and as a warning. */
cf_status cf_report_read(cf_report **out, const char *const *folders, size_t n);
void cf_report_free(cf_report *r); /* NULL is fine */

/* The page, fresh in *out (cf_free). Reads frames of mistaken videos from the test data that the
 * runs' configurations name, relative paths from here. */
cf_status cf_report_page(char **out, size_t *n, const cf_report *r);
cf_status cf_report_write_page(const cf_report *r, const char *path);

/* The final table: an array of one object a run, unknown values null; fresh in *out (cf_free). */
cf_status cf_report_json(char **out, const cf_report *r);
/* All steps and tests of all runs, not thinned: a header, then a row each; unknown values empty. */
cf_status cf_report_write_csv(const cf_report *r, const char *path);

/* path *.png: all charts on one picture; otherwise a folder, made if missing, that gets one picture
 * a chart: loss.png, accuracy.png, ... CF_EUNSUPPORTED: the build has no librsvg, or there are no
 * fonts to write with. */
cf_status cf_report_write_png(const cf_report *r, const char *path);
const char *cf_report_libraries(void); /* "librsvg 2.54.7" or "without librsvg" */

#endif
