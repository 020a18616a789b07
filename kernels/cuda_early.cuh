/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_early.cuh - programmatic dependent launch (sm_90; elsewhere an ordinary one): a kernel starts while the one
 * before it ends, for steps of one row, which are a chain of short kernels.
 *
 * A kernel launched so calls wait_for_predecessor() before it touches what any kernel before it reads or writes: from
 * there on all of them have ended, since each has waited for its own.
 */
#ifndef KVB_CUDA_EARLY_CUH
#define KVB_CUDA_EARLY_CUH
#include "cuda.h"

__device__ __forceinline__ void wait_for_predecessor() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void let_successor_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

template <typename... P, typename... A>
cudaError_t launch_early(void (*kernel)(P...), dim3 grid, unsigned threads, size_t bytes, A... arguments) {
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = bytes;
    config.stream = kvb_cuda_stream();
    cudaLaunchAttribute early[1];
    early[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early[0].val.programmaticStreamSerializationAllowed = 1;
    config.attrs = early;
    config.numAttrs = kvb_cuda_current()->major >= 9 ? 1 : 0;
    return cudaLaunchKernelEx(&config, kernel, arguments...);
}

#endif
