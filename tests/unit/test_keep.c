/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_keep.c - keep-sets against a plain array of booleans: same operations on both, every reader compared, at token
 * counts around the borders of the 64-bit words.
 */
#include "keep.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LAYERS = 3, HEADS = 2, MOST = 200 };
static const int32_t sizes[] = {1, 2, 63, 64, 65, 127, 128, 129, MOST};
enum { SIZES = sizeof sizes / sizeof *sizes };

static uint64_t state = 1;
static int32_t below(int32_t n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (int32_t)((state >> 33) % (uint64_t)n);
}

typedef struct plain {
    int32_t tokens;
    uint8_t bit[LAYERS][HEADS][MOST];
} plain;

static void compare(const kvb_keep *k, const plain *p) {
    int64_t total = 0;
    uint16_t counts[LAYERS * MOST];
    assert_int_equal(kvb_keep_layer_counts(k, counts), KVB_OK);
    for (int32_t l = 0; l < LAYERS; l++)
        for (int32_t t = 0; t < p->tokens; t++) {
            int32_t heads = 0;
            for (int32_t h = 0; h < HEADS; h++) {
                assert_int_equal(kvb_keep_kept(k, l, h, t), p->bit[l][h][t]);
                heads += p->bit[l][h][t];
            }
            assert_int_equal(counts[l * p->tokens + t], heads);
            total += heads;
        }
    assert_int_equal(kvb_keep_total(k), total);
    for (int32_t i = 0; i < 20; i++) {
        int32_t from = below(p->tokens + 1), to = from + below(p->tokens - from + 1), cells = 0;
        for (int32_t l = 0; l < LAYERS; l++)
            for (int32_t h = 0; h < HEADS; h++) {
                int32_t n = 0;
                for (int32_t t = from; t < to; t++) n += p->bit[l][h][t];
                assert_int_equal(kvb_keep_count(k, l, h, from, to), n);
                cells += n == to - from;
            }
        assert_int_equal(kvb_keep_span_cells(k, from, to), from < to ? cells : 0);
    }
}

static void fresh(int32_t tokens, kvb_keep **k, plain *p) {
    assert_int_equal(kvb_keep_new(LAYERS, HEADS, tokens, k), KVB_OK);
    p->tokens = tokens;
    memset(p->bit, 1, sizeof p->bit);
}

static void change(kvb_keep *k, plain *p, int32_t l, int32_t h, int32_t from, int32_t to, int32_t kept) {
    assert_int_equal(kvb_keep_set(k, l, h, from, to, kept), KVB_OK);
    for (int32_t t = from; t < to; t++) p->bit[l][h][t] = (uint8_t)kept;
}

static void ranges_equal_single_bits(void **unused) {
    (void)unused;
    for (int32_t s = 0; s < SIZES; s++) {
        kvb_keep *k;
        plain p;
        fresh(sizes[s], &k, &p);
        compare(k, &p);
        for (int32_t i = 0; i < 60; i++) {
            int32_t from = below(p.tokens + 1), to = from + below(p.tokens - from + 1);
            change(k, &p, below(LAYERS), below(HEADS), from, to, below(2));
            compare(k, &p);
        }
        kvb_keep_free(k);
    }
}

/* Every pair of borders of a three-word row, in both directions. */
static void word_borders(void **unused) {
    (void)unused;
    static const int32_t border[] = {0, 1, 62, 63, 64, 65, 127, 128, 129, 191, 192, MOST};
    enum { N = sizeof border / sizeof *border };
    for (int32_t a = 0; a < N; a++)
        for (int32_t b = a; b < N; b++) {
            kvb_keep *k;
            plain p;
            fresh(MOST, &k, &p);
            change(k, &p, 1, 1, 0, MOST, 0);
            change(k, &p, 1, 1, border[a], border[b], 1);
            assert_int_equal(kvb_keep_count(k, 1, 1, 0, MOST), border[b] - border[a]);
            compare(k, &p);
            kvb_keep_free(k);
        }
}

