/* crossframe tokenize: token ids of texts, one line a text, start and end included.
 *
 *   tokenize --bpe FILE [--context N] [TEXT...]
 *
 * Without a TEXT every line of standard input is one. */
#include "crossframe/data.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

int cmd_tokenize(int argc, char **argv);

static const char help[] =
    "usage: crossframe tokenize --bpe FILE [--context N] [TEXT...]\n"
    "\n"
    "Prints the token ids of each text, start and end included, one line a text.\n"
    "Without a TEXT every line of standard input is one.\n"
    "  --bpe FILE      bpe_simple_vocab_16e6.txt.gz or merges.txt\n"
    "  --context N     most tokens of a text (77)\n";

static const struct option options[] = {
    { "bpe", 1, NULL, 'b' },
    { "context", 1, NULL, 'c' },
    { "help", 0, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

static int failed(void)
{
    fprintf(stderr, "crossframe: %s\n", cf_error());
    return 1;
}

static int print_ids(int32_t *ids, size_t context, const cf_tokenizer *t, const char *text)
{
    size_t n = 0;
    if (cf_tokenize(ids, &n, context, t, text) != CF_OK) return failed();
    for (size_t i = 0; i < n; i++)
        printf("%s%d", i > 0 ? " " : "", ids[i]);
    printf("\n");
    return 0;
}

static int print_lines(int32_t *ids, size_t context, const cf_tokenizer *t)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    int result = 0;
    while (result == 0 && (n = getline(&line, &capacity, stdin)) >= 0) {
        if (n > 0 && line[n - 1] == '\n') line[n - 1] = 0;
        result = print_ids(ids, context, t, line);
    }
    free(line);
    return result;
}

int cmd_tokenize(int argc, char **argv)
{
    const char *bpe = NULL;
    char *stop = NULL;
    long context = 77;
    int id, result = 0;
    optind = 1;
    while ((id = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (id == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (id == '?') return 2;
        if (id == 'b') bpe = optarg;
        if (id == 'c') {
            context = strtol(optarg, &stop, 10);
            if (*stop != 0 || context < 2 || context > 1000000) {
                fprintf(stderr, "crossframe: tokenize: '%s' is no value for --context\n", optarg);
                return 2;
            }
        }
    }
    if (bpe == NULL) {
        fprintf(stderr, "crossframe: tokenize: --bpe FILE is missing (see --help)\n");
        return 2;
    }
    cf_tokenizer *t = NULL;
    int32_t *ids = NULL;
    if (cf_tokenizer_open(&t, bpe) != CF_OK || cf_alloc(&ids, (size_t)context, sizeof *ids) != CF_OK)
        result = failed();
    for (int i = optind; result == 0 && i < argc; i++)
        result = print_ids(ids, (size_t)context, t, argv[i]);
    if (result == 0 && optind == argc) result = print_lines(ids, (size_t)context, t);
    cf_tokenizer_free(t);
    cf_free(ids);
    return result;
}
