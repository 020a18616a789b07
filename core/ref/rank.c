/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rank.c - reference of rank: how many elements of the row come before this one, the higher value first, then the
 * earlier position; -0 equals 0. It is the definition of "which tokens are kept", hence the counting form: nothing is
 * left to a sort's stability. NaN has no rank and is an error.
 */
#include "operands.h"
#include <math.h>

kvb_status ref_rank(const kvb_tensor *x, kvb_tensor *y) {
    KVB_TRY(ref_check_rank("rank", x, y, KVB_U32));
    int32_t last = x->ndim - 1;
    int64_t n = x->shape[last], sx = x->stride[last], row = 0;
    kvb_tensor x0 = ref_drop_dim(x, last), y0 = ref_drop_dim(y, last);
    for (ref_walk w = ref_walk_start(&x0); w.more; ref_walk_next(&w, &x0), row++) {
        const float *in = ref_f32(&x0, &w);
        uint32_t *out = (uint32_t *)y0.data + ref_offset(&y0, &w);
        for (int64_t i = 0; i < n; i++)
            if (isnan(in[i * sx])) return ref_fail_nan("rank", row, i);
        for (int64_t i = 0; i < n; i++) {
            uint32_t before = 0;
            for (int64_t j = 0; j < n; j++) before += in[j * sx] > in[i * sx] || (in[j * sx] == in[i * sx] && j < i);
            out[i * y->stride[last]] = before;
        }
    }
    return KVB_OK;
}
