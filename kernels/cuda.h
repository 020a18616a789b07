/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda.h - what the CUDA files share: the current device and its stream, counted device memory, errors with names.
 *
 * One stream per device carries everything (kernels, GEMMs, copies), so order needs no events and a captured graph sees
 * the whole step. Calls are asynchronous; KVB_SYNC=1 waits after each launch and names the one that failed. Rejected:
 * the legacy default stream (it would serialise with a front end's own CUDA work in the same process).
 */
#ifndef KVB_CUDA_H
#define KVB_CUDA_H
#include "backend.h"
#include <cuda_runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { KVB_CUDA_MAX_DEVICES = 64 };

typedef struct kvb_cuda_device {
    int ordinal, ready;
    int major, minor, multiprocessors;
    int64_t shared_bytes; /* opt-in shared memory per block */
    int64_t l2_bytes, total_bytes;
    cudaStream_t stream;
    char name[128];
    struct kvb_cuda_gemm *gemm; /* cuBLASLt's handle and workspace */
} kvb_cuda_device;

/* Makes `device` (KVB_DEVICE_CUDA + ordinal) current on this thread; opens it at the first use. */
kvb_status kvb_cuda_use(int32_t device);
/* The current device of this thread; only after kvb_cuda_use. */
kvb_cuda_device *kvb_cuda_current(void);
static inline cudaStream_t kvb_cuda_stream(void) { return kvb_cuda_current()->stream; }

/* Whether this build can use such a GPU, and whether there is one of that number; if not, why. */
kvb_status kvb_cuda_suits(int ordinal, const char *name, int major, int minor);
kvb_status kvb_cuda_exists(int ordinal, int count);

/* Turns a CUDA error into a status with one clear line; `what` names the call or kernel. cudaSuccess is KVB_OK. */
kvb_status kvb_cuda_check(cudaError_t error, const char *what);
/* After a launch: the launch's own error; with KVB_SYNC=1 also waits and reports what the kernel did. */
kvb_status kvb_cuda_launched(const char *kernel);
/* Waits for the current device's stream. */
kvb_status kvb_cuda_wait(const char *what);

#define KVB_CUDA_TRY(call) KVB_TRY(kvb_cuda_check((call), #call))
#define KVB_LAUNCHED(kernel) KVB_TRY(kvb_cuda_launched(kernel))

/*
 * Device memory of the current device, 256-byte aligned, counted under `tag` together with host memory and subject to
 * kvb_memory_fail_nth. Freed blocks are kept for reuse (cudaMallocAsync's pool), so allocating is cheap. NULL on
 * failure.
 */
void *kvb_cuda_alloc(size_t bytes, int32_t tag); /* zeroed */
void *kvb_cuda_alloc_raw(size_t bytes, int32_t tag);
void kvb_cuda_free(void *p); /* by whichever thread; NULL is fine */
/* Bytes that can still be allocated on the current device, the pool's idle blocks included. */
int64_t kvb_cuda_free_bytes(void);
void kvb_cuda_trim(void); /* gives what this process holds and does not use back to the others on the device */

/* Copies on the stream. To the host: complete on return. From pageable host memory: the source may be reused on
 * return. */
kvb_status kvb_cuda_upload(void *to, const void *from, size_t bytes);
kvb_status kvb_cuda_download(void *to, const void *from, size_t bytes);

/* The CUDA backend's parts, put together in cuda_backend.c; one line per op of ops.def in tensor_table.h. */

#ifdef __cplusplus
}
#endif
#endif
