/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_linalg.cu - factorisations of small matrices.
 *
 * Cholesky factors, triangular and general systems run on the GPU, a block per matrix, in double in global scratch,
 * with the reference's order of operations within each element. QR, eigenvectors and singular values are chains of
 * rotations of one matrix after another: those go through the host, all matrices in one transfer each way.
 */
#include "tensor.cuh"
extern "C" {
#include "../core/ref/matrix.h"
}
#include <math_constants.h>

using namespace kvb;

namespace {

enum { THREADS = 256 };

struct batch {
    plan<4> at; /* of the leading dimensions: a, b, y, info */
    const float *a, *b;
    float *y;
    int32_t *info;
    int64_t a_row, a_column, b_row, b_column, y_row, y_column;
    int n, columns;
    double *scratch;
    int64_t room; /* doubles per matrix */
};

/* Loads [rows, columns]; true when every element was finite. All threads get the answer. */
__device__ bool load(double *to, const float *from, int64_t row, int64_t column, int rows, int columns) {
    int bad = 0;
    for (int i = threadIdx.x; i < rows * columns; i += THREADS) {
        float v = from[i / columns * row + i % columns * column];
        bad |= !isfinite(v);
        to[i] = (double)v;
    }
    return !__syncthreads_or(bad);
}

__device__ void store(const batch &s, float *y, const double *from, bool good) {
    for (int i = threadIdx.x; i < s.n * s.columns; i += THREADS)
        y[i / s.columns * s.y_row + i % s.columns * s.y_column] = good ? (float)from[i] : CUDART_NAN_F;
}

/* Column by column: the diagonal element, then all elements below it at once, each its own sum in order of k. */
__global__ void __launch_bounds__(THREADS) cholesky(batch s) {
    int64_t at[4];
    s.at.locate(blockIdx.x, at);
    int n = s.n;
    double *a = s.scratch + blockIdx.x * s.room;
    int bad = 0;
    for (int i = threadIdx.x; i < n * n; i += THREADS) {
        int r = i / n, c = i % n;
        float v = c <= r ? s.a[at[0] + r * s.a_row + c * s.a_column] : 0;
        bad |= !isfinite(v);
        a[i] = (double)v;
    }
    bool good = !__syncthreads_or(bad);
    int info = 0;
    for (int j = 0; j < n && good; j++) {
        double rest = a[j * n + j];
        for (int k = 0; k < j; k++) rest -= a[j * n + k] * a[j * n + k];
        if (!(rest > 0)) {
            info = j + 1;
            break;
        }
        double pivot = sqrt(rest);
        for (int i = j + 1 + threadIdx.x; i < n; i += THREADS) {
            double below = a[i * n + j];
            for (int k = 0; k < j; k++) below -= a[i * n + k] * a[j * n + k];
            a[i * n + j] = below / pivot;
        }
        __syncthreads();
        if (threadIdx.x == 0) a[j * n + j] = pivot;
        __syncthreads();
    }
    __syncthreads();
    store(s, s.y + at[2], a, good && !info);
    if (threadIdx.x == 0) s.info[at[3]] = info;
}

/* A thread per right-hand side. */
__global__ void __launch_bounds__(THREADS) triangular(batch s, bool upper, bool transposed) {
    int64_t at[4];
    s.at.locate(blockIdx.x, at);
    int n = s.n, bad = 0;
    double *a = s.scratch + blockIdx.x * s.room, *b = a + (int64_t)n * n;
    for (int i = threadIdx.x; i < n * n; i += THREADS) {
        int r = i / n, c = i % n;
        float v = s.a[at[0] + r * s.a_row + c * s.a_column];
        if (upper ? c >= r : c <= r) bad |= !isfinite(v);
        a[transposed ? c * n + r : i] = (double)v;
    }
    bool good = !__syncthreads_or(bad);
    good = load(b, s.b + at[1], s.b_row, s.b_column, n, s.columns) && good;
    bool backward = upper != transposed;
    for (int c = threadIdx.x; c < s.columns && good; c += THREADS)
        for (int step = 0; step < n; step++) {
            int i = backward ? n - 1 - step : step;
            double rest = b[(int64_t)i * s.columns + c];
            for (int k = backward ? i + 1 : 0; k < (backward ? n : i); k++)
                rest -= a[i * n + k] * b[(int64_t)k * s.columns + c];
            b[(int64_t)i * s.columns + c] = rest / a[i * n + i];
        }
    __syncthreads();
    store(s, s.y + at[2], b, good);
}

__global__ void __launch_bounds__(THREADS) solve(batch s) {
    __shared__ int pivot_shared;
    int64_t at[4];
    s.at.locate(blockIdx.x, at);
    int n = s.n, columns = s.columns, info = 0;
    double *a = s.scratch + blockIdx.x * s.room, *b = a + (int64_t)n * n;
    bool good = load(a, s.a + at[0], s.a_row, s.a_column, n, n);
    good = load(b, s.b + at[1], s.b_row, s.b_column, n, columns) && good;
    for (int k = 0; k < n && good; k++) {
        if (threadIdx.x == 0) {
            int pivot = k;
            for (int i = k + 1; i < n; i++)
                if (fabs(a[i * n + k]) > fabs(a[pivot * n + k])) pivot = i;
            pivot_shared = pivot;
        }
        __syncthreads();
        int pivot = pivot_shared;
        if (a[pivot * n + k] == 0) {
            info = k + 1;
            break;
        }
        __syncthreads();
        for (int j = threadIdx.x; j < n + columns && pivot != k; j += THREADS) {
            double *x = j < n ? a + k * n + j : b + (int64_t)k * columns + j - n;
            double *y = j < n ? a + pivot * n + j : b + (int64_t)pivot * columns + j - n;
            double held = *x;
            *x = *y;
            *y = held;
        }
        __syncthreads();
        int rest = n - k - 1, wide = rest + columns;
        for (int e = threadIdx.x; e < rest * wide; e += THREADS) {
            int i = k + 1 + e / wide, j = e % wide;
            double factor = a[i * n + k] / a[k * n + k];
            if (j < rest) a[i * n + k + 1 + j] -= factor * a[k * n + k + 1 + j];
            else b[(int64_t)i * columns + j - rest] -= factor * b[(int64_t)k * columns + j - rest];
        }
        __syncthreads();
    }
    for (int c = threadIdx.x; c < columns && good && !info; c += THREADS)
        for (int i = n - 1; i >= 0; i--) {
            double rest = b[(int64_t)i * columns + c];
            for (int k = i + 1; k < n; k++) rest -= a[i * n + k] * b[(int64_t)k * columns + c];
            b[(int64_t)i * columns + c] = rest / a[i * n + i];
        }
    __syncthreads();
    store(s, s.y + at[2], b, good && !info);
    if (threadIdx.x == 0) s.info[at[3]] = info;
}

/* Missing operands may be NULL: their place in the plan is taken by y. */
batch batch_of(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y, kvb_tensor *info) {
    kvb_tensor a0 = ref_batch_of(a), b0 = ref_batch_of(b ? b : y), y0 = ref_batch_of(y);
    const kvb_tensor *const t[4] = {&a0, &b0, &y0, info ? info : &y0};
    int32_t r = a->ndim - 2, c = a->ndim - 1;
    batch s = {plan_of(t),
               (const float *)a->data,
               b ? (const float *)b->data : NULL,
               (float *)y->data,
               info ? (int32_t *)info->data : NULL,
               a->stride[r],
               a->stride[c],
               b ? b->stride[r] : 0,
               b ? b->stride[c] : 0,
               y->stride[r],
               y->stride[c],
               (int)ref_rows(a),
               (int)ref_columns(y),
               NULL,
               ref_rows(a) * (ref_rows(a) + (b ? ref_columns(b) : 0))};
    return s;
}

kvb_status check_size(const char *op, const batch &s) {
    if (s.n <= 16384 && s.columns <= 1 << 20) return KVB_OK;
    return kvb_fail(KVB_E_UNSUPPORTED, "%s: matrices of %d rows on a GPU", op, s.n);
}

/* The op on host copies: inputs down, outputs up, one transfer each. */
template <int IN, int OUT, class CALL>
kvb_status on_host(const kvb_tensor *const (&in)[IN], kvb_tensor *const (&out)[OUT], CALL call) {
    kvb_tensor host[IN + OUT] = {};
    kvb_status status = KVB_OK;
    for (int i = 0; i < IN + OUT && status == KVB_OK; i++) {
        const kvb_tensor *t = i < IN ? in[i] : out[i - IN];
        status = kvb_tensor_new_on(KVB_DEVICE_CPU, t->dtype, t->ndim, t->shape, 0, host + i);
        if (status == KVB_OK && i < IN) status = cuda_copy(t, host + i);
    }
    if (status == KVB_OK) status = call(host);
    for (int i = 0; i < OUT && status == KVB_OK; i++) status = cuda_copy(host + IN + i, out[i]);
    for (int i = 0; i < IN + OUT; i++) kvb_tensor_release(host + i);
    return status;
}

} // namespace

