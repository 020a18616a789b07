/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attention_v0.cu - canonical attention, one warp per (row, head): the readable variant, and the one for f32 caches.
 *
 * Every sum has one order that no neighbour can change: a score is one chain of FMAs over the dimensions, p v one chain
 * over the keys. The tensor core variants (attention_kernel.cuh) add in the order of the hardware's m16n8k16 product
 * instead, so with bf16 and f16 they agree with this one within rounding. Rejected for f32: TF32 tensor cores (10 bits
 * of mantissa, and f32 is here to be compared with goldens).
 */
#include "attention_split.cuh"
#include "attention_variants.h"

namespace {
using namespace attention;

enum { WARPS = 4, MOST_DIM = 256 };

/* Eight elements from an address that is 16-byte aligned. */
template <typename T> __device__ __forceinline__ void load8(const T *from, float (&x)[8]) {
    uint4 raw[sizeof(T) / 2];
#pragma unroll
    for (int i = 0; i < (int)sizeof(T) / 2; i++) raw[i] = __ldg((const uint4 *)from + i);
    const T *t = (const T *)raw;
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] = to_float(t[i]);
}

template <typename T> __global__ void attend_v0(const kvb_cuda_attention a) {
    __shared__ float q_shared[WARPS][MOST_DIM], p_shared[WARPS][KVB_TILE];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int64_t task = (int64_t)blockIdx.x * WARPS + warp;
    if (task >= (int64_t)a.n_rows * a.heads) return; /* the whole warp */
    int dim = a.head_dim, head = (int)(task % a.heads), kv_head = head / (a.heads / a.kv_heads);
    int at = a.layer * a.kv_heads + kv_head;
    kvb_cuda_row row = a.rows[task / a.heads];
    const kvb_cuda_seq &seq = a.seqs[row.seq];
    float *q = q_shared[warp], *p = p_shared[warp], c = (float)(a.scale * 1.4426950408889634);
    for (int d = lane; d < dim; d += 32) q[d] = to_float(((const T *)a.q)[task * dim + d]);
    __syncwarp();

    float o[MOST_DIM / 32] = {}, m = -INFINITY, l = 0; /* lane i has dimensions i, i + 32, ... */
    float done[MOST_DIM / 32] = {}, done_m = -INFINITY, done_l = 0; /* the splits before this one */
    auto close_split = [&]() {
        joint by(done_m, m);
#pragma unroll
        for (int i = 0; i < MOST_DIM / 32; i++) done[i] = by(done[i], o[i]), o[i] = 0;
        done_l = by(done_l, l);
        done_m = by.m;
        m = -INFINITY;
        l = 0;
    };
    int split = 0, tiles = 0; /* tiles: before this part */
    for (int part = 0; part < 2; part++) {
        run keys = part == 0 ? prefix_of(seq, at) : suffix_of(seq, at, row.index);
        const uint64_t *mask = part == 0 ? seq.prefix_mask : seq.suffix_mask;
        if (mask) mask += (int64_t)at * (part == 0 ? seq.prefix_words : seq.suffix_words);
        int from = part == 0 ? prefix_from(a, seq, at, row.position) : suffix_from(a, keys.n);
        for (int t = from / KVB_TILE; t * KVB_TILE < keys.n; t++) {
            word seen = visible(mask, from, keys.n, t);
            if (seen == 0) continue;
            if ((tiles + t) / KVB_CUDA_SPLIT > split) {
                close_split();
                split = (tiles + t) / KVB_CUDA_SPLIT;
            }
            float s[2];
            for (int i = 0; i < 2; i++) { /* keys lane and lane + 32 */
                int k = t * KVB_TILE + i * 32 + lane;
                s[i] = -INFINITY;
                if (!(seen >> (i * 32 + lane) & 1)) continue;
                const T *key = (const T *)keys.key + (int64_t)k * dim;
                float sum = 0, x[8];
                for (int d = 0; d < dim; d += 8) {
                    load8(key + d, x);
                    for (int j = 0; j < 8; j++) sum = fmaf(q[d + j], x[j], sum);
                }
                s[i] = sum;
            }
            float largest = fmaxf(s[0], s[1]);
            for (int i = 16; i > 0; i /= 2) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, i));
            float now = fmaxf(m, largest * c), base = now == -INFINITY ? 0 : now, alpha = power2(m - base);
            s[0] = power2(fmaf(s[0], c, -base));
            s[1] = power2(fmaf(s[1], c, -base));
            float total = s[0] + s[1];
            for (int i = 16; i > 0; i /= 2) total += __shfl_xor_sync(~0u, total, i);
            l = fmaf(l, alpha, total);
            m = now;
            __syncwarp();
            p[lane] = to_float(narrow<T>(s[0]));
            p[lane + 32] = to_float(narrow<T>(s[1]));
            __syncwarp();
#pragma unroll
            for (int i = 0; i < MOST_DIM / 32; i++) {
                int d = i * 32 + lane;
                if (d >= dim) continue;
                float sum = o[i] * alpha;
                for (int j = 0; j < KVB_TILE; j++) {
                    if (!(seen >> j & 1)) continue;
                    const T *value = (const T *)keys.value + (int64_t)(t * KVB_TILE + j) * dim;
                    sum = fmaf(p[j], to_float(value[d]), sum);
                }
                o[i] = sum;
            }
        }
        tiles += keys.tiles();
    }
    if (split > 0) {
        close_split();
        l = done_l;
#pragma unroll
        for (int i = 0; i < MOST_DIM / 32; i++) o[i] = done[i];
    }
    float inverse = l > 0 ? 1.0f / l : 0.0f;
#pragma unroll
    for (int i = 0; i < MOST_DIM / 32; i++)
        if (i * 32 + lane < dim) ((T *)a.y)[task * dim + i * 32 + lane] = narrow<T>(o[i] * inverse + 0.0f);
}
} // namespace

kvb_status kvb_cuda_attend_v0(const kvb_cuda_attention *a) {
    int64_t blocks = ((int64_t)a->n_rows * a->heads + WARPS - 1) / WARPS;
    switch (a->dtype) {
    case KVB_F32:
        attend_v0<float><<<(unsigned)blocks, WARPS * 32, 0, kvb_cuda_stream()>>>(*a);
        break;
    case KVB_BF16:
        attend_v0<__nv_bfloat16><<<(unsigned)blocks, WARPS * 32, 0, kvb_cuda_stream()>>>(*a);
        break;
    default:
        attend_v0<__half><<<(unsigned)blocks, WARPS * 32, 0, kvb_cuda_stream()>>>(*a);
    }
    return kvb_cuda_launched("attention v0");
}
