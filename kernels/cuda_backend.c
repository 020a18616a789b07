/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_backend.c - a GPU as a device: which calls and ops exist there. An op that is missing is an error that names it. */
#include "cuda.h"

const kvb_backend kvb_backend_cuda = {
    .name = "cuda",
    .alloc = kvb_cuda_alloc,
    .free = kvb_cuda_free,
    .upload = kvb_cuda_upload,
    .download = kvb_cuda_download,
};
