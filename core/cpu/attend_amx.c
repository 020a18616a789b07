/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_amx.c - canonical attention in bf16 on the AMX units: one block of up to 64 query rows of one KV head.
 *
 * A tile's scores are computed transposed, s^T = k q^T: keys are then the plain rows that lane_put writes (two lines a
 * key, where the other operand order would spread a key over 32), and sixteen query rows lie side by side in a vector,
 * so that the softmax has no sums across lanes, whichever sequences the rows belong to. Probabilities are turned back
 * on their way to bf16. Steps of keys that no row of a group sees are left out: they would add exact zeros, as masked
 * keys do, so a row's bits do not depend on the others. Rejected: keys in the order of the second operand with a
 * softmax per row (twice the time: storing a key, and sums across lanes).
 */
#include "attend.h"
#if defined(__AMX_BF16__)
#include "../look.h"
#include "amx.h"
#include <math.h>

enum {
    ROOM = KVB_QUERY_BLOCK + 16, /* a group of 16 rows may begin at any row and reach past the last */
    GROUP = 16,
    FEW = 8, /* rows up to which a run has tiles of its own height */
};

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* In memory for good: GCC's intrinsic claims to read 8 of the 64 bytes, so stores to a local would be dropped. */
#define CONFIG(n)                                                                                                      \
    {                                                                                                                  \
        .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = { n, n, n, n, n, 16, 16, 16 }             \
    }
static const tile_config all_tiles = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};
/* Sums and probabilities (tiles 0-4) of runs of few rows; a tile product takes as long as it has rows. */
static const tile_config few_tiles[FEW] = {CONFIG(1), CONFIG(2), CONFIG(3), CONFIG(4),
                                           CONFIG(5), CONFIG(6), CONFIG(7), CONFIG(8)};

void kvb_amx_begin(void) { _tile_loadconfig(&all_tiles); }

void kvb_amx_end(void) { _tile_release(); }

/* GCC's tile loads do not say that they read memory: nothing that was written before may wait until after them. */
#define WRITTEN() __asm__ volatile("" ::: "memory")

/* ---- lanes: keys [key][padded dim]; values in blocks of 32 keys and 16 dims, [16 key pairs][16 dims][2] ---- */

void kvb_amx_lane_put(const kvb_lane_kind *kind, kvb_lane *lane, int32_t index, const float *key, const float *value) {
    int64_t dim = kind->head_dim, wide = kvb_round_up(dim, 32);
    uint16_t *k = (uint16_t *)lane->keys + index * wide,
             *v = (uint16_t *)lane->values + (index / 32) * 32 * wide + (index % 32 / 2) * 32;
    for (int64_t d = 0; d < dim; d += 16, v += 512) {
        _mm256_storeu_si256((__m256i *)(k + d), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(key + d)));
        __m512i x = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(value + d)));
        if (index % 2)
            _mm512_mask_storeu_epi16(v, 0xaaaaaaaau, _mm512_slli_epi32(x, 16));
        else
            _mm512_mask_storeu_epi16(v, 0x55555555u, x);
    }
}

/* Sixteen numbers of bf16 in the low halves of words, as f32. */
static void store_wide(float *to, int64_t left, __m512i words) {
    __mmask16 own = left < 16 ? (__mmask16)((1u << left) - 1) : 0xffff;
    _mm512_mask_storeu_ps(to, own, _mm512_castsi512_ps(_mm512_slli_epi32(words, 16)));
}

void kvb_amx_keys_read(const kvb_lane_kind *kind, const kvb_lane *lane, int64_t tokens, float *out) {
    int64_t dim = kind->head_dim, wide = kvb_round_up(dim, 32);
    const uint16_t *k = lane->keys;
    for (int64_t t = 0; t < tokens; t++, k += wide, out += dim)
        for (int64_t d = 0; d < dim; d += 16)
            store_wide(out + d, dim - d, _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(k + d))));
}

void kvb_amx_values_read(const kvb_lane_kind *kind, const kvb_lane *lane, int64_t tokens, float *out) {
    int64_t dim = kind->head_dim, wide = kvb_round_up(dim, 32);
    for (int64_t t = 0; t < tokens; t += 2, out += 2 * dim) {
        const uint16_t *v = (const uint16_t *)lane->values + t / 32 * 32 * wide + t % 32 * 16;
        for (int64_t d = 0; d < dim; d += 16, v += 512) {
            __m512i pair = _mm512_loadu_si512(v); /* the earlier key in the low halves */
            store_wide(out + d, dim - d, pair);
            if (t + 1 < tokens) store_wide(out + dim + d, dim - d, _mm512_srli_epi32(pair, 16));
        }
    }
}

