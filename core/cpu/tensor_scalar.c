/* SPDX-License-Identifier: Apache-2.0 */
/* tensor_scalar.c - the tensor ops' inner loops for any CPU; the compiler maps the 4-float vectors to what there is. */
#include "tensor_cpu.h"
#define TIER scalar
#define VL 4
#define FMA(a, b, c) ((a) * (b) + (c))
#include "tensor_kernels.inc"
