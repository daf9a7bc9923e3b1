/* What train and test print to stderr: the plan, progress, results; and Ctrl-C. */
#ifndef CROSSFRAME_CLI_RUN_PRINT_H
#define CROSSFRAME_CLI_RUN_PRINT_H

#include "cli.h"
#include "plan_print.h"

/* Sums over steps. */
typedef struct {
    int64_t steps;
    double loss, seconds, data_seconds, videos;
} run_sums;

typedef struct {
    bool quiet;      /* warnings, errors and results only */
    bool terminal;   /* one live line instead of one line an interval */
    bool live;       /* the live line is on the screen */
    int print_freq;  /* micro-batches */
    size_t interval; /* last one printed */
    int64_t tested;  /* tenths of the test told */
    double last_s;   /* when the live line was drawn */
    int epochs;
    run_sums before, now, epoch;  /* the last whole interval, this one, this epoch */
    bool advised;                 /* has said what helps against waiting */
    size_t test_first, test_done; /* videos of a test: when first heard of, and now; 0: no test */
    double test_began_s;
    bool only_test;
    const char *const *command; /* the command line, ends with NULL */
    plan_rate rate;
} run_printer;

/* The options of a run that prints through *p and stops at Ctrl-C, which this installs: the first
 * one asks, the second one kills. A full file system or file size limit becomes an error line. */
cf_run_options run_printer_options(run_printer *p, const cf_config *c);
/* The same for a dry run: the plan goes to stdout. */
cf_run_options run_dry_options(void);
/* A whole command: parses, loads the configuration that -c left in *config and sets --opts, calls
 * body. The exit status: 0, 1 after the error line, 2 for a wrong call, 130 when it was stopped. */
typedef cf_status run_body(run_printer *p, cf_config *c, const void *call);
int run_command(const cli_command *command, const char *const *config, run_body *body,
                const void *call, int argc, char **argv);
/* The same from behind the parsing on; frees *args. */
int run_parsed(cli_args *args, const char *config, run_body *body, const void *call, char **argv);
/* Takes the live line off the screen, if it is there. */
void run_printer_end(run_printer *p);
/* The same, and the library's lines are printed without regard to *p from here on. */
void run_printer_forget(run_printer *p);
/* What the library says goes around the live line of *p. */
void run_printer_watch_log(run_printer *p);
/* Callbacks of a run; user is the run_printer (run_live.c). */
void run_printer_stepped(void *user, const cf_run_progress *s);
void run_printer_testing(void *user, size_t done, size_t videos);
/* Ctrl-C asks, the second one kills; a full file system becomes an error line. */
void run_install_signals(void);
bool run_stop_asked(void);
const char *print_time(char out[32], double seconds); /* "3 min 07 s" */
/* "top-1 71.20 %  top-5 93.10 %  mean class 70.95 %  (1530 videos scored, 2 missing; 4 x 3 views of
 * 16 frames" : the caller closes the bracket. */
const char *print_accuracy(char out[256], const cf_eval_record *r);

#endif
