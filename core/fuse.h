/* SPDX-License-Identifier: Apache-2.0 */
/* fuse.h - what runs chains of element-wise ops (fuse.c checks them first): the CPU's interpreter, a GPU's compiler. */
#ifndef KVB_FUSE_H
#define KVB_FUSE_H
#include "ref/operands.h"

#ifdef __cplusplus
extern "C" {
#endif
kvb_status kvb_cpu_fuse(const kvb_fuse_step *steps, int32_t count, const kvb_tensor *const *inputs, int32_t n,
                        const float *constants, kvb_tensor *out);
kvb_status kvb_cuda_fuse(int32_t device, const kvb_fuse_step *steps, int32_t count, const kvb_tensor *const *inputs,
                         int32_t n, const float *constants, int32_t given, kvb_tensor *out, const char *cache);
#ifdef __cplusplus
}
#endif
#endif
