/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attention_row.cuh - canonical attention for items of one token: eight warps on one row's tiles, for few rows and long
 * caches.
 *
 * A tile of a decoding row is too little work for a warp's latency, and there are too few rows to hide it. So warp w
 * takes the scores of keys 8 w .. 8 w + 7 of a tile and the output dimensions 16 w .. 16 w + 15, while a ring of tiles,
 * as deep as shared memory allows, is on its way. Every split is a block of its own. Every sum has the order of
 * attention_kernel.cuh, hence the same bits; tests compare them.
 */
#ifndef KVB_ATTENTION_ROW_CUH
#define KVB_ATTENTION_ROW_CUH
#include "attention_kernel.cuh"

namespace attention {

enum { ROW_WARPS = 8, ROW_THREADS = ROW_WARPS * 32, MOST_GROUP = 8, MOST_DEPTH = 8 };

/* At most n copies of this thread may still be under way. */
__device__ __forceinline__ void wait_at_most(int n) {
    switch (n) {
    case 0:
        wait<0>();
        break;
    case 1:
        wait<1>();
        break;
    case 2:
        wait<2>();
        break;
    case 3:
        wait<3>();
        break;
    case 4:
        wait<4>();
        break;
    case 5:
        wait<5>();
        break;
    default:
        wait<6>();
    }
}

__device__ __forceinline__ void load2(uint32_t (&r)[2], uint32_t at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(at)
                 : "memory");
}

/* What the warps tell each other about a round's tiles. A thread's row is lane / 4; the 16 rows of the product are half
 * empty.
 */
template <int N> struct exchange {
    float largest[N][ROW_WARPS][MOST_GROUP];
    float p[N][MOST_GROUP][KVB_TILE + 8];
    uint32_t narrow[N][MOST_GROUP][KVB_TILE / 2 + 4]; /* pairs, rounded to the cache's type */
    float inverse[MOST_GROUP];
};

