/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_weights.c - GGUF and safetensors parsing, dequantisation and refusals.
 * Expected values: tests/golden/gguf/quants.gguf holds random blocks and what gguf-py makes of them; half floats are
 * compared with ldexp over all 65,536 patterns; hostile files are built here byte by byte.
 */
#include "weights.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- building files ----------------------------------------------------------------------------------------- */

typedef struct bytes {
    uint8_t data[8192];
    int64_t n;
} bytes;

static void put(bytes *b, const void *p, size_t n) {
    assert_true(b->n + (int64_t)n <= (int64_t)sizeof b->data);
    memcpy(b->data + b->n, p, n);
    b->n += (int64_t)n;
}
static void u32(bytes *b, uint32_t x) { put(b, &x, 4); }
static void u64(bytes *b, uint64_t x) { put(b, &x, 8); }
static void text(bytes *b, const char *s) {
    u64(b, strlen(s));
    put(b, s, strlen(s));
}
static void head(bytes *b, uint32_t version, uint64_t tensors, uint64_t meta) {
    b->n = 0;
    put(b, "GGUF", 4);
    u32(b, version);
    u64(b, tensors);
    u64(b, meta);
}
static void tensor(bytes *b, const char *name, uint64_t cols, uint64_t rows, uint32_t type, uint64_t offset) {
    text(b, name);
    u32(b, 2);
    u64(b, cols);
    u64(b, rows);
    u32(b, type);
    u64(b, offset);
}
static void fill_to(bytes *b, int64_t n) {
    while (b->n < n) put(b, "", 1);
}
static void align(bytes *b, int64_t unit) { fill_to(b, kvb_round_up(b->n, unit)); }

static void safetensors(bytes *b, const char *header, int64_t data) {
    b->n = 0;
    text(b, header);
    fill_to(b, b->n + data);
}

/* Copied to the heap so that a read past the end is seen by the address sanitizer. */
static kvb_status open_copy(const bytes *b, const char *kind, kvb_weights **out, uint8_t **copy) {
    *copy = malloc((size_t)b->n + 1);
    memcpy(*copy, b->data, (size_t)b->n);
    uint8_t *exact = realloc(*copy, (size_t)b->n ? (size_t)b->n : 1);
    *copy = exact;
    return kvb_weights_open_memory(exact, b->n, kind, out);
}

static void refused(const bytes *b, const char *kind, const char *part) {
    kvb_weights *w = NULL;
    uint8_t *copy;
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    kvb_status status = open_copy(b, kind, &w, &copy);
    if (status != KVB_E_FORMAT || !strstr(kvb_diag_message(), part) || strchr(kvb_diag_message(), '\n'))
        fail_msg("expected KVB_E_FORMAT with '%s', got %d: %s", part, status, kvb_diag_message());
    assert_null(w);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
    free(copy);
}

/* A file of the golden folder beside this source. */
static const char *golden(const char *name) {
    static char path[4096];
    const char *slash = strrchr(__FILE__, '/');
    snprintf(path, sizeof path, "%.*s/../golden/%s", (int)(slash - __FILE__), __FILE__, name);
    return path;
}

static kvb_weights *opened(const char *path) {
    kvb_weights *w = NULL;
    if (kvb_weights_open(path, &w) != KVB_OK) fail_msg("%s", kvb_diag_message());
    return w;
}

/* ---- dequantisation ----------------------------------------------------------------------------------------- */

static void blocks_match_the_reference(void **state) {
    (void)state;
    static const char *const types[] = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "F16", "BF16"};
    kvb_weights *w = opened(golden("gguf/quants.gguf"));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s.expected", types[i]);
        int32_t a = kvb_weights_find(w, types[i]), b = kvb_weights_find(w, name);
        assert_true(a >= 0 && b >= 0);
        kvb_weight_info info;
        assert_int_equal(kvb_weights_info(w, a, &info), KVB_OK);
        assert_string_equal(info.type, types[i]);
        int64_t n = info.shape[0] * info.shape[1];
        float *got = calloc((size_t)n, 4), *expected = calloc((size_t)n, 4);
        assert_int_equal(kvb_weights_read(w, a, got, n), KVB_OK);
        assert_int_equal(kvb_weights_read(w, b, expected, n), KVB_OK);
        for (int64_t k = 0; k < n; k++)
            if (got[k] != expected[k])
                fail_msg("%s element %lld: %g, expected %g", types[i], (long long)k, got[k], expected[k]);
        free(got);
        free(expected);
    }
    kvb_weights_free(w);
}

