/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tokenizer.c - byte-level BPE on vocabularies small enough to work the ids out by hand, and files that must be
 * refused. The alphabet below is written in the printable form of tokenizer.json: \u0120 is a space, \u010a a newline.
 */
#include "internal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* a b c space newline, then merges: 5 = ab, 6 = abc, 7 = " a", 8 = "bc"; 9 = <end> */
#define VOCAB  "{\"a\":0,\"b\":1,\"c\":2,\"\\u0120\":3,\"\\u010a\":4,\"ab\":5,\"abc\":6,\"\\u0120a\":7,\"bc\":8}"
#define MERGES "[\"a b\",\"ab c\",\"\\u0120 a\",\"b c\"]"
#define ADDED  "[{\"id\":9,\"content\":\"<end>\",\"special\":true,\"normalized\":false}]"
#define BYTES  "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define FILE_OF(vocab, merges, added, normalizer, split, more)                                                         \
    "{\"added_tokens\":" added ",\"normalizer\":" normalizer ",\"pre_tokenizer\":" split                               \
    ",\"model\":{\"type\":\"BPE\"," more "\"vocab\":" vocab ",\"merges\":" merges "}}"
#define PLAIN FILE_OF(VOCAB, MERGES, ADDED, "null", BYTES, "")

static kvb_tokenizer *open_text(const char *json) {
    kvb_tokenizer *t = NULL;
    if (kvb_tokenizer_from_json(json, (int64_t)strlen(json), "test", &t) != KVB_OK) fail_msg("%s", kvb_diag_message());
    return t;
}

/* "id:from-to ..." of a text. */
static const char *encode_n(kvb_tokenizer *t, const char *text, int64_t bytes, int32_t special) {
    static char out[4096];
    const int32_t *ids, *spans;
    int32_t n;
    size_t used = 0;
    out[0] = 0;
    if (kvb_tokenizer_encode(t, text, bytes, special, &ids, &spans, &n) != KVB_OK) fail_msg("%s", kvb_diag_message());
    for (int32_t i = 0; i < n; i++)
        used += (size_t)snprintf(out + used, sizeof out - used, "%s%d:%d-%d", i ? " " : "", ids[i], spans[2 * i],
                                 spans[2 * i + 1]);
    return out;
}

static const char *encode(kvb_tokenizer *t, const char *text) { return encode_n(t, text, (int64_t)strlen(text), 1); }

static void merges_by_rank(void **state) {
    (void)state;
    kvb_tokenizer *t = open_text(PLAIN);
    assert_int_equal(kvb_tokenizer_size(t), 10);
    assert_string_equal(encode(t, ""), "");
    assert_string_equal(encode(t, "abc"), "6:0-3");
    assert_string_equal(encode(t, "bcab"), "8:0-2 5:2-4");
    assert_string_equal(encode(t, " abc"), "3:0-1 6:1-4"); /* "a b" has the lower rank, so " a" cannot form */
    assert_string_equal(encode(t, " a a"), "7:0-2 7:2-4");
    assert_string_equal(encode(t, "aabcb"), "0:0-1 6:1-4 1:4-5");
    assert_string_equal(encode(t, "abc"), "6:0-3"); /* from the cache */
    kvb_tokenizer_free(t);
}

static void long_words_give_what_short_ones_give(void **state) {
    (void)state;
    enum { N = 100000 };
    kvb_tokenizer *t = open_text(PLAIN);
    char *text = malloc(N);
    for (int i = 0; i < N; i++) text[i] = "abc"[i % 3];
    const int32_t *ids, *spans;
    int32_t n;
    assert_int_equal(kvb_tokenizer_encode(t, text, N, 1, &ids, &spans, &n), KVB_OK);
    assert_int_equal(n, N / 3 + 1); /* the last a stands alone */
    for (int i = 0; i < N / 3; i++) assert_int_equal(ids[i], 6);
    assert_int_equal(ids[n - 1], 0);
    free(text);
    kvb_tokenizer_free(t);
}

