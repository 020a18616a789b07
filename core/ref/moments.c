/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moments.c - reference of mean and covariance of the rows of a matrix: m = sum_i x_i / n,
 * C = sum_i (x_i - m)(x_i - m)' / n. An op of its own because the centred rows of all queries are as large as the
 * queries, and C is symmetric.
 */
#include "operands.h"

kvb_status ref_check_moments(const kvb_tensor *x, const kvb_tensor *mean, const kvb_tensor *covariance) {
    KVB_TRY(ref_check_output("moments", mean, KVB_F32));
    int32_t d = mean->ndim - 1;
    if (d < 0 || d + 2 > KVB_MAX_DIMS) return kvb_fail(KVB_E_SHAPE, "moments: a mean with %d dimensions", mean->ndim);
    int64_t shape[KVB_MAX_DIMS];
    memcpy(shape, mean->shape, sizeof shape);
    shape[d + 1] = shape[d];
    KVB_TRY(ref_check_output("moments", covariance, KVB_F32));
    KVB_TRY(kvb_tensor_expect("moments", "the covariance", covariance, KVB_F32, d + 2, shape));
    shape[d] = -1;
    KVB_TRY(kvb_tensor_expect("moments", "x", x, KVB_F32, d + 2, shape));
    if (x->shape[d] > 0 || kvb_tensor_count(mean) == 0) return KVB_OK;
    return kvb_fail(KVB_E_SHAPE, "moments: the mean of no rows");
}

kvb_status ref_moments(const kvb_tensor *x, kvb_tensor *mean, kvb_tensor *covariance) {
    KVB_TRY(ref_check_moments(x, mean, covariance));
    int32_t d = mean->ndim - 1;
    int64_t n = x->shape[d], row = x->stride[d], step = x->stride[d + 1];
    kvb_tensor rows = ref_drop_dim(x, d + 1), outer = ref_drop_dim(&rows, d);
    for (ref_walk w = ref_walk_start(mean); w.more; ref_walk_next(&w, mean)) {
        const float *at = (const float *)x->data + ref_offset(&outer, &w);
        double total = 0;
        for (int64_t i = 0; i < n; i++) total += at[i * row + w.at[d] * step];
        *ref_f32(mean, &w) = (float)(total / (double)n);
    }
    for (ref_walk w = ref_walk_start(covariance); w.more; ref_walk_next(&w, covariance)) {
        const float *at = (const float *)x->data + ref_offset(&outer, &w);
        double a = 0, b = 0, total = 0;
        for (int64_t i = 0; i < n; i++) {
            a += at[i * row + w.at[d] * step];
            b += at[i * row + w.at[d + 1] * step];
        }
        for (int64_t i = 0; i < n; i++)
            total +=
                (at[i * row + w.at[d] * step] - a / (double)n) * (at[i * row + w.at[d + 1] * step] - b / (double)n);
        *ref_f32(covariance, &w) = (float)(total / (double)n);
    }
    return KVB_OK;
}
