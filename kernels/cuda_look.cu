/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_look.cu - observed attention: one block per observed row and head computes its scores once more and reads off
 * what is asked (core/look.h).
 *
 * A pass of its own behind attention, f32 FMAs, every sum in a fixed order: a row's numbers do not depend on its
 * company. Rejected: tapping the attention kernels (registers are what they are short of), and tensor cores (observed
 * rows are few beside the rows of a step).
 */
#include "attention_device.cuh"
#include "cuda_resident.h"
#include "cuda_trace.h"

namespace {
using namespace attention;

enum { THREADS = 128, WARPS = THREADS / 32, MOST_DIM = 256 };
constexpr int64_t SCRATCH = (int64_t)64 << 20; /* bytes of scores at a time */

/* The larger value wins, then the lower index. */
struct best {
    float value;
    int index;
};

__device__ __forceinline__ best better(best a, best b) {
    return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

__device__ best block_best(best x) {
    __shared__ best part[WARPS];
    for (int i = 16; i > 0; i /= 2) x = better(x, {__shfl_xor_sync(~0u, x.value, i), __shfl_xor_sync(~0u, x.index, i)});
    __syncthreads();
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    best out = part[0];
    for (int w = 1; w < WARPS; w++) out = better(out, part[w]);
    return out;
}

__device__ float block_sum(float x) {
    __shared__ float part[WARPS];
    for (int i = 16; i > 0; i /= 2) x += __shfl_xor_sync(~0u, x, i);
    __syncthreads();
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0;
    for (int w = 0; w < WARPS; w++) sum += part[w];
    return sum;
}

/* What a block knows of its row and head. */
struct view {
    run keys[2]; /* prefix, suffix */
    const uint64_t *mask[2];
    int from[2]; /* where the row's window begins */
    int at;      /* layer * kv_heads + KV head */
};

__device__ view view_of(const kvb_cuda_attention &a, const kvb_cuda_row &row, const kvb_cuda_seq &seq, int head) {
    view v;
    v.at = a.layer * a.kv_heads + head / (a.heads / a.kv_heads);
    v.keys[0] = prefix_of(seq, v.at);
    v.keys[1] = suffix_of(seq, v.at, row.index);
    v.from[0] = prefix_from(a, seq, v.at, row.position);
    v.from[1] = suffix_from(a, v.keys[1].n);
    v.mask[0] = seq.prefix_mask ? seq.prefix_mask + (int64_t)v.at * seq.prefix_words : NULL;
    v.mask[1] = seq.suffix_mask ? seq.suffix_mask + (int64_t)v.at * seq.suffix_words : NULL;
    return v;
}

/* Key or value k of a run. */
template <typename T> __device__ __forceinline__ const T *nth(const run &r, bool value, int k, int dim) {
    return (const T *)(value ? r.value : r.key) + (int64_t)k * dim;
}

/* Logits in powers of two, -inf where a key is not visible: p [tokens of the prefix, then own ones]. */
template <typename T>
__device__ void scores(const kvb_cuda_attention &a, const view &v, const float *q, int tokens, float *p) {
    float c = (float)(a.scale * 1.4426950408889634);
    for (int part = 0; part < 2; part++)
        for (int k = threadIdx.x; k < v.keys[part].n; k += THREADS) {
            bool seen = visible(v.mask[part], v.from[part], v.keys[part].n, k / KVB_TILE) >> (k % KVB_TILE) & 1;
            const T *key = nth<T>(v.keys[part], false, k, a.head_dim);
            float sum = 0;
            for (int d = 0; seen && d < a.head_dim; d++) sum = fmaf(q[d], to_float(key[d]), sum);
            p[part * tokens + k] = seen ? sum * c : -INFINITY;
        }
    __syncthreads();
}

/* p -> weights that sum to 1; tops and masses where they are wanted. */
__device__ void weigh(const kvb_cuda_look &look, int n, int head_at, float *p) {
    best top = {-INFINITY, -1}, within = top, all = top;
    for (int k = threadIdx.x; k < n; k += THREADS) {
        best here = {p[k], k};
        if (here.value == -INFINITY) continue;
        all = better(all, here);
        if (k >= look.tokens) continue;
        top = top.index < 0 ? here : better(top, here);
        if (look.within >> look.classes[k] & 1) within = within.index < 0 ? here : better(within, here);
    }
    /* none: an index behind every other, so that ties at -inf go to nobody */
    best none = {-INFINITY, 1 << 30};
    top = block_best(top.index < 0 ? none : top);
    within = block_best(within.index < 0 ? none : within);
    all = block_best(all.index < 0 ? none : all);
    float mass[KVB_MAX_CLASSES + 1] = {}, sum = 0;
    for (int k = threadIdx.x; k < n; k += THREADS) {
        float w = exp2f(p[k] - all.value);
        int of = k < look.tokens ? look.classes[k] : look.n_classes;
        p[k] = w;
        sum += w;
#pragma unroll
        for (int c = 0; c <= KVB_MAX_CLASSES; c++) mass[c] += c == of ? w : 0;
    }
    float inverse = 1 / block_sum(sum);
    for (int k = threadIdx.x; k < n; k += THREADS) p[k] *= inverse;
#pragma unroll
    for (int c = 0; c <= KVB_MAX_CLASSES; c++) {
        float total = block_sum(mass[c]) * inverse;
        if (look.mass && threadIdx.x == 0 && c <= look.n_classes)
            look.mass[(int64_t)head_at * (look.n_classes + 1) + c] = total;
    }
    if (look.top && threadIdx.x == 0) {
        look.top[head_at] = top.value == -INFINITY ? -1 : top.index;
        look.top_within[head_at] = within.value == -INFINITY ? -1 : within.index;
    }
    __syncthreads();
}

/* This thread's dimensions of sum p v / sum p over what `keep` keeps (NULL: everything) and the own keys; returns the
 * weight on the context. */
template <typename T>
__device__ float output(const kvb_cuda_look &look, const view &v, const uint64_t *keep, int dim, const float *p,
                        float (&o)[MOST_DIM / THREADS]) {
    float context = 0, own = 0;
#pragma unroll
    for (int i = 0; i < MOST_DIM / THREADS; i++) o[i] = 0;
    for (int part = 0; part < 2; part++)
        for (int k = 0; k < v.keys[part].n; k++) {
            float w = p[part * look.tokens + k];
            if (w == 0 || (part == 0 && keep && !(keep[k / 64] >> (k % 64) & 1))) continue;
            (part == 0 ? context : own) += w;
            const T *value = nth<T>(v.keys[part], true, k, dim);
#pragma unroll
            for (int i = 0; i < MOST_DIM / THREADS; i++) {
                int d = i * THREADS + threadIdx.x;
                if (d < dim) o[i] = fmaf(w, to_float(value[d]), o[i]);
            }
        }
    float inverse = context + own > 0 ? 1 / (context + own) : 0;
#pragma unroll
    for (int i = 0; i < MOST_DIM / THREADS; i++) o[i] *= inverse;
    return context;
}

template <typename T>
__device__ void keeps(const kvb_cuda_look &look, const kvb_cuda_attention &a, const view &v, int64_t at,
                      const float *p) {
    float o[MOST_DIM / THREADS], part[MOST_DIM / THREADS], norm = 0;
    float all = output<T>(look, v, NULL, a.head_dim, p, o);
    for (int i = 0; i < MOST_DIM / THREADS; i++) norm = fmaf(o[i], o[i], norm);
    norm = block_sum(norm);
    for (int k = 0; k < look.n_keeps; k++) {
        float kept = output<T>(look, v, look.keep[k] + (int64_t)v.at * look.words, a.head_dim, p, part), apart = 0;
        for (int i = 0; i < MOST_DIM / THREADS; i++) apart = fmaf(part[i] - o[i], part[i] - o[i], apart);
        apart = block_sum(apart);
        if (threadIdx.x > 0) continue;
        look.recall[k * look.cells + at] = all > 0 ? kept / all : 1;
        look.error[k * look.cells + at] = norm > 0 ? sqrtf(apart / norm) : 0;
    }
}

template <typename T>
__global__ void look_kernel(const kvb_cuda_look *looks, const kvb_cuda_attention a, float *scratch, int pitch) {
    __shared__ float q[MOST_DIM];
    const kvb_cuda_look look = looks[blockIdx.x];
    const int head = blockIdx.y, head_at = a.layer * a.heads + head;
    const kvb_cuda_row row = a.rows[look.row];
    const view v = view_of(a, row, a.seqs[row.seq], head);
    float *p = scratch + ((int64_t)blockIdx.x * a.heads + head) * pitch;
    for (int d = threadIdx.x; d < a.head_dim; d += THREADS)
        q[d] = to_float(((const T *)a.q)[((int64_t)look.row * a.heads + head) * a.head_dim + d]);
    __syncthreads();
    int n = look.tokens + v.keys[1].n, slot = look.weights ? look.slot[a.layer] : -1;
    scores<T>(a, v, q, look.tokens, p);
    weigh(look, n, head_at, p);
    for (int k = threadIdx.x; slot >= 0 && k < n; k += THREADS)
        look.weights[((int64_t)slot * a.heads + head) * look.width + k] = p[k];
    if (look.recall) keeps<T>(look, a, v, head_at, p);
}

template <typename T>
void launch(const kvb_cuda_look *looks, int32_t n, const kvb_cuda_attention *a, float *scratch, int32_t pitch) {
    look_kernel<T><<<dim3((unsigned)n, (unsigned)a->heads), THREADS, 0, kvb_cuda_stream()>>>(looks, *a, scratch, pitch);
}
} // namespace

kvb_status kvb_cuda_look_rows(kvb_cuda_traces *t, const kvb_cuda_attention *a) {
    if (t->n_looks == 0) return KVB_OK;
    if (a->head_dim > MOST_DIM)
        return kvb_fail(KVB_E_UNSUPPORTED, "cuda: head_dim is %d, attention is observed up to %d", a->head_dim,
                        MOST_DIM);
    int64_t each = (int64_t)a->heads * t->pitch * (int64_t)sizeof(float);
    int64_t at_once = kvb_min64(t->n_looks, kvb_max64(1, SCRATCH / each));
    if (t->scratch_bytes < at_once * each) {
        kvb_cuda_free(t->scratch);
        t->scratch_bytes = 0;
        t->scratch = (float *)kvb_cuda_alloc((size_t)(at_once * each), KVB_MEM_SCRATCH);
        if (!t->scratch) return KVB_E_MEMORY;
        t->scratch_bytes = at_once * each;
    }
    for (int64_t first = 0; first < t->n_looks; first += at_once) {
        int32_t n = (int32_t)kvb_min64(at_once, t->n_looks - first);
        const kvb_cuda_look *looks = t->device_looks + first;
        if (a->dtype == KVB_F32)
            launch<float>(looks, n, a, t->scratch, t->pitch);
        else if (a->dtype == KVB_BF16)
            launch<__nv_bfloat16>(looks, n, a, t->scratch, t->pitch);
        else
            launch<__half>(looks, n, a, t->scratch, t->pitch);
        KVB_TRY(kvb_cuda_launched("look"));
    }
    return KVB_OK;
}