static void special_tokens(void **state) {
    (void)state;
    kvb_tokenizer *t = open_text(PLAIN);
    assert_string_equal(encode(t, "ab<end>c"), "5:0-2 9:2-7 2:7-8");
    assert_string_equal(encode_n(t, "ab<end>c", 8, 0), "5:0-2 2:7-8"); /* no tokens for < e n d > in this vocabulary */
    assert_int_equal(kvb_tokenizer_id(t, "<end>", 5), 9);
    assert_int_equal(kvb_tokenizer_id(t, " a", 2), 7);
    assert_int_equal(kvb_tokenizer_id(t, "zz", 2), -1);
    assert_int_equal(kvb_tokenizer_is_special(t, 9), 1);
    assert_int_equal(kvb_tokenizer_is_special(t, 5), 0);
    assert_int_equal(kvb_tokenizer_is_special(t, -1), 0);
    assert_int_equal(kvb_tokenizer_is_special(t, 10), 0);
    kvb_tokenizer_free(t);
}

static void decode_is_exact(void **state) {
    (void)state;
    kvb_tokenizer *t = open_text(PLAIN);
    const int32_t ids[] = {7, 9, 4, 6};
    const char *text;
    int64_t bytes;
    assert_int_equal(kvb_tokenizer_decode(t, ids, 4, 0, &text, &bytes), KVB_OK);
    assert_string_equal(text, " a<end>\nabc");
    assert_int_equal(bytes, 11);
    assert_int_equal(kvb_tokenizer_decode(t, ids, 4, 1, &text, &bytes), KVB_OK);
    assert_string_equal(text, " a\nabc");
    assert_int_equal(kvb_tokenizer_decode(t, (int32_t[]){3, 10}, 2, 0, &text, &bytes), KVB_E_ARG);
    assert_non_null(strstr(kvb_diag_message(), "id 10 at place 1"));
    assert_int_equal(kvb_tokenizer_decode(t, (int32_t[]){-1}, 1, 0, &text, &bytes), KVB_E_ARG);
    kvb_tokenizer_free(t);
}

/* U+00E9 is the bytes c3 a9, printed as \u00c3 and \u00a9; e + U+0301 is 65 cc 81, printed e \u00cc \u0123. */
static void normalised_text_keeps_its_offsets(void **state) {
    (void)state;
    kvb_tokenizer *t = open_text(FILE_OF("{\"a\":0,\"e\":1,\"\\u00c3\":2,\"\\u00a9\":3,\"\\u00c3\\u00a9\":4}",
                                         "[\"\\u00c3 \\u00a9\"]", "[]", "{\"type\":\"NFC\"}", BYTES, ""));
    assert_string_equal(encode(t, "a\xc3\xa9"
                                  "a"),
                        "0:0-1 4:1-3 0:3-4");
    assert_string_equal(encode(t, "ae\xcc\x81"
                                  "a"),
                        "0:0-1 4:1-4 0:4-5");
    assert_string_equal(encode(t, "e\xcc\x81"
                                  "e\xcc\x81"),
                        "4:0-3 4:3-6");
    kvb_tokenizer_free(t);
}

static void invalid_utf8_and_nul(void **state) {
    (void)state;
    /* \u00ff is byte ff, \u0100 byte 00, \u00c3 byte c3 */
    kvb_tokenizer *t =
        open_text(FILE_OF("{\"a\":0,\"\\u00ff\":1,\"\\u0100\":2,\"\\u00c3\":3}", "[]", "[]", "null", BYTES, ""));
    assert_string_equal(encode_n(t,
                                 "a\xff\xff"
                                 "a\0a",
                                 6, 1),
                        "0:0-1 1:1-2 1:2-3 0:3-4 2:4-5 0:5-6");
    assert_string_equal(encode_n(t, "a\xc3", 2, 1), "0:0-1 3:1-2"); /* cut inside a character */
    assert_string_equal(encode_n(t, "\xc3\xff", 2, 1), "3:0-1 1:1-2");
    kvb_tokenizer_free(t);
}

