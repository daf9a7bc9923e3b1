/* What train and test print to stderr: the plan, progress, results; and Ctrl-C. */
#ifndef CROSSFRAME_CLI_RUN_PRINT_H
#define CROSSFRAME_CLI_RUN_PRINT_H

#include "cli.h"
#include "crossframe/train.h"

typedef struct {
    bool terminal;   /* one live line instead of one line an interval */
    bool live;       /* the live line is on the screen */
    int print_freq;  /* micro-batches */
    size_t interval; /* last one printed */
    int64_t tested;  /* tenths of the test told */
    double last_s;   /* when the live line was drawn */
    bool only_test;
    const char *const *command; /* the command line, ends with NULL */
} run_printer;

/* The options of a run that prints through *p and stops at Ctrl-C, which this installs: the first
 * one asks, the second one kills. A full file system or file size limit becomes an error line. */
cf_run_options run_printer_options(run_printer *p, const cf_config *c);
/* A whole command: parses, loads the configuration that -c left in *config and sets --opts, calls
 * body. The exit status: 0, 1 after the error line, 2 for a wrong call, 130 when it was stopped. */
typedef cf_status run_body(run_printer *p, cf_config *c, const void *call);
int run_command(const cli_command *command, const char *const *config, run_body *body,
                const void *call, int argc, char **argv);
/* The same from behind the parsing on; frees *args. */
int run_parsed(cli_args *args, const char *config, run_body *body, const void *call, char **argv);
void run_printer_end(run_printer *p); /* takes the live line off the screen */
/* Ctrl-C asks, the second one kills; a full file system becomes an error line. */
void run_install_signals(void);
bool run_stop_asked(void);
const char *print_time(char out[32], double seconds); /* "3 min 07 s" */
/* "top-1 71.20 %  top-5 93.10 %  mean class 70.95 %  (1530 videos scored, 2 missing; 4 x 3 views of
 * 16 frames" : the caller closes the bracket. */
const char *print_accuracy(char out[256], const cf_eval_record *r);

#endif
