/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool1d.c - reference of average and maximum pooling over the last dimension, as torch.nn.functional defines them:
 * the input is padded on both sides (with 0 for the average, with -inf for the maximum), include_pad says whether
 * padding counts in the average's denominator (torch's default is yes).
 */
#include "operands.h"
#include <math.h>

kvb_status ref_pool1d(const kvb_tensor *x, kvb_tensor *y, int32_t kind, int32_t kernel, int32_t step, int32_t padding,
                      int32_t include_pad) {
    KVB_TRY(ref_check_pool1d(x, y, kind, kernel, step, padding));
    int32_t last = y->ndim - 1;
    int64_t n = x->shape[last];
    for (ref_walk w = ref_walk_start(y); w.more; ref_walk_next(&w, y)) {
        int64_t from = w.at[last] * step - padding, to = kvb_min64(from + kernel, n + padding),
            start = kvb_max64(from, 0);
        int64_t stop = kvb_min64(to, n);
        ref_walk first = w;
        first.at[last] = 0;
        const float *in = ref_f32(x, &first);
        double total = 0, largest = -INFINITY;
        for (int64_t i = start; i < stop; i++) {
            double v = in[i * x->stride[last]];
            total += v;
            if (!(v <= largest)) largest = v;
            if (isnan(largest)) break;
        }
        int64_t count = include_pad ? to - from : stop - start;
        *ref_f32(y, &w) = (float)(kind == POOL_MAX ? largest : total / (double)count);
    }
    return KVB_OK;
}
