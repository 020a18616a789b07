/* SPDX-License-Identifier: Apache-2.0 */
/* y[r][o] = sum over i of x[r][i] w[o][i] + bias[o]. With bf16 x the weights are rounded to bf16 too, as a bf16 model's
 * are. */
#include "operands.h"

kvb_status ref_check_linear(const kvb_tensor *x, const kvb_tensor *w, const kvb_tensor *bias, const kvb_tensor *y) {
    KVB_TRY(kvb_tensor_expect("linear", "x", x, x->dtype == KVB_BF16 ? KVB_BF16 : KVB_F32, 2, (int64_t[]){-1, -1}));
    KVB_TRY(kvb_tensor_expect("linear", "w", w, KVB_F32, 2, (int64_t[]){-1, x->shape[1]}));
    if (bias) KVB_TRY(kvb_tensor_expect("linear", "bias", bias, KVB_F32, 1, w->shape));
    return kvb_tensor_expect("linear", "y", y, KVB_F32, 2, (int64_t[]){x->shape[0], w->shape[0]});
}

kvb_status ref_linear(const kvb_tensor *x, const kvb_tensor *w, const kvb_tensor *bias, kvb_tensor *y) {
    KVB_TRY(ref_check_linear(x, w, bias, y));
    bool bf16 = x->dtype == KVB_BF16;
    int64_t rows = x->shape[0], in = x->shape[1], out = w->shape[0];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < out; o++) {
            double sum = bias ? ((const float *)bias->data)[o * bias->stride[0]] : 0;
            for (int64_t i = 0; i < in; i++) {
                int64_t at = r * x->stride[0] + i * x->stride[1];
                float a = bf16 ? kvb_bf16_to_f32(((const uint16_t *)x->data)[at]) : ((const float *)x->data)[at];
                float b = ((const float *)w->data)[o * w->stride[0] + i * w->stride[1]];
                sum += (double)a * (bf16 ? kvb_bf16_to_f32(kvb_f32_to_bf16(b)) : b);
            }
            ((float *)y->data)[r * y->stride[0] + o * y->stride[1]] = (float)sum;
        }
    return KVB_OK;
}
