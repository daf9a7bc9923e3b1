/* crossframe: the program. Finds the command, prepares the process, maps failure to an exit
 * status.
 *
 * Commands are weak symbols: one that is not linked in is not listed. OpenMP reads its
 * settings before main, so the program may start itself once more with a better one; what the
 * environment already says is left as it is. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#pragma weak cmd_train
#pragma weak cmd_test
#pragma weak cmd_config
#pragma weak cmd_predict
#pragma weak cmd_pack
#pragma weak cmd_convert
#pragma weak cmd_inspect
#pragma weak cmd_tokenize
#pragma weak cmd_splits
#pragma weak cmd_check
#pragma weak cmd_motion
#pragma weak cmd_bench
#pragma weak cmd_browse
#pragma weak cmd_report
#pragma weak cmd_fewshot
#pragma weak cmd_zeroshot
#pragma weak cmd_sweep

typedef struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} command;

static const command commands[] = {
    { "train", cmd_train, "trains, tests after each epoch, keeps the best" },
    { "test", cmd_test, "tests a checkpoint" },
    { "config", cmd_config, "prints what a configuration comes to, or all its keys" },
    { "fewshot", cmd_fewshot, "the few-shot protocol: K videos a class, several seeds, a table" },
    { "zeroshot", cmd_zeroshot, "the zero-shot protocol: one checkpoint, several test sets" },
    { "sweep", cmd_sweep, "a table of settings x seeds: trainings, tests, mean and std, a plot" },
    { "predict", cmd_predict, "scores videos against any labels" },
    { "pack", cmd_pack, "makes a packed dataset of videos" },
    { "splits", cmd_splits, "makes lists of videos from the datasets' own split files" },
    { "check", cmd_check, "looks for what is wrong in lists, packs and label files" },
    { "convert", cmd_convert, "converts weights between formats and names" },
    { "inspect", cmd_inspect, "tells what is in a checkpoint, dataset or configuration" },
    { "tokenize", cmd_tokenize, "prints the token ids of texts" },
    { "motion", cmd_motion, "builds the motion dataset of the demonstration" },
    { "browse", cmd_browse, "draws what the model sees: training clips, or a video's test views" },
    { "report", cmd_report, "makes one HTML page of runs: curves, results, mistakes" },
    { "bench", cmd_bench, "times training, inference and the loader" },
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_commands(FILE *to)
{
    fprintf(to,
            "crossframe COMMAND [options]\n\n"
            "Trains and tests X-CLIP, a video classifier that is told its classes in words.\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (commands[i].run) fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(to, "\n`crossframe COMMAND --help` tells a command's options, "
                "`crossframe --version` the version.\n");
}

static int unknown_command(const char *name)
{
    const char *names[N_COMMANDS];
    size_t n = 0;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (commands[i].run) names[n++] = commands[i].name;
    }
    const char *nearest = cli_nearest(name, names, n);
    if (!nearest) return cli_misused("", "unknown command %s", name);
    return cli_misused("", "unknown command %s; did you mean %s?", name, nearest);
}

/* OpenMP reads only before main that a thread which waits for the others is to sleep soon instead
 * of spinning. 2000 spins are about 20 us, which span the gaps between small operations: a step of
 * the demo alone on two cores takes 31.3 ms with them and 35.2 with half as many. Beside one other
 * busy process they cost 17 % at most, five times as many twice the time, the default more. Where
 * this process cannot start itself again it goes on as it is, only slower. */
static void prepare_openmp(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    if (setenv("GOMP_SPINCOUNT", "2000", 1) == 0) execv("/proc/self/exe", argv);
}

static void print_log(void *user, cf_log_level level, const char *line)
{
    (void)user;
    fprintf(stderr, "%s%s\n", level == CF_LOG_WARNING ? "warning: " : "", line);
}

int main(int argc, char **argv)
{
    setvbuf(stderr, NULL, _IOLBF, 0);
    const char *name = argc > 1 ? argv[1] : "";
    if (!*name) {
        print_commands(stderr);
        return 2;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_commands(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        printf("crossframe %s\n", CF_VERSION);
        return 0;
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (!commands[i].run || strcmp(commands[i].name, name) != 0) continue;
        prepare_openmp(argv);
        cf_log_set(print_log, NULL);
        int status = commands[i].run(argc - 1, argv + 1);
        if (fflush(stdout) != 0 && status == 0) {
            fprintf(stderr, "crossframe: cannot write the output\n");
            status = 1;
        }
        return status;
    }
    return unknown_command(name);
}
