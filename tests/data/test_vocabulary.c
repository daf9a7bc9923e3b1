/* Vocabularies in every form against the plain list of merges, refusals of each form with their
 * place, and texts against the ids of an independent tokenizer (tests/golden/tokenizer, made by
 * tests/peer/tokenizer_peer.py). With CF_TEST_VOCABULARY=FILE, CLIP's own vocabulary, also its
 * published ids, and the sums of all ids of configs/labels (spec 10.4). */
#include "test_in_folder.h"

#include "crossframe/data.h"
#include "data/tokenizer_parts.h"

#include <cjson/cJSON.h>

static const char golden_merges[] = "tests/golden/tokenizer/merges.txt";

/* Kept out of line: gcc 12 takes the inlined text for a dangling one. */
__attribute__((noinline)) static char *read_text(const char *path)
{
    char *text;
    size_t n;
    assert_ok(cf_file_read(&text, &n, path));
    return text;
}

static void ids_of_another_tokenizer(void **state)
{
    (void)state;
    cf_tokenizer *t = NULL;
    char *text = read_text("tests/golden/tokenizer/cases.json");
    cJSON *cases = cJSON_Parse(text), *item;
    size_t n_cases = 0;
    assert_non_null(cases);
    assert_ok(cf_tokenizer_open(&t, golden_merges));
    cJSON_ArrayForEach(item, cases)
    {
        int32_t ids[1024];
        size_t n = 0, i = 0;
        const cJSON *expected = item->child->next, *id;
        assert_ok(cf_tokenize(ids, &n, 1024, t, item->child->valuestring));
        assert_int_equal(n, cJSON_GetArraySize(expected));
        cJSON_ArrayForEach(id, expected)
        {
            if (ids[i++] == id->valueint) continue;
            fail_msg("case %zu \"%s\": id %zu is %d, expected %d", n_cases,
                     item->child->valuestring, i - 1, ids[i - 1], id->valueint);
        }
        n_cases++;
    }
    assert_true(n_cases > 500);
    cf_tokenizer_free(t);
    cJSON_Delete(cases);
    cf_free(text);
}

/* ---- Hugging Face's forms -------------------------------------------------------------------- */

static const char *symbol_text(char out[SYMBOL_MAX_BYTES], const vocabulary *v, int32_t symbol)
{
    if (symbol < 2 * VOCABULARY_BYTES) {
        tokenizer_byte_text(out, (unsigned)symbol % VOCABULARY_BYTES);
        if (symbol >= VOCABULARY_BYTES) strcat(out, "</w>");
        return out;
    }
    for (size_t k = 0; k < v->n_merges; k++) {
        const int64_t *m = byte_map_get(&v->merge, v->pair[k], sizeof v->pair[k]);
        if ((int32_t)(*m & INT32_MAX) != symbol) continue;
        char right[SYMBOL_MAX_BYTES];
        symbol_text(out, v, v->pair[k][0]);
        strcat(out, symbol_text(right, v, v->pair[k][1]));
        return out;
    }
    fail_msg("symbol %d is made by no merge", symbol);
    return NULL;
}

/* {"token": id, ...} of all ids. */
static cJSON *vocab_object(const vocabulary *v)
{
    char text[SYMBOL_MAX_BYTES];
    cJSON *o = cJSON_CreateObject();
    for (int32_t s = 0; s < (int32_t)v->n_symbols; s++)
        cJSON_AddNumberToObject(o, symbol_text(text, v, s), v->id[s]);
    cJSON_AddNumberToObject(o, "<|startoftext|>", 512 + (double)v->n_merges);
    cJSON_AddNumberToObject(o, "<|endoftext|>", 513 + (double)v->n_merges);
    return o;
}