/* N tiles a round: their products and barriers wait together. depth: rounds in the ring. */
template <typename T, int D, int N>
__global__ void __launch_bounds__(ROW_THREADS, 1) attend_row(const kvb_cuda_attention a, int depth) {
    using S = shape<D>;
    constexpr int COUNT = KVB_TILE * S::CHUNKS % ROW_THREADS ? 128 : ROW_THREADS; /* threads that copy */
    constexpr int UNITS = (D / 16 + ROW_WARPS - 1) / ROW_WARPS;                   /* of 16 dimensions, per warp */
    extern __shared__ __align__(1024) char memory[];
    __shared__ run source[2]; /* prefix, suffix */
    __shared__ exchange<N> x;
    uint32_t ring = (uint32_t)__cvta_generic_to_shared(memory);
    int id = threadIdx.x, lane = id % 32, warp = id / 32, group = a.heads / a.kv_heads;
    int kv_head = blockIdx.x % a.kv_heads, at = a.layer * a.kv_heads + kv_head;
    int token = a.items[blockIdx.x / a.kv_heads].first_row;
    float c = (float)(a.scale * 1.4426950408889634);
    kvb_cuda_row row = a.rows[token];
    const kvb_cuda_seq &seq = a.seqs[row.seq];
    if (id == 0) {
        source[0] = prefix_of(seq, at);
        source[1] = suffix_of(seq, at, row.index);
    }
    int64_t y_at = ((int64_t)token * a.heads + kv_head * group + lane / 4) * D + lane % 4 * 2;
    uint32_t q[D / 16][2];
#pragma unroll
    for (int d = 0; d < D / 16; d++)
#pragma unroll
        for (int i = 0; i < 2; i++)
            q[d][i] = lane / 4 < group ? __ldg((const uint32_t *)((const T *)a.q + y_at + d * 16 + i * 8)) : 0;
    __syncthreads();
    /* This block's tiles: all, or those of its split. */
    int prefix_tiles = source[0].tiles(), begin_tile = blockIdx.y * KVB_CUDA_SPLIT;
    int tiles = min(prefix_tiles + source[1].tiles(), begin_tile + KVB_CUDA_SPLIT);
    if (begin_tile >= tiles) return;
    /* Whether this thread's row sees its two keys of tile t, as bits 0 and 1. */
    int mine = warp * 8 + lane % 4 * 2, length[2] = {source[0].n, source[1].n};
    int begin[2] = {prefix_from(a, seq, at, row.position), suffix_from(a, source[1].n)};
    const uint32_t *mask[2] = {
        seq.prefix_mask ? (const uint32_t *)(seq.prefix_mask + (int64_t)at * seq.prefix_words) + mine / 32 : NULL,
        seq.suffix_mask ? (const uint32_t *)(seq.suffix_mask + (int64_t)at * seq.suffix_words) + mine / 32 : NULL};
    auto bits_of = [&](int t) -> uint32_t {
        bool suffix = t >= prefix_tiles;
        int local = suffix ? t - prefix_tiles : t, left = (suffix ? length[1] : length[0]) - local * KVB_TILE - mine;
        const uint32_t *words = suffix ? mask[1] : mask[0];
        int before = (suffix ? begin[1] : begin[0]) - local * KVB_TILE - mine;
        if (left <= 0 || before > 1) return 0;
        uint32_t bits = words ? __ldg(words + local * 2) >> (mine % 32) : 3;
        if (before == 1) bits &= ~1u;
        return left == 1 ? bits & 1 : bits;
    };
    auto fetch_round = [&](int round, int slot) {
        int from_tile = begin_tile + round * N;
        for (int t = from_tile; t < from_tile + N && t < tiles && id < COUNT; t++) {
            const run &from = source[t >= prefix_tiles];
            int first = (t >= prefix_tiles ? t - prefix_tiles : t) * KVB_TILE;
            uint32_t to = ring + (slot * N + t % N) * 2 * S::TILE;
            fetch<D, KVB_TILE, COUNT>(to, from.key, from.n, first, id);
            fetch<D, KVB_TILE, COUNT>(to + S::TILE, from.value, from.n, first, id);
        }
        commit();
    };
    uint32_t key_place = place<D>(warp * 8 + lane % 8, lane / 8 % 2), value_place = place<D>(lane % 16, lane / 16);
    auto scores = [&](int slot, float(&s)[N][4]) {
#pragma unroll
        for (int i = 0; i < N; i++) s[i][0] = s[i][1] = s[i][2] = s[i][3] = 0;
        uint32_t key_at = ring + slot * N * 2 * S::TILE + key_place;
#pragma unroll
        for (int d = 0; d < D / 16; d++)
#pragma unroll
            for (int i = 0; i < N; i++) {
                uint32_t b[2], rows[4] = {q[d][0], 0, q[d][1], 0};
                load2(b, along<D>(key_at, d * 2) + i * 2 * S::TILE);
                unit<T>::mma(s[i], rows, b[0], b[1]);
            }
    };

    float o[UNITS][2][4] = {}, m = -INFINITY, l = 0, s[N][4];
    uint32_t seen[N], next[N] = {};
#pragma unroll
    for (int i = 0; i < N; i++) seen[i] = begin_tile + i < tiles ? bits_of(begin_tile + i) : 0;
    for (int r = 0; r < depth - 1; r++) fetch_round(r, r);
    wait_at_most(depth - 2);
    __syncthreads();
    scores(0, s);
    /* A copy into the place of the round before may start at the first barrier. At the second it is off the critical
     * path, but then comes a round too late for a ring of two. */
    bool shallow = depth == 2;
    int slot = 0;
    for (int t = begin_tile; t < tiles; t += N) {
        int after = slot + 1 == depth ? 0 : slot + 1, before = slot ? slot - 1 : depth - 1;
        float largest[N], alpha[N];
#pragma unroll
        for (int i = 0; i < N; i++) {
            next[i] = t + N + i < tiles ? bits_of(t + N + i) : 0;
            if (!(seen[i] & 1)) s[i][0] = -INFINITY;
            if (!(seen[i] & 2)) s[i][1] = -INFINITY;
            largest[i] = fmaxf(s[i][0], s[i][1]);
        }
#pragma unroll
        for (int i = 0; i < N; i++) largest[i] = fmaxf(largest[i], __shfl_xor_sync(FULL, largest[i], 1));
#pragma unroll
        for (int i = 0; i < N; i++) {
            largest[i] = fmaxf(largest[i], __shfl_xor_sync(FULL, largest[i], 2));
            if (lane % 4 == 0) x.largest[i][warp][lane / 4] = largest[i];
        }
        __syncthreads(); /* and the round before this one is done with */
        if (shallow) fetch_round((t - begin_tile) / N + depth - 1, before);
#pragma unroll
        for (int i = 0; i < N; i++) {
#pragma unroll
            for (int w = 0; w < ROW_WARPS; w++) largest[i] = fmaxf(largest[i], x.largest[i][w][lane / 4]);
            float now = fmaxf(m, largest[i] * c), base = now == -INFINITY ? 0 : now;
            alpha[i] = power2(m - base);
            m = now;
            s[i][0] = power2(fmaf(s[i][0], c, -base));
            s[i][1] = power2(fmaf(s[i][1], c, -base));
            *(float2 *)&x.p[i][lane / 4][warp * 8 + lane % 4 * 2] = make_float2(s[i][0], s[i][1]);
            x.narrow[i][lane / 4][warp * 4 + lane % 4] = unit<T>::pack(s[i][0], s[i][1]);
        }
        wait_at_most(shallow ? 0 : depth - 3);
        __syncthreads(); /* and the next round has come */
        if (t + N < tiles) scores(after, s);
        if (!shallow) fetch_round((t - begin_tile) / N + depth - 1, before);
#pragma unroll
        for (int i = 0; i < N; i++) {
            if (t + i >= tiles) continue; /* nothing was copied there */
            uint32_t value_at = ring + (slot * N + i) * 2 * S::TILE + S::TILE + value_place;
#pragma unroll
            for (int u = 0; u < UNITS; u++) {
                int dims = warp + u * ROW_WARPS;
                if (dims >= D / 16) continue;
#pragma unroll
                for (int j = 0; j < 2; j++)
#pragma unroll
                    for (int e = 0; e < 4; e++) o[u][j][e] *= alpha[i];
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    const uint32_t *of = x.narrow[i][lane / 4] + k * 8 + lane % 4;
                    uint32_t p[4] = {of[0], 0, of[4], 0}, b[4];
                    load4_transposed(b, along<D>(value_at, dims * 2) + k * 16 * S::STRIDE);
                    unit<T>::mma(o[u][0], p, b[0], b[1]);
                    unit<T>::mma(o[u][1], p, b[2], b[3]);
                }
            }
        }
        if (warp == ROW_WARPS - 1) { /* the sum, in the order of the other kernel's threads */
            float total[N] = {};
#pragma unroll
            for (int j = 0; j < 8; j++)
#pragma unroll
                for (int i = 0; i < N; i++) {
                    float2 pair = *(float2 *)&x.p[i][lane / 4][j * 8 + lane % 4 * 2];
                    total[i] += pair.x;
                    total[i] += pair.y;
                }
#pragma unroll
            for (int i = 0; i < N; i++) l = fmaf(l, alpha[i], total[i]);
        }
#pragma unroll
        for (int i = 0; i < N; i++) seen[i] = next[i];
        slot = after;
    }
    if (warp == ROW_WARPS - 1) {
        l += __shfl_xor_sync(FULL, l, 1);
        l += __shfl_xor_sync(FULL, l, 2);
        if (lane % 4 == 0) x.inverse[lane / 4] = l > 0 ? 1.0f / l : 0.0f;
    }
    wait<0>();
    __syncthreads();
    if (lane / 4 >= group) return;
    if (gridDim.y > 1) {
        float *part = part_of(a, token, kv_head * group + lane / 4, blockIdx.y, a.splits);
#pragma unroll
        for (int u = 0; u < UNITS; u++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                int dims = (warp + u * ROW_WARPS) * 16 + i * 8;
                if (dims < D) *(float2 *)(part + dims + lane % 4 * 2) = make_float2(o[u][i][0], o[u][i][1]);
            }
        if (warp == ROW_WARPS - 1 && lane % 4 == 0) part[D] = m, part[D + 1] = l;
        return;
    }
    float inverse = x.inverse[lane / 4];
