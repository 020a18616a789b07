/* SPDX-License-Identifier: Apache-2.0 */
/* attention_variants.h - the attention kernels behind kvb_cuda_attend, for it and for the test that compares them. */
#ifndef KVB_ATTENTION_VARIANTS_H
#define KVB_ATTENTION_VARIANTS_H
#include "attention.h"

#ifdef __cplusplus
extern "C" {
#endif

kvb_status kvb_cuda_attend_v0(const kvb_cuda_attention *a); /* any dtype; ignores the items */
kvb_status kvb_cuda_attend_bf16(const kvb_cuda_attention *a);
kvb_status kvb_cuda_attend_f16(const kvb_cuda_attention *a);

/* Items of one row only; the same bits. KVB_E_UNSUPPORTED without a message where shared memory is too small for it. */
kvb_status kvb_cuda_attend_row_bf16(const kvb_cuda_attention *a);
kvb_status kvb_cuda_attend_row_f16(const kvb_cuda_attention *a);

/* Query rows (token, head of the group) that one item may hold. */
static inline int32_t kvb_cuda_attention_rows(int32_t head_dim) { return head_dim <= 128 ? 128 : 64; }

#ifdef __cplusplus
}
#endif
#endif
