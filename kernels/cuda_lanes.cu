/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_lanes.cu - keys and values in device memory: plain rows of head_dim elements, key i of a lane at i * head_dim.
 *
 * Attention's tiles are 64 rows anyway, so nothing is gained by a private layout, and reading a lane back, gathering an
 * evicted one and debugging stay one line each.
 */
#include "cuda_convert.cuh"
#include "cuda_lanes.h"
#include "model.h"

int64_t kvb_cuda_lane_bytes(const kvb_lane_kind *kind, int32_t capacity) {
    return kvb_round_up(capacity, 16) * kind->head_dim * kvb_dtype_bytes(kind->dtype);
}

/* Eight elements a thread: head_dim is a multiple of eight wherever there is attention, and lanes are aligned. */
template <typename T>
__global__ void read_kernel(const kvb_lane *lanes, int32_t tokens, int32_t dim, bool keys, float *out) {
    const char *from = (const char *)(keys ? lanes[blockIdx.y].keys : lanes[blockIdx.y].values);
    int64_t i = 8 * ((int64_t)blockIdx.x * blockDim.x + threadIdx.x), n = (int64_t)tokens * dim;
    if (i >= n) return;
    uint4 raw[sizeof(T) / 2];
    float x[8];
#pragma unroll
    for (int k = 0; k < (int)sizeof(T) / 2; k++) raw[k] = __ldg((const uint4 *)(from + i * (int)sizeof(T)) + k);
#pragma unroll
    for (int k = 0; k < 8; k++) x[k] = to_float(((const T *)raw)[k]);
    float4 *to = (float4 *)(out + blockIdx.y * n + i);
    to[0] = make_float4(x[0], x[1], x[2], x[3]);
    to[1] = make_float4(x[4], x[5], x[6], x[7]);
}

/* A host array of lanes where a kernel can read it. */
static kvb_status upload_lanes(const kvb_lane *lane, int32_t count, kvb_lane **out) {
    *out = (kvb_lane *)kvb_cuda_alloc_raw((size_t)count * sizeof *lane, KVB_MEM_SCRATCH);
    if (!*out) return KVB_E_MEMORY;
    return kvb_cuda_upload(*out, lane, (size_t)count * sizeof *lane);
}

static kvb_status read_to(const kvb_lane_kind *kind, const kvb_lane *lanes, int32_t count, int32_t tokens, bool keys,
                          float *out) {
    int64_t n = (int64_t)tokens * kind->head_dim;
    if (kind->head_dim % 8)
        return kvb_fail(KVB_E_UNSUPPORTED, "cuda: head_dim is %d, not a multiple of 8", kind->head_dim);
    dim3 grid((unsigned)((n + 2047) / 2048), (unsigned)count);
    KVB_CUDA_TYPED(kind->dtype, (read_kernel<T><<<grid, 256, 0, kvb_cuda_stream()>>>(lanes, tokens, kind->head_dim,
                                                                                     keys, out)));
    KVB_LAUNCHED("reading lanes");
    return KVB_OK;
}

kvb_status kvb_cuda_lanes_read(const kvb_lane_kind *kind, const kvb_lane *lane, int32_t count, int32_t tokens,
                               bool keys, kvb_tensor *out) {
    size_t bytes = (size_t)count * (size_t)tokens * (size_t)kind->head_dim * sizeof(float);
    if (bytes == 0) return KVB_OK;
    kvb_lane *lanes = NULL;
    bool host = out->device_id == 0;
    float *to = host ? (float *)kvb_cuda_alloc_raw(bytes, KVB_MEM_SCRATCH) : (float *)out->data;
    kvb_status status = to ? upload_lanes(lane, count, &lanes) : KVB_E_MEMORY;
    if (status == KVB_OK) status = read_to(kind, lanes, count, tokens, keys, to);
    if (status == KVB_OK && host) status = kvb_cuda_download(out->data, to, bytes);
    kvb_cuda_free(lanes);
    if (host) kvb_cuda_free(to);
    return status;
}

/* One warp per kept key: its row of keys and its row of values. */
template <typename T>
__global__ void gather_kernel(const kvb_lane *from, const kvb_lane *to, const int32_t *position, const int64_t *at,
                              int32_t dim) {
    const kvb_lane source = from[blockIdx.y], target = to[blockIdx.y];
    int32_t j = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (j >= target.n) return;
    int64_t t = position[at[blockIdx.y] + j];
    for (int32_t i = threadIdx.x % 32; i < dim; i += 32) {
        ((T *)target.keys)[(int64_t)j * dim + i] = ((const T *)source.keys)[t * dim + i];
        ((T *)target.values)[(int64_t)j * dim + i] = ((const T *)source.values)[t * dim + i];
    }
}

static kvb_status gather(const kvb_lane_kind *kind, const kvb_lane *from, const kvb_lane *to, int32_t count,
                         int32_t longest, const int32_t *position, const int64_t *at) {
    enum { WARPS = 8 };
    dim3 grid((unsigned)((longest + WARPS - 1) / WARPS), (unsigned)count);
    KVB_CUDA_TYPED(kind->dtype, (gather_kernel<T><<<grid, 32 * WARPS, 0, kvb_cuda_stream()>>>(from, to, position, at,
                                                                                              kind->head_dim)));
    KVB_LAUNCHED("gathering lanes");
    return KVB_OK;
}

