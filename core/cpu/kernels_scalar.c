/* SPDX-License-Identifier: Apache-2.0 */
/* kernels_scalar.c - the row kernels on any machine: vectors of one float, which the compiler may widen where it is
 * allowed. */
#include "cpu.h"
#define TIER scalar
#define VL 1
typedef float vf;
static inline float power_of_two(float n) {
    uint32_t u = (uint32_t)((int32_t)n + 127) << 23;
    float x;
    memcpy(&x, &u, 4);
    return x;
}
static inline float larger(float a, float b) { return a > b ? a : b; }
#define V_SET1(x) (x)
#define V_LOAD(p) (*(p))
#define V_STORE(p, v) (*(p) = (v))
#define V_ADD(a, b) ((a) + (b))
#define V_SUB(a, b) ((a) - (b))
#define V_MUL(a, b) ((a) * (b))
#define V_FMA(a, b, c) ((a) * (b) + (c))
#define V_MAX(a, b) larger(a, b)
#define V_ROUND(v) rintf(v)
#define V_POW2I(n) power_of_two(n)
#define V_MASKED(v, w, i) ((w) >> (i) & 1 ? (v) : -INFINITY)
#define V_MASKED_ZERO(v, w, i) ((w) >> (i) & 1 ? (v) : 0.0f)
#include "kernels.inc"
