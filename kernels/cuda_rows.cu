/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_rows.cu - embedding, RMSNorm, RoPE with storing, gates, argmax: memory-bound kernels, one row or head each.
 *
 * Sums have a fixed order (a thread's strided elements, then a fixed tree), so a row's bits depend on nothing else.
 * Rejected: fusing a norm into the product before it (cuBLASLt has no such epilogue, and it would save 2 % at 8B).
 */
#include "cuda_convert.cuh"
#include "cuda_early.cuh"
#include "cuda_rows.h"
#include <math_constants.h>

enum { NORM_THREADS = 256, NORM_QUADS = 8, BEST_THREADS = 512 };

template <typename T> struct alignas(4 * sizeof(T)) quad {
    T x[4];
};
template <typename T> struct alignas(2 * sizeof(T)) couple {
    T x[2];
};

/* ---- embedding ---- */

template <typename T>
__global__ void embed_kernel(const kvb_cuda_row *rows, const int32_t *tokens, const T *table, int32_t dim, float scale,
                             float *x) {
    int32_t id = rows[blockIdx.x].id;
    if (id < 0) id = tokens[-id - 1];
    const T *from = table + (int64_t)id * dim;
    float *to = x + (int64_t)blockIdx.x * dim;
    for (int32_t i = threadIdx.x; i < dim; i += blockDim.x) to[i] = to_float(from[i]) * scale;
}

kvb_status kvb_cuda_embed(const kvb_cuda_row *rows, const int32_t *tokens, const void *table, int32_t dtype, int32_t n,
                          int32_t dim, float scale, float *x) {
    KVB_CUDA_TYPED(dtype,
                   (embed_kernel<<<n, 256, 0, kvb_cuda_stream()>>>(rows, tokens, (const T *)table, dim, scale, x)));
    KVB_LAUNCHED("embed");
    return KVB_OK;
}

/* ---- RMSNorm ---- */

/* The same sum in every thread: lanes by a butterfly, warps in order. */
__device__ float block_sum(float x) {
    __shared__ float part[32];
    for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(~0u, x, lane);
    __syncthreads();
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0;
    for (unsigned w = 0; w < blockDim.x / 32; w++) sum += part[w];
    return sum;
}

__device__ float inverse_rms(const float *x, int32_t dim, float eps) {
    float sum = 0;
    for (int32_t i = threadIdx.x; i < dim; i += blockDim.x) sum = fmaf(x[i], x[i], sum);
    return rsqrtf(block_sum(sum) / (float)dim + eps);
}

template <typename T>
__global__ void norm_kernel(const float *x, const int32_t *source, const float *w, T *y, int32_t dim, float eps) {
    const float *from = x + (int64_t)(source ? source[blockIdx.x] : (int32_t)blockIdx.x) * dim;
    T *to = y + (int64_t)blockIdx.x * dim;
    float scale = inverse_rms(from, dim, eps);
    for (int32_t i = threadIdx.x; i < dim; i += blockDim.x) from_float(to + i, from[i] * scale * w[i]);
}

/* The same for rows of whole float4s: read once, 16 bytes at a time. */
template <typename T>
__global__ void __launch_bounds__(NORM_THREADS)
    norm_wide_kernel(const float *x, const int32_t *source, const float *w, T *y, int32_t dim, float eps) {
    const float4 *from = (const float4 *)(x + (int64_t)(source ? source[blockIdx.x] : (int32_t)blockIdx.x) * dim);
    quad<T> *to = (quad<T> *)(y + (int64_t)blockIdx.x * dim);
    float4 v[NORM_QUADS];
    float sum = 0;
#pragma unroll
    for (int j = 0; j < NORM_QUADS; j++) {
        int i = threadIdx.x + j * NORM_THREADS;
        v[j] = i < dim / 4 ? from[i] : make_float4(0, 0, 0, 0);
    }
#pragma unroll
    for (int j = 0; j < NORM_QUADS; j++)
        sum = fmaf(v[j].x, v[j].x, fmaf(v[j].y, v[j].y, fmaf(v[j].z, v[j].z, fmaf(v[j].w, v[j].w, sum))));
    float scale = rsqrtf(block_sum(sum) / (float)dim + eps);
#pragma unroll
    for (int j = 0; j < NORM_QUADS; j++) {
        int i = threadIdx.x + j * NORM_THREADS;
        if (i >= dim / 4) break;
        float4 by = ((const float4 *)w)[i];
        quad<T> out;
        from_float(out.x, v[j].x * scale * by.x);
        from_float(out.x + 1, v[j].y * scale * by.y);
        from_float(out.x + 2, v[j].z * scale * by.z);
        from_float(out.x + 3, v[j].w * scale * by.w);
        to[i] = out;
    }
}

template <typename T>
void norm_rows(const float *x, const int32_t *source, const float *w, T *y, int32_t n, int32_t dim, float eps) {
    bool wide = dim % 4 == 0 && dim <= 4 * NORM_QUADS * NORM_THREADS && (uintptr_t)w % 16 == 0;
    if (wide)
        norm_wide_kernel<<<n, NORM_THREADS, 0, kvb_cuda_stream()>>>(x, source, w, y, dim, eps);
    else
        norm_kernel<<<n, NORM_THREADS, 0, kvb_cuda_stream()>>>(x, source, w, y, dim, eps);
}

kvb_status kvb_cuda_norm_rows(const float *x, const int32_t *source, const float *w, void *y, int32_t y_dtype,
                              int32_t n, int32_t dim, float eps) {
    KVB_CUDA_TYPED(y_dtype, norm_rows(x, source, w, (T *)y, n, dim, eps));
    KVB_LAUNCHED("rmsnorm");
    return KVB_OK;
}

__global__ void add_norm_kernel(float *x, const float *y, const float *w, int32_t dim, float eps) {
    const float *from = y + (int64_t)blockIdx.x * dim;
    float *to = x + (int64_t)blockIdx.x * dim, scale = inverse_rms(from, dim, eps);
    for (int32_t i = threadIdx.x; i < dim; i += blockDim.x) to[i] += from[i] * scale * w[i];
}

kvb_status kvb_cuda_add_norm_rows(float *x, const float *y, const float *w, int32_t n, int32_t dim, float eps) {
    add_norm_kernel<<<n, NORM_THREADS, 0, kvb_cuda_stream()>>>(x, y, w, dim, eps);
    KVB_LAUNCHED("add rmsnorm");
    return KVB_OK;
}

__global__ void observe_hidden_kernel(const kvb_cuda_observer *observers, const float *x, const float *w, int32_t level,
                                      int32_t dim, float eps) {
    const kvb_cuda_observer o = observers[blockIdx.x];
    if (!o.hidden) return;
    const float *from = x + (int64_t)blockIdx.x * dim;
    float *to = o.hidden + level * o.hidden_level, scale = w ? inverse_rms(from, dim, eps) : 1;
    for (int32_t i = threadIdx.x; i < dim; i += blockDim.x) to[i] = w ? from[i] * scale * w[i] : from[i];
}

kvb_status kvb_cuda_observe_hidden(const kvb_cuda_observer *observers, const float *x, const float *w, int32_t level,
                                   int32_t n, int32_t dim, float eps) {
    observe_hidden_kernel<<<n, NORM_THREADS, 0, kvb_cuda_stream()>>>(observers, x, w, level, dim, eps);
    KVB_LAUNCHED("observe_hidden");
    return KVB_OK;
}

/* ---- heads: norm, RoPE, storing ---- */

__device__ float warp_sum(float x) {
    for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(~0u, x, lane);
    return x;
}

/* One warp per (row, head of q, k or v). A lane holds the elements i and i + head_dim / 2 of two neighbouring pairs, and
 * again 64 pairs further on: enough for head_dim 256. */
template <typename T> __global__ void place_kernel(kvb_cuda_place p) {
    const int32_t lane = threadIdx.x % 32, head = blockIdx.y * (blockDim.x / 32) + threadIdx.x / 32, r = blockIdx.x;
    const int32_t heads = p.heads + 2 * p.kv_heads, half = p.head_dim / 2;
    let_successor_start();
    wait_for_predecessor();
    if (head >= heads) return;
    const kvb_cuda_row row = p.rows[r];
    const float *from = p.qkv + ((int64_t)r * heads + head) * p.head_dim;
    const bool is_q = head < p.heads, is_v = head >= p.heads + p.kv_heads;
    const float *norm = is_q ? p.q_norm : is_v ? NULL : p.k_norm;
    couple<float> a[2], b[2];
    float sum = 0;
    for (int32_t j = 0; j < 2; j++) {
        int32_t i = 2 * lane + 64 * j;
        a[j] = i < half ? *(const couple<float> *)(from + i) : couple<float>{};
        b[j] = i < half ? *(const couple<float> *)(from + half + i) : couple<float>{};
        for (int32_t k = 0; k < 2; k++) sum = fmaf(a[j].x[k], a[j].x[k], fmaf(b[j].x[k], b[j].x[k], sum));
    }
    if (norm) {
        float scale = rsqrtf(warp_sum(sum) / (float)p.head_dim + p.eps);
        for (int32_t j = 0; j < 2; j++) {
            int32_t i = 2 * lane + 64 * j;
            if (i >= half) continue;
            for (int32_t k = 0; k < 2; k++) {
                a[j].x[k] = a[j].x[k] * scale * norm[i + k];
                b[j].x[k] = b[j].x[k] * scale * norm[half + i + k];
            }
        }
    }
    T *to;
    if (is_q) {
        to = (T *)p.q + ((int64_t)r * p.heads + head) * p.head_dim;
        if (p.observers && p.observers[r].queries) {
            const kvb_cuda_observer o = p.observers[r];
            float *seen = o.queries + ((int64_t)p.layer * p.heads + head) * o.query_head;
            for (int32_t j = 0; j < 2; j++) {
                int32_t i = 2 * lane + 64 * j;
                if (i >= half) continue;
                *(couple<float> *)(seen + i) = a[j];
                *(couple<float> *)(seen + half + i) = b[j];
            }
        }
    } else {
        const kvb_cuda_lanes own = p.seqs[row.seq].own;
        int32_t kv = head - p.heads - (is_v ? p.kv_heads : 0);
        int64_t i = (int64_t)p.layer * p.kv_heads + kv;
        to = (T *)(own.base + 2 * i * own.room + (is_v ? own.room : 0)) + (int64_t)row.index * p.head_dim;
    }
    const float *temperature = is_q ? p.seqs[row.seq].temperature : NULL;
    const float factor = temperature ? temperature[p.layer] : 1;
    const float *cosine = p.cos + (int64_t)row.position * half, *sine = p.sin + (int64_t)row.position * half;
    for (int32_t j = 0; j < 2; j++) {
        int32_t i = 2 * lane + 64 * j;
        if (i >= half) continue;
        couple<T> x, y;
        couple<float> c = {{1, 1}}, s = {{0, 0}};
        if (!is_v) c = *(const couple<float> *)(cosine + i), s = *(const couple<float> *)(sine + i);
        for (int32_t k = 0; k < 2; k++) {
            float u = a[j].x[k], v = b[j].x[k];
            if (!is_v) {
                u = a[j].x[k] * c.x[k] - b[j].x[k] * s.x[k];
                v = b[j].x[k] * c.x[k] + a[j].x[k] * s.x[k];
            }
            from_float(x.x + k, u * factor);
            from_float(y.x + k, v * factor);
        }
        *(couple<T> *)(to + i) = x;
        *(couple<T> *)(to + half + i) = y;
    }
}

kvb_status kvb_cuda_place_rows(const kvb_cuda_place *p) {
    enum { WARPS = 8 };
    if (p->head_dim > 256) return kvb_fail(KVB_E_UNSUPPORTED, "cuda: head_dim is %d, up to 256 is built", p->head_dim);
    if (p->head_dim % 4)
        return kvb_fail(KVB_E_UNSUPPORTED, "cuda: head_dim is %d, multiples of 4 are built", p->head_dim);
    dim3 grid((unsigned)p->n, (unsigned)((p->heads + 2 * p->kv_heads + WARPS - 1) / WARPS));
    if (p->n == 1) {
        KVB_CUDA_TYPED(p->dtype, KVB_CUDA_TRY(launch_early(place_kernel<T>, grid, 32 * WARPS, 0, *p)));
    } else
        KVB_CUDA_TYPED(p->dtype, (place_kernel<T><<<grid, 32 * WARPS, 0, kvb_cuda_stream()>>>(*p)));
    KVB_LAUNCHED("place");
    return KVB_OK;
}

/* ---- gates ---- */

/* SiLU, or the tanh form of GELU: x / (1 + e^-u) with u = 2 sqrt(2 / pi) (x + 0.044715 x^3). */
template <bool GELU> __device__ __forceinline__ float activate(float x) {
    float u = GELU ? 1.59576912160573071f * (x + 0.044715f * x * x * x) : x;
    return x / (1 + expf(-u));
}

template <typename T> struct alignas(16) pack {
    T x[16 / sizeof(T)];
};

template <typename T, bool GELU> __global__ void gate_kernel(const T *x, T *y, int64_t packs, int32_t dim) {
    enum { N = 16 / sizeof(T) };
    const int32_t per_row = dim / N;
    int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= packs) return;
    int64_t row = at / per_row, i = (at % per_row) * N;
    pack<T> g = *(const pack<T> *)(x + row * 2 * dim + i), u = *(const pack<T> *)(x + row * 2 * dim + dim + i), out;
    for (int j = 0; j < N; j++) from_float(out.x + j, activate<GELU>(to_float(g.x[j])) * to_float(u.x[j]));
    *(pack<T> *)(y + row * dim + i) = out;
}

