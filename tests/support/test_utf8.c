/* UTF-8: what is none is replaced byte by byte, all else stays. */
#include "../test.h"

#include "crossframe/json.h"

static void repair(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "", "" },
        { "a red thing", "a red thing" },
        { "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8e\xa5",
          "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8e\xa5" },
        { "caf\xe9", "caf\xef\xbf\xbd" },
        { "\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xed\xa0\x80!", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd!" }, /* a surrogate */
        { "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out;
        assert_ok(cf_utf8_repair(&out, cases[i].in));
        assert_string_equal(out, cases[i].out);
        cf_free(out);
    }
    char *none = NULL;
    cf_memory_fail_at(1);
    cf_status status = cf_utf8_repair(&none, "a");
    cf_memory_fail_at(0);
    assert_int_equal(status, CF_ENOMEM);
    assert_null(none);
}

static void repaired_in_json(void **state)
{
    (void)state;
    cJSON *o = cJSON_CreateObject();
    assert_true(cf_json_add_text(o, "name", "caf\xe9 \"1\""));
    char *text = cJSON_PrintUnformatted(o);
    assert_string_equal(text, "{\"name\":\"caf\xef\xbf\xbd \\\"1\\\"\"}");
    cf_memory_fail_at(1);
    assert_false(cf_json_add_text(o, "other", "a"));
    cf_memory_fail_at(0);
    cJSON_free(text);
    cJSON_Delete(o);
}

TESTS(TEST(repair), TEST(repaired_in_json))