static cJSON *tokenizer_object(const vocabulary *v, bool pairs)
{
    char a[SYMBOL_MAX_BYTES], b[SYMBOL_MAX_BYTES], line[2 * SYMBOL_MAX_BYTES + 1];
    cJSON *root = cJSON_CreateObject(), *model = cJSON_AddObjectToObject(root, "model");
    cJSON *added = cJSON_AddArrayToObject(root, "added_tokens"), *end = cJSON_CreateObject();
    cJSON_AddNumberToObject(end, "id", 513 + (double)v->n_merges);
    cJSON_AddStringToObject(end, "content", "<|endoftext|>");
    cJSON_AddItemToArray(added, end);
    cJSON_AddStringToObject(model, "type", "BPE");
    cJSON_AddStringToObject(model, "end_of_word_suffix", "</w>");
    cJSON_AddItemToObject(model, "vocab", vocab_object(v));
    cJSON *merges = cJSON_AddArrayToObject(model, "merges");
    for (size_t k = 0; k < v->n_merges; k++) {
        symbol_text(a, v, v->pair[k][0]);
        symbol_text(b, v, v->pair[k][1]);
        snprintf(line, sizeof line, "%s %s", a, b);
        const char *both[] = { a, b };
        cJSON_AddItemToArray(merges,
                             pairs ? cJSON_CreateStringArray(both, 2) : cJSON_CreateString(line));
    }
    return root;
}

static void write_object(const char *name, cJSON *o)
{
    char *path = test_path(folder, name), *text = cJSON_Print(o);
    assert_ok(cf_file_write(path, text, strlen(text)));
    free(text);
    cf_free(path);
}

static uint64_t hash_of(const char *name)
{
    cf_tokenizer *t = NULL;
    char *path = test_path(folder, name);
    assert_ok(cf_tokenizer_open(&t, path));
    uint64_t hash = cf_tokenizer_hash(t);
    cf_tokenizer_free(t);
    cf_free(path);
    return hash;
}

static void remove_file(const char *name)
{
    char *path = test_path(folder, name);
    unlink(path);
    cf_free(path);
}

/* All forms of the vocabulary in `path` have its hash. */
static void check_forms(const char *path)
{
    vocabulary v = { 0 };
    assert_ok(vocabulary_read(&v, path));
    uint64_t expected = vocabulary_hash(&v);
    char *text = read_text(path), *copy = test_path(folder, "merges.txt");
    cJSON *vocab = vocab_object(&v), *lines = tokenizer_object(&v, false),
          *pairs = tokenizer_object(&v, true);
    write_object("vocab.json", vocab);
    write_object("lines.json", lines);
    write_object("pairs.json", pairs);
    assert_true(hash_of("vocab.json") == expected); /* merges found again */
    assert_true(hash_of("lines.json") == expected);
    assert_true(hash_of("pairs.json") == expected);
    assert_ok(cf_file_write(copy, text, strlen(text)));
    assert_true(hash_of("vocab.json") == expected); /* merges beside it */
    const char *second = strchr(text, '\n') + 1;
    assert_ok(cf_file_write(copy, second, strlen(second)));
    assert_true(hash_of("merges.txt") == expected); /* without its header */
    remove_file("merges.txt");
    cJSON_Delete(vocab);
    cJSON_Delete(lines);
    cJSON_Delete(pairs);
    cf_free(text);
    cf_free(copy);
    vocabulary_fini(&v);
}

static void every_form_is_the_same_vocabulary(void **state)
{
    (void)state;
    check_forms(golden_merges);
}

/* "aaa" has two ways: "a" + "aa" is what the merge before leaves of it. "abc" has two of which the
 * first merge decides. */
static void merges_that_could_be_others(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "#version\na a\naa a\naa aa\n", "#version\nb c\na b\na bc\n", "#version\na b\nb c\nab c\n",
        "#version\na b</w>\nc ab</w>\nca b</w>\n", /* the last is no merge any more */
    };
    char *path = test_path(folder, "list.txt");
    for (size_t i = 0; i < 3; i++) {
        assert_ok(cf_file_write(path, cases[i], strlen(cases[i])));
        check_forms(path);
    }
    assert_ok(cf_file_write(path, cases[3], strlen(cases[3])));
    cf_tokenizer *t = NULL;
    assert_fails(cf_tokenizer_open(&t, path), CF_EFORMAT, "line 4: 'ca' is neither");
    cf_free(path);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void refuse(const char *name, cJSON *o, cf_status code, const char *text)
{
    cf_tokenizer *t = NULL;
    char *path = test_path(folder, name);
    write_object(name, o);
    assert_fails(cf_tokenizer_open(&t, path), code, text);
    assert_non_null(strstr(cf_error(), name));
    cJSON_Delete(o);
    cf_free(path);
}

