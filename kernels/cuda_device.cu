/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_device.cu - devices, their streams, counted memory, copies, and CUDA's errors as one clear line.
 *
 * Device bytes go through the same counters and the same fail-the-Nth switch as host bytes, so "cache bytes" in a
 * figure means the same on both and the fault tests need nothing of their own. Rejected: an arena of our own (the
 * driver's pool reuses blocks in stream order, which is what we would write).
 */
#include "cuda.h"
#include <map>
#include <mutex>
#include <stdio.h>
#include <stdlib.h>

static kvb_cuda_device devices[KVB_CUDA_MAX_DEVICES];
static std::mutex lock;
static thread_local int32_t current = -1;

struct block {
    size_t bytes;
    int32_t tag;
    int ordinal;
};
/* Sizes live here and not in front of the payload: a header in device memory could not be read without a copy. */
static std::map<void *, block> blocks;

kvb_status kvb_cuda_check(cudaError_t error, const char *what) {
    if (error == cudaSuccess) return KVB_OK;
    cudaGetLastError(); /* not sticky for the next call, unless the context itself is gone */
    switch (error) {
    case cudaErrorMemoryAllocation:
        kvb_fail(KVB_E_MEMORY, "out of memory: %s failed on the GPU (%lld MB free)", what,
                 (long long)(current >= 0 ? kvb_cuda_free_bytes() >> 20 : 0));
        kvb_hint("-> fewer passages or continuations at once, or a smaller model");
        return KVB_E_MEMORY;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorInitializationError: {
        int driver = 0, runtime = 0;
        cudaDriverGetVersion(&driver);
        cudaRuntimeGetVersion(&runtime);
        if (driver == 0)
            kvb_fail(KVB_E_UNSUPPORTED, "cuda: there is no NVIDIA driver on this machine");
        else
            kvb_fail(KVB_E_UNSUPPORTED, "cuda: %s (driver supports CUDA %d.%d, this build uses %d.%d)",
                     cudaGetErrorString(error), driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
        kvb_hint(driver && driver / 1000 < runtime / 1000 ? "-> update the NVIDIA driver, or use --device cpu"
                                                          : "-> check nvidia-smi, or use --device cpu");
        return KVB_E_UNSUPPORTED;
    }
    case cudaErrorDevicesUnavailable:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorUnknown:
        kvb_fail(KVB_E_INTERNAL, "cuda:%d is lost or taken: %s failed: %s (%s)", current >= 0 ? current : 0, what,
                 cudaGetErrorString(error), cudaGetErrorName(error));
        kvb_hint("-> check nvidia-smi, then start again: stored answers are kept; or use --device cpu");
        return KVB_E_INTERNAL;
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
        kvb_fail(KVB_E_UNSUPPORTED, "cuda: %s has no code for this GPU (compute capability %d.%d)", what,
                 current >= 0 ? devices[current].major : 0, current >= 0 ? devices[current].minor : 0);
        kvb_hint("-> build with -DKVB_CUDA_ARCHS for it (8.0 and newer are supported), or use --device cpu");
        return KVB_E_UNSUPPORTED;
    default:
        kvb_fail(KVB_E_INTERNAL, "cuda: %s failed: %s (%s)", what, cudaGetErrorString(error), cudaGetErrorName(error));
        kvb_hint(getenv("KVB_SYNC") ? "-> report it with this line; the device may need a new process"
                                    : "-> run once more with KVB_SYNC=1 to see which operation it was");
        return KVB_E_INTERNAL;
    }
}

static bool synchronous(void) {
    static const char *value = getenv("KVB_SYNC");
    return value && value[0] == '1';
}

kvb_status kvb_cuda_launched(const char *kernel) {
    cudaError_t error = cudaGetLastError();
    if (error == cudaSuccess && synchronous()) error = cudaStreamSynchronize(kvb_cuda_stream());
    return kvb_cuda_check(error, kernel);
}

kvb_status kvb_cuda_wait(const char *what) { return kvb_cuda_check(cudaStreamSynchronize(kvb_cuda_stream()), what); }

kvb_cuda_device *kvb_cuda_current(void) { return devices + current; }

kvb_status kvb_cuda_suits(int ordinal, const char *name, int major, int minor) {
    if (major >= 8) return KVB_OK;
    kvb_fail(KVB_E_UNSUPPORTED, "cuda:%d is a %s with compute capability %d.%d, 8.0 or newer is needed", ordinal, name,
             major, minor);
    kvb_hint("-> use --device cpu");
    return KVB_E_UNSUPPORTED;
}

kvb_status kvb_cuda_exists(int ordinal, int count) {
    if (ordinal >= 0 && ordinal < count && ordinal < KVB_CUDA_MAX_DEVICES) return KVB_OK;
    kvb_fail(KVB_E_ARG, "cuda:%d does not exist: this machine has %d GPU%s", ordinal, count, count == 1 ? "" : "s");
    kvb_hint("-> use cuda:0%s, or cpu", count > 1 ? " and up" : "");
    return KVB_E_ARG;
}

static kvb_status open_device(int ordinal) {
    kvb_cuda_device *d = devices + ordinal;
    cudaDeviceProp p;
    KVB_CUDA_TRY(cudaGetDeviceProperties(&p, ordinal));
    KVB_TRY(kvb_cuda_suits(ordinal, p.name, p.major, p.minor));
    KVB_CUDA_TRY(cudaSetDevice(ordinal));
    KVB_CUDA_TRY(cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking));
    cudaMemPool_t pool;
    uint64_t keep = UINT64_MAX; /* idle blocks stay with the process: no trip to the driver per allocation */
    KVB_CUDA_TRY(cudaDeviceGetDefaultMemPool(&pool, ordinal));
    KVB_CUDA_TRY(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
    d->ordinal = ordinal;
    d->major = p.major;
    d->minor = p.minor;
    d->multiprocessors = p.multiProcessorCount;
    d->shared_bytes = (int64_t)p.sharedMemPerBlockOptin;
    d->l2_bytes = p.l2CacheSize;
    d->total_bytes = (int64_t)p.totalGlobalMem;
    snprintf(d->name, sizeof d->name, "%s", p.name);
    d->ready = 1;
    return KVB_OK;
}

kvb_status kvb_cuda_use(int32_t device) {
    int ordinal = device - KVB_DEVICE_CUDA, count = 0;
    if (ordinal == current && devices[ordinal].ready) return KVB_OK;
    std::lock_guard<std::mutex> guard(lock);
    KVB_CUDA_TRY(cudaGetDeviceCount(&count));
    KVB_TRY(kvb_cuda_exists(ordinal, count));
    if (!devices[ordinal].ready) KVB_TRY(open_device(ordinal));
    KVB_CUDA_TRY(cudaSetDevice(ordinal));
    current = ordinal;
    return KVB_OK;
}

void *kvb_cuda_alloc_raw(size_t bytes, int32_t tag) {
    void *p = NULL;
    cudaError_t error = kvb_count_should_fail(bytes) ? cudaErrorMemoryAllocation
                                                     : cudaMallocAsync(&p, bytes ? bytes : 1, kvb_cuda_stream());
    if (error != cudaSuccess) {
        char what[64];
        snprintf(what, sizeof what, "an allocation of %lld bytes", (long long)bytes);
        kvb_cuda_check(error, what);
        return NULL;
    }
    std::lock_guard<std::mutex> guard(lock);
    blocks[p] = {bytes, tag, current};
    kvb_count_bytes(tag, (int64_t)bytes);
    return p;
}

void *kvb_cuda_alloc(size_t bytes, int32_t tag) {
    void *p = kvb_cuda_alloc_raw(bytes, tag);
    if (p && kvb_cuda_check(cudaMemsetAsync(p, 0, bytes, kvb_cuda_stream()), "clearing new memory") != KVB_OK) {
        kvb_cuda_free(p);
        return NULL;
    }
    return p;
}

void kvb_cuda_free(void *p) {
    if (!p) return;
    block b;
    {
        std::lock_guard<std::mutex> guard(lock);
        auto at = blocks.find(p);
        if (at == blocks.end()) return;
        b = at->second;
        blocks.erase(at);
    }
    kvb_count_bytes(b.tag, -(int64_t)b.bytes);
    /* A failure here means that the context is gone, and the memory with it; the next call that can fail says so. */
    cudaFreeAsync(p, devices[b.ordinal].stream);
}

int64_t kvb_cuda_free_bytes(void) {
    size_t available = 0, total = 0;
    uint64_t reserved = 0, used = 0;
    cudaMemPool_t pool;
    if (cudaMemGetInfo(&available, &total) != cudaSuccess) return 0;
    if (cudaDeviceGetDefaultMemPool(&pool, current) == cudaSuccess) {
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved);
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used);
    }
    return kvb_min64((int64_t)(available + (reserved - used)), kvb_memory_room());
}

