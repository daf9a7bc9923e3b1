/* Finding the byte-pair vocabulary: beside weights that are a file or a folder, beside the data, in
 * the cache, in this order; and the line when there is none. */
#include "../test_in_folder.h"

#include "crossframe/train.h"

static void put(const char *name)
{
    char *to = test_path(folder, name), *in;
    assert_ok(cf_path_folder(&in, to));
    assert_ok(cf_make_folders(in));
    assert_ok(cf_file_write(to, "x", 1));
    cf_free(in);
    cf_free(to);
}

/* Finds `name` of the folder. */
static void assert_finds(const char *name, const char *weights, const char *data)
{
    char *w = test_path(folder, weights), *d = test_path(folder, data), *found;
    char *cache = test_path(folder, "cache"), *expected = test_path(folder, name);
    const char *const all[] = { "", NULL, d };
    assert_ok(cf_vocabulary_find(&found, w, all, 3, cache));
    assert_string_equal(found, expected);
    cf_free(w);
    cf_free(d);
    cf_free(cache);
    cf_free(expected);
    cf_free(found);
}

static void beside_weights_then_data_then_cache(void **state)
{
    (void)state;
    put("cache/bpe_simple_vocab_16e6.txt.gz");
    put("data/train.h5");
    put("w/clip.pt");
    assert_finds("cache/bpe_simple_vocab_16e6.txt.gz", "w/clip.pt", "data/train.h5");
    put("data/vocab.json");
    assert_finds("data/vocab.json", "w/clip.pt", "data/train.h5#test1");
    put("w/tokenizer.json");
    assert_finds("w/tokenizer.json", "w/clip.pt", "data");
    assert_finds("w/tokenizer.json", "w", "data");
    put("w/merges.txt");
    assert_finds("w/merges.txt", "w", "data");
    put("w/bpe_simple_vocab_16e6.txt.gz");
    assert_finds("w/bpe_simple_vocab_16e6.txt.gz", "w", "data");
}

static void where_there_is_none(void **state)
{
    (void)state;
    char *found = NULL, *weights = test_path(folder, "model.pt");
    char *cache = test_path(folder, "none");
    assert_fails(cf_vocabulary_find(&found, weights, NULL, 0, cache), CF_ENOTFOUND, folder);
    assert_fails(cf_vocabulary_find(&found, NULL, NULL, 0, NULL), CF_ENOTFOUND, "vocab.json");
    assert_null(found);
    for (size_t i = 1; i < 4; i++) {
        cf_memory_fail_at(i);
        cf_status status = cf_vocabulary_find(&found, weights, NULL, 0, NULL);
        cf_memory_fail_at(0);
        assert_int_equal(status, CF_ENOMEM);
        assert_null(found);
    }
    cf_free(weights);
    cf_free(cache);
}

#define IN_FOLDER(function) cmocka_unit_test_setup_teardown(function, folder_setup, folder_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = { IN_FOLDER(beside_weights_then_data_then_cache),
                                        IN_FOLDER(where_there_is_none) };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
