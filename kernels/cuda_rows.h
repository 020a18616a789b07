/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_rows.h - a packed step's work outside products and attention: one launch each, rows by rows.
 */
#ifndef KVB_CUDA_ROWS_H
#define KVB_CUDA_ROWS_H
#include "attention.h"

/* Where the observations of a prefill row go, in device memory; NULL where nobody asks. */
typedef struct kvb_cuda_observer {
    float *queries;       /* [layers][heads][window][head_dim]: this row's place at layer 0, head 0 */
    int64_t query_head;   /* floats from one head to the next */
    float *hidden;        /* [levels][tokens][hidden]: this row's place at level 0 */
    int64_t hidden_level; /* floats from one level to the next */
} kvb_cuda_observer;

typedef struct kvb_cuda_place {
    const kvb_cuda_row *rows;
    const kvb_cuda_seq *seqs;
    const kvb_cuda_observer *observers; /* [rows] or NULL */
    const float *qkv;                   /* [rows][(heads + 2 kv_heads) head_dim] */
    const float *cos, *sin;             /* [positions][head_dim / 2] */
    const float *q_norm, *k_norm;       /* [head_dim] or NULL */
    void *q;                            /* [rows][heads][head_dim] in the cache's dtype */
    int32_t n, layer, heads, kv_heads, head_dim, dtype;
    float eps;
} kvb_cuda_place;

/* x [n][dim] f32 = row ids[r] of table (dtype), times scale; a negative id is the token in tokens[-id - 1]. */
kvb_status kvb_cuda_embed(const kvb_cuda_row *rows, const int32_t *tokens, const void *table, int32_t dtype, int32_t n,
                          int32_t dim, float scale, float *x);
/* y [n][dim] (y_dtype) = RMSNorm of x. source[r], when given, is the row of x that y's row r comes from. */
kvb_status kvb_cuda_norm_rows(const float *x, const int32_t *source, const float *w, void *y, int32_t y_dtype,
                              int32_t n, int32_t dim, float eps);
/* x [n][dim] += RMSNorm of y, both f32. */
kvb_status kvb_cuda_add_norm_rows(float *x, const float *y, const float *w, int32_t n, int32_t dim, float eps);
/* Head norms, observation of queries, RoPE; q to `q`, keys and values to each sequence's own lanes. */
kvb_status kvb_cuda_place_rows(const kvb_cuda_place *p);
/* y [n][dim] = act(x[:dim]) * x[dim:], both in dtype; activation: kvb_activation. */
kvb_status kvb_cuda_gate_rows(const void *x, void *y, int32_t dtype, int64_t n, int32_t dim, int32_t activation);
/* The largest of each row of logits [n][columns] (the lowest index on ties; NaN never wins), its distance to the
 * second; the token also goes to tokens[slot[r]] where slot[r] >= 0. */
kvb_status kvb_cuda_best_rows(const float *logits, int32_t n, int32_t columns, int32_t *best, float *margin,
                              const int32_t *slot, int32_t *tokens);
/* Hidden states of a level (w NULL: as they are; else after that final norm) to the rows' observers. */
kvb_status kvb_cuda_observe_hidden(const kvb_cuda_observer *observers, const float *x, const float *w, int32_t level,
                                   int32_t n, int32_t dim, float eps);
/* Uniform noise in [-scale, scale) from a counter: element i from seed and first + i alone, the same on every
 * device. */
kvb_status kvb_cuda_noise(void *y, int32_t dtype, int64_t n, uint64_t seed, int64_t first, float scale);
/* Adds to *differences how many of the n 32-bit words differ. */
kvb_status kvb_cuda_compare(const void *a, const void *b, int64_t words, int32_t *differences);

#endif
