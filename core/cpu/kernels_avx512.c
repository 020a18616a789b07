/* SPDX-License-Identifier: Apache-2.0 */
/* kernels_avx512.c - the row kernels on 16 floats at a time. */
#include "cpu.h"
#if defined(__AVX512F__)
#include "avx512.h"
#define TIER avx512
#include "kernels.inc"
#endif
