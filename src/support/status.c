/* status: the thread's error line, and the abort of a failed assertion. */
#include "crossframe/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_SIZE = 8192 }; /* all names of a model in one line */

static _Thread_local char error_line[LINE_SIZE];

/* A path or a key may hold anything; the promise is one line. A cut line ends in "...". */
static void store(char *text, int length)
{
    for (char *c = text; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) *c = ' ';
    }
    if (length >= LINE_SIZE) memcpy(text + LINE_SIZE - 4, "...", 4);
    memcpy(error_line, text, strlen(text) + 1);
}

/* Both format aside first: an argument may be cf_error() itself. */
cf_status cf_fail(cf_status code, const char *format, ...)
{
    char text[LINE_SIZE];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    store(text, length);
    return code;
}

cf_status cf_fail_context(cf_status code, const char *format, ...)
{
    char context[LINE_SIZE], text[LINE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    size_t n = strlen(context);
    memcpy(text, context, n + 1);
    int more = snprintf(text + n, sizeof text - n, ": %s", error_line);
    store(text, (int)n + more);
    return code;
}

const char *cf_error(void) { return error_line; }

_Noreturn void cf_assert_failed(const char *expression, const char *file, int line)
{
    dprintf(STDERR_FILENO, "crossframe: internal error: %s (%s:%d)\n", expression, file, line);
    abort();
}
