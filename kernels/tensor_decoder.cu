/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_decoder.cu - the decoder's ops as ops: the plain versions that measures and tests call.
 *
 * The engine's steps have fused kernels of their own; these take any strides and are judged like every other op.
 * Attention follows docs/numerics.md: tiles of 64 keys in order, one online softmax, a tile without a kept key changes
 * nothing.
 */
#include "tensor.cuh"
#include <math_constants.h>

using namespace kvb;

namespace {

struct matrix {
    void *p;
    int64_t row, column;
    int dtype;
    explicit matrix(const kvb_tensor *t) : p(t->data), row(t->stride[0]), column(t->stride[1]), dtype(t->dtype) {}
    __device__ float at(int64_t r, int64_t c) const {
        int64_t i = r * row + c * column;
        return dtype == KVB_BF16 ? __uint_as_float((uint32_t)((const uint16_t *)p)[i] << 16) : ((const float *)p)[i];
    }
    __device__ void put(int64_t r, int64_t c, float v) const;
};

__device__ uint16_t bf16_of(float x) {
    uint32_t u = __float_as_uint(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 0x40);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
__device__ float rounded(float x) { return __uint_as_float((uint32_t)bf16_of(x) << 16); }

__device__ void matrix::put(int64_t r, int64_t c, float v) const {
    int64_t i = r * row + c * column;
    if (dtype == KVB_BF16) ((uint16_t *)p)[i] = bf16_of(v);
    else ((float *)p)[i] = v;
}

__device__ double block_sum(double v) {
    __shared__ double part[8];
#pragma unroll
    for (int step = 16; step; step /= 2) v += __shfl_xor_sync(~0u, v, step);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    v = 0;
    for (int w = 0; w < 8; w++) v += part[w];
    __syncthreads();
    return v;
}

__global__ void __launch_bounds__(256)
    rmsnorm(matrix x, const float *w, int64_t step_w, matrix y, int64_t dim, double eps) {
    int64_t r = blockIdx.x;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < dim; i += 256) sum += (double)x.at(r, i) * (double)x.at(r, i);
    double scale = 1 / sqrt(block_sum(sum) / (double)dim + eps);
    for (int64_t i = threadIdx.x; i < dim; i += 256)
        y.put(r, i, (float)((double)x.at(r, i) * scale * (double)w[i * step_w]));
}

/* A warp per output. */
__global__ void __launch_bounds__(256) linear(matrix x, matrix w, const float *bias, int64_t step_bias, matrix y,
                                              int64_t in, int64_t out) {
    int64_t o = (int64_t)blockIdx.y * 8 + threadIdx.x / 32, r = blockIdx.x;
    if (o >= out) return;
    double sum = 0;
    for (int64_t i = threadIdx.x % 32; i < in; i += 32)
        sum += (double)x.at(r, i) * (double)(x.dtype == KVB_BF16 ? rounded(w.at(o, i)) : w.at(o, i));
#pragma unroll
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (threadIdx.x % 32 == 0) y.put(r, o, (float)(bias ? sum + (double)bias[o * step_bias] : sum));
}

__global__ void __launch_bounds__(256) silu_mul(matrix x, matrix y, int64_t dim) {
    for (int64_t i = threadIdx.x; i < dim; i += 256) {
        float g = x.at(blockIdx.x, i), u = x.at(blockIdx.x, dim + i);
        y.put(blockIdx.x, i, g / (1.0f + expf(-g)) * u);
    }
}

__global__ void __launch_bounds__(256) gelu_mul(matrix x, matrix y, int64_t dim) {
    for (int64_t i = threadIdx.x; i < dim; i += 256) {
        float g = x.at(blockIdx.x, i), u = x.at(blockIdx.x, dim + i);
        y.put(blockIdx.x, i, g / (1.0f + expf(-1.59576912160573071f * (g + 0.044715f * g * g * g))) * u);
    }
}

struct rotation {
    float *x;
    int64_t row, head, channel;
    matrix cos, sin;
    const int32_t *position;
    int64_t step_position, heads, half, positions;
};

__global__ void __launch_bounds__(256) check_positions(rotation s, int64_t rows, unsigned long long *error) {
    int64_t r = (int64_t)blockIdx.x * 256 + threadIdx.x;
    if (r >= rows) return;
    int32_t p = s.position[r * s.step_position];
    if (p < 0 || p >= s.positions) atomicMin(error, (unsigned long long)r);
}

__global__ void __launch_bounds__(256) rope(rotation s) {
    int64_t r = blockIdx.x, p = s.position[r * s.step_position];
    for (int64_t i = threadIdx.x % 32; i < s.half; i += 32) { /* a warp has every eighth head */
        float c1 = s.cos.at(p, i), c2 = s.cos.at(p, s.half + i), s1 = s.sin.at(p, i), s2 = s.sin.at(p, s.half + i);
#pragma unroll 4
        for (int64_t h = threadIdx.x / 32; h < s.heads; h += 8) {
            float *a = s.x + r * s.row + h * s.head + i * s.channel, *b = a + s.half * s.channel;
            float x1 = *a, x2 = *b;
            *a = x1 * c1 - x2 * s1;
            *b = x2 * c2 + x1 * s2;
        }
    }
}

struct candidate {
    float value, second;
    int64_t index;
    __device__ void see(const candidate &t) { /* t lies behind, or beside: the lower index wins a tie */
        bool wins = t.value > value || (t.value == value && t.index < index);
        second = wins ? (value > t.second ? value : t.second) : (t.value > second ? t.value : second);
        if (wins) {
            value = t.value;
            index = t.index;
        }
    }
};

__global__ void __launch_bounds__(256) argmax_margin(matrix x, int64_t n, int32_t *index, int64_t step_index,
                                                     float *margin, int64_t step_margin) {
    __shared__ candidate part[256];
    candidate mine = {-CUDART_INF_F, -CUDART_INF_F, INT64_MAX};
    for (int64_t i = threadIdx.x; i < n; i += 256) {
        candidate one = {x.at(blockIdx.x, i), -CUDART_INF_F, i};
        mine.see(one);
    }
    part[threadIdx.x] = mine;
    for (int step = 128; step; step /= 2) {
        __syncthreads();
        if (threadIdx.x < step) part[threadIdx.x].see(part[threadIdx.x + step]);
    }
    if (threadIdx.x) return;
    index[blockIdx.x * step_index] = part[0].index == INT64_MAX ? 0 : (int32_t)part[0].index;
    margin[blockIdx.x * step_margin] = part[0].value - part[0].second;
}

struct cube {
    const void *p;
    int64_t a, b, c;
    explicit cube(const kvb_tensor *t) : p(t->data), a(t->stride[0]), b(t->stride[1]), c(t->stride[2]) {}
    __device__ float at(int64_t i, int64_t j, int64_t k) const {
        return ((const float *)p)[i * a + j * b + k * c];
    }
    __device__ bool kept(int64_t i, int64_t j, int64_t k) const {
        return ((const uint8_t *)p)[i * a + j * b + k * c] != 0;
    }
};

enum { TILE = KVB_TILE };

/* A block per (row, head), a thread per key of a tile for the scores, per channel for the sums. */
__global__ void __launch_bounds__(TILE) attention(cube q, cube k, cube v, cube mask, cube y, int64_t keys, int64_t dim,
                                                  int64_t group, float scale, bool bf16) {
    extern __shared__ float shared[];
    float *query = shared, *sum = query + dim, *p = sum + dim;
    int64_t r = blockIdx.x, h = blockIdx.y, g = h / group;
    for (int64_t i = threadIdx.x; i < dim; i += TILE) {
        float x = q.at(r, h, i);
        query[i] = bf16 ? rounded(x) : x;
        sum[i] = 0;
    }
    float largest = -CUDART_INF_F, total = 0;
    for (int64_t base = 0; base < keys; base += TILE) {
        int64_t j = base + threadIdx.x;
        float score = -CUDART_INF_F;
        __syncthreads();
        if (j < keys && mask.kept(r, g, j)) {
            float dot = 0;
            for (int64_t i = 0; i < dim; i++) {
                float x = k.at(g, j, i);
                dot = fmaf(query[i], bf16 ? rounded(x) : x, dot);
            }
            score = dot * scale;
        }
        p[threadIdx.x] = score;
        __syncthreads();
        float best = largest;
        for (int i = 0; i < TILE; i++) best = fmaxf(best, p[i]);
        if (best == -CUDART_INF_F) continue;
        float factor = expf(largest - best), mine = score == -CUDART_INF_F ? 0 : expf(score - best);
        __syncthreads();
        p[threadIdx.x] = mine;
        __syncthreads();
        total *= factor;
        for (int i = 0; i < TILE; i++) total += p[i];
        largest = best;
        for (int64_t i = threadIdx.x; i < dim; i += TILE) {
            float acc = sum[i] * factor;
            for (int t = 0; t < TILE && base + t < keys; t++) {
                if (p[t] == 0) continue;
                float x = v.at(g, base + t, i);
                acc = fmaf(bf16 ? rounded(p[t]) : p[t], bf16 ? rounded(x) : x, acc);
            }
            sum[i] = acc;
        }
    }
    for (int64_t i = threadIdx.x; i < dim; i += TILE)
        ((float *)y.p)[r * y.a + h * y.b + i * y.c] = total > 0 ? sum[i] / total : 0;
}

} // namespace

