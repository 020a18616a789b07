/* SPDX-License-Identifier: Apache-2.0 */
/* kernels_avx2.c - the row kernels on 8 floats at a time. */
#include "cpu.h"
#if defined(__AVX2__)
#include <immintrin.h>
#define TIER avx2
#define VL 8
typedef __m256 vf;
static inline __m256 lane_mask(uint64_t w, int i) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)(w >> i & 255)), bit), bit));
}
#define V_SET1(x) _mm256_set1_ps(x)
#define V_LOAD(p) _mm256_loadu_ps(p)
#define V_STORE(p, v) _mm256_storeu_ps(p, v)
#define V_ADD(a, b) _mm256_add_ps(a, b)
#define V_SUB(a, b) _mm256_sub_ps(a, b)
#define V_MUL(a, b) _mm256_mul_ps(a, b)
#define V_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define V_MAX(a, b) _mm256_max_ps(a, b)
#define V_ROUND(v) _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define V_POW2I(n)                                                                                                     \
    _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23))
#define V_MASKED(v, w, i) _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), v, lane_mask(w, i))
#define V_MASKED_ZERO(v, w, i) _mm256_and_ps(v, lane_mask(w, i))
#include "kernels.inc"
#endif
