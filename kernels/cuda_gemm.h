/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_gemm.h - products with packed weights through cuBLASLt, with algorithms pinned per shape and row bucket. */
#ifndef KVB_CUDA_GEMM_H
#define KVB_CUDA_GEMM_H
#include "cuda.h"

struct kvb_packed {
    int32_t out, in, dtype, device;
    void *w; /* [out][in] in device memory */
};

#ifdef __cplusplus
extern "C" {
#endif

kvb_status kvb_cuda_pack(const float *w, int32_t out, int32_t in, int32_t dtype, kvb_packed **packed);
/* Noise in [-scale, scale) instead of given weights: element (o, i) from seed and o * in + i alone. */
kvb_status kvb_cuda_pack_noise(int32_t out, int32_t in, int32_t dtype, uint64_t seed, float scale, kvb_packed **packed);
void kvb_cuda_pack_free(kvb_packed *p);
int64_t kvb_cuda_pack_bytes(const kvb_packed *p);

/* A product as a step needs it: everything an algorithm may depend on but the numbers. */
typedef struct kvb_cuda_product {
    int32_t out, in, dtype, y_dtype, bias, accumulate;
} kvb_cuda_product;

/*
 * Chooses, for each of the row buckets (ascending), the fastest algorithm without split-K whose rows equal the largest
 * bucket's bit for bit; proven[b] becomes false where there is none. Timing only breaks ties between equal results.
 */
kvb_status kvb_cuda_prove(const kvb_cuda_product *product, const kvb_packed *w, const int32_t *bucket, int32_t buckets,
                          bool *proven);
/* y [rows][out] (+)= x [rows][in] w^T + bias, rows a proven bucket. */
kvb_status kvb_cuda_multiply(kvb_packed *p, const void *x, int32_t rows, const float *bias, int32_t accumulate,
                             void *y, int32_t y_dtype);
/* What was chosen, one line per (product, bucket), for the run's manifest. Valid until the next kvb_cuda_prove. */
const char *kvb_cuda_pins(int32_t device);

#ifdef __cplusplus
}
#endif
#endif
