/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_order.cu - ranks and sorting orders, and picking elements by index.
 *
 * An element becomes one 64-bit key: its value in an order-preserving code above, its position below. Keys differ, so
 * any sorting network gives the one stable order, ties and -0 = 0 included. Rows up to 4,096 are sorted in shared
 * memory by one launch; longer ones as chunks of that size which further launches merge bitonically. Rejected: radix
 * sort (on rows this short its passes over counters cost more than the comparisons).
 */
#include "tensor.cuh"

using namespace kvb;

namespace {

enum { CHUNK = 4096, THREADS = 512 };

struct rows {
    const float *x;
    uint32_t *y; /* ranks, or positions + base */
    int64_t n, step_x, step_y;
    plan<2> at;
    bool descending, positions;
    int32_t base;
    unsigned long long *error; /* lowest linear index of a NaN */
};

__device__ unsigned long long key_of(const rows &s, float x, uint32_t i, uint32_t row) {
    if (x != x) atomicMin(s.error, (unsigned long long)row * s.n + i);
    uint32_t u = x == 0 ? 0u : __float_as_uint(x);
    u = u & 0x80000000u ? ~u : u | 0x80000000u;
    return (unsigned long long)(s.descending ? ~u : u) << 32 | i;
}

__device__ void emit(const rows &s, int64_t to, unsigned long long key, uint32_t place) {
    uint32_t i = (uint32_t)key;
    if (i >= s.n) return; /* padding */
    if (s.positions) s.y[to + place * s.step_y] = i + (uint32_t)s.base;
    else s.y[to + i * s.step_y] = place;
}

/* Puts keys i and i + stride in order; `up`: ascending. */
__device__ void exchange(unsigned long long *a, unsigned long long *b, bool up) {
    unsigned long long x = *a, y = *b;
    if ((x > y) == up) {
        *a = y;
        *b = x;
    }
}

/* Bitonic stages of `size` with strides from `stride` down, over `n` keys in shared memory that start at `first`. */
__device__ void stages(unsigned long long *key, uint32_t n, uint32_t first, uint32_t size, uint32_t stride) {
    for (; stride; stride /= 2) {
        __syncthreads();
        for (uint32_t j = threadIdx.x; j < n / 2; j += blockDim.x) {
            uint32_t i = j / stride * 2 * stride + j % stride;
            exchange(key + i, key + i + stride, ((first + i) & size) == 0);
        }
    }
    __syncthreads();
}

/* Sorts one row of at most `padded` <= CHUNK keys, or (keys != NULL) chunk blockIdx.y of a long one into `keys`. */
__global__ void __launch_bounds__(THREADS)
    sort_chunk(rows s, uint32_t padded, unsigned long long *keys, uint32_t total) {
    __shared__ unsigned long long key[CHUNK];
    int64_t at[2];
    s.at.locate(blockIdx.x, at);
    uint32_t first = blockIdx.y * padded;
    for (uint32_t j = threadIdx.x; j < padded; j += blockDim.x) {
        uint32_t i = first + j;
        key[j] = i < s.n ? key_of(s, s.x[at[0] + i * s.step_x], i, blockIdx.x) : ~0ull;
    }
    for (uint32_t size = 2; size <= padded; size *= 2) stages(key, padded, first, size, size / 2);
    __syncthreads();
    for (uint32_t j = threadIdx.x; j < padded; j += blockDim.x) {
        if (keys) keys[(int64_t)blockIdx.x * total + first + j] = key[j];
        else emit(s, at[1], key[j], j);
    }
}

/* One stage of a long row, between keys that lie in different chunks. */
__global__ void __launch_bounds__(THREADS)
    far_stage(unsigned long long *keys, uint32_t total, uint32_t size, uint32_t stride) {
    uint32_t j = blockIdx.y * THREADS + threadIdx.x;
    if (j >= total / 2) return;
    uint32_t i = j / stride * 2 * stride + j % stride;
    unsigned long long *row = keys + (int64_t)blockIdx.x * total;
    exchange(row + i, row + i + stride, (i & size) == 0);
}

/* The remaining stages of `size`, within chunks; after the last size the result is written. */
__global__ void __launch_bounds__(THREADS)
    near_stages(rows s, unsigned long long *keys, uint32_t total, uint32_t size, bool last) {
    __shared__ unsigned long long key[CHUNK];
    uint32_t first = blockIdx.y * CHUNK;
    unsigned long long *row = keys + (int64_t)blockIdx.x * total + first;
    for (uint32_t j = threadIdx.x; j < CHUNK; j += blockDim.x) key[j] = row[j];
    stages(key, CHUNK, first, size, CHUNK / 2);
    int64_t at[2];
    s.at.locate(blockIdx.x, at);
    for (uint32_t j = threadIdx.x; j < CHUNK; j += blockDim.x) {
        if (last) emit(s, at[1], key[j], first + j);
        else row[j] = key[j];
    }
}

kvb_status sort_rows(const char *op, rows s) {
    cudaStream_t stream = kvb_cuda_stream();
    uint32_t padded = 2;
    while (padded < s.n) padded *= 2;
    if (padded <= CHUNK) {
        unsigned threads = padded / 2 < 32 ? 32 : padded / 2 < THREADS ? padded / 2 : THREADS;
        sort_chunk<<<s.at.count, threads, 0, stream>>>(s, padded, NULL, padded);
        return kvb_cuda_launched(op);
    }
    uint32_t chunks = padded / CHUNK;
    if (chunks > 65535) return kvb_fail(KVB_E_UNSUPPORTED, "%s: a row of %lld elements on a GPU", op, (long long)s.n);
    scratch keys((size_t)s.at.count * padded * sizeof(uint64_t));
    if (!keys.p) return KVB_E_MEMORY;
    unsigned long long *key = keys.as<unsigned long long>();
    dim3 by_chunk(s.at.count, chunks), by_pair(s.at.count, padded / 2 / THREADS);
    sort_chunk<<<by_chunk, THREADS, 0, stream>>>(s, CHUNK, key, padded);
    KVB_LAUNCHED(op);
    for (uint32_t size = 2 * CHUNK; size && size <= padded; size *= 2) {
        for (uint32_t stride = size / 2; stride >= CHUNK; stride /= 2) {
            if (by_pair.y > 65535) return kvb_fail(KVB_E_UNSUPPORTED, "%s: a row of %lld elements on a GPU", op,
                                                   (long long)s.n);
            far_stage<<<by_pair, THREADS, 0, stream>>>(key, padded, size, stride);
            KVB_LAUNCHED(op);
        }
        near_stages<<<by_chunk, THREADS, 0, stream>>>(s, key, padded, size, size == padded);
        KVB_LAUNCHED(op);
    }
    return KVB_OK;
}

kvb_status order(const char *op, const kvb_tensor *x, kvb_tensor *y, bool descending, bool positions, int32_t base) {
    KVB_TRY(check_count(op, y));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    int32_t last = x->ndim - 1;
    int64_t n = x->shape[last];
    kvb_tensor x0 = ref_drop_dim(x, last), y0 = ref_drop_dim(y, last);
    const kvb_tensor *const t[2] = {&x0, &y0};
    first_error nan;
    KVB_TRY(nan.clear());
    rows s = {(const float *)x->data, (uint32_t *)y->data, n,    x->stride[last], y->stride[last], plan_of(t),
              descending,             positions,           base, nan.word()};
    KVB_TRY(sort_rows(op, s));
    int64_t at;
    KVB_TRY(nan.read(&at));
    return at < 0 ? KVB_OK : ref_fail_nan(op, at / n, at % n);
}

/* ---- picking by index ---- */

__global__ void __launch_bounds__(256) pick(plan<3> p, const float *x, int64_t step, int64_t size, const int32_t *index,
                                            float *y, int32_t base, unsigned long long *error) {
    uint32_t i = blockIdx.x * 256 + threadIdx.x;
    if (i >= p.count) return;
    int64_t at[3];
    p.locate(i, at);
    int64_t from = (int64_t)index[at[1]] - base;
    if (from < 0 || from >= size) atomicMin(error, (unsigned long long)i);
    else y[at[2]] = x[at[0] + from * step];
}

__global__ void __launch_bounds__(256) check_index(plan<1> p, const int32_t *index, int64_t size, int32_t base,
                                                   unsigned long long *error) {
    uint32_t i = blockIdx.x * 256 + threadIdx.x;
    if (i >= p.count) return;
    int64_t at[1];
    p.locate(i, at);
    int64_t to = (int64_t)index[at[0]] - base;
    if (to < 0 || to >= size) atomicMin(error, (unsigned long long)i);
}

/* A thread per slice, since what meets in one place is added in order. */
__global__ void __launch_bounds__(128) put(plan<3> p, const float *x, int64_t step_x, const int32_t *index,
                                           int64_t step_index, float *y, int64_t step_y, int64_t n, int32_t base,
                                           int kind) {
    uint32_t i = blockIdx.x * 128 + threadIdx.x;
    if (i >= p.count) return;
    int64_t at[3];
    p.locate(i, at);
    for (int64_t k = 0; k < n; k++) {
        float v = x[at[0] + k * step_x], *to = y + at[2] + ((int64_t)index[at[1] + k * step_index] - base) * step_y;
        if (kind == SCATTER_SET) *to = v;
        else if (kind == SCATTER_ADD) *to += v;
        else if (v != v || v > *to) *to = v;
    }
}

/* The index at linear position `at` of a tensor, for the error line. */
kvb_status fail_outside(const char *op, const kvb_tensor *index, int64_t at, int32_t dim, int64_t size) {
    int64_t offset = 0;
    for (int d = index->ndim - 1; d >= 0; d--) {
        offset += at % index->shape[d] * index->stride[d];
        at /= index->shape[d];
    }
    int32_t value = 0;
    KVB_TRY(kvb_cuda_download(&value, (const int32_t *)index->data + offset, sizeof value));
    return ref_fail_index(op, value, dim, size);
}

} // namespace

