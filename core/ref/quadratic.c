/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quadratic.c - reference of a quadratic and a linear form of every row: y_i = s x_i' C x_i + l x_i . b. As a matrix
 * product and an inner product it would store x C, as large as the keys times the query heads.
 */
#include "operands.h"

kvb_status ref_check_quadratic(const kvb_tensor *x, const kvb_tensor *c, const kvb_tensor *b, const kvb_tensor *y) {
    KVB_TRY(ref_check_output("quadratic", y, KVB_F32));
    int32_t last = y->ndim;
    if (last < 1 || last + 1 > KVB_MAX_DIMS)
        return kvb_fail(KVB_E_SHAPE, "quadratic: an output with %d dimensions", last);
    int64_t shape[KVB_MAX_DIMS];
    memcpy(shape, y->shape, sizeof shape);
    shape[last] = -1;
    KVB_TRY(kvb_tensor_expect("quadratic", "x", x, KVB_F32, last + 1, shape));
    shape[last - 1] = shape[last] = x->shape[last];
    KVB_TRY(kvb_tensor_expect("quadratic", "the matrix", c, KVB_F32, last + 1, shape));
    return kvb_tensor_expect("quadratic", "the vector", b, KVB_F32, last, shape);
}

kvb_status ref_quadratic(const kvb_tensor *x, const kvb_tensor *c, const kvb_tensor *b, kvb_tensor *y, double square,
                         double linear) {
    KVB_TRY(ref_check_quadratic(x, c, b, y));
    int32_t last = x->ndim - 1;
    int64_t d = x->shape[last];
    for (ref_walk w = ref_walk_start(y); w.more; ref_walk_next(&w, y)) {
        ref_walk outer = w;
        outer.at[last - 1] = 0;
        const float *row = (const float *)x->data + ref_offset(x, &w);
        const float *matrix = (const float *)c->data + ref_offset(c, &outer);
        const float *vector = (const float *)b->data + ref_offset(b, &outer);
        double form = 0, dot = 0;
        for (int64_t i = 0; i < d; i++) {
            double xi = row[i * x->stride[last]];
            for (int64_t j = 0; j < d; j++)
                form += xi * matrix[i * c->stride[last - 1] + j * c->stride[last]] * row[j * x->stride[last]];
            dot += xi * vector[i * b->stride[last - 1]];
        }
        *ref_f32(y, &w) = (float)(square * form + linear * dot);
    }
    return KVB_OK;
}
