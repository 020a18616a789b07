/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attention_split.cuh - canonical attention over more than KVB_CUDA_SPLIT tiles: what is left of a split, and the
 * merge.
 *
 * Every split of a row is an online softmax of its own, and the results are merged from the first to the last. So a
 * split can be a block of its own (few rows, long caches: latency) or one of many that a block goes through (long
 * prefills), with the same bits; a row that fits one split has none of this. Rejected: splits chosen by how many blocks
 * the device has room for (a row's bits would depend on its company), and smaller ones (prefills would merge more
 * often).
 */
#ifndef KVB_ATTENTION_SPLIT_CUH
#define KVB_ATTENTION_SPLIT_CUH
#include "attention_device.cuh"

namespace attention {

/* How what came before (a) and what comes next (b) go together, from their largest scores in powers of two. */
struct joint {
    float m, a, b;
    __device__ __forceinline__ joint(float before, float next) {
        m = fmaxf(before, next);
        float base = m == -INFINITY ? 0 : m;
        a = power2(before - base); /* exactly 1 and 0 where one of the two is empty */
        b = power2(next - base);
    }
    __device__ __forceinline__ float operator()(float before, float next) const {
        return fmaf(before, a, __fmul_rn(next, b));
    }
};

/* What a split leaves in kvb_cuda_attention.parts: the output not yet divided, then the largest score and the sum.
 * Where all splits run at once there is a place for each of them, else one per row. */
__device__ __forceinline__ float *part_of(const kvb_cuda_attention &a, int64_t row, int head, int split, int places) {
    return a.parts + ((row * a.heads + head) * places + split) * (a.head_dim + 2);
}

__device__ __forceinline__ int splits_of(int tiles) { return (tiles + KVB_CUDA_SPLIT - 1) / KVB_CUDA_SPLIT; }

/* Block = row and head, thread = dimension. */
template <typename T> __global__ void merge_splits(const kvb_cuda_attention a) {
    int64_t token = blockIdx.x / a.heads;
    int head = blockIdx.x % a.heads, dim = a.head_dim;
    kvb_cuda_row row = a.rows[token];
    const kvb_cuda_seq &seq = a.seqs[row.seq];
    int at = a.layer * a.kv_heads + head / (a.heads / a.kv_heads);
    int splits = splits_of(prefix_of(seq, at).tiles() + suffix_of(seq, at, row.index).tiles());
    const float *part = part_of(a, token, head, 0, a.splits);
    float o = part[threadIdx.x], m = part[dim], l = part[dim + 1];
    for (int i = 1; i < splits; i++) {
        part += dim + 2;
        joint by(m, part[dim]);
        o = by(o, part[threadIdx.x]);
        l = by(l, part[dim + 1]);
        m = by.m;
    }
    float inverse = l > 0 ? 1.0f / l : 0.0f;
    ((T *)a.y)[(int64_t)blockIdx.x * dim + threadIdx.x] = narrow<T>(o * inverse + 0.0f);
}

/* Whether the splits of all rows have a place each. */
static inline bool all_at_once(const kvb_cuda_attention *a) {
    return kvb_cuda_part_floats((int64_t)a->n_rows * a->splits, a->heads, a->head_dim) <= a->part_floats;
}

template <typename T> kvb_status merge(const kvb_cuda_attention *a) {
    merge_splits<T><<<(unsigned)(a->n_rows * a->heads), (unsigned)a->head_dim, 0, kvb_cuda_stream()>>>(*a);
    return kvb_cuda_launched("merging the splits of attention");
}

} // namespace attention
#endif
