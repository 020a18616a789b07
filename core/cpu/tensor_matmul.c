/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_matmul.c - batched products of small matrices on the CPU.
 *
 * What presses multiply is a few hundred matrices of about 250 x 64: blocks of 64 rows of each are dealt to the
 * threads. Rejected: oneDNN's sgemm, whose bits depend on the shape of the call, and which costs more to enter than
 * such a product.
 */
#include "cpu.h"
#include "tensor_cpu.h"

kvb_status cpu_matmul(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y) {
    KVB_TRY(ref_check_matmul(a, b, y));
    int32_t row = y->ndim - 2, column = y->ndim - 1;
    if (y->stride[column] != 1 && y->shape[column] > 1) return ref_matmul(a, b, y);
    kvb_tensor a0 = *a, b0 = *b, y0 = *y;
    a0.ndim = b0.ndim = y0.ndim = row; /* the batch dimensions */
    const kvb_tensor *const t[] = {&a0, &b0, &y0};
    kvb_loop loop = kvb_loop_over(t, 3, false);
    int64_t m = y->shape[row], n = y->shape[column], k = a->shape[column];
    int64_t blocks = kvb_round_up(m, KVB_GEMM_ROWS) / KVB_GEMM_ROWS, batch = loop.outer * loop.run;
    const kvb_tensor_kernels *kernels = kvb_tensor_pick();
    if (batch == 0 || m == 0 || n == 0) return KVB_OK;
    int32_t threads = kvb_loop_threads(batch * m * n * kvb_max64(k, 1) / 8), failed = 0;
#pragma omp parallel num_threads(threads)
    {
        float *scratch = kvb_alloc_raw(kvb_mul_size((size_t)kvb_gemm_scratch(k), sizeof *scratch), KVB_MEM_SCRATCH);
        if (!scratch) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < batch * blocks; i++) {
            int64_t at[KVB_OPERANDS], which = i / blocks, first = i % blocks * KVB_GEMM_ROWS, within = which % loop.run;
            if (!scratch || kvb_cancelled()) continue;
            kvb_loop_at(&loop, which / loop.run, at);
            for (int o = 0; o < 3; o++) at[o] += within * loop.stride[o][loop.ndim];
            kernels->gemm(kvb_min64(KVB_GEMM_ROWS, m - first), n, k,
                (const float *)a->data + at[0] + first * a->stride[row],
                          a->stride[row], a->stride[column], (const float *)b->data + at[1], b->stride[row],
                              b->stride[column],
                          (float *)y->data + at[2] + first * y->stride[row], y->stride[row], scratch);
        }
        kvb_free(scratch);
    }
    if (failed) return kvb_fail(KVB_E_MEMORY, "matmul: out of memory for a panel of %lld rows", (long long)k);
    return KVB_OK;
}
