/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_score.c - the fused ops that scores of many heads are made of: mean and covariance of queries, quadratic forms
 * of keys, attention received from a window.
 *
 * A thread takes one head of one layer from inputs to outputs in its own scratch, so that all layers are one launch and
 * nothing larger than the outputs is stored. Rejected: the same as products and reductions, which measured twice the
 * time: half of it in reading back what the step before had written, and in waiting for threads between the steps.
 */
#include "cpu.h"
#include "tensor_cpu.h"

/* Rows that are centred, queries that are weighed, keys that are put into a form, at a time. */
enum { ROWS = 64, QUERIES = 192, SOME = 4096 };

static int64_t wide(int64_t n) { return kvb_round_up(n, 32); }

/* Offsets of head i of operands whose leading dimensions are `t`'s. */
typedef struct heads {
    kvb_loop loop;
    int64_t count;
} heads;

static heads over(const kvb_tensor *const *t, int32_t operands) {
    heads h = {.loop = kvb_loop_over(t, operands, false)};
    h.count = h.loop.outer * h.loop.run;
    return h;
}

static void at_head(const heads *h, int64_t i, int64_t *at) {
    kvb_loop_at(&h->loop, i / h->loop.run, at);
    for (int o = 0; o < h->loop.operands; o++) at[o] += i % h->loop.run * h->loop.stride[o][h->loop.ndim];
}

/* One op on all heads: its operands t[0 .. 4), what they share, and the work on one head. */
typedef struct work {
    const kvb_tensor *t[KVB_OPERANDS];
    heads all;
    double a, b; /* the op's numbers */
    const kvb_tensor_kernels *kernels;
    void (*head)(const struct work *job, float *const *at, float *scratch);
} work;

/* Every thread has `floats` of scratch, zeroed once; at: where each operand's head begins. */
static kvb_status run(const char *op, const work *job, int64_t effort, int64_t floats) {
    int32_t failed = 0, threads = kvb_loop_threads(effort);
#pragma omp parallel num_threads(threads)
    {
        float *scratch = kvb_alloc(kvb_mul_size(kvb_size(floats), sizeof(float)), KVB_MEM_SCRATCH);
        if (!scratch) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < job->all.count; i++) {
            int64_t offset[KVB_OPERANDS];
            float *at[KVB_OPERANDS];
            if (!scratch || kvb_cancelled()) continue;
            at_head(&job->all, i, offset);
            for (int o = 0; o < job->all.loop.operands; o++) at[o] = (float *)job->t[o]->data + offset[o];
            job->head(job, at, scratch);
        }
        kvb_free(scratch);
    }
    return failed ? kvb_fail(KVB_E_MEMORY, "%s: out of memory for %lld floats of a head", op, (long long)floats)
                  : KVB_OK;
}

/* `operands` tensors and how many of the last dimensions of each belong to one head. */
static work work_of(const kvb_tensor *const *t, const int32_t *own, int32_t operands) {
    kvb_tensor lead[KVB_OPERANDS];
    const kvb_tensor *views[KVB_OPERANDS];
    work out = {.kernels = kvb_tensor_pick()};
    for (int o = 0; o < operands; o++) {
        out.t[o] = t[o];
        lead[o] = *t[o];
        lead[o].ndim -= own[o];
        views[o] = &lead[o];
    }
    out.all = over(views, operands);
    return out;
}

/* ---- moments ---- */

static void moments_of(const work *job, float *const *at, float *scratch) {
    const kvb_tensor *x = job->t[0], *c = job->t[2];
    int64_t n = x->shape[x->ndim - 2], d = x->shape[x->ndim - 1], row = x->stride[x->ndim - 2];
    int64_t stride = wide(d), c_row = c->stride[c->ndim - 2];
    float *mean = at[1], *total = scratch, *rows = scratch + d * stride; /* the padding of rows stays zero */
    job->kernels->means(n, d, row, at[0], mean);
    memset(total, 0, (size_t)(d * stride) * sizeof *total);
    for (int64_t first = 0; first < n && !kvb_cancelled(); first += ROWS) {
        int64_t count = kvb_min64(ROWS, n - first);
        job->kernels->centre(count, d, at[0] + first * row, row, mean, rows, stride);
        job->kernels->gram(count, d, rows, stride, total, at[0] + (n + first) * row); /* of the next head */
    }
    job->kernels->mirror(d, total, stride, 1 / (float)n, at[2], c_row);
}

