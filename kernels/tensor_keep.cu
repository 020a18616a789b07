/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_keep.cu - keep-sets from ranks or bits, where the scores were made: a warp's vote is half a mask word, so the
 * words of nine ratios are nine small launches over ranks that never leave the GPU.
 */
#include "tensor.cuh"

using namespace kvb;

namespace {

struct cells {
    int64_t stride[3];
    uint32_t tokens, heads, halves; /* halves: 32-bit halves of the words of a row */
    uint32_t *out;
};

template <class KEPT> __device__ void vote(const cells &s, KEPT kept) {
    uint32_t half = blockIdx.y * 8 + threadIdx.x / 32, t = half * 32 + threadIdx.x % 32;
    if (half >= s.halves) return;
    uint32_t row = blockIdx.x, layer = row / s.heads, head = row % s.heads;
    bool mine = t < s.tokens && kept(layer * s.stride[0] + head * s.stride[1] + t * s.stride[2], row);
    uint32_t word = __ballot_sync(~0u, mine);
    if (threadIdx.x % 32 == 0) s.out[(int64_t)row * s.halves + half] = word;
}

__global__ void __launch_bounds__(256) below(cells s, const uint32_t *rank, const uint32_t *threshold) {
    vote(s, [&](int64_t at, uint32_t row) { return rank[at] < threshold[row]; });
}

__global__ void __launch_bounds__(256) set(cells s, const uint8_t *bit) {
    vote(s, [&](int64_t at, uint32_t) { return bit[at] != 0; });
}

cells cells_of(const kvb_tensor *t, int32_t words, uint64_t *out) {
    return {{t->stride[0], t->stride[1], t->stride[2]}, (uint32_t)t->shape[2], (uint32_t)t->shape[1],
            (uint32_t)words * 2, (uint32_t *)out};
}

dim3 grid_of(const kvb_tensor *t, int32_t words) {
    return dim3((unsigned)(t->shape[0] * t->shape[1]), blocks_of(words, 4));
}

} // namespace

kvb_status cuda_keep_from_ranks(const kvb_tensor *ranks, const uint32_t *thresholds, int32_t words, uint64_t *out) {
    size_t bytes = (size_t)(ranks->shape[0] * ranks->shape[1]) * sizeof *thresholds;
    scratch limits(bytes);
    if (!limits.p) return KVB_E_MEMORY;
    KVB_TRY(kvb_cuda_upload(limits.p, thresholds, bytes));
    below<<<grid_of(ranks, words), 256, 0, kvb_cuda_stream()>>>(cells_of(ranks, words, out),
                                                                (const uint32_t *)ranks->data, limits.as<uint32_t>());
    return kvb_cuda_launched("keep-set");
}

kvb_status cuda_keep_from_bits(const kvb_tensor *bits, int32_t words, uint64_t *out) {
    set<<<grid_of(bits, words), 256, 0, kvb_cuda_stream()>>>(cells_of(bits, words, out), (const uint8_t *)bits->data);
    return kvb_cuda_launched("keep-set");
}
