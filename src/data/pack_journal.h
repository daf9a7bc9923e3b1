/* pack_journal, inside the data module: what of an interrupted pack is done. */
#ifndef CF_DATA_PACK_JOURNAL_H
#define CF_DATA_PACK_JOURNAL_H

#include "crossframe/data.h"

typedef enum {
    PACK_VIDEO,   /* the next video of the list is in the data file */
    PACK_PROBLEM, /* it is left out */
    PACK_SHARD,   /* the current shard's file is complete under its temporary name */
} pack_record_kind;

typedef struct {
    pack_record_kind kind;
    const char *why; /* PROBLEM */
    /* VIDEO */
    float fps;
    int32_t height, width, source_frames;
    uint32_t n_frames;
    const uint32_t *size;  /* [n_frames] bytes of each */
    const int32_t *source; /* [n_frames]; NULL: 0, 1, 2, ... */
} pack_record;

typedef struct pack_journal pack_journal;
/* What the record holds is borrowed for the call. */
typedef cf_status pack_replay(void *user, const pack_record *r);

/* Opens or makes the journal at `path` and hands over the records in it up to the first that is not
 * whole. `job` says line by line what is done, "NAME VALUE": a journal of another job is CF_EINVAL
 * with the first line that differs. fresh: begins anew whatever is there. CF_EIO: another process
 * has it open. */
cf_status pack_journal_open(pack_journal **out, const char *path, const char *job, bool fresh,
                            pack_replay *replay, void *user);
cf_status pack_journal_add(pack_journal *j, const pack_record *r); /* in memory */
bool pack_journal_pending(const pack_journal *j);                  /* added since the last sync */
cf_status pack_journal_sync(pack_journal *j);                      /* to the disk */
void pack_journal_close(pack_journal *j);                          /* NULL is fine */

#endif
