/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attention_device.cuh - what the attention kernels share: where a row's keys lie, mask words, types, the exponential.
 */
#ifndef KVB_ATTENTION_DEVICE_CUH
#define KVB_ATTENTION_DEVICE_CUH
#include "attention.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace attention {

using word = unsigned long long;

/* Keys 0 .. n-1 of one kind (prefix or suffix) for one KV head. */
struct run {
    const char *key, *value;
    int n;
    __device__ __forceinline__ int tiles() const { return (n + KVB_TILE - 1) / KVB_TILE; }
};

__device__ __forceinline__ void find(const kvb_cuda_lanes &lanes, int lane, const char *&key, const char *&value) {
    if (lanes.table) {
        key = (const char *)lanes.table[lane].keys;
        value = (const char *)lanes.table[lane].values;
    } else {
        key = lanes.base + 2 * (int64_t)lane * lanes.room;
        value = key + lanes.room;
    }
}

__device__ __forceinline__ run prefix_of(const kvb_cuda_seq &s, int lane) {
    run r = {};
    if (s.prefix_n > 0) {
        find(s.prefix, lane, r.key, r.value);
        r.n = s.prefix.table ? s.prefix.table[lane].n : s.prefix_n;
    }
    return r;
}

/* The suffix as far as own key `index`. */
__device__ __forceinline__ run suffix_of(const kvb_cuda_seq &s, int lane, int index) {
    run r = {};
    find(s.own, lane, r.key, r.value);
    r.n = index + 1;
    return r;
}

/* Where a row's sliding window begins among the keys of its prefix: at the first whose position is not too far back. */
__device__ __forceinline__ int prefix_from(const kvb_cuda_attention &a, const kvb_cuda_seq &s, int lane, int position) {
    int first = position - a.window + 1;
    if (a.window == 0 || first <= 0) return 0;
    if (!s.prefix.table || !s.positions) return first;
    const int32_t *at = s.positions + s.position_at[lane];
    int low = 0, high = s.prefix.table[lane].n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (at[middle] < first)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The same in its suffix, of which it sees `seen` keys: positions there are consecutive. */
__device__ __forceinline__ int suffix_from(const kvb_cuda_attention &a, int seen) {
    return a.window == 0 || seen <= a.window ? 0 : seen - a.window;
}

/* Which keys of tile t a row sees: those of its run from `from` to before `seen`, thinned by the mask. */
__device__ __forceinline__ word visible(const uint64_t *mask, int from, int seen, int t) {
    int left = seen - t * KVB_TILE, before = from - t * KVB_TILE;
    if (left <= 0 || before >= KVB_TILE) return 0;
    word w = mask ? (word)__ldg(mask + t) : ~0ull;
    if (before > 0) w &= ~0ull << before;
    return left >= KVB_TILE ? w : w & ((1ull << left) - 1);
}

/* One fixed choice for all kernels: the hardware's power of two (relative error about 2^-22, exactly 1 at 0). */
__device__ __forceinline__ float power2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }
template <typename T> __device__ __forceinline__ T narrow(float x);
template <> __device__ __forceinline__ float narrow(float x) { return x; }
template <> __device__ __forceinline__ __nv_bfloat16 narrow(float x) { return __float2bfloat16_rn(x); }
template <> __device__ __forceinline__ __half narrow(float x) { return __float2half_rn(x); }

} // namespace attention
#endif
