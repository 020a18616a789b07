/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reduce.c - reference of the reductions over one dimension, in double, in index order.
 *
 * NaN wins: the extremum of a slice that holds one is NaN, and its arg is the first NaN, as in torch. Empty slices:
 * sum and norm 0, product 1, mean and variance NaN, logsumexp -inf.
 */
#include "operands.h"
#include <math.h>

typedef struct slice {
    const float *x;
    int64_t n, step;
} slice;

static double at(slice s, int64_t i) { return s.x[i * s.step]; }

static double sum(slice s) {
    double total = 0;
    for (int64_t i = 0; i < s.n; i++) total += at(s, i);
    return total;
}

/* Sum of squared deviations over n - correction (torch's default correction is 1). */
static double variance(slice s, double correction) {
    double mean = sum(s) / (double)s.n, total = 0;
    for (int64_t i = 0; i < s.n; i++) total += (at(s, i) - mean) * (at(s, i) - mean);
    return (double)s.n > correction ? total / ((double)s.n - correction) : NAN;
}

static int64_t extremum(slice s, bool largest) {
    int64_t best = 0;
    for (int64_t i = 0; i < s.n; i++) {
        if (isnan(at(s, i))) return i;
        if (largest ? at(s, i) > at(s, best) : at(s, i) < at(s, best)) best = i;
    }
    return best;
}

/* (sum |x|^p)^(1/p); p = inf is the largest |x|. */
static double norm(slice s, double p) {
    double total = 0;
    for (int64_t i = 0; i < s.n; i++) {
        double x = fabs(at(s, i));
        if (isinf(p)) total = isnan(x) || x > total ? x : total;
        else total += p == 2 ? x * x : p == 1 ? x : pow(x, p);
        if (isnan(x)) return NAN;
    }
    return p == 2 ? sqrt(total) : p == 1 || isinf(p) ? total : pow(total, 1 / p);
}

/* log sum exp(x), shifted by the largest element so that nothing overflows. */
static double logsumexp(slice s) {
    if (s.n == 0) return -INFINITY;
    double largest = at(s, extremum(s, true)), total = 0;
    if (isinf(largest) || isnan(largest)) return largest;
    for (int64_t i = 0; i < s.n; i++) total += exp(at(s, i) - largest);
    return largest + log(total);
}

static double product(slice s) {
    double total = 1;
    for (int64_t i = 0; i < s.n; i++) total *= at(s, i);
    return total;
}

static double apply(int32_t kind, slice s, double p) {
    switch (kind) {
    case REDUCE_SUM: return sum(s);
    case REDUCE_MEAN: return sum(s) / (double)s.n;
    case REDUCE_VAR: return variance(s, p);
    case REDUCE_MIN: return at(s, extremum(s, false));
    case REDUCE_MAX: return at(s, extremum(s, true));
    case REDUCE_NORM: return norm(s, p);
    case REDUCE_PROD: return product(s);
    default: return logsumexp(s);
    }
}

kvb_status ref_reduce(const kvb_tensor *x, kvb_tensor *y, int32_t dim, int32_t kind, double p) {
    KVB_TRY(ref_check_reduce(x, y, dim, kind, p));
    kvb_tensor first = ref_drop_dim(x, dim);
    for (ref_walk w = ref_walk_start(y); w.more; ref_walk_next(&w, y)) {
        slice s = {ref_f32(&first, &w), x->shape[dim], x->stride[dim]};
        if (y->dtype == KVB_I32)
            ((int32_t *)y->data)[ref_offset(y, &w)] = (int32_t)(extremum(s, kind == REDUCE_ARGMAX) + (int64_t)p);
        else
            *ref_f32(y, &w) = (float)apply(kind, s, p);
    }
    return KVB_OK;
}
