/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attention_kernel.cuh - canonical attention on tensor cores (mma.sync m16n8k16), bf16 and f16 caches, sm_80 and newer.
 *
 * A block of four warps works on one item and KV head. Its query rows are (token, head of the group) pairs in tiles of
 * 16 rows, dealt to the warps in turn. First the tiles that all rows share - the prefix, and the suffix where the item
 * is one sequence - stream through two stages of shared memory. Then, where the item mixes sequences, each warp goes
 * through the suffixes of its own rows alone, in chunks of 16 keys through a private ring: no block-wide barrier, so
 * short suffixes of many sequences hide each other's latency.
 *
 * Invariant: what a row adds up, and in which order, depends on its own keys only. Products over keys go in groups of
 * 16 from the tile's start; an invisible key has p = 0, which leaves sums as they are, so both ways and every cut give
 * the same bits. Rows of more than one split (attention_split.cuh) have a kernel of their own, so that the others pay
 * nothing for them. Rejected: wgmma (one architecture, and attention is under a tenth of a step), gathering kept keys
 * (another order of summation per keep-set).
 */
#ifndef KVB_ATTENTION_KERNEL_CUH
#define KVB_ATTENTION_KERNEL_CUH
#include "attention_mma.cuh"
#include "attention_split.cuh"
#include "attention_variants.h"

