/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operands.h - what all tensor ops share: the kinds of the generic ops, the checks of their operands, and the
 * reference's walk over elements.
 *
 * The kinds are repeated in lua/kvbench/tensor/kinds.lua, which names them for users; tests/lua/tensor_test.lua pins
 * every one of them by value. Checks live here so that every backend refuses exactly the same operands.
 */
#ifndef KVB_OPERANDS_H
#define KVB_OPERANDS_H
#include "ref.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { UNARY_NEG, UNARY_EXP, UNARY_LOG, UNARY_SQRT, UNARY_ABS, UNARY_CLAMP, UNARY_COS, UNARY_SIN, UNARY_TANH,
    UNARY_SIGMOID, UNARY_FLOOR, UNARY_ROUND, UNARY_ERF, UNARY_KINDS };
enum { BINARY_ADD, BINARY_SUB, BINARY_MUL, BINARY_DIV, BINARY_POW, BINARY_MAX, BINARY_MIN, BINARY_LT, BINARY_LE,
    BINARY_GT,
       BINARY_GE, BINARY_EQ, BINARY_NE, BINARY_KINDS };
enum { REDUCE_SUM, REDUCE_MEAN, REDUCE_VAR, REDUCE_MIN, REDUCE_MAX, REDUCE_ARGMIN, REDUCE_ARGMAX, REDUCE_NORM,
       REDUCE_LOGSUMEXP, REDUCE_PROD, REDUCE_KINDS };
enum { SCATTER_SET, SCATTER_ADD, SCATTER_MAX, SCATTER_KINDS };
enum { POOL_AVG, POOL_MAX, POOL_KINDS };

/* An output must exist, have the dtype, and not step over the same element twice. */
kvb_status ref_check_output(const char *op, const kvb_tensor *y, int32_t dtype);
/* An input must exist, have the dtype and the shape of `like`; dimension `except` (or -1) may differ. */
kvb_status ref_check_input(const char *op, const char *argument, const kvb_tensor *t, int32_t dtype,
                           const kvb_tensor *like, int32_t except);
/* The whole checks of the ops that have fast versions. */
kvb_status ref_check_unary(const kvb_tensor *x, const kvb_tensor *y, int32_t kind);
kvb_status ref_check_binary(const kvb_tensor *a, const kvb_tensor *b, const kvb_tensor *y, int32_t kind);
kvb_status ref_check_where(const kvb_tensor *c, const kvb_tensor *a, const kvb_tensor *b, const kvb_tensor *y);
kvb_status ref_check_reduce(const kvb_tensor *x, const kvb_tensor *y, int32_t dim, int32_t kind, double p);
kvb_status ref_check_along(const char *op, const kvb_tensor *x, const kvb_tensor *y, int32_t dim);
kvb_status ref_check_gather(const kvb_tensor *x, const kvb_tensor *index, const kvb_tensor *y, int32_t dim);
kvb_status ref_check_scatter(const kvb_tensor *x, const kvb_tensor *index, const kvb_tensor *y, int32_t dim,
                             int32_t kind);
kvb_status ref_check_pool1d(const kvb_tensor *x, const kvb_tensor *y, int32_t kind, int32_t kernel, int32_t step,
                            int32_t padding);
/* The failure of gather and scatter at an index outside; the second finds the first one in row-major order. */
kvb_status ref_fail_index(const char *op, int64_t index, int32_t dim, int64_t size);
kvb_status ref_first_bad_index(const char *op, const kvb_tensor *index, int32_t dim, int32_t base, int64_t size);
kvb_status ref_check_vecdot(const kvb_tensor *a, const kvb_tensor *b, const kvb_tensor *y);
kvb_status ref_check_matmul(const kvb_tensor *a, const kvb_tensor *b, const kvb_tensor *y);
kvb_status ref_check_moments(const kvb_tensor *x, const kvb_tensor *mean, const kvb_tensor *covariance);
kvb_status ref_check_quadratic(const kvb_tensor *x, const kvb_tensor *c, const kvb_tensor *b, const kvb_tensor *y);
kvb_status ref_check_attended(const kvb_tensor *q, const kvb_tensor *k, const kvb_tensor *y);
kvb_status ref_check_rank(const char *op, const kvb_tensor *x, const kvb_tensor *y, int32_t dtype);
kvb_status ref_check_copy(const kvb_tensor *x, const kvb_tensor *y);
kvb_status ref_check_rmsnorm(const kvb_tensor *x, const kvb_tensor *w, const kvb_tensor *y);
kvb_status ref_check_linear(const kvb_tensor *x, const kvb_tensor *w, const kvb_tensor *bias, const kvb_tensor *y);
kvb_status ref_check_silu_mul(const kvb_tensor *x, const kvb_tensor *y);
kvb_status ref_check_gelu_mul(const kvb_tensor *x, const kvb_tensor *y);
kvb_status ref_check_rope(const kvb_tensor *x, const kvb_tensor *cos, const kvb_tensor *sin,
                          const kvb_tensor *position);
kvb_status ref_fail_position(int64_t row, int32_t position, int64_t held);
kvb_status ref_check_argmax_margin(const kvb_tensor *x, const kvb_tensor *index, const kvb_tensor *margin);
kvb_status ref_check_attention(const kvb_tensor *q, const kvb_tensor *k, const kvb_tensor *v, const kvb_tensor *mask,
                               const kvb_tensor *y);
/* The failure of rank and argsort at a NaN: `row` counts the rows of the last dimension. */
kvb_status ref_fail_nan(const char *op, int64_t row, int64_t position);

/* The same view without dimension `dim`. */
kvb_tensor ref_drop_dim(const kvb_tensor *t, int32_t dim);

/* A position in a tensor's index space; `for (ref_walk w = ref_walk_start(t); w.more; ref_walk_next(&w, t))`. */
typedef struct ref_walk {
    int64_t at[KVB_MAX_DIMS];
    bool more;
} ref_walk;

static inline ref_walk ref_walk_start(const kvb_tensor *t) {
    ref_walk w = {{0}, kvb_tensor_count(t) > 0};
    return w;
}

static inline void ref_walk_next(ref_walk *w, const kvb_tensor *t) {
    for (int d = t->ndim - 1; d >= 0; d--) {
        bool within = ++w->at[d] < t->shape[d];
        if ((!within || w->at[d] % 65536 == 0) && kvb_cancelled()) break; /* the dispatcher says why */
        if (within) return;
        w->at[d] = 0;
    }
    w->more = false;
}

static inline int64_t ref_offset(const kvb_tensor *t, const ref_walk *w) {
    int64_t offset = 0;
    for (int d = 0; d < t->ndim; d++) offset += w->at[d] * t->stride[d];
    return offset;
}

static inline float *ref_f32(const kvb_tensor *t, const ref_walk *w) { return (float *)t->data + ref_offset(t, w); }

#ifdef __cplusplus
}
#endif
#endif
