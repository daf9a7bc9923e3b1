/* The tokenizer: cleaning and splitting by the vectors of spec 10.4 (as pieces: with a vocabulary
 * without merges the ids spell the bytes), byte ids, special texts, byte pairs against a second
 * implementation on strings, both file formats, refusals, failed allocations. */
#include "test_in_folder.h"

#include "crossframe/data.h"
#include "data/tokenizer_parts.h"

#include <zlib.h>

static cf_tokenizer *open_text(const char *merges)
{
    cf_tokenizer *t = NULL;
    char *path = test_path(folder, "merges.txt");
    assert_ok(cf_file_write(path, merges, strlen(merges)));
    assert_ok(cf_tokenizer_open(&t, path));
    cf_free(path);
    return t;
}

static int byte_of_id(int32_t id)
{
    for (int b = 0; b < 256; b++)
        if ((int32_t)tokenizer_byte_id((unsigned)b) == id) return b;
    return -1;
}

/* The pieces of a text, each followed by '|'. */
static void pieces(char *out, const cf_tokenizer *t, const char *text)
{
    int32_t ids[256];
    size_t n = 0;
    assert_ok(cf_tokenize(ids, &n, 256, t, text));
    assert_int_equal(ids[0], 512);
    assert_int_equal(ids[n - 1], 513);
    for (size_t i = 1; i + 1 < n; i++) {
        if (ids[i] >= 512) {
            *out++ = ids[i] == 512 ? 'S' : 'E';
            *out++ = '|';
            continue;
        }
        *out++ = (char)byte_of_id(ids[i] % 256);
        if (ids[i] >= 256) *out++ = '|';
    }
    *out = 0;
}