kvb_status cuda_cholesky(const kvb_tensor *x, kvb_tensor *y, kvb_tensor *info) {
    ref_matrices operands = {x, NULL, {y, info}, {0}};
    KVB_TRY(ref_op_cholesky.check(&operands));
    batch s = batch_of(x, NULL, y, info);
    KVB_TRY(check_size("cholesky", s));
    if (s.at.count == 0) return KVB_OK;
    scratch memory((size_t)s.at.count * (size_t)s.room * sizeof(double));
    if (!memory.p) return KVB_E_MEMORY;
    s.scratch = memory.as<double>();
    cholesky<<<s.at.count, THREADS, 0, kvb_cuda_stream()>>>(s);
    return kvb_cuda_launched("cholesky");
}

kvb_status cuda_triangular(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y, int32_t upper, int32_t transpose) {
    ref_matrices operands = {a, b, {y}, {upper, transpose}};
    KVB_TRY(ref_op_triangular.check(&operands));
    batch s = batch_of(a, b, y, NULL);
    KVB_TRY(check_size("triangular", s));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    scratch memory((size_t)s.at.count * (size_t)s.room * sizeof(double));
    if (!memory.p) return KVB_E_MEMORY;
    s.scratch = memory.as<double>();
    triangular<<<s.at.count, THREADS, 0, kvb_cuda_stream()>>>(s, upper != 0, transpose != 0);
    return kvb_cuda_launched("triangular");
}

