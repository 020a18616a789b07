/* SPDX-License-Identifier: Apache-2.0 */
/* matrix.c - batches of small matrices: their checks, and their way between f32 tensors and double scratch. */
#include "matrix.h"
#include <math.h>

kvb_tensor ref_batch_of(const kvb_tensor *t) {
    kvb_tensor batch = *t;
    batch.ndim -= 2;
    return batch;
}

kvb_status ref_check_matrix(const char *op, const char *argument, const kvb_tensor *t) {
    if (!t || (!t->data && kvb_tensor_count(t) > 0))
        return kvb_fail(KVB_E_ARG, "%s: %s is missing or closed", op, argument);
    if (t->ndim < 2) return kvb_fail(KVB_E_SHAPE, "%s: %s has %d dimensions, a matrix has 2", op, argument, t->ndim);
    return kvb_tensor_expect(op, argument, t, KVB_F32, t->ndim, t->shape);
}

kvb_status ref_check_batched(const char *op, const char *argument, const kvb_tensor *t, int32_t dtype,
                             const kvb_tensor *like, int32_t dims, int64_t rows, int64_t columns, bool output) {
    int64_t shape[KVB_MAX_DIMS + 2];
    int32_t n = like->ndim - 2;
    memcpy(shape, like->shape, (size_t)n * sizeof *shape);
    shape[n] = rows;
    shape[n + 1] = columns;
    if (output) KVB_TRY(ref_check_output(op, t, dtype));
    return kvb_tensor_expect(op, argument, t, dtype, n + dims, shape);
}

bool ref_matrix_load(const kvb_tensor *t, const ref_walk *w, double *a) {
    kvb_tensor batch = ref_batch_of(t);
    const float *from = ref_f32(&batch, w);
    int64_t rows = ref_rows(t), columns = ref_columns(t);
    bool finite = true;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            float v = from[i * t->stride[t->ndim - 2] + j * t->stride[t->ndim - 1]];
            finite = finite && isfinite(v);
            *a++ = v;
        }
    return finite;
}

void ref_matrix_store(const kvb_tensor *t, const ref_walk *w, const double *a) {
    kvb_tensor batch = ref_batch_of(t);
    float *to = ref_f32(&batch, w);
    int64_t rows = ref_rows(t), columns = ref_columns(t);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            to[i * t->stride[t->ndim - 2] + j * t->stride[t->ndim - 1]] = (float)*a++;
}

void ref_vector_store(const kvb_tensor *t, const ref_walk *w, const double *a) {
    kvb_tensor batch = ref_drop_dim(t, t->ndim - 1);
    float *to = ref_f32(&batch, w);
    for (int64_t i = 0; i < t->shape[t->ndim - 1]; i++) to[i * t->stride[t->ndim - 1]] = (float)a[i];
}

void ref_matrix_fill(const kvb_tensor *t, const ref_walk *w, int32_t dims, double value) {
    kvb_tensor batch = *t, part = *t;
    batch.ndim -= dims;
    part.ndim = dims;
    for (int d = 0; d < dims; d++) {
        part.shape[d] = t->shape[batch.ndim + d];
        part.stride[d] = t->stride[batch.ndim + d];
    }
    part.data = ref_f32(&batch, w);
    for (ref_walk at = ref_walk_start(&part); at.more; ref_walk_next(&at, &part)) *ref_f32(&part, &at) = (float)value;
}

double ref_column_sign(const double *a, int64_t rows, int64_t step) {
    double largest = 0;
    for (int64_t i = 0; i < rows; i++) largest = fmax(largest, fabs(a[i * step]));
    for (int64_t i = 0; i < rows; i++)
        if (fabs(a[i * step]) >= (1 - 1e-4) * largest) return a[i * step] < 0 ? -1 : 1;
    return 1;
}

kvb_status ref_matrices_run(const ref_matrix_op *op, const ref_matrices *t) {
    KVB_TRY(op->check(t));
    double *scratch = kvb_alloc_array(op->doubles(t), sizeof *scratch, KVB_MEM_SCRATCH);
    if (!scratch) return KVB_E_MEMORY;
    kvb_tensor batch = ref_batch_of(t->a);
    for (ref_walk w = ref_walk_start(&batch); w.more; ref_walk_next(&w, &batch)) op->one(t, &w, scratch);
    kvb_free(scratch);
    return KVB_OK;
}
