/* process: programs as children of this one.
 *
 * A child has its own process group, so Ctrl-C on a terminal reaches only the parent, which asks
 * each child once; its input is empty and its output goes to files. On Linux the system kills it
 * when the thread that started it ends, however that ends. */
#ifndef CROSSFRAME_PROCESS_H
#define CROSSFRAME_PROCESS_H

#include "crossframe/support.h"

typedef struct {
    const char *program;            /* path */
    const char *const *arguments;   /* from the program's name on; ends with NULL */
    const char *const *environment; /* "NAME=VALUE"; ends with NULL */
    /* Files that get its lines: appended, or cut to nothing first. The same path for both: `cut` is
     * the output's. */
    const char *output, *errors;
    bool cut_output;
} cf_process_options;

/* *out is the child's id. CF_EIO: a file cannot be opened, or the program not be started. */
cf_status cf_process_start(int *out, const cf_process_options *o);
/* Whether the child has ended, which can be asked until it says yes. Then *exit_status is what it
 * returned, or minus the number of the signal that ended it. */
bool cf_process_ended(int *exit_status, int id);
/* Asks it to stop (SIGTERM). */
void cf_process_ask(int id);
/* Ends it at once and waits until it is gone. */
void cf_process_kill(int id);
/* Sleeps that long, or until a signal comes. */
void cf_sleep(double seconds);
/* A folder that another process holds a lock on. */
bool cf_folder_is_locked(const char *path);

#endif