#pragma unroll
    for (int u = 0; u < UNITS; u++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int dims = (warp + u * ROW_WARPS) * 16 + i * 8;
            if (dims < D)
                *(uint32_t *)((T *)a.y + y_at + dims) =
                    unit<T>::pack(o[u][i][0] * inverse + 0.0f, o[u][i][1] * inverse + 0.0f);
        }
}

/* Rounds of N tiles that fit into a block's shared memory beside the exchange. */
template <int D, int N> int row_depth(const kvb_cuda_device *device) {
    int64_t beside = kvb_round_up(sizeof(exchange<N>) + 2 * sizeof(run), 1024) + 1024;
    int64_t fit = (device->shared_bytes - beside) / (N * 2 * shape<D>::TILE);
    return fit > MOST_DEPTH ? MOST_DEPTH : (int)fit;
}

/* KVB_E_UNSUPPORTED, silently, where not even two rounds fit, or not all splits' results. */
template <typename T, int D, int N> kvb_status launch_rounds(const kvb_cuda_attention *a) {
    static int allowed[KVB_CUDA_MAX_DEVICES]; /* bytes */
    kvb_cuda_device *device = kvb_cuda_current();
    int depth = row_depth<D, N>(device), bytes = depth * N * 2 * shape<D>::TILE;
    if (depth < 2 || (a->splits > 1 && !all_at_once(a))) return KVB_E_UNSUPPORTED;
    if (allowed[device->ordinal] < bytes) {
        KVB_CUDA_TRY(cudaFuncSetAttribute(attend_row<T, D, N>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
        allowed[device->ordinal] = bytes;
    }
    dim3 grid((unsigned)(a->n_items * a->kv_heads), (unsigned)(a->splits > 1 ? a->splits : 1));
    attend_row<T, D, N><<<grid, ROW_THREADS, bytes, device->stream>>>(*a, depth);
    KVB_LAUNCHED("attention of single rows");
    return grid.y > 1 ? merge<T>(a) : KVB_OK;
}

template <typename T, int D> kvb_status launch_row(const kvb_cuda_attention *a) {
    if constexpr (D <= 128) {
        kvb_status status = launch_rounds<T, D, 2>(a);
        if (D <= 64 || status != KVB_E_UNSUPPORTED) return status;
    }
    if constexpr (D > 64) return launch_rounds<T, D, 1>(a);
    return KVB_E_UNSUPPORTED;
}

template <typename T> kvb_status dispatch_row(const kvb_cuda_attention *a) {
    switch (a->head_dim) {
    case 16:
        return launch_row<T, 16>(a);
    case 32:
        return launch_row<T, 32>(a);
    case 64:
        return launch_row<T, 64>(a);
    case 80:
        return launch_row<T, 80>(a);
    case 96:
        return launch_row<T, 96>(a);
    case 128:
        return launch_row<T, 128>(a);
    default:
        return launch_row<T, 256>(a);
    }
}

} // namespace attention
#endif
