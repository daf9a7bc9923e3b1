/* What few-shot and zero-shot share, inside the train module. */
#ifndef CROSSFRAME_TRAIN_PROTOCOL_H
#define CROSSFRAME_TRAIN_PROTOCOL_H

#include "crossframe/protocol.h"

/* Appends formatted text to *text (NULL: starts one). */
cf_status protocol_append(char **text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* OUTPUT/name/file, or OUTPUT/file where name is "". */
cf_status protocol_path(char **out, const cf_config *c, const char *name, const char *file);
/* OUTPUT/file = text. */
cf_status protocol_write(const cf_config *c, const char *file, const char *text);

/* Holds OUTPUT/config.yaml against *c. CF_EINVAL names the first key whose value differs; keys that
 * cannot change a result are passed over. Not there yet: written, unless dry_run. */
cf_status protocol_claim(const cf_config *c, bool dry_run);

/* The same of any file; CF_EINVAL ends in `remedy`. The key `besides` (NULL: none) is passed over
 * too. */
cf_status protocol_same_config(const cf_config *c, const char *path, const char *remedy,
                               const char *besides);

/* OUTPUT/r->name/result.json. `of` is what the result is of, as one text: CF_EINVAL when the file
 * is of something else. Not there: r->done stays false. */
cf_status protocol_read_result(cf_protocol_run *r, const cf_config *c, const char *of);
cf_status protocol_write_result(cf_protocol_run *r, const cf_config *c, const char *of);

/* OUTPUT/runs.csv. */
cf_status protocol_write_runs(const cf_protocol *p, const cf_config *c, bool shots);

/* "44.6 ± 5.2", "44.6" for one value, "-" for none. */
const char *protocol_spread_text(char out[48], cf_spread s);

/* The published figures of X-CLIP-B/16 for DATA.DATASET, NULL: none. */
typedef struct {
    const char *dataset;             /* how DATA.DATASET begins, in small letters */
    double few[4];                   /* top-1, K = 2, 4, 8, 16; 0: none */
    double zero, zero_std;           /* top-1 */
    double zero_top5, zero_top5_std; /* 0: not told */
} protocol_paper;
const protocol_paper *protocol_paper_of(const cf_config *c);

#endif
