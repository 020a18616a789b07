/* SPDX-License-Identifier: Apache-2.0 */
/* attend.h - what the two walks of canonical attention (attend.c in f32, attend_amx.c in bf16) share. */
#ifndef KVB_CPU_ATTEND_H
#define KVB_CPU_ATTEND_H
#include "cpu.h"

/* One call of attention, and one block of it: consecutive tokens with one prefix, one KV head. */
typedef struct kvb_attn_call {
    const kvb_lane_kind *kind;
    int32_t heads, group;
    float scale; /* softmax scale times log2(e): exponentials are powers of two */
} kvb_attn_call;

typedef struct kvb_attn_work {
    const kvb_attn_row *row;
    int32_t tokens, kv_head;
    const float *q; /* of the first token, all heads */
    kvb_tensor *y;
    int64_t y_first; /* row of y that is the first token's */
} kvb_attn_work;

/* Consecutive tokens of a block that read one lane. */
typedef struct kvb_attn_run {
    const kvb_lane *lane;
    int32_t first, tokens, longest; /* longest: the most keys any of them sees */
} kvb_attn_run;

/* Which keys of tile t a row sees: bit = visible. */
static inline uint64_t kvb_attn_word(const kvb_attn_row *row, const kvb_attn_run *r, int32_t t, int32_t kv_head,
                                     bool prefix) {
    int32_t visible = (prefix ? r->lane->n : row->own_n) - t * KVB_TILE;
    uint64_t word = visible >= KVB_TILE ? ~0ull : visible <= 0 ? 0 : (1ull << visible) - 1;
    int32_t before = (prefix ? row->prefix_from ? row->prefix_from[kv_head] : 0 : row->own_from) - t * KVB_TILE;
    if (before > 0) word = before >= KVB_TILE ? 0 : word & ~0ull << before;
    const uint64_t *mask = prefix ? row->mask : row->own_mask;
    return mask ? word & mask[(int64_t)kv_head * (prefix ? row->words : row->own_words) + t] : word;
}

/* Splits a block into runs of one sequence each; runs has room for KVB_QUERY_BLOCK. */
static inline int32_t kvb_attn_runs(const kvb_attn_row *row, int32_t tokens, int32_t kv_head, kvb_attn_run *runs) {
    int32_t n = 0;
    for (int32_t i = 0; i < tokens; i++) {
        if (i == 0 || row[i].own != row[i - 1].own) runs[n++] = (kvb_attn_run){row[i].own + kv_head, i, 0, 0};
        kvb_attn_run *r = runs + n - 1;
        r->tokens++;
        r->longest = row[i].own_n > r->longest ? row[i].own_n : r->longest;
    }
    return n;
}

/* attend_amx.c: one block in bf16, with this thread's scratch. */
int64_t kvb_amx_scratch_bytes(int32_t head_dim);
void kvb_amx_attend(void *scratch, const kvb_attn_call *call, const kvb_attn_work *work);
/* Raw scores of a block's rows against all their keys: out [rows][wide], the prefix' tiles, then own ones. */
void kvb_amx_scores(void *scratch, const kvb_attn_call *call, const kvb_attn_work *work, float *out, int64_t wide);
/* One key and value into a bf16 lane. */
void kvb_amx_lane_put(const kvb_lane_kind *kind, kvb_lane *lane, int32_t index, const float *key, const float *value);
/* The first `tokens` keys, or values, of a lane: out [tokens, head_dim]. */
void kvb_amx_keys_read(const kvb_lane_kind *kind, const kvb_lane *lane, int64_t tokens, float *out);
void kvb_amx_values_read(const kvb_lane_kind *kind, const kvb_lane *lane, int64_t tokens, float *out);

#endif
