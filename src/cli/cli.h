/* What every subcommand stands on: its options as a table, from which parsing and --help both
 * come.
 *
 * A command declares a cli_command with its table, calls cli_parse first and cli_args_free last,
 * and returns 0 (done), 1 (failed: cli_failed) or 2 (called wrongly: cli_misused). An option's
 * variable keeps what it held when the option is not given, so its start value is the default.
 * Options are long (`--batch-size 4`, `--batch-size=4`, `_` for `-` as the published scripts write
 * them); a letter is allowed for the few that have one. Everything else is positional; after `--`
 * all is. The texts point into argv. */
#ifndef CROSSFRAME_CLI_H
#define CROSSFRAME_CLI_H

#include "crossframe/support.h"

typedef enum {
    CLI_FLAG, /* bool *: true when given */
    CLI_INT,  /* int * */
    CLI_SIZE, /* int64_t * */
    CLI_REAL, /* double * */
    CLI_TEXT, /* const char ** */
    CLI_OPTS, /* KEY VALUE ... and KEY=VALUE ..., as many as follow: cli_args.opts */
} cli_kind;

typedef struct {
    const char *name; /* "batch-size" */
    char letter;      /* 'c' for -c; 0 = none */
    cli_kind kind;
    void *variable;    /* NULL for CLI_OPTS */
    const char *value; /* what --help calls the value: "FILE" */
    const char *help;
    double least, most; /* numbers; both 0: any */
} cli_option;

typedef struct {
    const char *name;    /* "train" */
    const char *usage;   /* what follows the name: "-c CONFIG [options]" */
    const char *summary; /* what it does, ends without a full stop */
    const cli_option *options;
    size_t n_options;
    size_t least, most; /* positional arguments it takes; most SIZE_MAX: any number */
    const char *notes;  /* more lines for --help; NULL = none */
} cli_command;

typedef struct {
    const char **positional, **opts;
    size_t n_positional, n_opts;
} cli_args;

/* False: return *exit_status at once, --help or a complaint has been printed and nothing is to be
 * freed. argv[0] is the command's name. */
bool cli_parse(cli_args *out, int *exit_status, const cli_command *command, int argc, char **argv);
void cli_args_free(cli_args *a);

/* Prints `crossframe: LINE` with the thread's error line; returns 1. */
int cli_failed(void);
/* Prints `crossframe: COMMAND: LINE` and where help is; returns 2. */
int cli_misused(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The word nearest to `word`, NULL if none is near enough to be meant. */
const char *cli_nearest(const char *word, const char *const *words, size_t n);

/* Where scripts/get-weights puts what it downloads: crossframe in XDG_CACHE_HOME or ~/.cache; NULL
 * when neither is set. */
const char *cli_cache(void);

/* Where the shipped configurations and label lists are: PREFIX/share/crossframe of a program in
 * PREFIX/bin, configs of the source tree for one in its build/MODE; NULL: neither is there. */
const char *cli_share(void);

/* ---- commands -------------------------------------------------------------------------------- */

/* One cmd_NAME.c each. main.c finds out at link time which of them are there. */
int cmd_train(int argc, char **argv);
int cmd_test(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_predict(int argc, char **argv);
int cmd_pack(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_splits(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_motion(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_browse(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_fewshot(int argc, char **argv);
int cmd_zeroshot(int argc, char **argv);
int cmd_sweep(int argc, char **argv);

#endif
