/* Times the tokenizer on one core: labels like those of Kinetics, made of the words of a label list
 * (default configs/labels/kinetics600.csv), with a vocabulary learnt from them or, as argument,
 * CLIP's own. CSV on stdout: what, labels, median s on the processor, labels/s. "first" meets each
 * word anew, "again" finds it in the map of words; "repair" adds what asks for the repair step. */
#include "crossframe/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        if ((call) != CF_OK) {                                                                     \
            fprintf(stderr, "bench_tokenizer: %s\n", cf_error());                                  \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum { LABELS = 50000, WORDS = 4096, CONTEXT = 77, RUNS = 5 };

static char *words[WORDS];
static size_t n_words;

static void read_words(const char *path)
{
    char *text;
    size_t n;
    CHECK(cf_file_read(&text, &n, path));
    for (char *word = strtok(text, ", \r\n"); word; word = strtok(NULL, ", \r\n"))
        if (n_words < WORDS && !strspn(word, "0123456789")) words[n_words++] = word;
    if (n_words == 0) CHECK(CF_FAIL(CF_EFORMAT, "%s: no words", path));
}

/* Two to five words; `end` behind each label. */
static char **make_labels(const char *end)
{
    char **labels;
    CHECK(cf_alloc(&labels, LABELS, sizeof *labels));
    for (size_t i = 0; i < LABELS; i++) {
        cf_rng r = cf_rng_make(1, CF_RNG_TEST, 0, i);
        char label[512] = "";
        for (uint32_t k = 2 + cf_rng_below(&r, 4); k > 0; k--) {
            strncat(label, words[cf_rng_below(&r, (uint32_t)n_words)], 80);
            strcat(label, k > 1 ? " " : end);
        }
        CHECK(cf_strdup(&labels[i], label));
    }
    return labels;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* fresh: a tokenizer that has seen no word, opened outside of the time. */
static void measure(const char *what, const char *bpe, char **labels, bool fresh)
{
    static int32_t table[LABELS * CONTEXT];
    double seconds[RUNS];
    cf_tokenizer *t = NULL;
    for (int run = fresh ? 0 : -1; run < RUNS; run++) {
        if (fresh || !t) {
            cf_tokenizer_free(t);
            CHECK(cf_tokenizer_open(&t, bpe));
        }
        clock_t start = clock();
        CHECK(cf_tokenize_table(table, t, (const char *const *)labels, LABELS, CONTEXT));
        if (run >= 0) seconds[run] = (double)(clock() - start) / CLOCKS_PER_SEC;
    }
    cf_tokenizer_free(t);
    qsort(seconds, RUNS, sizeof *seconds, compare);
    double median = seconds[RUNS / 2];
    printf("%s,%d,%.6f,%.0f\n", what, (int)LABELS, median, LABELS / median);
}

int main(int argc, char **argv)
{
    char path[] = "/tmp/bench_tokenizer.XXXXXX", *merges = NULL;
    const char *bpe = argc > 1 ? argv[1] : path;
    read_words(argc > 2 ? argv[2] : "configs/labels/kinetics600.csv");
    if (argc < 2) {
        int fd = mkstemp(path);
        if (fd < 0) CHECK(CF_FAIL(CF_EIO, "cannot make %s", path));
        CHECK(cf_bpe_learn(&merges, (const char *const *)words, n_words, 500));
        CHECK(cf_file_write(path, merges, strlen(merges)));
    }
    char **plain = make_labels(""), **repaired = make_labels(" &amp; caf\xc3\xa9");
    printf("what,labels,median s,labels/s\n");
    measure("first", bpe, plain, true);
    measure("again", bpe, plain, false);
    measure("repair", bpe, repaired, false);
    if (argc < 2) remove(path);
    return 0;
}
