/* SPDX-License-Identifier: Apache-2.0 */
/*
 * softmax.c - reference of softmax over one dimension: exp(x - max) / sum exp(x - max). A slice of -inf alone is 0/0 =
 * NaN, as in torch; attention with an empty mask is the attention op's case, not this one's.
 */
#include "operands.h"
#include <math.h>

kvb_status ref_softmax(const kvb_tensor *x, kvb_tensor *y, int32_t dim) {
    KVB_TRY(ref_check_along("softmax", x, y, dim));
    kvb_tensor x0 = ref_drop_dim(x, dim), y0 = ref_drop_dim(y, dim);
    int64_t n = x->shape[dim], sx = x->stride[dim], sy = y->stride[dim];
    for (ref_walk w = ref_walk_start(&x0); w.more && n > 0; ref_walk_next(&w, &x0)) {
        const float *in = ref_f32(&x0, &w);
        float *out = ref_f32(&y0, &w);
        double largest = -INFINITY, total = 0;
        for (int64_t i = 0; i < n; i++)
            if (!(in[i * sx] <= largest)) largest = in[i * sx];
        for (int64_t i = 0; i < n; i++) total += exp(in[i * sx] - largest);
        for (int64_t i = 0; i < n; i++) out[i * sy] = (float)(exp(in[i * sx] - largest) / total);
    }
    return KVB_OK;
}
