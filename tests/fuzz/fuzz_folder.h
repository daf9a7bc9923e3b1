/* A temporary folder with one file for the targets that read by path: in memory where that can be,
 * made at the first input, removed at the end. */
#ifndef CROSSFRAME_FUZZ_FOLDER_H
#define CROSSFRAME_FUZZ_FOLDER_H

#include "crossframe/support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[40], path[60];

static inline void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

/* `path` is the file from here on. */
static inline void make_folder(const char *file)
{
    if (*folder) return;
    strcpy(folder, cf_is_folder("/dev/shm") ? "/dev/shm/fuzz-XXXXXX" : "/tmp/fuzz-XXXXXX");
    CF_ASSERT(mkdtemp(folder));
    strcat(strcat(strcpy(path, folder), "/"), file);
    atexit(remove_folder);
}

#endif