kvb_status cuda_rmsnorm(const kvb_tensor *x, const kvb_tensor *w, kvb_tensor *y, double eps) {
    KVB_TRY(ref_check_rmsnorm(x, w, y));
    if (x->shape[0] == 0) return KVB_OK;
    rmsnorm<<<(unsigned)x->shape[0], 256, 0, kvb_cuda_stream()>>>(matrix(x), (const float *)w->data, w->stride[0],
                                                                  matrix(y), x->shape[1], eps);
    return kvb_cuda_launched("rmsnorm");
}

kvb_status cuda_linear(const kvb_tensor *x, const kvb_tensor *w, const kvb_tensor *bias, kvb_tensor *y) {
    KVB_TRY(ref_check_linear(x, w, bias, y));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    dim3 grid((unsigned)x->shape[0], blocks_of(w->shape[0], 8));
    linear<<<grid, 256, 0, kvb_cuda_stream()>>>(matrix(x), matrix(w), bias ? (const float *)bias->data : NULL,
                                                bias ? bias->stride[0] : 0, matrix(y), x->shape[1], w->shape[0]);
    return kvb_cuda_launched("linear");
}

kvb_status cuda_silu_mul(const kvb_tensor *x, kvb_tensor *y) {
    KVB_TRY(ref_check_silu_mul(x, y));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    silu_mul<<<(unsigned)x->shape[0], 256, 0, kvb_cuda_stream()>>>(matrix(x), matrix(y), y->shape[1]);
    return kvb_cuda_launched("silu_mul");
}

