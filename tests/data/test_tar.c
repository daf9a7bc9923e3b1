/* tar: archives of the tar program in each of its formats, and headers made by hand: look-up by the
 * rules of the list files, hostile sizes, cuts at every byte, damage of every byte. */
#define FOLDER_FILE "a.tar"
#include "test_in_folder.h"

#include "crossframe/data.h"

#include <fcntl.h>

#define BLOCK 512

static uint8_t bytes[64 * BLOCK];
static size_t n_bytes;

static void begin(void) { n_bytes = 0; }

static void seal(uint8_t *h)
{
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (int i = 0; i < BLOCK; i++) sum += h[i];
    snprintf((char *)h + 148, 8, "%06o", sum);
}

/* A header of our own and its data. */
static uint8_t *put(const char *name, char type, const void *data, size_t n)
{
    uint8_t *h = bytes + n_bytes;
    memset(h, 0, BLOCK + (n + BLOCK - 1) / BLOCK * BLOCK);
    memcpy(h, name, strnlen(name, 100));
    snprintf((char *)h + 124, 12, "%011o", (unsigned)n);
    h[156] = (uint8_t)type;
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
    seal(h);
    if (n) memcpy(h + BLOCK, data, n);
    n_bytes += BLOCK + (n + BLOCK - 1) / BLOCK * BLOCK;
    return h;
}

static void finish(void)
{
    memset(bytes + n_bytes, 0, 2 * BLOCK);
    n_bytes += 2 * BLOCK;
}

static cf_status open_bytes(cf_tar **t, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
    return cf_tar_open(t, path);
}

static void expect(const cf_tar *t, const char *name, const char *content)
{
    const uint8_t *got;
    size_t n;
    assert_ok(cf_tar_find(&got, &n, t, name));
    assert_int_equal(n, strlen(content));
    assert_memory_equal(got, content, n);
}

static void names_are_found_whole_then_dotted_then_by_their_last_part(void **state)
{
    (void)state;
    cf_tar *t;
    const uint8_t *p;
    size_t n;
    begin();
    put("./b.mp4", '0', "bee", 3);
    put("x/a.mp4", '0', "xa", 2);
    put("y/a.mp4", 0, "ya", 2);
    put("y/", '5', NULL, 0);
    put("old/", 0, NULL, 0);
    put("link", '1', NULL, 0);
    put("y/c.mp4", '7', "", 0);
    put("b.mp4", '0', "later", 5);
    finish();
    assert_ok(open_bytes(&t, n_bytes));
    assert_int_equal(cf_tar_size(t), 4);
    assert_string_equal(cf_tar_path(t), path);
    static const char *const order[] = { "b.mp4", "x/a.mp4", "y/a.mp4", "y/c.mp4" };
    for (size_t i = 0; i < 4; i++) assert_string_equal(cf_tar_get(&p, &n, t, i), order[i]);
    expect(t, "b.mp4", "later");
    expect(t, "./b.mp4", "later");
    expect(t, "elsewhere/b.mp4", "later");
    expect(t, "y/a.mp4", "ya");
    expect(t, ".//x/a.mp4", "xa");
    expect(t, "c.mp4", "");
    assert_fails(cf_tar_find(&p, &n, t, "a.mp4"), CF_EINVAL, "several files called a.mp4: ");
    assert_fails(cf_tar_find(&p, &n, t, "d.mp4"), CF_ENOTFOUND, "no file d.mp4");
    assert_fails(cf_tar_find(&p, &n, t, "y/"), CF_ENOTFOUND, "no file y/");
    cf_tar_close(t);
    cf_tar_close(NULL);
}

/* Names beyond 100 bytes and beyond ustar's 255. */
static void the_tar_program_in_each_format(void **state)
{
    (void)state;
    if (system("tar --version >/dev/null 2>&1") != 0) skip();
    char command[4000], name[200], deep[60], deeper[400];
    memset(deep, 'd', 50);
    deep[50] = 0;
    snprintf(name, sizeof name, "%s/%s/%s", deep, deep, deep);
    snprintf(deeper, sizeof deeper, "%s/%s/%s", name, deep, deep);
    static const char *const formats[] = { "ustar", "gnu", "posix", "v7" };
    for (size_t i = 0; i < 4; i++) {
        const char *folder_name = i == 3 ? deep : i == 0 ? name : deeper;
        snprintf(command, sizeof command,
                 "cd %s && mkdir -p t/%s && printf one >t/%s/1.mp4 && printf two >t/2.mp4 && "
                 "tar --format=%s -cf a.tar -C t . && rm -r t",
                 folder, folder_name, folder_name, formats[i]);
        assert_int_equal(system(command), 0);
        cf_tar *t;
        assert_ok(cf_tar_open(&t, path));
        assert_int_equal(cf_tar_size(t), 2);
        snprintf(command, sizeof command, "%s/1.mp4", folder_name);
        expect(t, command, "one");
        expect(t, "1.mp4", "one");
        expect(t, "2.mp4", "two");
        cf_tar_close(t);
    }
}

static void sizes_in_base_256_and_in_pax_records(void **state)
{
    (void)state;
    cf_tar *t;
    begin();
    uint8_t *h = put("big", '0', "base", 4);
    memset(h + 124, 0, 12);
    h[124] = 0x80, h[135] = 4;
    seal(h);
    static const char pax[] = "16 path=p/q.mp4\n9 size=3\n";
    put("PaxHeader", 'x', pax, sizeof pax - 1);
    h = put("other", '0', "abc", 3);
    snprintf((char *)h + 124, 12, "%011o", 0u);
    seal(h);
    finish();
    assert_ok(open_bytes(&t, n_bytes));
    expect(t, "big", "base");
    expect(t, "p/q.mp4", "abc");
    assert_int_equal(cf_tar_size(t), 2);
    cf_tar_close(t);
}

