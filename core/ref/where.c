/* SPDX-License-Identifier: Apache-2.0 */
/*
 * where.c - reference of where: a choice, not a product, so that an infinity or NaN on the side that is not taken does
 * not leak through (mask * x would give 0 * inf = NaN).
 */
#include "operands.h"

kvb_status ref_where(const kvb_tensor *c, const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y) {
    KVB_TRY(ref_check_where(c, a, b, y));
    for (ref_walk w = ref_walk_start(y); w.more; ref_walk_next(&w, y))
        *ref_f32(y, &w) = *ref_f32(c, &w) != 0 ? *ref_f32(a, &w) : *ref_f32(b, &w);
    return KVB_OK;
}
