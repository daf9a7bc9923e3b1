/* Any bytes as the journal of an interrupted pack, whole or with the head that a pack would have
 * written before them: refused with one line, or records that are read the same again after the
 * file has been cut to what is whole and one more has been added. */
#include "../../src/data/pack_journal.h"

#include "fuzz_folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const char job[] = "--stride 1\nvideos 3\n";

typedef struct {
    size_t n;
    uint64_t sum;
} seen;

static cf_status look(void *user, const pack_record *r)
{
    seen *s = user;
    s->n++;
    s->sum += (uint64_t)r->kind;
    if (r->kind == PACK_PROBLEM) s->sum += strlen(r->why);
    for (uint32_t i = 0; r->kind == PACK_VIDEO && i < r->n_frames; i++)
        s->sum = s->sum * 31 + r->size[i] + (r->source ? (uint32_t)r->source[i] : i);
    return CF_OK;
}

static void write_file(const char *head, size_t n_head, const uint8_t *bytes, size_t n)
{
    cf_writer *w;
    CF_ASSERT(cf_writer_new(&w, path) == CF_OK);
    CF_ASSERT(cf_writer_put(w, head, n_head) == CF_OK && cf_writer_put(w, bytes, n) == CF_OK);
    CF_ASSERT(cf_writer_commit(w) == CF_OK);
}

static void read_twice(void)
{
    pack_journal *j;
    seen first = { 0 }, second = { 0 };
    if (pack_journal_open(&j, path, job, false, look, &first) != CF_OK) {
        CF_ASSERT(strstr(cf_error(), path));
        return;
    }
    CF_ASSERT(pack_journal_add(j, &(pack_record){ .kind = PACK_PROBLEM, .why = "abc" }) == CF_OK);
    CF_ASSERT(pack_journal_sync(j) == CF_OK);
    pack_journal_close(j);
    CF_ASSERT(pack_journal_open(&j, path, job, false, look, &second) == CF_OK);
    CF_ASSERT(second.n == first.n + 1);
    pack_journal_close(j);
}

/* A real record of each kind, so that mutations are not all stopped by the hash: the input chooses
 * the fields. */
static void write_records(const uint8_t *bytes, size_t n)
{
    pack_journal *j;
    seen nothing = { 0 };
    uint32_t size[16];
    int32_t source[16];
    CF_ASSERT(pack_journal_open(&j, path, job, true, look, &nothing) == CF_OK);
    for (size_t at = 0; at + 65 <= n; at += 65) {
        memcpy(size, bytes + at, 64);
        memcpy(source, bytes + at, 64);
        uint8_t kind = bytes[at + 64];
        pack_record r = { .kind = (pack_record_kind)(kind % 3), .why = "why", .size = size };
        r.n_frames = kind / 3 % 17;
        r.source = kind & 128 ? source : NULL;
        CF_ASSERT(pack_journal_add(j, &r) == CF_OK);
    }
    CF_ASSERT(pack_journal_sync(j) == CF_OK);
    pack_journal_close(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *head;
    size_t n_head;
    make_folder("j");
    write_file("", 0, bytes, n);
    read_twice();
    write_records(bytes, 0);
    CF_ASSERT(cf_file_read(&head, &n_head, path) == CF_OK);
    write_file(head, n_head, bytes, n);
    read_twice();
    cf_free(head);
    write_records(bytes, n);
    read_twice();
    return 0;
}
