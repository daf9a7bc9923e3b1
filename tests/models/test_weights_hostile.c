/* Hostile weights: pickles that want to run code or never end, archives that lie about sizes, and
 * a thousand damaged files. Each is a clear line, in little time and memory. */
#include <sys/resource.h>

#include "../test.h"
#include "archive.h"

#include "crossframe/weights.h"
#include "models/weights/zip.h"

#define GOLDEN "tests/golden/weights/"
enum { SPARE = 64 << 20, MOST_READ = 1 << 20 };

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 }; /* its allocator keeps what was freed */
#else
enum { SANITIZED = 0 };
#endif

typedef struct {
    size_t now, peak; /* bytes */
} memory;

/* Of the library's own allocations, and of the process with what libzip and cJSON take. */
static memory of_library(void)
{
    cf_memory_stats m = cf_memory_stats_get();
    return (memory){ m.bytes_now, m.bytes_peak };
}

static memory of_process(void)
{
    struct rusage used;
    long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &size, &resident) != 2) resident = 0;
    if (f) fclose(f);
    getrusage(RUSAGE_SELF, &used);
    return (memory){ (size_t)resident * (size_t)sysconf(_SC_PAGESIZE),
                     (size_t)used.ru_maxrss * 1024 };
}

/* A peak that was not passed is not seen, so the test's own buffers may hide a smaller one. */
static void assert_bounded(memory before, memory after, size_t file_bytes)
{
    if (after.peak > before.peak) assert_true(after.peak <= before.now + file_bytes + SPARE);
}

/* What a caller could want; its buffers are his own matter. */
static void read_all(const cf_weights *w)
{
    for (size_t i = 0; i < cf_weights_count(w); i++) {
        const cf_weight *t = cf_weights_at(w, i);
        cf_real *value;
        if (i >= 50 || t->n > MOST_READ / sizeof *value) continue;
        assert_ok(cf_alloc(&value, t->n, sizeof *value));
        cf_status status = cf_weights_read(value, t->n, w, t);
        if (status != CF_OK) assert_true(*cf_error() != 0);
        cf_free(value);
    }
}

/* Opens and reads, and holds what every input has to hold. */
static cf_status try(const void *bytes, size_t n)
{
    cf_weights *w;
    char *copy = malloc(n > 0 ? n : 1); /* exactly n bytes: one more is seen by the sanitiser */
    assert_non_null(copy);
    if (n > 0) memcpy(copy, bytes, n);
    memory library = of_library(), process = of_process();
    double start = cf_seconds();
    cf_status status = cf_weights_open_memory(&w, copy, n, "x.pt");
    if (status == CF_OK) {
        read_all(w);
        cf_weights_close(w);
    } else {
        assert_true(strncmp(cf_error(), "x.pt", 4) == 0);
        assert_null(strchr(cf_error(), '\n'));
        assert_int_not_equal(status, CF_ENOMEM);
    }
    assert_true(cf_seconds() - start < 5);
    assert_int_equal(of_library().now, library.now);
    assert_bounded(library, of_library(), n);
    if (!SANITIZED) assert_bounded(process, of_process(), n);
    free(copy);
    return status;
}

/* ---- pickles --------------------------------------------------------------------------------- */

static cf_status try_pickle_bytes(const void *pickle, size_t n)
{
    static const float numbers[4] = { 1, 2, 3, 4 };
    const test_record records[] = {
        { .name = "x/data.pkl", .bytes = pickle, .n = n },
        { .name = "x/data/0", .bytes = numbers, .n = sizeof numbers },
    };
    size_t n_archive;
    char *archive = test_archive(&n_archive, records, 2);
    cf_status status = try(archive, n_archive);
    cf_free(archive);
    return status;
}

#define PICKLE(text) try_pickle_bytes(text, sizeof(text) - 1)
/* A short text, protocol 4's way, and a tensor of storage 0 with 4 floats. */
#define STORAGE_OF(type, key, n) "(U\7storagec" type "\nU\1" key "U\3cpu" n "tQ"
#define TENSOR(storage, offset, size, stride)                                                      \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage offset size stride "\x89NtR"
#define STORAGE STORAGE_OF("torch\nFloatStorage", "0", "K\4")
#define GOOD TENSOR(STORAGE, "K\0", "K\4\x85", "K\1\x85")
#define MODEL(item) "\x80\2}U\1a" item "s."