namespace attention {

enum { THREADS = 128, FULL = ~0u };

/* Rows of an item as (token, head of the group), without a division per row: exact up to 4,096 rows. */
struct splitter {
    int group, inverse;
    __device__ __forceinline__ explicit splitter(int g) : group(g), inverse(65536 / g + 1) {}
    __device__ __forceinline__ int token(int row) const { return row * inverse >> 16; }
    __device__ __forceinline__ int head(int row) const { return row - token(row) * group; }
};

/* Shared memory: queries, then STAGES times a tile of keys and one of values, then two stages of mask words, where the
 * warps later keep the addresses of their rows' keys and values. */
template <int D> struct shape {
    static constexpr int M = D <= 128 ? 2 : 1; /* row tiles per warp */
    static constexpr int ROWS = 64 * M;
    static constexpr int STAGES = D <= 128 ? 2 : 1;
    static constexpr int CHUNKS = D / 8; /* of 16 bytes per row */
    /* ldmatrix reads 8 rows at once: their chunks are kept apart by XOR where a row is whole lines of 128 bytes, else
     * by padding rows to an odd number of chunks. */
    static constexpr bool SWIZZLED = D % 64 == 0;
    static constexpr int STRIDE = SWIZZLED ? D * 2 : D * 2 + 16;
    static constexpr int TILE = KVB_TILE * STRIDE;
    static constexpr int KV = ROWS * STRIDE; /* where keys and values begin */
    static constexpr int WORDS = KV + STAGES * 2 * TILE;
    static constexpr int BYTES = WORDS + 2048; /* 2 * ROWS words, or 4 warps * 16 rows * 2 addresses */
    static constexpr int SLOT = 16 * STRIDE, SLOTS = STAGES * 2; /* a warp's ring: a quarter of the tiles' memory */
    static constexpr int BLOCKS = D <= 64 ? 3 : 2;               /* per multiprocessor, as far as registers go */
};

template <int D> __device__ __forceinline__ uint32_t place(int row, int chunk) {
    return row * shape<D>::STRIDE + (shape<D>::SWIZZLED ? chunk ^ (row & 7) : chunk) * 16;
}

/* The address `chunks` (even, known when compiling) further along a row than place() gave. */
template <int D> __device__ __forceinline__ uint32_t along(uint32_t at, int chunks) {
    return shape<D>::SWIZZLED ? at ^ (chunks * 16) : at + chunks * 16;
}

/* One row tile's running result. A thread has rows lane / 4 (first) and lane / 4 + 8 (second) of it, and of each group
 * of 8 columns the two at lane % 4 * 2. */
template <int D> struct state {
    float o[D / 8][4];
    float m[2], l[2]; /* largest score times scale; this thread's share of the sum */
};

template <int D> __device__ __forceinline__ void clear(state<D> &s) {
#pragma unroll
    for (int i = 0; i < D / 8; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) s.o[i][j] = 0;
    s.m[0] = s.m[1] = -INFINITY;
    s.l[0] = s.l[1] = 0;
}

/* Scores of a tile's first 8 * N keys (no row sees more of it) -> probabilities p, rounded to the cache's type in the
 * layout of the next product's first operand; the state is rescaled to the new maximum. `seen`: the keys that the
 * thread's two rows see. */
template <typename T, int D, int N>
__device__ __forceinline__ void softmax(float (&s)[8][4], const word (&seen)[2], float c, state<D> &x,
                                        uint32_t (&p)[4][4]) {
    int column = threadIdx.x % 4 * 2;
    if (__any_sync(FULL, (seen[0] & seen[1]) != ~0ull)) {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            uint32_t half[2] = {(uint32_t)seen[r] >> column, (uint32_t)(seen[r] >> 32) >> column};
#pragma unroll
            for (int j = 0; j < N; j++)
#pragma unroll
                for (int e = 0; e < 2; e++)
                    if (!(half[j / 4] & (1u << (j % 4 * 8 + e)))) s[j][2 * r + e] = -INFINITY;
        }
    }
    float alpha[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float largest = fmaxf(s[0][2 * r], s[0][2 * r + 1]);
#pragma unroll
        for (int j = 1; j < N; j++) largest = fmaxf(largest, fmaxf(s[j][2 * r], s[j][2 * r + 1]));
        largest = fmaxf(largest, __shfl_xor_sync(FULL, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(FULL, largest, 2));
        float now = fmaxf(x.m[r], largest * c), base = now == -INFINITY ? 0 : now, total = 0;
        alpha[r] = power2(x.m[r] - base); /* exactly 1 where the maximum stands */
        x.m[r] = now;
#pragma unroll
        for (int j = 0; j < N; j++)
#pragma unroll
            for (int e = 0; e < 2; e++) total += s[j][2 * r + e] = power2(fmaf(s[j][2 * r + e], c, -base));
        x.l[r] = fmaf(x.l[r], alpha[r], total);
    }
    if (__any_sync(FULL, alpha[0] != 1 || alpha[1] != 1)) {
#pragma unroll
        for (int i = 0; i < D / 8; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) x.o[i][j] *= alpha[j / 2];
    }
#pragma unroll
    for (int k = 0; k < N / 2; k++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            p[k][j] = unit<T>::pack(s[2 * k + j / 2][j % 2 * 2], s[2 * k + j / 2][j % 2 * 2 + 1]);
}

/* 16 keys' scores for M row tiles: columns 0-7 to s[.][0], 8-15 to s[.][1]. */
template <typename T, int D, int M>
__device__ __forceinline__ void multiply_step(float (&low)[M][4], float (&high)[M][4], const uint32_t (&q)[M][4],
                                              uint32_t key) {
    uint32_t b[4];
    load4(b, key);
#pragma unroll
    for (int i = 0; i < M; i++) {
        unit<T>::mma(low[i], q[i], b[0], b[1]);
        unit<T>::mma(high[i], q[i], b[2], b[3]);
    }
}

/* A tile that all rows of the block read. */
template <typename T, int D>
__device__ __forceinline__ void shared_tile(uint32_t q, uint32_t key, uint32_t value, const word *words, float c,
                                            state<D> (&x)[shape<D>::M]) {
    constexpr int M = shape<D>::M;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    words += warp * 16 + lane / 4;
    word any = 0;
#pragma unroll
    for (int i = 0; i < M; i++) any |= words[i * 64] | words[i * 64 + 8];
    if (!__any_sync(FULL, any != 0)) return;
    uint32_t q_at = q + place<D>(warp * 16 + lane % 16, lane / 16);
    uint32_t key_at = key + place<D>(lane % 8 + lane / 16 * 8, lane / 8 % 2);
    uint32_t value_at = value + place<D>(lane % 16, lane / 16);
    float s[8][M][4];
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
        for (int i = 0; i < M; i++) s[j][i][0] = s[j][i][1] = s[j][i][2] = s[j][i][3] = 0;
#pragma unroll
    for (int d = 0; d < D / 16; d++) {
        uint32_t a[M][4];
#pragma unroll
        for (int i = 0; i < M; i++) load4(a[i], along<D>(q_at, d * 2) + i * 64 * shape<D>::STRIDE);
#pragma unroll
        for (int k = 0; k < 4; k++)
            multiply_step<T, D, M>(s[2 * k], s[2 * k + 1], a, along<D>(key_at, d * 2) + k * 16 * shape<D>::STRIDE);
    }
    uint32_t p[M][4][4];
#pragma unroll
    for (int i = 0; i < M; i++) {
        float mine[8][4];
#pragma unroll
        for (int j = 0; j < 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) mine[j][e] = s[j][i][e];
        word seen[2] = {words[i * 64], words[i * 64 + 8]}; /* read again: eight registers less in the loop above */
        softmax<T, D, 8>(mine, seen, c, x[i], p[i]);
    }
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
        for (int d = 0; d < D / 16; d++) {
            uint32_t b[4];
            load4_transposed(b, along<D>(value_at, d * 2) + k * 16 * shape<D>::STRIDE);
#pragma unroll
            for (int i = 0; i < M; i++) {
                unit<T>::mma(x[i].o[2 * d], p[i][k], b[0], b[1]);
                unit<T>::mma(x[i].o[2 * d + 1], p[i][k], b[2], b[3]);
            }
        }
}

/* Starts the copy of ROWS keys (or values) from key `first` on by threads id, id + COUNT, ...; zeros from `n` on. */
template <int D, int ROWS, int COUNT>
__device__ __forceinline__ void fetch(uint32_t to, const char *from, int n, int first, int id) {
    constexpr int CHUNKS = shape<D>::CHUNKS, ROUNDS = ROWS * CHUNKS / COUNT, STEP = COUNT / CHUNKS;
    constexpr bool WHOLE = COUNT % (CHUNKS * 8) == 0; /* a round is whole rows that keep their place in the swizzle */
    from += (int64_t)first * (D * 2);
#pragma unroll
    for (int i = 0; i < ROUNDS; i++) {
        int at = i * COUNT + id, row = WHOLE ? i * STEP + id / CHUNKS : at / CHUNKS;
        copy16(to + (WHOLE ? place<D>(id / CHUNKS, id % CHUNKS) + i * STEP * shape<D>::STRIDE
                           : place<D>(row, at % CHUNKS)),
               from + id * 16 + i * COUNT * 16, row < n - first);
    }
}

/*
 * Tiles `from` to `to` of the suffixes of one row tile's sequences, as a stream of 16-key chunks through a warp's ring:
 * for each sequence, for each tile of 64, its chunks of keys, then its chunks of values. Lane i knows row i.
 */
template <int D> struct stream {
    const char **at;     /* shared memory [16 rows][keys, values] */
    uint32_t ring;       /* shared memory */
    int from, to;
    int seq, n;          /* of this lane's row; no such row: seq -1, n 0 */
    int filled, taken;   /* chunks so far */
    int row, tile, step; /* being fetched: sequence from `row` on; 16: none is left */
    int now_n;           /* of that sequence, as its last row sees it */

    /* Rows of row a's sequence end at the returned row. */
    __device__ __forceinline__ int end_of(int a) const {
        return a + __popc(__ballot_sync(FULL, seq == __shfl_sync(FULL, seq, a)) & 0xffff);
    }

    /* Moves on to the sequence that starts at row a, or to the next one that has such tiles. */
    __device__ __forceinline__ void enter(int a) {
        step = 0;
        tile = from;
        do {
            row = a < 16 && __shfl_sync(FULL, seq, a & 15) >= 0 ? a : 16;
            if (row == 16) return;
            a = end_of(row);
            now_n = __shfl_sync(FULL, n, a - 1);
        } while (from > 0 && now_n <= from * KVB_TILE);
    }

    /* Starts the next chunk's copy, if there is one; always one group of copies. */
    __device__ __forceinline__ void fill(int lane) {
        if (row < 16) {
            int chunks = min(4, (now_n - tile * KVB_TILE + 15) / 16), value = step >= chunks;
            fetch<D, 16, 32>(ring + filled % shape<D>::SLOTS * shape<D>::SLOT, at[row * 2 + value], now_n,
                             tile * KVB_TILE + (value ? step - chunks : step) * 16, lane);
            filled++;
            if (++step == 2 * chunks) {
                step = 0;
                if (++tile * KVB_TILE >= now_n || tile == to) enter(end_of(row));
            }
        }
        commit();
    }

    /* The next chunk's place; the one before it is given up. */
    __device__ __forceinline__ uint32_t next_chunk(int lane) {
        wait<shape<D>::SLOTS - 2>();
        __syncwarp();
        fill(lane);
        return ring + taken++ % shape<D>::SLOTS * shape<D>::SLOT;
    }
};

template <typename T, int D>
__device__ __forceinline__ void private_tiles(const kvb_cuda_attention &a, const kvb_cuda_item &item, int at,
                                              splitter by, uint32_t q, uint32_t ring, const char **addresses, int first,
                                              int from, int to, float c, state<D> &x) {
    int lane = threadIdx.x % 32;
    stream<D> s;
    s.at = addresses;
    s.ring = ring;
    s.from = from;
    s.to = to;
    s.seq = -1;
    s.n = s.filled = s.taken = 0;
    if (lane < 16 && first + lane < item.rows * by.group) {
        kvb_cuda_row row = a.rows[item.first_row + by.token(first + lane)];
        run mine = suffix_of(a.seqs[row.seq], at, row.index);
        s.seq = row.seq;
        s.n = mine.n;
        addresses[lane * 2] = mine.key;
        addresses[lane * 2 + 1] = mine.value;
    }
    __syncwarp();
    s.enter(0);
#pragma unroll 1
    for (int i = 0; i < shape<D>::SLOTS - 1; i++) s.fill(lane);

    uint32_t q_at = q + place<D>(first + lane % 16, lane / 16);
    uint32_t key_place = place<D>(lane % 8 + lane / 16 * 8, lane / 8 % 2), value_place = place<D>(lane % 16, lane / 16);
    for (int row = 0; row < 16 && __shfl_sync(FULL, s.seq, row) >= 0;) {
        int end = s.end_of(row), n = __shfl_sync(FULL, s.n, end - 1);
        const kvb_cuda_seq &seq = a.seqs[__shfl_sync(FULL, s.seq, row)];
        const uint64_t *mask = seq.suffix_mask ? seq.suffix_mask + (int64_t)at * seq.suffix_words : NULL;
        int see[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            int which = lane / 4 + r * 8, count = __shfl_sync(FULL, s.n, which);
            see[r] = which >= row && which < end ? count : 0;
        }
        for (int t = from; t < to && t * KVB_TILE < n; t++) {
            int chunks = min(4, (n - t * KVB_TILE + 15) / 16);
            word seen[2];
#pragma unroll
            for (int r = 0; r < 2; r++) seen[r] = visible(mask, suffix_from(a, see[r]), see[r], t);
            /* One copy of each product's code for all four chunks: which registers it fills is chosen afterwards. */
            float score[8][4];
#pragma unroll
            for (int j = 0; j < 8; j++) score[j][0] = score[j][1] = score[j][2] = score[j][3] = 0;
#pragma unroll 1
            for (int k = 0; k < chunks; k++) {
                uint32_t key_at = s.next_chunk(lane) + key_place;
                float low[1][4] = {}, high[1][4] = {};
#pragma unroll
                for (int d = 0; d < D / 16; d++) {
                    uint32_t from_q[1][4];
                    load4(from_q[0], along<D>(q_at, d * 2));
                    multiply_step<T, D, 1>(low, high, from_q, along<D>(key_at, d * 2));
                }
#pragma unroll
                for (int j = 0; j < 4; j++)
                    if (j == k)
#pragma unroll
                        for (int e = 0; e < 4; e++) score[2 * j][e] = low[0][e], score[2 * j + 1][e] = high[0][e];
            }
            uint32_t p[4][4];
            if (chunks == 1)
                softmax<T, D, 2>(score, seen, c, x, p);
            else
                softmax<T, D, 8>(score, seen, c, x, p);
#pragma unroll 1
            for (int k = 0; k < chunks; k++) {
                uint32_t value_at = s.next_chunk(lane) + value_place, chosen[4];
#pragma unroll
                for (int j = 0; j < 4; j++)
                    if (j == k)
#pragma unroll
                        for (int e = 0; e < 4; e++) chosen[e] = p[j][e];
#pragma unroll
                for (int d = 0; d < D / 16; d++) {
                    uint32_t b[4];
                    load4_transposed(b, along<D>(value_at, d * 2));
                    unit<T>::mma(x.o[2 * d], chosen, b[0], b[1]);
                    unit<T>::mma(x.o[2 * d + 1], chosen, b[2], b[3]);
                }
            }
        }
        row = end;
    }
    __syncwarp(); /* before the next row tile's chunks */
}

/* What row tile `first` of an item has of a split: merged with what the splits before it left; left for the next one
 * unless it is the last. all: every split has a place of its own, and a kernel behind this one merges them. */
template <int D>
__device__ __forceinline__ void hand_over(const kvb_cuda_attention &a, const kvb_cuda_item &item, int kv_head,
                                          splitter by, int first, int split, bool last, bool all, state<D> &x) {
    int lane = threadIdx.x % 32;
    float *part[2]; /* of the thread's two rows; NULL: no such row */
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int row = first + lane / 4 + r * 8, head = kv_head * by.group + by.head(row);
        part[r] = row < item.rows * by.group ? part_of(a, item.first_row + by.token(row), head, all ? split : 0,
                                                       all ? a.splits : 1)
                                             : NULL;
        if (split == 0 || all || !part[r]) continue;
        joint with(part[r][D], x.m[r]);
#pragma unroll
        for (int d = 0; d < D / 8; d++) {
            float2 before = ((float2 *)part[r])[d * 4 + lane % 4];
            x.o[d][2 * r] = with(before.x, x.o[d][2 * r]);
            x.o[d][2 * r + 1] = with(before.y, x.o[d][2 * r + 1]);
        }
        x.l[r] = with(part[r][D + 1], x.l[r]);
        x.m[r] = with.m;
    }
    __syncwarp(); /* all four threads of a row have read its m and l */
    if (last && !all) return;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        if (!part[r]) continue;
#pragma unroll
        for (int d = 0; d < D / 8; d++)
            ((float2 *)part[r])[d * 4 + lane % 4] = make_float2(x.o[d][2 * r], x.o[d][2 * r + 1]);
        if (lane % 4 == 0) part[r][D] = x.m[r], part[r][D + 1] = x.l[r];
    }
    __syncwarp();
}

