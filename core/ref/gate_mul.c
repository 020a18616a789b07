/* SPDX-License-Identifier: Apache-2.0 */
/* silu_mul and gelu_mul: y = act(g) * u; x holds g in its first half and u in its second. */
#include "operands.h"
#include <math.h>

static double silu(double g) { return g / (1 + exp(-g)); }
static double gelu(double g) { return 0.5 * g * (1 + tanh(sqrt(2 / M_PI) * (g + 0.044715 * g * g * g))); }

static kvb_status check(const char *op, const kvb_tensor *x, const kvb_tensor *y) {
    KVB_TRY(kvb_tensor_expect(op, "x", x, x->dtype == KVB_BF16 ? KVB_BF16 : KVB_F32, 2, (int64_t[]){-1, -1}));
    if (x->shape[1] % 2)
        return kvb_fail(KVB_E_SHAPE, "%s: x has %lld columns, expected an even number", op, (long long)x->shape[1]);
    return kvb_tensor_expect(op, "y", y, y->dtype == KVB_BF16 ? KVB_BF16 : KVB_F32, 2,
                             (int64_t[]){x->shape[0], x->shape[1] / 2});
}

static double at(const kvb_tensor *x, int64_t i) {
    return x->dtype == KVB_BF16 ? kvb_bf16_to_f32(((const uint16_t *)x->data)[i]) : ((const float *)x->data)[i];
}

static void gate_mul(double (*act)(double), const kvb_tensor *x, kvb_tensor *y) {
    int64_t rows = x->shape[0], dim = x->shape[1] / 2;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < dim; i++) {
            int64_t gate = r * x->stride[0] + i * x->stride[1], up = gate + dim * x->stride[1];
            float value = (float)(act(at(x, gate)) * at(x, up));
            int64_t to = r * y->stride[0] + i * y->stride[1];
            if (y->dtype == KVB_BF16)
                ((uint16_t *)y->data)[to] = kvb_f32_to_bf16(value);
            else
                ((float *)y->data)[to] = value;
        }
}

kvb_status ref_check_silu_mul(const kvb_tensor *x, const kvb_tensor *y) { return check("silu_mul", x, y); }
kvb_status ref_check_gelu_mul(const kvb_tensor *x, const kvb_tensor *y) { return check("gelu_mul", x, y); }

kvb_status ref_silu_mul(const kvb_tensor *x, kvb_tensor *y) {
    KVB_TRY(ref_check_silu_mul(x, y));
    gate_mul(silu, x, y);
    return KVB_OK;
}

kvb_status ref_gelu_mul(const kvb_tensor *x, kvb_tensor *y) {
    KVB_TRY(ref_check_gelu_mul(x, y));
    gate_mul(gelu, x, y);
    return KVB_OK;
}
