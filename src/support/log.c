/* log: hands one formatted line at a time to the caller's callback. */
#include "crossframe/support.h"

#include <stdio.h>

static cf_log_fn *log_fn;
static void *log_user;

void cf_log_set(cf_log_fn *fn, void *user)
{
    log_fn = fn;
    log_user = user;
}

void cf_log(cf_log_level level, const char *format, ...)
{
    if (!log_fn) return;
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    log_fn(log_user, level, line);
}