static void from_ranks_with_any_strides(void **unused) {
    (void)unused;
    for (int32_t s = 0; s < SIZES; s++) {
        int32_t n = sizes[s];
        /* stored [tokens][heads + 1][layers]: the view is transposed and skips a head */
        uint32_t *data = calloc((size_t)n * (HEADS + 1) * LAYERS, sizeof *data);
        kvb_tensor ranks = kvb_view3(data, KVB_U32, LAYERS, HEADS, n);
        ranks.stride[0] = 1;
        ranks.stride[1] = LAYERS;
        ranks.stride[2] = (HEADS + 1) * LAYERS;
        plain p = {.tokens = n};
        uint32_t thresholds[LAYERS * HEADS];
        for (int32_t i = 0; i < LAYERS * HEADS; i++) thresholds[i] = (uint32_t)below(n + 2);
        thresholds[0] = 0;
        thresholds[1] = UINT32_MAX;
        for (int32_t l = 0; l < LAYERS; l++)
            for (int32_t h = 0; h < HEADS; h++)
                for (int32_t t = 0; t < n; t++) {
                    uint32_t rank = (uint32_t)below(n);
                    data[t * ranks.stride[2] + h * ranks.stride[1] + l] = rank;
                    p.bit[l][h][t] = rank < thresholds[l * HEADS + h];
                }
        kvb_keep *k;
        assert_int_equal(kvb_keep_from_ranks(&ranks, thresholds, &k), KVB_OK);
        compare(k, &p);
        assert_int_equal(kvb_keep_count(k, 0, 0, 0, n), 0);
        assert_int_equal(kvb_keep_count(k, 0, 1, 0, n), n);
        kvb_keep_free(k);
        free(data);
    }
}

static void bits_there_and_back(void **unused) {
    (void)unused;
    for (int32_t s = 0; s < SIZES; s++) {
        plain p = {.tokens = sizes[s]};
        static uint8_t in[LAYERS * HEADS * MOST], out[LAYERS * HEADS * MOST];
        for (int32_t i = 0; i < LAYERS * HEADS * p.tokens; i++) {
            in[i] = below(2) ? (uint8_t)(1 + below(255)) : 0; /* any non-zero byte is "kept" */
            p.bit[i / p.tokens / HEADS][i / p.tokens % HEADS][i % p.tokens] = in[i] != 0;
        }
        kvb_tensor bits = kvb_view3(in, KVB_U8, LAYERS, HEADS, p.tokens),
                   back = kvb_view3(out, KVB_U8, LAYERS, HEADS, p.tokens);
        kvb_keep *k, *copy;
        assert_int_equal(kvb_keep_from_bits(&bits, &k), KVB_OK);
        compare(k, &p);
        assert_int_equal(kvb_keep_to_bits(k, &back), KVB_OK);
        for (int32_t i = 0; i < LAYERS * HEADS * p.tokens; i++) assert_int_equal(out[i], in[i] != 0);
        assert_int_equal(kvb_keep_copy(k, &copy), KVB_OK);
        assert_true(kvb_keep_hash(copy) == kvb_keep_hash(k));
        assert_int_equal(kvb_keep_set(copy, 0, 0, 0, 1, !in[0]), KVB_OK);
        assert_true(kvb_keep_hash(copy) != kvb_keep_hash(k));
        assert_int_equal(kvb_keep_kept(k, 0, 0, 0), in[0] != 0); /* a copy shares nothing */
        kvb_keep_free(copy);
        kvb_keep_free(k);
    }
}

static void hash_knows_the_shape(void **unused) {
    (void)unused;
    kvb_keep *a, *b, *c;
    assert_int_equal(kvb_keep_new(1, 2, 64, &a), KVB_OK);
    assert_int_equal(kvb_keep_new(2, 1, 64, &b), KVB_OK);
    assert_int_equal(kvb_keep_new(1, 1, 128, &c), KVB_OK);
    assert_true(kvb_keep_hash(a) != kvb_keep_hash(b)); /* all three are 128 ones */
    assert_true(kvb_keep_hash(a) != kvb_keep_hash(c));
    assert_true(kvb_keep_hash(b) != kvb_keep_hash(c));
    kvb_keep_free(a);
    kvb_keep_free(b);
    kvb_keep_free(c);
}

