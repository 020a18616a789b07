/* SPDX-License-Identifier: Apache-2.0 */
/* y = x / rms(x) * w, rms over the last dimension. Spec for every backend; double accumulation, no SIMD, no threads. */
#include "operands.h"
#include <math.h>

kvb_status ref_check_rmsnorm(const kvb_tensor *x, const kvb_tensor *w, const kvb_tensor *y) {
    KVB_TRY(kvb_tensor_expect("rmsnorm", "x", x, KVB_F32, 2, (int64_t[]){-1, -1}));
    KVB_TRY(kvb_tensor_expect("rmsnorm", "w", w, KVB_F32, 1, x->shape + 1));
    return kvb_tensor_expect("rmsnorm", "y", y, y->dtype == KVB_BF16 ? KVB_BF16 : KVB_F32, 2, x->shape);
}

kvb_status ref_rmsnorm(const kvb_tensor *x, const kvb_tensor *w, kvb_tensor *y, double eps) {
    KVB_TRY(ref_check_rmsnorm(x, w, y));
    int64_t rows = x->shape[0], dim = x->shape[1];
    for (int64_t r = 0; r < rows; r++) {
        const float *in = (const float *)x->data + r * x->stride[0];
        double sum = 0;
        for (int64_t i = 0; i < dim; i++) sum += (double)in[i * x->stride[1]] * in[i * x->stride[1]];
        double scale = 1 / sqrt(sum / (double)dim + eps);
        for (int64_t i = 0; i < dim; i++) {
            float value = (float)(in[i * x->stride[1]] * scale * ((const float *)w->data)[i * w->stride[0]]);
            int64_t at = r * y->stride[0] + i * y->stride[1];
            if (y->dtype == KVB_BF16) ((uint16_t *)y->data)[at] = kvb_f32_to_bf16(value);
            else ((float *)y->data)[at] = value;
        }
    }
    return KVB_OK;
}
