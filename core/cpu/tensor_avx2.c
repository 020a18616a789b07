/* SPDX-License-Identifier: Apache-2.0 */
/* tensor_avx2.c - the tensor ops' inner loops on 8 floats at a time. */
#include "tensor_cpu.h"
#if defined(__AVX2__)
#include <immintrin.h>
#define TIER avx2
#define VL 8
#define FMA(a, b, c) (vf) _mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c))
#include "tensor_kernels.inc"
#endif
