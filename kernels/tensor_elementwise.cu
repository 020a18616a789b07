/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_elementwise.cu - functions of one, two or three arguments, element by element, and seeded random numbers.
 *
 * One kernel per kind, so that a sum does not carry the registers of powf. Numbers among the operands travel with the
 * launch. f32 functions are CUDA's own (1 to 4 ulp; the op harness has the tolerances); there is no fast-math.
 */
#include "tensor.cuh"
#include <math_constants.h>

using namespace kvb;

namespace {

enum { THREADS = 256 };

template <int KIND> struct unary_function {
    float low, high;
    __device__ float operator()(float x) const {
        switch (KIND) {
        case UNARY_NEG: return -x;
        case UNARY_EXP: return expf(x);
        case UNARY_LOG: return logf(x);
        case UNARY_SQRT: return sqrtf(x);
        case UNARY_ABS: return fabsf(x);
        case UNARY_CLAMP: return x < low ? low : x > high ? high : x;
        case UNARY_COS: return cosf(x);
        case UNARY_SIN: return sinf(x);
        case UNARY_TANH: return tanhf(x);
        case UNARY_SIGMOID: {
            float e = expf(-fabsf(x));
            return (x < 0 ? e : 1.0f) / (1.0f + e);
        }
        case UNARY_FLOOR: return floorf(x);
        case UNARY_ROUND: return rintf(x);
        default: return erff(x);
        }
    }
};

template <int KIND> struct binary_function {
    __device__ float operator()(float a, float b) const {
        switch (KIND) {
        case BINARY_ADD: return a + b;
        case BINARY_SUB: return a - b;
        case BINARY_MUL: return a * b;
        case BINARY_DIV: return a / b;
        case BINARY_POW: return powf(a, b);
        case BINARY_MAX: return a != a || b != b ? CUDART_NAN_F : a > b ? a : b;
        case BINARY_MIN: return a != a || b != b ? CUDART_NAN_F : a < b ? a : b;
        case BINARY_LT: return a < b;
        case BINARY_LE: return a <= b;
        case BINARY_GT: return a > b;
        case BINARY_GE: return a >= b;
        case BINARY_EQ: return a == b;
        default: return a != b;
        }
    }
};

struct choice {
    __device__ float operator()(float c, float a, float b) const { return c != 0 ? a : b; }
};

template <int N> struct inputs {
    input at[N];
};

template <class F> __device__ float apply(const F &f, const float (&v)[1]) { return f(v[0]); }
template <class F> __device__ float apply(const F &f, const float (&v)[2]) { return f(v[0], v[1]); }
template <class F> __device__ float apply(const F &f, const float (&v)[3]) { return f(v[0], v[1], v[2]); }

template <int N, class F>
__global__ void __launch_bounds__(THREADS) one_each(plan<N + 1> p, inputs<N> in, float *y, F f) {
    uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.count) return;
    int64_t at[N + 1];
    p.locate(i, at);
    float v[N];
#pragma unroll
    for (int k = 0; k < N; k++) v[k] = in.at[k].p ? in.at[k].p[at[k]] : in.at[k].value;
    y[at[N]] = apply(f, v);
}

template <int N, class F>
__global__ void __launch_bounds__(THREADS) four_each(plan<N + 1> p, inputs<N> in, float *y, uint32_t dense, F f) {
    uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.count) return;
    int64_t at[N + 1];
    p.locate(i, at);
    float4 v[N];
#pragma unroll
    for (int k = 0; k < N; k++) {
        if (dense >> k & 1) {
            v[k] = *(const float4 *)(in.at[k].p + at[k]);
        } else {
            float one = in.at[k].p ? in.at[k].p[at[k]] : in.at[k].value;
            v[k] = make_float4(one, one, one, one);
        }
    }
    float x[N], out[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
#pragma unroll
        for (int k = 0; k < N; k++) x[k] = j == 0 ? v[k].x : j == 1 ? v[k].y : j == 2 ? v[k].z : v[k].w;
        out[j] = apply(f, x);
    }
    *(float4 *)(y + at[N]) = make_float4(out[0], out[1], out[2], out[3]);
}

