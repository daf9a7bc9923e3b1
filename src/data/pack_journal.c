/* pack_journal: an append-only file beside the pack that is being made.
 *
 *   "crossframe pack journal 1\n", uint32 length of the job's text, the text, its hash
 *   records: uint32 length, payload, hash of the payload and the record's number
 *   payload: byte kind; VIDEO: float fps, int32 height, width, source_frames, uint32 n_frames, byte
 *   1 if frame numbers follow the sizes, uint32 [n_frames], int32 [n_frames]; PROBLEM: the reason
 *
 * Numbers are little-endian as on every machine this runs on; a journal does not travel. Records
 * wait in memory until the data they speak of is on the disk, then they are appended and synced; a
 * torn last record is cut off when the journal is opened again. A lock keeps a second process
 * out. */
#include "data/pack_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[] = "crossframe pack journal 1\n";
enum { MAGIC = sizeof magic - 1, VIDEO_BYTES = 1 + 5 * 4 + 1 };

struct pack_journal {
    char *path;
    int fd;
    uint64_t n_records; /* in the file and pending */
    off_t end;          /* of what is whole in the file */
    uint8_t *pending;
    size_t n, capacity;
};

void pack_journal_close(pack_journal *j)
{
    if (!j) return;
    if (j->fd >= 0) close(j->fd);
    cf_free(j->pending);
    cf_free(j->path);
    cf_free(j);
}

bool pack_journal_pending(const pack_journal *j) { return j->n > 0; }

/* ---- writing --------------------------------------------------------------------------------- */

static uint64_t hash_of(const void *bytes, size_t n, uint64_t number)
{
    return cf_hash64(bytes, n) ^ (number * 0x9e3779b97f4a7c15u);
}

static cf_status reserve(pack_journal *j, size_t more)
{
    if (more <= j->capacity - j->n) return CF_OK;
    size_t capacity = 2 * j->capacity > j->n + more ? 2 * j->capacity : j->n + more;
    CF_TRY(cf_realloc(&j->pending, capacity, 1));
    j->capacity = capacity;
    return CF_OK;
}

static void put(pack_journal *j, const void *bytes, size_t n)
{
    if (n > 0) memcpy(j->pending + j->n, bytes, n);
    j->n += n;
}

static void put_video(pack_journal *j, const pack_record *r)
{
    uint8_t numbered = r->source != NULL;
    put(j, &r->fps, 4);
    put(j, &r->height, 4);
    put(j, &r->width, 4);
    put(j, &r->source_frames, 4);
    put(j, &r->n_frames, 4);
    put(j, &numbered, 1);
    put(j, r->size, 4 * (size_t)r->n_frames);
    if (numbered) put(j, r->source, 4 * (size_t)r->n_frames);
}

cf_status pack_journal_add(pack_journal *j, const pack_record *r)
{
    size_t length = r->kind == PACK_VIDEO
                        ? VIDEO_BYTES + (r->source ? 8u : 4u) * (size_t)r->n_frames
                    : r->kind == PACK_PROBLEM ? 1 + strlen(r->why)
                                              : 1;
    if (length > UINT32_MAX)
        return CF_FAIL(CF_EINVAL, "%s: a video of %u frames", j->path, (unsigned)r->n_frames);
    CF_TRY(reserve(j, length + 12));
    uint32_t prefix = (uint32_t)length;
    uint8_t kind = (uint8_t)r->kind;
    put(j, &prefix, 4);
    put(j, &kind, 1);
    if (r->kind == PACK_VIDEO) put_video(j, r);
    if (r->kind == PACK_PROBLEM) put(j, r->why, length - 1);
    uint64_t hash = hash_of(j->pending + j->n - length, length, j->n_records);
    put(j, &hash, 8);
    j->n_records++;
    return CF_OK;
}

