/* SPDX-License-Identifier: Apache-2.0 */
/* The lowest index of the largest element, and how far the second largest lies below it (0: a tie, +inf: n = 1). */
#include "operands.h"
#include <math.h>

kvb_status ref_check_argmax_margin(const kvb_tensor *x, const kvb_tensor *index, const kvb_tensor *margin) {
    KVB_TRY(kvb_tensor_expect("argmax_margin", "x", x, KVB_F32, 2, (int64_t[]){-1, -1}));
    KVB_TRY(kvb_tensor_expect("argmax_margin", "index", index, KVB_I32, 1, x->shape));
    KVB_TRY(kvb_tensor_expect("argmax_margin", "margin", margin, KVB_F32, 1, x->shape));
    if (x->shape[0] > 0 && x->shape[1] == 0)
        return kvb_fail(KVB_E_SHAPE, "argmax_margin: rows of no elements have no largest");
    return KVB_OK;
}

kvb_status ref_argmax_margin(const kvb_tensor *x, kvb_tensor *index, kvb_tensor *margin) {
    KVB_TRY(ref_check_argmax_margin(x, index, margin));
    int64_t rows = x->shape[0], n = x->shape[1];
    for (int64_t r = 0; r < rows; r++) {
        const float *row = (const float *)x->data + r * x->stride[0];
        int64_t best = 0;
        float second = -INFINITY;
        for (int64_t i = 1; i < n; i++) {
            float value = row[i * x->stride[1]];
            if (value > row[best * x->stride[1]]) {
                second = row[best * x->stride[1]];
                best = i;
            } else if (value > second) second = value;
        }
        ((int32_t *)index->data)[r * index->stride[0]] = (int32_t)best;
        ((float *)margin->data)[r * margin->stride[0]] = row[best * x->stride[1]] - second;
    }
    return KVB_OK;
}
