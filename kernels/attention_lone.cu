/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attention_lone.cu - one row's attention, its tiles dealt over the device and merged: for long caches and latency.
 *
 * Canonical attention gives a lone row one block per KV head, an eighth of the device or less; here every KV head's
 * tiles are cut into as many parts as there is room for, each part an online softmax of its own, and a second kernel
 * merges the parts in order. The result repeats, but is summed in another order than canonical attention's: the
 * declared tier only. Plain FMAs: a lone row does too little arithmetic per key for tensor cores to matter.
 */
#include "attention_device.cuh"
#include "attention_lone.h"
#include "cuda_early.cuh"

namespace {
using namespace attention;

enum { WARPS = 4, THREADS = WARPS * 32, LEAST = 16, FULL = ~0u }; /* LEAST: keys of a piece */

/* A part's result: the largest score, the sum, then the output not yet divided. */
__host__ __device__ constexpr int part_floats(int dim) { return dim + 2; }

/* Lanes that share a key: a power of two, 8 dimensions each. */
__host__ __device__ constexpr int lanes_of(int dim) {
    int lanes = 1;
    while (lanes * 8 < dim) lanes *= 2;
    return lanes;
}

/* What one warp has of its tiles: per head of the group, m and l, and of o this lane's 8 dimensions over its keys. */
template <int G> struct sums {
    float m[G], l[G], o[G][8];
};

template <typename T> __device__ __forceinline__ void widen(const uint4 &raw, float (&x)[8]) {
    const T *t = (const T *)&raw;
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] = to_float(t[i]);
}

template <typename T, int D, int G>
__device__ __forceinline__ void some_keys(const run &keys, int from_key, int span, word seen, const float (&q)[G][8],
                                          float c, float (*p)[KVB_TILE], sums<G> &x) {
    constexpr int LANES = lanes_of(D), AT_ONCE = 32 / LANES, BATCH = AT_ONCE >= 2 ? LEAST / AT_ONCE : 8;
    int lane = threadIdx.x % 32, chunk = lane % LANES, key = lane / LANES;
    bool real = chunk * 8 < D;
    const uint4 zero = make_uint4(0, 0, 0, 0);
    auto read = [&](const char *from, int k) {
        if (!real || !(seen >> k & 1)) return zero;
        return __ldg((const uint4 *)(from + ((int64_t)(from_key + k) * D + chunk * 8) * (int)sizeof(T)));
    };
#pragma unroll 1
    for (int first = 0; first < span; first += AT_ONCE * BATCH) {
        uint4 raw[BATCH];
#pragma unroll
        for (int b = 0; b < BATCH; b++) raw[b] = read(keys.key, first + b * AT_ONCE + key);
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            int k = first + b * AT_ONCE + key;
            float wide[8];
            widen<T>(raw[b], wide);
#pragma unroll
            for (int g = 0; g < G; g++) {
                float s = 0;
#pragma unroll
                for (int i = 0; i < 8; i++) s = fmaf(q[g][i], wide[i], s);
#pragma unroll
                for (int i = LANES / 2; i > 0; i /= 2) s += __shfl_xor_sync(FULL, s, i);
                if (chunk == 0) p[g][k] = seen >> k & 1 ? s * c : -INFINITY;
            }
        }
    }
    __syncwarp();
#pragma unroll
    for (int g = 0; g < G; g++) {
        float s[2] = {lane < span ? p[g][lane] : -INFINITY, lane + 32 < span ? p[g][lane + 32] : -INFINITY};
        float largest = fmaxf(s[0], s[1]);
        for (int i = 16; i > 0; i /= 2) largest = fmaxf(largest, __shfl_xor_sync(FULL, largest, i));
        float now = fmaxf(x.m[g], largest), base = now == -INFINITY ? 0 : now, alpha = power2(x.m[g] - base);
        s[0] = power2(s[0] - base);
        s[1] = power2(s[1] - base);
        float total = s[0] + s[1];
        for (int i = 16; i > 0; i /= 2) total += __shfl_xor_sync(FULL, total, i);
        x.m[g] = now;
        x.l[g] = fmaf(x.l[g], alpha, total);
        p[g][lane] = s[0];
        p[g][lane + 32] = s[1];
#pragma unroll
        for (int i = 0; i < 8; i++) x.o[g][i] *= alpha;
    }
    __syncwarp();