static double half_by_definition(uint32_t h) {
    int sign = h >> 15, exponent = h >> 10 & 31, fraction = h & 1023;
    double x = exponent == 31 ? (fraction ? NAN : INFINITY)
               : exponent     ? ldexp(1024 + fraction, exponent - 25)
                              : ldexp(fraction, -24);
    return sign ? -x : x;
}

static void every_half_float(void **state) {
    (void)state;
    static uint16_t in[65536];
    static float out[65536];
    for (int i = 0; i < 65536; i++) in[i] = (uint16_t)i;
    kvb_format_named("F16")->to_f32((const uint8_t *)in, out, 65536);
    for (uint32_t i = 0; i < 65536; i++) {
        double expected = half_by_definition(i);
        if (isnan(expected) ? !isnan(out[i]) : out[i] != expected || !signbit(out[i]) != !(i >> 15))
            fail_msg("half 0x%04x became %g, expected %g", i, out[i], expected);
    }
}

/* Threads cut tensors into chunks: the cut must not show. */
static void large_tensors_read_like_small_ones(void **state) {
    (void)state;
    enum { ROWS = 3000, COLS = 256 };
    int64_t n_bytes = (int64_t)ROWS * COLS / 32 * 20;
    bytes b;
    head(&b, 3, 1, 0);
    tensor(&b, "t", COLS, ROWS, 3, 0);
    align(&b, 32);
    uint8_t *file = malloc((size_t)(b.n + n_bytes));
    memcpy(file, b.data, (size_t)b.n);
    for (int64_t i = 0; i < n_bytes; i++)
        file[b.n + i] = (uint8_t)((i * 37 + i / 251) & (i % 20 == 1 || i % 20 == 3 ? 0x3b : 0xff));
    kvb_weights *w = NULL;
    assert_int_equal(kvb_weights_open_memory(file, b.n + n_bytes, "gguf", &w), KVB_OK);
    float *whole = malloc(sizeof *whole * ROWS * COLS), *row = malloc(sizeof *row * COLS);
    assert_int_equal(kvb_weights_read(w, 0, whole, ROWS * COLS), KVB_OK);
    const weight_format *f = kvb_format_ggml(3);
    for (int64_t r = 0; r < ROWS; r++) {
        f->to_f32(file + b.n + r * COLS / 32 * 20, row, COLS / 32);
        assert_memory_equal(row, whole + r * COLS, sizeof *row * COLS);
    }
    kvb_weights_free(w);
    free(whole);
    free(row);
    free(file);
}

/* ---- GGUF --------------------------------------------------------------------------------------------------- */

