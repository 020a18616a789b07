/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_copy.cu - elements moved between layouts, dtypes and memories.
 *
 * Conversions go through double as in the reference, with the same rounding and clamping, so the bits are the host's.
 * Between memories bytes move densely: a strided view is packed where it lies, and spread where it goes.
 */
#include "tensor.cuh"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

using namespace kvb;

namespace {

enum { THREADS = 256 };

__device__ double get(int dtype, const void *p, int64_t i) {
    switch (dtype) {
    case KVB_F32: return ((const float *)p)[i];
    case KVB_F16: return (double)__half2float(((const __half *)p)[i]);
    case KVB_BF16: return (double)__uint_as_float((uint32_t)((const uint16_t *)p)[i] << 16);
    case KVB_I32: return ((const int32_t *)p)[i];
    case KVB_U8: return ((const uint8_t *)p)[i];
    case KVB_U32: return ((const uint32_t *)p)[i];
    default: return (double)((const int64_t *)p)[i];
    }
}

__device__ double whole(double v, double lowest, double highest) {
    if (v != v) return 0;
    return trunc(v < lowest ? lowest : v > highest ? highest : v);
}

__device__ uint16_t bf16_of(float x) {
    uint32_t u = __float_as_uint(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 0x40);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

__device__ void put(int dtype, void *p, int64_t i, double v) {
    switch (dtype) {
    case KVB_F32: ((float *)p)[i] = (float)v; break;
    case KVB_F16: ((__half *)p)[i] = __double2half(v); break;
    case KVB_BF16: ((uint16_t *)p)[i] = bf16_of((float)v); break;
    case KVB_I32: ((int32_t *)p)[i] = (int32_t)whole(v, INT32_MIN, INT32_MAX); break;
    case KVB_U8: ((uint8_t *)p)[i] = (uint8_t)whole(v, 0, UINT8_MAX); break;
    case KVB_U32: ((uint32_t *)p)[i] = (uint32_t)whole(v, 0, UINT32_MAX); break;
    default: ((int64_t *)p)[i] = (int64_t)whole(v, -0x1p63, 0x1.fffffffffffffp62);
    }
}

__global__ void __launch_bounds__(THREADS) convert(plan<2> p, const void *x, int from, void *y, int to) {
    uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.count) return;
    int64_t at[2];
    p.locate(i, at);
    put(to, y, at[1], get(from, x, at[0]));
}

__global__ void __launch_bounds__(THREADS) fill(plan<1> p, double value, void *y, int to) {
    uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.count) return;
    int64_t at[1];
    p.locate(i, at);
    put(to, y, at[0], value);
}

template <class T> __global__ void __launch_bounds__(THREADS) move(plan<2> p, const T *x, T *y) {
    uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.count) return;
    int64_t at[2];
    p.locate(i, at);
    y[at[1]] = x[at[0]];
}

template <class T> void launch_move(const plan<2> &p, const void *x, void *y) {
    move<T><<<blocks_of(p.count, THREADS), THREADS, 0, kvb_cuda_stream()>>>(p, (const T *)x, (T *)y);
}

/* Elements of one dtype: 16 bytes at a time where both lie so. */
void launch_same(plan<2> p, const void *x, void *y, int unit) {
    int last = p.ndim - 1, group = 16 / unit;
    bool wide = p.size[last].d % (uint32_t)group == 0 && p.stride[0][last] == 1 && p.stride[1][last] == 1 &&
                (uintptr_t)x % 16 == 0 && (uintptr_t)y % 16 == 0;
    for (int d = 0; d < last && wide; d++) wide = p.stride[0][d] % group == 0 && p.stride[1][d] % group == 0;
    if (wide) {
        p.size[last] = divisor(p.size[last].d / (uint32_t)group);
        p.count /= (uint32_t)group;
        for (int d = 0; d < last; d++) {
            p.stride[0][d] /= group;
            p.stride[1][d] /= group;
        }
        unit = 16;
    }
    switch (unit) {
    case 1: return launch_move<uint8_t>(p, x, y);
    case 2: return launch_move<uint16_t>(p, x, y);
    case 4: return launch_move<uint32_t>(p, x, y);
    case 8: return launch_move<uint64_t>(p, x, y);
    default: return launch_move<uint4>(p, x, y);
    }
}