static cJSON *with_number(cJSON *o, const char *key, double value)
{
    cJSON_DeleteItemFromObjectCaseSensitive(o, key);
    cJSON_AddNumberToObject(o, key, value);
    return o;
}

static void refuses_foreign_vocabularies(void **state)
{
    (void)state;
    vocabulary v = { 0 };
    char *path = test_path(folder, "some.txt");
    assert_ok(cf_file_write(path, "a b\nab c\nc d</w>\n", 16));
    assert_ok(vocabulary_read(&v, path));
    refuse("vocab.json", cJSON_CreateObject(), CF_EFORMAT, "too few");
    refuse("vocab.json", with_number(vocab_object(&v), "ab", 513), CF_EFORMAT, "is both");
    refuse("vocab.json", with_number(vocab_object(&v), "ab", -1), CF_EFORMAT, "\"ab\" is not one");
    refuse("vocab.json", with_number(vocab_object(&v), "ab", 1.5), CF_EFORMAT, "is not one of");
    refuse("vocab.json", with_number(vocab_object(&v), "ab", 1e300), CF_EFORMAT, "is not one of");
    refuse("vocab.json", with_number(vocab_object(&v), "x y", 517), CF_EFORMAT,
           "id 516 is \"<|endoftext|>\"");
    cJSON *o = vocab_object(&v); /* two bytes exchanged */
    refuse("vocab.json", with_number(with_number(o, "a", 65), "b", 64), CF_EFORMAT,
           "in CLIP's order it is \"a\"");
    o = vocab_object(&v); /* a merge before its part */
    refuse("vocab.json", with_number(with_number(o, "ab", 513), "abc", 512), CF_EFORMAT,
           "token 512 \"abc\": it is not made of two earlier");
    char *merges = test_path(folder, "merges.txt");
    assert_ok(cf_file_write(merges, "a b\n", 4));
    refuse("vocab.json", vocab_object(&v), CF_EFORMAT, "1 merges in");
    assert_ok(cf_file_write(merges, "a b\nab d\nc d</w>\n", 16));
    refuse("vocab.json", vocab_object(&v), CF_EFORMAT, "\"abc\", which merge 1 of");
    remove_file("merges.txt");

    o = tokenizer_object(&v, false);
    cJSON *model = cJSON_GetObjectItem(o, "model");
    cJSON_ReplaceItemInObject(model, "type", cJSON_CreateString("WordPiece"));
    refuse("tokenizer.json", o, CF_EUNSUPPORTED, "not CLIP's kind");
    o = tokenizer_object(&v, false);
    cJSON_DeleteItemFromObject(cJSON_GetObjectItem(o, "model"), "end_of_word_suffix");
    refuse("tokenizer.json", o, CF_EUNSUPPORTED, "not CLIP's kind");
    o = tokenizer_object(&v, false);
    cJSON_DeleteItemFromObject(cJSON_GetObjectItem(o, "model"), "merges");
    refuse("tokenizer.json", o, CF_EFORMAT, "no model.merges");
    o = tokenizer_object(&v, true);
    cJSON_AddItemToArray(cJSON_GetObjectItem(cJSON_GetObjectItem(o, "model"), "merges"),
                         cJSON_CreateNumber(3));
    refuse("tokenizer.json", o, CF_EFORMAT, "merge 3: neither");
    o = tokenizer_object(&v, true);
    cJSON_ReplaceItemInArray(cJSON_GetObjectItem(cJSON_GetObjectItem(o, "model"), "merges"), 1,
                             cJSON_CreateString("ab"));
    refuse("tokenizer.json", o, CF_EFORMAT, "merge 1: not two symbols");
    o = tokenizer_object(&v, true);
    cJSON *end = cJSON_GetObjectItem(o, "added_tokens")->child;
    cJSON_ReplaceItemInObject(end, "content", cJSON_CreateString("</s>"));
    refuse("tokenizer.json", o, CF_EFORMAT, "id 516 is both");
    cf_free(path);
    cf_free(merges);
    vocabulary_fini(&v);
}

