/* Learning a byte-pair vocabulary: the textbook example by hand, determinism, limits, every failed
 * allocation; and that the tokenizer, given what was learnt, makes one token of every learnt
 * word. */
#include "test_in_folder.h"

#include "crossframe/data.h"
#include "crossframe/motion.h"

static char *learn(const char *const *texts, size_t n, size_t most)
{
    char *merges = NULL;
    assert_ok(cf_bpe_learn(&merges, texts, n, most));
    return merges;
}

static void textbook(void **state)
{
    (void)state;
    const char *const texts[] = { "low low low low low", "lower lower",
                                  "newest newest Newest newest newest NEWEST",
                                  "widest widest widest" };
    /* Nine times "es" and "st": the first in byte order; then seven times "lo"; then three pairs
     * with six, again in byte order. */
    static const char expected[] =
        "#version: 0.2\ne s\nes t</w>\nl o\ne w\new est</w>\nn ewest</w>\n"
        "lo w</w>\n";
    char *merges = learn(texts, 4, 7);
    assert_string_equal(merges, expected);
    cf_free(merges);
}

static void stops_when_all_words_are_whole(void **state)
{
    (void)state;
    const char *const texts[] = { "ab ab", "abc" };
    char *merges = learn(texts, 2, 1000);
    assert_string_equal(merges, "#version: 0.2\na b</w>\na b\nab c</w>\n");
    cf_free(merges);
    merges = learn(texts, 0, 10);
    assert_string_equal(merges, "#version: 0.2\n");
    cf_free(merges);
    merges = learn(texts, 2, 0);
    assert_string_equal(merges, "#version: 0.2\n");
    cf_free(merges);
}

static void captions_become_one_token_a_word(void **state)
{
    (void)state;
    char text[256][CF_MOTION_TEXT_MAX];
    const char *texts[256];
    for (int set = 0; set < 2; set++) {
        size_t n = cf_motion_n_captions();
        for (size_t i = 0; i < n; i++) {
            cf_motion_caption_text(text[i], (cf_motion_set)set, i);
            texts[i] = text[i];
        }
        char *merges = learn(texts, n, 4000), *path = test_path(folder, "merges.txt");
        assert_ok(cf_file_write(path, merges, strlen(merges)));
        cf_tokenizer *t = NULL;
        assert_ok(cf_tokenizer_open(&t, path));
        for (size_t i = 0; i < n; i++) {
            int32_t ids[32];
            size_t count = 0, words = 1;
            for (const char *c = text[i]; *c; c++) words += *c == ' ' ? 1 : *c == '-' ? 2 : 0;
            assert_ok(cf_tokenize(ids, &count, 32, t, text[i]));
            assert_int_equal(count, words + 2);
        }
        cf_tokenizer_free(t);
        cf_free(merges);
        cf_free(path);
    }
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    const char *const texts[] = { "a photo of a cat", "caf\xc3\xa9 &amp; caf\xc3\xa9" };
    size_t before = cf_memory_stats_get().bytes_now, failures = 0;
    for (size_t n = 1;; n++) {
        char *merges = NULL;
        cf_memory_fail_at(n);
        cf_status status = cf_bpe_learn(&merges, texts, 2, 100);
        cf_memory_fail_at(0);
        if (status == CF_OK) {
            cf_free(merges);
            break;
        }
        assert_int_equal(status, CF_ENOMEM);
        assert_null(merges);
        assert_int_equal(cf_memory_stats_get().bytes_now, before);
        failures++;
    }
    assert_true(failures > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(textbook),
        TEST(stops_when_all_words_are_whole),
        TEST(captions_become_one_token_a_word),
        TEST(every_failed_allocation_is_clean),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown) != 0;
}