kvb_status cuda_gelu_mul(const kvb_tensor *x, kvb_tensor *y) {
    KVB_TRY(ref_check_gelu_mul(x, y));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    gelu_mul<<<(unsigned)x->shape[0], 256, 0, kvb_cuda_stream()>>>(matrix(x), matrix(y), y->shape[1]);
    return kvb_cuda_launched("gelu_mul");
}

kvb_status cuda_rope(kvb_tensor *x, const kvb_tensor *cos, const kvb_tensor *sin, const kvb_tensor *position) {
    KVB_TRY(ref_check_rope(x, cos, sin, position));
    int64_t rows = x->shape[0];
    if (rows == 0) return KVB_OK;
    rotation s = {(float *)x->data, x->stride[0], x->stride[1], x->stride[2], matrix(cos), matrix(sin),
                  (const int32_t *)position->data, position->stride[0], x->shape[1], x->shape[2] / 2, cos->shape[0]};
    first_error outside;
    KVB_TRY(outside.clear());
    check_positions<<<blocks_of(rows, 256), 256, 0, kvb_cuda_stream()>>>(s, rows, outside.word());
    KVB_LAUNCHED("rope");
    int64_t at;
    KVB_TRY(outside.read(&at));
    if (at >= 0) {
        int32_t p = 0;
        KVB_TRY(kvb_cuda_download(&p, s.position + at * s.step_position, sizeof p));
        return ref_fail_position(at, p, s.positions);
    }
    rope<<<(unsigned)rows, 256, 0, kvb_cuda_stream()>>>(s);
    return kvb_cuda_launched("rope");
}

kvb_status cuda_argmax_margin(const kvb_tensor *x, kvb_tensor *index, kvb_tensor *margin) {
    KVB_TRY(ref_check_argmax_margin(x, index, margin));
    if (x->shape[0] == 0) return KVB_OK;
    argmax_margin<<<(unsigned)x->shape[0], 256, 0, kvb_cuda_stream()>>>(
        matrix(x), x->shape[1], (int32_t *)index->data, index->stride[0], (float *)margin->data, margin->stride[0]);
    return kvb_cuda_launched("argmax_margin");
}

kvb_status cuda_attention(const kvb_tensor *q, const kvb_tensor *k, const kvb_tensor *v, const kvb_tensor *mask,
                          kvb_tensor *y, double scale, int32_t bf16) {
    KVB_TRY(ref_check_attention(q, k, v, mask, y));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    int64_t dim = q->shape[2];
    dim3 grid((unsigned)q->shape[0], (unsigned)q->shape[1]);
    attention<<<grid, TILE, (size_t)(2 * dim + TILE) * sizeof(float), kvb_cuda_stream()>>>(
        cube(q), cube(k), cube(v), cube(mask), cube(y), k->shape[1], dim, q->shape[1] / k->shape[0], (float)scale,
        bf16 != 0);
    return kvb_cuda_launched("attention");
}
