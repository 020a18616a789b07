/* SPDX-License-Identifier: Apache-2.0 */
/* test_json.c - the JSON verbs of the header: kinds, order, NUL, and refusals. */
#include "internal.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static kvb_json *parse(const char *text) {
    kvb_json *v = NULL;
    assert_int_equal(kvb_json_parse(text, (int64_t)strlen(text), "test", &v), KVB_OK);
    return v;
}

static void kinds(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int32_t kind;
    } cases[] = {{"null", KVB_JSON_NULL},   {"false", KVB_JSON_FALSE}, {"true", KVB_JSON_TRUE},
                 {"-1.5", KVB_JSON_NUMBER}, {"7", KVB_JSON_NUMBER},    {"\"s\"", KVB_JSON_STRING},
                 {"[]", KVB_JSON_ARRAY},    {"{}", KVB_JSON_OBJECT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvb_json *v = parse(cases[i].text);
        assert_int_equal(kvb_json_kind(v), cases[i].kind);
        kvb_json_free(v);
    }
    assert_int_equal(kvb_json_kind(NULL), KVB_JSON_NULL);
    kvb_json_free(NULL);
}

static void objects_keep_file_order(void **state) {
    (void)state;
    kvb_json *v = parse("{\"z\":1,\"a\":2,\"m\":3,\"b\":{\"x\":[4,5]}}");
    static const char *const expected[] = {"z", "a", "m", "b"};
    const char *key;
    int64_t bytes;
    const kvb_json *value;
    int i = 0;
    for (void *at = NULL; (at = kvb_json_next(v, at, &key, &bytes, &value)); i++) {
        assert_string_equal(key, expected[i]);
        assert_int_equal(bytes, 1);
        if (i < 3) assert_true(kvb_json_number(value) == i + 1);
    }
    assert_int_equal(i, 4);
    assert_int_equal(kvb_json_count(v), 4);
    const kvb_json *list = kvb_json_get(kvb_json_get(v, "b"), "x");
    assert_int_equal(kvb_json_count(list), 2);
    assert_true(kvb_json_number(kvb_json_at(list, 1)) == 5);
    assert_null(kvb_json_at(list, 2));
    assert_null(kvb_json_at(list, -1));
    assert_null(kvb_json_get(v, "nothing"));
    assert_null(kvb_json_get(list, "not an object"));
    kvb_json_free(v);
}

static void strings_may_hold_nul(void **state) {
    (void)state;
    kvb_json *v = parse("\"a\\u0000b\"");
    int64_t bytes;
    const char *s = kvb_json_string(v, &bytes);
    assert_int_equal(bytes, 3);
    assert_memory_equal(s, "a\0b", 4);
    kvb_json_free(v);
    v = parse("12");
    assert_null(kvb_json_string(v, &bytes));
    assert_int_equal(bytes, 0);
    kvb_json_free(v);
}

static void refusals(void **state) {
    (void)state;
    static const char *const texts[] = {"",      "{",     "[1,]",   "{\"a\":1,\"a\":2}", "\"\xff\"",          "1e999",
                                        "{a:1}", "[1] 2", "\"\n\"", "\"\\ud800\"",       "{\"a\\u0000b\":1}", "'x'",
                                        "01"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        kvb_json *v = (void *)1;
        assert_int_equal(kvb_json_parse(texts[i], (int64_t)strlen(texts[i]), "conf.json", &v), KVB_E_FORMAT);
        assert_null(v);
        assert_int_equal(strncmp(kvb_diag_message(), "conf.json: not valid JSON at line", 33), 0);
        assert_null(strchr(kvb_diag_message(), '\n'));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(kinds), cmocka_unit_test(objects_keep_file_order),
                                       cmocka_unit_test(strings_may_hold_nul), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
