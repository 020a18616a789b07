/* SPDX-License-Identifier: Apache-2.0 */
/*
 * triangular.c - reference of solving a triangular system by substitution, a row at a time, from the one that has one
 * unknown on. Transposing a lower triangle makes an upper one, so there are two directions, not four cases.
 */
#include "matrix.h"
#include <math.h>

static kvb_status check(const ref_matrices *t) {
    KVB_TRY(ref_check_matrix("triangular", "a", t->a));
    int64_t n = ref_rows(t->a);
    KVB_TRY(ref_check_batched("triangular", "a", t->a, KVB_F32, t->a, 2, n, n, false));
    KVB_TRY(ref_check_batched("triangular", "b", t->b, KVB_F32, t->a, 2, n, -1, false));
    return ref_check_batched("triangular", "the output", t->out[0], KVB_F32, t->a, 2, n, ref_columns(t->b), true);
}

static size_t doubles(const ref_matrices *t) {
    return (size_t)(ref_rows(t->a) * (ref_rows(t->a) + ref_columns(t->b)));
}

static void one(const ref_matrices *t, const ref_walk *w, double *scratch) {
    int64_t n = ref_rows(t->a), columns = ref_columns(t->b);
    double *a = scratch, *b = scratch + n * n;
    bool upper = t->flags[0] != 0, transposed = t->flags[1] != 0, finite = ref_matrix_load(t->b, w, b);
    ref_matrix_load(t->a, w, a);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            if (upper ? j >= i : j <= i) finite = finite && isfinite(a[i * n + j]);
    for (int64_t step = 0; step < n && finite && !kvb_cancelled(); step++) {
        bool backward = upper != transposed;
        int64_t i = backward ? n - 1 - step : step;
        for (int64_t k = backward ? i + 1 : 0; k < (backward ? n : i); k++) {
            double factor = transposed ? a[k * n + i] : a[i * n + k];
            for (int64_t c = 0; c < columns; c++) b[i * columns + c] -= factor * b[k * columns + c];
        }
        for (int64_t c = 0; c < columns; c++) b[i * columns + c] /= a[i * n + i];
    }
    if (finite) ref_matrix_store(t->out[0], w, b);
    else ref_matrix_fill(t->out[0], w, 2, NAN);
}

const ref_matrix_op ref_op_triangular = {check, doubles, one};

kvb_status ref_triangular(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y, int32_t upper, int32_t transpose) {
    return ref_matrices_run(&ref_op_triangular,
                            &(ref_matrices){.a = a, .b = b, .out = {y}, .flags = {upper, transpose}});
}
