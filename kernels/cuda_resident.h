/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_resident.h - what a model keeps in device memory beside its packed matrices. */
#ifndef KVB_CUDA_RESIDENT_H
#define KVB_CUDA_RESIDENT_H
#include "cuda.h"
#include "model.h"

enum { KVB_CUDA_HEAD_ROWS = 2048 }; /* rows whose logits exist at one time */

typedef struct kvb_cuda_layer {
    float *attn_norm, *ffn_norm, *q_norm, *k_norm, *qkv_bias, *post_attn_norm, *post_ffn_norm; /* device; or NULL */
} kvb_cuda_layer;

struct kvb_resident {
    float *block;          /* device: all vectors */
    kvb_cuda_layer *layer; /* host [layers] */
    float *final_norm;
    float *cos[2], *sin[2]; /* device [rope_positions][head_dim / 2]; 1: of sliding layers, or NULL */
};
typedef struct kvb_resident kvb_resident;

#ifdef __cplusplus
extern "C" {
#endif

kvb_status kvb_cuda_ready(kvb_model *m);
kvb_status kvb_cuda_cover(kvb_model *m);
void kvb_cuda_gone(kvb_model *m);
/* Bytes of a step's buffers for so many rows. */
int64_t kvb_cuda_step_bytes(const kvb_model *m, int32_t rows);

kvb_status kvb_cuda_step_new(kvb_model *m, kvb_step **out);
void kvb_cuda_step_free(kvb_step *s);
kvb_status kvb_cuda_step_submit(kvb_step *s, const kvb_row *row, int32_t n);
kvb_status kvb_cuda_step_collect(kvb_step *s);

#ifdef __cplusplus
}
#endif
#endif
