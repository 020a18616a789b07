/* SPDX-License-Identifier: Apache-2.0 */
/*
 * observe_attention.h - what a prefilled passage's own queries attend to, for presses that score by it. Recomputed from
 * saved queries and the cached keys when asked for; prefill itself does nothing extra.
 */
#ifndef KVB_OBSERVE_ATTENTION_H
#define KVB_OBSERVE_ATTENTION_H
#include "attention.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Queries of the last `rows` of n tokens; row r sees keys 0 .. n - rows + r. All pointers are device memory. */
typedef struct kvb_cuda_observation {
    kvb_cuda_lanes keys;                                       /* n keys in each lane */
    const float *q;                                            /* [layers][heads][rows][head_dim] f32, after RoPE */
    float *scratch;                                            /* [layers][heads][rows][2] f32, overwritten */
    int32_t n, rows, layer, layers, heads, kv_heads, head_dim; /* layers `layer` .. layer + layers - 1 */
    int32_t dtype;                                             /* of the keys */
    double scale;
} kvb_cuda_observation;

/*
 * out [layers][kv_heads][n] f32: the attention that each key receives, summed over the rows that see it, mean over the
 * query heads that share the KV head. With rows = n and divided by n - j: H2O's score (arXiv:2306.14048).
 * f32 throughout, every sum in a fixed order. Nothing of size rows x n is stored.
 */
kvb_status kvb_cuda_attention_received(const kvb_cuda_observation *o, float *out);

/* out [layers][heads][rows][n] f32: the probabilities themselves, 0 where a key comes after the query. For windows. */
kvb_status kvb_cuda_attention_window(const kvb_cuda_observation *o, float *out);

#ifdef __cplusplus
}
#endif
#endif
