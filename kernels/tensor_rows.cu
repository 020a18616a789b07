/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_rows.cu - ops that turn a slice into a slice: softmax, running sums, pooling.
 *
 * Where the slice is dense, a warp or a block works on one and keeps it in registers between passes (rows up to 8,192);
 * where neighbouring slices lie next to each other, a thread walks down one. Sums are kept in double.
 */
#include "tensor.cuh"
#include <math_constants.h>

using namespace kvb;

namespace {

struct slices {
    const float *x;
    float *y;
    int64_t n, step_x, step_y;
    plan<2> at;
};

slices slices_of(const kvb_tensor *x, kvb_tensor *y, int32_t dim) {
    kvb_tensor x0 = ref_drop_dim(x, dim), y0 = ref_drop_dim(y, dim);
    const kvb_tensor *const t[2] = {&x0, &y0};
    return {(const float *)x->data, (float *)y->data, x->shape[dim], x->stride[dim], y->stride[dim], plan_of(t)};
}

/* Neighbouring slices lie closer than the elements of one. */
bool by_column(const slices &s) {
    int64_t across = s.at.stride[0][s.at.ndim - 1];
    return s.n > 1 && across > 0 && across < s.step_x && s.at.count >= 32;
}

template <class T, class F> __device__ T warp_all(T v, F combine) {
#pragma unroll
    for (int step = 16; step; step /= 2) v = combine(v, __shfl_xor_sync(~0u, v, step));
    return v;
}

template <int WARPS, class T, class F> __device__ T block_all(T v, F combine) {
    v = warp_all(v, combine);
    if (WARPS == 1) return v;
    __shared__ T part[WARPS], total;
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < WARPS; w++) v = combine(v, part[w]);
        total = v;
    }
    __syncthreads();
    return total;
}

/* ---- softmax ---- */

__device__ float larger(float a, float b) { return !(b <= a) ? b : a; }

struct larger_of {
    __device__ float operator()(float a, float b) const { return larger(a, b); }
};
struct sum_of {
    __device__ double operator()(double a, double b) const { return a + b; }
};

/* A slice per WARPS warps, PER elements per lane, four neighbours at a time if WIDE. With one warp, a block holds four
 * slices. */
template <int WARPS, int PER, bool WIDE>
__global__ void __launch_bounds__(WARPS == 1 ? 128 : WARPS * 32) softmax_row(slices s) {
    constexpr int LANES = WARPS * 32;
    uint32_t r = WARPS == 1 ? blockIdx.x * 4 + threadIdx.x / 32 : blockIdx.x;
    if (r >= s.at.count) return;
    int64_t at[2];
    s.at.locate(r, at);
    const float *x = s.x + at[0];
    float *y = s.y + at[1], largest = -CUDART_INF_F;
    __align__(16) float v[PER];
    int lane = WARPS == 1 ? threadIdx.x % 32 : threadIdx.x;
    /* Element k of a lane: (lane + k * LANES), or within groups of four. */
    auto index = [&](int k) { return WIDE ? (lane + k / 4 * LANES) * 4 + k % 4 : lane + k * LANES; };
#pragma unroll
    for (int k = 0; k < PER; k += WIDE ? 4 : 1) {
        int64_t i = index(k);
        if (WIDE) *(float4 *)(v + k) = i < s.n ? *(const float4 *)(x + i) : make_float4(0, 0, 0, 0);
        else v[k] = i < s.n ? x[i * s.step_x] : 0;
    }
#pragma unroll
    for (int k = 0; k < PER; k++)
        if (index(k) < s.n) largest = larger(largest, v[k]);
    largest = block_all<WARPS>(largest, larger_of());
    double total = 0;
#pragma unroll
    for (int k = 0; k < PER; k++) {
        if (index(k) >= s.n) continue;
        v[k] = expf(v[k] - largest);
        total += (double)v[k];
    }
    total = block_all<WARPS>(total, sum_of());
    float scale = (float)(1 / total);
#pragma unroll
    for (int k = 0; k < PER; k++) v[k] *= scale;
#pragma unroll
    for (int k = 0; k < PER; k += WIDE ? 4 : 1) {
        int64_t i = index(k);
        if (i >= s.n) continue;
        if (WIDE) *(float4 *)(y + i) = *(const float4 *)(v + k);
        else y[i * s.step_y] = v[k];
    }
}