/* ---- a block's state ---- */

typedef struct block {
    int32_t dim, wide;
    float scale;
    uint32_t *q;  /* [wide / 2][ROOM]: pairs of dimensions of each row, as bf16 */
    float *s;     /* [KVB_TILE][ROOM] */
    uint16_t *p;  /* [ROOM][KVB_TILE] */
    float *o;     /* [ROOM][dim] running sum of p v */
    float *sum;   /* [16][64] of one tile */
    float *m, *l; /* [ROOM] running maximum (log2 units) and sum of p */
    float *alpha; /* [ROOM] what the tile at hand rescales o by */
    uint64_t *word; /* [ROOM] */
    /* of observed rows (observe_amx.inc) */
    uint32_t watched;               /* groups with such a row */
    int32_t n_classes, class_words; /* the most of any row; words per class */
    const uint64_t **classes;       /* [ROOM] [classes][class_words] of the row, or NULL */
    const uint64_t **within;        /* [ROOM] [class_words] */
    float *best, *best_within;      /* [ROOM] */
    int32_t *top, *top_within;      /* [ROOM] */
    float *mass;                    /* [KVB_MAX_CLASSES + 1][ROOM] */
} block;

static char *carve(block *b, char *memory, int32_t dim) {
    b->dim = dim;
    b->wide = (int32_t)kvb_round_up(dim, 32);
#define TAKE(field, count)                                                                                             \
    b->field = (void *)memory;                                                                                         \
    memory += kvb_round_up((int64_t)(count) * (int64_t)sizeof *b->field, 64)
    TAKE(q, b->wide / 2 * ROOM);
    TAKE(s, KVB_TILE * ROOM);
    TAKE(p, ROOM * KVB_TILE);
    TAKE(o, ROOM * dim);
    TAKE(sum, 16 * 64);
    TAKE(m, ROOM);
    TAKE(l, ROOM);
    TAKE(alpha, ROOM);
    TAKE(word, ROOM);
    TAKE(classes, ROOM);
    TAKE(within, ROOM);
    TAKE(best, ROOM);
    TAKE(best_within, ROOM);
    TAKE(top, ROOM);
    TAKE(top_within, ROOM);
    TAKE(mass, (KVB_MAX_CLASSES + 1) * ROOM);
#undef TAKE
    return memory;
}

int64_t kvb_amx_scratch_bytes(int32_t head_dim) {
    block b;
    return carve(&b, (char *)0, head_dim) - (char *)0;
}

/* ---- vectors ---- */

/* 2^x for x <= 0, at least 2^-125: integer part by the rounding of a large constant, degree-5 minimax of 2^f (relative
 * error 1e-7), the integer added to the exponent. */
static inline __m512 power_of_two(__m512 x) {
    const __m512 shifter = _mm512_set1_ps(12582912.0f); /* 1.5 * 2^23 */
    x = _mm512_max_ps(x, _mm512_set1_ps(-125.0f));
    __m512 t = _mm512_add_ps(x, shifter), f = _mm512_sub_ps(x, _mm512_sub_ps(t, shifter));
    __m512 p = _mm512_set1_ps(1.32647273e-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.67151299e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.55073358e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.40222424e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93147004e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), _mm512_slli_epi32(_mm512_castps_si512(t), 23)));
}

/* Bits of the words of 16 rows, one mask per key. */
typedef struct masks {
    __m512i half[2];
    uint64_t any, all;
} masks;

static inline masks gather_words(const uint64_t *word) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    __m512i a = _mm512_loadu_si512(word), b = _mm512_loadu_si512(word + 8);
    masks w = {{_mm512_permutex2var_epi32(a, even, b),
                _mm512_permutex2var_epi32(a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), b)},
               (uint64_t)_mm512_reduce_or_epi64(_mm512_or_si512(a, b)),
               (uint64_t)_mm512_reduce_and_epi64(_mm512_and_si512(a, b))};
    return w;
}

static inline __mmask16 sees(const masks *w, int key) {
    return _mm512_test_epi32_mask(w->half[key / 32], _mm512_set1_epi32((int)(1u << key % 32)));
}

static uint32_t bits16(uint64_t word, int i) { return word >> (16 * i) & 0xffff; }
static uint32_t bits32(uint64_t word, int i) { return (uint32_t)(word >> (32 * i)); }