static void cleaning_and_splitting(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        /* spec 10.4 */
        { "", "" },
        { "a photo of a cat", "a|photo|of|a|cat|" },
        { "massaging person's head", "massaging|person|'s|head|" },
        { "ApplyEyeMakeup", "applyeyemakeup|" },
        { "  Hello,\tWorld!!  2024 ", "hello|,|world|!!|2|0|2|4|" },
        { "!!'s", "!!'|s|" },
        { "caf\xc3\xa9", "caf\xc3\xa9|" },
        { "cafe\xcc\x81", "caf\xc3\xa9|" },
        { "\xe2\x80\x9cquoted\xe2\x80\x9d it\xe2\x80\x99s", "\"|quoted|\"|it|'s|" },
        { "AT&amp;T &lt;b&gt;", "at|&|t|<|b|>|" },
        { "&amp;amp;lt;", "<|" },
        { "x<y &amp; z", "x|<|y|&|z|" },
        { "AT&ampT &notit;", "at|&|t|\xc2\xac|it|;|" },
        { "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e 12", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e|1|2|" },
        { "\xf0\x9f\x8e\xa5\xf0\x9f\x8f\x80", "\xf0\x9f\x8e\xa5\xf0\x9f\x8f\x80|" },
        { "\xef\xbc\xa1\xef\xbc\xa2\xef\xbc\xa3\xef\xbc\x91\xef\xbc\x92", "abc|1|2|" },
        { "\xef\xac\x81ne", "fine|" },
        { "\xc2\xbd x\xc2\xb2 \xe2\x85\xa7", "\xc2\xbd|x|\xc2\xb2|\xe2\x85\xb7|" },
        { "I'Ll DON'T we'Re", "i|'ll|don|'t|we|'re|" },
        { "<|endoftext|>", "E|" },
        { "a<|StartOfText|>b", "a|S|b|" },
        { "\x01\x61\x1f\x62", "ab|" },
        /* white space */
        { "a\xe3\x80\x80\x62\xc2\xa0\x63\xe2\x80\xa8\x64\xe1\x9a\x80\x65", "a|b|c|d|e|" },
        { "a\r\nb\rc\x0b\x64", "a|b|cd|" },
        { "a\xe1\xa0\x8e\x62", "a|\xe1\xa0\x8e|b|" }, /* U+180E is none */
        { " \t\n", "" },
        /* case */
        { "\xc4\xb0", "i|\xcc\x87|" },
        { "\xce\x9f\xce\x94\xce\x9f\xce\xa3 \xce\xa3",
          "\xce\xbf\xce\xb4\xce\xbf\xcf\x82|\xcf\x83|" },
        { "\xce\xa3\xce\x91.", "\xcf\x83\xce\xb1|.|" },
        { "\xc3\x89T\xc3\x89", "\xc3\xa9t\xc3\xa9|" },
        /* the classes of the pattern */
        { "foo_bar-baz", "foo|_|bar|-|baz|" },
        { "x\xcd\x85y", "x|y|" }, /* U+0345 vanishes */
        { "it'\xc5\xbf", "it|'\xc5\xbf|" },
        { "rock'n'roll's", "rock|'|n|'|roll|'s|" },
        { "\xe0\xa4\xb9\xe0\xa4\xbf", "\xe0\xa4\xb9|\xe0\xa4\xbf|" }, /* letter, combining mark */
        { "1\xd9\xa2\xe2\x91\xa2", "1|\xd9\xa2|\xe2\x91\xa2|" },      /* digits of all kinds */
        /* repair */
        { "\x1b[31;1mred\x1b[0m", "red|" },
        { "\xef\xbb\xbfmark", "mark|" },
        { "\xc4\xb2s \xc7\x87 \xef\xac\x84", "ijs|lj|ffl|" },
        { "5 \xc2\x80", "5|\xe2\x82\xac|" }, /* a C1 control as Windows-1252: the euro */
        /* entities */
        { "&#65;&#x42;&#X43;", "abc|" },
        { "&#150;&#0;", "\xe2\x80\x93\xef\xbf\xbd|" },
        { "&EACUTE;&eacute;&Eacute", "\xc3\xa9\xc3\xa9\xc3\xa9|" },
        { "&nope; &; & &#; &#x;", "&|nope|;|&;|&|&#;|&#|x|;|" },
        { "&AMP;&SZLIG; &LTIMES; &ltimes;", "&|ss|<|imes|;|\xe2\x8b\x89|" },
        { "&NotEqualTilde;&bne;", "\xe2\x89\x82\xcc\xb8=\xe2\x83\xa5|" }, /* two code points */
        { "&CounterClockwiseContourIntegral; &notinva;", "\xe2\x88\xb3|\xe2\x88\x89|" },
        { "&lt&#59; &lt&semi;", "<;|<|" }, /* a numeric semicolon is decoded later */
        { "&lt;&amp;amp;amp;amp; &amp;amp;amp;lt;", "<&|<|" },
        { "a &amp;amp;amp;gt;\nb < c\nd &amp;amp;amp;gt;",
          "a|>|b|<|c|d|&|amp|;|gt|;|" }, /* by line */
        { "\xef\xbf\xa3", "\xcc\x84|" }, /* U+FFE3: a space and U+0304 */
        { "A\xd5\x9f\xce\xa3", "a|\xd5\x9f|\xcf\x82|" },
        { "\xe2\x85\xa7\xce\xa3", "\xe2\x85\xb7|\xcf\x82|" }, /* a numeral has case */
        { "&hellip;&apos;s", "\xe2\x80\xa6'|s|" },
        { "&apos &lt&gt", "&|apos|<>|" },
        { "<b>&amp;lt;</b>", "<|b|><</|b|>|" },
    };
    char got[1024];
    cf_tokenizer *t = open_text("#version: 0.2\n");
    assert_int_equal(cf_tokenizer_vocabulary(t), 514);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pieces(got, t, cases[i][0]);
        if (strcmp(got, cases[i][1]) != 0)
            fail_msg("case %zu \"%s\": %s, expected %s", i, cases[i][0], got, cases[i][1]);
        pieces(got, t, cases[i][0]); /* now from the cache */
        assert_string_equal(got, cases[i][1]);
    }
    cf_tokenizer_free(t);
}

static void byte_ids(void **state)
{
    (void)state;
    /* Spec 10.2: 0x21-0x7E, 0xA1-0xAC, 0xAE-0xFF, then the others ascending. */
    size_t id = 0;
    for (unsigned b = 0x21; b <= 0x7e; b++) assert_int_equal(tokenizer_byte_id(b), id++);
    for (unsigned b = 0xa1; b <= 0xac; b++) assert_int_equal(tokenizer_byte_id(b), id++);
    for (unsigned b = 0xae; b <= 0xff; b++) assert_int_equal(tokenizer_byte_id(b), id++);
    for (unsigned b = 0; b <= 0x20; b++) assert_int_equal(tokenizer_byte_id(b), id++);
    for (unsigned b = 0x7f; b <= 0xa0; b++) assert_int_equal(tokenizer_byte_id(b), id++);
    assert_int_equal(tokenizer_byte_id(0xad), id++);
    assert_int_equal(id, 256);
    char text[4];
    tokenizer_byte_text(text, 0);
    assert_string_equal(text, "\xc4\x80"); /* U+0100 */
    tokenizer_byte_text(text, 0xad);
    assert_string_equal(text, "\xc5\x83"); /* U+0143 */
    tokenizer_byte_text(text, 0xe9);
    assert_string_equal(text, "\xc3\xa9");
}

