/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuse_nvrtc.c - chains of element-wise ops as one GPU kernel: printed by fuse.c, compiled by NVRTC for the device at
 * hand, kept by the hash of its source in memory and as a .cubin in the user's cache.
 *
 * NVRTC and the driver are loaded when the first chain runs, so that neither is needed to start. --fmad=false and no
 * fast-math: what the ops' own kernels are compiled with, hence their bits. Rejected: linking NVRTC (60 MB for those
 * who never fuse); templates for common chains (they are never the right ones).
 */
#include "cuda.h"
#include "fuse.h"
#include "../core/cpu/tensor_cpu.h"
#include <dlfcn.h>
#include <nvrtc.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum { KEPT = 128, THREADS = 256 };

/* The driver's own types, which are pointers and an int; its header has the name of ours. */
typedef struct CUmod_st *module_handle;
typedef struct CUfunc_st *function_handle;

/* As in the source. */
typedef struct plan {
    unsigned long long count;
    long long shape[KVB_MAX_DIMS], stride[KVB_FUSE_INPUTS][KVB_MAX_DIMS];
    int ndim;
    float constant[KVB_FUSE_CONSTANTS];
} plan;
typedef struct inputs {
    const float *at[KVB_FUSE_INPUTS];
} inputs;

static struct {
    void *nvrtc, *driver;
    nvrtcResult (*create)(nvrtcProgram *, const char *, const char *, int, const char *const *, const char *const *);
    nvrtcResult (*compile)(nvrtcProgram, int, const char *const *);
    nvrtcResult (*cubin_size)(nvrtcProgram, size_t *);
    nvrtcResult (*cubin)(nvrtcProgram, char *);
    nvrtcResult (*log_size)(nvrtcProgram, size_t *);
    nvrtcResult (*log)(nvrtcProgram, char *);
    nvrtcResult (*destroy)(nvrtcProgram *);
    int (*load)(module_handle *, const void *);
    int (*function)(function_handle *, module_handle, const char *);
    int (*launch)(function_handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, cudaStream_t,
                  void **, void **);
} api;

static struct {
    uint64_t hash;
    int32_t device;
    function_handle function;
} kept[KEPT];
static int held;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *open_first(const char *const *names) {
    void *library = NULL;
    for (; *names && !library; names++) library = dlopen(*names, RTLD_NOW | RTLD_LOCAL);
    return library;
}

static kvb_status need_nvrtc(void) {
    if (api.nvrtc) return KVB_OK;
    void *library = open_first((const char *const[]){"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2",
                                                     "/usr/local/cuda/lib64/libnvrtc.so", NULL});
    if (!library) {
        kvb_fail(KVB_E_MISSING, "fuse: libnvrtc was not found: chains of ops cannot be compiled");
        kvb_hint("-> install the CUDA toolkit's NVRTC, or leave out tensor.fuse");
        return KVB_E_MISSING;
    }
#define FIND(from, field, name) *(void **)&api.field = dlsym(from, name)
    FIND(library, create, "nvrtcCreateProgram"), FIND(library, compile, "nvrtcCompileProgram");
    FIND(library, cubin_size, "nvrtcGetCUBINSize"), FIND(library, cubin, "nvrtcGetCUBIN");
    FIND(library, log_size, "nvrtcGetProgramLogSize"), FIND(library, log, "nvrtcGetProgramLog");
    FIND(library, destroy, "nvrtcDestroyProgram");
    if (!api.create || !api.compile || !api.cubin_size || !api.cubin || !api.log_size || !api.log || !api.destroy)
        return kvb_fail(KVB_E_MISSING, "fuse: libnvrtc is too old (11.2 or newer is needed)");
    api.nvrtc = library;
    return KVB_OK;
}

static kvb_status need_driver(void) {
    if (api.driver) return KVB_OK;
    void *library = open_first((const char *const[]){"libcuda.so.1", "libcuda.so", NULL});
    if (!library) return kvb_fail(KVB_E_MISSING, "fuse: libcuda.so.1 was not found");
    FIND(library, load, "cuModuleLoadData"), FIND(library, function, "cuModuleGetFunction");
    FIND(library, launch, "cuLaunchKernel");
    if (!api.load || !api.function || !api.launch)
        return kvb_fail(KVB_E_MISSING, "fuse: libcuda.so.1 lacks a function");
    api.driver = library;
    return KVB_OK;
}

static kvb_status explain(nvrtcProgram program) {
    size_t n = 0;
    char log[600] = "";
    char *whole = api.log_size(program, &n) == NVRTC_SUCCESS && n > 1 ? kvb_alloc(n + 1, KVB_MEM_OTHER) : NULL;
    if (whole && api.log(program, whole) == NVRTC_SUCCESS) snprintf(log, sizeof log, "%s", whole);
    kvb_free(whole);
    return kvb_fail(KVB_E_UNSUPPORTED, "fuse: NVRTC did not compile the chain: %s", log);
}

