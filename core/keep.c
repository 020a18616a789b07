/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep.c - which cached tokens survive.
 *
 * A press yields ranks, and a threshold per (layer, head) and ratio; a keep-set is what one such cut leaves: one 64-bit
 * word per 64-key tile, which is what attention reads. Nested ratios stay nested because they are cuts of one ranking.
 * The bits are on the host, on one GPU, or on both, and move when somebody asks: a sweep whose presses score on the GPU
 * makes its sets there and reads them there.
 *
 * Rejected: a sorted index list per ratio (nine copies, and gathering changes the order of summation, so that "evict
 * nothing" would not be bit-equal to the full cache).
 */
#include "backend.h"
#include "keep.h"

/* Bits [from, to) of word w, as a mask; an empty or foreign range gives 0. */
static uint64_t range_mask(int32_t w, int32_t from, int32_t to) {
    int64_t lo = (int64_t)from - 64 * (int64_t)w, hi = (int64_t)to - 64 * (int64_t)w;
    lo = lo < 0 ? 0 : lo;
    hi = hi > 64 ? 64 : hi;
    if (lo >= hi) return 0;
    return (hi - lo == 64) ? ~0ull : ((1ull << (hi - lo)) - 1) << lo;
}

static size_t bytes_of(const kvb_keep *k) {
    return kvb_mul_size(kvb_mul_size((size_t)k->layers, (size_t)k->heads), kvb_mul_size((size_t)k->words,
            sizeof *k->bits));
}

/* A set without bits. */
static kvb_status make(int32_t layers, int32_t kv_heads, int32_t tokens, kvb_keep **out) {
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
    *out = k;
    return KVB_OK;
}

static kvb_status make_on_host(int32_t layers, int32_t kv_heads, int32_t tokens, kvb_keep **out) {
    kvb_keep *k;
    KVB_TRY(make(layers, kv_heads, tokens, &k));
    k->bits = kvb_alloc_array(kvb_mul_size(kvb_mul_size((size_t)layers, (size_t)kv_heads), (size_t)k->words),
            sizeof *k->bits, KVB_MEM_OTHER);
    if (!k->bits) {
        kvb_keep_free(k);
        return KVB_E_MEMORY;
    }
    *out = k;
    return KVB_OK;
}

kvb_status kvb_keep_new(int32_t layers, int32_t kv_heads, int32_t tokens, kvb_keep **out) {
    KVB_TRY(make_on_host(layers, kv_heads, tokens, out));
    kvb_keep *k = *out;
    for (int32_t l = 0; l < layers; l++)
        for (int32_t h = 0; h < kv_heads; h++)
            for (int32_t w = 0; w < k->words; w++) kvb_keep_row(k, l, h)[w] = range_mask(w, 0, tokens);
    return KVB_OK;
}

static void drop_device_bits(kvb_keep *k) {
    if (k->device_bits) kvb_backend_free(kvb_backend_get(k->device), k->device_bits);
    k->device_bits = NULL;
}

void kvb_keep_retain(kvb_keep *k) {
    if (k) atomic_fetch_add(&k->references, 1);
}

void kvb_keep_free(kvb_keep *k) {
    if (!k || atomic_fetch_sub(&k->references, 1) != 1) return;
    drop_device_bits(k);
    kvb_free(k->bits);
    kvb_free(k);
}

kvb_status kvb_keep_host_bits(const kvb_keep *keep, const uint64_t **out) {
    kvb_keep *k = (kvb_keep *)keep; /* where a copy of the bits is does not change the set */
    if (!k->bits) {
        const kvb_backend *b = kvb_backend_get(k->device);
        uint64_t *bits = b ? kvb_alloc_raw(bytes_of(k), KVB_MEM_OTHER) : NULL;
        kvb_status status = bits ? kvb_backend_download(b, bits, k->device_bits, bytes_of(k)) : kvb_diag_code();
        if (status != KVB_OK) {
            kvb_free(bits);
            return status;
        }
        k->bits = bits;
    }
    if (out) *out = k->bits;
    return KVB_OK;
}

kvb_status kvb_keep_device_bits(const kvb_keep *keep, int32_t device, const uint64_t **out) {
    kvb_keep *k = (kvb_keep *)keep;
    if (!k->device_bits || k->device != device) {
        KVB_TRY(kvb_keep_host_bits(k, NULL));
        drop_device_bits(k);
        const kvb_backend *b = kvb_backend_get(device);
        uint64_t *bits = b ? kvb_backend_alloc(b, bytes_of(k), KVB_MEM_OTHER) : NULL;
        kvb_status status = bits ? kvb_backend_upload(b, bits, k->bits, bytes_of(k)) : kvb_diag_code();
        if (status != KVB_OK) {
            if (bits) kvb_backend_free(b, bits);
            return status;
        }
        k->device_bits = bits;
        k->device = device;
    }
    *out = k->device_bits;
    return KVB_OK;
}

kvb_status kvb_keep_fetch(const kvb_keep *k) { return kvb_keep_host_bits(k, NULL); }

static bool on_host(const kvb_keep *k) { return kvb_keep_host_bits(k, NULL) == KVB_OK; }

/* A keep-set shaped like a [layers, heads, tokens] tensor of the given dtype; its bits shall be where the tensor is. */
static kvb_status new_like(const char *what, const kvb_tensor *t, int32_t dtype, kvb_keep **out) {
    int64_t any[3] = {-1, -1, -1};
    KVB_TRY(kvb_tensor_expect("keep-set", what, t, dtype, 3, any));
    if (t->shape[0] > INT32_MAX || t->shape[1] > INT32_MAX || t->shape[2] > INT32_MAX)
        return kvb_fail(KVB_E_SHAPE, "keep-set: %s is larger than 2^31 in one dimension", what);
    int32_t layers = (int32_t)t->shape[0], heads = (int32_t)t->shape[1], tokens = (int32_t)t->shape[2];
    if (t->device_id == 0) return make_on_host(layers, heads, tokens, out);
    const kvb_backend *b = kvb_backend_get(t->device_id);
    if (!b) return kvb_diag_code();
    KVB_TRY(make(layers, heads, tokens, out));
    kvb_keep *k = *out;
    k->device = t->device_id;
    k->device_bits = kvb_backend_alloc(b, bytes_of(k), KVB_MEM_OTHER);
    if (k->device_bits) return KVB_OK;
    kvb_keep_free(k);
    return KVB_E_MEMORY;
}

/* Sets the bits of a row from n values `step` elements apart. */
#define PACK_ROW(row, type, from, step, kept)                                                                          \
    for (int32_t t = 0; t < k->tokens; t++) {                                                                          \
        type value = (from)[t * (step)];                                                                               \
        (row)[t / 64] |= (uint64_t)(kept) << (t % 64);                                                                 \
    }

/* Gives the made set to the caller, or ends it. */
static kvb_status handed(kvb_status status, kvb_keep *k, kvb_keep **out) {
    if (status == KVB_OK) *out = k;
    else kvb_keep_free(k);
    return status;
}

kvb_status kvb_keep_from_ranks(const kvb_tensor *ranks, const uint32_t *thresholds, kvb_keep **out) {
    kvb_keep *k;
    KVB_TRY(new_like("ranks", ranks, KVB_U32, &k));
    if (k->device_bits)
        return handed(kvb_backend_get(k->device)->keep_from_ranks(ranks, thresholds, k->words, k->device_bits), k, out);
    for (int32_t l = 0; l < k->layers; l++)
        for (int32_t h = 0; h < k->heads; h++) {
            const uint32_t *rank = (const uint32_t *)ranks->data + l * ranks->stride[0] + h * ranks->stride[1];
            uint32_t threshold = thresholds[l * k->heads + h];
            PACK_ROW(kvb_keep_row(k, l, h), uint32_t, rank, ranks->stride[2], value < threshold)
        }
    return handed(KVB_OK, k, out);
}

kvb_status kvb_keep_from_bits(const kvb_tensor *bits, kvb_keep **out) {
    kvb_keep *k;
    KVB_TRY(new_like("bits", bits, KVB_U8, &k));
    if (k->device_bits)
        return handed(kvb_backend_get(k->device)->keep_from_bits(bits, k->words, k->device_bits), k, out);
    for (int32_t l = 0; l < k->layers; l++)
        for (int32_t h = 0; h < k->heads; h++) {
            const uint8_t *bit = (const uint8_t *)bits->data + l * bits->stride[0] + h * bits->stride[1];
            PACK_ROW(kvb_keep_row(k, l, h), uint8_t, bit, bits->stride[2], value != 0)
        }
    return handed(KVB_OK, k, out);
}

kvb_status kvb_keep_to_bits(const kvb_keep *k, kvb_tensor *out) {
    int64_t shape[3] = {k->layers, k->heads, k->tokens};
    KVB_TRY(kvb_tensor_expect("keep-set", "out", out, KVB_U8, 3, shape));
    if (out->device_id != 0) return kvb_fail(KVB_E_ARG, "keep-set: the tensor to write bits into must be on the cpu");
    KVB_TRY(kvb_keep_host_bits(k, NULL));
    for (int32_t l = 0; l < k->layers; l++)
        for (int32_t h = 0; h < k->heads; h++) {
            uint8_t *bit = (uint8_t *)out->data + l * out->stride[0] + h * out->stride[1];
            const uint64_t *row = kvb_keep_row(k, l, h);
            for (int32_t t = 0; t < k->tokens; t++) bit[t * out->stride[2]] = row[t / 64] >> (t % 64) & 1;
        }
    return KVB_OK;
}

kvb_status kvb_keep_copy(const kvb_keep *k, kvb_keep **out) {
    KVB_TRY(kvb_keep_host_bits(k, NULL));
    KVB_TRY(make_on_host(k->layers, k->heads, k->tokens, out));
    memcpy((*out)->bits, k->bits, bytes_of(k));
    return KVB_OK;
}

int32_t kvb_keep_layers(const kvb_keep *k) { return k->layers; }
int32_t kvb_keep_heads(const kvb_keep *k) { return k->heads; }
int32_t kvb_keep_tokens(const kvb_keep *k) { return k->tokens; }

static bool inside(const kvb_keep *k, int32_t layer, int32_t head) {
    return layer >= 0 && layer < k->layers && head >= 0 && head < k->heads;
}

int32_t kvb_keep_kept(const kvb_keep *k, int32_t layer, int32_t head, int32_t token) {
    if (!inside(k, layer, head) || token < 0 || token >= k->tokens || !on_host(k)) return 0;
    return (int32_t)(kvb_keep_row(k, layer, head)[token / 64] >> (token % 64) & 1);
}

kvb_status kvb_keep_set(kvb_keep *k, int32_t layer, int32_t head, int32_t from, int32_t to, int32_t kept) {
    if (!inside(k, layer, head) || from < 0 || to > k->tokens || from > to)
        return kvb_fail(KVB_E_ARG,
                        "keep-set: layer %d, head %d, tokens [%d, %d) are outside [%d layers, %d heads, %d tokens]",
                        layer, head, from, to, k->layers, k->heads, k->tokens);
    KVB_TRY(kvb_keep_host_bits(k, NULL));
    drop_device_bits(k);
    uint64_t *row = kvb_keep_row(k, layer, head);
    for (int32_t w = from / 64; w < k->words && 64 * w < to; w++) {
        uint64_t mask = range_mask(w, from, to);
        row[w] = kept ? row[w] | mask : row[w] & ~mask;
    }
    return KVB_OK;
}

int32_t kvb_keep_count(const kvb_keep *k, int32_t layer, int32_t head, int32_t from, int32_t to) {
    if (!inside(k, layer, head) || !on_host(k)) return 0;
    const uint64_t *row = kvb_keep_row(k, layer, head);
    int32_t n = 0;
    from = from < 0 ? 0 : from;
    for (int32_t w = from / 64; w < k->words && 64 * w < to; w++)
        n += __builtin_popcountll(row[w] & range_mask(w, from, to));
    return n;
}

kvb_status kvb_keep_layer_counts(const kvb_keep *k, uint16_t *out) {
    KVB_TRY(kvb_keep_host_bits(k, NULL));
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
    if (!on_host(k)) return 0;
    for (int64_t i = 0; i < (int64_t)k->layers * k->heads * k->words; i++) n += __builtin_popcountll(k->bits[i]);
    return n;
}

/* Two sets of one shape, their bits on the host. */
static kvb_status check_alike(const kvb_keep *a, const kvb_keep *b) {
    if (a->layers != b->layers || a->heads != b->heads || a->tokens != b->tokens)
        return kvb_fail(KVB_E_SHAPE, "keep-sets differ in shape: [%d, %d, %d] and [%d, %d, %d]", a->layers, a->heads,
                        a->tokens, b->layers, b->heads, b->tokens);
    KVB_TRY(kvb_keep_host_bits(a, NULL));
    return kvb_keep_host_bits(b, NULL);
}

kvb_status kvb_keep_difference(const kvb_keep *a, const kvb_keep *b, kvb_keep **out) {
    KVB_TRY(check_alike(a, b));
    kvb_keep *k;
    KVB_TRY(make_on_host(a->layers, a->heads, a->tokens, &k));
    int64_t words = (int64_t)a->layers * a->heads * a->words;
    for (int64_t i = 0; i < words; i++) k->bits[i] = a->bits[i] ^ b->bits[i];
    *out = k;
    return KVB_OK;
}

kvb_status kvb_keep_overlap(const kvb_keep *a, const kvb_keep *b, int32_t layer, int32_t head, int64_t *both,
                            int64_t *either) {
    if (layer >= 0 && !inside(a, layer, head))
        return kvb_fail(KVB_E_ARG, "keep-set: no layer %d, head %d", layer, head);
    KVB_TRY(check_alike(a, b));
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
    if (!on_host(k)) return 0;
    return kvb_hash64(k->bits, (int64_t)bytes_of(k), kvb_hash64(shape, sizeof shape, 0));
}
