/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy.c - reference of copy: elements moved between layouts and dtypes.
 *
 * Every pair of dtypes goes through double, which holds each of them exactly (i64 beyond 2^53 excepted: equal dtypes
 * are therefore moved as bytes). To integers: truncated towards zero, clamped to the range, NaN becomes 0; torch
 * leaves the last two undefined, and an undefined result would differ between machines.
 */
#include "operands.h"
#include <math.h>

static double get(const kvb_tensor *t, int64_t i) {
    switch (t->dtype) {
    case KVB_F32: return ((const float *)t->data)[i];
    case KVB_F16: return (double)((const _Float16 *)t->data)[i];
    case KVB_BF16: return kvb_bf16_to_f32(((const uint16_t *)t->data)[i]);
    case KVB_I32: return ((const int32_t *)t->data)[i];
    case KVB_U8: return ((const uint8_t *)t->data)[i];
    case KVB_U32: return ((const uint32_t *)t->data)[i];
    default: return (double)((const int64_t *)t->data)[i];
    }
}

static double whole(double v, double lowest, double highest) {
    if (isnan(v)) return 0;
    return trunc(v < lowest ? lowest : v > highest ? highest : v);
}

static void put(const kvb_tensor *t, int64_t i, double v) {
    switch (t->dtype) {
    case KVB_F32: ((float *)t->data)[i] = (float)v; break;
    case KVB_F16: ((_Float16 *)t->data)[i] = (_Float16)v; break;
    case KVB_BF16: ((uint16_t *)t->data)[i] = kvb_f32_to_bf16((float)v); break;
    case KVB_I32: ((int32_t *)t->data)[i] = (int32_t)whole(v, INT32_MIN, INT32_MAX); break;
    case KVB_U8: ((uint8_t *)t->data)[i] = (uint8_t)whole(v, 0, UINT8_MAX); break;
    case KVB_U32: ((uint32_t *)t->data)[i] = (uint32_t)whole(v, 0, UINT32_MAX); break;
    default: /* 2^63 is not an int64: the largest double below it is */
        ((int64_t *)t->data)[i] = (int64_t)whole(v, -0x1p63, 0x1.fffffffffffffp62);
    }
}

kvb_status ref_check_copy(const kvb_tensor *x, const kvb_tensor *y) {
    if (!x || !y) return kvb_fail(KVB_E_ARG, "copy: %s is missing", x ? "the output" : "x");
    int64_t unit = kvb_dtype_bytes(y->dtype);
    if (!unit || !kvb_dtype_bytes(x->dtype)) return kvb_fail(KVB_E_ARG, "copy: unknown dtype %d",
        unit ? x->dtype : y->dtype);
    KVB_TRY(ref_check_output("copy", y, y->dtype));
    return ref_check_input("copy", "x", x, x->dtype, y, -1);
}

kvb_status ref_copy(const kvb_tensor *x, kvb_tensor *y) {
    KVB_TRY(ref_check_copy(x, y));
    size_t unit = (size_t)kvb_dtype_bytes(y->dtype);
    for (ref_walk w = ref_walk_start(y); w.more; ref_walk_next(&w, y)) {
        int64_t from = ref_offset(x, &w), to = ref_offset(y, &w);
        if (x->dtype == y->dtype)
            memcpy((char *)y->data + to * (int64_t)unit, (const char *)x->data + from * (int64_t)unit, unit);
        else
            put(y, to, get(x, from));
    }
    return KVB_OK;
}
