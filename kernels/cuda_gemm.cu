/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_gemm.cu - products through cuBLASLt, whose algorithm is pinned per (shape, row bucket).
 *
 * Without split-K a row's sum runs over k in one fixed order, so a row's bits do not depend on how many rows there are;
 * that is measured (reference: docs/numerics.md) and proven again at start-up, on this device, with these shapes. Among
 * algorithms that give the same bits the fastest is taken, so a noisy timing can never change a result. cuBLASLt is
 * opened at run time: the same binary starts on machines without it. Rejected: cuBLAS' own choice per call (it took
 * split-K for small M and changed bits).
 */
#include "cuda_gemm.h"
#include "cuda_rows.h"
#include <cublasLt.h>
#include <dlfcn.h>
#include <map>
#include <mutex>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <tuple>
#include <vector>

#define FUNCTIONS(F)                                                                                                   \
    F(cublasLtCreate)                                                                                                  \
    F(cublasLtGetVersion)                                                                                              \
    F(cublasLtMatmul)                                                                                                  \
    F(cublasLtMatmulDescCreate)                                                                                        \
    F(cublasLtMatmulDescSetAttribute)                                                                                  \
    F(cublasLtMatrixLayoutCreate)                                                                                      \
    F(cublasLtMatmulPreferenceCreate)                                                                                  \
    F(cublasLtMatmulPreferenceDestroy)                                                                                 \
    F(cublasLtMatmulPreferenceSetAttribute)                                                                            \
    F(cublasLtMatmulAlgoGetHeuristic)                                                                                  \
    F(cublasLtMatmulAlgoConfigGetAttribute)

static struct {
#define F(name) decltype(&::name) name;
    FUNCTIONS(F)
#undef F
    bool open;
} lt;
static std::mutex lock;

