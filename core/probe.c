/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.c - multinomial logistic regression by L-BFGS: what a linear reader finds in hidden states.
 *
 * One fit sees a list of rows of x, so folds share one matrix. Those rows are copied once, standardised, and from then
 * on an evaluation is two products (logits, gradient) and a softmax; memory is rows x features, whatever the number of
 * evaluations. Products are f32 (oneDNN), losses, offsets and the optimiser's vectors double: the data are f32 to begin
 * with, and a gradient good to 1e-6 is all that a penalised optimum needs.
 * Standardising is folded into the weights at the end, so that predicting takes raw rows.
 * Rejected: stochastic gradients (two runs of one probe must agree); a closed form (there is none).
 */
#include "internal.h"
#include <dnnl.h>
#include <lbfgs.h>
#include <math.h>
#include <omp.h>
#include <string.h>

/* Below this many multiplications a product is done before a second thread has woken up (measured: 8 times slower on a
 * busy machine). */
enum { SMALL_PRODUCT = 1 << 23 };

typedef struct fit {
    int64_t n, features, classes;
    float *x;             /* [n, features], standardised */
    float *z;             /* [n, classes]: logits, then what the gradient multiplies */
    float *w;             /* [classes, features]: the optimiser's weights in f32 */
    float *gw;            /* [classes, features] */
    const int32_t *labels; /* by row of the whole x */
    const int32_t *rows;
    double *mean, *scale; /* [features] */
    double l2, loss, gradient;
    int32_t iterations;
    bool failed;          /* a product was refused */
} fit;

/* Logits of the softmax in place become (p - y) / n; returns the mean cross-entropy. */
static double softmax_rows(fit *f) {
    double loss = 0;
    for (int64_t i = 0; i < f->n; i++) {
        float *z = f->z + i * f->classes;
        double top = z[0], sum = 0;
        for (int64_t k = 1; k < f->classes; k++) top = fmax(top, z[k]);
        for (int64_t k = 0; k < f->classes; k++) sum += exp((double)z[k] - top);
        int32_t label = f->labels[f->rows[i]];
        loss += top + log(sum) - (double)z[label];
        for (int64_t k = 0; k < f->classes; k++)
            z[k] = (float)((exp((double)z[k] - top) / sum - (k == label)) / (double)f->n);
    }
    return loss / (double)f->n;
}

/* Mean cross-entropy + l2 / 2 |W|^2 and its gradient; p = weights [classes, features], then offsets [classes]. */
static lbfgsfloatval_t evaluate(void *context, const lbfgsfloatval_t *p, lbfgsfloatval_t *g, const int count,
                                const lbfgsfloatval_t step) {
    (void)count, (void)step;
    fit *f = context;
    int64_t weights = f->classes * f->features;
    double penalty = 0;
    for (int64_t i = 0; i < weights; i++) {
        f->w[i] = (float)p[i];
        penalty += p[i] * p[i];
    }
    for (int64_t i = 0; i < f->n; i++)
        for (int64_t k = 0; k < f->classes; k++) f->z[i * f->classes + k] = (float)p[weights + k];
    if (dnnl_sgemm('N', 'T', f->n, f->classes, f->features, 1, f->x, f->features, f->w, f->features, 1, f->z,
                   f->classes) != dnnl_success)
        f->failed = true;
    double loss = softmax_rows(f) + f->l2 / 2 * penalty;
    if (dnnl_sgemm('T', 'N', f->classes, f->features, f->n, 1, f->z, f->classes, f->x, f->features, 0, f->gw,
                   f->features) != dnnl_success)
        f->failed = true;
    for (int64_t i = 0; i < weights; i++) g[i] = (double)f->gw[i] + f->l2 * p[i];
    for (int64_t k = 0; k < f->classes; k++) {
        double sum = 0;
        for (int64_t i = 0; i < f->n; i++) sum += (double)f->z[i * f->classes + k];
        g[weights + k] = sum;
    }
    return loss;
}

static int progress(void *context, const lbfgsfloatval_t *p, const lbfgsfloatval_t *g, const lbfgsfloatval_t loss,
                    const lbfgsfloatval_t p_norm, const lbfgsfloatval_t g_norm, const lbfgsfloatval_t step, int count,
                    int k, int evaluations) {
    (void)p, (void)g, (void)p_norm, (void)step, (void)count, (void)evaluations;
    fit *f = context;
    f->loss = loss;
    f->gradient = g_norm;
    f->iterations = k;
    return kvb_cancelled() || f->failed;
}

