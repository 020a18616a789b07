/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_backend.c - a GPU as a device: which calls and ops exist there. An op that is missing is an error that names
 * it. */
#include "cuda_gemm.h"
#include "cuda_lanes.h"
#include "cuda_profile.h"
#include "cuda_resident.h"
#include "tensor_table.h"

const kvb_backend kvb_backend_cuda = {
    .name = "cuda",
    .alloc = kvb_cuda_alloc,
    .alloc_raw = kvb_cuda_alloc_raw,
    .free = kvb_cuda_free,
    .upload = kvb_cuda_upload,
    .download = kvb_cuda_download,
    .free_bytes = kvb_cuda_free_bytes,
    .wait = kvb_cuda_wait,
    .lane_bytes = kvb_cuda_lane_bytes,
    .lanes_read = kvb_cuda_lanes_read,
    .lanes_gather = kvb_cuda_lanes_gather,
    .lanes_write = kvb_cuda_lanes_write,
    .lanes_copy = kvb_cuda_lanes_copy,
    .pack = kvb_cuda_pack,
    .pack_noise = kvb_cuda_pack_noise,
    .multiply = kvb_cuda_multiply,
    .pack_free = kvb_cuda_pack_free,
    .pack_bytes = kvb_cuda_pack_bytes,
    .ready = kvb_cuda_ready,
    .cover = kvb_cuda_cover,
    .gone = kvb_cuda_gone,
    .pins = kvb_cuda_pins,
    .profile_set = kvb_cuda_profile_set,
    .profile_read = kvb_cuda_profile_read,
    .lag = 1,
    .step_new = kvb_cuda_step_new,
    .step_free = kvb_cuda_step_free,
    .step_submit = kvb_cuda_step_submit,
    .step_collect = kvb_cuda_step_collect,
    KVB_CUDA_OPS,
};