static void splits(void **state) {
    (void)state;
    static const struct {
        const char *behaviour, *expected;
    } cases[] = {
        /* a b a b with every b a match: pieces, seen through merges that need both sides in one piece */
        {"Isolated", "0:0-1 1:1-2 0:2-3 1:3-4"},
        {"Removed", "0:0-1 0:2-3"},
        {"MergedWithPrevious", "5:0-2 5:2-4"},
        {"MergedWithNext", "0:0-1 6:1-3 1:3-4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[1024];
        snprintf(
            json, sizeof json,
            FILE_OF(
                "{\"a\":0,\"b\":1,\"x\":2,\"y\":3,\"z\":4,\"ab\":5,\"ba\":6}", "[\"a b\",\"b a\"]", "[]", "null",
                "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
                "{\"String\":\"b\"},\"behavior\":"
                "\"%s\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}",
                ""),
            cases[i].behaviour);
        kvb_tokenizer *t = open_text(json);
        assert_string_equal(encode(t, "abab"), cases[i].expected);
        kvb_tokenizer_free(t);
    }
}

static void whole_words_first(void **state) {
    (void)state;
#define NO_PATH "{\"a\":0,\"b\":1,\"abab\":2}"
    kvb_tokenizer *t = open_text(FILE_OF(NO_PATH, "[]", "[]", "null", BYTES, ""));
    assert_string_equal(encode(t, "abab"), "0:0-1 1:1-2 0:2-3 1:3-4");
    kvb_tokenizer_free(t);
    t = open_text(FILE_OF(NO_PATH, "[]", "[]", "null", BYTES, "\"ignore_merges\":true,"));
    assert_string_equal(encode(t, "abab"), "2:0-4");
    kvb_tokenizer_free(t);
}

static void damaged_files_are_refused(void **state) {
    (void)state;
#define WITH(vocab, merges, added) FILE_OF(vocab, merges, added, "null", BYTES, "")
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"", "not valid JSON"},
        {"[]", "not a JSON object"},
        {"{}", "has no model"},
        {"{\"model\":{\"type\":\"Unigram\"}}", "model type 'Unigram' is not supported"},
        {"{\"model\":{\"type\":7}}", "type is not a string"},
        {"{\"model\":{\"type\":\"BPE\",\"merges\":[]}}", "has no vocab"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", "no list of merges"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}", "without 'ByteLevel'"},
        {WITH("{\"a\":0,\"b\":2}", "[]", "[]"), "'b' has id 2"},
        {WITH("{\"a\":0,\"b\":-1}", "[]", "[]"), "'b' has id -1"},
        {WITH("{\"a\":0,\"b\":1099511627776}", "[]", "[]"), "'b' has id 1099511627776"},
        {WITH("{\"a\":0,\"b\":0}", "[]", "[]"), "which another token has too"},
        {WITH("{\"a\":0,\"a\":1}", "[]", "[]"), "duplicate"},
        {WITH("{\"a\":\"0\"}", "[]", "[]"), "the id of 'a' is not an integer"},
        {WITH("{\"a\":0,\"b\":1.5}", "[]", "[]"), "the id of 'b' is not an integer"},
        {WITH("{\"a\":0,\"b\":1}", "[\"a c\"]", "[]"), "its right side is no token"},
        {WITH("{\"a\":0,\"b\":1}", "[[\"x\",\"b\"]]", "[]"), "its left side is no token"},
        {WITH("{\"a\":0,\"b\":1}", "[\"a b\"]", "[]"), "its result is no token"},
        {WITH("{\"a\":0}", "[\"ab\"]", "[]"), "merge 0 is not two tokens"},
        {WITH("{\"a\":0}", "[\"a b c\"]", "[]"), "merge 0 is not two tokens"},
        {WITH("{\"a\":0}", "[3]", "[]"), "merge 0 is neither"},
        {WITH("{\"a\":0}", "[[\"a\",3]]", "[]"), "merge 0 is neither"},
        {WITH("{\"a\":0}", "[]", "[{\"id\":1}]"), "added token 0 has no content"},
        {WITH("{\"a\":0}", "[]", "[{\"id\":5,\"content\":\"x\"}]"), "'x' has id 5"},
        {WITH("{\"a\":0}", "[]", "[{\"id\":0,\"content\":\"x\"}]"), "which another token has too"},
        {WITH("{\"a\":0}", "[]", "[{\"id\":1,\"content\":\"a\"}]"), "another id than in the vocab"},
        {FILE_OF(VOCAB, MERGES, ADDED, "{\"type\":\"Lowercase\"}", BYTES, ""),
         "normalizer 'Lowercase' is not supported"},
        {FILE_OF(VOCAB, MERGES, ADDED, "null", "{\"type\":\"Metaspace\"}", ""),
         "pre_tokenizer 'Metaspace' is not supported"},
        {FILE_OF(VOCAB, MERGES, ADDED, "null", BYTES, "\"unk_token\":\"?\","), "unk_token '?'"},
        {FILE_OF(VOCAB, MERGES, ADDED, "null", BYTES, "\"end_of_word_suffix\":\"</w>\","), "end_of_word_suffix"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvb_tokenizer *t = (kvb_tokenizer *)1;
        assert_true(kvb_tokenizer_from_json(cases[i].json, (int64_t)strlen(cases[i].json), "test", &t) != KVB_OK);
        assert_null(t);
        if (!strstr(kvb_diag_message(), cases[i].says)) fail_msg("%s: %s", cases[i].says, kvb_diag_message());
        assert_null(strchr(kvb_diag_message(), '\n'));
    }
}

