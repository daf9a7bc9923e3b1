/* Command lines: parsing by a command's table of options, the help made from it, complaints. */
#include "cli.h"

#include "crossframe/train.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- complaints ------------------------------------------------------------------------------ */

int cli_failed(void)
{
    fflush(stdout);
    fprintf(stderr, "crossframe: %s\n", cf_error());
    return 1;
}

int cli_misused(const char *command, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fflush(stdout);
    fprintf(stderr, "crossframe: %s%s%s (`crossframe %s%s--help` tells how)\n", command,
            *command ? ": " : "", line, command, *command ? " " : "");
    return 2;
}

const char *cli_nearest(const char *word, const char *const *words, size_t n)
{
    const char *nearest = NULL;
    size_t least = strlen(word) / 3 + 2;
    for (size_t i = 0; i < n; i++) {
        size_t d = cf_text_distance(word, words[i]);
        bool starts = strlen(word) >= 3 && strncmp(word, words[i], strlen(word)) == 0;
        if (starts) d = 0;
        if (d < least) least = d, nearest = words[i];
    }
    return nearest;
}

const char *cli_cache(void)
{
    static char path[4096];
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = 0;
    if (base && base[0] == '/') /* the specification: a relative one is to be ignored */
        n = snprintf(path, sizeof path, "%s/crossframe", base);
    else if (home && *home)
        n = snprintf(path, sizeof path, "%s/.cache/crossframe", home);
    return n > 0 && (size_t)n < sizeof path ? path : NULL;
}

const char *cli_share(void)
{
    static char path[4096];
    static const char *const places[] = { "../share/crossframe", "../../configs" };
    char program[2048], labels[sizeof path + 8], real[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return NULL;
    program[n] = 0;
    char *slash = strrchr(program, '/');
    if (!slash) return NULL;
    *slash = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s/%s", program, places[i]);
        if (!realpath(path, real) || strlen(real) >= sizeof path) continue;
        strcpy(path, real);
        snprintf(labels, sizeof labels, "%s/labels", path);
        if (cf_is_folder(labels)) return path;
    }
    return NULL;
}

/* ---- help ------------------------------------------------------------------------------------ */

/* "-c, --config FILE" */
static void option_title(char *out, size_t size, const cli_option *o)
{
    int n = o->letter ? snprintf(out, size, "-%c, ", o->letter) : snprintf(out, size, "    ");
    snprintf(out + n, size - (size_t)n, "--%s%s%s", o->name, o->value ? " " : "",
             o->value ? o->value : "");
}

static void print_help(const cli_command *c)
{
    char title[80];
    size_t width = strlen("    --help");
    for (size_t i = 0; i < c->n_options; i++) {
        option_title(title, sizeof title, &c->options[i]);
        if (strlen(title) > width) width = strlen(title);
    }
    printf("crossframe %s %s\n\n%s.\n\n", c->name, c->usage, c->summary);
    for (size_t i = 0; i < c->n_options; i++) {
        option_title(title, sizeof title, &c->options[i]);
        printf("  %-*s  %s\n", (int)width, title, c->options[i].help);
    }
    printf("  %-*s  prints this\n", (int)width, "    --help");
    if (c->notes) printf("\n%s\n", c->notes);
}

/* ---- parsing --------------------------------------------------------------------------------- */

typedef struct {
    const cli_command *command;
    cli_args *args;
    int argc, at;
    char **argv;
} parser;

static bool same_name(const char *given, size_t n, const char *name)
{
    if (strlen(name) != n) return false;
    for (size_t i = 0; i < n; i++) {
        if (given[i] != name[i] && !(given[i] == '_' && name[i] == '-')) return false;
    }
    return true;
}

static const cli_option *find_option(const cli_command *c, const char *arg)
{
    for (size_t i = 0; i < c->n_options; i++) {
        const cli_option *o = &c->options[i];
        bool is_long = strncmp(arg, "--", 2) == 0;
        if (is_long && same_name(arg + 2, strcspn(arg + 2, "="), o->name)) return o;
        if (!is_long && o->letter == 'c' && strcmp(arg, "-cfg") == 0) return o; /* as published */
        if (!is_long && o->letter && arg[1] == o->letter && arg[2] == 0) return o;
    }
    return NULL;
}

static int unknown_option(const cli_command *c, const char *arg)
{
    char name[64];
    const char *names[64];
    size_t n = 0;
    for (; n < c->n_options && n < 63; n++) names[n] = c->options[n].name;
    names[n++] = "help";
    size_t dashes = strspn(arg, "-");
    snprintf(name, sizeof name, "%.*s", (int)strcspn(arg + dashes, "="), arg + dashes);
    const char *nearest = dashes == 2 ? cli_nearest(name, names, n) : NULL;
    if (nearest) return cli_misused(c->name, "unknown option %s; did you mean --%s?", arg, nearest);
    return cli_misused(c->name, "unknown option %s", arg);
}