/* SPLIT: rows of several splits, of which a block has the one that is `first` + its place in y. all: see hand_over. */
template <typename T, int D, bool SPLIT>
__global__ void __launch_bounds__(THREADS, shape<D>::BLOCKS)
    attend(const kvb_cuda_attention a, int first_split, bool all) {
    using S = shape<D>;
    extern __shared__ __align__(1024) char memory[];
    __shared__ run source[2]; /* prefix; the one sequence's suffix */
    __shared__ int longest;   /* suffix of the item's rows */
    uint32_t q = (uint32_t)__cvta_generic_to_shared(memory), kv = q + S::KV;
    word *words = (word *)(memory + S::WORDS);
    int id = threadIdx.x, lane = id % 32, warp = id / 32;
    int group = a.heads / a.kv_heads, kv_head = blockIdx.x % a.kv_heads, at = a.layer * a.kv_heads + kv_head;
    /* The last items of a long passage have the most keys: they go first. */
    kvb_cuda_item item = a.items[a.n_items - 1 - blockIdx.x / a.kv_heads];
    int rows = item.rows * group; /* at most ROWS, as planned */
    splitter by(group);
    float c = (float)(a.scale * 1.4426950408889634);

#pragma unroll 4
    for (int i = id; i < S::ROWS * S::CHUNKS; i += THREADS) {
        int row = i / S::CHUNKS, chunk = i % S::CHUNKS;
        int64_t from = (int64_t)(item.first_row + by.token(row)) * a.heads + kv_head * group + by.head(row);
        copy16(q + place<D>(row, chunk), (const char *)a.q + from * (D * 2) + chunk * 16, row < rows);
    }
    commit();

    kvb_cuda_row last = a.rows[item.first_row + item.rows - 1];
    bool one = a.rows[item.first_row].seq == last.seq;
    if (id == 0) {
        source[0] = prefix_of(a.seqs[last.seq], at);
        source[1] = suffix_of(a.seqs[last.seq], at, last.index);
        if (SPLIT) longest = 0;
    }
    __syncthreads();
    int prefix_tiles = source[0].tiles(), tiles = prefix_tiles + (one ? source[1].tiles() : 0);

    /* Thread i looks after row i's mask words. */
    const uint64_t *mask = NULL;
    int see = 0, from = 0;
    if (id < rows) {
        kvb_cuda_row row = a.rows[item.first_row + by.token(id)];
        const kvb_cuda_seq &seq = a.seqs[row.seq];
        if (seq.prefix_mask) mask = seq.prefix_mask + (int64_t)at * seq.prefix_words;
        see = source[0].n;
        from = prefix_from(a, seq, at, row.position);
        if (SPLIT) atomicMax(&longest, suffix_of(seq, at, row.index).tiles());
    }
    bool in_suffix = false;
    auto word_of = [&](int tile) -> word {
        if ((SPLIT ? tile >= prefix_tiles && !in_suffix : tile == prefix_tiles) && id < rows) {
            kvb_cuda_row row = a.rows[item.first_row + by.token(id)];
            const kvb_cuda_seq &seq = a.seqs[row.seq];
            mask = seq.suffix_mask ? seq.suffix_mask + (int64_t)at * seq.suffix_words : NULL;
            see = row.index + 1;
            from = suffix_from(a, see);
            in_suffix = true;
        }
        return visible(mask, from, see, tile >= prefix_tiles ? tile - prefix_tiles : tile);
    };
    auto fetch_tile = [&](int tile) {
        const run &from = source[tile >= prefix_tiles];
        int first = (tile >= prefix_tiles ? tile - prefix_tiles : tile) * KVB_TILE;
        uint32_t to = kv + tile % S::STAGES * 2 * S::TILE;
        fetch<D, KVB_TILE, THREADS>(to, from.key, from.n, first, id);
        fetch<D, KVB_TILE, THREADS>(to + S::TILE, from.value, from.n, first, id);
    };

    bool last_split = true;
    if (SPLIT) {
        __syncthreads();
        int splits = splits_of(prefix_tiles + longest), split = first_split + blockIdx.y;
        if (split >= splits) return; /* the whole block */
        last_split = split + 1 == splits;
        tiles = min(tiles, (split + 1) * KVB_CUDA_SPLIT);
    }
    int begin = SPLIT ? (first_split + blockIdx.y) * KVB_CUDA_SPLIT : 0;
    state<D> x[S::M];
#pragma unroll
    for (int i = 0; i < S::M; i++) clear(x[i]);
    if (begin < tiles) {
        fetch_tile(begin);
        if (id < S::ROWS) words[id] = word_of(begin);
    }
    commit();
    for (int t = begin; t < tiles; t++) {
        wait<0>();
        __syncthreads();
        word next = 0;
        if (t + 1 < tiles) {
            if (S::STAGES > 1) fetch_tile(t + 1);
            next = word_of(t + 1);
        }
        commit();
        uint32_t stage = kv + t % S::STAGES * 2 * S::TILE;
        shared_tile<T, D>(q, stage, stage + S::TILE, words + t % 2 * S::ROWS, c, x);
        if (t + 1 < tiles && id < S::ROWS) words[(t + 1) % 2 * S::ROWS + id] = next;
        if (S::STAGES == 1 && t + 1 < tiles) {
            __syncthreads();
            fetch_tile(t + 1);
            commit();
        }
    }
    wait<0>();
    __syncthreads();

    /* Tiles of suffixes that are this block's. */
    int split = SPLIT ? first_split + blockIdx.y : 0;
    int own = SPLIT ? max(split * KVB_CUDA_SPLIT - prefix_tiles, 0) : 0;
    int own_end = SPLIT ? (split + 1) * KVB_CUDA_SPLIT - prefix_tiles : INT_MAX;
#pragma unroll
    for (int i = 0; i < S::M; i++) {
        int first = (i * 4 + warp) * 16;
        if (!one && first < rows && own < own_end)
            private_tiles<T, D>(a, item, at, by, q, kv + warp * S::SLOTS * S::SLOT, (const char **)words + warp * 32,
                                first, own, own_end, c, x[i]);
        if (first >= rows) continue;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            x[i].l[r] += __shfl_xor_sync(FULL, x[i].l[r], 1);
            x[i].l[r] += __shfl_xor_sync(FULL, x[i].l[r], 2);
        }
        if (SPLIT) {
            hand_over<D>(a, item, kv_head, by, first, split, last_split, all, x[i]);
            if (all || !last_split) continue;
        }
        /* The warp's own queries are done with: their place takes the results, for stores of 16 bytes. */
        __syncwarp();
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float l = x[i].l[r], inverse = l > 0 ? 1.0f / l : 0.0f;
            int row = first + lane / 4 + r * 8;
#pragma unroll
            for (int d = 0; d < D / 8; d++)
                *(uint32_t *)(memory + place<D>(row, d) + lane % 4 * 4) =
                    unit<T>::pack(x[i].o[d][2 * r] * inverse + 0.0f, x[i].o[d][2 * r + 1] * inverse + 0.0f);
        }
        __syncwarp();
        for (int j = lane; j < 16 * S::CHUNKS; j += 32) {
            int row = first + j / S::CHUNKS, chunk = j % S::CHUNKS;
            int64_t to = (int64_t)(item.first_row + by.token(row)) * a.heads + kv_head * group + by.head(row);
            if (row < rows)
                *(uint4 *)((char *)a.y + to * (D * 2) + chunk * 16) = *(uint4 *)(memory + place<D>(row, chunk));
        }
    }
}

