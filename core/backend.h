/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend.h - what a device must offer: a private layout for keys and values ("lanes"), packed weight matrices, the
 * engine's two hot calls over them, and one function pointer per line of ops.def.
 *
 * A lane is the keys and values of one (sequence, layer, KV head). Its layout belongs to the backend: the reference
 * stores plain rows, the CPU transposes keys tile by tile so that a tile's scores are one small matrix product. Reading
 * a lane back gives plain f32 rows. Zeroed memory is a valid empty lane.
 */
#ifndef KVB_BACKEND_H
#define KVB_BACKEND_H
#include "internal.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    KVB_TILE = 64
}; /* keys per attention tile, at absolute positions: part of the definition of canonical attention */

struct kvb_model;
struct kvb_step;
struct kvb_row;
struct kvb_lane_copy;
struct kvb_look;
typedef struct kvb_backend kvb_backend;
typedef struct kvb_packed kvb_packed; /* a weight matrix [out, in] in the backend's own format */

/* Geometry of a lane: `capacity` keys of head_dim elements; dtype KVB_F32 or KVB_BF16. */
typedef struct kvb_lane_kind {
    int32_t head_dim, dtype;
} kvb_lane_kind;

typedef struct kvb_lane {
    void *keys, *values; /* lane_bytes each; NULL while capacity is 0 */
    int32_t capacity;    /* what the lane was allocated for; rounded up by the backend's layout */
    int32_t n;           /* keys stored */
} kvb_lane;

/*
 * One query token in an attention call. Its keys are `prefix` (all of a finished passage, thinned by `mask`), then the
 * first own_n keys of `own`, thinned by `own_mask` (its own last key is never evicted). A prefilling passage has no
 * prefix and is its own lane. Lanes are arrays over KV heads.
 */
typedef struct kvb_attn_row {
    const kvb_lane *prefix; /* [kv_heads] or NULL */
    const uint64_t *mask;   /* [kv_heads][words] for the prefix, bit = kept; NULL = everything */
    const kvb_lane *own;    /* [kv_heads] */
    const uint64_t *own_mask; /* [kv_heads][own_words] for `own`; NULL = everything */
    int32_t words, own_words; /* mask words per KV head */
    int32_t own_n;
    int32_t own_from;         /* the sliding window begins here: earlier own keys are not seen */
    const int32_t *prefix_from; /* [kv_heads] the same in the prefix; NULL = from its first key */
    const struct kvb_look *look; /* what is observed of it, or NULL */
} kvb_attn_row;

struct kvb_backend {
    const char *name;

    /* Where tensors, lanes and activations live. NULL: host memory (kvb_alloc, kvb_free, memcpy). alloc zeroes,
     * alloc_raw does not. */
    void *(*alloc)(size_t bytes, int32_t tag);
    void *(*alloc_raw)(size_t bytes, int32_t tag);
    void (*free)(void *p);
    kvb_status (*upload)(void *to, const void *from, size_t bytes);
    kvb_status (*download)(void *to, const void *from, size_t bytes); /* complete on return */
    /* Optional: mask words of a keep-set [layers, heads, words] from ranks and thresholds (host) or from u8 bits. */
    kvb_status (*keep_from_ranks)(const kvb_tensor *ranks, const uint32_t *thresholds, int32_t words, uint64_t *out);
    kvb_status (*keep_from_bits)(const kvb_tensor *bits, int32_t words, uint64_t *out);
    int64_t (*free_bytes)(void);                                     /* what can still be allocated */
    kvb_status (*wait)(const char *what);                            /* for all that was started */

    /* Bytes of the keys (and of the values) of a lane. */
    int64_t (*lane_bytes)(const kvb_lane_kind *kind, int32_t capacity);
    /* Stores one key and value [head_dim] at `index` < capacity. */
    void (*lane_put)(const kvb_lane_kind *kind, kvb_lane *lane, int32_t index, const float *key, const float *value);
    /* Optional: asks for the memory that lane_put will write at `index`. */
    void (*lane_fetch)(const kvb_lane_kind *kind, const kvb_lane *lane, int32_t index);
    void (*lane_get)(const kvb_lane_kind *kind, const kvb_lane *lane, int32_t index, float *key, float *value);

    /* x [heads][head_dim] of one row, in place: the op `rope` for one position's cos and sin [head_dim / 2]. */
    void (*rotate)(float *x, int64_t heads, int64_t head_dim, const float *cos, const float *sin);

    /*
     * Canonical attention of `rows` query tokens: q [rows, heads, head_dim] f32 (after RoPE) -> y [rows, heads *
     * head_dim], f32 or bf16. A row's bits do not depend on its neighbours.
     */
    kvb_status (*attend)(const kvb_lane_kind *kind, const kvb_attn_row *row, int32_t rows, int32_t heads,
                         int32_t kv_heads, const float *q, double scale, kvb_tensor *y);
    /* Optional: does attend itself fill in the tops and masses of its rows' looks? Else look does. */
    bool (*attend_observes)(const kvb_lane_kind *kind);

    /* Optional: observed rows of such a call (core/look.h); n of them, q as attend had it. NULL: kvb_look_reference. */
    kvb_status (*look)(const kvb_lane_kind *kind, const kvb_attn_row *row, const struct kvb_look *look, int32_t n,
                       int32_t heads, int32_t kv_heads, const float *q, double scale);

