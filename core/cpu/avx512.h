/* SPDX-License-Identifier: Apache-2.0 */
/* avx512.h - the vector operations that kernels.inc asks for, on 16 floats at a time. */
#include <immintrin.h>
#define VL 16
typedef __m512 vf;
#define V_SET1(x) _mm512_set1_ps(x)
#define V_LOAD(p) _mm512_loadu_ps(p)
#define V_STORE(p, v) _mm512_storeu_ps(p, v)
#define V_ADD(a, b) _mm512_add_ps(a, b)
#define V_SUB(a, b) _mm512_sub_ps(a, b)
#define V_MUL(a, b) _mm512_mul_ps(a, b)
#define V_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define V_MAX(a, b) _mm512_max_ps(a, b)
#define V_ROUND(v) _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define V_POW2I(n)                                                                                                     \
    _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23))
#define V_MASKED(v, w, i) _mm512_mask_blend_ps((__mmask16)((w) >> (i)), _mm512_set1_ps(-INFINITY), v)
#define V_MASKED_ZERO(v, w, i) _mm512_maskz_mov_ps((__mmask16)((w) >> (i)), v)
#define V_SUM(v) _mm512_reduce_add_ps(v)
#define V_LARGEST(v) _mm512_reduce_max_ps(v)
