/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attended.c - reference of the attention that keys receive: y_j = s sum over the queries i that see j of
 * softmax_j(q_i . k_j). Nothing of size queries x keys is stored for more than a block.
 */
#include "operands.h"
#include <math.h>

kvb_status ref_check_attended(const kvb_tensor *q, const kvb_tensor *k, const kvb_tensor *y) {
    KVB_TRY(ref_check_output("attended", y, KVB_F32));
    int32_t last = y->ndim;
    if (last < 1 || last + 2 > KVB_MAX_DIMS)
        return kvb_fail(KVB_E_SHAPE, "attended: an output with %d dimensions", last);
    int64_t shape[KVB_MAX_DIMS];
    memcpy(shape, y->shape, sizeof shape);
    shape[last] = -1;
    KVB_TRY(kvb_tensor_expect("attended", "the keys", k, KVB_F32, last + 1, shape));
    shape[last - 1] = shape[last] = -1;
    shape[last + 1] = k->shape[last];
    KVB_TRY(kvb_tensor_expect("attended", "the queries", q, KVB_F32, last + 2, shape));
    if (q->shape[last] <= y->shape[last - 1]) return KVB_OK;
    return kvb_fail(KVB_E_SHAPE, "attended: %lld queries of %lld keys: a query comes with its key",
                    (long long)q->shape[last], (long long)y->shape[last - 1]);
}

/* One query on the n keys that it sees, added to y. */
static void add_row(const float *q, int64_t q_step, const float *k, int64_t k_row, int64_t k_step, int64_t n, int64_t d,
                    double *weight, double *y) {
    double largest = -INFINITY, total = 0;
    for (int64_t j = 0; j < n; j++) {
        weight[j] = 0;
        for (int64_t i = 0; i < d; i++) weight[j] += (double)q[i * q_step] * k[j * k_row + i * k_step];
        if (weight[j] > largest) largest = weight[j];
    }
    for (int64_t j = 0; j < n; j++) total += weight[j] = exp(weight[j] - largest);
    for (int64_t j = 0; j < n; j++) y[j] += weight[j] / total;
}

kvb_status ref_attended(const kvb_tensor *q, const kvb_tensor *k, kvb_tensor *y, double scale) {
    KVB_TRY(ref_check_attended(q, k, y));
    int32_t last = y->ndim; /* of k; q has one dimension more */
    int64_t n = k->shape[last - 1], d = k->shape[last], rows = q->shape[last];
    double *sum = kvb_alloc_array(kvb_mul_size(2, kvb_add_size((size_t)n, 1)), sizeof *sum, KVB_MEM_SCRATCH);
    if (!sum) return KVB_E_MEMORY;
    kvb_tensor heads = ref_drop_dim(y, last - 1);
    for (ref_walk w = ref_walk_start(&heads); w.more; ref_walk_next(&w, &heads)) {
        const float *keys = (const float *)k->data, *queries = (const float *)q->data;
        float *out = (float *)y->data;
        for (int32_t i = 0; i < last - 1; i++) {
            keys += w.at[i] * k->stride[i];
            queries += w.at[i] * q->stride[i];
            out += w.at[i] * y->stride[i];
        }
        memset(sum, 0, (size_t)n * sizeof *sum);
        for (int64_t g = 0; g < q->shape[last - 1]; g++)
            for (int64_t r = 0; r < rows; r++)
                add_row(queries + g * q->stride[last - 1] + r * q->stride[last], q->stride[last + 1], keys,
                        k->stride[last - 1], k->stride[last], n - rows + r + 1, d, sum + n + 1, sum);
        for (int64_t j = 0; j < n; j++) out[j * y->stride[last - 1]] = (float)(scale * sum[j]);
    }
    kvb_free(sum);
    return KVB_OK;
}
