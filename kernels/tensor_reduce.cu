/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_reduce.cu - reductions over one dimension, and inner products.
 *
 * Every lane gathers a state of two doubles over its share of a slice; states merge in a tree whose shape depends on
 * the slice's length alone. Three layouts: lanes along the slice (a warp, or a block, per result); lanes along the
 * results (neighbouring results lie next to each other, the slice does not); and for a few long slices, blocks along
 * the slice and a second launch that merges their states. The variance is that of the distances to the slice's first
 * element, which makes one pass as exact in double as two.
 */
#include "tensor.cuh"
#include <math_constants.h>

using namespace kvb;

namespace {

struct state {
    double a, b;
};

enum norm_kind { NORM_2, NORM_1, NORM_INF, NORM_P };

/* How elements enter a state, states merge, and what comes out. kind: REDUCE_*, the norms behind it. */
enum { SUM, VARIANCE, MINIMUM, MAXIMUM, ARGMIN, ARGMAX, NORM2, NORM1, NORMINF, NORMP, LOGSUMEXP, PRODUCT };

template <int KIND> struct fold {
    __device__ static state start() {
        switch (KIND) {
        case MINIMUM: return {CUDART_INF, 0};
        case MAXIMUM: return {-CUDART_INF, 0};
        case ARGMIN:
        case ARGMAX: return {0, -1}; /* no element yet */
        case LOGSUMEXP: return {-CUDART_INF, 0};
        case PRODUCT: return {1, 0};
        default: return {0, 0};
        }
    }
    __device__ static bool before(double x, double i, double y, double j) {
        if (j < 0) return true;
        if (i < 0) return false;
        bool nx = x != x, ny = y != y;
        if (nx || ny) return nx && (!ny || i < j);
        if (x != y) return KIND == ARGMAX ? x > y : x < y;
        return i < j;
    }
    __device__ static void add(state *s, float x, int64_t i, float shift, double p) {
        double v = x;
        switch (KIND) {
        case SUM: s->a += v; break;
        case VARIANCE: {
            double d = v - (double)shift;
            s->a += d;
            s->b += d * d;
            break;
        }
        case MINIMUM: s->a = s->a != s->a ? s->a : v < s->a || v != v ? v : s->a; break;
        case MAXIMUM: s->a = s->a != s->a ? s->a : v > s->a || v != v ? v : s->a; break;
        case ARGMIN:
        case ARGMAX:
            if (before(v, (double)i, s->a, s->b)) *s = {v, (double)i};
            break;
        case NORM2: s->a += v * v; break;
        case NORM1: s->a += fabs(v); break;
        case NORMINF: {
            double m = fabs(v);
            s->a = s->a != s->a ? s->a : m > s->a || m != m ? m : s->a;
            break;
        }
        case NORMP: s->a += pow(fabs(v), p); break;
        case LOGSUMEXP: {
            state one = {v, 1};
            merge(s, one);
            break;
        }
        default: s->a *= v;
        }
    }
    __device__ static void merge(state *s, state t) {
        switch (KIND) {
        case MINIMUM: s->a = s->a != s->a ? s->a : t.a < s->a || t.a != t.a ? t.a : s->a; break;
        case MAXIMUM:
        case NORMINF: s->a = s->a != s->a ? s->a : t.a > s->a || t.a != t.a ? t.a : s->a; break;
        case ARGMIN:
        case ARGMAX:
            if (before(t.a, t.b, s->a, s->b)) *s = t;
            break;
        case LOGSUMEXP: { /* a: the largest, b: the sum of exp(x - a) */
            double largest = s->a != s->a || t.a != t.a ? CUDART_NAN : s->a > t.a ? s->a : t.a;
            if (isinf(largest) || largest != largest) {
                *s = {largest, 0};
            } else {
                double mine = s->a == largest ? s->b : s->b * (double)expf((float)(s->a - largest));
                double other = t.a == largest ? t.b : t.b * (double)expf((float)(t.a - largest));
                *s = {largest, mine + other};
            }
            break;
        }
        case PRODUCT: s->a *= t.a; break;
        default:
            s->a += t.a;
            s->b += t.b;
        }
    }
    /* n: the slice's length; p: correction, index of the first element, or the norm's order; mean: divide the sum. */
    __device__ static double finish(state s, double n, double p, bool mean) {
        switch (KIND) {
        case SUM: return mean ? s.a / n : s.a;
        case VARIANCE: return n > p ? (s.b - s.a * s.a / n) / (n - p) : CUDART_NAN;
        case ARGMIN:
        case ARGMAX: return s.b + p;
        case NORM2: return sqrt(s.a);
        case NORMP: return pow(s.a, 1 / p);
        case LOGSUMEXP: return isinf(s.a) || s.a != s.a ? s.a : s.a + log(s.b);
        default: return s.a;
        }
    }
};

struct slices {
    const float *x;
    void *y;
    int64_t n, step;
    double p;
    bool mean, index; /* index: y is i32 */
    plan<2> at;       /* of the results: where a slice starts in x, where its result goes in y */
};

template <int KIND> __device__ void store(const slices &s, int64_t to, state total) {
    double v = fold<KIND>::finish(total, (double)s.n, s.p, s.mean);
    if (s.index) ((int32_t *)s.y)[to] = (int32_t)(int64_t)v;
    else ((float *)s.y)[to] = (float)v;
}

template <int KIND> __device__ state merge_warp(state mine) {
#pragma unroll
    for (int step = 16; step; step /= 2) {
        state other = {__shfl_down_sync(~0u, mine.a, step), 0};
        other.b = __shfl_down_sync(~0u, mine.b, step);
        fold<KIND>::merge(&mine, other);
    }
    return mine;
}

/* The total of a block of WARPS warps, in thread 0. */
template <int KIND, int WARPS> __device__ state merge_block(state mine) {
    __shared__ state part[WARPS];
    mine = merge_warp<KIND>(mine);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = mine;
    __syncthreads();
    if (threadIdx.x == 0)
        for (int w = 1; w < WARPS; w++) fold<KIND>::merge(&mine, part[w]);
    return mine;
}

/* Elements from `lane` on, LANES apart, of [from, to); four at a time where they lie densely. */
template <int KIND, int LANES>
__device__ state gather(const float *x, int64_t step, int64_t from, int64_t to, int lane, bool wide, double p,
                        float shift) {
    state mine = fold<KIND>::start();
    if (wide) {
        for (int64_t i = from + 4 * lane; i < to; i += 4 * LANES) {
            float4 v = *(const float4 *)(x + i);
            fold<KIND>::add(&mine, v.x, i, shift, p);
            fold<KIND>::add(&mine, v.y, i + 1, shift, p);
            fold<KIND>::add(&mine, v.z, i + 2, shift, p);
            fold<KIND>::add(&mine, v.w, i + 3, shift, p);
        }
        return mine;
    }
#pragma unroll 4
    for (int64_t i = from + lane; i < to; i += LANES) fold<KIND>::add(&mine, x[i * step], i, shift, p);
    return mine;
}

template <int KIND> __device__ float shift_of(const float *x, int64_t n) { return KIND == VARIANCE && n ? *x : 0; }

/* A warp per result, eight to a block. */
template <int KIND> __global__ void __launch_bounds__(256) by_warp(slices s, bool wide) {
    uint32_t r = blockIdx.x * 8 + threadIdx.x / 32;
    if (r >= s.at.count) return;
    int64_t at[2];
    s.at.locate(r, at);
    const float *x = s.x + at[0];
    state mine = gather<KIND, 32>(x, s.step, 0, s.n, threadIdx.x % 32, wide, s.p, shift_of<KIND>(x, s.n));
    mine = merge_warp<KIND>(mine);
    if (threadIdx.x % 32 == 0) store<KIND>(s, at[1], mine);
}

/* A block per result (chunks = 1), or per chunk of one, whose state goes to `partial`. */
template <int KIND>
__global__ void __launch_bounds__(256) by_block(slices s, bool wide, int64_t chunk, state *partial) {
    int64_t at[2];
    s.at.locate(blockIdx.x, at);
    const float *x = s.x + at[0];
    int64_t from = (int64_t)blockIdx.y * chunk, to = from + chunk < s.n ? from + chunk : s.n;
    state mine = gather<KIND, 256>(x, s.step, from, to, threadIdx.x, wide, s.p, shift_of<KIND>(x, s.n));
    mine = merge_block<KIND, 8>(mine);
    if (threadIdx.x) return;
    if (partial) partial[(int64_t)blockIdx.x * gridDim.y + blockIdx.y] = mine;
    else store<KIND>(s, at[1], mine);
}

template <int KIND> __global__ void __launch_bounds__(256) merge_chunks(slices s, const state *partial, int chunks) {
    int64_t at[2];
    s.at.locate(blockIdx.x, at);
    state mine = fold<KIND>::start();
    for (int c = threadIdx.x; c < chunks; c += 256) fold<KIND>::merge(&mine, partial[(int64_t)blockIdx.x * chunks + c]);
    mine = merge_block<KIND, 8>(mine);
    if (threadIdx.x == 0) store<KIND>(s, at[1], mine);
}

/* 32 neighbouring results per block; blockDim.y lanes share each slice. */
template <int KIND> __global__ void __launch_bounds__(1024) by_column(slices s) {
    extern __shared__ state part[];
    uint32_t r = blockIdx.x * 32 + threadIdx.x;
    int64_t at[2];
    state mine = fold<KIND>::start();
    if (r < s.at.count) {
        s.at.locate(r, at);
        const float *x = s.x + at[0];
        float shift = shift_of<KIND>(x, s.n);
#pragma unroll 4
        for (int64_t i = threadIdx.y; i < s.n; i += blockDim.y)
            fold<KIND>::add(&mine, x[i * s.step], i, shift, s.p);
    }
    part[threadIdx.y * 32 + threadIdx.x] = mine;
    __syncthreads();
    if (threadIdx.y || r >= s.at.count) return;
    for (unsigned k = 1; k < blockDim.y; k++) fold<KIND>::merge(&mine, part[k * 32 + threadIdx.x]);
    store<KIND>(s, at[1], mine);
}

/* The same for results that lie densely, four to a thread; blockDim.y = 8. */
template <int KIND> __global__ void __launch_bounds__(256) by_four_columns(slices s) {
    __shared__ state part[8][4][32];
    uint32_t r = blockIdx.x * 32 + threadIdx.x;
    int64_t at[2];
    state mine[4];
#pragma unroll
    for (int k = 0; k < 4; k++) mine[k] = fold<KIND>::start();
    if (r < s.at.count) {
        s.at.locate(r, at);
        const float *x = s.x + at[0];
        float4 shift = KIND == VARIANCE && s.n ? *(const float4 *)x : make_float4(0, 0, 0, 0);
#pragma unroll 4
        for (int64_t i = threadIdx.y; i < s.n; i += 8) {
            float4 v = *(const float4 *)(x + i * s.step);
            fold<KIND>::add(&mine[0], v.x, i, shift.x, s.p);
            fold<KIND>::add(&mine[1], v.y, i, shift.y, s.p);
            fold<KIND>::add(&mine[2], v.z, i, shift.z, s.p);
            fold<KIND>::add(&mine[3], v.w, i, shift.w, s.p);
        }
    }
#pragma unroll
    for (int k = 0; k < 4; k++) part[threadIdx.y][k][threadIdx.x] = mine[k];
    __syncthreads();
    if (threadIdx.y >= 4 || r >= s.at.count) return;
    int k = threadIdx.y;
    state total = part[0][k][threadIdx.x];
    for (int lane = 1; lane < 8; lane++) fold<KIND>::merge(&total, part[lane][k][threadIdx.x]);
    store<KIND>(s, at[1] + k, total);
}

enum { LONG = 1024, CHUNK = 8192 };

/* Makes four neighbouring results one index point, where they and their slices lie densely. */
bool four_results(slices *s) {
    int last = s->at.ndim - 1;
    bool fits = s->at.size[last].d % 4 == 0 && s->at.stride[0][last] == 1 && s->at.stride[1][last] == 1 &&
                (uintptr_t)s->x % 16 == 0;
    for (int d = 0; d < last && fits; d++) fits = s->at.stride[0][d] % 4 == 0;
    if (!fits) return false;
    s->at.size[last] = divisor(s->at.size[last].d / 4);
    s->at.stride[0][last] = s->at.stride[1][last] = 4;
    s->at.count /= 4;
    return true;
}

template <int KIND> kvb_status run(const slices &s) {
    cudaStream_t stream = kvb_cuda_stream();
    uint32_t results = s.at.count;
    bool dense = s.step == 1 && s.n % 4 == 0 && (uintptr_t)s.x % 16 == 0;
    for (int d = 0; d < s.at.ndim && dense; d++) dense = s.at.stride[0][d] % 4 == 0;
    int64_t across = s.at.stride[0][s.at.ndim - 1];
    int64_t chunks = (s.n + CHUNK - 1) / CHUNK;
    if (results < 512 && chunks > 2) {
        if (chunks > 65535) chunks = 65535;
        int64_t chunk = (s.n + chunks - 1) / chunks;
        chunk = (chunk + 3) / 4 * 4;
        chunks = (s.n + chunk - 1) / chunk;
        scratch partial((size_t)results * (size_t)chunks * sizeof(state));
        if (!partial.p) return KVB_E_MEMORY;
        by_block<KIND><<<dim3(results, (unsigned)chunks), 256, 0, stream>>>(s, dense, chunk, partial.as<state>());
        KVB_LAUNCHED("reduce");
        merge_chunks<KIND><<<results, 256, 0, stream>>>(s, partial.as<state>(), (int)chunks);
        return kvb_cuda_launched("reduce");
    }
    if (s.n > 1 && across < s.step && across > 0 && results >= 16) {
        slices four = s;
        if (results >= 1 << 16 && s.n >= 32 && s.step % 4 == 0 && four_results(&four)) {
            by_four_columns<KIND><<<blocks_of(four.at.count, 32), dim3(32, 8), 0, stream>>>(four);
            return kvb_cuda_launched("reduce");
        }
        unsigned lanes = s.n < 8 ? 1 : (int64_t)results * 8 < 1 << 17 && s.n >= 64 ? 32 : 8;
        by_column<KIND><<<blocks_of(results, 32), dim3(32, lanes), lanes * 32 * sizeof(state), stream>>>(s);
    } else if (s.n <= LONG) {
        by_warp<KIND><<<blocks_of(results, 8), 256, 0, stream>>>(s, dense);
    } else {
        by_block<KIND><<<dim3(results, 1), 256, 0, stream>>>(s, dense, s.n, NULL);
    }
    return kvb_cuda_launched("reduce");
}

/* ---- inner products ---- */

struct pairs {
    const float *a, *b;
    float *y;
    int64_t n, step_a, step_b;
    plan<3> at;
};

/* Four products are added in f32, groups of four in double. LANES lanes per result. */
template <int LANES> __global__ void __launch_bounds__(256) inner(pairs s, bool wide) {
    uint32_t r = blockIdx.x * (256 / LANES) + threadIdx.x / LANES;
    if (r >= s.at.count) return;
    int64_t at[3];
    s.at.locate(r, at);
    const float *a = s.a + at[0], *b = s.b + at[1];
    state mine = {0, 0};
    int lane = threadIdx.x % LANES;
    if (wide)
        for (int64_t i = 4 * lane; i < s.n; i += 4 * LANES) {
            float4 u = *(const float4 *)(a + i), v = *(const float4 *)(b + i);
            mine.a += (double)fmaf(u.x, v.x, u.y * v.y) + (double)fmaf(u.z, v.z, u.w * v.w);
        }
    else
        for (int64_t i = lane; i < s.n; i += LANES) mine.a += (double)(a[i * s.step_a] * b[i * s.step_b]);
    if (LANES == 32) {
        mine = merge_warp<SUM>(mine);
        if (lane == 0) s.y[at[2]] = (float)mine.a;
    } else {
        mine = merge_block<SUM, 8>(mine);
        if (threadIdx.x == 0) s.y[at[2]] = (float)mine.a;
    }
}

} // namespace

