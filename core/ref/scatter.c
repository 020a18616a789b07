/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scatter.c - reference of scatter: along `dim`, the elements of x go to the places of y that an index tensor of x's
 * shape names. Several may meet in one place: the order is x's row-major order, so the last one stays (set), and sums
 * are rounded in a fixed order (add): every backend gives the same bits.
 */
#include "operands.h"
#include <math.h>

kvb_status ref_scatter(const kvb_tensor *x, const kvb_tensor *index, kvb_tensor *y, int32_t dim, int32_t base,
                       int32_t kind) {
    KVB_TRY(ref_check_scatter(x, index, y, dim, kind));
    for (ref_walk w = ref_walk_start(x); w.more; ref_walk_next(&w, x)) {
        int64_t i = (int64_t)((const int32_t *)index->data)[ref_offset(index, &w)] - base;
        if (i < 0 || i >= y->shape[dim])
            return ref_fail_index("scatter", i + base, dim, y->shape[dim]);
        ref_walk to = w;
        to.at[dim] = i;
        float v = *ref_f32(x, &w), *out = ref_f32(y, &to);
        if (kind == SCATTER_SET) *out = v;
        else if (kind == SCATTER_ADD) *out += v;
        else if (isnan(v) || v > *out) *out = v;
    }
    return KVB_OK;
}
