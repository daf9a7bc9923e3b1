/* Any bytes as a tar: refused with one line, or every file in it lies within it and is found by its
 * name. A second time with the checksums of all blocks made right, without which hardly a mutation
 * gets past a header. */
#include "crossframe/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 512

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static char path[40];

static void remove_file(void) { unlink(path); }

static void put(const uint8_t *bytes, size_t n)
{
    if (!*path) {
        strcpy(path,
               cf_is_folder("/dev/shm") ? "/dev/shm/fuzz-tar-XXXXXX" : "/tmp/fuzz-tar-XXXXXX");
        int fd = mkstemp(path);
        CF_ASSERT(fd >= 0);
        close(fd);
        atexit(remove_file);
    }
    FILE *f = fopen(path, "wb");
    CF_ASSERT(f && fwrite(bytes, 1, n, f) == n);
    fclose(f);
}

static void use(const uint8_t *bytes, size_t n)
{
    cf_tar *t;
    put(bytes, n);
    if (cf_tar_open(&t, path) != CF_OK) {
        CF_ASSERT(strstr(cf_error(), path));
        return;
    }
    for (size_t i = 0; i < cf_tar_size(t); i++) {
        const uint8_t *data, *same = NULL;
        size_t size, same_size = 0;
        const char *name = cf_tar_get(&data, &size, t, i);
        CF_ASSERT(*name && size <= n);
        cf_hash64(data, size);
        CF_ASSERT(cf_tar_find(&same, &same_size, t, name) == CF_OK);
        CF_ASSERT(same == data && same_size == size);
    }
    cf_tar_close(t);
}

static void mend_checksums(uint8_t *bytes, size_t n)
{
    for (size_t at = 0; n - at >= BLOCK; at += BLOCK) {
        uint8_t *h = bytes + at;
        unsigned sum = 0;
        if (memcmp(h + 257, "ustar", 5) != 0) continue;
        memset(h + 148, ' ', 8);
        for (int i = 0; i < BLOCK; i++) sum += h[i];
        snprintf((char *)h + 148, 8, "%06o", sum);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    use(bytes, n);
    uint8_t *mended = n >= BLOCK ? malloc(n) : NULL;
    if (mended) {
        memcpy(mended, bytes, n);
        mend_checksums(mended, n);
        use(mended, n);
        free(mended);
    }
    return 0;
}
