/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ref.h - the reference backend: one scalar function per op, double accumulation, in the order of the formula.
 * It is the specification; speed is not its business.
 */
#ifndef KVB_REF_H
#define KVB_REF_H
#include "../backend.h"

#ifdef __cplusplus
extern "C" {
#endif
#define KVB_OP(name, parameters, arguments) kvb_status ref_##name parameters;
#include "../ops.def"
#undef KVB_OP
#ifdef __cplusplus
}
#endif

#endif
