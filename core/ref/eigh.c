/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eigh.c - reference of the eigenvalues and eigenvectors of a symmetric matrix by cyclic Jacobi rotations (Golub & Van
 * Loan, Matrix Computations, 8.5): each rotation makes one pair of off-diagonal elements zero, sweeps repeat until
 * nothing is left. Slow and as accurate as the input; the order and the signs are made unique afterwards.
 */
#include "matrix.h"
#include <math.h>

enum { SWEEPS = 60 };

static kvb_status check(const ref_matrices *t) {
    KVB_TRY(ref_check_matrix("eigh", "x", t->a));
    int64_t n = ref_rows(t->a);
    KVB_TRY(ref_check_batched("eigh", "x", t->a, KVB_F32, t->a, 2, n, n, false));
    KVB_TRY(ref_check_batched("eigh", "w", t->out[0], KVB_F32, t->a, 1, n, 0, true));
    return ref_check_batched("eigh", "v", t->out[1], KVB_F32, t->a, 2, n, n, true);
}

static size_t doubles(const ref_matrices *t) { return (size_t)(ref_rows(t->a) * (3 * ref_rows(t->a) + 1)); }

/* (x, y) -> (c x - s y, s x + c y) for n pairs. */
static void rotate(double *x, double *y, int64_t n, int64_t step, double c, double s) {
    for (int64_t i = 0; i < n * step; i += step) {
        double u = x[i], v = y[i];
        x[i] = c * u - s * v;
        y[i] = s * u + c * v;
    }
}

/* a becomes diagonal; the columns of v its eigenvectors. */
static void diagonalise(double *a, double *v, int64_t n) {
    double total = 0;
    for (int64_t i = 0; i < n * n; i++) {
        v[i] = i / n == i % n;
        total += a[i] * a[i];
    }
    for (int sweep = 0; sweep < SWEEPS && !kvb_cancelled(); sweep++) {
        double off = 0;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < i; j++) off += a[i * n + j] * a[i * n + j];
        if (off <= 1e-28 * total) return;
        for (int64_t p = 0; p < n && !kvb_cancelled(); p++)
            for (int64_t q = p + 1; q < n; q++) {
                if (a[p * n + q] == 0) continue;
                double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
                double tangent = copysign(1, theta) / (fabs(theta) + hypot(theta, 1));
                double c = 1 / hypot(tangent, 1), s = tangent * c;
                rotate(a + p * n, a + q * n, n, 1, c, s);
                rotate(a + p, a + q, n, n, c, s);
                rotate(v + p, v + q, n, n, c, s);
            }
    }
}

static void one(const ref_matrices *t, const ref_walk *w, double *a) {
    int64_t n = ref_rows(t->a);
    double *v = a + n * n, *sorted = v + n * n, *values = sorted + n * n;
    ref_matrix_load(t->a, w, a);
    bool finite = true;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            finite = finite && isfinite(a[i * n + j]);
            a[j * n + i] = a[i * n + j];
        }
    if (!finite) {
        ref_matrix_fill(t->out[0], w, 1, NAN);
        ref_matrix_fill(t->out[1], w, 2, NAN);
        return;
    }
    diagonalise(a, v, n);
    for (int64_t j = 0; j < n; j++) { /* the column's place: how many come before it */
        int64_t place = 0;
        for (int64_t k = 0; k < n; k++) {
            double mine = a[j * n + j], other = a[k * n + k];
            place += other < mine || (other == mine && k < j);
        }
        double sign = ref_column_sign(v + j, n, n);
        values[place] = a[j * n + j];
        for (int64_t i = 0; i < n; i++) sorted[i * n + place] = sign * v[i * n + j];
    }
    ref_vector_store(t->out[0], w, values);
    ref_matrix_store(t->out[1], w, sorted);
}

const ref_matrix_op ref_op_eigh = {check, doubles, one};

kvb_status ref_eigh(const kvb_tensor *x, kvb_tensor *w, kvb_tensor *v) {
    return ref_matrices_run(&ref_op_eigh, &(ref_matrices){.a = x, .out = {w, v}});
}
