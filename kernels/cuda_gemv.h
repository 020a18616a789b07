/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_gemv.h - products of one row with packed 16-bit weights, at the speed of memory: the `interactive` tier.
 */
#ifndef KVB_CUDA_GEMV_H
#define KVB_CUDA_GEMV_H
#include "cuda_gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    KVB_GEMV_STORE,      /* y f32 = x w^T + bias (bias may be NULL) */
    KVB_GEMV_ACCUMULATE, /* y f32 += x w^T */
    KVB_GEMV_SWIGLU      /* y (dtype of w) [out / 2] = silu(first half) * second half, halves rounded before */
};

typedef struct kvb_cuda_gemv {
    const kvb_packed *w; /* bf16 or f16; `in` a multiple of 8 */
    const void *x;       /* [in] in the weights' dtype; with norm: f32, and RMSNorm(x) is what is multiplied */
    const float *norm;   /* [in] or NULL */
    const float *bias;   /* [out] or NULL */
    void *y;
    float eps;
    int32_t what;
} kvb_cuda_gemv;

/* Whether rows of `in` elements fit: 16-bit weights, `in` a multiple of 8, the row within a block's shared memory. */
bool kvb_cuda_gemv_fits(int32_t dtype, int32_t in);
kvb_status kvb_cuda_gemv_run(const kvb_cuda_gemv *g);

#ifdef __cplusplus
}
#endif
#endif
