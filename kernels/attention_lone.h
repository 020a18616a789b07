/* SPDX-License-Identifier: Apache-2.0 */
/* attention_lone.h - attention of one row over a long cache, cut over the whole device: the `interactive` tier. */
#ifndef KVB_ATTENTION_LONE_H
#define KVB_ATTENTION_LONE_H
#include "attention.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of scratch that kvb_cuda_attend_lone needs on the current device for a model of these shapes. */
int64_t kvb_cuda_lone_bytes(int32_t heads, int32_t kv_heads, int32_t head_dim);
/* kvb_cuda_attend for n_rows = 1 and 16-bit caches, in another order of summation. scratch: device memory. */
kvb_status kvb_cuda_attend_lone(const kvb_cuda_attention *a, float *scratch);

#ifdef __cplusplus
}
#endif
#endif