static void metadata_of_every_type(void **state) {
    (void)state;
    kvb_weights *w = opened(golden("gguf/meta.gguf"));
    static const struct {
        const char *key;
        double value;
    } numbers[] = {{"u8", 200},  {"i8", -100},    {"u16", 60000},        {"i16", -30000},
                   {"u32", 4e9}, {"i32", -2e9},   {"f32", (double)0.1f}, {"yes", 1},
                   {"no", 0},    {"u64", 0x1p53}, {"i64", -0x1p53},      {"f64", 0.1}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_int_equal(kvb_weights_meta_count(w, numbers[i].key), 1);
        assert_false(kvb_weights_meta_is_string(w, numbers[i].key));
        assert_true(kvb_weights_meta_number(w, numbers[i].key, 0) == numbers[i].value);
        assert_true(isnan(kvb_weights_meta_number(w, numbers[i].key, 1)));
    }
    int64_t n;
    const char *s = kvb_weights_meta_string(w, "text", 0, &n);
    assert_int_equal(n, 10);
    assert_memory_equal(s, "caf\xc3\xa9\0tail", 10);
    assert_int_equal(kvb_weights_meta_count(w, "strings"), 39);
    assert_true(kvb_weights_meta_is_string(w, "strings"));
    for (int i = 38; i >= 0; i--) { /* element k is "s<k+1>" repeated (k+1) % 5 times */
        char one[8], expected[40] = "";
        snprintf(one, sizeof one, "s%d", i + 1);
        for (int r = 0; r < (i + 1) % 5; r++) strcat(expected, one);
        s = kvb_weights_meta_string(w, "strings", i, &n);
        assert_int_equal(n, strlen(expected));
        assert_memory_equal(s, expected, (size_t)n);
    }
    assert_null(kvb_weights_meta_string(w, "strings", 39, &n));
    assert_null(kvb_weights_meta_string(w, "u8", 0, &n));
    assert_true(isnan(kvb_weights_meta_number(w, "text", 0)));
    for (int i = 0; i < 25; i++) assert_true(kvb_weights_meta_number(w, "ints", i) == i - 5);
    assert_true(kvb_weights_meta_number(w, "floats", 1) == -1.25);
    assert_true(kvb_weights_meta_number(w, "bools", 1) == 0 && kvb_weights_meta_number(w, "bools", 2) == 1);
    assert_int_equal(kvb_weights_meta_count(w, "absent"), 0);
    assert_null(kvb_weights_meta_key(w, kvb_weights_meta_keys(w)));
    assert_non_null(kvb_weights_meta_key(w, 0));
    kvb_weights_free(w);
}

static void one_tensor(bytes *b, uint32_t version) {
    head(b, version, 1, 1);
    text(b, "general.architecture");
    u32(b, KVB_META_STRING);
    text(b, "llama");
    tensor(b, "t", 32, 2, 3, 0);
    align(b, 32);
    fill_to(b, b->n + 40);
}

static void versions_two_and_three(void **state) {
    (void)state;
    bytes b;
    for (uint32_t version = 2; version <= 3; version++) {
        kvb_weights *w = NULL;
        uint8_t *copy;
        one_tensor(&b, version);
        assert_int_equal(open_copy(&b, "gguf", &w, &copy), KVB_OK);
        kvb_weight_info info;
        assert_int_equal(kvb_weights_info(w, 0, &info), KVB_OK);
        assert_int_equal(info.shape[0], 2);
        assert_int_equal(info.shape[1], 32);
        assert_int_equal(info.bytes, 40);
        float out[64];
        assert_int_equal(kvb_weights_read(w, 0, out, 63), KVB_E_SHAPE);
        assert_int_equal(kvb_weights_read(w, 1, out, 64), KVB_E_ARG);
        assert_int_equal(kvb_weights_read(w, 0, out, 64), KVB_OK);
        assert_int_equal(kvb_weights_info(w, -1, &info), KVB_E_ARG);
        assert_int_equal(kvb_weights_find(w, "nope"), -1);
        kvb_weights_free(w);
        free(copy);
    }
    one_tensor(&b, 1);
    refused(&b, "gguf", "version 1, supported are 2 and 3");
    one_tensor(&b, 4);
    refused(&b, "gguf", "version 4");
    one_tensor(&b, 0x03000000);
    refused(&b, "gguf", "big-endian");
    b.data[0] = 'X';
    refused(&b, "gguf", "wrong magic number: it begins with 'XGUF'");
}

static void cut_at_any_byte(void **state) {
    (void)state;
    bytes b;
    one_tensor(&b, 3);
    for (int64_t full = b.n; b.n > 0; b.n--)
        if (b.n < full) refused(&b, "gguf", "gguf 'memory': ");
}

