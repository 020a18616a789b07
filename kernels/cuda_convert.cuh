/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_convert.cuh - the three element types of a model as f32 and back, and a launch for the type at hand. */
#ifndef KVB_CUDA_CONVERT_CUH
#define KVB_CUDA_CONVERT_CUH
#include "cuda.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline void from_float(float *to, float x) { *to = x; }
__device__ inline void from_float(__nv_bfloat16 *to, float x) { *to = __float2bfloat16_rn(x); }
__device__ inline void from_float(__half *to, float x) { *to = __float2half_rn(x); }

/* Runs the statement with T = the C++ type of a kvb_dtype. */
#define KVB_CUDA_TYPED(dtype, ...)                                                                                     \
    do {                                                                                                               \
        switch (dtype) {                                                                                               \
        case KVB_F32: {                                                                                                \
            typedef float T;                                                                                           \
            __VA_ARGS__;                                                                                               \
        } break;                                                                                                       \
        case KVB_BF16: {                                                                                               \
            typedef __nv_bfloat16 T;                                                                                   \
            __VA_ARGS__;                                                                                               \
        } break;                                                                                                       \
        case KVB_F16: {                                                                                                \
            typedef __half T;                                                                                          \
            __VA_ARGS__;                                                                                               \
        } break;                                                                                                       \
        default:                                                                                                       \
            return kvb_fail(KVB_E_INTERNAL, "cuda: no kernel for dtype %d", dtype);                                    \
        }                                                                                                              \
    } while (0)

#endif