static void refuses_what_is_no_json(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "{", "no JSON" },
        { "{\"a\":0", "no JSON" },
        { "{} {}", "not one JSON object" },
        { "{\"a\\u0000b\":0}", "zero byte" },
        { "{\"a\xff\":0}", "the vocabulary is not UTF-8" },
        { "[[[]]]", "line 1" },
        { "{\"a\":[[[[[[[[[[[[[[[[", "nested too deeply" },
    };
    char *path = test_path(folder, "vocab.json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cf_tokenizer *t = NULL;
        assert_ok(cf_file_write(path, cases[i][0], strlen(cases[i][0])));
        assert_fails(cf_tokenizer_open(&t, path), CF_EFORMAT, cases[i][1]);
        assert_non_null(strstr(cf_error(), "vocab.json"));
    }
    cf_free(path);
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    vocabulary v = { 0 };
    assert_ok(vocabulary_read(&v, golden_merges));
    cJSON *o = tokenizer_object(&v, true);
    write_object("pairs.json", o);
    cJSON_Delete(o);
    o = vocab_object(&v);
    write_object("vocab.json", o);
    cJSON_Delete(o);
    vocabulary_fini(&v);
    for (int form = 0; form < 2; form++) {
        char *path = test_path(folder, form ? "pairs.json" : "vocab.json");
        size_t before = cf_memory_stats_get().bytes_now, failures = 0;
        for (size_t n = 1;; n++) {
            cf_tokenizer *t = NULL;
            cf_memory_fail_at(n);
            cf_status status = cf_tokenizer_open(&t, path);
            cf_memory_fail_at(0);
            cf_tokenizer_free(t);
            assert_int_equal(cf_memory_stats_get().bytes_now, before);
            if (status == CF_OK) break;
            assert_int_equal(status, CF_ENOMEM);
            failures++;
        }
        assert_true(failures > 10);
        cf_free(path);
    }
}

/* ---- CLIP's own vocabulary ------------------------------------------------------------------- */

static int64_t sum_of_ids(const cf_tokenizer *t, const char *path, size_t *n_labels)
{
    char *text = read_text(path), *rest = strchr(text, '\n') + 1;
    int64_t sum = 0;
    *n_labels = 0;
    for (char *line; *rest && (line = strsep(&rest, "\n")); ++*n_labels) {
        int32_t ids[77];
        size_t n = 0;
        assert_ok(cf_tokenize(ids, &n, 77, t, strchr(line, ',') + 1));
        for (size_t i = 1; i + 1 < n; i++) sum += ids[i];
    }
    cf_free(text);
    return sum;
}

static void clip_s_own_vocabulary(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t n;
        int64_t sum;
    } lists[] = { { "kinetics400", 400, 9446430 },
                  { "kinetics600", 600, 14770689 },
                  { "hmdb51", 51, 504206 },
                  { "ucf101", 101, 2689193 } };
    const char *path = getenv("CF_TEST_VOCABULARY");
    cf_tokenizer *t = NULL;
    if (!path) {
        print_message("skipped: CF_TEST_VOCABULARY does not name CLIP's vocabulary\n");
        skip();
    }
    assert_ok(cf_tokenizer_open(&t, path));
    assert_int_equal(cf_tokenizer_vocabulary(t), 49408);
    const int32_t cat[] = { 49406, 320, 1125, 539, 320, 2368, 49407 };
    int32_t ids[77];
    size_t n = 0;
    assert_ok(cf_tokenize(ids, &n, 77, t, "a photo of a cat"));
    assert_int_equal(n, 7);
    assert_memory_equal(ids, cat, sizeof cat);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char name[64];
        snprintf(name, sizeof name, "configs/labels/%s.csv", lists[i].name);
        int64_t sum = sum_of_ids(t, name, &n);
        assert_int_equal(n, lists[i].n);
        assert_int_equal(sum, lists[i].sum);
    }
    cf_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ids_of_another_tokenizer),    TEST(every_form_is_the_same_vocabulary),
        TEST(merges_that_could_be_others), TEST(refuses_foreign_vocabularies),
        TEST(refuses_what_is_no_json),     TEST(every_failed_allocation_is_clean),
        TEST(clip_s_own_vocabulary),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown) != 0;
}
