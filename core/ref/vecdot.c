/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vecdot.c - reference of the inner product over the last dimension: y = sum_i a_i b_i. An op of its own because
 * quadratic forms k' C k of every key would otherwise store a product as large as the keys of all heads.
 */
#include "operands.h"

kvb_status ref_vecdot(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y) {
    KVB_TRY(ref_check_vecdot(a, b, y));
    int32_t last = a->ndim - 1;
    kvb_tensor a0 = ref_drop_dim(a, last), b0 = ref_drop_dim(b, last);
    for (ref_walk w = ref_walk_start(y); w.more; ref_walk_next(&w, y)) {
        double total = 0;
        for (int64_t i = 0; i < a->shape[last]; i++)
            total += (double)ref_f32(&a0, &w)[i * a->stride[last]] * ref_f32(&b0, &w)[i * b->stride[last]];
        *ref_f32(y, &w) = (float)total;
    }
    return KVB_OK;
}
