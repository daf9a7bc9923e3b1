/* A small zip writer that can be told to lie. */
#include "archive.h"

#include <zlib.h>

#include "../test.h"

typedef struct {
    char *bytes;
    size_t n, room;
} buffer;

static void put(buffer *b, const void *bytes, size_t n)
{
    if (b->n + n > b->room) {
        b->room = 2 * (b->n + n);
        assert_ok(cf_realloc(&b->bytes, b->room, 1));
    }
    if (n > 0) memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}

static void put16(buffer *b, size_t value) { put(b, &(uint16_t){ (uint16_t)value }, 2); }
static void put32(buffer *b, size_t value) { put(b, &(uint32_t){ (uint32_t)value }, 4); }

/* The part that local and central header share. */
static void put_header(buffer *b, const test_record *r, size_t packed)
{
    uint32_t crc = (uint32_t)crc32_z(0, r->bytes, r->n) ^ r->spoil;
    put16(b, 20);
    put16(b, r->flags);
    put16(b, r->method ? r->method : r->deflate ? 8 : 0);
    put32(b, 0x00210000); /* 1 January 1980 */
    put32(b, crc);
    put32(b, packed);
    put32(b, r->claim ? r->claim : r->n);
    put16(b, strlen(r->name));
    put16(b, 0);
}

static size_t put_data(buffer *b, const test_record *r)
{
    if (!r->deflate) {
        put(b, r->bytes, r->n);
        return r->n;
    }
    z_stream z = { .next_in = (unsigned char *)r->bytes, .avail_in = (unsigned)r->n };
    unsigned char out[4096];
    size_t before = b->n;
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    do {
        z.next_out = out;
        z.avail_out = sizeof out;
        deflate(&z, Z_FINISH);
        put(b, out, sizeof out - z.avail_out);
    } while (z.avail_out == 0);
    deflateEnd(&z);
    return b->n - before;
}

char *test_archive(size_t *n, const test_record *records, size_t n_records)
{
    buffer b = { 0 }, data = { 0 }, central = { 0 };
    for (size_t i = 0; i < n_records; i++) {
        const test_record *r = &records[i];
        size_t begin = b.n;
        data.n = 0;
        size_t packed = put_data(&data, r);
        put(&b, "PK\3\4", 4);
        put_header(&b, r, packed);
        put(&b, r->name, strlen(r->name));
        put(&b, data.bytes, packed);
        put(&central, "PK\1\2\24\0", 6);
        put_header(&central, r, packed);
        for (int k = 0; k < 10; k++) put(&central, "", 1);
        put32(&central, begin);
        put(&central, r->name, strlen(r->name));
    }
    size_t begin = b.n;
    put(&b, central.bytes, central.n);
    put(&b, "PK\5\6\0\0\0\0", 8);
    put16(&b, n_records);
    put16(&b, n_records);
    put32(&b, central.n);
    put32(&b, begin);
    put16(&b, 0);
    cf_free(data.bytes);
    cf_free(central.bytes);
    *n = b.n;
    return b.bytes;
}
