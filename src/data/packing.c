/* packing: the writer's side of a pack. The caller's thread takes encoded frames from the queue in
 * the list's order and appends them to the shard's OUT.tmp; a video is entered into the tables and
 * the journal when it is whole. Records go to the journal's file only after the data they speak of
 * has been synced, so the journal never promises what is not there.
 *
 * A shard is finished in this order, each step of which may be the last one before an end: OUT.tmp
 * becomes a complete HDF5 file (which leaves the frames in it alone, so it can be done again); the
 * journal says so; OUT.tmp is renamed. The journal goes last, after the list of problems. */
#include "crossframe/packing.h"

#include "data/pack_job.h"
#include "data/pack_journal.h"
#include "data/pack_tables.h"

#include "crossframe/h5.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A sync is worth it when a fifth of a second has gone by, and twenty times what the last one
 * took. */
#define LEAST_SYNC_S 0.2
#define MOST_SYNC_S 5.0
#define MOST_TOLD 20 /* problems that are logged one by one */

typedef struct {
    size_t entry;
    char *why;
} problem;

typedef struct {
    const cf_packing_options *o;
    cf_packing_options filled; /* o's copy with its defaults filled in */
    cf_pack_options head;
    pack_root root;
    pack_entries entries;
    pack_journal *journal;
    char *journal_path, *problems_path, *dataset;
    char *path, *temporary; /* of the current shard */
    size_t shard, next;     /* current shard and entry */
    int fd;                 /* of temporary; -1: not open */
    pack_tables tables;     /* of the current shard */
    int64_t *row;           /* [entries.n] row in its shard; -1: left out */
    problem *problems;
    size_t n_problems, problem_capacity;
    cf_packing_count count;
    double began, synced, sync_wait; /* clock; seconds until the next sync */
    bool replaying;
} job;

cf_packing_options cf_packing_defaults(void)
{
    return (cf_packing_options){
        .encoding = CF_ENCODING_JPEG, .quality = 85, .short_side = 256, .stride = 1, .shards = 1
    };
}

/* ---- shards ---------------------------------------------------------------------------------- */

/* The first entry of a shard; of the one after the last: their number. */
static size_t shard_begin(const job *j, size_t shard)
{
    size_t n = j->entries.n, shards = (size_t)j->o->shards;
    return n / shards * shard + n % shards * shard / shards;
}

/* OUT, or OUT with -00000-of-00004 before its last dot. */
static cf_status shard_path(char **out, const job *j, size_t shard)
{
    const char *path = j->o->out, *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    if (j->o->shards == 1) return cf_strdup(out, path);
    if (!dot || (slash && dot < slash) || dot == path) dot = path + strlen(path);
    return cf_format(out, "%.*s-%05zu-of-%05d%s", (int)(dot - path), path, shard, j->o->shards,
                     *dot ? dot : ".h5");
}

/* Names of the current shard; none behind the last. */
static cf_status name_shard(job *j)
{
    cf_free(j->path);
    cf_free(j->temporary);
    j->path = j->temporary = NULL;
    if (j->shard == (size_t)j->o->shards) return CF_OK;
    CF_TRY(shard_path(&j->path, j, j->shard));
    j->tables.path = j->path;
    return cf_format(&j->temporary, "%s.tmp", j->path);
}

static cf_status open_data(job *j)
{
    struct stat info;
    off_t end = (off_t)CF_H5_HEAD + pack_tables_at(&j->tables);
    bool fresh = j->tables.n_videos == 0;
    j->fd = open(j->temporary, O_RDWR | O_CREAT | O_CLOEXEC | (fresh ? O_TRUNC : 0), 0666);
    if (j->fd < 0 || fstat(j->fd, &info) != 0)
        return CF_FAIL(errno == ENOENT || errno == ENOTDIR ? CF_ENOTFOUND : CF_EIO,
                       "cannot create %s: %s", j->temporary, strerror(errno));
    if (!fresh && info.st_size < end)
        return CF_FAIL(CF_EFORMAT, "%s has %lld bytes, %s speaks of %lld; --restart begins anew",
                       j->temporary, (long long)info.st_size, j->journal_path, (long long)end);
    if (ftruncate(j->fd, end) != 0)
        return CF_FAIL(CF_EIO, "cannot write %s: %s", j->temporary, strerror(errno));
    return CF_OK;
}