cf_status pack_journal_sync(pack_journal *j)
{
    CF_TRY(cf_file_write_at(j->fd, j->path, j->pending, j->n, (int64_t)j->end));
    if (fdatasync(j->fd) != 0 && errno != EINVAL)
        return CF_FAIL(CF_EIO, "cannot sync %s: %s", j->path, strerror(errno));
    j->end += (off_t)j->n;
    j->n = 0;
    return CF_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct {
    FILE *file;
    size_t left; /* bytes of the file not read yet */
    uint8_t *bytes;
    size_t capacity;
    off_t at;
} reader;

/* *whole false: the file ends before. */
static cf_status take(bool *whole, reader *r, size_t n)
{
    *whole = n <= r->left;
    if (!*whole) return CF_OK;
    if (n + 1 > r->capacity) {
        CF_TRY(cf_realloc(&r->bytes, n + 1, 1));
        r->capacity = n + 1;
    }
    *whole = fread(r->bytes, 1, n, r->file) == n;
    r->bytes[n] = 0;
    r->left -= n;
    r->at += (off_t)n;
    return CF_OK;
}

static cf_status take_number(uint64_t *value, bool *whole, reader *r, size_t n)
{
    uint64_t v = 0;
    CF_TRY(take(whole, r, n));
    if (*whole) memcpy(&v, r->bytes, n);
    *value = v;
    return CF_OK;
}

/* The first line in which two jobs differ, for people. */
static cf_status other_job(const pack_journal *j, const char *old, const char *new)
{
    size_t a = strcspn(old, "\n"), b = strcspn(new, "\n");
    while (old[a] && new[b] && a == b && memcmp(old, new, a) == 0) {
        old += a + 1, new += b + 1;
        a = strcspn(old, "\n"), b = strcspn(new, "\n");
    }
    return CF_FAIL(CF_EINVAL,
                   "%s is of an interrupted pack that had '%.*s', now it is '%.*s'; call it as "
                   "before to go on, or with --restart to begin anew",
                   j->path, (int)(a > 100 ? 100 : a), old, (int)(b > 100 ? 100 : b), new);
}

/* Is it a journal, and of this job? */
static cf_status read_head(pack_journal *j, reader *r, const char *job)
{
    bool whole;
    uint64_t length = 0, hash = 0;
    CF_TRY(take(&whole, r, MAGIC));
    if (whole && memcmp(r->bytes, magic, MAGIC) == 0)
        CF_TRY(take_number(&length, &whole, r, 4));
    else
        whole = false;
    if (whole) CF_TRY(take(&whole, r, length));
    if (!whole)
        return CF_FAIL(CF_EFORMAT, "%s is no journal of a pack; --restart begins anew", j->path);
    if (strlen((char *)r->bytes) != length || strcmp((char *)r->bytes, job) != 0)
        return other_job(j, (char *)r->bytes, job);
    CF_TRY(take_number(&hash, &whole, r, 8));
    if (!whole || hash != hash_of(job, length, 0))
        return CF_FAIL(CF_EFORMAT, "%s is damaged; --restart begins anew", j->path);
    return CF_OK;
}

/* False: it contradicts itself. */
static bool parse(pack_record *out, uint8_t *p, size_t n)
{
    if (n < 1 || p[0] > PACK_SHARD) return false;
    *out = (pack_record){ .kind = (pack_record_kind)p[0], .why = (char *)p + 1 };
    if (out->kind == PACK_PROBLEM) return strlen(out->why) == n - 1;
    if (out->kind == PACK_SHARD) return n == 1;
    if (n < VIDEO_BYTES) return false;
    memcpy(&out->fps, p + 1, 4);
    memcpy(&out->height, p + 5, 4);
    memcpy(&out->width, p + 9, 4);
    memcpy(&out->source_frames, p + 13, 4);
    memcpy(&out->n_frames, p + 17, 4);
    uint8_t numbered = p[21];
    if (numbered > 1 || n != VIDEO_BYTES + (numbered ? 8u : 4u) * (size_t)out->n_frames)
        return false;
    memmove(p, p + VIDEO_BYTES, n - VIDEO_BYTES); /* to where numbers may lie */
    out->size = (const uint32_t *)(const void *)p;
    out->source = numbered ? (const int32_t *)(const void *)p + out->n_frames : NULL;
    return true;
}

static cf_status read_records(pack_journal *j, reader *r, pack_replay *replay, void *user)
{
    j->end = r->at;
    for (;; j->n_records++) {
        bool whole;
        uint64_t length = 0, hash = 0;
        pack_record record;
        CF_TRY(take_number(&length, &whole, r, 4));
        if (whole) CF_TRY(take(&whole, r, length + 8));
        if (!whole) return CF_OK;
        memcpy(&hash, r->bytes + length, 8);
        r->bytes[length] = 0;
        if (hash != hash_of(r->bytes, length, j->n_records)) return CF_OK;
        if (!parse(&record, r->bytes, length))
            return CF_FAIL(CF_EFORMAT, "%s, record %llu is damaged; --restart begins anew", j->path,
                           (unsigned long long)j->n_records);
        CF_TRY_CTX(replay(user, &record), "%s, record %llu", j->path,
                   (unsigned long long)j->n_records);
        j->end = r->at;
    }
}

static cf_status read_all(pack_journal *j, size_t n_bytes, const char *job, pack_replay *replay,
                          void *user)
{
    int copy = fcntl(j->fd, F_DUPFD_CLOEXEC, 0);
    reader r = { .file = copy < 0 ? NULL : fdopen(copy, "rb"), .left = n_bytes };
    if (!r.file) {
        if (copy >= 0) close(copy);
        return CF_FAIL(CF_EIO, "cannot read %s: %s", j->path, strerror(errno));
    }
    cf_status status = CF_OK;
    CF_GO(read_head(j, &r, job));
    CF_GO(read_records(j, &r, replay, user));
    if (ferror(r.file)) CF_GO(CF_FAIL(CF_EIO, "cannot read %s", j->path));
    if (ftruncate(j->fd, j->end) != 0)
        CF_GO(CF_FAIL(CF_EIO, "cannot write %s: %s", j->path, strerror(errno)));
done:
    fclose(r.file);
    cf_free(r.bytes);
    return status;
}

/* The head as a first call writes it, into pending. */
static cf_status make_head(pack_journal *j, const char *job)
{
    uint32_t length = (uint32_t)strlen(job);
    uint64_t hash = hash_of(job, length, 0);
    CF_TRY(reserve(j, MAGIC + 4 + length + 8));
    put(j, magic, MAGIC);
    put(j, &length, 4);
    put(j, job, length);
    put(j, &hash, 8);
    return CF_OK;
}

/* The file is the beginning of such a head: a first call that ended while it wrote it. */
static bool is_torn_head(const pack_journal *j, size_t n_bytes)
{
    if (n_bytes >= j->n) return false;
    uint8_t byte;
    for (size_t i = 0; i < n_bytes; i++)
        if (pread(j->fd, &byte, 1, (off_t)i) != 1 || byte != j->pending[i]) return false;
    return true;
}

static cf_status begin(pack_journal *j, size_t n_bytes, const char *job, bool fresh,
                       pack_replay *replay, void *user)
{
    CF_TRY(make_head(j, job));
    if (fresh || is_torn_head(j, n_bytes)) {
        if (ftruncate(j->fd, 0) != 0)
            return CF_FAIL(CF_EIO, "cannot write %s: %s", j->path, strerror(errno));
        return pack_journal_sync(j);
    }
    j->n = 0;
    return read_all(j, n_bytes, job, replay, user);
}

cf_status pack_journal_open(pack_journal **out, const char *path, const char *job, bool fresh,
                            pack_replay *replay, void *user)
{
    pack_journal *j;
    struct stat info;
    cf_status status = CF_OK;
    CF_TRY(cf_alloc_zero(&j, 1, sizeof *j));
    j->fd = -1;
    CF_GO(cf_strdup(&j->path, path));
    j->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (j->fd < 0 || fstat(j->fd, &info) != 0)
        CF_GO(CF_FAIL(errno == ENOENT || errno == ENOTDIR ? CF_ENOTFOUND : CF_EIO,
                      "cannot create %s: %s", path, strerror(errno)));
    /* Where files cannot be locked nobody is kept out. */
    if (flock(j->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        CF_GO(CF_FAIL(CF_EIO, "%s: another process is writing this pack", path));
    status = begin(j, (size_t)info.st_size, job, fresh, replay, user);
done:
    if (status == CF_OK)
        *out = j;
    else
        pack_journal_close(j);
    return status;
}
