/* Fuzz target: a vocabulary in any form. What is accepted must hold merges of its own symbols, each
 * under its rank, and encode a text. */
#include "data/tokenizer_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int memory_file(char path[64], const void *bytes, size_t n)
{
    int fd = memfd_create("vocabulary", 0);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n) abort();
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static void check(const vocabulary *v)
{
    for (size_t k = 0; k < v->n_merges; k++) {
        const int64_t *m = byte_map_get(&v->merge, v->pair[k], sizeof v->pair[k]);
        if (!m || (size_t)(*m >> 32) != k) abort();
        int64_t joined = *m & INT32_MAX;
        if (joined >= (int64_t)v->n_symbols || (size_t)v->id[joined] < 512 + k) abort();
        for (int side = 0; side < 2; side++)
            if (v->pair[k][side] < 0 || v->pair[k][side] >= (int32_t)v->n_symbols) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char path[64];
    vocabulary v = { 0 };
    cf_tokenizer *t = NULL;
    int fd = memory_file(path, bytes, n);
    cf_status status = vocabulary_read(&v, path);
    if (status == CF_OK) check(&v);
    if (status != CF_OK && !*cf_error()) abort();
    if (cf_tokenizer_open(&t, path) != status) abort();
    if (t) {
        int32_t ids[16];
        size_t count = 0;
        if (cf_tokenizer_hash(t) != vocabulary_hash(&v)) abort();
        if (cf_tokenize_cut(ids, &count, 16, t, "the low lower lowest &amp; caf\xc3\xa9") != CF_OK)
            abort();
    }
    cf_tokenizer_free(t);
    vocabulary_fini(&v);
    close(fd);
    return 0;
}