static void merges_by_hand(void **state)
{
    (void)state;
    cf_tokenizer *t = open_text("\"x.txt#version: 0.2\nl o\nlo w</w>\no w\nc a\nca \xc3\x83\n");
    int32_t ids[16];
    size_t n = 0;
    assert_int_equal(cf_tokenizer_vocabulary(t), 512 + 5 + 2);
    assert_ok(cf_tokenize(ids, &n, 16, t, "LOW lo \xc3\xa0"));
    /* low -> merge 1; lo -> 'l', 'o</w>'; a grave -> 0xC3, 0xA0</w> */
    const int32_t expected[] = { 517, 513, 'l' - 0x21, 256 + 'o' - 0x21, 127, 256 + 254, 518 };
    assert_int_equal(n, 7);
    assert_memory_equal(ids, expected, sizeof expected);
    assert_ok(cf_tokenize(ids, &n, 16, t, "lowow ca\xc3\xa9z"));
    /* lowow: "l o" first, then "o w" is inside no more at the front: lo, w, o, w</w>; ca + 0xC3 */
    const int32_t more[] = {
        517, 512, 'w' - 0x21, 'o' - 0x21, 256 + 'w' - 0x21, 516, 94 + 0xa9 - 0xa1, 256 + 'z' - 0x21,
        518
    };
    assert_int_equal(n, 9);
    assert_memory_equal(ids, more, sizeof more);
    cf_tokenizer_free(t);
}

/* ---- a second implementation, on strings ----------------------------------------------------- */

enum { MERGES = 300, WORD = 24 };
typedef struct {
    char left[MERGES][WORD * 2], right[MERGES][WORD * 2];
    size_t n;
} reference;

static void reference_read(reference *r, const char *text)
{
    r->n = 0;
    const char *at = strchr(text, '\n') + 1;
    while (*at && r->n < MERGES) {
        assert_int_equal(sscanf(at, "%47s %47s", r->left[r->n], r->right[r->n]), 2);
        r->n++;
        at = strchr(at, '\n') + 1;
    }
}

static int32_t reference_id(const reference *r, const char *symbol)
{
    int32_t id = -1;
    char joined[4 * WORD];
    size_t n = strlen(symbol);
    if (n == 1) id = symbol[0] - 0x21;
    if (n == 5 && strcmp(symbol + 1, "</w>") == 0) id = 256 + symbol[0] - 0x21;
    for (size_t k = 0; k < r->n; k++) {
        snprintf(joined, sizeof joined, "%s%s", r->left[k], r->right[k]);
        if (strcmp(joined, symbol) == 0) id = 512 + (int32_t)k;
    }
    return id;
}

/* One word of small letters. Applies the merges in the order of the list, each wherever it fits:
 * the same result as always taking the lowest rank, because a merge only makes symbols of later
 * ranks. */
static size_t reference_word(int32_t *ids, const reference *r, const char *word)
{
    char s[WORD][4 * WORD];
    size_t n = strlen(word);
    for (size_t i = 0; i < n; i++)
        snprintf(s[i], sizeof s[i], "%c%s", word[i], i + 1 == n ? "</w>" : "");
    for (size_t k = 0; k < r->n; k++)
        for (size_t i = 0; i + 1 < n; i++)
            if (strcmp(s[i], r->left[k]) == 0 && strcmp(s[i + 1], r->right[k]) == 0) {
                strcat(s[i], s[i + 1]);
                memmove(s + i + 1, s + i + 2, (n - i - 2) * sizeof *s);
                n--;
            }
    for (size_t i = 0; i < n; i++) ids[i] = reference_id(r, s[i]);
    return n;
}

static void random_word(char *out, cf_rng *rng)
{
    size_t n = 1 + cf_rng_below(rng, WORD - 2);
    for (size_t i = 0; i < n; i++) out[i] = "aabcde"[cf_rng_below(rng, 6)];
    out[n] = 0;
}