template <typename T, bool GELU> __global__ void gate_plain_kernel(const T *x, T *y, int64_t n, int32_t dim) {
    int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= n) return;
    int64_t row = at / dim, i = at % dim;
    from_float(y + at, activate<GELU>(to_float(x[row * 2 * dim + i])) * to_float(x[row * 2 * dim + dim + i]));
}

template <typename T, bool GELU> void gate_rows(const T *x, T *y, int64_t elements, int32_t dim) {
    enum { N = 16 / sizeof(T) };
    bool aligned = dim % N == 0;
    int64_t work = aligned ? elements / N : elements;
    unsigned blocks = (unsigned)((work + 255) / 256);
    if (aligned)
        gate_kernel<T, GELU><<<blocks, 256, 0, kvb_cuda_stream()>>>(x, y, work, dim);
    else
        gate_plain_kernel<T, GELU><<<blocks, 256, 0, kvb_cuda_stream()>>>(x, y, work, dim);
}

kvb_status kvb_cuda_gate_rows(const void *x, void *y, int32_t dtype, int64_t n, int32_t dim, int32_t activation) {
    int64_t elements = n * dim;
    if (elements == 0) return KVB_OK;
    KVB_CUDA_TYPED(dtype, if (activation == KVB_GELU)(gate_rows<T, true>((const T *)x, (T *)y, elements, dim));
                   else (gate_rows<T, false>((const T *)x, (T *)y, elements, dim)));
    KVB_LAUNCHED("gate");
    return KVB_OK;
}

