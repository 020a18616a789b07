/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.h - the inside of models and contexts, and the packed step that prefill and continuations share.
 */
#ifndef KVB_MODEL_H
#define KVB_MODEL_H
#include "backend.h"
#include "keep.h"
#include "trace.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    KVB_HOST_ROWS = 512,    /* the host's largest row bucket: rows of one packed step */
    KVB_HEAD_COLUMNS = 4096 /* vocabulary columns of one LM-head product on the host: its logits stay in the caches */
};

typedef struct kvb_layer {
    float *attn_norm, *ffn_norm, *q_norm, *k_norm; /* [hidden], [hidden], [head_dim], [head_dim] */
    float *post_attn_norm, *post_ffn_norm;         /* [hidden] or NULL */
    float *qkv_bias;                               /* [(heads + 2 kv_heads) * head_dim] or NULL */
    kvb_packed *qkv, *o, *gate_up, *down;
    float *qkv_plain, *gate_up_plain; /* collected part by part, packed when complete, then freed */
    uint32_t have;                    /* bit per kvb_weight_slot */
} kvb_layer;

struct kvb_model {
    kvb_references references;
    kvb_model_desc desc;
    const kvb_backend *backend;
    char tier[64];
    bool ready;
    bool interactive; /* a lone row may run by faster kernels of other roundings; devices only */
    int64_t parameters;
    int64_t plain_bytes; /* norms, biases, embeddings */
    kvb_layer *layer;
    void *embed;            /* [vocab][hidden] in desc.dtype, on the host */
    kvb_packed *embed_rows; /* the same on a device; the LM head too when they are tied */
    float *final_norm;
    kvb_packed **head; /* LM head in chunks of head_columns */
    int32_t head_chunks;
    uint32_t have; /* bits of the global slots */
    int32_t bucket[KVB_MAX_BUCKETS], buckets;
    int32_t step_rows;          /* rows of one packed step: the largest bucket */
    int32_t head_columns;       /* vocabulary columns of one chunk of `head` */
    struct kvb_resident *resident; /* what a device keeps beside packed matrices: vectors, tables; or NULL */
    float *rope_cos[2], *rope_sin[2]; /* [rope_positions][head_dim / 2]; 1: of sliding layers, NULL: there are none */
    int32_t rope_positions;
};

struct kvb_ctx {
    kvb_references references;
    kvb_model *model;
    int32_t tokens, observed, window, ragged;
    int32_t *ids;
    kvb_lane *lane;      /* [layers][kv_heads]; keys and values point into `cache` */
    char *cache;
    int64_t cache_bytes;
    int32_t *positions;  /* ragged: the original position of every kept key, lane after lane */
    int64_t *position_at; /* ragged: where a lane's positions begin */
    kvb_lane *lane_table; /* ragged, on a device: `lane` where kernels can read it */
    kvb_tensor kept_queries; /* owns what queries points at; kvb_ctx_queries shares it */
    int32_t *position_table;    /* the same for `positions` and `position_at`, where layers slide */
    int64_t *position_at_table;
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
    const kvb_keep *own_keep; /* of `own`, or NULL: everything */
    kvb_ctx *observer;    /* the context that collects observations (row index = token), or NULL */
    const kvb_trace *trace; /* interventions and records of its sequence, or NULL */
    float *logits;        /* [vocab] to fill, or NULL */
    int32_t *best;        /* greedy token to fill, or NULL */
    float *margin;        /* beside best */
    int32_t slot;         /* of its sequence, below step_rows: where a device keeps the token that `best` will get */
} kvb_row;

/* The id of a row whose token is what the step before put into its slot: the host need not know it yet. */
enum { KVB_ID_FROM_SLOT = -1 };

