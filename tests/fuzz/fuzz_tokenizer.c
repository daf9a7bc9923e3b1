/* Fuzz target: a vocabulary up to the first zero byte (none: a small built-in one), then a text.
 * What is accepted must give ids within the vocabulary, start first and end last. */
#include "crossframe/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const char built_in[] = "#version: 0.2\nl o\nlo w</w>\nt h\nth e</w>\n";

static void encode(const cf_tokenizer *t, const uint8_t *bytes, size_t n)
{
    enum { MAX = 4096 };
    static int32_t ids[MAX];
    size_t count = 0, size = cf_tokenizer_vocabulary(t);
    char *text = malloc(n + 1);
    memcpy(text, bytes, n);
    text[n] = 0;
    if (cf_tokenize(ids, &count, MAX, t, text) == CF_OK) {
        if (count < 2 || (size_t)ids[0] != size - 2 || (size_t)ids[count - 1] != size - 1) abort();
        for (size_t i = 0; i < count; i++)
            if (ids[i] < 0 || (size_t)ids[i] >= size) abort();
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const uint8_t *zero = memchr(bytes, 0, n);
    const void *merges = zero ? (const void *)bytes : built_in;
    size_t size = zero ? (size_t)(zero - bytes) : sizeof built_in - 1, skip = zero ? size + 1 : 0;
    char path[64];
    cf_tokenizer *t = NULL;
    int fd = memfd_create("merges", 0);
    if (fd < 0 || write(fd, merges, size) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (cf_tokenizer_open(&t, path) == CF_OK) encode(t, bytes + skip, n - skip);
    cf_tokenizer_free(t);
    close(fd);
    return 0;
}