static void hostile_gguf(void **state) {
    (void)state;
    bytes b;
    uint64_t two62 = UINT64_C(1) << 62;
    head(&b, 3, two62, 0);
    refused(&b, "gguf", "claims 4611686018427387904 tensors");
    head(&b, 3, 0, UINT64_MAX);
    refused(&b, "gguf", "metadata entries");
    head(&b, 3, 1, 0), tensor(&b, "big", two62, 1, 0, 0), align(&b, 32);
    refused(&b, "gguf", "tensor 'big' claims 4611686018427387904 elements");
    head(&b, 3, 1, 0), tensor(&b, "big", two62 / 8, 1, 0, 0), align(&b, 32);
    refused(&b, "gguf", "tensor 'big' claims 576460752303423488 elements (2305843009213693952 bytes)");
    head(&b, 3, 1, 0), tensor(&b, "big", two62, two62, 0, 0), align(&b, 32);
    refused(&b, "gguf", "tensor 'big' claims");
    head(&b, 3, 1, 0), tensor(&b, "big", UINT64_MAX, 1, 0, 0), align(&b, 32);
    refused(&b, "gguf", "claims 18446744073709551615 elements along one dimension");
    head(&b, 3, 1, 0), tensor(&b, "odd", 33, 1, 3, 0), align(&b, 32), fill_to(&b, b.n + 64);
    refused(&b, "gguf", "rows of 33 elements, type Q4_1 needs a multiple of 32");
    head(&b, 3, 1, 0), tensor(&b, "far", 8, 1, 0, UINT64_MAX - 31), align(&b, 32), fill_to(&b, b.n + 32);
    refused(&b, "gguf", "tensor 'far' claims 8 elements (32 bytes)");
    head(&b, 3, 1, 0), tensor(&b, "skew", 8, 1, 0, 4), align(&b, 32), fill_to(&b, b.n + 64);
    refused(&b, "gguf", "offset 4, which is not a multiple of the alignment 32");
    head(&b, 3, 2, 0), tensor(&b, "a", 16, 1, 0, 0), tensor(&b, "b", 8, 1, 0, 32), align(&b, 32), fill_to(&b, b.n + 64);
    refused(&b, "gguf", "tensors 'a' and 'b' overlap");
    head(&b, 3, 2, 0), tensor(&b, "a", 8, 1, 0, 0), tensor(&b, "a", 8, 1, 0, 32), align(&b, 32), fill_to(&b, b.n + 64);
    refused(&b, "gguf", "tensor 'a' occurs twice");
    head(&b, 3, 0, 2), text(&b, "k"), u32(&b, 4), u32(&b, 1), text(&b, "k"), u32(&b, 4), u32(&b, 2),
        fill_to(&b, b.n + 16);
    refused(&b, "gguf", "metadata key 'k' occurs twice");
    head(&b, 3, 0, 1), text(&b, "k"), u32(&b, 13), u64(&b, 0), u64(&b, 0);
    refused(&b, "gguf", "metadata 'k' has unknown type 13");
    head(&b, 3, 0, 1), text(&b, "k"), u32(&b, 9), u32(&b, 9), u64(&b, 1), u64(&b, 1);
    refused(&b, "gguf", "array of arrays");
    head(&b, 3, 0, 1), text(&b, "k"), u32(&b, 9), u32(&b, 10), u64(&b, UINT64_C(1) << 61), u64(&b, 1);
    refused(&b, "gguf", "claims 2305843009213693952 elements");
    head(&b, 3, 0, 1), text(&b, "k"), u32(&b, 9), u32(&b, 8), u64(&b, two62 / 64), u64(&b, 1);
    refused(&b, "gguf", "claims 72057594037927936 strings");
    head(&b, 3, 0, 1), text(&b, "k"), u32(&b, 8), u64(&b, UINT64_MAX), u64(&b, 1);
    refused(&b, "gguf", "truncated: a string in the metadata needs 18446744073709551615 bytes");
    head(&b, 3, 1, 1), text(&b, "general.alignment"), u32(&b, 4), u32(&b, 0), tensor(&b, "t", 8, 1, 0, 0),
        fill_to(&b, 256);
    refused(&b, "gguf", "general.alignment is 0");
    head(&b, 3, 1, 1), text(&b, "general.alignment"), u32(&b, 4), u32(&b, 48), tensor(&b, "t", 8, 1, 0, 0),
        fill_to(&b, 256);
    refused(&b, "gguf", "general.alignment is 48");
    head(&b, 3, 1, 0), text(&b, "t"), u32(&b, 5), fill_to(&b, 256);
    refused(&b, "gguf", "5 dimensions");
    head(&b, 3, 1, 0), tensor(&b, "line\nbreak", 33, 1, 3, 0), align(&b, 32), fill_to(&b, b.n + 64);
    refused(&b, "gguf", "tensor 'line?break'");
}