static kvb_status open_library(void) {
    std::lock_guard<std::mutex> guard(lock);
    if (lt.open) return KVB_OK;
    char soname[64], toolkit[96];
    snprintf(soname, sizeof soname, "libcublasLt.so.%d", CUBLAS_VER_MAJOR);
    snprintf(toolkit, sizeof toolkit, "/usr/local/cuda/lib64/%s", soname);
    const char *places[] = {getenv("KVBENCH_CUBLASLT"), soname, toolkit};
    void *library = NULL;
    for (const char *place : places)
        if (place && !library) library = dlopen(place, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        kvb_fail(KVB_E_MISSING, "cuda: %s was not found", soname);
        kvb_hint("-> install the CUDA %d toolkit's cuBLAS, set LD_LIBRARY_PATH or KVBENCH_CUBLASLT to it, or use --device "
                 "cpu",
                 CUBLAS_VER_MAJOR);
        return KVB_E_MISSING;
    }
#define F(name)                                                                                                        \
    lt.name = (decltype(lt.name))dlsym(library, #name);                                                                \
    if (!lt.name) return kvb_fail(KVB_E_MISSING, "cuda: %s lacks %s", soname, #name);
    FUNCTIONS(F)
#undef F
    lt.open = true;
    return KVB_OK;
}

static kvb_status check_lt(cublasStatus_t status, const char *what) {
    if (status == CUBLAS_STATUS_SUCCESS) return KVB_OK;
    return kvb_fail(KVB_E_INTERNAL, "cuda: %s failed with cuBLAS status %d", what, (int)status);
}
#define LT_TRY(call) KVB_TRY(check_lt(lt.call, #call))

typedef std::tuple<int, int, int, int, int, int, int> plan_key; /* the product, then rows */

struct plan {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algo;
    std::string name;
    double seconds;
};

struct kvb_cuda_gemm {
    cublasLtHandle_t handle;
    void *workspace;
    std::map<plan_key, plan> plans;
    std::string pins;
};
static const size_t workspace_bytes = 32 << 20;

static kvb_status engine(kvb_cuda_gemm **out) {
    kvb_cuda_device *d = kvb_cuda_current();
    if (!d->gemm) {
        KVB_TRY(open_library());
        kvb_cuda_gemm *g = new kvb_cuda_gemm();
        g->workspace = kvb_cuda_alloc_raw(workspace_bytes, KVB_MEM_SCRATCH);
        kvb_status status = g->workspace ? check_lt(lt.cublasLtCreate(&g->handle), "cublasLtCreate") : KVB_E_MEMORY;
        if (status != KVB_OK) {
            kvb_cuda_free(g->workspace);
            delete g;
            return status;
        }
        d->gemm = g;
    }
    *out = d->gemm;
    return KVB_OK;
}

/* ---- weights ---- */

static kvb_status new_packed(int32_t out, int32_t in, int32_t dtype, kvb_packed **packed) {
    kvb_packed *p = (kvb_packed *)kvb_alloc(sizeof *p, KVB_MEM_WEIGHTS);
    if (!p) return KVB_E_MEMORY;
    *p = {out, in, dtype, kvb_cuda_current()->ordinal, NULL};
    p->w = kvb_cuda_alloc_raw((size_t)out * (size_t)in * (size_t)kvb_dtype_bytes(dtype), KVB_MEM_WEIGHTS);
    if (!p->w) {
        kvb_free(p);
        return KVB_E_MEMORY;
    }
    *packed = p;
    return KVB_OK;
}

static uint16_t to_half_bits(float x) {
    __half h = __float2half_rn(x);
    uint16_t bits;
    memcpy(&bits, &h, 2);
    return bits;
}

kvb_status kvb_cuda_pack(const float *w, int32_t out, int32_t in, int32_t dtype, kvb_packed **packed) {
    KVB_TRY(new_packed(out, in, dtype, packed));
    size_t n = (size_t)out * (size_t)in;
    kvb_status status = KVB_OK;
    if (dtype == KVB_F32)
        status = kvb_cuda_upload((*packed)->w, w, n * 4);
    else {
        uint16_t *half = (uint16_t *)kvb_alloc_raw(n * 2, KVB_MEM_SCRATCH);
        if (!half) status = KVB_E_MEMORY;
        for (size_t i = 0; half && i < n; i++) half[i] = dtype == KVB_BF16 ? kvb_f32_to_bf16(w[i]) : to_half_bits(w[i]);
        if (half) status = kvb_cuda_upload((*packed)->w, half, n * 2);
        if (half) kvb_cuda_wait("uploading weights");
        kvb_free(half);
    }
    if (status != KVB_OK) {
        kvb_cuda_pack_free(*packed);
        *packed = NULL;
    }
    return status;
}

kvb_status kvb_cuda_pack_noise(int32_t out, int32_t in, int32_t dtype, uint64_t seed, float scale,
                               kvb_packed **packed) {
    KVB_TRY(new_packed(out, in, dtype, packed));
    kvb_status status = kvb_cuda_noise((*packed)->w, dtype, (int64_t)out * in, seed, 0, scale);
    if (status != KVB_OK) {
        kvb_cuda_pack_free(*packed);
        *packed = NULL;
    }
    return status;
}

void kvb_cuda_pack_free(kvb_packed *p) {
    if (!p) return;
    kvb_cuda_free(p->w);
    kvb_free(p);
}

int64_t kvb_cuda_pack_bytes(const kvb_packed *p) { return (int64_t)p->out * p->in * kvb_dtype_bytes(p->dtype); }

/* ---- plans ---- */

static cudaDataType_t type_of(int32_t dtype) {
    return dtype == KVB_F32 ? CUDA_R_32F : dtype == KVB_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

static plan_key key_of(const kvb_cuda_product *p, int32_t rows) {
    return plan_key(p->out, p->in, p->dtype, p->y_dtype, p->bias, p->accumulate, rows);
}

/* cuBLASLt counts column-major: y^T [out, rows] = w [out, in] x^T, w given as its transpose. */
static kvb_status describe(const kvb_cuda_product *p, int32_t rows, plan *out) {
    cublasOperation_t transpose = CUBLAS_OP_T;
    LT_TRY(cublasLtMatmulDescCreate(&out->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    LT_TRY(cublasLtMatmulDescSetAttribute(out->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof transpose));
    if (p->bias) {
        cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
        cudaDataType_t type = CUDA_R_32F;
        LT_TRY(cublasLtMatmulDescSetAttribute(out->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
        LT_TRY(cublasLtMatmulDescSetAttribute(out->desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof type));
    }
    LT_TRY(cublasLtMatrixLayoutCreate(&out->w, type_of(p->dtype), (uint64_t)p->in, (uint64_t)p->out, p->in));
    LT_TRY(cublasLtMatrixLayoutCreate(&out->x, type_of(p->dtype), (uint64_t)p->in, (uint64_t)rows, p->in));
    LT_TRY(cublasLtMatrixLayoutCreate(&out->y, type_of(p->y_dtype), (uint64_t)p->out, (uint64_t)rows, p->out));
    return KVB_OK;
}

static kvb_status run(kvb_cuda_gemm *g, const plan *p, const void *w, const void *x, const float *bias,
                      int32_t accumulate, void *y) {
    float one = 1, beta = accumulate ? 1.f : 0.f;
    if (bias) {
        const void *pointer = bias;
        LT_TRY(cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &pointer, sizeof pointer));
    }
    KVB_TRY(check_lt(lt.cublasLtMatmul(g->handle, p->desc, &one, w, p->w, x, p->x, &beta, y, p->y, y, p->y, &p->algo,
                                       g->workspace, workspace_bytes, kvb_cuda_stream()),
                     p->name.c_str()));
    KVB_LAUNCHED(p->name.c_str());
    return KVB_OK;
}

static int32_t config(const cublasLtMatmulAlgo_t *algo, cublasLtMatmulAlgoConfigAttributes_t what) {
    int32_t value = 0;
    size_t written;
    if (lt.cublasLtMatmulAlgoConfigGetAttribute(algo, what, &value, sizeof value, &written) != CUBLAS_STATUS_SUCCESS)
        return 0;
    return value;
}

/* Algorithms that sum over k in one piece, the heuristic's best first. */
static kvb_status candidates(kvb_cuda_gemm *g, const plan *p, std::vector<cublasLtMatmulAlgo_t> *out) {
    enum { ASKED = 8 };
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found[ASKED];
    uint32_t no_reduction = CUBLASLT_REDUCTION_SCHEME_NONE;
    size_t room = workspace_bytes;
    int count = 0;
    LT_TRY(cublasLtMatmulPreferenceCreate(&preference));
    LT_TRY(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &no_reduction,
                                                sizeof no_reduction));
    LT_TRY(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room,
                                                sizeof room));
    lt.cublasLtMatmulAlgoGetHeuristic(g->handle, p->desc, p->w, p->x, p->y, p->y, preference, ASKED, found, &count);
    lt.cublasLtMatmulPreferenceDestroy(preference);
    for (int i = 0; i < count; i++)
        if (found[i].state == CUBLAS_STATUS_SUCCESS && config(&found[i].algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM) <= 1)
            out->push_back(found[i].algo);
    return KVB_OK;
}

struct trial {
    void *x, *all, *some;
    float *bias;
    int32_t *differences;
    cudaEvent_t from, to;
};

static void end_trial(trial *t) {
    kvb_cuda_free(t->x);
    kvb_cuda_free(t->all);
    kvb_cuda_free(t->some);
    kvb_cuda_free(t->bias);
    kvb_cuda_free(t->differences);
    if (t->from) cudaEventDestroy(t->from);
    if (t->to) cudaEventDestroy(t->to);
}

static kvb_status begin_trial(const kvb_cuda_product *p, int32_t rows, trial *t) {
    size_t y = (size_t)rows * (size_t)p->out * (size_t)kvb_dtype_bytes(p->y_dtype);
    t->x = kvb_cuda_alloc_raw((size_t)rows * (size_t)p->in * (size_t)kvb_dtype_bytes(p->dtype), KVB_MEM_SCRATCH);
    t->all = kvb_cuda_alloc_raw(y, KVB_MEM_SCRATCH);
    t->some = kvb_cuda_alloc_raw(y, KVB_MEM_SCRATCH);
    t->bias = (float *)kvb_cuda_alloc_raw((size_t)p->out * 4, KVB_MEM_SCRATCH);
    t->differences = (int32_t *)kvb_cuda_alloc_raw(4, KVB_MEM_SCRATCH);
    if (!t->x || !t->all || !t->some || !t->bias || !t->differences) return KVB_E_MEMORY;
    KVB_CUDA_TRY(cudaEventCreate(&t->from));
    KVB_CUDA_TRY(cudaEventCreate(&t->to));
    KVB_TRY(kvb_cuda_noise(t->x, p->dtype, (int64_t)rows * p->in, 1, 0, 1));
    return kvb_cuda_noise(t->bias, KVB_F32, p->out, 2, 0, 1);
}

/* One algorithm at one bucket: do its rows have the bits of the last `rows` rows of t->all (NULL algo of reference: it
 * becomes them)? And how long does it take? */
static kvb_status try_algorithm(kvb_cuda_gemm *g, const kvb_cuda_product *p, const kvb_packed *w, plan *candidate,
                                int32_t rows, int32_t most, bool reference, trial *t, bool *same, double *seconds) {
    int64_t first = most - rows, y_row = (int64_t)p->out * kvb_dtype_bytes(p->y_dtype);
    const char *x = (const char *)t->x + first * p->in * kvb_dtype_bytes(p->dtype);
    const float *bias = p->bias ? t->bias : NULL;
    void *y = reference ? t->all : t->some;
    int32_t differences = 0;
    float milliseconds = 0;
    KVB_CUDA_TRY(cudaMemsetAsync(y, 0, (size_t)(rows * y_row), kvb_cuda_stream()));
    KVB_TRY(run(g, candidate, w->w, x, bias, p->accumulate, y));
    if (!reference) {
        KVB_CUDA_TRY(cudaMemsetAsync(t->differences, 0, 4, kvb_cuda_stream()));
        KVB_TRY(kvb_cuda_compare((char *)t->all + first * y_row, y, rows * y_row / 4, t->differences));
        KVB_TRY(kvb_cuda_download(&differences, t->differences, 4));
    }
    *same = differences == 0;
    if (!*same) return KVB_OK;
    void *sink = t->some; /* the reference's result must stay as it is */
    KVB_CUDA_TRY(cudaEventRecord(t->from, kvb_cuda_stream()));
    for (int i = 0; i < 3; i++) KVB_TRY(run(g, candidate, w->w, x, bias, p->accumulate, sink));
    KVB_CUDA_TRY(cudaEventRecord(t->to, kvb_cuda_stream()));
    KVB_CUDA_TRY(cudaEventSynchronize(t->to));
    KVB_CUDA_TRY(cudaEventElapsedTime(&milliseconds, t->from, t->to));
    *seconds = milliseconds / 3e3;
    return KVB_OK;
}

static void describe_pin(plan *p, const kvb_cuda_product *product, int32_t rows) {
    char line[200];
    snprintf(line, sizeof line, "product [%d, %d] x %d rows", product->out, product->in, rows);
    p->name = line;
}

static void note_pin(kvb_cuda_gemm *g, const plan *p, const kvb_cuda_product *product, int32_t rows) {
    char line[240];
    double flops = 2.0 * product->out * product->in * rows;
    snprintf(line, sizeof line, "%s%s%s: algorithm %d tile %d stages %d, %.0f TFLOP/s\n", p->name.c_str(),
             product->bias ? " + bias" : "", product->accumulate ? " accumulated" : "",
             config(&p->algo, CUBLASLT_ALGO_CONFIG_ID), config(&p->algo, CUBLASLT_ALGO_CONFIG_TILE_ID),
             config(&p->algo, CUBLASLT_ALGO_CONFIG_STAGES_ID), flops / p->seconds / 1e12);
    g->pins += line;
}

/* The fastest algorithm of one bucket that agrees with the largest one. */
static kvb_status prove_bucket(kvb_cuda_gemm *g, const kvb_cuda_product *product, const kvb_packed *w, int32_t rows,
                               int32_t most, trial *t, bool *proven) {
    plan p = {};
    std::vector<cublasLtMatmulAlgo_t> algorithms;
    *proven = false;
    KVB_TRY(describe(product, rows, &p));
    KVB_TRY(candidates(g, &p, &algorithms));
    describe_pin(&p, product, rows);
    plan best = p;
    bool reference = rows == most;
    for (const cublasLtMatmulAlgo_t &algo : algorithms) {
        bool same;
        double seconds;
        p.algo = algo;
        KVB_TRY(try_algorithm(g, product, w, &p, rows, most, reference, t, &same, &seconds));
        reference = false;
        if (!same || (*proven && seconds >= best.seconds)) continue;
        best.algo = algo;
        best.seconds = seconds;
        *proven = true;
    }
    if (!*proven) return KVB_OK;
    g->plans[key_of(product, rows)] = best;
    note_pin(g, &best, product, rows);
    return KVB_OK;
}

kvb_status kvb_cuda_prove(const kvb_cuda_product *product, const kvb_packed *w, const int32_t *bucket, int32_t buckets,
                          bool *proven) {
    kvb_cuda_gemm *g;
    KVB_TRY(engine(&g));
    int32_t most = bucket[buckets - 1];
    bool known = true;
    for (int32_t b = 0; b < buckets; b++) known = known && g->plans.count(key_of(product, bucket[b]));
    if (known) return KVB_OK; /* another model of these shapes */
    trial t = {};
    kvb_status status = begin_trial(product, most, &t);
    for (int32_t b = buckets - 1; b >= 0 && status == KVB_OK; b--) {
        bool ok;
        status = prove_bucket(g, product, w, bucket[b], most, &t, &ok);
        if (!ok) proven[b] = false;
    }
    end_trial(&t);
    return status;
}

kvb_status kvb_cuda_multiply(kvb_packed *p, const void *x, int32_t rows, const float *bias, int32_t accumulate,
                             void *y, int32_t y_dtype) {
    kvb_cuda_gemm *g = kvb_cuda_current()->gemm;
    kvb_cuda_product product = {p->out, p->in, p->dtype, y_dtype, bias != NULL, accumulate};
    auto at = g->plans.find(key_of(&product, rows));
    if (at == g->plans.end())
        return kvb_fail(KVB_E_INTERNAL, "cuda: no algorithm is pinned for [%d, %d] x %d rows", p->out, p->in, rows);
    return run(g, &at->second, p->w, x, bias, accumulate, y);
}

const char *kvb_cuda_pins(int32_t device) {
    if (kvb_cuda_use(device) != KVB_OK || !kvb_cuda_current()->gemm) return "";
    return kvb_cuda_current()->gemm->pins.c_str();
}
