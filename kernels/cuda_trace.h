/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_trace.h - interventions and records of a step on the device: where core/trace.h's memory lies there.
 */
#ifndef KVB_CUDA_TRACE_H
#define KVB_CUDA_TRACE_H
#include "attention.h"
#include "cuda_rows.h"

/* One hidden state that goes into row `row` of x, or comes out of it. */
typedef struct kvb_cuda_move {
    float *memory;    /* [hidden] */
    int32_t row, key; /* key: 2 * level, + 1 for a record */
} kvb_cuda_move;

/* One observed row: all pointers are device memory; results are those of layer 0, the next layer's `heads` further. */
typedef struct kvb_cuda_look {
    int32_t row, tokens, n_classes, n_keeps, words,
        width; /* words: of a keep-set per head; width: of a row of weights */
    uint32_t within;
    const uint8_t *classes;      /* [tokens] */
    const int32_t *slot;         /* [layers] place among the recorded layers, or -1 */
    const uint64_t *const *keep; /* [n_keeps][layers][kv_heads][words] */
    int32_t *top, *top_within;
    float *mass, *weights, *recall, *error; /* NULL where nobody asks */
    int64_t cells;                          /* layers * heads: from one keep-set's results to the next */
} kvb_cuda_look;

/* What the traces of one step want; grown as needed, used again by the next step. */
typedef struct kvb_cuda_traces {
    kvb_cuda_move *moves, *device; /* ascending in key */
    int32_t *at;                   /* [2 * levels + 1]: where a key's moves begin */
    int32_t n, room, device_room, levels;
    kvb_cuda_look *looks, *device_looks;
    int32_t n_looks, look_room, device_look_room, pitch; /* pitch: keys of the longest look */
    float *scratch;
    int64_t scratch_bytes;
} kvb_cuda_traces;

/* Notes and uploads what the rows of a step want; cheap where no row has a trace. */
kvb_status kvb_cuda_traces_load(kvb_cuda_traces *t, const struct kvb_row *row, int32_t n, int32_t levels);
/* Patches what enters a level, then records it. */
kvb_status kvb_cuda_traces_level(const kvb_cuda_traces *t, int32_t level, float *x, int32_t dim);
/* The looks of the layer that `a` has just attended in. */
kvb_status kvb_cuda_look_rows(kvb_cuda_traces *t, const kvb_cuda_attention *a);
void kvb_cuda_traces_free(kvb_cuda_traces *t);

#endif
