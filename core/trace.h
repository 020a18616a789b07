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

enum {
    KVB_REC_HIDDEN,  /* f32 [n_levels][n_rows][hidden] */
    KVB_REC_TOP,     /* i32 [attention_rows][layers][heads] */
    KVB_REC_WITHIN,  /* the same */
    KVB_REC_MASS,    /* f32 [attention_rows][layers][heads][n_classes + 1] */
    KVB_REC_WEIGHTS, /* f32 [weights_rows][n_weight_layers][heads][width] */
    KVB_REC_RECALL,  /* f32 [keeps_rows][n_keeps][layers][heads] */
    KVB_REC_ERROR,   /* the same */
    KVB_RECORDS
};

typedef struct kvb_record {
    void *memory, *host; /* the model's; the host's view when finished (the same memory on a host) */
    int64_t bytes;
} kvb_record;

typedef struct kvb_trace {
    const struct kvb_model *m;
    float *temperature; /* [layers] in the model's memory, or NULL */
    kvb_patch *patch;   /* [n_patches]; hidden points into `patched`, in the model's memory */
    float *patched;
    int32_t n_patches;
    int32_t *level, *row, n_levels, n_rows; /* hidden states to record */
    kvb_record record[KVB_RECORDS];

    /* Attention: numbers of kvb_watch, whose lists are copied. */
    kvb_watch watch;
    int32_t tokens, words, width; /* of the context; of its masks; of a row of weights */
    uint64_t *class_words;        /* [KVB_MAX_CLASSES + 1][words] on the host: each class' tokens, then `within` */
    int32_t *weight_slot;         /* [layers] on the host: place among the recorded layers, or -1 */
    kvb_keep **keep;              /* [n_keeps], retained */
    uint8_t *device_classes;      /* [tokens] where the model's memory is not the host's */
    int32_t *device_slot;
    const uint64_t **device_keep; /* [n_keeps] words of each */
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

/* trace_attention.c: the part about attention of new, free, first. */
kvb_status kvb_trace_attention_new(kvb_trace *t, const kvb_request *r);
void kvb_trace_attention_free(kvb_trace *t);
int32_t kvb_trace_attention_first(const kvb_trace *t);
/* [n_weight_layers][heads][width] of an own row, or NULL. */
float *kvb_trace_weights(const kvb_trace *t, int32_t row);
/* Is the attention of own row `row` of any interest? */
bool kvb_trace_looks(const kvb_trace *t, int32_t row);

#ifdef __cplusplus
}
#endif
#endif
