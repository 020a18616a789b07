/* SPDX-License-Identifier: Apache-2.0 */
/*
 * score.c - what a distribution over the vocabulary says about a token, and about another distribution.
 *
 * Differences between two caches are often far below the logits themselves, so sums run in double, in one fixed order
 * of eight lanes; and the exponential is our own, so that a stored score does not depend on the system's libm.
 * Rejected: doing it where the logits are computed (the reference's row would have to be in flight with every row
 * compared).
 */
#include "internal.h"
#include <math.h>

enum { LANES = 8 };

/* e^x for x <= 0, relative error about 1e-14; 0 below -700. Range reduction by ln 2, Taylor to the 11th power. */
static inline double exp_nonpositive(double x) {
    const double shifter = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds to an integer */
    double y = x < -700 ? -700 : x, t = y * 1.4426950408889634 + shifter, n = t - shifter;
    double f = y - n * 0.693147180369123816490 - n * 1.90821492927058770002e-10;
    double p = 1.0 / 39916800;
    p = p * f + 1.0 / 3628800;
    p = p * f + 1.0 / 362880;
    p = p * f + 1.0 / 40320;
    p = p * f + 1.0 / 5040;
    p = p * f + 1.0 / 720;
    p = p * f + 1.0 / 120;
    p = p * f + 1.0 / 24;
    p = p * f + 1.0 / 6;
    p = p * f + 0.5;
    p = p * f + 1.0;
    p = p * f + 1.0;
    int64_t exponent = (int64_t)n;
    uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return x < -700 ? 0 : p * scale;
}

static double sum_of(const double *lane) {
    double sum = 0;
    for (int i = 0; i < LANES; i++) sum += lane[i];
    return sum;
}

static double log_sum_exp(const float *x, int64_t n) {
    double most = -INFINITY, lane[LANES] = {0};
    for (int64_t j = 0; j < n; j++) most = x[j] > most ? x[j] : most;
    if (!isfinite(most)) return most;
    for (int64_t j = 0; j < n; j++) lane[j % LANES] += exp_nonpositive(x[j] - most);
    return most + log(sum_of(lane));
}

static kvb_status check(const char *what, const kvb_tensor *x) {
    KVB_TRY(kvb_tensor_expect("score", what, x, KVB_F32, 2, (int64_t[]){-1, -1}));
    if (kvb_tensor_contiguous(x) && x->device_id == 0) return KVB_OK;
    return kvb_fail(KVB_E_ARG, "score: %s must be contiguous and on the host", what);
}

kvb_status kvb_score_logprobs(const kvb_tensor *logits, const int32_t *ids, double *lse, double *logprob) {
    KVB_TRY(check("logits", logits));
    int64_t n = logits->shape[0], vocab = logits->shape[1];
    for (int64_t i = 0; ids && i < n; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return kvb_fail(KVB_E_ARG, "score: token %d of a vocabulary of %lld", ids[i], (long long)vocab);
#pragma omp parallel for schedule(dynamic, 1) num_threads(kvb_threads()) if (n > 1)
    for (int64_t i = 0; i < n; i++) {
        const float *x = (const float *)logits->data + i * vocab;
        lse[i] = log_sum_exp(x, vocab);
        if (ids && logprob) logprob[i] = x[ids[i]] - lse[i];
    }
    return KVB_OK;
}

kvb_status kvb_score_kl(const kvb_tensor *p, const double *p_lse, const kvb_tensor *q, const double *q_lse,
                        double *kl) {
    KVB_TRY(check("p", p));
    KVB_TRY(check("q", q));
    int64_t n = p->shape[0], vocab = p->shape[1];
    KVB_TRY(kvb_tensor_expect("score", "q", q, KVB_F32, 2, (int64_t[]){n, vocab}));
#pragma omp parallel for schedule(dynamic, 1) num_threads(kvb_threads()) if (n > 1)
    for (int64_t i = 0; i < n; i++) {
        const float *x = (const float *)p->data + i * vocab, *y = (const float *)q->data + i * vocab;
        double lane[LANES] = {0};
        for (int64_t j = 0; j < vocab; j++) {
            double log_p = x[j] - p_lse[i], weight = exp_nonpositive(log_p < 0 ? log_p : 0);
            if (weight > 0) lane[j % LANES] += weight * (log_p - (y[j] - q_lse[i]));
        }
        double sum = sum_of(lane);
        kl[i] = sum < 0 ? 0 : sum; /* roundings can take nearly equal rows below 0; NaN stays */
    }
    return KVB_OK;
}
