/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger.c - keep-sets as bytes: what one press left of one context at all of its ratios, small enough to be stored
 * with every answer.
 *
 * Sets that are nested (each keeps nothing that the one before evicted: what one ranking gives) become one level per
 * (layer, head, token), the number of ratios that keep it; others become bit planes, each but the first as its
 * difference to the one before. zstd removes what is regular. Ten equally likely levels cost log2(10) = 3.32 bits and
 * take 3.4.
 *
 * A blob: "KVL1", coding, 3 zero bytes, layers, heads, tokens, sets (u32, little-endian), then a zstd frame. Blobs are
 * untrusted: sizes are checked before anything is allocated. Rejected: ranks themselves (a permutation of 250 tokens
 * has 7 bits a token, of which nine ratios use half).
 */
#include "keep.h"
#include <stdlib.h>
#include <zstd.h>

enum { HEADER = 24, LEVELS = 1, PLANES = 2, MOST_SETS = 255, ZSTD_LEVEL = 1 };

static const char magic[4] = {'K', 'V', 'L', '1'};

static void put_u32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t get_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool nested(const kvb_keep *const *keeps, int32_t n) {
    int64_t words = (int64_t)keeps[0]->layers * keeps[0]->heads * keeps[0]->words;
    uint64_t back = 0;
    for (int32_t k = 1; k < n; k++)
        for (int64_t i = 0; i < words; i++) back |= keeps[k]->bits[i] & ~keeps[k - 1]->bits[i];
    return back == 0;
}

/* out[row * tokens + t]: how many of the sets keep the token. */
static void write_levels(const kvb_keep *const *keeps, int32_t n, uint8_t *out) {
    const kvb_keep *k = keeps[0];
    int64_t rows = (int64_t)k->layers * k->heads;
    for (int64_t r = 0; r < rows; r++, out += k->tokens)
        for (int32_t s = 0; s < n; s++) {
            const uint64_t *bits = keeps[s]->bits + r * k->words;
            for (int32_t first = 0; first < k->tokens; first += 64) {
                uint64_t word = bits[first / 64];
                int32_t many = k->tokens - first < 64 ? k->tokens - first : 64;
                for (int32_t t = 0; t < many; t++) out[first + t] += (uint8_t)(word >> t & 1);
            }
        }
}

static void write_planes(const kvb_keep *const *keeps, int32_t n, uint64_t *out) {
    int64_t words = (int64_t)keeps[0]->layers * keeps[0]->heads * keeps[0]->words;
    for (int32_t k = 0; k < n; k++, out += words)
        for (int64_t i = 0; i < words; i++) out[i] = keeps[k]->bits[i] ^ (k ? keeps[k - 1]->bits[i] : 0);
}

static kvb_status check_sets(const kvb_keep *const *keeps, int32_t n) {
    if (n < 1 || n > MOST_SETS) return kvb_fail(KVB_E_ARG, "ledger: %d keep-sets, expected 1 to %d", n, MOST_SETS);
    const kvb_keep *a = keeps[0];
    for (int32_t k = 0; k < n; k++) {
        const kvb_keep *b = keeps[k];
        if (b->layers != a->layers || b->heads != a->heads || b->tokens != a->tokens)
            return kvb_fail(KVB_E_SHAPE, "ledger: set %d is [%d, %d, %d], the first [%d, %d, %d]", k + 1, b->layers,
                            b->heads, b->tokens, a->layers, a->heads, a->tokens);
        KVB_TRY(kvb_keep_host_bits(b, NULL));
    }
    return KVB_OK;
}

kvb_status kvb_ledger_pack(const kvb_keep *const *keeps, int32_t n, const void **data, int64_t *bytes) {
    static _Thread_local ZSTD_CCtx *zstd; /* making one costs more than using it */
    static _Thread_local uint8_t *kept;   /* what the last call handed out */
    KVB_TRY(check_sets(keeps, n));
    const kvb_keep *k = keeps[0];
    bool levels = nested(keeps, n);
    size_t cells = (size_t)k->layers * (size_t)k->heads;
    size_t raw = levels ? cells * (size_t)k->tokens : (size_t)n * cells * (size_t)k->words * 8;
    size_t room = HEADER + ZSTD_compressBound(raw);
    void *plain = kvb_alloc(raw, KVB_MEM_OTHER);
    if (!plain) return KVB_E_MEMORY;
    uint8_t *out = kvb_realloc(kept, room, KVB_MEM_OTHER);
    if (out) kept = out;
    if (!zstd) zstd = ZSTD_createCCtx();
    if (!out || !zstd) {
        kvb_free(plain);
        return out ? kvb_fail(KVB_E_MEMORY, "ledger: out of memory for a compressor") : KVB_E_MEMORY;
    }
    if (levels) write_levels(keeps, n, plain);
    else write_planes(keeps, n, plain);
    size_t got = ZSTD_compressCCtx(zstd, out + HEADER, room - HEADER, plain, raw, ZSTD_LEVEL);
    kvb_free(plain);
    if (ZSTD_isError(got)) return kvb_fail(KVB_E_INTERNAL, "ledger: cannot compress: %s", ZSTD_getErrorName(got));
    memcpy(out, magic, 4);
    put_u32(out + 4, levels ? LEVELS : PLANES);
    put_u32(out + 8, (uint32_t)k->layers);
    put_u32(out + 12, (uint32_t)k->heads);
    put_u32(out + 16, (uint32_t)k->tokens);
    put_u32(out + 20, (uint32_t)n);
    *data = out;
    *bytes = (int64_t)(HEADER + got);
    return KVB_OK;
}