static cf_status write_at(job *j, const uint8_t *bytes, size_t n, int64_t at)
{
    return cf_file_write_at(j->fd, j->temporary, bytes, n, (int64_t)CF_H5_HEAD + at);
}

/* ---- what is done ---------------------------------------------------------------------------- */

static cf_status add_problem(job *j, const char *why)
{
    CF_TRY(cf_grow(&j->problems, &j->problem_capacity, j->n_problems + 1, sizeof *j->problems));
    problem p = { .entry = j->next };
    CF_TRY(cf_strdup(&p.why, why));
    j->problems[j->n_problems++] = p;
    j->row[j->next++] = -1;
    j->count.skipped++;
    j->count.done++;
    if (j->n_problems <= MOST_TOLD && !j->replaying)
        cf_log(CF_LOG_WARNING, "left out: %s: %s", j->entries.entry[p.entry].name, why);
    if (j->n_problems == MOST_TOLD + 1 && !j->replaying)
        cf_log(CF_LOG_WARNING, "more is left out, see %s at the end", j->problems_path);
    return CF_OK;
}

/* Enters the video of the current entry; its bytes are in the data file. */
static cf_status add_video(job *j, const pack_record *r)
{
    const pack_entry *e = &j->entries.entry[j->next];
    pack_tables *t = &j->tables;
    int64_t before = pack_tables_at(t);
    CF_TRY(pack_tables_begin(t, e->name, e->label, r->fps));
    cf_status status = CF_OK;
    for (uint32_t i = 0; i < r->n_frames; i++) {
        int32_t source = r->source ? r->source[i] : (int32_t)i;
        CF_GO(pack_tables_check(t, (size_t)r->height, (size_t)r->width, source));
        CF_GO(pack_tables_frame(t, r->size[i], (size_t)r->height, (size_t)r->width, source));
    }
    CF_GO(pack_tables_end(t, r->source_frames));
    j->row[j->next++] = (int64_t)t->n_videos - 1;
    j->count.videos++;
    j->count.done++;
    j->count.frames += r->n_frames;
    j->count.bytes += pack_tables_at(t) - before;
done:
    if (status != CF_OK) pack_tables_drop(t);
    return status;
}

static cf_status next_shard(job *j)
{
    pack_tables_clear(&j->tables);
    if (j->fd >= 0) close(j->fd);
    j->fd = -1;
    j->shard++;
    return name_shard(j);
}

static cf_status replay(void *user, const pack_record *r)
{
    job *j = user;
    size_t end = j->shard < (size_t)j->o->shards ? shard_begin(j, j->shard + 1) : 0;
    if (r->kind == PACK_SHARD) {
        if (j->shard == (size_t)j->o->shards || j->next != end)
            return CF_FAIL(CF_EFORMAT, "a shard ends where none does; --restart begins anew");
        if (cf_file_exists(j->temporary)) CF_TRY(cf_file_replace(j->path, j->temporary));
        return next_shard(j);
    }
    if (j->next >= end)
        return CF_FAIL(CF_EFORMAT, "more videos than the lists have; --restart begins anew");
    j->count.found++;
    return r->kind == PACK_VIDEO ? add_video(j, r) : add_problem(j, r->why);
}

static cf_status sync_all(job *j)
{
    if (!pack_journal_pending(j->journal)) return CF_OK;
    double start = cf_seconds();
    if (j->fd >= 0 && fdatasync(j->fd) != 0 && errno != EINVAL)
        return CF_FAIL(CF_EIO, "cannot sync %s: %s", j->temporary, strerror(errno));
    CF_TRY(pack_journal_sync(j->journal));
    j->synced = cf_seconds();
    j->sync_wait = fmin(fmax(20 * (j->synced - start), LEAST_SYNC_S), MOST_SYNC_S);
    return CF_OK;
}

