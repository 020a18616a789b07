/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_lanes.h - lanes in device memory: their size, reading them, gathering evicted ones (backend.h has the
 * contracts). */
#ifndef KVB_CUDA_LANES_H
#define KVB_CUDA_LANES_H
#include "cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

int64_t kvb_cuda_lane_bytes(const kvb_lane_kind *kind, int32_t capacity);
kvb_status kvb_cuda_lanes_read(const kvb_lane_kind *kind, const kvb_lane *lane, int32_t count, int32_t tokens,
                               bool keys, kvb_tensor *out);
kvb_status kvb_cuda_lanes_gather(const kvb_lane_kind *kind, const kvb_lane *from, const kvb_lane *to, int32_t count,
                                 const int32_t *position, const int64_t *at, int64_t positions);

kvb_status kvb_cuda_lanes_write(const kvb_lane_kind *kind, const kvb_lane *from, kvb_lane *to, int32_t count,
                                int32_t tokens, const kvb_tensor *keys, const kvb_tensor *values);
kvb_status kvb_cuda_lanes_copy(const kvb_lane_kind *kind, const struct kvb_lane_copy *copy, int32_t count,
                               int32_t lanes);

#ifdef __cplusplus
}
#endif
#endif
