/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_profile.h - where a step's time goes, by events on its stream; off, it costs one branch.
 */
#ifndef KVB_CUDA_PROFILE_H
#define KVB_CUDA_PROFILE_H
#include "cuda.h"
#include "model.h"

/* The order of kvb_profile_read's seconds. */
enum { KVB_PART_PRODUCTS, KVB_PART_ATTENTION, KVB_PART_REST, KVB_PART_HEAD, KVB_PART_ALL, KVB_PARTS };

#ifdef __cplusplus
extern "C" {
#endif

kvb_status kvb_cuda_profile_set(kvb_model *m, bool on);
kvb_status kvb_cuda_profile_read(kvb_model *m, double *seconds);
/* What was launched since the last mark belongs to `part`; KVB_PART_ALL only sets the start. */
kvb_status kvb_cuda_profile_mark(int part);

#ifdef __cplusplus
}
#endif
#endif
