/* SPDX-License-Identifier: Apache-2.0 */
/*
 * svd.c - reference of the reduced singular value decomposition by one-sided Jacobi rotations (Hestenes; Golub & Van
 * Loan, Matrix Computations, 8.6.3): columns of x, or of its transpose if that is taller, are rotated pairwise until
 * all are orthogonal; their lengths are the singular values. Rejected: the eigenvalues of x^T x (they lose half of
 * the digits of small singular values).
 */
#include "matrix.h"
#include <math.h>

enum { SWEEPS = 60 };
static const double NEGLIGIBLE = 1e-14, ORTHOGONAL = 1e-15;

static int64_t shorter(const kvb_tensor *x) { return kvb_min64(ref_rows(x), ref_columns(x)); }
static int64_t longer(const kvb_tensor *x) { return kvb_max64(ref_rows(x), ref_columns(x)); }

static kvb_status check(const ref_matrices *t) {
    KVB_TRY(ref_check_matrix("svd", "x", t->a));
    int64_t m = ref_rows(t->a), n = ref_columns(t->a), k = shorter(t->a);
    KVB_TRY(ref_check_batched("svd", "u", t->out[0], KVB_F32, t->a, 2, m, k, true));
    KVB_TRY(ref_check_batched("svd", "s", t->out[1], KVB_F32, t->a, 1, k, 0, true));
    return ref_check_batched("svd", "v", t->out[2], KVB_F32, t->a, 2, n, k, true);
}

static size_t doubles(const ref_matrices *t) {
    int64_t k = shorter(t->a), tall = longer(t->a);
    return (size_t)(2 * tall * k + 2 * k * k + 3 * k);
}

static double dot(const double *x, const double *y, int64_t n) {
    double total = 0;
    for (int64_t i = 0; i < n; i++) total += x[i] * y[i];
    return total;
}

static void rotate(double *x, double *y, int64_t n, double c, double s) {
    for (int64_t i = 0; i < n; i++) {
        double u = x[i], v = y[i];
        x[i] = c * u - s * v;
        y[i] = s * u + c * v;
    }
}

/* Row p of a [k, tall] is column p of the tall matrix; the same rotations go into the rows of r [k, k]. */
static void orthogonalise(double *a, double *r, int64_t k, int64_t tall, double negligible) {
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        bool rotated = false;
        for (int64_t p = 0; p < k && !kvb_cancelled(); p++)
            for (int64_t q = p + 1; q < k; q++) {
                double *x = a + p * tall, *y = a + q * tall;
                double xx = dot(x, x, tall), yy = dot(y, y, tall), xy = dot(x, y, tall);
                if (sqrt(xx) <= negligible || sqrt(yy) <= negligible || fabs(xy) <= ORTHOGONAL * sqrt(xx) * sqrt(yy))
                    continue;
                double zeta = (yy - xx) / (2 * xy);
                double tangent = copysign(1, zeta) / (fabs(zeta) + hypot(zeta, 1));
                double c = 1 / hypot(tangent, 1), s = tangent * c;
                rotate(x, y, tall, c, s);
                rotate(r + p * k, r + q * k, k, c, s);
                rotated = true;
            }
        if (!rotated) return;
    }
}

/* Row `at` of u becomes a unit vector orthogonal to the rows before it: the axis that they cover least, made so. */
static void complete(double *u, int64_t at, int64_t tall) {
    int64_t axis = 0;
    double least = INFINITY;
    for (int64_t i = 0; i < tall; i++) {
        double covered = 0;
        for (int64_t p = 0; p < at; p++) covered += u[p * tall + i] * u[p * tall + i];
        if (covered < least) least = covered, axis = i;
    }
    double *x = u + at * tall;
    for (int64_t i = 0; i < tall; i++) x[i] = i == axis;
    for (int twice = 0; twice < 2; twice++)
        for (int64_t p = 0; p < at; p++) {
            double overlap = dot(x, u + p * tall, tall);
            for (int64_t i = 0; i < tall; i++) x[i] -= overlap * u[p * tall + i];
        }
    double length = sqrt(dot(x, x, tall));
    for (int64_t i = 0; i < tall; i++) x[i] /= length;
}

/* Stores the rows of a [k, size] as the columns of t, times sign. */
static void store_columns(const kvb_tensor *t, const ref_walk *w, const double *a, int64_t k, int64_t size,
                          const double *sign) {
    kvb_tensor batch = ref_batch_of(t);
    float *to = ref_f32(&batch, w);
    for (int64_t p = 0; p < k; p++)
        for (int64_t i = 0; i < size; i++)
            to[i * t->stride[t->ndim - 2] + p * t->stride[t->ndim - 1]] = (float)(sign[p] * a[p * size + i]);
}

static void one(const ref_matrices *t, const ref_walk *w, double *scratch) {
    int64_t m = ref_rows(t->a), n = ref_columns(t->a), k = shorter(t->a), tall = longer(t->a);
    double *a = scratch, *u = a + k * tall, *r = u + k * tall, *v = r + k * k, *length = v + k * k, *s = length + k,
           *sign = s + k;
    bool wide = m < n, finite = ref_matrix_load(t->a, w, u);
    for (int i = 0; i < 3 && !finite; i++) ref_matrix_fill(t->out[i], w, i == 1 ? 1 : 2, NAN);
    if (!finite) return;
    for (int64_t p = 0; p < k; p++)
        for (int64_t i = 0; i < tall; i++) a[p * tall + i] = wide ? u[p * n + i] : u[i * n + p];
    for (int64_t i = 0; i < k * k; i++) r[i] = i / k == i % k;
    double negligible = NEGLIGIBLE * sqrt(dot(a, a, k * tall));
    orthogonalise(a, r, k, tall, negligible);
    for (int64_t p = 0; p < k; p++) {
        length[p] = sqrt(dot(a + p * tall, a + p * tall, tall));
        if (length[p] <= negligible) length[p] = 0;
    }
    for (int64_t p = 0; p < k; p++) { /* to its place: how many come before it */
        int64_t place = 0;
        for (int64_t q = 0; q < k; q++) place += length[q] > length[p] || (length[q] == length[p] && q < p);
        s[place] = length[p];
        for (int64_t i = 0; i < tall; i++) u[place * tall + i] = length[p] > 0 ? a[p * tall + i] / length[p] : 0;
        memcpy(v + place * k, r + p * k, (size_t)k * sizeof *v);
    }
    for (int64_t p = 0; p < k && !kvb_cancelled(); p++) {
        if (s[p] == 0) complete(u, p, tall);
        sign[p] = wide ? ref_column_sign(u + p * tall, tall, 1) : ref_column_sign(v + p * k, k, 1);
    }
    store_columns(t->out[wide ? 2 : 0], w, u, k, tall, sign);
    store_columns(t->out[wide ? 0 : 2], w, v, k, k, sign);
    ref_vector_store(t->out[1], w, s);
}

const ref_matrix_op ref_op_svd = {check, doubles, one};

kvb_status ref_svd(const kvb_tensor *x, kvb_tensor *u, kvb_tensor *s, kvb_tensor *v) {
    return ref_matrices_run(&ref_op_svd, &(ref_matrices){.a = x, .out = {u, s, v}});
}
