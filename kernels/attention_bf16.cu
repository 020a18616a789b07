/* SPDX-License-Identifier: Apache-2.0 */
/* attention_bf16.cu - the tensor core kernels for bf16 caches; one file per type, so that they compile side by side. */
#include "attention_row.cuh"

kvb_status kvb_cuda_attend_bf16(const kvb_cuda_attention *a) { return attention::dispatch<__nv_bfloat16>(a); }
kvb_status kvb_cuda_attend_row_bf16(const kvb_cuda_attention *a) { return attention::dispatch_row<__nv_bfloat16>(a); }
