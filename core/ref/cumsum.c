/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cumsum.c - reference of the running sum along one dimension: y[i] = x[0] + ... + x[i]. The sum itself stays in
 * double; only what is stored is rounded.
 */
#include "operands.h"

kvb_status ref_cumsum(const kvb_tensor *x, kvb_tensor *y, int32_t dim) {
    KVB_TRY(ref_check_along("cumsum", x, y, dim));
    kvb_tensor x0 = ref_drop_dim(x, dim), y0 = ref_drop_dim(y, dim);
    for (ref_walk w = ref_walk_start(&x0); w.more; ref_walk_next(&w, &x0)) {
        double total = 0;
        for (int64_t i = 0; i < x->shape[dim]; i++) {
            total += ref_f32(&x0, &w)[i * x->stride[dim]];
            ref_f32(&y0, &w)[i * y->stride[dim]] = (float)total;
        }
    }
    return KVB_OK;
}
