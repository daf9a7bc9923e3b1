/* fuzz_main: the main of every fuzz target (tests/fuzz/fuzz_*.c, LLVMFuzzerTestOneInput).
 *
 *   fuzz_X PATH...              runs the target on each file, or each file of a folder; prints TAP
 *   fuzz_X --seconds N PATH...  and then N seconds on random mutations of them
 *
 * The input being run is kept in fuzz_X.input: after a crash it is the reproduction. An input that
 * takes more than ten seconds ends the program. No instrumentation: any compiler will do. */
#include "crossframe/support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { MAX_INPUTS = 4096, MAX_BYTES = 1 << 18, LONGEST_S = 10 };

typedef struct {
    char *bytes;
    size_t n;
} input;

static input inputs[MAX_INPUTS];
static size_t n_inputs;

static int give_up(void)
{
    fprintf(stderr, "%s\n", cf_error());
    return 1;
}

static cf_status add_file(const char *path)
{
    if (n_inputs == MAX_INPUTS) return CF_OK;
    CF_TRY(cf_file_read(&inputs[n_inputs].bytes, &inputs[n_inputs].n, path));
    n_inputs++;
    return CF_OK;
}

static cf_status add_path(const char *path)
{
    if (!cf_is_folder(path)) return add_file(path);
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    cf_status status = CF_OK;
    for (int i = 0; i < n; i++) {
        char *file = NULL;
        if (status == CF_OK && names[i]->d_name[0] != '.' &&
            (status = cf_path_join(&file, path, names[i]->d_name)) == CF_OK)
            status = add_file(file);
        cf_free(file);
        free(names[i]);
    }
    if (n >= 0) free(names);
    return status;
}

/* The target gets an exact copy, so that reading one byte past it is seen. */
static void run_one(int kept, const char *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy) abort();
    if (n) memcpy(copy, bytes, n);
    if (kept >= 0 && (pwrite(kept, copy, n, 0) != (ssize_t)n || ftruncate(kept, (off_t)n) != 0)) {
        perror("cannot keep the input");
        exit(1);
    }
    alarm(LONGEST_S);
    LLVMFuzzerTestOneInput(copy, n);
    alarm(0);
    free(copy);
}

/* One edit of bytes[0..n), which has room for MAX_BYTES; returns the new length. */
static size_t mutate(cf_rng *r, char *bytes, size_t n)
{
    static const uint8_t special[] = { 0, 1, 0x7f, 0x80, 0xff, '\n', '"', '{', ':', '-', '9' };
    size_t at = n ? cf_rng_below(r, (uint32_t)n) : 0;
    size_t length = 1 + cf_rng_below(r, 8);
    if (length > n - at) length = n - at;
    switch (cf_rng_below(r, 7)) {
    case 0: return at; /* cut the end */
    case 1:            /* cut a piece */
        memmove(bytes + at, bytes + at + length, n - at - length);
        return n - length;
    case 2: /* repeat a piece */
        if (n + length > MAX_BYTES) return n;
        memmove(bytes + at + length, bytes + at, n - at);
        return n + length;
    case 3: { /* a piece of another input */
        const input *other = &inputs[cf_rng_below(r, (uint32_t)n_inputs)];
        if (other->n == 0) return n;
        size_t from = cf_rng_below(r, (uint32_t)other->n), more = other->n - from;
        if (more > MAX_BYTES - at) more = MAX_BYTES - at;
        memcpy(bytes + at, other->bytes + from, more);
        return at + more > n ? at + more : n;
    }
    case 4:
        if (n) bytes[at] = (char)(bytes[at] ^ (1 << cf_rng_below(r, 8)));
        return n;
    case 5:
        if (n) bytes[at] = (char)special[cf_rng_below(r, sizeof special)];
        return n;
    default:
        for (size_t i = 0; i < length; i++) bytes[at + i] = (char)cf_rng_u32(r);
        return n;
    }
}

static size_t fuzz(int kept, double seconds)
{
    static char bytes[MAX_BYTES];
    double end = cf_seconds() + seconds;
    size_t runs = 0;
    for (; cf_seconds() < end; runs++) {
        cf_rng r = cf_rng_make(1, CF_RNG_TEST, 0, runs);
        const input *start = &inputs[cf_rng_below(&r, (uint32_t)n_inputs)];
        size_t n = start->n < MAX_BYTES ? start->n : MAX_BYTES;
        memcpy(bytes, start->bytes, n);
        for (uint32_t edits = 1 + cf_rng_below(&r, 6); edits > 0; edits--) n = mutate(&r, bytes, n);
        run_one(kept, bytes, n);
    }
    return runs;
}

int main(int argc, char **argv)
{
    double seconds = 0;
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "--seconds") == 0) seconds = atof(argv[2]), first = 3;
    char *kept_path;
    if (cf_format(&kept_path, "%s.input", argv[0]) != CF_OK) return give_up();
    int kept = open(kept_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    for (int i = first; i < argc; i++) {
        if (cf_file_exists(argv[i]) && add_path(argv[i]) != CF_OK) return give_up();
    }
    if (n_inputs == 0) { /* nothing to start from but the empty input */
        if (cf_strdup(&inputs[0].bytes, "") != CF_OK) return give_up();
        n_inputs = 1;
    }
    printf("1..1\n");
    fflush(stdout);
    for (size_t i = 0; i < n_inputs; i++) run_one(kept, inputs[i].bytes, inputs[i].n);
    size_t runs = fuzz(kept, seconds);
    printf("ok 1 - %s: %zu inputs, %zu mutations\n", argv[0], n_inputs, runs);
    for (size_t i = 0; i < n_inputs; i++) cf_free(inputs[i].bytes);
    close(kept);
    unlink(kept_path);
    cf_free(kept_path);
    return 0;
}