#include "observe_amx.inc"

/* s -> p for the 16 rows from `row`, with the online update of m and l; steps of 32 keys without a bit in `wanted` are
 * not read by anyone and stay as they are. Of an observed group s becomes p in f32 where any row sees a key. */
static void softmax(block *b, int32_t row, uint64_t wanted) {
    const masks w = gather_words(b->word + row);
    const bool watched = watches(b, row);
    float *s = b->s + row;
    uint16_t *p = b->p + (int64_t)row * KVB_TILE;
    const __m512 scale = _mm512_set1_ps(b->scale), before = _mm512_loadu_ps(b->m + row);
    __m512 most[2] = {_mm512_set1_ps(-INFINITY), _mm512_set1_ps(-INFINITY)};
    for (int k = 0; k < KVB_TILE; k += 16) {
        if (bits16(w.any, k / 16) == 0) continue;
        if (bits16(w.all, k / 16) == 0xffff)
            for (int i = k; i < k + 16; i += 2) {
                most[0] = _mm512_max_ps(most[0], _mm512_loadu_ps(s + i * ROOM));
                most[1] = _mm512_max_ps(most[1], _mm512_loadu_ps(s + (i + 1) * ROOM));
            }
        else
            for (int i = k; i < k + 16; i += 2) {
                most[0] = _mm512_mask_max_ps(most[0], sees(&w, i), most[0], _mm512_loadu_ps(s + i * ROOM));
                most[1] = _mm512_mask_max_ps(most[1], sees(&w, i + 1), most[1], _mm512_loadu_ps(s + (i + 1) * ROOM));
            }
    }
    const __m512 now = _mm512_max_ps(before, _mm512_mul_ps(_mm512_max_ps(most[0], most[1]), scale));
    const __m512 alpha = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(before, now, _CMP_EQ_OQ),
                                              power_of_two(_mm512_sub_ps(before, now)), _mm512_set1_ps(1.0f));
    __m512 total[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    const __m512i side_by_side = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                                  22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (int step = 0; step < 2; step++) {
        if (bits32(wanted, step) == 0) continue;
        if (bits32(w.any, step) == 0) {
            for (int i = 0; i < GROUP; i++)
                _mm512_storeu_si512(p + i * KVB_TILE + step * 32, _mm512_setzero_si512());
            continue;
        }
        __m512i pair[16];
        for (int half = 0; half < 2; half++) {
            if (bits16(w.any, 2 * step + half) == 0) {
                for (int i = 0; i < 8; i++) pair[half * 8 + i] = _mm512_setzero_si512();
                continue;
            }
            bool everything = bits16(w.all, 2 * step + half) == 0xffff;
            for (int i = 0; i < 8; i++) {
                int k = step * 32 + half * 16 + i * 2;
                __m512 x = power_of_two(_mm512_sub_ps(_mm512_mul_ps(_mm512_loadu_ps(s + k * ROOM), scale), now));
                __m512 y = power_of_two(_mm512_sub_ps(_mm512_mul_ps(_mm512_loadu_ps(s + (k + 1) * ROOM), scale), now));
                if (!everything) {
                    x = _mm512_maskz_mov_ps(sees(&w, k), x);
                    y = _mm512_maskz_mov_ps(sees(&w, k + 1), y);
                }
                total[0] = _mm512_add_ps(total[0], x);
                total[1] = _mm512_add_ps(total[1], y);
                if (watched) {
                    _mm512_storeu_ps(s + k * ROOM, x);
                    _mm512_storeu_ps(s + (k + 1) * ROOM, y);
                }
                pair[half * 8 + i] = _mm512_permutexvar_epi16(side_by_side, (__m512i)_mm512_cvtne2ps_pbh(y, x));
            }
        }
        kvb_transpose(pair);
        for (int i = 0; i < GROUP; i++) _mm512_storeu_si512(p + i * KVB_TILE + step * 32, pair[i]);
    }
    _mm512_storeu_ps(b->m + row, now);
    _mm512_storeu_ps(b->alpha + row, alpha);
    _mm512_storeu_ps(b->l + row, _mm512_add_ps(_mm512_mul_ps(_mm512_loadu_ps(b->l + row), alpha),
                                               _mm512_add_ps(total[0], total[1])));
    WRITTEN();
}

