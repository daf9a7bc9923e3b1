/* The log's numbers as TensorBoard's event file, beside log.jsonl: written as the run goes, and
 * from the log's kept lines when a run is resumed, so that no point stands there twice. */
#ifndef CROSSFRAME_TRAIN_EVENTS_H
#define CROSSFRAME_TRAIN_EVENTS_H

#include "crossframe/train.h"

typedef struct cf_events cf_events;
/* Opens FOLDER/events.out.tfevents.SECONDS.HOST.crossframe, fills it from the log (whose last line
 * is whole) and then removes what earlier processes wrote under such a name. */
cf_status cf_events_open(cf_events **out, const char *folder, const char *log);
/* One record, by one system call; nothing is allocated. Numbers that are not finite are left out.
 * Without events (NULL) nothing is done. */
cf_status cf_events_step(cf_events *e, const cf_step_record *r);
cf_status cf_events_eval(cf_events *e, const cf_eval_record *r);
void cf_events_close(cf_events *e); /* NULL is fine */

/* CRC-32C (Castagnoli), RFC 3720 appendix B.4. */
uint32_t cf_crc32c(const void *bytes, size_t n);

#endif
