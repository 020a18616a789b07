/* SPDX-License-Identifier: Apache-2.0 */
/* kernels_amx.c - the AVX-512 kernels where the CPU also converts to bf16 by itself (every CPU with AMX does). */
#include "cpu.h"
#if defined(__AVX512BF16__)
#include "avx512.h"
static inline void convert_bf16(const float *x, uint16_t *y, int64_t n) {
    int64_t i = 0;
    for (; i + 32 <= n; i += 32)
        _mm512_storeu_si512(y + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(x + i)));
    for (; i < n; i++) y[i] = kvb_f32_to_bf16(x[i]);
}
#define V_NARROW(x, y, n) convert_bf16(x, y, n)
#define TIER amx
#include "kernels.inc"
#endif