static kvb_status check_rows(const kvb_tensor *x, const int32_t *rows, int32_t n, int64_t *features) {
    if (!x || x->dtype != KVB_F32 || x->ndim != 2 || x->device_id != 0 || x->stride[1] != 1)
        return kvb_fail(KVB_E_SHAPE, "probe: x must be f32 [items, features] in the host's memory, rows contiguous");
    if (!rows || n < 1) return kvb_fail(KVB_E_ARG, "probe: %d rows", n);
    for (int32_t i = 0; i < n; i++)
        if (rows[i] < 0 || rows[i] >= x->shape[0])
            return kvb_fail(KVB_E_ARG, "probe: row %d of a matrix of %lld rows", rows[i], (long long)x->shape[0]);
    *features = x->shape[1];
    return *features > 0 ? KVB_OK : kvb_fail(KVB_E_SHAPE, "probe: x has no features");
}

static const float *row_of(const kvb_tensor *x, int64_t i) { return (const float *)x->data + i * x->stride[0]; }

/* Copies the rows, standardised where asked; features that do not vary become 0. */
static kvb_status standardise(fit *f, const kvb_tensor *x, bool wanted) {
    for (int64_t j = 0; j < f->features; j++) f->mean[j] = 0, f->scale[j] = 1;
    for (int64_t i = 0; i < f->n; i++) {
        const float *v = row_of(x, f->rows[i]);
        for (int64_t j = 0; j < f->features; j++) {
            if (!isfinite(v[j]))
                return kvb_fail(KVB_E_ARG, "probe: item %d, feature %lld is %g", f->rows[i], (long long)j,
                                (double)v[j]);
            f->mean[j] += (double)v[j] / (double)f->n;
        }
    }
    if (!wanted) memset(f->mean, 0, (size_t)f->features * sizeof *f->mean);
    if (wanted) {
        for (int64_t j = 0; j < f->features; j++) f->scale[j] = 0;
        for (int64_t i = 0; i < f->n; i++) {
            const float *v = row_of(x, f->rows[i]);
            for (int64_t j = 0; j < f->features; j++) {
                double d = (double)v[j] - f->mean[j];
                f->scale[j] += d * d / (double)f->n;
            }
        }
        for (int64_t j = 0; j < f->features; j++) {
            double spread = sqrt(f->scale[j]);
            f->scale[j] = spread > 1e-6 * fabs(f->mean[j]) && spread > 0 ? 1 / spread : 0;
        }
    }
    for (int64_t i = 0; i < f->n; i++) {
        const float *v = row_of(x, f->rows[i]);
        for (int64_t j = 0; j < f->features; j++)
            f->x[i * f->features + j] = (float)(((double)v[j] - f->mean[j]) * f->scale[j]);
    }
    return KVB_OK;
}

/* Weights on raw features: w / spread, and the offset takes what the means contributed. */
static void unfold(const fit *f, const lbfgsfloatval_t *p, kvb_tensor *weights) {
    for (int64_t k = 0; k < f->classes; k++) {
        float *out = (float *)weights->data + k * weights->stride[0];
        double offset = p[f->classes * f->features + k];
        for (int64_t j = 0; j < f->features; j++) {
            double w = p[k * f->features + j] * f->scale[j];
            offset -= w * f->mean[j];
            out[j] = (float)w;
        }
        out[f->features] = (float)offset;
    }
}

static kvb_status minimise(fit *f, int32_t most, double tolerance, kvb_tensor *weights, double *report) {
    int64_t count = f->classes * (f->features + 1);
    lbfgsfloatval_t *p = lbfgs_malloc((int)count);
    if (!p) return kvb_fail(KVB_E_MEMORY, "probe: no memory for %lld weights", (long long)count);
    memset(p, 0, (size_t)count * sizeof *p);
    lbfgs_parameter_t parameter;
    lbfgs_parameter_init(&parameter);
    parameter.m = 10;
    parameter.epsilon = tolerance;
    parameter.max_iterations = most;
    lbfgsfloatval_t loss = 0;
    int threads = omp_get_max_threads();
    if (f->n * f->classes * f->features < SMALL_PRODUCT) omp_set_num_threads(1);
    int code = lbfgs((int)count, p, &loss, evaluate, progress, f, &parameter);
    omp_set_num_threads(threads);
    kvb_status status = KVB_OK;
    if (f->failed) {
        status = kvb_fail(KVB_E_INTERNAL, "probe: oneDNN refused a product of %lld x %lld x %lld", (long long)f->n,
                          (long long)f->classes, (long long)f->features);
    } else if (kvb_cancelled()) {
        status = kvb_fail(KVB_E_CANCELLED, "interrupted");
    } else if (code == LBFGSERR_OUTOFMEMORY) {
        status = kvb_fail(KVB_E_MEMORY, "probe: no memory for %lld weights", (long long)count);
    } else {
        /* A line search that gave up, where f32 products no longer tell points apart, is at the optimum to their
         * digits. */
        unfold(f, p, weights);
        report[0] = loss;
        report[1] = f->gradient;
        report[2] = f->iterations;
        report[3] = code == LBFGS_SUCCESS || code == LBFGS_ALREADY_MINIMIZED || code == LBFGS_STOP;
    }
    lbfgs_free(p);
    return status;
}

