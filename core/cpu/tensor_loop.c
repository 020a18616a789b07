/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_loop.c - how element-wise ops step through strided operands, and which instruction set their inner loops use.
 *
 * Dimensions are merged where every operand allows it, so that a contiguous tensor of any shape is one long run, and a
 * broadcast row costs one index computation per run and none per element.
 */
#include "tensor_cpu.h"

const kvb_tensor_kernels *kvb_tensor_pick(void) {
#if defined(__x86_64__)
    const char *tier = kvb_cpu_tier();
    if (strcmp(tier, "avx512") == 0 || strcmp(tier, "amx-bf16") == 0) return &kvb_tensor_avx512;
    if (strcmp(tier, "avx2") == 0) return &kvb_tensor_avx2;
#endif
    return &kvb_tensor_scalar;
}

int32_t kvb_loop_threads(int64_t elements) {
    int64_t useful = elements / 32768; /* below, starting a second thread costs more than it saves */
    return (int32_t)kvb_max64(1, kvb_min64(useful, kvb_threads()));
}

kvb_loop kvb_loop_over(const kvb_tensor *const *t, int32_t operands, bool split) {
    kvb_loop loop = {.run = 1, .outer = 1, .operands = operands};
    int32_t n = 0;
    for (int d = 0; d < t[0]->ndim; d++) {
        if (t[0]->shape[d] == 1) continue;
        bool merge = n > 0;
        for (int o = 0; o < operands && merge; o++) merge = loop.stride[o][n - 1] == t[o]->stride[d] * t[0]->shape[d];
        if (!merge) loop.shape[n++] = 1;
        loop.shape[n - 1] *= t[0]->shape[d];
        for (int o = 0; o < operands; o++) loop.stride[o][n - 1] = t[o]->stride[d];
    }
    if (n > 0 && split && n < KVB_MAX_DIMS) { /* cut the run where it can be cut evenly */
        int64_t pieces = kvb_threads();
        bool alone = true;
        for (int d = 0; d + 1 < n; d++) alone = alone && loop.shape[d] < pieces;
        if (alone && pieces > 1 && loop.shape[n - 1] >= 32768 && loop.shape[n - 1] % pieces == 0) {
            loop.shape[n] = loop.shape[n - 1] / pieces;
            loop.shape[n - 1] = pieces;
            for (int o = 0; o < operands; o++) {
                loop.stride[o][n] = loop.stride[o][n - 1];
                loop.stride[o][n - 1] *= loop.shape[n];
            }
            n++;
        }
    }
    if (n > 0) loop.run = loop.shape[n - 1];
    loop.ndim = n > 0 ? n - 1 : 0;
    for (int o = 0; o < operands; o++) /* the run's step, at a fixed place */
        if (n == 0) loop.stride[o][0] = 1;
    for (int d = 0; d < loop.ndim; d++) loop.outer *= loop.shape[d];
    if (kvb_tensor_count(t[0]) == 0) loop.outer = 0;
    return loop;
}

void kvb_loop_at(const kvb_loop *loop, int64_t index, int64_t *offsets) {
    for (int o = 0; o < loop->operands; o++) offsets[o] = 0;
    for (int d = loop->ndim - 1; d >= 0; d--) {
        int64_t at = index % loop->shape[d];
        index /= loop->shape[d];
        for (int o = 0; o < loop->operands; o++) offsets[o] += at * loop->stride[o][d];
    }
}
