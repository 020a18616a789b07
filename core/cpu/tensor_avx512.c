/* SPDX-License-Identifier: Apache-2.0 */
/* tensor_avx512.c - the tensor ops' inner loops on 16 floats at a time. */
#include "tensor_cpu.h"
#if defined(__AVX512F__)
#include <immintrin.h>
#define TIER avx512
#define VL 16
#define FMA(a, b, c) (vf) _mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c))
#include "tensor_kernels.inc"
#endif