kvb_status cuda_rank(const kvb_tensor *x, kvb_tensor *y) {
    KVB_TRY(ref_check_rank("rank", x, y, KVB_U32));
    return order("rank", x, y, true, false, 0);
}

kvb_status cuda_argsort(const kvb_tensor *x, kvb_tensor *y, int32_t descending, int32_t base) {
    KVB_TRY(ref_check_rank("argsort", x, y, KVB_I32));
    return order("argsort", x, y, descending != 0, true, base);
}

kvb_status cuda_gather(const kvb_tensor *x, const kvb_tensor *index, kvb_tensor *y, int32_t dim, int32_t base) {
    KVB_TRY(ref_check_gather(x, index, y, dim));
    KVB_TRY(check_count("gather", y));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    kvb_tensor from = *x; /* y's shape; the index steps along dim */
    from.shape[dim] = y->shape[dim];
    from.stride[dim] = 0;
    const kvb_tensor *const t[3] = {&from, index, y};
    plan<3> p = plan_of(t);
    first_error outside;
    KVB_TRY(outside.clear());
    pick<<<blocks_of(p.count, 256), 256, 0, kvb_cuda_stream()>>>(p, (const float *)x->data, x->stride[dim],
                                                                 x->shape[dim], (const int32_t *)index->data,
                                                                 (float *)y->data, base, outside.word());
    KVB_LAUNCHED("gather");
    int64_t at;
    KVB_TRY(outside.read(&at));
    return at < 0 ? KVB_OK : fail_outside("gather", index, at, dim, x->shape[dim]);
}

