/* tar: an index over a mapped archive. Formats: POSIX.1-2017 pax, "ustar Interchange Format" and
 * "pax Header Block", and the GNU tar manual's long names.
 *
 * Every header's checksum is verified and every extent held against the end of the file before
 * anything in it is used. The index is two sorted lists, by name and by the last part of it. */
#include "crossframe/data.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK ((size_t)512)

typedef struct {
    char *name;
    const char *base; /* last part of name */
    size_t at, n;     /* bytes in the file */
} member;

struct cf_tar {
    char *path;
    const uint8_t *bytes;
    size_t n_bytes;
    member *members; /* sorted by name */
    const member **by_base;
    size_t n, capacity;
};

/* What comes before the header it is meant for. */
typedef struct {
    const char *name; /* not terminated */
    size_t name_n, size;
    bool has_size, sparse;
} extras;

void cf_tar_close(cf_tar *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->n; i++) cf_free(t->members[i].name);
    cf_free(t->members);
    cf_free(t->by_base);
    cf_free(t->path);
    if (t->bytes) munmap((void *)t->bytes, t->n_bytes);
    cf_free(t);
}

/* ---- headers --------------------------------------------------------------------------------- */

static cf_status damaged(const cf_tar *t, size_t at, const char *why)
{
    return CF_FAIL(CF_EFORMAT, "%s: damaged tar at byte %zu: %s", t->path, at, why);
}

static size_t text_length(const uint8_t *p, size_t most)
{
    const uint8_t *zero = memchr(p, 0, most);
    return zero ? (size_t)(zero - p) : most;
}

/* Octal digits between spaces and zeros, or, with the top bit of the first byte, base 256. */
static bool number(size_t *out, const uint8_t *p, size_t n)
{
    size_t v = 0;
    if (p[0] & 0x80) {
        if (p[0] != 0x80) return false; /* negative, or larger than any file */
        for (size_t i = 1; i < n; i++) {
            if (v > SIZE_MAX >> 8) return false;
            v = v << 8 | p[i];
        }
        *out = v;
        return true;
    }
    size_t i = 0;
    while (i < n && p[i] == ' ') i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) v = v << 3 | (size_t)(p[i] - '0');
    if (i < n && p[i] != 0 && p[i] != ' ') return false;
    *out = v;
    return true;
}

/* Of all bytes, those of the sum itself taken as spaces; some old programs took them as signed. */
static bool checksum_holds(const uint8_t *h)
{
    size_t told, sum = 0;
    long as_signed = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        uint8_t byte = i >= 148 && i < 156 ? ' ' : h[i];
        sum += byte;
        as_signed += (int8_t)byte;
    }
    return number(&told, h + 148, 8) && (told == sum || (long)told == as_signed);
}

static bool all_zero(const uint8_t *h)
{
    for (size_t i = 0; i < BLOCK; i++)
        if (h[i]) return false;
    return true;
}

/* Records "LENGTH KEY=VALUE\n". */
static cf_status read_pax(extras *e, const cf_tar *t, size_t at, size_t n)
{
    const char *p = (const char *)t->bytes + at, *end = p + n;
    while (p < end && *p) {
        size_t length = 0;
        const char *from = p;
        while (p < end && *p >= '0' && *p <= '9' && length <= n)
            length = 10 * length + (size_t)(*p++ - '0');
        const char *stop = length <= (size_t)(end - from) ? from + length : NULL;
        if (!stop || p >= stop || *p != ' ' || stop[-1] != '\n')
            return damaged(t, at, "a pax record of wrong length");
        const char *key = p + 1, *equal = memchr(key, '=', (size_t)(stop - key));
        if (!equal) return damaged(t, at, "a pax record without '='");
        size_t key_n = (size_t)(equal - key), value_n = (size_t)(stop - 1 - (equal + 1));
        if (key_n == 4 && memcmp(key, "path", 4) == 0) {
            e->name = equal + 1, e->name_n = value_n;
        } else if (key_n == 4 && memcmp(key, "size", 4) == 0) {
            e->size = 0, e->has_size = true;
            for (const char *d = equal + 1; d < stop - 1; d++) {
                if (*d < '0' || *d > '9' || e->size > t->n_bytes)
                    return damaged(t, at, "a pax size that is none or larger than the file");
                e->size = 10 * e->size + (size_t)(*d - '0');
            }
        } else if (key_n >= 10 && memcmp(key, "GNU.sparse", 10) == 0) {
            e->sparse = true;
        }
        p = stop;
    }
    return CF_OK;
}