kvb_status on_device(const kvb_tensor *x, const kvb_tensor *y) {
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    return in_parts<2>({x, y}, [](const kvb_tensor *const (&t)[2]) -> kvb_status {
        plan<2> p = plan_of(t);
        unsigned blocks = blocks_of(p.count, THREADS);
        if (t[0]->constant) {
            const kvb_tensor *const out[1] = {t[1]};
            fill<<<blocks, THREADS, 0, kvb_cuda_stream()>>>(plan_of(out), *(const float *)t[0]->data, t[1]->data,
                                                            t[1]->dtype);
        } else if (t[0]->dtype == t[1]->dtype) {
            launch_same(p, t[0]->data, t[1]->data, (int)kvb_dtype_bytes(t[0]->dtype));
        } else {
            convert<<<blocks, THREADS, 0, kvb_cuda_stream()>>>(p, t[0]->data, t[0]->dtype, t[1]->data, t[1]->dtype);
        }
        return kvb_cuda_launched("copy");
    });
}

kvb_status new_like(int32_t device, const kvb_tensor *t, int32_t dtype, kvb_tensor *out) {
    return kvb_tensor_new_on(device, dtype, t->ndim, t->shape, 0, out);
}

/* Bytes of two contiguous tensors of one dtype, one of them on the host. */
kvb_status move_bytes(const kvb_tensor *x, const kvb_tensor *y, bool up) {
    size_t bytes = (size_t)(kvb_tensor_count(x) * kvb_dtype_bytes(x->dtype));
    return up ? kvb_cuda_upload(y->data, x->data, bytes) : kvb_cuda_download(y->data, x->data, bytes);
}

/* Packs x where it is, moves the bytes, spreads and converts them where they arrive. */
kvb_status across(const kvb_tensor *x, kvb_tensor *y, int32_t gpu, bool up) {
    int32_t x_memory = up ? KVB_DEVICE_CPU : gpu, y_memory = up ? gpu : KVB_DEVICE_CPU;
    kvb_tensor packed = {}, landed = {};
    const kvb_tensor *from = x, *to = y;
    kvb_status status = KVB_OK;
    if (!kvb_tensor_contiguous(x)) {
        status = new_like(x_memory, x, x->dtype, &packed);
        if (status == KVB_OK) status = kvb_op_copy(x_memory, x, &packed);
        from = &packed;
    }
    if (status == KVB_OK && (!kvb_tensor_contiguous(y) || x->dtype != y->dtype)) {
        status = new_like(y_memory, y, x->dtype, &landed);
        to = &landed;
    }
    if (status == KVB_OK) status = move_bytes(from, to, up);
    if (status == KVB_OK && to != y) status = kvb_op_copy(y_memory, &landed, y);
    kvb_tensor_release(&packed);
    kvb_tensor_release(&landed);
    return status;
}

/* Between two GPUs: through the host, which needs nothing of how they are connected. */
kvb_status between(const kvb_tensor *x, kvb_tensor *y) {
    kvb_tensor host = {};
    KVB_TRY(new_like(KVB_DEVICE_CPU, x, x->dtype, &host));
    kvb_status status = kvb_cuda_use(x->device_id);
    if (status == KVB_OK) status = across(x, &host, x->device_id, false);
    if (status == KVB_OK) status = kvb_cuda_use(y->device_id);
    if (status == KVB_OK) status = across(&host, y, y->device_id, true);
    kvb_tensor_release(&host);
    return status;
}

} // namespace

kvb_status cuda_copy(const kvb_tensor *x, kvb_tensor *y) {
    KVB_TRY(ref_check_copy(x, y));
    int32_t here = KVB_DEVICE_CUDA + kvb_cuda_current()->ordinal;
    bool x_on_host = x->storage && x->device_id == 0, y_on_host = y->storage && y->device_id == 0;
    if (x->constant || (!x_on_host && !y_on_host && (!x->device_id || !y->device_id || x->device_id == y->device_id)))
        return on_device(x, y);
    if (x_on_host && y_on_host) return kvb_op_copy(KVB_DEVICE_CPU, x, y);
    if (x_on_host) return across(x, y, y->device_id ? y->device_id : here, true);
    if (y_on_host) return across(x, y, x->device_id ? x->device_id : here, false);
    return between(x, y);
}