template <bool WIDE> void softmax_rows(const slices &s) {
    cudaStream_t stream = kvb_cuda_stream();
    uint32_t rows = s.at.count;
    if (s.n <= 128) softmax_row<1, 4, WIDE><<<blocks_of(rows, 4), 128, 0, stream>>>(s);
    else if (s.n <= 512) softmax_row<1, 16, WIDE><<<blocks_of(rows, 4), 128, 0, stream>>>(s);
    else if (s.n <= 1024) softmax_row<4, 8, WIDE><<<rows, 128, 0, stream>>>(s);
    else if (s.n <= 2048) softmax_row<4, 16, WIDE><<<rows, 128, 0, stream>>>(s);
    else softmax_row<8, 32, WIDE><<<rows, 256, 0, stream>>>(s);
}

/* Rows of a multiple of four dense elements, each aligned. */
bool four_wide(const slices &s) {
    bool fits = s.step_x == 1 && s.step_y == 1 && s.n % 4 == 0 && (uintptr_t)s.x % 16 == 0 && (uintptr_t)s.y % 16 == 0;
    for (int d = 0; d < s.at.ndim && fits; d++) fits = s.at.stride[0][d] % 4 == 0 && s.at.stride[1][d] % 4 == 0;
    return fits;
}

__global__ void __launch_bounds__(256) softmax_long(slices s) {
    int64_t at[2];
    s.at.locate(blockIdx.x, at);
    const float *x = s.x + at[0];
    float *y = s.y + at[1], largest = -CUDART_INF_F;
    for (int64_t i = threadIdx.x; i < s.n; i += 256) largest = larger(largest, x[i * s.step_x]);
    largest = block_all<8>(largest, larger_of());
    double total = 0;
    for (int64_t i = threadIdx.x; i < s.n; i += 256) total += (double)expf(x[i * s.step_x] - largest);
    total = block_all<8>(total, sum_of());
    float scale = (float)(1 / total);
    for (int64_t i = threadIdx.x; i < s.n; i += 256) y[i * s.step_y] = expf(x[i * s.step_x] - largest) * scale;
}

__global__ void __launch_bounds__(128) softmax_column(slices s) {
    uint32_t r = blockIdx.x * 128 + threadIdx.x;
    if (r >= s.at.count) return;
    int64_t at[2];
    s.at.locate(r, at);
    const float *x = s.x + at[0];
    float *y = s.y + at[1], largest = -CUDART_INF_F;
    for (int64_t i = 0; i < s.n; i++) largest = larger(largest, x[i * s.step_x]);
    double total = 0;
    for (int64_t i = 0; i < s.n; i++) total += (double)expf(x[i * s.step_x] - largest);
    float scale = (float)(1 / total);
    for (int64_t i = 0; i < s.n; i++) y[i * s.step_y] = expf(x[i * s.step_x] - largest) * scale;
}

/* ---- running sums ---- */

/* A block per slice, 256 elements at a time; the total so far is carried on. */
__global__ void __launch_bounds__(256) cumsum_row(slices s) {
    __shared__ double part[8];
    int64_t at[2];
    s.at.locate(blockIdx.x, at);
    const float *x = s.x + at[0];
    float *y = s.y + at[1];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    double carried = 0;
    for (int64_t base = 0; base < s.n; base += 256) {
        int64_t i = base + threadIdx.x;
        double v = i < s.n ? (double)x[i * s.step_x] : 0;
#pragma unroll
        for (int step = 1; step < 32; step *= 2) {
            double before = __shfl_up_sync(~0u, v, step);
            if (lane >= step) v += before;
        }
        if (lane == 31) part[warp] = v;
        __syncthreads();
        double offset = carried;
        for (int w = 0; w < 8; w++) {
            if (w < warp) offset += part[w];
            carried += part[w];
        }
        if (i < s.n) y[i * s.step_y] = (float)(offset + v);
        __syncthreads();
    }
}

