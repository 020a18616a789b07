/* SPDX-License-Identifier: Apache-2.0 */
/* x[r][h] -> x * cos + rotate_half(x) * sin at position[r]; rotate_half(x) = (-second half, first half). */
#include "operands.h"

kvb_status ref_check_rope(const kvb_tensor *x, const kvb_tensor *cos, const kvb_tensor *sin,
                          const kvb_tensor *position) {
    KVB_TRY(kvb_tensor_expect("rope", "x", x, KVB_F32, 3, (int64_t[]){-1, -1, -1}));
    int64_t dim = x->shape[2];
    if (dim % 2) return kvb_fail(KVB_E_SHAPE, "rope: head_dim is %lld, expected an even number", (long long)dim);
    KVB_TRY(kvb_tensor_expect("rope", "cos", cos, KVB_F32, 2, (int64_t[]){-1, dim}));
    KVB_TRY(kvb_tensor_expect("rope", "sin", sin, KVB_F32, 2, (int64_t[]){cos->shape[0], dim}));
    return kvb_tensor_expect("rope", "position", position, KVB_I32, 1, x->shape);
}

kvb_status ref_fail_position(int64_t row, int32_t position, int64_t held) {
    return kvb_fail(KVB_E_ARG, "rope: row %lld has position %d, the tables hold %lld", (long long)row, position,
                    (long long)held);
}

kvb_status ref_rope(kvb_tensor *x, const kvb_tensor *cos, const kvb_tensor *sin, const kvb_tensor *position) {
    KVB_TRY(ref_check_rope(x, cos, sin, position));
    int64_t rows = x->shape[0], heads = x->shape[1], half = x->shape[2] / 2;
    for (int64_t r = 0; r < rows; r++) {
        int32_t p = ((const int32_t *)position->data)[r * position->stride[0]];
        if (p < 0 || p >= cos->shape[0]) return ref_fail_position(r, p, cos->shape[0]);
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < half; i++) {
                float *a = (float *)x->data + r * x->stride[0] + h * x->stride[1] + i * x->stride[2];
                float *b = a + half * x->stride[2];
                const float *c = (const float *)cos->data + p * cos->stride[0],
                            *s = (const float *)sin->data + p * sin->stride[0];
                double x1 = *a, x2 = *b;
                *a = (float)(x1 * c[i * cos->stride[1]] - x2 * s[i * sin->stride[1]]);
                *b = (float)(x2 * c[(half + i) * cos->stride[1]] + x1 * s[(half + i) * sin->stride[1]]);
            }
    }
    return KVB_OK;
}