/* ---- argmax ---- */

struct top {
    float best, second;
    int32_t at;
};

/* The larger of two, the earlier index on a tie; the other one competes for second. */
__device__ top merge(top a, top b) {
    bool a_wins = a.best > b.best || (a.best == b.best && a.at <= b.at);
    top w = a_wins ? a : b, l = a_wins ? b : a;
    w.second = fmaxf(w.second, l.best);
    return w;
}

__global__ void best_kernel(const float *logits, int32_t columns, int32_t *best, float *margin, const int32_t *slot,
                            int32_t *tokens) {
    __shared__ top part[BEST_THREADS / 32];
    const float *x = logits + (int64_t)blockIdx.x * columns;
    top t = {-CUDART_INF_F, -CUDART_INF_F, INT32_MAX};
    for (int32_t i = threadIdx.x; i < columns; i += blockDim.x) {
        float v = x[i];
        if (v > t.best)
            t.second = t.best, t.best = v, t.at = i;
        else if (v > t.second)
            t.second = v;
    }
    for (int lane = 16; lane > 0; lane /= 2) {
        top other = {__shfl_xor_sync(~0u, t.best, lane), __shfl_xor_sync(~0u, t.second, lane),
                     __shfl_xor_sync(~0u, t.at, lane)};
        t = merge(t, other);
    }
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = t;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int w = 1; w < BEST_THREADS / 32; w++) t = merge(t, part[w]);
    if (t.at == INT32_MAX) t.at = 0;
    best[blockIdx.x] = t.at;
    margin[blockIdx.x] = t.best - t.second;
    if (slot && slot[blockIdx.x] >= 0) tokens[slot[blockIdx.x]] = t.at;
}

