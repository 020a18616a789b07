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
        int64_t sx = loop.stride[0][loop.ndim], sy = loop.stride[1][loop.ndim];
        KVB_SPANS(j, loop.run)
            kernels->unary(kind, kvb_min64(KVB_SPAN, loop.run - j), (const float *)x->data + at[0] + j * sx, sx,
                           (float *)y->data + at[1] + j * sy, sy, (float)low, (float)high);
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
        int64_t n = loop.ndim, sa = loop.stride[0][n], sb = loop.stride[1][n], sy = loop.stride[2][n];
        KVB_SPANS(j, loop.run)
            kernels->binary(kind, kvb_min64(KVB_SPAN, loop.run - j), (const float *)a->data + at[0] + j * sa, sa,
                            (const float *)b->data + at[1] + j * sb, sb, (float *)y->data + at[2] + j * sy, sy);
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
        int64_t at[KVB_OPERANDS], s[4];
        kvb_loop_at(&loop, i, at);
        for (int o = 0; o < 4; o++) s[o] = loop.stride[o][loop.ndim];
        KVB_SPANS(j, loop.run)
            kernels->where(kvb_min64(KVB_SPAN, loop.run - j), (const float *)c->data + at[0] + j * s[0], s[0],
                           (const float *)a->data + at[1] + j * s[1], s[1], (const float *)b->data + at[2] + j * s[2],
                           s[2], (float *)y->data + at[3] + j * s[3], s[3]);
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
        KVB_SPANS(first, loop.run) {
            int64_t last = kvb_min64(first + KVB_SPAN, loop.run);
            if (sx == 1 && sy == 1) memmove(to + first, from + first, (size_t)(last - first) * 4);
            else
                for (int64_t j = first; j < last; j++) to[j * sy] = from[j * sx];
        }
    }
    return KVB_OK;
}
