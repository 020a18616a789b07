/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cholesky.c - reference of the Cholesky factor, row by row: L[i][j] = (A[i][j] - sum_k L[i][k] L[j][k]) / L[j][j] and
 * L[i][i] = sqrt(A[i][i] - sum_k L[i][k]^2). A failure is an output, not an error: a rule that adds jitter until its
 * matrix is positive must see which of a batch failed.
 */
#include "matrix.h"
#include <math.h>

static kvb_status check(const ref_matrices *t) {
    KVB_TRY(ref_check_matrix("cholesky", "x", t->a));
    int64_t n = ref_rows(t->a);
    KVB_TRY(ref_check_batched("cholesky", "x", t->a, KVB_F32, t->a, 2, n, n, false));
    KVB_TRY(ref_check_batched("cholesky", "the output", t->out[0], KVB_F32, t->a, 2, n, n, true));
    return ref_check_batched("cholesky", "info", t->out[1], KVB_I32, t->a, 0, 0, 0, true);
}

static size_t doubles(const ref_matrices *t) { return (size_t)(ref_rows(t->a) * ref_rows(t->a)); }

static void one(const ref_matrices *t, const ref_walk *w, double *a) {
    int64_t n = ref_rows(t->a), info = 0;
    ref_matrix_load(t->a, w, a);
    bool finite = true;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            finite = finite && (j > i || isfinite(a[i * n + j]));
            if (j > i) a[i * n + j] = 0;
        }
    for (int64_t i = 0; i < n && !info && finite && !kvb_cancelled(); i++) {
        for (int64_t j = 0; j <= i && !info; j++) {
            double rest = a[i * n + j];
            for (int64_t k = 0; k < j; k++) rest -= a[i * n + k] * a[j * n + k];
            if (i == j && !(rest > 0)) info = i + 1;
            a[i * n + j] = i == j ? sqrt(rest) : rest / a[j * n + j];
        }
    }
    ref_info_store(t->out[1], w, info);
    if (finite && !info) ref_matrix_store(t->out[0], w, a);
    else ref_matrix_fill(t->out[0], w, 2, NAN);
}

const ref_matrix_op ref_op_cholesky = {check, doubles, one};

kvb_status ref_cholesky(const kvb_tensor *x, kvb_tensor *y, kvb_tensor *info) {
    return ref_matrices_run(&ref_op_cholesky, &(ref_matrices){.a = x, .out = {y, info}});
}