/* ---- the end of a shard, and of all ---------------------------------------------------------- */

/* Rows of this shard's videos; every shard has every split. */
static cf_status make_splits(job *j)
{
    size_t begin = shard_begin(j, j->shard), end = shard_begin(j, j->shard + 1);
    for (size_t i = 0; i < j->entries.n_parts; i++) {
        const pack_part *p = &j->entries.part[i];
        int64_t *rows;
        size_t n = 0;
        CF_TRY(cf_alloc(&rows, p->n, sizeof *rows));
        for (size_t k = 0; k < p->n; k++)
            if (p->entry[k] >= begin && p->entry[k] < end && j->row[p->entry[k]] >= 0)
                rows[n++] = j->row[p->entry[k]];
        cf_status status = pack_tables_split(&j->tables, p->name, rows, n);
        cf_free(rows);
        CF_TRY(status);
    }
    return CF_OK;
}

static cf_status finish_shard(job *j)
{
    if (j->next == j->entries.n && j->count.videos == 0) return CF_OK; /* finish_all refuses */
    CF_TRY(make_splits(j));
    CF_TRY(sync_all(j));
    CF_TRY(pack_tables_finish(&j->tables, j->temporary, &j->head));
    CF_TRY(pack_journal_add(j->journal, &(pack_record){ .kind = PACK_SHARD }));
    CF_TRY(sync_all(j));
    CF_TRY(cf_file_replace(j->path, j->temporary));
    return next_shard(j);
}

static cf_status put_csv(cf_writer *w, const char *text, const char *end)
{
    if (!strpbrk(text, ",\"\r\n"))
        CF_TRY(cf_writer_put(w, text, strlen(text)));
    else {
        CF_TRY(cf_writer_put(w, "\"", 1));
        for (; *text; text++)
            CF_TRY(cf_writer_put(w, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1));
        CF_TRY(cf_writer_put(w, "\"", 1));
    }
    return cf_writer_put(w, end, 1);
}

/* OUT.problems.csv, or none. */
static cf_status write_problems(const job *j)
{
    if (j->n_problems == 0) {
        unlink(j->problems_path); /* of an earlier pack */
        return CF_OK;
    }
    cf_writer *w;
    CF_TRY(cf_writer_new(&w, j->problems_path));
    cf_status status = cf_writer_put(w, "path,why\n", 9);
    for (size_t i = 0; i < j->n_problems && status == CF_OK; i++) {
        status = put_csv(w, j->entries.entry[j->problems[i].entry].name, ",");
        if (status == CF_OK) status = put_csv(w, j->problems[i].why, "\n");
    }
    if (status == CF_OK) return cf_writer_commit(w);
    cf_writer_abort(w);
    return status;
}

/* Nothing is left that the next call would go on with. */
static void forget(job *j)
{
    if (j->temporary) unlink(j->temporary);
    if (j->journal) unlink(j->journal_path);
}

static cf_status finish_all(job *j)
{
    CF_TRY(write_problems(j));
    if (j->count.videos == 0) {
        for (size_t i = 0; i < j->shard; i++) {
            char *path;
            CF_TRY(shard_path(&path, j, i));
            unlink(path);
            cf_free(path);
        }
        forget(j);
        return CF_FAIL(CF_EFORMAT, "%s: none of the %zu videos could be packed; %s tells why",
                       j->o->out, j->entries.n, j->problems_path);
    }
    if (unlink(j->journal_path) != 0)
        return CF_FAIL(CF_EIO, "cannot remove %s: %s", j->journal_path, strerror(errno));
    return CF_OK;
}

/* ---- the writer ------------------------------------------------------------------------------ */

/* Frame k of the `most` that are kept of n. */
static size_t kept_frame(size_t k, size_t n, size_t most) { return (2 * k + 1) * n / (2 * most); }