kvb_status cuda_reduce(const kvb_tensor *x, kvb_tensor *y, int32_t dim, int32_t kind, double p) {
    KVB_TRY(ref_check_reduce(x, y, dim, kind, p));
    KVB_TRY(check_count("reduce", y));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    kvb_tensor first = ref_drop_dim(x, dim);
    const kvb_tensor *const t[2] = {&first, y};
    slices s = {(const float *)x->data, y->data, x->shape[dim], x->stride[dim], p,
                kind == REDUCE_MEAN,    y->dtype == KVB_I32, plan_of(t)};
    switch (kind) {
    case REDUCE_SUM:
    case REDUCE_MEAN: return run<SUM>(s);
    case REDUCE_VAR: return run<VARIANCE>(s);
    case REDUCE_MIN: return run<MINIMUM>(s);
    case REDUCE_MAX: return run<MAXIMUM>(s);
    case REDUCE_ARGMIN: return run<ARGMIN>(s);
    case REDUCE_ARGMAX: return run<ARGMAX>(s);
    case REDUCE_LOGSUMEXP: return run<LOGSUMEXP>(s);
    case REDUCE_PROD: return run<PRODUCT>(s);
    case REDUCE_NORM: break;
    default: return kvb_fail(KVB_E_UNSUPPORTED, "reduce: kind %d is not on the GPU yet", kind);
    }
    if (p == 2) return run<NORM2>(s);
    if (p == 1) return run<NORM1>(s);
    return isinf(p) ? run<NORMINF>(s) : run<NORMP>(s);
}

kvb_status cuda_vecdot(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y) {
    KVB_TRY(ref_check_vecdot(a, b, y));
    KVB_TRY(check_count("vecdot", y));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    int32_t last = a->ndim - 1;
    kvb_tensor a0 = ref_drop_dim(a, last), b0 = ref_drop_dim(b, last);
    const kvb_tensor *const t[3] = {&a0, &b0, y};
    pairs s = {(const float *)a->data, (const float *)b->data, (float *)y->data, a->shape[last],
               a->stride[last],        b->stride[last],        plan_of(t)};
    bool wide = s.n % 4 == 0 && s.step_a == 1 && s.step_b == 1 && (uintptr_t)s.a % 16 == 0 && (uintptr_t)s.b % 16 == 0;
    for (int d = 0; d < s.at.ndim && wide; d++) wide = s.at.stride[0][d] % 4 == 0 && s.at.stride[1][d] % 4 == 0;
    if (s.n <= LONG)
        inner<32><<<blocks_of(s.at.count, 8), 256, 0, kvb_cuda_stream()>>>(s, wide);
    else
        inner<256><<<s.at.count, 256, 0, kvb_cuda_stream()>>>(s, wide);
    return kvb_cuda_launched("vecdot");
}