static void sound_pickles_are_read(void **state)
{
    (void)state;
    assert_ok(PICKLE(MODEL(GOOD)));
    /* Nothing is executed: the file is read as if the reduction were not there. */
    assert_ok(PICKLE("\x80\2}(U\1a" GOOD "U\1bcos\nsystem\nU\4true\x85RU\1c(iposix\n"
                     "system\n(cbuiltins\neval\nU\4True\x85obu."));
    assert_ok(PICKLE(MODEL("ctorch._utils\n_rebuild_parameter\n(" GOOD "\x88NtR")));
    assert_ok(PICKLE("\x80\2}(U\5model}U\1a" GOOD "sU\1bK\1K\2K\3\x87u."));
    assert_ok(PICKLE(MODEL(TENSOR(STORAGE, "K\0", "K\0J\xff\xff\xff\x7f\x86", "K\1K\1\x86"))));
}

static void hostile_pickles_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *line;
    } cases[] = {
#define CASE(bytes, line) { bytes, sizeof(bytes) - 1, line }
        CASE("\x80\2cos\nsystem\nU\4true\x85R.", "holds an object os.system"),
        CASE("", "cut off at byte 0"),
        CASE("\x80\6.", "pickle protocol 6"),
        CASE("\x80\2", "cut off at byte 2"),
        CASE("\x80\2.", "nothing to act on"),
        CASE("\x80\2(.", "nothing to act on"),
        CASE("\x80\2I1\n.", "unknown opcode 0x49 at byte 2"),
        CASE("\x80\2\x97.", "unknown opcode 0x97"),
        CASE("\x80\2X\xff\xff\xff\xff"
             "a.",
             "cut off in opcode 0x58"),
        CASE("\x80\2\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
             "a.",
             "cut off in opcode 0x8d"),
        CASE("\x80\2\x8b\xff\xff\xff\x7f"
             "a.",
             "cut off in opcode 0x8b"),
        CASE("\x80\2\x95\xff\xff\xff\xff\0\0\0\0.", "a frame is longer"),
        CASE("\x80\2Nr\xff\xff\xff\xff.", "memo's number is larger"),
        CASE("\x80\2h\1.", "what was not remembered"),
        CASE("\x80\2}s.", "more than the stack holds"),
        CASE("\x80\2}(Nu.", "a key has no value"),
        CASE("\x80\2N(NNu.", "holds none of this kind"),
        CASE("\x80\2NNs.", "nothing to act on"),
        CASE("\x80\2t.", "there is no mark"),
        CASE("\x80\2(o.", "without a class"),
        CASE("\x80\2(N\x85.", ""),
        CASE("\x80\2NN\x93.", "a global's name is no text"),
        CASE("\x80\2cos", "cut off in opcode 0x63"),
        CASE("\x80\2}q\0U\5modelh\0s.", "holds no tensors at its top level"),
        CASE("\x80\2]q\0h\0a.", "holds no dictionary"),
        CASE("\x80\2}.", "holds no dictionary"),
        CASE("\x80\2}(U\1eK\1U\1fK\2u.", "its top level has 2 entries: e, f"),
        CASE(MODEL(TENSOR("N", "K\0", "K\4\x85", "K\1\x85")), "tensor a has no storage"),
        CASE(MODEL(TENSOR("NQ", "K\0", "K\4\x85", "K\1\x85")), "tensor a has no storage"),
        CASE(MODEL(TENSOR(STORAGE, "K\1", "K\4\x85", "K\1\x85")), "reaches beyond its storage"),
        CASE(MODEL(TENSOR(STORAGE, "K\0", "K\4\x85", "K\2\x85")), "reaches beyond its storage"),
        CASE(MODEL(TENSOR(STORAGE, "J\xff\xff\xff\xff", "K\4\x85", "K\1\x85")), "no size"),
        CASE(MODEL(TENSOR(STORAGE, "K\0", "J\xff\xff\xff\xff\x85", "K\1\x85")), "list of sizes"),
        CASE(MODEL(TENSOR(STORAGE, "K\0", "K\4\x85", "J\xff\xff\xff\xff\x85")), "no size"),
        CASE(MODEL(TENSOR(STORAGE, "K\0", "K\4K\1\x86", "K\1\x85")), "do not fit"),
        CASE(MODEL(TENSOR(STORAGE, "K\0", "}", "}")), "do not fit"),
        CASE(MODEL(TENSOR(STORAGE, "K\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t",
                          "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t")),
             "more than 8 dimensions"),
        CASE(MODEL(TENSOR(STORAGE, "K\0", "\x8a\10\0\0\0\0\0\0\0\x40K\4\x86",
                          "\x8a\10\0\0\0\0\0\0\0\x40K\0\x86")),
             "more elements than there can be"),
        CASE(MODEL(TENSOR(STORAGE, "K\0", "K\2K\3\x86", "\x8a\10\0\0\0\0\0\0\0\x60K\0\x86")),
             "reaches beyond its storage"),
        CASE(MODEL(TENSOR(STORAGE, "K\0", "J\0\0\0\x40\x85", "K\0\x85")), "than is believed"),
        CASE(MODEL(TENSOR(STORAGE, "\x8a\11\0\0\0\0\0\0\0\0\1", "K\4\x85", "K\1\x85")), "no size"),
        CASE(MODEL(TENSOR(STORAGE_OF("torch\nFloatStorage", "0", "K\5"), "K\0", "K\4\x85",
                          "K\1\x85")),
             "its storage has 4 elements, not 5"),
        CASE(MODEL(TENSOR(STORAGE_OF("torch\nDoubleStorage", "0", "K\4"), "K\0", "K\4\x85",
                          "K\1\x85")),
             "its storage has 2 elements, not 4"),
        CASE(MODEL(TENSOR(STORAGE_OF("torch\nFloatStorage", "1", "K\4"), "K\0", "K\4\x85",
                          "K\1\x85")),
             "has no record x/data/1"),
        CASE(MODEL(TENSOR(STORAGE_OF("torch\nQInt8Storage", "0", "K\4"), "K\0", "K\4\x85",
                          "K\1\x85")),
             "QInt8Storage, which is not read"),
        CASE(MODEL("ctorch._utils\n_rebuild_sparse_tensor\nNR"), "_rebuild_sparse_tensor: only"),
        CASE("\x80\2}(U\1a" GOOD "U\1a" GOOD "u.", "tensor a is there twice"),
        CASE("\x80\2}U\2a\0" GOOD "s.", "a tensor's name is no text"),
        CASE("\x80\2}U\2a\xff" GOOD "s.", "a tensor's name is no text"),
        CASE("\x80\2}\x8b\4\0\0\0\1\2\3\4" GOOD "s.", "holds no tensors"),
        CASE("\x80\2c__torch__\nM\n)\x81}U\1aNsb.", "its modules hold no tensors"),
        CASE("\x80\2c__torch__\nM\n)\x81q\0}U\1mh\0sb.", "more than 32 deep"),
        CASE("\x80\2c__torch__\nM\n)\x81Nb.", "its modules hold no tensors"),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cf_status status = try_pickle_bytes(cases[i].bytes, cases[i].n);
        if (status == CF_OK || !strstr(cf_error(), cases[i].line))
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, status == CF_OK ? "" : cf_error(),
                     cases[i].line);
    }
}