static void unknown_types_are_listed_but_not_read(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        const char *name;
    } cases[] = {{16, "IQ2_XXS"}, {999, "ggml type 999"}};
    for (int i = 0; i < 2; i++) {
        bytes b;
        kvb_weights *w = NULL;
        uint8_t *copy;
        head(&b, 3, 1, 0), tensor(&b, "t", 256, 1, cases[i].type, 0), align(&b, 32), fill_to(&b, b.n + 66);
        assert_int_equal(open_copy(&b, "gguf", &w, &copy), KVB_OK);
        kvb_weight_info info;
        assert_int_equal(kvb_weights_info(w, 0, &info), KVB_OK);
        assert_string_equal(info.type, cases[i].name);
        float out[256];
        int64_t ints[256];
        assert_int_equal(kvb_weights_read(w, 0, out, 256), KVB_E_UNSUPPORTED);
        assert_non_null(strstr(kvb_diag_message(), cases[i].name));
        assert_int_equal(kvb_weights_read_int(w, 0, ints, 256), KVB_E_UNSUPPORTED);
        kvb_weights_free(w);
        free(copy);
    }
}

/* ---- safetensors -------------------------------------------------------------------------------------------- */

static void good_safetensors(void **state) {
    (void)state;
    bytes b;
    safetensors(&b,
                "{\"__metadata__\":{\"format\":\"pt\"},\"i\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                "\"f\":{\"dtype\":\"BF16\",\"shape\":[1,2],\"data_offsets\":[8,12]},"
                "\"e\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[12,12]},"
                "\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[12,20]},"
                "\"q\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[20,21]}} ",
                0);
    int32_t i32[2] = {-7, 1 << 30};
    uint16_t bf[2] = {0x3fc0, 0xc000};
    int64_t i64 = INT64_MIN;
    put(&b, i32, 8), put(&b, bf, 4), put(&b, &i64, 8), put(&b, "\x12", 1);
    kvb_weights *w = NULL;
    uint8_t *copy;
    assert_int_equal(open_copy(&b, "safetensors", &w, &copy), KVB_OK);
    int64_t ints[2];
    float floats[2];
    assert_int_equal(kvb_weights_read_int(w, kvb_weights_find(w, "i"), ints, 2), KVB_OK);
    assert_true(ints[0] == -7 && ints[1] == 1 << 30);
    assert_int_equal(kvb_weights_read(w, kvb_weights_find(w, "f"), floats, 2), KVB_OK);
    assert_true(floats[0] == 1.5f && floats[1] == -2.0f);
    assert_int_equal(kvb_weights_read(w, kvb_weights_find(w, "e"), floats, 0), KVB_OK);
    assert_int_equal(kvb_weights_read_int(w, kvb_weights_find(w, "s"), ints, 1), KVB_OK);
    assert_true(ints[0] == INT64_MIN);
    assert_int_equal(kvb_weights_read(w, kvb_weights_find(w, "i"), floats, 2), KVB_E_UNSUPPORTED);
    assert_int_equal(kvb_weights_read_int(w, kvb_weights_find(w, "f"), ints, 2), KVB_E_UNSUPPORTED);
    assert_int_equal(kvb_weights_read(w, kvb_weights_find(w, "q"), floats, 2), KVB_E_UNSUPPORTED);
    int64_t n;
    assert_memory_equal(kvb_weights_meta_string(w, "format", 0, &n), "pt", 3);
    assert_int_equal(n, 2);
    assert_int_equal(kvb_weights_count(w), 5);
    kvb_weights_free(w);
    free(copy);
    while (--b.n > 0) refused(&b, "safetensors", "safetensors 'memory'");
}