#pragma unroll 1
    for (int first = 0; first < span; first += AT_ONCE * BATCH) {
        uint4 raw[BATCH];
#pragma unroll
        for (int b = 0; b < BATCH; b++) raw[b] = read(keys.value, first + b * AT_ONCE + key);
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            float wide[8];
            widen<T>(raw[b], wide);
#pragma unroll
            for (int g = 0; g < G; g++) {
                float weight = p[g][first + b * AT_ONCE + key];
#pragma unroll
                for (int i = 0; i < 8; i++) x.o[g][i] = fmaf(weight, wide[i], x.o[g][i]);
            }
        }
    }
    __syncwarp(); /* before the next tile's scores */
}

/* Block (part, KV head): pieces of tiles, part * share .. of prefix and suffix, dealt to the warps in turn: quarters of
 * tiles where whole ones are too few to keep the warps busy. */
template <typename T, int D, int G>
__global__ void __launch_bounds__(THREADS) attend_part(const kvb_cuda_attention a, float *parts) {
    constexpr int LANES = lanes_of(D);
    __shared__ float p[WARPS][G][KVB_TILE], largest[WARPS][G], sum[WARPS][G], o[WARPS][G][D];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, chunk = lane % LANES, kv_head = blockIdx.y;
    int group = a.heads / a.kv_heads, at = a.layer * a.kv_heads + kv_head;
    let_successor_start();
    wait_for_predecessor();
    kvb_cuda_row row = a.rows[0];
    const kvb_cuda_seq &seq = a.seqs[row.seq];
    run keys[2] = {prefix_of(seq, at), suffix_of(seq, at, row.index)};
    const uint64_t *mask[2] = {seq.prefix_mask ? seq.prefix_mask + (int64_t)at * seq.prefix_words : NULL,
                               seq.suffix_mask ? seq.suffix_mask + (int64_t)at * seq.suffix_words : NULL};
    int prefix_tiles = keys[0].tiles(), tiles = prefix_tiles + keys[1].tiles();
    int span = tiles <= 2 * (int)gridDim.x ? LEAST : KVB_TILE, cuts = KVB_TILE / span, pieces = tiles * cuts;
    int share = (pieces + (int)gridDim.x - 1) / (int)gridDim.x, end = min(pieces, ((int)blockIdx.x + 1) * share);
    float q[G][8], c = (float)(a.scale * 1.4426950408889634);
#pragma unroll
    for (int g = 0; g < G; g++) {
        const T *from = (const T *)a.q + (int64_t)(kv_head * group + min(g, group - 1)) * D + chunk * 8;
#pragma unroll
        for (int i = 0; i < 8; i++) q[g][i] = chunk * 8 < D ? to_float(from[i]) : 0;
    }
    sums<G> x;
#pragma unroll
    for (int g = 0; g < G; g++) {
        x.m[g] = -INFINITY;
        x.l[g] = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) x.o[g][i] = 0;
    }
    for (int i = blockIdx.x * share + warp; i < end; i += WARPS) {
        int t = i / cuts, suffix = t >= prefix_tiles, local = suffix ? t - prefix_tiles : t, first = i % cuts * span;
        word seen = visible(mask[suffix], 0, keys[suffix].n, local); /* models with windows have no such tier */
        seen = seen >> first & (span < KVB_TILE ? ((word)1 << span) - 1 : ~(word)0);
        if (seen) some_keys<T, D, G>(keys[suffix], local * KVB_TILE + first, span, seen, q, c, p[warp], x);
    }
