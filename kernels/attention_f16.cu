/* SPDX-License-Identifier: Apache-2.0 */
/* attention_f16.cu - the tensor core kernels for f16 caches; one file per type, so that they compile side by side. */
#include "attention_row.cuh"

kvb_status kvb_cuda_attend_f16(const kvb_cuda_attention *a) { return attention::dispatch<__half>(a); }
kvb_status kvb_cuda_attend_row_f16(const kvb_cuda_attention *a) { return attention::dispatch_row<__half>(a); }