static void patterns_that_would_mean_something_else_are_refused(void **state) {
    (void)state;
    static const char *const patterns[] = {"[a&&b]", "[a[bc]]", "\\\\bx", "\\\\h",          "(?m:.)",
                                           "(",      "a)",      "[a",     "\\\\p{Nowhere}", "\\\\"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char json[1024];
        snprintf(json, sizeof json,
                 FILE_OF("{\"a\":0}", "[]", "[]", "null",
                         "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
                         "{\"Regex\":\"%s\"},\"behavior\":"
                         "\"Isolated\",\"invert\":false}," BYTES "]}",
                         ""),
                 patterns[i]);
        kvb_tokenizer *t = NULL;
        if (kvb_tokenizer_from_json(json, (int64_t)strlen(json), "test", &t) == KVB_OK)
            fail_msg("accepted %s", patterns[i]);
        assert_non_null(strstr(kvb_diag_message(), "split pattern"));
    }
}

static void a_pattern_that_explodes_is_an_error(void **state) {
    (void)state;
    kvb_tokenizer *t =
        open_text(FILE_OF("{\"a\":0}", "[]", "[]", "null",
                          "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
                          "\"(a|aa)+[bc]\"},\"behavior\":\"Isolated\",\"invert\":false}," BYTES "]}",
                          ""));
    char text[200];
    memset(text, 'a', sizeof text);
    const int32_t *ids, *spans;
    int32_t n;
    assert_int_equal(kvb_tokenizer_encode(t, text, sizeof text, 1, &ids, &spans, &n), KVB_E_UNSUPPORTED);
    assert_non_null(strstr(kvb_diag_message(), "limit"));
    assert_string_equal(encode(t, "aa"), "0:0-1 0:1-2"); /* the object is as good as before */
    kvb_tokenizer_free(t);
}

/* Every allocation on the way fails once: an error each time, nothing lost. */
static void out_of_memory(void **state) {
    (void)state;
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    const char *json = FILE_OF(VOCAB, MERGES, ADDED, "{\"type\":\"NFC\"}", BYTES, "");
    const char *text = "abc ab<end> e\xcc\x81 abcabcabcabcabcabcabcabcabcabcabc";
    const int32_t *ids, *spans;
    const char *decoded;
    int64_t bytes;
    int32_t n, failures = 0;
    for (int64_t nth = 1;; nth++) {
        kvb_tokenizer *t = NULL;
        kvb_memory_fail_nth(nth);
        int64_t start = kvb_memory_allocations();
        kvb_status status = kvb_tokenizer_from_json(json, (int64_t)strlen(json), "test", &t);
        if (status == KVB_OK) status = kvb_tokenizer_encode(t, text, (int64_t)strlen(text), 1, &ids, &spans, &n);
        if (status == KVB_OK) status = kvb_tokenizer_decode(t, ids, n, 0, &decoded, &bytes);
        int64_t used = kvb_memory_allocations() - start;
        kvb_memory_fail_nth(0);
        kvb_tokenizer_free(t);
        assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
        if (used < nth) break; /* the n-th was never asked for */
        if (status != KVB_OK)
            failures++;
        else
            assert_true(nth > 1); /* only optional memory (the JIT's) may be missing without an error */
    }
    assert_true(failures > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_by_rank),
        cmocka_unit_test(long_words_give_what_short_ones_give),
        cmocka_unit_test(special_tokens),
        cmocka_unit_test(decode_is_exact),
        cmocka_unit_test(normalised_text_keeps_its_offsets),
        cmocka_unit_test(invalid_utf8_and_nul),
        cmocka_unit_test(splits),
        cmocka_unit_test(whole_words_first),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(patterns_that_would_mean_something_else_are_refused),
        cmocka_unit_test(a_pattern_that_explodes_is_an_error),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
