/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.h - the inside of models and contexts, and the packed step that prefill and continuations share.
 */
#ifndef KVB_MODEL_H
#define KVB_MODEL_H
#include "backend.h"
#include "keep.h"
#include <stdatomic.h>

enum {
    KVB_STEP_ROWS = 512,    /* the largest row bucket: rows of one packed step */
    KVB_HEAD_COLUMNS = 4096 /* vocabulary columns of one LM-head product: its logits stay in the caches */
};

typedef struct kvb_layer {
    float *attn_norm, *ffn_norm, *q_norm, *k_norm; /* [hidden], [hidden], [head_dim], [head_dim] */
    float *qkv_bias;                               /* [(heads + 2 kv_heads) * head_dim] or NULL */
    kvb_packed *qkv, *o, *gate_up, *down;
    float *qkv_plain, *gate_up_plain; /* collected part by part, packed when complete, then freed */
    uint32_t have;                    /* bit per kvb_weight_slot */
} kvb_layer;

struct kvb_model {
    _Atomic int32_t references;
    kvb_model_desc desc;
    const kvb_backend *backend;
    char tier[64];
    bool ready;
    int64_t parameters;
    int64_t plain_bytes; /* norms, biases, embeddings */
    kvb_layer *layer;
    void *embed; /* [vocab][hidden] in desc.dtype */
    float *final_norm;
    kvb_packed **head; /* LM head in chunks of KVB_HEAD_COLUMNS */
    int32_t head_chunks;
    uint32_t have; /* bits of the global slots */
    int32_t bucket[KVB_MAX_BUCKETS], buckets;
    float *rope_cos, *rope_sin; /* [rope_positions][head_dim / 2] */
    int32_t rope_positions;
};

struct kvb_ctx {
    _Atomic int32_t references;
    kvb_model *model;
    int32_t tokens, observed, window, ragged;
    int32_t *ids;
    kvb_lane *lane;      /* [layers][kv_heads]; keys and values point into `cache` */
    char *cache;
    int64_t cache_bytes;
    int32_t *positions;  /* ragged: the original position of every kept key, lane after lane */
    int64_t *position_at; /* ragged: where a lane's positions begin */
    float *queries;      /* [layers][heads][window][head_dim], before RoPE */
    float *hidden;       /* [layers + 1][tokens][hidden] */
    float *logits;       /* [tokens or 1][vocab] */
};

/* One row (token) of a packed step. */
typedef struct kvb_row {
    int32_t id, position;
    int32_t index;        /* where its key goes in `own` */
    kvb_lane *own;        /* [layers][kv_heads] */
    const kvb_ctx *prefix; /* finished passage, or NULL */
    const kvb_keep *keep;
    kvb_ctx *observer;    /* prefill: the context that collects observations (row index = token), or NULL */
    float *logits;        /* [vocab] to fill, or NULL */
    int32_t *best;        /* greedy token to fill, or NULL */
    float *margin;        /* beside best */
} kvb_row;

/* Buffers of one packed step; one per batch or prefill, reused. */
typedef struct kvb_step kvb_step;
kvb_status kvb_step_new(kvb_model *m, kvb_step **out);
void kvb_step_free(kvb_step *s);
/* Runs 1 <= n <= KVB_STEP_ROWS rows through the model. Lanes' n must already count the new keys. */
kvb_status kvb_step_run(kvb_step *s, const kvb_row *row, int32_t n);
/* The smallest bucket in use that holds n rows. */
int32_t kvb_model_bucket(const kvb_model *m, int32_t n);

kvb_lane_kind kvb_model_lane_kind(const kvb_model *m);
/* Bytes of keys and values of one sequence of `capacity` tokens over all layers and heads. */
int64_t kvb_model_kv_bytes(const kvb_model *m, int32_t capacity);
/* Points lanes [layers * kv_heads] into memory of kvb_model_kv_bytes; n = 0. */
void kvb_model_carve_lanes(const kvb_model *m, kvb_lane *lane, char *memory, int32_t capacity);
/* Makes RoPE tables cover positions below n. */
kvb_status kvb_model_cover(kvb_model *m, int32_t n);
void kvb_model_retain(kvb_model *m);
kvb_status kvb_model_check_ids(const kvb_model *m, const int32_t *ids, int32_t n);

#endif