static bool read_number(double *out, const char *text, bool whole)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end || errno || !isfinite(value) || strpbrk(text, " xXpP")) return false;
    if (whole && (value != nearbyint(value) || fabs(value) > 9007199254740992.0)) return false;
    *out = value;
    return true;
}

/* 0, or the exit status after a complaint. */
static int store_option(const cli_command *c, const cli_option *o, const char *text)
{
    double value;
    if (o->kind == CLI_TEXT) {
        *(const char **)o->variable = text;
        return 0;
    }
    bool whole = o->kind != CLI_REAL;
    if (!read_number(&value, text, whole))
        return cli_misused(c->name, "--%s takes a %snumber, not '%s'", o->name,
                           whole ? "whole " : "", text);
    bool bounded = o->least != 0 || o->most != 0;
    double least = bounded ? o->least : -INFINITY, most = bounded ? o->most : INFINITY;
    if (o->kind == CLI_INT && !(value >= -2147483647.0 && value <= 2147483647.0)) most = least - 1;
    if (value < least || value > most)
        return bounded ? cli_misused(c->name, "--%s must be from %.10g to %.10g, not %s", o->name,
                                     o->least, o->most, text)
                       : cli_misused(c->name, "--%s %s is too large", o->name, text);
    if (o->kind == CLI_INT) *(int *)o->variable = (int)value;
    if (o->kind == CLI_SIZE) *(int64_t *)o->variable = (int64_t)value;
    if (o->kind == CLI_REAL) *(double *)o->variable = value;
    return 0;
}

/* Takes KEY VALUE pairs and KEY=VALUEs up to the next option. A value may start with a dash. */
static int take_opts(parser *p)
{
    size_t before = p->args->n_opts;
    while (p->at < p->argc && p->argv[p->at][0] != '-') {
        const char *key = p->argv[p->at++];
        p->args->opts[p->args->n_opts++] = key;
        if (strchr(key, '=')) continue;
        if (p->at == p->argc) return cli_misused(p->command->name, "--opts: %s has no value", key);
        p->args->opts[p->args->n_opts++] = p->argv[p->at++];
    }
    if (p->args->n_opts > before) return 0;
    return cli_misused(p->command->name, "--opts takes KEY VALUE ...");
}

static int take_option(parser *p)
{
    const char *arg = p->argv[p->at++];
    const cli_option *o = find_option(p->command, arg);
    if (!o) return unknown_option(p->command, arg);
    const char *equals = strncmp(arg, "--", 2) == 0 ? strchr(arg, '=') : NULL;
    if (o->kind == CLI_FLAG || o->kind == CLI_OPTS) {
        if (equals) return cli_misused(p->command->name, "--%s takes no =VALUE", o->name);
        if (o->kind == CLI_OPTS) return take_opts(p);
        *(bool *)o->variable = true;
        return 0;
    }
    if (!equals && p->at == p->argc)
        return cli_misused(p->command->name, "%s needs %s %s", arg,
                           strchr("AEIOU", o->value[0]) ? "an" : "a", o->value);
    return store_option(p->command, o, equals ? equals + 1 : p->argv[p->at++]);
}

static bool asks_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    }
    return false;
}

static int parse_all(parser *p)
{
    const cli_command *c = p->command;
    bool only_positional = false;
    while (p->at < p->argc) {
        const char *arg = p->argv[p->at];
        if (!only_positional && strcmp(arg, "--") == 0) {
            only_positional = true;
            p->at++;
        } else if (!only_positional && arg[0] == '-' && arg[1] != 0) {
            int status = take_option(p);
            if (status != 0) return status;
        } else {
            p->args->positional[p->args->n_positional++] = arg;
            p->at++;
        }
    }
    size_t n = p->args->n_positional;
    if (n > c->most)
        return cli_misused(c->name, "unexpected argument %s", p->args->positional[c->most]);
    if (n < c->least) return cli_misused(c->name, "usage: crossframe %s %s", c->name, c->usage);
    return 0;
}

bool cli_parse(cli_args *out, int *exit_status, const cli_command *command, int argc, char **argv)
{
    if (asks_help(argc, argv)) {
        print_help(command);
        *exit_status = 0;
        return false;
    }
    cli_args args = { 0 };
    size_t room = (size_t)argc + 1;
    if (cf_alloc(&args.positional, 2 * room, sizeof *args.positional) != CF_OK) {
        *exit_status = cli_failed();
        return false;
    }
    args.opts = args.positional + room;
    parser p = { .command = command, .args = &args, .argc = argc, .at = 1, .argv = argv };
    *exit_status = parse_all(&p);
    if (*exit_status != 0) {
        cli_args_free(&args);
        return false;
    }
    *out = args;
    return true;
}

void cli_args_free(cli_args *a)
{
    cf_free(a->positional);
    *a = (cli_args){ 0 };
}
