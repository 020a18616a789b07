/* SPDX-License-Identifier: Apache-2.0 */
/*
 * solve.c - reference of a y = b by Gaussian elimination: the pivot of a column is its element of largest magnitude
 * (the first on ties) among the rows not used yet, then back substitution.
 */
#include "matrix.h"
#include <math.h>

static kvb_status check(const ref_matrices *t) {
    KVB_TRY(ref_check_matrix("solve", "a", t->a));
    int64_t n = ref_rows(t->a);
    KVB_TRY(ref_check_batched("solve", "a", t->a, KVB_F32, t->a, 2, n, n, false));
    KVB_TRY(ref_check_batched("solve", "b", t->b, KVB_F32, t->a, 2, n, -1, false));
    KVB_TRY(ref_check_batched("solve", "the output", t->out[0], KVB_F32, t->a, 2, n, ref_columns(t->b), true));
    return ref_check_batched("solve", "info", t->out[1], KVB_I32, t->a, 0, 0, 0, true);
}

static size_t doubles(const ref_matrices *t) {
    return (size_t)(ref_rows(t->a) * (ref_rows(t->a) + ref_columns(t->b)));
}

static void swap_rows(double *a, int64_t columns, int64_t i, int64_t j) {
    for (int64_t c = 0; c < columns && i != j; c++) {
        double keep = a[i * columns + c];
        a[i * columns + c] = a[j * columns + c];
        a[j * columns + c] = keep;
    }
}

static void one(const ref_matrices *t, const ref_walk *w, double *scratch) {
    int64_t n = ref_rows(t->a), columns = ref_columns(t->b), info = 0;
    double *a = scratch, *b = scratch + n * n;
    bool finite = ref_matrix_load(t->a, w, a);
    finite = ref_matrix_load(t->b, w, b) && finite;
    for (int64_t k = 0; k < n && finite && !info && !kvb_cancelled(); k++) {
        int64_t pivot = k;
        for (int64_t i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[pivot * n + k])) pivot = i;
        if (a[pivot * n + k] == 0) info = k + 1;
        swap_rows(a, n, k, pivot);
        swap_rows(b, columns, k, pivot);
        for (int64_t i = k + 1; i < n && !info; i++) {
            double factor = a[i * n + k] / a[k * n + k];
            for (int64_t j = k + 1; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
            for (int64_t c = 0; c < columns; c++) b[i * columns + c] -= factor * b[k * columns + c];
        }
    }
    for (int64_t i = n - 1; i >= 0 && finite && !info && !kvb_cancelled(); i--) {
        for (int64_t k = i + 1; k < n; k++)
            for (int64_t c = 0; c < columns; c++) b[i * columns + c] -= a[i * n + k] * b[k * columns + c];
        for (int64_t c = 0; c < columns; c++) b[i * columns + c] /= a[i * n + i];
    }
    ref_info_store(t->out[1], w, info);
    if (finite && !info) ref_matrix_store(t->out[0], w, b);
    else ref_matrix_fill(t->out[0], w, 2, NAN);
}

const ref_matrix_op ref_op_solve = {check, doubles, one};

kvb_status ref_solve(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y, kvb_tensor *info) {
    return ref_matrices_run(&ref_op_solve, &(ref_matrices){.a = a, .b = b, .out = {y, info}});
}