/* Keeps max_frames of a slot's frames, evenly, and moves their bytes together. */
static cf_status thin(job *j, pack_slot *s, int64_t begin)
{
    size_t n = s->n_frames, most = (size_t)j->o->max_frames, kept = 0;
    uint8_t *bytes = NULL;
    int64_t from = begin, to = begin;
    cf_status status = CF_OK;
    if (most == 0 || n <= most) return CF_OK;
    for (size_t i = 0; i < n && kept < most; i++) {
        uint32_t size = s->size[i];
        if (i == kept_frame(kept, n, most)) {
            CF_GO(cf_realloc(&bytes, size, 1));
            if (pread(j->fd, bytes, size, (off_t)CF_H5_HEAD + from) != (ssize_t)size)
                CF_GO(CF_FAIL(CF_EIO, "cannot read %s: %s", j->temporary, strerror(errno)));
            CF_GO(write_at(j, bytes, size, to));
            to += size;
            s->size[kept] = size;
            s->source[kept++] = s->source[i];
        }
        from += size;
    }
    s->n_frames = most;
    s->fps = (float)((double)s->fps * (double)most / (double)n);
done:
    cf_free(bytes);
    return status;
}

static cf_status end_video(job *j, pack_slot *s, int64_t begin)
{
    const pack_entry *e = &j->entries.entry[j->next];
    if (s->status == CF_ENOMEM || s->status == CF_EINTERRUPTED)
        return CF_FAIL(s->status, "%s", s->why ? s->why : "out of memory");
    if (s->status != CF_OK) {
        if (j->o->strict) return CF_FAIL(s->status, "%s: %s (--strict)", e->name, s->why);
        CF_TRY(pack_journal_add(j->journal, &(pack_record){ .kind = PACK_PROBLEM, .why = s->why }));
        return add_problem(j, s->why);
    }
    CF_TRY(thin(j, s, begin));
    pack_record r = { .kind = PACK_VIDEO,
                      .fps = s->fps,
                      .height = s->height,
                      .width = s->width,
                      .source_frames = s->source_frames,
                      .n_frames = (uint32_t)s->n_frames,
                      .size = s->size,
                      .source = s->n_frames == (size_t)s->source_frames ? NULL : s->source };
    CF_TRY(add_video(j, &r));
    return pack_journal_add(j->journal, &r);
}

static bool go_on(job *j)
{
    j->count.seconds = cf_seconds() - j->began;
    return !j->o->progress || j->o->progress(j->o->user, &j->count);
}

static cf_status write_all(job *j, pack_queue *q)
{
    uint8_t *bytes = NULL;
    size_t n, capacity = 0;
    int64_t at = pack_tables_at(&j->tables);
    double told = 0;
    cf_status status = CF_OK;
    while (j->next < j->entries.n) {
        pack_slot *s;
        if (j->fd < 0) CF_GO(open_data(j));
        pack_queue_take(&s, &bytes, &n, &capacity, q, 0.1);
        CF_GO(write_at(j, bytes, n, at));
        at += (int64_t)n;
        if (s) {
            CF_GO(end_video(j, s, pack_tables_at(&j->tables)));
            pack_queue_next(q);
            if (j->next == shard_begin(j, j->shard + 1)) CF_GO(finish_shard(j));
            at = pack_tables_at(&j->tables);
            if (j->next == j->entries.n) break; /* too late to be stopped */
        }
        if (cf_seconds() - j->synced >= j->sync_wait) CF_GO(sync_all(j));
        if (cf_seconds() - told < 0.2) continue;
        told = cf_seconds();
        if (!go_on(j))
            CF_GO(CF_FAIL(CF_EINTERRUPTED, "stopped; the same call goes on with %s", j->o->out));
    }
done:
    cf_free(bytes);
    return status;
}

