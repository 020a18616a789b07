/* SPDX-License-Identifier: Apache-2.0 */
/* cpu_backend.c - the CPU as a device: which of its ops exist (the rest run on the reference and are counted). */
#include "cpu.h"

const kvb_backend kvb_backend_cpu = {
    .name = "cpu",
    .lane_bytes = kvb_cpu_lane_bytes,
    .lane_put = kvb_cpu_lane_put,
    .lane_fetch = kvb_cpu_lane_fetch,
    .lane_get = kvb_cpu_lane_get,
    .rotate = kvb_cpu_rotate,
    .attend = kvb_cpu_attend,
    .pack = kvb_cpu_pack,
    .pack_free = kvb_cpu_pack_free,
    .pack_bytes = kvb_cpu_pack_bytes,
    .multiply = kvb_cpu_multiply,
    .rmsnorm = cpu_rmsnorm,
    .linear = cpu_linear,
    .silu_mul = cpu_silu_mul,
    .rope = cpu_rope,
    .attention = cpu_attention,
    .argmax_margin = cpu_argmax_margin,
    /* tensor ops */
    .copy = cpu_copy,
    .unary = cpu_unary,
    .binary = cpu_binary,
    .where = cpu_where,
    .reduce = cpu_reduce,
    .softmax = cpu_softmax,
    .cumsum = ref_cumsum,
    .vecdot = cpu_vecdot,
    .matmul = cpu_matmul,
    .gather = ref_gather,
    .rank = cpu_rank,
    .argsort = cpu_argsort,
    .pool1d = ref_pool1d,
    .uniform = ref_uniform,
};
