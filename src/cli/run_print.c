/* What train and test say on stderr beside their progress (run_live.c): the plan, results,
 * errors. */
#include "run_print.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stop_asked;

static void ask_to_stop(int signal)
{
    (void)signal;
    stop_asked = 1;
}

void run_install_signals(void)
{
    /* SA_RESETHAND: the second signal kills. */
    struct sigaction stop = { .sa_handler = ask_to_stop,
                              .sa_flags = (int)SA_RESETHAND | SA_RESTART };
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    sigemptyset(&stop.sa_mask);
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
}

bool run_stop_asked(void) { return stop_asked != 0; }

/* ---- lines ----------------------------------------------------------------------------------- */

const char *print_time(char out[32], double seconds)
{
    long s = isfinite(seconds) && seconds > 0 ? lround(seconds) : 0;
    if (s >= 3600)
        snprintf(out, 32, "%ld h %02ld min", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(out, 32, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(out, 32, "%ld s", s);
    return out;
}

/* ---- callbacks ------------------------------------------------------------------------------- */

static void planned(void *user, const cf_run_plan *p)
{
    run_printer *printer = user;
    printer->only_test = p->only_test;
    const char *warning = cf_blas_warning();
    plan_rate_start(&printer->rate, p);
    if (!printer->quiet) {
        plan_print(stderr, "", p);
        return;
    }
    if (warning) fprintf(stderr, "warning: %s\n", warning);
    plan_warn(stderr, "", p);
}

const char *print_accuracy(char out[256], const cf_eval_record *r)
{
    size_t n = 0;
    if (r->videos > 0)
        n += (size_t)snprintf(out, 256, "top-1 %.2f %%  top-5 %.2f %%  mean class %.2f %%", r->top1,
                              r->top5, r->mean_class);
    else
        n += (size_t)snprintf(out, 256, "no accuracy: no labelled video was scored");
    n += (size_t)snprintf(out + n, 256 - n, "  (%" PRId64 " videos scored",
                          r->videos + r->unlabelled);
    if (r->unlabelled > 0)
        n += (size_t)snprintf(out + n, 256 - n, ", %" PRId64 " without a label", r->unlabelled);
    if (r->missing > 0)
        n += (size_t)snprintf(out + n, 256 - n, ", %" PRId64 " missing", r->missing);
    if (r->views > 1)
        snprintf(out + n, 256 - n, "; %d x %d views of %d frames", r->clips, r->crops, r->frames);
    else
        snprintf(out + n, 256 - n, "; 1 view of %d frames", r->frames);
    return out;
}

static void tested(void *user, const cf_eval_record *r, double best_top1)
{
    char result[256];
    run_printer *p = user;
    run_printer_end(p);
    fprintf(stderr, "epoch %d/%d  %s", r->epoch + 1, p->epochs, print_accuracy(result, r));
    if (r->views > 1)
        fprintf(stderr, " of the %s weights)\n", r->weights);
    else if (best_top1 >= 0)
        fprintf(stderr, "; best %.2f %%)\n", best_top1);
    else
        fprintf(stderr, ")\n");
}

cf_run_options run_printer_options(run_printer *p, const cf_config *c)
{
    *p = (run_printer){ .command = p->command,
                        .quiet = p->quiet,
                        .epochs = c->train.epochs,
                        .terminal = isatty(STDERR_FILENO) == 1,
                        .print_freq = c->print_freq,
                        .interval = (size_t)-1 };
    run_install_signals();
    run_printer_watch_log(p);
    return (cf_run_options){ .user = p,
                             .planned = planned,
                             .stepped = run_printer_stepped,
                             .testing = run_printer_testing,
                             .tested = tested,
                             .cache = cli_cache(),
                             .share = cli_share(),
                             .command = p->command,
                             .stop = &stop_asked };
}

static void planned_dry(void *user, const cf_run_plan *p)
{
    (void)user;
    plan_print(stdout, "", p);
}

cf_run_options run_dry_options(void)
{
    return (cf_run_options){ .planned = planned_dry, .cache = cli_cache(), .share = cli_share() };
}

int run_parsed(cli_args *args, const char *config, run_body *body, const void *call, char **argv)
{
    cf_config *c;
    run_printer printer = { .command = (const char *const *)argv };
    cf_status status = cf_config_load(&c, config, args->opts, args->n_opts);
    if (status == CF_OK) {
        status = body(&printer, c, call);
        cf_config_free(c);
    }
    cli_args_free(args);
    run_printer_forget(&printer);
    if (status == CF_OK) return 0;
    int failed = cli_failed();
    return status == CF_EINTERRUPTED ? 130 : failed;
}

int run_command(const cli_command *command, const char *const *config, run_body *body,
                const void *call, int argc, char **argv)
{
    cli_args args;
    int exit_status;
    if (!cli_parse(&args, &exit_status, command, argc, argv)) return exit_status;
    if (*config) return run_parsed(&args, *config, body, call, argv);
    cli_args_free(&args);
    return cli_misused(command->name, "-c CONFIG is missing");
}