kvb_status kvb_cuda_best_rows(const float *logits, int32_t n, int32_t columns, int32_t *best, float *margin,
                              const int32_t *slot, int32_t *tokens) {
    best_kernel<<<n, BEST_THREADS, 0, kvb_cuda_stream()>>>(logits, columns, best, margin, slot, tokens);
    KVB_LAUNCHED("argmax");
    return KVB_OK;
}

/* ---- noise and comparing, for random weights and proofs ---- */

template <typename T> __global__ void noise_kernel(T *y, int64_t n, uint64_t seed, int64_t first, float scale) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint64_t z = seed + (uint64_t)(first + i + 1) * 0x9e3779b97f4a7c15u; /* as core/ref/uniform.c */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    from_float(y + i, ((float)(z >> 40) * 0x1p-23f - 1) * scale);
}

kvb_status kvb_cuda_noise(void *y, int32_t dtype, int64_t n, uint64_t seed, int64_t first, float scale) {
    if (n == 0) return KVB_OK;
    KVB_CUDA_TYPED(dtype, (noise_kernel<<<(unsigned)((n + 255) / 256), 256, 0, kvb_cuda_stream()>>>((T *)y, n, seed,
                                                                                                    first, scale)));
    KVB_LAUNCHED("noise");
    return KVB_OK;
}

__global__ void compare_kernel(const uint32_t *a, const uint32_t *b, int64_t n, int32_t *differences) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n && a[i] != b[i]) atomicAdd(differences, 1); /* a count: the order does not matter */
}

kvb_status kvb_cuda_compare(const void *a, const void *b, int64_t words, int32_t *differences) {
    if (words == 0) return KVB_OK;
    compare_kernel<<<(unsigned)((words + 255) / 256), 256, 0, kvb_cuda_stream()>>>((const uint32_t *)a,
                                                                                   (const uint32_t *)b, words,
                                                                                   differences);
    KVB_LAUNCHED("compare");
    return KVB_OK;
}
