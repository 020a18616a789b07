/* SPDX-License-Identifier: Apache-2.0 */
/* y = softmax(scale q k^T over the kept keys) v, per query head; kv head = head / (heads / kv_heads). No kept key:
 * zeros. */
#include "operands.h"
#include <math.h>
#include <stdlib.h>

static double at(const kvb_tensor *t, int64_t a, int64_t b, int64_t c, bool bf16) {
    float x = ((const float *)t->data)[a * t->stride[0] + b * t->stride[1] + c * t->stride[2]];
    return bf16 ? kvb_bf16_to_f32(kvb_f32_to_bf16(x)) : x;
}

kvb_status ref_check_attention(const kvb_tensor *q, const kvb_tensor *k, const kvb_tensor *v, const kvb_tensor *mask,
                               const kvb_tensor *y) {
    KVB_TRY(kvb_tensor_expect("attention", "q", q, KVB_F32, 3, (int64_t[]){-1, -1, -1}));
    int64_t rows = q->shape[0], heads = q->shape[1], dim = q->shape[2];
    KVB_TRY(kvb_tensor_expect("attention", "k", k, KVB_F32, 3, (int64_t[]){-1, -1, dim}));
    int64_t kv_heads = k->shape[0], keys = k->shape[1];
    if (kv_heads == 0 || heads % kv_heads)
        return kvb_fail(KVB_E_SHAPE, "attention: %lld query heads cannot share %lld KV heads", (long long)heads,
                        (long long)kv_heads);
    KVB_TRY(kvb_tensor_expect("attention", "v", v, KVB_F32, 3, (int64_t[]){kv_heads, keys, dim}));
    KVB_TRY(kvb_tensor_expect("attention", "mask", mask, KVB_U8, 3, (int64_t[]){rows, kv_heads, keys}));
    return kvb_tensor_expect("attention", "y", y, KVB_F32, 3, q->shape);
}

kvb_status ref_attention(const kvb_tensor *q, const kvb_tensor *k, const kvb_tensor *v, const kvb_tensor *mask,
                         kvb_tensor *y, double scale, int32_t bf16) {
    KVB_TRY(ref_check_attention(q, k, v, mask, y));
    int64_t rows = q->shape[0], heads = q->shape[1], dim = q->shape[2], kv_heads = k->shape[0], keys = k->shape[1];
    double *score = kvb_alloc_array(kvb_add_size((size_t)keys, 1), sizeof *score, KVB_MEM_SCRATCH);
    if (!score) return KVB_E_MEMORY;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t g = h / (heads / kv_heads);
            double largest = -INFINITY, total = 0;
            for (int64_t j = 0; j < keys; j++) {
                bool kept =
                    ((const uint8_t *)mask->data)[r * mask->stride[0] + g * mask->stride[1] + j * mask->stride[2]] != 0;
                score[j] = -INFINITY;
                if (!kept) continue;
                double sum = 0;
                for (int64_t i = 0; i < dim; i++) sum += at(q, r, h, i, bf16) * at(k, g, j, i, bf16);
                score[j] = scale * sum;
                largest = fmax(largest, score[j]);
            }
            for (int64_t j = 0; j < keys; j++) total += score[j] = isinf(largest) ? 0 : exp(score[j] - largest);
            for (int64_t i = 0; i < dim; i++) {
                double sum = 0;
                for (int64_t j = 0; j < keys; j++) sum += score[j] == 0 ? 0 : score[j] * at(v, g, j, i, bf16);
                ((float *)y->data)[r * y->stride[0] + h * y->stride[1] + i * y->stride[2]] =
                    total > 0 ? (float)(sum / total) : 0;
            }
        }
    kvb_free(score);
    return KVB_OK;
}