/* The softmax of a group's tile, and what is observed of it. */
static void attend_group(block *b, int32_t row, int32_t t, uint64_t wanted, bool prefix) {
    if (watches(b, row) && prefix) watch_tops(b, row, t);
    softmax(b, row, wanted);
    if (watches(b, row)) watch_masses(b, row, t, prefix);
}

/* ---- the two products ---- */

/* s^T of the blocks of 16 keys with a bit in `wanted`, for the 16 rows from `row`. Rows right behind are overwritten.
 */
static void scores(const block *b, int32_t row, const uint16_t *k, uint64_t wanted) {
    const int64_t wide = b->wide;
    for (int i = 0; i < KVB_TILE / 16; i++, k += 16 * wide) {
        if (bits16(wanted, i) == 0) continue;
        _tile_zero(7);
        for (int32_t d = 0; d < wide; d += 32) {
            _tile_loadd(5, k + d, wide * 2);
            _tile_loadd(6, b->q + (int64_t)(d / 2) * ROOM + row, ROOM * 4);
            _tile_dpbf16ps(7, 5, 6);
        }
        _tile_stored(7, b->s + (int64_t)i * 16 * ROOM + row, ROOM * 4);
    }
}

/* o = o alpha + p v for `rows` <= 16 rows from `row`, the tile's sum formed first and added once. */
static void values(const block *b, int32_t row, int32_t rows, const uint16_t *v, uint64_t wanted) {
    const int64_t wide = b->wide;
    for (int32_t d = 0; d < b->dim; d += 64) {
        const int32_t dims = b->dim - d < 64 ? b->dim - d : 64;
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int32_t step = 0; step < 2; step++) {
            if (bits32(wanted, step) == 0) continue;
            const uint16_t *at = v + step * 32 * wide + (d / 16) * 512;
            _tile_loadd(4, b->p + (int64_t)row * KVB_TILE + step * 32, KVB_TILE * 2);
            _tile_loadd(5, at, 64);
            _tile_dpbf16ps(0, 4, 5);
            if (dims > 16) {
                _tile_loadd(6, at + 512, 64);
                _tile_dpbf16ps(1, 4, 6);
            }
            if (dims > 32) {
                _tile_loadd(7, at + 1024, 64);
                _tile_dpbf16ps(2, 4, 7);
            }
            if (dims > 48) {
                _tile_loadd(5, at + 1536, 64);
                _tile_dpbf16ps(3, 4, 5);
            }
        }
        _tile_stored(0, b->sum, 64 * 4);
        _tile_stored(1, b->sum + 16, 64 * 4);
        _tile_stored(2, b->sum + 32, 64 * 4);
        _tile_stored(3, b->sum + 48, 64 * 4);
        for (int32_t i = 0; i < rows; i++) {
            float *o = b->o + (int64_t)(row + i) * b->dim + d;
            const __m512 alpha = _mm512_set1_ps(b->alpha[row + i]);
            for (int32_t c = 0; c < dims; c += 16)
                _mm512_storeu_ps(o + c, _mm512_add_ps(_mm512_mul_ps(_mm512_loadu_ps(o + c), alpha),
                                                      _mm512_load_ps(b->sum + i * 64 + c)));
        }
    }
}

/* ---- the walk over tiles ---- */

static int64_t tile_at(const block *b, int32_t t) { return (int64_t)t * KVB_TILE * b->wide; }

/* The passage: all rows against each tile, sixteen at a time; one group's scores are under way during the softmax of
 * the one before it. */
static void walk_prefix(block *b, const kvb_attn_call *call, const kvb_attn_work *work) {
    const int32_t rows = work->tokens * call->group, groups = (rows + GROUP - 1) / GROUP;
    const kvb_attn_run run = {work->row->prefix + work->kv_head, 0, work->tokens, 0};
    for (int32_t t = 0; t * KVB_TILE < run.lane->n; t++) {
        uint64_t any[KVB_QUERY_BLOCK / GROUP] = {0};
        for (int32_t i = 0, r = 0; i < work->tokens; i++) {
            uint64_t word = kvb_attn_word(work->row + i, &run, t, work->kv_head, true);
            for (int32_t g = 0; g < call->group; g++, r++) {
                b->word[r] = word;
                any[r / GROUP] |= word;
            }
        }
        for (int32_t r = rows; r < groups * GROUP; r++) b->word[r] = 0;
        const uint16_t *k = (const uint16_t *)run.lane->keys + tile_at(b, t),
                       *v = (const uint16_t *)run.lane->values + tile_at(b, t);
        scores(b, 0, k, any[0]);
        for (int32_t g = 0; g < groups; g++) {
            if (g + 1 < groups) scores(b, (g + 1) * GROUP, k, any[g + 1]);
            if (any[g] == 0) continue;
            attend_group(b, g * GROUP, t, any[g], true);
            values(b, g * GROUP, GROUP, v, any[g]);
        }
    }
}

