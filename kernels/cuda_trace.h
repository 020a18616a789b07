/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_trace.h - interventions and records of a step on the device: where core/trace.h's memory lies there.
 */
#ifndef KVB_CUDA_TRACE_H
#define KVB_CUDA_TRACE_H
#include "cuda_rows.h"

/* One hidden state that goes into row `row` of x, or comes out of it. */
typedef struct kvb_cuda_move {
    float *memory; /* [hidden] */
    int32_t row, key; /* key: 2 * level, + 1 for a record */
} kvb_cuda_move;

/* What the traces of one step want; grown as needed, used again by the next step. */
typedef struct kvb_cuda_traces {
    kvb_cuda_move *moves, *device; /* ascending in key */
    int32_t *at;                   /* [2 * levels + 1]: where a key's moves begin */
    int32_t n, room, device_room, levels;
} kvb_cuda_traces;

/* Notes and uploads what the rows of a step want; cheap where no row has a trace. */
kvb_status kvb_cuda_traces_load(kvb_cuda_traces *t, const struct kvb_row *row, int32_t n, int32_t levels);
/* Patches what enters a level, then records it. */
kvb_status kvb_cuda_traces_level(const kvb_cuda_traces *t, int32_t level, float *x, int32_t dim);
void kvb_cuda_traces_free(kvb_cuda_traces *t);

#endif
