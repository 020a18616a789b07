/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_reduce.c - reductions, softmax and inner products on the CPU, one slice per call of a kernel.
 *
 * Two layouts matter: slices that are contiguous (reducing the last dimension), and slices whose neighbours are
 * contiguous (reducing an outer dimension), where 64 columns are reduced together in one pass over memory. Anything
 * else copies its slice into a small buffer first.
 */
#include "cpu.h"
#include "tensor_cpu.h"
#include <math.h>

enum { BUFFERED = 1024 };

/* The slice as contiguous floats: itself, or copied to `buffer` (BUFFERED floats) or to fresh memory in *owned. */
static const float *contiguous(const float *x, int64_t n, int64_t step, float *buffer, float **owned) {
    *owned = NULL;
    if (step == 1) return x;
    float *to = buffer;
    if (n > BUFFERED) to = *owned = kvb_alloc_raw(kvb_mul_size((size_t)n, sizeof *to), KVB_MEM_SCRATCH);
    for (int64_t i = 0; to && i < n; i++) to[i] = x[i * step];
    return to;
}

/* Said again in the caller's thread: the allocator's diagnostic is in the one that failed. */
static kvb_status out_of_memory(const char *op, int64_t n) {
    return kvb_fail(KVB_E_MEMORY, "%s: out of memory for a slice of %lld elements", op, (long long)n);
}

static bool column_kind(int32_t kind, double p) {
    return kind == REDUCE_SUM || kind == REDUCE_MEAN || kind == REDUCE_MIN || kind == REDUCE_MAX
        || (kind == REDUCE_NORM && (p == 1 || p == 2));
}

static int64_t extremum(const float *x, int64_t n, int64_t step, bool largest) {
    int64_t best = 0;
    for (int64_t i = 0; i < n && (i % KVB_SPAN || !kvb_cancelled()); i++) {
        float v = x[i * step], b = x[best * step];
        if (v != v) return i;
        if (largest ? v > b : v < b) best = i;
    }
    return best;
}

kvb_status cpu_reduce(const kvb_tensor *x, kvb_tensor *y, int32_t dim, int32_t kind, double p) {
    KVB_TRY(ref_check_reduce(x, y, dim, kind, p));
    kvb_tensor slices = ref_drop_dim(x, dim);
    const kvb_tensor *const t[] = {&slices, y};
    int64_t n = x->shape[dim], step = x->stride[dim];
    kvb_loop loop = kvb_loop_over(t, 2, false);
    int64_t sx = loop.stride[0][loop.ndim], sy = loop.stride[1][loop.ndim];
    bool by_columns = sx == 1 && sy == 1 && loop.run > 1 && column_kind(kind, p);
    int64_t width = by_columns ? KVB_COLUMNS : 1, per_run = kvb_round_up(loop.run, width) / width;
    const kvb_tensor_kernels *kernels = kvb_tensor_pick();
    bool failed = false;
#pragma omp parallel for num_threads(kvb_loop_threads(loop.outer * loop.run * n)) schedule(static)
    for (int64_t i = 0; i < loop.outer * per_run; i++) {
        int64_t at[KVB_OPERANDS], first = i % per_run * width;
        kvb_loop_at(&loop, i / per_run, at);
        const float *in = (const float *)x->data + at[0] + first * sx;
        int64_t out = at[1] + first * sy;
        if (kvb_cancelled()) continue;
        float buffer[BUFFERED], *owned = NULL;
        if (by_columns) {
            kernels->columns(kind, n, step, kvb_min64(width, loop.run - first), in, p, (float *)y->data + out);
        } else if (y->dtype == KVB_I32) {
            ((int32_t *)y->data)[out] = (int32_t)(extremum(in, n, step, kind == REDUCE_ARGMAX) + (int64_t)p);
        } else {
            const float *slice = contiguous(in, n, step, buffer, &owned);
            if (slice) ((float *)y->data)[out] = kernels->reduce(kind, n, slice, p);
            else {
#pragma omp atomic write
                failed = true;
            }
            kvb_free(owned);
        }
    }
    return failed ? out_of_memory("reduce", n) : KVB_OK;
}

kvb_status cpu_softmax(const kvb_tensor *x, kvb_tensor *y, int32_t dim) {
    KVB_TRY(ref_check_along("softmax", x, y, dim));
    kvb_tensor x0 = ref_drop_dim(x, dim), y0 = ref_drop_dim(y, dim);
    const kvb_tensor *const t[] = {&x0, &y0};
    int64_t n = x->shape[dim], sx = x->stride[dim], sy = y->stride[dim];
    kvb_loop loop = kvb_loop_over(t, 2, false);
    const kvb_tensor_kernels *kernels = kvb_tensor_pick();
    bool failed = false;
    if (n == 0) return KVB_OK;
#pragma omp parallel for num_threads(kvb_loop_threads(loop.outer * loop.run * n)) schedule(static)
    for (int64_t i = 0; i < loop.outer * loop.run; i++) {
        int64_t at[KVB_OPERANDS], within = i % loop.run;
        if (kvb_cancelled()) continue;
        kvb_loop_at(&loop, i / loop.run, at);
        const float *in = (const float *)x->data + at[0] + within * loop.stride[0][loop.ndim];
        float *out = (float *)y->data + at[1] + within * loop.stride[1][loop.ndim], buffer[BUFFERED], *owned = NULL;
        if (sx == 1 && sy == 1) {
            kernels->softmax(n, in, out);
            continue;
        }
        float *work = buffer;
        if (n > BUFFERED) work = owned = kvb_alloc_raw(kvb_mul_size((size_t)n, sizeof *work), KVB_MEM_SCRATCH);
        if (!work) {
#pragma omp atomic write
            failed = true;
            continue;
        }
        for (int64_t j = 0; j < n; j++) work[j] = in[j * sx];
        kernels->softmax(n, work, work);
        for (int64_t j = 0; j < n; j++) out[j * sy] = work[j];
        kvb_free(owned);
    }
    return failed ? out_of_memory("softmax", n) : KVB_OK;
}

kvb_status cpu_vecdot(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y) {
    KVB_TRY(ref_check_vecdot(a, b, y));
    int32_t last = a->ndim - 1;
    int64_t n = a->shape[last];
    if (n > 1 && (a->stride[last] != 1 || b->stride[last] != 1)) return ref_vecdot(a, b, y);
    kvb_tensor a0 = ref_drop_dim(a, last), b0 = ref_drop_dim(b, last);
    const kvb_tensor *const t[] = {&a0, &b0, y};
    kvb_loop loop = kvb_loop_over(t, 3, false);
    const kvb_tensor_kernels *kernels = kvb_tensor_pick();
#pragma omp parallel for num_threads(kvb_loop_threads(loop.outer * loop.run * n)) schedule(static)
    for (int64_t i = 0; i < loop.outer; i++) {
        int64_t at[KVB_OPERANDS], d = loop.ndim;
        kvb_loop_at(&loop, i, at);
        const float *u = (const float *)a->data + at[0], *v = (const float *)b->data + at[1];
        float *out = (float *)y->data + at[2];
        for (int64_t j = 0; j < loop.run && !kvb_cancelled(); j++)
            out[j * loop.stride[2][d]] = kernels->dot(n, u + j * loop.stride[0][d], v + j * loop.stride[1][d]);
    }
    return KVB_OK;
}