/* ---- index ----------------------------------------------------------------------------------- */

static const char *without_dot(const char *name)
{
    while (name[0] == '.' && name[1] == '/')
        for (name += 2; *name == '/'; name++) {}
    return name;
}

static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

static cf_status add(cf_tar *t, const uint8_t *h, const extras *e, size_t at, size_t n)
{
    const char *name = e->name ? e->name : (const char *)h;
    size_t name_n = text_length((const uint8_t *)name, e->name ? e->name_n : 100);
    size_t prefix_n = 0; /* GNU's "ustar  " has times where POSIX has the prefix */
    if (!e->name && memcmp(h + 257, "ustar", 6) == 0) prefix_n = text_length(h + 345, 155);
    CF_TRY(cf_grow(&t->members, &t->capacity, t->n + 1, sizeof *t->members));
    char *text;
    CF_TRY(cf_alloc(&text, prefix_n + name_n + 2, 1));
    size_t used = prefix_n;
    memcpy(text, h + 345, prefix_n);
    if (prefix_n) text[used++] = '/';
    memcpy(text + used, name, name_n);
    text[used + name_n] = 0;
    const char *kept = without_dot(text);
    memmove(text, kept, strlen(kept) + 1);
    if (!*last_part(text)) { /* a directory in the manner of old archives */
        cf_free(text);
        return CF_OK;
    }
    t->members[t->n++] = (member){ .name = text, .base = last_part(text), .at = at, .n = n };
    return CF_OK;
}

/* One header and its data; *at moves behind them. */
static cf_status step(cf_tar *t, extras *e, size_t *at)
{
    const uint8_t *h = t->bytes + *at;
    size_t n, data = *at + BLOCK;
    if (!checksum_holds(h))
        return damaged(t, *at, *at ? "a header with a wrong checksum" : "not a tar header");
    if (!number(&n, h + 124, 12)) return damaged(t, *at, "a size that is no number");
    int type = h[156];
    bool file = type == 0 || type == '0' || type == '7';
    if (file && e->has_size) n = e->size;
    /* Links and directories have none, whatever the field says. */
    if (type >= '1' && type <= '6') n = 0;
    if (n > t->n_bytes - data) return damaged(t, *at, "its data goes beyond the end of the file");
    if (type == 'L') {
        e->name = (const char *)t->bytes + data, e->name_n = n;
    } else if (type == 'x') {
        CF_TRY(read_pax(e, t, data, n));
    } else if (type != 'K' && type != 'g') {
        if (type == 'S' || e->sparse)
            return CF_FAIL(CF_EUNSUPPORTED, "%s: a sparse file at byte %zu of the tar", t->path,
                           *at);
        if (file) CF_TRY(add(t, h, e, data, n));
        *e = (extras){ 0 };
    }
    size_t padded = (n + BLOCK - 1) / BLOCK * BLOCK;
    *at = padded < t->n_bytes - data ? data + padded : t->n_bytes;
    return CF_OK;
}

static int by_name(const void *a, const void *b)
{
    const member *m = a, *o = b;
    int order = strcmp(m->name, o->name);
    return order ? order : m->at < o->at ? -1 : 1;
}

static int by_base(const void *a, const void *b)
{
    return strcmp((*(const member *const *)a)->base, (*(const member *const *)b)->base);
}

/* To the block of zeros at the end, or to the end of the file where that is left out. */
static cf_status read_headers(cf_tar *t)
{
    extras e = { 0 };
    size_t at = 0;
    while (t->n_bytes - at >= BLOCK && !all_zero(t->bytes + at)) CF_TRY(step(t, &e, &at));
    if (e.name || e.has_size || (at < t->n_bytes && t->n_bytes - at < BLOCK))
        return damaged(t, at, "the file ends in the middle of a header");
    return CF_OK;
}

