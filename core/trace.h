/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.h - what is changed inside a continuation, and what is recorded of it beside its answer.
 *
 * A sequence without interventions and records has no trace, and its rows cost one test of a pointer a step. What a
 * device reads or writes lies in its memory; the host's view appears when the sequence is finished.
 */
#ifndef KVB_TRACE_H
#define KVB_TRACE_H
#include "internal.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kvb_model;

typedef struct kvb_trace {
    const struct kvb_model *m;
    float *temperature; /* [layers] in the model's memory, or NULL */
    kvb_patch *patch;   /* [n_patches]; hidden points into `patched`, in the model's memory */
    float *patched;
    int32_t n_patches;
    int32_t *level, *row, n_levels, n_rows; /* hidden states to record */
    float *hidden, *hidden_host;            /* [n_levels][n_rows][hidden]: in the model's memory; on the host */
} kvb_trace;

/* Checks and copies what a request asks for; *out = NULL when that is nothing. */
kvb_status kvb_trace_new(const struct kvb_model *m, const kvb_request *r, kvb_trace **out);
void kvb_trace_free(kvb_trace *t);
/* Own rows before this one are as they would be without: what a trunk may hold. */
int32_t kvb_trace_first(const kvb_trace *t);
int64_t kvb_trace_bytes(const kvb_trace *t); /* of what it records */
kvb_status kvb_trace_begin(kvb_trace *t);    /* memory for the records; again after KVB_E_MEMORY */
kvb_status kvb_trace_finish(kvb_trace *t);   /* records to the host */
/* Where own row `row` of a level is recorded, or NULL. */
float *kvb_trace_place(const kvb_trace *t, int32_t level, int32_t row);
/* The patch for it, or NULL. */
const float *kvb_trace_patch(const kvb_trace *t, int32_t level, int32_t row);

#ifdef __cplusplus
}
#endif
#endif
