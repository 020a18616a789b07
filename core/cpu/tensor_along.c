/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_along.c - running sums, pooling and random numbers on the CPU: ops whose work lies along one dimension.
 *
 * Running sums take 64 neighbouring slices at a time where those are contiguous (as the reductions do), else one.
 * Pooling adds tap by tap over a block of outputs, so that the inner loop has no bounds to check and vectorises.
 */
#include "cpu.h"
#include "tensor_cpu.h"
#include <math.h>

enum { BLOCK = 256 };

kvb_status cpu_cumsum(const kvb_tensor *x, kvb_tensor *y, int32_t dim) {
    KVB_TRY(ref_check_along("cumsum", x, y, dim));
    kvb_tensor x0 = ref_drop_dim(x, dim), y0 = ref_drop_dim(y, dim);
    const kvb_tensor *const t[] = {&x0, &y0};
    kvb_loop loop = kvb_loop_over(t, 2, false);
    int64_t n = x->shape[dim], step_x = x->stride[dim], step_y = y->stride[dim], d = loop.ndim;
    int64_t sx = loop.stride[0][d], sy = loop.stride[1][d];
    int64_t width = sx == 1 && sy == 1 ? KVB_COLUMNS : 1, per_run = kvb_round_up(loop.run, width) / width;
#pragma omp parallel for num_threads(kvb_loop_threads(loop.outer * loop.run * n)) schedule(static)
    for (int64_t i = 0; i < loop.outer * per_run; i++) {
        int64_t at[KVB_OPERANDS], first = i % per_run * width, columns = kvb_min64(width, loop.run - first);
        kvb_loop_at(&loop, i / per_run, at);
        const float *in = (const float *)x->data + at[0] + first * sx;
        float *out = (float *)y->data + at[1] + first * sy;
        double total[KVB_COLUMNS] = {0}, one = 0;
        KVB_SPANS(k0, n)
            for (int64_t k = k0; k < kvb_min64(k0 + KVB_SPAN, n); k++, in += step_x, out += step_y) {
                if (columns == 1) *out = (float)(one += *in);
                else
                    for (int64_t c = 0; c < columns; c++) {
                        total[c] += in[c];
                        out[c] = (float)total[c];
                    }
            }
    }
    return KVB_OK;
}

/* One row, contiguous: outputs [0, m) of x [n]. */
static void pool_row(const kvb_tensor_kernels *kernels, const float *x, int64_t n, float *y, int64_t m, int32_t kind,
                     int32_t kernel, int32_t step, int32_t padding, int32_t include_pad) {
    for (int64_t first = 0; first < m && !kvb_cancelled(); first += BLOCK) {
        int64_t count = kvb_min64(BLOCK, m - first);
        double acc[BLOCK];
        for (int64_t i = 0; i < count; i++) acc[i] = kind == POOL_MAX ? -INFINITY : 0;
        for (int64_t k = 0; k < kernel; k++) { /* outputs whose tap k lies inside x: low <= i < high */
            int64_t shift = first * step + k - padding;
            int64_t low = shift >= 0 ? 0 : (-shift + step - 1) / step;
            int64_t high = n - shift <= 0 ? 0 : kvb_min64(count, (n - shift + step - 1) / step);
            if (high > low) kernels->tap(kind, high - low, x + low * step + shift, step, acc + low);
        }
        for (int64_t i = 0; i < count; i++) {
            int64_t from = (first + i) * step - padding, to = kvb_min64(from + kernel, n + padding);
            int64_t taps = include_pad ? to - from : kvb_min64(to, n) - kvb_max64(from, 0);
            y[first + i] = (float)(kind == POOL_MAX ? acc[i] : acc[i] / (double)taps);
        }
    }
}

kvb_status cpu_pool1d(const kvb_tensor *x, kvb_tensor *y, int32_t kind, int32_t kernel, int32_t step, int32_t padding,
                      int32_t include_pad) {
    KVB_TRY(ref_check_pool1d(x, y, kind, kernel, step, padding));
    int32_t last = y->ndim - 1;
    if ((x->stride[last] != 1 && x->shape[last] > 1) || (y->stride[last] != 1 && y->shape[last] > 1))
        return ref_pool1d(x, y, kind, kernel, step, padding, include_pad);
    kvb_tensor x0 = ref_drop_dim(x, last), y0 = ref_drop_dim(y, last);
    const kvb_tensor *const t[] = {&x0, &y0};
    kvb_loop loop = kvb_loop_over(t, 2, false);
    int64_t rows = loop.outer * loop.run, m = y->shape[last], d = loop.ndim;
    const kvb_tensor_kernels *kernels = kvb_tensor_pick();
#pragma omp parallel for num_threads(kvb_loop_threads(rows * m * kernel)) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        int64_t at[KVB_OPERANDS], within = r % loop.run;
        kvb_loop_at(&loop, r / loop.run, at);
        pool_row(kernels, (const float *)x->data + at[0] + within * loop.stride[0][d], x->shape[last],
                 (float *)y->data + at[1] + within * loop.stride[1][d], m, kind, kernel, step, padding, include_pad);
    }
    return KVB_OK;
}

kvb_status cpu_uniform(kvb_tensor *y, uint64_t seed, int64_t first) {
    if (!y || !y->data || y->dtype != KVB_F32 || !kvb_tensor_contiguous(y)) return ref_uniform(y, seed, first);
    int64_t n = kvb_tensor_count(y);
    float *out = y->data;
#pragma omp parallel for num_threads(kvb_loop_threads(n)) schedule(static)
    for (int64_t block = 0; block < n; block += KVB_SPAN) {
        if (kvb_cancelled()) continue;
        for (int64_t i = block; i < kvb_min64(block + KVB_SPAN, n); i++) {
            uint64_t z = seed + (uint64_t)(first + i + 1) * 0x9e3779b97f4a7c15u;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
            z ^= z >> 31;
            out[i] = (float)(z >> 40) * 0x1p-24f;
        }
    }
    return KVB_OK;
}