static cf_status build_index(cf_tar *t)
{
    CF_TRY(read_headers(t));
    if (t->n > 0) qsort(t->members, t->n, sizeof *t->members, by_name);
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (i + 1 < t->n && strcmp(t->members[i].name, t->members[i + 1].name) == 0)
            cf_free(t->members[i].name); /* the later one holds */
        else
            t->members[n++] = t->members[i];
    }
    t->n = n;
    CF_TRY(cf_alloc(&t->by_base, n, sizeof(const member *)));
    for (size_t i = 0; i < n; i++) t->by_base[i] = &t->members[i];
    if (n > 0) qsort(t->by_base, n, sizeof(const member *), by_base);
    return CF_OK;
}

/* ---- open ------------------------------------------------------------------------------------ */

static cf_status map(cf_tar *t)
{
    int fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return CF_FAIL(errno == ENOENT || errno == ENOTDIR ? CF_ENOTFOUND : CF_EIO,
                       "cannot open %s: %s", t->path, strerror(errno));
    struct stat info;
    cf_status status = CF_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        CF_GO(CF_FAIL(CF_EIO, "%s is not a file", t->path));
    if (info.st_size < (off_t)BLOCK)
        CF_GO(CF_FAIL(CF_EFORMAT, "%s: not a tar (%lld bytes)", t->path, (long long)info.st_size));
    void *p = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) CF_GO(CF_FAIL(CF_EIO, "cannot map %s: %s", t->path, strerror(errno)));
    t->bytes = p;
    t->n_bytes = (size_t)info.st_size;
done:
    close(fd);
    return status;
}

static cf_status refuse_compressed(const cf_tar *t)
{
    static const struct {
        const char *name, *magic;
        size_t n;
    } known[] = { { "gzip", "\x1f\x8b", 2 },
                  { "bzip2", "BZh", 3 },
                  { "xz",
                    "\xfd"
                    "7zXZ",
                    5 },
                  { "zstd", "\x28\xb5\x2f\xfd", 4 } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (memcmp(t->bytes, known[i].magic, known[i].n) == 0)
            return CF_FAIL(CF_EUNSUPPORTED, "%s is compressed with %s: unpack it to a plain tar",
                           t->path, known[i].name);
    return CF_OK;
}

cf_status cf_tar_open(cf_tar **out, const char *path)
{
    cf_tar *t;
    CF_TRY(cf_alloc_zero(&t, 1, sizeof *t));
    cf_status status = CF_OK;
    CF_GO(cf_strdup(&t->path, path));
    CF_GO(map(t));
    CF_GO(refuse_compressed(t));
    CF_GO(build_index(t));
    *out = t;
    t = NULL;
done:
    cf_tar_close(t);
    return status;
}

/* ---- look up --------------------------------------------------------------------------------- */

const char *cf_tar_path(const cf_tar *t) { return t->path; }
size_t cf_tar_size(const cf_tar *t) { return t->n; }

static const char *give(const uint8_t **bytes, size_t *n, const cf_tar *t, const member *m)
{
    *bytes = t->bytes + m->at;
    *n = m->n;
    return m->name;
}

const char *cf_tar_get(const uint8_t **bytes, size_t *n, const cf_tar *t, size_t i)
{
    CF_ASSERT(i < t->n);
    return give(bytes, n, t, &t->members[i]);
}

/* First place in by_base at or behind which `base` stands. */
static size_t find_base(const cf_tar *t, const char *base)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(t->by_base[middle]->base, base) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t find_name(const cf_tar *t, const char *name)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(t->members[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

cf_status cf_tar_find(const uint8_t **bytes, size_t *n, const cf_tar *t, const char *name)
{
    const char *whole = without_dot(name), *base = last_part(whole);
    size_t i = find_name(t, whole), b = find_base(t, base);
    const member *found =
        i < t->n && strcmp(t->members[i].name, whole) == 0 ? &t->members[i] : NULL;
    if (!found && b < t->n && strcmp(t->by_base[b]->base, base) == 0) {
        found = t->by_base[b];
        if (b + 1 < t->n && strcmp(t->by_base[b + 1]->base, base) == 0)
            return CF_FAIL(CF_EINVAL, "%s: no %s, and several files called %s: %s, %s", t->path,
                           name, base, found->name, t->by_base[b + 1]->name);
    }
    if (!found) return CF_FAIL(CF_ENOTFOUND, "%s: no file %s in it", t->path, name);
    give(bytes, n, t, found);
    return CF_OK;
}
