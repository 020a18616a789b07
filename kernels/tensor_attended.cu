/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_attended.cu - attention that keys receive, in two passes over tiles of 64 queries x 64 keys: each row's
 * maximum and sum, then probabilities summed by column. Nothing of size queries x keys is stored.
 *
 * A column's sum runs over the group, row tiles and rows in order, within one block: deterministic, without atomics.
 * Products are f32 FMAs, since scores are compared with recorded ones.
 */
#include "attention_device.cuh"
#include "tensor.cuh"

using namespace kvb;

namespace {
using attention::power2;

enum { SIDE = 64, STEP = 16, THREADS = 256, PITCH = SIDE + 4 };

/* Rows of one matrix: element (r, i) at p[r * row + i * step]; wide: four neighbours come with one load. */
struct matrix {
    const float *p;
    int64_t row, step;
    bool wide;
};

struct job {
    matrix q, k;
    int64_t q_group; /* from one query head of a group to the next */
    float *y, *scratch; /* scratch [heads][group][rows][2]: a row's maximum in powers of two, 1 / sum */
    int64_t y_step;
    int n, rows, group, dim;
    float scale;
    plan<3> at; /* heads: of q, k, y */
};

/* [STEP dimensions][64 queries or keys], two stages. */
struct stages {
    float q[2][STEP][PITCH], k[2][STEP][PITCH];
};

/* Elements d .. d + 3 of row `row` (of `rows`, `dim` each; else zeros). */
__device__ __forceinline__ void load4(const matrix &m, int row, int rows, int dim, int d, float (&x)[4]) {
    x[0] = x[1] = x[2] = x[3] = 0;
    if (row >= rows || d >= dim) return;
    const float *from = m.p + row * m.row + d * m.step;
    if (m.wide) {
        float4 v = *(const float4 *)from;
        x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (d + i < dim) x[i] = from[i * m.step];
    }
}

/* s[i][j] = q row (id / 16 * 4 + i) . k row (id % 16 * 4 + j), one chain of FMAs over the dimensions. */
__device__ __forceinline__ void products(stages &x, const matrix &q, int q_rows, const matrix &k, int k_rows, int dim,
                                         float (&s)[4][4]) {
    int id = threadIdx.x, row = id / 4, part = id % 4 * 4;
    float a[4], b[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) s[i][j] = 0;
    load4(q, row, q_rows, dim, part, a);
    load4(k, row, k_rows, dim, part, b);
    for (int d = 0; d < dim; d += STEP) {
        int stage = d / STEP % 2;
#pragma unroll
        for (int i = 0; i < 4; i++) x.q[stage][part + i][row] = a[i], x.k[stage][part + i][row] = b[i];
        __syncthreads(); /* the other stage's readers have passed the barrier of the step before */
        if (d + STEP < dim) {
            load4(q, row, q_rows, dim, d + STEP + part, a);
            load4(k, row, k_rows, dim, d + STEP + part, b);
        }
#pragma unroll
        for (int e = 0; e < STEP; e++) {
            float4 u = *(float4 *)&x.q[stage][e][id / 16 * 4], v = *(float4 *)&x.k[stage][e][id % 16 * 4];
            float qs[4] = {u.x, u.y, u.z, u.w}, ks[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) s[i][j] = fmaf(qs[i], ks[j], s[i][j]);
        }
    }
    __syncthreads();
}

/* Largest value or sum over the 16 threads that share rows. */
__device__ __forceinline__ float row_max(float x) {
    for (int i = 8; i > 0; i /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, i));
    return x;
}
__device__ __forceinline__ float row_sum(float x) {
    for (int i = 8; i > 0; i /= 2) x += __shfl_xor_sync(~0u, x, i);
    return x;
}

__device__ __forceinline__ matrix from_row(matrix m, int64_t offset, int64_t row) {
    m.p += offset + row * m.row;
    return m;
}

constexpr float TO_POWER = 1.4426950408889634f; /* of e, in powers of two */

/* Grid: heads * group * row tiles. */
__global__ void __launch_bounds__(THREADS) statistics(const job o) {
    __shared__ stages shared;
    uint32_t tiles = (uint32_t)(o.rows + SIDE - 1) / SIDE, query_head = blockIdx.x / tiles;
    int first = (int)(blockIdx.x % tiles) * SIDE, id = threadIdx.x;
    int64_t at[3];
    o.at.locate(query_head / o.group, at);
    matrix q = from_row(o.q, at[0] + query_head % o.group * o.q_group, first);
    float m[4], l[4] = {};
    int offset = o.n - o.rows + first, rows = min(SIDE, o.rows - first); /* row r sees keys up to offset + r */
    for (int i = 0; i < 4; i++) m[i] = -INFINITY;
    for (int key = 0; key < offset + rows; key += SIDE) {
        float s[4][4];
        products(shared, q, rows, from_row(o.k, at[1], key), o.n - key, o.dim, s);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float largest = -INFINITY, total = 0;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                if (key + id % 16 * 4 + j > offset + id / 16 * 4 + i) s[i][j] = -INFINITY;
                largest = fmaxf(largest, s[i][j]);
            }
            float now = fmaxf(m[i], row_max(largest) * TO_POWER), base = now == -INFINITY ? 0 : now;
#pragma unroll
            for (int j = 0; j < 4; j++) total += power2(fmaf(s[i][j], TO_POWER, -base));
            l[i] = fmaf(l[i], power2(m[i] - base), row_sum(total));
            m[i] = now;
        }
    }
    if (id % 16 != 0) return;
    for (int i = 0; i < 4; i++) {
        int row = id / 16 * 4 + i;
        if (row >= rows) continue;
        float *to = o.scratch + ((int64_t)query_head * o.rows + first + row) * 2;
        to[0] = m[i];
        to[1] = 1.0f / l[i];
    }
}