static void hostile_safetensors(void **state) {
    (void)state;
    bytes b = {.n = 0};
#define ONE(body) "{\"t\":{" body "}}"
    static const struct {
        const char *header;
        int64_t data;
        const char *part;
    } cases[] = {
        {"[]", 0, "not a JSON object"},
        {"{\"t\":7}", 0, "not described by an object"},
        {ONE("\"shape\":[1],\"data_offsets\":[0,4]"), 4, "no dtype"},
        {ONE("\"dtype\":\"F32\",\"data_offsets\":[0,4]"), 4, "dimensions"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]"), 4, "5 dimensions"},
        {ONE("\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]"), 4, "dimension 0"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]"), 4, "dimension 0"},
        {ONE("\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]"), 4, "dimension 0"},
        {ONE("\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,4]"), 4, "dimension 0"},
        {ONE("\"dtype\":\"F32\",\"shape\":[4503599627370496,4503599627370496],\"data_offsets\":[0,4]"), 4,
         "more than 2^62"},
        {ONE("\"dtype\":\"F32\",\"shape\":[4503599627370496,1024],\"data_offsets\":[0,4]"), 4, "span 4 bytes"},
        {ONE("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]"), 4,
         "has 2 elements of type F32, but its data_offsets span 4"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]"), 4, "ascending"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]"), 4, "ascending"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"), 3, "the file has"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"), 5, "the tensors end at byte"},
        {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]"), 5, "1 bytes before tensor 't'"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[3,6]}}",
         6, "tensors 'a' and 'b' overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         2, "duplicate"},
        {"{\"__metadata__\":{\"k\":1}}", 0, "metadata 'k' is not a string"},
        {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
        {"{\"t\\u0000x\":{}}", 0, "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        safetensors(&b, cases[i].header, cases[i].data);
        refused(&b, "safetensors", cases[i].part);
    }
    b.n = 0, u64(&b, UINT64_MAX), put(&b, "{}", 2);
    refused(&b, "safetensors", "the header claims 18446744073709551615 bytes");
}

/* ---- files on disk: kinds, shards, hashes ------------------------------------------------------------------- */

static char folder[64];

static const char *in_folder(const char *name) {
    static char ring[4][256];
    static int turn;
    char *path = ring[turn++ % 4];
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const void *data, int64_t n) {
    assert_int_equal(kvb_file_write(in_folder(name), data, n), KVB_OK);
}

static void refused_file(const char *name, kvb_status code, const char *part) {
    kvb_weights *w = NULL;
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    kvb_status status = kvb_weights_open(in_folder(name), &w);
    if (status != code || !strstr(kvb_diag_message(), part))
        fail_msg("expected %d with '%s', got %d: %s", code, part, status, kvb_diag_message());
    assert_null(w);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
}

static void write_index(const char *text_) {
    write_file("model.safetensors.index.json", text_, (int64_t)strlen(text_));
}