static void same_as_on_strings(void **state)
{
    (void)state;
    static reference r;
    char words[200][WORD], *merges = NULL;
    const char *texts[200];
    cf_rng rng = cf_rng_make(1, CF_RNG_TEST, 0, 0);
    for (size_t i = 0; i < 200; i++) {
        random_word(words[i], &rng);
        texts[i] = words[i];
    }
    assert_ok(cf_bpe_learn(&merges, texts, 200, MERGES));
    reference_read(&r, merges);
    assert_int_equal(r.n, MERGES);
    cf_tokenizer *t = open_text(merges);
    for (int round = 0; round < 2000; round++) {
        char word[WORD];
        int32_t expected[WORD], ids[WORD + 2];
        size_t n = 0;
        random_word(word, &rng);
        size_t count = reference_word(expected, &r, word);
        assert_ok(cf_tokenize(ids, &n, WORD + 2, t, word));
        assert_int_equal(n, count + 2);
        assert_memory_equal(ids + 1, expected, count * sizeof *ids);
    }
    cf_tokenizer_free(t);
    cf_free(merges);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void plain_and_gzip_agree(void **state)
{
    (void)state;
    static const char merges[] = "#version: 0.2\r\nl o\r\nlo w</w>";
    char *path = test_path(folder, "bpe.txt.gz");
    gzFile gz = gzopen(path, "wb");
    gzwrite(gz, merges, sizeof merges - 1);
    gzclose(gz);
    cf_tokenizer *a = open_text(merges), *b = NULL, *other = open_text("#version: 0.2\nl o\n");
    assert_ok(cf_tokenizer_open(&b, path));
    int32_t x[8], y[8];
    size_t n = 0, m = 0;
    assert_ok(cf_tokenize(x, &n, 8, a, "low"));
    assert_ok(cf_tokenize(y, &m, 8, b, "low"));
    assert_int_equal(n, 3);
    assert_int_equal(x[1], 513);
    assert_memory_equal(x, y, sizeof *x * 3);
    assert_true(cf_tokenizer_hash(a) == cf_tokenizer_hash(b));
    assert_true(cf_tokenizer_hash(a) != cf_tokenizer_hash(other));
    cf_tokenizer_free(a);
    cf_tokenizer_free(b);
    cf_tokenizer_free(other);
    cf_free(path);
}

/* CLIP's file goes on after the merges it uses. */
static void uses_no_more_merges_than_clip(void **state)
{
    (void)state;
    enum { LINES = 49000 };
    char *text = NULL;
    size_t n = 0;
    assert_ok(cf_alloc(&text, LINES + 1, 16));
    n += (size_t)sprintf(text, "bpe_simple_vocab_16e6.txt#version: 0.2\n");
    for (unsigned i = 0; i < LINES; i++) {
        char a[4], b[4];
        tokenizer_byte_text(a, i / 512);
        tokenizer_byte_text(b, i % 256);
        n += (size_t)sprintf(text + n, "%s %s%s\n", a, b, i % 512 < 256 ? "" : "</w>");
    }
    cf_tokenizer *t = open_text(text);
    assert_int_equal(cf_tokenizer_vocabulary(t), 49408);
    int32_t ids[4];
    assert_ok(cf_tokenize(ids, &n, 4, t, ""));
    assert_int_equal(ids[0], 49406);
    assert_int_equal(ids[1], 49407);
    cf_tokenizer_free(t);
    cf_free(text);
}

static void refuses_foreign_files(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "", "empty" },
        { "lo w\nl o\n", "line 1: not a byte-pair vocabulary: 'lo' is neither" },
        { "# a text\nof lines\n", "line 1" },
        { "#version: 0.2\nl o\nlo\n", "line 3" },
        { "#version: 0.2\nl o w\n", "line 2" },
        { "#version: 0.2\nl  o\n", "line 2" },
        { "#version: 0.2\n\nl o\n", "line 2" },
        { "#version: 0.2\nlo w\n", "'lo' is neither" },
        { "#version: 0.2\nl o\nl o\n", "twice" },
        { "#version: 0.2\nl \xff\n", "line 2" },
    };
    char *path = test_path(folder, "foreign.txt");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cf_tokenizer *t = NULL;
        assert_ok(cf_file_write(path, cases[i][0], strlen(cases[i][0])));
        assert_fails(cf_tokenizer_open(&t, path), CF_EFORMAT, cases[i][1]);
        assert_non_null(strstr(cf_error(), "foreign.txt"));
        assert_null(t);
    }
    cf_free(path);
    path = test_path(folder, "missing.txt");
    cf_tokenizer *t = NULL;
    assert_int_not_equal(cf_tokenizer_open(&t, path), CF_OK);
    cf_free(path);
}

