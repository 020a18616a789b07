/* SPDX-License-Identifier: Apache-2.0 */
/*
 * matmul.c - reference of the (batched) matrix product: y[..., i, j] = sum_k a[..., i, k] b[..., k, j], in order of k.
 */
#include "operands.h"

kvb_status ref_matmul(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y) {
    KVB_TRY(ref_check_matmul(a, b, y));
    int32_t row = y->ndim - 2, column = y->ndim - 1;
    int64_t depth = a->shape[column];
    for (ref_walk w = ref_walk_start(y); w.more; ref_walk_next(&w, y)) {
        ref_walk wa = w, wb = w;
        wa.at[column] = 0;
        wb.at[row] = 0;
        const float *pa = ref_f32(a, &wa), *pb = ref_f32(b, &wb);
        double total = 0;
        for (int64_t k = 0; k < depth; k++) total += (double)pa[k * a->stride[column]] * pb[k * b->stride[row]];
        *ref_f32(y, &w) = (float)total;
    }
    return KVB_OK;
}