    /* w [out, in] f32 -> packed in dtype; then y [rows, out] (+)= x [rows, in] w^T + bias. rows is one of the buckets;
     * y is f32, or bf16 (rounded once, from the f32 sum) with bf16 weights and without accumulate. */
    kvb_status (*pack)(const float *w, int32_t out, int32_t in, int32_t dtype, kvb_packed **packed);
    /* Optional: noise in [-scale, scale) as weights, made where it will live; element (o, i) is that of the op uniform
     * at o * in + i, times 2 scale, minus scale. */
    kvb_status (*pack_noise)(int32_t out, int32_t in, int32_t dtype, uint64_t seed, float scale, kvb_packed **packed);
    void (*pack_free)(kvb_packed *packed);
    int64_t (*pack_bytes)(const kvb_packed *packed);
    kvb_status (*multiply)(kvb_packed *packed, const void *x, int32_t rows, const float *bias, int32_t accumulate,
                           void *y, int32_t y_dtype);

    /*
     * Optional: how a device takes a model over once its weights are there. `ready` chooses step_rows and the buckets,
     * proves that rows do not depend on them and copies what the steps read; `cover` follows grown RoPE tables; `gone`
     * undoes ready. A backend without them is the host: step.c runs it, one row function at a time.
     */
    kvb_status (*ready)(struct kvb_model *m);
    kvb_status (*cover)(struct kvb_model *m);
    void (*gone)(struct kvb_model *m);
    const char *(*pins)(int32_t device); /* algorithms chosen so far, a line each */
    kvb_status (*profile_set)(struct kvb_model *m, bool on);
    kvb_status (*profile_read)(struct kvb_model *m, double *seconds);
    int32_t lag; /* steps that may be under way behind the one being packed */
    kvb_status (*step_new)(struct kvb_model *m, struct kvb_step **out);
    void (*step_free)(struct kvb_step *s);
    kvb_status (*step_submit)(struct kvb_step *s, const struct kvb_row *row, int32_t n);
    kvb_status (*step_collect)(struct kvb_step *s);

    /*
     * Optional: lanes in bulk, for memory that the host cannot touch (else lane_get and lane_put in a loop).
     * lanes_read: keys (or values) of `count` lanes, `tokens` each, as f32 [count, tokens, head_dim] to `out`, device
     * or host memory. lanes_gather: key j of to[i] is key position[at[i] + j] of from[i], for j < to[i].n.
     */
    kvb_status (*lanes_read)(const kvb_lane_kind *kind, const kvb_lane *lane, int32_t count, int32_t tokens, bool keys,
                             kvb_tensor *out);
    kvb_status (*lanes_gather)(const kvb_lane_kind *kind, const kvb_lane *from, const kvb_lane *to, int32_t count,
                               const int32_t *position, const int64_t *at, int64_t positions);
    /* The first `tokens` keys and values of `count` lanes from f32 [count, tokens, head_dim] (keys or values NULL:
     * those of `from`). */
    kvb_status (*lanes_write)(const kvb_lane_kind *kind, const kvb_lane *from, kvb_lane *to, int32_t count,
                              int32_t tokens, const kvb_tensor *keys, const kvb_tensor *values);

    /*
     * Optional, for bf16 models: what stands around a product, fused with it. The norm weights are [in]; x is the
     * residual stream, f32. NULL = the plain ops one after another; the results differ by roundings to bf16 saved.
     */
    /* y [rows, out] f32 = rmsnorm(x) w^T + bias */
    kvb_status (*normed_multiply)(const kvb_packed *w, const float *x, int32_t rows, const float *norm, double eps,
                                  const float *bias, float *y);
    /* x += (act(gate) * up) down^T with gate, up = rmsnorm(x) gate_up^T; the width in between is a multiple of 32. With
     * y [rows, in] f32 the sum goes there and x stays as it is. activation: kvb_activation. */
    kvb_status (*feed_forward)(const kvb_packed *gate_up, const kvb_packed *down, float *x, int32_t rows,
                               const float *norm, double eps, int32_t activation, float *y);
    /* Of x [rows, in] head^T, the head cut into chunks of columns: the largest value of each row (its lowest index)
     * and the second largest, -inf where there is none. NaN never wins. */
    kvb_status (*best)(kvb_packed *const *head, int32_t chunks, const void *x, int32_t rows, float *best,
                       float *second, int32_t *index);

    /* Optional: the first n keys and values of all `lanes` lanes of each of `count` sequences. */
    kvb_status (*lanes_copy)(const kvb_lane_kind *kind, const struct kvb_lane_copy *copy, int32_t count, int32_t lanes);

#define KVB_OP(name, parameters, arguments) kvb_status(*name) parameters;
#include "ops.def"
#undef KVB_OP
};

const kvb_backend *kvb_backend_get(int32_t device); /* NULL with a diagnostic for an unknown device */
extern const kvb_backend kvb_backend_ref, kvb_backend_cpu;

/* Memory where the backend's tensors live, zeroed and counted; moving bytes between it and the host. */
void *kvb_backend_alloc(const kvb_backend *b, size_t bytes, int32_t tag);
void kvb_backend_free(const kvb_backend *b, void *p);
kvb_status kvb_backend_upload(const kvb_backend *b, void *to, const void *from, size_t bytes);
kvb_status kvb_backend_download(const kvb_backend *b, void *to, const void *from, size_t bytes);

/* Loops over tensors end early once kvb_cancel was called (they look every millisecond or so), and what they leave then
 * is no result: KVB_E_CANCELLED in place of an op's KVB_OK. */
kvb_status kvb_uninterrupted(kvb_status status);

/* The dispatchers, for C callers: the op on `device`, or the reference (counted) where the backend has none. */
#define KVB_UNPACK(...)                     __VA_ARGS__
#define KVB_OP(name, parameters, arguments) kvb_status kvb_op_##name(int32_t device, KVB_UNPACK parameters);
#include "ops.def"
#undef KVB_OP

#ifdef __cplusplus
}
#endif
#endif
