/* Zip archives put together in memory, sound or not, for tests of what reads them. */
#ifndef CROSSFRAME_TEST_ARCHIVE_H
#define CROSSFRAME_TEST_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name;
    const void *bytes;
    size_t n;
    bool deflate;
    uint16_t flags, method; /* method: 0 = by `deflate` */
    size_t claim;           /* the unpacked size that the headers tell; 0: the true one */
    uint32_t spoil;         /* xor of the checksum */
} test_record;

/* *n = the archive's size; free with cf_free. */
char *test_archive(size_t *n, const test_record *records, size_t n_records);

#endif
