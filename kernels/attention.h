/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attention.h - canonical attention on the device: what a row of a packed step attends to, and the call.
 *
 * The definition is docs/numerics.md's: a sequence's keys are the passage (thinned by mask words) in tiles of 64 at
 * positions 0, 64, ..., then its suffix (its own keys) in tiles of 64 counted from the suffix' start; one online
 * softmax over every KVB_CUDA_SPLIT tiles in order, and the results of these splits merged in order; an evicted or not
 * yet visible key is -inf inside its tile, and a tile or split without a visible key changes nothing. A row's bits
 * depend on nothing but its own keys.
 */
#ifndef KVB_CUDA_ATTENTION_H
#define KVB_CUDA_ATTENTION_H
#include "cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { KVB_CUDA_SPLIT = 32 }; /* tiles: 2,048 keys */

/*
 * Keys and values of one stretch of tokens over all layers and KV heads, in device memory. Lane i = layer * kv_heads +
 * head holds [capacity, head_dim] elements of the cache's dtype: keys at base + 2 * i * room, values `room` bytes
 * later. Capacities are multiples of 16 and all addresses 256-byte aligned; what lies beyond the stored keys is finite.
 */
typedef struct kvb_cuda_lanes {
    char *base;
    int64_t room;
    const kvb_lane *table; /* device [layers * kv_heads], used instead of base when set: heads of different length */
} kvb_cuda_lanes;

/* What all rows of one sequence share. */
typedef struct kvb_cuda_seq {
    kvb_cuda_lanes prefix;       /* finished passage; prefix_n = 0: none. With a table, each lane's own n counts */
    const uint64_t *prefix_mask; /* [layers][kv_heads][prefix_words], bit = kept; NULL = everything */
    kvb_cuda_lanes own;
    const uint64_t *suffix_mask; /* [layers][kv_heads][suffix_words] over own keys; NULL = everything */
    int32_t prefix_n, prefix_words, suffix_words;
    const float *temperature; /* [layers] factors on its queries; NULL = 1 */
    /* Device; with a table and a window: original positions of the prefix' keys, and where those of each lane begin. */
    const int32_t *positions;
    const int64_t *position_at;
} kvb_cuda_seq;

/* One query token. It sees the whole prefix, and the own keys 0 .. index (its own is the last). */
typedef struct kvb_cuda_row {
    int32_t seq;      /* index into the step's sequences; rows of one sequence are neighbours, ascending in index */
    int32_t index;    /* where its key goes in `own` */
    int32_t position; /* for RoPE */
    int32_t id;       /* token; < 0: the one that slot -id - 1 produced in the step before */
} kvb_cuda_row;

/* One block's work: consecutive rows that read the same prefix. Planned once a step, used by every layer. */
typedef struct kvb_cuda_item {
    int32_t first_row, rows;
} kvb_cuda_item;

/* Cuts a step's n rows into items (at most n of them) on the host; returns how many. group = heads / kv_heads. */
int32_t kvb_cuda_attention_plan(const kvb_cuda_row *row, int32_t n, const kvb_cuda_seq *seq, int32_t group,
                                int32_t head_dim, int32_t dtype, kvb_cuda_item *item);

/* Splits of the row that has the most of them. */
int32_t kvb_cuda_attention_splits(const kvb_cuda_row *row, int32_t n, const kvb_cuda_seq *seq);

/* Floats of `parts` with which n rows of any length can be attended to. */
static inline int64_t kvb_cuda_part_floats(int64_t n, int32_t heads, int32_t head_dim) {
    return n * heads * (head_dim + 2);
}

typedef struct kvb_cuda_attention {
    const kvb_cuda_row *rows;   /* device */
    const kvb_cuda_seq *seqs;   /* device */
    const kvb_cuda_item *items; /* device */
    int32_t n_rows, n_items, layer, heads, kv_heads, head_dim;
    int32_t splits; /* kvb_cuda_attention_splits of the rows; 0 or 1: no row has more than one */
    /* Scratch for splits > 1: at least kvb_cuda_part_floats(n_rows, ..); with more, splits run at once. */
    float *parts;
    int64_t part_floats;
    int32_t dtype; /* of the cache, q and y: KVB_F32, KVB_BF16 or KVB_F16; sums are f32 */
    int32_t window; /* > 0: a row sees only the last `window` positions, its own included */
    double scale;
    const void *q; /* [rows][heads][head_dim] after RoPE */
    void *y;       /* [rows][heads][head_dim] */
} kvb_cuda_attention;

/* Launches on the current device's stream. head_dim 16, 32, 64, 80, 96, 128 or 256; heads / kv_heads 1 to 8; else
 * KVB_E_UNSUPPORTED. */
kvb_status kvb_cuda_attend(const kvb_cuda_attention *a);

#ifdef __cplusplus
}
#endif
#endif