kvb_status cuda_scatter(const kvb_tensor *x, const kvb_tensor *index, kvb_tensor *y, int32_t dim, int32_t base,
                        int32_t kind) {
    KVB_TRY(ref_check_scatter(x, index, y, dim, kind));
    KVB_TRY(check_count("scatter", x));
    if (kvb_tensor_count(x) == 0) return KVB_OK;
    const kvb_tensor *const whole[1] = {index};
    plan<1> all = plan_of(whole);
    first_error outside;
    KVB_TRY(outside.clear());
    check_index<<<blocks_of(all.count, 256), 256, 0, kvb_cuda_stream()>>>(all, (const int32_t *)index->data,
                                                                          y->shape[dim], base, outside.word());
    KVB_LAUNCHED("scatter");
    int64_t at;
    KVB_TRY(outside.read(&at));
    if (at >= 0) return fail_outside("scatter", index, at, dim, y->shape[dim]);
    kvb_tensor x0 = ref_drop_dim(x, dim), index0 = ref_drop_dim(index, dim), y0 = ref_drop_dim(y, dim);
    const kvb_tensor *const t[3] = {&x0, &index0, &y0};
    plan<3> p = plan_of(t);
    put<<<blocks_of(p.count, 128), 128, 0, kvb_cuda_stream()>>>(
        p, (const float *)x->data, x->stride[dim], (const int32_t *)index->data, index->stride[dim], (float *)y->data,
        y->stride[dim], x->shape[dim], base, kind);
    return kvb_cuda_launched("scatter");
}