/* source -> a new block with the machine code of sm_<arch> and its size. */
static kvb_status compile(const char *source, int arch, char **code, size_t *bytes) {
    char target[48];
    nvrtcProgram program;
    KVB_TRY(need_nvrtc());
    snprintf(target, sizeof target, "--gpu-architecture=sm_%d", arch);
    const char *options[] = {target, "--fmad=false", "--std=c++14"};
    if (api.create(&program, source, "fused.cu", 0, NULL, NULL) != NVRTC_SUCCESS)
        return kvb_fail(KVB_E_UNSUPPORTED, "fuse: NVRTC could not start");
    kvb_status status = api.compile(program, 3, options) == NVRTC_SUCCESS ? KVB_OK : explain(program);
    if (status == KVB_OK && api.cubin_size(program, bytes) == NVRTC_SUCCESS) *code = kvb_alloc(*bytes, KVB_MEM_OTHER);
    if (status == KVB_OK && (!*code || api.cubin(program, *code) != NVRTC_SUCCESS))
        status = kvb_fail(KVB_E_MEMORY, "fuse: no machine code from NVRTC");
    api.destroy(&program);
    return status;
}

/* The code from the cache folder, or compiled and put there. A cache that cannot be written is no failure. */
static kvb_status code_of(const char *source, uint64_t hash, int arch, const char *cache, char **code) {
    char path[1024], part[1100];
    snprintf(path, sizeof path, "%s/%016llx-sm_%d.cubin", cache ? cache : "", (unsigned long long)hash, arch);
    FILE *file = cache ? fopen(path, "rb") : NULL;
    if (file) {
        size_t bytes = 0;
        if (fseek(file, 0, SEEK_END) == 0 && ftell(file) > 0) bytes = (size_t)ftell(file);
        rewind(file);
        *code = bytes ? kvb_alloc(bytes, KVB_MEM_OTHER) : NULL;
        bool whole = *code && fread(*code, 1, bytes, file) == bytes;
        fclose(file);
        if (whole) return KVB_OK;
        kvb_free(*code);
        *code = NULL;
    }
    size_t bytes = 0;
    KVB_TRY(compile(source, arch, code, &bytes));
    if (!cache || kvb_dir_make(cache) != KVB_OK) return KVB_OK;
    snprintf(part, sizeof part, "%s.%ld", path, (long)getpid()); /* renamed when whole: others may read now */
    if (kvb_file_write(part, *code, (int64_t)bytes) == KVB_OK) rename(part, path);
    return KVB_OK;
}

static kvb_status function_of(const char *source, int32_t device, const char *cache, function_handle *function) {
    uint64_t hash = kvb_hash64(source, (int64_t)strlen(source), 0);
    const kvb_cuda_device *d = kvb_cuda_current();
    for (int i = 0; i < held; i++)
        if (kept[i].hash == hash && kept[i].device == device) {
            *function = kept[i].function;
            return KVB_OK;
        }
    module_handle module;
    char *code = NULL;
    KVB_TRY(need_driver());
    KVB_TRY(code_of(source, hash, d->major * 10 + d->minor, cache, &code));
    int loaded = api.load(&module, code);
    kvb_free(code);
    if (loaded != 0 || api.function(function, module, "fused") != 0)
        return kvb_fail(KVB_E_UNSUPPORTED, "fuse: the driver did not load the chain's kernel (error %d)", loaded);
    if (held == KEPT) return KVB_OK; /* still usable, found in the folder next time */
    kept[held].hash = hash, kept[held].device = device, kept[held].function = *function;
    held++;
    return KVB_OK;
}

kvb_status kvb_cuda_fuse(int32_t device, const kvb_fuse_step *steps, int32_t count, const kvb_tensor *const *from,
                         int32_t n, const float *constants, int32_t given, kvb_tensor *out, const char *cache) {
    function_handle function = NULL;
    KVB_TRY(kvb_cuda_use(device));
    pthread_mutex_lock(&lock);
    kvb_status status = function_of(kvb_fuse_source(steps, count, n), device, cache, &function);
    pthread_mutex_unlock(&lock);
    KVB_TRY(status);
    const kvb_tensor *t[KVB_OPERANDS] = {out};
    for (int32_t i = 0; i < n; i++) t[i + 1] = from[i];
    kvb_loop loop = kvb_loop_over(t, n + 1, false);
    plan p = {.count = (unsigned long long)(loop.outer * loop.run), .ndim = loop.ndim + 1};
    inputs in = {{0}};
    float *y = out->data;
    for (int32_t d = 0; d < loop.ndim; d++) p.shape[d] = loop.shape[d];
    p.shape[loop.ndim] = loop.run;
    for (int32_t i = 0; i < n; i++) {
        in.at[i] = from[i]->data;
        for (int32_t d = 0; d <= loop.ndim; d++) p.stride[i][d] = loop.stride[i + 1][d];
    }
    if (given) memcpy(p.constant, constants, (size_t)given * sizeof *constants);
    void *arguments[] = {&p, &in, &y};
    unsigned blocks = (unsigned)((p.count + THREADS - 1) / THREADS);
    int launched = api.launch(function, blocks, 1, 1, THREADS, 1, 1, 0, kvb_cuda_stream(), arguments, NULL);
    if (launched != 0) return kvb_fail(KVB_E_UNSUPPORTED, "fuse: the launch failed (driver error %d)", launched);
    return kvb_cuda_launched("fused");
}
