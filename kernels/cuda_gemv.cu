/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_gemv.cu - one row times a matrix: a warp per pair of outputs, the row in shared memory, weights read once.
 *
 * One row of decoding is nothing but reading the weights, so everything here serves keeping reads under way: the first
 * weights are asked for before the kernel waits for its predecessor (programmatic dependent launch, sm_90), the norm
 * before a product and the SwiGLU behind one are folded in, and nothing is staged. Sums have a fixed order, so results
 * repeat; they differ from the tensor cores' in the last bits, which is why the tier that uses this is declared.
 * Rejected: cuBLASLt's 64-row bucket (half of the bandwidth at 8B), split-K with atomics (results would not repeat).
 */
#include "cuda_convert.cuh"
#include "cuda_early.cuh"
#include "cuda_gemv.h"

enum { WARPS = 8, THREADS = WARPS * 32, OUTPUTS = 2, AHEAD = 4, PACK = 8, MOST_IN = 24000 };

template <typename T> struct alignas(16) eight {
    T x[PACK];
};

__device__ __forceinline__ uint4 read_once(const void *from) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(from));
    return v;
}

__device__ __forceinline__ float warp_sum(float x) {
    for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(~0u, x, lane);
    return x;
}

/* RMSNorm of x to shared memory, rounded to T as the packed step's norm does. */
template <typename T> __device__ void stage_normed(const float *x, const float *norm, int32_t in, float eps, T *to) {
    __shared__ float part[WARPS];
    float sum = 0;
    for (int32_t i = threadIdx.x; i < in; i += THREADS) sum = fmaf(x[i], x[i], sum);
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0;
    for (int w = 0; w < WARPS; w++) sum += part[w];
    float scale = rsqrtf(sum / (float)in + eps);
    for (int32_t i = threadIdx.x; i < in; i += THREADS) from_float(to + i, x[i] * scale * norm[i]);
}

template <typename T> __device__ __forceinline__ float dot(float sum, const uint4 &w, const eight<T> &x) {
    const T *t = (const T *)&w;
#pragma unroll
    for (int i = 0; i < PACK; i++) sum = fmaf(to_float(t[i]), to_float(x.x[i]), sum);
    return sum;
}

/* The weights of two outputs, AHEAD packs of each under way. */
template <typename T> struct reader {
    const T *row[OUTPUTS];
    int32_t packs, lane;
    uint4 held[AHEAD][OUTPUTS];

    __device__ __forceinline__ void ask(int slot, int32_t pack) {
#pragma unroll
        for (int o = 0; o < OUTPUTS; o++)
            held[slot][o] = pack < packs ? read_once(row[o] + (int64_t)pack * PACK) : make_uint4(0, 0, 0, 0);
    }
};

template <typename T, int WHAT>
__global__ void __launch_bounds__(THREADS) gemv(const kvb_cuda_gemv g, const T *weights, int32_t in, int32_t out) {
    extern __shared__ __align__(16) char memory[];
    T *x = (T *)memory;
    const int32_t lane = threadIdx.x % 32;
    const int32_t half = out / 2, unit = (int32_t)blockIdx.x * WARPS + (int32_t)threadIdx.x / 32;
    const int32_t units = WHAT == KVB_GEMV_SWIGLU ? half : (out + 1) / 2;
    const bool mine = unit < units;
    int32_t n[OUTPUTS] = {unit * 2, unit * 2 + 1};
    if (WHAT == KVB_GEMV_SWIGLU) n[0] = unit, n[1] = half + unit;
    reader<T> r;
    r.packs = mine ? in / PACK : 0;
#pragma unroll
    for (int o = 0; o < OUTPUTS; o++) r.row[o] = weights + (int64_t)min(n[o], out - 1) * in;
#pragma unroll
    for (int i = 0; i < AHEAD; i++) r.ask(i, i * 32 + lane);
    let_successor_start();
    wait_for_predecessor();
    if (g.norm) {
        stage_normed<T>((const float *)g.x, g.norm, in, g.eps, x);
    } else {
        for (int32_t i = threadIdx.x; i < in / PACK; i += THREADS) ((uint4 *)x)[i] = ((const uint4 *)g.x)[i];
    }
    __syncthreads();
    float sum[OUTPUTS] = {};
    for (int32_t base = 0; base < r.packs; base += AHEAD * 32) {
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            int32_t pack = base + i * 32 + lane;
            uint4 w[OUTPUTS];
#pragma unroll
            for (int o = 0; o < OUTPUTS; o++) w[o] = r.held[i][o];
            r.ask(i, pack + AHEAD * 32);
            if (pack >= r.packs) continue;
            const eight<T> part = *(const eight<T> *)(x + (int64_t)pack * PACK);
#pragma unroll
            for (int o = 0; o < OUTPUTS; o++) sum[o] = dot<T>(sum[o], w[o], part);
        }
    }
#pragma unroll
    for (int o = 0; o < OUTPUTS; o++) sum[o] = warp_sum(sum[o]);
    if (!mine || lane != 0) return;
    if (WHAT == KVB_GEMV_SWIGLU) {
        T gate, up;
        from_float(&gate, sum[0]);
        from_float(&up, sum[1]);
        float x_gate = to_float(gate);
        from_float((T *)g.y + unit, x_gate / (1 + expf(-x_gate)) * to_float(up));
        return;
    }
    float *y = (float *)g.y;
    for (int o = 0; o < OUTPUTS && n[o] < out; o++) {
        if (WHAT == KVB_GEMV_ACCUMULATE)
            y[n[o]] += sum[o];
        else
            y[n[o]] = g.bias ? sum[o] + g.bias[n[o]] : sum[o];
    }
}

bool kvb_cuda_gemv_fits(int32_t dtype, int32_t in) {
    return (dtype == KVB_BF16 || dtype == KVB_F16) && in % PACK == 0 && in <= MOST_IN;
}

template <typename T, int WHAT> static kvb_status launch(const kvb_cuda_gemv *g) {
    int32_t units = (g->w->out + 1) / 2; /* pairs of outputs, or gate and up */
    dim3 grid((unsigned)((units + WARPS - 1) / WARPS));
    size_t bytes = (size_t)g->w->in * sizeof(T); /* with `part` at most 48 KiB */
    KVB_CUDA_TRY(launch_early(gemv<T, WHAT>, grid, THREADS, bytes, *g, (const T *)g->w->w, g->w->in, g->w->out));
    KVB_LAUNCHED("gemv");
    return KVB_OK;
}

template <typename T> static kvb_status pick(const kvb_cuda_gemv *g) {
    if (g->what == KVB_GEMV_STORE) return launch<T, KVB_GEMV_STORE>(g);
    if (g->what == KVB_GEMV_ACCUMULATE) return launch<T, KVB_GEMV_ACCUMULATE>(g);
    return launch<T, KVB_GEMV_SWIGLU>(g);
}

kvb_status kvb_cuda_gemv_run(const kvb_cuda_gemv *g) {
    if (!kvb_cuda_gemv_fits(g->w->dtype, g->w->in))
        return kvb_fail(KVB_E_INTERNAL, "cuda: no one-row product for [%d, %d] of dtype %d", g->w->out, g->w->in,
                        g->w->dtype);
    return g->w->dtype == KVB_BF16 ? pick<__nv_bfloat16>(g) : pick<__half>(g);
}