static void shards(void **state) {
    (void)state;
    bytes one, two;
    safetensors(&one, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    safetensors(&two,
                "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
                2);
    write_file("1.safetensors", one.data, one.n);
    write_file("2.safetensors", two.data, two.n);
    const char *index = "model.safetensors.index.json";
    write_index("{\"metadata\":{\"total_size\":3},\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}");
    kvb_weights *w = opened(in_folder(index));
    assert_int_equal(kvb_weights_count(w), 2);
    assert_true(kvb_weights_find(w, "a") >= 0 && kvb_weights_find(w, "b") >= 0);
    assert_int_equal(kvb_weights_bytes(w), one.n + two.n);
    uint64_t hash = kvb_weights_hash(w);
    assert_true(hash != 0 && hash == kvb_weights_hash(w));
    kvb_weights_free(w);
    two.data[two.n - 1] = 1;
    write_file("2.safetensors", two.data, two.n);
    w = opened(in_folder(index));
    assert_true(kvb_weights_hash(w) != hash);
    kvb_weights_free(w);

    static const struct {
        const char *index;
        kvb_status code;
        const char *part;
    } cases[] = {
        {"{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"3.safetensors\"}}", KVB_E_MISSING, "cannot open the shard"},
        {"{\"weight_map\":{\"a\":\"2.safetensors\",\"b\":\"1.safetensors\"}}", KVB_E_FORMAT, "is mapped to shard"},
        {"{\"weight_map\":{\"a\":\"1.safetensors\",\"c\":\"2.safetensors\"}}", KVB_E_FORMAT, "'b' of shard"},
        {"{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\",\"c\":\"2.safetensors\"}}", KVB_E_FORMAT,
         "tensor 'c' is not in the shard '2.safetensors'"},
        {"{\"weight_map\":{\"a\":\"../1.safetensors\"}}", KVB_E_FORMAT, "not a path inside the folder"},
        {"{\"weight_map\":{\"a\":\"x/../../1.safetensors\"}}", KVB_E_FORMAT, "not a path inside the folder"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", KVB_E_FORMAT, "not a path inside the folder"},
        {"{\"weight_map\":{\"a\":\"1.safetensors\\u0000\"}}", KVB_E_FORMAT, "not a path inside the folder"},
        {"{\"weight_map\":{\"a\":3}}", KVB_E_FORMAT, "(no string)"},
        {"{\"weight_map\":{}}", KVB_E_FORMAT, "no weight_map object"},
        {"[]", KVB_E_FORMAT, "no weight_map object"},
        {"{", KVB_E_FORMAT, "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_index(cases[i].index);
        refused_file(index, cases[i].code, cases[i].part);
    }
}

static void kinds_of_file(void **state) {
    (void)state;
    bytes b;
    one_tensor(&b, 3);
    write_file("renamed.bin", b.data, b.n);
    kvb_weights *w = opened(in_folder("renamed.bin"));
    assert_string_equal(kvb_weights_kind(w), "gguf");
    kvb_weights_free(w);
    write_file("page.gguf", "<html>", 6);
    refused_file("page.gguf", KVB_E_FORMAT, "wrong magic number: it begins with '<htm'");
    write_file("other",
               "\x7f"
               "ELF and more",
               13);
    refused_file("other", KVB_E_FORMAT, "neither a GGUF nor a safetensors file: it begins with '?ELF and'");
    write_file("empty.gguf", "", 0);
    refused_file("empty.gguf", KVB_E_FORMAT, "is empty");
    refused_file("absent.gguf", KVB_E_MISSING, "cannot open the model file");
    refused_file(".", KVB_E_IO, "not a regular file");
}

/* The n-th allocation fails, for every n: an error each time, nothing leaked. */
static void out_of_memory_anywhere(void **state) {
    (void)state;
    write_index("{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}");
    for (int k = 0; k < 2; k++) {
        char path[4096];
        snprintf(path, sizeof path, "%s", k ? in_folder("model.safetensors.index.json") : golden("gguf/meta.gguf"));
        int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
        kvb_status status = KVB_E_MEMORY;
        int n = 0;
        while (status == KVB_E_MEMORY) {
            kvb_weights *w = NULL;
            kvb_memory_fail_nth(++n);
            status = kvb_weights_open(path, &w);
            kvb_memory_fail_nth(0);
            assert_true(status == KVB_OK || w == NULL);
            kvb_weights_free(w);
            assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
        }
        assert_int_equal(status, KVB_OK);
        assert_true(n > 10);
    }
}

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/kvb-weights-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"1.safetensors", "2.safetensors", "model.safetensors.index.json",
                                        "renamed.bin",   "page.gguf",     "other",
                                        "empty.gguf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(in_folder(names[i]));
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_match_the_reference),
        cmocka_unit_test(every_half_float),
        cmocka_unit_test(large_tensors_read_like_small_ones),
        cmocka_unit_test(metadata_of_every_type),
        cmocka_unit_test(versions_two_and_three),
        cmocka_unit_test(cut_at_any_byte),
        cmocka_unit_test(hostile_gguf),
        cmocka_unit_test(unknown_types_are_listed_but_not_read),
        cmocka_unit_test(good_safetensors),
        cmocka_unit_test(hostile_safetensors),
        cmocka_unit_test(shards),
        cmocka_unit_test(kinds_of_file),
        cmocka_unit_test(out_of_memory_anywhere),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
