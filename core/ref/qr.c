/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qr.c - reference of the reduced QR factorisation by Householder reflections (Golub & Van Loan, Matrix Computations,
 * 5.2). A column that is already zero below the diagonal is left alone, its sign included, as LAPACK does.
 */
#include "matrix.h"
#include <math.h>

static int64_t rank_of(const kvb_tensor *x) { return kvb_min64(ref_rows(x), ref_columns(x)); }

static kvb_status check(const ref_matrices *t) {
    KVB_TRY(ref_check_matrix("qr", "x", t->a));
    KVB_TRY(ref_check_batched("qr", "q", t->out[0], KVB_F32, t->a, 2, ref_rows(t->a), rank_of(t->a), true));
    return ref_check_batched("qr", "r", t->out[1], KVB_F32, t->a, 2, rank_of(t->a), ref_columns(t->a), true);
}

static size_t doubles(const ref_matrices *t) {
    int64_t m = ref_rows(t->a), n = ref_columns(t->a), k = rank_of(t->a);
    return (size_t)(m * n + m * k + m + k);
}

/* a [m, n] -= factor * v (v^T a) over rows from `first` and columns from `from`; v[i] for rows `first`.. */
static void reflect(double *a, int64_t m, int64_t n, int64_t first, int64_t from, const double *v, double factor) {
    for (int64_t j = from; j < n; j++) {
        double dot = 0;
        for (int64_t i = first; i < m; i++) dot += v[i] * a[i * n + j];
        for (int64_t i = first; i < m; i++) a[i * n + j] -= factor * dot * v[i];
    }
}

static void one(const ref_matrices *t, const ref_walk *w, double *scratch) {
    int64_t m = ref_rows(t->a), n = ref_columns(t->a), k = rank_of(t->a);
    double *a = scratch, *q = a + m * n, *v = q + m * k, *factor = v + m;
    if (!ref_matrix_load(t->a, w, a)) {
        ref_matrix_fill(t->out[0], w, 2, NAN);
        ref_matrix_fill(t->out[1], w, 2, NAN);
        return;
    }
    /* Reflection j's vector is kept below the diagonal of column j, its first element (1) implied. */
    for (int64_t j = 0; j < k && !kvb_cancelled(); j++) {
        double below = 0, alpha = a[j * n + j];
        for (int64_t i = j + 1; i < m; i++) below += a[i * n + j] * a[i * n + j];
        factor[j] = 0;
        if (below == 0) continue;
        double beta = -copysign(sqrt(alpha * alpha + below), alpha);
        factor[j] = (beta - alpha) / beta;
        v[j] = 1;
        for (int64_t i = j + 1; i < m; i++) v[i] = a[i * n + j] /= alpha - beta;
        a[j * n + j] = beta;
        reflect(a, m, n, j, j + 1, v, factor[j]);
    }
    for (int64_t i = 0; i < m * k; i++) q[i] = i / k == i % k;
    for (int64_t j = k - 1; j >= 0 && !kvb_cancelled(); j--) {
        v[j] = 1;
        for (int64_t i = j + 1; i < m; i++) {
            v[i] = a[i * n + j];
            a[i * n + j] = 0;
        }
        reflect(q, m, k, j, j, v, factor[j]);
    }
    ref_matrix_store(t->out[0], w, q);
    ref_matrix_store(t->out[1], w, a);
}

const ref_matrix_op ref_op_qr = {check, doubles, one};

kvb_status ref_qr(const kvb_tensor *x, kvb_tensor *q, kvb_tensor *r) {
    return ref_matrices_run(&ref_op_qr, &(ref_matrices){.a = x, .out = {q, r}});
}