kvb_status kvb_probe_fit(const kvb_tensor *x, const int32_t *labels, const int32_t *rows, int32_t n, int32_t classes,
                         double l2, int32_t standard, int32_t most, double tolerance, kvb_tensor *weights,
                         double *report) {
    int64_t features = 0;
    KVB_TRY(check_rows(x, rows, n, &features));
    if (classes < 2) return kvb_fail(KVB_E_ARG, "probe: %d classes, a probe needs at least 2", classes);
    if (!(l2 >= 0) || most < 1 || !(tolerance > 0))
        return kvb_fail(KVB_E_ARG, "probe: l2 %g, %d iterations, tolerance %g", l2, most, tolerance);
    if (features + 1 > INT32_MAX / classes)
        return kvb_fail(KVB_E_ARG, "probe: %d classes of %lld features", classes, (long long)features);
    for (int32_t i = 0; i < n; i++)
        if (labels[rows[i]] < 0 || labels[rows[i]] >= classes)
            return kvb_fail(KVB_E_ARG, "probe: item %d has class %d of %d", rows[i], labels[rows[i]], classes);
    KVB_TRY(kvb_tensor_expect("probe", "weights", weights, KVB_F32, 2, (int64_t[]){classes, features + 1}));
    if (weights->device_id != 0) return kvb_fail(KVB_E_ARG, "probe: weights must be in the host's memory");
    fit f = {.n = n, .features = features, .classes = classes, .labels = labels, .rows = rows, .l2 = l2};
    f.x = kvb_alloc_array(kvb_mul_size((size_t)n, (size_t)features), sizeof *f.x, KVB_MEM_OTHER);
    f.z = kvb_alloc_array(kvb_mul_size((size_t)n, (size_t)classes), sizeof *f.z, KVB_MEM_OTHER);
    f.w = kvb_alloc_array(kvb_mul_size((size_t)classes, (size_t)features), sizeof *f.w, KVB_MEM_OTHER);
    f.gw = kvb_alloc_array(kvb_mul_size((size_t)classes, (size_t)features), sizeof *f.gw, KVB_MEM_OTHER);
    f.mean = kvb_alloc_array((size_t)features, sizeof *f.mean, KVB_MEM_OTHER);
    f.scale = kvb_alloc_array((size_t)features, sizeof *f.scale, KVB_MEM_OTHER);
    kvb_status status = KVB_E_MEMORY;
    if (f.x && f.z && f.w && f.gw && f.mean && f.scale) {
        status = standardise(&f, x, standard != 0);
        if (status == KVB_OK) status = minimise(&f, most, tolerance, weights, report);
    }
    kvb_free(f.x);
    kvb_free(f.z);
    kvb_free(f.w);
    kvb_free(f.gw);
    kvb_free(f.mean);
    kvb_free(f.scale);
    return status;
}

kvb_status kvb_probe_predict(const kvb_tensor *x, const int32_t *rows, int32_t n, const kvb_tensor *weights,
                             kvb_tensor *out) {
    int64_t features = 0;
    KVB_TRY(check_rows(x, rows, n, &features));
    if (!weights || weights->ndim != 2 || weights->shape[0] < 1 || weights->device_id != 0)
        return kvb_fail(KVB_E_SHAPE, "probe: weights must be [classes, features + 1] in the host's memory");
    int64_t classes = weights->shape[0];
    KVB_TRY(kvb_tensor_expect("probe", "weights", weights, KVB_F32, 2, (int64_t[]){classes, features + 1}));
    KVB_TRY(kvb_tensor_expect("probe", "out", out, KVB_F32, 2, (int64_t[]){n, classes}));
    for (int32_t i = 0; i < n; i++) {
        const float *v = row_of(x, rows[i]);
        float *z = (float *)out->data + (int64_t)i * out->stride[0];
        double top = -INFINITY, sum = 0;
        for (int64_t k = 0; k < classes; k++) {
            const float *w = (const float *)weights->data + k * weights->stride[0];
            double s = w[features];
            for (int64_t j = 0; j < features; j++) s += (double)w[j] * v[j];
            z[k] = (float)s;
            top = fmax(top, z[k]);
        }
        for (int64_t k = 0; k < classes; k++) sum += exp((double)z[k] - top);
        for (int64_t k = 0; k < classes; k++) z[k] = (float)((double)z[k] - top - log(sum));
    }
    return KVB_OK;
}