kvb_status cuda_solve(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y, kvb_tensor *info) {
    ref_matrices operands = {a, b, {y, info}, {0}};
    KVB_TRY(ref_op_solve.check(&operands));
    batch s = batch_of(a, b, y, info);
    KVB_TRY(check_size("solve", s));
    if (s.at.count == 0) return KVB_OK;
    scratch memory((size_t)s.at.count * (size_t)s.room * sizeof(double));
    if (!memory.p) return KVB_E_MEMORY;
    s.scratch = memory.as<double>();
    solve<<<s.at.count, THREADS, 0, kvb_cuda_stream()>>>(s);
    return kvb_cuda_launched("solve");
}

kvb_status cuda_qr(const kvb_tensor *x, kvb_tensor *q, kvb_tensor *r) {
    ref_matrices operands = {x, NULL, {q, r}, {0}};
    KVB_TRY(ref_op_qr.check(&operands));
    const kvb_tensor *const in[1] = {x};
    kvb_tensor *const out[2] = {q, r};
    return on_host<1, 2>(in, out, [](kvb_tensor *t) { return kvb_op_qr(KVB_DEVICE_CPU, t, t + 1, t + 2); });
}

kvb_status cuda_eigh(const kvb_tensor *x, kvb_tensor *w, kvb_tensor *v) {
    ref_matrices operands = {x, NULL, {w, v}, {0}};
    KVB_TRY(ref_op_eigh.check(&operands));
    const kvb_tensor *const in[1] = {x};
    kvb_tensor *const out[2] = {w, v};
    return on_host<1, 2>(in, out, [](kvb_tensor *t) { return kvb_op_eigh(KVB_DEVICE_CPU, t, t + 1, t + 2); });
}

kvb_status cuda_svd(const kvb_tensor *x, kvb_tensor *u, kvb_tensor *s, kvb_tensor *v) {
    ref_matrices operands = {x, NULL, {u, s, v}, {0}};
    KVB_TRY(ref_op_svd.check(&operands));
    const kvb_tensor *const in[1] = {x};
    kvb_tensor *const out[3] = {u, s, v};
    return on_host<1, 3>(in, out, [](kvb_tensor *t) { return kvb_op_svd(KVB_DEVICE_CPU, t, t + 1, t + 2, t + 3); });
}
