/* SPDX-License-Identifier: Apache-2.0 */
/*
 * look.h - what one query token's attention in one layer is observed for.
 *
 * Looking is a pass of its own behind attention, over the rows that are observed and no others; a backend may take tops
 * and masses while it attends instead (attend_observes). look.c is the specification and what a backend without its own
 * runs.
 */
#ifndef KVB_LOOK_H
#define KVB_LOOK_H
#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvb_look {
    int32_t row; /* of the step: of q and of the attention rows */
    int32_t layer;
    const kvb_trace *trace;
    int32_t *top, *top_within; /* [heads] or NULL */
    float *mass;               /* [heads][n_classes + 1] or NULL, with top */
    float *weights;            /* [heads][trace->width] or NULL */
    float *recall, *error;     /* [heads] of the first keep-set, the next layers * heads further; or NULL */
} kvb_look;

/* Where to write what own row `index` shows in a layer; false when that is nothing. */
bool kvb_look_at(const kvb_trace *t, int32_t layer, int32_t index, kvb_look *out);

/* The looks of a layer. q [rows of the step][heads][head_dim] as attention had it. */
kvb_status kvb_look_reference(const kvb_backend *b, const kvb_lane_kind *kind, const kvb_attn_row *row,
                              const kvb_look *look, int32_t n, int32_t heads, int32_t kv_heads, const float *q,
                              double scale);

/* Which of the 64 keys from 64 t on a row sees: its prefix, or its own. */
static inline uint64_t kvb_look_word(const kvb_attn_row *row, int32_t t, int32_t kv_head, bool prefix) {
    int32_t visible = (prefix ? row->prefix[kv_head].n : row->own_n) - t * KVB_TILE;
    uint64_t word = visible >= KVB_TILE ? ~0ull : visible <= 0 ? 0 : (1ull << visible) - 1;
    int32_t before = (prefix ? row->prefix_from ? row->prefix_from[kv_head] : 0 : row->own_from) - t * KVB_TILE;
    if (before > 0) word = before >= KVB_TILE ? 0 : word & ~0ull << before;
    const uint64_t *mask = prefix ? row->mask : row->own_mask;
    return mask ? word & mask[(int64_t)kv_head * (prefix ? row->words : row->own_words) + t] : word;
}

#ifdef __cplusplus
}
#endif
#endif
