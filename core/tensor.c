/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor.c - tensor descriptors and their counted storage.
 *
 * A tensor is a view; bytes belong to a storage that views share by reference count, so slicing never copies and a
 * garbage-collected front end can drop views in any order. A storage knows the backend whose memory it is. Rejected:
 * owning tensors with deep copies (a press would copy the keys of every layer to look at one head).
 */
#include "backend.h"
#include <stdatomic.h>
#include <stdio.h>

struct kvb_storage {
    _Atomic int32_t references;
    const kvb_backend *backend;
    void *data;
};

int64_t kvb_dtype_bytes(int32_t dtype) {
    switch (dtype) {
    case KVB_F32:
    case KVB_I32:
    case KVB_U32:
        return 4;
    case KVB_F16:
    case KVB_BF16:
        return 2;
    case KVB_U8:
        return 1;
    case KVB_I64:
        return 8;
    default:
        return 0;
    }
}

static void *take(const kvb_backend *b, size_t bytes, bool cleared) {
    if (cleared) return kvb_backend_alloc(b, bytes, KVB_MEM_TENSOR);
    return b->alloc_raw ? b->alloc_raw(bytes, KVB_MEM_TENSOR) : kvb_alloc_raw(bytes, KVB_MEM_TENSOR);
}

kvb_status kvb_tensor_new_on(int32_t device, int32_t dtype, int32_t ndim, const int64_t *shape, int32_t cleared,
                             kvb_tensor *out) {
    int64_t count = 1, unit = kvb_dtype_bytes(dtype);
    if (unit == 0) return kvb_fail(KVB_E_ARG, "tensor: unknown dtype %d", dtype);
    if (ndim < 0 || ndim > KVB_MAX_DIMS)
        return kvb_fail(KVB_E_SHAPE, "tensor: %d dimensions, allowed are 0 to %d", ndim, KVB_MAX_DIMS);
    for (int i = 0; i < ndim; i++) {
        if (shape[i] < 0)
            return kvb_fail(KVB_E_SHAPE, "tensor: dimension %d has size %lld", i + 1, (long long)shape[i]);
        if (shape[i] > (int64_t)1 << 46 || (shape[i] && count > ((int64_t)1 << 46) / unit / shape[i]))
            return kvb_fail(KVB_E_MEMORY, "tensor: dimension %d of size %lld makes it larger than 64 TiB", i + 1,
                            (long long)shape[i]);
        count *= shape[i];
    }
    const kvb_backend *backend = kvb_backend_get(device);
    if (!backend) return kvb_diag_code();
    kvb_storage *storage = kvb_alloc(sizeof *storage, KVB_MEM_TENSOR);
    if (!storage) return KVB_E_MEMORY;
    storage->backend = backend;
    storage->data = take(backend, kvb_mul_size(kvb_size(count), (size_t)unit), cleared != 0);
    if (!storage->data) {
        kvb_free(storage);
        return KVB_E_MEMORY;
    }
    atomic_init(&storage->references, 1);
    *out = (kvb_tensor){.data = storage->data,
                        .storage = storage,
                        .ndim = ndim,
                        .dtype = dtype,
                        .device_id = device >= KVB_DEVICE_CUDA ? device : 0};
    for (int64_t i = ndim - 1, step = 1; i >= 0; step = kvb_mul64(step, shape[i--])) { /* of an empty one: any */
        out->shape[i] = shape[i];
        out->stride[i] = step;
    }
    return KVB_OK;
}

kvb_status kvb_tensor_new(int32_t dtype, int32_t ndim, const int64_t *shape, kvb_tensor *out) {
    return kvb_tensor_new_on(KVB_DEVICE_CPU, dtype, ndim, shape, 1, out);
}

void kvb_tensor_retain(const kvb_tensor *t) {
    if (t && t->storage) atomic_fetch_add(&t->storage->references, 1);
}

void kvb_tensor_release(kvb_tensor *t) {
    if (!t) return;
    if (t->storage && atomic_fetch_sub(&t->storage->references, 1) == 1) {
        kvb_backend_free(t->storage->backend, t->storage->data);
        kvb_free(t->storage);
    }
    memset(t, 0, sizeof *t);
}

int64_t kvb_tensor_count(const kvb_tensor *t) {
    int64_t count = 1;
    for (int i = 0; i < t->ndim; i++) count *= t->shape[i];
    return count;
}

bool kvb_tensor_contiguous(const kvb_tensor *t) {
    for (int64_t i = t->ndim - 1, step = 1; i >= 0; step *= t->shape[i--])
        if (t->shape[i] != 1 && t->stride[i] != step) return kvb_tensor_count(t) == 0;
    return true;
}

static kvb_tensor view(void *data, int32_t dtype, int32_t ndim, int64_t a, int64_t b, int64_t c) {
    return (kvb_tensor){.data = data,
                        .dtype = dtype,
                        .ndim = ndim,
                        .shape = {a, b, c},
                        .stride = {ndim == 3   ? b * c
                                   : ndim == 2 ? b
                                               : 1,
                                   ndim == 3 ? c : 1, 1}};
}
kvb_tensor kvb_view1(void *data, int32_t dtype, int64_t a) { return view(data, dtype, 1, a, 0, 0); }
kvb_tensor kvb_view2(void *data, int32_t dtype, int64_t a, int64_t b) { return view(data, dtype, 2, a, b, 0); }
kvb_tensor kvb_view3(void *data, int32_t dtype, int64_t a, int64_t b, int64_t c) {
    return view(data, dtype, 3, a, b, c);
}

static const char *dtype_name(int32_t dtype) {
    static const char *const names[] = {"f32", "f16", "bf16", "i32", "u8", "u32", "i64"};
    return dtype >= 0 && dtype < 7 ? names[dtype] : "unknown";
}

static void write_shape(char *out, size_t room, int32_t ndim, const int64_t *shape) {
    size_t used = 0;
    for (int i = 0; i < ndim && used + 24 < room; i++) {
        int n = shape[i] < 0 ? snprintf(out + used, room - used, "%sany", i ? ", " : "")
                             : snprintf(out + used, room - used, "%s%lld", i ? ", " : "", (long long)shape[i]);
        used += (size_t)n;
    }
    out[used] = 0;
}

kvb_status kvb_tensor_expect(const char *op, const char *argument, const kvb_tensor *t, int32_t dtype, int32_t ndim,
                             const int64_t *shape) {
    if (!t || (!t->data && kvb_tensor_count(t) > 0))
        return kvb_fail(KVB_E_ARG, "%s: %s is missing or closed", op, argument);
    bool fits = t->dtype == dtype && t->ndim == ndim;
    for (int i = 0; fits && i < ndim; i++) fits = shape[i] < 0 || shape[i] == t->shape[i];
    if (fits) return KVB_OK;
    char got[160], wanted[160];
    write_shape(got, sizeof got, t->ndim, t->shape);
    write_shape(wanted, sizeof wanted, ndim, shape);
    return kvb_fail(KVB_E_SHAPE, "%s: %s is %s [%s], expected %s [%s]", op, argument, dtype_name(t->dtype), got,
                    dtype_name(dtype), wanted);
}
