/* crossframe tokenize: token ids of texts, one line a text, start and end included.
 *
 *   tokenize --bpe FILE [--context N] [--truncate] [TEXT...]
 *
 * Without a TEXT every line of standard input is one. */
#include "cli.h"

#include "crossframe/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

typedef struct {
    cf_tokenizer *tokenizer;
    int32_t *ids;
    size_t context;
    bool truncate;
} call;

static int print_ids(const call *c, const char *text)
{
    size_t n = 0;
    cf_status status = c->truncate ? cf_tokenize_cut(c->ids, &n, c->context, c->tokenizer, text)
                                   : cf_tokenize(c->ids, &n, c->context, c->tokenizer, text);
    if (status != CF_OK) return cli_failed();
    for (size_t i = 0; i < n; i++) printf("%s%d", i > 0 ? " " : "", c->ids[i]);
    printf("\n");
    return 0;
}

static int print_lines(const call *c)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    int status = 0;
    while (status == 0 && (n = getline(&line, &capacity, stdin)) >= 0) {
        if (n > 0 && line[n - 1] == '\n') line[n - 1] = 0;
        status = print_ids(c, line);
    }
    free(line);
    return status;
}

int cmd_tokenize(int argc, char **argv)
{
    const char *bpe = NULL;
    int64_t context = 77;
    bool truncate = false;
    const cli_option options[] = {
        { "bpe", 0, CLI_TEXT, &bpe, "FILE",
          "bpe_simple_vocab_16e6.txt.gz, merges.txt, vocab.json or tokenizer.json", 0, 0 },
        { "context", 0, CLI_SIZE, &context, "N", "most tokens of a text (77)", 2, 1e6 },
        { "truncate", 0, CLI_FLAG, &truncate, NULL, "cuts a longer text, keeping the end token", 0,
          0 },
    };
    const cli_command command = {
        .name = "tokenize",
        .usage = "--bpe FILE [--context N] [--truncate] [TEXT...]",
        .summary = "prints the token ids of each text, start and end included, one line a text",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .most = SIZE_MAX,
        .notes = "Without a TEXT every line of standard input is one.\n\n"
                 "Text is cleaned as CLIP does it: HTML references, white space, lower case, NFC, "
                 "straight quotes,\nligatures, width. Wrongly decoded UTF-8 is not repaired.",
    };
    cli_args args;
    int status = 0;
    if (!cli_parse(&args, &status, &command, argc, argv)) return status;
    call c = { .context = (size_t)context, .truncate = truncate };
    if (bpe == NULL)
        status = cli_misused("tokenize", "--bpe FILE is missing");
    else if (cf_tokenizer_open(&c.tokenizer, bpe) != CF_OK ||
             cf_alloc(&c.ids, c.context, sizeof *c.ids) != CF_OK)
        status = cli_failed();
    for (size_t i = 0; status == 0 && i < args.n_positional; i++)
        status = print_ids(&c, args.positional[i]);
    if (status == 0 && args.n_positional == 0) status = print_lines(&c);
    cf_tokenizer_free(c.tokenizer);
    cf_free(c.ids);
    cli_args_free(&args);
    return status;
}