/* Splits `first` .. first + count - 1 of all rows. */
template <typename T, int D, bool SPLIT>
kvb_status launch_splits(const kvb_cuda_attention *a, int first, int count, bool all) {
    static bool allowed[KVB_CUDA_MAX_DEVICES];
    kvb_cuda_device *device = kvb_cuda_current();
    if (!allowed[device->ordinal]) {
        KVB_CUDA_TRY(
            cudaFuncSetAttribute(attend<T, D, SPLIT>, cudaFuncAttributeMaxDynamicSharedMemorySize, shape<D>::BYTES));
        allowed[device->ordinal] = true;
    }
    dim3 grid((unsigned)(a->n_items * a->kv_heads), (unsigned)count);
    attend<T, D, SPLIT><<<grid, THREADS, shape<D>::BYTES, device->stream>>>(*a, first, all);
    return kvb_cuda_launched("attention");
}

template <typename T, int D> kvb_status launch(const kvb_cuda_attention *a) {
    if (a->splits <= 1) return launch_splits<T, D, false>(a, 0, 1, false);
    /* All splits at once where the device has room for more blocks, and their results for more places. */
    if (a->n_items * a->kv_heads < 2 * kvb_cuda_current()->multiprocessors && all_at_once(a)) {
        KVB_TRY((launch_splits<T, D, true>(a, 0, a->splits, true)));
        return merge<T>(a);
    }
    for (int i = 0; i < a->splits; i++) KVB_TRY((launch_splits<T, D, true>(a, i, 1, false)));
    return KVB_OK;
}

template <typename T> kvb_status dispatch(const kvb_cuda_attention *a) {
    switch (a->head_dim) {
    case 16:
        return launch<T, 16>(a);
    case 32:
        return launch<T, 32>(a);
    case 64:
        return launch<T, 64>(a);
    case 80:
        return launch<T, 80>(a);
    case 96:
        return launch<T, 96>(a);
    case 128:
        return launch<T, 128>(a);
    default:
        return launch<T, 256>(a);
    }
}

} // namespace attention
#endif
