/* SPDX-License-Identifier: Apache-2.0 */
/*
 * observe_attention.cu - attention received and window attention, in two passes over tiles of 64 queries x 64 keys:
 * each row's maximum and sum, then probabilities, written out or summed by column.
 *
 * A column's sum runs over heads, row tiles and rows in order, within one block: deterministic, without atomics.
 * Products are f32 FMAs, since queries are kept in f32 and scores are compared with recorded ones. Rejected: keeping
 * the probabilities of prefill (tokens x tokens a head, and prefill would pay for it).
 */
#include "attention_device.cuh"
#include "observe_attention.h"

namespace {
using namespace attention;

enum { SIDE = 64, STEP = 16, THREADS = 256, PITCH = SIDE + 4 };

/* [STEP dimensions][64 queries or keys], two stages. */
struct stages {
    float q[2][STEP][PITCH], k[2][STEP][PITCH];
};

/* Four elements of row `row` (of `rows`; else zeros) as f32. */
template <typename T>
__device__ __forceinline__ void load4(const T *from, int row, int rows, int dim, int d, float (&x)[4]) {
    x[0] = x[1] = x[2] = x[3] = 0;
    if (row >= rows) return;
    from += (int64_t)row * dim + d;
    if (sizeof(T) == 4) {
        float4 v = __ldg((const float4 *)from);
        x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
    } else {
        uint2 raw = __ldg((const uint2 *)from);
        const T *t = (const T *)&raw;
#pragma unroll
        for (int i = 0; i < 4; i++) x[i] = to_float(t[i]);
    }
}

/* s[i][j] = q row (id / 16 * 4 + i) . k row (id % 16 * 4 + j), one chain of FMAs over the dimensions. */
template <typename T>
__device__ __forceinline__ void products(stages &x, const float *q, int q_rows, const T *k, int k_rows, int dim,
                                         float (&s)[4][4]) {
    int id = threadIdx.x, row = id / 4, part = id % 4 * 4;
    float a[4], b[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) s[i][j] = 0;
    load4(q, row, q_rows, dim, part, a);
    load4(k, row, k_rows, dim, part, b);
    for (int d = 0; d < dim; d += STEP) {
        int stage = d / STEP % 2;
#pragma unroll
        for (int i = 0; i < 4; i++) x.q[stage][part + i][row] = a[i], x.k[stage][part + i][row] = b[i];
        __syncthreads(); /* the other stage's readers have passed the barrier of the step before */
        if (d + STEP < dim) {
            load4(q, row, q_rows, dim, d + STEP + part, a);
            load4(k, row, k_rows, dim, d + STEP + part, b);
        }
#pragma unroll
        for (int e = 0; e < STEP; e++) {
            float4 u = *(float4 *)&x.q[stage][e][id / 16 * 4], v = *(float4 *)&x.k[stage][e][id % 16 * 4];
            float qs[4] = {u.x, u.y, u.z, u.w}, ks[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) s[i][j] = fmaf(qs[i], ks[j], s[i][j]);
        }
    }
    __syncthreads();
}

/* Largest value or sum over the 16 threads that share rows. */
__device__ __forceinline__ float row_max(float x) {
    for (int i = 8; i > 0; i /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, i));
    return x;
}
__device__ __forceinline__ float row_sum(float x) {
    for (int i = 8; i > 0; i /= 2) x += __shfl_xor_sync(~0u, x, i);
    return x;
}

template <typename T>
__device__ __forceinline__ const T *keys_of(const kvb_cuda_observation &o, int layer, int kv_head) {
    const char *key, *value;
    find(o.keys, (o.layer + layer) * o.kv_heads + kv_head, key, value);
    return (const T *)key;
}

