/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor.cuh - what the kernels of tensor ops share: operands over one index space, merged and indexed cheaply.
 *
 * A `plan` is the index space of an output with the strides of every operand. Dimensions that lie evenly in all
 * operands are merged on the host, so most calls have one or two left; where the innermost one is a multiple of four
 * and lies densely (or repeats) in all of them, a thread takes four elements with one load. Indices are 32 bits: larger
 * calls are cut on the host. Sums are kept in double, in an order that depends on shapes alone: no atomics, equal bits
 * every time.
 */
#ifndef KVB_TENSOR_CUH
#define KVB_TENSOR_CUH
#include "../core/ref/operands.h"
#include "cuda.h"
#include "tensor_table.h"

namespace kvb {

/* n / d by a multiplication, for n < 2^31 (Granlund & Montgomery). */
struct divisor {
    uint32_t d, mul, shift;
    divisor() = default;
    explicit divisor(uint32_t by) : d(by), mul(0), shift(0) {
        while ((1ull << shift) < by) shift++;
        mul = (uint32_t)(((1ull << 32) * ((1ull << shift) - by)) / by + 1);
    }
    __device__ uint32_t quotient(uint32_t n) const { return (uint32_t)(((uint64_t)__umulhi(n, mul) + n) >> shift); }
};

/* OPERANDS tensors over one index space; operand OPERANDS - 1 is the output. */
template <int OPERANDS> struct plan {
    uint32_t count; /* of index points: elements, or groups of four */
    int ndim;
    divisor size[KVB_MAX_DIMS];
    int64_t stride[OPERANDS][KVB_MAX_DIMS];

    __device__ void locate(uint32_t i, int64_t *at) const {
#pragma unroll
        for (int k = 0; k < OPERANDS; k++) at[k] = 0;
#pragma unroll
        for (int d = KVB_MAX_DIMS - 1; d > 0; d--) {
            if (d >= ndim) continue;
            uint32_t q = size[d].quotient(i), r = i - q * size[d].d;
#pragma unroll
            for (int k = 0; k < OPERANDS; k++) at[k] += r * stride[k][d];
            i = q;
        }
#pragma unroll
        for (int k = 0; k < OPERANDS; k++) at[k] += i * stride[k][0];
    }
};

/* A float operand: memory, or (p NULL) one value. */
struct input {
    const float *p;
    float value;
};
static inline input input_of(const kvb_tensor *t) {
    input in = {(const float *)t->data, 0};
    if (t->constant) in = {NULL, *(const float *)t->data};
    return in;
}

/* All tensors have the last one's shape. Strides of constants are 0. Needs fewer than 2^31 elements. */
template <int OPERANDS> plan<OPERANDS> plan_of(const kvb_tensor *const (&t)[OPERANDS]) {
    plan<OPERANDS> p;
    const kvb_tensor *shape = t[OPERANDS - 1];
    int64_t size[KVB_MAX_DIMS + 1];
    int n = 0;
    for (int d = 0; d < shape->ndim; d++) {
        if (shape->shape[d] == 1) continue;
        bool fits = n > 0;
        for (int k = 0; fits && k < OPERANDS; k++)
            fits = t[k]->constant || p.stride[k][n - 1] == t[k]->stride[d] * shape->shape[d];
        if (fits) size[n - 1] *= shape->shape[d];
        else size[n++] = shape->shape[d];
        for (int k = 0; k < OPERANDS; k++) p.stride[k][n - 1] = t[k]->constant ? 0 : t[k]->stride[d];
    }
    if (n == 0) {
        size[n++] = 1;
        for (int k = 0; k < OPERANDS; k++) p.stride[k][0] = 0;
    }
    p.ndim = n;
    p.count = (uint32_t)kvb_tensor_count(shape);
    for (int d = 0; d < n; d++) p.size[d] = divisor((uint32_t)(size[d] ? size[d] : 1));
    return p;
}

/* Whether four neighbours can be one index point; if so, makes them so. Bit k of *dense: operand k steps by 1. */
template <int OPERANDS>
bool widen(plan<OPERANDS> *p, const kvb_tensor *const (&t)[OPERANDS], uint32_t *dense) {
    int last = p->ndim - 1;
    if (p->size[last].d % 4) return false;
    *dense = 0;
    for (int k = 0; k < OPERANDS; k++) {
        if (p->stride[k][last] != 1 && (k == OPERANDS - 1 || p->stride[k][last] != 0)) return false;
        if (p->stride[k][last] == 0) continue;
        *dense |= 1u << k;
        if ((uintptr_t)t[k]->data % 16) return false;
        for (int d = 0; d < last; d++)
            if (p->stride[k][d] % 4) return false;
    }
    p->size[last] = divisor(p->size[last].d / 4);
    for (int k = 0; k < OPERANDS; k++) p->stride[k][last] *= 4;
    p->count /= 4;
    return true;
}

static inline unsigned blocks_of(int64_t n, int64_t per_block) { return (unsigned)((n + per_block - 1) / per_block); }

/* Cuts a call of 2^31 elements or more along its largest dimension. t: tensors of one shape; call takes the parts. */
template <int N, class CALL> kvb_status in_parts(const kvb_tensor *const (&t)[N], CALL call) {
    const kvb_tensor *shape = t[N - 1];
    if (kvb_tensor_count(shape) < (int64_t)1 << 31) return call(t);
    int d = 0;
    for (int i = 1; i < shape->ndim; i++)
        if (shape->shape[i] > shape->shape[d]) d = i;
    int64_t half = shape->shape[d] / 2;
    kvb_tensor part[2][N];
    const kvb_tensor *pointer[2][N];
    for (int k = 0; k < N; k++) {
        part[0][k] = part[1][k] = *t[k];
        pointer[0][k] = &part[0][k];
        pointer[1][k] = &part[1][k];
        part[0][k].shape[d] = half;
        part[1][k].shape[d] -= half;
        if (!t[k]->constant)
            part[1][k].data = (char *)t[k]->data + half * t[k]->stride[d] * kvb_dtype_bytes(t[k]->dtype);
    }
    KVB_TRY(in_parts<N>(pointer[0], call));
    return in_parts<N>(pointer[1], call);
}

/* Ops that do not cut themselves. */
static inline kvb_status check_count(const char *op, const kvb_tensor *t) {
    if (kvb_tensor_count(t) < (int64_t)1 << 31) return KVB_OK;
    kvb_fail(KVB_E_UNSUPPORTED, "%s: 2^31 elements or more in one call on a GPU", op);
    kvb_hint("-> in parts, with narrow");
    return KVB_E_UNSUPPORTED;
}

/* Device memory for the length of a call. */
struct scratch {
    void *p;
    explicit scratch(size_t bytes) : p(kvb_cuda_alloc_raw(bytes, KVB_MEM_SCRATCH)) {}
    ~scratch() { kvb_cuda_free(p); }
    scratch(const scratch &) = delete;
    template <class T> T *as() const { return (T *)p; }
};

/* A word that kernels lower with atomicMin to say where the first thing went wrong. */
struct first_error {
    scratch memory;
    first_error() : memory(sizeof(uint64_t)) {}
    unsigned long long *word() const { return memory.as<unsigned long long>(); }
    kvb_status clear() {
        if (!memory.p) return KVB_E_MEMORY;
        return kvb_cuda_check(cudaMemsetAsync(memory.p, 0xff, sizeof(uint64_t), kvb_cuda_stream()), "an error word");
    }
    /* Waits. *at = -1 when nothing went wrong. */
    kvb_status read(int64_t *at) { return kvb_cuda_download(at, memory.p, sizeof *at); }
};

} // namespace kvb
#endif
