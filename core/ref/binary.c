/* SPDX-License-Identifier: Apache-2.0 */
/*
 * binary.c - reference of the element-wise functions of two arguments. Comparisons yield 1 or 0 and are false for NaN
 * (ne is true); max and min return NaN if either argument is NaN, as torch.maximum does and C's fmax does not.
 */
#include "operands.h"
#include <math.h>

static double apply(int32_t kind, double a, double b) {
    bool nan = isnan(a) || isnan(b);
    switch (kind) {
    case BINARY_ADD: return a + b;
    case BINARY_SUB: return a - b;
    case BINARY_MUL: return a * b;
    case BINARY_DIV: return a / b;
    case BINARY_POW: return pow(a, b);
    case BINARY_MAX: return nan ? NAN : a > b ? a : b;
    case BINARY_MIN: return nan ? NAN : a < b ? a : b;
    case BINARY_LT: return a < b;
    case BINARY_LE: return a <= b;
    case BINARY_GT: return a > b;
    case BINARY_GE: return a >= b;
    case BINARY_EQ: return a == b;
    default: return a != b;
    }
}

kvb_status ref_binary(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y, int32_t kind) {
    KVB_TRY(ref_check_binary(a, b, y, kind));
    for (ref_walk w = ref_walk_start(y); w.more; ref_walk_next(&w, y))
        *ref_f32(y, &w) = (float)apply(kind, *ref_f32(a, &w), *ref_f32(b, &w));
    return KVB_OK;
}
