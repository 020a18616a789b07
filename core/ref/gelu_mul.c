/* SPDX-License-Identifier: Apache-2.0 */
/* y = g (1 + tanh(sqrt(2 / pi) (g + 0.044715 g^3))) / 2 * u; x holds g in its first half and u in its second. */
#include "operands.h"
#include <math.h>

kvb_status ref_check_gelu_mul(const kvb_tensor *x, const kvb_tensor *y) {
    KVB_TRY(kvb_tensor_expect("gelu_mul", "x", x, x->dtype == KVB_BF16 ? KVB_BF16 : KVB_F32, 2, (int64_t[]){-1, -1}));
    if (x->shape[1] % 2)
        return kvb_fail(KVB_E_SHAPE, "gelu_mul: x has %lld columns, expected an even number", (long long)x->shape[1]);
    return kvb_tensor_expect("gelu_mul", "y", y, y->dtype == KVB_BF16 ? KVB_BF16 : KVB_F32, 2,
                             (int64_t[]){x->shape[0], x->shape[1] / 2});
}

kvb_status ref_gelu_mul(const kvb_tensor *x, kvb_tensor *y) {
    KVB_TRY(ref_check_gelu_mul(x, y));
    bool bf16 = x->dtype == KVB_BF16;
    int64_t rows = x->shape[0], dim = x->shape[1] / 2;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < dim; i++) {
            int64_t gate = r * x->stride[0] + i * x->stride[1], up = gate + dim * x->stride[1];
            double g = bf16 ? kvb_bf16_to_f32(((const uint16_t *)x->data)[gate]) : ((const float *)x->data)[gate];
            double u = bf16 ? kvb_bf16_to_f32(((const uint16_t *)x->data)[up]) : ((const float *)x->data)[up];
            double inner = sqrt(2 / M_PI) * (g + 0.044715 * g * g * g);
            float value = (float)(0.5 * g * (1 + tanh(inner)) * u);
            int64_t at = r * y->stride[0] + i * y->stride[1];
            if (y->dtype == KVB_BF16)
                ((uint16_t *)y->data)[at] = kvb_f32_to_bf16(value);
            else
                ((float *)y->data)[at] = value;
        }
    return KVB_OK;
}