#pragma unroll
    for (int g = 0; g < G; g++) { /* this lane's keys, then the other lanes' of the same dimensions */
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float v = x.o[g][i];
            for (int other = LANES; other < 32; other *= 2) v += __shfl_xor_sync(FULL, v, other);
            if (lane < LANES && chunk * 8 < D) o[warp][g][chunk * 8 + i] = v;
        }
        if (lane == 0) largest[warp][g] = x.m[g], sum[warp][g] = x.l[g];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < group * D; i += THREADS) {
        int g = i / D, d = i % D;
        float m = -INFINITY, l = 0, v = 0;
        for (int w = 0; w < WARPS; w++) m = fmaxf(m, largest[w][g]);
        for (int w = 0; w < WARPS; w++) {
            float weight = m == -INFINITY ? 0 : power2(largest[w][g] - m);
            l = fmaf(weight, sum[w][g], l);
            v = fmaf(weight, o[w][g][d], v);
        }
        float *to = parts + ((int64_t)(kv_head * group + g) * gridDim.x + blockIdx.x) * part_floats(D);
        to[2 + d] = v;
        if (d == 0) to[0] = m, to[1] = l;
    }
}

/* Block = query head, thread = dimension. */
template <typename T> __global__ void merge_parts(const float *parts, int count, int dim, T *y) {
    const float *of = parts + (int64_t)blockIdx.x * count * part_floats(dim);
    float m = -INFINITY, l = 0, v = 0;
    let_successor_start();
    wait_for_predecessor();
#pragma unroll 8
    for (int i = 0; i < count; i++) m = fmaxf(m, of[i * part_floats(dim)]);
#pragma unroll 8
    for (int i = 0; i < count; i++) {
        const float *part = of + i * part_floats(dim);
        float weight = part[0] == -INFINITY ? 0 : power2(part[0] - m);
        l = fmaf(weight, part[1], l);
        v = fmaf(weight, part[2 + threadIdx.x], v);
    }
    y[(int64_t)blockIdx.x * dim + threadIdx.x] = narrow<T>(l > 0 ? v / l : 0.0f);
}

int parts_of(int kv_heads) {
    int parts = 2 * kvb_cuda_current()->multiprocessors / kv_heads;
    return parts < 1 ? 1 : parts > 64 ? 64 : parts;
}

template <typename T, int D, int G> kvb_status launch(const kvb_cuda_attention *a, float *scratch) {
    dim3 grid((unsigned)parts_of(a->kv_heads), (unsigned)a->kv_heads);
    KVB_CUDA_TRY(launch_early(attend_part<T, D, G>, grid, THREADS, 0, *a, scratch));
    KVB_LAUNCHED("attention of one row");
    KVB_CUDA_TRY(launch_early(merge_parts<T>, dim3((unsigned)a->heads), (unsigned)D, 0, (const float *)scratch,
                              (int)grid.x, D, (T *)a->y));
    return kvb_cuda_launched("merging one row's attention");
}

template <typename T, int D> kvb_status by_group(const kvb_cuda_attention *a, float *scratch) {
    int group = a->heads / a->kv_heads;
    if (group == 1) return launch<T, D, 1>(a, scratch);
    if (group == 2) return launch<T, D, 2>(a, scratch);
    return group <= 4 ? launch<T, D, 4>(a, scratch) : launch<T, D, 8>(a, scratch);
}

template <typename T> kvb_status by_dim(const kvb_cuda_attention *a, float *scratch) {
    switch (a->head_dim) {
    case 16:
        return by_group<T, 16>(a, scratch);
    case 32:
        return by_group<T, 32>(a, scratch);
    case 64:
        return by_group<T, 64>(a, scratch);
    case 80:
        return by_group<T, 80>(a, scratch);
    case 96:
        return by_group<T, 96>(a, scratch);
    case 128:
        return by_group<T, 128>(a, scratch);
    default:
        return by_group<T, 256>(a, scratch);
    }
}
} // namespace

int64_t kvb_cuda_lone_bytes(int32_t heads, int32_t kv_heads, int32_t head_dim) {
    return (int64_t)heads * parts_of(kv_heads) * part_floats(head_dim) * (int64_t)sizeof(float);
}

kvb_status kvb_cuda_attend_lone(const kvb_cuda_attention *a, float *scratch) {
    return a->dtype == KVB_BF16 ? by_dim<__nv_bfloat16>(a, scratch) : by_dim<__half>(a, scratch);
}
