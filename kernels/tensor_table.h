/* SPDX-License-Identifier: Apache-2.0 */
/* tensor_table.h - the ops that a GPU has: their declarations, and their lines of the backend (cuda_backend.c). */
#ifndef KVB_TENSOR_TABLE_H
#define KVB_TENSOR_TABLE_H
#include "backend.h"

#ifdef __cplusplus
extern "C" {
#endif
#define KVB_OP(name, parameters, arguments) kvb_status cuda_##name parameters;
#include "ops.def"
#undef KVB_OP
kvb_status cuda_keep_from_ranks(const kvb_tensor *ranks, const uint32_t *thresholds, int32_t words, uint64_t *out);
kvb_status cuda_keep_from_bits(const kvb_tensor *bits, int32_t words, uint64_t *out);
#ifdef __cplusplus
}
#endif

#define KVB_CUDA_OPS                                                                                                   \
    .rmsnorm = cuda_rmsnorm, .linear = cuda_linear, .silu_mul = cuda_silu_mul, .gelu_mul = cuda_gelu_mul,              \
    .rope = cuda_rope,                                                                                                 \
    .attention = cuda_attention, .argmax_margin = cuda_argmax_margin, .copy = cuda_copy, .unary = cuda_unary,          \
    .binary = cuda_binary, .where = cuda_where, .reduce = cuda_reduce, .softmax = cuda_softmax,                        \
    .cumsum = cuda_cumsum, .vecdot = cuda_vecdot, .matmul = cuda_matmul, .gather = cuda_gather,                        \
    .scatter = cuda_scatter, .rank = cuda_rank, .argsort = cuda_argsort, .pool1d = cuda_pool1d,                        \
    .moments = cuda_moments, .quadratic = cuda_quadratic, .attended = cuda_attended, .uniform = cuda_uniform,          \
    .cholesky = cuda_cholesky, .triangular = cuda_triangular, .solve = cuda_solve,                                     \
    .qr = cuda_qr, .eigh = cuda_eigh, .svd = cuda_svd, .keep_from_ranks = cuda_keep_from_ranks,                        \
    .keep_from_bits = cuda_keep_from_bits
#endif
