/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unary.c - reference of the element-wise functions of one argument. IEEE special values are kept: log(0) = -inf,
 * sqrt(-1) = NaN, clamp(NaN) = NaN (torch does the same), so that a mistake stays visible until someone looks.
 */
#include "operands.h"
#include <math.h>

static double apply(int32_t kind, double x, double low, double high) {
    switch (kind) {
    case UNARY_NEG: return -x;
    case UNARY_EXP: return exp(x);
    case UNARY_LOG: return log(x);
    case UNARY_SQRT: return sqrt(x);
    case UNARY_ABS: return fabs(x);
    case UNARY_CLAMP: return x < low ? low : x > high ? high : x;
    case UNARY_COS: return cos(x);
    case UNARY_SIN: return sin(x);
    case UNARY_TANH: return tanh(x);
    case UNARY_SIGMOID: return 1 / (1 + exp(-x));
    case UNARY_FLOOR: return floor(x);
    case UNARY_ROUND: return nearbyint(x);
    default: return erf(x);
    }
}

kvb_status ref_unary(const kvb_tensor *x, kvb_tensor *y, int32_t kind, double low, double high) {
    KVB_TRY(ref_check_unary(x, y, kind));
    for (ref_walk w = ref_walk_start(y); w.more; ref_walk_next(&w, y))
        *ref_f32(y, &w) = (float)apply(kind, *ref_f32(x, &w), low, high);
    return KVB_OK;
}
