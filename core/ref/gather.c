/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gather.c - reference of gather: along `dim`, y picks the elements of x that an index tensor of y's shape names.
 * Indices are checked against x before anything is read. `base` is the index of the first element (Lua counts from 1).
 */
#include "operands.h"

kvb_status ref_gather(const kvb_tensor *x, const kvb_tensor *index, kvb_tensor *y, int32_t dim, int32_t base) {
    KVB_TRY(ref_check_gather(x, index, y, dim));
    for (ref_walk w = ref_walk_start(y); w.more; ref_walk_next(&w, y)) {
        int64_t i = (int64_t)((const int32_t *)index->data)[ref_offset(index, &w)] - base;
        if (i < 0 || i >= x->shape[dim])
            return ref_fail_index("gather", i + base, dim, x->shape[dim]);
        ref_walk from = w;
        from.at[dim] = i;
        *ref_f32(y, &w) = *ref_f32(x, &from);
    }
    return KVB_OK;
}
