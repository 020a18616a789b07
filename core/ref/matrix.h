/* SPDX-License-Identifier: Apache-2.0 */
/*
 * matrix.h - what the linear-algebra ops share: batches of small matrices, worked on one at a time in double.
 *
 * Each op is a function of one matrix (ref_<op>_one) that loads into a scratch array of doubles and stores the result;
 * the op itself checks, allocates the scratch and walks the batch. Backends that only want threads run the same
 * function from several, each with its own scratch: they then agree with the reference bit for bit.
 */
#ifndef KVB_MATRIX_H
#define KVB_MATRIX_H
#include "operands.h"

/* The operands of one call; unused ones are NULL. */
typedef struct ref_matrices {
    const kvb_tensor *a, *b;
    kvb_tensor *out[3];
    int32_t flags[2];
} ref_matrices;

typedef struct ref_matrix_op {
    kvb_status (*check)(const ref_matrices *t);
    size_t (*doubles)(const ref_matrices *t);                              /* of scratch */
    void (*one)(const ref_matrices *t, const ref_walk *w, double *scratch); /* w: the leading dimensions */
} ref_matrix_op;
extern const ref_matrix_op ref_op_cholesky, ref_op_triangular, ref_op_solve, ref_op_qr, ref_op_eigh, ref_op_svd;

/* The whole batch, in order. */
kvb_status ref_matrices_run(const ref_matrix_op *op, const ref_matrices *t);

static inline int64_t ref_rows(const kvb_tensor *t) { return t->shape[t->ndim - 2]; }
static inline int64_t ref_columns(const kvb_tensor *t) { return t->shape[t->ndim - 1]; }
kvb_tensor ref_batch_of(const kvb_tensor *t); /* the leading dimensions as a tensor */

/* An input of matrices, at least 2 dimensions. */
kvb_status ref_check_matrix(const char *op, const char *argument, const kvb_tensor *t);
/* t has like's leading dimensions, then `dims` more of these sizes (-1 = any). Outputs must also be writable. */
kvb_status ref_check_batched(const char *op, const char *argument, const kvb_tensor *t, int32_t dtype,
                             const kvb_tensor *like, int32_t dims, int64_t rows, int64_t columns, bool output);

/* Row-major copies of one matrix; `load` says whether all elements were finite. A vector is one column. */
bool ref_matrix_load(const kvb_tensor *t, const ref_walk *w, double *a);
void ref_matrix_store(const kvb_tensor *t, const ref_walk *w, const double *a);
void ref_vector_store(const kvb_tensor *t, const ref_walk *w, const double *a);
void ref_matrix_fill(const kvb_tensor *t, const ref_walk *w, int32_t dims, double value);
static inline void ref_info_store(const kvb_tensor *t, const ref_walk *w, int64_t info) {
    ((int32_t *)t->data)[ref_offset(t, w)] = (int32_t)info;
}
/* +1 or -1: what makes the column's first element within 1e-4 of its largest magnitude positive. */
double ref_column_sign(const double *a, int64_t rows, int64_t step);

#endif