kvb_status cpu_moments(const kvb_tensor *x, kvb_tensor *mean, kvb_tensor *covariance) {
    KVB_TRY(ref_check_moments(x, mean, covariance));
    int32_t last = mean->ndim - 1;
    int64_t n = x->shape[last], d = x->shape[last + 1];
    if (d > 1 && (x->stride[last + 1] != 1 || mean->stride[last] != 1 || covariance->stride[last + 1] != 1))
        return ref_moments(x, mean, covariance);
    if (d == 0) return KVB_OK;
    work job = work_of((const kvb_tensor *[]){x, mean, covariance}, (int32_t[]){2, 1, 2}, 3);
    job.head = moments_of;
    return run("moments", &job, job.all.count * n * d * d / 16, (d + ROWS) * wide(d));
}

/* ---- quadratic ---- */

static void quadratic_of(const work *job, float *const *at, float *scratch) {
    const kvb_tensor *x = job->t[1], *c = job->t[2];
    int64_t n = x->shape[x->ndim - 2], d = x->shape[x->ndim - 1];
    job->kernels->fold(d, at[2], c->stride[c->ndim - 2], c->stride[c->ndim - 1], scratch, wide(d));
    int64_t row = x->stride[x->ndim - 2];
    for (int64_t i = 0; i < n && !kvb_cancelled(); i += SOME)
        job->kernels->quadratic(kvb_min64(SOME, n - i), d, at[1] + i * row, row, scratch, wide(d), at[3], job->a,
                                job->b, at[0] + i);
}

kvb_status cpu_quadratic(const kvb_tensor *x, const kvb_tensor *c, const kvb_tensor *b, kvb_tensor *y, double square,
                         double linear) {
    KVB_TRY(ref_check_quadratic(x, c, b, y));
    int32_t last = y->ndim;
    int64_t n = x->shape[last - 1], d = x->shape[last];
    bool plain = x->stride[last] == 1 && b->stride[last - 1] == 1;
    if ((d > 1 && !plain) || (n > 1 && y->stride[last - 1] != 1)) return ref_quadratic(x, c, b, y, square, linear);
    work job = work_of((const kvb_tensor *[]){y, x, c, b}, (int32_t[]){1, 2, 2, 1}, 4);
    job.head = quadratic_of, job.a = square, job.b = linear;
    return run("quadratic", &job, job.all.count * n * d * d / 16, d * wide(d) + 1);
}

/* ---- attended ---- */

/* Turned keys lie this far apart: a power of two would put all rows of a panel into the same few lines of the cache. */
static int64_t apart(int64_t n) { return wide(n) + 16; }

/* The first `count` rows from `first` of one query head, on the keys turned to [d, stride]. */
static void weigh(const kvb_tensor_kernels *kernels, const kvb_tensor *q, const float *queries, int64_t first,
                  int64_t count, int64_t n, const float *keys, float *logits, float *panel, double *sum) {
    int64_t rows = q->shape[q->ndim - 2], d = q->shape[q->ndim - 1], row = q->stride[q->ndim - 2];
    int64_t stride = apart(n), seen = n - rows + first + count;
    kernels->gemm(count, wide(seen), d, queries + first * row, row, q->stride[q->ndim - 1], keys, stride, 1, logits,
                  stride, panel);
    kernels->weigh(count, seen - count + 1, logits, stride, sum);
}

static void attended_of(const work *job, float *const *at, float *scratch) {
    const kvb_tensor *y = job->t[0], *q = job->t[1], *k = job->t[2];
    int64_t n = k->shape[k->ndim - 2], d = k->shape[k->ndim - 1], rows = q->shape[q->ndim - 2], stride = apart(n);
    float *keys = scratch, *logits = keys + d * stride, *panel = logits + QUERIES * stride;
    double *sum = (double *)(panel + kvb_gemm_scratch(d));
    job->kernels->turn(n, d, at[2], k->stride[k->ndim - 2], k->stride[k->ndim - 1], keys, stride);
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int64_t g = 0; g < q->shape[q->ndim - 3]; g++)
        for (int64_t first = 0; first < rows && !kvb_cancelled(); first += QUERIES)
            weigh(job->kernels, q, at[1] + g * q->stride[q->ndim - 3], first, kvb_min64(QUERIES, rows - first), n, keys,
                  logits, panel, sum);
    for (int64_t j = 0; j < n; j++) at[0][j * y->stride[y->ndim - 1]] = (float)(job->a * sum[j]);
}

kvb_status cpu_attended(const kvb_tensor *q, const kvb_tensor *k, kvb_tensor *y, double scale) {
    KVB_TRY(ref_check_attended(q, k, y));
    int32_t last = y->ndim;
    int64_t n = k->shape[last - 1], d = k->shape[last], rows = q->shape[last - 1] * q->shape[last];
    if (n == 0) return KVB_OK;
    work job = work_of((const kvb_tensor *[]){y, q, k}, (int32_t[]){1, 3, 2}, 3);
    job.head = attended_of, job.a = scale;
    return run("attended", &job, job.all.count * rows * n * (d + 16) / 8,
               (d + QUERIES) * apart(n) + kvb_gemm_scratch(d) + 2 * n);
}