template <int N, class F> kvb_status launch(const char *name, const kvb_tensor *const (&t)[N + 1], F f) {
    if (kvb_tensor_count(t[N]) == 0) return KVB_OK;
    return in_parts<N + 1>(t, [&](const kvb_tensor *const (&part)[N + 1]) -> kvb_status {
        plan<N + 1> p = plan_of(part);
        inputs<N> in;
        for (int k = 0; k < N; k++) in.at[k] = input_of(part[k]);
        float *y = (float *)part[N]->data;
        uint32_t dense;
        if (widen(&p, part, &dense))
            four_each<N, F><<<blocks_of(p.count, THREADS), THREADS, 0, kvb_cuda_stream()>>>(p, in, y, dense, f);
        else
            one_each<N, F><<<blocks_of(p.count, THREADS), THREADS, 0, kvb_cuda_stream()>>>(p, in, y, f);
        return kvb_cuda_launched(name);
    });
}

__device__ float uniform_at(uint64_t counter) {
    uint64_t z = counter;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (float)(z >> 40) * 0x1p-24f;
}

__global__ void __launch_bounds__(THREADS) draw(plan<1> p, float *y, uint64_t counter) {
    uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.count) return;
    int64_t at[1];
    p.locate(i, at);
    y[at[0]] = uniform_at(counter + (uint64_t)i * 0x9e3779b97f4a7c15u);
}

} // namespace

#define KIND(k)                                                                                                        \
    case k: return launch<1>("unary", {x, y}, unary_function<k>{(float)low, (float)high})
kvb_status cuda_unary(const kvb_tensor *x, kvb_tensor *y, int32_t kind, double low, double high) {
    KVB_TRY(ref_check_unary(x, y, kind));
    switch (kind) {
        KIND(UNARY_NEG);
        KIND(UNARY_EXP);
        KIND(UNARY_LOG);
        KIND(UNARY_SQRT);
        KIND(UNARY_ABS);
        KIND(UNARY_CLAMP);
        KIND(UNARY_COS);
        KIND(UNARY_SIN);
        KIND(UNARY_TANH);
        KIND(UNARY_SIGMOID);
        KIND(UNARY_FLOOR);
        KIND(UNARY_ROUND);
        KIND(UNARY_ERF);
    default: return kvb_fail(KVB_E_UNSUPPORTED, "unary: kind %d is not on the GPU yet", kind);
    }
}
#undef KIND

#define KIND(k)                                                                                                        \
    case k: return launch<2>("binary", {a, b, y}, binary_function<k>{})
kvb_status cuda_binary(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y, int32_t kind) {
    KVB_TRY(ref_check_binary(a, b, y, kind));
    switch (kind) {
        KIND(BINARY_ADD);
        KIND(BINARY_SUB);
        KIND(BINARY_MUL);
        KIND(BINARY_DIV);
        KIND(BINARY_POW);
        KIND(BINARY_MAX);
        KIND(BINARY_MIN);
        KIND(BINARY_LT);
        KIND(BINARY_LE);
        KIND(BINARY_GT);
        KIND(BINARY_GE);
        KIND(BINARY_EQ);
        KIND(BINARY_NE);
    default: return kvb_fail(KVB_E_UNSUPPORTED, "binary: kind %d is not on the GPU yet", kind);
    }
}
#undef KIND

kvb_status cuda_where(const kvb_tensor *c, const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y) {
    KVB_TRY(ref_check_where(c, a, b, y));
    return launch<3>("where", {c, a, b, y}, choice{});
}

kvb_status cuda_uniform(kvb_tensor *y, uint64_t seed, int64_t first) {
    KVB_TRY(ref_check_output("uniform", y, KVB_F32));
    KVB_TRY(check_count("uniform", y));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    const kvb_tensor *const t[1] = {y};
    plan<1> p = plan_of(t);
    draw<<<blocks_of(p.count, THREADS), THREADS, 0, kvb_cuda_stream()>>>(
        p, (float *)y->data, seed + ((uint64_t)first + 1) * 0x9e3779b97f4a7c15u);
    return kvb_cuda_launched("uniform");
}