void kvb_cuda_trim(void) {
    cudaMemPool_t pool;
    if (cudaStreamSynchronize(kvb_cuda_stream()) == cudaSuccess &&
        cudaDeviceGetDefaultMemPool(&pool, current) == cudaSuccess)
        cudaMemPoolTrimTo(pool, 0);
    cudaGetLastError(); /* where the context is gone, the next call that can fail says so */
}

kvb_status kvb_cuda_upload(void *to, const void *from, size_t bytes) {
    if (bytes) KVB_CUDA_TRY(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, kvb_cuda_stream()));
    return KVB_OK;
}

kvb_status kvb_cuda_download(void *to, const void *from, size_t bytes) {
    if (bytes) KVB_CUDA_TRY(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, kvb_cuda_stream()));
    return kvb_cuda_wait("copying to the host");
}

int32_t kvb_cuda_devices(void) {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) cudaGetLastError();
    return count;
}

kvb_status kvb_cuda_device_info(int32_t ordinal, char *name, int32_t name_bytes, int64_t *total, int64_t *available) {
    KVB_TRY(kvb_cuda_use(KVB_DEVICE_CUDA + ordinal));
    snprintf(name, (size_t)name_bytes, "%s", devices[ordinal].name);
    *total = devices[ordinal].total_bytes;
    *available = kvb_cuda_free_bytes();
    return KVB_OK;
}
