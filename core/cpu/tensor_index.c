/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_index.c - gather and scatter on the CPU.
 *
 * x is looked at with stride 0 along the indexed dimension, so all operands have one shape and are walked in merged
 * runs; the index adds the rest of the address. A run whose index stands still (index_select along an outer dimension)
 * is one copy. The first bad index in row-major order is reported, as the reference does, whichever thread met it.
 */
#include "cpu.h"
#include "tensor_cpu.h"

typedef struct bad_index {
    int64_t run, at, value;
} bad_index;

static void note(bad_index *bad, int64_t run, int64_t at, int64_t value) {
#pragma omp critical(kvb_tensor_bad_index)
    if (run < bad->run || (run == bad->run && at < bad->at)) *bad = (bad_index){run, at, value};
}

kvb_status cpu_gather(const kvb_tensor *x, const kvb_tensor *index, kvb_tensor *y, int32_t dim, int32_t base) {
    KVB_TRY(ref_check_gather(x, index, y, dim));
    kvb_tensor flat = *x;
    int64_t size = x->shape[dim], step = x->stride[dim];
    flat.shape[dim] = y->shape[dim];
    flat.stride[dim] = 0;
    const kvb_tensor *const t[] = {y, index, &flat};
    kvb_loop loop = kvb_loop_over(t, 3, true);
    int64_t n = loop.run, d = loop.ndim, sy = loop.stride[0][d], si = loop.stride[1][d], sx = loop.stride[2][d];
    bad_index bad = {INT64_MAX, 0, 0};
#pragma omp parallel for num_threads(kvb_loop_threads(loop.outer * n)) schedule(static)
    for (int64_t r = 0; r < loop.outer; r++) {
        int64_t at[KVB_OPERANDS];
        kvb_loop_at(&loop, r, at);
        float *to = (float *)y->data + at[0];
        const int32_t *which = (const int32_t *)index->data + at[1];
        const float *from = (const float *)x->data + at[2];
        if (si == 0 && sx == 1 && sy == 1) {
            int64_t i = (int64_t)*which - base;
            if (i < 0 || i >= size) note(&bad, r, 0, i);
            else memcpy(to, from + i * step, (size_t)n * sizeof *to);
            continue;
        }
        for (int64_t j = 0; j < n && (j % KVB_SPAN || !kvb_cancelled()); j++) {
            int64_t i = (int64_t)which[j * si] - base;
            if (i < 0 || i >= size) {
                note(&bad, r, j, i);
                break;
            }
            to[j * sy] = from[j * sx + i * step];
        }
    }
    if (bad.run == INT64_MAX) return KVB_OK;
    return ref_fail_index("gather", bad.value + base, dim, size);
}

/* What happens where several elements meet: the last stays, sums in order, or the largest with NaN winning. */
static inline void put(float *to, float v, int32_t kind) {
    if (kind == SCATTER_SET) *to = v;
    else if (kind == SCATTER_ADD) *to += v;
    else if (v != v || v > *to) *to = v;
}

/* Threads share out what lies outside dim, so that elements that meet are one thread's, in the reference's order. */
kvb_status cpu_scatter(const kvb_tensor *x, const kvb_tensor *index, kvb_tensor *y, int32_t dim, int32_t base,
                       int32_t kind) {
    KVB_TRY(ref_check_scatter(x, index, y, dim, kind));
    kvb_tensor x0 = ref_drop_dim(x, dim), i0 = ref_drop_dim(index, dim), y0 = ref_drop_dim(y, dim);
    const kvb_tensor *const t[] = {&y0, &i0, &x0};
    kvb_loop loop = kvb_loop_over(t, 3, false);
    int64_t n = x->shape[dim], size = y->shape[dim], d = loop.ndim, slices = loop.outer * loop.run;
    int64_t sx = x->stride[dim], si = index->stride[dim], sy = y->stride[dim];
    bool wrong = false;
    if (n == 0) return KVB_OK;
#pragma omp parallel for num_threads(kvb_loop_threads(slices * n)) schedule(static)
    for (int64_t r = 0; r < slices; r++) {
        int64_t at[KVB_OPERANDS], within = r % loop.run;
        kvb_loop_at(&loop, r / loop.run, at);
        float *to = (float *)y->data + at[0] + within * loop.stride[0][d];
        const int32_t *which = (const int32_t *)index->data + at[1] + within * loop.stride[1][d];
        const float *from = (const float *)x->data + at[2] + within * loop.stride[2][d];
        for (int64_t j = 0; j < n && (j % KVB_SPAN || !kvb_cancelled()); j++) {
            int64_t i = (int64_t)which[j * si] - base;
            if (i < 0 || i >= size) {
#pragma omp atomic write
                wrong = true;
                break;
            }
            put(to + i * sy, from[j * sx], kind);
        }
    }
    /* Which is the first in row-major order is the reference's to say; it stops there, before any harm. */
    return wrong ? ref_first_bad_index("scatter", index, dim, base, size) : KVB_OK;
}
