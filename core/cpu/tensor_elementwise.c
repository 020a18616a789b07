/* SPDX-License-Identifier: Apache-2.0 */
/* tensor_elementwise.c - copy, unary, binary and where on the CPU: runs of the merged index space, spread over
 * threads. */
#include "cpu.h"
#include "tensor_cpu.h"

kvb_status cpu_unary(const kvb_tensor *x, kvb_tensor *y, int32_t kind, double low, double high) {
    KVB_TRY(ref_check_unary(x, y, kind));
    const kvb_tensor *const t[] = {x, y};
    kvb_loop loop = kvb_loop_over(t, 2, true);
    const kvb_tensor_kernels *kernels = kvb_tensor_pick();
#pragma omp parallel for num_threads(kvb_loop_threads(loop.outer * loop.run)) schedule(static)
    for (int64_t i = 0; i < loop.outer; i++) {
        int64_t at[KVB_OPERANDS];
        kvb_loop_at(&loop, i, at);
        kernels->unary(kind, loop.run, (const float *)x->data + at[0], loop.stride[0][loop.ndim],
            (float *)y->data + at[1],
                       loop.stride[1][loop.ndim], (float)low, (float)high);
    }
    return KVB_OK;
}

kvb_status cpu_binary(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y, int32_t kind) {
    KVB_TRY(ref_check_binary(a, b, y, kind));
    const kvb_tensor *const t[] = {a, b, y};
    kvb_loop loop = kvb_loop_over(t, 3, true);
    const kvb_tensor_kernels *kernels = kvb_tensor_pick();
#pragma omp parallel for num_threads(kvb_loop_threads(loop.outer * loop.run)) schedule(static)
    for (int64_t i = 0; i < loop.outer; i++) {
        int64_t at[KVB_OPERANDS];
        kvb_loop_at(&loop, i, at);
        kernels->binary(kind, loop.run, (const float *)a->data + at[0], loop.stride[0][loop.ndim],
            (const float *)b->data + at[1],
                        loop.stride[1][loop.ndim], (float *)y->data + at[2], loop.stride[2][loop.ndim]);
    }
    return KVB_OK;
}

kvb_status cpu_where(const kvb_tensor *c, const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y) {
    KVB_TRY(ref_check_where(c, a, b, y));
    const kvb_tensor *const t[] = {c, a, b, y};
    kvb_loop loop = kvb_loop_over(t, 4, true);
    const kvb_tensor_kernels *kernels = kvb_tensor_pick();
#pragma omp parallel for num_threads(kvb_loop_threads(loop.outer * loop.run)) schedule(static)
    for (int64_t i = 0; i < loop.outer; i++) {
        int64_t at[KVB_OPERANDS], n = loop.ndim;
        kvb_loop_at(&loop, i, at);
        kernels->where(loop.run, (const float *)c->data + at[0], loop.stride[0][n], (const float *)a->data + at[1],
                       loop.stride[1][n], (const float *)b->data + at[2], loop.stride[2][n], (float *)y->data + at[3],
                       loop.stride[3][n]);
    }
    return KVB_OK;
}

/* Equal dtypes of four bytes are moved here; conversions are rare enough for the reference. */
kvb_status cpu_copy(const kvb_tensor *x, kvb_tensor *y) {
    if (!x || !y || x->dtype != y->dtype || kvb_dtype_bytes(y->dtype) != 4) return ref_copy(x, y);
    KVB_TRY(ref_check_output("copy", y, y->dtype));
    KVB_TRY(ref_check_input("copy", "x", x, x->dtype, y, -1));
    const kvb_tensor *const t[] = {x, y};
    kvb_loop loop = kvb_loop_over(t, 2, true);
    int64_t sx = loop.stride[0][loop.ndim], sy = loop.stride[1][loop.ndim];
#pragma omp parallel for num_threads(kvb_loop_threads(loop.outer * loop.run)) schedule(static)
    for (int64_t i = 0; i < loop.outer; i++) {
        int64_t at[KVB_OPERANDS];
        kvb_loop_at(&loop, i, at);
        const uint32_t *from = (const uint32_t *)x->data + at[0];
        uint32_t *to = (uint32_t *)y->data + at[1];
        if (sx == 1 && sy == 1) memmove(to, from, (size_t)loop.run * 4);
        else
            for (int64_t j = 0; j < loop.run; j++) to[j * sy] = from[j * sx];
    }
    return KVB_OK;
}
