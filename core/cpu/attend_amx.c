/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_amx.c - the two products of an attention tile on the AMX units: bf16 inputs, f32 sums.
 *
 * Sixteen query rows against 64 keys are four accumulator tiles; k runs over the head dimension (scores) or the keys
 * (values) in steps of 32, in order, so a row's bits do not depend on the other rows of its tile. Rows past the last
 * one are computed and thrown away: changing the tile configuration costs more than the idle rows.
 */
#include "cpu.h"
#if defined(__AMX_BF16__)
#include <immintrin.h>

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* In memory for good: GCC's intrinsic claims to read 8 of the 64 bytes, so stores to a local would be dropped. */
static const tile_config all_tiles = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

void kvb_amx_begin(void) { _tile_loadconfig(&all_tiles); }

void kvb_amx_end(void) { _tile_release(); }

/* s[16 rows][16 blocks of keys] = q k^T for up to four key blocks. */
static void scores(const uint16_t *q, int64_t wide, const uint16_t *k, int32_t blocks, float *s) {
    const int64_t key_block = 16 * wide;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t d = 0; d < wide; d += 32) {
        const uint16_t *step = k + d * 16;
        _tile_loadd(4, q + d, wide * 2);
        _tile_loadd(5, step, 64);
        _tile_dpbf16ps(0, 4, 5);
        if (blocks > 1) {
            _tile_loadd(6, step + key_block, 64);
            _tile_dpbf16ps(1, 4, 6);
        }
        if (blocks > 2) {
            _tile_loadd(7, step + 2 * key_block, 64);
            _tile_dpbf16ps(2, 4, 7);
        }
        if (blocks > 3) {
            _tile_loadd(5, step + 3 * key_block, 64);
            _tile_dpbf16ps(3, 4, 5);
        }
    }
    _tile_stored(0, s, KVB_TILE * 4);
    _tile_stored(1, s + 16, KVB_TILE * 4);
    _tile_stored(2, s + 32, KVB_TILE * 4);
    _tile_stored(3, s + 48, KVB_TILE * 4);
}

/* sum[16 rows][64 dims from d] = p v over `keys` keys rounded up to 32. */
static void values(const uint16_t *p, const uint16_t *v, int64_t wide, int32_t keys, int32_t dims, float *sum) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int32_t j = 0; j < keys; j += 32) {
        const uint16_t *step = v + (int64_t)(j / 32) * 32 * wide;
        _tile_loadd(4, p + j, KVB_TILE * 2);
        _tile_loadd(5, step, 64);
        _tile_dpbf16ps(0, 4, 5);
        if (dims > 16) {
            _tile_loadd(6, step + 512, 64);
            _tile_dpbf16ps(1, 4, 6);
        }
        if (dims > 32) {
            _tile_loadd(7, step + 1024, 64);
            _tile_dpbf16ps(2, 4, 7);
        }
        if (dims > 48) {
            _tile_loadd(5, step + 1536, 64);
            _tile_dpbf16ps(3, 4, 5);
        }
    }
    _tile_stored(0, sum, 64 * 4);
    _tile_stored(1, sum + 16, 64 * 4);
    _tile_stored(2, sum + 32, 64 * 4);
    _tile_stored(3, sum + 48, 64 * 4);
}

void kvb_amx_scores(kvb_attn_block *b, int32_t first, int32_t n, const void *lane_keys, int32_t t, int32_t keys) {
    const int64_t wide = b->padded_dim;
    const uint16_t *k = (const uint16_t *)lane_keys + t * KVB_TILE * wide;
    for (int32_t r = first; r < first + n; r += 16)
        scores(b->q16 + r * wide, wide, k, (keys + 15) / 16, b->s + (int64_t)r * KVB_TILE);
}

void kvb_amx_values(kvb_attn_block *b, int32_t first, int32_t n, const void *lane_values, int32_t t, int32_t keys) {
    const int64_t wide = b->padded_dim;
    const uint16_t *v = (const uint16_t *)lane_values + t * KVB_TILE * wide;
    const int32_t dim = b->head_dim;
    float sum[16 * 64] __attribute__((aligned(64)));
    for (int32_t r = 0; r < n; r += 16)
        for (int32_t d = 0; d < dim; d += 64) {
            values(b->p16 + (int64_t)(first + r) * KVB_TILE, v + (d / 16) * 512, wide, keys, dim - d, sum);
            int32_t rows = n - r < 16 ? n - r : 16, dims = dim - d < 64 ? dim - d : 64;
            for (int32_t i = 0; i < rows; i++) {
                float *o = b->o + (int64_t)(first + r + i) * dim + d;
                for (int32_t c = 0; c < dims; c++) o[c] += sum[i * 64 + c];
            }
        }
}
#else
void kvb_amx_scores(kvb_attn_block *b, int32_t first, int32_t n, const void *lane_keys, int32_t t, int32_t keys) {
    (void)b, (void)first, (void)n, (void)lane_keys, (void)t, (void)keys;
}
void kvb_amx_values(kvb_attn_block *b, int32_t first, int32_t n, const void *lane_values, int32_t t, int32_t keys) {
    (void)b, (void)first, (void)n, (void)lane_values, (void)t, (void)keys;
}
void kvb_amx_begin(void) {}
void kvb_amx_end(void) {}
#endif