/* One opcode or a few, a million times. */
static void repeated_opcodes(void **state)
{
    (void)state;
    static const char *const opcodes[] = { "(",  "]",  "}",      "N",    "K\1",   "]\x85",  "}q\1",
                                           "(l", "(d", "2",      "NNs",  "N)R",   "N)\x81", "NQ",
                                           "Nb", "]a", "(N\x91", "U\1a", "c\n\n", "(i\n\n" };
    enum { TIMES = 1000000 };
    char *bytes;
    assert_ok(cf_alloc(&bytes, 8 * TIMES, 1));
    for (size_t i = 0; i < sizeof opcodes / sizeof *opcodes; i++) {
        static const char start[] = "\x80\2}N";
        size_t length = strlen(opcodes[i]), n = sizeof start - 1;
        memcpy(bytes, start, n);
        for (size_t k = 0; k < TIMES; k++, n += length) memcpy(bytes + n, opcodes[i], length);
        bytes[n++] = '.';
        assert_int_not_equal(try_pickle_bytes(bytes, n), CF_OK);
    }
    cf_free(bytes);
}

/* 40 modules, each of which has the next one twice: 2^40 ways to walk. */
static void modules_that_multiply(void **state)
{
    (void)state;
    char bytes[4096] = "\x80\2", *at = bytes + 2;
    for (int i = 0; i < 30; i++) at += sprintf(at, "c__torch__\nM\n)\x81}(U\1a");
    at += sprintf(at, "N2");
    *at++ = '0';
    for (int i = 0; i < 30; i++) {
        *at++ = 'q';
        *at++ = (char)i;
        memcpy(at, "U\1bh", 4);
        at[4] = (char)i;
        memcpy(at + 5, "ub", 2);
        at += 7;
    }
    *at++ = '.';
    assert_int_equal(try_pickle_bytes(bytes, (size_t)(at - bytes)), CF_EFORMAT);
    assert_non_null(strstr(cf_error(), "attributes"));
}