/* What a decoding sequence reads of its own lane comes from memory, once a step: asked for while the one before it is
 * worked on. */
static void fetch(const block *b, const kvb_attn_run *r) {
    int64_t keys = r->longest < KVB_TILE ? r->longest : KVB_TILE, line = b->wide * 2;
    for (int64_t i = 0; i < keys * line; i += 64) __builtin_prefetch((const char *)r->lane->keys + i);
    for (int64_t j = 0; j < keys; j += 32) /* pairs of keys are lines, in groups of 16 dims */
        for (int64_t d = 0; d < b->dim; d += 16)
            for (int64_t i = 0; i < 16 && j + 2 * i < keys; i++)
                __builtin_prefetch((const char *)r->lane->values + j * line + d * 64 + i * 64);
}

/* The sequences' own keys. Stage by stage over the runs, not run by run: sixteen rows of several sequences share a
 * softmax. Scores overwrite s behind a run's last row, so runs go upwards. */
static void walk_own(block *b, const kvb_attn_call *call, const kvb_attn_work *work) {
    kvb_attn_run runs[KVB_QUERY_BLOCK];
    const int32_t n = kvb_attn_runs(work->row, work->tokens, work->kv_head, runs), group = call->group;
    const int32_t rows = work->tokens * group;
    int32_t longest = 0, tallest = 0;
    for (int32_t i = 0; i < n; i++) {
        longest = runs[i].longest > longest ? runs[i].longest : longest;
        tallest = runs[i].tokens * group > tallest ? runs[i].tokens * group : tallest;
    }
    if (tallest <= FEW) _tile_loadconfig(&few_tiles[tallest - 1]);
    for (int32_t t = 0; t * KVB_TILE < longest; t++) {
        uint64_t seen[KVB_QUERY_BLOCK], any = 0; /* per run: which keys any of its rows sees */
        for (int32_t r = rows; r < rows + GROUP; r++) b->word[r] = 0;
        for (int32_t i = 0; i < n; i++) {
            const kvb_attn_run *r = runs + i;
            seen[i] = 0;
            for (int32_t k = r->first; k < r->first + r->tokens; k++) {
                uint64_t word = kvb_attn_word(work->row + k, r, t, work->kv_head, false);
                seen[i] |= word;
                for (int32_t g = 0; g < group; g++) b->word[k * group + g] = word;
            }
            any |= seen[i];
            if (t == 0 && i + 1 < n) fetch(b, r + 1);
            for (int32_t row = r->first * group; seen[i] && row < (r->first + r->tokens) * group; row += GROUP)
                scores(b, row, (const uint16_t *)r->lane->keys + tile_at(b, t), seen[i]);
        }
        if (any == 0) continue;
        for (int32_t row = 0; row < rows; row += GROUP) attend_group(b, row, t, any, false);
        for (int32_t i = 0; i < n; i++) {
            const kvb_attn_run *r = runs + i;
            int32_t end = (r->first + r->tokens) * group;
            for (int32_t row = r->first * group; seen[i] && row < end; row += GROUP)
                values(b, row, end - row < GROUP ? end - row : GROUP,
                       (const uint16_t *)r->lane->values + tile_at(b, t), seen[i]);
        }
    }
    if (tallest <= FEW) _tile_loadconfig(&all_tiles);
}

/* ---- a block ---- */

/* Query rows as bf16, pairs of dimensions of 16 rows side by side; zeros past the last row and dimension. */
static void place_queries(block *b, const kvb_attn_call *call, const kvb_attn_work *work) {
    const int32_t rows = work->tokens * call->group, dim = b->dim;
    for (int32_t row = 0; row < ROOM; row += GROUP)
        for (int32_t d = 0; d < b->wide; d += 32) {
            __m512i pair[16];
            for (int32_t i = 0; i < GROUP; i++) {
                pair[i] = _mm512_setzero_si512();
                if (row + i >= rows) continue;
                int32_t token = (row + i) / call->group, g = (row + i) % call->group;
                const float *q = work->q + ((int64_t)token * call->heads + work->kv_head * call->group + g) * dim + d;
                __m512 right = d + 16 < dim ? _mm512_loadu_ps(q + 16) : _mm512_setzero_ps();
                pair[i] = (__m512i)_mm512_cvtne2ps_pbh(right, _mm512_loadu_ps(q));
            }
            kvb_transpose(pair);
            for (int32_t i = 0; i < 16; i++) _mm512_storeu_si512(b->q + (int64_t)(d / 2 + i) * ROOM + row, pair[i]);
        }
}