/* A tile's probabilities from the statistics; 0 where the key comes after the query or one of them does not exist. */
__device__ __forceinline__ void probabilities(const job &o, int64_t at, int first, int key, float (&s)[4][4]) {
    int id = threadIdx.x;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int row = first + id / 16 * 4 + i;
        float2 of = row < o.rows ? *(const float2 *)(o.scratch + (at + row) * 2) : make_float2(0, 0);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            bool seen = row < o.rows && key + id % 16 * 4 + j <= o.n - o.rows + row;
            s[i][j] = seen ? power2(fmaf(s[i][j], TO_POWER, -of.x)) * of.y : 0;
        }
    }
}

/* Grid: heads * key tiles. */
__global__ void __launch_bounds__(THREADS) received(const job o) {
    __shared__ stages shared;
    __shared__ float sums[THREADS / 16][SIDE];
    uint32_t tiles = (uint32_t)(o.n + SIDE - 1) / SIDE, head = blockIdx.x / tiles;
    int key = (int)(blockIdx.x % tiles) * SIDE, id = threadIdx.x;
    int64_t at[3];
    o.at.locate(head, at);
    matrix k = from_row(o.k, at[1], key);
    float sum[4] = {};
    for (int g = 0; g < o.group; g++) {
        int64_t statistics_at = ((int64_t)head * o.group + g) * o.rows;
        int seen_from = key - (o.n - o.rows); /* first row that sees a key of the tile */
        for (int first = seen_from > 0 ? seen_from / SIDE * SIDE : 0; first < o.rows; first += SIDE) {
            float s[4][4];
            products(shared, from_row(o.q, at[0] + g * o.q_group, first), o.rows - first, k, o.n - key, o.dim, s);
            probabilities(o, statistics_at, first, key, s);
#pragma unroll
            for (int j = 0; j < 4; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) sum[j] += s[i][j];
        }
    }
    for (int j = 0; j < 4; j++) sums[id / 16][id % 16 * 4 + j] = sum[j];
    __syncthreads();
    if (id >= SIDE || key + id >= o.n) return;
    double total = 0;
    for (int i = 0; i < THREADS / 16; i++) total += (double)sums[i][id];
    o.y[at[2] + (key + id) * o.y_step] = (float)(total * (double)o.scale);
}

matrix matrix_of(const kvb_tensor *t, const plan<3> &at, int operand) {
    int32_t row = t->ndim - 2;
    matrix m = {(const float *)t->data, t->stride[row], t->stride[row + 1], false};
    m.wide = m.step == 1 && t->shape[row + 1] % 4 == 0 && m.row % 4 == 0 && (uintptr_t)m.p % 16 == 0;
    for (int d = 0; d < at.ndim; d++) m.wide &= at.stride[operand][d] % 4 == 0;
    return m;
}

} // namespace

kvb_status cuda_attended(const kvb_tensor *q, const kvb_tensor *k, kvb_tensor *y, double scale) {
    KVB_TRY(ref_check_attended(q, k, y));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    int32_t last = y->ndim; /* of k; q has one dimension more */
    kvb_tensor q0 = *q, k0 = *k, y0 = *y;
    q0.ndim = k0.ndim = y0.ndim = last - 1;
    const kvb_tensor *const t[3] = {&q0, &k0, &y0};
    int64_t heads = kvb_tensor_count(&y0), n = k->shape[last - 1], group = q->shape[last - 1], rows = q->shape[last];
    int64_t query_heads = heads * group;
    if (n > INT32_MAX / 2 || k->shape[last] > INT32_MAX / 2 || group > INT32_MAX / 2 ||
        query_heads * (rows / SIDE + 1) > INT32_MAX || heads * (n / SIDE + 1) > INT32_MAX)
        return kvb_fail(KVB_E_UNSUPPORTED, "attended: %lld keys of %lld heads are too many for one call on a GPU",
                        (long long)n, (long long)heads);
    job o = {};
    o.at = plan_of(t);
    o.q = matrix_of(q, o.at, 0), o.k = matrix_of(k, o.at, 1);
    o.q_group = q->stride[last - 1];
    o.q.wide = o.q.wide && o.q_group % 4 == 0;
    o.n = (int)n, o.rows = (int)rows, o.group = (int)group, o.dim = (int)k->shape[last];
    o.y = (float *)y->data, o.y_step = y->stride[last - 1], o.scale = (float)scale;
    scratch memory(kvb_mul_size(kvb_size(query_heads * rows * 2 + 1), sizeof(float)));
    if (!memory.p) return KVB_E_MEMORY;
    o.scratch = memory.as<float>();
    if (query_heads * rows > 0) {
        unsigned blocks = (unsigned)query_heads * blocks_of(rows, SIDE);
        statistics<<<blocks, THREADS, 0, kvb_cuda_stream()>>>(o);
        KVB_LAUNCHED("attended: statistics");
    }
    received<<<(unsigned)heads * blocks_of(n, SIDE), THREADS, 0, kvb_cuda_stream()>>>(o);
    return kvb_cuda_launched("attended");
}