__global__ void __launch_bounds__(128) cumsum_column(slices s) {
    uint32_t r = blockIdx.x * 128 + threadIdx.x;
    if (r >= s.at.count) return;
    int64_t at[2];
    s.at.locate(r, at);
    double total = 0;
    for (int64_t i = 0; i < s.n; i++) {
        total += (double)s.x[at[0] + i * s.step_x];
        s.y[at[1] + i * s.step_y] = (float)total;
    }
}

/* ---- pooling ---- */

__global__ void __launch_bounds__(256) pool(plan<2> p, const float *x, float *y, int64_t n, int64_t step_x, int64_t m,
                                            int kind, int kernel, int step, int padding, int include_pad) {
    uint32_t i = blockIdx.x * 256 + threadIdx.x;
    if (i >= p.count) return;
    int64_t at[2];
    p.locate(i, at);
    int64_t from = (int64_t)(i % m) * step - padding, to = from + kernel < n + padding ? from + kernel : n + padding;
    int64_t start = from > 0 ? from : 0, stop = to < n ? to : n;
    double total = 0, largest = -CUDART_INF;
    for (int64_t k = start; k < stop; k++) {
        double v = (double)x[at[0] + k * step_x];
        total += v;
        if (!(v <= largest)) largest = v;
        if (largest != largest) break;
    }
    int64_t count = include_pad ? to - from : stop - start;
    y[at[1]] = (float)(kind == POOL_MAX ? largest : total / (double)count);
}

} // namespace

kvb_status cuda_softmax(const kvb_tensor *x, kvb_tensor *y, int32_t dim) {
    KVB_TRY(ref_check_along("softmax", x, y, dim));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    slices s = slices_of(x, y, dim);
    if (kvb_tensor_count(y) / s.n >= (int64_t)1 << 31) return check_count("softmax", y);
    cudaStream_t stream = kvb_cuda_stream();
    uint32_t rows = s.at.count;
    if (by_column(s)) softmax_column<<<blocks_of(rows, 128), 128, 0, stream>>>(s);
    else if (s.n <= 8192 && four_wide(s)) softmax_rows<true>(s);
    else if (s.n <= 8192) softmax_rows<false>(s);
    else softmax_long<<<rows, 256, 0, stream>>>(s);
    return kvb_cuda_launched("softmax");
}

kvb_status cuda_cumsum(const kvb_tensor *x, kvb_tensor *y, int32_t dim) {
    KVB_TRY(ref_check_along("cumsum", x, y, dim));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    slices s = slices_of(x, y, dim);
    if (kvb_tensor_count(y) / s.n >= (int64_t)1 << 31) return check_count("cumsum", y);
    if (by_column(s)) cumsum_column<<<blocks_of(s.at.count, 128), 128, 0, kvb_cuda_stream()>>>(s);
    else cumsum_row<<<s.at.count, 256, 0, kvb_cuda_stream()>>>(s);
    return kvb_cuda_launched("cumsum");
}

kvb_status cuda_pool1d(const kvb_tensor *x, kvb_tensor *y, int32_t kind, int32_t kernel, int32_t step, int32_t padding,
                       int32_t include_pad) {
    KVB_TRY(ref_check_pool1d(x, y, kind, kernel, step, padding));
    KVB_TRY(check_count("pool1d", y));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    int32_t last = y->ndim - 1;
    kvb_tensor starts = *x; /* every result begins at its row */
    starts.shape[last] = y->shape[last];
    starts.stride[last] = 0;
    const kvb_tensor *const t[2] = {&starts, y};
    plan<2> p = plan_of(t);
    pool<<<blocks_of(p.count, 256), 256, 0, kvb_cuda_stream()>>>(p, (const float *)x->data, (float *)y->data,
                                                                 x->shape[last], x->stride[last], y->shape[last], kind,
                                                                 kernel, step, padding, include_pad);
    return kvb_cuda_launched("pool1d");
}