static void overlap_counts(void **unused) {
    (void)unused;
    kvb_keep *a, *b, *other;
    plain p, q;
    fresh(129, &a, &p);
    fresh(129, &b, &q);
    for (int32_t i = 0; i < 30; i++) {
        int32_t from = below(130), to = from + below(130 - from);
        change(a, &p, below(LAYERS), below(HEADS), from, to, below(2));
        from = below(130), to = from + below(130 - from);
        change(b, &q, below(LAYERS), below(HEADS), from, to, below(2));
    }
    int64_t all_both = 0, all_either = 0, both, either;
    for (int32_t l = 0; l < LAYERS; l++)
        for (int32_t h = 0; h < HEADS; h++) {
            int64_t x = 0, y = 0;
            for (int32_t t = 0; t < 129; t++) {
                x += p.bit[l][h][t] && q.bit[l][h][t];
                y += p.bit[l][h][t] || q.bit[l][h][t];
            }
            assert_int_equal(kvb_keep_overlap(a, b, l, h, &both, &either), KVB_OK);
            assert_int_equal(both, x);
            assert_int_equal(either, y);
            all_both += x;
            all_either += y;
        }
    assert_int_equal(kvb_keep_overlap(a, b, -1, -1, &both, &either), KVB_OK);
    assert_int_equal(both, all_both);
    assert_int_equal(either, all_either);
    assert_int_equal(kvb_keep_new(LAYERS, HEADS, 128, &other), KVB_OK);
    assert_int_equal(kvb_keep_overlap(a, other, -1, -1, &both, &either), KVB_E_SHAPE);
    assert_int_equal(kvb_keep_overlap(a, b, LAYERS, 0, &both, &either), KVB_E_ARG);
    kvb_keep_free(other);
    kvb_keep_free(a);
    kvb_keep_free(b);
}

static void outside_is_refused(void **unused) {
    (void)unused;
    kvb_keep *k = NULL;
    int32_t bad[][3] = {{0, 1, 1}, {1, 0, 1}, {1, 1, 0}, {-1, 1, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(kvb_keep_new(bad[i][0], bad[i][1], bad[i][2], &k), KVB_E_ARG);
        assert_non_null(strstr(kvb_diag_message(), "each must be at least 1"));
    }
    plain p;
    fresh(70, &k, &p);
    int32_t ranges[][5] = {{-1, 0, 0, 1}, {LAYERS, 0, 0, 1}, {0, HEADS, 0, 1}, {0, -1, 0, 1},
                           {0, 0, -1, 1}, {0, 0, 0, 71},     {0, 0, 5, 4}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        assert_int_equal(kvb_keep_set(k, ranges[i][0], ranges[i][1], ranges[i][2], ranges[i][3], 0), KVB_E_ARG);
    compare(k, &p);
    assert_int_equal(kvb_keep_kept(k, LAYERS, 0, 0), 0);
    assert_int_equal(kvb_keep_kept(k, 0, 0, 70), 0);
    assert_int_equal(kvb_keep_kept(k, 0, 0, -1), 0);
    assert_int_equal(kvb_keep_count(k, 0, HEADS, 0, 70), 0);
    assert_int_equal(kvb_keep_count(k, 0, 0, -100, 1000), 70); /* clipped */
    assert_int_equal(kvb_keep_span_cells(k, 60, 71), 0);
    assert_int_equal(kvb_keep_span_cells(k, -1, 2), 0);
    uint32_t ranks[LAYERS * HEADS * 70] = {0}, thresholds[LAYERS * HEADS] = {0};
    kvb_tensor wrong = kvb_view3(ranks, KVB_F32, LAYERS, HEADS, 70);
    kvb_keep *out = NULL;
    assert_int_equal(kvb_keep_from_ranks(&wrong, thresholds, &out), KVB_E_SHAPE);
    wrong = kvb_view2(ranks, KVB_U32, LAYERS, 70);
    assert_int_equal(kvb_keep_from_ranks(&wrong, thresholds, &out), KVB_E_SHAPE);
    assert_null(out);
    kvb_keep_free(k);
    kvb_keep_free(NULL);
}

static void nothing_is_leaked(void **unused) {
    (void)unused;
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    for (int64_t n = 1; n < 10; n++) {
        kvb_keep *k = NULL;
        kvb_memory_fail_nth(n);
        kvb_status status = kvb_keep_new(4, 4, 300, &k);
        kvb_memory_fail_nth(0);
        assert_int_equal(status, n <= 2 ? KVB_E_MEMORY : KVB_OK);
        kvb_keep_free(k);
        assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
    }
    kvb_keep *k;
    assert_int_equal(kvb_keep_new(1, 1, 1, &k), KVB_OK);
    kvb_keep_retain(k);
    kvb_keep_free(k);
    assert_int_equal(kvb_keep_total(k), 1); /* still held */
    kvb_keep_free(k);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_equal_single_bits),    cmocka_unit_test(word_borders),
        cmocka_unit_test(from_ranks_with_any_strides), cmocka_unit_test(bits_there_and_back),
        cmocka_unit_test(hash_knows_the_shape),        cmocka_unit_test(overlap_counts),
        cmocka_unit_test(outside_is_refused),          cmocka_unit_test(nothing_is_leaked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
