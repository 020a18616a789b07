/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep.c - which cached tokens survive.
 *
 * A press yields ranks, and a threshold per (layer, head) and ratio; a keep-set is what one such cut leaves: one 64-bit
 * word per 64-key tile, which is what attention reads. Nested ratios stay nested because they are cuts of one ranking.
 *
 * Rejected: a sorted index list per ratio (nine copies, and gathering changes the order of summation, so that "evict
 * nothing" would not be bit-equal to the full cache).
 */
#include "keep.h"

/* Bits [from, to) of word w, as a mask; an empty or foreign range gives 0. */
static uint64_t range_mask(int32_t w, int32_t from, int32_t to) {
    int64_t lo = (int64_t)from - 64 * (int64_t)w, hi = (int64_t)to - 64 * (int64_t)w;
    lo = lo < 0 ? 0 : lo;
    hi = hi > 64 ? 64 : hi;
    if (lo >= hi) return 0;
    return (hi - lo == 64) ? ~0ull : ((1ull << (hi - lo)) - 1) << lo;
}

kvb_status kvb_keep_new(int32_t layers, int32_t kv_heads, int32_t tokens, kvb_keep **out) {
    if (layers < 1 || kv_heads < 1 || tokens < 1)
        return kvb_fail(KVB_E_ARG, "keep-set of %d layers, %d KV heads, %d tokens: each must be at least 1", layers,
                        kv_heads, tokens);
    kvb_keep *k = kvb_alloc(sizeof *k, KVB_MEM_OTHER);
    if (!k) return KVB_E_MEMORY;
    atomic_init(&k->references, 1);
    k->layers = layers;
    k->heads = kv_heads;
    k->tokens = tokens;
    k->words = (tokens + 63) / 64;
    k->bits = kvb_alloc_array((size_t)layers * (size_t)kv_heads * (size_t)k->words, sizeof *k->bits, KVB_MEM_OTHER);
    if (!k->bits) {
        kvb_free(k);
        return KVB_E_MEMORY;
    }
    for (int32_t l = 0; l < layers; l++)
        for (int32_t h = 0; h < kv_heads; h++)
            for (int32_t w = 0; w < k->words; w++) kvb_keep_row(k, l, h)[w] = range_mask(w, 0, tokens);
    *out = k;
    return KVB_OK;
}

void kvb_keep_retain(kvb_keep *k) {
    if (k) atomic_fetch_add(&k->references, 1);
}

void kvb_keep_free(kvb_keep *k) {
    if (!k || atomic_fetch_sub(&k->references, 1) != 1) return;
    kvb_free(k->bits);
    kvb_free(k);
}

/* A keep-set shaped like a [layers, heads, tokens] tensor of the given dtype. */
static kvb_status new_like(const char *what, const kvb_tensor *t, int32_t dtype, kvb_keep **out) {
    int64_t any[3] = {-1, -1, -1};
    KVB_TRY(kvb_tensor_expect("keep-set", what, t, dtype, 3, any));
    if (t->shape[0] > INT32_MAX || t->shape[1] > INT32_MAX || t->shape[2] > INT32_MAX)
        return kvb_fail(KVB_E_SHAPE, "keep-set: %s is larger than 2^31 in one dimension", what);
    return kvb_keep_new((int32_t)t->shape[0], (int32_t)t->shape[1], (int32_t)t->shape[2], out);
}

kvb_status kvb_keep_from_ranks(const kvb_tensor *ranks, const uint32_t *thresholds, kvb_keep **out) {
    kvb_keep *k;
    KVB_TRY(new_like("ranks", ranks, KVB_U32, &k));
    for (int32_t l = 0; l < k->layers; l++)
        for (int32_t h = 0; h < k->heads; h++) {
            const uint32_t *rank = (const uint32_t *)ranks->data + l * ranks->stride[0] + h * ranks->stride[1];
            uint32_t threshold = thresholds[l * k->heads + h];
            uint64_t *row = kvb_keep_row(k, l, h);
            memset(row, 0, sizeof *row * (size_t)k->words);
            for (int32_t t = 0; t < k->tokens; t++)
                row[t / 64] |= (uint64_t)(rank[t * ranks->stride[2]] < threshold) << (t % 64);
        }
    *out = k;
    return KVB_OK;
}

kvb_status kvb_keep_from_bits(const kvb_tensor *bits, kvb_keep **out) {
    kvb_keep *k;
    KVB_TRY(new_like("bits", bits, KVB_U8, &k));
    for (int32_t l = 0; l < k->layers; l++)
        for (int32_t h = 0; h < k->heads; h++) {
            const uint8_t *bit = (const uint8_t *)bits->data + l * bits->stride[0] + h * bits->stride[1];
            uint64_t *row = kvb_keep_row(k, l, h);
            memset(row, 0, sizeof *row * (size_t)k->words);
            for (int32_t t = 0; t < k->tokens; t++)
                row[t / 64] |= (uint64_t)(bit[t * bits->stride[2]] != 0) << (t % 64);
        }
    *out = k;
    return KVB_OK;
}

kvb_status kvb_keep_to_bits(const kvb_keep *k, kvb_tensor *out) {
    int64_t shape[3] = {k->layers, k->heads, k->tokens};
    KVB_TRY(kvb_tensor_expect("keep-set", "out", out, KVB_U8, 3, shape));
    for (int32_t l = 0; l < k->layers; l++)
        for (int32_t h = 0; h < k->heads; h++) {
            uint8_t *bit = (uint8_t *)out->data + l * out->stride[0] + h * out->stride[1];
            const uint64_t *row = kvb_keep_row(k, l, h);
            for (int32_t t = 0; t < k->tokens; t++) bit[t * out->stride[2]] = row[t / 64] >> (t % 64) & 1;
        }
    return KVB_OK;
}

kvb_status kvb_keep_copy(const kvb_keep *k, kvb_keep **out) {
    KVB_TRY(kvb_keep_new(k->layers, k->heads, k->tokens, out));
    memcpy((*out)->bits, k->bits, (size_t)k->layers * (size_t)k->heads * (size_t)k->words * sizeof *k->bits);
    return KVB_OK;
}

int32_t kvb_keep_layers(const kvb_keep *k) { return k->layers; }
int32_t kvb_keep_heads(const kvb_keep *k) { return k->heads; }
int32_t kvb_keep_tokens(const kvb_keep *k) { return k->tokens; }

static bool inside(const kvb_keep *k, int32_t layer, int32_t head) {
    return layer >= 0 && layer < k->layers && head >= 0 && head < k->heads;
}

int32_t kvb_keep_kept(const kvb_keep *k, int32_t layer, int32_t head, int32_t token) {
    if (!inside(k, layer, head) || token < 0 || token >= k->tokens) return 0;
    return (int32_t)(kvb_keep_row(k, layer, head)[token / 64] >> (token % 64) & 1);
}

kvb_status kvb_keep_set(kvb_keep *k, int32_t layer, int32_t head, int32_t from, int32_t to, int32_t kept) {
    if (!inside(k, layer, head) || from < 0 || to > k->tokens || from > to)
        return kvb_fail(KVB_E_ARG,
                        "keep-set: layer %d, head %d, tokens [%d, %d) are outside [%d layers, %d heads, %d tokens]",
                        layer, head, from, to, k->layers, k->heads, k->tokens);
    uint64_t *row = kvb_keep_row(k, layer, head);
    for (int32_t w = from / 64; w < k->words && 64 * w < to; w++) {
        uint64_t mask = range_mask(w, from, to);
        row[w] = kept ? row[w] | mask : row[w] & ~mask;
    }
    return KVB_OK;
}

int32_t kvb_keep_count(const kvb_keep *k, int32_t layer, int32_t head, int32_t from, int32_t to) {
    if (!inside(k, layer, head)) return 0;
    const uint64_t *row = kvb_keep_row(k, layer, head);
    int32_t n = 0;
    from = from < 0 ? 0 : from;
    for (int32_t w = from / 64; w < k->words && 64 * w < to; w++)
        n += __builtin_popcountll(row[w] & range_mask(w, from, to));
    return n;
}

kvb_status kvb_keep_layer_counts(const kvb_keep *k, uint16_t *out) {
    for (int32_t l = 0; l < k->layers; l++)
        for (int32_t t = 0; t < k->tokens; t++) {
            uint16_t n = 0;
            for (int32_t h = 0; h < k->heads; h++) n += kvb_keep_row(k, l, h)[t / 64] >> (t % 64) & 1;
            out[(int64_t)l * k->tokens + t] = n;
        }
    return KVB_OK;
}

int32_t kvb_keep_span_cells(const kvb_keep *k, int32_t from, int32_t to) {
    if (from < 0 || to > k->tokens || from >= to) return 0;
    int32_t cells = 0;
    for (int32_t l = 0; l < k->layers; l++)
        for (int32_t h = 0; h < k->heads; h++) cells += kvb_keep_count(k, l, h, from, to) == to - from;
    return cells;
}

int64_t kvb_keep_total(const kvb_keep *k) {
    int64_t n = 0;
    for (int64_t i = 0; i < (int64_t)k->layers * k->heads * k->words; i++) n += __builtin_popcountll(k->bits[i]);
    return n;
}

kvb_status kvb_keep_overlap(const kvb_keep *a, const kvb_keep *b, int32_t layer, int32_t head, int64_t *both,
                            int64_t *either) {
    if (a->layers != b->layers || a->heads != b->heads || a->tokens != b->tokens)
        return kvb_fail(KVB_E_SHAPE, "keep-sets differ in shape: [%d, %d, %d] and [%d, %d, %d]", a->layers, a->heads,
                        a->tokens, b->layers, b->heads, b->tokens);
    if (layer >= 0 && !inside(a, layer, head))
        return kvb_fail(KVB_E_ARG, "keep-set: no layer %d, head %d", layer, head);
    int64_t first = layer < 0 ? 0 : ((int64_t)layer * a->heads + head) * a->words;
    int64_t n = layer < 0 ? (int64_t)a->layers * a->heads * a->words : a->words;
    *both = *either = 0;
    for (int64_t i = first; i < first + n; i++) {
        *both += __builtin_popcountll(a->bits[i] & b->bits[i]);
        *either += __builtin_popcountll(a->bits[i] | b->bits[i]);
    }
    return KVB_OK;
}

uint64_t kvb_keep_hash(const kvb_keep *k) {
    int32_t shape[4] = {k->layers, k->heads, k->tokens, 0};
    return kvb_hash64(k->bits, (int64_t)k->layers * k->heads * k->words * 8, kvb_hash64(shape, sizeof shape, 0));
}