static cf_status run(job *j)
{
    pack_queue *q;
    /* Shards whose last video was written, and no more; also those without videos. */
    while (j->shard < (size_t)j->o->shards && j->next == shard_begin(j, j->shard + 1)) {
        CF_TRY(open_data(j));
        CF_TRY(finish_shard(j));
        if (j->count.videos == 0 && j->next == j->entries.n) break;
    }
    if (j->next == j->entries.n) return finish_all(j);
    CF_TRY(pack_queue_new(&q, &j->entries, &j->root, j->o, j->next));
    cf_status status = write_all(j, q);
    pack_queue_free(q);
    CF_TRY(status);
    go_on(j);
    return finish_all(j);
}

/* ---- begin ----------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, const void *bytes, size_t n)
{
    uint64_t both[2] = { hash, cf_hash64(bytes, n) };
    return cf_hash64(both, sizeof both);
}

/* What the bytes of the pack depend on, line by line: the first line that differs is told. */
static cf_status describe(char **out, const job *j)
{
    const cf_packing_options *o = j->o;
    const pack_entries *e = &j->entries;
    uint64_t videos = 0, classes = 0, splits = 0;
    for (size_t i = 0; i < e->n; i++) {
        const pack_entry *v = &e->entry[i];
        int32_t numbers[2] = { v->label, v->count };
        videos = mix(mix(videos, v->name, strlen(v->name)), numbers, sizeof numbers);
    }
    for (size_t i = 0; i < e->n_classes; i++)
        classes = mix(classes, e->class_name[i], strlen(e->class_name[i]));
    for (size_t i = 0; i < e->n_parts; i++) {
        const pack_part *p = &e->part[i];
        splits = mix(mix(splits, p->name, strlen(p->name)), p->entry, p->n * sizeof *p->entry);
    }
    return cf_format(out,
                     "program crossframe " CF_VERSION
                     ", %s\ndataset %s\n--encoding %s\n--quality %d\n"
                     "--short-side %d\n--stride %d\n--max-frames %d\n--shards %d\n--strict %d\n"
                     "videos %zu, hash %016llx\nclasses %zu, hash %016llx\n"
                     "splits %zu, hash %016llx\n",
                     cf_media_libraries(), j->dataset, pack_encoding_name(o->encoding), o->quality,
                     o->short_side, o->stride, o->max_frames, o->shards, o->strict, e->n,
                     (unsigned long long)videos, e->n_classes, (unsigned long long)classes,
                     e->n_parts, (unsigned long long)splits);
}

/* The pack's name for itself: the root's, without folders and ending. Not OUT's: a pack under
 * another name has the same bytes. */
static cf_status name_dataset(job *j)
{
    const char *root = j->o->root, *end = root + strlen(root);
    while (end > root + 1 && end[-1] == '/') end--;
    const char *from = end;
    while (from > root && from[-1] != '/') from--;
    const char *dot = end;
    while (dot > from && *dot != '.') dot--;
    if (!cf_is_folder(root) && dot > from) end = dot;
    if (*from == '.' || *from == '/') end = from; /* ".", "..", "/" say nothing */
    return cf_format(&j->dataset, "%.*s", (int)(end - from), from);
}

static cf_status check_splits(const cf_packing_options *o)
{
    for (size_t i = 0; i < o->n_lists; i++) {
        const char *name = o->lists[i].split;
        if (!name) continue;
        if (!*name || strchr(name, '/') || strcmp(name, ".") == 0)
            return CF_FAIL(CF_EINVAL, "'%s' cannot name a split", name);
        for (size_t k = 0; k < i; k++)
            if (o->lists[k].split && strcmp(o->lists[k].split, name) == 0)
                return CF_FAIL(CF_EINVAL, "two lists are named %s", name);
    }
    return CF_OK;
}

