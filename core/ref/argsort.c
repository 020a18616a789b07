/* SPDX-License-Identifier: Apache-2.0 */
/*
 * argsort.c - reference of argsort over the last dimension: y[k] = position of the element that comes k-th. Stable in
 * both directions; NaN is refused. Insertion sort: the plainest stable order.
 */
#include "operands.h"
#include <math.h>

kvb_status ref_argsort(const kvb_tensor *x, kvb_tensor *y, int32_t descending, int32_t base) {
    KVB_TRY(ref_check_rank("argsort", x, y, KVB_I32));
    int32_t last = x->ndim - 1;
    int64_t n = x->shape[last], sx = x->stride[last], sy = y->stride[last], row = 0;
    kvb_tensor x0 = ref_drop_dim(x, last), y0 = ref_drop_dim(y, last);
    for (ref_walk w = ref_walk_start(&x0); w.more; ref_walk_next(&w, &x0), row++) {
        const float *in = ref_f32(&x0, &w);
        int32_t *out = (int32_t *)y0.data + ref_offset(&y0, &w);
        for (int64_t i = 0; i < n; i++) {
            float v = in[i * sx];
            int64_t k = i;
            if (isnan(v)) return ref_fail_nan("argsort", row, i);
            for (; k > 0; k--) {
                float before = in[((int64_t)out[(k - 1) * sy] - base) * sx];
                if (descending ? before >= v : before <= v) break;
                out[k * sy] = out[(k - 1) * sy];
            }
            out[k * sy] = (int32_t)(i + base);
        }
    }
    return KVB_OK;
}