/* 100,000 names for one tensor, and one text under 100,000 keys. */
static void tables_have_a_limit(void **state)
{
    (void)state;
    enum { N = 100000 };
    static const char start[] = "\x80\2}" GOOD "q\0"
                                "0(";
    char *bytes;
    assert_ok(cf_alloc(&bytes, 16 * N, 1));
    size_t n = sizeof start - 1;
    memcpy(bytes, start, n);
    for (int i = 0; i < N; i++) n += (size_t)sprintf(bytes + n, "U\6%06dh", i), bytes[n++] = 0;
    memcpy(bytes + n, "u.", 2);
    assert_int_equal(try_pickle_bytes(bytes, n + 2), CF_EUNSUPPORTED);
    assert_non_null(strstr(cf_error(), "more than 20000 tensors"));
    n = sizeof start - 1;
    for (int i = 0; i < N; i++) n += (size_t)sprintf(bytes + n, "U\6%06dK", i), bytes[n++] = 7;
    memcpy(bytes + n, "u.", 2);
    assert_int_equal(try_pickle_bytes(bytes, n + 2), CF_EUNSUPPORTED);
    assert_non_null(strstr(cf_error(), "more than 4096 texts"));
    cf_free(bytes);
}

/* ---- archives -------------------------------------------------------------------------------- */

static const char good_pickle[] = MODEL(GOOD);
static const float four[4] = { 1, 2, 3, 4 };
#define GOOD_PICKLE                                                                                \
    {                                                                                              \
        .name = "x/data.pkl", .bytes = good_pickle, .n = sizeof good_pickle - 1                    \
    }
#define GOOD_DATA                                                                                  \
    {                                                                                              \
        .name = "x/data/0", .bytes = four, .n = sizeof four                                        \
    }

/* "" for an archive that opens; then the tensor may be refused with `read`. */
static void assert_archive(const test_record *records, size_t n, const char *open, const char *read)
{
    size_t n_archive;
    char *archive = test_archive(&n_archive, records, n);
    cf_status status = try(archive, n_archive);
    if (*open && (status == CF_OK || !strstr(cf_error(), open)))
        fail_msg("\"%s\" does not say \"%s\"", status == CF_OK ? "" : cf_error(), open);
    if (!*open) {
        cf_weights *w;
        cf_real got[4];
        assert_ok(cf_weights_open_memory(&w, archive, n_archive, "x.pt"));
        status = cf_weights_read(got, 4, w, cf_weights_at(w, 0));
        if (*read ? status == CF_OK || !strstr(cf_error(), read) : status != CF_OK)
            fail_msg("\"%s\" does not say \"%s\"", cf_error(), read);
        cf_weights_close(w);
    }
    cf_free(archive);
}

