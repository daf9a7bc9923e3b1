/* pack_job, inside the data module: the parts of `crossframe pack`.
 *
 *   pack_root.c     where videos come from
 *   pack_entries.c  the lists, or the folders, become entries: the videos in their order
 *   pack_video.c    one entry becomes encoded frames
 *   pack_queue.c    threads do that ahead of the writer, who takes entries in their order
 *   pack_journal.c  remembers what is written
 *   packing.c       the writer: data file, journal, shards, problems */
#ifndef CF_DATA_PACK_JOB_H
#define CF_DATA_PACK_JOB_H

#include "crossframe/packing.h"

/* ---- entries --------------------------------------------------------------------------------- */

typedef enum { PACK_FROM_FOLDER, PACK_FROM_TAR, PACK_FROM_IMAGES } pack_root_kind;

typedef struct {
    pack_root_kind kind;
    const char *path;
    cf_tar *tar;
    struct cf_h5 *h5; /* `images` and `labels` */
} pack_root;

typedef struct {
    const char *name;
    int32_t label, count; /* count -1: unknown */
} pack_entry;

typedef struct {
    const char *name;
    size_t *entry; /* [n], rising as in the list */
    size_t n;
} pack_part;

typedef struct {
    pack_entry *entry;
    size_t n, repeated; /* repeated: lines that name a video again */
    pack_part *part;    /* one for each list that makes a split */
    size_t n_parts;
    const char *const *class_name;
    size_t n_classes;
    void *store; /* owns the names */
} pack_entries;

cf_status pack_root_open(pack_root *r, const char *path);
void pack_root_close(pack_root *r);
bool pack_root_has(const pack_root *r, const char *name);
/* What is there when no list says so, in the order of the names' bytes: a folder's files and
 * folders in its folders, which are the classes; a tar's files, each in the folder that is its
 * class. */
typedef cf_status pack_found(void *user, const char *name, const char *class);
cf_status pack_root_walk(const pack_root *r, pack_found *found, void *user);
cf_status pack_entries_read(pack_entries *e, const pack_root *r, const cf_packing_options *o);
void pack_entries_fini(pack_entries *e);
/* Fresh; free with cf_media_close. *bytes: to be freed after it, may be NULL. */
cf_status pack_root_media(cf_media **out, uint8_t **bytes, const pack_root *r, size_t entry,
                          const char *name);

/* ---- queue ----------------------------------------------------------------------------------- */

/* One video on its way from a thread to the writer. */
typedef struct {
    uint8_t *bytes; /* encoded frames that the writer has not taken yet */
    size_t n_bytes, capacity;
    uint32_t *size; /* [n_frames] of each frame, also of those taken */
    int32_t *source;
    size_t n_frames, frame_capacity;
    int32_t height, width, source_frames;
    float fps;
    bool busy, done;
    cf_status status; /* what became of it, when done */
    char *why;
} pack_slot;

typedef struct pack_queue pack_queue;
/* Threads begin with entry `first`. All borrowed. */
cf_status pack_queue_new(pack_queue **out, const pack_entries *e, const pack_root *r,
                         const cf_packing_options *o, size_t first);
void pack_queue_free(pack_queue *q); /* stops the threads; NULL is fine */
/* Of the entry whose turn it is: waits at most `seconds` for bytes or its end. Bytes that have come
 * are exchanged with *bytes, which is a buffer of *capacity to be used again. *slot is not NULL
 * when it is done and no bytes are left; it is the caller's until pack_queue_next. */
void pack_queue_take(pack_slot **slot, uint8_t **bytes, size_t *n, size_t *capacity, pack_queue *q,
                     double seconds);
void pack_queue_next(pack_queue *q);

/* For pack_video.c: a frame of a slot. Waits while there is too much in memory; CF_EINTERRUPTED:
 * the queue is stopped. */
cf_status pack_queue_put(pack_queue *q, pack_slot *s, const uint8_t *bytes, size_t n,
                         int32_t source);
/* Fills the slot with all of an entry's frames. */
cf_status pack_video_run(pack_queue *q, pack_slot *s, const pack_root *r, size_t index,
                         const pack_entry *e, const cf_packing_options *o, int threads);

#endif