typedef struct {
    uint32_t coding, layers, heads, tokens, sets;
    size_t rows, words, raw;
} blob_shape;

/* Checks everything that a blob claims; nothing is allocated before this agrees. */
static kvb_status read_shape(const uint8_t *p, int64_t bytes, blob_shape *b) {
    if (bytes < HEADER || memcmp(p, magic, 4) != 0)
        return kvb_fail(KVB_E_FORMAT, "ledger: %lld bytes that do not begin as a ledger entry does", (long long)bytes);
    *b = (blob_shape){get_u32(p + 4), get_u32(p + 8), get_u32(p + 12), get_u32(p + 16), get_u32(p + 20), 0, 0, 0};
    if ((b->coding != LEVELS && b->coding != PLANES) || !b->layers || !b->heads || !b->tokens || !b->sets ||
        b->layers > 4096 || b->heads > 4096 || b->tokens > 1u << 28 || b->sets > MOST_SETS)
        return kvb_fail(KVB_E_FORMAT, "ledger: coding %u, %u layers, %u heads, %u tokens, %u sets: out of range",
                        b->coding, b->layers, b->heads, b->tokens, b->sets);
    b->rows = (size_t)b->layers * b->heads;
    b->words = ((size_t)b->tokens + 63) / 64;
    b->raw = b->coding == LEVELS ? b->rows * b->tokens : (size_t)b->sets * b->rows * b->words * 8;
    if (b->raw > 1ull << 32) return kvb_fail(KVB_E_FORMAT, "ledger: %zu bytes of keep-sets are more than 2^32", b->raw);
    unsigned long long claimed = ZSTD_getFrameContentSize(p + HEADER, (size_t)bytes - HEADER);
    if (claimed != b->raw)
        return kvb_fail(KVB_E_FORMAT, "ledger: the data holds %lld bytes, its shape needs %zu",
                        claimed > INT64_MAX ? -1ll : (long long)claimed, b->raw);
    return KVB_OK;
}

static kvb_status from_levels(const blob_shape *b, const uint8_t *plain, uint32_t which, kvb_keep *k) {
    for (size_t r = 0; r < b->rows; r++, plain += b->tokens) {
        uint64_t *bits = k->bits + r * b->words;
        for (uint32_t t = 0; t < b->tokens; t++) {
            if (plain[t] > b->sets)
                return kvb_fail(KVB_E_FORMAT, "ledger: a level of %u in %u sets", plain[t], b->sets);
            bits[t / 64] |= (uint64_t)(plain[t] > which) << (t % 64);
        }
    }
    return KVB_OK;
}

static kvb_status from_planes(const blob_shape *b, const uint8_t *plain, uint32_t which, kvb_keep *k) {
    uint64_t beyond = b->tokens % 64 ? ~0ull << (b->tokens % 64) : 0;
    for (uint32_t s = 0; s <= which; s++)
        for (size_t i = 0; i < b->rows * b->words; i++, plain += 8) {
            uint64_t word;
            memcpy(&word, plain, 8);
            k->bits[i] ^= word;
        }
    for (size_t r = 0; r < b->rows; r++)
        if (k->bits[(r + 1) * b->words - 1] & beyond)
            return kvb_fail(KVB_E_FORMAT, "ledger: a set keeps tokens past the last of %u", b->tokens);
    return KVB_OK;
}

kvb_status kvb_ledger_unpack(const void *data, int64_t bytes, int32_t which, kvb_keep **out) {
    blob_shape b = {0};
    KVB_TRY(read_shape(data, bytes, &b));
    if (which < 0 || (uint32_t)which >= b.sets)
        return kvb_fail(KVB_E_ARG, "ledger: set %d of %u, counted from 0", which, b.sets);
    uint8_t *plain = kvb_alloc_raw(b.raw, KVB_MEM_OTHER);
    if (!plain) return KVB_E_MEMORY;
    size_t got = ZSTD_decompress(plain, b.raw, (const uint8_t *)data + HEADER, (size_t)bytes - HEADER);
    kvb_keep *k = NULL;
    kvb_status status = KVB_OK;
    if (ZSTD_isError(got) || got != b.raw)
        status = kvb_fail(KVB_E_FORMAT, "ledger: damaged data: %s", ZSTD_isError(got) ? ZSTD_getErrorName(got) : "cut");
    if (status == KVB_OK) status = kvb_keep_new((int32_t)b.layers, (int32_t)b.heads, (int32_t)b.tokens, &k);
    if (status == KVB_OK) {
        memset(k->bits, 0, b.rows * b.words * 8);
        status = b.coding == LEVELS ? from_levels(&b, plain, (uint32_t)which, k)
                                    : from_planes(&b, plain, (uint32_t)which, k);
    }
    kvb_free(plain);
    if (status != KVB_OK) {
        kvb_keep_free(k);
        return status;
    }
    *out = k;
    return KVB_OK;
}