/* Grid: row tiles, heads, layers. scratch = each row's maximum (times scale, in powers of two) and 1 / sum. */
template <typename T> __global__ void __launch_bounds__(THREADS) statistics(const kvb_cuda_observation o) {
    __shared__ stages shared;
    int head = blockIdx.y, layer = blockIdx.z, first = blockIdx.x * SIDE, id = threadIdx.x;
    int64_t at = ((int64_t)layer * o.heads + head) * o.rows;
    const T *k = keys_of<T>(o, layer, head / (o.heads / o.kv_heads));
    const float *q = o.q + (at + first) * o.head_dim;
    float c = (float)(o.scale * 1.4426950408889634), m[4], l[4] = {};
    int offset = o.n - o.rows + first, rows = min(SIDE, o.rows - first); /* row r sees keys up to offset + r */
    for (int i = 0; i < 4; i++) m[i] = -INFINITY;
    for (int key = 0; key < offset + rows; key += SIDE) {
        float s[4][4];
        products<T>(shared, q, rows, k + (int64_t)key * o.head_dim, o.n - key, o.head_dim, s);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float largest = -INFINITY, total = 0;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                if (key + id % 16 * 4 + j > offset + id / 16 * 4 + i) s[i][j] = -INFINITY;
                largest = fmaxf(largest, s[i][j]);
            }
            float now = fmaxf(m[i], row_max(largest) * c), base = now == -INFINITY ? 0 : now;
#pragma unroll
            for (int j = 0; j < 4; j++) total += power2(fmaf(s[i][j], c, -base));
            l[i] = fmaf(l[i], power2(m[i] - base), row_sum(total));
            m[i] = now;
        }
    }
    if (id % 16 == 0)
        for (int i = 0; i < 4; i++)
            if (id / 16 * 4 + i < rows) {
                float *to = o.scratch + (at + first + id / 16 * 4 + i) * 2;
                to[0] = m[i];
                to[1] = 1.0f / l[i];
            }
}

/* A tile's probabilities from the statistics; 0 where the key comes after the query or one of them does not exist. */
__device__ __forceinline__ void probabilities(const kvb_cuda_observation &o, int64_t at, int first, int key,
                                              float (&s)[4][4]) {
    int id = threadIdx.x;
    float c = (float)(o.scale * 1.4426950408889634);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int row = first + id / 16 * 4 + i;
        float2 of = row < o.rows ? *(const float2 *)(o.scratch + (at + row) * 2) : make_float2(0, 0);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            bool seen = row < o.rows && key + id % 16 * 4 + j <= o.n - o.rows + row;
            s[i][j] = seen ? power2(fmaf(s[i][j], c, -of.x)) * of.y : 0;
        }
    }
}

/* Grid: key tiles, KV heads, layers. */
template <typename T> __global__ void __launch_bounds__(THREADS) received(const kvb_cuda_observation o, float *out) {
    __shared__ stages shared;
    __shared__ float sums[THREADS / 16][SIDE];
    int kv_head = blockIdx.y, layer = blockIdx.z, key = blockIdx.x * SIDE, id = threadIdx.x,
        group = o.heads / o.kv_heads;
    const T *k = keys_of<T>(o, layer, kv_head) + (int64_t)key * o.head_dim;
    float sum[4] = {};
    for (int g = 0; g < group; g++) {
        int64_t at = ((int64_t)layer * o.heads + kv_head * group + g) * o.rows;
        int seen_from = key - (o.n - o.rows); /* first row that sees a key of the tile */
        for (int first = seen_from > 0 ? seen_from / SIDE * SIDE : 0; first < o.rows; first += SIDE) {
            float s[4][4];
            products<T>(shared, o.q + (at + first) * o.head_dim, o.rows - first, k, o.n - key, o.head_dim, s);
            probabilities(o, at, first, key, s);
#pragma unroll
            for (int j = 0; j < 4; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) sum[j] += s[i][j];
        }
    }
    for (int j = 0; j < 4; j++) sums[id / 16][id % 16 * 4 + j] = sum[j];
    __syncthreads();
    if (id >= SIDE || key + id >= o.n) return;
    float total = 0;
    for (int i = 0; i < THREADS / 16; i++) total += sums[i][id];
    out[((int64_t)layer * o.kv_heads + kv_head) * o.n + key + id] = total / (float)group;
}

