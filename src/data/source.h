/* Where a dataset's videos come from, inside the data module.
 *
 * Design
 *  - A source is one or several packs (source_packs.c), a folder of video files and of folders of
 *    pictures (source_folder.c), or a tar of them (source_tar.c). A dataset finds its videos in it
 *    by name once, when it is opened, and knows them by number afterwards.
 *  - Frames are read through readers, one a thread, which share nothing that changes: no lock, no
 *    position in a file. A reader holds one video open at most, so thousands of files cost no
 *    handles.
 *  - source_find.c tells from a path which kind of source it is. */
#ifndef CROSSFRAME_DATA_SOURCE_H
#define CROSSFRAME_DATA_SOURCE_H

#include "crossframe/data.h"

typedef struct {
    /* video[i] = the number by which readers know name[i], or -1: the source does not hold it. */
    cf_status (*find)(int64_t *video, const void *data, const char *const *name, size_t n);
    void (*close)(void *data);
    cf_status (*reader_new)(void **out, const void *data);
    void (*reader_free)(void *reader); /* NULL is fine */
    /* Turns to a video. *n_frames comes as what is known of its number of frames, 0 = nothing, and
     * becomes the number itself. */
    cf_status (*open)(int64_t *n_frames, void *reader, int64_t video, const char *name);
    /* As cf_media_read, of the open video. */
    cf_status (*read)(void *reader, const int64_t *frame, size_t n, cf_media_fn *fn, void *user);
} source_kind;

typedef struct {
    const source_kind *kind; /* NULL: not open */
    void *data;
    char *what;                       /* for messages: "PATH", "PATH (4 packs)", "folder PATH" */
    const struct source_packs *packs; /* data, if they are packs */
} source;

/* What DATA.ROOT names. first_name: of a list; in a folder that holds packs too, it tells whether
 * the list is about the folder's files. */
cf_status source_open(source *out, const char *root, const char *first_name);
void source_close(source *s);

/* ---- source_packs.c -------------------------------------------------------------------------- */

typedef struct source_packs {
    cf_pack **pack;
    size_t n_packs;
    size_t *first; /* [n_packs + 1] number of each pack's first video */
} source_packs;
/* CF_EINVAL: two packs whose classes are not the same. */
cf_status source_packs_open(source *out, const char *what, char *const *path, size_t n);
size_t source_packs_n_videos(const source_packs *s);
cf_pack_video source_packs_video(const source_packs *s, int64_t video);
/* All videos of the split in all packs; fresh *videos. CF_ENOTFOUND: no pack has it. */
cf_status source_packs_split(int64_t **videos, size_t *n, const source_packs *s, const char *name);

/* ---- source_media.c: readers of what is one cf_media a video --------------------------------- */

typedef struct {
    const void *data; /* the source's */
    cf_media *media;  /* the open video, or NULL */
} media_reader;
cf_status media_reader_new(void **out, const void *data);
void media_reader_free(void *reader);
/* Closes the video that is open; before the next. */
void media_reader_close(media_reader *r);
cf_status media_reader_count(int64_t *n_frames, const media_reader *r);
cf_status media_reader_read(void *reader, const int64_t *frame, size_t n, cf_media_fn *fn,
                            void *user);

/* ---- source_folder.c ------------------------------------------------------------------------- */

cf_status source_folder_open(source *out, const char *path);

/* ---- source_tar.c ---------------------------------------------------------------------------- */

cf_status source_tar_open(source *out, const char *path);

/* ---- source_find.c --------------------------------------------------------------------------- */

/* The packs that a path names: a pack; "a.h5,b.h5"; a pattern; a folder with packs; a text file of
 * paths to packs, one a line, from its own folder. *n = 0: it names none. Free both levels. */
cf_status source_pack_paths(char ***paths, size_t *n, const char *path);
void source_paths_free(char **paths, size_t n);

#endif