static void names_texts_it_cannot_take(void **state)
{
    (void)state;
    cf_tokenizer *t = open_text("#version: 0.2\n");
    int32_t table[3 * 6];
    size_t n = 0;
    const char *const texts[] = { "ab", "", "abcd" };
    const char *const long_texts[] = { "ab", "abcde" };
    assert_ok(cf_tokenize_table(table, t, texts, 3, 6));
    const int32_t rows[] = { 512, 64, 256 + 65, 513, 0,  0,  512, 513,      0,
                             0,   0,  0,        512, 64, 65, 66,  256 + 67, 513 };
    assert_memory_equal(table, rows, sizeof rows);
    assert_fails(cf_tokenize_table(table, t, long_texts, 2, 6), CF_EINVAL, "\"abcde\"");
    assert_fails(cf_tokenize(table, &n, 6, t, "abcde"), CF_EINVAL, "7 tokens");
    assert_fails(cf_tokenize(table, &n, 18, t, "caf\xe9!"), CF_EINVAL, "not UTF-8");
    assert_ok(cf_tokenize_cut(table, &n, 6, t, "ab cdefgh"));
    const int32_t cut[] = { 512, 64, 256 + 65, 66, 67, 513 };
    assert_int_equal(n, 6);
    assert_memory_equal(table, cut, sizeof cut);
    assert_ok(cf_tokenize_cut(table, &n, 6, t, "ab c"));
    assert_int_equal(n, 5);
    assert_int_equal(table[4], 513);
    assert_ok(cf_tokenize_cut(table, &n, 2, t, "ab c"));
    assert_int_equal(n, 2);
    assert_int_equal(table[1], 513);
    cf_tokenizer_free(t);
}

/* Texts that would take much time or memory are refused, or counted no further. */
static void takes_no_text_without_bounds(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    cf_tokenizer *t = open_text("#version: 0.2\na a\naa aa\naaaa aaaa\n");
    char *text = NULL;
    int32_t ids[77];
    size_t n = 0;
    assert_ok(cf_alloc(&text, SIZE + 1, 1));
    memset(text, 'a', SIZE);
    text[SIZE] = 0;
    assert_fails(cf_tokenize(ids, &n, 77, t, text), CF_EINVAL, "a word of 1048576 bytes");
    for (size_t i = 1; i < SIZE; i += 2) text[i] = ' ';
    assert_fails(cf_tokenize(ids, &n, 77, t, text), CF_EINVAL, "or more");
    assert_ok(cf_tokenize_cut(ids, &n, 77, t, text));
    assert_int_equal(n, 77);
    strcpy(text, "&");
    for (size_t i = 0; i < 1000; i++) strcat(text, "amp;");
    assert_fails(cf_tokenize(ids, &n, 77, t, text), CF_EINVAL, "escaped more than");
    cf_free(text);
    cf_tokenizer_free(t);
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    char *path = test_path(folder, "merges.txt");
    size_t before = cf_memory_stats_get().bytes_now, failures = 0;
    cf_tokenizer_free(open_text("#version: 0.2\nl o\nlo w</w>\n"));
    for (size_t n = 1;; n++) {
        cf_tokenizer *t = NULL;
        int32_t ids[16];
        size_t count;
        cf_memory_fail_at(n);
        cf_status status = cf_tokenizer_open(&t, path);
        if (status == CF_OK) status = cf_tokenize(ids, &count, 16, t, "low caf\xc3\xa9 &amp; low");
        cf_memory_fail_at(0);
        cf_tokenizer_free(t);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
        if (status == CF_OK) break;
        assert_int_equal(status, CF_ENOMEM);
        failures++;
    }
    assert_true(failures > 20);
    cf_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(byte_ids),
        TEST(cleaning_and_splitting),
        TEST(merges_by_hand),
        TEST(same_as_on_strings),
        TEST(plain_and_gzip_agree),
        TEST(uses_no_more_merges_than_clip),
        TEST(refuses_foreign_files),
        TEST(names_texts_it_cannot_take),
        TEST(takes_no_text_without_bounds),
        TEST(every_failed_allocation_is_clean),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown) != 0;
}