/*
 * Buffers of one packed step; one per batch or prefill, reused. A device may run behind: kvb_step_submit takes 1 <= n
 * <= step_rows rows (copied) and returns once they are on their way; kvb_step_collect waits for the oldest submitted
 * step and fills what its rows asked for. At most kvb_step_lag + 1 steps may be submitted and not collected; the host
 * backends have no lag. A failed submit leaves nothing behind.
 */
typedef struct kvb_step kvb_step;
kvb_status kvb_step_new(kvb_model *m, kvb_step **out);
void kvb_step_free(kvb_step *s);
kvb_status kvb_step_submit(kvb_step *s, const kvb_row *row, int32_t n);
kvb_status kvb_step_collect(kvb_step *s);
int32_t kvb_step_lag(const kvb_step *s);
/* The host's implementation, for the reference and the CPU. */
kvb_status kvb_host_step_new(kvb_model *m, kvb_step **out);
void kvb_host_step_free(kvb_step *s);
kvb_status kvb_host_step_submit(kvb_step *s, const kvb_row *row, int32_t n);
/* The smallest bucket in use that holds n rows. */
int32_t kvb_model_bucket(const kvb_model *m, int32_t n);

/* Makes the model's device current on this thread; every public call that touches its memory does so first. */
kvb_status kvb_model_enter(const kvb_model *m);

/* A context that looks at lanes [layers][kv_heads] of someone else, who outlives it, and observes queries. */
kvb_status kvb_ctx_watch(kvb_model *m, const kvb_lane *lane, int32_t capacity, kvb_ctx **out);

kvb_lane_kind kvb_model_lane_kind(const kvb_model *m);
/* Bytes of the keys (and of the values) of one lane, aligned as the device wants it. */
int64_t kvb_lane_room(const kvb_model *m, int32_t capacity);
/* Keys or values of `count` lanes, `tokens` each, to f32 [count, tokens, head_dim] on the model's device or the host.
 */
kvb_status kvb_lanes_read(const kvb_model *m, const kvb_lane *lane, int32_t count, int32_t tokens, bool keys,
                          kvb_tensor *out);
/* Key j of to[i] becomes key position[at[i] + j] of from[i], for j < to[i].n; `positions` numbers in all. */
kvb_status kvb_lanes_gather(const kvb_model *m, const kvb_lane *from, const kvb_lane *to, int32_t count,
                            const int32_t *position, const int64_t *at, int64_t positions);
/* The first `tokens` keys and values of to[i] become keys and values (f32 [count, tokens, head_dim]; NULL: from[i]'s).
 */
kvb_status kvb_lanes_write(const kvb_model *m, const kvb_lane *from, kvb_lane *to, int32_t count, int32_t tokens,
                           const kvb_tensor *keys, const kvb_tensor *values);
/* One stretch of keys and values to copy: the first n of every lane of a sequence [layers * kv_heads]. */
typedef struct kvb_lane_copy {
    const kvb_lane *from;
    kvb_lane *to;
    int32_t n;
} kvb_lane_copy;
kvb_status kvb_lanes_copy(const kvb_model *m, const kvb_lane_copy *copy, int32_t count);
/* Bytes of keys and values of one sequence of `capacity` tokens over all layers and heads. */
int64_t kvb_model_kv_bytes(const kvb_model *m, int32_t capacity);
/* Points lanes [layers * kv_heads] into memory of kvb_model_kv_bytes; n = 0. */
void kvb_model_carve_lanes(const kvb_model *m, kvb_lane *lane, char *memory, int32_t capacity);
/* Makes RoPE tables cover positions below n. */
kvb_status kvb_model_cover(kvb_model *m, int32_t n);
static inline bool kvb_model_slides(const kvb_model *m, int32_t layer) {
    return m->desc.sliding_window > 0 && m->desc.sliding[layer];
}
double kvb_model_query_scale(const kvb_model *m);
void kvb_model_retain(kvb_model *m);
kvb_status kvb_model_check_ids(const kvb_model *m, const int32_t *ids, int32_t n);

#ifdef __cplusplus
}
#endif
#endif