static void refused(const char *why)
{
    cf_tar *t;
    cf_status status = open_bytes(&t, n_bytes);
    if (status != CF_EFORMAT && status != CF_EUNSUPPORTED)
        fail_msg("status %d, expected '%s'", (int)status, why);
    if (!strstr(cf_error(), why) || !strstr(cf_error(), path))
        fail_msg("'%s' does not say '%s'", cf_error(), why);
}

static void what_is_no_tar_is_refused(void **state)
{
    (void)state;
    cf_tar *t;
    static const char *const bad[] = { "99 path=x\n",
                                       "0 path=x\n",
                                       "path=x\n",
                                       "9999999999999999999999 path=x\n",
                                       "6 path\n",
                                       "12 size=12x\n",
                                       "28 size=99999999999999999999\n" };
    assert_fails(cf_tar_open(&t, path), CF_ENOTFOUND, path);
    assert_fails(cf_tar_open(&t, folder), CF_EIO, "not a file");
    n_bytes = 100;
    refused("not a tar (100 bytes)");
    memset(bytes, 'a', n_bytes = 2000);
    refused("byte 0: not a tar header");
    memcpy(bytes, "\x1f\x8b\x08", 3);
    refused("compressed with gzip");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin();
        put("x", 'x', bad[i], strlen(bad[i]));
        put("f", '0', "abc", 3);
        finish();
        refused("pax");
    }
    begin();
    uint8_t *h = put("x", '0', "abc", 3);
    memset(h + 124, '7', 11);
    seal(h);
    refused("beyond the end");
    memset(h + 124, 0xff, 12);
    seal(h);
    refused("no number");
    memcpy(h + 124, "0000000000z", 12);
    seal(h);
    refused("no number");
    begin();
    put("x", 'S', "abc", 3);
    refused("sparse");
    begin();
    put("x", 'L', "abc", 3);
    refused("middle of a header");
}

/* Opened or refused; what is opened lies within the file (the sanitizers see to it). */
static void use_all(size_t at)
{
    cf_tar *t = NULL;
    const uint8_t *p;
    if (cf_tar_open(&t, path) != CF_OK) {
        if (!strstr(cf_error(), path)) fail_msg("damaged byte %zu: '%s'", at, cf_error());
        return;
    }
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < cf_tar_size(t); i++) {
        size_t m;
        assert_true(*cf_tar_get(&p, &m, t, i) != 0);
        for (size_t k = 0; k < m; k++) sum = (uint8_t)(sum + p[k]);
    }
    cf_tar_close(t);
}

static void every_cut_and_every_damaged_byte(void **state)
{
    (void)state;
    static const char pax[] = "16 path=p/q.mp4\n9 size=3\n";
    begin();
    put("a/b", '0', "hello", 5);
    put("././@LongLink", 'L', "long/name", 10);
    put("cut", '0', "abc", 3);
    put("PaxHeader", 'x', pax, sizeof pax - 1);
    put("other", '0', "abc", 3);
    size_t data = n_bytes, all;
    finish();
    all = n_bytes;
    for (size_t n = 0; n < data; n += 61) {
        cf_tar *t;
        if (open_bytes(&t, n) != CF_OK) continue;
        /* Readable cuts are those at the end of a file's data. */
        if (cf_tar_size(t) == 3 && n < data - BLOCK) fail_msg("whole at %zu bytes", n);
        cf_tar_close(t);
    }
    cf_tar *t;
    assert_ok(open_bytes(&t, all));
    cf_tar_close(t);
    int fd = open(path, O_WRONLY); /* one byte at a time: whole files would take half a minute */
    for (size_t at = 0; at < data; at++) {
        uint8_t wrong = bytes[at] ^ 0x41;
        assert_int_equal(pwrite(fd, &wrong, 1, (off_t)at), 1);
        use_all(at);
        assert_int_equal(pwrite(fd, bytes + at, 1, (off_t)at), 1);
    }
    close(fd);
}

static void no_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    begin();
    put("a/b", '0', "hello", 5);
    put("c", '0', "hello", 5);
    finish();
    cf_tar *t = NULL;
    assert_ok(open_bytes(&t, n_bytes));
    cf_tar_close(t);
    size_t before = cf_memory_stats_get().bytes_now, n = 1;
    for (cf_status status = CF_ENOMEM; status != CF_OK; n++) {
        cf_memory_fail_at(n);
        status = cf_tar_open(&t, path);
        cf_memory_fail_at(0);
        if (status == CF_OK)
            cf_tar_close(t);
        else
            assert_int_equal(status, CF_ENOMEM);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
    }
    assert_true(n > 5);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
TESTS(IN_FOLDER(names_are_found_whole_then_dotted_then_by_their_last_part),
      IN_FOLDER(the_tar_program_in_each_format), IN_FOLDER(sizes_in_base_256_and_in_pax_records),
      IN_FOLDER(what_is_no_tar_is_refused), IN_FOLDER(every_cut_and_every_damaged_byte),
      IN_FOLDER(no_memory_is_an_error_and_no_leak))