static cf_status check_options(const cf_packing_options *o)
{
    CF_TRY(check_splits(o));
    if (!o->root || !*o->root) return CF_FAIL(CF_EINVAL, "no place of videos is named");
    if (!o->out || !*o->out) return CF_FAIL(CF_EINVAL, "no pack to write is named");
    if (cf_is_folder(o->out)) return CF_FAIL(CF_EINVAL, "%s is a folder", o->out);
    if (o->encoding == CF_ENCODING_JPEG && (o->quality < 1 || o->quality > 100))
        return CF_FAIL(CF_EINVAL, "quality %d is not 1 to 100", o->quality);
    if (o->short_side < 0 || o->short_side > 8192)
        return CF_FAIL(CF_EINVAL, "short side %d is not 0 to 8192", o->short_side);
    if (o->stride < 1 || o->max_frames < 0 || o->workers < 0 || o->workers > 1024)
        return CF_FAIL(CF_EINVAL, "stride %d, max_frames %d, workers %d", o->stride, o->max_frames,
                       o->workers);
    if (o->shards < 1 || o->shards > 99999)
        return CF_FAIL(CF_EINVAL, "%d shards; there may be 1 to 99999", o->shards);
    return CF_OK;
}

static cf_status prepare(job *j)
{
    const cf_packing_options *o = j->o;
    CF_TRY(name_dataset(j));
    CF_TRY(cf_format(&j->journal_path, "%s.journal", o->out));
    CF_TRY(cf_format(&j->problems_path, "%s.problems.csv", o->out));
    CF_TRY(pack_root_open(&j->root, o->root));
    CF_TRY(pack_entries_read(&j->entries, &j->root, o));
    if ((size_t)o->shards > j->entries.n)
        return CF_FAIL(CF_EINVAL, "%d shards of %zu videos", o->shards, j->entries.n);
    if (j->entries.repeated)
        cf_log(CF_LOG_WARNING, "%zu lines name a video again that their list has named before",
               j->entries.repeated);
    j->count.total = j->entries.n;
    j->head = (cf_pack_options){ .dataset = j->dataset,
                                 .encoding = o->encoding,
                                 .quality = o->quality,
                                 .short_side = o->short_side,
                                 .class_name = j->entries.class_name,
                                 .n_classes = j->entries.n_classes };
    CF_TRY(pack_options_check(o->out, &j->head));
    CF_TRY(cf_alloc(&j->row, j->entries.n, sizeof *j->row));
    CF_TRY(pack_tables_init(&j->tables, o->out, j->entries.n_classes));
    return name_shard(j);
}

static cf_status open_journal(job *j)
{
    char *text;
    CF_TRY(describe(&text, j));
    j->replaying = true;
    cf_status status =
        pack_journal_open(&j->journal, j->journal_path, text, j->o->restart, replay, j);
    j->replaying = false;
    cf_free(text);
    return status;
}

static void job_fini(job *j)
{
    if (j->fd >= 0) close(j->fd);
    pack_journal_close(j->journal);
    pack_tables_fini(&j->tables);
    pack_entries_fini(&j->entries);
    pack_root_close(&j->root);
    for (size_t i = 0; i < j->n_problems; i++) cf_free(j->problems[i].why);
    void *all[] = { j->problems, j->row,  j->journal_path, j->problems_path,
                    j->dataset,  j->path, j->temporary };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) cf_free(all[i]);
}

cf_status cf_packing_run(cf_packing_count *out, const cf_packing_options *o)
{
    job j = { .filled = *o, .fd = -1, .began = cf_seconds() };
    j.o = &j.filled;
    CF_TRY(check_options(o));
    if (j.filled.workers == 0) j.filled.workers = cf_threads();
    cf_status status = CF_OK;
    CF_GO(prepare(&j));
    CF_GO(open_journal(&j));
    j.synced = cf_seconds();
    j.sync_wait = LEAST_SYNC_S;
    status = run(&j);
    if (status != CF_OK && j.journal) { /* what was done stays done; the first failure is told */
        char why[1024];
        snprintf(why, sizeof why, "%s", cf_error());
        if (j.count.done == 0)
            forget(&j);
        else
            (void)sync_all(&j);
        status = CF_FAIL(status, "%s", why);
    }
done:
    j.count.seconds = cf_seconds() - j.began;
    if (status == CF_OK) *out = j.count;
    job_fini(&j);
    return status;
}