static void archives_that_lie(void **state)
{
    (void)state;
    enum { BIG = 200 << 20 };
    char *zeros = calloc(BIG, 1);
    assert_non_null(zeros);
    const struct {
        test_record record[3];
        size_t n;
        const char *open, *read;
    } cases[] = {
        { { GOOD_PICKLE, GOOD_DATA }, 2, "", "" },
        { { GOOD_PICKLE }, 1, "has no record x/data/0", "" },
        { { GOOD_DATA }, 1, "none of PyTorch: it has no x/data.pkl", "" },
        { { { .name = "data.pkl", .bytes = good_pickle, .n = 4 } }, 1, "no folder inside", "" },
        { { { .name = "../data.pkl", .bytes = "x", .n = 1 } },
          1,
          "unknown opcode 0x78 at byte 0",
          "" },
        { { GOOD_PICKLE, GOOD_DATA, GOOD_DATA }, 3, "damaged zip archive", "" },
        { { GOOD_PICKLE, { .name = "x/data/0", .bytes = four, .n = 16, .spoil = 1 } },
          2,
          "",
          "checksum is wrong" },
        { { GOOD_PICKLE,
            { .name = "x/data/0", .bytes = four, .n = 16, .spoil = 1, .deflate = true } },
          2,
          "",
          "CRC error" },
        { { GOOD_PICKLE, { .name = "x/data/0", .bytes = four, .n = 16, .claim = 1 << 20 } },
          2,
          "two sizes",
          "" },
        { { GOOD_PICKLE,
            { .name = "x/data/0", .bytes = four, .n = 16, .claim = 1 << 20, .deflate = true } },
          2,
          "",
          "checksum is wrong" },
        { { GOOD_PICKLE,
            { .name = "x/data/0", .bytes = four, .n = 16, .claim = 1u << 31, .deflate = true } },
          2,
          "more than is believed",
          "" },
        { { GOOD_PICKLE,
            { .name = "x/data/0", .bytes = zeros, .n = 16 << 20, .claim = 16, .deflate = true } },
          2,
          "",
          "checksum is wrong" },
        { { GOOD_PICKLE, { .name = "x/data/0", .bytes = zeros, .n = BIG, .deflate = true } },
          2,
          "more than is believed",
          "" },
        { { { .name = "x/data.pkl", .bytes = zeros, .n = BIG, .deflate = true } },
          1,
          "more than is believed",
          "" },
        { { { .name = "x/data.pkl", .bytes = zeros, .n = 60 << 20, .deflate = true } },
          1,
          "the most is",
          "" },
        { { GOOD_PICKLE, { .name = "x/data/0", .bytes = four, .n = 16, .method = 12 } },
          2,
          "packed by method 12",
          "" },
        { { GOOD_PICKLE, GOOD_DATA, { .name = "x/byteorder", .bytes = "big", .n = 3 } },
          3,
          "big-endian",
          "" },
        { { GOOD_PICKLE,
            GOOD_DATA,
            { .name = "x/byteorder", .bytes = "little", .n = 6, .deflate = true } },
          3,
          "",
          "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_archive(cases[i].record, cases[i].n, cases[i].open, cases[i].read);
    test_record hidden[2] = { GOOD_PICKLE, GOOD_DATA };
    hidden[1].flags = 1;
    assert_archive(hidden, 2, "is encrypted", "");
    free(zeros);
}

static void archives_with_many_records(void **state)
{
    (void)state;
    enum { N = 60000 };
    test_record *records;
    char(*names)[16];
    size_t n;
    assert_ok(cf_alloc_zero(&records, N, sizeof *records));
    assert_ok(cf_alloc(&names, N, sizeof *names));
    for (int i = 0; i < N; i++) {
        sprintf(names[i], "x/%d", i);
        records[i].name = names[i];
        records[i].bytes = "";
    }
    char *archive = test_archive(&n, records, N);
    assert_int_equal(try(archive, n), CF_EUNSUPPORTED);
    assert_non_null(strstr(cf_error(), "zip directory is larger than 4 MB"));
    cf_free(archive);
    cf_free(names);
    cf_free(records);
}

static void every_truncation(void **state)
{
    (void)state;
    static const char *const files[] = { GOLDEN "script.pt", GOLDEN "deflated-views.pt",
                                         GOLDEN "module.safetensors" };
    for (size_t i = 0; i < 3; i++) {
        char *bytes;
        size_t n;
        assert_ok(cf_file_read(&bytes, &n, files[i]));
        for (size_t k = 0; k < n; k++) assert_int_not_equal(try(bytes, k), CF_OK);
        assert_ok(try(bytes, n));
        cf_free(bytes);
    }
}

/* ---- a thousand damaged files ---------------------------------------------------------------- */

static void damage(cf_rng *r, char *bytes, size_t *n)
{
    static const uint64_t values[] = { 0,         1,          0x7f,       0x80,       0xff,
                                       0xffff,    0x7fffffff, 0x80000000, 0xffffffff, 1ull << 40,
                                       INT64_MAX, UINT64_MAX, 0x2e2e2e2e, 0x28282828 };
    size_t at = cf_rng_below(r, (uint32_t)*n);
    uint64_t value = values[cf_rng_below(r, sizeof values / sizeof *values)];
    size_t width = (size_t)1 << cf_rng_below(r, 4);
    switch (cf_rng_below(r, 5)) {
    case 0: bytes[at] = (char)(bytes[at] ^ (1 << cf_rng_below(r, 8))); break;
    case 1: bytes[at] = (char)cf_rng_u32(r); break;
    case 2: memcpy(bytes + at, &value, width < *n - at ? width : *n - at); break;
    case 3: { /* a piece over another: opcodes, records, directory entries */
        size_t from = cf_rng_below(r, (uint32_t)*n), length = 1 + cf_rng_below(r, 40);
        size_t most = *n - (from > at ? from : at);
        memmove(bytes + at, bytes + from, length < most ? length : most);
        break;
    }
    default: /* a piece is gone */
        memmove(bytes + at, bytes + at + 1, *n - at - 1);
        if (*n > 1) --*n;
    }
}

/* The archive of `name` with its pickle damaged and its checksums right. */
static char *damaged_pickle(size_t *n, cf_rng *r, const char *name)
{
    char *bytes, *pickle = NULL, *out;
    size_t n_bytes;
    cf_zip *zip;
    const char *inside;
    test_record records[40];
    size_t n_records = 0, n_pickle = 0;
    char *names[40];
    assert_ok(cf_file_read(&bytes, &n_bytes, name));
    assert_ok(cf_zip_open(&zip, bytes, n_bytes, name));
    assert_ok(cf_zip_folder(&inside, zip));
    for (int i = -1; i < 20; i++) {
        size_t record;
        const void *data;
        char *path;
        assert_ok(i < 0 ? cf_format(&path, "%s/data.pkl", inside)
                        : cf_format(&path, "%s/data/%d", inside, i));
        if (cf_zip_find(&record, zip, path) != CF_OK) {
            cf_free(path);
            continue;
        }
        assert_ok(cf_zip_map(&data, zip, record));
        names[n_records] = path;
        records[n_records] = (test_record){ .name = path, .bytes = data };
        records[n_records++].n = cf_zip_size(zip, record);
    }
    n_pickle = records[0].n;
    assert_ok(cf_alloc(&pickle, n_pickle, 1));
    memcpy(pickle, records[0].bytes, n_pickle);
    for (uint32_t edits = 1 + cf_rng_below(r, 3); edits > 0; edits--) damage(r, pickle, &n_pickle);
    records[0].bytes = pickle;
    records[0].n = n_pickle;
    out = test_archive(n, records, n_records);
    for (size_t i = 0; i < n_records; i++) cf_free(names[i]);
    cf_zip_close(zip);
    cf_free(pickle);
    cf_free(bytes);
    return out;
}

static void damaged_files(void **state)
{
    (void)state;
    static const char *const files[] = { "checkpoint.pth", "script.pt",         "types.pt",
                                         "views.pt",       "protocol5.pt",      "deflated-views.pt",
                                         "v3.pt",          "module.safetensors" };
    enum { EACH = 150 };
    size_t refused = 0, total = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = test_path(GOLDEN, files[i]), *bytes, *copy;
        size_t n;
        assert_ok(cf_file_read(&bytes, &n, path));
        assert_ok(cf_alloc(&copy, n, 1));
        for (uint64_t k = 0; k < EACH; k++) {
            cf_rng r = cf_rng_make(7, CF_RNG_TEST, (uint32_t)i, k);
            size_t n_copy = n;
            memcpy(copy, bytes, n);
            for (uint32_t e = 1 + cf_rng_below(&r, 4); e > 0; e--) damage(&r, copy, &n_copy);
            refused += try(copy, n_copy) != CF_OK;
            total++;
            if (i > 4) continue; /* below: archives of stored records */
            char *archive = damaged_pickle(&n_copy, &r, path);
            refused += try(archive, n_copy) != CF_OK;
            total++;
            cf_free(archive);
        }
        cf_free(copy);
        cf_free(bytes);
        cf_free(path);
    }
    assert_true(total >= 1000);
    assert_in_range(refused, total / 4, total - 50); /* both kinds are there */
}

TESTS(TEST(sound_pickles_are_read), TEST(hostile_pickles_are_refused), TEST(repeated_opcodes),
      TEST(modules_that_multiply), TEST(tables_have_a_limit), TEST(archives_that_lie),
      TEST(archives_with_many_records), TEST(every_truncation), TEST(damaged_files))