static void write_rows(const block *b, const kvb_attn_call *call, const kvb_attn_work *work) {
    const int32_t rows = work->tokens * call->group, dim = b->dim;
    for (int32_t r = 0; r < rows; r++) {
        const float *o = b->o + (int64_t)r * dim;
        const __m512 inverse = _mm512_set1_ps(b->l[r] > 0 ? 1.0f / b->l[r] : 0.0f);
        int64_t at = ((work->y_first + r / call->group) * call->heads + work->kv_head * call->group + r % call->group) *
                     dim;
        for (int32_t d = 0; d < dim; d += 16) {
            __m512 x = _mm512_mul_ps(_mm512_loadu_ps(o + d), inverse);
            if (work->y->dtype == KVB_BF16)
                _mm256_storeu_si256((__m256i *)((uint16_t *)work->y->data + at + d), (__m256i)_mm512_cvtneps_pbh(x));
            else
                _mm512_storeu_ps((float *)work->y->data + at + d, x);
        }
    }
}

void kvb_amx_attend(void *scratch, const kvb_attn_call *call, const kvb_attn_work *work) {
    block b;
    carve(&b, scratch, call->kind->head_dim);
    b.scale = call->scale;
    place_queries(&b, call, work);
    memset(b.o, 0, (size_t)ROOM * (size_t)b.dim * sizeof *b.o);
    for (int32_t r = 0; r < ROOM; r++) b.m[r] = -INFINITY, b.l[r] = 0;
    watch_begin(&b, call, work);
    WRITTEN();
    if (work->row->prefix) walk_prefix(&b, call, work);
    walk_own(&b, call, work);
    write_rows(&b, call, work);
    watch_end(&b, call, work);
}

/* Raw scores of a block's rows against all their keys, row by row: out [rows][wide], prefix tiles, then own ones. For
 * observed rows (look.c). */
void kvb_amx_scores(void *scratch, const kvb_attn_call *call, const kvb_attn_work *work, float *out, int64_t wide) {
    block b;
    carve(&b, scratch, call->kind->head_dim);
    place_queries(&b, call, work);
    WRITTEN();
    const int32_t rows = work->tokens * call->group;
    const kvb_lane *prefix = work->row->prefix + work->kv_head;
    const int32_t prefix_tiles = (prefix->n + KVB_TILE - 1) / KVB_TILE;
    for (int32_t t = 0; t < prefix_tiles; t++)
        for (int32_t row = 0; row < rows; row += GROUP) {
            const int32_t left = prefix->n - t * KVB_TILE;
            scores(&b, row, (const uint16_t *)prefix->keys + tile_at(&b, t),
                   left >= KVB_TILE ? ~0ull : (1ull << left) - 1);
            for (int32_t k = 0; k < KVB_TILE && k < left; k += 16) {
                __m512i r[16];
                for (int32_t i = 0; i < 16; i++) r[i] = _mm512_loadu_si512(b.s + (int64_t)(k + i) * ROOM + row);
                kvb_transpose(r);
                for (int32_t i = 0; i < 16 && row + i < rows; i++)
                    _mm512_storeu_si512(out + (row + i) * wide + t * KVB_TILE + k, r[i]);
            }
        }
    for (int32_t i = 0; i < work->tokens; i++)
        for (int32_t t = 0; t * KVB_TILE < work->row[i].own_n; t++) {
            const int32_t left = work->row[i].own_n - t * KVB_TILE, first = i * call->group;
            scores(&b, first, (const uint16_t *)work->row[i].own[work->kv_head].keys + tile_at(&b, t),
                   left >= KVB_TILE ? ~0ull : (1ull << left) - 1);
            for (int32_t k = 0; k < KVB_TILE && k < left; k++)
                for (int32_t g = 0; g < call->group; g++)
                    out[(first + g) * wide + (prefix_tiles + t) * KVB_TILE + k] = b.s[(int64_t)k * ROOM + first + g];
        }
}
#endif