/* Grid: key tiles * row tiles, heads, layers. */
template <typename T> __global__ void __launch_bounds__(THREADS) window(const kvb_cuda_observation o, float *out) {
    __shared__ stages shared;
    int tiles = (o.n + SIDE - 1) / SIDE, key = blockIdx.x % tiles * SIDE, first = blockIdx.x / tiles * SIDE;
    int head = blockIdx.y, layer = blockIdx.z, id = threadIdx.x;
    int64_t at = ((int64_t)layer * o.heads + head) * o.rows;
    const T *k = keys_of<T>(o, layer, head / (o.heads / o.kv_heads)) + (int64_t)key * o.head_dim;
    float s[4][4];
    products<T>(shared, o.q + (at + first) * o.head_dim, o.rows - first, k, o.n - key, o.head_dim, s);
    probabilities(o, at, first, key, s);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            int row = first + id / 16 * 4 + i, column = key + id % 16 * 4 + j;
            if (row < o.rows && column < o.n) out[(at + row) * o.n + column] = s[i][j];
        }
}

kvb_status check(const kvb_cuda_observation *o, const char *what) {
    if (o->head_dim % STEP || o->kv_heads < 1 || o->heads % o->kv_heads)
        return kvb_fail(KVB_E_UNSUPPORTED, "%s: head_dim %d, %d heads over %d KV heads", what, o->head_dim, o->heads,
                        o->kv_heads);
    if (o->rows < 1 || o->rows > o->n)
        return kvb_fail(KVB_E_ARG, "%s: %d queries of %d tokens, expected 1 to %d", what, o->rows, o->n, o->n);
    if (o->heads > 65535 || o->layers > 65535) return kvb_fail(KVB_E_UNSUPPORTED, "%s: too many heads or layers", what);
    return KVB_OK;
}

template <typename T> kvb_status run_received(const kvb_cuda_observation *o, float *out) {
    cudaStream_t stream = kvb_cuda_stream();
    unsigned rows = (unsigned)(o->rows + SIDE - 1) / SIDE, keys = (unsigned)(o->n + SIDE - 1) / SIDE;
    statistics<T><<<dim3(rows, (unsigned)o->heads, (unsigned)o->layers), THREADS, 0, stream>>>(*o);
    KVB_LAUNCHED("attention statistics");
    received<T><<<dim3(keys, (unsigned)o->kv_heads, (unsigned)o->layers), THREADS, 0, stream>>>(*o, out);
    return kvb_cuda_launched("attention received");
}

template <typename T> kvb_status run_window(const kvb_cuda_observation *o, float *out) {
    cudaStream_t stream = kvb_cuda_stream();
    unsigned rows = (unsigned)(o->rows + SIDE - 1) / SIDE, keys = (unsigned)(o->n + SIDE - 1) / SIDE;
    statistics<T><<<dim3(rows, (unsigned)o->heads, (unsigned)o->layers), THREADS, 0, stream>>>(*o);
    KVB_LAUNCHED("attention statistics");
    window<T><<<dim3(rows * keys, (unsigned)o->heads, (unsigned)o->layers), THREADS, 0, stream>>>(*o, out);
    return kvb_cuda_launched("window attention");
}
} // namespace

kvb_status kvb_cuda_attention_received(const kvb_cuda_observation *o, float *out) {
    KVB_TRY(check(o, "attention received"));
    switch (o->dtype) {
    case KVB_F32:
        return run_received<float>(o, out);
    case KVB_BF16:
        return run_received<__nv_bfloat16>(o, out);
    case KVB_F16:
        return run_received<__half>(o, out);
    default:
        return kvb_fail(KVB_E_UNSUPPORTED, "attention received: keys are f32, bf16 or f16, not dtype %d", o->dtype);
    }
}

kvb_status kvb_cuda_attention_window(const kvb_cuda_observation *o, float *out) {
    KVB_TRY(check(o, "window attention"));
    switch (o->dtype) {
    case KVB_F32:
        return run_window<float>(o, out);
    case KVB_BF16:
        return run_window<__nv_bfloat16>(o, out);
    case KVB_F16:
        return run_window<__half>(o, out);
    default:
        return kvb_fail(KVB_E_UNSUPPORTED, "window attention: keys are f32, bf16 or f16, not dtype %d", o->dtype);
    }
}