kvb_status kvb_cuda_lanes_gather(const kvb_lane_kind *kind, const kvb_lane *from, const kvb_lane *to, int32_t count,
                                 const int32_t *position, const int64_t *at, int64_t positions) {
    kvb_lane *source = NULL, *target = NULL;
    int32_t longest = 0;
    for (int32_t i = 0; i < count; i++) longest = to[i].n > longest ? to[i].n : longest;
    if (longest == 0) return KVB_OK;
    int32_t *where = (int32_t *)kvb_cuda_alloc_raw((size_t)positions * sizeof *where, KVB_MEM_SCRATCH);
    int64_t *first = (int64_t *)kvb_cuda_alloc_raw((size_t)count * sizeof *first, KVB_MEM_SCRATCH);
    kvb_status status = where && first ? upload_lanes(from, count, &source) : KVB_E_MEMORY;
    if (status == KVB_OK) status = upload_lanes(to, count, &target);
    if (status == KVB_OK) status = kvb_cuda_upload(where, position, (size_t)positions * sizeof *where);
    if (status == KVB_OK) status = kvb_cuda_upload(first, at, (size_t)count * sizeof *first);
    if (status == KVB_OK) status = gather(kind, source, target, count, longest, where, first);
    kvb_cuda_free(source);
    kvb_cuda_free(target);
    kvb_cuda_free(where);
    kvb_cuda_free(first);
    return status;
}

/* One half (keys or values) of every lane: from f32 rows where given, else from another lane. */
template <typename T>
__global__ void write_kernel(const kvb_lane *from, const kvb_lane *to, const float *rows, int32_t tokens, int32_t dim,
                             bool keys) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, n = (int64_t)tokens * dim;
    if (i >= n) return;
    T *target = (T *)(keys ? to[blockIdx.y].keys : to[blockIdx.y].values) + i;
    if (rows)
        from_float(target, rows[blockIdx.y * n + i]);
    else
        *target = ((const T *)(keys ? from[blockIdx.y].keys : from[blockIdx.y].values))[i];
}

static kvb_status write_half(const kvb_lane_kind *kind, const kvb_lane *from, const kvb_lane *to, int32_t count,
                             int32_t tokens, const kvb_tensor *rows, bool keys) {
    int64_t n = (int64_t)tokens * kind->head_dim;
    size_t bytes = (size_t)count * (size_t)n * sizeof(float);
    bool host = rows && rows->device_id == 0;
    float *device = NULL;
    if (host) {
        device = (float *)kvb_cuda_alloc_raw(bytes, KVB_MEM_SCRATCH);
        if (!device) return KVB_E_MEMORY;
        kvb_status status = kvb_cuda_upload(device, rows->data, bytes);
        if (status != KVB_OK) {
            kvb_cuda_free(device);
            return status;
        }
    }
    const float *source = host ? device : rows ? (const float *)rows->data : NULL;
    dim3 grid((unsigned)((n + 255) / 256), (unsigned)count);
    KVB_CUDA_TYPED(kind->dtype, (write_kernel<T><<<grid, 256, 0, kvb_cuda_stream()>>>(from, to, source, tokens,
                                                                                      kind->head_dim, keys)));
    kvb_status status = kvb_cuda_launched("writing lanes");
    kvb_cuda_free(device);
    return status;
}

kvb_status kvb_cuda_lanes_write(const kvb_lane_kind *kind, const kvb_lane *from, kvb_lane *to, int32_t count,
                                int32_t tokens, const kvb_tensor *keys, const kvb_tensor *values) {
    kvb_lane *source = NULL, *target = NULL;
    if (count == 0 || tokens == 0) return KVB_OK;
    kvb_status status = upload_lanes(from, count, &source);
    if (status == KVB_OK) status = upload_lanes(to, count, &target);
    if (status == KVB_OK) status = write_half(kind, source, target, count, tokens, keys, true);
    if (status == KVB_OK) status = write_half(kind, source, target, count, tokens, values, false);
    kvb_cuda_free(source);
    kvb_cuda_free(target);
    return status;
}

/* A sequence's lanes lie evenly in its slot: where the first begins, and how far keys and values are apart. */
struct stretch {
    const char *from;
    char *to;
    int64_t from_room, to_room;
    int32_t pieces; /* of 16 bytes, in the keys of one lane */
};

__global__ void copy_kernel(const stretch *stretches, int32_t lanes) {
    const stretch s = stretches[blockIdx.x];
    for (int32_t i = threadIdx.x; i < lanes * 2 * s.pieces; i += blockDim.x) {
        int64_t half = i / s.pieces; /* keys of lane 0, values of lane 0, keys of lane 1, ... */
        ((int4 *)(s.to + half * s.to_room))[i % s.pieces] = ((const int4 *)(s.from + half * s.from_room))[i % s.pieces];
    }
}

kvb_status kvb_cuda_lanes_copy(const kvb_lane_kind *kind, const kvb_lane_copy *copy, int32_t count, int32_t lanes) {
    size_t bytes = (size_t)count * sizeof(stretch);
    stretch *host = (stretch *)kvb_alloc(bytes, KVB_MEM_SCRATCH);
    stretch *device = host ? (stretch *)kvb_cuda_alloc_raw(bytes, KVB_MEM_SCRATCH) : NULL;
    kvb_status status = device ? KVB_OK : KVB_E_MEMORY;
    for (int32_t i = 0; status == KVB_OK && i < count; i++) {
        const kvb_lane *from = copy[i].from, *to = copy[i].to;
        host[i] = {(const char *)from->keys, (char *)to->keys, (char *)from->values - (char *)from->keys,
                   (char *)to->values - (char *)to->keys,
                   (int32_t)(copy[i].n * kind->head_dim * kvb_dtype_bytes(kind->dtype) / 16)};
    }
    if (status == KVB_OK) status = kvb_cuda_upload(device, host, bytes);
    if (status == KVB_OK) {
        copy_kernel<<<(unsigned)count, 256, 0, kvb_cuda_stream()>>>(device, lanes);
        status = kvb_cuda_launched("copying trunks");
    }
    kvb_cuda_free(device);
    kvb_free(host);
    return status;
}
